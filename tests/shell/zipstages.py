"""What the tests of ``ZipStage`` share: the ways into it, and who is asked about what came out."""

from __future__ import annotations

import contextlib
import os
import zipfile
from collections.abc import Callable, Iterator
from hashlib import md5
from pathlib import Path

from core import zips
from xnat_sync.shell.zipstore import ZipStage, read_back

BODIES = {
    "1.dcm": bytes(40) + b"DICM",
    "empty": b"",
    "sub/ü.txt": b"text " * 9,
    "inner.zip": zips.make(zips.M()),
    "last": b"",
}
Fact = tuple[int, str]


def fact(body: bytes) -> Fact:
    return len(body), md5(body).hexdigest()


def facts(bodies: dict[str, bytes]) -> dict[str, Fact]:
    return {name: fact(body) for name, body in bodies.items()}


def stream(stage: ZipStage, name: str, body: bytes, size: int | None = None) -> None:
    writer = stage.open_member(name, size)
    for at in range(0, len(body), 7):
        writer.write(body[at : at + 7])
    assert (writer.size, writer.md5) == fact(body)
    stage.accept(writer, name, durable=False)


def single(stage: ZipStage, name: str, body: bytes) -> None:
    writer = stage.open_part(name, append=False)
    writer.write(body)
    stage.accept(writer, name, durable=True)
    assert not Path(stage.part_path(name)).exists()


def known(stage: ZipStage, name: str, body: bytes) -> None:
    stream(stage, name, body, len(body))


Way = Callable[[ZipStage, str, bytes], None]
WAYS: list[Way] = [stream, known, single]


def check(path: str, bodies: dict[str, bytes]) -> None:
    """Everybody who reads it finds these members."""
    found = read_back(path)
    assert found is not None
    assert found.fault is None
    assert found.files == facts(bodies)
    assert (found.stat.size, found.stat.mtime_ns) == (os.stat(path).st_size, os.stat(path).st_mtime_ns)
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == bodies


def finished(stage: ZipStage, bodies: dict[str, bytes]) -> str:
    path, files = stage.finish()
    assert files == facts(bodies)
    check(path, bodies)
    return path


def proved(stage: ZipStage) -> dict[str, Fact | None]:
    return {name: stage.verified(name) for name in stage.whole()}


def opened() -> set[str]:
    """What this process has open, as far as the system tells."""
    found = set()
    for fd in os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else ():
        try:
            found.add(os.readlink(f"/proc/self/fd/{fd}"))
        except OSError:
            continue
    return found


@contextlib.contextmanager
def a_stage(folder: Path) -> Iterator[ZipStage]:
    """One that must not have left anything open under ``folder``."""
    stage = ZipStage(str(folder / "stage"))
    stage.prepare()
    yield stage
    stage.close()
    assert not {path for path in opened() if path.startswith(str(folder))}


def reopened(stage: ZipStage) -> ZipStage:
    """As a run after a kill would see it: nothing is closed properly."""
    fresh = ZipStage(stage.root)
    fresh.prepare()
    return fresh
