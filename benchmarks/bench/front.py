"""A static server in a process of its own, so that the server is not what is measured.

It stands before an embedded XNAT. The first time that something is asked for, the embedded server answers, and the
answer is kept as the bytes that go over the wire, in chunks of 8 KiB as Tomcat sends them; from then on it is one
``sendfile`` (or one long TLS write). Logins are always the embedded server's own. What is kept is given to whoever
asks, so a rival need not even log in; but no kept answer sets a session cookie, as none does to whoever is logged in.
"""

from __future__ import annotations

import contextlib
import http.client
import itertools
import mmap
import multiprocessing
import os
import shutil
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import trustme

from xnat_embedded import Server

from .datasets import Shape

CHUNK = 8192
_ALWAYS_ASKED = ("/data/JSESSION", "/data/auth", "/data/services/")
_NOT_HANDED_ON = frozenset({"transfer-encoding", "connection", "keep-alive", "content-length"})


@dataclass(frozen=True, slots=True)
class Front:
    """A running server: its addresses, the authority of its certificate, and what was asked of it."""

    url: str
    secure_url: str
    authority: str
    _asked: Any
    _line: Any

    def kept(self, part: str) -> list[str]:
        """The targets with ``part`` in them whose answers are kept."""
        self._line.send(part)
        return list(self._line.recv())

    @property
    def requests(self) -> int:
        """Requests so far."""
        return int(self._asked.value)


@contextmanager
def front(shape: Shape, folder: str) -> Iterator[Front]:
    """Serve a site of this shape; ``folder`` takes the answers that are kept, and must have room for its bytes."""
    os.makedirs(folder)
    authority, certificate = f"{folder}/authority.pem", f"{folder}/server.pem"
    ours = trustme.CA()
    ours.cert_pem.write_to_path(authority)
    ours.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(certificate)
    spawn = multiprocessing.get_context("spawn")
    asked = spawn.Value("L", 0)
    here, there = spawn.Pipe()
    process = spawn.Process(target=_serve, args=(shape, folder, certificate, there, asked), daemon=True)
    process.start()
    try:
        if not here.poll(300):
            raise RuntimeError("the static server did not start")
        plain, secure = here.recv()
        yield Front(f"http://127.0.0.1:{plain}", f"https://localhost:{secure}", authority, asked, here)
    finally:
        process.terminate()
        process.join()
        shutil.rmtree(folder)


def _serve(shape: Shape, folder: str, certificate: str, tell: Any, asked: Any) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with Server(shape.build()) as origin:
        store = _Store(folder, origin.port, asked)
        listeners = [socket.create_server(("127.0.0.1", 0), backlog=128) for _ in range(2)]
        tell.send([listener.getsockname()[1] for listener in listeners])
        for listener, security in zip(listeners, (None, context), strict=True):
            threading.Thread(target=_listen, args=(listener, security, store), daemon=True).start()
        while part := tell.recv():
            tell.send(store.kept(part))


def _listen(listener: socket.socket, security: ssl.SSLContext | None, store: _Store) -> None:
    while True:
        connection, _ = listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=_connection, args=(connection, security, store), daemon=True).start()


def _connection(connection: socket.socket, security: ssl.SSLContext | None, store: _Store) -> None:
    with contextlib.suppress(OSError, ValueError):
        if security is not None:
            connection = security.wrap_socket(connection, server_side=True)
        with connection:
            left = b""
            while (request := _read(connection, left)) is not None:
                asked, left = request
                store.answer(asked, connection)


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def key(self) -> tuple[str, str]:
        return self.target, self.headers.get("accept", "")

    @property
    def lasting(self) -> bool:
        """Whether the answer is the same each time, whoever asks."""
        return self.method == "GET" and "range" not in self.headers and not self.target.startswith(_ALWAYS_ASKED)


def _read(connection: socket.socket, left: bytes) -> tuple[_Request, bytes] | None:
    """The next request, and what came behind it; None if the client left."""
    while b"\r\n\r\n" not in left:
        piece = connection.recv(65536)
        if not piece:
            return None
        left += piece
    head, left = left.split(b"\r\n\r\n", 1)
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    length = int(headers.get("content-length", 0))
    while len(left) < length:
        left += connection.recv(65536)
    return _Request(method, target, headers, left[:length]), left[length:]


class _Store:
    """The answers that are kept, and the way to the server that gives them."""

    def __init__(self, folder: str, origin: int, asked: Any) -> None:
        self._folder = folder
        self._origin = origin
        self._asked = asked
        self._numbers = itertools.count()
        self._kept: dict[tuple[str, str], str] = {}
        self._locks: dict[tuple[str, str], threading.Lock] = {}
        self._lock = threading.Lock()

    def kept(self, part: str) -> list[str]:
        """The targets with ``part`` in them whose answers are kept."""
        with self._lock:
            return sorted({target for target, _ in self._kept if part in target})

    def answer(self, request: _Request, connection: socket.socket) -> None:
        """Send the answer to one request."""
        with self._asked.get_lock():
            self._asked.value += 1
        if not request.lasting:
            path = self._fetch(request)[0]
            _send(path, connection)
            os.unlink(path)
            return
        with self._lock:
            lock = self._locks.setdefault(request.key, threading.Lock())
        with lock:
            path, lasts = self._kept.get(request.key, ""), True
            if not path:
                path, lasts = self._fetch(request)
                if lasts:
                    with self._lock:
                        self._kept[request.key] = path
        _send(path, connection)
        if not lasts:
            os.unlink(path)

    def _fetch(self, request: _Request) -> tuple[str, bool]:
        """Ask the embedded server; the file with the answer, and whether it is a good one."""
        origin = http.client.HTTPConnection("127.0.0.1", self._origin)
        try:
            sent = {name: value for name, value in request.headers.items() if name not in _NOT_HANDED_ON}
            origin.request(request.method, request.target, request.body or None, sent)
            response = origin.getresponse()
            path = f"{self._folder}/{next(self._numbers)}"
            with open(path, "wb") as file:
                file.write(f"HTTP/1.1 {response.status} \r\n".encode("latin-1"))
                for name, value in response.getheaders():
                    session = name.lower() == "set-cookie" and value.startswith("JSESSIONID")
                    if name.lower() not in _NOT_HANDED_ON and not (session and request.lasting):
                        file.write(f"{name}: {value}\r\n".encode("latin-1"))
                _write_body(file, response, silent=request.method == "HEAD" or response.status in (204, 304))
            return path, response.status == 200
        finally:
            origin.close()


def _write_body(file: Any, response: http.client.HTTPResponse, *, silent: bool) -> None:
    length = response.getheader("Content-Length")
    if silent or length is not None:
        file.write(f"Content-Length: {length or 0}\r\n\r\n".encode() if length or not silent else b"\r\n")
        shutil.copyfileobj(response, file)
        return
    file.write(b"Transfer-Encoding: chunked\r\n\r\n")
    while piece := response.read(CHUNK):
        file.write(b"%x\r\n%b\r\n" % (len(piece), piece))
    file.write(b"0\r\n\r\n")


def _send(path: str, connection: socket.socket) -> None:
    with open(path, "rb") as file:
        if isinstance(connection, ssl.SSLSocket):
            with mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as whole:
                connection.sendall(whole)
        else:
            connection.sendfile(file)
