"""The data of one member: from the end of its header to the proof that it is whole.

Each state is a method that gives back the next piece of data; ``None`` if it used something up and has none;
``MORE`` for want of bytes; or raises. The last one sets ``whole``.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any, Final, TypeAlias

from xnat_sync.core import _zipformat as zf
from xnat_sync.core._pushbuffer import PushBuffer
from xnat_sync.core._ziperrors import (
    BadDeflate,
    BadSignature,
    CrcMismatch,
    DescriptorMismatch,
    SizeMismatch,
    Unstreamable,
    ZipError,
)
from xnat_sync.core._zipformat import engine

PIECE: Final = 1 << 20  # inflated bytes at once, at most
_SIP: Final = 1 << 18  # compressed bytes inflated at once: what the engine leaves over of them, it copies


class More(Enum):
    MORE = 0


MORE: Final = More.MORE
Data: TypeAlias = memoryview | bytes | More | None


class Member:
    """The member in hand: what its header says, and what has come of it."""

    __slots__ = (
        "_flooded",
        "_inflater",
        "_state",
        "_tail",
        "announced",
        "crc",
        "entry",
        "produced",
        "sealed",
        "used",
        "whole",
    )

    def __init__(self, entry: zf.Entry) -> None:
        self.entry = entry
        self.sealed = bool(entry.flags & zf.DESCRIPTOR)  # a data descriptor follows
        self.announced = not self.sealed or (entry.method == zf.STORED and entry.size > 0)  # sizes are known
        self.crc = 0
        self.produced = 0  # bytes as they will lie on disk
        self.used = 0  # bytes as they lie in the zip
        self.whole = False
        self._tail: bytes | memoryview = b""  # given to the inflater, not yet used by it
        self._flooded = False  # the last output was cut at PIECE: there may be more without more input
        self._state: Callable[[Member, PushBuffer], Data]
        if self.announced and not entry.compressed_size:  # also deflated: some writers leave out all data then
            self._state = Member._nothing
        elif entry.method == zf.DEFLATED:
            self._inflater: Any = engine.decompressobj(wbits=-15)
            self._state = Member._inflate
        else:
            self._state = Member._store if self.announced else Member._descriptor

    def step(self, buffer: PushBuffer) -> Data:
        return self._state(self, buffer)

    def _nothing(self, buffer: PushBuffer) -> Data:
        """An empty member has no CRC-32 to speak of: it is believed only if a next record follows at once.

        Else one lost bit, the one that promises a descriptor, would make an empty file of any other.
        """
        following = buffer.need(4)
        if following is None:
            return MORE
        if following not in zf.AFTER_MEMBER:
            raise BadSignature(
                f"member {self.entry.name!r} is said to be empty, but no record follows it",
                found=bytes(following),
                offset=buffer.offset,
                member=self.entry.name,
            )
        self._state = Member._seal
        return None

    def _store(self, buffer: PushBuffer) -> Data:
        piece = buffer.take(self.entry.size - self.produced)
        if not piece:
            return MORE
        self.crc = engine.crc32(piece, self.crc)
        self.produced += len(piece)
        self.used = self.produced
        if self.produced == self.entry.size:
            self._data_ends()
        return piece

    def _inflate(self, buffer: PushBuffer) -> Data:
        """Inflate one sip, or what the last output had no room for."""
        entry = self.entry
        if not self._tail:
            left = entry.compressed_size - self.used if self.announced else _SIP
            self._tail = buffer.take(min(left, _SIP))
            self.used += len(self._tail)
            if not (self._tail or self._flooded):
                if not left:
                    raise self._bad_deflate("goes on after its compressed size", buffer)
                return MORE
        try:
            output: bytes = self._inflater.decompress(self._tail, PIECE)
        except engine.error as error:
            raise self._bad_deflate(f"cannot be inflated ({error})", buffer) from error
        self._tail = self._inflater.unconsumed_tail
        self._flooded = len(output) == PIECE
        self.produced += len(output)
        if self.announced and self.produced > entry.size:
            raise self._differs(SizeMismatch, "bytes", entry.size, self.produced, buffer)
        self.crc = engine.crc32(output, self.crc)
        if self._inflater.eof:
            beyond = self._inflater.unused_data
            buffer.untake(beyond)
            self.used -= len(beyond)
            if self.announced and self.used != entry.compressed_size:
                raise self._bad_deflate("ends before its compressed size", buffer)
            self._data_ends()
        return output or None

    def _data_ends(self) -> None:
        self._state = Member._descriptor if self.sealed else Member._seal

    def _descriptor(self, buffer: PushBuffer) -> Data:
        """4.3.9. Which of its four forms it has is written nowhere, but its values are known by now.

        A stored member of no announced size is believed to be empty only if a descriptor of nothing and a next
        record follow at once; else its data begins here, and where that ends cannot be known.
        """
        forms = {form: len(form) for form in zf.descriptors(self.crc, self.used, self.produced)}
        boundless = self.entry.method == zf.STORED and not self.announced
        if boundless:
            forms = {form + record: length for form, length in forms.items() for record in zf.AFTER_MEMBER}
        come = buffer.peek(max(map(len, forms)))
        # The longest that still fits: the short form of an empty member is the beginning of the long one.
        form = max((form for form in forms if come.startswith(form[: len(come)])), key=len, default=None)
        if form is None:
            return self._no_descriptor(come, boundless, buffer)
        if len(come) < len(form):
            return MORE
        buffer.skip(forms[form])
        self._state = Member._seal
        return None

    def _no_descriptor(self, come: bytes, boundless: bool, buffer: PushBuffer) -> Data:
        name = self.entry.name
        if boundless:
            raise Unstreamable(
                f"member {name!r} is stored with its size only behind it", offset=buffer.offset, member=name
            )
        if len(come) < 16:  # so that the message can show a whole one
            return MORE
        raise DescriptorMismatch(
            f"the data descriptor of member {name!r} names other sizes or another CRC-32 than its bytes have",
            expected=zf.descriptors(self.crc, self.used, self.produced)[-1].hex(),
            found=come.hex(),
            offset=buffer.offset,
            member=name,
        )

    def _seal(self, buffer: PushBuffer) -> Data:
        """The member is over. Where a descriptor followed, zero in the header means "see there" (4.4.4)."""
        entry = self.entry
        for error, what, expected, found in (
            (SizeMismatch, "bytes", entry.size, self.produced),
            (SizeMismatch, "bytes in the zip", entry.compressed_size, self.used),
            (CrcMismatch, "as its CRC-32", entry.crc, self.crc),
        ):
            if expected != found and (expected or not self.sealed):
                raise self._differs(error, what, expected, found, buffer)
        if self.sealed:
            self.entry = entry._replace(crc=self.crc, compressed_size=self.used, size=self.produced)
        self.whole = True
        return None

    def _differs(self, error: type[ZipError], what: str, expected: int, found: int, buffer: PushBuffer) -> ZipError:
        return error(
            f"member {self.entry.name!r} has {found} {what}, not {expected}",
            expected=expected,
            found=found,
            offset=buffer.offset,
            member=self.entry.name,
        )

    def _bad_deflate(self, why: str, buffer: PushBuffer) -> ZipError:
        name = self.entry.name
        return BadDeflate(f"the compressed data of member {name!r} {why}", offset=buffer.offset, member=name)
