"""The kill matrix: a run that is killed at one of its calls, what that leaves, and how the next run makes up for it.

The points are those of an undisturbed run. Transfers go side by side, so a point is named by its site and how often
that was passed; where a run does not come to it all the same, that is an outcome of its own.
"""

from __future__ import annotations

import hashlib
import signal
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from . import checks, image
from .calls import Call
from .ground import Ground
from .scenarios import JOBS
from .served import resources
from .tap import AFTER, BEFORE, WITHIN, Orders, Point

HEADERS = 400  # bytes of a zip for each member


class Outcome(StrEnum):
    """What came of one point."""

    MENDED = "mended"
    NOT_REACHED = "not reached"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Tried:
    """One point tried: what was wrong, and how many bytes that had come to the disk were fetched again.

    So many bytes ``allowed`` were those of files in hand, or of files of which nobody can know whether they are right.
    """

    point: Point
    outcome: Outcome
    complaints: tuple[str, ...]
    again: int
    allowed: int


def points(log: Iterable[Call]) -> list[Point]:
    """Before and after each call, and within each write."""
    return [
        Point(call.site, call.ordinal, when)
        for call in log
        for when in ((BEFORE, WITHIN, AFTER) if call.name == "write" else (BEFORE, AFTER))
    ]


def spread(found: Sequence[Point], seed: int = 0) -> list[Point]:
    """The same points in an order of which any beginning is spread over all of them."""
    return sorted(found, key=lambda point: hashlib.sha256(f"{seed} {point}".encode()).digest())


def sample(log: Sequence[Call], calls: Collection[str], kind: str = "") -> list[Point]:
    """One point before, one within and one after a call of each of these names, spread over kinds of files.

    With a ``kind`` only files of that one count.
    """
    chosen: list[Point] = []
    taken: Counter[str] = Counter()
    for name in calls:
        there = [point for point in spread(points(log)) if point.site.split()[0] == name and kind in point.site]
        for when in (BEFORE, WITHIN, AFTER):
            if found := [point for point in there if point.when == when]:
                point = min(found, key=lambda point: taken[point.site.split()[2]])
                taken[point.site.split()[2]] += 1
                chosen.append(point)
    return chosen


def attempt(ground: Ground, point: Point) -> Tried:
    """Kill one run, look at what it leaves, make up for it, and look again."""
    ground.lay()
    code = ground.start(Orders(str(ground.here.dest), kill=point))
    ground.here.until_settled()
    killed = code == -signal.SIGKILL
    complaints = [] if killed or code in ground.scenario.ends_with else [f"ended with {code}"]
    found = image.read(ground.here.project)
    complaints += checks.instant(found, ground.facts)
    hand = checks.in_hand(found, ground.facts)
    if hand.files > JOBS + ground.in_hand:
        complaints.append(f"{hand.files} files were in hand of {JOBS} connections")
    ground.here.server.clear_log()
    complaints += ground.mend()
    fetched = ground.here.fetched_bytes()
    if fetched > hand.missing - hand.kept + hand.unproved + zip_headers(ground):
        complaints.append(f"{fetched} bytes were fetched where {hand.missing} were missing, {hand.kept} of them kept")
    again = max(0, hand.in_hand + fetched - hand.missing)
    outcome = Outcome.FAILED if complaints else Outcome.MENDED if killed else Outcome.NOT_REACHED
    return Tried(point, outcome, tuple(complaints), again, hand.in_hand - hand.kept + hand.unproved)


def zip_headers(ground: Ground) -> int:
    """Bytes that there may be, besides those of files, in the zips sent since DEST was laid."""
    return sum(
        len(resource.entries) * HEADERS
        for exchange in ground.here.server.log
        for resource in resources(ground.here.site)
        if exchange.kind == "zip" and f"/resources/{resource.id}/" in exchange.path
    )


def tried(ground: Ground, found: Iterable[Point], go_on: Callable[[], bool] = lambda: True) -> Iterator[Tried]:
    """Each point in turn, as long as there is time."""
    for point in found:
        if not go_on():
            return
        yield attempt(ground, point)
