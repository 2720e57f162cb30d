"""The stage of an attack: the real command between a lying server and folders that nobody may touch.

Whatever the server says, ``attack`` asserts what holds for every end: a documented exit code and clear lines, nothing
written outside the project's folder, no file under a final name that is not the site's own, no secret anywhere but at
the site, no control character of the server's in what was printed, and memory within its bound.
"""

from __future__ import annotations

import base64
import os
import resource
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from hostile.evil import Evil, running
from system.harness import STATE, Done, truth
from system.warm import WarmWorld, warm_world
from xnat_embedded import Resource, Site, empty_site

T = TypeVar("T")
PASSWORD = "demo-password"
CODES = frozenset({0, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12})  # 1 would be a bug
MIB = 1 << 20
# An ordinary run of the same site takes about 75 MiB; what may come on top is buffers, never what the server sends.
ORDINARY = 130 * MIB
# XNAT_SYNC_TEST_HEAVY=8 sends eight times as much, and runs the cases that say nothing new on most days.
HEAVY = int(os.environ.get("XNAT_SYNC_TEST_HEAVY", "1"))
FIGURES: dict[str, tuple[float, int, float]] = {}  # attack -> MiB sent, exit code, MiB of memory


def some(every: Iterable[T], *usual: T) -> list[T]:
    """Every case of an attack where there is time for that, else the ``usual`` ones."""
    return list(every) if HEAVY > 1 else list(usual)


def few(sessions: int, files: int = 3) -> Site:
    """A site whose project has one subject and so many sessions, of one scan each, with a few small files."""
    site = empty_site()
    project = site.add_project("PTV000", members=("demo",))
    subject = project.add_subject("S")
    for number in range(sessions):
        resource = subject.add_session(f"E{number:02}").add_scan("1", "t1").add_resource("DICOM", format="DICOM")
        for each in range(files):
            resource.add_file(f"{each}.dcm", f"file {each} of session {number}\n".encode() * 50)
    return site


def resources(site: Site) -> list[Resource]:
    """The scan resource of each session, in order."""
    project = site.project("PTV000")
    assert project is not None
    return [resource for session in project.sessions() for scan in session.scans for resource in scan.resources]


def snapshot(root: Path, but: Path) -> dict[str, tuple[str, object]]:
    """Everything below ``root`` but what lies in ``but``: kind, and content or target."""
    found: dict[str, tuple[str, object]] = {}
    for folder, folders, files in os.walk(root):
        if Path(folder) == but:
            folders[:] = []
            continue
        found[folder] = ("folder", None)
        for name in [*files, *(each for each in folders if (Path(folder) / each).is_symlink())]:
            path = Path(folder) / name
            found[str(path)] = ("link", str(path.readlink())) if path.is_symlink() else ("file", path.read_bytes())
    return found


def peak(pid: int) -> int:
    """The most memory that a process has had at once, in bytes; 0 when it is gone."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


@dataclass
class Attacked(Done):
    """How an attacked command ended; ``memory`` is its peak in bytes, ``seconds`` how long it took."""

    memory: int = 0
    seconds: float = 0.0


@dataclass
class Scene:
    """A world, the liar before its server, and the folder above both home and DEST."""

    here: WarmWorld
    evil: Evil
    outer: Path
    secrets: set[str] = field(default_factory=set)

    @property
    def project(self) -> Path:
        return self.here.project

    def attack(
        self, *arguments: str, name: str = "", most: int = ORDINARY, env: Mapping[str, str | None] = {},
        stdin: str = "", timeout: float = 60, anywhere: bool = False, most_file: int = 0,
    ) -> Attacked:  # fmt: skip
        """Mirror the project, or run ``arguments``, and assert what holds for every end.

        ``name`` is its row in the table of figures, ``most`` its bound of memory. ``anywhere`` says that the files
        have other names than the site's. With ``most_file`` no file that is written may get larger than that.
        """
        before = snapshot(self.outer, self.project)
        began = time.monotonic()
        run = self.here.begin(*(arguments or self.mirroring()), env=env, stdin=stdin)
        if most_file:
            resource.prlimit(run._number, resource.RLIMIT_FSIZE, (most_file, most_file))
        peaks = [0]

        def watch() -> None:
            while (found := peak(run._number)) or run.code is None:
                peaks.append(found)
                time.sleep(0.005)

        watching = threading.Thread(target=watch, daemon=True)
        watching.start()
        done = run.done(timeout)
        watching.join()
        self.here.runs.remove(run)
        ended = Attacked(done.code, done.out, done.err, max(peaks), time.monotonic() - began)
        if name:
            FIGURES[name] = (sum(lie.sent for lie in self.evil.lies) / MIB, ended.code, ended.memory / MIB)
        self.hold(ended)
        assert ended.memory < most, f"{ended.memory / MIB:.0f} MiB where {most / MIB:.0f} are allowed\n{ended}"
        after = snapshot(self.outer, self.project)
        touched = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
        assert not touched, f"{touched} was touched\n{ended}"
        if not anywhere:
            assert self.here.tree().items() <= truth(self.here.site).items(), ended
        return ended

    def mirroring(self, *more: str) -> tuple[str, ...]:
        """The arguments that mirror the project without patience."""
        return ("project", "PTV000", "--dest", str(self.here.dest), "--retries", "0", *more)

    def hold(self, ended: Done) -> None:
        """Codes, lines and secrets."""
        assert ended.code in CODES, ended
        assert "Traceback" not in ended.err + ended.out, ended
        assert (ended.code in (0, 4)) or ended.err.strip(), ended
        assert_plain(ended.out)
        assert_plain(ended.err)
        self.assert_no_secrets(ended)

    def assert_no_secrets(self, ended: Done) -> None:
        """No password, session or token in what was printed or in any state but the private files of logins."""
        secrets = self.all_secrets()
        texts = {"out": ended.out, "err": ended.err}
        for path in self.project.rglob(f"{STATE}/**/*"):
            if path.is_file() and "staging" not in path.parts and path.stat().st_size < 8 * MIB:
                texts[str(path)] = path.read_text(errors="replace")
        for where, text in texts.items():
            assert not [secret for secret in secrets if secret in text], f"a secret stands in {where}"

    def all_secrets(self) -> set[str]:
        """Every secret that there has been so far."""
        ids = {exchange.session for exchange in self.here.server.log if exchange.session}
        basic = base64.b64encode(f"demo:{PASSWORD}".encode()).decode()
        return self.secrets | ids | {PASSWORD, basic}

    def hold_back(self, *numbers: int) -> dict[str, str]:
        """The truth without the sessions of these numbers."""
        lost = tuple(f"S/E{number:02}/" for number in numbers)
        return {path: md5 for path, md5 in truth(self.here.site).items() if not path.startswith(lost)}


def assert_plain(text: str) -> None:
    """No control, no bidirectional override, no invisible character: nothing that a terminal would obey."""
    assert all(c == "\n" or c.isprintable() for c in text), ascii(text)[:2000]


@contextmanager
def scene(site: Site, outer: Path) -> Iterator[Scene]:
    """A scene with canaries planted in every folder above and around DEST."""
    home = outer / "above" / "home"
    for folder in (outer, outer / "above", home, home / "scratch", home / "scratch" / "OTHER", home / "state"):
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("escape.dcm", "0.dcm", ".bashrc"):
            (folder / name).write_text(f"the user's own, in {folder}")
    with warm_world(site, home) as here:
        evil = Evil(here.server.port)
        with running(evil):
            here.environment["XNAT_HOST"] = evil.url
            yield Scene(here, evil, outer)
