"""One unit's listing -> what is to be brought of it, with what lies here already taken into account.

The walk asks, parses, looks at the ledger and the disk, and lets ``plan`` decide each file. Files that lie here without
a record are hashed and adopted, so that lost state costs time only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import anyio.to_thread

from xnat_sync.core import events, ledger, names, plan
from xnat_sync.core.model import Held, Job, OnDisk, Resource, Unit, Want
from xnat_sync.core.plan import Decision, Kind
from xnat_sync.shell import disk

from .bus import Bus
from .extras import Extras
from .inventory import Lister
from .metadata import Metadata
from .rename import Renames


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
    metadata: Metadata | None = None


@dataclass(frozen=True, slots=True)
class Survey:
    """The jobs that bring what a unit lacks.

    Not ``whole`` if it will lack something all the same; ``again`` if listing it again may help.
    """

    jobs: list[Job]
    whole: bool
    again: bool


@dataclass(slots=True)
class _Sorted:
    """The files of one resource by what is to be done about them."""

    wants: list[Want] = field(default_factory=list)
    adopted: list[Held] = field(default_factory=list)
    conflicts: list[tuple[str, str]] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    skipped_bytes: Counter[str] = field(default_factory=Counter)
    targets: set[str] = field(default_factory=set)
    here: bool = False

    def skip(self, reason: str, size: int) -> None:
        self.skipped[reason] += 1
        self.skipped_bytes[reason] += size


class Walker:
    """Surveys units for one run."""

    def __init__(self, lister: Lister, bus: Bus, mirror: disk.Mirror, renames: Renames, options: WalkOptions) -> None:
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
        return Survey(jobs, whole, again)

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

    async def _look(self, resource: Resource, held: ledger.Replay) -> _Sorted:
        found = await anyio.to_thread.run_sync(self._sort, resource, held)
        if found.adopted and self._options.record:
            await disk.append_text(
                self._mirror.ledger_path(resource.unit.id), ledger.held_line(resource, found.adopted)
            )
        for reason, count in sorted(found.skipped.items()):
            size = found.skipped_bytes[reason]
            self._bus(events.Skipped(resource.unit.id, resource.name, resource.path, count, size, reason))
        for path, reason in found.conflicts:
            self._bus(events.Failed(resource.unit.id, resource.name, path, f"{reason}; kept as it is"))
        return found

    def _job(self, resource: Resource, found: _Sorted) -> Job:
        wants, held_bytes = tuple(found.wants), sum(found.skipped_bytes.values())
        job = Job(resource, wants, fresh=not found.here, held_bytes=held_bytes)
        reasons = tuple(sorted(Counter(want.reason for want in wants).items()))
        self._bus(events.Planned(resource.unit.id, resource.name, resource.path, len(wants), job.bytes, reasons))
        return job

    def _sort(self, resource: Resource, held: ledger.Replay) -> _Sorted:
        found = _Sorted()
        folder = self._mirror.path(resource.path)
        locals_ = names.assign_paths(file.path for file in resource.files)
        standing = disk.stat_of(folder)
        found.here = standing is not None
        for file in resource.files:
            local = locals_[file.path]
            at = f"{resource.folder}/{local}"
            found.targets.add(at)
            path = f"{folder}/{local}"
            record = held.files.get(at)
            on_disk = disk.stat_of(path) if found.here else None
            decision = plan.decide(file, record, on_disk, overwrite=self._options.overwrite)
            fact: tuple[OnDisk, str] | None = None
            if decision.kind is Kind.CHECK:
                fact = disk.hash_of(path)
                if fact is None:
                    decision = Decision(Kind.CONFLICT, "changing while it is read")
                else:
                    on_disk = fact[0]
                    decision = plan.decide_hashed(
                        file, record, on_disk.size, fact[1], overwrite=self._options.overwrite
                    )
            match decision.kind:
                case Kind.FETCH:
                    found.wants.append(Want(file, local, decision.reason))
                case Kind.REFETCH:
                    found.wants.append(Want(file, local, decision.reason, replaces=on_disk))
                case Kind.CONFLICT:
                    found.conflicts.append((file.path, decision.reason))
                case _:
                    found.skip(decision.reason, on_disk.size if on_disk else 0)
                    if fact is not None:
                        on, md5 = fact
                        found.adopted.append(Held(at, file.path, on.size, md5, on.mtime_ns, resource.id))
        return found
