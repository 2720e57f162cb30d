"""Whether what is to come has room on the disk: told as soon as it is known, and nothing is begun that does not fit.

What does not fit is set aside while other work goes on, since what is in hand counts whole until it has ended. Only
what does not fit even then is given up, and the run ends with the code of a full disk.
"""

from __future__ import annotations

import anyio.to_thread

from xnat_sync.core import events
from xnat_sync.core.errors import DiskTrouble
from xnat_sync.core.model import Job
from xnat_sync.shell import disk, show
from xnat_sync.shell.mirror import Mirror

from .bus import Bus

_BLOCK = 4096  # bytes that the smallest file takes
_OURS = 64 << 20  # bytes to leave on any disk, so that ledgers and the summary can still be written


class Space:
    """The room of one mirror."""

    def __init__(self, mirror: Mirror, bus: Bus, min_free: int) -> None:
        """``min_free`` bytes are to stay free."""
        self._mirror = mirror
        self._bus = bus
        self._min_free = min_free
        self._place: object = None
        self._in_hand = 0
        self._warned = False
        self.aside: list[Job] = []

    async def watch(self) -> None:
        """Remember which folder this is, and raise ``DiskTrouble`` when another stands there, or none.

        Where a mount has gone, writing would go on below it, on another disk.
        """
        found = await anyio.to_thread.run_sync(disk.identity, self._mirror.root)
        if self._place is None:
            self._place = found
        elif found != self._place:
            raise DiskTrouble(f"{self._mirror.root} is not what it was: has its disk been unmounted? Run again after")

    async def foresee(self) -> None:
        """Warn, once, if more is to come than there is room for."""
        tally = self._bus.tally
        left = tally.bytes_planned - tally.bytes_landed
        if self._warned or left <= 0:
            return
        room = await self._room()
        if left > room:
            self._warned = True
            more = "" if tally.listing_complete else "at least "
            self._bus(
                events.Warned(
                    f"{more}{show.size(left)} are to come, and there is room for {show.size(max(room, 0))} in "
                    f"{self._mirror.root}: free some, or the run will end before all is here"
                )
            )

    async def begin(self, job: Job) -> bool:
        """Whether ``job`` fits beside what is in hand; if not, it is set aside. What was begun must be ended."""
        await self.watch()
        need = _need(job)
        if await self._room() - self._in_hand < need:
            self.aside.append(job)
            return False
        self._in_hand += need
        return True

    def end(self, job: Job) -> None:
        """What was begun is here, or is not to be."""
        self._in_hand -= _need(job)

    async def give_up(self) -> None:
        """Raise ``DiskTrouble`` if something is set aside."""
        if not self.aside:
            return
        need = sum(map(_need, self.aside))
        keeps = f" beside the {show.size(self._min_free)} that --min-free keeps" if self._min_free else ""
        raise DiskTrouble(
            f"{show.size(need)} in {len(self.aside)} resources do not fit: there is room for "
            f"{show.size(max(await self._room(), 0))} in {self._mirror.root}{keeps}: free some, then run again"
        )

    async def _room(self) -> int:
        free, total = await anyio.to_thread.run_sync(disk.space, self._mirror.root)
        return free - max(self._min_free, min(_OURS, total // 32))


def _need(job: Job) -> int:
    """Bytes that a job takes while it is in hand; a zip that stands is copied before it is replaced."""
    return job.bytes + _BLOCK * len(job.wants) + sum(member.size for member in job.keep.values())
