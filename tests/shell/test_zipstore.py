"""A resource kept as one zip: whatever happens to it, what it says is whole is whole, and what was whole stays."""

from __future__ import annotations

import errno
import os
import random
import shutil
import subprocess
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import md5
from pathlib import Path
from typing import Any

import pytest

from core import zips
from core.zips import FULL32
from shell.zipstages import (
    BODIES,
    WAYS,
    Way,
    a_stage,
    check,
    fact,
    facts,
    finished,
    known,
    opened,
    proved,
    reopened,
    single,
    stream,
)
from xnat_sync.core import zipwrite
from xnat_sync.core.errors import DiskTrouble
from xnat_sync.core.model import RemoteFile, Want
from xnat_sync.core.unzip import CrcMismatch, Truncated
from xnat_sync.core.zipwrite import Member
from xnat_sync.flow.unpack import Unpacker
from xnat_sync.shell.disk import Writer
from xnat_sync.shell.zipstore import ZipStage, read_back


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[ZipStage]:
    with a_stage(tmp_path) as made:
        yield made


# -- whole members --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
def test_one_way(stage: ZipStage, way: Way) -> None:
    for name, body in BODIES.items():
        way(stage, name, body)
    assert stage.whole() == {name: len(body) for name, body in BODIES.items()}
    assert proved(stage) == facts(BODIES)
    path = finished(stage, BODIES)
    assert os.listdir(stage.parts) == []
    if shutil.which("unzip"):
        subprocess.run(["unzip", "-tqq", path], check=True)


def test_a_zip_is_durable_when_it_is_finished(stage: ZipStage, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(os.fstat(fd).st_size))
    known(stage, "a", b"whole")
    assert synced == []
    stage.finish()
    assert synced == [os.stat(stage.part).st_size]


def test_the_ways_give_one_zip(tmp_path: Path) -> None:
    made = []
    for number, way in enumerate([known, single]):
        stage = ZipStage(str(tmp_path / str(number)))
        stage.prepare()
        for name, body in BODIES.items():
            way(stage, name, body)
        made.append(Path(stage.finish()[0]).read_bytes())
    assert made[0] == made[1]
    rows, at = [], 0
    for name, body in BODIES.items():
        rows.append(Member(name, len(body), zlib.crc32(body), at))
        at = rows[-1].end
    assert made[0].endswith(zipwrite.ending(rows, at))


@pytest.mark.parametrize("way", WAYS)
def test_of_one_name_the_last_counts(stage: ZipStage, way: Way) -> None:
    way(stage, "a", b"old")
    way(stage, "b", b"kept")
    way(stage, "a", b"newer")
    assert proved(stage) == facts({"b": b"kept", "a": b"newer"})
    again = reopened(stage)
    assert proved(again) == facts({"b": b"kept", "a": b"newer"})
    again.close()
    finished(stage, {"b": b"kept", "a": b"newer"})


def test_a_member_that_is_dropped_takes_no_room(stage: ZipStage) -> None:
    stream(stage, "a", b"whole")
    size = os.stat(stage.part).st_size
    leave: Callable[[Writer], None]
    for leave in (lambda writer: writer.drop(), lambda writer: writer.close(), lambda _: stage.close()):
        stage.prepare()
        writer = stage.open_member("b")
        writer.write(b"x" * 999)
        leave(writer)
        assert os.stat(stage.part).st_size == size
        writer.drop()
        writer.close()
        with pytest.raises(ValueError, match="already"):
            writer.write(b"more")
        with pytest.raises(ValueError, match="already"):
            stage.accept(writer, "b", durable=False)
    stage.prepare()
    finished(stage, {"a": b"whole"})


def test_what_was_accepted_cannot_be_dropped_by_its_writer(stage: ZipStage) -> None:
    writer = stage.open_member("a")
    writer.write(b"whole")
    stage.accept(writer, "a", durable=False)
    writer.drop()
    writer.close()
    with pytest.raises(ValueError, match="already"):
        stage.accept(writer, "a", durable=False)
    finished(stage, {"a": b"whole"})


def test_a_size_that_is_unknown_or_wrong_does_no_harm(stage: ZipStage) -> None:
    bodies: dict[str, bytes] = {}
    for size in (None, 99, FULL32, 4):  # of FULL32, the place of the header is longer than it needs
        bodies[str(size)] = str(size).encode()
        stream(stage, str(size), bodies[str(size)], size)
    finished(stage, bodies)


def test_a_file_that_outgrew_its_header_is_moved(stage: ZipStage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xnat_sync.core._zipformat.FULL32", 1000)
    stream(stage, "small", b"s" * 10, 10)
    stream(stage, "large", b"l" * 2000, 10)
    stream(stage, "next", b"n" * 10, 10)
    assert stage.whole() == {"small": 10, "large": 2000, "next": 10}
    assert os.listdir(stage.parts) == []
    with open(stage.part, "rb") as file:
        data = file.read()
    assert data.count(b"PK\3\4") == 3


def test_parts_go_on(stage: ZipStage) -> None:
    writer = stage.open_part("big", append=False)
    writer.write(b"first ")
    writer.close()
    again = reopened(stage)
    writer = again.open_part("big", append=True)
    assert writer.size == 6
    writer.write(b"second")
    assert (writer.size, writer.md5) == fact(b"first second")
    again.accept(writer, "big", durable=False)
    finished(again, {"big": b"first second"})


def test_not_before_prepare(tmp_path: Path) -> None:
    stage = ZipStage(str(tmp_path))
    with pytest.raises(ValueError, match="prepare"):
        stage.open_member("a")
    stage.close()
    stage.clear()
    assert not tmp_path.exists()


# -- dropped and compacted ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gone", [[], ["last"], ["1.dcm"], ["empty"], ["sub/ü.txt", "last"], list(BODIES), ["none"]])
@pytest.mark.parametrize("then", [{}, {"after": b"new"}, {"1.dcm": b"newer"}])
def test_dropped(stage: ZipStage, gone: list[str], then: dict[str, bytes]) -> None:
    for name, body in BODIES.items():
        known(stage, name, body)
    for name in gone:
        stage.drop(name)
    assert stage.verified(gone[0] if gone else "none") is None
    for name, body in then.items():
        stream(stage, name, body)
    left = {name: body for name, body in BODIES.items() if name not in gone} | then
    assert set(stage.whole()) == set(left)
    finished(stage, left)
    assert not os.path.exists(f"{stage.root}/resource.zip.new")
    again = reopened(stage)
    assert proved(again) == facts(left)
    again.close()


def test_nothing_is_left_behind_a_shorter_one(stage: ZipStage) -> None:
    known(stage, "a", b"whole")
    known(stage, "b", bytes(400))
    stage.drop("b")
    known(stage, "c", b"short")
    assert os.stat(stage.part).st_size == 2 * (30 + 1 + 5)


def test_compacting_that_fails_changes_nothing(stage: ZipStage, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, body in BODIES.items():
        stream(stage, name, body)
    stage.drop("1.dcm")
    before = Path(stage.part).read_bytes()

    def full(fd: int) -> None:
        raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(DiskTrouble, match="no space"):
            stage.finish()
    assert Path(stage.part).read_bytes() == before
    assert sorted(os.listdir(stage.root)) == ["parts", "resource.zip.part", "tree"]
    stage.close()
    again = reopened(stage)
    assert proved(again) == facts(BODIES)
    again.drop("1.dcm")
    finished(again, {name: body for name, body in BODIES.items() if name != "1.dcm"})


# -- threads --------------------------------------------------------------------------------------------------------


def test_a_member_in_hand_makes_way(stage: ZipStage) -> None:
    first = stage.open_member("first")
    first.write(b"one ")
    second = stage.open_member("second")
    second.write(b"alpha ")
    single(stage, "single", b"file")
    assert os.listdir(stage.parts)
    first.write(b"two")
    second.write(b"beta")
    assert (first.size, first.md5) == fact(b"one two")
    stage.accept(second, "second", durable=False)
    third = stage.open_member("third")
    third.write(b"III")
    stage.accept(first, "first", durable=False)
    third.drop()
    first.drop()
    assert os.listdir(stage.parts) == []
    finished(stage, {"single": b"file", "second": b"alpha beta", "first": b"one two"})


def test_a_member_that_made_way_can_be_dropped(stage: ZipStage) -> None:
    writer = stage.open_member("a")
    writer.write(b"one ")
    single(stage, "b", b"file")
    writer.close()
    writer.drop()
    assert os.listdir(stage.parts) == []
    finished(stage, {"b": b"file"})


def test_many_threads(stage: ZipStage) -> None:
    chance = random.Random(7)
    bodies = {f"s{number}": chance.randbytes(chance.randrange(300_000)) for number in range(40)}
    streamed = {f"m{number}": chance.randbytes(chance.randrange(300_000)) for number in range(40)}
    dropped = {f"d{number}" for number in range(10)}
    start = threading.Barrier(10)

    def take_singles(names: list[str]) -> None:
        start.wait()
        for name in names:
            single(stage, name, bodies[name])

    def take_streamed(names: list[str]) -> None:
        start.wait()
        for name in names:
            body = streamed.get(name, b"d" * 100_000)
            writer = stage.open_member(name, len(body))
            for at in range(0, len(body), 9_000):
                writer.write(body[at : at + 9_000])
            if name in dropped:
                writer.drop()
            else:
                stage.accept(writer, name, durable=False)
                assert stage.verified(name) == fact(body)

    with ThreadPoolExecutor(10) as pool:
        names = sorted(streamed.keys() | dropped)
        done = [pool.submit(take_singles, sorted(bodies)[number::6]) for number in range(6)]
        done += [pool.submit(take_streamed, names[number::4]) for number in range(4)]
        for future in done:
            future.result(timeout=60)
    assert os.listdir(stage.parts) == []
    again = reopened(stage)
    assert proved(again) == facts(bodies | streamed)
    again.close()
    finished(stage, bodies | streamed)


# -- other zips -----------------------------------------------------------------------------------------------------


def foreign(path: Path) -> str:
    path.write_bytes(zips.by_zipfile(BODIES, zipfile.ZIP_DEFLATED, forward=True))
    return str(path)


def test_adopted(stage: ZipStage, tmp_path: Path) -> None:
    old = ZipStage(str(tmp_path / "old"))
    old.prepare()
    for name, body in BODIES.items():
        stream(old, name, body)
    ours = finished(old, BODIES)
    single(stage, "1.dcm", b"changed since")
    names = ["1.dcm", "empty", "sub/ü.txt", "inner.zip", "not in it"]
    adopted = stage.adopt_from(ours, names)
    assert adopted == facts({name: BODIES[name] for name in names[1:-1]})
    assert stage.adopt_from(ours, names) == {}
    assert stage.adopt_from(foreign(tmp_path / "foreign.zip"), ["last", "1.dcm"]) == facts({"last": b""})
    finished(stage, BODIES | {"1.dcm": b"changed since"})
    check(ours, BODIES)


def test_adopted_from_a_damaged_zip(stage: ZipStage, tmp_path: Path) -> None:
    data = bytearray(zips.make(*(zips.M(name, body) for name, body in BODIES.items())))
    data[data.index(b"DICM")] ^= 1
    path = tmp_path / "damaged.zip"
    path.write_bytes(data)
    left = {name: body for name, body in BODIES.items() if name != "1.dcm"}
    assert stage.adopt_from(str(path), BODIES) == facts(left)
    found = read_back(str(path))
    assert found is not None
    assert found.files == facts(left)
    assert isinstance(found.fault, CrcMismatch)
    path.write_bytes(data[: data.index(b"text")])
    assert stage.adopt_from(str(path), BODIES) == {}
    stage.drop("sub/ü.txt")
    assert stage.adopt_from(str(path), BODIES) == {}
    assert stage.adopt_from(str(tmp_path / "none.zip"), BODIES) == {}
    finished(stage, {name: body for name, body in left.items() if name != "sub/ü.txt"})


def test_read_back(tmp_path: Path) -> None:
    path = foreign(tmp_path / "foreign.zip")
    check(path, BODIES)
    assert read_back(f"{path}/none") is None
    assert read_back(str(tmp_path / "none")) is None
    assert read_back(str(tmp_path)) is None
    os.mkfifo(tmp_path / "pipe")
    assert read_back(str(tmp_path / "pipe")) is None
    os.symlink(path, tmp_path / "link")
    with pytest.raises(DiskTrouble):
        read_back(str(tmp_path / "link"))
    os.truncate(path, os.stat(path).st_size - 1)
    found = read_back(path)
    assert found is not None
    assert isinstance(found.fault, Truncated)
    assert found.files == facts(BODIES)
    assert not {name for name in opened() if name.startswith(str(tmp_path))}


def test_read_back_while_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = foreign(tmp_path / "foreign.zip")
    digest = zipwrite.digest

    def changing(read: zipwrite.Read) -> Any:
        try:
            return digest(read)
        finally:
            os.utime(path, ns=(1, 1))

    monkeypatch.setattr(zipwrite, "digest", changing)
    assert read_back(path) is None


# -- in the flow ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", [0, 8])
def test_unpacked_into_a_zip(stage: ZipStage, method: int) -> None:
    sent = zips.make(*(zips.M(f"S/resources/D/files/{name}", body, method) for name, body in BODIES.items()))
    wants = {name: Want(RemoteFile(name, *fact(body)), name, "new") for name, body in BODIES.items()}
    wants["1.dcm"] = Want(RemoteFile("1.dcm", 44, md5(b"another file").hexdigest()), "1.dcm", "new")
    listed = {f"S/resources/D/files/{name}": name for name in BODIES}
    listed |= {name: name for name in BODIES}
    landed: dict[str, bytes] = {}
    for cut in (len(sent) // 2, len(sent)):
        any_stage: Any = stage
        unpacker = Unpacker(any_stage, {n: want for n, want in wants.items() if n not in landed}, listed, 1 << 20)
        for at in range(0, cut, 11):
            fed = unpacker.feed(sent[at : min(cut, at + 11)])
            landed |= {item.want.local: BODIES[item.want.local] for item in fed.landed}
        unpacker.finish()
        unpacker.close()
        assert stage.whole() == {name: len(body) for name, body in landed.items()}
    assert set(landed) == set(BODIES) - {"1.dcm"}
    finished(stage, landed)
