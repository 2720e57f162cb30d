"""What we hold and the server no longer lists: moved to where it is listed now, reported, or taken to the trash.

A file whose size and MD5 are those of a file that is wanted elsewhere in the unit is renamed on the server, so it
goes to the staging of its new resource, where it is proved like anything staged by an earlier run: nothing is
fetched. What remains is extra, and the ledger remembers it, so that an unchanged unit's extras are told again without a
listing. It is only ever taken away on request, after a listing without any failure, never more than is allowed, never
when it was changed here, and then into a trash folder. From a zip that is still listed members are taken by putting
together a zip without them; a zip that is not is renamed or taken away whole.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import anyio.to_thread

from xnat_sync.core import events, layout, ledger
from xnat_sync.core.errors import Conflict, ItemError
from xnat_sync.core.model import Held, OnDisk, Resource, Unit, Want
from xnat_sync.shell import disk
from xnat_sync.shell.mirror import Mirror
from xnat_sync.shell.zipstore import ZipStage, extract

from .bus import Bus

MOVED = "moved here"


@dataclass(frozen=True, slots=True)
class Extra:
    """A file that we hold and the server does not list. Paths are relative to the project's folder."""

    unit: str
    folder: str
    held: Held

    @property
    def at(self) -> str:
        """The file, or the member of a zip."""
        return Mirror.below(self.folder, self.held.at)

    @property
    def stands_at(self) -> str:
        """The file, or the zip that it is in."""
        return Mirror.below(self.folder, self.held.stands_at)


class Extras:
    """Finds and settles the extras of one run."""

    def __init__(self, bus: Bus, mirror: Mirror) -> None:
        self._bus = bus
        self._mirror = mirror
        self.found: list[Extra] = []

    async def sort(
        self, unit: Unit, held: ledger.Replay, targets: frozenset[str], wanted: Sequence[tuple[Resource, list[Want]]]
    ) -> None:
        """Settle what ``unit`` holds beside ``targets``, its listed files; ``wanted`` are changed in place."""
        beside = [row for at, row in held.files.items() if at not in targets and at != layout.METADATA]
        gone, extra = await anyio.to_thread.run_sync(self._settle, unit, beside, wanted)
        lines = ledger.gone_line(gone) if gone else ""
        if (beside_now := {row.at for row in extra}) != held.extra.difference(gone):
            lines += ledger.extra_line(beside_now)
        if lines:
            await disk.append_text(self._mirror.ledger_path(unit.id), lines)
        self._tell(unit.id, unit.label, unit.folder, extra)

    def remember(self, unit: Unit, held: ledger.Replay) -> None:
        """Tell of the extras of a unit that is as it was when it was last listed."""
        self._tell(unit.id, unit.label, unit.folder, [held.files[at] for at in sorted(held.extra)])

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
            elif not row.archive and places[row.size, row.md5] and _as_recorded(path, row, standing):
                disk.must_be_beneath(path, self._mirror.root)
                resource, wants, number = places[row.size, row.md5].pop()
                self._mirror.stage(unit.id, resource.id).take(path, wants[number].local)
                wants[number] = replace(wants[number], reason=MOVED)
                self._mirror.prune(os.path.dirname(path))
                gone.append(row.at)
            else:
                extra.append(row)
        return gone, extra

    async def of_dead_units(self, alive: Mapping[str, str]) -> None:
        """Find what is held of units that the project no longer has; ``alive`` are those it has, id -> folder.

        What a unit that is alive holds is not extra, whatever else claims it: so it is where a session was removed and
        uploaded anew under the same label.
        """
        for unit, replay, rows in await anyio.to_thread.run_sync(self._dead, alive):
            self._tell(unit, unit, replay.folder or "", rows)

    def _dead(self, alive: Mapping[str, str]) -> list[tuple[str, ledger.Replay, list[Held]]]:
        found = []
        known = {self._mirror.ledger_path(unit) for unit in alive}
        for path in self._mirror.ledgers():
            if path in known:
                continue
            replay = self._replay(path)
            if replay.unit and replay.unit not in alive and replay.files:
                taken = self._held_near(replay.folder or "", alive)
                rows = [
                    row for row in replay.files.values() if Extra("", replay.folder or "", row).stands_at not in taken
                ]
                found.append((replay.unit, replay, rows))
        return found

    @staticmethod
    def _replay(path: str) -> ledger.Replay:
        return ledger.replay(disk.read_bytes(path).decode("utf-8", "replace"))

    def _held_near(self, folder: str, alive: Mapping[str, str]) -> set[str]:
        """What units hold that are alive and lie in ``folder``, around it, or below it."""
        return {
            Extra(unit, other, row).stands_at
            for unit, other in alive.items()
            if f"{other}/".startswith(f"{folder}/") or f"{folder}/".startswith(f"{other}/") or not folder or not other
            for row in self._replay(self._mirror.ledger_path(unit)).files.values()
        }

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
            path = self._mirror.ledger_path(unit)
            replay = ledger.replay(await disk.read_text(path))
            by_file: defaultdict[str, list[Extra]] = defaultdict(list)
            for extra in extras:
                by_file[extra.stands_at].append(extra)
            for members in by_file.values():
                try:
                    lines = await anyio.to_thread.run_sync(self._take_away, members, replay, folder)
                except ItemError as error:
                    self._bus(events.Failed(unit, "--delete", members[0].at, str(error)))
                    continue
                await disk.append_text(path, lines)
                for extra in members:
                    self._bus(events.Trashed(unit, extra.at, extra.held.size))

    def _take_away(self, extras: Sequence[Extra], replay: ledger.Replay, folder: str) -> str:
        """Take away one file, or members of one zip; the ledger's lines for it. Raises ``ItemError``."""
        first, names = extras[0], {extra.held.at for extra in extras}
        gone = ledger.gone_line(sorted(names))
        standing = disk.stat_of(self._mirror.path(first.stands_at))
        if standing is None:
            return gone
        # What was fetched since the extras were found has changed the zip that they are in, and its record with it.
        recorded = replay.files.get(first.held.at, first.held)
        if not _as_recorded(self._mirror.path(first.stands_at), recorded, standing):
            raise Conflict("changed locally; kept as it is")
        archive = first.held.archive
        stay = [row for row in replay.files.values() if archive and row.archive == archive and row.at not in names]
        if not stay:
            self._mirror.take_away(first.stands_at, folder)
            return gone
        stay = self._without(extras, stay, folder)
        return gone + ledger.rezipped_line(stay, replay.labels.get(stay[0].resource, ""))

    def _without(self, extras: Sequence[Extra], stay: Sequence[Held], trash: str) -> list[Held]:
        """Put a zip together anew, without members that go to the trash; the rows of those that stay."""
        at, archive = extras[0].stands_at, stay[0].archive
        path = self._mirror.path(at)
        names = {row.at.removeprefix(f"{archive}/"): row for row in stay}
        stage = ZipStage(self._mirror.stage(extras[0].unit, stay[0].resource).root)
        stage.clear()
        stage.prepare()
        try:
            stage.adopt_from(path, names.keys())
            fresh, files = stage.finish()
            if files != {local: (row.size, row.md5) for local, row in names.items()}:
                raise Conflict("members of its zip cannot be read; it is kept as it is")
            taken = {extra.held.at.removeprefix(f"{archive}/"): extra for extra in extras}
            places = {
                local: self._mirror.trash_path(extra.at.replace(archive, archive.removesuffix(".zip"), 1), trash)
                for local, extra in taken.items()
            }
            if extract(path, places) != {local: (extra.held.size, extra.held.md5) for local, extra in taken.items()}:
                raise Conflict("members of its zip cannot be read; it is kept as it is")
            disk.sync_paths(sorted({os.path.dirname(place) for place in places.values()}))
            standing = self._mirror.replace(fresh, at)
        finally:
            stage.clear()
        return [row._replace(mtime_ns=standing.mtime_ns, archive_size=standing.size) for row in stay]


def _as_recorded(path: str, row: Held, standing: OnDisk) -> bool:
    """Whether a file is still what the ledger says, though it may have been touched; a zip counts as a whole."""
    if (standing.size, standing.mtime_ns) == row.stat:
        return True
    if row.archive or standing.size != row.size:
        return False
    found = disk.hash_of(path)
    return found is not None and found[0].regular and found[1] == row.md5
