"""Peak memory of the command while it mirrors much more than that: it must not grow with what is mirrored.

Each row is a run of the real command against the embedded server, in a process of its own, on loopback. The server's
files are a pattern and cost no memory; DEST is a temporary folder, removed after each run: ``--dest`` says where it
is made, and must have room for the largest row.

    python benchmarks/memory.py [--gigabytes 1 4] [--jobs 4 8] [--shape zip single] [--dest /tmp]
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from dataclasses import dataclass

from xnat_embedded import Server, Site, empty_site
from xnat_embedded.content import Pattern

GIGABYTE = 1 << 30
MEGABYTE = 1 << 20
#: Shape -> size of a file, files in a resource.
SHAPES = {"zip": (4 * MEGABYTE, 16), "single": (256 * MEGABYTE, 1), "many": (32 * 1024, 1024)}


@dataclass(frozen=True)
class Row:
    """What one run took."""

    shape: str
    gigabytes: float
    jobs: int
    peak: int
    seconds: float
    code: int

    def __str__(self) -> str:
        rate = self.gigabytes * 1024 / self.seconds
        peak = self.peak / MEGABYTE
        return (
            f"{self.shape:8}{self.gigabytes:6g} GiB{self.jobs:6}{peak:12.1f} MiB{self.seconds:10.1f} s{rate:8.0f} MiB/s"
        )


def site_of(shape: str, total: int) -> Site:
    """A project of so many bytes, in resources that are asked for in the way the shape says."""
    size, files = SHAPES[shape]
    content = Pattern(size, bytes(range(256)))
    site = empty_site()
    subject = site.add_project("P", members=("demo",)).add_subject("S1")
    left, number = total, 0
    while left > 0:
        if number % 16 == 0:
            session = subject.add_session(f"S1_MR{number // 16}")
        scan = session.add_scan(str(number), "t1")
        count = min(files, max(1, left // size))
        scan.add_resource("DATA", [(f"{i}.bin", content) for i in range(count)])
        left, number = left - count * size, number + 1
    return site


def measure(shape: str, gigabytes: float, jobs: int, dest: str) -> Row:
    """Mirror once and see how much memory the command had at its peak."""
    with Server(site_of(shape, int(gigabytes * GIGABYTE))) as server, tempfile.TemporaryDirectory(dir=dest) as home:
        environment = {
            "PATH": os.environ["PATH"], "HOME": home, "XDG_STATE_HOME": f"{home}/state", "XNAT_HOST": server.url,
            "XNAT_USER": "demo", "XNAT_PASS": "demo-password", "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
        }  # fmt: skip
        command = [
            sys.executable,
            "-m",
            "xnat_sync",
            "project",
            "P",
            "--dest",
            f"{home}/dest",
            "-q",
            "--jobs",
            str(jobs),
        ]
        began = time.monotonic()
        process = os.posix_spawn(sys.executable, command, environment)
        _, status, usage = os.wait4(process, 0)
        unit = 1 if sys.platform == "darwin" else 1024
        code = os.waitstatus_to_exitcode(status)
        return Row(shape, gigabytes, jobs, usage.ru_maxrss * unit, time.monotonic() - began, code)


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--gigabytes", type=float, nargs="+", default=[1, 4])
    parser.add_argument("--jobs", type=int, nargs="+", default=[4, 8])
    parser.add_argument("--shape", choices=SHAPES, nargs="+", default=["zip", "single"])
    parser.add_argument("--dest", default=tempfile.gettempdir())
    options = parser.parse_args()
    print(f"{'shape':8}{'size':>10}{'jobs':>6}{'peak memory':>16}{'time':>12}{'rate':>14}", flush=True)
    rows = []
    for shape in options.shape:
        for gigabytes in options.gigabytes:
            for jobs in options.jobs:
                rows.append(measure(shape, gigabytes, jobs, options.dest))
                print(rows[-1], flush=True)
    return max(row.code for row in rows)


if __name__ == "__main__":
    sys.exit(main())
