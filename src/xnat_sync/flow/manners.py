"""How a run treats the server: so many transfers at once as it bears, no faster than asked."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime

import anyio

from xnat_sync.core import events, throttle
from xnat_sync.core.bandwidth import Pace, Timetable
from xnat_sync.core.errors import ItemError
from xnat_sync.core.throttle import Throttle

from .bus import Bus


def time_of_day() -> datetime:
    """The local wall clock."""
    return datetime.now()  # noqa: DTZ005 - a timetable is one of the local clock


class Manners:
    """Slots for transfers, and their common pace."""

    def __init__(
        self,
        jobs: int,
        bus: Bus,
        bwlimit: Timetable | None = None,
        clock: Callable[[], datetime] = time_of_day,
    ) -> None:
        self._throttle = Throttle(jobs)
        self._bus = bus
        self._bwlimit = bwlimit
        self._clock = clock
        self._pace = Pace()
        self._busy = 0
        self._freed = anyio.Event()

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """The right to one transfer; waits until there is one. A transfer that ends without an error went well."""
        while self._busy >= self._throttle.allowed:
            await self._freed.wait()
        self._busy += 1
        try:
            yield
            if self._throttle.success():
                self._bus(events.Throttled(self._throttle.allowed, self._throttle.most))
        finally:
            self._busy -= 1
            self._freed.set()
            self._freed = anyio.Event()

    def failed(self, error: ItemError) -> None:
        """Take note of an error of any request."""
        if throttle.is_trouble(error) and self._throttle.trouble(time.monotonic()):
            self._bus(events.Throttled(self._throttle.allowed, self._throttle.most))

    async def pace(self, count: int) -> None:
        """Wait as long as ``count`` bytes just received ask for."""
        if self._bwlimit is not None:
            rate = self._bwlimit.rate(self._clock().time())
            if (seconds := self._pace.wait(count, rate, time.monotonic())) > 0:
                await anyio.sleep(seconds)
