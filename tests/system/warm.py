"""The real command without the time that an interpreter takes to start: forked from one that has imported it.

Every run is a process of its own and goes through ``python -m xnat_sync``, with its own environment, output, signals
and exit code.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from system import child
from system.harness import Done, World
from xnat_embedded import Server, Site

_ONE_AT_A_TIME = threading.Lock()
_AT_THE_START = {"PYTHONPATH", "SSL_CERT_FILE"}  # read while an interpreter starts and imports


@cache
def _forker() -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, child.__file__ or ""], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None

    def end() -> None:
        process.communicate()

    atexit.register(end)
    return process


class Run:
    """A command that may still be running."""

    def __init__(self, arguments: tuple[str, ...], environment: dict[str, str], stdin: str = "") -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="xnat-sync-run-"))
        (self._folder / "in").write_text(stdin)
        order = {"arguments": arguments, "environment": environment, "where": str(self._folder)}
        with _ONE_AT_A_TIME:
            forker = _forker()
            assert forker.stdin is not None
            assert forker.stdout is not None
            forker.stdin.write(json.dumps(order) + "\n")
            forker.stdin.flush()
            self._number = int(forker.stdout.readline())
        self._code: int | None = None

    @property
    def code(self) -> int | None:
        """How it ended, a signal as a negative number; None while it runs."""
        if self._code is None:
            with suppress(FileNotFoundError):
                self._code = int((self._folder / "status").read_text())
        return self._code

    def send(self, number: int) -> None:
        """Send it a signal, if it still runs."""
        if self.code is None:
            with suppress(ProcessLookupError):
                os.kill(self._number, number)

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """It stands still meanwhile, each of its threads: one within a system call ends that first."""
        self._stop()
        try:
            yield
        finally:
            self.send(signal.SIGCONT)

    def _stop(self) -> None:
        self.send(signal.SIGSTOP)
        deadline = time.monotonic() + 60
        while not self._stands_still():
            assert self.code is None, "the command ended before it was stopped"
            assert time.monotonic() < deadline, "the command does not stop"
            time.sleep(0.002)

    def _stands_still(self) -> bool:
        try:
            stats = [stat.read_text() for stat in Path(f"/proc/{self._number}/task").glob("*/stat")]
        except OSError:  # a thread has just ended
            return False
        return bool(stats) and all(stat.rpartition(") ")[2].startswith("T") for stat in stats)

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self.send(signal.SIGKILL)
        self._wait(60)
        shutil.rmtree(self._folder, ignore_errors=True)

    def done(self, timeout: float = 60) -> Done:
        """Its end; fails if it does not end in time."""
        self._wait(timeout)
        code = self.code
        out, err = ((self._folder / name).read_text() for name in ("out", "err"))
        self.kill()
        assert code is not None, f"the command hangs\n{out}\n{err}"
        return Done(code, out, err)

    def _wait(self, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        while self.code is None and time.monotonic() < deadline:
            time.sleep(0.002)


@dataclass
class WarmWorld(World):
    """A world whose commands start fast."""

    runs: list[Run] = field(default_factory=list)

    def begin(self, *arguments: str, env: Mapping[str, str | None] = {}, stdin: str = "") -> Run:
        """Start a command and go on."""
        run = Run(arguments, self.env(env), stdin)
        self.runs.append(run)
        return run

    def begin_mirror(self, *arguments: str, env: Mapping[str, str | None] = {}) -> Run:
        """Start mirroring and go on."""
        return self.begin("project", "PTV000", "--dest", str(self.dest), *arguments, env=env)

    def run(self, *arguments: str, env: Mapping[str, str | None] = {}, stdin: str = "", timeout: float = 90) -> Done:
        if _AT_THE_START & env.keys():
            return super().run(*arguments, env=env, stdin=stdin, timeout=timeout)
        run = self.begin(*arguments, env=env, stdin=stdin)
        self.runs.remove(run)
        done = run.done(timeout)
        self.printed += [done.out, done.err]
        return done

    def until(self, happened: Callable[[], bool], run: Run) -> bool:
        """Wait until something has happened on the server; False if the command ended before."""
        deadline = time.monotonic() + 60
        while not happened():
            if run.code is not None:
                return False
            assert time.monotonic() < deadline, "it never happened"
            time.sleep(0.002)
        return True

    def until_settled(self) -> None:
        """Wait until the server has noticed that a killed command is gone."""
        deadline = time.monotonic() + 60
        while self.server.counts.live:
            assert time.monotonic() < deadline, "the server goes on without a client"
            time.sleep(0.002)

    def end(self) -> None:
        super().end()
        for run in self.runs:
            run.kill()


@contextmanager
def warm_world(site: Site, home: Path, **options: Any) -> Iterator[WarmWorld]:
    """A running server, an empty home, and commands that start fast."""
    with Server(site, **options) as server:
        made = WarmWorld(server, site, home)
        try:
            yield made
        finally:
            made.end()
