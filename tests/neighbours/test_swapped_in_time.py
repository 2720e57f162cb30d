"""A folder is swapped for a link between the look at it and its use: at any call that changes the disk.

The tap swaps when a call is about to be made, and all that led to it has been done.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from kill.calls import Call, load
from kill.tap import BEFORE, Orders, Point
from neighbours.scene import DELETE, STATE, WIDE, Scene, Stage, shapes, stage

# The calls that make and change names, by what they are made of.
OFTEN = (
    "create .* part",
    "create .* ledger",
    "rename .* part",
    "rename .* staged",
    "unlink .* part",
    "mkdir .* staging",
)


@pytest.fixture(scope="module")
def changed() -> Iterator[Stage]:
    with stage() as made:
        yield made


@pytest.fixture(scope="module")
def calls(changed: Stage, tmp_path_factory: pytest.TempPathFactory) -> list[Call]:
    """The first call of each site in a run that has something to do everywhere."""
    scene = changed.scene(tmp_path_factory.mktemp("calls"))
    log = scene.home / "log"
    done = scene.begin_mirror(*DELETE, "--jobs", "1", env=Orders(str(scene.dest), str(log)).variable()).done()
    assert done.code == 0, done
    first: dict[str, Call] = {}
    for call in load(log):
        first.setdefault(call.site, call)
    scene.end()
    return list(first.values())


def folders(call: Call) -> list[str]:
    """The folders in which a call changes names, and our own above them, but the project's: as paths in DEST."""
    if call.name in ("write", "sync", "truncate"):
        return []
    found = {os.path.dirname(path) for path in (call.path, call.to) if path.count("/") > 1}
    own = {folder[: folder.index(STATE) + len(STATE)] for folder in found if STATE in folder}
    return sorted(found | own)


def contents(root: Path) -> dict[str, tuple[int, int, bytes | str]]:
    """What two copies have in common."""
    return {at: (shape[0], shape[4], shape[5]) for at, shape in shapes(root).items()}


def complaints(scene: Scene, call: Call, folder: str) -> Iterator[str]:
    """What came of one swap that should not."""
    at, elsewhere = scene.dest / folder, scene.home / "elsewhere"
    elsewhere.mkdir()
    point = Point(call.site, call.ordinal, BEFORE)
    orders = Orders(str(scene.dest), kill=point, swap=(str(at), str(elsewhere)))
    done = scene.begin_mirror(*DELETE, "--jobs", "1", env=orders.variable()).done()
    if done.code not in (0, 3, 11, 12) or "Traceback" in done.err:
        yield f"ended with {done.code}: {done.err}"
    if not (elsewhere / "aside").exists():
        return  # units side by side: it may not have come to it, or to another folder
    kept, now = contents(elsewhere / "copy"), contents(elsewhere / "link")
    yield from sorted(f"changed outside: {name}" for name in {*kept, *now} if kept.get(name) != now.get(name))
    if at.is_symlink():  # else it was removed with all that was staged beside it
        at.unlink()
        (elsewhere / "aside").rename(at)
    again = scene.nightly()
    if again.code != 0:
        yield f"the next run ended with {again.code}: {again.err}"
    else:
        scene.assert_whole()


def test_nothing_is_changed_behind_a_link_that_comes_in_time(changed: Stage, calls: list[Call], tmp_path: Path) -> None:
    chosen = [
        (call, folder)
        for call in calls
        for folder in folders(call)
        if WIDE or any(re.match(each, call.site) for each in OFTEN)
    ]
    assert len(chosen) >= len(OFTEN)
    wrong = {}
    for number, (call, folder) in enumerate(chosen):
        scene = changed.scene(tmp_path / str(number))
        if found := list(complaints(scene, call, folder)):
            wrong[f"{folder} swapped before {call.name} {call.path} {call.to} ({call.site})"] = found
        scene.end()
    assert not wrong, "\n".join(f"{what}: {found}" for what, found in wrong.items())
    print(f"{len(chosen)} swaps")
