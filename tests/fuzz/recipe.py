"""Zips made out of bytes: any shape that is right, and lies told on purpose, so that it is known what must be found."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from core.zips import FULL16, FULL32, UTF8, M, central, ending, extra, local, packed, unicode_path
from fuzz.draw import Draw

NEW_NAME = "über"
NAMES = ["a.dcm", "b", "f/", "S1/scans/4/resources/DICOM/files/1.dcm", "", "ü", "../x", "/abs", "A.DCM", "n" * 200]
BODIES = [b"", b"DICM", bytes(128) + b"DICM", b"text " * 99, bytes(range(256)), bytes(3000), b"PK\3\4PK\1\2PK\5\6"]
ZIP64 = extra(1, bytes(16))[:4]
FORMS = ["", "32", "64", "sig32", "sig64"]  # of data descriptors
NUMBERS = [0, 1, 2, 4, 8, 9, 12, 20, 0x801, 0x808, FULL16 - 1, FULL16, FULL32]

# What a lie in the directory is found out by, whatever it says; and what may be anything.
PROVED = ("method", "crc", "csize", "size", "offset", "name", "name_length", "extra_length", "comment_length")
FREE = ("version", "flags", "time", "disk", "internal", "external")
LOCAL = ("version", "flags", "method", "time", "crc", "csize", "size", "name_length", "extra_length", "tail")
END = ("disk", "central_disk", "here", "entries", "size", "at")
END64 = ("locator_disk", "locator_at", "locator_disks", "length64", *(f"{field}64" for field in END))
BITS = dict.fromkeys(("crc", "csize", "size", "offset", "at", "external", "locator_disk", "locator_disks"), 32)
BITS |= dict.fromkeys(("locator_at", "length64", "here64", "entries64", "size64", "at64"), 64)
BITS |= dict.fromkeys(("disk64", "central_disk64"), 32)


@dataclass(frozen=True)
class Recipe:
    """A zip and the members that are in it. ``honest`` if nothing is wrong with it, ``hopeless`` if it must be refused.

    A zip with lies may be neither: what a stream reader is told twice it need not be able to tell apart.
    """

    members: tuple[M, ...]
    zip: bytes
    honest: bool
    hopeless: bool

    @staticmethod
    def drawn(draw: Draw) -> Recipe:
        """One of few members, each of any shape, with few lies if any."""
        truthful = not draw.chance(2)
        members = tuple(_member(draw) for _ in range(draw.number(5)))
        distinct = len({name_of(member) for member in members}) == len(members)
        if not truthful:
            members = tuple(_lying(draw, member) for member in members)
        body, records, hopeless = b"", list[bytes](), False
        for member in members:
            records.append(central(member, len(body)))
            hopeless |= _shows(member, len(body))
            body += local(member)
        if draw.chance(4):
            records.reverse()  # their order is free
        if records and not truthful and draw.chance(6):
            hopeless = records.pop() is not None
        directory, comment, zip64 = b"".join(records), draw.chunk(8), draw.chance(3)
        truth = _truth(len(members), len(directory), len(body), len(comment))
        lies = {} if truthful else _lies(draw, truth)
        hopeless |= any(_matters(field, lie, truth[field], zip64) for field, lie in lies.items())
        end = ending(len(members), len(directory), len(body), comment=comment, zip64_end=zip64, **lies)
        whole = body + directory + end
        if not (truthful or lies) and draw.chance(6):
            tail = draw.number(30)
            whole, hopeless = (whole[:-tail] if tail else whole + b"\0"), True
        return Recipe(members, whole, truthful and distinct, hopeless)


def name_of(member: M) -> str:
    """The name by which the reader must know it."""
    if member.flags & UTF8:
        return member.raw_name.decode("utf-8", "surrogateescape")
    return NEW_NAME if member.extra.startswith(struct.pack("<H", 0x7075)) else member.raw_name.decode("cp437")


def _member(draw: Draw) -> M:
    """A right one."""
    name: str | bytes = draw.pick(NAMES) if draw.chance(2) else draw.chunk(12)
    data = draw.pick(BODIES) if draw.chance(2) else draw.chunk(40)
    method = 8 * draw.number(2)
    raw = name if isinstance(name, bytes) else name.encode()
    more = draw.pick([b"", extra(0x5455, b"\1\0\0\0\0"), extra(0xCAFE, b""), b"", unicode_path(raw, NEW_NAME)])
    member = M(
        name,
        data,
        method,
        flags=UTF8 * (1 - draw.number(2)),
        # Stored data of unknown length has no end that a stream reader can find.
        descriptor=draw.pick(FORMS) if method or not data else "",
        zip64=draw.chance(3),
        extra=more,
        comment=draw.chunk(4),
        time=draw.number(1 << 16),
        date=draw.number(1 << 16),
    )
    if member.zip64 or member.descriptor or not draw.chance(4):
        return member
    sizes = struct.pack("<QQ", len(data), len(packed(member)))
    return replace(member, local={"csize": FULL32}, extra=more + ZIP64 + sizes)  # for one of them, yet both are there


def _lying(draw: Draw, member: M) -> M:
    """The member with a lie in its header, its data, or its record in the directory."""
    # A zip within a zip is one, once the lies let it out.
    member = replace(member, data=member.data.replace(b"PK", b"pk"), local={})
    if draw.chance(8):
        member = replace(member, packed=packed(member)[: draw.number(256)] + draw.chunk(4))
    if draw.chance(3):
        return replace(member, local=_lie(draw, LOCAL))
    return replace(member, central=_lie(draw, PROVED + FREE)) if draw.chance(2) else member


def _shows(member: M, at: int) -> bool:
    """Whether the directory must be found to lie about this member."""
    told = {field: value for field, value in member.central.items() if field in PROVED}
    if not told or member.packed is not None or member.zip64 or ZIP64 in member.extra:
        return False  # two lies may make a truth, and "see there" is one
    return central(member, at) != central(replace(member, central={}), at)


def _truth(count: int, size: int, at: int, comment: int) -> dict[str, int]:
    """What the end records should say."""
    values = {"disk": 0, "central_disk": 0, "here": count, "entries": count, "size": size, "at": at}
    wide = {f"{field}64": value for field, value in values.items()}
    locator = {"locator_disk": 0, "locator_at": at + size, "locator_disks": 1, "length64": 44}
    return values | wide | locator | {"comment_length": comment}


def _matters(field: str, lie: int, truth: int, zip64: bool) -> bool:
    """Whether this value of an end record must be found to be a lie."""
    if field in END64 and not zip64:
        return False  # it stands nowhere
    if field in END and zip64 and lie == (FULL32 if field in BITS else FULL16):
        return False  # "see there"
    return lie != truth and (field, lie) != ("locator_disks", 0)  # some count from zero


def _lies(draw: Draw, truth: Mapping[str, int]) -> dict[str, int]:
    return {field: int(value) for field, value in _lie(draw, list(truth)).items()} if draw.chance(3) else {}


def _lie(draw: Draw, fields: Sequence[str]) -> dict[str, Any]:
    field = draw.pick(fields)
    if field in ("tail", "name"):
        return {field: draw.chunk(24)}
    bits = BITS.get(field, 16)
    return {field: draw.pick(NUMBERS) % (1 << bits) if draw.chance(2) else draw.number(1 << bits)}
