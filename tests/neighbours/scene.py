"""A mirror with bad neighbours: a small site, what lies outside DEST and must stay as it is, and a server that waits.

A ``Scene`` is a mirror made by an earlier run, copied, while the server has changed since: a file to replace, files
to add, a new scan that comes as a zip, and a file that is extra. So a run with ``--delete`` writes everywhere.
"""

from __future__ import annotations

import atexit
import os
import shutil
import stat
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from system.harness import STATE as STATE
from system.harness import Done, md5_tree, truth
from system.warm import Run, WarmWorld
from xnat_embedded import Data, Experiment, Server, Site, empty_site
from xnat_sync.shell.mirror import Mirror

WIDE = bool(os.environ.get("XNAT_SYNC_TEST_WIDE"))
DELETE = ("--delete", "--max-delete", "100%")
BUFFERED = 3 << 20  # more than server, system and client gather before they hand it on
EXTRA = "S1/E1/scans/1/DICOM/b.dcm"  # what the server has no more


class Gate(Data):
    """A file that the server begins to send when the test says so."""

    blocking = True

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.reached = threading.Event()
        self.opened = threading.Event()

    def pieces(self, start: int = 0, stop: int | None = None) -> Iterator[bytes | memoryview]:
        self.reached.set()
        assert self.opened.wait(60), "the test never opened the gate"
        yield from super().pieces(start, stop)


def site_before() -> Site:
    """One session with two scans and notes, a subject's and the project's own resource."""
    site = empty_site()
    project = site.add_project("PTV000", members=("demo",))
    subject = project.add_subject("S1")
    session = subject.add_session("E1")
    scan = session.add_scan("1", "t1").add_resource("DICOM")
    for name in ("a.dcm", "b.dcm", "c.dcm"):
        scan.add_file(name, name.encode() * 100)
    session.add_scan("2", "t2").add_resource("DICOM").add_file("a.dcm", b"second" * 100)
    session.add_resource("NOTES").add_file("n.txt", b"note")
    subject.add_resource("INFO").add_file("i.txt", b"info")
    project.add_resource("DOCS").add_file("d.txt", b"docs")
    return site


def change(site: Site, gate: Gate | None = None) -> None:
    """What happens on the server between two runs; ``gate`` is a file of the new scan, in the middle of its zip."""
    project = site.project("PTV000")
    assert project is not None
    session = project.subject("S1").session("E1")
    scan = session.scan("1").resource("DICOM")
    scan.replace_file("a.dcm", b"replaced" * 90)
    scan.remove_file("b.dcm")
    scan.add_file("d.dcm", b"added" * 80)
    session.resources[0].replace_file("n.txt", b"another note")
    fresh = session.add_scan("3", "t3").add_resource("DICOM")
    fresh.add_file("x.dcm", b"x" * 3000)
    if gate is None:
        fresh.add_file("y.dcm", b"y" * 3000)
    else:
        fresh.add_file("xx.dcm", b"f" * BUFFERED)  # so that what comes before it is not held back by a buffer
        fresh.add_file("y.dcm", gate)
    fresh.add_file("z.dcm", b"z" * 3000)


Shape = tuple[int, int, int, int, int, bytes | str]


def shapes(root: Path) -> dict[str, Shape]:
    """All that can be told of everything under a folder; a file's name counts, a link's target too."""
    found: dict[str, Shape] = {}
    for path in [root, *sorted(root.rglob("*"))]:
        seen = path.lstat()
        content: bytes | str = ""
        if stat.S_ISREG(seen.st_mode):
            content = path.read_bytes()
        elif stat.S_ISLNK(seen.st_mode):
            content = os.readlink(path)
        at = str(path.relative_to(root))
        found[at] = (seen.st_mode, seen.st_uid, seen.st_gid, seen.st_ino, seen.st_mtime_ns, content)
    return found


@dataclass
class Scene(WarmWorld):
    """A mirror, and what lies beside it."""

    before: Mapping[str, Shape] = field(default_factory=dict)
    gate: Gate = field(default_factory=lambda: Gate(b""))

    @property
    def outside(self) -> Path:
        """What no run may change."""
        return self.home / "outside"

    @property
    def mirrored(self) -> Mirror:
        return Mirror(str(self.project))

    @property
    def unit(self) -> str:
        """The accession id of the session."""
        return self._session.id

    @property
    def _session(self) -> Experiment:
        project = self.site.project("PTV000")
        assert project is not None
        return project.subject("S1").session("E1")

    def number(self, scan: str) -> str:
        """The number of a scan's resource."""
        return str(self._session.scan(scan).resource("DICOM").id)

    @property
    def notes(self) -> str:
        """The number of the session's notes."""
        return str(self._session.resources[0].id)

    def guard(self) -> None:
        """From now on nothing outside may change."""
        self.before = shapes(self.outside)

    def assert_outside_untouched(self) -> None:
        now = shapes(self.outside)
        changed = {at for at in {*now, *self.before} if now.get(at) != self.before.get(at)}
        assert not changed, f"changed outside DEST: {sorted(changed)}"

    def assert_whole(self) -> None:
        """Every file of the server stands here as a file of its own, reached through no link."""
        assert self.tree().items() >= truth(self.site).items()
        for at in truth(self.site):
            for path in [self.project / at, *(self.project / at).parents]:
                if path == self.project:
                    break
                assert not path.is_symlink(), path

    def assert_ended_well(self, done: Done, *codes: int) -> None:
        """The run ended with one of these codes, told why, lied about nothing, and harmed nothing outside."""
        assert done.code in codes, done
        assert "Traceback" not in done.err, done
        self.assert_outside_untouched()
        if done.code == 0:
            self.assert_whole()
        else:
            assert done.err.strip(), done
        if done.code in (1, 2, 11, 12):
            told = [line for line in done.err.splitlines() if line.startswith("xnat-sync: ")]
            assert len(told) == 1, done

    def nightly(self, *more: str, dest: Path | None = None) -> Done:
        """A run that has something to do everywhere."""
        return self.run("project", "PTV000", "--dest", str(dest or self.dest), *DELETE, *more, timeout=30)

    def begin_nightly(self, *more: str) -> Run:
        return self.begin_mirror(*DELETE, *more)


@dataclass
class Stage:
    """A server that has changed since the mirror ``base`` was made."""

    server: Server
    site: Site
    base: Path
    gate: Gate | None = None

    def scene(self, home: Path) -> Scene:
        """A copy of the mirror, and something precious outside of it."""
        made = Scene(self.server, self.site, home)
        shutil.copytree(self.base, made.dest, symlinks=True)
        (made.outside / "folder").mkdir(parents=True)
        (made.outside / "folder" / "canary").write_bytes(b"precious")
        (made.outside / "canary").write_bytes(b"precious")
        made.guard()
        return made


@cache
def first_mirror() -> Path:
    """What a first run made of the site as it was; every site of ``site_before`` has the same ids."""
    home = Path(tempfile.mkdtemp(prefix="xnat-sync-first-"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    site = site_before()
    with Server(site) as server:
        first = WarmWorld(server, site, home)
        done = first.mirror()
        first.end()
        assert done.code == 0, done
        assert md5_tree(first.project) == truth(site)
    return first.dest


@contextmanager
def stage(*, gated: bool = False) -> Iterator[Stage]:
    """A server that has changed since its mirror was made."""
    site = site_before()
    gate = Gate(b"y" * 3000) if gated else None
    change(site, gate)
    with Server(site) as server:
        try:
            yield Stage(server, site, first_mirror(), gate)
        finally:
            if gate is not None:
                gate.opened.set()


def state(scene: Scene) -> Path:
    """Our own folder in the mirror."""
    return scene.project / STATE
