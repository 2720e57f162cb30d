"""The zip format as tables: what its records look like, and how their fields are read.

Bytes in, plain tuples out; :mod:`~xnat_sync.core.unzip` decides what may follow what. Section numbers are
those of APPNOTE.TXT 6.3.10.
"""

from __future__ import annotations

from datetime import datetime
from struct import Struct
from typing import Any, NamedTuple

from xnat_sync.core._ziperrors import BadHeader

# The one place that knows which engine inflates: isal is twice as fast as zlib, and five times at CRC-32.
engine: Any
try:
    from isal import isal_zlib as engine
except ImportError:  # a platform without a wheel of it still works, only slower
    import zlib as engine

STORED, DEFLATED = 0, 8

# Flags (4.4.4). Any of the three marks of encryption is enough to refuse a member.
ENCRYPTED = 1 << 0 | 1 << 6 | 1 << 13
DESCRIPTOR = 1 << 3
PATCHED = 1 << 5
UTF8 = 1 << 11

# Signatures (4.3).
LOCAL_SIGNATURE = b"PK\x03\x04"
DESCRIPTOR_SIGNATURE = b"PK\x07\x08"
CENTRAL_SIGNATURE = b"PK\x01\x02"
END64_SIGNATURE = b"PK\x06\x06"
LOCATOR_SIGNATURE = b"PK\x06\x07"
END_SIGNATURE = b"PK\x05\x06"
AFTER_MEMBER = (LOCAL_SIGNATURE, CENTRAL_SIGNATURE)

# Fixed parts of the records, signature included; names, extra fields and comments follow.
LOCAL = Struct("<4s5H3I2H")  # 4.3.7
CENTRAL = Struct("<4s6H3I5H2I")  # 4.3.12
END64 = Struct("<4sQ2H2I4Q")  # 4.3.14
LOCATOR = Struct("<4sIQI")  # 4.3.15
END = Struct("<4s4H2IH")  # 4.3.16

FULL16, FULL32 = 0xFFFF, 0xFFFFFFFF  # "look into the ZIP64 record instead" (4.4.1.4)

_ZIP64, _UNICODE_PATH = 0x0001, 0x7075  # extra fields (4.5.3, 4.6.9)
_TAG, _U64 = Struct("<HH"), Struct("<Q")
_PATH = Struct("<BI")
_NARROW, _WIDE = Struct("<3I"), Struct("<I2Q")  # data descriptors (4.3.9)


class Entry(NamedTuple):
    """What one header says of a member. ``offset`` is that of its local header."""

    name: str
    raw_name: bytes
    flags: int
    method: int
    crc: int
    compressed_size: int
    size: int
    offset: int
    modified: datetime | None


class End(NamedTuple):
    """What an end record says of the directory before it."""

    this_disk: int
    central_disk: int
    entries_here: int
    entries: int
    central_size: int
    central_offset: int


# What each of these values is where the ZIP64 record has the real one (4.4.1.4).
FULL_END = End(FULL16, FULL16, FULL16, FULL16, FULL32, FULL32)


def local_entry(fixed: bytes | memoryview, variable: bytes, offset: int) -> Entry:
    """The local header at ``offset``, from its fixed part and the name and extra field behind it (4.3.7)."""
    _, _, flags, method, time, date, crc, compressed, size, name_length, _ = LOCAL.unpack(fixed)
    raw_name = variable[:name_length]
    extras = _extras(variable[name_length:], offset) if len(variable) > name_length else {}
    if FULL32 in (size, compressed):
        wide = extras.get(_ZIP64, b"")
        if size != FULL32 and len(wide) >= 16:  # 4.5.3 wants both sizes here, also where one would do
            wide = wide[8:]
        size, compressed = _widen((size, compressed), wide, offset)
    name = decode_name(raw_name, flags, extras)
    return Entry(name, raw_name, flags, method, crc, compressed, size, offset, dos_time(date, time))


def central_length(fixed: bytes | memoryview) -> int:
    """How many bytes of name, extra field and comment follow the fixed part of a directory's record."""
    return sum(CENTRAL.unpack(fixed)[10:13])


def central_entry(fixed: bytes | memoryview, variable: bytes, at: int) -> Entry:
    """The central directory's record at ``at``, from its fixed part and what follows it (4.3.12).

    The number of the disk is not looked at: the end records refuse what lies on several. Nor is the time, which the
    local header told.
    """
    _, _, _, flags, method, _, _, crc, compressed, size, name_length, extra_length, *_, offset = CENTRAL.unpack(fixed)
    raw_name = variable[:name_length]
    extras = _extras(variable[name_length : name_length + extra_length], at) if extra_length else {}
    if FULL32 in (size, compressed, offset):
        size, compressed, offset = _widen((size, compressed, offset), extras.get(_ZIP64, b""), at)
    name = decode_name(raw_name, flags, extras)
    return Entry(name, raw_name, flags, method, crc, compressed, size, offset, None)


def descriptors(crc: int, compressed_size: int, size: int) -> list[bytes]:
    """Every form that the data descriptor of these values takes in practice (4.3.9.1 to 4.3.9.4).

    With and without signature; with 64-bit sizes also where the local header has no ZIP64 field, which it
    must have for that, yet old writers leave it out.
    """
    forms = [_WIDE.pack(crc, compressed_size, size)]
    if compressed_size <= FULL32 and size <= FULL32:
        forms.append(_NARROW.pack(crc, compressed_size, size))
    return forms + [DESCRIPTOR_SIGNATURE + form for form in forms]


def decode_name(raw_name: bytes, flags: int, extras: dict[int, bytes]) -> str:
    """A member's name as text: UTF-8 if the flag or a Unicode path says so, else code page 437 (appendix D).

    Bytes that are not UTF-8 become lone surrogates (PEP 383), so that no name makes a zip unreadable and no
    two raw names become one.
    """
    if flags & UTF8:
        return raw_name.decode("utf-8", "surrogateescape")
    path = extras.get(_UNICODE_PATH, b"")
    if len(path) >= _PATH.size:
        version, crc = _PATH.unpack_from(path)
        if version == 1 and crc == engine.crc32(raw_name):  # else the name was changed after it; 4.6.9 says ignore
            return path[_PATH.size :].decode("utf-8", "surrogateescape")
    return raw_name.decode("cp437")


def dos_time(date: int, time: int) -> datetime | None:
    """A DOS date and time (4.4.6), in the zone of whoever wrote it; ``None`` where it is no time at all."""
    try:
        return datetime(  # noqa: DTZ001 -- the format has no zone
            1980 + (date >> 9), date >> 5 & 15, date & 31, time >> 11, time >> 5 & 63, (time & 31) * 2
        )
    except ValueError:
        return None


def _extras(raw: bytes, at: int) -> dict[int, bytes]:
    """The extra field as a table; the first of one id counts. Up to three bytes of padding may follow."""
    found: dict[int, bytes] = {}
    position = 0
    while position + _TAG.size <= len(raw):
        tag, length = _TAG.unpack_from(raw, position)
        position += _TAG.size
        if position + length > len(raw):
            raise BadHeader(
                f"the header at byte {at} has an extra field {tag:#06x} that runs past its end",
                expected=len(raw) - position,
                found=length,
                offset=at,
            )
        found.setdefault(tag, raw[position : position + length])
        position += length
    return found


def _widen(narrow: tuple[int, ...], wide: bytes, at: int) -> list[int]:
    """The values with each that is full replaced by the next of the ZIP64 field (4.5.3)."""
    values = []
    for value in narrow:
        if value == FULL32:
            if len(wide) < _U64.size:
                raise BadHeader(f"the header at byte {at} refers to a ZIP64 field that it lacks", offset=at)
            (value,), wide = _U64.unpack_from(wide), wide[_U64.size :]
        values.append(value)
    return values
