"""One job: bring the missing files of one resource, whole and verified, into staging.

First what an earlier run left in staging is believed as far as its hashes go. Then, until nothing is missing: one zip,
or single requests, as ``plan.how`` says. A zip that breaks has brought what landed before it broke; one that ends well
but short is not asked for twice. What cannot be had is told as values, so that one file's trouble is not another's.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import anyio
import anyio.to_thread

from xnat_sync.core import events, members, plan, resume, urls
from xnat_sync.core.errors import Broken, ItemError, Refused, Transient, Vanished
from xnat_sync.core.model import Job, Landed, RemoteFile, Want
from xnat_sync.shell import disk
from xnat_sync.shell.net import Answer, Client
from xnat_sync.shell.stage import Stage
from xnat_sync.shell.zipstore import ZipStage

from .attempt import Attempts
from .bus import Bus
from .manners import Manners
from .unpack import Fed, Unpacker

_ZIP_SLACK = 1 << 30
_UNPROVABLE = "nothing says how long it is, so that it cannot be proved whole"
_PARTIAL = frozenset({200, 206, 412, 416})


AnyStage = Stage | ZipStage


@dataclass(slots=True)
class Brought:
    """What came of a job: files landed in staging by local path, errors and vanished files by listed path.

    ``parked`` says that the run is stopping and files were not asked for any more.
    """

    landed: dict[str, Landed] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    vanished: set[str] = field(default_factory=set)
    parked: bool = False


class Fetcher:
    """Brings jobs' files into staging, with at most ``parallel`` single files of one job at once."""

    def __init__(
        self,
        client: Client,
        attempts: Attempts,
        bus: Bus,
        manners: Manners,
        parallel: int,
        stopping: Callable[[], bool],
    ) -> None:
        """``stopping`` tells whether nothing new is to be begun."""
        self._client = client
        self._stopping = stopping
        self._attempts = attempts
        self._bus = bus
        self._manners = manners
        self._parallel = parallel
        self._run = uuid.uuid4().hex

    async def bring(self, job: Job, stage: AnyStage) -> Brought:
        """Bring what ``job`` wants. Raises ``RunError`` only; everything else is in the result."""
        brought = Brought()
        await anyio.to_thread.run_sync(stage.prepare)
        await self._believe_staged(job, stage, brought)
        if len(brought.landed) < len(job.wants):
            await self._zips(job, stage, brought)
        missing = self._missing(job, brought)
        if missing:
            await self._singles(job, stage, brought, missing)
        return brought

    @staticmethod
    def _missing(job: Job, brought: Brought) -> list[Want]:
        return [want for want in job.wants if want.local not in brought.landed]

    async def _believe_staged(self, job: Job, stage: AnyStage, brought: Brought) -> None:
        held = await anyio.to_thread.run_sync(stage.whole)
        wanted = {want.local: want for want in job.wants}
        for local, size in held.items():
            want = wanted.get(local)
            landed = None
            if want is not None and want.remote.size in (None, size):
                landed = await anyio.to_thread.run_sync(_verified, stage, want)
            if landed is None:
                await anyio.to_thread.run_sync(stage.drop, local)
                self._bus(events.Again(size))
            else:
                brought.landed[local] = landed
                self._bus(events.Landed(1, landed.size, job.resource.unit.id, before=True))

    def _land(self, brought: Brought, landed: Landed) -> None:
        brought.landed[landed.want.local] = landed
        self._bus(events.Landed(1, landed.size))

    # -- zips ---------------------------------------------------------------------------------------------------

    async def _zips(self, job: Job, stage: AnyStage, brought: Brought) -> None:
        what = job.resource.name
        listed = members.index(
            (file.path for file in job.resource.files), job.resource.unit.id, job.resource.unit.label
        )

        async def step() -> None:
            missing = self._missing(job, brought)
            missing_bytes = sum(want.remote.size or 0 for want in missing)
            held = job.held_bytes + sum(landed.size for landed in brought.landed.values())
            way = plan.how(missing=len(missing), missing_bytes=missing_bytes, held_bytes=held)
            if way is plan.How.ZIP:
                unpacker = Unpacker(
                    stage,
                    {want.remote.path: want for want in missing},
                    listed,
                    _ZIP_SLACK + 2 * sum(file.size or 0 for file in job.resource.files),
                )
                async with self._manners.slot():
                    await self._zip(job, what, unpacker, missing_bytes, brought)

        try:
            await self._attempts(what, step, progress=lambda: len(brought.landed))
        except (Transient, Broken, Vanished, Refused) as error:
            # The single requests that follow say of each file what is the matter with it.
            self._bus(events.Retrying(what, f"{error}; going on file by file", 0.0, 0))

    async def _zip(self, job: Job, what: str, unpacker: Unpacker, size: int, brought: Brought) -> None:
        transfer = self._bus.next_transfer()
        self._bus(events.Began(transfer, what, "zip", size))
        try:
            async with self._client.get(urls.resource_zip(job.resource), what) as answer:
                while piece := await answer.read():
                    fed = await anyio.to_thread.run_sync(unpacker.feed, piece)
                    # Told when it is on disk: what is told may end the run, and then this piece is not lost.
                    self._bus(events.Progress(transfer, len(piece)))
                    self._fed(fed, brought)
                    await self._manners.pace(len(piece))
            self._fed(await anyio.to_thread.run_sync(unpacker.finish), brought)
        finally:
            with anyio.CancelScope(shield=True):
                dropped = await anyio.to_thread.run_sync(unpacker.close)
            if dropped:
                self._bus(events.Again(dropped))
            self._bus(events.Finished(transfer))

    def _fed(self, fed: Fed, brought: Brought) -> None:
        for landed in fed.landed:
            self._land(brought, landed)
        if fed.again:
            self._bus(events.Again(fed.again))
        if fed.error is not None:
            raise fed.error

    # -- single files -------------------------------------------------------------------------------------------

    async def _singles(self, job: Job, stage: AnyStage, brought: Brought, missing: list[Want]) -> None:
        queue = iter(missing)
        async with anyio.create_task_group() as group:
            for _ in range(min(self._parallel, len(missing))):
                group.start_soon(self._take_singles, job, stage, brought, queue)

    async def _take_singles(self, job: Job, stage: AnyStage, brought: Brought, queue: Iterator[Want]) -> None:
        for want in queue:
            if self._stopping():
                brought.parked = True
                return
            path = want.remote.path
            single = _Single(self._client, self._bus, self._manners, job, stage, want, self._run)
            try:
                landed = await self._attempts(single.what, self._slotted(single), progress=single.progress)
            except Vanished:
                brought.vanished.add(path)
            except ItemError as error:
                brought.failed[path] = str(error).removeprefix(f"{single.what}: ")
            else:
                self._land(brought, landed)

    def _slotted(self, single: _Single) -> _Slotted:
        return _Slotted(self._manners, single)


@dataclass(frozen=True, slots=True)
class _Slotted:
    """A single file's attempt, made while holding one of the run's transfer slots."""

    manners: Manners
    single: _Single

    async def __call__(self) -> Landed:
        async with self.manners.slot():
            return await self.single.attempt()


class _Single:
    """One file by a request of its own, its partial kept and gone on with."""

    def __init__(
        self, client: Client, bus: Bus, manners: Manners, job: Job, stage: AnyStage, want: Want, run: str
    ) -> None:
        """``run`` names the run, for partials of which only the run that wrote them can be sure."""
        self._manners = manners
        self._client = client
        self._run = run
        self._bus = bus
        self._resource = job.resource
        self._stage = stage
        self._want = want
        self._part_path = stage.part_path(want.local)
        self._furthest = 0
        self.what = f"{job.resource.name}: {want.remote.path}"

    def progress(self) -> int:
        """How far into the file any attempt came: bytes that come again, or prove wrong, are no gain."""
        return self._furthest

    async def attempt(self) -> Landed:
        """Bring the file, from its partial if that can be gone on with."""
        remote = self._want.remote
        part = await anyio.to_thread.run_sync(_read_part, self._part_path)
        if not resume.usable(part, remote, self._run):
            if part is not None:
                await self._discard(part.held)
            part = None
        if part is not None and resume.complete(part, remote):
            writer = await self._open(append=True)
            try:
                return await self._verify(writer)
            finally:
                with anyio.CancelScope(shield=True):
                    await anyio.to_thread.run_sync(writer.close)
        transfer = self._bus.next_transfer()
        self._bus(events.Began(transfer, self.what, "file", remote.size))
        try:
            path = urls.file(self._resource, remote.path)
            headers = resume.request_headers(part)
            async with self._client.get(path, self.what, headers, _PARTIAL) as answer:
                return await self._receive(answer, part, transfer)
        finally:
            self._bus(events.Finished(transfer))

    async def _receive(self, answer: Answer, part: resume.Part | None, transfer: int) -> Landed:
        remote = self._want.remote
        action = resume.action(part, answer.status, answer.content_range, remote)
        held = part.held if part is not None else 0
        if action is resume.Action.DISCARD:
            await self._discard(held)
            raise Transient(f"{self.what}: the partial is of another version of the file; starting again")
        total = resume.stored_total(answer.status, answer.content_length, answer.content_range)
        if total is not None and remote.size not in (None, total):
            raise Broken(f"{self.what}: the server has {total} bytes where {remote.size} are listed")
        most = total if total is not None else remote.size
        if most is None and remote.md5 is None:
            # Nothing could prove it whole, and nothing would bound it.
            raise Broken(f"{self.what}: {_UNPROVABLE}")
        append = action is resume.Action.APPEND
        if held and not append:
            self._bus(events.Again(held))
        writer = await self._open(append=append)
        try:
            if not append:
                note = resume.Part(0, answer.last_modified, total, remote.md5, remote.size, self._run)
                await anyio.to_thread.run_sync(_write_note, self._part_path, note)
            while piece := await answer.read():
                await anyio.to_thread.run_sync(writer.write, piece)
                self._bus(events.Progress(transfer, len(piece)))
                self._furthest = max(self._furthest, writer.size)
                await self._manners.pace(len(piece))
                if most is not None and writer.size > most:
                    break
            return await self._verify(writer, total)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(writer.close)
            raise

    async def _open(self, *, append: bool) -> disk.Writer:
        return await anyio.to_thread.run_sync(lambda: self._stage.open_part(self._want.local, append=append))

    async def _verify(self, writer: disk.Writer, total: int | None = None) -> Landed:
        remote = self._want.remote
        size, md5 = writer.size, writer.md5
        whole = remote.size if remote.size is not None else total
        if whole is not None and size < whole:
            await anyio.to_thread.run_sync(writer.close)
            raise Transient(f"{self.what}: cut short at {size} of {whole} bytes")
        if plan.same(remote, size, md5) and (whole == size or remote.md5 is not None):
            await anyio.to_thread.run_sync(self._accept, writer)
            return Landed(self._want, size, md5)
        await anyio.to_thread.run_sync(writer.close)
        await self._discard(size)
        raise Broken(f"{self.what}: {_difference(remote, size, md5)}")

    def _accept(self, writer: disk.Writer) -> None:
        self._stage.accept(writer, self._want.local, durable=self._want.remote.md5 is None)
        disk.remove(f"{self._part_path}.json")

    async def _discard(self, held: int) -> None:
        await anyio.to_thread.run_sync(disk.remove, self._part_path)
        self._bus(events.Again(held))


def _difference(remote: RemoteFile, size: int, md5: str) -> str:
    if remote.size is not None and remote.size != size:
        return f"{size} bytes came where {remote.size} are listed"
    if remote.md5 is not None:
        return f"MD5 {md5} came where {remote.md5} is listed"
    return _UNPROVABLE


def _verified(stage: AnyStage, want: Want) -> Landed | None:
    found = stage.verified(want.local)
    return Landed(want, *found) if found is not None and plan.same(want.remote, *found) else None


def _read_part(path: str) -> resume.Part | None:
    """The partial at ``path`` with the note beside it; None if there is none that makes sense."""
    found = disk.stat_of(path)
    if found is None or not found.regular:
        return None
    try:
        note = json.loads(disk.read_bytes(f"{path}.json"))
        return resume.Part(
            held=found.size,
            last_modified=str(note["last_modified"]),
            total=None if note["total"] is None else int(note["total"]),
            md5=None if note["md5"] is None else str(note["md5"]),
            size=None if note["size"] is None else int(note["size"]),
            run=str(note["run"]),
        )
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return resume.Part(found.size, "", None, None, None)


def _write_note(path: str, part: resume.Part) -> None:
    note = {
        "last_modified": part.last_modified,
        "total": part.total,
        "md5": part.md5,
        "size": part.size,
        "run": part.run,
    }
    disk.write_bytes(f"{path}.json", json.dumps(note).encode("ascii"))
