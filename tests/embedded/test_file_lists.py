"""File lists: what they say, what they leave out, and how they fail (§2.2, §2.6, §2.7; §8 row 15)."""

from __future__ import annotations

import pytest

from embedded.probe import Probe, Row
from xnat_embedded import Experiment, Site

P = "/data/projects/PTV000"
FULL = f"{P}/subjects/Haofei01/experiments/Haofei01_MR1"


@pytest.fixture
def session(site: Site) -> Experiment:
    return next(site.experiments())


def by_path(rows: list[Row]) -> dict[str, Row]:
    return {row["URI"].partition("/files/")[2]: row for row in rows}


def test_table(demo: Probe, session: Experiment) -> None:
    reply = demo.ask(f"/data/experiments/{session.id}/scans/4/files")
    assert reply.header("Transfer-Encoding") == "chunked"
    table = reply.json()["ResultSet"]
    assert table["Columns"] == [{"key": "URI", "serverRoot": ""}]
    assert table["title"] == "Files"
    assert "totalRecords" not in table
    resource = session.scan("4").resource("DICOM")
    row = next(row for row in table["Result"] if row["collection"] == "DICOM")
    entry = resource[row["URI"].partition("/files/")[2]]
    assert row == {
        "Name": entry.name,
        "Size": str(entry.content.size if entry.content else ""),
        "URI": f"/data/experiments/{session.id}/scans/4/resources/{resource.id}/files/{entry.path}",
        "collection": "DICOM",
        "file_tags": "",
        "file_format": "DICOM",
        "file_content": "RAW",
        "cat_ID": str(resource.id),
        "digest": entry.content.md5() if entry.content else "",
    }


def test_server_root_holds_the_context_and_uris_do_not(demo: Probe, site: Site, session: Experiment) -> None:
    site.context = "/xnat"
    table = demo.ask(f"/xnat/data/experiments/{session.id}/scans/4/files").json()["ResultSet"]
    assert table["Columns"] == [{"key": "URI", "serverRoot": "/xnat"}]
    assert all(row["URI"].startswith("/data/experiments/") for row in table["Result"])


def test_uri_forms(demo: Probe, session: Experiment) -> None:
    number = session.scan("4").resource("DICOM").id
    accession, subject = session.id, session.subject.id
    for path, start in (
        (f"/data/experiments/{accession}/scans/4/resources/DICOM/files", f"/data/experiments/{accession}/scans/4/"),
        (f"{FULL}/scans/4/resources/{number}/files", f"{P}/subjects/{subject}/experiments/{accession}/scans/4/"),
        (f"{FULL}/scans/4/files", f"/data/experiments/{accession}/scans/4/"),
        (f"/data/experiments/{accession}/resources/{number}/files", f"/data/experiments/{accession}/"),
    ):
        rows = [row for row in demo.rows(path) if row["collection"] == "DICOM"]
        assert len(rows) == 6
        assert all(row["URI"].startswith(f"{start}resources/{number}/files/") for row in rows), path


def test_all_reaches_every_level_below_the_session(demo: Probe, session: Experiment) -> None:
    rows = demo.rows(f"/data/experiments/{session.id}/files?all=true")
    starts = {row["URI"].partition("/resources/")[0].removeprefix(f"/data/experiments/{session.id}") for row in rows}
    assert starts == {
        "", "/scans/1", "/scans/4", "/scans/5", "/scans/6", f"/assessors/{session.assessors[0].id}/out",
    }  # fmt: skip
    own = demo.rows(f"/data/experiments/{session.id}/files")
    assert {row["collection"] for row in own} == {"NOTES", "PHYSIO"}


def test_project_and_subject_files(demo: Probe, site: Site) -> None:
    subject = next(subject for subject in site.subjects() if subject.label == "Haofei02")
    (row,) = demo.rows(f"{P}/subjects/Haofei02/files")
    assert row["URI"] == f"{P}/subjects/{subject.id}/resources/{subject.resources[0].id}/files/consent.pdf"
    assert {row["URI"].partition("/files/")[2] for row in demo.rows(f"{P}/files")} == {"README.txt", "codes/sites.csv"}


def test_several_experiments_at_once(demo: Probe, site: Site) -> None:
    first, second = [session.id for session in site.experiments()][:2]
    rows = demo.rows(f"/data/experiments/{first},{second}/files?all=true")
    assert {row["URI"].split("/")[3] for row in rows} == {first, second}


def test_scan_segments(demo: Probe, session: Experiment) -> None:
    base = f"/data/experiments/{session.id}/scans"

    def scans(segment: str) -> set[str]:
        return {row["URI"].split("/")[5] for row in demo.rows(f"{base}/{segment}/files")}

    assert scans("4,5") == scans("4%2C5") == {"4", "5"}
    assert scans("ALL") == scans("*") == {"1", "4", "5", "6"}
    assert scans("t1_mprage") == {"4"}
    assert scans("ep2d%20bold%5BSLASH%5Drest") == scans("ep2d+bold%5BSLASH%5Drest") == {"6"}
    session.add_scan("7", "4").add_resource("DICOM", [("x.dcm", b"x")])
    assert scans("4") == {"4", "7"}  # Ids and types are matched together.
    session.add_scan("8", "").add_resource("DICOM", [("x.dcm", b"x")])
    assert scans("NULL") == {"8"}


def test_unknown_label_is_empty_unknown_number_is_403(demo: Probe, session: Experiment) -> None:
    base = f"/data/experiments/{session.id}"
    assert demo.rows(f"{base}/scans/4/resources/NOPE/files") == []
    assert demo.ask(f"{base}/scans/4/resources/99999/files").status == 403
    assert demo.ask(f"{base}/resources/99999/files").status == 403
    of_scan_5 = session.scan("5").resource("DICOM").id
    assert demo.ask(f"{base}/scans/4/resources/{of_scan_5}/files").status == 403
    assert demo.rows(f"{base}/resources/DICOM/files") == []  # Labels reach session level only.


def test_bad_experiment_or_scan_on_the_short_path_is_500(demo: Probe, session: Experiment, site: Site) -> None:
    hidden = next(one for one in site.experiments() if one.project.id == "HIDDEN")
    for path in (
        "/data/experiments/NOPE/files",
        f"/data/experiments/{hidden.id}/files?all=true",
        f"/data/experiments/{session.id}/scans/NOPE/files",
        f"/data/experiments/{session.id}/scans/NOPE/resources/DICOM/files",
    ):
        reply = demo.ask(path)
        assert reply.status == 500, path
        assert "<title>Status page</title>" in reply.text
    bare = session.subject.add_session("NOSCANS")
    assert demo.ask(f"/data/experiments/{bare.id}/scans/ALL/files").status == 500


@pytest.mark.parametrize(
    "tail", ["Haofei02_MR1/scans/NOPE/files", "NOPE/files", "NOPE/scans/4/files", "Haofei02_MR1/scans/NOPE/resources"]
)
def test_bad_experiment_or_scan_on_the_full_path_leads_to_the_subjects_resources(demo: Probe, tail: str) -> None:
    rows = demo.rows(f"{P}/subjects/Haofei02/experiments/{tail}")
    assert len(rows) == 1
    if tail.endswith("files"):
        assert "/experiments/" not in rows[0]["URI"]
        assert rows[0]["collection"] == "CONSENT"


def test_bad_scan_on_the_full_path_with_a_resource_label_is_empty(demo: Probe) -> None:
    path = f"{P}/subjects/Haofei02/experiments/Haofei02_MR1/scans/NOPE/resources/DICOM/files"
    assert demo.rows(path) == []
    assert demo.ask(path + "?format=zip").status == 404


def test_unknown_subject_or_project_on_the_full_path_is_404(demo: Probe) -> None:
    assert demo.ask(f"{P}/subjects/NOPE/experiments/X/files").status == 404
    assert demo.ask("/data/projects/NOPE/subjects/X/experiments/X/files").status == 404


def test_lists_show_catalog_entries_not_the_disk(demo: Probe, session: Experiment) -> None:
    resource = session.scan("4").resource("DICOM")
    gone = resource.entries[0].path
    size, digest = resource.entries[0].size_text(), resource.entries[0].digest_text()
    resource.lose_file(gone)
    resource.add_file("bare.dcm", b"x", size="", digest="")
    resource.add_file("far.dcm", b"x", remote=True)
    rows = by_path(demo.rows(f"/data/experiments/{session.id}/scans/4/resources/DICOM/files"))
    assert (rows[gone]["Size"], rows[gone]["digest"]) == (size, digest)
    assert (rows["bare.dcm"]["Size"], rows["bare.dcm"]["digest"]) == ("", "")
    assert (rows["far.dcm"]["Size"], rows["far.dcm"]["digest"]) == ("", "")


def test_uris_are_raw(demo: Probe, session: Experiment) -> None:
    rows = demo.rows(f"/data/experiments/{session.id}/resources/NOTES/files")
    assert any(row["URI"].endswith("/files/physio/2020 09/pulse log.txt") for row in rows)


def test_one_corrupt_catalog_spoils_the_combined_list(demo: Probe, session: Experiment) -> None:
    session.scan("5").resource("DICOM").corrupt_catalog = True
    base = f"/data/experiments/{session.id}"
    assert demo.ask(f"{base}/files?all=true").status == 404
    assert demo.ask(f"{base}/scans/ALL/files?format=zip").status == 404
    assert len(demo.rows(f"{base}/scans/4/resources/DICOM/files")) == 6
    assert len(demo.rows(f"{base}/resources?all=true")) == 9


def test_one_unloadable_resource_silently_ends_the_combined_list(demo: Probe, session: Experiment) -> None:
    whole = demo.rows(f"/data/experiments/{session.id}/files?all=true")
    session.scan("5").resource("DICOM").unloadable = True
    short = demo.rows(f"/data/experiments/{session.id}/files?all=true")
    assert 0 < len(short) < len(whole)
    assert not any("/scans/6/" in row["URI"] for row in short)


def test_filters(demo: Probe, session: Experiment) -> None:
    base = f"/data/experiments/{session.id}"
    assert len(demo.rows(f"{base}/scans/4/files?file_format=GIF")) == 2
    assert demo.rows(f"{base}/scans/4/files?file_format=dicom") == []
    assert len(demo.rows(f"{base}/scans/4/files?file_content=RAW")) == 6
    assert len(demo.rows(f"{base}/files?all=true&file_format=NULL")) == 2
    assert len(demo.rows(f"{base}/scans/4/files?index=0")) == 1
    assert len(demo.rows(f"{base}/resources/NOTES/files/physio/?recursive=false")) == 0
    assert len(demo.rows(f"{base}/resources/NOTES/files/physio/")) == 1
    assert len(demo.rows(f"{base}/resources/NOTES/files/pro*")) == 1
    assert "absolutePath" in demo.rows(f"{base}/scans/4/files?locator=absolutePath")[0]


def test_shared_session_wants_the_primary_project_for_its_files(probe: Probe, site: Site) -> None:
    hidden = next(one for one in site.experiments() if one.project.id == "HIDDEN")
    open_project = site.add_project("SHOWN", members=("demo",))
    hidden.share(open_project, "SHOWN_MR1")
    probe.log_in()
    assert len(probe.rows(f"/data/experiments/{hidden.id}/scans")) == 1
    assert probe.ask(f"/data/experiments/{hidden.id}/files?all=true").status == 403
    path = "/data/projects/SHOWN/subjects/X1/experiments/SHOWN_MR1/scans/1/files"
    assert len(probe.rows(path)) == 1
