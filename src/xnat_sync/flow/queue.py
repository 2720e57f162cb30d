"""Jobs on their way from the listers to the workers: bounded, and in the order of the backlog."""

from __future__ import annotations

import anyio

from xnat_sync.core.backlog import Backlog
from xnat_sync.core.model import Job


class Queue:
    """Ends when every lister has left and everything was taken."""

    def __init__(self, listers: int) -> None:
        self._backlog = Backlog()
        self._listers = listers
        self._changed = anyio.Event()

    async def put(self, job: Job) -> None:
        """Add a job; waits while so much is known that no more should be listed."""
        while self._backlog.full:
            await self._changed.wait()
        self._backlog.put(job)
        self._stir()

    async def take(self) -> Job | None:
        """The next job; None when there will be no more."""
        while not self._backlog:
            if not self._listers:
                return None
            await self._changed.wait()
        job = self._backlog.take()
        self._stir()
        return job

    def leave(self) -> bool:
        """A lister has put all that it will; True for the last one."""
        self._listers -= 1
        self._stir()
        return not self._listers

    def _stir(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()
