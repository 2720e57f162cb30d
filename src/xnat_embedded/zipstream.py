"""A zip or tar while it is being sent: members read piece by piece, and failures ended the way XNAT ends them (§3.5).

An exception in the middle never reaches the client as such. A file that vanished, or a name that comes twice, ends
the archive there, with a central directory over what came before. A read error inside a stored member ends the bytes
without one; inside a deflated member, the member is closed over what was read, CRC matching, and the archive with it.
"""

from __future__ import annotations

import asyncio
import tarfile
import zlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from .content import Content, Piece
from .zipwriter import DEFLATED, ZipWriter

_T = TypeVar("_T")

_SMALL = 64 * 1024
_HOP = 4  # pieces read from disk in one thread hop


@dataclass(frozen=True, slots=True)
class Member:
    """One file to be sent. ``content`` None: it is listed but not on disk, and is left out silently."""

    name: str
    content: Content | None
    mtime: int


async def zip_stream(members: Iterable[Member], method: int) -> AsyncIterator[Piece]:
    """The bytes of a zip of these members."""
    writer = ZipWriter()
    pack = _deflated if method == DEFLATED else _stored
    for member in members:
        if member.content is None:
            continue
        if writer.has(member.name):
            break
        whole = True
        try:
            async for piece in pack(writer, member, member.content):
                yield piece
        except FileNotFoundError:
            whole = False
        except OSError:
            if method != DEFLATED:
                return
            whole = False
        if not whole:
            break
    yield writer.finish()


async def _stored(writer: ZipWriter, member: Member, content: Content) -> AsyncIterator[Piece]:
    # The file is read twice, for its CRC first: that is the silent gap before each large member.
    size, crc = await _in_thread(content, lambda: (content.size, content.crc32()))
    yield writer.stored(member.name, member.mtime, size, crc)
    async for piece in read(content, 0, size):
        yield piece


async def _deflated(writer: ZipWriter, member: Member, content: Content) -> AsyncIterator[Piece]:
    await _in_thread(content, lambda: content.size)
    header = writer.deflated(member.name, member.mtime)
    yield header
    packer = zlib.compressobj(6, zlib.DEFLATED, -15)
    size = packed = crc = 0
    failure: OSError | None = None
    try:
        async for piece in read(content):
            size += len(piece)
            crc = zlib.crc32(piece, crc)
            out = packer.compress(piece) if len(piece) < _SMALL else await asyncio.to_thread(packer.compress, piece)
            packed += len(out)
            if out:
                yield out
    except OSError as error:
        failure = error
    out = packer.flush()
    packed += len(out)
    yield out + writer.deflated_end(size, packed, crc)
    if failure is not None:
        raise failure


async def read(content: Content, start: int = 0, stop: int | None = None) -> AsyncIterator[Piece]:
    """The pieces of a content; from disk in a worker thread, several at a hop."""
    pieces = content.pieces(start, stop)
    if not content.blocking:
        for piece in pieces:
            yield piece
        return
    while batch := await asyncio.to_thread(_take, pieces):
        for piece in batch:
            yield piece


def _take(pieces: Iterator[Piece]) -> list[Piece]:
    return [piece for piece, _ in zip(pieces, range(_HOP), strict=False)]


async def _in_thread(content: Content, work: Callable[[], _T]) -> _T:
    return await asyncio.to_thread(work) if content.blocking else work()


async def tar_stream(members: Iterable[Member], *, packed: bool) -> AsyncIterator[Piece]:
    """The bytes of a tar of these members, gzipped if ``packed``."""
    packer = zlib.compressobj(6, zlib.DEFLATED, 31) if packed else None
    async for piece in _tar(members):
        out = packer.compress(piece) if packer else piece
        if out:
            yield out
    if packer:
        yield packer.flush()


async def _tar(members: Iterable[Member]) -> AsyncIterator[Piece]:
    for member in members:
        content = member.content
        if content is None:
            continue
        info = tarfile.TarInfo(member.name)
        info.mtime = member.mtime
        try:
            info.size = content.size
            yield info.tobuf(tarfile.PAX_FORMAT)
            async for piece in read(content, 0, info.size):
                yield piece
        except OSError:
            return
        yield bytes(-info.size % tarfile.BLOCKSIZE)
    yield bytes(2 * tarfile.BLOCKSIZE)
