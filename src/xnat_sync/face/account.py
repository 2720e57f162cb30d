"""login, logout, whoami: getting a session or an alias token, keeping it between commands, and telling about it."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime

import anyio.to_thread

from xnat_sync.core import events, urls
from xnat_sync.core.errors import ItemError, XnatSyncError
from xnat_sync.core.model import LoginKind, Secret
from xnat_sync.core.settings import Settings
from xnat_sync.core.token import Token
from xnat_sync.flow.bus import Bus
from xnat_sync.shell.net import Client
from xnat_sync.shell.show import Quiet, plain

from . import credentials, kept
from .enter import enter, net_options
from .run import tried, with_client

# Sessions that this program did not open, and so does not close.
_OTHERS = (LoginKind.PASTED, LoginKind.COOKIES)


def _say(text: str) -> None:
    print(plain(text))  # noqa: T201


async def login(settings: Settings) -> int:
    """Prove a login and keep its session for later commands."""
    url = credentials.site(settings)
    before = kept.read_session(url)
    ways = credentials.candidates(settings, with_kept=False)
    client = await enter(settings, Bus(Quiet(verbose=settings.verbose)), ways)
    try:
        asked = client.login.user
        pasted = client.login.kind in _OTHERS
        session = kept.Session(client.user, asked, Secret(client.session_id), pasted, client.cookies)
        path = await anyio.to_thread.run_sync(kept.write_session, url, session)
        client.leave_open()
        if before is not None and not before.pasted and before.session_id != session.session_id:
            await _close(settings, url, before)
        if not settings.quiet:
            _say(f"logged in to {url} as {client.user}; the session is kept in {path}{_idle(client)}")
    finally:
        await client.__aexit__()
    return int(events.Exit.OK)


async def login_token(settings: Settings, *, show: bool) -> int:
    """Turn a login, that of the kept session included, into an alias token, and keep that."""
    url = credentials.site(settings)
    client = await enter(settings, Bus(Quiet(verbose=settings.verbose)))
    try:
        token = await tried(settings, client, "the alias token", client.issue_token)
        path = await anyio.to_thread.run_sync(kept.write_token, url, token)
    finally:
        await client.__aexit__()
    if settings.json:
        found: dict[str, object] = {"user": token.user, "server": url, "token_ends": _iso(token.ends)}
        if show:
            found |= {"alias": token.alias.reveal(), "secret": token.secret.reveal()}
        print(json.dumps(found))  # noqa: T201
        return int(events.Exit.OK)
    if not settings.quiet:
        _say(
            f"an alias token of {token.user} for {url} is kept in {path}; {_life(token)}, unless a run renews it before"
        )
    if show:
        _say(f"alias: {token.alias.reveal()}")
        _say(f"secret: {token.secret.reveal()}")
    return int(events.Exit.OK)


def _idle(client: Client) -> str:
    if client.idle_limit is None:
        return ""
    return f"; a session there ends after {_span(client.idle_limit)} without use"


def _life(token: Token) -> str:
    if token.ends is None:
        return "when it ends, the server does not say"
    left = token.ends - time.time()
    if left <= 0:
        return f"it ended {credentials.moment(token.ends)}"
    return f"it ends {credentials.moment(token.ends)}, in {_span(left)}"


def _span(seconds: float) -> str:
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 1.5 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} seconds"


def _iso(moment: float | None) -> str | None:
    return None if moment is None else f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%dT%H:%M:%SZ}"


async def logout(settings: Settings) -> int:
    """Close the kept session on the server, take the kept alias token back, and forget both here."""
    url = credentials.site(settings)
    token, session = kept.read_token(url), kept.read_session(url)
    told = []
    if token is not None:
        taken = await _take_back(settings, url, token)
        kept.forget(kept.token_path(url))
        told.append(
            f"the alias token for {url} is {'taken back' if taken else f'forgotten here; on the server {_life(token)}'}"
        )
    if session is not None:
        kept.forget(kept.session_path(url))
        if session.pasted:
            told.append(f"the session for {url} is forgotten here; the browser that it belongs to stays logged in")
        else:
            closed = await _close(settings, url, session)
            told.append(
                f"the session for {url} is {'closed' if closed else 'forgotten here; the server did not answer'}"
            )
    for line in told or [f"nothing is kept for {url}"]:
        if not settings.quiet:
            _say(line)
    return int(events.Exit.OK)


async def _close(settings: Settings, url: str, session: kept.Session) -> bool:
    async with Client(url, session.login(kept.session_path(url)), net_options(settings)) as client:
        client.resume()
        return await client.log_out()


async def _take_back(settings: Settings, url: str, token: Token) -> bool:
    if token.ends is not None and token.ends <= time.time():
        return False
    try:
        async with Client(url, credentials.by_token(token, kept.token_path(url)), net_options(settings)) as client:
            await client.log_in()
            await client.take_back_token(token.alias.reveal())
    except XnatSyncError:
        return False
    return True


async def whoami(settings: Settings) -> int:
    """Tell who is logged in, how, on which server and version, and how long the session or token will live."""
    url = credentials.site(settings)

    async def ask(client: Client) -> int:
        try:
            version = str(json.loads(await client.fetch(urls.BUILD_INFO, "the version")).get("version", "unknown"))
        except (ItemError, ValueError, AttributeError, RecursionError):
            version = "unknown"
        token = kept.read_token(url)
        if settings.json:
            found = {
                "user": client.user,
                "server": url,
                "version": version,
                "login": str(client.login.kind),
                "idle_seconds": client.idle_limit,
                "login_ends": _iso(client.login.ends),
                "token_ends": _iso(token.ends) if token is not None else None,
            }
            print(json.dumps(found))  # noqa: T201
            return int(events.Exit.OK)
        by = f"by {client.login.origin}" if client.login.origin else ""
        _say(f"{client.user} at {url} (XNAT {version}), logged in {by}{_idle(client)}")
        if token is not None:
            _say(f"an alias token of {token.user} is kept; {_life(token)}")
        return int(events.Exit.OK)

    return await with_client(settings, ask)
