"""A part of the matrix that costs little and leaves out no effect, no kind of request and no rule.

Most faults leave no trace in a run that meets them once: several of these, each at another kind of request, meet one
run, whose bounds are the sum of theirs. The others have a run each.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import TypeVar

from .ground import JOURNEYS, Journey
from .matrix import Cell, Usual, cells
from .rules import Nature, allowed, nature

AT_ONCE = 10  # faults in one run
MAIN = "mirror"
_IN_PLACE = (Nature.HARMLESS, Nature.PASSING, Nature.ERROR, Nature.PAGE, Nature.CROPPED, Nature.SPOILT)

K = TypeVar("K", bound=Hashable)


def of_main(usual: Usual) -> list[tuple[Cell, ...]]:
    """Each effect at each kind of request once, each status and each end of a session at every third kind."""
    found = list(cells(JOURNEYS[MAIN], usual))
    joining = [cell for cell in found if _joins(cell, JOURNEYS[MAIN])]
    apart = _turns((c for c in found if not c.ever and not _joins(c, JOURNEYS[MAIN])), _by_nature)[::3]
    always = _turns((cell for cell in found if cell.ever), lambda cell: type(cell.effects[0]).__name__)
    return [*_joined(_turns(joining, _by_effect)), *((cell,) for cell in (*apart, *always))]


def of_others(usual: Mapping[str, Usual]) -> list[tuple[Cell, ...]]:
    """One cell of each of the other journeys, each time of another effect."""
    groups = [list(cells(JOURNEYS[name], usual[name])) for name in usual if name != MAIN]
    return [(group[(2 * at + 1) * len(group) // (2 * len(groups))],) for at, group in enumerate(groups)]


def _by_nature(cell: Cell) -> tuple[str, str]:
    return nature(cell.effects), cell.place.kind


def _by_effect(cell: Cell) -> tuple[str, str, str]:
    return type(cell.effects[0]).__name__, *_by_nature(cell)


def _joins(cell: Cell, journey: Journey) -> bool:
    """Whether the fault is over with the request that meets it, and the run ends as if it had not been."""
    return not cell.ever and nature(cell.effects) in _IN_PLACE and allowed((cell,), journey).codes == {0}


def _turns(found: Iterable[Cell], key: Callable[[Cell], K]) -> list[Cell]:
    """One cell of each group; first, middle and last requests, and what an effect can be, take turns."""
    groups: dict[K, list[Cell]] = {}
    for cell in found:
        groups.setdefault(key(cell), []).append(cell)
    return [group[at * 7 % len(group)] for at, group in enumerate(groups.values())]


def _joined(found: Sequence[Cell]) -> list[tuple[Cell, ...]]:
    """Runs of several cells, no two at one kind of request."""
    runs: list[list[Cell]] = []
    for cell in found:
        for run in runs:
            if len(run) < AT_ONCE and all(cell.place.kind != other.place.kind for other in run):
                run.append(cell)
                break
        else:
            runs.append([cell])
    return [tuple(run) for run in runs]
