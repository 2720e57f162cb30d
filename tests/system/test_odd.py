"""Every level of the tree and every odd name, mirrored from the embedded ``ODD`` project and found again."""

from __future__ import annotations

import hashlib
import json
import os
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest

from system.harness import STATE, World, md5_tree
from system.warm import warm_world
from xnat_embedded import Resource, Site, odd_site


@pytest.fixture
def odd(tmp_path: Path) -> Iterator[World]:
    with warm_world(odd_site(), tmp_path) as made:
        yield made
        made.assert_no_secrets()


def resources(site: Site, project: str) -> Iterator[Resource]:
    """Every resource that a mirror of the project must have: own and shared, each once."""
    root = site.project(project)
    assert root is not None
    yield from root.resources
    for subject in site.subjects_in(root):
        yield from subject.resources
    for session in site.experiments_in(root):
        yield from session.resources
        for owner in [*session.scans, *session.assessors, *session.reconstructions]:
            yield from owner.resources


def contents(site: Site, project: str = "ODD") -> list[tuple[str, str]]:
    """(server path in its resource, MD5) of every file that is really there."""
    return sorted(
        (entry.path, entry.content.md5())
        for resource in resources(site, project)
        for entry in resource.entries
        if entry.on_disk and entry.content is not None
    )


def ledger(root: Path) -> list[tuple[str, str]]:
    """(server path in its resource, MD5) of every file that the ledgers say is held."""
    return sorted(
        (file["path"], file["md5"])
        for path in (root / STATE / "sessions").iterdir()
        for line in path.read_text().splitlines()
        for file in json.loads(line).get("files", [])
    )


def mirror(odd: World, *arguments: str, project: str = "ODD") -> int:
    done = odd.run("project", project, "--dest", str(odd.dest), *arguments)
    assert "Traceback" not in done.err, done
    return done.code


def test_everything_is_mirrored_and_found_again(odd: World) -> None:
    assert mirror(odd) == 4  # one file is listed and not there
    root = odd.dest / "ODD"
    assert ledger(root) == contents(odd.site)
    assert sorted(md5_tree(root).values()) == sorted(md5 for _, md5 in contents(odd.site))
    before = odd.fetched_bytes()
    assert mirror(odd) == 4
    assert odd.fetched_bytes() == before
    assert sorted(md5_tree(root).values()) == sorted(md5 for _, md5 in contents(odd.site))


def test_each_level_has_its_place(odd: World) -> None:
    mirror(odd)
    tree = md5_tree(odd.dest / "ODD")
    for path in (
        "resources/PROJECT/folder/q.txt",
        "S1/resources/SUBJECT/sub.txt",
        "S1/LEVELS/resources/SESSION/s.txt",
        "S1/LEVELS/scans/1/DICOM/1.dcm",
        "S1/LEVELS/assessors/LEVELS_QC/out/OUT/o.txt",
        "S1/LEVELS/assessors/LEVELS_QC/in/IN/i.txt",
        "S1/LEVELS/assessors/LEVELS_QC/resources/OWN/w.txt",
        "S1/LEVELS/reconstructions/R1/out/NIFTI/mean.nii.gz",
        "S1/SCANS/scans/4/DICOM/1.dcm",
        "S1/SCANS/scans/4-MR1/DICOM/1.dcm",
        "S1/SCANS/scans/1%2F2/DICOM/1.dcm",
        "SHARED/SHARED_MR1/scans/1/DICOM/1.dcm",
        "LENT/BORROWED_MR1/scans/1/DICOM/1.dcm",
        "lower~XNAT_S00008/lower MR4/scans/1/DICOM/1.dcm",
        "LOWER~XNAT_S00009/LOWER MR5/scans/1/DICOM/1.dcm",
        "O'Neil & Co/O'Neil & Co MR2/scans/1/DICOM/1.dcm",
    ):
        assert path in tree, path


def test_a_shared_session_lies_once_in_each_project_asked_for(odd: World) -> None:
    assert mirror(odd) == 4
    assert mirror(odd, project="ODD2") == 0
    shared = hashlib.md5(b"shared").hexdigest()
    for project in ("ODD", "ODD2"):
        assert list(md5_tree(odd.dest / project).values()).count(shared) == 1
    assert ledger(odd.dest / "ODD2") == contents(odd.site, "ODD2")


def test_names_are_safe_for_every_system(odd: World) -> None:
    mirror(odd)
    folded: dict[str, str] = {}
    for path in md5_tree(odd.dest / "ODD"):
        key = unicodedata.normalize("NFC", path).casefold()
        assert folded.setdefault(key, path) == path
        for part in path.split("/"):
            assert not set(part) & set('\\:*?"<>|\0')
            assert part.isprintable()
            assert part == part.strip(" .") or part.startswith(".")
            assert len(part.encode()) <= 255


def test_names_that_no_catalog_should_have(odd: World) -> None:
    """Newlines, controls, paths beyond any limit, a file with a folder's name, climbing paths."""
    scan = odd.site.project("ODD").subject("S1").session("NAMES").add_scan("9", "worse")  # type: ignore[union-attr]
    worse = scan.add_resource("WORSE")
    hostile = [
        "new\nline.dcm", "tab\t.dcm", "\x1b[31mred.dcm", "del\x7f.dcm", "n" * 300 + ".dcm", "d/" * 2100 + "deep.dcm",
        "node", "node/below.dcm", "CON", "com1.txt", "LPT9.", "dot.", "space ", "UP.dcm", "up.dcm", "x" * 5000,
        "a/../../../../escape.dcm", "../climb.dcm", ".xnat-sync", "one//two", "‮reversed.dcm", "quote\"'`.dcm",
    ]  # fmt: skip
    for number, name in enumerate(hostile):
        worse.add_file(name, f"hostile {number}".encode())
    done = odd.run("project", "ODD", "--dest", str(odd.dest), "-v")
    assert "Traceback" not in done.err, done
    assert all(c == "\n" or c.isprintable() for c in done.out + done.err)
    outside = [path for path in odd.home.rglob("*") if path.is_file() and b"hostile" in path.read_bytes()]
    folder = odd.dest / "ODD" / "S1" / "NAMES" / "scans" / "9" / "WORSE"
    assert all(path.is_relative_to(folder) or STATE in path.parts for path in outside)
    held = md5_tree(folder)
    missing = [
        name for number, name in enumerate(hostile)
        if hashlib.md5(f"hostile {number}".encode()).hexdigest() not in held.values()
    ]  # fmt: skip
    # What the server itself cannot address, no client can fetch: such an item is told, and costs only itself.
    assert set(missing) <= {"a/../../../../escape.dcm", "../climb.dcm", "one//two"}
    assert done.code == (3 if missing else 4), done
    before = odd.fetched_bytes()
    again = odd.run("project", "ODD", "--dest", str(odd.dest))
    assert again.code == done.code, again
    assert odd.fetched_bytes() == before


def test_one_bad_catalog_costs_only_itself(odd: World) -> None:
    session = odd.site.project("ODD").subject("S1").session("RESOURCES")  # type: ignore[union-attr]
    bad = next(each for each in session.scans[0].resources if each.label == "2023")
    bad.corrupt_catalog = True
    done = odd.run("project", "ODD", "--dest", str(odd.dest))
    assert done.code == 3, done
    assert "2023" in done.err
    lost = {(entry.path, entry.content.md5()) for entry in bad.entries if entry.content is not None}
    expected = contents(odd.site)
    for row in lost:
        expected.remove(row)
    assert ledger(odd.dest / "ODD") == expected
    bad.corrupt_catalog = False
    assert mirror(odd) == 4
    assert ledger(odd.dest / "ODD") == contents(odd.site)


def test_a_listing_that_hides_files_is_noticed(odd: World) -> None:
    from xnat_embedded import Fault, ShortList

    odd.server.faults.add(Fault(ShortList(1), kind="files", path="all=true", nth=1))
    assert mirror(odd) == 4
    assert ledger(odd.dest / "ODD") == contents(odd.site)


def test_metadata_lies_beside_the_data(odd: World) -> None:
    assert mirror(odd, "--metadata") == 4
    records = sorted((odd.dest / "ODD").rglob("experiment.json"))
    assert len(records) == len(list(odd.site.experiments_in(odd.site.project("ODD"))))  # type: ignore[arg-type]
    found = json.loads((odd.dest / "ODD" / "S1" / "LEVELS" / "experiment.json").read_text())
    assert found["items"][0]["data_fields"]["label"] == "LEVELS"
    times = {path: path.stat().st_mtime_ns for path in records}
    assert mirror(odd, "--metadata") == 4
    assert {path: path.stat().st_mtime_ns for path in records} == times
    records[0].write_text("mine")
    assert mirror(odd, "--metadata") == 3
    assert records[0].read_text() == "mine"
    assert mirror(odd, "--metadata", "--overwrite") == 4


@pytest.mark.parametrize(
    ("levels", "prefixes"),
    [
        ("scans", ("scans",)),
        ("session", ("resources",)),
        ("assessors,reconstructions", ("assessors", "reconstructions")),
    ],
)
def test_levels_can_be_chosen(odd: World, levels: str, prefixes: tuple[str, ...]) -> None:
    mirror(odd, "--level", levels)
    kinds = {path.split("/")[2] for path in md5_tree(odd.dest / "ODD")}
    assert kinds == set(prefixes)


def test_the_levels_outside_sessions_can_be_chosen(odd: World) -> None:
    assert mirror(odd, "--level", "subject", "--level", "project") == 0
    assert set(md5_tree(odd.dest / "ODD")) == {
        "resources/PROJECT/p.txt", "resources/PROJECT/folder/q.txt", "S1/resources/SUBJECT/sub.txt",
    }  # fmt: skip


def test_a_file_over_four_gigabytes_is_mirrored(tmp_path: Path) -> None:
    if os.statvfs(tmp_path).f_bavail * os.statvfs(tmp_path).f_frsize < 12 << 30:
        pytest.skip("less than 12 GB free")
    with warm_world(odd_site(big=True), tmp_path) as made:
        done = made.run("experiment", "ODD/S1/HUGE", "--dest", str(made.dest), timeout=110)
        assert done.code == 0, done
        sizes = {path.name: path.stat().st_size for path in (made.dest / "ODD" / "S1" / "HUGE").rglob("*.*")}
        assert sizes == {"huge.bin": (4 << 30) + 12345, "after.txt": 6}
