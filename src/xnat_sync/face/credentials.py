"""The ways in, in their documented order; each is looked at only when it is its turn.

A pasted session id; a browser's cookies; the session kept by ``login``; the alias token kept by ``login --token``; then
one password (see ``passwords``). A pasted session that ended stops the run; a kept one is passed over for the next way.
"""

from __future__ import annotations

import ipaddress
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from urllib.parse import urlsplit

from xnat_sync.core import cookiefile, values
from xnat_sync.core.errors import SessionEnded, UsageError
from xnat_sync.core.model import Login, LoginKind, Secret
from xnat_sync.core.settings import Settings
from xnat_sync.core.token import Token

from . import kept, passwords


def site(settings: Settings) -> str:
    """The URL of the site. Raises ``UsageError`` if none is set, or if it would carry secrets in the clear."""
    if settings.host is None:
        raise UsageError("which XNAT? Name it with --host https://… or in the environment as XNAT_HOST")
    if not settings.allow_http and in_the_clear(settings.host):
        raise UsageError(
            f"{settings.host} is not https: everybody on the way could read the login and the data; "
            "if there is no other way, say --allow-http"
        )
    return settings.host


def in_the_clear(url: str) -> bool:
    """Whether talking to ``url`` is unencrypted and leaves this machine."""
    parts = urlsplit(url)
    name = (parts.hostname or "").lower()
    if parts.scheme == "https" or name == "localhost" or name.endswith(".localhost"):
        return False
    try:
        return not ipaddress.ip_address(name).is_loopback
    except ValueError:
        return True


def candidates(settings: Settings, *, with_kept: bool = True) -> Iterator[Login]:
    """The ways in, the first to try first. Asking for the next one says that a kept one has ended, and forgets it."""
    url = site(settings)
    if settings.jsession is not None:
        yield Login(LoginKind.PASTED, secret=_pasted(settings), origin=settings.sources["jsession"])
        return
    if settings.cookie_file is not None:
        yield _from_cookies(os.path.expanduser(settings.cookie_file), url)
        return
    ended = ""
    if with_kept and not settings.password_stdin:
        session = kept.read_session(url)
        if session is not None and _is_of(settings.user, session.user, session.asked):
            yield session.login(kept.session_path(url))
            kept.forget(kept.session_path(url))
        token = kept.read_token(url)
        if token is not None and _is_of(settings.user, token.user):
            path = kept.token_path(url)
            if token.ends is None or token.ends > time.time():
                yield by_token(token, path)
                kept.forget(path)
            else:
                ended = (
                    f"the kept alias token for {url} ended {moment(token.ends)}: run 'xnat-sync login --token' again"
                )
    password = passwords.of(settings, url)
    if password is not None:
        yield password
    elif ended:
        raise SessionEnded(ended)


def by_token(token: Token, path: str) -> Login:
    """The way in that an alias token is."""
    return Login(LoginKind.TOKEN, token.alias.reveal(), token.secret, f"alias token kept in {path}", ends=token.ends)


def none_left(settings: Settings) -> UsageError:
    """The error for when there is no way in at all."""
    return UsageError(
        f"no login for {site(settings)}: run 'xnat-sync login', or set XNAT_USER and XNAT_PASS, or use a netrc "
        "file; at a federated site paste a session id with --jsession -"
    )


def moment(seconds: float) -> str:
    """A moment for people."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"


def _is_of(wanted: str | None, *names: str) -> bool:
    return wanted is None or wanted in names or wanted.rpartition("/")[2] == names[0]


def _pasted(settings: Settings) -> Secret:
    given = settings.jsession
    assert given is not None  # noqa: S101
    if given.reveal() != "-":
        return given
    try:
        return values.session_id(passwords.read_line("a session id").reveal())
    except ValueError as error:
        raise UsageError(f"standard input: {error}") from None


def _from_cookies(path: str, url: str) -> Login:
    text = kept.read_private(path, "a session")
    if text is None:
        raise UsageError(f"the cookie file {path} does not exist")
    try:
        found = cookiefile.for_site(text, url, time.time())
    except ValueError as error:
        raise UsageError(f"the cookie file {path} {error}") from None
    return Login(
        LoginKind.COOKIES, secret=found.session, origin=f"cookie file {path}", cookies=found.others, ends=found.ends
    )
