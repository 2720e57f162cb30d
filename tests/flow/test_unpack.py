"""Unpacking: every member is proved before it counts, and none can land anywhere but where the listing puts it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pytest

from core.zips import M, make
from xnat_sync.core import members
from xnat_sync.core.model import RemoteFile, Want
from xnat_sync.core.unzip import ZipError
from xnat_sync.flow.unpack import Fed, Unpacker
from xnat_sync.shell.stage import Stage

FILES = {"a.dcm": b"a" * 300, "sub/b.dcm": b"b" * 500, "c.dcm": b"c" * 70}


def remote(path: str, data: bytes, *, digest: bool = True, size: bool = True) -> RemoteFile:
    return RemoteFile(path, len(data) if size else None, hashlib.md5(data).hexdigest() if digest else None)


def member(path: str, data: bytes) -> M:
    return M(f"S1_MR1/resources/DICOM/files/{path}", data)


class Bench:
    """A stage in a folder, and an unpacker that wants some files."""

    def __init__(
        self, root: Path, *, digest: bool = True, size: bool = True, only: Sequence[str] = tuple(FILES)
    ) -> None:
        self.root = root
        self.stage = Stage(str(root / "stage"))
        self.stage.prepare()
        wants = {path: Want(remote(path, FILES[path], digest=digest, size=size), path, "new") for path in only}
        listed = members.index(FILES, "XNAT_E00001", "S1_MR1")
        self.unpacker = Unpacker(self.stage, wants, listed, 1 << 20)

    def feed(self, data: bytes, step: int = 64) -> Fed:
        """All of it in small pieces, then the end; what came of it in all."""
        total = Fed()
        feeds: list[Callable[[], Fed]] = [
            partial(self.unpacker.feed, data[at : at + step]) for at in range(0, len(data), step)
        ]
        for each in [*feeds, self.unpacker.finish]:
            fed = each()
            total.landed += fed.landed
            total.wrong += fed.wrong
            total.again += fed.again
            if fed.error is not None:
                total.error = fed.error
                break
        total.again += self.unpacker.close()
        return total

    def files(self) -> dict[str, bytes]:
        """Everything below the test's folder."""
        return {
            os.path.relpath(os.path.join(folder, name), self.root): Path(folder, name).read_bytes()
            for folder, _, names in os.walk(self.root)
            for name in names
        }

    def landed(self) -> dict[str, bytes]:
        return {path.removeprefix("stage/tree/"): data for path, data in self.files().items()}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.mark.parametrize("step", [1, 7, 64, 1 << 20])
def test_all_members_land(bench: Bench, step: int) -> None:
    fed = bench.feed(make(*(member(path, data) for path, data in FILES.items())), step)
    assert fed.error is None
    assert (fed.again, fed.wrong) == (0, [])
    assert [each.want.remote.path for each in fed.landed] == list(FILES)
    assert [(each.size, each.md5) for each in fed.landed] == [
        (len(data), hashlib.md5(data).hexdigest()) for data in FILES.values()
    ]
    assert bench.landed() == FILES


def test_a_member_that_lacks_does_not_land(bench: Bench) -> None:
    fed = bench.feed(make(member("a.dcm", FILES["a.dcm"])))
    assert fed.error is None
    assert bench.landed() == {"a.dcm": FILES["a.dcm"]}


@pytest.mark.parametrize(
    "data", [b"", b"a" * 299, b"a" * 301, b"A" * 300], ids=["empty", "short", "long", "others' bytes"]
)
def test_a_member_with_a_good_crc_and_wrong_bytes_does_not_land(bench: Bench, data: bytes) -> None:
    fed = bench.feed(make(member("a.dcm", data), member("c.dcm", FILES["c.dcm"])))
    assert fed.error is None
    assert fed.wrong == ["a.dcm"]
    assert fed.again == len(data)
    assert bench.landed() == {"c.dcm": FILES["c.dcm"]}


def test_a_name_that_comes_twice_ends_the_zip(bench: Bench) -> None:
    """As it does on the server, which stops there."""
    data = FILES["a.dcm"]
    fed = bench.feed(make(member("c.dcm", FILES["c.dcm"]), member("a.dcm", data), member("a.dcm", data)))
    assert isinstance(fed.error, ZipError)
    assert bench.landed() == {"a.dcm": data, "c.dcm": FILES["c.dcm"]}


def test_a_wrong_crc_ends_the_zip_and_keeps_what_came_before(bench: Bench) -> None:
    broken = M("S1/resources/DICOM/files/c.dcm", FILES["c.dcm"], local={"crc": 1})
    fed = bench.feed(make(member("a.dcm", FILES["a.dcm"]), broken, member("sub/b.dcm", FILES["sub/b.dcm"])))
    assert isinstance(fed.error, ZipError)
    assert bench.landed() == {"a.dcm": FILES["a.dcm"]}


@pytest.mark.parametrize("part", [0.0, 0.1, 0.5, 0.9])
def test_a_cut_leaves_whole_members_only(bench: Bench, part: float) -> None:
    data = make(*(member(path, content) for path, content in FILES.items()))
    fed = bench.feed(data[: int(len(data) * part)])
    assert isinstance(fed.error, ZipError)
    assert all(FILES[path] == found for path, found in bench.landed().items())
    assert len(bench.landed()) == len(fed.landed)


def test_what_is_not_listed_or_not_wanted_is_read_past(tmp_path: Path) -> None:
    bench = Bench(tmp_path, only=["c.dcm"])
    fed = bench.feed(make(*(member(path, data) for path, data in FILES.items()), member("catalog.xml", b"<x/>")))
    assert fed.error is None
    assert bench.landed() == {"c.dcm": FILES["c.dcm"]}
    assert fed.again == 300 + 500 + 4


def test_a_member_of_which_nothing_is_listed_is_left_to_a_request_of_its_own(tmp_path: Path) -> None:
    bench = Bench(tmp_path, digest=False, size=False)
    fed = bench.feed(make(*(member(path, data) for path, data in FILES.items())))
    assert fed.landed == []
    assert bench.files() == {}


def test_without_a_digest_size_and_crc_must_do(tmp_path: Path) -> None:
    bench = Bench(tmp_path, digest=False)
    fed = bench.feed(make(member("a.dcm", FILES["a.dcm"]), member("c.dcm", b"short")))
    assert fed.wrong == ["c.dcm"]
    assert bench.landed() == {"a.dcm": FILES["a.dcm"]}


@pytest.mark.parametrize(
    "name",
    [
        "../../../../evil",
        "/etc/evil",
        "S1/resources/DICOM/files/../../../evil",
        "S1/resources/DICOM/files//etc/evil",
        "S1/resources/DICOM/files/..",
        "S1\\resources\\DICOM\\files\\a.dcm",
        "C:\\evil",
        "S1/resources/DICOM/files/a.dcm\0.exe",
        "S1/resources/DICOM/files/A.DCM",
        "S1/resources/DICOM/files/",
        "S1/resources/DICOM/files/a.dcm/",
        "",
        "a.dcm",
        b"\xff\xfe/resources/x/files/\xff",
    ],
)
def test_a_hostile_name_writes_nothing_at_all(bench: Bench, name: str | bytes) -> None:
    data = FILES["a.dcm"]
    fed = bench.feed(make(M(name, data)))
    assert fed.landed == []
    assert bench.files() == {}
    assert os.listdir(bench.root) == ["stage"]


def test_a_link_among_the_members_is_a_file_like_any_other(bench: Bench) -> None:
    """The mode of a member is nothing to us: a symbolic link's target would be its bytes, and they prove wrong."""
    link = M("S1/resources/DICOM/files/a.dcm", b"/etc/passwd", central={"external": 0o120777 << 16})
    fed = bench.feed(make(link))
    assert fed.landed == []
    assert bench.files() == {}


def test_a_bomb_is_stopped(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    fed = bench.feed(make(M("S1/resources/DICOM/files/a.dcm", bytes(8 << 20), method=8)), step=1 << 16)
    assert isinstance(fed.error, ZipError)
    assert bench.files() == {}
