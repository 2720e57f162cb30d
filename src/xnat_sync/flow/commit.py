"""Verified files in staging -> final names -> the ledger, in that order.

A resource of which nothing stands yet appears by one rename, and only when all of it that the server has is there.
Into a folder that stands already, files go one by one; what is found there against the plan is never overwritten:
if it is the same file it is adopted, else it is a conflict. Bytes are made durable before the rename, the names after
it, and the ledger line comes last.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import anyio
import anyio.to_thread

from xnat_sync.core import events, ledger, plan
from xnat_sync.core.errors import Conflict, DiskTrouble, ItemError
from xnat_sync.core.model import Held, Job, Landed
from xnat_sync.shell import disk
from xnat_sync.shell.mirror import Mirror
from xnat_sync.shell.stage import Stage
from xnat_sync.shell.zipstore import ZipStage

from .bus import Bus
from .fetch import AnyStage, Brought

_SYNC_THREADS = 4


class Committer:
    """Gives landed files their final names, and records them."""

    def __init__(self, bus: Bus, mirror: Mirror) -> None:
        self._bus = bus
        self._mirror = mirror

    async def commit(self, job: Job, stage: AnyStage, brought: Brought) -> bool:
        """Settle what ``brought`` holds; True if the resource now has all that the server has of it.

        Tells of failures and of what vanished. A new resource that is not whole stays in staging.
        """
        resource = job.resource
        landed = list(brought.landed.values())
        failed = dict(brought.failed)
        held: list[Held] = []
        whole = not (failed or brought.parked)
        if landed and (whole or (isinstance(stage, Stage) and not job.fresh)):
            if isinstance(stage, Stage):
                await self._make_durable(stage, landed)
            with anyio.CancelScope(shield=True):
                if isinstance(stage, Stage):
                    held = await self._settle(job, stage, landed, failed)
                else:
                    held, lost = await anyio.to_thread.run_sync(self._replace_zip, job, stage)
                    if lost:
                        await disk.append_text(self._mirror.ledger_path(resource.unit.id), ledger.gone_line(lost))
                        raise ItemError(f"{len(lost)} members of its zip cannot be read; they are fetched again")
                if held:
                    path = self._mirror.ledger_path(resource.unit.id)
                    await disk.append_text(path, ledger.held_line(resource, held))
                    self._tell(job, held)
        for path, error in failed.items():
            self._bus(events.Failed(resource.unit.id, resource.name, path, error))
        for path in sorted(brought.vanished):
            self._bus(events.Vanished(resource.unit.id, resource.name, path))
        if failed or brought.parked:
            return False
        await anyio.to_thread.run_sync(stage.clear)
        return True

    def _tell(self, job: Job, held: Sequence[Held]) -> None:
        reasons = {want.remote.path: want.reason for want in job.wants}
        files = tuple((row.path, row.size, reasons[row.path]) for row in held if row.path in reasons)
        resource = job.resource
        self._bus(events.Committed(resource.unit.id, resource.name, resource.path, files))

    def _replace_zip(self, job: Job, stage: ZipStage) -> tuple[list[Held], list[str]]:
        """Complete the zip with what the standing one has, and put it in its place as a whole.

        Gives what is held then, and the members of the standing zip that cannot be read: with any of these nothing
        is replaced.
        """
        resource = job.resource
        at = self._mirror.below(resource.unit.folder, resource.archive)
        target = self._mirror.path(at)
        if job.keep:
            stage.adopt_from(target, job.keep.keys())
        path, files = stage.finish()
        brought = {want.local: want.remote.path for want in job.wants}
        lost = [
            local
            for local, member in job.keep.items()
            if local not in brought and files.get(local) != (member.size, member.md5)
        ]
        if lost:
            return [], [f"{resource.archive}/{local}" for local in lost]
        differs = [
            want.local for want in job.wants
            if want.reason == plan.COMPARE and (member := job.keep.get(want.local)) is not None
            and files.get(want.local) != (member.size, member.md5)
        ]  # fmt: skip
        if differs or disk.stat_of(target) != job.standing:
            raise Conflict(f"{target} changed while the run went on, and is kept as it is")
        servers = {local: member.path for local, member in job.keep.items()} | brought
        stat = self._mirror.replace(path, at)
        return [
            Held(f"{resource.archive}/{local}", servers[local], size, md5, stat.mtime_ns, resource.id,
                 resource.archive, stat.size)
            for local, (size, md5) in files.items()
        ], []  # fmt: skip

    async def _make_durable(self, stage: Stage, landed: Sequence[Landed]) -> None:
        paths = [f"{stage.tree}/{item.want.local}" for item in landed]
        async with anyio.create_task_group() as group:
            for start in range(min(_SYNC_THREADS, len(paths))):
                group.start_soon(anyio.to_thread.run_sync, disk.sync_paths, paths[start::_SYNC_THREADS])

    async def _settle(self, job: Job, stage: Stage, landed: Sequence[Landed], failed: dict[str, str]) -> list[Held]:
        if job.fresh:
            held = await anyio.to_thread.run_sync(self._appear, job, stage, landed)
            if held is not None:
                return held
        return await anyio.to_thread.run_sync(self._one_by_one, job, stage, landed, failed.__setitem__)

    def _appear(self, job: Job, stage: Stage, landed: Sequence[Landed]) -> list[Held] | None:
        rows = [self._row(job, item, f"{stage.tree}/{item.want.local}") for item in landed]
        disk.sync_paths(stage.folders())
        return rows if self._mirror.appear(stage, job.resource.path) else None

    def _one_by_one(
        self, job: Job, stage: Stage, landed: Sequence[Landed], fail: Callable[[str, str], None]
    ) -> list[Held]:
        rows, folders = [], set()
        for item in landed:
            target = self._mirror.path(f"{job.resource.path}/{item.want.local}")
            try:
                if self._stands_already(item, target):
                    disk.sync_paths([target])
                    folders.add(target.rpartition("/")[0])
                    rows.append(self._row(job, item, target))
                    continue
                row = self._row(job, item, f"{stage.tree}/{item.want.local}")
                self._mirror.settle(stage, item.want.local, job.resource.path)
                rows.append(row)
                folders.add(target.rpartition("/")[0])
            except ItemError as error:
                fail(item.want.remote.path, str(error))
        disk.sync_paths(sorted(folders))
        return rows

    @staticmethod
    def _stands_already(item: Landed, target: str) -> bool:
        standing = disk.stat_of(target)
        if standing is None or standing == item.want.replaces:
            return False
        found = disk.hash_of(target) if standing.regular else None
        if found is not None and (found[0].size, found[1]) == (item.size, item.md5):
            return True
        raise Conflict(f"{target} changed while the run went on, and is kept as it is")

    @staticmethod
    def _row(job: Job, item: Landed, path: str) -> Held:
        stat = disk.stat_of(path)
        if stat is None:
            raise DiskTrouble(f"{path} is gone as soon as it was written: does another process remove it?")
        want, folder = item.want, job.resource.folder
        return Held(f"{folder}/{want.local}", want.remote.path, item.size, item.md5, stat.mtime_ns, job.resource.id)
