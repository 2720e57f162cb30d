"""A small HTTP client for tests of the embedded server: it sends exactly what it is told and keeps no cookies."""

from __future__ import annotations

import base64
import http.client
import io
import json
import socket
import zipfile
from dataclasses import dataclass
from typing import Any

from xnat_embedded import Server

AGENT = "probe/1.0"
BROWSER = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36"
Row = dict[str, str]


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, whole."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        """The first header of that name."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    def cookie(self, name: str) -> str | None:
        """The whole Set-Cookie line of that cookie."""
        for key, value in self.headers:
            if key.lower() == "set-cookie" and value.startswith(name + "="):
                return value
        return None

    @property
    def session(self) -> str | None:
        """The JSESSIONID that this answer sets."""
        line = self.cookie("JSESSIONID")
        return None if line is None else line.partition(";")[0].partition("=")[2]

    @property
    def text(self) -> str:
        return self.body.decode()

    def json(self) -> Any:
        return json.loads(self.body)

    def rows(self) -> list[Row]:
        """The rows of a table."""
        result: list[Row] = self.json()["ResultSet"]["Result"]
        return result

    def zip(self) -> zipfile.ZipFile:
        return zipfile.ZipFile(io.BytesIO(self.body))

    def names(self) -> list[str]:
        return self.zip().namelist()


class Probe:
    """Asks one server. ``log_in`` makes later requests carry a session; until then they carry nothing."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.session: str | None = None

    def log_in(self, user: str = "demo", password: str = "demo-password") -> str:
        reply = self.ask("/data/JSESSION", basic=(user, password))
        assert reply.status == 200
        self.session = reply.text
        return self.session

    def ask(
        self,
        path: str,
        method: str = "GET",
        *,
        basic: tuple[str, str] | str | None = None,
        session: str | None = None,
        agent: str | None = AGENT,
        headers: dict[str, str] | None = None,
        body: bytes | None = None,
    ) -> Reply:
        """One request on a connection of its own."""
        sent = dict(headers or {})
        if agent is not None:
            sent["User-Agent"] = agent
        session = session or self.session
        if session is not None:
            sent["Cookie"] = f"JSESSIONID={session}"
        if isinstance(basic, tuple):
            basic = "Basic " + base64.b64encode(":".join(basic).encode()).decode()
        if basic is not None:
            sent["Authorization"] = basic
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=20)
        try:
            connection.request(method, path, body, sent)
            answer = connection.getresponse()
            return Reply(answer.status, answer.getheaders(), answer.read())
        finally:
            connection.close()

    def rows(self, path: str) -> list[Row]:
        reply = self.ask(path)
        assert reply.status == 200, (path, reply.status, reply.body[:200])
        return reply.rows()

    def zip(self, path: str) -> zipfile.ZipFile:
        reply = self.ask(path + ("&" if "?" in path else "?") + "format=zip")
        assert reply.status == 200, (path, reply.status)
        return reply.zip()

    def connect(self) -> socket.socket:
        """A bare connection."""
        return socket.create_connection(("127.0.0.1", self.server.port), timeout=20)

    def raw(self, path: str, *lines: str, method: str = "GET", version: str = "1.1") -> bytes:
        """Every byte of an answer, up to the end of the connection."""
        with self.connect() as line:
            line.sendall(self.request(path, *lines, method=method, version=version))
            return read_all(line)

    def request(self, path: str, *lines: str, method: str = "GET", version: str = "1.1") -> bytes:
        """The bytes of a request which asks for the connection to be closed."""
        cookie = [f"Cookie: JSESSIONID={self.session}"] if self.session else []
        parts = [f"{method} {path} HTTP/{version}", "Host: x", "Connection: close", *cookie, *lines, "", ""]
        return "\r\n".join(parts).encode("latin-1")


def read_all(line: socket.socket) -> bytes:
    """All bytes until the peer ends the connection; a reset raises ``ConnectionResetError``."""
    out = bytearray()
    while data := line.recv(65536):
        out += data
    return bytes(out)


def read_until(line: socket.socket, size: int) -> bytes:
    """At least that many bytes."""
    out = bytearray()
    while len(out) < size:
        data = line.recv(65536)
        assert data, "the connection ended early"
        out += data
    return bytes(out)


def split(raw: bytes) -> tuple[str, bytes]:
    """Head and body of a raw answer."""
    head, _, body = raw.partition(b"\r\n\r\n")
    return head.decode("latin-1"), body


def chunks(body: bytes) -> list[bytes]:
    """The chunks of a chunked body, without the last, empty one, which must be there."""
    found: list[bytes] = []
    at = 0
    while True:
        end = body.index(b"\r\n", at)
        size = int(body[at:end], 16)
        if size == 0:
            assert body[end:] == b"\r\n\r\n"
            return found
        found.append(body[end + 2 : end + 2 + size])
        assert body[end + 2 + size : end + 4 + size] == b"\r\n"
        at = end + 4 + size
