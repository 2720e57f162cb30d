"""Filters, levels and layouts through the real command, on mirroring and on ``ls``."""

from __future__ import annotations

import csv
import io
import json

import pytest

from system.harness import STATE, World, truth
from system.warm import warm_world
from xnat_embedded import empty_site


def chosen(here: World, *arguments: str) -> set[str]:
    done = here.mirror(*arguments)
    assert done.code == 0, done
    tree = here.tree()
    assert tree.items() <= truth(here.site).items()
    return set(tree)


def expected(here: World, *words: str, without: tuple[str, ...] = ()) -> set[str]:
    """Paths that hold every one of the words and none of the others."""
    return {
        path
        for path in truth(here.site)
        if all(word in f"/{path}" for word in words) and not any(word in f"/{path}" for word in without)
    }


@pytest.mark.parametrize(
    ("arguments", "words", "without"),
    [
        (("--scan", "4"), ("/scans/4/",), ()),
        (("--scan", "[15]", "--exclude-scan", "1"), ("/scans/5/",), ()),
        (("--resource", "DICOM"), ("/DICOM/",), ()),
        (("-r", "re:DI.*", "--scan", "4"), ("/scans/4/DICOM/",), ()),
        (("--exclude-resource", "DICOM"), (), ("/DICOM/",)),
        (("--subject", "Haofei01"), ("/Haofei01/",), ()),
        (("--exclude-subject", "Haofei0[234]"), (), ("/Haofei02/", "/Haofei03/", "/Haofei04/")),
        (("--exclude-scan", "4"), (), ("/scans/4/",)),
        (("--session", "Haofei01_MR1"), ("/Haofei01/Haofei01_MR1/",), ()),
        (("--experiment", "*_MR1", "--subject", "*1"), ("/Haofei01/Haofei01_MR1/",), ()),
        (("--level", "scans"), ("/scans/",), ()),
        (("--level", "session", "--experiment", "Haofei01_MR1"), ("/Haofei01_MR1/resources/",), ()),
    ],
)
def test_a_filter_takes_what_it_says(
    here: World, arguments: tuple[str, ...], words: tuple[str, ...], without: tuple[str, ...]
) -> None:
    wanted = expected(here, *words, without=without)
    assert wanted
    assert chosen(here, *arguments) == wanted


def test_scans_are_chosen_by_type(here: World) -> None:
    types = {
        f"/{session.label}/scans/{scan.id}/"
        for session in here.site.experiments_in(here.site.project("PTV000"))  # type: ignore[arg-type]
        for scan in session.scans
        if scan.type == "t1_mprage"
    }
    wanted = {path for path in truth(here.site) if any(part in path for part in types)}
    assert wanted
    assert chosen(here, "--scan-type", "t1_*") == wanted


def test_sessions_are_chosen_by_date(here: World) -> None:
    sessions = {e.label: e.date for e in here.site.experiments_in(here.site.project("PTV000"))}  # type: ignore[arg-type]
    day = sorted(date for date in sessions.values() if date)[2]
    after = {path for path in truth(here.site) if sessions.get(path.split("/")[1], "") >= day}
    assert after
    assert chosen(here, "--after", day, "--level", "scans,session,assessors") == after


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--subject", "Haofei1"), "no subject matches 'Haofei1'; did you mean Haofei01"),
        (("--experiment", "Haofei01_MR"), "no experiment matches 'Haofei01_MR'; did you mean Haofei01_MR"),
        (("--scan", "44"), "no scan matches '44'; did you mean 4"),
        (("--resource", "DICM"), "no resource matches 'DICM'; did you mean DICOM"),
        (("--scan-type", "t1_mprag"), "no scan type matches 't1_mprag'; did you mean t1_mprage"),
        (("--level", "scan"), "no level is called 'scan'"),
        (("--after", "yesterday"), "2026-01-31"),
        (("--subject", "re:("), "no regular expression"),
        (("--layout", "{session}/{scn}/{resource}"), "did you mean scan"),
        (("--layout", "{session}/{resource}"), "lacks {scan}"),
        (("--layout", "{scan}/{session}/{resource}"), "lacks {session}"),
        (("--layout", "/{session}/{scan}/{resource}"), "relative path"),
        (("--layout", "{session}/../{scan}/{resource}"), "relative path"),
        (("--layout", "{session}/{scan/{resource}"), "--layout"),
    ],
)
def test_what_matches_nothing_is_an_error_with_the_nearest_names(
    here: World, arguments: tuple[str, ...], says: str
) -> None:
    done = here.mirror(*arguments)
    assert done.code == 2, done
    assert says in done.err, done
    assert "Traceback" not in done.err
    assert here.fetched_bytes() == 0


def test_a_scan_that_is_not_there_is_an_error(here: World) -> None:
    done = here.run("scan", "PTV000/Haofei01/Haofei01_MR1/99", "--dest", str(here.dest))
    assert done.code == 2, done
    assert here.tree() == {}


def test_a_narrower_run_leaves_the_rest_as_it_is(here: World) -> None:
    assert here.mirror().code == 0
    state = {path.name: path.read_text() for path in (here.project / STATE / "sessions").iterdir()}
    assert here.mirror("--scan", "4", "--resource", "DICOM").code == 0
    assert {path.name: path.read_text() for path in (here.project / STATE / "sessions").iterdir()} == state
    before = here.fetched_bytes()
    assert here.mirror().code == 0
    assert here.fetched_bytes() == before
    assert here.tree() == truth(here.site)


@pytest.mark.parametrize(
    ("layout", "path"),
    [
        ("xnat", "Haofei01_MR1/scans/4-t1_mprage/resources/DICOM/files/"),
        ("{session_type}/{session}/{scan}_{scan_type}/{resource}", "mrSessionData/Haofei01_MR1/4_t1_mprage/DICOM/"),
        ("{subject}-{session}/{scan}.{resource}", "Haofei01-Haofei01_MR1/4.DICOM/"),
    ],
)
def test_a_layout_moves_the_same_files(here: World, layout: str, path: str) -> None:
    for _ in range(2):
        done = here.mirror("--layout", layout)
        assert done.code == 0, done
        tree = here.tree()
        assert sorted(tree.values()) == sorted(truth(here.site).values())
        assert any(file.startswith(path) for file in tree)
    assert "72 already here" in done.out
    other = here.mirror()
    assert other.code == 2, other
    assert "--layout" in other.err
    assert here.tree() == tree


# -- looking around ------------------------------------------------------------------------------------------------


def test_ls_takes_the_same_filters(here: World) -> None:
    rows = json.loads(here.run("ls", "PTV000", "--subject", "Haofei01", "--json").out)
    assert {row["subject"] for row in rows} == {"Haofei01"}
    rows = json.loads(here.run("ls", "PTV000/Haofei01/Haofei01_MR1", "--resource", "NIFTI", "--json").out)
    assert {row["resource"] for row in rows} == {"NIFTI"}
    done = here.run("ls", "PTV000", "--subject", "Haofei1")
    assert (done.code, "did you mean Haofei01" in done.err) == (2, True)


def test_ls_tells_true_counts_and_sizes_however_stale_the_database(here: World) -> None:
    scan = here.site.project("PTV000").subject("Haofei01").session("Haofei01_MR1").scan("4")  # type: ignore[union-attr]
    resource = scan.resource("DICOM")
    resource.file_count, resource.file_size = "1", "7"
    done = here.run("ls", "PTV000/Haofei01/Haofei01_MR1/4", "--csv")
    rows = {row["resource"]: row for row in csv.DictReader(io.StringIO(done.out))}
    assert int(rows["DICOM"]["files"]) == len(resource.entries)
    assert int(rows["DICOM"]["bytes"]) == sum(e.content.size for e in resource.entries if e.content)
    resource.entries[0].listed_size = ""
    assert "≥" in here.run("ls", "PTV000/Haofei01/Haofei01_MR1/4").out


def test_ls_of_a_subject_sums_up_its_sessions(here: World) -> None:
    rows = {row["unit"]: row for row in json.loads(here.run("ls", "PTV000/Haofei01", "--json").out)}
    files = [path for path in truth(here.site) if path.startswith("Haofei01/Haofei01_MR1/")]
    assert rows["Haofei01_MR1"]["files"] == len(files)


def test_ls_of_a_thousand_sessions_costs_one_listing(tmp_path_factory: pytest.TempPathFactory) -> None:
    site = empty_site()
    project = site.add_project("BIG", members=("demo",))
    for number in range(1000):
        project.add_subject(f"S{number:04}").add_session(f"S{number:04}_MR1")
    with warm_world(site, tmp_path_factory.mktemp("big")) as here:
        done = here.run("ls", "BIG")
        assert done.code == 0, done
        assert len(done.out.splitlines()) == 1001
        listings = [e for e in here.server.log if e.kind not in ("login", "auth", "logout")]
        assert len(listings) <= 2


def test_tables_are_aligned_for_people(here: World) -> None:
    lines = here.run("ls", "PTV000").out.splitlines()
    column = lines[0].index("experiment")
    assert all(line[column - 1] == " " and line[column] != " " for line in lines)
    assert "name" in here.run("projects").out.splitlines()[0]
    assert next(csv.reader(io.StringIO(here.run("projects", "--csv").out)))[0] == "id"
