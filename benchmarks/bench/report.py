"""What came of it, for people (Markdown) and for programs (JSON). Ratios and CPU seconds are what lasts."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from . import ours
from .clock import Figures
from .growth import Grown
from .throughput import Scenario

_MIB = 1 << 20


@dataclass(slots=True)
class Results:
    """Everything that was measured, and what could not be."""

    rounds: int
    scenarios: list[Scenario] = field(default_factory=list)
    memory: list[dict[str, Any]] = field(default_factory=list)
    growth: list[Grown] = field(default_factory=list)
    million: Grown | None = None
    left_out: list[str] = field(default_factory=list)


def machine() -> dict[str, str]:
    """Where this ran, and with what."""
    model = ""
    with suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as file:
        model = next((line.partition(":")[2].strip() for line in file if line.startswith("model name")), "")
    found = {
        "when": datetime.now(UTC).isoformat(timespec="minutes"),
        "processor": f"{os.cpu_count()} × {model or platform.processor() or platform.machine()}",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "system": platform.platform(),
        "Python": platform.python_version(),
        "load at the start": f"{os.getloadavg()[0]:.1f}",
    }
    found |= {name: version(name) for name in ("xnat-sync", "aiohttp", "anyio", "isal")}
    for program, option in (("curl", "--version"), ("unzip", "-v"), ("bsdtar", "--version")):
        if shutil.which(program):
            said = subprocess.run([program, option], capture_output=True, text=True, check=False).stdout
            found[program] = said.splitlines()[0].split(",")[0][:60]
    return found


def write(results: Results, about: dict[str, str], folder: str) -> None:
    """``results.md`` and ``results.json``."""
    with open(f"{folder}/results.md", "w", encoding="utf-8") as file:
        file.write(markdown(results, about))
    with open(f"{folder}/results.json", "w", encoding="utf-8") as file:
        json.dump(_plain(results, about), file, indent=2)
        file.write("\n")


def markdown(results: Results, about: dict[str, str]) -> str:
    """The tables."""
    text = ["# Benchmarks", "", f"Made by `make bench`: {results.rounds} interleaved rounds, the first left out.",
            "Wall and CPU are medians (least–most); CPU is that of the client and its children; peak is that of the "
            "largest process; × is by the first row. Shared machines are noisy: trust ratios and CPU.", ""]  # fmt: skip
    text += [f"- {name}: {value}" for name, value in about.items()]
    text += [f"- left out: {line}" for line in results.left_out]
    for scenario in sorted(results.scenarios, key=lambda each: each.key):
        text += ["", f"## ({scenario.key}) {scenario.title}", "", *_table(scenario)]
    if results.memory:
        text += ["", "## (f) Peak memory", "", "| what | size | transfers | peak | rate |", "|---|---|---|---|---|"]
        text += [
            f"| {row['shape']} | {row['gigabytes']:g} GiB | {row['jobs']} | {row['peak'] / _MIB:.0f} MiB | "
            f"{row['gigabytes'] * 1024 / row['seconds']:.0f} MiB/s |"
            for row in results.memory
        ]
    if results.million is not None:
        text += ["", *_million(results.million)]
    if results.growth:
        text += ["", *_growth(results.growth)]
    return "\n".join([*text, ""])


def _table(scenario: Scenario) -> list[str]:
    counted = any(each.requests for each in scenario.figures)
    base = next((each for each in scenario.figures if each.name == scenario.base), scenario.figures[0])
    last = " requests |" if counted else " files/s |" if scenario.files else ""
    lines = [f"| | wall, s | × | CPU s/GB | MB/s | peak MiB |{last}", "|---|" + "---|" * (5 + bool(last))]
    for each in scenario.figures:
        if each.wrong:
            lines.append(f"| {each.name} | failed: {each.wrong} | | | | |" + (" |" if last else ""))
            continue
        more = f" {each.requests} |" if counted else f" {scenario.files / each.wall:,.0f} |" if scenario.files else ""
        lines.append(
            f"| {each.name} | {_spread(each)} | {each.wall / base.wall:.2f} | {each.cpu / each.bytes * 1e9:.2f} | "
            f"{each.bytes / each.wall / 1e6:.0f} | {each.peak / _MIB:.0f} |{more}"
        )
    return lines


def _spread(figures: Figures) -> str:
    walls = [each.wall for each in figures.runs]
    return f"{figures.wall:.2f} ({min(walls):.2f}–{max(walls):.2f})"


def _million(grown: Grown) -> list[str]:
    took = grown.took
    return [
        f"## (g) Unchanged project of {grown.sessions:,} sessions and {grown.files:,} files",
        "",
        f"{took.wall:.2f} s, {took.cpu:.2f} CPU s, {took.peak / _MIB:.0f} MiB, {took.requests} requests in all.",
    ]


def _growth(rows: Sequence[Grown]) -> list[str]:
    lines = [
        "## (i) Growth with the project, and first planning",
        "",
        "Seconds in the last three columns are from the start of the run.",
        "",
        "| sessions | | wall, s | CPU, s | peak MiB | requests | first listed | first data asked for | last listed |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        times = f"{row.first_listed:.2f} | {row.first_asked:.2f} | {row.last_listed:.2f}" if row.fresh else "| |"
        kind = "new" if row.fresh else "unchanged"
        lines.append(
            f"| {row.sessions:,} | {kind} | {row.took.wall:.2f} | {row.took.cpu:.2f} | {row.took.peak / _MIB:.0f} | "
            f"{row.took.requests} | {times} |"
        )
    return lines


def _plain(results: Results, about: dict[str, str]) -> dict[str, Any]:
    def took(grown: Grown) -> dict[str, Any]:
        return {
            "sessions": grown.sessions, "files": grown.files, "new": grown.fresh, "wall": grown.took.wall,
            "cpu": grown.took.cpu, "peak": grown.took.peak, "requests": grown.took.requests,
            "first_listed": grown.first_listed, "first_asked": grown.first_asked, "last_listed": grown.last_listed,
        }  # fmt: skip

    return {
        "machine": about,
        "command": ours.COMMAND,
        "rounds": results.rounds,
        "left_out": results.left_out,
        "scenarios": [
            {
                "key": scenario.key,
                "title": scenario.title,
                "base": scenario.base,
                "files": scenario.files,
                "rows": [
                    {
                        "name": each.name, "bytes": each.bytes, "wrong": each.wrong, "requests": each.requests,
                        "wall": [run.wall for run in each.runs], "cpu": [run.cpu for run in each.runs],
                        "peak": each.peak,
                    }
                    for each in scenario.figures
                ],
            }
            for scenario in results.scenarios
        ],
        "memory": results.memory,
        "million": None if results.million is None else took(results.million),
        "growth": [took(row) for row in results.growth],
    }  # fmt: skip
