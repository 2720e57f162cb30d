"""The one cookie jar of a run, which no answer can make forget the live session.

XNAT sets a new anonymous ``JSESSIONID`` on every answer to a request whose session it does not know, a 401 included.
In a jar shared by many workers the first such answer would log all of them out, and a late one would undo a login
just made. So this jar takes the session id from its owner only. What the answers wanted to set is still telling: an
id other than ours means that the request ran without a login.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from http.cookies import BaseCookie, Morsel

import aiohttp
from aiohttp.typedefs import LooseCookies
from yarl import URL

from xnat_sync.core.model import Cookie, Secret

SESSION = "JSESSIONID"
EXPIRATION = "SESSION_EXPIRATION_TIME"
_GUARDED = frozenset({SESSION, EXPIRATION})
_TIMES = re.compile(EXPIRATION + r'="?(\d{1,15})(?:,|\\054)(\d{1,12})"?')


class GuardedJar(aiohttp.CookieJar):
    """A cookie jar that keeps the sticky cookies of load balancers, and the session id it was given.

    IP-address hosts are served too, which aiohttp's jar does not do unasked; and values go back as they came, without
    quotes around those that hold a ``/`` or ``=``, which load balancers would not know again.
    """

    def __init__(self, origin: URL) -> None:
        """``origin`` is the one site that gets the session id."""
        super().__init__(unsafe=True, quote_cookie=False)
        self._origin = origin

    def adopt(self, session_id: str) -> None:
        """Make ``session_id`` the live one."""
        super().update_cookies([(SESSION, _morsel(SESSION, session_id, "/"))], self._origin)

    def plant(self, cookies: Iterable[Cookie]) -> None:
        """Send these too."""
        for cookie in cookies:
            morsel = _morsel(cookie.name, cookie.value.reveal(), cookie.path)
            self.update_cookies([(cookie.name, morsel)], self._origin)

    def others(self) -> tuple[Cookie, ...]:
        """What is sent beside the session id."""
        found = (morsel for morsel in self if morsel.key not in _GUARDED)
        return tuple(Cookie(morsel.key, Secret(morsel.value), morsel["path"] or "/") for morsel in found)

    def forget(self) -> None:
        """Drop the session id, so that the next request is nobody's."""
        self.clear(lambda morsel: morsel.key == SESSION)

    def update_cookies(self, cookies: LooseCookies, response_url: URL = URL()) -> None:  # noqa: B008
        """Take what an answer sets, but for the session id."""
        pairs: Iterable[tuple[str, str | BaseCookie[str] | Morsel[str]]]
        pairs = cookies.items() if isinstance(cookies, Mapping) else cookies
        super().update_cookies([pair for pair in pairs if pair[0] not in _GUARDED], response_url)

    def update_cookies_from_headers(self, headers: Sequence[str], response_url: URL) -> None:
        """The same, from ``Set-Cookie`` headers."""
        kept = [header for header in headers if header.partition("=")[0].strip() not in _GUARDED]
        super().update_cookies_from_headers(kept, response_url)


def _morsel(name: str, value: str, path: str) -> Morsel[str]:
    morsel: Morsel[str] = Morsel()
    morsel.set(name, value, value)
    morsel["path"] = path
    return morsel


def offered_session(headers: Sequence[str]) -> str | None:
    """The session id that the ``Set-Cookie`` headers of an answer want to set, if any."""
    for header in headers:
        name, _, rest = header.partition("=")
        if name.strip() == SESSION:
            return rest.partition(";")[0].strip().strip('"')
    return None


def lifetime(headers: Sequence[str]) -> float | None:
    """How long the server lets a session idle, in seconds, as ``SESSION_EXPIRATION_TIME`` tells it.

    The cookie holds the server's clock and the longest idle time, both in milliseconds.
    """
    for header in headers:
        if found := _TIMES.match(header.strip()):
            return int(found[2]) / 1000
    return None
