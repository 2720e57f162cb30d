"""Every fault at every kind of request, and nights with many: a table of what was tried, and all that was wrong.

``python tests/faults/run.py [--jobs 2] [--lanes 4] [--only TEXT] [--step N] [--seeds 100] [--seed S] [--faults 40]``:
all cells of all journeys (or every N-th, or those whose name has TEXT in it), then so many seeded mixes (or the one of
``--seed``). What was wrong is told with the option that tries it alone. Exit 1 if anything was, or if a fault did not
fire: a cell in which nothing happened proves nothing.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shlex
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

sys.path[0] = str(Path(__file__).parents[1])  # not this folder: its modules are those of the package "faults"

from faults.effects import CLASSES, is_complete  # noqa: E402
from faults.ground import JOURNEYS  # noqa: E402
from faults.matrix import Cell, Usual, cells, without_effect  # noqa: E402
from faults.mixes import FAULTS, Mix, journey_of, mixed  # noqa: E402
from faults.trial import Trial, met, undisturbed  # noqa: E402

AT_A_TIME = 16  # cells that one process is given
TOLD = 30  # complaints that are told in full
EVERY = 100  # cells, and it is told how far it is

T = TypeVar("T")
R = TypeVar("R")


def in_folders(work: Callable[[T, Path], R], lanes: int, items: Sequence[T]) -> list[R]:
    """``work`` on each item in a folder of its own, several at once in this process."""

    def one(item: T) -> R:
        with tempfile.TemporaryDirectory(prefix="xnat-sync-faults-") as folder:
            return work(item, Path(folder).resolve())

    with ThreadPoolExecutor(lanes) as pool:
        return list(pool.map(one, items))


def spread(
    pool: ProcessPoolExecutor, work: Callable[[T, Path], R], lanes: int, items: Sequence[T], at_a_time: int
) -> Iterator[R]:
    """``work`` on each item, over all processes."""
    parts = [items[at : at + at_a_time] for at in range(0, len(items), at_a_time)]
    for done in pool.map(partial(in_folders, work, lanes), parts):
        yield from done


def usual_of(name: str, home: Path) -> Usual:
    """A journey undisturbed, twice: without faults, and with all that should do nothing."""
    journey = JOURNEYS[name]
    usual = undisturbed(journey, home / "without")
    inert = undisturbed(journey, home / "inert", without_effect(journey, usual))
    assert (inert.requests, inert.bytes) == (usual.requests, usual.bytes), f"{name}: a fault does more than is known"
    return usual


def try_cell(usual: Mapping[str, Usual], cell: Cell, home: Path) -> Trial:
    """One cell."""
    try:
        return met((cell,), usual[cell.journey], home)
    except AssertionError as error:
        return Trial(
            (cell,), -1, fired=True, wrong=["what should stand before does not, or the mending hangs"], told=str(error)
        )


def try_seed(usual: Mapping[str, Usual], faults: int, seed: int, home: Path) -> Mix:
    """One mix."""
    return mixed(seed, usual[journey_of(seed)], home, faults)


def table(trials: Sequence[Trial]) -> str:
    """What came of the cells, by effect."""
    lines = [
        f"{'effect':<16} {'cells':>6} {'fired':>6} {'requests':>9} {'bytes':>8} {'seconds':>8} {'failed':>7}  codes"
    ]
    for effect in (*(cls.__name__ for cls in CLASSES), "all"):
        of = [trial for trial in trials if effect in (type(trial.cells[0].effects[0]).__name__, "all")]
        if of:
            codes = ", ".join(f"{code}: {n}" for code, n in sorted(Counter(trial.code for trial in of).items()))
            lines.append(
                f"{effect:<16} {len(of):>6} {sum(trial.fired for trial in of):>6} {max(t.more for t in of):>+9,} "
                f"{max(t.again for t in of):>+8,} {max(t.seconds for t in of):>8.1f} "
                f"{sum(bool(t.wrong) for t in of):>7}  {codes}"
            )
    return "\n".join(lines)


def summary(mixes: Sequence[Mix]) -> str:
    """What came of the mixes."""
    codes = Counter(code for mix in mixes for code in mix.codes)
    return (
        f"{len(mixes)} seeds, {sum(mix.fired for mix in mixes):,} of {sum(mix.faults for mix in mixes):,} faults fired "
        f"in {sum(codes.values()):,} runs, at most {max((mix.more for mix in mixes), default=0):+} requests in one, "
        f"codes {', '.join(f'{code}: {n}' for code, n in sorted(codes.items()))}"
    )


class Complaints:
    """Tells at once what was wrong, so that a run that is broken off has told it."""

    def __init__(self) -> None:
        self.number = 0

    def __call__(self, text: str) -> None:
        """One more; the first are told in full, of the others the first line."""
        self.number += 1
        print(text + "\n" if self.number <= TOLD else text.partition("\n")[0], flush=True)

    def of_trial(self, trial: Trial) -> None:
        """What is wrong with a cell, if anything is."""
        if trial.wrong:
            self(f"{trial}\nalone: --only {shlex.quote(str(trial.cells[0]))}")
        if not trial.fired:
            self(f"{trial.cells[0]}: did not fire")


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--jobs", type=int, default=2, help="processes (default 2)")
    add("--lanes", type=int, default=4, help="runs at once in each (default 4: most of a run is waiting)")
    add("--only", default="", metavar="TEXT", help="only cells whose name has this in it")
    add("--step", type=int, default=1, help="only every so manieth cell (default 1: all)")
    add("--seeds", type=int, default=int(os.environ.get("FAULT_SEEDS", "100")), help="mixes (default 100)")
    add("--seed", type=int, help="only this mix")
    add("--faults", type=int, default=FAULTS, help=f"in a mix (default {FAULTS})")
    given = parser.parse_args()
    began, told = time.monotonic(), Complaints()
    for name in is_complete():
        told(f"{name} is in no line of the matrix")
    trials: list[Trial] = []
    mixes: list[Mix] = []
    with ProcessPoolExecutor(given.jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        usual = dict(zip(JOURNEYS, spread(pool, usual_of, 1, list(JOURNEYS), 1), strict=True))
        found = [cell for name, journey in JOURNEYS.items() for cell in cells(journey, usual[name])]
        chosen = [cell for cell in found if given.only in str(cell)][:: given.step] if given.seed is None else []
        seeds = [given.seed] if given.seed is not None else range(0 if given.only else given.seeds)
        print(f"{len(chosen):,} of {len(found):,} cells, {len(seeds)} mixes", flush=True)
        for trial in spread(pool, partial(try_cell, usual), given.lanes, chosen, AT_A_TIME):
            trials.append(trial)
            told.of_trial(trial)
            if len(trials) % EVERY == 0:
                print(f"{len(trials):,} cells, {told.number} complaints, {time.monotonic() - began:,.0f} s", flush=True)
        for mix in spread(pool, partial(try_seed, usual, given.faults), given.lanes, list(seeds), given.lanes):
            mixes.append(mix)
            if mix.wrong:
                told(f"{mix}\nalone: --seed {mix.seed} --faults {given.faults}")
    if trials:
        print(table(trials))
    if mixes:
        print(summary(mixes))
    print(f"{told.number} complaints; {time.monotonic() - began:,.0f} s")
    return 1 if told.number else 0


if __name__ == "__main__":
    sys.exit(main())
