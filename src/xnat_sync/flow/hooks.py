"""The user's command for each experiment that became complete or changed, a few at a time, beside the transfers.

The ledger says whether the command has seen what is held: any change after the line that says so makes it due again.
So a run that is killed before the command ended, or a command that failed, is made up for by the next run. Nothing
that a command does counts for the mirror.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import anyio
from anyio.abc import TaskGroup

from xnat_sync.core import events, ledger
from xnat_sync.core.model import Unit, UnitKind
from xnat_sync.shell import command, disk
from xnat_sync.shell.mirror import Mirror

from .bus import Bus

AT_ONCE = 2


@dataclass(frozen=True, slots=True)
class HookOptions:
    """``command`` is the user's; ``log`` is the file that gets what it prints."""

    command: str = ""
    log: str = ""


class Hooks:
    """Runs the command of one run; without a command, does nothing."""

    def __init__(self, options: HookOptions, mirror: Mirror, bus: Bus, stopping: Callable[[], bool]) -> None:
        """``stopping`` tells whether nothing new is to be begun."""
        self._stopping = stopping
        self._options = options
        self._mirror = mirror
        self._bus = bus
        self._due: deque[Unit] = deque()
        self._closed = False
        self._changed = anyio.Event()

    def start(self, group: TaskGroup) -> None:
        """Begin to run commands as they come due."""
        for _ in range(AT_ONCE):
            group.start_soon(self._work)

    def complete(self, unit: Unit) -> None:
        """A unit is complete; if the command has not seen it as it is, it is due."""
        if self._options.command and unit.kind is UnitKind.EXPERIMENT:
            self._due.append(unit)
            self._stir()

    def close(self) -> None:
        """No more will come; what is due is still done."""
        self._closed = True
        self._stir()

    def _stir(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

    async def _work(self) -> None:
        while not self._stopping():
            if self._due:
                await self._run(self._due.popleft())
            elif self._closed:
                return
            else:
                await self._changed.wait()

    async def _run(self, unit: Unit) -> None:
        path = self._mirror.ledger_path(unit.id)
        held = ledger.replay(await disk.read_text(path))
        if held.hooked or not held.files:
            return
        facts = {
            "XNAT_SYNC_PROJECT": unit.project,
            "XNAT_SYNC_SUBJECT": unit.subject_label,
            "XNAT_SYNC_EXPERIMENT": unit.label,
            "XNAT_SYNC_EXPERIMENT_ID": unit.id,
            "XNAT_SYNC_PATH": self._mirror.path(unit.folder),
            "XNAT_SYNC_CHANGED": str(held.changed),
        }
        code = await command.run(self._options.command, facts, self._options.log)
        if code == 0:
            await disk.append_text(path, ledger.hooked_line(time.time()))
            self._bus(events.Hooked(unit.id, unit.label, 0))
        else:
            message = f"ended with {code}; it is run again next time. What it printed is in {self._options.log}"
            self._bus(events.Hooked(unit.id, unit.label, code, message))
