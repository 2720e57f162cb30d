"""Why a login is none: what the server answers -> its cause -> the one line that says how to go on.

===========================================  ====================  ==================================================
answer                                       cause                 what it means
===========================================  ====================  ==================================================
401                                          ``REFUSED``           wrong, expired, locked and too many look alike
403, "expired" in its text                   ``EXPIRED``           the password must be changed in a browser
403 otherwise                                ``FORBIDDEN``         the site is not set up, or a proxy forbids
3xx to a page for changing the password      ``EXPIRED``
3xx to the page for inactive accounts        ``INACTIVE``          the account is disabled
3xx to the same path elsewhere               ``MOVED``             http for https, or another address
3xx to ``Login.vm``                          ``NOBODY``            what XNAT tells a browser
3xx to anything else                         ``SIGN_ON``           a sign-on service stands before the site
200, a web page that speaks of maintenance   ``MAINTENANCE``
200, another web page                        ``SIGN_ON``
404                                          ``NO_XNAT``           nothing of the kind at this address
200 from ``/data/auth``, naming ``guest``    ``GUEST``             an open site takes the caller for anybody
anything else                                ``STRANGE``
===========================================  ====================  ==================================================

A gateway's 502, 503 and 504 are tried again before anybody asks here.
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import urlsplit

from .errors import LoginRefused, RunError, ServerUnavailable, SessionEnded, TokenEnded
from .listing import is_html
from .model import Login, LoginKind


class Cause(StrEnum):
    """Why an answer is not that to a logged-in user."""

    REFUSED = "refused"
    EXPIRED = "expired"
    FORBIDDEN = "forbidden"
    INACTIVE = "inactive"
    MOVED = "moved"
    NOBODY = "nobody"
    SIGN_ON = "sign-on"
    MAINTENANCE = "maintenance"
    NO_XNAT = "no xnat"
    GUEST = "guest"
    STRANGE = "strange"


_PASSWORD_PAGES = ("changepassword", "expiredpassword", "updateuser", "forgotlogin")
_DOWN = re.compile(rb"maintenance|temporarily unavailable|down for|service unavailable|be back (soon|shortly)", re.I)
_TITLE = re.compile(rb"<title[^>]*>(.*?)</title>", re.I | re.S)


@dataclass(frozen=True, slots=True)
class Why:
    """The cause with what helps to understand it: the status, and the page's title or the redirect's target."""

    cause: Cause
    status: int = 0
    detail: str = ""


def why(status: int, location: str, content_type: str, body: bytes, asked: str) -> Why:
    """Why; ``asked`` is the path of the request, ``body`` the first few thousand bytes of the answer's."""
    found = _cause(status, location, content_type, body, asked)
    if location:
        # The query of a sign-on redirect holds its state, which is nobody's business.
        target = location.partition("?")[0].partition("#")[0]
        return Why(found, status, target.removesuffix(asked) if found is Cause.MOVED else target)
    return Why(found, status, title(body))


def _cause(status: int, location: str, content_type: str, body: bytes, asked: str) -> Cause:
    match status:
        case 401:
            return Cause.REFUSED
        case 403:
            return Cause.EXPIRED if b"expired" in body.lower() else Cause.FORBIDDEN
        case 404:
            return Cause.NO_XNAT
        case _ if 300 <= status < 400:
            return _redirect(location, asked)
        case 200 if is_html(content_type, body[:200]):
            return Cause.MAINTENANCE if _DOWN.search(body) else Cause.SIGN_ON
        case 200 if b"User 'guest'" in body:
            return Cause.GUEST
    return Cause.STRANGE


def _redirect(location: str, asked: str) -> Cause:
    try:
        path = urlsplit(location).path
    except ValueError:
        return Cause.SIGN_ON
    page = path.rpartition("/")[2].lower()
    if path.rstrip("/").endswith(asked.rstrip("/")):
        return Cause.MOVED
    if any(known in page for known in _PASSWORD_PAGES):
        return Cause.EXPIRED
    if "inactive" in page:
        return Cause.INACTIVE
    return Cause.NOBODY if page.startswith("login.vm") else Cause.SIGN_ON


def title(body: bytes) -> str:
    """The title of a web page, for a message; ``""`` if it has none."""
    found = _TITLE.search(body)
    text = html.unescape(found[1].decode("utf-8", "replace")) if found else ""
    return " ".join(text.split())[:80]


_BROWSER = "open {base}/data/JSESSION in a browser that is logged in, and pass the new id with --jsession -"


def error(found: Why, login: Login, base: str) -> RunError:
    """The error that ends the run."""
    told = f" ({found.detail})" if found.detail else ""
    match found.cause:
        case Cause.EXPIRED:
            return LoginRefused(
                f"{base}: the password{_of(login)} has expired: log in with a browser and choose a new one"
            )
        case Cause.INACTIVE:
            return LoginRefused(f"{base}: the account{_of(login)} is disabled: ask the site's administrators")
        case Cause.FORBIDDEN:
            return LoginRefused(
                f"{base} forbids the login (403){told}: the site is not set up yet, or something before it lets "
                "nobody in from here"
            )
        case Cause.MOVED:
            return ServerUnavailable(f"{base} answers at another address{told}: name that one with --host")
        case Cause.MAINTENANCE:
            return ServerUnavailable(f"{base} is in maintenance: it answers with a web page{told}; try again later")
        case Cause.NO_XNAT:
            return ServerUnavailable(
                f"there is no XNAT at {base} (404): is the address complete, with the path if it has one "
                "(https://example.org/xnat)?"
            )
        case Cause.SIGN_ON:
            page = f"answers with a web page of its own{told} instead of XNAT's answer"
            go_on = _BROWSER.format(base=base)
            if login.renewable:
                return LoginRefused(
                    f"{base} {page}: a sign-on service or proxy stands before it, which takes no "
                    f"password from a program: {go_on}, or use --cookie-file"
                )
            return SessionEnded(
                f"{base} {page}: the sign-on service or proxy before it does not let this session through: "
                "export the browser's cookies while you are logged in, and pass them with --cookie-file"
            )
    if login.renewable:
        return _refused(found, login, base)
    return _ended(found.cause, login, base)


def _of(login: Login) -> str:
    return f" of {login.user!r}" if login.user and login.kind is not LoginKind.TOKEN else ""


def _refused(found: Why, login: Login, base: str) -> RunError:
    if found.cause is Cause.REFUSED and login.kind is LoginKind.TOKEN:
        return TokenEnded(
            f"{base} refused the kept alias token: it has ended or was taken back; "
            "get a new one with 'xnat-sync login --token'"
        )
    if found.cause is Cause.REFUSED:
        return LoginRefused(
            f"{base} refused the login of {login.user!r} (wrong or expired secret, locked account, or too many open "
            "sessions: XNAT does not say which); it is not tried again, so that no account is locked"
        )
    if found.cause in (Cause.GUEST, Cause.NOBODY):
        return LoginRefused(f"{base} took the login{_of(login)} but logged nobody in")
    return LoginRefused(
        f"{base} answered {found.status} without a session id: is this the URL of an XNAT, and does it take passwords? "
        "At a federated site paste a session id with --jsession -"
    )


def _ended(cause: Cause, login: Login, base: str) -> RunError:
    guest = ", and the site takes it for a guest's" if cause is Cause.GUEST else ""
    go_on = _BROWSER.format(base=base)
    match login.kind:
        case LoginKind.PASTED:
            return SessionEnded(
                f"the pasted session id is not logged in{guest} (mistyped, expired, or logged out in the browser): "
                f"{go_on}; where a load balancer shares out the sessions, use --cookie-file"
            )
        case LoginKind.COOKIES:
            return SessionEnded(
                f"the session of {login.origin} is not logged in{guest} (expired, or logged out in the browser): "
                "export the browser's cookies again while you are logged in"
            )
    return SessionEnded(f"the kept session for {base} has ended: run 'xnat-sync login' again")
