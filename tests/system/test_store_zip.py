"""``--store zip`` through the real command: one valid zip a resource, resumable, and never half of one."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from system.harness import STATE, World, truth, truth_by_resource
from xnat_embedded import Entry, Experiment

ZIP = ("--store", "zip")


def inside(here: World) -> dict[str, str]:
    """Path with the resource's folder -> MD5 of every member of every zip; each zip is proved on the way."""
    found = {}
    for path in here.project.rglob("*.zip"):
        if STATE in path.parts:
            continue
        with zipfile.ZipFile(path) as archive:
            assert archive.testzip() is None
            folder = str(path.relative_to(here.project)).removesuffix(".zip")
            for name in archive.namelist():
                found[f"{folder}/{name}"] = hashlib.md5(archive.read(name)).hexdigest()
    return found


def test_each_resource_is_one_valid_zip(here: World) -> None:
    done = here.mirror(*ZIP)
    assert done.code == 0, done
    assert inside(here) == truth(here.site)
    assert set(here.tree()) == {f"{folder}.zip" for folder in truth_by_resource(here.site)}
    here.assert_no_leftovers()
    before = here.fetched_bytes()
    assert here.mirror(*ZIP).code == 0
    assert here.fetched_bytes() == before


@pytest.mark.skipif(shutil.which("unzip") is None, reason="unzip is not installed")
def test_unzip_takes_them(here: World) -> None:
    assert here.mirror(*ZIP).code == 0
    for path in here.project.rglob("*.zip"):
        subprocess.run(["unzip", "-tqq", str(path)], check=True, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize("position", [0.2, 0.5, 0.8])
def test_a_killed_run_is_completed(here: World, position: float) -> None:
    total = sum(e.content.size for r in _resources(here) for e in r if e.content is not None)
    here.site.rate = 120_000
    process = here.start("project", "PTV000", "--dest", str(here.dest), *ZIP)
    here.wait_for(lambda: here.data_bytes() > total * position, process)
    process.kill()
    process.communicate()
    whole = truth_by_resource(here.site)
    for folder, files in whole.items():
        present = {path for path in inside(here) if path.startswith(f"{folder}/")}
        assert present in (set(), {f"{folder}/{name}" for name in files})
    here.site.rate = None
    assert here.mirror(*ZIP).code == 0
    assert inside(here) == truth(here.site)
    assert here.fetched_bytes() < total * 1.35


def _resources(here: World) -> list[list[Entry]]:
    project = here.site.project("PTV000")
    assert project is not None
    found = [*project.resources]
    for subject in project.subjects:
        found += subject.resources
        for session in subject.experiments:
            found += session.resources
            for owner in [*session.scans, *session.assessors]:
                found += owner.resources
    return [list(resource.entries) for resource in found]


def test_a_changed_resource_fetches_only_what_changed(here: World) -> None:
    assert here.mirror(*ZIP).code == 0
    session = here.site.project("PTV000").subject("Haofei01").session("Haofei01_MR1")  # type: ignore[union-attr]
    resource = session.scan("4").resource("DICOM")
    resource.add_file("new.dcm", b"n" * 777)
    before = here.fetched_bytes()
    assert here.mirror(*ZIP).code == 0
    assert here.fetched_bytes() - before == 777
    gone = resource.entries[0].path
    resource.remove_file(gone)
    resource.add_file("newer.dcm", b"m" * 555)
    assert here.mirror(*ZIP).code == 0
    # What the server no longer lists stays, and is told: nothing is taken away unasked.
    folder = "Haofei01/Haofei01_MR1/scans/4/DICOM"
    assert inside(here).keys() - truth(here.site).keys() == {f"{folder}/{gone}"}
    assert here.summary()["files"]["extra"] == 1
    quiet = here.fetched_bytes()
    assert here.mirror(*ZIP).code == 0
    assert here.fetched_bytes() == quiet


def test_a_damaged_member_is_fetched_again_and_the_others_are_not(here: World) -> None:
    assert here.mirror(*ZIP).code == 0
    path = here.project / "Haofei01" / "Haofei01_MR1" / "scans" / "4" / "DICOM.zip"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    before = here.fetched_bytes()
    assert here.mirror(*ZIP, "--overwrite").code == 0
    assert here.fetched_bytes() - before < len(data) / 3
    assert inside(here) == truth(here.site)


def test_lost_state_and_local_damage(here: World) -> None:
    assert here.mirror(*ZIP).code == 0
    shutil.rmtree(here.project / STATE)
    before = here.fetched_bytes()
    assert here.mirror(*ZIP).code == 0
    assert here.fetched_bytes() == before
    path = here.project / "Haofei01" / "Haofei01_MR1" / "scans" / "4" / "DICOM.zip"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    done = here.run("verify", str(here.dest))
    assert (done.code, "DICOM.zip/" in done.err) == (3, True), done
    done = here.mirror(*ZIP)
    assert done.code == 3, done
    assert path.read_bytes() == bytes(data)
    assert here.mirror(*ZIP, "--overwrite").code == 0
    assert inside(here) == truth(here.site)
    assert here.run("verify", str(here.dest)).code == 0


def test_a_mirror_keeps_its_store(here: World) -> None:
    assert here.mirror(*ZIP).code == 0
    tree = here.tree()
    done = here.mirror()
    assert (done.code, "--store zip" in done.err) == (2, True)
    assert here.tree() == tree


def test_a_foreign_zip_is_kept(here: World, tmp_path: Path) -> None:
    path = here.project / "Haofei01" / "Haofei01_MR1" / "scans" / "4" / "DICOM.zip"
    path.parent.mkdir(parents=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("mine.txt", "mine")
    data = path.read_bytes()
    done = here.mirror(*ZIP)
    assert (done.code, "foreign file here" in done.err) == (3, True), done
    assert path.read_bytes() == data


def session_of(here: World) -> Experiment:
    project = here.site.project("PTV000")
    assert project is not None
    return project.subject("Haofei01").session("Haofei01_MR1")


def test_delete_takes_members_to_the_trash_and_keeps_the_rest(here: World) -> None:
    assert here.mirror(*ZIP).code == 0
    resource = session_of(here).scan("4").resource("DICOM")
    gone, digest = resource.entries[0].path, resource.entries[0].content.md5()  # type: ignore[union-attr]
    resource.remove_file(gone)
    before = here.fetched_bytes()
    done = here.mirror(*ZIP, "--delete")
    assert done.code == 0, done
    assert inside(here) == truth(here.site)
    assert here.fetched_bytes() == before
    [trashed] = (here.project / STATE / "trash").rglob(gone)
    assert hashlib.md5(trashed.read_bytes()).hexdigest() == digest
    assert here.summary()["files"]["trashed"] == 1
    assert here.run("verify", str(here.dest)).code == 0
    here.assert_no_leftovers()
    requests = here.server.counts.requests["files"]
    assert here.mirror(*ZIP, "--delete").code == 0
    assert here.server.counts.requests["files"] == requests


def test_delete_takes_a_whole_zip_whose_resource_is_gone(here: World) -> None:
    assert here.mirror(*ZIP).code == 0
    session_of(here).scan("4").remove()
    done = here.mirror(*ZIP, "--delete", "--max-delete", "50%")
    assert done.code == 0, done
    assert inside(here) == truth(here.site)
    assert list((here.project / STATE / "trash").rglob("DICOM.zip"))


def test_delete_keeps_a_zip_that_was_changed_here(here: World) -> None:
    assert here.mirror(*ZIP).code == 0
    resource = session_of(here).scan("4").resource("DICOM")
    path = here.project / "Haofei01" / "Haofei01_MR1" / "scans" / "4" / "DICOM.zip"
    resource.remove_file(resource.entries[0].path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert here.mirror(*ZIP, "--delete").code == 3
    assert path.read_bytes() == bytes(data)


@pytest.mark.parametrize("more", [False, True])
def test_a_renamed_scan_keeps_its_zip(here: World, *, more: bool) -> None:
    assert here.mirror(*ZIP).code == 0
    session = session_of(here)
    old = session.scan("4")
    made = session.add_scan("41", old.type).add_resource("DICOM")
    for entry in old.resource("DICOM").entries:
        assert entry.content is not None
        made.add_file(entry.path, entry.content)
    old.resource("DICOM").remove()
    if more:
        made.add_file("more.dcm", b"m" * 321)
    before = here.fetched_bytes()
    done = here.mirror(*ZIP, "--scan", "4*")
    assert done.code == 0, done
    assert here.fetched_bytes() - before == (321 if more else 0)
    assert here.mirror(*ZIP).code == 0
    assert inside(here) == truth(here.site)
    assert here.run("verify", str(here.dest)).code == 0
