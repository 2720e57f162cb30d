"""Mutation testing of the core's decisions: each small wrong change to them must be noticed by some test.

``python tests/mutate.py [--jobs 2] [PATTERN …]``: mutmut changes one thing at a time in the modules that
``[tool.mutmut]`` names, in a copy of the tree, and runs the tests that reach it. A table tells what came of that, then
each mutant that no test noticed. Of some nobody can: they change nothing that can be observed. Those stand in
``core/survivors.toml`` with the reason, so that nobody need look at them again; exit 1 if any other survives.

mutmut changes the bodies of plain functions only: constants, tables, defaults and properties are left alone.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import Counter, defaultdict
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
ROOT = HERE.parent
JUDGED = HERE / "core" / "survivors.toml"
MEMORY = 4 << 30  # bytes: a mutant may be one that never ends
COLUMNS = ("killed", "survived", "timeout")


class Change(NamedTuple):
    """What a mutant is: the function, and its lines before and after."""

    where: str
    old: str
    new: str


def mutmut(there: Path, *arguments: str) -> str:
    """What mutmut prints. Its own failure is ours."""
    done = subprocess.run(
        [sys.executable, "-m", "mutmut", *arguments], cwd=there, text=True, capture_output=True, check=False
    )
    if done.returncode:
        sys.exit(f"mutmut {' '.join(arguments)} failed:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}")
    return done.stdout


def function(mutant: str) -> str:
    """``xnat_sync.core.unzip.xǁZipReaderǁfeed__mutmut_3`` -> ``unzip.ZipReader.feed``."""
    module, _, name = mutant.rpartition(".")
    plain = name.rpartition("__mutmut_")[0].removeprefix("x").removeprefix("_").strip("ǁ").replace("ǁ", ".")
    return f"{module.rpartition('.')[2]}.{plain}"


def change(there: Path, mutant: str) -> Change:
    lines = mutmut(there, "show", mutant).splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("@@"))
    old, new = ("\n".join(line[1:].strip() for line in lines[start:] if line.startswith(sign)) for sign in ("-", "+"))
    return Change(function(mutant), old, new)


def judged() -> dict[Change, str]:
    """What need not be looked at again, and why."""
    entries = tomllib.loads(JUDGED.read_text(encoding="utf-8"))["survivor"]
    return {Change(entry["where"], entry["old"], entry["new"]): entry["why"] for entry in entries}


def show(each: Change, more: str = "") -> None:
    print(f"\n{each.where}{more}")
    print(
        "\n".join(
            [*(f"  - {line}" for line in each.old.split("\n")), *(f"  + {line}" for line in each.new.split("\n"))]
        )
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("patterns", nargs="*", metavar="PATTERN", help="of mutants, such as '*.plan.*'")
    chosen = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    known = judged()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        there = Path(folder)
        for part in ("src", "tests"):
            shutil.copytree(ROOT / part, there / part, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", there)
        mutmut(there, "run", "--max-children", str(chosen.jobs), *chosen.patterns)
        results = [line.split(": ") for line in mutmut(there, "results", "--all", "true").splitlines() if ": " in line]
        fates = {mutant.strip(): fate for mutant, fate in results if fate != "not checked"}
        survivors = {change(there, mutant) for mutant, fate in fates.items() if fate not in ("killed", "timeout")}

    modules: dict[str, Counter[str]] = defaultdict(Counter)
    for mutant, fate in fates.items():
        modules[function(mutant).partition(".")[0]][fate] += 1
        modules["all"][fate] += 1
    print(f"{'module':16}{'tried':>9}{'killed':>9}{'survived':>9}{'timeout':>9}{'other':>9}")
    for name, counts in sorted(modules.items(), key=lambda item: (item[0] == "all", item[0])):
        told = [counts[column] for column in COLUMNS]
        print(f"{name:16}" + "".join(f"{count:9}" for count in (counts.total(), *told, counts.total() - sum(told))))
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"{time.monotonic() - began:.0f} seconds, {used.ru_utime + used.ru_stime:.0f} of a processor")

    for each in sorted(survivors & known.keys()):
        show(each, f": {known[each]}")
    if not chosen.patterns:
        for each in sorted(known.keys() - survivors):
            show(each, ": survives no more; take it out of survivors.toml")
    unknown = sorted(survivors - known.keys())
    for each in unknown:
        show(each, ": SURVIVES, and nobody has said why")
    print(f"\n{len(survivors)} survive, {len(unknown)} of them unexplained")
    return bool(unknown)


if __name__ == "__main__":
    sys.exit(main())
