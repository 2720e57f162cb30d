"""Commands run in turn, and what each took: wall time, CPU time and peak memory of it and its children.

Rounds are interleaved, so that what slows the machine for a while slows all of them; the order turns with each round;
the first round warms caches and is left out of the figures, but it is the one after which everything is checked.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

LIMIT = 900.0  # seconds that a command may take
_LAUNCH = os.path.join(os.path.dirname(__file__), "launch.py")


@dataclass(frozen=True, slots=True)
class Took:
    """What one run of a command took: seconds, CPU seconds, bytes."""

    wall: float
    cpu: float
    peak: int
    code: int
    said: str = ""
    requests: int = 0


def run(command: Sequence[str], environment: Mapping[str, str], *, limit: float = LIMIT) -> Took:
    """Run a command to its end, or kill it and its children at the limit."""
    with tempfile.NamedTemporaryFile() as said:
        launch = [sys.executable, "-I", "-S", _LAUNCH, str(limit), said.name, *command]
        done = subprocess.run(launch, env=dict(environment), stdout=subprocess.PIPE, check=True)
        took = json.loads(done.stdout)
        said.seek(max(0, os.path.getsize(said.name) - 2000))
        text = said.read().decode("utf-8", "replace")
    return Took(**took, said=text)


def home(folder: str, **more: str) -> dict[str, str]:
    """The environment of a command: nothing of the user's own but the path."""
    return {
        "PATH": os.environ["PATH"], "HOME": folder, "XDG_STATE_HOME": f"{folder}/state", "LANG": "C.UTF-8",
        "NO_PROXY": "*", "PYTHONPATH": os.environ.get("PYTHONPATH", ""), **more,
    }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Contender:
    """One of those compared: the command that fills a folder, given that folder.

    ``rounds`` bounds how often a slow one runs after the warm-up; 0: the warm-up counts. Not ``checked``: it makes
    files of its own.
    """

    name: str
    command: Callable[[str], Sequence[str]]
    environment: Mapping[str, str] = field(default_factory=dict)
    rounds: int = 1000
    limit: float = LIMIT
    checked: bool = True


@dataclass(slots=True)
class Figures:
    """What a contender took, over its rounds. ``wrong`` says in what its result was not what the server has."""

    name: str
    bytes: int
    runs: list[Took] = field(default_factory=list)
    wrong: str = ""

    @property
    def wall(self) -> float:
        """Median wall seconds."""
        return statistics.median(each.wall for each in self.runs)

    @property
    def cpu(self) -> float:
        """Median CPU seconds."""
        return statistics.median(each.cpu for each in self.runs)

    @property
    def peak(self) -> int:
        """Greatest memory of any one process, in bytes."""
        return max(each.peak for each in self.runs)

    @property
    def requests(self) -> int:
        """Median number of requests; 0 if they were not counted."""
        return int(statistics.median(each.requests for each in self.runs))


def contest(
    contenders: Sequence[Contender],
    folder: str,
    expected: Mapping[str, int],
    *,
    rounds: int,
    size: int,
    requests: Callable[[], int] = lambda: 0,
    say: Callable[[str], None] = print,
) -> list[Figures]:
    """Let them run in turn in ``folder``; ``expected`` has the MD5s of all files, and how many have each."""
    found = {each.name: Figures(each.name, size) for each in contenders}
    for number in range(rounds):
        turn = number % len(contenders)
        for each in [*contenders[turn:], *contenders[:turn]]:
            if number > each.rounds:
                continue
            figures = found[each.name]
            target = f"{folder}/target"
            os.makedirs(target)
            os.sync()  # What others left to be written is not this one's to wait for.
            before = requests()
            took = run(each.command(target), home(folder, **each.environment), limit=each.limit)
            took = Took(took.wall, took.cpu, took.peak, took.code, took.said, requests() - before)
            if took.code:
                figures.wrong = figures.wrong or f"exit {took.code}: {_last_line(took.said)}"
            elif number == 0 and each.checked:
                figures.wrong = lacks(target, expected)
            if number or not each.rounds or rounds == 1:
                figures.runs.append(took)
            shutil.rmtree(folder, ignore_errors=True)
            os.makedirs(folder)
            what = f" ({figures.wrong})" if figures.wrong and number == 0 else ""
            say(f"  round {number}  {each.name:44} {took.wall:7.2f} s  cpu {took.cpu:6.2f} s{what}")
    return [each for each in found.values() if each.runs]


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:160] if lines else ""


def lacks(folder: str, expected: Mapping[str, int]) -> str:
    """What a folder lacks of the files that should be there, in files or in zips; ``""`` if nothing."""
    found: Counter[str] = Counter()
    for at, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(at, name)
            if zipfile.is_zipfile(path):
                with zipfile.ZipFile(path) as archive:
                    found.update(_md5(archive.read(member)) for member in archive.namelist())
            else:
                with open(path, "rb") as file:
                    found[_md5(file)] += 1
    missing = sum(max(0, count - found[digest]) for digest, count in expected.items())
    return f"{missing} of {sum(expected.values())} files are missing or wrong" if missing else ""


def _md5(data: bytes | io.BufferedReader) -> str:
    if isinstance(data, bytes):
        return hashlib.md5(data, usedforsecurity=False).hexdigest()
    return hashlib.file_digest(data, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
