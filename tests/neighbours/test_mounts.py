"""Mounts in DEST: read-only ones, ones that come while the run goes on, and ones that a rename cannot cross."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from neighbours.scene import STATE, WIDE, Scene, stage, state

pytestmark = pytest.mark.skipif(os.geteuid() != 0 or shutil.which("mount") is None, reason="only root may mount")


def mount(*arguments: str | Path) -> None:
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")


def unmount(at: Path) -> None:
    subprocess.run(["umount", "-l", at], capture_output=True, check=True)


@pytest.fixture
def held(tmp_path: Path) -> Iterator[Scene]:
    """A server that has changed, and holds one file back."""
    with stage(gated=True) as made:
        scene = made.scene(tmp_path)
        assert made.gate is not None
        scene.gate = made.gate
        yield scene
        scene.gate.opened.set()
        scene.end()
        for line in reversed(Path("/proc/mounts").read_text().splitlines()):
            if (at := line.split()[1]).startswith(str(tmp_path)):
                unmount(Path(at))


SCANS = "S1/E1/scans"


def read_only(at: Path) -> None:
    """The same folder, and nothing in it can be written."""
    mount("--bind", at, at)
    mount("-o", "remount,bind,ro", at)


def bound(at: Path) -> None:
    """The same folder, but another mount: no rename leads into it."""
    mount("--bind", at, at)


def other_disk(at: Path) -> None:
    """Another file system, which holds the same."""
    aside = at.parent / "aside"
    shutil.copytree(at, aside)
    mount("-t", "tmpfs", "tmpfs", at)
    shutil.copytree(aside, at, dirs_exist_ok=True)
    shutil.rmtree(aside)


@pytest.mark.parametrize(
    ("place", "how", "says"),
    [
        ("", read_only, "read-only"),
        (SCANS, read_only, ""),
        (SCANS, bound, "on another file system"),
        (SCANS, other_disk, "on another file system"),
        (f"{STATE}/staging", other_disk, "on another file system"),
        (f"{STATE}/sessions", read_only, "read-only"),
    ],
)
def test_a_mount_in_the_way_is_told(held: Scene, place: str, how: Callable[[Path], None], says: str) -> None:
    held.gate.opened.set()
    at = held.project / place
    how(at)
    done = held.nightly()
    held.assert_ended_well(done, 12)
    assert says in done.err, done
    unmount(at)
    again = held.nightly("--overwrite")
    assert again.code == 0, again
    held.assert_whole()


@pytest.mark.parametrize(
    ("place", "how"),
    [("S1", read_only), (f"{STATE}/staging", other_disk), *([("", read_only), (STATE, read_only)] if WIDE else [])],
)
def test_a_mount_that_comes_meanwhile_ends_the_run(held: Scene, place: str, how: Callable[[Path], None]) -> None:
    run = held.begin_nightly("--jobs", "1")
    landed = state(held) / "staging" / held.unit / held.number("3") / "tree" / "x.dcm"
    assert held.until(lambda: landed.exists() and held.gate.reached.is_set(), run)
    at = held.project / place
    with run.stopped():
        how(at)
    held.gate.opened.set()
    done = run.done()
    held.assert_ended_well(done, 12)
    unmount(at)
    again = held.nightly("--overwrite")
    assert again.code == 0, again
    held.assert_whole()


@pytest.mark.parametrize("options", ["noexec,nosuid,nodev,sync"])
def test_a_project_on_a_mount_of_its_own_is_mirrored(held: Scene, options: str) -> None:
    held.gate.opened.set()
    shutil.rmtree(held.project)
    held.project.mkdir()
    mount("-t", "tmpfs", "-o", options, "tmpfs", held.project)
    done = held.nightly()
    held.assert_ended_well(done, 0)
