"""Nights with many faults, drawn at random: run after run until one meets none of them, and then all must be there."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from system.harness import Done
from system.test_faults import transfers_at_once
from system.warm import WarmWorld
from xnat_embedded import Fault, ShortList

from .ground import JOBS, JOURNEYS, Journey, everywhere
from .matrix import Cell, Usual, cells
from .rules import REQUESTS, loses_session
from .trial import LIMIT, laid, lost, strange

FAULTS = 40
RUNS = 16  # before all of them have met something, or never will
MIXED = ("mirror", "store zip", "changed", "resumed", "by token")
DOCUMENTED = frozenset({0, 3, 4, 5, 6, 7})  # the exit codes that a server may bring about


@dataclass
class Mix:
    """What came of a seed."""

    seed: int
    journey: str
    faults: int
    fired: int = 0
    codes: list[int] = field(default_factory=list)
    more: int = 0
    wrong: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return f"seed {self.seed}, {self.journey}, codes {self.codes}\n  {'; '.join(self.wrong)}\n" + "\n".join(
            self.told
        )


def journey_of(seed: int) -> str:
    """Which journey a seed makes."""
    return MIXED[seed % len(MIXED)]


def drawn(journey: Journey, usual: Usual, seed: int, number: int = FAULTS) -> list[Fault]:
    """So many faults, each of which happens once: any effect at any request, in the first run or a later one."""
    draw = random.Random(f"fault mix {seed}")
    by_place: dict[object, list[Cell]] = {}
    for cell in cells(replace(journey, about=everywhere), usual):
        if cell.ever and not isinstance(cell.effects[0], ShortList):  # one of each; of short lists nothing tells
            by_place.setdefault(cell.place, []).append(cell)
    made = {place: len(found) for place, found in usual.places().items()}
    faults = []
    for _ in range(number):
        cell = draw.choice(by_place[draw.choice(list(by_place))])
        nth = draw.randint(1, 3 * made[cell.place])
        faults += [Fault(effect, cell.place.kind, cell.place.pattern, nth) for effect in cell.effects]
    return faults


def mixed(seed: int, usual: Usual, home: Path, number: int = FAULTS) -> Mix:
    """Run after run with the faults of a seed, and after each all that must hold."""
    journey = JOURNEYS[journey_of(seed)]
    with laid(journey, home) as (here, environment):
        faults = [here.server.faults.add(fault) for fault in drawn(journey, usual, seed, number)]
        mix, stood = Mix(seed, journey.name, len(faults)), journey.found(here)
        for _ in range(RUNS):
            before, met = journey.found(here), _hits(here, faults)
            opened = here.server.counts.sessions_opened
            here.server.clear_log()
            try:
                done = here.run(*journey.arguments(here), env=environment, timeout=LIMIT)
            except AssertionError as error:
                mix.wrong.append(f"it hangs: {error}")
                return mix
            now = _hits(here, faults)
            new = [fault for fault in faults if now[fault] > met[fault]]
            mix.codes.append(done.code)
            mix.told.append(f"met {', '.join(str(fault.effect) + ' at ' + str(fault.kind) for fault in new)}\n{done}")
            mix.more = max(mix.more, len(here.server.log) - usual.requests)
            mix.wrong += _wrong(journey, here, done, len(new), usual)
            mix.wrong += [*strange(journey, here, stood), *lost(journey, here, before)]
            losing = sum(map(loses_session, new))
            if (sessions := here.server.counts.sessions_opened - opened) > 1 + losing:
                mix.wrong.append(f"{sessions} sessions, and {losing} lost")
            if not new or mix.wrong:
                break
        mix.fired = sum(_hits(here, faults).values())
        if mix.codes[-1] or journey.found(here) != journey.wanted(here):
            mix.wrong.append("at the end not all is there")
        return mix


def _hits(here: WarmWorld, faults: list[Fault]) -> dict[Fault, int]:
    return {fault: here.server.faults.fired(fault) for fault in faults}


def _wrong(journey: Journey, here: WarmWorld, done: Done, new: int, usual: Usual) -> Iterator[str]:
    if done.code not in DOCUMENTED or "Traceback" in done.err:
        yield f"exit {done.code}"
    if done.code == 0 and journey.found(here) != journey.wanted(here):
        yield "exit 0, and not all is there"
    if len(here.server.log) > usual.requests + REQUESTS * new:
        yield f"{len(here.server.log)} requests for {new} faults"
    if transfers_at_once(here.server.log) > JOBS:
        yield "too many transfers at once"
