"""What earlier runs left: which units stand as the server last described them, and which must be listed.

The index only saves requests. A unit that it calls unchanged is still held against the disk, file by file, and listed
as soon as one of them is not what its ledger says.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain

import anyio
import anyio.to_thread

from xnat_sync.core import events, index, ledger
from xnat_sync.core.model import Held, Unit, UnitKind
from xnat_sync.shell import disk
from xnat_sync.shell.mirror import Mirror

from .bus import Bus

# A step in a thread costs as much as looking at some fifty files, and what a step has read is held until it ends.
_MANY_FILES = 2000
_MANY_UNITS = 64
_FEW_FILES = 50
_DISTANT = 25e-6  # seconds a file


class Standing:
    """The index of one mirror during one run."""

    def __init__(self, mirror: Mirror, bus: Bus, needs: str = "") -> None:
        """``needs`` names a file that every experiment must have besides what is listed."""
        self._needs = needs
        self._mirror = mirror
        self._bus = bus
        # While the disk answers from memory, two that look hand the interpreter's lock to and fro at each call, and
        # take longer than one after the other would. A distant file system is waited for: there all may look at once.
        self._looks = anyio.CapacityLimiter(1)
        self._seen: dict[str, index.Seen] = {}
        self._current: frozenset[str] = frozenset()

    @property
    def subjects(self) -> dict[str, str]:
        """Id -> label of the subjects seen so far, those without experiments too."""
        return {seen.id: seen.label for seen in self._seen.values() if seen.kind == "subject"}

    async def load(self) -> None:
        """Read the index, and rewrite it if it has grown much longer than it need be."""
        text = await disk.read_text(self._mirror.index_path)
        self._seen = await anyio.to_thread.run_sync(index.replay, text)
        if text.count("\n") > 2 * len(self._seen) + 64:
            await disk.replace_text(self._mirror.index_path, index.compacted(self._seen.values()))

    @property
    def folders(self) -> dict[str, str]:
        """Id -> folder of every unit seen so far."""
        return {seen.id: seen.folder for seen in self._seen.values()}

    async def moved(self, units: Iterable[Unit]) -> None:
        """Record that units lie in their new folders."""
        for unit in units:
            if (seen := self._seen.get(unit.id)) is not None:
                self._seen[unit.id] = seen = replace(seen, folder=unit.folder, label=unit.label)
                await disk.append_text(self._mirror.index_path, index.line(seen), durable=False)

    def judge(self, units: Iterable[Unit], relist_after: float) -> None:
        """Settle which of the units need no listing; with ``relist_after`` 0 all are listed."""
        again = index.due(self._seen.values(), time.time(), relist_after)
        self._current = index.current(units, self._seen, again)

    def all_current(self, units: Iterable[Unit]) -> bool:
        """Whether none of the units need be listed."""
        return all(unit.id in self._current for unit in units)

    def together(self, units: Iterable[Unit]) -> Iterator[tuple[Unit, ...]]:
        """The units in the order given, in groups that are worth a step in a thread each.

        A group is of units that may need no listing, and of few files; what must be listed is alone.
        """
        group: list[Unit] = []
        files = 0
        for unit in units:
            count = self._seen[unit.id].files if self._may_stand(unit) else _MANY_FILES + 1
            if group and (files + count > _MANY_FILES or len(group) == _MANY_UNITS):
                yield tuple(group)
                group, files = [], 0
            group.append(unit)
            files += count
        if group:
            yield tuple(group)

    async def look(self, units: Sequence[Unit], *, extras: bool) -> list[ledger.Replay | None]:
        """What is held of each unit, if it need not be listed and its files are all as its ledger says.

        ``extras`` says whether it will do with files that were not listed; without it, such a unit is listed.
        """
        if not any(map(self._may_stand, units)):
            return [None] * len(units)
        found, took = await anyio.to_thread.run_sync(self._look_at, units, extras, limiter=self._looks)
        if took > _DISTANT * (_FEW_FILES + sum(len(held.files) for held in found if held is not None)):
            self._looks.total_tokens = math.inf
        return found

    def _look_at(self, units: Sequence[Unit], extras: bool) -> tuple[list[ledger.Replay | None], float]:
        began = time.perf_counter()
        return [self._look(unit, extras=extras) for unit in units], time.perf_counter() - began

    def _may_stand(self, unit: Unit) -> bool:
        return unit.id in self._current and unit.id in self._seen

    def _look(self, unit: Unit, *, extras: bool) -> ledger.Replay | None:
        if not self._may_stand(unit):
            return None
        seen, held = self._seen[unit.id], self._read(unit)
        if (len(held.files), held.bytes) != (seen.files, seen.bytes) or (held.extra and not extras):
            return None
        return held if self._fits(unit, held) and not self._astray(unit, held.files.values()) else None

    def confirm(self, unit: Unit, held: ledger.Replay) -> None:
        """Tell that a unit needs nothing; ``held`` is what was found by ``look``."""
        seen = self._seen[unit.id]
        count = seen.files - len(held.extra)
        if count:
            size = seen.bytes - sum(held.files[at].size for at in held.extra)
            self._bus(events.Skipped(unit.id, unit.label, unit.folder, count, size, "unchanged"))

    def _read(self, unit: Unit) -> ledger.Replay:
        return ledger.replay(disk.read_bytes(self._mirror.ledger_path(unit.id)).decode("utf-8", "replace"))

    def _fits(self, unit: Unit, held: ledger.Replay) -> bool:
        """Whether a ledger can be believed to be all of the unit, where that lies now."""
        if held.damaged or (held.folder != unit.folder and held.files):
            return False
        return not self._needs or unit.kind is not UnitKind.EXPERIMENT or self._needs in held.files

    def _astray(self, unit: Unit, rows: Iterable[Held]) -> str:
        """The first file that is not as its ledger says; ``""`` if all are."""
        rows = list(rows)
        zips = {(row.archive, row.archive_size, row.mtime_ns) for row in rows if row.archive}
        files = ((row.at, row.size, row.mtime_ns) for row in rows if not row.archive)
        return disk.astray(self._mirror.path(unit.folder), chain(files, sorted(zips)))

    def _end(self, unit: Unit) -> tuple[str, ledger.Replay | None]:
        """A listed file that is astray; and what is held, if all of it, files no more listed too, can be believed."""
        held = self._read(unit)
        if astray := self._astray(unit, [row for at, row in held.files.items() if at not in held.extra]):
            return astray, None
        extra_is_astray = self._astray(unit, [held.files[at] for at in held.extra])
        return "", None if extra_is_astray or not self._fits(unit, held) else held

    async def stands(self, unit: Unit) -> str:
        """Record that ``unit`` was listed and is whole, if it still is; else a file that is gone or was changed."""
        astray, held = await anyio.to_thread.run_sync(self._end, unit)
        if held is None:
            return astray
        self._seen[unit.id] = seen = index.Seen(
            unit.id, unit.kind.value, unit.label, unit.subject_id, unit.folder, unit.last_modified, time.time(),
            len(held.files), held.bytes,
        )  # fmt: skip
        await disk.append_text(self._mirror.index_path, index.line(seen), durable=False)
        return ""

    async def lessens(self, unit: str) -> None:
        """Record that files of a unit were taken away of which the server has no more."""
        if (seen := self._seen.get(unit)) is None:
            return
        held = ledger.replay(await disk.read_text(self._mirror.ledger_path(unit)))
        self._seen[unit] = seen = replace(seen, files=len(held.files), bytes=held.bytes)
        await disk.append_text(self._mirror.index_path, index.line(seen), durable=False)

    async def falls(self, unit: Unit) -> None:
        """Record that ``unit`` is not whole any more, as far as is known."""
        if self._seen.pop(unit.id, None) is not None:
            await disk.append_text(self._mirror.index_path, index.gone_line(unit.id), durable=False)
