"""``make bench``: xnat-sync and its rivals on the same bytes, in turn; tables, JSON and pictures of what each took.

    python benchmarks [--quick] [--only abcdefghi] [--rounds 5] [--gigabytes 1.1] [--scale 0.1] [--folder DIR]
                      [--disk DIR] [--rivals DIR] [--results DIR]

The scenarios:

    a  stored zips kept as files, in memory and written through to a disk    b  deflated zips
    c  zips kept as zips                                                     d  over TLS
    e  48 scans from a server 100 ms away, against the other XNAT clients    f  peak memory
    g  unchanged project of a million files                                  h  100,000 small files (times --scale)
    i  growth with the project; when the first data are asked for

What is fetched lies in a temporary folder in memory (``--folder``, /dev/shm where there is room), so that the disk is
not what is measured, except where it is (``--disk``). Nothing is ever asserted on time.
"""

from __future__ import annotations

import argparse
import dataclasses
import multiprocessing
import os
import shutil
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import memory
from bench import clients, growth, latency, pictures, report, shells, small, throughput
from bench.datasets import Shape
from platformdirs import user_cache_path

_GB = 1e9
_SHARED = "/dev/shm"
_IN_BULK = ("xnat", "pyxnat", "yaxil", "xnatctl")


def main() -> int:
    """Run what is asked for and write what came of it after each scenario, so that an early end loses little."""
    options = _options()
    results = report.Results(options.rounds)
    os.makedirs(options.results, exist_ok=True)
    about = report.machine()
    results.left_out += shells.missing()
    rivals, left_out = clients.installed(options.rivals, install=not options.quick, say=_say)
    results.left_out += left_out
    shape = Shape(4, 10, max(10, round(100 * options.gigabytes / 1.1)))
    # Those that do the most for it; each keeps zips of its own on the server.
    fastest = [client for client in rivals if client.package in _IN_BULK] if not options.quick else []
    with (
        tempfile.TemporaryDirectory(prefix="bench-", dir=options.folder) as folder,
        tempfile.TemporaryDirectory(prefix="bench-", dir=options.disk) as disk,
    ):
        wanted = set(options.only)
        if wanted & set("abcd"):
            for scenario in throughput.run_all(
                shape,
                folder,
                "" if options.quick or disk.startswith(_SHARED) else disk,
                rounds=options.rounds,
                clients=lambda url: [clients.contender(each, options.rivals, url, shape, 2) for each in fastest],
                say=_say,
                only=options.only,
            ):
                results.scenarios.append(scenario)
                _write(results, about, options.results)
        if "e" in wanted:
            rounds = 0 if options.quick else 2
            near = [client for client in rivals if not (options.quick and client.slow)]
            results.scenarios.append(
                latency.run(folder, near, options.rivals, rounds=options.rounds, say=_say, rival_rounds=rounds)
            )
        if "f" in wanted:
            results.memory = _memory(0.25 if options.quick else 2, folder)
        _write(results, about, options.results)
        if "g" in wanted:
            sessions = 100 if options.quick else 5000
            results.million = growth.million(disk, sessions, 200, say=_say)
        if "h" in wanted:
            count = 800 if options.quick else int(100_000 * options.scale)
            results.scenarios.append(small.run(folder, disk, count, rounds=min(options.rounds, 4), say=_say))
        _write(results, about, options.results)
        if "i" in wanted:
            results.growth = growth.run(folder, (10, 100) if options.quick else (10, 100, 1000), say=_say)
    _write(results, about, options.results)
    _say(report.markdown(results, about))
    _say(f"written to {options.results}")
    return 0


def _memory(gigabytes: float, folder: str) -> list[dict[str, Any]]:
    """Scenario (f), in a fresh process each: a command's peak is never less than that of the process that starts it."""
    _say("(f) peak memory")
    rows = []
    for kind in ("zip", "single"):
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as fresh:
            row = fresh.submit(memory.measure, kind, gigabytes, 8, folder).result()
        _say(f"  {row}")
        rows.append(dataclasses.asdict(row))
    return rows


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="small and short, with the rivals that are installed")
    parser.add_argument("--only", default="abcdefghi", help="letters of the scenarios to run")
    parser.add_argument("--rounds", type=int, help="5, or 3 if quick; the first is the warm-up")
    parser.add_argument("--gigabytes", type=float, help="what is fetched in (a) to (d)")
    parser.add_argument("--scale", type=float, default=0.1, help="of the 100,000 files in (h)")
    parser.add_argument("--folder", default=_in_memory(), help="where what is served and fetched lies")
    parser.add_argument("--disk", default=tempfile.gettempdir(), help="a folder on a disk")
    parser.add_argument("--rivals", default=str(user_cache_path("xnat-sync") / "rivals"), help="where rivals are kept")
    parser.add_argument("--results", default=os.path.join(os.path.dirname(__file__), "results"))
    options = parser.parse_args()
    options.rounds = options.rounds or (3 if options.quick else 5)
    options.gigabytes = options.gigabytes or (0.2 if options.quick else 1.1)
    return options


def _in_memory() -> str:
    """Where files cost no disk: ten times the gigabytes are needed, for what the server keeps for each client."""
    if os.path.isdir(_SHARED) and shutil.disk_usage(_SHARED).free > 12 * _GB:
        return _SHARED
    return tempfile.gettempdir()


def _write(results: report.Results, about: dict[str, str], folder: str) -> None:
    report.write(results, about, folder)
    if results.scenarios:
        with open(f"{folder}/comparison.svg", "w", encoding="utf-8") as file:
            file.write(pictures.bars(results.scenarios))
    if results.growth:
        with open(f"{folder}/growth.svg", "w", encoding="utf-8") as file:
            file.write(pictures.growth(results.growth))


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
