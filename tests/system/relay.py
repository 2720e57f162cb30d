"""A relay on loopback in front of a server: it may speak TLS, be an HTTP proxy, set a cookie, and note what passes."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trustme


@dataclass
class Relay:
    """``seen`` is all that clients sent, ``tunnels`` are the targets that a proxy was asked for."""

    port: int = 0
    seen: bytearray = field(default_factory=bytearray)
    tunnels: list[str] = field(default_factory=list)

    def cookies(self) -> set[str]:
        """Every cookie that a client sent, as ``name=value``."""
        lines = [line[7:].strip() for line in self.seen.split(b"\r\n") if line.lower().startswith(b"cookie:")]
        return {part.strip() for line in lines for part in line.decode("latin-1").split(";")}


def authority(folder: Path, *names: str) -> tuple[ssl.SSLContext, Path]:
    """A context for a server with a certificate of a new authority for ``names``, and the authority's own as a file."""
    ours = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ours.issue_cert(*names).configure_cert(context)
    bundle = folder / "authority.pem"
    ours.cert_pem.write_to_path(str(bundle))
    return context, bundle


@contextmanager
def relay(
    to: int, *, tls: ssl.SSLContext | None = None, set_cookie: str = "", proxy: bool = False, login: str | None = None
) -> Iterator[Relay]:
    """A running relay to a port on loopback.

    As a ``proxy`` it tunnels anywhere that it is asked to, which is always ``to``; it wants ``login`` as the base64 of
    its Basic credentials, if that is given.
    """
    made = Relay()
    ready = threading.Event()
    loop = asyncio.new_event_loop()
    stopping = asyncio.Event()

    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, up: bool) -> None:
        with contextlib.suppress(OSError, ssl.SSLError):
            while piece := await source.read(65536):
                if up:
                    made.seen += piece
                elif set_cookie and piece.startswith(b"HTTP/1.1 "):
                    first, rest = piece.split(b"\r\n", 1)
                    piece = first + f"\r\nSet-Cookie: {set_cookie}\r\n".encode() + rest
                sink.write(piece)
                await sink.drain()
        sink.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, ssl.SSLError, asyncio.IncompleteReadError):
            if proxy and not await admitted(reader, writer):
                return
            there, back = await asyncio.open_connection("127.0.0.1", to)
            await asyncio.gather(pump(reader, back, up=True), pump(there, writer, up=False))
        writer.close()

    async def admitted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        made.tunnels.append(head.split(b" ", 2)[1].decode())
        if login is not None and f"Proxy-Authorization: Basic {login}".encode() not in head:
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            writer.close()
            return False
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        return True

    async def run() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
        made.port = server.sockets[0].getsockname()[1]
        ready.set()
        await stopping.wait()
        server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def thread() -> None:
        loop.run_until_complete(run())
        loop.close()

    running = threading.Thread(target=thread, daemon=True)
    running.start()
    assert ready.wait(10)
    try:
        yield made
    finally:
        loop.call_soon_threadsafe(stopping.set)
        running.join()
