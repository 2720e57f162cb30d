"""Zips and tars as the server streams them (§3; §8 rows 16 and 17)."""

from __future__ import annotations

import io
import shutil
import struct
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from embedded.probe import Probe, chunks, split
from xnat_embedded import Experiment, Server, Site

P = "/data/projects/PTV000"
FULL = f"{P}/subjects/Haofei01/experiments/Haofei01_MR1"


@pytest.fixture
def session(site: Site) -> Experiment:
    return next(site.experiments())


@pytest.fixture
def built(bare: Site) -> Experiment:
    """One scan whose names try every rewriting."""
    project = bare.add_project("P1", members=("demo",))
    session = project.add_subject("S1").add_session("S1_MR1")
    scan = session.add_scan("4", "t1 mprage")
    scan.add_resource("DICOM", [("sub/x.dcm", b"x" * 9000), (f"{session.id}.dcm", b"id"), ("a/4/y.dcm", b"y")])
    session.add_resource("NOTES", [("a.txt", b"note")])
    session.add_resource("", [("b.txt", b"no label")])
    return session


def test_headers_and_framing(demo: Probe, session: Experiment) -> None:
    head, body = split(demo.raw(f"/data/experiments/{session.id}/scans/4/files?format=zip"))
    lines = head.split("\r\n")
    assert lines[0] == "HTTP/1.1 200 "
    assert "Content-Type: application/zip" in lines
    assert 'Content-Disposition: attachment; filename="Haofei01_MR1.zip";' in lines
    assert "Transfer-Encoding: chunked" in lines
    assert "Accept-Ranges: bytes" in lines
    assert "Vary: Accept-Charset, Accept-Encoding, Accept-Language, Accept" in lines
    assert "Server: Noelios-Restlet-Engine/1.1.10" in lines
    assert not any(line.lower().startswith(("content-length", "etag", "last-modified")) for line in lines)
    assert b"".join(chunks(body)).startswith(b"PK\x03\x04")


def test_only_a_zip_within_tomcats_buffer_has_a_length(demo: Probe, session: Experiment) -> None:
    small = demo.ask(f"/data/experiments/{session.id}/resources/NOTES/files?format=zip")
    assert small.header("Content-Length") == str(len(small.body))
    assert small.header("Transfer-Encoding") is None
    notes = session.resource("NOTES")
    notes.add_file("more.bin", b"m" * (8192 - len(small.body) - 300))
    fits = demo.ask(f"/data/experiments/{session.id}/resources/NOTES/files?format=zip")
    assert len(fits.body) <= 8192
    assert fits.header("Content-Length")
    notes.add_file("most.bin", b"m" * 400)
    more = demo.ask(f"/data/experiments/{session.id}/resources/NOTES/files?format=zip")
    assert len(more.body) > 8192
    assert more.header("Content-Length") is None


def test_tomcat_chunks_are_of_8_kib(demo: Probe, site: Site, session: Experiment) -> None:
    site.tomcat_chunks = True
    _, body = split(demo.raw(f"/data/experiments/{session.id}/scans/4/files?format=zip"))
    sizes = [len(chunk) for chunk in chunks(body)]
    assert max(sizes) == 8192
    assert len(sizes) > 3


def test_contents_are_the_files(demo: Probe, session: Experiment) -> None:
    archive = demo.zip(f"/data/experiments/{session.id}/scans/4/resources/DICOM/files")
    assert archive.testzip() is None
    resource = session.scan("4").resource("DICOM")
    start = "Haofei01_MR1/scans/4-t1_mprage/resources/DICOM/files/"
    assert set(archive.namelist()) == {start + entry.path for entry in resource.entries}
    for entry in resource.entries:
        assert entry.content is not None
        assert archive.read(start + entry.path) == entry.content.read()


@pytest.mark.skipif(shutil.which("unzip") is None, reason="unzip is not installed")
@pytest.mark.parametrize("compression", ["0", "8"])
def test_unzip_accepts_them(demo: Probe, session: Experiment, tmp_path: Path, compression: str) -> None:
    reply = demo.ask(f"/data/experiments/{session.id}/files?all=true&format=zip&compression={compression}")
    path = tmp_path / "a.zip"
    path.write_bytes(reply.body)
    found = subprocess.run(["unzip", "-t", str(path)], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout
    assert "No errors detected" in found.stdout


def test_stored_local_headers(demo: Probe, session: Experiment) -> None:
    body = demo.ask(f"/data/experiments/{session.id}/scans/4/resources/DICOM/files?format=zip").body
    version, flags, method, _, _, crc, packed, size, name, extra = struct.unpack_from("<5H3I2H", body, 4)
    assert (version, flags, method, extra) == (10, 0x0800, 0, 0)
    info = demo.zip(f"/data/experiments/{session.id}/scans/4/resources/DICOM/files").infolist()[0]
    assert (crc, packed, size) == (info.CRC, info.file_size, info.file_size)
    assert len(info.filename.encode()) == name


def test_deflated_members_have_a_descriptor(demo: Probe, session: Experiment) -> None:
    reply = demo.ask(f"/data/experiments/{session.id}/scans/4/resources/DICOM/files?format=zip&compression=8")
    version, flags, method, _, _, crc, packed, size, _, _ = struct.unpack_from("<5H3I2H", reply.body, 4)
    assert (version, flags, method, crc, packed, size) == (20, 0x0808, 8, 0, 0, 0)
    info = reply.zip().infolist()[0]
    end = 30 + len(info.filename.encode()) + info.compress_size
    descriptor = struct.unpack_from("<4s3I", reply.body, end)
    assert descriptor == (b"PK\x07\x08", info.CRC, info.compress_size, info.file_size)
    assert reply.zip().testzip() is None


@pytest.mark.parametrize("compression", ["1", "5", "9", "-1"])
def test_any_other_integer_is_a_valid_empty_zip(demo: Probe, session: Experiment, compression: str) -> None:
    reply = demo.ask(f"/data/experiments/{session.id}/scans/4/files?format=zip&compression={compression}")
    assert reply.status == 200
    assert len(reply.body) == 22
    assert reply.names() == []


def test_compression_that_is_no_integer_is_an_error(demo: Probe, session: Experiment) -> None:
    reply = demo.ask(f"/data/experiments/{session.id}/scans/4/files?format=zip&compression=best")
    assert reply.status >= 400


def test_site_default_of_compression(demo: Probe, site: Site, session: Experiment) -> None:
    site.compression = 8
    assert demo.zip(f"/data/experiments/{session.id}/scans/4/files").infolist()[0].compress_type == 8


# --- names -----------------------------------------------------------------------------------------------


def built_probe(server: Server) -> Probe:
    probe = Probe(server)
    probe.log_in()
    return probe


def test_structures(bare: Site, built: Experiment) -> None:
    e = built.id
    with Server(bare) as server:
        probe = built_probe(server)

        def names(path: str) -> list[str]:
            return probe.zip(path).namelist()

        scan = f"/data/experiments/{e}/scans/4/files"
        everything = f"/data/experiments/{e}/files?all=true"
        assert names(scan) == [
            "S1_MR1/scans/4-t1_mprage/resources/DICOM/files/sub/x.dcm",
            "S1_MR1/scans/4-t1_mprage/resources/DICOM/files/S1_MR1.dcm",
            "S1_MR1/scans/4-t1_mprage/resources/DICOM/files/a/4-t1_mprage/y.dcm",
        ]
        assert names(everything)[:3] == [
            "S1_MR1/resources/NOTES/files/a.txt",
            f"S1_MR1/resources/{built.resources[1].id}/files/b.txt",
            "S1_MR1/scans/4/resources/DICOM/files/sub/x.dcm",
        ]
        assert names(scan + "?structure=nonsense") == names(scan)
        assert names(scan + "?structure=Simplified") == names(scan)
        assert names(scan + "?structure=simplified")[0] == "S1_MR1/scans/4/DICOM/sub/x.dcm"
        assert names(scan + "?structure=improved")[0] == "scans/4_t1 mprage/DICOM/sub/x.dcm"
        assert names(scan + "?structure=legacy")[0] == "S1_MR1/SCANS/4/DICOM/sub/x.dcm"
        assert names(f"/data/experiments/{e}/files?structure=improved")[0] == f"resources/{e}_ /NOTES/a.txt"
        assert names(everything + "&structure=legacy")[0] == "S1_MR1/RESOURCES/NOTES/a.txt"


def test_a_number_without_the_scan_is_free_of_scan_rewriting(bare: Site, built: Experiment) -> None:
    number = built.scan("4").resource("DICOM").id
    with Server(bare) as server:
        names = built_probe(server).zip(f"/data/experiments/{built.id}/resources/{number}/files").namelist()
    assert names == [
        "S1_MR1/resources/DICOM/files/sub/x.dcm",
        "S1_MR1/resources/DICOM/files/S1_MR1.dcm",
        "S1_MR1/resources/DICOM/files/a/4/y.dcm",
    ]


def test_simplified_eats_folders_and_may_make_duplicates_which_end_the_zip(bare: Site, built: Experiment) -> None:
    resource = built.add_resource("R", [("a.txt", b"1"), ("files/b.txt", b"2"), ("b.txt", b"3"), ("c.txt", b"4")])
    with Server(bare) as server:
        probe = built_probe(server)
        path = f"/data/experiments/{built.id}/resources/{resource.id}/files?structure=simplified"
        archive = probe.zip(path)
        assert archive.namelist() == ["S1_MR1/R/a.txt", "S1_MR1/R/b.txt"]
        assert archive.testzip() is None


def test_subject_and_project_zips(demo: Probe) -> None:
    reply = demo.ask(f"{P}/subjects/Haofei02/files?format=zip")
    assert reply.header("Content-Disposition") == 'attachment; filename="Haofei02.zip";'
    assert reply.names() == ["Haofei02/resources/CONSENT/files/consent.pdf"]
    assert demo.zip(f"{P}/files").namelist() == [
        "PTV000/resources/DOCS/files/README.txt",
        "PTV000/resources/DOCS/files/codes/sites.csv",
    ]


def test_assessor_names_and_file_name_are_the_sessions(demo: Probe, session: Experiment) -> None:
    reply = demo.ask(f"/data/experiments/{session.id}/files?all=true&format=zip")
    start = f"Haofei01_MR1/assessors/{session.assessors[0].id}/out/resources/REPORT/files/"
    assert start + "figures/snr.gif" in reply.names()
    one = demo.ask(f"/data/experiments/{session.id}/scans/1/files?format=zip")
    assert one.header("Content-Disposition") == reply.header("Content-Disposition")


def test_several_scans_resources_and_sessions(demo: Probe, site: Site, session: Experiment) -> None:
    base = f"/data/experiments/{session.id}"
    names = demo.zip(f"{base}/scans/1,4/files").namelist()
    assert {name.split("/")[2] for name in names} == {"1-localizer", "4-t1_mprage"}
    names = demo.zip(f"{base}/scans/4/resources/DICOM,SNAPSHOTS/files").namelist()
    assert {name.split("/")[4] for name in names} == {"DICOM", "SNAPSHOTS"}
    second = list(site.experiments())[1]
    names = demo.zip(f"/data/experiments/{session.id},{second.id}/files?all=true").namelist()
    assert {name.split("/")[0] for name in names} == {"Haofei01_MR1", "Haofei01_MR2"}


# --- what is not there -----------------------------------------------------------------------------------


def test_files_missing_on_disk_are_absent(demo: Probe, session: Experiment) -> None:
    resource = session.scan("4").resource("DICOM")
    gone = resource.entries[2].path
    resource.lose_file(gone)
    archive = demo.zip(f"/data/experiments/{session.id}/scans/4/resources/DICOM/files")
    assert len(archive.namelist()) == 5
    assert not any(name.endswith(gone) for name in archive.namelist())


def test_nothing_to_send_is_404(demo: Probe, session: Experiment) -> None:
    base = f"/data/experiments/{session.id}/scans/4/resources"
    session.scan("4").add_resource("EMPTY")
    lost = session.scan("4").add_resource("LOST")
    lost.add_file("x", b"x", on_disk=False)
    for label in ("NOPE", "EMPTY", "LOST"):
        reply = demo.ask(f"{base}/{label}/files?format=zip")
        assert reply.status == 404
        assert "<title>Status page</title>" in reply.text
        assert demo.ask(f"{base}/{label}/files?format=zip&accept-not-found=true").status == 204


def test_a_file_that_vanishes_midway_ends_a_valid_zip(demo: Probe, session: Experiment, tmp_path: Path) -> None:
    path = tmp_path / "b.bin"
    path.write_bytes(b"b" * 300_000)
    resource = session.add_resource("DISK", [("a.bin", b"a" * 3_000_000), ("b.bin", path), ("c.bin", b"c")])
    with demo.connect() as line:
        site = session.site
        assert isinstance(site, Site)
        site.rate = 20_000_000
        line.sendall(demo.request(f"/data/experiments/{session.id}/resources/{resource.id}/files?format=zip"))
        first = line.recv(1000)
        path.unlink()
        rest = b""
        while data := line.recv(1 << 20):
            rest += data
    _, body = split(first + rest)
    archive = whole_names(b"".join(chunks(body)))
    assert archive == ["Haofei01_MR1/resources/DISK/files/a.bin"]


def whole_names(data: bytes) -> list[str]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        return archive.namelist()


# --- tar -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "mode"), [("tar", "r:"), ("tar.gz", "r:gz")])
def test_tars(demo: Probe, session: Experiment, kind: str, mode: str) -> None:
    reply = demo.ask(f"/data/experiments/{session.id}/scans/4/files?format={kind}")
    assert reply.header("Content-Disposition") == f'attachment; filename="Haofei01_MR1.{kind}";'
    with tarfile.open(fileobj=io.BytesIO(reply.body), mode=mode) as archive:  # type: ignore[call-overload]
        names = archive.getnames()
        first = archive.extractfile(names[0])
        assert first is not None
        assert first.read(132)[128:] == b"DICM"
    assert len(names) == 8


# --- ranges and HEAD (row 17) ----------------------------------------------------------------------------


@pytest.mark.parametrize("spec", ["bytes=0-", "bytes=100-", "bytes=-100"])
def test_open_and_suffix_ranges_are_500(demo: Probe, session: Experiment, spec: str) -> None:
    reply = demo.ask(f"/data/experiments/{session.id}/scans/4/files?format=zip", headers={"Range": spec})
    assert reply.status == 500
    assert "<title>Status page</title>" in reply.text
    assert reply.header("Connection") == "close"


def test_closed_range_is_ignored(demo: Probe, session: Experiment) -> None:
    reply = demo.ask(f"/data/experiments/{session.id}/scans/4/files?format=zip", headers={"Range": "bytes=0-99"})
    assert reply.status == 200
    assert reply.zip().testzip() is None


def test_head_has_the_headers_and_no_length(demo: Probe, session: Experiment) -> None:
    reply = demo.ask(f"/data/experiments/{session.id}/scans/4/files?format=zip", "HEAD")
    assert (reply.status, reply.body, reply.header("Content-Length")) == (200, b"", None)
    assert reply.header("Content-Type") == "application/zip"
    assert reply.header("Content-Disposition")
    small = demo.ask(f"/data/experiments/{session.id}/resources/NOTES/files?format=zip", "HEAD")
    assert (small.status, small.header("Content-Length")) == (200, None)


def test_a_client_of_http_1_0_gets_no_chunks(demo: Probe, session: Experiment) -> None:
    head, body = split(demo.raw(f"/data/experiments/{session.id}/scans/4/files?format=zip", version="1.0"))
    assert "Transfer-Encoding" not in head
    assert "Content-Length" not in head
    assert len(whole_names(body)) == 8
