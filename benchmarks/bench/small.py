"""Scenario (h): many files of 160 KB, against a plain loop that opens, writes, closes and renames as many of that size.

The loop is the best that a single thread of Python does on the same disk; with ``--durable`` each folder of it is
synced, in as many threads as ``xnat-sync`` has for that. Run as a script this module is that loop.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

SIZE = 160_000
FOLDER = 200  # files in a folder
_SYNCING = 4


def loop(target: str, count: int, *, durable: bool) -> None:
    """Make ``count`` files."""
    data = os.urandom(SIZE)
    with ThreadPoolExecutor(_SYNCING) as threads:
        for first in range(0, count, FOLDER):
            folder = f"{target}/{first}"
            os.mkdir(folder)
            names = [f"{folder}/{number}" for number in range(first, min(first + FOLDER, count))]
            for name in names:
                fd = os.open(f"{name}.part", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
                os.write(fd, data)
                os.close(fd)
                os.rename(f"{name}.part", name)
            if durable:
                list(threads.map(_sync, [*names, folder]))


def _sync(path: str) -> None:
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)


if __name__ == "__main__":
    loop(sys.argv[1], int(sys.argv[2]), durable="--durable" in sys.argv)
    sys.exit()

from . import ours  # noqa: E402 - a script has no package
from .clock import Contender, contest  # noqa: E402
from .datasets import Shape  # noqa: E402
from .front import front  # noqa: E402
from .throughput import Scenario, warmed  # noqa: E402


def run(folder: str, disk: str, count: int, *, rounds: int, say: Callable[[str], None]) -> Scenario:
    """The scenario: answers kept in ``folder``, files made on ``disk``."""
    shape = Shape(max(1, count // (4 * FOLDER)), scans=4, files=FOLDER, smallest=SIZE, largest=SIZE)
    title = f"{shape.count:,} files of {SIZE // 1000} KB"
    say(f"(h) {title}")

    def plain(*more: str) -> Callable[[str], Sequence[str]]:
        return lambda target: [sys.executable, "-I", "-S", __file__, target, str(shape.count), *more]

    base = "plain loop: open, write, close, rename"
    with front(shape, f"{folder}/small") as server:
        warmed(server, folder)
        who = [
            Contender(base, plain(), checked=False),
            Contender(f"{base}, and fsync", plain("--durable"), checked=False),
            ours.contender(server.url),
        ]
        target = f"{disk}/contest"
        os.makedirs(target)
        found = contest(who, target, shape.digests(), rounds=rounds, size=shape.bytes, say=say)
        os.rmdir(target)
    return Scenario("h", title, found, base=base, files=shape.count)
