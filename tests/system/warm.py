"""The real command without the time that an interpreter takes to start: forked from one that has imported it.

Every run is a process of its own and goes through ``python -m xnat_sync``, with its own environment, output, signals
and exit code.
"""

from __future__ import annotations

import multiprocessing as mp
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

from system.child import become
from system.harness import Done, World
from xnat_embedded import Server, Site

_PRELOADED = ["xnat_sync.face.cli", "system.child", "anyio._backends._asyncio", "rich.traceback", "typer.core"]


def _context() -> ForkServerContext:
    context = mp.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    return context


class Run:
    """A command that may still be running."""

    def __init__(self, arguments: tuple[str, ...], environment: dict[str, str], stdin: str = "") -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="xnat-sync-run-"))
        (self._folder / "in").write_text(stdin)
        self._process = _context().Process(target=become, args=(arguments, environment, str(self._folder)))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._process.start()

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self._process.kill()
        self._process.join()
        shutil.rmtree(self._folder, ignore_errors=True)

    def terminate(self) -> None:
        """SIGTERM."""
        self._process.terminate()

    @property
    def alive(self) -> bool:
        return self._process.is_alive()

    def done(self, timeout: float = 60) -> Done:
        """Its end; fails if it does not end in time."""
        self._process.join(timeout)
        code = self._process.exitcode
        out, err = ((self._folder / name).read_text() for name in ("out", "err"))
        self.kill()
        assert code is not None, f"the command hangs\n{out}\n{err}"
        return Done(code, out, err)


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
        run = self.begin(*arguments, env=env, stdin=stdin)
        self.runs.remove(run)
        return run.done(timeout)

    def until(self, happened: Callable[[], bool], run: Run) -> bool:
        """Wait until something has happened on the server; False if the command ended before."""
        deadline = time.monotonic() + 60
        while not happened():
            if not run.alive:
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
