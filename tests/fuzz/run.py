"""Fuzzing for a while: every target under libFuzzer, from the corpus in the tree, with a table at the end.

``python tests/fuzz/run.py [--seconds 120] [--jobs 2] [--keep] [TARGET …]``: so many seconds in all, shared by the
targets. An input that breaks an invariant is made small and put into the corpus, where ``make test`` finds it from
then on; exit 1. With ``--keep`` inputs that reach lines which the corpus does not are put there as well.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
sys.path[0] = str(HERE.parent)  # not this folder: its modules are those of the package "fuzz"

from fuzz import reach  # noqa: E402
from fuzz.shrink import failure, shrink  # noqa: E402
from fuzz.targets import CORPUS, TARGETS, corpus  # noqa: E402

LIMITS = ("-timeout=10", "-rss_limit_mb=1024", "-print_final_stats=1")  # seconds an input, memory of the process


@dataclass
class Result:
    """What came of fuzzing one target."""

    name: str
    seconds: float = 0.0
    inputs: int = 0
    said: str = ""  # by libFuzzer
    found: dict[str, bytes] = field(default_factory=dict)  # what reaches something new
    failing: dict[bytes, str] = field(default_factory=dict)  # and how libFuzzer calls it: crash, timeout, oom
    trouble: str = ""  # why there is no result


def fuzz(name: str, seconds: int, folder: Path) -> Result:
    """Runs one target for so long, in a process of its own."""
    target, work, failing = TARGETS[name], folder / name, folder / f"{name}.failing"
    work.mkdir()
    failing.mkdir()
    words = folder / f"{name}.words"
    words.write_text("".join(f"{quoted(word)}\n" for word in target.words), encoding="ascii")
    command = [sys.executable, str(HERE / "guided.py"), name, str(failing), f"-max_total_time={seconds}", *LIMITS]
    command += [f"-max_len={target.longest}", f"-artifact_prefix={failing}/"]
    command += [f"-dict={words}"] if target.words else []
    command += [str(work), *([str(CORPUS / name)] if corpus(name) else [])]
    began = time.monotonic()
    done = subprocess.run(command, check=False, capture_output=True, text=True, errors="replace")
    result = Result(name, time.monotonic() - began, said=done.stderr)
    counts = re.findall(r"^(?:#|stat::number_of_executed_units: )(\d+)", done.stderr, re.MULTILINE)
    result.inputs = int(counts[-1]) if counts else 0
    result.found = {path.name[:12]: path.read_bytes() for path in sorted(work.iterdir())}
    result.failing = {path.read_bytes(): path.name for path in failing.iterdir() if path.name[:4] != "slow"}
    if done.returncode and not result.failing:
        result.trouble = f"ended with {done.returncode}:\n{done.stdout[-500:]}{done.stderr[-2000:]}"
    return result


def quoted(word: str) -> str:
    """A word as libFuzzer's dictionaries write it."""
    data = word.encode("latin-1" if max(word) <= "\xff" else "utf-8")
    return '"' + "".join(chr(b) if 32 <= b < 127 and b not in b'"\\' else f"\\x{b:02X}" for b in data) + '"'


def kept(result: Result) -> Iterator[str]:
    """Puts what failed into the corpus, small, and says what it was."""
    check = TARGETS[result.name].check
    for data, name in result.failing.items():
        small = shrink(check, data)
        how = failure(check, small)
        kind = how[0] if how else name.partition("-")[0]
        path = save(result.name, f"found-{kind}-{digest(small)}", small)
        where = (
            f"{Path(how[1]).name}, {how[2]}" if how else "it does not show by itself: a time-out or too much memory?"
        )
        yield f"{result.name}: {kind} in {where}\n    {path}\n    {small[:100]!r}"


def save(target: str, name: str, data: bytes) -> Path:
    """Puts one input into the corpus."""
    path = CORPUS / target / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:8]


def row(result: Result, keep: bool) -> str:
    """The line of the table. With ``keep``, what reaches new lines goes into the corpus."""
    target, old = TARGETS[result.name], corpus(result.name)
    known = reach.reached(target, old.values())
    new = reach.reached(target, result.found.values()) - known
    if keep:
        for data in reach.adding(target, result.found, known).values():
            save(result.name, f"kept-{digest(data)}", data)
    rate = result.inputs / max(result.seconds, 0.1)
    share = 100 * len(known | new) / len(reach.there(target))
    return (
        f"{result.name:<12} {result.inputs:>9} {rate:>9.0f} {len(old):>7} {len(result.found):>6} {len(new):>10}"
        f" {share:>7.0f} % {len(result.failing):>9}"
    )


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=120, help="how long in all (default 120)")
    parser.add_argument("--jobs", type=int, default=2, help="targets at once (default 2)")
    parser.add_argument("--keep", action="store_true", help="put what reaches new lines into the corpus")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of: {', '.join(TARGETS)} (default all)")
    asked = parser.parse_args()
    names = asked.targets or list(TARGETS)
    if unknown := set(names) - TARGETS.keys():
        parser.error(f"no such target: {', '.join(sorted(unknown))}")
    warnings.simplefilter("error")
    each = max(1, asked.seconds * min(asked.jobs, len(names)) // len(names))
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(asked.jobs) as pool:
        results = list(pool.map(lambda name: fuzz(name, each, Path(folder)), names))
    print("target          inputs  a second  corpus  found  new lines   reached  failures")
    for result in results:
        print(row(result, asked.keep), flush=True)
    told = [line for result in results for line in kept(result)]
    told += [f"{result.name}: {result.trouble}" for result in results if result.trouble]
    print("\n".join(told))
    return 1 if told else 0


if __name__ == "__main__":
    sys.exit(main())
