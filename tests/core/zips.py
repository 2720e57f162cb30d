"""Zips for the tests: a writer that can write any shape, also wrong ones, and a reader that notes all it is given."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest

from xnat_sync.core.unzip import MemberData, MemberEnd, MemberStart, ZipError, ZipLimits, ZipReader

FULL16, FULL32 = 0xFFFF, 0xFFFFFFFF
UTF8, DESCRIPTOR = 0x0800, 0x0008


@dataclass(frozen=True)
class M:
    """One member. ``local`` and ``central`` override single fields, and thereby lie."""

    name: str | bytes = "a.dcm"
    data: bytes = b"DICM"
    method: int = 0
    flags: int = UTF8
    descriptor: str = ""  # "", or of: "32", "64", with "sig" before it
    zip64: bool = False
    extra: bytes = b""
    central_extra: bytes = b""
    comment: bytes = b""
    time: int = 0x6000
    date: int = 0x5A21
    packed: bytes | None = None  # the compressed data, where it is not what it should be
    local: dict[str, Any] = field(default_factory=dict)
    central: dict[str, Any] = field(default_factory=dict)

    @property
    def raw_name(self) -> bytes:
        return self.name if isinstance(self.name, bytes) else self.name.encode("utf-8", "surrogatepass")


def deflate(data: bytes, level: int = 6) -> bytes:
    packer = zlib.compressobj(level, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush()


def extra(tag: int, data: bytes) -> bytes:
    return struct.pack("<HH", tag, len(data)) + data


def unicode_path(raw_name: bytes, name: str, *, version: int = 1) -> bytes:
    return extra(0x7075, struct.pack("<BI", version, zlib.crc32(raw_name)) + name.encode())


def make(*members: M, comment: bytes = b"", zip64_end: bool = False, **end: Any) -> bytes:
    """A zip of the members. ``end`` overrides fields of the end records, and thereby lies."""
    out = bytearray()
    directory = bytearray()
    for member in members:
        offset = len(out)
        out += local(member)
        directory += central(member, offset)
    at = len(out)
    out += directory
    out += ending(len(members), len(directory), at, comment=comment, zip64_end=zip64_end, **end)
    return bytes(out)


def packed(member: M) -> bytes:
    if member.packed is not None:
        return member.packed
    return deflate(member.data) if member.method == 8 else member.data


def local(member: M) -> bytes:
    data = packed(member)
    crc, csize, size = zlib.crc32(member.data), len(data), len(member.data)
    flags, more = member.flags, member.extra
    tail: bytes = b""
    if member.descriptor:
        flags |= DESCRIPTOR
        form = struct.pack("<IQQ" if "64" in member.descriptor else "<III", crc, csize, size)
        tail = (b"PK\7\x08" if "sig" in member.descriptor else b"") + form
        crc = csize = size = 0
    if member.zip64:
        more += extra(1, struct.pack("<QQ", size, csize))
        csize = size = FULL32
    values: dict[str, Any] = {"signature": b"PK\3\4", "version": 20, "flags": flags, "method": member.method}
    values |= {"time": member.time, "date": member.date, "crc": crc, "csize": csize, "size": size}
    values |= {"name_length": len(member.raw_name), "extra_length": len(more), "tail": tail} | member.local
    tail = values.pop("tail")
    fixed = struct.pack("<4s5H3I2H", *values.values())
    return fixed + member.raw_name + more + data + tail


def central(member: M, offset: int) -> bytes:
    data = packed(member)
    crc, csize, size = zlib.crc32(member.data), len(data), len(member.data)
    flags, more = member.flags, member.extra + member.central_extra
    if member.descriptor:
        flags |= DESCRIPTOR
    if member.zip64:
        more += extra(1, struct.pack("<QQQ", size, csize, offset))
        csize = size = offset = FULL32
    values: dict[str, Any] = {"signature": b"PK\1\2", "made": 20, "version": 20, "flags": flags}
    values |= {"method": member.method, "time": member.time, "date": member.date, "crc": crc, "csize": csize}
    values |= {"size": size, "name_length": len(member.raw_name), "extra_length": len(more)}
    values |= {"comment_length": len(member.comment), "disk": 0, "internal": 0, "external": 0, "offset": offset}
    values |= {"name": member.raw_name} | member.central
    name: bytes = values.pop("name")
    return struct.pack("<4s6H3I5H2I", *values.values()) + name + more + member.comment


def ending(count: int, size: int, at: int, /, *, comment: bytes, zip64_end: bool, **lies: Any) -> bytes:
    """The end records. A name ending in ``64`` overrides a field of the ZIP64 one, ``locator_…`` of the locator."""
    out = b""
    values: dict[str, Any] = {"disk": 0, "central_disk": 0, "here": count, "entries": count, "size": size, "at": at}
    if zip64_end:
        wide = {f"{key}64": value for key, value in values.items()}
        wide = {"length64": 44, "made64": 45, "version64": 45} | wide | {"extensible64": b""}
        wide |= {key: value for key, value in lies.items() if key in wide}
        extensible = wide.pop("extensible64")
        out += struct.pack("<4sQ2H2I4Q", b"PK\6\6", *wide.values()) + extensible
        locator = {"locator_disk": 0, "locator_at": at + size, "locator_disks": 1}
        locator |= {key: value for key, value in lies.items() if key in locator}
        out += struct.pack("<4sIQI", b"PK\6\7", *locator.values())
        values |= {"here": FULL16, "entries": FULL16, "size": FULL32, "at": FULL32}
    values |= {"comment_length": len(comment)}
    values |= {key: value for key, value in lies.items() if key in values}
    return out + struct.pack("<4s4H2IH", b"PK\5\6", *values.values()) + comment


class Forward(io.RawIOBase):
    """A stream that cannot seek, so that ``zipfile`` must write data descriptors."""

    def __init__(self) -> None:
        self.data = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.data += data
        return len(data)


def by_zipfile(
    files: dict[str, bytes], method: int = zipfile.ZIP_STORED, *, forward: bool = False, comment: bytes = b""
) -> bytes:
    target: Any = Forward() if forward else io.BytesIO()
    with zipfile.ZipFile(target, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name, (2020, 1, 2, 3, 4, 6)), data, method)
        archive.comment = comment
    return bytes(target.data) if forward else bytes(target.getvalue())


@dataclass
class Read:
    """What came of reading one zip: every event, the members that were proved, the fault that ended it."""

    reader: ZipReader
    starts: list[MemberStart] = field(default_factory=list)
    whole: dict[str, bytes] = field(default_factory=dict)
    ends: list[MemberEnd] = field(default_factory=list)
    buffer: bytearray = field(default_factory=bytearray)
    largest: int = 0
    error: ZipError | None = None
    good: list[int] = field(default_factory=list)  # last_good_offset at each end

    @property
    def fault(self) -> type[ZipError] | None:
        return None if self.error is None else type(self.error)


def pieces(data: bytes, size: int) -> Iterable[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


def split(data: bytes, cuts: Sequence[int]) -> Iterable[bytes]:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return (data[a:b] for a, b in pairwise(edges))


def read(
    fed: bytes | Iterable[bytes],
    *,
    limits: ZipLimits | None = None,
) -> Read:
    """Feeds a reader and checks what holds for every zip: order of events, sizes, and that a fault is for good."""
    reader = ZipReader(limits=limits)
    seen = Read(reader)
    try:
        for piece in [fed] if isinstance(fed, bytes) else fed:
            _feed(seen, piece)
        reader.finish()
        assert reader.done
    except ZipError as error:
        seen.error = error
        _check_stays_broken(reader, error)
    assert reader.members == len(seen.ends) == len(seen.whole)
    assert reader.last_good_offset == (seen.good[-1] if seen.good else 0)
    return seen


def _feed(seen: Read, piece: bytes) -> None:
    for event in seen.reader.feed(piece):
        match event:
            case MemberStart():
                assert event.index == len(seen.starts) == len(seen.ends)
                seen.starts.append(event)
                seen.buffer = bytearray()
            case MemberData(data):
                assert len(data)
                seen.largest = max(seen.largest, len(data))
                seen.buffer += data
            case MemberEnd():
                start, data = seen.starts[-1], bytes(seen.buffer)
                assert (event.index, event.name) == (start.index, start.name)
                assert (event.size, event.crc) == (len(data), zlib.crc32(data))
                assert start.size in (None, event.size)
                assert start.crc in (None, event.crc)
                assert event.name not in seen.whole
                seen.whole[event.name] = data
                seen.ends.append(event)
                seen.good.append(seen.reader.last_good_offset)


def _check_stays_broken(reader: ZipReader, error: ZipError) -> None:
    assert str(error)
    assert "\n" not in str(error)
    assert not reader.done
    for again in (lambda: reader.feed(b"more"), reader.finish):
        with pytest.raises(ZipError) as caught:
            again()
        assert caught.value is error
