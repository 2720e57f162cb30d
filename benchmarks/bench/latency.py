"""Scenario (e): 48 scans from a server that takes 100 ms before each answer; what counts is how many are waited for.

The server is the embedded one, in this process. Its delay is before every answer, logins and lists included.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Sequence

from xnat_embedded import Server

from . import clients, ours
from .clock import contest
from .datasets import Shape
from .throughput import Scenario

_OTHERWISE = [["--jobs", jobs] for jobs in ("1", "2", "8", "16")] + [["--jobs", "8", "--listers", "8"]]
SHAPE = Shape(sessions=6, scans=8, files=8, smallest=20_000, largest=80_000)


def run(
    folder: str,
    rivals: Sequence[clients.Client],
    where: str,
    *,
    rounds: int,
    say: Callable[[str], None],
    delay: float = 0.1,
    rival_rounds: int = 2,
) -> Scenario:
    """The scenario; ``where`` is the folder in which the rivals are installed.

    They run in ``rival_rounds`` after the warm-up, slow ones in that alone.
    """
    title = f"48 scans, {delay * 1000:.0f} ms before each answer"
    say(f"(e) {title}")
    with Server(dataclasses.replace(SHAPE, latency=delay).build()) as server:
        who = [
            ours.contender(server.url),
            *(dataclasses.replace(ours.contender(server.url, *more), rounds=rival_rounds) for more in _OTHERWISE),
            *(clients.contender(each, where, server.url, SHAPE, 0 if each.slow else rival_rounds) for each in rivals),
        ]
        target = f"{folder}/contest"
        os.makedirs(target)
        found = contest(
            who, target, SHAPE.digests(), rounds=rounds, size=SHAPE.bytes, requests=lambda: server.counts.total, say=say
        )
        os.rmdir(target)
    return Scenario("e", title, found, base=who[0].name)
