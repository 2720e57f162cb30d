"""What a file on the server consists of: bytes in memory, a file on disk, or a pattern too large to hold.

A content is immutable and is streamed in pieces of up to 256 KiB, so that nothing is ever held whole because it is
being sent. CRC-32 and MD5 are worked out once. ``blocking`` contents touch a disk: whoever serves them from an event
loop reads them in a worker thread.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator

Piece = bytes | memoryview

PIECE = 256 * 1024


class Content(ABC):
    """Bytes that can be streamed from any offset, any number of times."""

    __slots__ = ()

    blocking = False

    @property
    @abstractmethod
    def size(self) -> int:
        """Length in bytes. Raises ``OSError`` if the content is gone from disk."""

    @abstractmethod
    def pieces(self, start: int = 0, stop: int | None = None) -> Iterator[Piece]:
        """The bytes from ``start`` up to ``stop`` (default: the end), in pieces."""

    @abstractmethod
    def crc32(self) -> int:
        """CRC-32 of the whole."""

    @abstractmethod
    def md5(self) -> str:
        """MD5 of the whole in lower-case hex."""

    def exists(self) -> bool:
        """Whether there is anything to send."""
        return True

    def read(self) -> bytes:
        """The whole in memory; for small contents only."""
        return b"".join(self.pieces())


class Data(Content):
    """Bytes in memory."""

    __slots__ = ("_crc", "_md5", "_view")

    def __init__(self, data: bytes) -> None:
        self._view = memoryview(data)
        self._crc: int | None = None
        self._md5: str | None = None

    @property
    def size(self) -> int:
        return len(self._view)

    def pieces(self, start: int = 0, stop: int | None = None) -> Iterator[Piece]:
        stop = len(self._view) if stop is None else stop
        for at in range(start, stop, PIECE):
            yield self._view[at : min(at + PIECE, stop)]

    def crc32(self) -> int:
        if self._crc is None:
            self._crc = zlib.crc32(self._view)
        return self._crc

    def md5(self) -> str:
        if self._md5 is None:
            self._md5 = hashlib.md5(self._view, usedforsecurity=False).hexdigest()
        return self._md5


class DiskFile(Content):
    """A file on disk, looked at anew for every request; checksums are kept for one size and time of change."""

    __slots__ = ("_crc", "_md5", "path")

    blocking = True

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self._crc: tuple[tuple[int, int], int] | None = None
        self._md5: tuple[tuple[int, int], str] | None = None

    @property
    def size(self) -> int:
        return os.stat(self.path).st_size

    def exists(self) -> bool:
        return os.path.isfile(self.path)

    def pieces(self, start: int = 0, stop: int | None = None) -> Iterator[Piece]:
        with open(self.path, "rb", buffering=0) as file:
            file.seek(start)
            left = (os.fstat(file.fileno()).st_size if stop is None else stop) - start
            while left > 0:
                data = file.read(min(PIECE, left))
                if not data:
                    raise OSError(f"{self.path} became shorter while it was read")
                left -= len(data)
                yield data

    def _stamp(self) -> tuple[int, int]:
        stat = os.stat(self.path)
        return stat.st_size, stat.st_mtime_ns

    def crc32(self) -> int:
        stamp = self._stamp()
        if self._crc is None or self._crc[0] != stamp:
            crc = 0
            for piece in self.pieces():
                crc = zlib.crc32(piece, crc)
            self._crc = stamp, crc
        return self._crc[1]

    def md5(self) -> str:
        stamp = self._stamp()
        if self._md5 is None or self._md5[0] != stamp:
            digest = hashlib.md5(usedforsecurity=False)
            for piece in self.pieces():
                digest.update(piece)
            self._md5 = stamp, digest.hexdigest()
        return self._md5[1]


class Pattern(Content):
    """A block repeated up to ``size``: files beyond 4 GiB that cost no memory and no disk."""

    __slots__ = ("_block", "_crc", "_md5", "_size")

    def __init__(self, size: int, block: bytes = bytes(PIECE)) -> None:
        repeats = max(1, PIECE // len(block))
        self._block = memoryview(block * repeats)
        self._size = size
        self._crc: int | None = None
        self._md5: str | None = None

    @property
    def size(self) -> int:
        return self._size

    def pieces(self, start: int = 0, stop: int | None = None) -> Iterator[Piece]:
        stop = self._size if stop is None else stop
        length = len(self._block)
        at = start
        while at < stop:
            offset = at % length
            piece = self._block[offset : min(length, offset + stop - at)]
            at += len(piece)
            yield piece

    def crc32(self) -> int:
        # Squaring instead of reading: the CRC of a block doubled follows from the CRC of the block.
        if self._crc is None:
            count, rest = divmod(self._size, len(self._block))
            total, power, length = 0, zlib.crc32(self._block), len(self._block)
            while count:
                if count & 1:
                    total = _crc32_of_both(total, power, length)
                power, length = _crc32_of_both(power, power, length), length * 2
                count >>= 1
            self._crc = zlib.crc32(self._block[:rest], total)
        return self._crc

    def md5(self) -> str:
        if self._md5 is None:
            digest = hashlib.md5(usedforsecurity=False)
            for piece in self.pieces():
                digest.update(piece)
            self._md5 = digest.hexdigest()
        return self._md5


class Truncated(Content):
    """The start of another content, with checksums that match what is left: a read error that nobody noticed."""

    __slots__ = ("_size", "_whole", "blocking")

    def __init__(self, whole: Content, size: int) -> None:
        self._whole = whole
        self._size = min(size, whole.size)
        self.blocking = whole.blocking

    @property
    def size(self) -> int:
        return self._size

    def pieces(self, start: int = 0, stop: int | None = None) -> Iterator[Piece]:
        return self._whole.pieces(start, self._size if stop is None else min(stop, self._size))

    def crc32(self) -> int:
        crc = 0
        for piece in self.pieces():
            crc = zlib.crc32(piece, crc)
        return crc

    def md5(self) -> str:
        return hashlib.md5(self.read(), usedforsecurity=False).hexdigest()


class Corrupt(Content):
    """Another content with one byte flipped, which still claims the checksums of the original."""

    __slots__ = ("_at", "_whole", "blocking")

    def __init__(self, whole: Content, at: int | None = None) -> None:
        self._whole = whole
        self._at = whole.size // 2 if at is None else at
        self.blocking = whole.blocking

    @property
    def size(self) -> int:
        return self._whole.size

    def pieces(self, start: int = 0, stop: int | None = None) -> Iterator[Piece]:
        at = start
        for piece in self._whole.pieces(start, stop):
            if at <= self._at < at + len(piece):
                flipped = bytearray(piece)
                flipped[self._at - at] ^= 0xFF
                yield bytes(flipped)
            else:
                yield piece
            at += len(piece)

    def crc32(self) -> int:
        return self._whole.crc32()

    def md5(self) -> str:
        return self._whole.md5()


def as_content(data: bytes | str | os.PathLike[str] | Content) -> Content:
    """Bytes as they are; text as UTF-8; a path as the file it names."""
    if isinstance(data, Content):
        return data
    if isinstance(data, str):
        return Data(data.encode())
    if isinstance(data, bytes):
        return Data(data)
    return DiskFile(data)


def _crc32_of_both(first: int, second: int, second_length: int) -> int:
    """CRC-32 of two strings one after the other, from their CRCs and the length of the second."""

    def times(matrix: list[int], vector: int) -> int:
        total, row = 0, 0
        while vector:
            if vector & 1:
                total ^= matrix[row]
            vector >>= 1
            row += 1
        return total

    # The operator that appends one zero bit, squared up to one zero byte and on.
    operator = [0xEDB88320] + [1 << bit for bit in range(31)]
    for _ in range(3):
        operator = [times(operator, row) for row in operator]
    while second_length:
        if second_length & 1:
            first = times(operator, first)
        operator = [times(operator, row) for row in operator]
        second_length >>= 1
    return first ^ second
