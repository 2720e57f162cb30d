"""A zip read from front to back as it arrives: bytes in, events out; no file, no seek, no trust.

The contract:

- ``feed(data)`` gives the events that ``data`` completes, one at a time and lazily: all that comes before a
  fault is handed out first, then the fault is raised, and again by whatever is called after that. Every event
  must be taken before the next call, which else is a ``RuntimeError``.
- A member is ``MemberStart``, any number of ``MemberData``, ``MemberEnd``. ``MemberEnd`` comes only once size
  and CRC-32 agree with the header or the data descriptor; a member without it is not proved.
- ``finish()`` returns only if the zip is whole: its central directory is there and names exactly the members
  that came (name, method, CRC-32, sizes, place), its end records agree with it, and nothing follows.
- Nothing but a ``ZipError`` is raised for anything that may arrive.
- A name is data. It may be absolute, hold ``..`` or be empty; nothing here reads it as a path.
- Memory is bounded by the names: neither a member nor a bomb is ever held, and one event carries at most what
  was fed, or ``PIECE`` inflated bytes.

Inside, each state is a method that does one of four things: returns an event; returns ``None``, having used
something up without one; returns ``MORE``, having used up nothing, for want of bytes; or raises. ``_FOLLOWS``
says which record may stand where. Section numbers are those of APPNOTE.TXT 6.3.10.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from xnat_sync.core import _zipformat as zf
from xnat_sync.core._pushbuffer import PushBuffer
from xnat_sync.core._zipdirectory import Directory
from xnat_sync.core._ziperrors import (
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
    Unsupported,
    ZipError,
)
from xnat_sync.core._zipmember import MORE, PIECE, Member, More

__all__ = [
    "PIECE",
    "BadDeflate",
    "BadHeader",
    "BadSignature",
    "CentralMismatch",
    "CrcMismatch",
    "DescriptorMismatch",
    "DuplicateName",
    "Encrypted",
    "EndMismatch",
    "Event",
    "MemberData",
    "MemberEnd",
    "MemberStart",
    "MultiDisk",
    "NotAZip",
    "OverLimit",
    "SizeMismatch",
    "TrailingData",
    "Truncated",
    "UnknownMethod",
    "Unstreamable",
    "Unsupported",
    "ZipError",
    "ZipLimits",
    "ZipReader",
]


@dataclass(frozen=True, slots=True)
class ZipLimits:
    """What is refused, whatever the headers say. Who knows what was listed sets ``max_total`` to its sum.

    ``max_ratio`` is off by default: an empty mask image deflates by 1000 to 1, as much as the method can, and
    is no bomb. The first ``PIECE`` bytes of a member are free of it.
    """

    max_name: int = 16_384  # bytes
    max_members: int = 1_000_000  # each costs about half a kilobyte until the central directory has named it
    max_member: int = 1 << 44  # bytes, inflated
    max_total: int = 1 << 44  # bytes, inflated
    max_ratio: int | None = None


@dataclass(frozen=True, slots=True)
class MemberStart:
    """A member begins. Sizes and CRC-32 are ``None`` where a data descriptor behind the data gives them."""

    index: int  # from 0
    name: str
    raw_name: bytes
    is_folder: bool
    size: int | None
    compressed_size: int | None
    crc: int | None
    method: int
    modified: datetime | None  # in the server's zone, which the format does not say
    offset: int  # of the local header in the stream


@dataclass(frozen=True, slots=True)
class MemberData:
    """The next bytes of the member. A view of the buffer that was fed: valid until the next ``feed``."""

    data: memoryview | bytes


@dataclass(frozen=True, slots=True)
class MemberEnd:
    """The member is whole: its size and CRC-32 are the ones announced."""

    index: int
    name: str
    size: int
    crc: int
    compressed_size: int


Event: TypeAlias = MemberStart | MemberData | MemberEnd


_Step: TypeAlias = MemberStart | MemberData | MemberEnd | More | None  # what a state gives back


class ZipReader:
    """Reads one zip: ``feed`` until the stream ends, then ``finish``."""

    def __init__(self, limits: ZipLimits | None = None) -> None:
        self.limits = limits or ZipLimits()
        self.members = 0  # that ended whole
        self.last_good_offset = 0  # just past the last whole member: where a partial zip may be cut
        self.comment = b""
        self._buffer = PushBuffer()
        self._state: Callable[[ZipReader], _Step] = ZipReader._record
        self._phase = "members"  # a key of _FOLLOWS, or "data" within a member, or "done"
        self._member: Member  # while in phase "data"
        self._directory = Directory()
        self._names: set[str] = set()
        self._total = 0
        self._busy = False
        self._fault: ZipError | None = None

    @property
    def offset(self) -> int:
        """How many bytes of the stream are used up."""
        return self._buffer.offset

    @property
    def directory_began(self) -> bool:
        """The last member is behind us."""
        return self._directory.began

    @property
    def done(self) -> bool:
        """The whole zip has come, and so far nothing after it."""
        return self._phase == "done" and self._fault is None

    def feed(self, data: bytes | bytearray | memoryview) -> Iterator[Event]:
        """The events that ``data`` completes. Take them all, and leave ``data`` as it is, before the next."""
        self._check()
        self._busy = True
        self._buffer.load(data)
        return self._events()

    def finish(self) -> None:
        """The stream ended. Returns if that was a whole zip."""
        self._check()
        if self._phase != "done":
            self._fault = self._truncated()
            raise self._fault

    def _check(self) -> None:
        if self._busy:
            raise RuntimeError("the events of the last feed were not all taken")
        if self._fault is not None:
            raise self._fault.with_traceback(None)

    def _events(self) -> Iterator[Event]:
        try:
            while (event := self._state(self)) is not MORE:
                if event is not None:
                    yield event
        except ZipError as fault:
            self._fault, self._busy = fault, False
            raise
        self._buffer.unload()
        self._busy = False

    # Records.

    def _record(self) -> _Step:
        signature = self._buffer.need(4)
        if signature is None:
            return MORE
        handler = _FOLLOWS[self._phase].get(bytes(signature))
        if handler is None:
            raise self._unexpected(bytes(signature))
        return handler(self)

    def _local(self) -> _Step:
        """4.3.7. The member that begins is checked against the limits before anybody hears of it."""
        fixed = self._buffer.need(zf.LOCAL.size)
        if fixed is None:
            return MORE
        at = self._buffer.offset
        *_, name_length, extra_length = zf.LOCAL.unpack(fixed)
        header = self._buffer.need(zf.LOCAL.size + name_length + extra_length)
        if header is None:
            return MORE
        entry = zf.local_entry(header[: zf.LOCAL.size], bytes(header[zf.LOCAL.size :]), at)
        self._admit(entry)
        self._buffer.skip(len(header))
        self._names.add(entry.name)
        self._member = member = Member(entry)
        self._state, self._phase = ZipReader._data, "data"
        known = member.announced
        return MemberStart(
            index=self.members,
            name=entry.name,
            raw_name=entry.raw_name,
            is_folder=entry.name.endswith("/"),
            size=entry.size if known else None,
            compressed_size=entry.compressed_size if known else None,
            crc=None if member.sealed else entry.crc,
            method=entry.method,
            modified=entry.modified,
            offset=at,
        )

    def _admit(self, entry: zf.Entry) -> None:
        """Refuse what cannot be read, what contradicts itself, and what is more than the limits allow."""
        name, at = entry.name, entry.offset
        if entry.flags & zf.ENCRYPTED:
            raise Encrypted(f"member {name!r} is encrypted", found=entry.flags, offset=at, member=name)
        if entry.method not in (zf.STORED, zf.DEFLATED) or entry.flags & zf.PATCHED:
            raise UnknownMethod(
                f"member {name!r} is compressed by method {entry.method}",
                found=entry.method,
                offset=at,
                member=name,
            )
        if entry.method == zf.STORED and entry.size != entry.compressed_size:
            raise SizeMismatch(
                f"member {name!r} is stored, yet {entry.compressed_size} bytes hold {entry.size}",
                expected=entry.size,
                found=entry.compressed_size,
                offset=at,
                member=name,
            )
        if name in self._names:
            raise DuplicateName(f"a second member is named {name!r}", found=name, offset=at, member=name)
        limits = self.limits
        self._limit("max_name", limits.max_name, len(entry.raw_name), entry)
        self._limit("max_members", limits.max_members, self.members + 1, entry)
        self._limit_size(entry.size, entry.compressed_size, entry)

    def _limit_size(self, size: int, compressed: int, entry: zf.Entry) -> None:
        limits = self.limits
        self._limit("max_member", limits.max_member, size, entry)
        self._limit("max_total", limits.max_total, self._total + size, entry)
        if limits.max_ratio is not None and size > PIECE:
            self._limit("max_ratio", limits.max_ratio, size // max(compressed, 1), entry)

    @staticmethod
    def _limit(limit: str, allowed: int, found: int, entry: zf.Entry) -> None:
        if found > allowed:
            raise OverLimit(limit, allowed=allowed, found=found, offset=entry.offset, member=entry.name)

    def _data(self) -> _Step:
        member = self._member
        piece = member.step(self._buffer)
        if member.whole:
            return self._member_end()
        if piece is None or piece is MORE:
            return piece
        self._limit_size(member.produced, member.used, member.entry)
        return MemberData(piece)

    def _member_end(self) -> MemberEnd:
        entry = self._member.entry
        self._directory.add(entry)
        self._total += entry.size
        self._state, self._phase = ZipReader._record, "members"
        self.members += 1
        self.last_good_offset = self._buffer.offset
        return MemberEnd(self.members - 1, entry.name, entry.size, entry.crc, entry.compressed_size)

    # The end.

    def _central(self) -> _Step:
        """4.3.12."""
        at = self.offset
        self._directory.begin(at)
        self._phase = "directory"
        fixed = self._buffer.need(zf.CENTRAL.size)
        if fixed is None:
            return MORE
        record = self._buffer.need(zf.CENTRAL.size + zf.central_length(fixed))
        if record is None:
            return MORE
        self._directory.match(zf.central_entry(record[: zf.CENTRAL.size], bytes(record[zf.CENTRAL.size :]), at), at)
        self._buffer.skip(len(record))
        return None

    def _end64(self) -> _Step:
        """4.3.14, with the room that 4.3.14.1 leaves for extensions."""
        at = self.offset
        self._directory.begin(at)
        fixed = self._buffer.need(zf.END64.size)
        if fixed is None:
            return MORE
        _, length, _, _, *values = zf.END64.unpack(fixed)
        length += 12  # it does not count its own first twelve bytes
        if not zf.END64.size <= length <= zf.END64.size + zf.FULL16:
            raise BadHeader(f"the ZIP64 end record has {length} bytes", expected=zf.END64.size, found=length, offset=at)
        self._directory.close64(zf.End(*values), at)
        if self._buffer.need(length) is None:
            return MORE
        self._buffer.skip(length)
        self._phase = "locator"
        return None

    def _locator(self) -> _Step:
        """4.3.15."""
        record = self._buffer.need(zf.LOCATOR.size)
        if record is None:
            return MORE
        _, disk, offset, disks = zf.LOCATOR.unpack(record)
        self._directory.locate(disk, offset, disks, self.offset)
        self._buffer.skip(zf.LOCATOR.size)
        self._phase = "end"
        return None

    def _end(self) -> _Step:
        """4.3.16. Its comment may hold anything, also another zip."""
        at = self.offset
        self._directory.begin(at)
        fixed = self._buffer.need(zf.END.size)
        if fixed is None:
            return MORE
        _, *values, comment_length = zf.END.unpack(fixed)
        self._directory.close(zf.End(*values), at)
        record = self._buffer.need(zf.END.size + comment_length)
        if record is None:
            return MORE
        self.comment = bytes(record[zf.END.size :])
        self._buffer.skip(len(record))
        self._state, self._phase = ZipReader._beyond, "done"
        return None

    def _beyond(self) -> _Step:
        if self._buffer.need(1) is None:
            return MORE
        raise TrailingData(f"the zip goes on after its end at byte {self.offset}", offset=self.offset)

    # What goes wrong.

    def _unexpected(self, signature: bytes) -> ZipError:
        at = self.offset
        if signature in (b"PK\x07\x08", b"PK00"):  # 8.5.3, 8.5.4
            return MultiDisk("the zip is one of several parts", found=signature, offset=at)
        if signature == b"PK\x06\x08":  # 4.3.11
            return Encrypted("the central directory is encrypted", found=signature, offset=at)
        if at == 0:
            return NotAZip(f"this is no zip: it begins with {signature!r}", found=signature, offset=at)
        known = sorted(_FOLLOWS[self._phase])
        return BadSignature(
            f"byte {at} should begin a zip record, but is {signature!r}",
            expected=known[0],
            found=signature,
            offset=at,
        )

    def _truncated(self) -> ZipError:
        at = self._buffer.end
        if self._phase == "data":
            entry, found = self._member.entry, self._member.produced
            return Truncated(
                f"the zip ends at byte {at}, within member {entry.name!r}",
                expected=entry.size if self._member.announced else None,
                found=found,
                offset=at,
                member=entry.name,
            )
        where = "within its end" if self._directory.began else "before its central directory"
        return Truncated(f"the zip ends at byte {at}, {where}", found=at, offset=at)


# Which records may stand where, and who reads them (4.3.6). Without any member there is no directory; a ZIP64
# end record is always followed by its locator.
_END = {zf.END64_SIGNATURE: ZipReader._end64, zf.END_SIGNATURE: ZipReader._end}
_FOLLOWS: dict[str, dict[bytes, Callable[[ZipReader], _Step]]] = {
    "members": {zf.LOCAL_SIGNATURE: ZipReader._local, zf.CENTRAL_SIGNATURE: ZipReader._central, **_END},
    "directory": {zf.CENTRAL_SIGNATURE: ZipReader._central, **_END},
    "locator": {zf.LOCATOR_SIGNATURE: ZipReader._locator},
    "end": {zf.END_SIGNATURE: ZipReader._end},
}
