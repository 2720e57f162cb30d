"""The demonstration data, sites made from folders, and changes to a tree."""

from __future__ import annotations

import io
import time
import warnings
from pathlib import Path

import pydicom
import pytest

from embedded.probe import Probe
from xnat_embedded import Experiment, Resource, Server, Site, demo_site, small_site


def resources(site: Site) -> list[Resource]:
    """Every resource of the site's sessions."""
    found = []
    for session in site.experiments():
        found += session.resources
        for scan in session.scans:
            found += scan.resources
        for assessor in session.assessors:
            found += assessor.resources
    return found


def contents(site: Site) -> dict[tuple[int, str], str]:
    return {(each.id, entry.path): entry.digest_text() for each in resources(site) for entry in each.entries}


# --- demo ------------------------------------------------------------------------------------------------


def test_demo_site_has_the_promised_shape() -> None:
    site = demo_site()
    project = site.project("PTV000")
    assert project is not None
    files = [entry for each in resources(site) for entry in each.entries]
    size = sum(int(entry.size_text()) for entry in files)
    assert 300 <= len(files) <= 500
    assert 30_000_000 <= size <= 60_000_000
    assert len(project.subjects) == 4
    assert len(project.sessions()) == 7
    assert sum(len(session.scans) for session in project.sessions()) >= 18
    scan = project.subject("Haofei01").session("Haofei01_MR1").scan("4")
    assert (scan.type, scan.resource("DICOM").format) == ("t1_mprage", "DICOM")
    assert {session.xsi_type for session in project.sessions()} >= {"xnat:petSessionData", "xnat:subjectVariablesData"}
    labels = {each.label for each in resources(site)}
    assert {"DICOM", "NIFTI", "SNAPSHOTS", "NOTES", "REPORT"} <= labels
    assert project.resources
    assert any(subject.resources for subject in project.subjects)


def test_small_site_is_small_and_quick() -> None:
    small_site()
    start = time.monotonic()
    site = small_site()
    assert time.monotonic() - start < 0.3
    sizes = [int(entry.size_text()) for each in resources(site) for entry in each.entries]
    assert 50 <= len(sizes) <= 100
    assert 500_000 <= sum(sizes) <= 3_000_000


def test_sites_are_the_same_bytes_each_time_and_share_no_state() -> None:
    one, two = small_site(), small_site()
    assert contents(one) == contents(two)
    assert [(e.id, e.label, e.last_modified) for e in one.experiments()] == [
        (e.id, e.label, e.last_modified) for e in two.experiments()
    ]
    next(one.experiments()).scan("4").remove()
    assert len(next(two.experiments()).scans) == 4


def test_scale_multiplies_the_files() -> None:
    count = len(contents(demo_site()))
    assert len(contents(demo_site(scale=2))) > 1.8 * count


def test_every_dicom_file_reads_back_with_uids_of_its_own() -> None:
    site = small_site()
    seen = set()
    for session in site.experiments():
        for scan in session.scans:
            for entry in next(r for r in scan.resources if r.label == "DICOM").entries:
                if session.project.id != "PTV000":
                    continue
                assert entry.content is not None
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    dataset = pydicom.dcmread(io.BytesIO(entry.content.read()))
                    assert len(dataset.PixelData) == dataset.Rows * dataset.Columns * 2
                assert dataset.SOPInstanceUID == dataset.file_meta.MediaStorageSOPInstanceUID
                assert dataset.SeriesInstanceUID == scan.uid
                assert dataset.StudyInstanceUID == session.uid
                assert dataset.PatientID == session.subject.label
                assert entry.path == f"{dataset.SOPInstanceUID}-{dataset.SeriesNumber}-{dataset.InstanceNumber}.dcm"
                seen.add((dataset.SOPInstanceUID, entry.digest_text()))
    assert len(seen) == len({uid for uid, _ in seen}) == len({digest for _, digest in seen}) > 40


# --- folders ---------------------------------------------------------------------------------------------


def test_site_from_a_folder(tmp_path: Path) -> None:
    for rel, data in {
        "S1/E1/scans/4/DICOM/a.dcm": b"a",
        "S1/E1/scans/4/DICOM/sub/b c.dcm": b"b",
        "S1/E1/resources/NOTES/n.txt": b"n" * 300_000,
        "S1/resources/CONSENT/c.pdf": b"c",
        "resources/DOCS/d.txt": b"d",
    }.items():
        path = tmp_path / rel
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    site = Site.from_folder(tmp_path, "F1", password="pw")
    with Server(site) as server:
        probe = Probe(server)
        probe.log_in("demo", "pw")
        session = probe.rows("/data/projects/F1/experiments")[0]["ID"]
        rows = {
            row["URI"].partition("/files/")[2]: row for row in probe.rows(f"/data/experiments/{session}/files?all=true")
        }
        assert set(rows) == {"a.dcm", "sub/b c.dcm", "n.txt"}
        assert rows["a.dcm"]["digest"] == "0cc175b9c0f1b6a831c399e269772661"
        for compression in ("0", "8"):
            archive = probe.zip(f"/data/experiments/{session}/files?all=true&compression={compression}")
            assert archive.testzip() is None
            assert archive.read("E1/resources/NOTES/files/n.txt") == b"n" * 300_000
        part = probe.ask(rows["n.txt"]["URI"], headers={"Range": "bytes=299990-"})
        assert part.body == b"n" * 10
        assert len(probe.rows("/data/projects/F1/files")) == 1
        assert len(probe.rows("/data/projects/F1/subjects/S1/files")) == 1
        (tmp_path / "S1/E1/scans/4/DICOM/a.dcm").unlink()
        assert probe.ask(rows["a.dcm"]["URI"]).status == 404
        (tmp_path / "S1/E1/resources/NOTES/n.txt").write_bytes(b"changed")
        assert probe.ask(rows["n.txt"]["URI"]).body == b"changed"
    with pytest.raises(NotADirectoryError):
        Site.from_folder(tmp_path / "nope")


# --- changes ---------------------------------------------------------------------------------------------


@pytest.fixture
def session(site: Site) -> Experiment:
    return next(site.experiments())


def test_changes_bump_last_modified_unless_told_not_to(session: Experiment) -> None:
    resource = session.scan("4").resource("DICOM")
    path = resource.entries[0].path
    stamps = [session.last_modified]

    def moved() -> bool:
        stamps.append(session.last_modified)
        return stamps[-1] != stamps[-2]

    resource.add_file("new.dcm", b"1")
    assert moved()
    resource.replace_file("new.dcm", b"2")
    assert moved()
    resource.remove_file("new.dcm")
    assert moved()
    session.scan("5").remove()
    assert moved()
    session.rename("other")
    assert moved()
    session.assessors[0].resources[0].add_file("x", b"x")
    assert moved()
    resource.replace_file(path, b"3", touch=False)
    assert not moved()
    resource.lose_file(path)
    assert not moved()


def test_changes_show_in_the_lists(demo: Probe, session: Experiment, site: Site) -> None:
    listing = f"/data/experiments/{session.id}/scans/4/resources/DICOM/files"
    resource = session.scan("4").resource("DICOM")
    path = resource.entries[0].path
    before = next(row for row in demo.rows(listing) if row["Name"] == path)
    content = resource.entries[0].content
    assert content is not None
    resource.replace_file(path, content.read()[::-1])
    after = next(row for row in demo.rows(listing) if row["Name"] == path)
    assert before["Size"] == after["Size"]
    assert before["digest"] != after["digest"]
    other = site.add_project("OTHER", members=("demo",)).add_subject("T1")
    session.move(other)
    rows = demo.rows("/data/projects/OTHER/experiments?columns=ID,label,subject_label,project")
    assert (rows[0]["ID"], rows[0]["subject_label"], rows[0]["project"]) == (session.id, "T1", "OTHER")
    assert session.id not in {row["ID"] for row in demo.rows("/data/projects/PTV000/experiments")}
    project = site.project("PTV000")
    assert project is not None
    session.share(project)
    assert session.id in {row["ID"] for row in demo.rows("/data/projects/PTV000/experiments")}
    session.unshare(project)
    session.subject.rename("T2")
    assert demo.rows("/data/projects/OTHER/subjects")[0]["label"] == "T2"
    resource.remove()
    assert demo.rows(listing) == []
    session.remove()
    assert demo.rows("/data/projects/OTHER/experiments") == []
    other.remove()
    assert demo.rows("/data/projects/OTHER/subjects") == []


def test_a_subject_of_one_project_scanned_in_another(demo: Probe, site: Site, session: Experiment) -> None:
    other = site.add_project("OTHER", members=("demo",))
    session.subject.share(other, "LENT")
    session.subject.add_session("LENT_MR1", project=other)
    assert [row["label"] for row in demo.rows("/data/projects/OTHER/experiments")] == ["LENT_MR1"]
    assert "LENT_MR1" not in {row["label"] for row in demo.rows("/data/projects/PTV000/experiments")}
    assert len(demo.rows("/data/projects/OTHER/subjects/LENT/experiments")) == 1
