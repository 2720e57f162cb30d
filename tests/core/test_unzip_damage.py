"""Zips that are cut, flipped, lying or hostile: the other half of the invariant of ``test_unzip``.

Either ``finish`` accepts, and then every member is exactly what was zipped, names included; or a ``ZipError`` is
raised, and still every ``MemberEnd`` before it stands for exactly the bytes that were zipped.
"""

from __future__ import annotations

import struct
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core import zips
from core.zips import FULL16, FULL32, M, Read, deflate, extra, make, pieces, read, split, unicode_path
from xnat_sync.core.unzip import (
    PIECE,
    BadDeflate,
    BadHeader,
    BadSignature,
    CentralMismatch,
    CrcMismatch,
    DescriptorMismatch,
    DuplicateName,
    Encrypted,
    EndMismatch,
    MultiDisk,
    NotAZip,
    OverLimit,
    SizeMismatch,
    TrailingData,
    Truncated,
    UnknownMethod,
    Unstreamable,
    ZipError,
    ZipLimits,
)

BODIES = {"1.dcm": bytes(20) + b"DICM", "e": b"", "f/": b"", "ü.txt": b"text " * 9}

WHOLE: dict[str, bytes] = {
    "stored": make(*(M(name, body) for name, body in BODIES.items()), comment=b"end"),
    "deflated": make(*(M(name, body, 8) for name, body in BODIES.items())),
    "like XNAT": make(*(M(name, body, 8, descriptor="sig32") for name, body in BODIES.items())),
    "bare": make(*(M(name, body, 8, descriptor="32") for name, body in BODIES.items())),
    "wide": make(*(M(name, body, 8, descriptor="sig64", zip64=True) for name, body in BODIES.items()), zip64_end=True),
    "stored, empty ones sealed": make(
        *(M(name, body, descriptor="" if body else "sig32") for name, body in BODIES.items())
    ),
    "unicode path": make(
        *(
            M(f"?{n}", body, flags=0, extra=unicode_path(b"?%d" % n, name))
            for n, (name, body) in enumerate(BODIES.items())
        )
    ),
}


def check(seen: Read) -> None:
    """The invariant. The bytes are compared by place, since damage may be in a name."""
    assert list(seen.whole.values()) == list(BODIES.values())[: len(seen.whole)]
    assert seen.error is not None or seen.whole == BODIES


@pytest.mark.parametrize("kind", WHOLE)
def test_cut_at_every_byte(kind: str) -> None:
    data = WHOLE[kind]
    marks = read(data).good
    for cut in range(len(data)):
        seen = read(data[:cut])
        check(seen)
        assert seen.fault is Truncated
        assert list(seen.whole) == list(BODIES)[: len(seen.whole)]
        good = seen.reader.last_good_offset
        assert good <= cut
        assert good == max((mark for mark in marks if mark <= good), default=0)
        again = read(data[:good]).whole
        assert {name: body for name, body in seen.whole.items() if body or name in again} == again
        if cut in marks and list(BODIES.values())[marks.index(cut)]:
            assert good == cut  # only of empty members is the end not known before something follows


@pytest.mark.parametrize("kind", WHOLE)
@pytest.mark.parametrize("flip", [0x01, 0x08, 0x80, 0xFF])
def test_flip_every_byte(kind: str, flip: int) -> None:
    data = WHOLE[kind]
    accepted = 0
    for at in range(len(data)):
        damaged = data[:at] + bytes([data[at] ^ flip]) + data[at + 1 :]
        seen = read(pieces(damaged, 1 << 20))
        check(seen)
        accepted += seen.error is None
    assert accepted < len(data) / 2  # versions, times, attributes and comments are nobody's business


@given(
    kind=st.sampled_from(sorted(WHOLE)),
    edits=st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 40), st.binary(max_size=40)), min_size=1, max_size=4),
    cuts=st.lists(st.integers(0, 4000), max_size=4),
)
@settings(max_examples=500, deadline=None)
def test_random_damage(kind: str, edits: list[tuple[int, int, bytes]], cuts: list[int]) -> None:
    data = WHOLE[kind]
    for at, length, new in edits:
        at %= len(data) + 1
        data = data[:at] + new + data[at + length :]
    seen = read(split(data, cuts))
    assert set(seen.whole.values()) <= set(BODIES.values())  # whole members may be gone
    # Several edits may change a name in both places alike; no zip can show that.
    assert seen.error is not None or list(seen.whole.values()) == list(BODIES.values())
    assert read(data).whole == seen.whole  # however it is split
    assert read(data).fault == seen.fault


@given(st.binary(max_size=200), st.sampled_from([b"", b"PK\3\4", b"PK\5\6", b"PK\1\2", b"PK\6\6"]))
@settings(max_examples=200, deadline=None)
def test_random_bytes(data: bytes, head: bytes) -> None:
    seen = read(head + data)
    if head != b"PK\5\6":
        assert isinstance(seen.error, ZipError)


HTML = b"<!DOCTYPE html><html><body>log in</body></html>"
BIG = 1 << 21
A, B = M("a"), M("b", b"bytes of b")
STORED_BY_STREAM = M("s", bytes(40) + b"DICM", descriptor="sig32")

# what, the zip, the error, what the error expected, what it found (None: not told)
HOSTILE: list[tuple[str, bytes, type[ZipError], object, object]] = [
    ("nothing", b"", Truncated, None, 0),
    ("a web page", HTML, NotAZip, None, b"<!DO"),
    ("no signature between members", zips.local(A) + HTML, BadSignature, b"PK\1\2", b"<!DO"),
    ("no central directory", zips.local(A) + zips.local(B), Truncated, None, None),
    ("member after the directory", zips.local(A) + zips.central(A, 0) + zips.local(B),
     BadSignature, None, b"PK\3\4"),
    ("two zips", make(A) + make(B), TrailingData, None, None),
    ("one byte more", make(A) + b"\0", TrailingData, None, None),
    ("newline before", b"\n" + make(A), NotAZip, None, b"\nPK\3"),
    ("duplicate", make(A, B, M("a", b"other")), DuplicateName, None, "a"),
    ("duplicate by unicode path", make(A, M("x", flags=0, extra=unicode_path(b"x", "a"))),
     DuplicateName, None, "a"),
    ("encrypted", make(M(flags=0x801)), Encrypted, None, 0x801),
    ("strongly encrypted", make(M(flags=0x841)), Encrypted, None, 0x841),
    ("masked header", make(M(flags=0x2800)), Encrypted, None, 0x2800),
    ("encrypted only in the directory", make(M(central={"flags": 1})), Encrypted, None, 1),
    ("encrypted directory", zips.local(A) + b"PK\6\x08" + bytes(30), Encrypted, None, b"PK\6\x08"),
    ("deflate64", make(M(method=9)), UnknownMethod, None, 9),
    ("bzip2", make(M(method=12)), UnknownMethod, None, 12),
    ("patched data", make(M(flags=0x820)), UnknownMethod, None, 0),
    ("first of several disks", b"PK\7\x08" + make(A), MultiDisk, None, b"PK\7\x08"),
    ("temporary spanning marker", b"PK00" + make(A), MultiDisk, None, b"PK00"),
    ("end on another disk", make(A, disk=1, central_disk=1), MultiDisk, 0, 1),
    ("directory on another disk", make(A, central_disk=FULL16), MultiDisk, 0, FULL16),
    ("zip64 end on another disk", make(A, zip64_end=True, disk64=2), MultiDisk, 0, 2),
    ("locator on another disk", make(A, zip64_end=True, locator_disk=1), MultiDisk, 1, 1),
    ("locator of two disks", make(A, zip64_end=True, locator_disks=2), MultiDisk, 1, 2),
    ("stored by stream", make(STORED_BY_STREAM), Unstreamable, None, None),
    ("stored by stream, zeros", make(M("s", bytes(99), descriptor="32")), Unstreamable, None, None),
    ("stored by stream, as if empty", make(M("s", b"PK\7\x08" + bytes(99), descriptor="sig32")),
     Unstreamable, None, None),
    ("CRC in the header", make(M(local={"crc": 7}, central={"crc": 7})), CrcMismatch, 7, zlib.crc32(b"DICM")),
    ("CRC of deflated", make(M("x", b"x" * 9, 8, local={"crc": 7})), CrcMismatch, 7, zlib.crc32(b"x" * 9)),
    ("CRC, sealed", make(M("x", b"x" * 9, 8, descriptor="32", local={"crc": 7})), CrcMismatch, 7, None),
    ("CRC of nothing", make(M("x", b"", local={"crc": 7})), CrcMismatch, 7, 0),
    ("stored sizes differ", make(M(local={"csize": 3})), SizeMismatch, 4, 3),
    ("more than announced", make(M("x", b"x" * 99, 8, local={"size": 98})), SizeMismatch, 98, 99),
    ("less than announced", make(M("x", b"x" * 99, 8, local={"size": 100})), SizeMismatch, 100, 99),
    ("a bomb that announces little", make(M("x", bytes(BIG), 8, local={"size": 9})), SizeMismatch, 9, None),
    ("sealed size", make(M("x", b"x" * 9, 8, descriptor="32", local={"size": 8})), SizeMismatch, 8, 9),
    ("sealed compressed size", make(M("x", b"x" * 9, 8, descriptor="32", local={"csize": 9})),
     SizeMismatch, 9, None),
    ("announces no data", make(M("x", b"x" * 9, 8, packed=b"")), SizeMismatch, 9, 0),
    ("empty, but it is not", zips.local(M("x", b"data", local={"size": 0, "csize": 0, "crc": 0})),
     BadSignature, None, b"data"),
    ("garbage", make(M("x", b"x" * 9, 8, packed=b"\xff" * 20)), BadDeflate, None, None),
    ("deflate cut", make(M("x", b"x" * 9, 8, packed=deflate(b"x" * 9)[:-1])), BadDeflate, None, None),
    ("deflate ends early", make(M("x", b"x" * 9, 8, packed=deflate(b"x" * 9) + b"more")),
     BadDeflate, None, None),
    ("descriptor CRC", make(M("x", b"x" * 9, 8, descriptor="sig32", local={"tail": b"PK\7\x08" + bytes(12)})),
     DescriptorMismatch, None, None),
    ("descriptor missing", make(M("x", b"x" * 9, 8, flags=0x808)), DescriptorMismatch, None, None),
    ("descriptor 32 where 64 begins", make(M("x", b"x" * 9, 8, descriptor="64", local={"tail": bytes(20)})),
     DescriptorMismatch, None, None),
    ("extra field too long", make(M(extra=b"\x99\x99\xff\xff")), BadHeader, 0, 0xFFFF),
    ("extra field too long in the directory", make(M(central_extra=b"\x99\x99\x01\x00")), BadHeader, 0, 1),
    ("zip64 field missing", make(M(local={"csize": FULL32, "size": FULL32})), BadHeader, None, None),
    ("zip64 field short", make(M(extra=extra(1, bytes(7)), local={"csize": FULL32})), BadHeader, None, None),
    ("zip64 field missing in the directory", make(M(central={"offset": FULL32})), BadHeader, None, None),
    ("zip64 end too short", make(A, zip64_end=True, length64=43), BadHeader, 56, 55),
    ("zip64 end too long", make(A, zip64_end=True, length64=1 << 63), BadHeader, 56, None),
    ("zip64 without locator", make(A, zip64_end=True)[: -22 - 20] + make(A)[-22:],
     BadSignature, b"PK\6\7", b"PK\5\6"),
    ("locator without zip64", zips.local(A) + zips.central(A, 0) + b"PK\6\7" + bytes(40),
     BadSignature, None, b"PK\6\7"),
    ("locator points elsewhere", make(A, zip64_end=True, locator_at=0), EndMismatch, None, 0),
    ("name differs", make(M("a", central={"name": b"b"})), CentralMismatch, "a", "b"),
    ("name differs by its flag", make(M("ü", central={"flags": 0})), CentralMismatch, "ü", None),
    ("name differs by unicode path", make(M("a", flags=0, central_extra=unicode_path(b"a", "b"))),
     CentralMismatch, "a", "b"),
    ("raw name differs", make(M("?", flags=0, extra=unicode_path(b"?", "a"), central={"name": b"a"})),
     CentralMismatch, None, None),
    ("method differs", make(M(central={"method": 8})), CentralMismatch, 0, 8),
    ("CRC differs", make(M(central={"crc": 1})), CentralMismatch, None, 1),
    ("size differs", make(M(central={"size": 1})), CentralMismatch, 4, 1),
    ("compressed size differs", make(M(central={"csize": 1})), CentralMismatch, 4, 1),
    ("offset differs", make(A, M("b", central={"offset": 1})), CentralMismatch, None, 1),
    ("offset of another, quoted twice", make(A, M("b", central={"offset": 0, "name": b"a"})),
     CentralMismatch, None, 0),
    ("offset overlaps", make(A, M("b", central={"offset": 31})), CentralMismatch, None, 31),
    ("a member listed that never came", zips.local(A) + zips.central(A, 0) + zips.central(B, 99),
     CentralMismatch, None, 99),
    ("a member not listed", zips.local(A) + zips.local(B) + zips.central(A, 0) + make(A)[-22:],
     CentralMismatch, "b", None),
    ("a member listed twice", zips.local(A) + zips.central(A, 0) * 2, CentralMismatch, None, 0),
    ("count too high", make(A, B, here=3, entries=3), EndMismatch, 2, 3),
    ("count too low", make(A, B, here=1, entries=1), EndMismatch, 2, 1),
    ("count elsewhere", make(A, B, entries=5), EndMismatch, 2, 5),
    ("count full without zip64", make(A, here=FULL16, entries=FULL16), EndMismatch, 1, FULL16),
    ("directory size", make(A, size=1), EndMismatch, 47, 1),
    ("directory offset", make(A, at=0), EndMismatch, 35, 0),
    ("zip64 count", make(A, zip64_end=True, entries64=1 << 40), EndMismatch, 1, 1 << 40),
    ("zip64 size", make(A, zip64_end=True, size64=FULL32), EndMismatch, 47, FULL32),
    ("zip64 offset", make(A, zip64_end=True, at64=0), EndMismatch, 35, 0),
    ("old count beside zip64", make(A, zip64_end=True, entries=9), EndMismatch, 1, 9),
    ("empty zip that claims one", make(entries=1, here=1), EndMismatch, 0, 1),
    ("comment cut", make(A, comment=b"long")[:-1], Truncated, None, None),
]  # fmt: skip


@pytest.mark.parametrize(
    ("data", "error", "expected", "found"), [row[1:] for row in HOSTILE], ids=[row[0] for row in HOSTILE]
)
@pytest.mark.parametrize("size", [1, 1 << 20])
def test_hostile(data: bytes, error: type[ZipError], expected: object, found: object, size: int) -> None:
    if len(data) > BIG // 2:
        size = 1 << 20
    seen = read(pieces(data, size))
    assert seen.fault is error
    assert seen.error is not None
    assert expected is None or seen.error.expected == expected
    assert found is None or seen.error.found == found
    for name, body in seen.whole.items():
        assert (name, body) in {("a", b"DICM"), ("b", b"bytes of b"), ("b", b"DICM")} or not error.__name__.startswith(
            "Crc"
        )


def test_a_fault_within_a_member_names_it() -> None:
    error = read(zips.local(M("S1/\x1b\n\u202e.dcm", b"0123456789"))[:-1]).error
    assert str(error) == "the zip ends at byte 51, within member 'S1/\\x1b\\n\\u202e.dcm'"
    assert error is not None
    assert (error.member, error.expected, error.found, error.offset) == ("S1/\x1b\n\u202e.dcm", 10, 9, 51)


def test_a_duplicate_leaves_the_first_alone() -> None:
    seen = read(make(M("a", b"first"), M("a", b"second")))
    assert seen.whole == {"a": b"first"}
    assert len(seen.starts) == 1


LIMITS: list[tuple[str, ZipLimits, bytes, int]] = [
    ("max_name", ZipLimits(max_name=3), make(M("abcd")), 4),
    ("max_members", ZipLimits(max_members=1), make(A, B), 2),
    ("max_member", ZipLimits(max_member=3), make(M("x")), 4),
    ("max_member", ZipLimits(max_member=999), make(M("x", bytes(1000), 8, descriptor="sig32")), 1000),
    ("max_total", ZipLimits(max_total=13), make(A, B), 14),
    ("max_total", ZipLimits(max_total=17), make(A, B, M("c")), 18),
    ("max_total", ZipLimits(max_total=1999), make(*(M(n, bytes(1000),
     8, descriptor="32") for n in "ab")), 2000),
    ("max_ratio", ZipLimits(max_ratio=100), make(M("x", bytes(BIG), 8)), BIG // len(deflate(bytes(BIG)))),
    ("max_ratio", ZipLimits(max_ratio=100), make(M("x", bytes(BIG),
     8, descriptor="sig32")), BIG // len(deflate(bytes(BIG)))),
    ("max_ratio", ZipLimits(max_ratio=9), make(M("x", bytes(BIG), 8, packed=b"")), BIG),
]  # fmt: skip


@pytest.mark.parametrize(("limit", "limits", "data", "found"), LIMITS)
def test_limits(limit: str, limits: ZipLimits, data: bytes, found: int) -> None:
    seen = read(data, limits=limits)
    assert isinstance(seen.error, OverLimit)
    assert (seen.error.limit, seen.error.expected, seen.error.found) == (limit, getattr(limits, limit), found)


def test_at_the_limits_all_is_well() -> None:
    limits = ZipLimits(max_name=1, max_members=2, max_member=10, max_total=14, max_ratio=1)
    assert read(make(A, B), limits=limits).error is None
    small = ZipLimits(max_ratio=2)
    assert read(make(M("x", bytes(1 << 20), 8)), limits=small).error is None  # a small thing is no bomb


def test_the_zip64_end_record_has_so_much_room_for_extensions_and_no_more() -> None:
    fits, over = (
        make(A, zip64_end=True, length64=44 + size, extensible64=bytes(size)) for size in (FULL16, FULL16 + 1)
    )
    assert read(fits).error is None
    assert read(over).fault is BadHeader


def test_a_total_ends_a_bomb_before_it_grows() -> None:
    bomb = deflate(bytes(64 << 20), 9)
    seen = read(zips.local(M("x", b"", 8, packed=bomb, descriptor="sig32")), limits=ZipLimits(max_total=3 * PIECE))
    assert seen.fault is OverLimit
    assert len(seen.buffer) == 3 * PIECE


@pytest.mark.parametrize("method", [0, 8])
def test_a_lie_about_4_gib_allocates_nothing(method: int) -> None:
    wide = extra(1, struct.pack("<QQ", 1 << 43, 1 << 43))
    member = M("x", b"x" * 99, method, extra=wide, local={"size": FULL32, "csize": FULL32})
    seen = read(zips.local(member))
    assert seen.fault in (Truncated, BadDeflate)
    assert not seen.whole
