"""Changes on the server and here: only what changed moves, what was renamed is renamed, what is gone is told."""

from __future__ import annotations

import os
import shutil

import pytest

from system.harness import STATE, World, truth
from xnat_embedded import Experiment, Site


def session(site: Site, label: str = "Haofei01_MR1") -> Experiment:
    project = site.project("PTV000")
    assert project is not None
    return next(one for one in site.experiments_in(project) if one.label == label)


def listings(here: World) -> int:
    return sum(e.kind not in ("login", "auth", "logout", "zip", "file") for e in here.server.log)


def again(here: World, *arguments: str, code: int = 0) -> tuple[int, int]:
    """Run once more; gives the bytes and the listings that it cost."""
    data, asked = here.fetched_bytes(), listings(here)
    done = here.mirror(*arguments)
    assert done.code == code, done
    return here.fetched_bytes() - data, listings(here) - asked


@pytest.fixture(autouse=True)
def mirrored(here: World) -> None:
    assert here.mirror().code == 0


def test_an_unchanged_project_costs_one_listing(here: World) -> None:
    assert again(here) == (0, 1)
    assert again(here, "--relist")[1] > 12
    assert again(here) == (0, 1)


def test_one_changed_session_costs_its_own_listings(here: World, site: Site) -> None:
    session(site).scan("4").resource("DICOM").add_file("new.dcm", b"n" * 999)
    cost, asked = again(here)
    assert cost == 999
    # The project's and the subject's lists, and of the session: resources, files, assessors; then subject and project.
    assert asked <= 7
    assert here.tree() == truth(site)
    assert again(here) == (0, 1)


def test_a_file_replaced_with_the_same_size_is_noticed(here: World, site: Site) -> None:
    resource = session(site).scan("4").resource("DICOM")
    old = resource.entries[0].content
    assert old is not None
    resource.replace_file(resource.entries[0].path, bytes(reversed(old.read())))
    assert again(here)[0] == old.size
    assert here.tree() == truth(site)


def test_what_last_modified_does_not_show_is_found_when_relisted(here: World, site: Site) -> None:
    session(site).scan("4").resource("DICOM").add_file("quiet.dcm", b"q" * 500, touch=False)
    assert again(here) == (0, 1)
    assert again(here, "--relist-after", "0s")[0] == 500
    assert here.tree() == truth(site)


def test_files_removed_or_edited_here_are_noticed_without_a_change_there(here: World, site: Site) -> None:
    paths = [path for path in truth(site) if path.endswith(".dcm")]
    victim, edited = here.project / paths[0], here.project / paths[-1]
    size = victim.stat().st_size
    victim.unlink()
    assert again(here)[0] == size
    edited.write_bytes(b"mine")
    assert again(here, code=3)[0] == 0
    assert edited.read_bytes() == b"mine"
    assert again(here, "--overwrite")[0] > 0
    assert here.tree() == truth(site)


def test_half_the_mirror_deleted_comes_back(here: World, site: Site) -> None:
    shutil.rmtree(here.project / "Haofei01" / "Haofei01_MR1" / "scans")
    shutil.rmtree(here.project / "Haofei02")
    again(here)
    assert here.tree() == truth(site)


@pytest.mark.parametrize("damage", ["index", "ledgers", "garbage", "torn", "all"])
def test_damaged_state_costs_no_bytes(here: World, site: Site, damage: str) -> None:
    state = here.project / STATE
    ledgers = sorted((state / "sessions").iterdir())
    match damage:
        case "index":
            (state / "index.jsonl").unlink()
        case "ledgers":
            for path in ledgers:
                path.unlink()
        case "garbage":
            for path in [*ledgers, state / "index.jsonl", state / "mirror.json"]:
                path.write_bytes(b"\xff\x00{not json\n" + path.read_bytes()[40:])
        case "torn":
            for path in [*ledgers, state / "index.jsonl"]:
                path.write_bytes(path.read_bytes()[:-7])
        case "all":
            shutil.rmtree(state)
    assert again(here)[0] == 0
    assert here.tree() == truth(site)
    assert again(here) == (0, 1)


def test_a_renamed_session_is_renamed_and_not_fetched(here: World, site: Site) -> None:
    session(site).rename("Haofei01_MR1b")
    assert again(here)[0] == 0
    assert here.tree() == truth(site)
    assert not (here.project / "Haofei01" / "Haofei01_MR1").exists()
    assert again(here) == (0, 1)


def test_swapped_labels_are_swapped(here: World, site: Site) -> None:
    one, two = session(site, "Haofei01_MR1"), session(site, "Haofei01_MR2")
    one.rename("parked")
    two.rename("Haofei01_MR1")
    one.rename("Haofei01_MR2")
    assert again(here)[0] == 0
    assert here.tree() == truth(site)


def test_a_renamed_subject_is_renamed_and_not_fetched(here: World, site: Site) -> None:
    site.project("PTV000").subject("Haofei01").rename("Renamed")  # type: ignore[union-attr]
    assert again(here)[0] == 0
    assert here.tree() == truth(site)
    assert not (here.project / "Haofei01").exists()


def test_a_session_moved_to_another_subject_is_moved_and_not_fetched(here: World, site: Site) -> None:
    project = site.project("PTV000")
    assert project is not None
    session(site).move(project.subject("Haofei02"))
    session(site).rename("Moved_MR1")
    assert again(here)[0] == 0
    assert here.tree() == truth(site)


def test_a_renamed_file_moves_here_too(here: World, site: Site) -> None:
    resource = session(site).scan("4").resource("DICOM")
    entry = resource.entries[0]
    assert entry.content is not None
    data = entry.content.read()
    resource.remove_file(entry.path)
    resource.add_file("renamed/" + entry.path, data)
    assert again(here)[0] == 0
    assert here.tree() == truth(site)
    assert here.summary()["files"]["moved"] == 1


def test_a_renamed_scan_moves_here_too(here: World, site: Site) -> None:
    scan = session(site).scan("4")
    scan.id = "44"
    session(site).touch()
    assert again(here)[0] == 0
    assert here.tree() == truth(site)


def test_what_is_gone_is_extra_and_kept(here: World, site: Site) -> None:
    before = here.tree()
    resource = session(site).scan("4").resource("DICOM")
    resource.remove_file(resource.entries[0].path)
    session(site, "Haofei01_MR2").remove()
    assert again(here)[0] == 0
    gone = set(before) - set(truth(site))
    assert here.tree() == before
    assert here.summary()["files"]["extra"] == len(gone)
    assert here.summary()["files"]["trashed"] == 0
    assert again(here) == (0, 1), "extras are remembered, and cost no listing"
    assert here.summary()["files"]["extra"] == len(gone)
    assert here.tree() == before


def test_delete_moves_extras_to_the_trash(here: World, site: Site) -> None:
    before = here.tree()
    resource = session(site).scan("4").resource("DICOM")
    resource.remove_file(resource.entries[0].path)
    session(site, "Haofei01_MR2").remove()
    done = here.mirror("--delete", "--max-delete", "1")
    assert done.code == 3, done
    assert "--max-delete" in done.err
    assert here.tree() == before
    assert again(here, "--delete", "--max-delete", "50%")[0] == 0
    assert here.tree() == truth(site)
    assert not (here.project / "Haofei01" / "Haofei01_MR2").exists()
    trashed = [path for path in (here.project / STATE / "trash").rglob("*") if path.is_file()]
    assert len(trashed) == len(before) - len(truth(site))
    assert again(here) == (0, 1)
    assert again(here, "--delete") == (0, 1)


def test_extras_that_were_only_touched_go_to_the_trash(here: World, site: Site) -> None:
    resource = session(site).scan("4").resource("DICOM")
    name = resource.entries[0].path
    resource.remove_file(name)
    path = here.project / "Haofei01" / "Haofei01_MR1" / "scans" / "4" / "DICOM" / name
    os.utime(path, (1, 1))
    assert again(here, "--delete")[0] == 0
    assert not path.exists()


def test_nothing_is_deleted_after_a_failure_or_when_changed_here(here: World, site: Site) -> None:
    from xnat_embedded import EVERY, Fault, Status

    resource = session(site).scan("4").resource("DICOM")
    name = resource.entries[0].path
    resource.remove_file(name)
    here.server.faults.add(Fault(Status(500), kind="files", path=session(site, "Haofei02_MR1").id, count=EVERY))
    path = here.project / "Haofei01" / "Haofei01_MR1" / "scans" / "4" / "DICOM" / name
    done = here.mirror("--delete", "--relist", "--retries", "0")
    assert done.code == 3, done
    assert path.exists()
    here.server.faults.clear()
    path.write_bytes(b"mine now")
    assert here.mirror("--delete").code == 3
    assert path.read_bytes() == b"mine now"
    path.unlink()
    assert again(here, "--delete")[0] == 0
    assert here.tree() == truth(site)


def test_a_narrow_run_deletes_nothing_outside(here: World, site: Site) -> None:
    before = here.tree()
    session(site, "Haofei01_MR2").remove()
    done = here.run("subject", "PTV000/Haofei02", "--dest", str(here.dest), "--delete")
    assert done.code == 0, done
    assert here.tree() == before
