"""Zip records as ``java.util.zip.ZipOutputStream`` writes them, made without ever seeking back (§3.2).

STORED: sizes and CRC stand in the local header (flag 0x0800, UTF-8 names). DEFLATED: they are 0 there and follow the
data in a descriptor (flags 0x0808), whose sizes take 8 bytes beyond 4 GiB. ZIP64 records appear when needed. The
writer makes bytes; it reads nothing and sends nothing.
"""

from __future__ import annotations

import struct
import time
from dataclasses import dataclass

STORED = 0
DEFLATED = 8

_MAX32 = 0xFFFFFFFF
_MAX16 = 0xFFFF
_UTF8 = 0x0800
_DESCRIPTOR = 0x0008

_LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_END64 = struct.Struct("<4sQ2H2I4Q")
_LOCATOR = struct.Struct("<4sIQI")


@dataclass(slots=True)
class _Member:
    name: bytes
    when: tuple[int, int]
    method: int
    offset: int
    crc: int = 0
    packed: int = 0
    size: int = 0

    @property
    def flags(self) -> int:
        return _UTF8 | (_DESCRIPTOR if self.method == DEFLATED else 0)

    @property
    def version(self) -> int:
        if max(self.size, self.packed) >= _MAX32:
            return 45
        return 20 if self.method == DEFLATED else 10


class ZipWriter:
    """Makes the records of one archive in order: ``stored`` or ``deflated`` … ``deflated_end``, then ``finish``."""

    def __init__(self) -> None:
        self._members: list[_Member] = []
        self._names: set[bytes] = set()
        self._at = 0

    def has(self, name: str) -> bool:
        """Whether a member of this name was written; Java throws on the second."""
        return name.encode() in self._names

    def stored(self, name: str, mtime: float, size: int, crc: int) -> bytes:
        """The local header of a stored member, whose ``size`` bytes follow."""
        member = self._begin(name, mtime, STORED)
        member.crc, member.size, member.packed = crc, size, size
        header = self._local(member)
        self._at += len(header) + size
        return header

    def deflated(self, name: str, mtime: float) -> bytes:
        """The local header of a deflated member, whose compressed bytes follow."""
        header = self._local(self._begin(name, mtime, DEFLATED))
        self._at += len(header)
        return header

    def deflated_end(self, size: int, packed: int, crc: int) -> bytes:
        """The data descriptor of the member just written."""
        member = self._members[-1]
        member.size, member.packed, member.crc = size, packed, crc
        sizes = "<4sIQQ" if max(size, packed) >= _MAX32 else "<4sIII"
        record = struct.pack(sizes, b"PK\x07\x08", crc, packed, size)
        self._at += packed + len(record)
        return record

    def finish(self) -> bytes:
        """The central directory and the end records."""
        directory = b"".join(self._central(member) for member in self._members)
        count, start, size = len(self._members), self._at, len(directory)
        tail = b""
        if count >= _MAX16 or start >= _MAX32 or size >= _MAX32:
            tail = _END64.pack(b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, size, start)
            tail += _LOCATOR.pack(b"PK\x06\x07", 0, start + size, 1)
        many, far, long = min(count, _MAX16), min(start, _MAX32), min(size, _MAX32)
        return directory + tail + _END.pack(b"PK\x05\x06", 0, 0, many, many, long, far, 0)

    def _begin(self, name: str, mtime: float, method: int) -> _Member:
        member = _Member(name.encode(), _dos_time(mtime), method, self._at)
        self._members.append(member)
        self._names.add(member.name)
        return member

    def _local(self, member: _Member) -> bytes:
        size, packed, extra = member.size, member.packed, b""
        if size >= _MAX32:
            extra = struct.pack("<HHQQ", 1, 16, size, packed)
            size = packed = _MAX32
        return (
            _LOCAL.pack(
                b"PK\x03\x04",
                member.version,
                member.flags,
                member.method,
                *member.when,
                member.crc,
                packed,
                size,
                len(member.name),
                len(extra),
            )
            + member.name
            + extra
        )

    def _central(self, member: _Member) -> bytes:
        wide = [value for value in (member.size, member.packed, member.offset) if value >= _MAX32]
        extra = struct.pack(f"<HH{len(wide)}Q", 1, 8 * len(wide), *wide) if wide else b""
        version = 45 if wide else member.version
        return (
            _CENTRAL.pack(
                b"PK\x01\x02",
                version,
                version,
                member.flags,
                member.method,
                *member.when,
                member.crc,
                min(member.packed, _MAX32),
                min(member.size, _MAX32),
                len(member.name),
                len(extra),
                0,
                0,
                0,
                0,
                min(member.offset, _MAX32),
            )
            + member.name
            + extra
        )


def _dos_time(mtime: float) -> tuple[int, int]:
    """Time and date as DOS writes them, in the server's zone."""
    when = time.localtime(mtime)
    if when.tm_year < 1980:
        return 0, 0x21
    return (
        when.tm_hour << 11 | when.tm_min << 5 | when.tm_sec // 2,
        (when.tm_year - 1980) << 9 | when.tm_mon << 5 | when.tm_mday,
    )
