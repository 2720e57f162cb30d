"""Around a run: logging in, signals, the heartbeat of the session, the ticking of the display, and its end as a code.

Whatever ends a run, its errors become one code and one line here, and the record is written.
"""

from __future__ import annotations

import signal
import time
import traceback
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from typing import TypeGuard

import anyio

from xnat_sync.core import events, retry
from xnat_sync.core.errors import ItemError, RunError, ServerUnavailable, SessionEnded, TokenEnded, Transient
from xnat_sync.core.events import Exit, Outcome
from xnat_sync.core.model import Login, LoginKind
from xnat_sync.shell.net import Client, NetOptions

from .attempt import Attempts
from .bus import Bus
from .engine import Stop

TICK = 0.1
FLUSH_EVERY = 20


async def logged_in(
    url: str, logins: Iterator[Login], options: NetOptions, bus: Bus, policy: retry.Policy
) -> Client | None:
    """A client with a proved login, entered; the caller leaves it. None if there is no login to try.

    A kept session that has ended, or a kept alias token, is passed over for the next way in. Raises ``RunError``.
    """
    ended: RunError | None = None
    for login in logins:
        client = await Client(url, login, options).__aenter__()
        try:
            user = await Attempts(client, bus, policy)(f"logging in to {url}", client.log_in)
        except BaseException as error:
            with anyio.CancelScope(shield=True):
                await client.__aexit__()
            if _is_over(error, login):
                ended = error
                continue
            if isinstance(error, ItemError):
                raise ServerUnavailable(f"{error}: is {url} the right address, and is the server up?") from error
            raise
        bus(events.LoggedIn(user, login.renewable))
        return client
    if ended is not None:
        raise ended
    return None


def _is_over(error: BaseException, login: Login) -> TypeGuard[RunError]:
    """Whether something kept is no way in any more, so that the next one may be tried: it is another secret.

    A page of a proxy that stands in the way today says nothing of a token.
    """
    return isinstance(error, TokenEnded) or (login.kind is LoginKind.KEPT and isinstance(error, SessionEnded))


@dataclass(slots=True)
class Ending:
    """How a run ended: what stopped it early, and the line that says so."""

    outcome: Outcome = Outcome()  # noqa: RUF009
    message: str = ""
    bug: str = ""


async def conduct(
    work: Callable[[Stop], Awaitable[None]],
    *,
    tick: Callable[[], None],
    flush: Callable[[], Awaitable[None]],
    tell: Callable[[], None],
    until: float | None = None,
) -> Ending:
    """Run ``work`` under signals, with the display ticking; every error it ends with becomes part of the result.

    ``tell`` says where the run stands, when SIGUSR1 asks. ``until`` is when the window closes, in seconds since the
    epoch.
    """
    stop = Stop()
    received: list[int] = []
    closed: list[float] = []
    ending = Ending()
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(_watch_signals, stop, received, tell, group.cancel_scope)
            if until is not None:
                group.start_soon(_watch_window, until, stop, closed)
            group.start_soon(_tick, tick, flush)
            try:
                await work(stop)
            finally:
                group.cancel_scope.cancel()
    except Exception as error:  # noqa: BLE001 - the border at which everything becomes a code
        ending = _ending(error)
    ending.outcome = replace(ending.outcome, signal=received[0] if received else None, window_closed=bool(closed))
    if received or closed:
        why = "stopped by a signal" if received else "the window closed"
        ending.message = ending.message or f"{why}: the next run goes on from here"
    return ending


async def kept_alive(client: Client, work: Callable[[], Awaitable[None]]) -> None:
    """Run ``work`` while the heartbeat keeps the session alive."""
    async with anyio.create_task_group() as group:
        group.start_soon(heartbeat, client)
        await work()
        group.cancel_scope.cancel()


def beat(idle_limit: float) -> float:
    """Seconds between beats: under half the time after which the server ends an idle session, and never below one."""
    return max(idle_limit / 2 - 20.0, idle_limit / 4, 1.0)


async def heartbeat(client: Client) -> None:
    """Keep the session alive while long transfers run: a server counts a session as idle between requests."""
    while True:
        interval = beat(client.idle_limit or 900.0)
        await anyio.sleep(max(interval - client.silent_for(), 1.0))
        if client.silent_for() >= interval:
            try:
                await client.whoami()
            except Transient:
                continue


async def _watch_signals(
    stop: Stop, received: list[int], tell: Callable[[], None], everything: anyio.CancelScope
) -> None:
    watched = [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup leaves it
        watched.append(signal.SIGHUP)
    with anyio.open_signal_receiver(*watched) as signals:
        async for number in signals:
            if number == signal.SIGUSR1:
                tell()
                continue
            received.append(int(signal.SIGINT if number == signal.SIGINT else signal.SIGTERM))
            if len(received) == 1:
                stop.soft()
            else:
                stop.hard()
                everything.cancel()


async def _watch_window(until: float, stop: Stop, closed: list[float]) -> None:
    # In short steps, by the wall clock: it may be set, and the machine may sleep.
    left = until - time.time()
    while left > 0:
        await anyio.sleep(min(left, 30.0))
        left = until - time.time()
    closed.append(until)
    stop.soft()


async def _tick(tick: Callable[[], None], flush: Callable[[], Awaitable[None]]) -> None:
    count = 0
    while True:
        await anyio.sleep(TICK)
        tick()
        count += 1
        if count % FLUSH_EVERY == 0:
            await flush()


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def _ending(error: Exception) -> Ending:
    leaves = list(_leaves(error))
    reasons = [leaf for leaf in leaves if isinstance(leaf, RunError)]
    # Whoever hands on to workers that ended for a reason breaks off as well, which is no reason of its own.
    echoes = (anyio.BrokenResourceError,) if reasons else ()
    bugs = [leaf for leaf in leaves if not isinstance(leaf, (RunError, *echoes))]
    if bugs:
        text = "".join(traceback.format_exception(error))
        return Ending(Outcome(fatal=Exit.BUG), f"a bug in xnat-sync: {bugs[0]!r}", text)
    worst = min(reasons, key=lambda leaf: events.severity(Exit(leaf.exit_code)))
    return Ending(Outcome(fatal=Exit(worst.exit_code)), str(worst))
