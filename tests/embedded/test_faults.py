"""Each effect of a fault, as a client sees it (end of §8)."""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
import time
import zipfile
import zlib

import pytest

from embedded.probe import Probe, Reply, chunks, read_until, split
from xnat_embedded import (
    EVERY,
    CleanEnd,
    CorruptMember,
    Delay,
    DropMember,
    EmptyBody,
    EndAfterMember,
    EofDelimited,
    Experiment,
    ExpireDuring,
    Fault,
    KillSession,
    LoginPage,
    Reset,
    Server,
    ShortList,
    Site,
    Slow,
    Stall,
    Status,
    TruncateMember,
    WrongBody,
)

ZIP = "/data/experiments/XNAT_E00001/scans/4/resources/DICOM/files?format=zip"


@pytest.fixture
def session(site: Site) -> Experiment:
    return next(site.experiments())


@pytest.fixture
def file_path(session: Experiment) -> str:
    resource = session.scan("4").resource("DICOM")
    return f"/data/experiments/{session.id}/scans/4/resources/{resource.id}/files/{resource.entries[0].path}"


def read_into(line: socket.socket, got: bytearray) -> None:
    """Read to the end of the connection, keeping what came before an error."""
    while data := line.recv(65536):
        got += data


def wait_until_idle(server: Server) -> None:
    """Wait until the server has noticed that its clients left."""
    deadline = time.monotonic() + 10
    while server.counts.live:
        assert time.monotonic() < deadline


def members(reply: Reply) -> list[zipfile.ZipInfo]:
    return reply.zip().infolist()


# --- which requests --------------------------------------------------------------------------------------


def test_kind_path_nth_and_count(demo: Probe, server: Server) -> None:
    fault = server.faults.add(Fault(Status(503), kind="experiments", path="/PTV000/", nth=2, count=2))
    demo.ask("/data/projects/PTV000/subjects")
    demo.ask("/data/experiments")
    answers = [demo.ask("/data/projects/PTV000/experiments").status for _ in range(5)]
    assert answers == [200, 503, 503, 200, 200]
    assert server.faults.fired(fault) == 2


def test_every_pattern_and_clear(demo: Probe, server: Server) -> None:
    server.faults.add(Fault(Status(502), path=re.compile(r"pulse log\.txt$"), count=EVERY))
    path = "/data/experiments/XNAT_E00001/resources/NOTES/files/physio/2020%2009/pulse%20log.txt"
    assert [demo.ask(path).status for _ in range(3)] == [502] * 3
    server.faults.clear()
    assert demo.ask(path).status == 200


# --- instead of the answer -------------------------------------------------------------------------------


def test_status_is_the_proxys(demo: Probe, server: Server) -> None:
    server.faults.add(Fault(Status(429, retry_after=7), kind="zip"))
    server.faults.add(Fault(Status(504, html=False), kind="file"))
    reply = demo.ask(ZIP)
    assert (reply.status, reply.header("Retry-After"), reply.header("Server")) == (429, "7", "nginx")
    assert (reply.header("Content-Type") or "").startswith("text/html")
    assert reply.cookie("SESSION_EXPIRATION_TIME") is None
    empty = demo.ask("/data/experiments/XNAT_E00001/resources/NOTES/files/protocol.txt")
    assert (empty.status, empty.body) == (504, b"")


def test_login_page_with_200(demo: Probe, server: Server) -> None:
    server.faults.add(Fault(LoginPage(), kind="zip"))
    reply = demo.ask(ZIP)
    assert reply.status == 200
    assert (reply.header("Content-Type") or "").startswith("text/html")
    assert reply.text.startswith("<!DOCTYPE html>")


def test_empty_body(demo: Probe, server: Server) -> None:
    server.faults.add(Fault(EmptyBody(), kind="files"))
    reply = demo.ask("/data/experiments/XNAT_E00001/files?all=true")
    assert (reply.status, reply.body, reply.header("Content-Length")) == (200, b"", "0")


def test_delay(demo: Probe, server: Server) -> None:
    server.faults.add(Fault(Delay(0.15), kind="auth"))
    start = time.monotonic()
    assert demo.ask("/data/auth").status == 200
    assert time.monotonic() - start >= 0.15


def test_killed_session_is_a_401_with_a_poisoned_cookie(demo: Probe, server: Server) -> None:
    server.faults.add(Fault(KillSession(), kind="zip"))
    reply = demo.ask(ZIP)
    assert reply.status == 401
    assert reply.session not in (None, demo.session)
    assert demo.ask("/data/auth").status == 401
    assert server.sessions == {}


def test_killed_session_runs_as_guest_on_an_open_site(demo: Probe, server: Server, site: Site) -> None:
    site.require_login = False
    server.faults.add(Fault(KillSession(), kind="files"))
    assert demo.ask("/data/experiments/XNAT_E00001/files?all=true").status == 500


def test_session_that_expires_during_its_answer(demo: Probe, server: Server) -> None:
    server.faults.add(Fault(ExpireDuring(), kind="zip"))
    assert demo.ask(ZIP).zip().testzip() is None
    assert demo.ask("/data/auth").status == 401


# --- lists -----------------------------------------------------------------------------------------------


def test_short_list(demo: Probe, server: Server) -> None:
    server.faults.add(Fault(ShortList(2), kind="files"))
    path = "/data/experiments/XNAT_E00001/scans/4/resources/DICOM/files"
    assert [len(demo.rows(path)) for _ in range(2)] == [4, 6]
    server.faults.add(Fault(ShortList(1), kind="projects"))
    table = demo.ask("/data/projects").json()["ResultSet"]
    assert (table["Result"], table["totalRecords"]) == ([], "0")


# --- in the zip ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compression", ["0", "8"])
def test_drop_member(demo: Probe, server: Server, session: Experiment, compression: str) -> None:
    entries = session.scan("4").resource("DICOM").entries
    server.faults.add(Fault(DropMember(entries[3].path), kind="zip"))
    reply = demo.ask(f"{ZIP}&compression={compression}")
    assert reply.zip().testzip() is None
    assert len(members(reply)) == 5
    assert not any(name.endswith(entries[3].path) for name in reply.names())


@pytest.mark.parametrize("compression", ["0", "8"])
def test_truncated_member_passes_every_check_of_the_zip(demo: Probe, server: Server, compression: str) -> None:
    server.faults.add(Fault(TruncateMember(2, at=1000), kind="zip"))
    reply = demo.ask(f"{ZIP}&compression={compression}")
    assert reply.zip().testzip() is None
    sizes = [info.file_size for info in members(reply)]
    assert sizes[2] == 1000
    assert len(sizes) == 6


def test_end_after_member_is_a_valid_short_zip(demo: Probe, server: Server) -> None:
    server.faults.add(Fault(EndAfterMember(4), kind="zip"))
    reply = demo.ask(ZIP)
    assert reply.zip().testzip() is None
    assert len(members(reply)) == 4


@pytest.mark.parametrize("compression", ["0", "8"])
def test_corrupt_member_fails_its_crc(demo: Probe, server: Server, session: Experiment, compression: str) -> None:
    server.faults.add(Fault(CorruptMember(1), kind="zip"))
    archive = demo.ask(f"{ZIP}&compression={compression}").zip()
    second = archive.infolist()[1]
    content = session.scan("4").resource("DICOM").entries[1].content
    assert content is not None
    if compression == "0":
        assert archive.testzip() == second.filename
        assert content.crc32() == second.CRC
    else:
        assert archive.read(second) != content.read()


def test_a_member_that_is_not_there_is_left_in_peace(demo: Probe, server: Server) -> None:
    for effect in (DropMember(99), TruncateMember("nothing", at=1), CorruptMember(99)):
        server.faults.add(Fault(effect, kind="zip"))
    assert len(members(demo.ask(ZIP))) == 6


def test_wrong_member_has_a_crc_of_its_own(demo: Probe, server: Server, session: Experiment) -> None:
    server.faults.add(Fault(WrongBody(), kind="zip"))
    archive = demo.ask(ZIP).zip()
    assert archive.testzip() is None
    assert archive.read(archive.namelist()[0]) == archive.read(archive.namelist()[1])


# --- in a file -------------------------------------------------------------------------------------------


def test_file_bodies(demo: Probe, server: Server, session: Experiment, file_path: str) -> None:
    good = demo.ask(file_path).body
    server.faults.add(Fault(WrongBody(), kind="file"))
    other = demo.ask(file_path).body
    assert len(other) == len(good)
    assert other != good
    server.faults.add(Fault(WrongBody(b"custom"), kind="file"))
    assert demo.ask(file_path).body == b"custom"
    server.faults.add(Fault(CorruptMember(at=5), kind="file"))
    bad = demo.ask(file_path).body
    assert [at for at in range(len(good)) if bad[at] != good[at]] == [5]
    server.faults.add(Fault(TruncateMember(at=10), kind="file"))
    assert demo.ask(file_path).body == good[:10]
    assert demo.ask(file_path).body == good


# --- on the wire -----------------------------------------------------------------------------------------


def test_reset_before_anything(demo: Probe, server: Server) -> None:
    server.faults.add(Fault(Reset(), kind="zip"))
    with pytest.raises(ConnectionError):
        demo.ask(ZIP)
    assert server.log[-1].aborted
    assert server.log[-1].body_bytes == 0


def test_reset_after_some_bytes(demo: Probe, server: Server) -> None:
    server.faults.add(Fault(Reset(after_bytes=20_000), kind="zip"))
    with demo.connect() as line:
        line.sendall(demo.request(ZIP))
        got = bytearray()
        with pytest.raises(ConnectionResetError):
            read_into(line, got)
    _, body = split(bytes(got))
    payload, at = b"", 0
    while at < len(body):
        end = body.index(b"\r\n", at)
        size = int(body[at:end], 16)
        payload += body[end + 2 : end + 2 + size]
        at = end + 4 + size
    assert len(payload) == 20_000
    assert server.log[-1].body_bytes == 20_000


def test_reset_of_a_file(demo: Probe, server: Server, file_path: str) -> None:
    server.faults.add(Fault(Reset(after_bytes=5000), kind="file"))
    with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
        demo.ask(file_path)
    assert server.log[-1].body_bytes == 5000


def test_clean_end_looks_complete(demo: Probe, server: Server) -> None:
    whole = demo.ask(ZIP).body
    server.faults.add(Fault(CleanEnd(after_bytes=15_000), kind="zip"))
    reply = demo.ask(ZIP)
    assert reply.body == whole[:15_000]
    with pytest.raises(zipfile.BadZipFile):
        reply.zip()
    server.faults.add(Fault(CleanEnd(after_bytes=0), kind="zip"))
    assert demo.ask(ZIP).body == b""


def test_clean_end_of_a_file_falls_short_of_its_length(demo: Probe, server: Server, file_path: str) -> None:
    server.faults.add(Fault(CleanEnd(after_bytes=100), kind="file"))
    with pytest.raises(http.client.IncompleteRead):
        demo.ask(file_path)


def test_connection_goes_on_after_a_clean_end(demo: Probe, server: Server) -> None:
    server.faults.add(Fault(CleanEnd(after_bytes=100), kind="zip"))
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    headers = {"Cookie": f"JSESSIONID={demo.session}"}
    try:
        connection.request("GET", ZIP, headers=headers)
        assert len(connection.getresponse().read()) == 100
        connection.request("GET", "/data/auth", headers=headers)
        assert connection.getresponse().read() == b"User 'demo' is logged in"
    finally:
        connection.close()


def test_stall_lasts_until_the_client_leaves(demo: Probe, server: Server) -> None:
    server.faults.add(Fault(Stall(after_bytes=10_000), kind="zip"))
    with demo.connect() as line:
        line.sendall(demo.request(ZIP))
        read_until(line, 10_000)
        line.settimeout(0.1)
        with pytest.raises(TimeoutError):
            read_into(line, bytearray())
        assert server.counts.live == {"all": 1, "zip": 1}
        assert server.log[-1].finished is None
    wait_until_idle(server)
    assert server.log[-1].aborted


def test_stall_ends_when_the_server_stops(demo: Probe, server: Server) -> None:
    server.faults.add(Fault(Stall(), kind="zip"))
    with demo.connect() as line:
        line.sendall(demo.request(ZIP))
        read_until(line, 10)
        server.stop()
        line.settimeout(5)
        with contextlib.suppress(ConnectionResetError):
            read_into(line, bytearray())


def test_slow(demo: Probe, server: Server) -> None:
    size = len(demo.ask(ZIP).body)
    server.faults.add(Fault(Slow(rate=size / 0.3), kind="zip"))
    start = time.monotonic()
    assert demo.ask(ZIP).zip().testzip() is None
    assert 0.15 < time.monotonic() - start < 3


def test_slow_lists_too(demo: Probe, server: Server) -> None:
    server.faults.add(Fault(Slow(rate=20_000), kind="files"))
    start = time.monotonic()
    body = demo.ask("/data/experiments/XNAT_E00001/files?all=true").body
    assert time.monotonic() - start > len(body) / 20_000 - 0.15


def test_eof_delimited(demo: Probe, server: Server) -> None:
    whole = demo.ask(ZIP).body
    server.faults.add(Fault(EofDelimited(), kind="zip", count=EVERY))
    head, body = split(demo.raw(ZIP))
    assert head.startswith("HTTP/1.0 200")
    assert "chunked" not in head
    assert "Content-Length" not in head
    assert body == whole
    server.faults.add(Fault(CleanEnd(after_bytes=5000), kind="zip"))
    _, cut = split(demo.raw(ZIP))
    assert cut == whole[:5000]


def test_chunked_stream_of_a_stall_has_sent_whole_chunks(demo: Probe, server: Server) -> None:
    server.faults.add(Fault(CleanEnd(after_bytes=12_345), kind="zip"))
    _, body = split(demo.raw(ZIP))
    assert len(b"".join(chunks(body))) == 12_345


def test_client_that_leaves_midway_is_logged_as_aborted(demo: Probe, server: Server, session: Experiment) -> None:
    session.add_resource("BIG", [("big.bin", bytes(20_000_000))])
    with demo.connect() as line:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        line.sendall(demo.request(f"/data/experiments/{session.id}/resources/BIG/files?format=zip"))
        read_until(line, 1000)
    wait_until_idle(server)
    assert server.log[-1].aborted


def test_faults_combine(demo: Probe, server: Server) -> None:
    server.faults.add(Fault(DropMember(0), kind="zip"))
    server.faults.add(Fault(TruncateMember(0, at=10), kind="zip"))
    archive = demo.ask(ZIP).zip()
    first = archive.infolist()[0]
    assert (first.file_size, first.CRC) == (10, zlib.crc32(archive.read(first)))
    assert len(archive.infolist()) == 5
