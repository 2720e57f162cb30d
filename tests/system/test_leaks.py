"""After any end nothing is left in the process: no thread, task, descriptor or socket; and few are needed at once."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from blockbuster import BlockingError

from system.harness import STATE, World, truth
from system.inside import no_blocking, nothing_left, settings_of
from system.warm import warm_world
from xnat_embedded import EVERY, Data, Delay, Fault, Server, Site, Stall, Status, empty_site, small_site
from xnat_sync.core.errors import RunError
from xnat_sync.core.events import Exit
from xnat_sync.core.select import Target
from xnat_sync.face import run
from xnat_sync.shell import disk
from xnat_sync.shell.lock import Lock

DESCRIPTORS = 256
FILES = 5000


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    with Server(small_site()) as server:
        yield World(server, server.site, tmp_path)


def finished(here: World, *, project: str = "PTV000", env: dict[str, str | None] | None = None, **more: str) -> Exit:
    """The whole of the command but its options, here in this process."""
    here.environment.update({key: value for key, value in (env or {}).items() if value is not None})
    settings = settings_of(here, **more)
    try:
        return run.mirror(settings, [Target(project)])
    except RunError as error:
        return Exit(error.exit_code)


def when_reached(here: World, fault: Fault, act: Callable[[], None]) -> Callable[[], None]:
    """Do something once the server holds a request."""
    here.server.faults.add(fault)
    over = threading.Event()

    def wait() -> None:
        while not here.server.faults.fired(fault) and not over.wait(0.002):
            pass
        if not over.is_set():
            act()

    thread = threading.Thread(target=wait)
    thread.start()

    def end() -> None:
        over.set()
        thread.join()

    return end


def incomplete(here: World) -> Exit:
    here.server.faults.add(Fault(Status(403), kind="file", count=EVERY))
    return finished(here)


def locked(here: World) -> Exit:
    (here.project / STATE).mkdir(parents=True)
    other = Lock(f"{here.project}/{STATE}/lock")
    assert other.try_acquire(time.time()) is None
    try:
        return finished(here)
    finally:
        other.release()


def full(here: World) -> Exit:
    here.dest.write_text("a file where a folder should be")
    return finished(here)


def signalled(fault: Fault, *numbers: signal.Signals) -> Callable[[World], Exit]:
    """Stopped by one signal, or at once by two: of different kinds, or the system might make one of them."""

    def interrupted(here: World) -> Exit:
        def send() -> None:
            for number in numbers:
                os.kill(os.getpid(), number)

        end = when_reached(here, fault, send)
        try:
            return finished(here)
        finally:
            end()

    return interrupted


def unavailable(here: World) -> Exit:
    here.server.faults.add(Fault(Status(503), kind="files", count=EVERY))
    here.server.faults.add(Fault(Status(503), kind="auth", nth=2, count=EVERY))
    return finished(here, retries="0")


WAYS: dict[Exit, Callable[[World], Exit]] = {
    Exit.OK: finished,
    Exit.USAGE: lambda here: finished(here, scan="no such scan"),
    Exit.INCOMPLETE: incomplete,
    Exit.NOT_FOUND: lambda here: finished(here, project="NOPE"),
    Exit.LOGIN: lambda here: finished(here, env={"XNAT_PASS": "wrong"}),
    Exit.UNAVAILABLE: unavailable,
    Exit.TRANSFER_LIMIT: lambda here: finished(here, max_transfer="100K"),
    Exit.WINDOW: lambda here: finished(here, max_duration="0s"),
    Exit.LOCKED: locked,
    Exit.DISK: full,
    Exit.INTERRUPTED: signalled(Fault(Delay(0.2), kind="zip", count=EVERY), signal.SIGINT),
    Exit.TERMINATED: signalled(Fault(Stall(2000), kind="zip"), signal.SIGTERM, signal.SIGHUP),
}


@pytest.mark.parametrize("code", list(WAYS), ids=lambda code: code.label)
def test_nothing_is_left_after_any_end(here: World, code: Exit) -> None:
    watched = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    with nothing_left(), no_blocking():
        assert WAYS[code](here) == code
        with pytest.raises(RuntimeError):
            asyncio.get_running_loop()
    assert {number: signal.getsignal(number) for number in watched} == watched


def test_the_guard_against_blocking_is_on(here: World) -> None:
    """What the tests of this process rely on: the client may not block its loop, and is told if it does."""

    async def block() -> None:
        disk.write_bytes(str(here.home / "file"), b"blocking")

    with no_blocking(), pytest.raises(BlockingError):
        asyncio.run(block())


# -- few descriptors --------------------------------------------------------------------------------------------------


class Watched(Data):
    """A file that, when it is asked for, has somebody look at who asks."""

    def __init__(self, data: bytes, look: Callable[[], None]) -> None:
        super().__init__(data)
        self._look = look

    def pieces(self, start: int = 0, stop: int | None = None) -> Iterator[bytes | memoryview]:
        self._look()
        return super().pieces(start, stop)


def many_small_files(look: Callable[[], None]) -> Site:
    """Ten resources; at every hundredth file somebody looks."""
    site = empty_site()
    project = site.add_project("PTV000", members=("demo",))
    session = project.add_subject("S1").add_session("E1")
    each = FILES // 10
    for number in range(10):
        files = session.add_scan(str(number), "t").add_resource("DICOM")
        for at in range(each):
            data = f"{number} {at}".encode() * 3
            files.add_file(f"{at:04}.dcm", Watched(data, look) if at % 100 == 50 else data)
    return site


def test_many_files_need_few_descriptors(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    seen: list[int] = []
    runs: list[int] = []

    def look() -> None:
        for number in runs:
            try:
                seen.append(len(os.listdir(f"/proc/{number}/fd")))
            except FileNotFoundError:
                continue

    site = many_small_files(look)
    with warm_world(site, tmp_path) as here:
        # One resource is asked for file by file, since its zip is refused.
        number = site.project("PTV000").subject("S1").session("E1").scan("9").resource("DICOM").id  # type: ignore[union-attr]
        here.server.faults.add(Fault(Status(403), kind="zip", path=f"/resources/{number}/", count=EVERY))
        begun = here.begin_mirror("--jobs", "8", "--listers", "4")
        resource.prlimit(begun._number, resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))
        runs.append(begun._number)
        done = begun.done(100)
        assert done.code == 0, done
        assert len(here.tree()) == FILES
        assert here.tree() == truth(site)
    assert len(seen) > 10
    record_property("descriptors at most", max(seen))
    print(f"{max(seen)} descriptors at most")
    assert max(seen) < 100, f"of {DESCRIPTORS} descriptors {max(seen)} were in use"
