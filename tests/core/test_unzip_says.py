"""What is said of a broken zip: the line that people read, and the place, the member and the values that go with it.

One row for each thing that may be wrong; the zips are those of ``test_unzip_damage``. Offsets are bytes of the stream:
of the record that is wrong where a header lies, behind the last byte that was used up where data do.
"""

from __future__ import annotations

import re

import pytest

from core import zips
from core.test_unzip_damage import BIG, HOSTILE, LIMITS
from core.zips import M, deflate, make, pieces, read
from xnat_sync.core.unzip import BadDeflate, DescriptorMismatch, ZipError, ZipLimits

Value = int | str | bytes | None
Told = tuple[str, Value, Value, int | None, str | None]

ZIPS = {label: data for label, data, *_ in HOSTILE}

SAYS: dict[str, tuple[str, Value, Value, int, str | None]] = {
    "nothing": ("the zip ends at byte 0, before its central directory", None, 0, 0, None),
    "a web page": ("this is no zip: it begins with b'<!DO'", None, b"<!DO", 0, None),
    "no signature between members": (
        "byte 35 should begin a zip record, but is b'<!DO'",
        b"PK\x01\x02",
        b"<!DO",
        35,
        None,
    ),
    "member after the directory": (
        "byte 82 should begin a zip record, but is b'PK\\x03\\x04'",
        b"PK\x01\x02",
        b"PK\x03\x04",
        82,
        None,
    ),
    "one byte more": ("the zip goes on after its end at byte 104", None, None, 104, None),
    "duplicate by unicode path": ("a second member is named 'a'", None, "a", 35, "a"),
    "encrypted": ("member 'a.dcm' is encrypted", None, 2049, 0, "a.dcm"),
    "encrypted only in the directory": ("member 'a.dcm' is encrypted", None, 1, 39, "a.dcm"),
    "encrypted directory": ("the central directory is encrypted", None, b"PK\x06\x08", 35, None),
    "deflate64": ("member 'a.dcm' is compressed by method 9", None, 9, 0, "a.dcm"),
    "temporary spanning marker": ("the zip is one of several parts", None, b"PK00", 0, None),
    "end on another disk": ("the zip is part 1 of several", 0, 1, 82, None),
    "zip64 end on another disk": ("the zip is part 2 of several", 0, 2, 82, None),
    "locator of two disks": ("the zip is one of 2 parts", 1, 2, 138, None),
    "stored by stream": ("member 's' is stored with its size only behind it", None, None, 31, "s"),
    "stored by stream, as if empty": ("member 's' is stored with its size only behind it", None, None, 31, "s"),
    "CRC in the header": ("member 'a.dcm' has 2571143122 as its CRC-32, not 7", 7, 2571143122, 39, "a.dcm"),
    "CRC, sealed": ("member 'x' has 1858272963 as its CRC-32, not 7", 7, 1858272963, 48, "x"),
    "stored sizes differ": ("member 'a.dcm' is stored, yet 3 bytes hold 4", 4, 3, 0, "a.dcm"),
    "more than announced": ("member 'x' has 99 bytes, not 98", 98, 99, 37, "x"),
    "less than announced": ("member 'x' has 99 bytes, not 100", 100, 99, 37, "x"),
    "sealed compressed size": ("member 'x' has 5 bytes in the zip, not 9", 9, 5, 48, "x"),
    "empty, but it is not": ("member 'x' is said to be empty, but no record follows it", None, b"data", 31, "x"),
    "deflate cut": ("the compressed data of member 'x' goes on after its compressed size", None, None, 35, "x"),
    "deflate ends early": ("the compressed data of member 'x' ends before its compressed size", None, None, 36, "x"),
    "descriptor CRC": (
        "the data descriptor of member 'x' names other sizes or another CRC-32 than its bytes have",
        "504b0708c3fec26e0500000009000000",
        "504b0708000000000000000000000000504b010214001400",
        36,
        "x",
    ),
    "descriptor 32 where 64 begins": (
        "the data descriptor of member 'x' names other sizes or another CRC-32 than its bytes have",
        "504b0708c3fec26e0500000009000000",
        "0000000000000000000000000000000000000000504b0102",
        36,
        "x",
    ),
    "extra field too long": (
        "the header at byte 0 has an extra field 0x9999 that runs past its end",
        0,
        65535,
        0,
        None,
    ),
    "extra field too long in the directory": (
        "the header at byte 39 has an extra field 0x9999 that runs past its end",
        0,
        1,
        39,
        None,
    ),
    "zip64 field missing": ("the header at byte 0 refers to a ZIP64 field that it lacks", None, None, 0, None),
    "zip64 field missing in the directory": (
        "the header at byte 39 refers to a ZIP64 field that it lacks",
        None,
        None,
        39,
        None,
    ),
    "zip64 end too short": ("the ZIP64 end record has 55 bytes", 56, 55, 82, None),
    "zip64 without locator": (
        "byte 138 should begin a zip record, but is b'PK\\x05\\x06'",
        b"PK\x06\x07",
        b"PK\x05\x06",
        138,
        None,
    ),
    "locator without zip64": (
        "byte 82 should begin a zip record, but is b'PK\\x06\\x07'",
        b"PK\x01\x02",
        b"PK\x06\x07",
        82,
        None,
    ),
    "locator points elsewhere": (
        "the end record gives the offset of the ZIP64 end record as 0, not 82",
        82,
        0,
        138,
        None,
    ),
    "name differs": ("the central directory gives 'a' the name 'b', not 'a'", "a", "b", 35, "a"),
    "CRC differs": ("the central directory gives 'a.dcm' the crc 1, not 2571143122", 2571143122, 1, 39, "a.dcm"),
    "offset differs": ("the central directory puts member 'b' at byte 1, where none came", None, 1, 117, "b"),
    "a member not listed": ("the central directory lacks member 'b'", "b", None, 123, "b"),
    "count too high": ("the end record gives the entries_here as 3, not 2", 2, 3, 170, None),
    "zip64 size": ("the end record gives the central_size as 4294967295, not 47", 47, 4294967295, 82, None),
    "comment cut": ("the zip ends at byte 107, within its end", None, 107, 107, None),
}


def told(error: ZipError | None) -> Told:
    assert error is not None
    return str(error), error.expected, error.found, error.offset, error.member


@pytest.mark.parametrize("label", SAYS)
def test_what_is_said(label: str) -> None:
    assert told(read(ZIPS[label]).error) == SAYS[label]


def test_where_inflating_fails_the_engine_has_its_say() -> None:
    error = read(make(M("x", b"x" * 9, 8, packed=b"\xff" * 20))).error
    assert isinstance(error, BadDeflate)
    assert re.fullmatch(r"the compressed data of member 'x' cannot be inflated \(.+\)", str(error))
    assert told(error)[1:] == (None, None, 51, "x")
    assert error.__cause__ is not None


def test_of_a_wrong_descriptor_at_least_a_whole_one_is_shown() -> None:
    error = read(pieces(ZIPS["descriptor CRC"], 1)).error
    assert isinstance(error, DescriptorMismatch)
    assert told(error)[2:] == ((b"PK\7\x08" + bytes(12)).hex(), 36, "x")


def test_what_is_said_where_a_stream_is_cut() -> None:
    sealed, plain = zips.local(M("x", b"x" * 99, 8, descriptor="sig32")), zips.local(M("x", b"x" * 99, 8))
    at = 31 + len(deflate(b"x" * 99))
    assert told(read(sealed[:at]).error) == (f"the zip ends at byte {at}, within member 'x'", None, 99, at, "x")
    assert told(read(plain[:31]).error) == ("the zip ends at byte 31, within member 'x'", 99, 0, 31, "x")
    assert told(read(make(M("x"))[:40]).error) == ("the zip ends at byte 40, within its end", None, 40, 40, None)


RATIO = BIG // len(deflate(bytes(BIG)))
OVER: list[tuple[int, int, int, str]] = [  # allowed, found, where, in which member
    (3, 4, 0, "abcd"),
    (1, 2, 35, "b"),
    (3, 4, 0, "x"),
    (999, 1000, 0, "x"),
    (13, 14, 35, "b"),
    (17, 18, 76, "c"),
    (1999, 2000, 31 + len(deflate(bytes(1000))) + 12, "b"),
    (100, RATIO, 0, "x"),
    (100, RATIO, 0, "x"),
    (9, BIG, 0, "x"),
]


@pytest.mark.parametrize(("row", "over"), list(zip(LIMITS, OVER, strict=True)))
def test_what_is_said_of_too_much(row: tuple[str, ZipLimits, bytes, int], over: tuple[int, int, int, str]) -> None:
    limit, limits, data, _ = row
    allowed, found, at, member = over
    says = f"member {member!r} goes beyond the limit {limit}: {found}, where {allowed} is allowed"
    assert told(read(data, limits=limits).error) == (says, allowed, found, at, member)
