"""login, logout, whoami: getting a session, keeping it between commands, and telling about it."""

from __future__ import annotations

import json
import os

from xnat_sync.core import events, urls
from xnat_sync.core.errors import ItemError
from xnat_sync.core.model import LoginKind
from xnat_sync.core.settings import Settings
from xnat_sync.flow.bus import Bus
from xnat_sync.flow.conduct import logged_in
from xnat_sync.shell.net import Client
from xnat_sync.shell.show import plain

from . import credentials
from .run import net_options, policy, with_client


def _say(text: str) -> None:
    print(plain(text))  # noqa: T201


async def login(settings: Settings) -> int:
    """Prove a login and keep its session for later commands."""
    url = credentials.site(settings)
    fresh = (way for way in credentials.candidates(settings, os.environ) if way.kind is not LoginKind.KEPT)
    client = await logged_in(url, fresh, net_options(settings), Bus(), policy(settings))
    if client is None:
        raise credentials.none_left(settings)
    try:
        path = credentials.keep(url, client.user, client.session_id)
        client.leave_open()
        if not settings.quiet:
            _say(f"logged in to {url} as {client.user}; the session is kept in {path}{_idle(client)}")
    finally:
        await client.__aexit__()
    return int(events.Exit.OK)


def _idle(client: Client) -> str:
    if client.idle_limit is None:
        return ""
    return f"; a session there ends after {client.idle_limit / 60:.0f} minutes without use"


async def logout(settings: Settings) -> int:
    """Close the kept session on the server, and forget it here."""
    url = credentials.site(settings)
    kept = credentials.read_kept(url)
    if kept is None:
        _say(f"no session is kept for {url}")
        return int(events.Exit.OK)
    async with Client(url, kept, net_options(settings)) as client:
        client.resume()
        closed = await client.log_out()
    credentials.forget(url)
    if not settings.quiet:
        _say(f"the session for {url} is {'closed' if closed else 'forgotten here; the server did not answer'}")
    return int(events.Exit.OK)


async def whoami(settings: Settings) -> int:
    """Tell who is logged in, on which server and version, and how long an idle session lives."""

    async def ask(client: Client) -> int:
        try:
            version = str(json.loads(await client.fetch(urls.BUILD_INFO, "the version")).get("version", "unknown"))
        except (ItemError, ValueError, AttributeError):
            version = "unknown"
        found = {
            "user": client.user,
            "server": credentials.site(settings),
            "version": version,
            "idle_seconds": client.idle_limit,
        }
        if settings.json:
            print(json.dumps(found))  # noqa: T201
        else:
            _say(f"{client.user} at {found['server']} (XNAT {version}){_idle(client)}")
        return int(events.Exit.OK)

    return await with_client(settings, ask)
