"""demo and serve-demo: the embedded XNAT as a process of its own, and the main job run against it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from xnat_sync.core.errors import UsageError
from xnat_sync.core.events import Exit
from xnat_sync.core.model import Login, LoginKind, Secret
from xnat_sync.core.select import Target
from xnat_sync.core.settings import Settings

from . import run

_SERVER = (sys.executable, "-m", "xnat_embedded")


@dataclass(frozen=True, slots=True)
class _Served:
    url: str
    user: str
    password: str
    project: str


@contextmanager
def _served() -> Iterator[_Served]:
    process = subprocess.Popen(  # noqa: S603
        [*_SERVER, "--json", "--until-eof"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None  # noqa: S101
        line = process.stdout.readline()
        if not line:
            raise UsageError("the embedded XNAT did not start: pip install 'xnat-sync[demo]' brings what it needs")
        told = json.loads(line)
        yield _Served(told["url"], told["user"], told["password"], told["project"])
    finally:
        process.terminate()
        process.communicate()


def demo(settings: Settings) -> int:
    """Mirror the embedded project, and say what to look at next."""
    dest = settings.dest or "xnat-demo"
    with _served() as served:
        print(f"An XNAT runs at {served.url}; mirroring its project {served.project} into {dest}/")  # noqa: T201
        login = Login(LoginKind.PASSWORD, served.user, Secret(served.password), "demo")
        here = replace(settings, host=served.url, dest=dest)
        code = run.mirror(here, [Target(served.project)], logins=iter([login]))
    if code is Exit.OK and not settings.dry_run:
        print(  # noqa: T201
            f"Look into {dest}/{served.project}/, and run this again: nothing is fetched twice.\n"
            f"The record of the run lies in {dest}/{served.project}/.xnat-sync/runs/"
        )
    return int(code)


def serve(port: int, folder: str | None) -> int:
    """Run the embedded XNAT until it is interrupted."""
    arguments = [*_SERVER, "--port", str(port)] + (["--folder", folder] if folder else [])
    try:
        return subprocess.call(arguments)  # noqa: S603
    except KeyboardInterrupt:
        return int(Exit.OK)
