"""A server that lies where it is told to, and is an honest XNAT everywhere else.

It stands on loopback before the embedded server and answers chosen requests itself, with any bytes at all; what it is
not told to answer is passed on. So a test lies in one place, and all else of the project is as it should be.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

GATHER = 1 << 18


class Client:
    """Who asked: the head of the request, and a way to send any bytes."""

    def __init__(self, head: bytes, writer: asyncio.StreamWriter) -> None:
        self.head = head
        self.sent = 0
        self._writer = writer
        self.method, self.target = head.decode("latin-1").split("\r\n", 1)[0].split(" ")[:2]

    async def send(self, data: bytes) -> None:
        """Send; ends with ``ConnectionError`` when the client has left."""
        if self._writer.is_closing():
            raise ConnectionResetError("the client left")
        self._writer.write(data)
        await self._writer.drain()
        self.sent += len(data)

    async def left(self) -> None:
        """Wait until the client has left."""
        while not self._writer.is_closing():
            await asyncio.sleep(0.02)


Answer = Callable[[Client], Awaitable[None]]


_HELD: set[asyncio.Task[None] | None] = set()  # the loop itself does not keep a task that waits


@contextmanager
def closing(writer: asyncio.StreamWriter) -> Iterator[None]:
    """Close a connection at the end; abort it if the server itself is ending."""
    task = asyncio.current_task()
    _HELD.add(task)
    try:
        yield
    except asyncio.CancelledError:
        writer.transport.abort()  # and no more of it: a connection's task that was cancelled is an error to asyncio
    finally:
        writer.close()
        _HELD.discard(task)


@dataclass
class Lie:
    """Requests that match ``target``, searched in the target as sent, get ``answer``; ``met`` are those that did."""

    target: re.Pattern[str]
    answer: Answer
    method: str = ""
    met: list[Client] = field(default_factory=list)

    @property
    def sent(self) -> int:
        """Bytes that clients took."""
        return sum(client.sent for client in self.met)


@dataclass
class Evil:
    """``seen`` is every request's head and ``extra`` are header lines that every honest answer gets besides."""

    honest: int
    port: int = 0
    lies: list[Lie] = field(default_factory=list)
    seen: list[bytes] = field(default_factory=list)
    extra: bytes = b""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def lie(self, target: str, answer: Answer, method: str = "") -> Lie:
        """From now on lie to requests that match. Of several that do, the newest counts."""
        made = Lie(re.compile(target), answer, method)
        self.lies.insert(0, made)
        return made

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer what comes on one connection; each answer is its last."""
        with closing(writer), contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            head = await reader.readuntil(b"\r\n\r\n")
            self.seen.append(head)
            client = Client(head, writer)
            for lie in self.lies:
                if lie.method in ("", client.method) and lie.target.search(client.target):
                    lie.met.append(client)
                    await lie.answer(client)
                    break
            else:
                await self.pass_on(client)

    async def pass_on(self, client: Client) -> None:
        """Let the honest server answer."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.honest)
        with closing(writer):
            line, _, rest = client.head.partition(b"\r\n")
            rest = re.sub(rb"(?i)(^|\r\n)connection:[^\r]*", b"", rest).lstrip(b"\r\n")
            writer.write(line + b"\r\nConnection: close\r\n" + rest)
            first, _, others = (await reader.readuntil(b"\r\n\r\n")).partition(b"\r\n")
            await client.send(first + b"\r\n" + self.extra + others)
            while piece := await reader.read(GATHER):
                await client.send(piece)


def body(data: bytes, *headers: str, status: int = 200, kind: str = "application/json") -> Answer:
    """An answer of that body, with its length."""
    lines = [f"HTTP/1.1 {status} Fine", f"Content-Type: {kind}", f"Content-Length: {len(data)}", *headers]

    async def answer(client: Client) -> None:
        await client.send("\r\n".join([*lines, "Connection: close", "", ""]).encode("latin-1") + data)

    return answer


def redirect(location: str, status: int = 302) -> Answer:
    """A redirect to anywhere."""
    return body(b"", f"Location: {location}", status=status)


def raw(*pieces: bytes) -> Answer:
    """These bytes, then the end of the connection."""

    async def answer(client: Client) -> None:
        for piece in pieces:
            await client.send(piece)

    return answer


def endless(head: bytes, piece: bytes, most: int, last: bytes = b"") -> Answer:
    """``head``, then ``piece`` again and again, ``most`` bytes of it; then ``last`` and the end."""
    many = piece * max(GATHER // len(piece), 1)

    async def answer(client: Client) -> None:
        await client.send(head)
        for _ in range(max(most // len(many), 1)):
            await client.send(many)
        await client.send(last)

    return answer


def drip(head: bytes, piece: bytes, every: float) -> Answer:
    """``head``, then ``piece`` every so many seconds for as long as the client stays."""

    async def answer(client: Client) -> None:
        await client.send(head)
        while True:
            await asyncio.sleep(every)
            await client.send(piece)

    return answer


@dataclass
class Elsewhere:
    """A place that nobody should ever come to: how often somebody did, and all that was sent."""

    port: int = 0
    came: int = 0
    heard: bytearray = field(default_factory=bytearray)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.came += 1
        with closing(writer), contextlib.suppress(OSError):
            while piece := await reader.read(GATHER):
                self.heard += piece
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n[]")


@contextmanager
def running(what: Evil | Elsewhere, tls: ssl.SSLContext | None = None) -> Iterator[None]:
    """Serve it on loopback, by IPv4 and where there is one by ``localhost``'s other address, in a thread."""
    ready, loop, stopping = threading.Event(), asyncio.new_event_loop(), asyncio.Event()

    async def run() -> None:
        server = await asyncio.start_server(what.serve, "127.0.0.1", 0, ssl=tls, limit=1 << 24)
        what.port = server.sockets[0].getsockname()[1]
        other = None
        with contextlib.suppress(OSError):
            if socket.has_ipv6:
                other = await asyncio.start_server(what.serve, "::1", what.port, ssl=tls, limit=1 << 24)
        ready.set()
        await stopping.wait()
        for each in (server, other):
            if each is not None:
                each.close()
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)
        for _ in range(4):
            await asyncio.sleep(0)  # what was aborted is closed in the turns that follow

    def thread() -> None:
        loop.run_until_complete(run())
        loop.close()

    runner = threading.Thread(target=thread, daemon=True)
    runner.start()
    assert ready.wait(10)
    try:
        yield
    finally:
        loop.call_soon_threadsafe(stopping.set)
        runner.join()
