"""A unit that was renamed or moved on the server is renamed here, and nothing of it is fetched.

Two halves, so that labels may be swapped: first everything that moves is taken out of the way, then each is given its
new place, and its ledger a new first line. A run that is killed between them is completed by the next.
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
        moving = [unit for unit in all_units if folders.get(unit.id, unit.folder) != unit.folder]
        halfway = await anyio.to_thread.run_sync(self._mirror.moved_out)
        for unit in moving:
            await anyio.to_thread.run_sync(self._mirror.move_out, unit.id, unit.own(folders[unit.id]))
        waiting = [*moving, *(unit for unit in all_units if names.safe(unit.id) in halfway)]
        moved = [unit for unit in waiting if await self._move_in(unit)]
        for unit in moving:
            # Whether or not there was anything to move, this is where the unit lies from now on.
            await disk.append_text(self._mirror.ledger_path(unit.id), ledger.header_line(unit))
        return moved

    async def _move_in(self, unit: Unit) -> bool:
        return await anyio.to_thread.run_sync(self._mirror.move_in, unit.id, unit.own(unit.folder))
