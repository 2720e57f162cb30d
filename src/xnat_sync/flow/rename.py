"""A unit that was renamed or moved on the server is renamed here, and nothing of it is fetched.

Two halves, so that labels may be swapped: first everything that moves is taken out of the way, then the ledger of each
gets a new first line, and each its new place. So what stands at the old place of a unit is its own only as long as its
ledger says so, and a run that is killed anywhere is completed by the next.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import anyio.to_thread

from xnat_sync.core import ledger, names
from xnat_sync.core.model import Unit
from xnat_sync.shell import disk
from xnat_sync.shell.mirror import Mirror


class Renames:
    """Renames units in one mirror."""

    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror

    async def settle(self, units: Iterable[Unit], folders: Mapping[str, str]) -> list[Unit]:
        """Move each unit from where ``folders`` says it lies to where it belongs; returns those that moved."""
        all_units = list(units)
        away = [unit for unit in all_units if folders.get(unit.id, unit.folder) != unit.folder]
        lies = {unit.id: await self._lies(unit, folders[unit.id]) for unit in away}
        moving = [unit for unit in away if lies[unit.id] != unit.folder]
        halfway = await anyio.to_thread.run_sync(self._mirror.moved_out)
        for unit in moving:
            await anyio.to_thread.run_sync(self._mirror.move_out, unit.id, unit.own(lies[unit.id]))
        waiting = [*moving, *(unit for unit in all_units if names.safe(unit.id) in halfway)]
        for unit in moving:
            # Whether or not there was anything to move, this is where the unit lies from now on.
            await disk.append_text(self._mirror.ledger_path(unit.id), ledger.header_line(unit))
        return [unit for unit in waiting if await self._move_in(unit)]

    async def _lies(self, unit: Unit, folder: str) -> str:
        """Where a unit lies by its ledger, which knows it sooner than the index; ``folder`` if that does not say."""
        found = ledger.replay(await disk.read_text(self._mirror.ledger_path(unit.id))).folder
        return folder if found is None else found

    async def _move_in(self, unit: Unit) -> bool:
        return await anyio.to_thread.run_sync(self._mirror.move_in, unit.id, unit.own(unit.folder))
