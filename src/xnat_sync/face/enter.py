"""Into the server: the way there, the login, and what to be told before anything else happens."""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Iterator
from urllib.parse import urlsplit

import anyio
import anyio.to_thread

from xnat_sync.core import events, retry, token, values
from xnat_sync.core.errors import ItemError, UsageError
from xnat_sync.core.model import Login, LoginKind
from xnat_sync.core.settings import Settings
from xnat_sync.flow.bus import Bus
from xnat_sync.flow.conduct import logged_in
from xnat_sync.shell import net

from . import credentials, kept


def net_options(settings: Settings) -> net.NetOptions:
    """How the settings want the server to be reached."""
    return net.NetOptions(
        idle_timeout=settings.idle_timeout,
        ca_bundle=settings.ca_bundle,
        insecure=settings.insecure,
        proxy=settings.proxy or _proxy_of_environment(credentials.site(settings)),
    )


def options_elsewhere(settings: Settings, url: str) -> net.NetOptions:
    """How the settings want another server to be reached."""
    return net.NetOptions(ca_bundle=settings.ca_bundle, proxy=settings.proxy or _proxy_of_environment(url))


def _proxy_of_environment(url: str) -> str | None:
    """The proxy that ``https_proxy`` and its kin name for ``url``, unless ``no_proxy`` excludes its host."""
    parts = urlsplit(url)
    if urllib.request.proxy_bypass(parts.hostname or ""):
        return None
    proxies = urllib.request.getproxies()
    given = proxies.get(parts.scheme) or proxies.get("all")
    try:
        return values.proxy(given) if given else None
    except ValueError as error:
        raise UsageError(f"the environment's proxy for {parts.scheme}: {error}") from None


def policy(settings: Settings) -> retry.Policy:
    """How often the settings want things to be tried."""
    return retry.Policy(tries=settings.retries)


async def enter(
    settings: Settings, bus: Bus, logins: Iterator[Login] | None = None, *, until: float | None = None
) -> net.Client:
    """A client with a proved login, entered; the caller leaves it. Raises ``RunError``.

    ``until`` is when the run's window closes, in seconds since the epoch: a login that ends before is worth a warning.
    """
    url = credentials.site(settings)
    for danger in _dangers(settings):
        bus(events.Warned(danger))
    ways = logins or credentials.candidates(settings)
    client = await logged_in(url, ways, net_options(settings), bus, policy(settings))
    if client is None:
        raise credentials.none_left(settings)
    try:
        ends = await _renewed_token(client, url, bus)
    except BaseException:
        with anyio.CancelScope(shield=True):
            await client.__aexit__()
        raise
    if ends is not None and until is not None and ends < until:
        bus(
            events.Warned(
                f"this login ends {credentials.moment(ends)}, before the window closes {credentials.moment(until)}: "
                "what is not done by then is left for the next run"
            )
        )
    return client


def _dangers(settings: Settings) -> Iterator[str]:
    if settings.insecure:
        yield (
            f"CERTIFICATES ARE NOT CHECKED ({settings.sources['insecure']}): whoever is on the way can read the login "
            "and change the data; --ca-bundle is the safe way"
        )
    if settings.allow_http and credentials.in_the_clear(credentials.site(settings)):
        yield (
            f"{settings.host} IS NOT ENCRYPTED ({settings.sources['allow_http']}): whoever is on the way can read the "
            "login and change the data"
        )


async def _renewed_token(client: net.Client, url: str, bus: Bus) -> float | None:
    """Put a new alias token in the place of one that is due; when the login ends for good, if that is known."""
    old = kept.read_token(url)
    if old is None or old.user != client.user:
        return client.login.ends
    if token.is_due(old, time.time()):
        try:
            fresh = await client.issue_token()
        except ItemError as error:
            when = "" if old.ends is None else f"; it ends {credentials.moment(old.ends)}"
            bus(events.Warned(f"the kept alias token could not be renewed ({error}){when}"))
        else:
            path = await anyio.to_thread.run_sync(kept.write_token, url, fresh)
            if client.login.kind is LoginKind.TOKEN:
                client.renew_with(credentials.by_token(fresh, path))
    return client.login.ends
