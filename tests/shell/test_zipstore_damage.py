"""Cuts, kills, flips and full disks: what ``ZipStage`` says is whole is whole, and what was whole stays."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core import zips
from core.zips import FULL32
from shell.zipstages import (
    BODIES,
    WAYS,
    Way,
    a_stage,
    fact,
    facts,
    finished,
    known,
    proved,
    reopened,
    single,
    stream,
)
from xnat_sync.core import zipwrite
from xnat_sync.core.errors import Broken, DiskTrouble
from xnat_sync.core.zipwrite import Member
from xnat_sync.shell.zipstore import ZipStage


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[ZipStage]:
    with a_stage(tmp_path) as made:
        yield made


# -- kills ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("whole", [False, True])
def test_cut_at_every_byte(tmp_path: Path, way: Way, whole: bool) -> None:
    stage = ZipStage(str(tmp_path))
    stage.prepare()
    ends = {}
    for name, body in BODIES.items():
        way(stage, name, body)
        ends[name] = os.stat(stage.part).st_size
    if whole:
        stage.finish()
    stage.close()
    data = Path(stage.part).read_bytes()
    for cut in range(len(data) + 1):
        Path(stage.part).write_bytes(data[:cut])
        again = reopened(stage)
        left = {name: body for name, body in BODIES.items() if ends[name] <= cut}
        assert proved(again) == facts(left)
        assert os.stat(again.part).st_size == max((ends[name] for name in left), default=0)
        for name, body in BODIES.items():
            if name not in left:
                way(again, name, body)
        if cut % 10 == 0:
            finished(again, BODIES)
            assert not whole or Path(again.part).read_bytes() == data
        again.close()


@pytest.mark.parametrize("size", [None, 44])
def test_killed_while_the_header_is_replaced(stage: ZipStage, size: int | None) -> None:
    stream(stage, "before", b"whole")
    start = os.stat(stage.part).st_size
    writer = stage.open_member("1.dcm", size)
    writer.write(BODIES["1.dcm"])
    old = Path(stage.part).read_bytes()
    stage.accept(writer, "1.dcm", durable=False)
    new = Path(stage.part).read_bytes()
    changed = [at for at in range(len(new)) if old[at] != new[at]]
    assert start < changed[0]
    for torn in [new[:at] + old[at:] for at in changed] + [old[: at + 1] + new[at + 1 :] for at in changed]:
        Path(stage.part).write_bytes(torn)
        again = reopened(stage)
        assert {name for name, found in proved(again).items() if found} == {"before"}
        again.drop("1.dcm")
        stream(again, "1.dcm", BODIES["1.dcm"])
        finished(again, {"before": b"whole", "1.dcm": BODIES["1.dcm"]})
        again.close()


@pytest.mark.parametrize("way", WAYS)
def test_flipped_bytes_are_found(tmp_path: Path, way: Way) -> None:
    stage = ZipStage(str(tmp_path))
    stage.prepare()
    for name, body in BODIES.items():
        way(stage, name, body)
    stage.close()
    data = Path(stage.part).read_bytes()
    for at in range(len(data)):
        Path(stage.part).write_bytes(data[:at] + bytes([data[at] ^ 0x41]) + data[at + 1 :])
        again = reopened(stage)
        found = proved(again)
        assert found != facts(BODIES)
        assert all(found.get(name) in (None, fact(body)) for name, body in BODIES.items())
        for name in found:
            if found[name] != facts(BODIES).get(name):
                again.drop(name)
        for name, body in BODIES.items():
            if name not in again.whole():
                way(again, name, body)
        if at % 5 == 0:
            finished(again, BODIES)
        again.close()


def test_a_flip_in_the_data_costs_one_member(stage: ZipStage) -> None:
    for name, body in BODIES.items():
        stream(stage, name, body)
    data = bytearray(Path(stage.part).read_bytes())
    data[data.index(b"DICM")] ^= 1
    Path(stage.part).write_bytes(data)
    again = reopened(stage)
    stage.prepare()  # what it knew of the bytes that were there counts no more
    assert proved(stage) == proved(again) == facts(BODIES) | {"1.dcm": None}
    finished(again, {name: body for name, body in BODIES.items() if name != "1.dcm"})  # it takes in what is proved


def test_rubbish_in_place_of_a_part(tmp_path: Path) -> None:
    stage = ZipStage(str(tmp_path))
    for rubbish in (b"", b"<html>", b"PK\3\4", os.urandom(4000), zips.make(zips.M(b"a", flags=0))):
        stage.prepare()
        Path(stage.part).write_bytes(rubbish)
        stage.prepare()
        assert stage.whole() == {}
        assert os.stat(stage.part).st_size == 0
    Path(f"{stage.root}/resource.zip.new").write_bytes(b"of a killed run")
    Path(f"{stage.parts}/abc.member").write_bytes(b"of a killed run")
    Path(f"{stage.parts}/abc.part").write_bytes(b"to be gone on with")
    stage.prepare()
    assert os.listdir(stage.parts) == ["abc.part"]
    assert sorted(os.listdir(stage.root)) == ["parts", "resource.zip.part", "tree"]
    stage.close()


def test_a_member_beyond_4_gib_that_lies_there(tmp_path: Path) -> None:
    stage = ZipStage(str(tmp_path))
    stage.prepare()
    big = Member("big", FULL32 + 5, 1, 0)
    with open(stage.part, "wb") as file:
        file.write(zipwrite.local_header(big))
        file.truncate(big.end)  # sparse: it takes no room
    stage.prepare()
    assert stage.whole() == {"big": FULL32 + 5}
    stream(stage, "behind", b"body")
    stage.close()
    os.truncate(stage.part, os.stat(stage.part).st_size - 1)
    stage.prepare()
    assert stage.whole() == {"big": FULL32 + 5}
    stage.close()
    os.truncate(stage.part, big.end - 1)
    stage.prepare()
    assert stage.whole() == {}
    stage.close()


# -- a model --------------------------------------------------------------------------------------------------------

NAMES = st.sampled_from(["a", "b/c", "ü", "d" * 200])
STEPS = st.one_of(
    st.tuples(st.sampled_from(["stream", "known", "single", "dropped"]), NAMES, st.binary(max_size=60)),
    st.tuples(st.just("across"), NAMES, st.binary(max_size=60)),
    st.tuples(st.just("drop"), NAMES, st.just(b"")),
    st.tuples(st.sampled_from(["kill", "finish"]), st.just(""), st.just(b"")),
)


@given(st.lists(STEPS, max_size=14))
@settings(max_examples=150, deadline=None)
def test_any_order_of_things(tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, str, bytes]]) -> None:
    root = tmp_path_factory.mktemp("model")
    stage = ZipStage(str(root))
    stage.prepare()
    held: dict[str, bytes] = {}
    for what, name, body in steps:
        match what:
            case "stream":
                stream(stage, name, body)
            case "known":
                known(stage, name, body)
            case "single":
                single(stage, name, body)
            case "dropped":
                writer = stage.open_member(name)
                writer.write(body)
                writer.drop()
            case "across":
                writer = stage.open_member(name, len(body))
                writer.write(body[:9])
                single(stage, "between", body[::-1])
                held["between"] = body[::-1]
                writer.write(body[9:])
                stage.accept(writer, name, durable=False)
            case "drop":
                stage.drop(name)
                held.pop(name, None)
            case _:
                if what == "finish":
                    finished(stage, held)
                stage.close()
                stage.prepare()
                for staged, found in proved(stage).items():  # as the flow does: what was dropped may be there again
                    if staged not in held or found != fact(held[staged]):
                        stage.drop(staged)
        if what in ("stream", "known", "single", "across"):
            held[name] = body
        assert stage.whole() == {name: len(body) for name, body in held.items()}
    finished(stage, held)
    shutil.rmtree(root)


# -- trouble --------------------------------------------------------------------------------------------------------


def failing_after(count: int) -> Callable[[int, Any, int], int]:
    """A ``pwrite`` onto a disk that has room for so many bytes."""
    left, real = [count], os.pwrite

    def pwrite(fd: int, data: Any, at: int) -> int:
        if left[0] <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = real(fd, data[: left[0]], at)
        left[0] -= written
        return written

    return pwrite


def suppressed(way: Way, stage: ZipStage) -> DiskTrouble | None:
    try:
        way(stage, "b", b"x" * 80)
    except DiskTrouble as error:
        return error
    return None


@pytest.mark.parametrize("way", WAYS)
def test_a_full_disk(stage: ZipStage, way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    known(stage, "a", b"whole")
    size = os.stat(stage.part).st_size
    for room in range(0, 300, 3):
        with monkeypatch.context() as patch:
            patch.setattr(os, "pwrite", failing_after(room))
            trouble = suppressed(way, stage)
        if trouble is None:
            break
        assert "no space left" in str(trouble)
        if stage.in_hand is not None:
            stage.in_hand.drop()
        if way is single:
            assert Path(stage.part_path("b")).read_bytes() == b"x" * 80
        else:
            stage.close()
            stage.prepare()
        assert os.stat(stage.part).st_size == size
        assert stage.whole() == {"a": 5}
    assert room > 80 + 31 + 31
    finished(stage, {"a": b"whole", "b": b"x" * 80})


def test_a_full_disk_while_a_member_makes_way(stage: ZipStage, monkeypatch: pytest.MonkeyPatch) -> None:
    first = stage.open_member("a")
    first.write(b"one ")
    second = stage.open_part("b", append=False)
    second.write(b"file")

    def full(fd: int, data: Any) -> int:
        raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(DiskTrouble, match="no space"):
            stage.accept(second, "b", durable=False)
    assert not [name for name in os.listdir(stage.parts) if name.endswith(".member")]
    first.write(b"two")
    stage.accept(first, "a", durable=False)
    stage.accept(second, "b", durable=False)
    finished(stage, {"a": b"one two", "b": b"file"})


def test_a_full_disk_at_the_end(stage: ZipStage, monkeypatch: pytest.MonkeyPatch) -> None:
    known(stage, "a", b"whole")
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", failing_after(9))
        with pytest.raises(DiskTrouble):
            stage.finish()
    stage.close()
    assert os.stat(stage.part).st_size == 30 + 1 + 5
    stage.prepare()
    finished(stage, {"a": b"whole"})


def test_what_changed_behind_our_back(stage: ZipStage) -> None:
    for change in (b"xx", b"x" * 20):
        writer = stage.open_part("a", append=False)
        writer.write(b"x" * 9)
        Path(stage.part_path("a")).write_bytes(change)
        with pytest.raises(Broken, match="9 were written"):
            stage.accept(writer, "a", durable=False)
        assert stage.whole() == {}
    known(stage, "a", b"one")
    known(stage, "b", b"two")
    stage.drop("a")
    os.truncate(stage.part, 50)
    with pytest.raises(Broken, match="shorter"):
        stage.finish()
    assert sorted(os.listdir(stage.root)) == ["parts", "resource.zip.part", "tree"]


def test_a_link_in_the_way(tmp_path: Path) -> None:
    stage = ZipStage(str(tmp_path / "stage"))
    os.mkdir(stage.root)
    (tmp_path / "other").write_bytes(b"not ours")
    os.symlink(tmp_path / "other", stage.part)
    with pytest.raises(DiskTrouble):
        stage.prepare()
    assert (tmp_path / "other").read_bytes() == b"not ours"
