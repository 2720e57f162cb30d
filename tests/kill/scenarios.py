"""The runs that are killed: what stands before each, what it is asked to do, and how it is made up for."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from system.harness import STATE
from system.warm import WarmWorld

from . import calls, image, served
from .served import PROJECT
from .tap import AFTER, Orders, Point

JOBS = 2
MIRROR = ("project", PROJECT, "--dest", "{dest}", "--jobs", str(JOBS))
VERIFY = ("verify", "{dest}")
GOOD, GOOD_OR_INCOMPLETE = frozenset({0}), frozenset({0, 3})
Step = tuple[tuple[str, ...], frozenset[int]]  # a command, and the codes with which it may end


@dataclass(frozen=True)
class Scenario:
    """A run to be killed: ``before`` brings about what it finds, ``command`` is the run.

    ``mending`` are the commands that come after a kill, each with the codes that it may end with; the last one leaves
    the mirror whole. ``{dest}`` stands for DEST.
    """

    name: str
    before: Callable[[WarmWorld], None] = lambda here: None
    command: tuple[str, ...] = MIRROR
    mending: tuple[Step, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    damages: bool = False  # files that stood there are not what they were
    foreign: bool = False  # files stand there that nobody has synced

    @property
    def ends_with(self) -> frozenset[int]:
        """The codes that the run may end with when nobody kills it."""
        return GOOD_OR_INCOMPLETE if self.damages else GOOD

    @property
    def make_up(self) -> tuple[Step, ...]:
        """``mending``, or the run again."""
        return self.mending or ((self.command, GOOD),)


def run(here: WarmWorld, command: tuple[str, ...], allowed: frozenset[int], env: Mapping[str, str] = {}) -> str:
    """Run one command to its end; what it did wrong, or ``""``."""
    done = here.run(*(part.format(dest=here.dest) for part in command), env=env)
    return "" if done.code in allowed else f"{' '.join(command[:1])} ended with {done}"


def _mirrored(here: WarmWorld, *more: str) -> None:
    assert run(here, (*MIRROR, *more), GOOD) == ""


def _changed(here: WarmWorld, *more: str) -> None:
    """A whole mirror, and then everything that may change on the server."""
    doomed = served.add_doomed(here.site)
    _mirrored(here, *more)
    doomed.remove()
    served.change(here.site)


def _swapped(here: WarmWorld) -> None:
    served.add_third(here.site)
    _mirrored(here)
    served.swap(here.site)


def _long_state(here: WarmWorld) -> None:
    """A whole mirror whose state says the same again and again, until it is worth to be written anew."""
    _mirrored(here)
    state = here.project / STATE
    for path in [*(state / "sessions").glob("*.jsonl"), state / "index.jsonl"]:
        *_, last = path.read_text().splitlines(keepends=True)
        with path.open("a") as file:
            file.write(last * 100)


def _damaged(here: WarmWorld, *more: str) -> None:
    """A whole mirror, then files with other bytes of the same size and time, and one that is gone."""
    _mirrored(here, *more)
    paths = sorted(path for path in here.project.rglob("*") if path.is_file() and STATE not in path.parts)
    for path in [path for path in paths if path.suffix in (".dcm", ".txt", ".zip")][1:4]:
        stat, data = path.stat(), bytearray(path.read_bytes())
        data[len(data) // 2] ^= 255
        path.write_bytes(data)
        image.set_time(path, stat.st_mtime_ns)
    paths[-1].unlink()


def _interrupted(here: WarmWorld, *more: str) -> None:
    """What a kill in the middle leaves, and then a change on the server of what is staged.

    Not of what has its final name already and no record yet: that is foreign to the next run, which keeps it and says
    so.
    """
    log = here.home / "log"
    assert run(here, (*MIRROR, *more), GOOD, Orders(str(here.dest), str(log)).variable()) == ""
    marks = [call for call in calls.load(log) if call.name == "write" and call.site.endswith((" part", " zip"))]
    middle = len(marks) // 2
    for mark in sorted(marks, key=lambda mark: abs(marks.index(mark) - middle)):
        shutil.rmtree(here.dest)
        here.dest.mkdir()
        orders = Orders(str(here.dest), kill=Point(mark.site, mark.ordinal, AFTER))
        here.run(*(part.format(dest=here.dest) for part in (*MIRROR, *more)), env=orders.variable())
        if not list((here.project / "S1" / "A" / "scans").glob("1*")):
            break
    served.session(here.site, "A").scan("1").resource("DICOM").replace_file("0.dcm", random.Random(8).randbytes(2000))


def _without_state(here: WarmWorld, *more: str) -> None:
    """A whole mirror that another tool has copied here, without our state."""
    _mirrored(here, *more)
    shutil.rmtree(here.project / STATE)


_CHANGES = ("--delete", "--overwrite", "--max-delete", "100")
_ZIP = ("--store", "zip")
_REPAIR = (*VERIFY, "--repair")


def _repaired(*more: str) -> tuple[Step, ...]:
    return ((_REPAIR, GOOD_OR_INCOMPLETE), ((*MIRROR, *more), GOOD))


SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario("first"),
        Scenario("changed", _changed, (*MIRROR, *_CHANGES)),
        Scenario("swapped", _swapped),
        Scenario("zip-first", command=(*MIRROR, *_ZIP)),
        Scenario("zip-changed", lambda here: _changed(here, *_ZIP), (*MIRROR, *_ZIP, *_CHANGES)),
        Scenario("long-state", _long_state, (*MIRROR, "--relist")),
        Scenario("repair", _damaged, _REPAIR, _repaired(), damages=True),
        Scenario("zip-repair", lambda here: _damaged(here, *_ZIP), _REPAIR, _repaired(*_ZIP), damages=True),
        Scenario("resumed", _interrupted),
        Scenario("zip-resumed", lambda here: _interrupted(here, *_ZIP), (*MIRROR, *_ZIP)),
        Scenario("adopted", _without_state, foreign=True),
        Scenario("zip-adopted", lambda here: _without_state(here, *_ZIP), (*MIRROR, *_ZIP), foreign=True),
        Scenario("records", command=(*MIRROR, "--metadata", "--on-session", "true")),
        Scenario("beating", _mirrored, environment={"XNAT_SYNC_TEST_BEAT": "0.01"}),
    )
}
