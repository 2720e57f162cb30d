"""Links, pipes, devices and folders planted in DEST before a run: refused or replaced, never written through."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from neighbours.scene import EXTRA, WIDE, Scene, Stage, stage, state

Plant = Callable[[Scene, Path], None]


@pytest.fixture(scope="module")
def made() -> Iterator[Stage]:
    with stage() as ready:
        yield ready


@pytest.fixture
def here(made: Stage, tmp_path: Path) -> Iterator[Scene]:
    scene = made.scene(tmp_path)
    yield scene
    scene.end()


# -- where ------------------------------------------------------------------------------------------------------------

FOLDERS: dict[str, Callable[[Scene], Path]] = {
    "subject": lambda here: here.project / "S1",
    "session": lambda here: here.project / "S1" / "E1",
    "scans": lambda here: here.project / "S1" / "E1" / "scans",
    "resource": lambda here: here.project / "S1" / "E1" / "scans" / "1" / "DICOM",
    "new scan": lambda here: here.project / "S1" / "E1" / "scans" / "3",
    "new resource": lambda here: here.project / "S1" / "E1" / "scans" / "3" / "DICOM",
    "state": state,
    "staging": lambda here: state(here) / "staging",
    "staged unit": lambda here: state(here) / "staging" / here.unit,
    "staged resource": lambda here: state(here) / "staging" / here.unit / here.number("3"),
    "parts": lambda here: state(here) / "staging" / here.unit / here.number("3") / "parts",
    "tree": lambda here: state(here) / "staging" / here.unit / here.number("3") / "tree",
    "ledgers": lambda here: state(here) / "sessions",
    "runs": lambda here: state(here) / "runs",
    "trash": lambda here: state(here) / "trash",
}
FILES: dict[str, Callable[[Scene], Path]] = {
    "replaced file": lambda here: here.project / "S1" / "E1" / "scans" / "1" / "DICOM" / "a.dcm",
    "added file": lambda here: here.project / "S1" / "E1" / "scans" / "1" / "DICOM" / "d.dcm",
    "extra file": lambda here: here.project / EXTRA,
    "part": lambda here: Path(here.mirrored.stage(here.unit, here.notes).part_path("n.txt")),
    "note": lambda here: Path(here.mirrored.stage(here.unit, here.notes).part_path("n.txt") + ".json"),
    "ledger": lambda here: Path(here.mirrored.ledger_path(here.unit)),
    "next ledger": lambda here: Path(here.mirrored.ledger_path(here.unit) + ".new"),
    "index": lambda here: Path(here.mirrored.index_path),
    "form": lambda here: Path(here.mirrored.form_path),
    "next form": lambda here: Path(here.mirrored.form_path + ".new"),
    "lock": lambda here: Path(here.mirrored.lock_path),
    "tag": lambda here: state(here) / "staging" / "CACHEDIR.TAG",
}


# -- what -------------------------------------------------------------------------------------------------------------


def to_moved(here: Scene, at: Path) -> None:
    """The real thing lies outside, and a link leads there: all looks in order."""
    there = here.outside / "moved"
    if at.exists():
        shutil.move(at, there)
    elif at.suffix:
        there.write_bytes(b"")
    else:
        there.mkdir()
    at.symlink_to(there)


def to_folder(here: Scene, at: Path) -> None:
    at.symlink_to(here.outside / "folder")


def to_folder_relative(here: Scene, at: Path) -> None:
    at.symlink_to(os.path.relpath(here.outside / "folder", at.parent))


def to_file(here: Scene, at: Path) -> None:
    at.symlink_to(here.outside / "canary")


def to_nothing(here: Scene, at: Path) -> None:
    at.symlink_to(here.outside / "nothing yet")


def to_itself(here: Scene, at: Path) -> None:
    at.symlink_to(at.name)


def hard(here: Scene, at: Path) -> None:
    """One more name of a file outside."""
    os.link(here.outside / "canary", at)


def hard_moved(here: Scene, at: Path) -> None:
    """The real thing has a second name outside, as in a snapshot made of hard links."""
    there = here.outside / "snapshot"
    if at.exists():
        shutil.move(at, there)
    else:
        there.write_bytes(b"")
    os.link(there, at)


def pipe(here: Scene, at: Path) -> None:
    os.mkfifo(at)


def bound(here: Scene, at: Path) -> None:
    at.parent.joinpath("s").unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as made:
        name = os.open(at.parent, os.O_PATH)
        try:
            made.bind(f"/proc/self/fd/{name}/{at.name}")
        finally:
            os.close(name)


def device(here: Scene, at: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root may make devices")
    try:
        os.mknod(at, 0o600 | 0o020000, os.makedev(1, 5))  # /dev/zero: it never ends, and swallows all
    except PermissionError:
        pytest.skip("no devices can be made here")


def folder(here: Scene, at: Path) -> None:
    at.mkdir()
    (at / "canary").write_bytes(b"of others")


def file(here: Scene, at: Path) -> None:
    at.write_bytes(b"of others")


LINKS: tuple[Plant, ...] = (to_moved, to_folder, to_folder_relative, to_file, to_nothing, to_itself)
IN_PLACE_OF_FOLDERS: tuple[Plant, ...] = (*LINKS, pipe, bound, device, file)
IN_PLACE_OF_FILES: tuple[Plant, ...] = (*LINKS, hard, hard_moved, pipe, bound, device, folder)


GROWS = ("part", "note", "ledger", "index", "tag")  # files that are written in place


def cases() -> list[tuple[str, Plant]]:
    """Every place with every thing; or each with the worst for it, and every third with one more in turn."""
    found: list[tuple[str, Plant]] = []
    for places, plants in ((FOLDERS, IN_PLACE_OF_FOLDERS), (FILES, IN_PLACE_OF_FILES)):
        for number, place in enumerate(places):
            worst = (to_moved, hard_moved, pipe) if place in GROWS else (to_moved,)
            rest = [plant for plant in plants if plant not in worst]
            more = rest if WIDE else [rest[number % len(rest)]] if number % 4 == 0 else []
            found += [(place, plant) for plant in (*worst, *more)]
    return found


def put(here: Scene, at: Path, plant: Plant) -> None:
    at.parent.mkdir(parents=True, exist_ok=True)
    if plant not in (to_moved, hard_moved):
        if at.is_dir():
            shutil.rmtree(at)
        else:
            at.unlink(missing_ok=True)
    plant(here, at)
    here.guard()


def take_off(at: Path) -> None:
    if at.is_dir() and not at.is_symlink():
        shutil.rmtree(at)
    else:
        at.unlink(missing_ok=True)


@pytest.mark.parametrize(("place", "plant"), cases(), ids=lambda value: getattr(value, "__name__", value))
def test_what_is_planted_is_refused_or_replaced(here: Scene, place: str, plant: Plant) -> None:
    at = {**FOLDERS, **FILES}[place](here)
    put(here, at, plant)
    done = here.nightly()
    # A lock that says nothing of use may be somebody's.
    here.assert_ended_well(done, 0, 3, 12, *([11] if place == "lock" else []))
    assert done.code in (0, 3) or at.name in done.err, done
    if not WIDE and place not in ("subject", "state", "tree", "ledger", "part"):
        return
    take_off(at)
    again = here.nightly("--overwrite")  # without its ledger, what the server has replaced is of nobody known
    assert again.code == 0, again
    here.assert_whole()
    here.assert_outside_untouched()
