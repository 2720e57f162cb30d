"""A sample of the fault matrix; ``make fault-matrix`` tries all of it, and ``FAULT_SEEDS=100`` more of the mixes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from faults.effects import CLASSES, is_complete
from faults.ground import JOURNEYS
from faults.matrix import Cell, Usual, cells, without_effect
from faults.mixes import journey_of, mixed
from faults.rules import CODES, Nature, Role
from faults.sample import MAIN, of_main, of_others
from faults.trial import met, undisturbed

PARTS = 3
LANES = 6  # runs at once: most of a run is waiting
SEEDS = int(os.environ.get("FAULT_SEEDS", "3"))
KINDS = {"login", "auth", "logout", "token", "projects", "experiments", "subjects", "resources", "files", "item",
         "zip", "file", "other"}  # fmt: skip


@cache
def usual(name: str) -> Usual:
    """A journey, undisturbed."""
    with TemporaryDirectory() as folder:
        return undisturbed(JOURNEYS[name], Path(folder).resolve())


def all_usual(names: Iterable[str]) -> dict[str, Usual]:
    with ThreadPoolExecutor(LANES) as pool:
        return dict(zip(names, pool.map(usual, names), strict=True))


def all_end_well(runs: Sequence[tuple[Cell, ...]], home: Path) -> None:
    with ThreadPoolExecutor(LANES) as pool:
        found = list(pool.map(lambda at: met(runs[at], usual(runs[at][0].journey), home / str(at)), range(len(runs))))
    print(sum(map(len, runs)), "cells in", len(runs), "runs")
    assert not [trial for trial in found if trial.wrong], "\n\n".join(str(trial) for trial in found if trial.wrong)
    assert [trial.cells for trial in found if not trial.fired] == []


def test_the_matrix_has_every_effect_that_the_server_knows() -> None:
    assert is_complete() == []


def test_there_is_a_rule_for_everything() -> None:
    named = {(str(nature), str(role), ever) for nature in Nature for role in Role for ever in (False, True)}
    assert set(CODES) == named


@pytest.mark.timeout(240)
def test_other_journeys_end_in_the_same_tree_or_the_documented_code(tmp_path: Path) -> None:
    found = all_usual(JOURNEYS)
    every = [cell for name, each in found.items() for cell in cells(JOURNEYS[name], each)]
    assert {exchange.kind for each in found.values() for exchange in each.log} == KINDS
    assert {cell.place.kind for cell in every} == KINDS
    assert {type(cell.effects[0]) for cell in every} == {*CLASSES}
    assert all(exchange.range for exchange in found["resumed"].log if exchange.kind == "file")
    all_end_well(of_others(found), tmp_path)


def test_an_effect_does_nothing_where_the_matrix_leaves_it_out(tmp_path: Path) -> None:
    inert = undisturbed(JOURNEYS[MAIN], tmp_path, without_effect(JOURNEYS[MAIN], usual(MAIN)))
    assert (inert.requests, inert.bytes) == (usual(MAIN).requests, usual(MAIN).bytes)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("part", range(PARTS))
def test_a_fault_ends_in_the_same_tree_or_the_documented_code(tmp_path: Path, part: int) -> None:
    all_end_well(of_main(usual(MAIN))[part::PARTS], tmp_path)


@pytest.mark.timeout(240)
def test_nights_with_many_faults_end_with_all_there(tmp_path: Path) -> None:
    with ThreadPoolExecutor(LANES) as pool:
        found = list(pool.map(lambda seed: mixed(seed, usual(journey_of(seed)), tmp_path / str(seed)), range(SEEDS)))
    for mix in found:
        print(f"seed {mix.seed}: {mix.fired} of {mix.faults} faults fired, codes {mix.codes}")
    assert not [mix for mix in found if mix.wrong], "\n\n".join(str(mix) for mix in found if mix.wrong)
    assert all(mix.fired > mix.faults // 4 for mix in found)
