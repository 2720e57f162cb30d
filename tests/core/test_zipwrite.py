"""What is written is a zip to every reader there is, the same every time, and found again from its headers alone."""

from __future__ import annotations

import io
import os
import shutil
import struct
import subprocess
import zipfile
import zlib
from collections.abc import Iterable
from functools import partial
from hashlib import md5
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core import zips
from core.zips import FULL16, FULL32
from xnat_sync.core import names, zipwrite
from xnat_sync.core.errors import Broken
from xnat_sync.core.unzip import CrcMismatch, MemberData, MemberEnd, MemberStart, Truncated, ZipReader
from xnat_sync.core.zipwrite import Member, Read, ending, local_header, placeholder

GIB = 1 << 30
NEVER = (1 << 64) - 1

BODIES = {
    "1.dcm": bytes(128) + b"DICM" + bytes(range(256)),
    "empty": b"",
    "sub/ü 日本.txt": b"text " * 40,
    "inner.zip": zips.make(zips.M()),
    "like a header": b"PK\3\4" + bytes(26),
}


def rows_of(files: Iterable[tuple[str, bytes]], *, wide: bool = False) -> list[tuple[Member, bytes]]:
    rows: list[tuple[Member, bytes]] = []
    at = 0
    for name, data in files:
        rows.append((Member(name, len(data), zlib.crc32(data), at, wide), data))
        at = rows[-1][0].end
    return rows


def members(files: Iterable[tuple[str, bytes]], *, wide: bool = False) -> bytes:
    return b"".join(local_header(row) + data for row, data in rows_of(files, wide=wide))


def whole(files: Iterable[tuple[str, bytes]], *, wide: bool = False) -> bytes:
    rows = [row for row, _ in rows_of(files, wide=wide)]
    return members(files, wide=wide) + ending(rows, rows[-1].end if rows else 0)


def reading(data: bytes) -> Read:
    return lambda size, at: data[at : at + size]


def scanned(data: bytes) -> list[Member]:
    return list(zipwrite.scan(reading(data), len(data)))


def unzip_says(path: Path, *only: str) -> str:
    """What ``unzip -t`` finds wrong: nothing, if all is well."""
    if shutil.which("unzip") is None:
        pytest.skip("unzip is not installed")
    done = subprocess.run(["unzip", "-tqq", str(path), *only], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr + (f"exit {done.returncode}" if done.returncode else "")


# -- whole zips -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wide", [False, True])
def test_every_reader_takes_it(tmp_path: Path, wide: bool) -> None:
    data = whole(BODIES.items(), wide=wide)
    seen = zips.read(data)
    assert seen.error is None
    assert seen.whole == BODIES
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == BODIES
        for info in archive.infolist():
            assert info.compress_type == zipfile.ZIP_STORED
            assert info.date_time == (1980, 1, 1, 0, 0, 0)
            assert info.flag_bits == 0x0800
            assert info.external_attr >> 16 == 0o100644
            assert not info.extra
    path = tmp_path / "resource.zip"
    path.write_bytes(data)
    assert unzip_says(path) == ""


def test_unzip_gives_back_names_and_bytes(tmp_path: Path) -> None:
    path = tmp_path / "resource.zip"
    path.write_bytes(whole(BODIES.items(), wide=True))
    assert unzip_says(path) == ""
    env = os.environ | {"LC_ALL": "C.UTF-8"}
    subprocess.run(["unzip", "-q", str(path), "-d", str(tmp_path / "out")], check=True, env=env)
    assert {name: (tmp_path / "out" / name).read_bytes() for name in BODIES} == BODIES


PATHS = st.lists(st.text(min_size=0, max_size=12), unique=True, max_size=8)


@given(PATHS, st.data(), st.booleans())
@settings(max_examples=150, deadline=None)
def test_whatever_the_server_names_a_file(paths: list[str], data: st.DataObject, wide: bool) -> None:
    order = data.draw(st.permutations(sorted(names.assign_paths(paths).values())))
    files = {name: data.draw(st.binary(max_size=300)) for name in order}
    made = whole(files.items(), wide=wide)
    seen = zips.read(zips.pieces(made, data.draw(st.integers(1, 200))))
    assert seen.error is None
    assert seen.whole == files
    assert list(seen.whole) == list(order)
    with zipfile.ZipFile(io.BytesIO(made)) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == files
    assert whole(files.items(), wide=wide) == made


HOSTILE = ["/etc/passwd", "../../x", "a\\..\\b", "C:\\x", "nul\0.dcm", "a\n\x1b[31m", "con", "a/../b", "", "x."]


def test_hostile_paths_unpack_within_their_folder(tmp_path: Path) -> None:
    local = names.assign_paths(HOSTILE)
    path = tmp_path / "resource.zip"
    path.write_bytes(whole([(local[path], path.encode()) for path in HOSTILE]))
    assert unzip_says(path) == ""
    out = tmp_path / "deep" / "out"
    with zipfile.ZipFile(path) as archive:
        archive.extractall(out)
    found = {str(file.relative_to(out)): file.read_bytes() for file in out.rglob("*") if file.is_file()}
    assert found == {local[path]: path.encode() for path in HOSTILE}
    assert {entry.name for entry in tmp_path.rglob("*") if entry.is_file()} == {
        "resource.zip",
        *(name.rpartition("/")[2] for name in local.values()),
    }


def test_nothing_in_it() -> None:
    assert zips.read(ending([], 0)).error is None
    assert len(ending([], 0)) == 22


@pytest.mark.parametrize("count", [FULL16 - 1, FULL16])
def test_many_members(tmp_path: Path, count: int) -> None:
    data = whole([(f"{number:05}", b"") for number in range(count)])
    assert (b"PK\6\6" in data) is (count >= FULL16)
    reader = ZipReader()
    assert sum(isinstance(event, MemberEnd) for event in reader.feed(data)) == count
    reader.finish()
    assert len(scanned(data)) == count
    path = tmp_path / "many.zip"
    path.write_bytes(data)
    with zipfile.ZipFile(path) as archive:
        assert len(archive.namelist()) == count
    assert unzip_says(path) == ""


# -- beyond 4 GiB ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "wide", "fields", "extra"),
    [
        (0, False, 0, b""),
        (FULL32 - 1, False, FULL32 - 1, b""),
        (FULL32, False, FULL32, struct.pack("<HHQQ", 1, 16, FULL32, FULL32)),
        (5 * GIB, False, FULL32, struct.pack("<HHQQ", 1, 16, 5 * GIB, 5 * GIB)),
        (7, True, FULL32, struct.pack("<HHQQ", 1, 16, 7, 7)),
    ],
)
def test_sizes_in_the_local_header(size: int, wide: bool, fields: int, extra: bytes) -> None:
    member = Member("name", size, 0x12345678, 99, wide)
    header = local_header(member)
    assert struct.unpack_from("<III", header, 14) == (0x12345678, fields, fields)
    assert header[30:] == b"name" + extra
    assert struct.unpack_from("<H", header, 4) == ((45 if extra else 20),)
    assert len(placeholder(member)) == len(header) == member.start - 99
    assert member.end == member.start + size


@pytest.mark.parametrize(
    ("size", "offset", "extra"),
    [
        (1, 1, []),
        (FULL32 - 1, FULL32 - 1, []),
        (FULL32, 0, [FULL32, FULL32]),
        (1, FULL32, [FULL32]),
        (6 * GIB, 7 * GIB, [6 * GIB, 6 * GIB, 7 * GIB]),
    ],
)
def test_what_does_not_fit_in_the_directory(size: int, offset: int, extra: list[int]) -> None:
    tail = ending([Member("n", size, 5, offset)], offset + size + 31)
    field = struct.pack(f"<HH{len(extra)}Q", 1, 8 * len(extra), *extra) if extra else b""
    assert tail[46 : 47 + len(field)] == b"n" + field
    assert tail[47 + len(field) :].startswith(b"PK\6\6" if offset + size + 31 >= FULL32 else b"PK\5\6")
    assert struct.unpack_from("<H", tail, 6) == ((45 if extra else 20),)


def test_a_member_beyond_4_gib(tmp_path: Path) -> None:
    size, crc, piece = FULL32 + 10, 0, bytes(1 << 24)
    for at in range(0, size, len(piece)):
        crc = zipwrite.crc32(piece[: size - at], crc)
    path, body = tmp_path / "big.zip", b"behind it"
    big = Member("big", size, crc, 0, wide=True)
    small = Member("small", len(body), zlib.crc32(body), big.end)
    with path.open("wb") as file:  # sparse: it takes no room
        file.write(local_header(big))
        file.seek(big.end)
        file.write(local_header(small) + body + ending([big, small], small.end))
    fd = os.open(path, os.O_RDONLY)
    try:
        read = partial(os.pread, fd)
        assert list(zipwrite.scan(read, os.fstat(fd).st_size)) == [big, small]
        assert list(zipwrite.scan(read, big.end - 1)) == []

        def without_disk(size: int, at: int) -> bytes:
            return piece[:size] if big.start <= at < big.end - size else read(size, at)

        seen = [event for event in zipwrite.events(without_disk) if not isinstance(event, MemberData)]
        assert [e.size for e in seen if isinstance(e, MemberEnd)] == [size, len(body)]
        assert isinstance(seen[-1], MemberEnd)
    finally:
        os.close(fd)
    with zipfile.ZipFile(path) as archive:
        assert [(info.filename, info.file_size) for info in archive.infolist()] == [("big", size), ("small", len(body))]
        assert archive.read("small") == body
        with archive.open("big") as opened:
            assert opened.read(1000) == bytes(1000)
    assert unzip_says(path, "small") == ""


# -- found again ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wide", [False, True])
def test_scan_finds_what_is_whole(wide: bool) -> None:
    rows = rows_of(BODIES.items(), wide=wide)
    data = whole(BODIES.items(), wide=wide)
    assert scanned(data) == [row for row, _ in rows]
    for cut in range(len(data)):
        assert scanned(data[:cut]) == [row for row, _ in rows if row.end <= cut]


def test_scan_finds_sizes_beyond_all_files_to_be_nothing() -> None:
    assert list(zipwrite.scan(reading(local_header(Member("n", NEVER - 40, 1, 0))), 1 << 62)) == []


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("body", [b"", b"x", b"PK\3\4" + bytes(40), bytes(300)])
def test_a_header_that_was_replaced_in_part_is_nothing(wide: bool, body: bytes) -> None:
    member = Member("näme", len(body), zlib.crc32(body), 0, wide)
    old, new = placeholder(member), local_header(member)
    assert scanned(old + body) == []
    with pytest.raises(Broken):
        list(ZipReader().feed(old + body))
    first, last = 14, next(at for at in range(len(new), 0, -1) if old[at - 1] != new[at - 1])
    for cut in range(first, last):
        assert scanned(new[:cut] + old[cut:] + body) == []
    assert scanned(new + body) == [member]
    # A page that was lost while the next was kept: the bytes show it.
    for cut in range(first + 1, len(new)):
        torn = old[:cut] + new[cut:] + body
        proved = [zipwrite.prove(reading(torn), found) for found in scanned(torn)]
        assert all(found is None for found in proved) or torn == new + body


@given(at=st.integers(0, 10_000), bits=st.integers(1, 255))
@settings(max_examples=300, deadline=None)
def test_a_flipped_byte_is_never_believed(at: int, bits: int) -> None:
    data = members(BODIES.items())
    at %= len(data)
    damaged = data[:at] + bytes([data[at] ^ bits]) + data[at + 1 :]
    found = {m.name: zipwrite.prove(reading(damaged), m) for m in scanned(damaged)}
    for name, body in BODIES.items():
        assert found.get(name) in (None, md5(body).hexdigest())
    assert scanned(damaged) != scanned(data) or None in found.values()


@given(st.binary(max_size=300), st.booleans())
@settings(max_examples=200, deadline=None)
def test_random_bytes_are_nothing(data: bytes, signed: bool) -> None:
    head = local_header(Member("n", 3, 1, 0))[:20] if signed else b""
    assert [m.end for m in scanned(head + data)] in ([], [34])
    files, _ = zipwrite.digest(reading(head + data))
    assert files == {}


def test_pieces_of_what_became_shorter() -> None:
    assert b"".join(zipwrite.pieces(reading(b"abcdef"), 1, 4)) == b"bcd"
    with pytest.raises(Broken, match="byte 6"):
        list(zipwrite.pieces(reading(b"abcdef"), 1, 9))


def digests(bodies: dict[str, bytes]) -> dict[str, tuple[int, str]]:
    return {name: (len(body), md5(body).hexdigest()) for name, body in bodies.items()}


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_digest_of_any_zip(method: int) -> None:
    data = zips.by_zipfile(BODIES, method, comment=b"not ours")
    assert zipwrite.digest(reading(data)) == (digests(BODIES), None)


@pytest.mark.parametrize("method", [0, 8])
def test_damage_within_a_member_costs_only_that(method: int) -> None:
    data = bytearray(zips.make(*(zips.M(name, body, method) for name, body in BODIES.items())))
    start = next(e for e in ZipReader().feed(bytes(data)) if isinstance(e, MemberStart) and e.name == "sub/ü 日本.txt")
    data[start.offset + 30 + len(start.raw_name) + 3] ^= 0x55
    files, fault = zipwrite.digest(reading(bytes(data)))
    assert files == digests({name: body for name, body in BODIES.items() if name != "sub/ü 日本.txt"})
    assert fault is not None
    assert fault.member == "sub/ü 日本.txt"


def test_damage_to_the_last_member_ends_it() -> None:
    data = bytearray(zips.make(zips.M("a"), zips.M("b", b"0123")))
    data[data.index(b"0123")] ^= 1
    files, fault = zipwrite.digest(reading(bytes(data)))
    assert list(files) == ["a"]
    assert isinstance(fault, CrcMismatch)


def test_damage_to_a_header_ends_it() -> None:
    data = zips.make(zips.M("a"), zips.M("b", local={"signature": b"PK??"}), zips.M("c"))
    files, fault = zipwrite.digest(reading(data))
    assert list(files) == ["a"]
    assert fault is not None
    sealed = zips.make(zips.M("a"), zips.M("b", b"x" * 99, 8, descriptor="sig32"), zips.M("c"))
    at = sealed.index(b"b", 40) + 2
    files, fault = zipwrite.digest(reading(sealed[:at] + b"\xff\xff\xff" + sealed[at + 3 :]))
    assert list(files) == ["a"]
    assert fault is not None


def test_a_zip_that_is_cut() -> None:
    files, fault = zipwrite.digest(reading(members(BODIES.items())))
    assert files == digests(BODIES)
    assert isinstance(fault, Truncated)


def test_names_that_are_none() -> None:
    with pytest.raises(ValueError, match="65536 bytes"):
        local_header(Member("n" * 65_536, 0, 0, 0))
    with pytest.raises(ValueError, match="surrogate"):
        local_header(Member("\ud800", 0, 0, 0))
    longest = Member("n" * 65_535, 1, zlib.crc32(b"x"), 0)
    assert scanned(local_header(longest) + b"x") == [longest]
    wrong = bytearray(local_header(Member("ab", 0, 0, 0)))
    wrong[30] = 0xFF
    assert scanned(bytes(wrong)) == []
