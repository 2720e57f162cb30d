"""From an ``Answer`` to bytes on a connection, exactly as Tomcat would frame them, or as a fault wants them.

aiohttp reads requests and keeps connections; the answer's bytes are written here, since its own writer always ends a
body properly, always names a reason, and never leaves a promise open.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import sys
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from aiohttp import web

from .answers import Answer
from .content import Piece
from .faults import CleanEnd, Effect, EofDelimited, ExpireDuring, Reset, Slow, Stall, first
from .log import Record

_TOMCAT_BUFFER = 8192
_GATHER = 64 * 1024
_NO_BODY = (204, 304)


class Sent(web.StreamResponse):
    """Tells aiohttp that the answer is out already, and whether the connection may go on."""

    def __init__(self, status: int, *, keep_alive: bool) -> None:
        super().__init__(status=status)
        self._going_on = keep_alive

    @property
    def keep_alive(self) -> bool:
        return self._going_on

    async def prepare(self, request: web.BaseRequest) -> None:
        """Nothing is left to be sent."""

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing is left to be sent."""


@dataclass(frozen=True, slots=True)
class Shape:
    """How an answer leaves: rate, chunk size, and the end it comes to. Made from settings and faults."""

    rate: float | None = None
    chunk: int | None = None
    ending: Reset | CleanEnd | Stall | None = None
    eof_delimited: bool = False
    on_start: Callable[[], None] | None = None

    @classmethod
    def of(
        cls, effects: tuple[Effect, ...], *, rate: float | None, chunk: int | None, expire: Callable[[], None]
    ) -> Shape:
        """The shape that these effects give an answer."""
        slow = first(effects, Slow)
        endings = [effect for effect in effects if isinstance(effect, Reset | CleanEnd | Stall)]
        return cls(
            slow.rate if slow else rate,
            chunk,
            endings[0] if endings else None,
            first(effects, EofDelimited) is not None,
            expire if first(effects, ExpireDuring) else None,
        )

    @property
    def limit(self) -> int | None:
        """Body bytes after which the ending comes."""
        return None if self.ending is None else self.ending.after_bytes


async def send(request: web.BaseRequest, answer: Answer, record: Record, shape: Shape) -> Sent:
    """Send an answer. Returns when it is out, or has come to the end that ``shape`` wants."""
    transport = request.transport
    if transport is None:
        raise ConnectionResetError("the client left before its answer")
    line = _Line(request, transport, record, shape)
    if isinstance(shape.ending, Reset) and shape.ending.after_bytes is None:
        return await line.reset()
    if shape.on_start is not None:
        shape.on_start()
    return await line.send(answer)


class _Line:
    """One answer on its connection."""

    def __init__(self, request: web.BaseRequest, transport: asyncio.Transport, record: Record, shape: Shape) -> None:
        self._request = request
        self._transport = transport
        self._record = record
        self._shape = shape
        self._chunked = False
        self._paced_since = time.monotonic()

    async def send(self, answer: Answer) -> Sent:
        record, shape = self._record, self._shape
        record.status = answer.status
        old = self._request.version < (1, 1)
        keep = self._request.keep_alive and not answer.close
        length, body = answer.length, answer.body
        silent = self._request.method == "HEAD" or answer.status in _NO_BODY
        if answer.measured and not silent and not isinstance(body, bytes):
            length, body = await _measure(body)
        if shape.eof_delimited or (old and length is None):
            length, keep = None, False
        else:
            self._chunked = length is None and not silent
        head = self._head(answer, length, keep=keep)
        if silent:
            self._transport.write(head)
            await self._drain()
            return Sent(answer.status, keep_alive=keep)
        stream = _whole(body) if isinstance(body, bytes) else body
        try:
            return await self._body(answer, head, stream, length, keep=keep)
        finally:
            if not isinstance(body, bytes):
                await body.aclose()  # type: ignore[attr-defined]

    async def _body(
        self, answer: Answer, head: bytes, stream: AsyncIterator[Piece], length: int | None, *, keep: bool
    ) -> Sent:
        limit, sent = self._shape.limit, 0
        pending: list[Piece] = []
        waiting = 0
        paced = self._shape.rate is not None
        if limit == 0:
            self._transport.write(head)
            return await self._end_early(length, keep=keep)
        async for piece in stream:
            cut = limit is not None and sent + len(piece) >= limit
            if cut and limit is not None:
                piece = piece[: limit - sent]
            sent += len(piece)
            pending.append(piece)
            waiting += len(piece)
            if waiting >= _GATHER or cut or paced:
                await self._write(head, pending)
                head, pending, waiting = b"", [], 0
            if cut:
                return await self._end_early(length, keep=keep)
        last = b"0\r\n\r\n" if self._chunked else b""
        await self._write(head, pending, last)
        if answer.hang:
            await self._hang()
        # A length that was not kept ends the connection; nobody could tell where the next answer begins.
        return Sent(answer.status, keep_alive=keep and (length is None or sent == length))

    async def _end_early(self, length: int | None, *, keep: bool) -> Sent:
        self._record.aborted = True
        ending = self._shape.ending
        if isinstance(ending, Reset):
            return await self.reset()
        if isinstance(ending, Stall):
            await self._hang()
        if length is not None:
            return Sent(self._record.status, keep_alive=False)
        if self._chunked:
            self._transport.write(b"0\r\n\r\n")
        await self._drain()
        return Sent(self._record.status, keep_alive=keep)

    async def reset(self) -> Sent:
        """Reset the connection, once the client has all that was written."""
        self._record.aborted = True
        connection = self._transport.get_extra_info("socket")
        await self._until_taken(connection)
        if connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()
        return Sent(self._record.status, keep_alive=False)

    async def _until_taken(self, connection: socket.socket | None) -> None:
        """Wait until the kernel has handed over what was written: a reset would throw the rest away."""
        for _ in range(400):
            if self._transport.get_write_buffer_size() == 0 and not _unsent(connection):
                return
            await asyncio.sleep(0.005)

    async def _hang(self) -> None:
        """Wait for the client to leave; its leaving, and the server's stopping, cancel this task."""
        await asyncio.Event().wait()

    def _head(self, answer: Answer, length: int | None, *, keep: bool) -> bytes:
        version = "1.1" if self._request.version >= (1, 1) and not self._shape.eof_delimited else "1.0"
        lines = [f"HTTP/{version} {answer.status} "]  # Tomcat 9 gives no reason (§3.1).
        lines += [f"{name}: {value}" for name, value in answer.headers]
        if self._chunked:
            lines.append("Transfer-Encoding: chunked")
        elif length is not None and answer.status not in _NO_BODY:
            lines.append(f"Content-Length: {length}")
        if not keep:
            lines.append("Connection: close")
        elif version == "1.0":
            lines.append("Connection: keep-alive")
        return "\r\n".join([*lines, "", ""]).encode("utf-8")

    async def _write(self, head: bytes, pieces: list[Piece], last: bytes = b"") -> None:
        size = sum(map(len, pieces))
        step = self._shape.chunk
        rate = self._shape.rate
        if rate is not None and size:
            await self._write_paced(head, b"".join(pieces), last, rate)
            return
        self._record.body_bytes += size
        parts: list[Piece] = [head]
        if not size:
            pass
        elif not self._chunked:
            parts += pieces
        elif step is None:
            parts += [b"%x\r\n" % size, *pieces, b"\r\n"]
        else:
            whole = memoryview(b"".join(pieces))
            for at in range(0, size, step):
                part = whole[at : at + step]
                parts += [b"%x\r\n" % len(part), part, b"\r\n"]
        parts.append(last)
        await self._out(parts)

    async def _write_paced(self, head: bytes, data: bytes, last: bytes, rate: float) -> None:
        """In small steps, so that a slow line is slow from byte to byte."""
        step = max(1, min(len(data), int(rate / 20)))
        for at in range(0, len(data), step):
            part = data[at : at + step]
            self._paced_since = max(self._paced_since, time.monotonic() - 0.1) + len(part) / rate
            await asyncio.sleep(self._paced_since - time.monotonic())
            self._record.body_bytes += len(part)
            await self._out([head, *((b"%x\r\n" % len(part), part, b"\r\n") if self._chunked else (part,))])
            head = b""
        if last:
            await self._out([last])

    async def _out(self, parts: list[Piece]) -> None:
        if self._transport.is_closing():
            raise ConnectionResetError("the client left")
        self._transport.write(b"".join(parts))
        await self._drain()

    async def _drain(self) -> None:
        await self._request.writer.drain()


async def _measure(stream: AsyncIterator[Piece]) -> tuple[int | None, bytes | AsyncIterator[Piece]]:
    """The whole if it fits Tomcat's buffer, which then gets a length; else the stream as it was."""
    held: list[Piece] = []
    size = 0
    async for piece in stream:
        held.append(piece)
        size += len(piece)
        if size > _TOMCAT_BUFFER:
            return None, _resumed(held, stream)
    return size, b"".join(held)


async def _resumed(held: list[Piece], stream: AsyncIterator[Piece]) -> AsyncIterator[Piece]:
    for piece in held:
        yield piece
    async for piece in stream:
        yield piece


async def _whole(body: bytes) -> AsyncIterator[Piece]:
    if body:
        yield body


def _unsent(connection: socket.socket | None) -> int:
    """Bytes that the peer's kernel has not taken yet, where the system tells."""
    if connection is None or not sys.platform.startswith("linux"):
        return 0
    with contextlib.suppress(OSError):
        import fcntl
        import termios

        return int(struct.unpack("i", fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, b"\0" * 4))[0])
    return 0
