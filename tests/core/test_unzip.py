"""Whatever arrives, in whatever pieces: each event is right and ``finish`` accepts, or a ``ZipError`` is raised.

Nothing else is ever raised, and every ``MemberEnd`` stands for exactly the bytes that were zipped. The first half
of that is tested here on whole zips of every shape; ``test_unzip_damage`` cuts and flips them.
"""

from __future__ import annotations

import importlib
import io
import shutil
import struct
import subprocess
import sys
import tracemalloc
import zipfile
import zlib
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core import zips
from core.zips import M, by_zipfile, deflate, extra, make, pieces, read, split, unicode_path
from xnat_sync.core import _zipformat, unzip
from xnat_sync.core._pushbuffer import PushBuffer
from xnat_sync.core.errors import Broken
from xnat_sync.core.unzip import MemberData, MemberEnd, MemberStart, ZipReader

FILES = {
    "S1/resources/DICOM/files/1.dcm": bytes(128) + b"DICM" + bytes(range(256)) * 3,
    "empty": b"",
    "folder/": b"",
    "Ünïcödé/日本.txt": b"text " * 40,
    "../../etc/passwd": b"data, not a path",
}


def zip64_sizes(body: bytes) -> bytes:
    """The field with both sizes of a deflated member."""
    return extra(1, struct.pack("<QQ", len(body), len(deflate(body))))


SHAPES: dict[str, tuple[bytes, dict[str, bytes]]] = {
    "empty zip": (make(), {}),
    "comment": (make(M(), comment=b"PK\5\6 is no end here"), {"a.dcm": b"DICM"}),
    "folder": (make(M("f/", b""), M("f/a", b"x")), {"f/": b"", "f/a": b"x"}),
    "zip64 sizes": (make(M(zip64=True), M("b", b"bb", 8, zip64=True)), {"a.dcm": b"DICM", "b": b"bb"}),
    "zip64 end": (make(M(), zip64_end=True), {"a.dcm": b"DICM"}),
    "zip64 end of nothing": (make(zip64_end=True), {}),
    "zip64 end extensible": (
        make(M(), zip64_end=True, length64=44 + 9, extensible64=b"extension", locator_disks=0),
        {"a.dcm": b"DICM"},
    ),
    "zip64 for one size": (
        make(M(local={"csize": 0xFFFFFFFF}, extra=extra(1, struct.pack("<QQ", 4, 4)))),
        {"a.dcm": b"DICM"},
    ),
    "zip64 for one size, and the sizes differ": (
        make(M("x", b"x" * 99, 8, local={"csize": 0xFFFFFFFF}, extra=zip64_sizes(b"x" * 99))),
        {"x": b"x" * 99},
    ),
    "zip64 with the one value": (
        make(M(local={"csize": 0xFFFFFFFF}, extra=extra(1, struct.pack("<Q", 4)))),
        {"a.dcm": b"DICM"},
    ),
    "padded extra field": (make(M(extra=b"\0\0\0")), {"a.dcm": b"DICM"}),
    "a directory that names a disk": (
        make(M("a", central={"disk": 7}), M("b")),
        {"a": b"DICM", "b": b"DICM"},
    ),
    "comment of a member": (make(M(comment=b"PK\1\2"), M("b")), {"a.dcm": b"DICM", "b": b"DICM"}),
    "deflated": (make(M("x", b"x" * 999, 8)), {"x": b"x" * 999}),
    "deflated, empty": (make(M("x", b"", 8), M("y", b"", 8)), {"x": b"", "y": b""}),
    "deflated, empty, without data": (make(M("x", b"", 8, packed=b"")), {"x": b""}),
    "stored, sealed, sizes known": (
        make(M("x", b"abc", descriptor="sig32", local={"csize": 3, "size": 3}), M("y")),
        {"x": b"abc", "y": b"DICM"},
    ),
    "stored, sealed, one byte": (
        make(M("x", b"a", descriptor="sig32", local={"csize": 1, "size": 1}), M("y")),
        {"x": b"a", "y": b"DICM"},
    ),
    "deflated, sealed, sizes known": (
        make(M("x", b"abc" * 9, 8, descriptor="sig32", local={"size": 27})),
        {"x": b"abc" * 9},
    ),
    "deflated, sealed, zip64": (
        make(M("x", b"abc" * 9, 8, descriptor="sig64", zip64=True)),
        {"x": b"abc" * 9},
    ),
    "cp437": (make(M(b"\x81ber", flags=0)), {"über": b"DICM"}),
    "unicode path": (make(M(b"?ber", flags=0, extra=unicode_path(b"?ber", "über"))), {"über": b"DICM"}),
    "unicode path of another name": (
        make(M(b"?ber", flags=0, extra=unicode_path(b"old", "über"))),
        {"?ber": b"DICM"},
    ),
    "unicode path of a new version": (
        make(M(b"?ber", flags=0, extra=unicode_path(b"?ber", "über", version=2))),
        {"?ber": b"DICM"},
    ),
    "unicode path of no letters": (make(M(b"?", flags=0, extra=unicode_path(b"?", ""))), {"": b"DICM"}),
    "unicode path in spite of its name": (
        make(M(b"?", flags=0, extra=extra(0x7075, struct.pack("<BI", 1, zlib.crc32(b"?")) + b"\xff"))),
        {"\udcff": b"DICM"},
    ),
    "unicode path, short": (make(M(b"?ber", flags=0, extra=extra(0x7075, b"\1"))), {"?ber": b"DICM"}),
    "no UTF-8 in spite of the flag": (make(M(b"\xff.dcm")), {"\udcff.dcm": b"DICM"}),
    "no name": (make(M(b"")), {"": b"DICM"}),
    "long name": (make(M(b"n" * 16_384)), {"n" * 16_384: b"DICM"}),
    "hostile names": (
        make(M("/abs"), M("C:\\x"), M("..\\..\\y"), M("nul\0.dcm"), M("a\n\x1b[31m")),
        dict.fromkeys(["/abs", "C:\\x", "..\\..\\y", "nul\0.dcm", "a\n\x1b[31m"], b"DICM"),
    ),
    "a zip in a zip": (make(M("i.zip", make(M())), M("b")), {"i.zip": make(M()), "b": b"DICM"}),
    "data like a descriptor": (
        make(M("x", b"PK\7\x08" + bytes(12) + b"PK\3\4", 8, descriptor="sig32")),
        {"x": b"PK\7\x08" + bytes(12) + b"PK\3\4"},
    ),
    "by zipfile, stored": (by_zipfile(FILES, comment=b"of all"), FILES),
    "by zipfile, deflated": (by_zipfile(FILES, 8), FILES),
    "by zipfile, deflated, forward": (by_zipfile(FILES, 8, forward=True), FILES),
    "like XNAT, stored": (make(*(M(n, d) for n, d in FILES.items())), FILES),
    "like XNAT, deflated": (make(*(M(n, d, 8, descriptor="sig32") for n, d in FILES.items())), FILES),
} | {
    f"descriptor {form}": (
        make(M("x", b"x" * 99, 8, descriptor=form), M("e", b"", 8, descriptor=form), M("f/", b"", descriptor=form)),
        {"x": b"x" * 99, "e": b"", "f/": b""},
    )
    for form in ("32", "64", "sig32", "sig64")
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", [1, 7, 1 << 20])
def test_every_shape_in_pieces(shape: str, size: int) -> None:
    data, files = SHAPES[shape]
    seen = read(pieces(data, size))
    assert seen.error is None
    assert seen.whole == files
    assert list(seen.whole) == list(files)
    assert seen.reader.offset == len(data)
    assert seen.reader.directory_began


UNLIKE_ZIPFILE = {
    "comment",
    "zip64 end extensible",
    "hostile names",
    "no UTF-8 in spite of the flag",
    "unicode path of no letters",
    "unicode path in spite of its name",
}


@pytest.mark.parametrize("shape", SHAPES)
def test_zipfile_sees_the_same(shape: str) -> None:
    data, files = SHAPES[shape]
    if shape in UNLIKE_ZIPFILE:
        pytest.skip("valid, but zipfile cannot read it or cuts a name at its NUL")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = archive.namelist()
        assert [archive.read(info) for info in archive.infolist()] == list(files.values())
    if "unicode path" not in shape:  # zipfile takes no notice of it before 3.13
        assert names == list(files)


@given(
    shape=st.sampled_from(sorted(SHAPES)),
    cuts=st.lists(st.integers(0, 1 << 20), max_size=12),
    kind=st.sampled_from([bytes, bytearray, memoryview]),
)
@settings(max_examples=150, deadline=None)
def test_random_splits(shape: str, cuts: list[int], kind: Any) -> None:
    data, files = SHAPES[shape]
    seen = read(kind(piece) for piece in split(data, cuts))
    assert (seen.error, seen.whole) == (None, files)


names = st.text(min_size=1, max_size=20)
members = st.dictionaries(names, st.binary(max_size=300), max_size=6)


@given(
    files=members,
    method=st.sampled_from([0, 8]),
    form=st.sampled_from(["", "32", "64", "sig32", "sig64"]),
    zip64=st.booleans(),
    comment=st.binary(max_size=30),
    cuts=st.lists(st.integers(0, 1 << 16), max_size=8),
)
@settings(max_examples=200, deadline=None)
def test_random_zips(
    files: dict[str, bytes], method: int, form: str, zip64: bool, comment: bytes, cuts: list[int]
) -> None:
    form = form if method else ""
    data = make(
        *(M(name, body, method, descriptor=form, zip64=zip64) for name, body in files.items()),
        comment=comment,
        zip64_end=zip64,
    )
    seen = read(split(data, cuts))
    assert (seen.error, seen.whole, seen.reader.comment) == (None, files, comment)


def test_there_is_no_comment_until_it_has_come() -> None:
    assert read(make(M(), comment=b"of all")[:-1]).reader.comment == b""


def test_the_events_of_a_stored_member() -> None:
    data = make(M("a/b.dcm", b"0123456789"))
    reader = ZipReader()
    start, first = reader.feed(data[: 30 + 7 + 4])
    assert start == MemberStart(
        index=0,
        name="a/b.dcm",
        raw_name=b"a/b.dcm",
        is_folder=False,
        size=10,
        compressed_size=10,
        crc=zlib.crc32(b"0123456789"),
        method=0,
        modified=datetime(2025, 1, 1, 12, 0),
        offset=0,
    )
    assert first == MemberData(b"0123")
    assert (reader.members, reader.last_good_offset, reader.offset) == (0, 0, 41)
    second, end = reader.feed(memoryview(data)[41:47])
    assert second == MemberData(b"456789")
    assert end == MemberEnd(0, "a/b.dcm", 10, zlib.crc32(b"0123456789"), 10)
    assert (reader.members, reader.last_good_offset, reader.directory_began) == (1, 47, False)
    assert list(reader.feed(data[47:51])) == []
    assert (reader.directory_began, reader.done) == (True, False)
    assert list(reader.feed(data[51:])) == []
    assert reader.done
    reader.finish()
    reader.finish()


def test_sizes_are_unknown_before_a_descriptor() -> None:
    (start,) = ZipReader().feed(make(M("x/", b"", 8, descriptor="sig32"))[:32])
    assert isinstance(start, MemberStart)
    assert (start.size, start.compressed_size, start.crc, start.is_folder) == (None, None, None, True)


@pytest.mark.parametrize(
    ("date", "time", "expected"),
    [
        (0x21, 0, datetime(1980, 1, 1)),
        (0xFF9F, 0xBF7D, datetime(2107, 12, 31, 23, 59, 58)),
        (0, 0, None),
        (0x21, 0xFFFF, None),
    ],
)
def test_dos_times(date: int, time: int, expected: datetime | None) -> None:
    assert read(make(M(date=date, time=time))).starts[0].modified == expected


def test_stored_data_is_a_view_of_what_was_fed() -> None:
    body = b"\xff" * 1000
    data = make(M("x", body))
    (_, event, _) = ZipReader().feed(data)
    assert isinstance(event, MemberData)
    assert isinstance(event.data, memoryview)
    assert event.data.obj is data
    assert event.data == body


def test_a_fed_bytearray_is_let_go() -> None:
    block = bytearray(make(M()))
    reader = ZipReader()
    assert [type(event).__name__ for event in reader.feed(block)] == ["MemberStart", "MemberData", "MemberEnd"]
    block.clear()  # a BufferError if a view were left


def test_events_not_taken_are_a_mistake_of_the_caller() -> None:
    reader = ZipReader()
    next(reader.feed(make(M())))
    with pytest.raises(RuntimeError, match=r"^the events of the last feed were not all taken$"):
        reader.feed(b"")
    with pytest.raises(RuntimeError, match=r"^the events of the last feed were not all taken$"):
        reader.finish()


def test_events_before_a_fault_are_handed_out() -> None:
    data = zips.local(M("good")) + zips.local(M("bad", local={"crc": 1})) + zips.local(M("never"))
    seen = read(data)
    assert list(seen.whole) == ["good"]
    assert [start.name for start in seen.starts] == ["good", "bad"]
    assert seen.reader.last_good_offset == len(zips.local(M("good")))
    assert seen.error is not None
    assert seen.error.member == "bad"


def test_errors_are_item_errors() -> None:
    assert issubclass(unzip.ZipError, Broken)
    for name in unzip.__all__:
        thing = getattr(unzip, name)
        if isinstance(thing, type) and issubclass(thing, Exception):
            assert issubclass(thing, unzip.ZipError)
            assert thing.__doc__


def test_inflated_data_comes_in_bounded_pieces_and_little_memory() -> None:
    size = 64 << 20
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(size >> 20)) + packer.flush()
    data = zips.local(M("bomb", b"", 8, packed=bomb, descriptor="sig32"))
    tracemalloc.start()
    reader = ZipReader()
    total = largest = 0
    events = reader.feed(data[:-16])
    for event in events:
        if isinstance(event, MemberData):
            total += len(event.data)
            largest = max(largest, len(event.data))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total == size
    assert largest == unzip.PIECE
    assert peak < 8 << 20


@pytest.mark.parametrize("engine", ["isal", "zlib"])
@pytest.mark.parametrize("size", [0, 1, unzip.PIECE - 1, unzip.PIECE, unzip.PIECE + 1, 3 * unzip.PIECE])
def test_both_engines_at_the_edges_of_a_piece(engine: str, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if engine == "zlib":
        monkeypatch.setattr("xnat_sync.core._zipmember.engine", zlib)
    body = bytes(size)
    for form in ("", "sig32", "32"):
        data = make(M("x", body, 8, descriptor=form), M("y", b"after", 8, descriptor=form))
        for step in (5, 1 << 20) if size <= 1 << 20 else (50, 1 << 20):
            seen = read(pieces(data, step))
            assert seen.error is None
            assert seen.whole == {"x": body, "y": b"after"}


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if "deflated" in shape])
def test_shapes_inflated_by_zlib(shape: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xnat_sync.core._zipmember.engine", zlib)
    data, files = SHAPES[shape]
    for size in (1, 1 << 20):
        assert read(pieces(data, size)).whole == files


def test_without_isal_zlib_inflates(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = _zipformat.__spec__
    assert spec is not None
    fresh = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "isal", None)
    assert spec.loader is not None
    spec.loader.exec_module(fresh)
    assert fresh.engine is zlib


def test_what_the_inflater_read_too_far_is_given_back_whole() -> None:
    """Some engines buffer input: the rest of a stream may include bytes of a piece before the last."""
    buffer = PushBuffer()
    buffer.load(b"abcdef")
    assert bytes(buffer.take(6)) == b"abcdef"
    buffer.unload()
    buffer.load(b"gh")
    assert bytes(buffer.take(1)) == b"g"
    buffer.untake(b"defg")
    assert (buffer.offset, buffer.end) == (3, 8)
    assert buffer.need(5) == b"defgh"
    buffer.skip(5)
    assert buffer.offset == 8


def test_more_than_65535_members() -> None:
    count = 65_540
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for number in range(count):
            archive.writestr(zipfile.ZipInfo(f"{number:x}"), b"")
    seen = read(pieces(target.getvalue(), 1 << 16))
    assert (seen.error, seen.reader.members) == (None, count)


def test_exactly_65535_members_without_zip64() -> None:
    seen = read(make(*(M(f"{number:x}", b"") for number in range(0xFFFF))))
    assert (seen.error, seen.reader.members) == (None, 0xFFFF)


def test_sizes_beyond_4_gib_are_read_from_the_header() -> None:
    size = 5 << 30
    header = zips.local(
        M("big", extra=extra(1, struct.pack("<QQ", size, size)), local={"size": 0xFFFFFFFF, "csize": 0xFFFFFFFF})
    )
    reader = ZipReader()
    start, data = reader.feed(header)
    assert isinstance(start, MemberStart)
    assert (start.size, start.compressed_size) == (size, size)
    assert data == MemberData(b"DICM")
    with pytest.raises(unzip.Truncated) as caught:
        reader.finish()
    assert (caught.value.expected, caught.value.found, caught.value.member) == (size, 4, "big")


@pytest.mark.parametrize("sizes", [(1 << 20, 5 << 30), (1 << 32, 1), (1, 1 << 32)])
def test_descriptors_of_4_gib_and_more_are_wide(sizes: tuple[int, int]) -> None:
    wide = struct.pack("<IQQ", 7, *sizes)
    assert _zipformat.descriptors(7, *sizes) == [wide, b"PK\7\x08" + wide]


def test_descriptors_of_one_byte_less_may_be_narrow() -> None:
    sizes = (1 << 32) - 1, (1 << 32) - 1
    wide, narrow = struct.pack("<IQQ", 7, *sizes), struct.pack("<III", 7, *sizes)
    assert _zipformat.descriptors(7, *sizes) == [wide, narrow, b"PK\7\x08" + wide, b"PK\7\x08" + narrow]


def test_long_records_byte_by_byte() -> None:
    data = make(*(M(f"{number}", b"x" * 20, comment=b"c" * 200) for number in range(300)), comment=b"c" * 60_000)
    assert read(pieces(data, 1)).error is None


TOOLS = {
    "zip": ["zip", "-q", "-r", "OUT", "."],
    "zip to a pipe": ["sh", "-c", "zip -q -r - . > OUT"],
    "zip of zip64": ["zip", "-q", "-r", "-fz", "OUT", "."],
    "jar": ["jar", "cf", "OUT", "."],
    "jar, stored": ["jar", "c0f", "OUT", "."],
    "bsdtar": ["bsdtar", "-cf", "OUT", "--format", "zip", "."],
    "bsdtar, stored": ["bsdtar", "-cf", "OUT", "--format", "zip", "--options", "zip:compression=store", "."],
    "7z": ["7z", "a", "-tzip", "OUT", "."],
}


@pytest.mark.parametrize("tool", TOOLS)
def test_zips_of_other_programs(tool: str, tmp_path: Path) -> None:
    command = TOOLS[tool]
    if shutil.which(tool.split()[0].rstrip(",")) is None:
        pytest.skip("not installed")
    source = tmp_path / "source"
    (source / "sub").mkdir(parents=True)
    files = {"a.dcm": bytes(5000) + b"DICM", "sub/ü.txt": b"text\n" * 50, "sub/empty": b""}
    for name, body in files.items():
        (source / name).write_bytes(body)
    out = str(tmp_path / "out.zip")
    subprocess.run([part.replace("OUT", out) for part in command], cwd=source, check=True, capture_output=True)
    data = Path(out).read_bytes()
    for size in (1, 1 << 20):
        seen = read(pieces(data, size))
        if seen.fault is unzip.Unstreamable:
            assert "store" in tool  # bsdtar always writes descriptors
            return
        assert seen.error is None
        with zipfile.ZipFile(out) as archive:
            assert list(seen.whole.values()) == [archive.read(info) for info in archive.infolist()]
        assert set(files.values()) <= set(seen.whole.values())
