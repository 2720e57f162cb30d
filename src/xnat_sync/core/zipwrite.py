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

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from struct import Struct
from typing import TypeAlias, assert_never

from xnat_sync.core import _zipformat as zf
from xnat_sync.core.errors import Broken
from xnat_sync.core.unzip import (
    Event,
    MemberData,
    MemberEnd,
    MemberStart,
    ZipError,
    ZipLimits,
    ZipReader,
)

LONGEST_NAME = zf.FULL16  # bytes

Read: TypeAlias = Callable[[int, int], bytes]
Files: TypeAlias = dict[str, tuple[int, str]]  # member -> its size and MD5

_TIME, _DATE = 0, 1 << 5 | 1  # midnight; January 1, counted from 1980 (4.4.6)
_PLAIN, _ZIP64 = 20, 45  # the version a reader must have (4.4.3)
_UNIX = 3 << 8  # of whose attributes ours are (4.4.2)
_FILE = 0o100644 << 16
_WIDE, _U128 = Struct("<HH2Q"), 16  # the ZIP64 field of a local header, which always has both sizes (4.5.3)
_FULL64 = (1 << 64) - 1
_HEADER = 2048  # bytes: more than the local header of any name that we give
_PIECE = 1 << 20
_LIMITS = ZipLimits(max_members=1 << 26)  # it lies here already: only its own size bounds it


@dataclass(frozen=True, slots=True)
class Member:
    """One member: ``offset`` is where its local header begins, ``size`` and ``crc`` are of its bytes.

    ``wide`` gives its local header the ZIP64 field, which sizes from 4 GiB - 1 on have in any case.
    """

    name: str
    size: int
    crc: int
    offset: int
    wide: bool = False

    @property
    def start(self) -> int:
        """Where its data begin."""
        return self.offset + zf.LOCAL.size + len(_raw(self.name)) + (_WIDE.size if self.has_zip64 else 0)

    @property
    def end(self) -> int:
        """Where its data end."""
        return self.start + self.size

    @property
    def has_zip64(self) -> bool:
        """Whether the local header has the ZIP64 field."""
        return self.wide or self.size >= zf.FULL32


def crc32(data: bytes | bytearray | memoryview, value: int = 0) -> int:
    """The CRC-32 of what has ``value`` with ``data`` behind it."""
    crc: int = zf.engine.crc32(data, value)
    return crc


def local_header(member: Member) -> bytes:
    """The local header (4.3.7)."""
    if member.has_zip64:
        return _local(member, member.crc, zf.FULL32, member.size)
    return _local(member, member.crc, member.size)


def placeholder(member: Member) -> bytes:
    """What stands where the local header will be, until the member is whole."""
    return _local(member, zf.FULL32, zf.FULL32, _FULL64)


def _local(member: Member, crc: int, size: int, size64: int = 0) -> bytes:
    raw = _raw(member.name)
    extra = _WIDE.pack(1, _U128, size64, size64) if member.has_zip64 else b""
    version = _ZIP64 if extra else _PLAIN
    lengths = len(raw), len(extra)
    signature, method = zf.LOCAL_SIGNATURE, zf.STORED
    return zf.LOCAL.pack(signature, version, zf.UTF8, method, _TIME, _DATE, crc, size, size, *lengths) + raw + extra


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
    size, offset = min(member.size, zf.FULL32), min(member.offset, zf.FULL32)
    made = zf.CENTRAL_SIGNATURE, _UNIX | version, version, zf.UTF8, zf.STORED, _TIME, _DATE
    lengths = len(raw), len(extra), 0
    return zf.CENTRAL.pack(*made, member.crc, size, size, *lengths, 0, 0, _FILE, offset) + raw + extra


def _raw(name: str) -> bytes:
    raw = name.encode("utf-8")
    if len(raw) > LONGEST_NAME:
        raise ValueError(f"a member's name has {len(raw)} bytes, where {LONGEST_NAME} are the most")
    return raw


def scan(read: Read, size: int) -> Iterator[Member]:
    """The members of a zip in writing that has ``size`` bytes by now.

    Their headers are looked at and nothing else; it ends where none stands as ``local_header`` writes it, to the bit.
    """
    at = 0
    while (member := _member_at(read, at)) is not None and member.end <= size:
        yield member
        at = member.end


def _member_at(read: Read, at: int) -> Member | None:
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
        member = Member(entry.name, entry.size, entry.crc, at, wide=extra_length > 0)
        return member if header == local_header(member) and member.size < _FULL64 else None
    except (ZipError, ValueError):  # the latter for a name that is no UTF-8
        return None


def pieces(read: Read, at: int, end: int) -> Iterator[bytes]:
    """The bytes from ``at`` to ``end``. Raises ``Broken`` if the zip became shorter meanwhile."""
    while at < end:
        piece = read(min(_PIECE, end - at), at)
        if not piece:
            raise Broken(f"the zip became shorter: it ends at byte {at}, before {end}")
        yield piece
        at += len(piece)


def prove(read: Read, member: Member) -> str | None:
    """The MD5 of a member's bytes; None if their CRC-32 is not the one that its header names."""
    md5, crc = hashlib.md5(usedforsecurity=False), 0
    for piece in pieces(read, member.start, member.end):
        md5.update(piece)
        crc = crc32(piece, crc)
    return md5.hexdigest() if crc == member.crc else None


def digest(read: Read) -> tuple[Files, ZipError | None]:
    """The members of any zip that are proved, and the first thing that is wrong with it, if anything is."""
    files: Files = {}
    fault: ZipError | None = None
    md5 = hashlib.md5(usedforsecurity=False)
    for event in events(read):
        match event:
            case MemberStart():
                md5 = hashlib.md5(usedforsecurity=False)
            case MemberData(data):
                md5.update(data)
            case MemberEnd():
                files[event.name] = event.size, md5.hexdigest()
            case ZipError():
                fault = fault or event
            case _:
                assert_never(event)
    return files, fault


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
                    if isinstance(event, MemberEnd):
                        beyond = None
                    elif isinstance(event, MemberStart) and event.compressed_size is not None:
                        beyond = base + reader.offset + event.compressed_size
                    yield event
                at += len(piece)
            reader.finish()
        except ZipError as fault:
            yield fault
        base = beyond
