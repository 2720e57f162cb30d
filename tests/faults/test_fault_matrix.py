"""A sample of the fault matrix, each effect at each kind of request once; ``make fault-matrix`` tries all of it."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from faults.effects import CLASSES, is_complete
from faults.ground import JOURNEYS
from faults.matrix import Cell, Usual, cells, sample, without_effect
from faults.mixes import journey_of, mixed
from faults.trial import met, undisturbed

PARTS = 4
LANES = 6  # runs at once: most of a run is waiting
SEEDS = int(os.environ.get("FAULT_SEEDS", "4"))
KINDS = {"login", "auth", "logout", "token", "projects", "experiments", "subjects", "resources", "files", "item",
         "zip", "file", "other"}  # fmt: skip


@cache
def usual() -> dict[str, Usual]:
    """All journeys, undisturbed."""
    with TemporaryDirectory() as folder, ThreadPoolExecutor(LANES) as pool:
        home = Path(folder).resolve()
        found = pool.map(lambda name: undisturbed(JOURNEYS[name], home / name), JOURNEYS)
        return dict(zip(JOURNEYS, found, strict=True))


def all_cells() -> list[Cell]:
    return [cell for name, journey in JOURNEYS.items() for cell in cells(journey, usual()[name])]


def test_the_matrix_has_every_effect_that_the_server_knows() -> None:
    assert is_complete() == []


def test_the_journeys_make_every_kind_of_request_and_each_effect_meets_some() -> None:
    found = all_cells()
    assert {exchange.kind for each in usual().values() for exchange in each.log} == KINDS
    assert {cell.place.kind for cell in found} == KINDS
    assert {type(cell.effects[0]) for cell in found} == {*CLASSES}
    assert all(exchange.range for exchange in usual()["resumed"].log if exchange.kind == "file")


def test_an_effect_does_nothing_where_the_matrix_leaves_it_out(tmp_path: Path) -> None:
    mirror = JOURNEYS["mirror"]
    faults = without_effect(mirror, usual()["mirror"])
    inert = undisturbed(mirror, tmp_path, faults)
    assert (inert.requests, inert.bytes) == (usual()["mirror"].requests, usual()["mirror"].bytes)


@pytest.mark.parametrize("part", range(PARTS))
def test_a_fault_ends_in_the_same_tree_or_the_documented_code(tmp_path: Path, part: int) -> None:
    chosen = sample(all_cells())[part::PARTS]
    with ThreadPoolExecutor(LANES) as pool:
        found = list(
            pool.map(lambda at: met(chosen[at], usual()[chosen[at].journey], tmp_path / str(at)), range(len(chosen)))
        )
    print(len(found), "cells")
    assert not [trial for trial in found if trial.wrong], "\n\n".join(str(trial) for trial in found if trial.wrong)
    assert [str(trial.cell) for trial in found if not trial.fired] == []


def test_nights_with_many_faults_end_with_all_there(tmp_path: Path) -> None:
    with ThreadPoolExecutor(LANES) as pool:
        found = list(pool.map(lambda seed: mixed(seed, usual()[journey_of(seed)], tmp_path / str(seed)), range(SEEDS)))
    for mix in found:
        print(f"seed {mix.seed}: {mix.fired} of {mix.faults} faults fired, codes {mix.codes}")
    assert not [mix for mix in found if mix.wrong], "\n\n".join(str(mix) for mix in found if mix.wrong)
    assert all(mix.fired > mix.faults // 4 for mix in found)
