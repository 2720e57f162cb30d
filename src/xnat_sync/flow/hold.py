"""One run at a time for one project's folder: waiting for the lock, and showing all along that the run is alive."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import anyio.to_thread

from xnat_sync.core import events
from xnat_sync.core import lock as record
from xnat_sync.core.errors import DiskTrouble, Locked
from xnat_sync.shell import disk
from xnat_sync.shell.lock import Lock
from xnat_sync.shell.mirror import Mirror

from .bus import Bus

LOOK_EVERY = 2.0


class Hold:
    """The lock of a project's folder, for one run."""

    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror
        self._lock = Lock(mirror.lock_path)

    async def acquire(self, wait: float, bus: Bus) -> None:
        """Take the lock, waiting up to ``wait`` seconds for it. Raises ``Locked`` with who has it."""
        deadline = anyio.current_time() + wait
        told = False
        while True:
            rival = await anyio.to_thread.run_sync(self._lock.try_acquire, time.time())
            if rival is None:
                return
            message = record.held(rival, self._mirror.root, self._lock.path)
            left = deadline - anyio.current_time()
            if left <= 0:
                raise Locked(message)
            if not told:
                bus(events.Waiting(message, wait))
                told = True
            await anyio.sleep(min(LOOK_EVERY, left))

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Beat as long as the block lasts, then let go. Raises ``Locked`` into the block if the lock is lost.

        It is raised beside any error of the block's: what another run does here looks like trouble with the disk.
        """
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._beat)
                try:
                    yield
                except Exception as error:
                    if (lost := await self._lost()) is not None:
                        raise ExceptionGroup("the lock was lost", [lost, error]) from error
                    raise
                group.cancel_scope.cancel()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(self._lock.release)

    async def prove(self) -> None:
        """Make sure that the lock is still ours, if that is in doubt, before something is written for good."""
        if self._lock.overdue():
            await anyio.to_thread.run_sync(self._lock.beat, time.time())

    async def _lost(self) -> Locked | None:
        with anyio.CancelScope(shield=True):
            try:
                await anyio.to_thread.run_sync(self._lock.beat, time.time())
            except Locked as lost:
                # A lock that is gone with all else, as with a mount, nobody has taken over.
                return lost if await anyio.to_thread.run_sync(disk.stat_of, self._lock.path) is not None else None
            except (DiskTrouble, OSError):
                return None  # The disk is in trouble indeed.
        return None

    async def _beat(self) -> None:
        while True:
            await anyio.sleep(record.BEAT)
            await anyio.to_thread.run_sync(self._lock.beat, time.time())
