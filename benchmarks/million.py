"""An unchanged night over a large mirror: how long, how much memory, how many requests.

    python benchmarks/million.py [--sessions 5000] [--files 200] [--keep DIR]

Makes a mirror of so many files on disk, with its state, and a site that lists the same sessions; then runs the real
command and prints a row of figures, and those of ``status``.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from xnat_embedded import Server, empty_site
from xnat_sync.core import index, layout, ledger
from xnat_sync.core.model import Experiment, Held, Level, Place, Resource, UnitKind


def main() -> None:
    """Build, run, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sessions", type=int, default=5000)
    parser.add_argument("--files", type=int, default=200, help="files a session")
    parser.add_argument("--keep", type=Path, help="build the mirror there and keep it")
    options = parser.parse_args()
    home = options.keep or Path(tempfile.mkdtemp(prefix="million-"))
    try:
        _run(home, options.sessions, options.files)
    finally:
        if options.keep is None:
            shutil.rmtree(home)


def _run(home: Path, sessions: int, files: int) -> None:
    site = empty_site()
    project = site.add_project("BIG", members=("demo",))
    made = [project.add_subject(f"S{n // 2:05}") if n % 2 == 0 else project.subjects[-1] for n in range(sessions)]
    experiments = [subject.add_session(f"{subject.label}_MR{n % 2}") for n, subject in enumerate(made)]
    rows = [
        Experiment(e.id, e.label, e.subject.id, e.subject.label, "BIG", last_modified=e.last_modified)
        for e in experiments
    ]
    started = time.perf_counter()
    _build(home / "BIG", rows, files)
    os.sync()  # What was built is not the run's to write.
    print(f"built {sessions * files:,} files in {time.perf_counter() - started:.0f} s", flush=True)
    with Server(site) as server:
        environment = os.environ | {"XNAT_HOST": server.url, "XNAT_USER": "demo", "XNAT_PASS": "demo-password"}
        for arguments in (("project", "BIG", "--dest", str(home)), ("status", str(home))):
            before = server.counts.total
            wall, cpu, peak, out = _measure(arguments, environment)
            asked = server.counts.total - before
            print(f"{arguments[0]:8} wall {wall:6.2f} s  cpu {cpu:6.2f} s  peak {peak:6.1f} MiB  requests {asked}")
            print(f"         {out.strip().splitlines()[-1]}", flush=True)
    state = sum(path.stat().st_size for path in (home / "BIG" / layout.STATE).rglob("*") if path.is_file())
    print(f"state    {state / 2**20:.1f} MiB, {state / (sessions * files):.0f} bytes a file")


def _build(root: Path, rows: list[Experiment], files: int) -> None:
    state = root / layout.STATE
    (state / "sessions").mkdir(parents=True)
    lines = []
    md5 = hashlib.md5(b"x", usedforsecurity=False).hexdigest()
    for unit in layout.units("BIG", rows).values():
        text = ledger.header_line(unit)
        count = files if unit.kind is UnitKind.EXPERIMENT else 0
        if count:
            folder = root / unit.folder / "scans" / "1" / "DICOM"
            folder.mkdir(parents=True)
            held = []
            for number in range(count):
                name = f"{unit.id}.{number:06}.dcm"
                fd = os.open(folder / name, os.O_WRONLY | os.O_CREAT, 0o644)
                os.write(fd, b"x")
                held.append(Held(f"scans/1/DICOM/{name}", name, 1, md5, os.fstat(fd).st_mtime_ns, "1"))
                os.close(fd)
            text += ledger.held_line(Resource(unit, Place(Level.SCAN, "1"), "1", "DICOM", (), "scans/1/DICOM"), held)
        (state / "sessions" / f"{unit.id}.jsonl").write_text(text)
        lines.append(
            index.line(
                index.Seen(
                    unit.id, unit.kind.value, unit.label, unit.subject_id, unit.folder, unit.last_modified,
                    time.time(), count, count,
                )
            )
        )  # fmt: skip
    (state / "index.jsonl").write_text("".join(lines))


def _measure(arguments: tuple[str, ...], environment: dict[str, str]) -> tuple[float, float, float, str]:
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "xnat_sync", *arguments], env=environment, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    out = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"the command ended with {process.returncode}: {out}")
    assert isinstance(usage, resource.struct_rusage)
    return time.perf_counter() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, out


if __name__ == "__main__":
    main()
