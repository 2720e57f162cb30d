"""One unit's listing -> what is to be brought of it, with what lies here already taken into account.

The walk asks, parses, looks at the ledger and the disk, and lets ``plan`` decide each file. Files that lie here without
a record are hashed and adopted, so that lost state costs time only.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import anyio.to_thread

from xnat_sync.core import events, ledger
from xnat_sync.core.model import Job, Resource, Unit
from xnat_sync.shell import disk
from xnat_sync.shell.mirror import Mirror

from . import archives, sorting
from .bus import Bus
from .extras import Extras
from .inventory import Lister
from .metadata import Metadata
from .rename import Renames
from .sorting import Sorted


@dataclass(frozen=True, slots=True)
class WalkOptions:
    """What of a unit is wanted: ``wanted`` says it of each resource, ``wholly`` whether it is all of a unit.

    Without ``record`` nothing at all is written.
    """

    extras: Extras
    wanted: Callable[[Resource], bool]
    wholly: Callable[[Unit], bool]
    overwrite: bool = False
    record: bool = True
    zipped: bool = False
    metadata: Metadata | None = None


@dataclass(frozen=True, slots=True)
class Survey:
    """The jobs that bring what a unit lacks.

    Not ``whole`` if it will lack something all the same; ``again`` if listing it again may help; ``doubtful`` if the
    server may hide files of it.
    """

    jobs: list[Job]
    whole: bool
    again: bool
    doubtful: bool = False


class Walker:
    """Surveys units for one run."""

    def __init__(self, lister: Lister, bus: Bus, mirror: Mirror, renames: Renames, options: WalkOptions) -> None:
        self._lister = lister
        self._renames = renames
        self._bus = bus
        self._mirror = mirror
        self._options = options

    async def survey(self, unit: Unit) -> Survey:
        """What ``unit`` lacks; what is adopted is recorded.

        Raises ``ItemError`` if the unit cannot be listed.
        """
        inventory = await self._lister.take(unit)
        held = await self._ledger(unit)
        whole = inventory.whole
        if self._options.metadata is not None and self._options.record:
            whole &= await self._options.metadata.keep(unit, held)
        if self._options.zipped and self._options.record and inventory.whole:
            held = await self._follow(unit, held, inventory.resources)
        jobs = []
        again = not inventory.whole
        looked = []
        for resource in inventory.resources:
            if self._options.wanted(resource):
                found = await self._look(resource, held)
                whole &= not found.conflicts
                looked.append((resource, found))
        if inventory.whole and self._options.wholly(unit) and self._options.record:
            targets = frozenset(at for _, found in looked for at in found.targets)
            wanted = [(resource, found.wants) for resource, found in looked]
            await self._options.extras.sort(unit, held, targets, wanted)
        for resource, found in looked:
            if found.wants:
                jobs.append(self._job(resource, found))
        return Survey(jobs, whole, again, inventory.doubtful)

    async def _ledger(self, unit: Unit) -> ledger.Replay:
        path = self._mirror.ledger_path(unit.id)
        text = await disk.read_text(path)
        held = await anyio.to_thread.run_sync(ledger.replay, text)
        if not self._options.record:
            return held
        if held.folder is None:
            await disk.append_text(path, ledger.header_line(unit))
        elif held.folder != unit.folder:
            # Renamed on the server while no index told of it: hashing finds out what lies at the new place.
            await self._renames.settle([unit], {unit.id: held.folder})
            held = ledger.replay(await disk.read_text(path))
        if held.worth_compacting():
            await disk.replace_text(path, ledger.compacted(unit, held))
        return held

    async def _follow(self, unit: Unit, held: ledger.Replay, resources: Sequence[Resource]) -> ledger.Replay:
        lines = await anyio.to_thread.run_sync(archives.follow, unit, held, resources, self._mirror)
        if not lines:
            return held
        path = self._mirror.ledger_path(unit.id)
        await disk.append_text(path, lines)
        return ledger.replay(await disk.read_text(path))

    async def _look(self, resource: Resource, held: ledger.Replay) -> Sorted:
        sort = sorting.zipped if self._options.zipped else sorting.files
        found = await anyio.to_thread.run_sync(
            functools.partial(sort, resource, held, self._mirror, overwrite=self._options.overwrite)
        )
        if self._options.record:
            await self._record(resource, held, found)
        for reason, count in sorted(found.skipped.items()):
            size = found.skipped_bytes[reason]
            self._bus(events.Skipped(resource.unit.id, resource.name, resource.path, count, size, reason))
        for path, reason in found.conflicts:
            self._bus(events.Failed(resource.unit.id, resource.name, path, f"{reason}; kept as it is"))
        return found

    async def _record(self, resource: Resource, held: ledger.Replay, found: Sorted) -> None:
        lines = ""
        if found.gone:
            # Members of a zip that was put together anew by a run that did not live to say so.
            lines = ledger.gone_line(found.gone)
            for at in found.gone:
                held.files.pop(at, None)
                held.extra.discard(at)
        if found.adopted:
            # What others have put here may not have come to the disk yet.
            base = self._mirror.path(resource.unit.folder)
            paths = sorted({f"{base}/{row.stands_at}" for row in found.adopted})
            await anyio.to_thread.run_sync(disk.sync_paths, paths)
            lines += ledger.held_line(resource, found.adopted)
        if lines:
            await disk.append_text(self._mirror.ledger_path(resource.unit.id), lines)

    def _job(self, resource: Resource, found: Sorted) -> Job:
        wants, held_bytes = tuple(found.wants), sum(found.skipped_bytes.values())
        job = Job(resource, wants, not found.here, held_bytes, found.keep, found.standing)
        reasons = tuple(sorted(Counter(want.reason for want in wants).items()))
        self._bus(events.Planned(resource.unit.id, resource.name, resource.path, len(wants), job.bytes, reasons))
        return job
