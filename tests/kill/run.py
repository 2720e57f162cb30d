"""Kill runs, and let the power fail, at every point: a table of what was tried, and all that was wrong.

``python tests/kill/run.py [--seconds N] [--sample N] [--seed S] [--seeds 8] [--disks 100] [--jobs 2] [SCENARIO …]``:
every kill point of the scenarios (default: all), then every moment of each with every policy and so many seeds, and so
many of the disks that come of it put in order by the command. ``--sample`` takes so many points of each scenario,
``--seconds`` as many as fit into so long, both spread over all as ``--seed`` says. What was wrong is told with the
options that try it alone. Exit 1 if anything was, or if too many points were not reached.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
sys.path[0] = str(HERE.parent)  # not this folder: its modules are those of the package "kill"

from kill import matrix, power  # noqa: E402
from kill.ground import Ground, laid  # noqa: E402
from kill.matrix import Outcome, Tried  # noqa: E402
from kill.scenarios import JOBS, SCENARIOS  # noqa: E402
from kill.shadow import Policy  # noqa: E402
from kill.tap import AFTER, BEFORE, WITHIN, Point  # noqa: E402

KILLS = 0.7  # of the time is for kills, the rest for power losses
TOLD = 20  # complaints of one scenario
HEAD = (
    "scenario        points tried  mended  not reached  failed  bytes again   disks  different  mended  wrong  seconds"
)


@dataclass(frozen=True)
class Asked:
    """What the options ask for."""

    sample: int | None
    seed: int
    seeds: int
    disks: int
    point: Point | None
    moment: power.Moment | None

    @property
    def dice(self) -> list[int]:
        """The seeds for disks; the worst one always among them."""
        return [0, *range(self.seed * self.seeds + 1, (self.seed + 1) * self.seeds)]


class Time:
    """So many seconds for so many scenarios, some at once: what one does not need is for those that come after."""

    def __init__(self, seconds: float, scenarios: int, at_once: int) -> None:
        self._until, self._left, self._at_once = time.monotonic() + seconds, scenarios, at_once

    def share(self) -> float:
        """The seconds of the scenario that begins now."""
        left, self._left = self._left, self._left - 1
        return (self._until - time.monotonic()) * min(self._at_once, left) / left


@dataclass
class Result:
    """What came of one scenario."""

    name: str
    points: int = 0
    tried: list[Tried] = field(default_factory=list)
    bound: int = 0
    disks: int = 0
    different: int = 0
    recovered: int = 0
    wrong_disks: int = 0
    complaints: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def row(self) -> str:
        """The line of the table."""
        count = Counter(tried.outcome for tried in self.tried)
        return (
            f"{self.name:<12} {len(self.tried):>6} of {self.points:<6}  {count[Outcome.MENDED]:>7} "
            f"{count[Outcome.NOT_REACHED]:>12} {count[Outcome.FAILED]:>7} {worst(self.tried):>12,} {self.disks:>7,} "
            f"{self.different:>10,} {self.recovered:>7} {self.wrong_disks:>6} {self.seconds:>8.0f}"
        )


def worst(tried: Sequence[Tried]) -> int:
    """The most bytes that were fetched again after any kill."""
    return max((each.again for each in tried), default=0)


def one(name: str, folder: Path, asked: Asked, seconds: float) -> Result:
    """All that is to be tried of one scenario."""
    began, result = time.monotonic(), Result(name)
    try:
        with laid(SCENARIOS[name], folder / name) as ground:
            result.bound = sum(sorted(ground.facts.sizes[md5] for md5 in ground.facts.new.values())[-JOBS:])
            if asked.moment is None:
                kills(ground, result, began + seconds * KILLS, asked)
            if asked.point is None:
                losses(ground, result, began + seconds, asked)
    except AssertionError as error:
        result.complaints.append(f"{name}: {error}")
    result.seconds = time.monotonic() - began
    print(result.row(), flush=True)
    return result


def kills(ground: Ground, result: Result, until: float, asked: Asked) -> None:
    """Kill at every point, as long as there is time."""
    found = matrix.points(ground.log)
    result.points = len(found)
    chosen = [asked.point] if asked.point else matrix.spread(found, asked.seed)[: asked.sample]
    for tried in matrix.tried(ground, chosen, lambda: time.monotonic() < until):
        result.tried.append(tried)
        point = tried.point
        how = f"--point '{point.when}:{point.ordinal}:{point.site}'"
        result.complaints += [f"{result.name} {how}: {each}" for each in tried.complaints]
    missed = sum(tried.outcome is Outcome.NOT_REACHED for tried in result.tried)
    if missed > max(3, len(result.tried) // 10):
        result.complaints.append(f"{result.name}: {missed} points were not reached")


def losses(ground: Ground, result: Result, until: float, asked: Asked) -> None:
    """Let the power fail at every moment, and put in order what is left, as long as there is time."""
    moments = [asked.moment] if asked.moment else power.moments(ground, asked.dice)
    looked = power.look(ground, moments)
    result.disks, result.different = looked.images, len(looked.different)
    result.wrong_disks = len({moment for moment, _ in looked.wrong})
    for moment, complaint in looked.first_of_each():
        result.complaints.append(f"{result.name} {_when(ground, moment)}: {complaint}")
    for recovered in power.recover(ground, looked, lambda: time.monotonic() < until and result.recovered < asked.disks):
        result.recovered += 1
        result.wrong_disks += bool(recovered.complaints)
        when = _when(ground, recovered.moment)
        result.complaints += [f"{result.name} {when}, after the next run: {each}" for each in recovered.complaints]


def _when(ground: Ground, moment: power.Moment) -> str:
    last = f"after {ground.log[moment.at - 1].site}" if moment.at else "before all"
    return f"--moment {moment.at}:{moment.policy}:{moment.seed} ({last})"


def by_call(results: Sequence[Result]) -> str:
    """Kill points tried of each call, as another table."""
    tried = [each.point for result in results for each in result.tried]
    count = Counter((point.site.split()[0], point.when) for point in tried)
    lines = [f"{'killed':<10} {'before':>7} {'within':>7} {'after':>7}"]
    lines += [
        f"{call:<10} {count[call, BEFORE]:>7} {count[call, WITHIN]:>7} {count[call, AFTER]:>7}"
        for call in sorted({call for call, _ in count})
    ]
    return "\n".join(lines)


def summary(results: Sequence[Result], seconds: float) -> str:
    """All of it in a few lines."""
    tried = [each for result in results for each in result.tried]
    again = [each.again for each in tried]
    some = sorted(filter(None, again))
    return (
        f"{len(tried):,} of {sum(result.points for result in results):,} kill points, "
        f"{sum(result.disks for result in results):,} disks after a power loss, "
        f"{sum(result.recovered for result in results):,} of them mended by the command; {seconds:,.0f} s\n"
        f"bytes fetched again: at most {worst(tried):,}, median {statistics.median(again or [0]):,.0f}; "
        f"{len(some):,} kills cost any, of these the median {statistics.median(some or [0]):,.0f}; "
        f"the {JOBS} largest files in hand are {max((result.bound for result in results), default=0):,}\n"
        f"{sum(len(result.complaints) for result in results)} complaints: files wrong or lost, bytes fetched again "
        "beyond those in hand, anything left over"
    )


def point(text: str) -> Point:
    """A kill point as it is told."""
    when, ordinal, site = text.split(":", 2)
    return Point(site, int(ordinal), when)


def moment(text: str) -> power.Moment:
    """A moment of a power loss as it is told."""
    at, policy, seed = text.split(":")
    return power.Moment(int(at), Policy(policy), int(seed))


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--seconds", type=float, default=float("inf"), help="how long in all (default: no limit)")
    add("--sample", type=int, help="kill points of a scenario (default: all)")
    add("--seed", type=int, default=0, help="which points and disks a sample takes (default 0)")
    add("--seeds", type=int, default=8, help="disks for each moment and policy (default 8)")
    add("--disks", type=int, default=100, help="of a scenario, to run the command on (default 100)")
    add("--jobs", type=int, default=2, help="scenarios at once (default 2)")
    add("--point", type=point, metavar="WHEN:NUMBER:SITE", help="only this kill point")
    add("--moment", type=moment, metavar="CALL:POLICY:SEED", help="only this power loss")
    add("scenarios", nargs="*", metavar="SCENARIO", help=f"of: {', '.join(SCENARIOS)} (default all)")
    given = parser.parse_args()
    names = given.scenarios or list(SCENARIOS)
    if unknown := set(names) - SCENARIOS.keys():
        parser.error(f"no such scenario: {', '.join(sorted(unknown))}")
    asked = Asked(given.sample, given.seed, given.seeds, given.disks, given.point, given.moment)
    began, total = time.monotonic(), Time(given.seconds, len(names), given.jobs)
    print(HEAD, flush=True)
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(given.jobs) as lanes:
        home = Path(folder).resolve()
        results = list(lanes.map(lambda name: one(name, home, asked, total.share()), names))
    print(by_call(results))
    for result in results:
        print("".join(f"{complaint}\n" for complaint in result.complaints[:TOLD]), end="")
        if len(result.complaints) > TOLD:
            print(f"{result.name}: and {len(result.complaints) - TOLD} more")
    print(summary(results, time.monotonic() - began))
    return 1 if any(result.complaints for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
