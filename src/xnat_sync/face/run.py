"""From settings to an exit code: wires display, record, login and engine for the mirroring commands."""

from __future__ import annotations

import gc
import json
import os
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime
from typing import TypeVar

import anyio
import anyio.lowlevel
import anyio.to_thread

from xnat_sync import __version__
from xnat_sync.core import events, layout, listing, names, urls, window, wire
from xnat_sync.core.errors import BadListing, ItemError, RunError, ServerUnavailable, Transient, UsageError
from xnat_sync.core.events import Exit, Tally
from xnat_sync.core.model import Login
from xnat_sync.core.patterns import Patterns
from xnat_sync.core.select import Selection, Target, levels
from xnat_sync.core.settings import Settings
from xnat_sync.flow.attempt import Attempts
from xnat_sync.flow.bus import Bus
from xnat_sync.flow.conduct import conduct, kept_alive
from xnat_sync.flow.engine import Engine, RunOptions, Stop
from xnat_sync.flow.hold import Hold
from xnat_sync.flow.hooks import HookOptions
from xnat_sync.flow.record import Record
from xnat_sync.shell import disk, net, show
from xnat_sync.shell.mirror import Mirror

from . import credentials, ending
from .ending import Ended
from .enter import enter, policy
from .planned import Planned

T = TypeVar("T")


async def with_client(settings: Settings, use: Callable[[net.Client], Awaitable[T]]) -> T:
    """Log in, use the client, and leave the session as it should be left. Raises ``RunError``."""
    client = await enter(settings, Bus(show.Quiet(verbose=settings.verbose)))
    async with AsyncExitStack() as stack:
        stack.push_async_exit(client)
        return await use(client)


async def tried(settings: Settings, client: net.Client, what: str, operation: Callable[[], Awaitable[T]]) -> T:
    """What ``operation`` gets, without which there is nothing to do; tried again as the settings say.

    Raises ``Vanished``, ``Refused``, and ``RunError``.
    """
    try:
        return await Attempts(client, Bus(), policy(settings))(what, operation)
    except (Transient, BadListing) as error:
        raise ServerUnavailable(str(error)) from error


async def asked(settings: Settings, client: net.Client, path: str, what: str, read: Callable[[bytes], T]) -> T:
    """What ``read`` makes of one listing or record; as ``tried``, also where the answer makes no sense."""

    async def ask() -> T:
        return read(await client.fetch(path, what))

    return await tried(settings, client, what, ask)


async def project_of(settings: Settings, client: net.Client, accession: str) -> Target:
    """The project and label of an experiment known by its accession id. Raises ``UsageError``."""
    what = f"experiment {accession}"
    try:
        found = await asked(settings, client, urls.item(accession), what, lambda body: listing.item_fields(body, what))
        return Target(found["project"], experiment=accession)
    except (ItemError, KeyError) as error:
        raise UsageError(
            f"no experiment has the accession id {accession!r}, or this user may not see it; "
            "an experiment is named PROJECT/SUBJECT/EXPERIMENT or by its accession id"
        ) from error


def selection(settings: Settings, target: Target) -> Selection:
    """What the settings take of a target. Raises ``UsageError`` for a pattern or level that is none."""
    return Selection(
        target,
        Patterns("subject", settings.subject, settings.exclude_subject),
        Patterns("experiment", settings.experiment, settings.exclude_experiment),
        Patterns("scan", settings.scan, settings.exclude_scan),
        Patterns("scan type", settings.scan_type, settings.exclude_scan_type),
        Patterns("resource", settings.resource, settings.exclude_resource),
        settings.after,
        settings.before,
        levels(settings.level),
    )


def display(settings: Settings, tally: Callable[[], Tally]) -> show.Display:
    """What shows the run, as the settings and the terminal want it."""
    if settings.log_format == "json":
        return show.JsonLines(tally)
    how = settings.progress
    if how == "auto":
        how = "bars" if show.is_terminal() else "lines"
    if settings.quiet or how == "none":
        return show.Quiet(verbose=settings.verbose)
    if how != "bars":
        return show.Lines(tally, verbose=settings.verbose)
    from xnat_sync.shell.bars import Bars

    return Bars(tally, verbose=settings.verbose)


def mirror(settings: Settings, targets: Sequence[Target | str], *, logins: Iterator[Login] | None = None) -> Exit:
    """Mirror each target; the code is the worst of all. A text target is an experiment's accession id."""
    if settings.dest is None:
        raise UsageError("where to? Name the folder with --dest")
    # What is imported stays, and next to nothing that a run makes is in circles: looking for these costs 5 %.
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    return anyio.run(_mirror, settings, targets, logins)


class _Meter:
    """What ``--max-transfer`` counts, over all targets of a command."""

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._received = 0
        self._stop: Stop | None = None

    @property
    def full(self) -> bool:
        """Whether nothing more may be received."""
        return self._limit is not None and self._received >= self._limit

    def arm(self, stop: Stop) -> None:
        """From now on stop this run when the limit is reached."""
        self._stop = stop

    def __call__(self, event: events.Event) -> None:
        if isinstance(event, events.Progress):
            self._received += event.bytes
            if self.full and self._stop is not None and not self._stop.stopping:
                self._stop.soft(grace=0.0)


class _Run:
    """One target's run: its bus, display and record."""

    def __init__(self, settings: Settings, project: str, meter: _Meter) -> None:
        self.settings = settings
        self.project = project
        root = os.path.join(os.path.abspath(settings.dest or "."), names.safe(project))
        self.mirror = Mirror(root)
        disk.must_be_writable(settings.log_file)
        disk.must_be_writable(settings.report)
        folder = f"{self.mirror.state}/runs/{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}"
        self.record = Record("" if settings.dry_run else folder, settings.log_file, settings.report)
        self.display = display(settings, lambda: self.bus.tally)
        self.planned = Planned()
        self.bus = Bus(self.display, self.record, self.planned, meter)

    async def flush(self) -> None:
        await self.record.flush()

    def tell(self) -> None:
        show.say(show.plain(f"{self.project}: {show.standing(self.bus.tally)}"), sys.stderr)


class _Door:
    """The one login of a command: opened when first needed, shared by all targets, closed by the exit stack."""

    def __init__(self, settings: Settings, logins: Iterator[Login], stack: AsyncExitStack) -> None:
        self._settings = settings
        now = datetime.now()  # noqa: DTZ005 - a time of day is one of the local clock
        self.until = window.closes(
            now, datetime.timestamp, max_duration=settings.max_duration, stop_at=settings.stop_at
        )
        self._logins = logins
        self._stack = stack
        self._client: net.Client | None = None

    @property
    def requests(self) -> int:
        return self._client.counts.requests if self._client is not None else 0

    @property
    def sessions_opened(self) -> int:
        return self._client.counts.sessions_opened if self._client is not None else 0

    async def client(self, bus: Bus) -> net.Client:
        if self._client is None:
            self._client = await enter(self._settings, bus, self._logins, until=self.until)
            self._stack.push_async_exit(self._client)
        else:
            bus(events.LoggedIn(self._client.user, opened=False))
        return self._client


async def _mirror(settings: Settings, targets: Sequence[Target | str], logins: Iterator[Login] | None) -> Exit:
    ended: list[Ended] = []
    meter = _Meter(settings.max_transfer)
    try:
        async with AsyncExitStack() as stack:
            door = _Door(settings, logins or credentials.candidates(settings), stack)
            quiet = Bus(show.Quiet(verbose=settings.verbose))
            for asked in targets:
                target = asked
                if isinstance(target, str):
                    target = await project_of(settings, await door.client(quiet), target)
                ended.append(await _one(settings, target, door, meter))
                if ended[-1].code in _FOR_ALL:
                    break
    except RunError as error:
        await ending.conclude(settings, ended, len(targets), Exit(error.exit_code))
        raise
    code = min((each.code for each in ended), key=events.severity)
    await ending.conclude(settings, ended, len(targets), code)
    return code


# What ends one target's run like this would end the others' alike; nor may a login that failed be tried again.
_FOR_ALL = frozenset(
    {
        Exit.INTERRUPTED,
        Exit.TERMINATED,
        Exit.LOGIN,
        Exit.UNAVAILABLE,
        Exit.DISK,
        Exit.WINDOW,
        Exit.TRANSFER_LIMIT,
    }
)


async def _one(settings: Settings, target: Target, door: _Door, meter: _Meter) -> Ended:
    wanted, folders = selection(settings, target), layout.parse(settings.layout)
    run = await anyio.to_thread.run_sync(_Run, settings, target.project, meter)
    before, opened = door.requests, door.sessions_opened
    options = RunOptions(
        jobs=settings.jobs,
        listers=settings.listers,
        overwrite=settings.overwrite,
        dry_run=settings.dry_run,
        delete=settings.delete,
        max_delete=settings.max_delete,
        metadata=settings.metadata,
        relist_after=0.0 if settings.relist else settings.relist_after,
        layout=folders,
        store=settings.store,
        min_free=settings.min_free,
        bwlimit=settings.bwlimit,
        hook=HookOptions(settings.on_session or "", f"{run.record.folder}/hooks.log"),
        policy=policy(settings),
    )

    async def mirror_it(stop: Stop, ours: Callable[[], Awaitable[None]]) -> None:
        client: net.Client | None = None
        with stop.intake():
            client = await door.client(run.bus)
        if client is not None:
            await kept_alive(client, Engine(client, run.bus, run.mirror, wanted, options, stop, ours).run)

    async def work(stop: Stop) -> None:
        meter.arm(stop)
        if settings.dry_run:
            await mirror_it(stop, anyio.lowlevel.checkpoint)
            return
        await anyio.to_thread.run_sync(run.mirror.prepare)
        hold, held = Hold(run.mirror), False
        with stop.intake():
            await hold.acquire(settings.wait_lock, run.bus)
            held = True
        if held:
            async with hold.kept():
                await mirror_it(stop, hold.prove)

    end = await conduct(work, tick=run.display.tick, flush=run.flush, tell=run.tell, until=door.until)
    if meter.full:
        end.outcome = replace(end.outcome, transfer_limit=True)
        end.message = end.message or "--max-transfer is reached: the next run goes on from here"
    tally = run.bus.tally
    # Renewals happen below the bus, so the client knows better how many sessions there were.
    tally.sessions_opened = door.sessions_opened - opened
    code = events.exit_code(tally, end.outcome)
    if end.outcome.window_closed or end.outcome.transfer_limit:
        run.bus(events.WindowClosed(max(tally.files_planned - tally.files_committed, 0)))
    run.bus(events.Ended(int(code), code.label, end.message))
    run.display.close()
    summary = wire.summary(
        tally, code, end.message, project=target.project, seconds=run.record.seconds(),
        requests=door.requests - before, started=run.record.started, version=__version__,
    )  # fmt: skip
    written = await run.record.finish(summary, tally)
    if tally.failed and not settings.dry_run:
        more = f"the report is {run.record.folder}/report.csv; run again to try for the rest"
        end.message = f"{end.message}; {more}" if end.message else more
    _tell(settings, run, code, end.message, end.bug, door.requests - before)
    return Ended(target.project, code, summary, run.record.folder if written else "")


def _tell(settings: Settings, run: _Run, code: Exit, message: str, bug: str, requests: int) -> None:
    if bug:
        show.say(bug, file=sys.stderr)
    # When the window or the limit ends a night and nothing failed, there is nothing that anybody should do.
    silent = settings.quiet and code in (Exit.OK, Exit.WINDOW, Exit.TRANSFER_LIMIT)
    if message and not silent:
        show.say(show.plain(f"xnat-sync: {message}"), file=sys.stderr)
    lines_only = settings.log_format == "json"
    if settings.dry_run and settings.json and not lines_only:
        show.say(json.dumps(run.planned.rows(), indent=2))
        return
    if settings.dry_run and not (settings.quiet or lines_only) and (table := run.planned.table()):
        show.say(table)
    if lines_only or silent or (code is Exit.USAGE or (code and not run.bus.tally.units)):
        return
    stream = sys.stdout if code in (Exit.OK, Exit.VANISHED) else sys.stderr
    show.say(closing_line(settings, run.project, run.bus.tally, code, run.record.seconds(), requests), file=stream)


def closing_line(settings: Settings, project: str, tally: Tally, code: Exit, seconds: float, requests: int) -> str:
    """The summary that a person reads."""
    files, sizes = tally.files, tally.bytes
    if settings.dry_run:
        would = f"{tally.files_planned} files, {show.size(tally.bytes_planned)}"
        return show.plain(f"{project}: would fetch {would}; {files['skipped']} files are here already")
    parts = [
        f"{tally.sessions_complete} of {tally.units} parts complete",
        f"{files['new']} files new ({show.size(sizes['new'])})",
    ]
    if files["changed"]:
        parts.append(f"{files['changed']} changed ({show.size(sizes['changed'])})")
    if files["moved"]:
        parts.append(f"{files['moved']} moved here as on the server")
    parts.append(f"{files['skipped']} already here ({show.size(sizes['skipped'])})")
    if files["extra"]:
        taken = f", {files['trashed']} of them moved to the trash" if files["trashed"] else ""
        parts.append(f"{files['extra']} extra ({show.size(sizes['extra'])}){taken}")
    if tally.vanished:
        parts.append(f"{len(tally.vanished)} vanished on the server")
    if tally.failed:
        parts.append(f"{len(tally.failed)} failed")
    if tally.bytes_again:
        parts.append(f"{show.size(tally.bytes_again)} fetched again")
    parts.append(f"{requests} requests")
    return show.plain(f"{project}: {'; '.join(parts)}; {seconds:.1f} s; exit {int(code)} ({code.label})")
