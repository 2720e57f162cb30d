"""A zip as it is written, and as it is found again: rows in, the bytes of its records out; no file, no clock.

The contract:

- Every member is stored, its size and CRC-32 stand in its local header, and there are no data descriptors: so a
  zip can be cut behind any member and gone on with, and read from front to back without its directory.
- Equal rows give equal bytes: the time is 1980-01-01, names are UTF-8 and flagged so, attributes are fixed.
- ZIP64 appears where it is needed: sizes and places from 4 GiB - 1 on, 65,535 members or more. A member of which the
  size is not known when it begins is ``wide``: its local header has the ZIP64 field whatever the size will be.
- A ``placeholder`` has the length of the header that will replace it, and no reader takes it for one of a member: it
  claims more bytes than any zip may have. Nor is it believed when a kill has replaced it in part only.

Who reads a zip back gives ``read(size, at)``, as ``os.pread`` does: fewer bytes than asked for at the end only.

Section numbers are those of APPNOTE.TXT 6.3.10.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from struct import Struct
from typing import TypeAlias

from xnat_sync.core import _zipformat as zf
from xnat_sync.core.unzip import BadDeflate, CrcMismatch, Event, MemberStart, ZipError, ZipLimits, ZipReader

LONGEST_NAME = zf.FULL16  # bytes

Read: TypeAlias = Callable[[int, int], bytes]

_TIME, _DATE = 0, 1 << 5 | 1  # midnight; January 1, counted from 1980 (4.4.6)
_PLAIN, _ZIP64 = 20, 45  # the version a reader must have (4.4.3)
_UNIX = 3 << 8  # of whose attributes ours are (4.4.2)
_FILE = 0o100644 << 16
_WIDE = Struct("<HH2Q")  # the ZIP64 field of a local header, which always has both sizes (4.5.3)
_FULL64 = (1 << 64) - 1
_HEADER = 2048  # bytes: more than the local header of any name that we give
_PIECE = 1 << 20
_LIMITS = ZipLimits(max_members=1 << 26)  # it lies here already: only its own size bounds it


@dataclass(frozen=True, slots=True)
class Member:
    """One member: ``offset`` is where its local header begins, ``size`` and ``crc`` are of its bytes."""

    name: str
    size: int
    crc: int
    offset: int


def is_wide(size: int | None) -> bool:
    """Whether the local header of a member of this size, None if it is not known yet, needs the ZIP64 field."""
    return size is None or size >= zf.FULL32


def crc32(data: bytes | bytearray | memoryview, value: int = 0) -> int:
    """The CRC-32 of what has ``value`` with ``data`` behind it."""
    crc: int = zf.engine.crc32(data, value)
    return crc


def local_header(member: Member, *, wide: bool = False) -> bytes:
    """The local header (4.3.7). With ``wide`` it has the ZIP64 field also where the size would not need it."""
    if wide or is_wide(member.size):
        return _local(member.name, member.crc, zf.FULL32, member.size)
    return _local(member.name, member.crc, member.size, None)


def placeholder(name: str, *, wide: bool) -> bytes:
    """What stands where a local header will be, until the member is whole."""
    return _local(name, zf.FULL32, zf.FULL32, _FULL64 if wide else None)


def _local(name: str, crc: int, size: int, size64: int | None) -> bytes:
    raw = _raw(name)
    extra = b"" if size64 is None else _WIDE.pack(1, 16, size64, size64)
    version = _ZIP64 if extra else _PLAIN
    return (
        zf.LOCAL.pack(
            zf.LOCAL_SIGNATURE,
            version,
            zf.UTF8,
            zf.STORED,
            _TIME,
            _DATE,
            crc,
            size,
            size,
            len(raw),
            len(extra),
        )
        + raw
        + extra
    )


def ending(members: Iterable[Member], at: int) -> bytes:
    """All that follows the last member, which ends at ``at``: the central directory and the end records."""
    records = [_central(member) for member in members]
    directory = b"".join(records)
    count, size, end64 = len(records), len(directory), b""
    if count >= zf.FULL16 or size >= zf.FULL32 or at >= zf.FULL32:
        # 4.3.14 and 4.3.15; the first does not count its own first twelve bytes.
        version = _UNIX | _ZIP64
        end64 = zf.END64.pack(
            zf.END64_SIGNATURE, zf.END64.size - 12, version, _ZIP64, 0, 0, count, count, size, at
        ) + zf.LOCATOR.pack(zf.LOCATOR_SIGNATURE, 0, at + size, 1)
    many = min(count, zf.FULL16)
    end = zf.END.pack(zf.END_SIGNATURE, 0, 0, many, many, min(size, zf.FULL32), min(at, zf.FULL32), 0)
    return directory + end64 + end


def _central(member: Member) -> bytes:
    """4.3.12. Of the ZIP64 field it has what does not fit, and nothing else (4.5.3)."""
    raw = _raw(member.name)
    wide = [value for value in (member.size, member.size, member.offset) if value >= zf.FULL32]
    extra = Struct(f"<HH{len(wide)}Q").pack(1, 8 * len(wide), *wide) if wide else b""
    version = _ZIP64 if wide else _PLAIN
    size = min(member.size, zf.FULL32)
    return (
        zf.CENTRAL.pack(
            zf.CENTRAL_SIGNATURE,
            _UNIX | version,
            version,
            zf.UTF8,
            zf.STORED,
            _TIME,
            _DATE,
            member.crc,
            size,
            size,
            len(raw),
            len(extra),
            0,
            0,
            0,
            _FILE,
            min(member.offset, zf.FULL32),
        )
        + raw
        + extra
    )


def _raw(name: str) -> bytes:
    raw = name.encode("utf-8")
    if len(raw) > LONGEST_NAME:
        raise ValueError(f"a member's name has {len(raw)} bytes, where {LONGEST_NAME} are the most")
    return raw


def scan(read: Read, size: int) -> Iterator[tuple[Member, int]]:
    """The members, and where their data begin, of a zip in writing that has ``size`` bytes by now.

    Their headers are looked at and nothing else; it ends where none stands as ``local_header`` writes it, to the bit.
    """
    at = 0
    while (found := _header_at(read, at)) is not None:
        member, start = found
        at = start + member.size
        if at > size:
            return
        yield member, start


def _header_at(read: Read, at: int) -> tuple[Member, int] | None:
    header = read(_HEADER, at)
    if len(header) < zf.LOCAL.size or not header.startswith(zf.LOCAL_SIGNATURE):
        return None
    *_, name_length, extra_length = zf.LOCAL.unpack(header[: zf.LOCAL.size])
    length = zf.LOCAL.size + name_length + extra_length
    if length > len(header):
        header = read(length, at)
    header = header[:length]
    try:
        entry = zf.local_entry(header[: zf.LOCAL.size], header[zf.LOCAL.size :], at)
        member = Member(entry.name, entry.size, entry.crc, at)
        whole = header == local_header(member, wide=extra_length > 0)
    except (ZipError, ValueError):  # the latter for a name that is no UTF-8
        return None
    return (member, at + length) if whole and member.size < _FULL64 else None


def events(read: Read) -> Iterator[Event | ZipError]:
    """The events of any zip from front to back, its faults among them.

    A fault within a member stands in place of its end. Reading goes on behind it if the header tells where that is.
    """
    base: int | None = 0
    while base is not None:
        reader, at, beyond = ZipReader(_LIMITS), base, None
        try:
            while piece := read(_PIECE, at):
                for event in reader.feed(piece):
                    if isinstance(event, MemberStart):
                        beyond = None if event.compressed_size is None else base + reader.offset + event.compressed_size
                    yield event
                at += len(piece)
            reader.finish()
            base = None
        except (CrcMismatch, BadDeflate) as fault:
            yield fault
            base = beyond
        except ZipError as fault:
            yield fault
            base = None
