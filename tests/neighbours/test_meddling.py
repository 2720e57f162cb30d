"""Another process writes in DEST while the server holds a request: told, never passed over, and made good."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from neighbours.scene import STATE, WIDE, Scene, stage, state
from system.warm import Run

SCAN = Path("S1/E1/scans/1/DICOM")


@pytest.fixture
def here(tmp_path: Path) -> Iterator[tuple[Scene, Run]]:
    """A run in the middle of a zip: one member has landed, the next one waits; all else is listed and compared."""
    with stage(gated=True) as made:
        scene = made.scene(tmp_path)
        assert made.gate is not None
        scene.gate = made.gate
        run = scene.begin_nightly("--jobs", "1")
        landed = state(scene) / "staging" / scene.unit / scene.number("3") / "tree" / "x.dcm"
        assert scene.until(lambda: landed.exists() and scene.gate.reached.is_set(), run)
        yield scene, run
        scene.gate.opened.set()
        scene.end()


def gone(*parts: str) -> Callable[[Scene], None]:
    def meddle(here: Scene) -> None:
        here.project.joinpath(*parts).rename(here.home / "bin")  # at once, however busy the run is in it

    return meddle


def written(at: Path, data: bytes) -> Callable[[Scene], None]:
    return lambda here: void((here.project / at).write_bytes(data))


def to_ledger(change: Callable[[bytes], bytes]) -> Callable[[Scene], None]:
    def meddle(here: Scene) -> None:
        path = Path(here.mirrored.ledger_path(here.unit))
        path.write_bytes(change(path.read_bytes()))

    return meddle


def void(_: object) -> None:
    """What a write gives is of no interest."""


# What is done, and the codes that are right then: 0 only where nothing in scope is missing.
MEDDLING: dict[str, tuple[Callable[[Scene], None], set[int]]] = {
    "staging deleted": (gone(STATE, "staging"), {0, 12}),
    "state deleted": (gone(STATE), {11, 12}),
    "project deleted": (gone(), {11, 12}),
    "destination deleted": (lambda here: void(here.dest.rename(here.home / "bin")), {11, 12}),
    "session deleted": (gone("S1", "E1"), {0, 12}),
    "unchanged file deleted": (gone(str(SCAN / "c.dcm")), {0}),
    "unchanged file overwritten": (written(SCAN / "c.dcm", b"another"), {3}),
    "replaced file deleted": (gone(str(SCAN / "a.dcm")), {0}),
    "replaced file overwritten": (written(SCAN / "a.dcm", b"another"), {3}),
    "added file written": (written(SCAN / "d.dcm", b"another"), {3}),
    "new resource made": (lambda here: (here.project / "S1/E1/scans/3/DICOM/x.dcm/sub").mkdir(parents=True), {3}),
    "ledger deleted": (lambda here: Path(here.mirrored.ledger_path(here.unit)).unlink(), {0, 3}),
    "ledger truncated": (to_ledger(lambda old: b""), {0, 3}),
    "ledger cut": (to_ledger(lambda old: old[: len(old) // 2]), {0, 3}),
    "junk in ledger": (to_ledger(lambda old: old + b'\x00\xff{"held": 1}\n{"gone'), {0}),
    "runs deleted": (gone(STATE, "runs"), {0}),
    "index deleted": (gone(STATE, "index.jsonl"), {0}),
    "tag deleted": (gone(STATE, "staging", "CACHEDIR.TAG"), {0}),
    "lock deleted": (gone(STATE, "lock"), {0, 11}),
}


OFTEN = (
    "staging deleted", "state deleted", "project deleted", "session deleted", "unchanged file deleted",
    "unchanged file overwritten", "replaced file overwritten", "ledger deleted", "ledger cut", "junk in ledger",
)  # fmt: skip


@pytest.mark.parametrize("name", list(MEDDLING) if WIDE else OFTEN)
def test_what_others_do_meanwhile_is_told_and_made_good(here: tuple[Scene, Run], name: str) -> None:
    scene, run = here
    meddle, codes = MEDDLING[name]
    meddle(scene)
    scene.gate.opened.set()
    done = run.done()
    scene.assert_ended_well(done, *codes)
    again = scene.nightly("--overwrite") if "new resource" not in name else scene.nightly()
    if "new resource" in name:
        assert again.code == 3, again
        shutil.rmtree(scene.project / "S1/E1/scans/3/DICOM/x.dcm")
        again = scene.nightly()
    assert again.code == 0, again
    scene.assert_whole()
