"""What we hold and the server no longer lists: moved to where it is listed now, reported, or taken to the trash.

A file whose size and MD5 are those of a file that is wanted elsewhere in the unit is renamed on the server, so it
goes to the staging of its new resource, where it is proved like anything staged by an earlier run: nothing is
fetched. What remains is extra. It is only ever taken away on request, after a listing without any failure, never more
than is allowed, never when it was changed here, and then into a trash folder.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import anyio.to_thread

from xnat_sync.core import events, layout, ledger
from xnat_sync.core.model import Held, Resource, Unit, Want
from xnat_sync.shell import disk

from .bus import Bus

MOVED = "moved here"


@dataclass(frozen=True, slots=True)
class Extra:
    """A file that we hold and the server does not list. ``at`` is relative to the project's folder."""

    unit: str
    folder: str
    held: Held

    @property
    def at(self) -> str:
        """What lies under the project's folder: the file, or the zip that it is in."""
        return f"{self.folder}/{self.held.stands_at}" if self.folder else self.held.stands_at


class Extras:
    """Finds and settles the extras of one run."""

    def __init__(self, bus: Bus, mirror: disk.Mirror) -> None:
        self._bus = bus
        self._mirror = mirror
        self.found: list[Extra] = []

    async def sort(
        self, unit: Unit, held: ledger.Replay, targets: frozenset[str], wanted: Sequence[tuple[Resource, list[Want]]]
    ) -> None:
        """Settle what ``unit`` holds beside ``targets``, its listed files; ``wanted`` are changed in place."""
        beside = [row for at, row in held.files.items() if at not in targets and at != layout.METADATA]
        if not beside:
            return
        gone, extra = await anyio.to_thread.run_sync(self._settle, unit, beside, wanted)
        if gone:
            await disk.append_text(self._mirror.ledger_path(unit.id), ledger.gone_line(gone))
        # What lies in a zip that is still listed stays in it, and is only told.
        archives = {resource.archive for resource, _ in wanted}
        kept = [row for row in extra if row.archive in archives]
        for row in kept:
            self._bus(events.Extra(unit.id, unit.label, row.at, row.size))
        self._tell(unit.id, unit.label, unit.folder, [row for row in extra if row not in kept])

    def _settle(
        self, unit: Unit, beside: Sequence[Held], wanted: Sequence[tuple[Resource, list[Want]]]
    ) -> tuple[list[str], list[Held]]:
        places: defaultdict[tuple[int | None, str | None], list[tuple[Resource, list[Want], int]]] = defaultdict(list)
        for resource, wants in wanted:
            for number, want in enumerate(wants):
                if want.remote.md5 is not None and want.replaces is None:
                    places[want.remote.size, want.remote.md5].append((resource, wants, number))
        gone, extra = [], []
        for row in beside:
            path = self._mirror.path(self._mirror.below(unit.folder, row.stands_at))
            standing = disk.stat_of(path)
            if standing is None:
                gone.append(row.at)
            elif not row.archive and (standing.size, standing.mtime_ns) == row.stat and places[row.size, row.md5]:
                resource, wants, number = places[row.size, row.md5].pop()
                self._mirror.stage(unit.id, resource.id).take(path, wants[number].local)
                wants[number] = replace(wants[number], reason=MOVED)
                self._mirror.prune(os.path.dirname(path))
                gone.append(row.at)
            else:
                extra.append(row)
        return gone, extra

    async def of_dead_units(self, alive: frozenset[str]) -> None:
        """Find what is held of units that the project no longer has."""
        for unit, replay in await anyio.to_thread.run_sync(self._dead, alive):
            self._tell(unit, unit, replay.folder or "", list(replay.files.values()))

    def _dead(self, alive: frozenset[str]) -> list[tuple[str, ledger.Replay]]:
        found = []
        for path in self._mirror.ledgers():
            replay = ledger.replay(disk.read_bytes(path).decode("utf-8", "replace"))
            if replay.unit and replay.unit not in alive and replay.files:
                found.append((replay.unit, replay))
        return found

    def _tell(self, unit: str, label: str, folder: str, rows: Sequence[Held]) -> None:
        known = {(extra.folder, extra.held.at) for extra in self.found}
        for row in rows:
            extra = Extra(unit, folder, row)
            if (folder, row.at) in known:
                continue
            self.found.append(extra)
            self._bus(events.Extra(unit, label, extra.at, row.size))

    async def trash(self, limit: int) -> None:
        """Take the extras away; if there are more than ``limit``, take none and tell."""
        if len(self.found) > limit:
            self._bus(
                events.Failed(
                    "", "--delete", "", f"{len(self.found)} files are extra, more than --max-delete allows "
                    f"({limit}): none is taken away. Look at the report, then allow more",
                )
            )  # fmt: skip
            return
        folder = f"{self._mirror.state}/trash/{datetime.now(UTC):%Y-%m-%d}"
        by_unit: defaultdict[str, list[Extra]] = defaultdict(list)
        for extra in self.found:
            by_unit[extra.unit].append(extra)
        for unit, extras in by_unit.items():
            gone = await anyio.to_thread.run_sync(self._take_away, extras, folder)
            if gone:
                await disk.append_text(self._mirror.ledger_path(unit), ledger.gone_line(gone))

    def _take_away(self, extras: Sequence[Extra], folder: str) -> list[str]:
        gone = []
        for extra in extras:
            path = self._mirror.path(extra.at)
            standing = disk.stat_of(path)
            if standing is not None and (standing.size, standing.mtime_ns) != extra.held.stat:
                self._bus(events.Failed(extra.unit, "--delete", extra.at, "changed locally; kept as it is"))
                continue
            if standing is not None:
                self._mirror.take_away(extra.at, folder)
            gone.append(extra.held.at)
            self._bus(events.Trashed(extra.unit, extra.at, extra.held.size))
        return gone
