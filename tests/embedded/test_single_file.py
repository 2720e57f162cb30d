"""Single files: headers, ranges and conditions, row by row of the table in §4 (§8 row 18)."""

from __future__ import annotations

import io
import re
import zipfile
from email.utils import formatdate, parsedate_to_datetime
from pathlib import Path

import pytest

from embedded.probe import Probe, read_all, split
from xnat_embedded import Resource, Server, Site

S = 100_000
DATA = bytes(index * 7 % 251 for index in range(S))


@pytest.fixture
def site(bare: Site) -> Site:
    project = bare.add_project("P1", members=("demo",))
    project.add_subject("S1").add_session("S1_MR1").add_resource("RAW", [("sub/f.bin", DATA)])
    return bare


@pytest.fixture
def resource(site: Site) -> Resource:
    return next(site.experiments()).resources[0]


@pytest.fixture
def path(resource: Resource) -> str:
    return f"/data/experiments/XNAT_E00001/resources/{resource.id}/files/sub/f.bin"


def test_whole(demo: Probe, path: str) -> None:
    reply = demo.ask(path)
    assert (reply.status, reply.body) == (200, DATA)
    assert reply.header("Content-Length") == str(S)
    assert reply.header("Content-Type") == "application/octet-stream"
    assert reply.header("Accept-Ranges") == "bytes"
    assert reply.header("Cache-Control") == "must-revalidate"
    assert (reply.header("Content-Disposition") or "").startswith("attachment")
    assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} [\d:]{8} GMT", reply.header("Last-Modified") or "")
    assert reply.header("ETag") is None
    assert reply.header("Content-Encoding") is None


def test_head(demo: Probe, path: str) -> None:
    whole, head = demo.ask(path), demo.ask(path, "HEAD")
    assert (head.status, head.body) == (200, b"")
    names = {"Content-Length", "Last-Modified", "Content-Type", "Accept-Ranges", "Content-Disposition"}
    assert all(head.header(name) == whole.header(name) for name in names)


@pytest.mark.parametrize(
    ("spec", "content_range", "start", "stop"),
    [
        ("bytes=0-99", "bytes 0-99/100000", 0, 100),
        ("bytes=50000-", "bytes 50000-99999/100000", 50_000, S),
        ("bytes=99999-99999", "bytes 99999-99999/100000", 99_999, S),
        ("bytes=-100", "bytes 99900-99999/100000", 99_900, S),
        ("bytes=100000-", "bytes 100000-99999/100000", S, S),
    ],
)
def test_ranges(demo: Probe, path: str, spec: str, content_range: str, start: int, stop: int) -> None:
    reply = demo.ask(path, headers={"Range": spec})
    assert (reply.status, reply.header("Content-Range")) == (206, content_range)
    assert reply.header("Content-Length") == str(stop - start)
    assert reply.body == DATA[start:stop]


def test_start_beyond_the_end_is_206_chunked_and_empty(demo: Probe, path: str) -> None:
    head, body = split(demo.raw(path, "Range: bytes=100001-"))
    assert head.startswith("HTTP/1.1 206 ")
    assert "Content-Range: bytes 100001-99999/100000" in head
    assert "Transfer-Encoding: chunked" in head
    assert body == b"0\r\n\r\n"


@pytest.mark.parametrize(
    ("spec", "content_range", "declared", "start"),
    [
        ("bytes=99990-100005", "bytes 99990-100005/100000", 16, 99_990),
        ("bytes=0-100000", "bytes 0-100000/100000", S + 1, 0),
        ("bytes=-100010", "bytes 0-100009/100000", S + 10, 0),
    ],
)
def test_over_long_ranges_hang(
    demo: Probe, server: Server, path: str, spec: str, content_range: str, declared: int, start: int
) -> None:
    with demo.connect() as line:
        line.sendall(demo.request(path, f"Range: {spec}"))
        got = b""
        while not got.endswith(DATA[-10:]):
            got += line.recv(1 << 20)
        head, body = split(got)
        assert f"Content-Range: {content_range}" in head
        assert f"Content-Length: {declared}" in head
        assert body == DATA[start:]
        line.settimeout(0.1)
        with pytest.raises(TimeoutError):
            line.recv(1)
        assert server.counts.live["file"] == 1


def test_over_long_range_without_the_hang(demo: Probe, site: Site, path: str) -> None:
    site.hang_on_overlong_range = False
    _, body = split(demo.raw(path, "Range: bytes=99990-100005"))
    assert body == DATA[-10:]


@pytest.mark.parametrize(
    ("spec", "content_range"), [("bytes=abc", "bytes 0--1/100000"), ("bytes=5-2", "bytes 5-2/100000")]
)
def test_malformed_and_reversed_ranges_are_206_without_a_body(
    demo: Probe, path: str, spec: str, content_range: str
) -> None:
    reply = demo.ask(path, headers={"Range": spec})
    assert (reply.status, reply.header("Content-Range"), reply.body) == (206, content_range, b"")


def test_several_ranges_are_501(demo: Probe, path: str) -> None:
    reply = demo.ask(path, headers={"Range": "bytes=0-1,5-6"})
    assert (reply.status, reply.header("Connection")) == (501, "close")
    assert "<title>Status page</title>" in reply.text


def test_if_range_and_if_none_match_are_ignored(demo: Probe, path: str) -> None:
    for value in ('"etag"', formatdate(0, usegmt=True)):
        assert demo.ask(path, headers={"Range": "bytes=0-9", "If-Range": value}).status == 206
    assert demo.ask(path, headers={"If-None-Match": "*"}).status == 200


def test_conditions(demo: Probe, path: str, resource: Resource) -> None:
    modified = demo.ask(path).header("Last-Modified") or ""
    same = demo.ask(path, headers={"If-Modified-Since": modified})
    assert (same.status, same.body) == (304, b"")
    resume = {"Range": "bytes=500-", "If-Unmodified-Since": modified}
    assert demo.ask(path, headers=resume).status == 206
    resource.replace_file("sub/f.bin", DATA[::-1])
    changed = demo.ask(path, headers=resume)
    assert changed.status == 412
    assert "<title>Status page</title>" in changed.text
    assert demo.ask(path, headers={"If-Modified-Since": modified}).body == DATA[::-1]
    later = parsedate_to_datetime(demo.ask(path).header("Last-Modified") or "")
    assert later > parsedate_to_datetime(modified)


def test_missing_is_tomcats_404(demo: Probe, path: str, resource: Resource) -> None:
    unknown = demo.ask(path + ".not")
    assert unknown.status == 404
    assert "HTTP Status 404" in unknown.text
    resource.lose_file("sub/f.bin")
    lost = demo.ask(path)
    assert (lost.status, "HTTP Status 404" in lost.text) == (404, True)
    assert demo.ask(path + ".not?accept-not-found=true").status == 204


def test_unknown_name_is_500_where_entries_have_no_id(demo: Probe, path: str, resource: Resource) -> None:
    resource.add_file("old.bin", b"x", has_id=False)
    assert demo.ask(path + ".not").status == 500
    assert demo.ask(path).status == 200


def test_content_types(demo: Probe, path: str, resource: Resource) -> None:
    for name, kind in (("a.txt", "text/plain"), ("a.GIF", "image/gif"), ("a.pdf", "application/pdf")):
        resource.add_file(name, b"x")
        assert demo.ask(path.replace("sub/f.bin", name)).header("Content-Type") == kind
    resource.add_file("a.nii.gz", b"\x1f\x8bx")
    packed = demo.ask(path.replace("sub/f.bin", "a.nii.gz"))
    assert (packed.header("Content-Type"), packed.header("Content-Encoding")) == ("application/octet-stream", None)
    assert packed.body == b"\x1f\x8bx"


def test_members_of_stored_archives(demo: Probe, path: str, resource: Resource) -> None:
    stored = io.BytesIO()
    with zipfile.ZipFile(stored, "w") as archive:
        archive.writestr("in/side.txt", "inner")
    resource.add_file("a.zip", stored.getvalue())
    base = path.replace("sub/f.bin", "")
    assert demo.ask(base + "a.zip").body == stored.getvalue()
    assert demo.ask(base + "a.zip/in/side.txt").body == b"inner"
    assert demo.ask(base + "a.zip!in/side.txt").body == b"inner"
    assert demo.ask(base + "a.zip/nothing").status == 404
    resource.add_file("folder.zip/x.txt", b"x")  # A folder of such a name cannot be reached.
    assert demo.ask(base + "folder.zip/x.txt").status == 404


def test_conversions_nobody_wants(demo: Probe, site: Site) -> None:
    images = next(site.experiments()).add_resource("DICOM", [("1.dcm", b"dicom")], format="DICOM")
    path = f"/data/experiments/XNAT_E00001/resources/{images.id}/files/1.dcm"
    assert demo.ask(path, headers={"Accept": "image/jpeg, */*"}).body.startswith(b"\xff\xd8")
    assert demo.ask(path, headers={"Accept": "*/*"}).body == b"dicom"
    assert demo.ask(path + "?format=zip").names() == ["S1_MR1/resources/DICOM/files/1.dcm"]


def test_unknown_number_is_403_and_label_404(demo: Probe) -> None:
    assert demo.ask("/data/experiments/XNAT_E00001/resources/999/files/x").status == 403
    assert demo.ask("/data/experiments/XNAT_E00001/resources/NOPE/files/x").status == 404
    assert demo.ask("/data/experiments/NOPE/resources/1/files/x").status == 500


def test_files_are_found_without_naming_the_resource(demo: Probe) -> None:
    assert demo.ask("/data/experiments/XNAT_E00001/files/sub/f.bin").body == DATA


def test_a_read_error_midway_closes_short_of_the_length(demo: Probe, site: Site, tmp_path: Path) -> None:
    disk = tmp_path / "f.bin"
    disk.write_bytes(bytes(30_000_000))
    resource = next(site.experiments()).add_resource("DISK", [("f.bin", disk)])
    path = f"/data/experiments/XNAT_E00001/resources/{resource.id}/files/f.bin"
    with demo.connect() as line:
        line.sendall(demo.request(path))
        first = line.recv(1000)
        disk.write_bytes(b"short")
        got = len(first) + len(read_all(line))
    assert 1000 < got < 30_000_000
    assert demo.server.failures == []
