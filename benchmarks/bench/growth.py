"""Scenarios (g) and (i): how time, memory and requests grow with the project, and when the first data are asked for.

Sessions are small here, so that what is measured is what each costs beside its bytes. The times of the first run are
those of its own log. The unchanged project of a million files is ``million.py``'s.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from glob import glob

from xnat_embedded import Server

from . import ours
from .clock import Took, home
from .clock import run as run_command
from .datasets import PROJECT, Shape

_MILLION = re.compile(r"wall +([\d.]+) s +cpu +([\d.]+) s +peak +([\d.]+) MiB +requests (\d+)")


@dataclass(frozen=True, slots=True)
class Grown:
    """A run over a project of so many sessions, for the first time or unchanged.

    Of a first run, seconds from its start to the first session listed, the first zip asked for, the last listed.
    """

    sessions: int
    files: int
    fresh: bool
    took: Took
    first_listed: float = 0.0
    first_asked: float = 0.0
    last_listed: float = 0.0


def run(folder: str, sizes: Sequence[int], *, say: Callable[[str], None]) -> list[Grown]:
    """A first and a second run for each number of sessions."""
    say("(i) first planning, and growth with the project")
    found = []
    for sessions in sizes:
        shape = Shape(sessions, scans=1, files=4, smallest=2_000, largest=8_000)
        target = f"{folder}/growth"
        os.makedirs(target)
        with Server(shape.build()) as server:
            for fresh in (True, False):
                before = server.counts.total
                took = run_command(ours.mirror(f"{target}/dest"), home(target, **ours.login(server.url)))
                if took.code:
                    raise SystemExit(f"xnat-sync ended with {took.code}: {took.said}")
                took = Took(took.wall, took.cpu, took.peak, took.code, "", server.counts.total - before)
                times = _times(f"{target}/dest") if fresh else (0.0, 0.0, 0.0)
                found.append(Grown(sessions, shape.count, fresh, took, *times))
                say(f"  {sessions:5} sessions {'new' if fresh else 'unchanged':9} {took.wall:7.2f} s  "
                    f"cpu {took.cpu:6.2f} s  {took.requests} requests")  # fmt: skip
        shutil.rmtree(target)
    return found


def _times(dest: str) -> tuple[float, float, float]:
    """Of the newest run: the first session listed, the first zip asked for, the last session listed."""
    newest = max(glob(f"{dest}/{PROJECT}/.xnat-sync/runs/*"))
    with open(f"{newest}/summary.json", encoding="utf-8") as file:
        started = datetime.fromisoformat(json.load(file)["started"].replace("Z", "+00:00"))
    listed, began = [], []
    with open(f"{newest}/log.jsonl", encoding="utf-8") as file:
        for line in file:
            event = json.loads(line)
            after = (datetime.fromisoformat(event["time"].replace("Z", "+00:00")) - started).total_seconds()
            if event["event"] == "listed":
                listed.append(after)
            elif event["event"] == "began":
                began.append(after)
    return listed[0], began[0], listed[-1]


def million(folder: str, sessions: int, files: int, *, say: Callable[[str], None]) -> Grown:
    """An unchanged project of so many sessions with so many files each."""
    say(f"(g) unchanged project of {sessions:,} sessions and {sessions * files:,} files")
    script = os.path.join(os.path.dirname(os.path.dirname(__file__)), "million.py")
    command = [sys.executable, script, "--sessions", str(sessions), "--files", str(files)]
    done = subprocess.run(
        command, env={**os.environ, "TMPDIR": folder, "HOME": folder}, capture_output=True, text=True, check=False
    )
    figures = _MILLION.search(done.stdout)
    if done.returncode or figures is None:
        raise SystemExit(f"million.py ended with {done.returncode}: {done.stdout}{done.stderr}")
    wall, cpu, peak, requests = map(float, figures.groups())
    took = Took(wall, cpu, int(peak * (1 << 20)), 0, "", int(requests))
    say(f"  {wall:.2f} s  cpu {cpu:.2f} s  {requests:.0f} requests")
    return Grown(sessions, sessions * files, False, took)
