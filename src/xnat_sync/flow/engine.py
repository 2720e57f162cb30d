"""The whole of one run over one project: listers feed a bounded stream, workers empty it, and it can be stopped.

Two scopes stop a run. Softly: nothing new is listed or begun, what is in hand has ten seconds to finish, and the rest
stays parked in staging. Hard: everything is cancelled where it waits; staged files stay. Either way the ledger is
whole.
Units that failed are listed and tried once more after all others, by when a server has often recovered.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import anyio
import anyio.lowlevel
import anyio.to_thread
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from xnat_sync.core import events, layout, ledger, listing, names, retry, urls
from xnat_sync.core.bandwidth import Timetable
from xnat_sync.core.errors import ItemError, NotVisible, Refused, ServerUnavailable, Transient, UsageError, Vanished
from xnat_sync.core.model import Experiment, Job, Level, Unit, UnitKind
from xnat_sync.core.select import Selection
from xnat_sync.core.values import Share
from xnat_sync.shell import disk
from xnat_sync.shell.mirror import Mirror
from xnat_sync.shell.net import Client
from xnat_sync.shell.zipstore import ZipStage

from .attempt import Attempts
from .bus import Bus
from .commit import Committer
from .extras import Extras
from .fetch import AnyStage, Fetcher
from .hooks import HookOptions, Hooks
from .inventory import Lister
from .manners import Manners
from .metadata import Metadata
from .queue import Queue
from .rename import Renames
from .space import Space
from .standing import Standing
from .walk import Survey, Walker, WalkOptions

GRACE = 10.0


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How a run goes about its work."""

    jobs: int = 4
    listers: int = 2
    overwrite: bool = False
    dry_run: bool = False
    metadata: bool = False
    relist_after: float = 0.0
    delete: bool = False
    max_delete: Share = Share(percent=10.0)  # noqa: RUF009
    layout: layout.Layout = layout.SHORT
    store: str = "files"
    min_free: int = 0
    bwlimit: Timetable | None = None
    hook: HookOptions = HookOptions()  # noqa: RUF009
    policy: retry.Policy = retry.Policy()  # noqa: RUF009


class Stop:
    """The two ways to stop a run, for signals and deadlines. Either may be asked for before the run begins."""

    def __init__(self) -> None:
        self.stopping = False
        self._intake: list[anyio.CancelScope] = []
        self._work: list[anyio.CancelScope] = []

    def soft(self, grace: float = GRACE) -> None:
        """Take nothing new; give what is in hand ``grace`` seconds."""
        self.stopping = True
        for scope in self._intake:
            scope.cancel()
        for scope in self._work:
            scope.deadline = min(scope.deadline, anyio.current_time() + grace)

    def hard(self) -> None:
        """Stop now."""
        self.stopping = True
        for scope in self._intake + self._work:
            scope.cancel()

    def intake(self) -> anyio.CancelScope:
        """A scope for what lists and takes."""
        scope = anyio.CancelScope()
        self._intake.append(scope)
        if self.stopping:
            scope.cancel()
        return scope

    def work(self) -> anyio.CancelScope:
        """A scope for what transfers."""
        scope = anyio.CancelScope(deadline=anyio.current_time() + GRACE if self.stopping else math.inf)
        self._work.append(scope)
        return scope


@dataclass(slots=True)
class _Progress:
    """What is still to be done for one unit. ``vanished`` if the server lacks files of it that it lists,
    ``doubtful`` if it may have more than it lists."""

    unit: Unit
    jobs: int = 0
    vanished: bool = False
    doubtful: bool = False
    whole: bool = True
    again: bool = False
    changed: int = 0


class Engine:
    """Mirrors a part of one project."""

    def __init__(
        self,
        client: Client,
        bus: Bus,
        mirror: Mirror,
        selection: Selection,
        options: RunOptions,
        stop: Stop,
        ours: Callable[[], Awaitable[None]],
    ) -> None:
        """``ours`` makes sure that this run may still write, and raises ``Locked`` if it may not."""
        self._ours = ours
        self._client = client
        self._bus = bus
        self._mirror = mirror
        self._selection = selection
        self._project = selection.target.project
        self._options = options
        self._stop = stop
        manners = Manners(options.jobs, bus, options.bwlimit)
        self._attempts = Attempts(client, bus, options.policy, manners.failed)
        self._fetcher = Fetcher(client, self._attempts, bus, manners, options.jobs, lambda: stop.stopping)
        self._space = Space(mirror, bus, options.min_free)
        self._committer = Committer(bus, mirror)
        self._extras = Extras(bus, mirror)
        renames = Renames(mirror)
        records = Metadata(client, self._attempts, bus, mirror, overwrite=options.overwrite)
        self._walker = Walker(
            Lister(client, self._attempts, bus, options.layout),
            bus,
            mirror,
            renames,
            WalkOptions(
                self._extras,
                selection.takes,
                selection.wholly,
                options.overwrite,
                not options.dry_run,
                options.store == "zip",
                records if options.metadata else None,
            ),
        )
        self._renames = renames
        self._hooks = Hooks(HookOptions() if options.dry_run else options.hook, mirror, bus, lambda: stop.stopping)
        self._standing = Standing(mirror, bus, layout.METADATA if options.metadata else "")
        self._bringing = anyio.Semaphore(options.jobs)
        self._open: dict[str, _Progress] = {}
        self._staged: frozenset[str] = frozenset()
        self._failed: list[Unit] = []

    async def run(self) -> None:
        """Mirror, and tell of it on the bus. Raises ``RunError``, alone or in a group; returns early if stopped."""
        if not self._options.dry_run:
            await anyio.to_thread.run_sync(self._mirror.prepare)
            self._staged = await anyio.to_thread.run_sync(self._mirror.staged)
            await self._space.watch()
        await self._check_form()
        await self._standing.load()
        units: list[Unit] = []
        with self._stop.intake():
            known = await self._all_units()
            units = self._selection.units(known)
            if not self._options.dry_run:
                folders = self._standing.folders
                await self._standing.moved(await self._renames.settle(known.values(), folders))
                self._judge(known)
        self._bus(events.Found(self._project, len(units)))
        with self._stop.work():
            async with anyio.create_task_group() as commands:
                self._hooks.start(commands)
                await self._passes(units)
                self._hooks.close()
        if not self._stop.stopping and not self._options.dry_run:
            await self._settle_extras(units)
            await self._space.give_up()
        if not self._stop.stopping and not self._bus.tally.failed:
            self._selection.complain()

    async def _passes(self, units: Sequence[Unit]) -> None:
        await self._pass(units)
        if self._failed and not self._stop.stopping:
            again, self._failed = self._failed, []
            self._bus(events.SecondPass(tuple(unit.id for unit in again)))
            await self._pass(again)

    async def _settle_extras(self, units: Sequence[Unit]) -> None:
        """Tell of units that are gone, and take extras away if that is asked for and safe."""
        if all(self._selection.wholly(unit) for unit in units) and self._selection.everything:
            await self._extras.of_dead_units({unit.id: unit.folder for unit in units})
        tally = self._bus.tally
        if self._options.delete and self._extras.found and not tally.failed and not self._space.aside:
            held = tally.files["skipped"] + tally.files_committed + len(self._extras.found)
            await self._extras.trash(self._options.max_delete.of(held))
            for unit in {extra.unit for extra in self._extras.found}:
                await self._standing.lessens(unit)

    async def _check_form(self) -> None:
        """Refuse to mix layouts or stores in one mirror; a new mirror takes the form that is asked for."""
        asked = {"layout": self._options.layout.name, "store": self._options.store}
        try:
            found = json.loads(await disk.read_text(self._mirror.form_path) or "null")
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            if not self._options.dry_run:
                await disk.replace_text(self._mirror.form_path, json.dumps(asked) + "\n")
        elif found != asked:
            form = f"--layout '{found.get('layout')}' --store {found.get('store')}"
            raise UsageError(f"{self._mirror.root} was made with {form}: go on with these, or name another --dest")

    async def _all_units(self) -> dict[str, Unit]:
        project = self._project
        what = f"experiments of project {project}"

        async def experiments() -> list[Experiment]:
            return listing.experiments(await self._client.fetch(urls.experiments(project), what), project)

        async def subjects() -> dict[str, str]:
            body = await self._client.fetch(urls.subjects(project), f"subjects of project {project}")
            return {row.id: row.label for row in listing.subjects(body, project)}

        try:
            found = await self._attempts(what, experiments)
            known = self._units(found, self._standing.subjects)
            self._judge(known)
            if Level.SUBJECT not in self._selection.effective_levels or self._standing.all_current(known.values()):
                return known
            # Subjects may have no experiment and yet have files, so only their own list is sure to have them.
            return self._units(found, await self._attempts(what, subjects))
        except (Vanished, Refused) as error:
            raise NotVisible(
                f"project {project!r} does not exist, or {self._client.user!r} may not see it: "
                "'xnat-sync projects' lists those that may be seen"
            ) from error
        except Transient as error:
            raise ServerUnavailable(str(error)) from error
        except ItemError as error:
            raise ServerUnavailable(f"{error}; without this list nothing can be mirrored") from error

    def _units(self, found: list[Experiment], subjects: dict[str, str]) -> dict[str, Unit]:
        return layout.units(self._project, found, subjects, self._options.layout)

    def _judge(self, known: dict[str, Unit]) -> None:
        narrowed = not all(self._selection.wholly(unit) for unit in known.values())
        self._standing.judge(known.values(), 0.0 if narrowed else self._options.relist_after)

    async def _pass(self, units: Sequence[Unit]) -> None:
        unit_send, unit_receive = anyio.create_memory_object_stream[tuple[Unit, ...]](0)
        queue = Queue(self._options.listers)
        with self._stop.work():
            async with anyio.create_task_group() as group:
                group.start_soon(self._feed, units, unit_send)
                async with unit_receive:
                    for _ in range(self._options.listers):
                        group.start_soon(self._list, unit_receive.clone(), queue)
                    for _ in range(2 * self._options.jobs):
                        group.start_soon(self._work, queue)
            await self._try_aside()

    async def _feed(self, units: Sequence[Unit], send: MemoryObjectSendStream[tuple[Unit, ...]]) -> None:
        async with send:
            with self._stop.intake():
                # Sessions come first: they have the data. The files of subjects are few, and often none.
                in_order = sorted(units, key=lambda unit: unit.kind is not UnitKind.EXPERIMENT)
                for group in self._standing.together(in_order):
                    await send.send(group)

    async def _list(self, groups: MemoryObjectReceiveStream[tuple[Unit, ...]], queue: Queue) -> None:
        async with groups:
            with self._stop.intake():
                async for group in groups:
                    found = await self._standing.look(group, extras=not self._options.delete)
                    # Listing may wait for transfers, and what was seen here is true of now.
                    for unit, held in zip(group, found, strict=True):
                        if held is not None:
                            await self._confirm(unit, held)
                    for unit, held in zip(group, found, strict=True):
                        if held is None:
                            await self._survey(unit, queue)
        if queue.leave() and not self._stop.stopping:
            self._bus(events.ListingEnded())

    async def _confirm(self, unit: Unit, held: ledger.Replay) -> None:
        self._standing.confirm(unit, held)
        if names.safe(unit.id) in self._staged:
            # A run that was cut off as it cleared this left it, or a power cut brought it back.
            await anyio.to_thread.run_sync(self._mirror.clear_staging, unit.id)
        self._extras.remember(unit, held)
        self._hooks.complete(unit)
        self._bus(events.SessionDone(unit.id, unit.label, unit.folder, complete=True, changed=0))

    async def _survey(self, unit: Unit, queue: Queue) -> None:
        progress = self._open[unit.id] = _Progress(unit)
        try:
            survey = await self._walker.survey(unit)
        except ItemError as error:
            self._bus(events.Failed(unit.id, unit.label, "", str(error)))
            survey = Survey([], whole=False, again=True)
        progress.whole, progress.again, progress.doubtful = survey.whole, survey.again, survey.doubtful
        await self._space.foresee()
        progress.jobs = 0 if self._options.dry_run else len(survey.jobs)
        if not progress.jobs:
            await self._close(progress)
            return
        for job in survey.jobs:
            await queue.put(job)

    async def _work(self, queue: Queue) -> None:
        """Half of the workers bring, in the queue's order, while the other half makes durable what was brought."""
        while True:
            async with contextlib.AsyncExitStack() as bringing:
                await bringing.enter_async_context(self._bringing)
                job = await queue.take()
                if job is None or self._stop.stopping:
                    return
                await self._do_if_it_fits(job, bringing.aclose)

    async def _do_if_it_fits(self, job: Job, is_brought: Callable[[], Awaitable[None]]) -> None:
        if await self._space.begin(job):
            try:
                await self._do(job, is_brought)
            finally:
                self._space.end(job)

    async def _try_aside(self) -> None:
        """Now that nothing is in hand, do what fits of what did not, the smallest first."""
        aside, self._space.aside = self._space.aside, []
        for job in sorted(aside, key=lambda job: job.bytes):
            if not self._stop.stopping:
                await self._do_if_it_fits(job, anyio.lowlevel.checkpoint)

    async def _do(self, job: Job, is_brought: Callable[[], Awaitable[None]]) -> None:
        unit = job.resource.unit
        progress = self._open[unit.id]
        stage: AnyStage = self._mirror.stage(unit.id, job.resource.id)
        if self._options.store == "zip":
            stage = ZipStage(stage.root)
        try:
            brought = await self._fetcher.bring(job, stage)
            await is_brought()
            await self._space.watch()
            await self._ours()
            whole = await self._committer.commit(job, stage, brought)
            progress.again |= bool(brought.failed)
            progress.vanished |= bool(brought.vanished)
        except ItemError as error:
            self._bus(events.Failed(unit.id, job.resource.name, "", str(error)))
            whole, progress.again = False, True
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(stage.close)
        progress.whole &= whole
        progress.changed += whole
        progress.jobs -= 1
        if progress.jobs == 0:
            await self._close(progress)

    async def _close(self, progress: _Progress) -> None:
        unit = progress.unit
        del self._open[unit.id]
        if not self._options.dry_run:
            if not progress.whole or progress.vanished or progress.doubtful:
                await self._standing.falls(unit)
            elif self._selection.wholly(unit):
                if astray := await self._standing.stands(unit):
                    why = "gone or changed since it was looked at: does another process write here?"
                    self._bus(events.Failed(unit.id, unit.label, astray, why))
                    progress.whole, progress.again = False, True
                    await self._standing.falls(unit)
                # Partials of what the server has no more would lie there for ever.
                await anyio.to_thread.run_sync(self._mirror.clear_staging, unit.id)
        if progress.again:
            self._failed.append(unit)
        if progress.whole:
            self._hooks.complete(unit)
        self._bus(events.SessionDone(unit.id, unit.label, unit.folder, progress.whole, progress.changed))
