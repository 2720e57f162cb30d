"""Answers that are no answers: heads and bodies without end, lengths that lie, encodings that explode, drips."""

from __future__ import annotations

import gzip
import zlib
from functools import cache
from itertools import cycle, product

import pytest

from core.zips import M, local
from hostile.conftest import Make
from hostile.evil import Answer, Client, body, drip, endless, raw
from hostile.scene import HEAVY, MIB, Scene, few, resources, some
from system.harness import truth

FILE = r"/resources/{}/files/0\.dcm$"
NO_ZIP = r"/files\?format=zip$"
MUCH = 32 * MIB * HEAVY
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
PLACES = {
    "login": (r"/data/JSESSION$", "POST"),
    "auth": (r"/data/auth$", "GET"),
    "experiments": (r"/PTV000/experiments\?", "GET"),
    "files": (r"/experiments/[^/]+/files\?", "GET"),
    "zip": (NO_ZIP, "GET"),
    "file": (r"/files/0\.dcm$", "GET"),
}


@cache
def gzipped(size: int) -> bytes:
    """A thousandth of so many zeros, twice over: what it inflates to is gzip again."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    inner = b"".join([*(packer.compress(bytes(MIB)) for _ in range(size // MIB)), packer.flush()])
    return gzip.compress(inner, 1)


def length(*values: object) -> bytes:
    return OK + b"".join(f"Content-Length: {value}\r\n".encode() for value in values) + b"\r\n"


def served(data: bytes) -> dict[str, Answer]:
    """Ways to serve a file of those bytes that bring it after all, odd as they are."""
    size = len(data)
    named = [
        "Content-Disposition: attachment; filename=../../../escape.dcm", "Refresh: 0; url=http://localhost/",
        "Content-Location: http://localhost/", "Link: <http://localhost/>; rel=preload", "Alt-Svc: h3=\":443\"",
        "Set-Cookie: JSESSIONID=0; Max-Age=0; Path=/nowhere; Domain=example.org",
    ]  # fmt: skip
    return {
        "headers that want to be obeyed": body(data, *named[:5]),
        "br that is none": body(data, "Content-Encoding: br"),
        "gzip that is none": body(data, "Content-Encoding: gzip, gzip, deflate"),
        "more than its length": raw(length(size) + data + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"),
        "by the byte": raw(CHUNKED + b"".join(b"1;x=y\r\n%c\r\n" % each for each in data) + b"0\r\nT: x\r\n\r\n"),
        "without a length": raw(OK + b"\r\n" + data),
        "a few early hints": raw(b"HTTP/1.1 103 Hints\r\nLink: <x>\r\n\r\n" * 50 + length(size) + data),
    }


def refused(data: bytes) -> dict[str, Answer]:
    """Ways to serve a file of those bytes that must bring nothing."""
    size = len(data)
    wrong = bytes(size)
    return {
        "other bytes": body(wrong),
        "longer": body(data + b"x"),
        "shorter": body(data[:-1]),
        "cut": raw(length(size) + data[:-1]),
        "endless, no length": endless(OK + b"\r\n", bytes(1000), MUCH),
        "endless, in chunks": endless(CHUNKED, b"3e8\r\n" + bytes(1000) + b"\r\n", MUCH),
        "endless, of a huge length": endless(length(1 << 62), bytes(1000), MUCH),
        "endless head": endless(OK, b"X-A: " + b"b" * 1000 + b"\r\n", MUCH),
        "endless line": endless(OK + b"X-A: ", b"b" * 1000, MUCH),
        "endless status": endless(b"HTTP/1.1 200 ", b"b" * 1000, MUCH),
        "endless chunk size": endless(CHUNKED, b"0" * 1000, MUCH),
        "endless trailers": endless(CHUNKED + b"1\r\nx\r\n0\r\n", b"T: x\r\n", MUCH),
        "huge chunk": endless(CHUNKED + b"FFFFFFFFFFFFFFF\r\n", bytes(1000), MUCH),
        "overlong chunk size": raw(CHUNKED + b"F" * 17 + b"\r\n" + data),
        "chunk size of letters": raw(CHUNKED + b"zz\r\n" + data),
        "two lengths": raw(length(size, size + 1) + data),
        "negative length": raw(length(-1) + data),
        "length in words": raw(length("many") + data),
        "length of 30 digits": raw(length("9" * 30) + data),
        "a gzip bomb": body(gzipped(MUCH), "Content-Encoding: gzip"),
        "a gzip of it": body(gzip.compress(data), "Content-Encoding: gzip"),
        "zstd": body(b"\x28\xb5\x2f\xfd" + bytes(1000), "Content-Encoding: zstd"),
        "unasked part": body(data, f"Content-Range: bytes 0-{size - 1}/{size}", status=206),
        "part of another": body(wrong, "Content-Range: bytes 5-9/10", status=206),
        "nonsense part": body(wrong, "Content-Range: bytes \u00e9-0/-1", status=206),
        "no version": raw(b"200\r\n\r\n" + data),
        "HTTP/9": raw(b"HTTP/9.9 200 OK\r\n\r\n" + data),
        "status 999": body(data, status=999),
        "status 000": raw(b"HTTP/1.1 000 No\r\n\r\n" + data),
        "no content": body(data, status=204),
        "switching": raw(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n" + data),
        "controls in a head": raw(OK + b"X-\x00: \x1b[2J\r\n\r\n" + data),
        "TLS": raw(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(600)),
        "nothing": raw(b""),
    }  # fmt: skip


def test_single_files_whose_answers_lie(stage: Make) -> None:
    """Each session's first file is served in another odd way: what proves true is taken, and nothing else."""
    at = stage(few(len(served(b"")) + len(refused(b"")), files=2))
    at.evil.lie(NO_ZIP, body(b"", status=404))
    lost = []
    for number, resource in enumerate(resources(at.here.site)):
        content = resource.entries[0].content
        assert content is not None
        data = content.read()
        ways = {**served(data), **refused(data)}
        way = list(ways)[number]
        at.evil.lie(FILE.format(resource.id), ways[way])
        if way in refused(data):
            lost.append(number)
    ended = at.attack(name="files: 41 odd answers")
    assert ended.code == 3, ended
    # A series that lacks a file is not shown in part; what came of it waits in staging.
    assert at.here.tree() == at.hold_back(*lost)
    failed = [line for line in ended.err.splitlines() if line.startswith("failed: ")]
    assert len(failed) == len(lost)
    assert max(map(len, failed)) < 500, max(failed, key=len)
    at.evil.lies.clear()
    assert at.attack(name="the same, honest again").code == 0
    assert at.here.tree() == truth(at.here.site)


BAD = {
    "endless": endless(OK + b"Content-Type: application/json\r\n\r\n", b" " * 1000, MUCH),
    "endless head": endless(OK, b"Set-Cookie: a=b\r\n", MUCH),
    "gzip bomb": body(gzipped(MUCH), "Content-Encoding: gzip"),
    "nothing": raw(b""),
    "no HTTP": raw(b"\x1b]0;owned\x07\r\n\r\n"),
    "a page": body(b"<html><title>\x1b[2J\xe2\x80\xaeevil\xc2\x9b2J</title>", kind="text/html"),
    "refused in colour": body(b"\x1b[31mno", status=403),
}


@pytest.mark.parametrize(
    ("way", "place"),
    some(
        product(BAD, ["login", "auth", "experiments"]),
        ("endless", "login"), ("endless", "experiments"), ("gzip bomb", "login"), ("gzip bomb", "experiments"),
        ("endless head", "auth"), ("no HTTP", "login"), ("a page", "login"), ("refused in colour", "auth"),
    ),
)  # fmt: skip
def test_what_must_be_had_and_is_not(at: Scene, way: str, place: str) -> None:
    """Without a login or the list of experiments nothing is done, and that is said in a line."""
    target, method = PLACES[place]
    at.evil.lie(target, BAD[way], method)
    most = 130 * MIB + (3 * MUCH if (way, place) == ("endless", "experiments") else 0)
    ended = at.attack(name=f"{place}: {way}", most=most)
    assert ended.code in (5, 6, 7), ended
    assert 1 <= len(ended.err.splitlines()) <= 2, ended
    assert max(map(len, ended.err.splitlines())) < 500, ended
    assert at.here.tree() == {}


FLOODS = {
    "100 Continue for ever": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "a chunk extension for ever": (CHUNKED + b"1;", b"a" * 1000),
}


@pytest.mark.parametrize(
    ("flood", "place"),
    some(
        product(FLOODS, ["login", "experiments", "zip", "file"]),
        *zip(cycle(FLOODS), ["login", "experiments", "file", "zip"], strict=False),
    ),
)
def test_a_flood_without_a_byte_of_the_answer_is_silence(at: Scene, flood: str, place: str) -> None:
    """What is not the answer does not count as one: the limit of silence ends it."""
    head, piece = FLOODS[flood]
    if place == "file":
        at.evil.lie(NO_ZIP, body(b"", status=404))
    lie = at.evil.lie(PLACES[place][0], drip(head, piece, 0.05), PLACES[place][1])
    ended = at.attack(*at.mirroring("--idle-timeout", "1s"), name=f"{place}: {flood}", timeout=15)
    assert ended.code == {"login": 7, "experiments": 7, "zip": 0, "file": 3}[place], ended
    assert lie.met


@pytest.mark.parametrize("place", some(PLACES, "login", "experiments", "zip"))
def test_a_drip_ends_with_the_window(at: Scene, place: str) -> None:
    """One byte every now and then is not silence. What bounds it is the window that the user gives the run."""
    if place == "file":
        at.evil.lie(NO_ZIP, body(b"", status=404))
    head = OK + b"Content-Type: application/json\r\n\r\n"
    if place == "zip":
        head += local(M("E/resources/DICOM/files/unlisted", local={"size": MIB, "csize": MIB}))
    at.evil.lie(PLACES[place][0], drip(head, b" ", 0.05), PLACES[place][1])
    ended = at.attack(*at.mirroring("--max-duration", "1s"), name=f"{place}: a drip", timeout=30)
    assert ended.code == 10, ended


@pytest.mark.parametrize("size", [20, 3000])
def test_cookies_without_number(at: Scene, size: int) -> None:
    """No answer can crowd out the session, nor grow what we send; other sites' cookies are not kept."""

    def cookies(number: int) -> bytes:
        mine = b"".join(b"Set-Cookie: c%d-%d=%s; Path=/\r\n" % (number, each, b"v" * size) for each in range(50))
        return mine + (
            b"Set-Cookie: a=foreign; Domain=example.org\r\nSet-Cookie: b=foreign; Path=/elsewhere\r\n"
            b"Set-Cookie: c=foreign; Secure; Domain=.com\r\nSet-Cookie: JSESSIONID=foreign; Path=/data\r\n"
            b"Set-Cookie: \x1b[2J=foreign\r\nSet-Cookie: =foreign\r\nSet-Cookie: d=foreign; Domain=localhost\r\n"
        )

    numbers = iter(range(10**6))
    true = at.evil.pass_on

    async def pass_on(client: Client) -> None:
        at.evil.extra = cookies(next(numbers)) if "/data/JSESSION" in client.target else b""
        await true(client)

    at.evil.pass_on = pass_on  # type: ignore[method-assign]
    ended = at.attack(name="cookies without number")
    assert ended.code == 0, ended
    assert at.here.tree() == truth(at.here.site)
    assert max(map(len, at.evil.seen)) < 16384
    assert not [head for head in at.evil.seen if b"foreign" in head]
