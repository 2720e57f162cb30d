"""One run with faults, and all that must hold of it, whatever it met."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from system.harness import STATE, Done, md5_tree
from system.test_faults import transfers_at_once
from system.warm import WarmWorld, warm_world
from xnat_embedded import Fault
from xnat_sync.core.layout import METADATA

from .ground import JOBS, JOURNEYS, Environment, Journey
from .matrix import Cell, Usual
from .rules import Allowed, Bounds, allowed, bounds

LIMIT = 100.0  # seconds that a run may take: what hangs is told
PATIENCE: Environment = {"XNAT_SYNC_IDLE_TIMEOUT": "1s"}
ONE_RETRY: Environment = {"XNAT_SYNC_RETRIES": "1"}


@dataclass
class Trial:
    """What came of a cell, or of several in one run; ``more`` and ``again`` are requests and bytes beyond the usual."""

    cells: tuple[Cell, ...]
    code: int
    fired: bool
    more: int = 0
    again: int = 0
    sessions: int = 0
    seconds: float = 0.0
    wrong: list[str] = field(default_factory=list)
    told: str = ""

    def __str__(self) -> str:
        return f"{' + '.join(map(str, self.cells))}\n  {'; '.join(self.wrong)}\n{self.told}"


@contextmanager
def laid(journey: Journey, home: Path) -> Iterator[tuple[WarmWorld, Environment]]:
    """A world in which the journey may begin, and its environment."""
    home.mkdir(parents=True, exist_ok=True)
    with warm_world(journey.site(), home) as here:
        environment = journey.before(here)
        here.server.clear_log()
        yield here, {**PATIENCE, **environment}


def undisturbed(journey: Journey, home: Path, faults: Sequence[Fault] = ()) -> Usual:
    """The journey without faults, or with such as do nothing."""
    with laid(journey, home) as (here, environment):
        for fault in faults:
            here.server.faults.add(fault)
        opened = here.server.counts.sessions_opened
        done = here.run(*journey.arguments(here), env=environment)
        assert done.code == 0, done
        assert journey.found(here) == journey.wanted(here)
        assert all(here.server.faults.fired(fault) for fault in faults)
        return Usual(tuple(here.server.log), here.server.counts.sessions_opened - opened, done.out)


def met(cells: tuple[Cell, ...], usual: Usual, home: Path) -> Trial:
    """Run a cell, or several of one journey at once, and look at everything."""
    journey = JOURNEYS[cells[0].journey]
    with laid(journey, home) as (here, environment):
        ordered = [[here.server.faults.add(fault) for fault in cell.faults()] for cell in cells]
        opened, began = here.server.counts.sessions_opened, time.monotonic()
        before = journey.found(here)
        more = ONE_RETRY if any(cell.ever for cell in cells) else {}
        try:
            done = here.run(*journey.arguments(here), env={**environment, **more}, timeout=LIMIT)
        except AssertionError as error:
            return Trial(cells, -1, fired=True, wrong=["it hangs"], told=str(error))
        hits = [sum(map(here.server.faults.fired, faults)) for faults in ordered]
        trial = Trial(cells, done.code, fired=all(hits), told=str(done))
        trial.seconds = time.monotonic() - began
        log = here.server.log
        trial.more = len(log) - usual.requests
        trial.again = sum(exchange.body_bytes for exchange in log) - usual.bytes
        trial.sessions = here.server.counts.sessions_opened - opened
        rule = allowed(cells, journey)
        trial.wrong += _bounded(trial, rule, bounds(cells, journey, usual, hits), transfers_at_once(log))
        trial.wrong += _sound(journey, here, done, rule, before, usual)
        here.server.faults.clear()
        if done.code or not rule.whole:
            if not rule.keeps:
                environment = {**environment, "XNAT_USER": "demo", "XNAT_PASS": "demo-password"}
            trial.wrong += _mended(journey, here, environment, () if rule.whole else ("--relist",))
        if here.server.failures:
            trial.wrong.append(f"the server has a bug: {here.server.failures}")
        return trial


def _bounded(trial: Trial, rule: Allowed, most: Bounds, at_once: int) -> Iterator[str]:
    if trial.code not in rule.codes:
        yield f"exit {trial.code}, not {sorted(rule.codes)}"
    if trial.more > most.requests:
        yield f"{trial.more} requests more than usual, not {most.requests}"
    if trial.again > most.bytes:
        yield f"{trial.again} bytes more than usual, not {most.bytes}"
    if trial.sessions > most.sessions:
        yield f"{trial.sessions} sessions, not {most.sessions}"
    if at_once > JOBS:
        yield f"{at_once} transfers at once"


def _sound(
    journey: Journey, here: WarmWorld, done: Done, rule: Allowed, before: dict[str, str], usual: Usual
) -> Iterator[str]:
    if "Traceback" in done.err:
        yield "a traceback"
    found, wanted = journey.found(here), journey.wanted(here)
    yield from strange(journey, here, before, placed=rule.whole)
    yield from lost(journey, here, before, trash=not rule.whole)
    if done.code or not rule.whole:
        if done.code in (3, 4):
            yield from _accounted(here, [path for path in wanted if found.get(path) != wanted[path]])
        return
    if found != wanted:
        yield "not all is there"
    if journey.prints and done.out != usual.out:
        yield f"it printed something else: {done.out}"
    if journey.proof and rule.keeps:
        proof = here.run(*journey.proof, env={"XNAT_USER": None, "XNAT_PASS": None})
        if proof.code:
            yield f"{journey.proof} fails: {proof}"
    yield from _left(here)


def strange(journey: Journey, here: WarmWorld, before: dict[str, str], *, placed: bool = True) -> Iterator[str]:
    """Bytes under a final name, now or at any time, that are neither the server's nor what stood there before.

    Not ``placed``: they may lie elsewhere, for want of a label.
    """
    wanted = journey.wanted(here)
    before = before | {path.replace(*journey.renamed): md5 for path, md5 in before.items() if journey.renamed[0]}
    anywhere = {*wanted.values(), *before.values()}
    for what, files in (("is", journey.found(here).items()), ("was committed", recorded(here))):
        for path, md5 in files:
            if md5 not in ((wanted.get(path), before.get(path)) if placed else anywhere):
                yield f"{path} {what} wrong"


def lost(journey: Journey, here: WarmWorld, before: dict[str, str], *, trash: bool = False) -> Iterator[str]:
    """What stood there, is still on the server, and is no more. With ``trash`` it may lie there."""
    wanted, found = journey.wanted(here), journey.found(here)
    kept = {*found.values(), *(md5_tree(here.project / STATE / "trash").values() if trash else ())}
    for path, md5 in before.items():
        if path in wanted and path not in found and not (trash and md5 in kept):
            yield f"{path} is lost"


def _accounted(here: WarmWorld, lacking: list[str]) -> Iterator[str]:
    """Where the run says that all else is there, what lacks is in its report."""
    if not lacking:
        return
    report = sorted((here.project / STATE / "runs").iterdir())[-1] / "report.csv"
    with report.open(newline="") as text:
        rows = [row for row in csv.DictReader(text) if row["what"] in ("failed", "vanished")]
    told = [(row["resource"].split(" "), row["path"]) for row in rows]
    for path in lacking:
        if not any(_covers(names, file, path) for names, file in told):
            yield f"lacks {path}, and the report does not say so"


def _covers(names: list[str], file: str, path: str) -> bool:
    """Whether a line of the report, on a unit, a resource or a file, is about this path."""
    parts = {"PTV000", *path.split("/")}
    return {names[0], names[-1]} <= parts and path.endswith(file)


def _mended(journey: Journey, here: WarmWorld, environment: Environment, more: tuple[str, ...]) -> Iterator[str]:
    """A next run, undisturbed. A pasted session that ended is pasted anew; what nothing told of is listed again."""
    if "XNAT_JSESSION" in environment:
        environment = {**environment, "XNAT_JSESSION": here.server.open_session("demo")}
    again = here.run(*journey.arguments(here), *(more if journey.mirrors else ()), env=environment)
    if again.code or journey.found(here) != journey.wanted(here):
        yield f"the next run does not mend it: {again}"
    else:
        yield from _left(here)


def _left(here: WarmWorld) -> Iterator[str]:
    left = [path.name for path in (here.project / STATE / "staging").rglob("*") if path.is_file()]
    if left not in ([], ["CACHEDIR.TAG"]):
        yield f"left in staging: {left}"


def recorded(here: WarmWorld) -> Iterator[tuple[str, str]]:
    """Path and MD5 of all that was ever committed: in so short a run ledgers only grow, and tell what was replaced."""
    for ledger in (here.project / STATE / "sessions").glob("*.jsonl"):
        unit = ""
        for line in map(json.loads, ledger.read_text().splitlines()):
            unit = line["folder"] if "unit" in line else unit
            for file in line.get("files", []):
                parts = (unit, line["folder"].removesuffix(".zip"), file.get("at", file["path"]))
                if parts[-1] != METADATA:  # the server's own record, which the site tells no MD5 of
                    yield "/".join(filter(None, parts)), file["md5"]
