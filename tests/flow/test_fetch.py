"""Fetching into staging, over real sockets: partials, ranges, what is asked again and what is not."""

from __future__ import annotations

import hashlib
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from xnat_embedded import EVERY, CleanEnd, CorruptMember, DropMember, Fault, Reset, Server, Site, Stall, empty_site
from xnat_sync.core import events, retry
from xnat_sync.core.events import Event
from xnat_sync.core.model import Job, Level, Login, LoginKind, Place, RemoteFile, Resource, Secret, Unit, UnitKind, Want
from xnat_sync.flow.attempt import Attempts
from xnat_sync.flow.bus import Bus
from xnat_sync.flow.fetch import Brought, Fetcher
from xnat_sync.flow.manners import Manners
from xnat_sync.shell.net import Client, NetOptions
from xnat_sync.shell.stage import Stage

SOURCE = random.Random(11)
SERIES = {f"{number}.dcm": SOURCE.randbytes(20_000) for number in range(10)}
LARGE = {"bold.nii": SOURCE.randbytes(300_000)}
QUICK = retry.Policy(tries=4, base=0.001)


class Bench:
    """A server with one resource, and a stage to fetch it into."""

    def __init__(self, files: dict[str, bytes], root: Path) -> None:
        self.files = files
        self.site: Site = empty_site()
        session = self.site.add_project("P", members=("demo",)).add_subject("S1").add_session("S1_MR1")
        self.there = session.add_scan("1", "t1").add_resource("DICOM", list(files.items()))
        self.session = session
        self.stage = Stage(str(root / "stage"))
        self.told: list[Event] = []
        self.stopping = False
        self.server = Server(self.site)

    def job(self, *paths: str, digest: bool = True, size: bool = True) -> Job:
        remotes = tuple(
            RemoteFile(path, len(data) if size else None, hashlib.md5(data).hexdigest() if digest else None)
            for path, data in self.files.items()
        )
        unit = Unit(UnitKind.EXPERIMENT, "P", self.session.id, "S1_MR1", "S1/S1_MR1")
        resource = Resource(unit, Place(Level.SCAN, "1"), str(self.there.id), "DICOM", remotes, "scans/1/DICOM")
        wants = tuple(Want(remote, remote.path, "new") for remote in remotes if remote.path in (paths or self.files))
        return Job(resource, wants, fresh=True)

    async def fetch(self, job: Job, *, jobs: int = 2, idle: float = 5.0) -> Brought:
        bus = Bus(self.told.append)
        async with self.client(idle) as client:
            attempts = Attempts(client, bus, QUICK)
            return await Fetcher(client, attempts, bus, Manners(jobs, bus), jobs, lambda: self.stopping).bring(
                job, self.stage
            )

    @asynccontextmanager
    async def client(self, idle: float) -> AsyncIterator[Client]:
        login = Login(LoginKind.PASSWORD, "demo", Secret("demo-password"))
        async with Client(self.server.url, login, NetOptions(idle_timeout=idle)) as client:
            await client.log_in()
            yield client

    def sent(self) -> int:
        counts = self.server.counts.body_bytes
        return counts["zip"] + counts["file"]

    def again(self) -> int:
        return sum(event.bytes for event in self.told if isinstance(event, events.Again))

    def ranges(self) -> list[str]:
        return [each.range for each in self.server.log if each.kind == "file"]

    def staged(self) -> dict[str, bytes]:
        return {path: Path(self.stage.tree, path).read_bytes() for path in self.stage.whole()}


@pytest.fixture
def series(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(SERIES, tmp_path)
    with bench.server:
        yield bench


@pytest.fixture
def large(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(LARGE, tmp_path)
    with bench.server:
        yield bench


async def test_a_series_is_one_request(series: Bench) -> None:
    brought = await series.fetch(series.job())
    assert series.staged() == SERIES
    assert (set(brought.landed), brought.failed, brought.vanished, brought.parked) == (set(SERIES), {}, set(), False)
    assert series.server.counts.requests["zip"] == 1
    assert series.server.counts.requests["file"] == 0
    assert series.again() == 0


async def test_what_is_staged_and_right_is_not_asked_for(series: Bench) -> None:
    await series.fetch(series.job())
    sent = series.sent()
    brought = await series.fetch(series.job())
    assert set(brought.landed) == set(SERIES)
    assert series.sent() == sent


async def test_what_is_staged_and_wrong_is_asked_for_again(series: Bench) -> None:
    await series.fetch(series.job())
    Path(series.stage.tree, "3.dcm").write_bytes(bytes(20_000))
    Path(series.stage.tree, "stranger.dcm").write_bytes(b"no longer listed")
    sent = series.sent()
    await series.fetch(series.job())
    assert series.staged() == SERIES
    assert series.sent() - sent == 20_000


async def test_a_zip_that_breaks_late_is_completed_file_by_file(series: Bench) -> None:
    series.server.faults.add(Fault(Stall(115_000), "zip"))
    await series.fetch(series.job(), idle=0.25)
    assert series.staged() == SERIES
    assert series.server.counts.requests["zip"] == 1
    assert series.server.counts.requests["file"] == 5
    assert series.sent() <= sum(map(len, SERIES.values())) + 20_000
    assert series.again() <= 20_000


async def test_a_zip_that_breaks_at_once_is_asked_for_again(series: Bench) -> None:
    series.server.faults.add(Fault(CleanEnd(5_000), "zip"))
    await series.fetch(series.job())
    assert series.staged() == SERIES
    assert (series.server.counts.requests["zip"], series.server.counts.requests["file"]) == (2, 0)


async def test_a_zip_that_is_short_but_sound_is_not_asked_for_twice(series: Bench) -> None:
    series.server.faults.add(Fault(DropMember(0), "zip", count=EVERY))
    await series.fetch(series.job())
    assert series.staged() == SERIES
    assert (series.server.counts.requests["zip"], series.server.counts.requests["file"]) == (1, 1)


async def test_a_large_file_goes_on_where_it_hung(large: Bench) -> None:
    large.server.faults.add(Fault(Stall(60_000), "file", count=3))
    await large.fetch(large.job(), idle=0.25)
    assert large.staged() == LARGE
    assert large.ranges() == ["", "bytes=60000-", "bytes=120000-", "bytes=180000-"]
    assert large.sent() == 300_000
    assert large.again() == 0


@pytest.mark.parametrize("effect", [Reset(90_000), CleanEnd(90_000)])
async def test_a_large_file_goes_on_after_each_break(large: Bench, effect: Reset | CleanEnd) -> None:
    """Bytes that the client's kernel had, and the client not yet, may be lost with the connection."""
    large.server.faults.add(Fault(effect, "file", count=3))
    await large.fetch(large.job())
    assert large.staged() == LARGE
    starts = [int(found.removeprefix("bytes=").removesuffix("-") or 0) for found in large.ranges()]
    assert starts == sorted(starts)
    assert len(starts) == 4
    assert large.sent() == 3 * 90_000 + 300_000 - starts[-1]


async def test_a_file_whose_bytes_are_always_wrong_is_given_up(large: Bench) -> None:
    """Its bytes come whole each time, and are no gain: that must not go on for ever."""
    large.server.faults.add(Fault(CorruptMember(), "file", count=EVERY))
    with anyio.fail_after(30):
        brought = await large.fetch(large.job())
    assert brought.landed == {}
    assert "MD5" in brought.failed["bold.nii"]
    assert len(large.ranges()) <= 2 + QUICK.doubtful_tries
    assert large.staged() == {}
    assert not Path(large.stage.part_path("bold.nii")).exists()


async def test_a_file_that_breaks_at_the_same_place_for_ever_is_given_up(large: Bench) -> None:
    large.server.faults.add(Fault(Reset(0), "file", nth=2, count=EVERY))
    large.server.faults.add(Fault(Stall(90_000), "file"))
    with anyio.fail_after(30):
        brought = await large.fetch(large.job(), idle=0.25)
    assert set(brought.failed) == {"bold.nii"}
    assert Path(large.stage.part_path("bold.nii")).stat().st_size == 90_000
    large.server.faults.clear()
    await large.fetch(large.job())
    assert large.staged() == LARGE
    assert large.ranges()[-1] == "bytes=90000-"


async def test_a_partial_of_another_version_is_not_gone_on_with(large: Bench) -> None:
    large.server.faults.add(Fault(Stall(90_000), "file"))
    large.server.faults.add(Fault(Reset(0), "file", nth=2, count=EVERY))
    await large.fetch(large.job(), idle=0.25)
    large.server.faults.clear()
    new = bytes(reversed(LARGE["bold.nii"]))
    large.there.replace_file("bold.nii", new)
    large.files = {"bold.nii": new}
    await large.fetch(large.job())
    assert large.staged() == {"bold.nii": new}
    assert large.ranges()[-1] == ""


async def test_a_file_replaced_while_it_is_fetched_is_never_spliced(large: Bench) -> None:
    """What is listed is the old one: ``If-Unmodified-Since`` keeps the new one's bytes from being added to it."""
    large.server.faults.add(Fault(Stall(90_000), "file"))
    async with anyio.create_task_group() as group:

        async def replace() -> None:
            while large.server.counts.requests["file"] < 1:
                await anyio.sleep(0.001)
            large.there.replace_file("bold.nii", bytes(300_000))

        group.start_soon(replace)
        brought = await large.fetch(large.job(), idle=0.25)
    assert large.ranges()[:2] == ["", "bytes=90000-"]
    assert set(brought.failed) == {"bold.nii"}
    assert large.staged() == {}


async def test_a_file_of_unknown_digest_and_size_is_taken_by_its_declared_length(large: Bench) -> None:
    brought = await large.fetch(large.job(digest=False, size=False))
    assert large.staged() == LARGE
    assert brought.landed["bold.nii"].md5 == hashlib.md5(LARGE["bold.nii"]).hexdigest()


async def test_a_stopping_run_begins_no_further_file(series: Bench) -> None:
    series.stopping = True
    brought = await series.fetch(series.job("1.dcm"))
    assert brought.parked
    assert series.server.counts.requests["file"] == 0


async def test_a_listed_file_that_is_not_there_has_vanished(series: Bench) -> None:
    series.there.lose_file("4.dcm")
    brought = await series.fetch(series.job())
    assert brought.vanished == {"4.dcm"}
    assert set(brought.landed) == set(SERIES) - {"4.dcm"}
    assert series.server.counts.requests["file"] == 1


async def test_a_body_without_end_is_cut_where_the_file_ends(large: Bench) -> None:
    """A server that declares no length and never stops must not fill the disk."""
    sent = 0

    async def serve(stream: anyio.abc.SocketStream) -> None:
        nonlocal sent
        async with stream:
            request = b""
            while b"\r\n\r\n" not in request:
                request += await stream.receive()
            if b"/files/" not in request:
                body = b"0" * 32 if b"JSESSION " in request else b"User 'demo' is logged in"
                length = f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()
                await stream.send(b"HTTP/1.1 200 OK\r\n" + length + body)
                return
            await stream.send(b"HTTP/1.1 200 OK\r\nLast-Modified: x\r\nTransfer-Encoding: chunked\r\n\r\n")
            piece = b"%x\r\n%s\r\n" % (50_000, bytes(50_000))
            while True:
                try:
                    await stream.send(piece)
                except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                    return
                sent += 50_000

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, serve)
        login = Login(LoginKind.PASSWORD, "demo", Secret("demo-password"))
        bus = Bus(large.told.append)
        with anyio.fail_after(30):
            async with Client(f"http://127.0.0.1:{port}", login) as client:
                await client.log_in()
                fetcher = Fetcher(client, Attempts(client, bus, QUICK), bus, Manners(2, bus), 2, lambda: False)
                brought = await fetcher.bring(large.job(), large.stage)
        group.cancel_scope.cancel()
    assert "bytes came where 300000 are listed" in brought.failed["bold.nii"]
    assert large.staged() == {}
    received = sum(event.bytes for event in large.told if isinstance(event, events.Progress))
    # A piece is at most what the connection buffers, twice its limit of 1 MiB, and what was gathered before that.
    assert received <= 4 * (300_000 + (4 << 20))
