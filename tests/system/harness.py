"""The real command in a subprocess, against the embedded server, in a folder of its own."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xnat_embedded import Resource, Server, Site

STATE = ".xnat-sync"
DISK = 2 << 20  # bytes of the small file system
COMMAND = (sys.executable, "-m", "xnat_sync")


def md5_tree(root: Path) -> dict[str, str]:
    """Path -> MD5 of every file under a project's folder, our own state left out."""
    found = {}
    for folder, folders, files in os.walk(root):
        if STATE in folders:
            folders.remove(STATE)
        for name in files:
            path = Path(folder) / name
            found[str(path.relative_to(root))] = hashlib.md5(path.read_bytes()).hexdigest()
    return found


def _resource(prefix: str, resource: Resource) -> Iterator[tuple[str, str, str]]:
    for entry in resource.entries:
        if entry.on_disk and entry.content is not None:
            data = entry.content.read()
            folder = f"{prefix}/{resource.label or resource.id}" if prefix else str(resource.label or resource.id)
            yield folder, entry.path, hashlib.md5(data).hexdigest()


def truth_by_resource(site: Site, project: str = "PTV000") -> dict[str, dict[str, str]]:
    """Folder of each resource -> path in it -> MD5, as the site has them; for labels that need no escaping."""
    found: dict[str, dict[str, str]] = {}

    def add(prefix: str, resource: Resource) -> None:
        for folder, path, digest in _resource(prefix, resource):
            found.setdefault(folder, {})[path] = digest

    root = site.project(project)
    assert root is not None
    for resource in root.resources:
        add("resources", resource)
    for subject in root.subjects:
        for resource in subject.resources:
            add(f"{subject.label}/resources", resource)
        for session in subject.experiments:
            base = f"{subject.label}/{session.label}"
            for resource in session.resources:
                add(f"{base}/resources", resource)
            for scan in session.scans:
                for resource in scan.resources:
                    add(f"{base}/scans/{scan.id}", resource)
            for assessor in session.assessors:
                for resource in assessor.resources:
                    add(f"{base}/assessors/{assessor.label}/{resource.way or 'resources'}", resource)
    return found


def truth(site: Site, project: str = "PTV000") -> dict[str, str]:
    """Path -> MD5 of every file that a whole mirror of the project must have."""
    return {
        f"{folder}/{path}": digest
        for folder, files in truth_by_resource(site, project).items()
        for path, digest in files.items()
    }


def fill(path: Path, leave: int = 0) -> None:
    """Write until the disk is full, then ``leave`` so many bytes."""
    with path.open("wb", buffering=0) as ballast, suppress(OSError):
        while True:
            ballast.write(bytes(4096))
    os.truncate(path, max(path.stat().st_size - leave, 0))


@dataclass
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str

    def __str__(self) -> str:
        return f"exit {self.code}\n--- out\n{self.out}\n--- err\n{self.err}"


@dataclass
class World:
    """A server, a folder to mirror into, and a home for the command."""

    server: Server
    site: Site
    home: Path
    environment: dict[str, str] = field(default_factory=dict)
    started: list[subprocess.Popen[str]] = field(default_factory=list)
    printed: list[str] = field(default_factory=list)

    @property
    def dest(self) -> Path:
        return self.home / "scratch"

    @property
    def project(self) -> Path:
        return self.dest / "PTV000"

    def env(self, extra: Mapping[str, str | None] = {}) -> dict[str, str]:
        base = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "XDG_STATE_HOME": str(self.home / "state"),
            "XDG_CONFIG_HOME": str(self.home / "config"),
            "LANG": "C.UTF-8",
            "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
            "PYTHONWARNINGS": "error",
            "COLUMNS": "200",
            "XNAT_HOST": self.server.url,
            "XNAT_USER": "demo",
            "XNAT_PASS": "demo-password",
        }
        merged: dict[str, str | None] = {**base, **self.environment, **extra}
        return {key: value for key, value in merged.items() if value is not None}

    def start(self, *arguments: str, env: Mapping[str, str | None] = {}, **options: Any) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*COMMAND, *arguments],
            env=self.env(env),
            stdin=options.pop("stdin", subprocess.DEVNULL),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )
        self.started.append(process)
        return process

    def assert_no_secrets(self) -> None:
        """No password, and no id of a session that there ever was, in what was printed or in any state."""
        secrets = {"demo-password", *(exchange.session for exchange in self.server.log if exchange.session)}
        texts = {f"output {number}": text for number, text in enumerate(self.printed)}
        for path in self.home.rglob(f"{STATE}/**/*"):
            if path.is_file() and path.stat().st_size < 8 << 20 and "staging" not in path.parts:
                texts[str(path)] = path.read_text(errors="replace")
        for where, text in texts.items():
            assert not [secret for secret in secrets if secret in text], f"a secret stands in {where}"

    def end(self) -> None:
        """Leave no process behind, whatever happened."""
        for process in self.started:
            if process.poll() is None:
                process.kill()
                process.communicate()

    def run(self, *arguments: str, env: Mapping[str, str | None] = {}, stdin: str = "", timeout: float = 90) -> Done:
        process = self.start(*arguments, env=env, stdin=subprocess.PIPE)
        try:
            out, err = process.communicate(stdin, timeout=timeout)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            out, err = process.communicate()
            raise AssertionError(f"the command hangs\n{out}\n{err}") from None
        self.printed += [out, err]
        return Done(process.returncode, out, err)

    def mirror(self, *arguments: str, env: Mapping[str, str | None] = {}, **options: Any) -> Done:
        return self.run("project", "PTV000", "--dest", str(self.dest), *arguments, env=env, **options)

    def wait_for(self, happened: Callable[[], bool], process: subprocess.Popen[str]) -> None:
        """Wait until something has happened on the server; fail if the command ends before."""
        deadline = time.monotonic() + 60
        while not happened():
            if process.poll() is not None:
                out, err = process.communicate()
                raise AssertionError(f"ended too early: {process.returncode}\n{out}\n{err}")
            assert time.monotonic() < deadline, "it never happened"
            time.sleep(0.002)

    def summary(self) -> dict[str, Any]:
        """The newest summary."""
        path = sorted((self.project / STATE / "runs").iterdir())[-1] / "summary.json"
        found = json.loads(path.read_text())
        assert isinstance(found, dict)
        return found

    def tree(self) -> dict[str, str]:
        return md5_tree(self.project)

    def data_bytes(self) -> int:
        """Bytes of file data and zips that the server has sent so far."""
        sent = self.server.counts.body_bytes
        return sent.get("zip", 0) + sent.get("file", 0)

    def fetched_bytes(self) -> int:
        """Bytes of file data and zips in good answers; error pages are not data."""
        return sum(
            exchange.body_bytes
            for exchange in self.server.log
            if exchange.kind in ("zip", "file") and exchange.status in (200, 206)
        )

    def assert_no_leftovers(self) -> None:
        """Nothing is left in staging but its tag."""
        left = [str(path) for path in (self.project / STATE / "staging").rglob("*") if path.is_file()]
        assert [Path(path).name for path in left] == ["CACHEDIR.TAG"]


@contextmanager
def world(site: Site, home: Path) -> Iterator[World]:
    """A running server and an empty home."""
    with Server(site) as server:
        made = World(server, site, home)
        try:
            yield made
            made.assert_no_secrets()
        finally:
            made.end()
