"""A folder is swapped for a link, or for a mount, while the server holds a request: nothing goes through it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from neighbours.scene import STATE, WIDE, Scene, stage, state
from system.warm import Run

PLACES: dict[str, Callable[[Scene], Path]] = {
    "subject": lambda here: here.project / "S1",
    "scans": lambda here: here.project / "S1" / "E1" / "scans",
    "resource": lambda here: here.project / "S1" / "E1" / "scans" / "1" / "DICOM",
    "state": state,
    "staging": lambda here: state(here) / "staging",
    "staged resource": lambda here: state(here) / "staging" / here.unit / here.number("3"),
    "parts": lambda here: state(here) / "staging" / here.unit / here.number("3") / "parts",
    "tree": lambda here: state(here) / "staging" / here.unit / here.number("3") / "tree",
    "ledgers": lambda here: state(here) / "sessions",
    "runs": lambda here: state(here) / "runs",
}
OFTEN = ("subject", "state", "parts", "tree", "ledgers")


@pytest.fixture
def here(tmp_path: Path) -> Iterator[tuple[Scene, Run]]:
    """A run in the middle of a zip: one member has landed, the next one waits."""
    with stage(gated=True) as made:
        scene = made.scene(tmp_path)
        assert made.gate is not None
        scene.gate = made.gate
        run = scene.begin_nightly("--jobs", "1")
        landed = PLACES["tree"](scene) / "x.dcm"
        assert scene.until(lambda: landed.exists() and scene.gate.reached.is_set(), run)
        yield scene, run
        scene.gate.opened.set()
        scene.end()


def swap(here: Scene, at: Path) -> Path:
    """In the place of a folder there is a link to a copy outside; the folder itself is kept aside."""
    aside, copy = here.home / "aside", here.outside / "copy"
    shutil.copytree(at, copy, symlinks=True)
    at.rename(aside)
    at.symlink_to(copy)
    here.guard()
    return aside


@pytest.mark.parametrize("place", list(PLACES) if WIDE else list(OFTEN))
def test_a_folder_swapped_for_a_link_is_not_written_through(here: tuple[Scene, Run], place: str) -> None:
    scene, run = here
    at = PLACES[place](scene)
    with run.stopped():
        aside = swap(scene, at)
    scene.gate.opened.set()
    done = run.done()
    scene.assert_ended_well(done, 0, 3, 12)
    at.unlink()
    os.rename(aside, at)
    again = scene.nightly()
    assert again.code == 0, again
    scene.assert_whole()
    scene.assert_outside_untouched()


def test_a_project_that_is_swapped_for_a_link_is_another_folder(here: tuple[Scene, Run]) -> None:
    scene, run = here
    with run.stopped():
        aside = swap(scene, scene.project)
    scene.gate.opened.set()
    done = run.done()
    assert done.code == 12, done
    assert "is not what it was" in done.err
    files = {at for at in scene.before if at.startswith("copy/") and f"/{STATE}" not in at}
    for at in files:
        assert (scene.outside / at).lstat().st_mtime_ns == scene.before[at][4], at
    scene.project.unlink()
    aside.rename(scene.project)
    assert scene.nightly().code == 0
    scene.assert_whole()


def test_a_destination_and_a_project_may_be_links_from_the_start(tmp_path: Path) -> None:
    """How somebody keeps one project on another disk."""
    with stage() as made:
        scene = made.scene(tmp_path)
        for at in (scene.project, scene.dest):
            there = scene.home / f"disk of {at.name}"
            at.rename(there)
            at.symlink_to(there)
        assert scene.nightly().code == 0
        scene.assert_whole()
        scene.assert_outside_untouched()
        assert scene.project.is_symlink()
        scene.end()
