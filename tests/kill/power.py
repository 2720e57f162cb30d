"""Power loss: what a disk may hold after it at any moment of a run, looked at, and made up for by the real command.

Every image is looked at in memory. Those that differ from all others are put on a disk, as many as there is time for,
where the undisturbed command must make them whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import product

from system.harness import STATE

from . import checks
from .ground import Ground
from .image import Image
from .served import PROJECT
from .shadow import Policy, Shadow


@dataclass(frozen=True, slots=True)
class Moment:
    """When and how the power failed."""

    at: int
    policy: Policy
    seed: int


@dataclass
class Looked:
    """What came of looking at images: how many, those that differ, and what was wrong with which."""

    images: int = 0
    different: dict[str, Moment] = field(default_factory=dict)
    wrong: list[tuple[Moment, str]] = field(default_factory=list)

    def first_of_each(self) -> list[tuple[Moment, str]]:
        """The first moment of everything that was wrong, for each policy."""
        found = {(moment.policy, complaint): (moment, complaint) for moment, complaint in reversed(self.wrong)}
        return list(found.values())


def moments(ground: Ground, seeds: Iterable[int], step: int = 1) -> Iterator[Moment]:
    """Every ``step``-th moment of the run, with every policy and seed."""
    for at, policy, seed in product(range(0, len(ground.log) + 1, step), Policy, seeds):
        yield Moment(at, policy, seed)


def shadow(ground: Ground) -> Shadow:
    """The disk of a scenario on paper. Files that others have put there were not synced by them."""
    unsynced = ground.before.files if ground.scenario.foreign else ()
    return Shadow(ground.before, ground.log, unsynced)


def look(ground: Ground, found: Iterable[Moment]) -> Looked:
    """Look at the image of each moment."""
    disk, looked = shadow(ground), Looked()
    for moment in found:
        whole = disk.crashed(moment.at, moment.policy, moment.seed)
        looked.images += 1
        looked.different.setdefault(whole.fingerprint(), moment)
        looked.wrong += [(moment, complaint) for complaint in wrong(ground, disk, moment, whole.below(PROJECT))]
    return looked


def wrong(ground: Ground, disk: Shadow, moment: Moment, crashed: Image) -> Iterator[str]:
    """What is wrong with one image."""
    facts = ground.facts
    yield from checks.lies(crashed, facts)
    if ground.scenario.foreign:
        return  # what others have not synced may be anything; all that counts is whether it is believed
    seen = disk.seen(moment.at).below(PROJECT)
    ledgers = [path for path in seen.files if path.startswith(f"{STATE}/sessions/") and path.endswith(".jsonl")]
    recorded = {path: disk.kept(f"{PROJECT}/{path}", moment.at) or b"" for path in ledgers}
    yield from (*checks.wrong(crashed, facts), *checks.lost(crashed, facts), *checks.gaps(crashed, facts))
    yield from checks.forgotten(crashed, recorded, seen, facts)


@dataclass(frozen=True, slots=True)
class Recovered:
    """An image that the command was run on, and what was wrong then."""

    moment: Moment
    complaints: tuple[str, ...]


def recover(ground: Ground, looked: Looked, go_on: Callable[[], bool] = lambda: True) -> Iterator[Recovered]:
    """Run the command on the images that differ, as long as there is time, in an order spread over all."""
    disk = shadow(ground)
    for _, moment in sorted(looked.different.items()):
        if not go_on():
            return
        whole = disk.crashed(moment.at, moment.policy, moment.seed)
        if ground.scenario.foreign and list(checks.wrong(whole.below(PROJECT), ground.facts)):
            continue  # what others have left there damaged stays as it is
        ground.lay(whole)
        yield Recovered(moment, tuple(ground.mend()))
