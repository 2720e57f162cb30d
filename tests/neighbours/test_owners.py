"""Files and folders that are not ours to write, and what we make ourselves: who may read it, and whose it is.

The tests may run as root, to whom nothing is refused: then the command runs without root's capabilities.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from neighbours.scene import DELETE, STATE, WIDE, Scene, Stage, stage
from system.harness import COMMAND, Done, World, world
from xnat_embedded import Site, small_site

OTHER = 12345


@pytest.fixture(scope="module")
def made() -> Iterator[Stage]:
    with stage() as ready:
        yield ready


@pytest.fixture
def here(made: Stage, tmp_path: Path) -> Iterator[Scene]:
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("only root can give files to others")
    scene = made.scene(tmp_path)
    yield scene
    subprocess.run(["chattr", "-R", "-i", scene.dest], capture_output=True, check=False)
    scene.end()


def unprivileged(here: Scene) -> Done:
    """A run by somebody to whom the system refuses what is not theirs."""
    arguments = ("project", "PTV000", "--dest", str(here.dest), *DELETE)
    done = subprocess.run(
        ["setpriv", "--bounding-set=-all", "--inh-caps=-all", *COMMAND, *arguments],
        env=here.env(), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return Done(done.returncode, done.stdout, done.stderr)


def given(*parts: str, mode: int) -> Callable[[Scene], Path]:
    """Given to somebody else, with this mode."""

    def give(here: Scene) -> Path:
        at = here.project.joinpath(*parts)
        at.chmod(mode)
        os.chown(at, OTHER, OTHER)
        return at

    return give


def closed(*parts: str, mode: int) -> Callable[[Scene], Path]:
    """Ours, with this mode."""

    def close(here: Scene) -> Path:
        at = here.project.joinpath(*parts)
        at.chmod(mode)
        return at

    return close


def ledger(here: Scene) -> Path:
    at = Path(here.mirrored.ledger_path(here.unit))
    at.chmod(0o644)
    os.chown(at, OTHER, OTHER)
    return at


def immutable(here: Scene) -> Path:
    at = here.project / "S1/E1/scans/1/DICOM/a.dcm"
    if subprocess.run(["chattr", "+i", at], capture_output=True, check=False).returncode:
        pytest.skip("no file can be made immutable here")
    return at


WAYS: dict[str, tuple[Callable[[Scene], Path], int]] = {
    "a file of another": (given("S1/E1/scans/1/DICOM/a.dcm", mode=0o600), 0),
    "a folder of another": (given("S1/E1/scans/1/DICOM", mode=0o755), 12),
    "a folder that is closed": (closed("S1/E1/scans", mode=0o555), 12),
    "a folder that may not be entered": (closed("S1/E1", mode=0o600), 12),
    "an immutable file": (immutable, 12),
    "a ledger of another": (ledger, 12),
    "a lock of another": (given(STATE, "lock", mode=0o600), 12),
    "the state of another": (given(STATE, mode=0o755), 12),
    "the project of another": (given(mode=0o755), 0),  # nothing new is to stand in it itself
}


OFTEN = ("a file of another", "a folder of another", "an immutable file", "a ledger of another", "a lock of another")


@pytest.mark.parametrize("way", list(WAYS) if WIDE else OFTEN)
def test_what_is_not_ours_to_write_is_told(here: Scene, way: str) -> None:
    spoil, code = WAYS[way]
    at = spoil(here)
    done = unprivileged(here)
    here.assert_ended_well(done, code)
    if code:
        assert f"not allowed to write {here.project}" in done.err, done
        assert at.name in done.err, done
    subprocess.run(["chattr", "-R", "-i", here.dest], capture_output=True, check=False)
    for path in [here.project, *here.project.rglob("*")]:
        os.chown(path, 0, 0)
        path.chmod(0o755 if path.is_dir() else 0o644)
    again = here.nightly()
    assert again.code == 0, again
    here.assert_whole()


# -- what we make -----------------------------------------------------------------------------------------------------


@pytest.fixture
def site() -> Site:
    return small_site()


@pytest.fixture
def empty(tmp_path: Path, site: Site) -> Iterator[World]:
    with world(site, tmp_path) as made:
        yield made


def finish(process: subprocess.Popen[str]) -> None:
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, (out, err)


@pytest.mark.parametrize("umask", [0o077, 0o027, 0o002] if WIDE else [0o027, 0o002])
def test_data_follow_the_umask_and_the_group_of_their_folder(empty: World, umask: int) -> None:
    empty.dest.mkdir()
    group = os.getegid()
    if os.geteuid() == 0:
        group = OTHER
        os.chown(empty.dest, -1, group)
    empty.dest.chmod(0o2775)
    finish(empty.start("project", "PTV000", "--dest", str(empty.dest), umask=umask))
    for path in empty.dest.rglob("*"):
        found = path.lstat()
        asked = 0o777 if stat.S_ISDIR(found.st_mode) else 0o666
        assert stat.S_IMODE(found.st_mode) & 0o777 == asked & ~umask, path
        assert found.st_gid == group, f"{path} lost the group of its folder"
        assert not stat.S_ISDIR(found.st_mode) or found.st_mode & stat.S_ISGID, path


def test_secrets_are_private_whatever_the_umask(empty: World) -> None:
    for arguments in (("login",), ("login", "--token"), ("config", "init")):
        finish(empty.start(*arguments, umask=0))
    kept = [*(empty.home / "state").rglob("*"), *(empty.home / "config").rglob("*")]
    assert len([path for path in kept if path.is_file()]) == 3
    for path in kept:
        mode = stat.S_IMODE(path.lstat().st_mode)
        if path.is_file():
            assert mode == 0o600, path
        elif any(below.is_file() for below in path.iterdir()):
            assert mode == 0o700, path
