"""The tap sees every call to the system that changes DEST: strace sees the same ones."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from kill import calls, tap
from kill.served import PROJECT, small
from system.harness import world

RUN = """
import os, runpy
from kill import tap
tap.install(os.environ)
runpy.run_module("xnat_sync", run_name="__main__")
"""
NAMES = {
    "openat": "open", "open": "open", "creat": "open", "ftruncate": "open", "truncate": "open", "write": "write",
    "pwrite64": "write", "writev": "write", "fsync": "sync", "fdatasync": "sync", "rename": "rename",
    "renameat": "rename", "renameat2": "rename", "link": "link", "linkat": "link", "mkdir": "mkdir", "mkdirat": "mkdir",
    "unlink": "unlink", "rmdir": "rmdir", "unlinkat": "unlink", "utimensat": "touch", "fallocate": "other",
    "pwritev": "other", "pwritev2": "other", "copy_file_range": "other", "sendfile": "other", "symlink": "other",
    "symlinkat": "other", "chmod": "other", "fchmod": "other", "fchmodat": "other", "mknod": "other",
}  # fmt: skip
OPEN = ("create", "truncate")  # what the tap tells apart, and the system does with open


def kind(name: str, line: str) -> str | None:
    """What a call of the system is; None for one that only reads."""
    if name == "unlinkat" and "AT_REMOVEDIR" in line:
        return "rmdir"
    if "open" in name and not re.search("O_WRONLY|O_RDWR|O_CREAT|O_TRUNC", line):
        return None
    return NAMES[name]


def whole(trace: str) -> Iterator[tuple[str, str]]:
    """Name and line of each call that went well, those in one piece again that another thread's came in between of."""
    begun: dict[str, str] = {}
    for line in trace.splitlines():
        number, _, text = line.partition(" ")
        text = text.strip()
        if text.endswith("<unfinished ...>"):
            begun[number] = text.removesuffix("<unfinished ...>")
            continue
        if resumed := re.match(r"<\.\.\. \w+ resumed>", text):
            text = begun.pop(number) + text[resumed.end() :]
        if (name := re.match(r"(\w+)\(", text)) and " = -1 " not in text:
            yield name[1], text


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not here")
@pytest.mark.parametrize("store", ["files", "zip"])
def test_strace_sees_the_same_calls(tmp_path: Path, store: str) -> None:
    if subprocess.run(["strace", "-o", os.devnull, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no process may be traced here")
    with world(small(), tmp_path) as here:
        here.dest.mkdir()
        trace, log, dest = tmp_path / "trace", tmp_path / "log", str(here.dest)
        wanted = ",".join(f"?{name}" for name in NAMES)  # "?" as not every machine has them all
        strace = ["strace", "-f", "-y", "-s", "0", "-o", str(trace), "-e", f"trace={wanted}"]
        mirror = [sys.executable, "-c", RUN, "project", PROJECT, "--dest", dest, "--store", store]
        path = os.pathsep.join([str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])])
        environment = here.env({"PYTHONPATH": path, **tap.Orders(dest, str(log)).variable()})
        done = subprocess.run([*strace, *mirror], env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert here.tree()
        seen = Counter(kind(name, line) for name, line in whole(trace.read_text()) if dest in line)
        del seen[None]
        recorded = Counter("open" if call.name in OPEN else call.name for call in calls.load(log))
        assert recorded == seen
        assert sum(seen.values()) > 150
