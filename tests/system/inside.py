"""The engine within the test's own process: on a loop that counts where it waits, and with what it leaves behind.

A *suspension* is one task giving control back to the loop at an ``await``. ``Counting`` wraps the coroutine of every
task, so that something may be done at the n-th one, which is a place in the code and no moment in time.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import stat
import sys
import threading
import time
import warnings
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterator
from contextlib import AsyncExitStack, contextmanager
from contextvars import Context
from dataclasses import dataclass, field
from typing import Any

import anyio
import anyio.to_thread
from blockbuster import BlockBuster

from system.harness import World
from xnat_sync.core import settings as known
from xnat_sync.core.select import Target
from xnat_sync.core.settings import Settings
from xnat_sync.face import run
from xnat_sync.face.enter import enter
from xnat_sync.flow.bus import Bus
from xnat_sync.flow.conduct import kept_alive
from xnat_sync.flow.engine import Engine, RunOptions, Stop
from xnat_sync.flow.hold import Hold
from xnat_sync.shell.mirror import Mirror
from xnat_sync.shell.show import Quiet

PATIENCE = 10.0  # seconds for the server, which lives in this process too, to close its side of what we closed


class Counting(Coroutine[Any, Any, Any]):
    """A task's coroutine, of which every suspension is told."""

    def __init__(self, inner: Coroutine[Any, Any, Any], suspended: Callable[[], None]) -> None:
        self._inner = inner
        self._suspended = suspended

    def send(self, value: Any) -> Any:
        result = self._inner.send(value)
        self._suspended()
        return result

    def throw(self, *error: Any) -> Any:
        result = self._inner.throw(*error)
        self._suspended()
        return result

    def close(self) -> None:
        self._inner.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._inner.__await__()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)  # what tells whether it has begun


@dataclass
class Suspensions:
    """How often anything was suspended, and what is done at the ``at``-th time."""

    at: int | None = None
    act: Callable[[], None] = lambda: None
    count: int = 0

    def factory(
        self, loop: asyncio.AbstractEventLoop, coro: Any, *, context: Context | None = None, **more: Any
    ) -> asyncio.Task[Any]:
        return asyncio.Task(Counting(coro, self._one), loop=loop, context=context, **more)

    def _one(self) -> None:
        self.count += 1
        if self.count == self.at:
            # Not from within the task that waits here: it could not be cancelled itself, as by others it would be.
            asyncio.get_running_loop().call_soon(self.act)


def settings_of(here: World, **more: str) -> Settings:
    """The settings of a run into this world."""
    return known.merge({"dest": str(here.dest), "quiet": "1", **more}, here.env(), None)


async def mirror(here: World, stop: Stop | None = None, **options: Any) -> None:
    """One run, from its login to the end of its session, as the command puts it together. Raises ``RunError``."""
    settings, target = settings_of(here), Target("PTV000")
    bus, place = Bus(Quiet(verbose=False)), Mirror(str(here.project))
    async with AsyncExitStack() as stack:
        client = await enter(settings, bus)
        stack.push_async_exit(client)
        await anyio.to_thread.run_sync(place.prepare)
        hold = Hold(place)
        await hold.acquire(0.0, bus)
        async with hold.kept():
            wanted, how = run.selection(settings, target), RunOptions(**{"jobs": 3, **options})
            engine = Engine(client, bus, place, wanted, how, stop or Stop(), hold.prove)
            await kept_alive(client, engine.run)
    assert not bus.tally.failed


def alone(work: Callable[[], Awaitable[None]], suspensions: Suspensions) -> set[str]:
    """Run ``work`` on a loop of its own; the tasks that it left behind."""
    left: set[str] = set()

    async def main() -> None:
        try:
            await work()
        finally:
            left.update(str(task) for task in asyncio.all_tasks() if task is not asyncio.current_task())

    with asyncio.Runner() as runner:
        runner.get_loop().set_task_factory(suspensions.factory)
        with contextlib.suppress(asyncio.CancelledError):
            runner.run(main())
    return left


@dataclass
class Traces:
    """What a process has that it may forget to give back."""

    threads: Counter[str] = field(default_factory=Counter)
    files: Counter[str] = field(default_factory=Counter)

    @classmethod
    def now(cls) -> Traces:
        """The threads by name and the descriptors by what they are, as they are now."""
        files: Counter[str] = Counter()
        for name in os.listdir("/proc/self/fd"):
            with contextlib.suppress(OSError):
                kind = stat.S_IFMT(os.fstat(int(name)).st_mode)
                what = os.readlink(f"/proc/self/fd/{name}")
                files["socket" if stat.S_ISSOCK(kind) else what] += 1
        del files[f"/proc/{os.getpid()}/fd"]
        return cls(Counter(thread.name for thread in threading.enumerate()), files)


@contextmanager
def nothing_left() -> Iterator[None]:
    """Whatever the block does, no thread, descriptor, socket or warning of one remains of it."""
    gc.collect()
    before = Traces.now()
    told: list[str] = []
    hook, sys.unraisablehook = sys.unraisablehook, lambda what: told.append(f"{what.err_msg}: {what.exc_value!r}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            yield
            gc.collect()
    finally:
        sys.unraisablehook = hook
    assert not told
    deadline = time.monotonic() + PATIENCE
    while (after := Traces.now()) != before and time.monotonic() < deadline:
        time.sleep(0.002)
    assert after == before, f"left: {after.threads - before.threads} {after.files - before.files}"


@contextmanager
def no_blocking() -> Iterator[BlockBuster]:
    """A call from the client that blocks the loop is an error, as in ``child``; the server may do as it likes."""
    guard = BlockBuster("xnat_sync")
    for function in guard.functions.values():
        function.can_block_in("xnat_sync/face/kept.py", {"read_private", "forget"})
        function.can_block_in("xnat_sync/face/passwords.py", {"of"})
    guard.activate()
    try:
        yield guard
    finally:
        guard.deactivate()
