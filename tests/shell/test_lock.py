"""The lock: one holder whoever races for it, stalls, dies or plants something; with real processes and real files.

``Stage`` plays what no race of real processes can be made to do: runs on several hosts that stop for hours between any
two calls to the system. Each is a thread that goes on only when told to.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import cycle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xnat_sync.core.errors import DiskTrouble, Locked
from xnat_sync.core.lock import LEASE, LIMIT, REBOOT, SIZE, Holder, decode, encode
from xnat_sync.shell.lock import Lock

NOW = 1_795_395_600.0
DEAD = Holder("far.example.org", 77, "b", "m", "pid:[1]", 5, "d" * 32, NOW, NOW)  # of another host


@pytest.fixture
def path(tmp_path: Path) -> str:
    folder = tmp_path / "P" / ".xnat-sync"
    folder.mkdir(parents=True)
    return str(folder / "lock")


@pytest.fixture
def here(tmp_path: Path) -> Holder:
    """This process, as it writes itself down."""
    lock = Lock(str(tmp_path / "mine"))
    assert lock.try_acquire(NOW) is None
    holder = record(lock.path)
    assert holder is not None
    lock.release()
    return holder


def record(path: str) -> Holder | None:
    return decode(Path(path).read_bytes())


def write(path: str, holder: Holder | bytes, age: float = 0.0) -> None:
    """A lock that was written ``age`` seconds ago."""
    Path(path).write_bytes(encode(holder) if isinstance(holder, Holder) else holder)
    os.utime(path, (time.time() - age,) * 2)


def beside(path: str) -> list[str]:
    return sorted(os.listdir(os.path.dirname(path)))


def taken(path: str) -> bool:
    """Whether the lock could be taken; it is this process's then."""
    lock = Lock(path)
    rival = lock.try_acquire(NOW)
    assert (rival is None) == (not lock.overdue())
    return rival is None


# -- one run -------------------------------------------------------------------------------------------------------


def test_a_free_lock_is_taken_and_says_by_whom(path: str) -> None:
    lock = Lock(path)
    assert lock.overdue()
    assert lock.try_acquire(NOW + 0.12345) is None
    assert not lock.overdue()
    holder = record(path)
    assert holder is not None
    assert (holder.host, holder.pid) == (socket.gethostname(), os.getpid())
    assert (holder.started, holder.heartbeat, holder.released) == (NOW + 0.123, NOW + 0.123, False)
    assert beside(path) == ["lock"]
    lock.release()


def test_a_beat_rewrites_the_record_in_place(path: str) -> None:
    lock = Lock(path)
    lock.try_acquire(NOW)
    os.utime(path, (0, 0))
    before = os.stat(path)
    lock.beat(NOW + 30)
    after, holder = os.stat(path), record(path)
    assert holder is not None
    assert (holder.started, holder.heartbeat) == (NOW, NOW + 30)
    assert (after.st_ino, after.st_size) == (before.st_ino, SIZE)
    assert after.st_mtime > before.st_mtime
    assert beside(path) == ["lock"]
    lock.release()


def test_a_held_lock_is_refused_and_left_alone(path: str) -> None:
    lock, other = Lock(path), Lock(path)
    lock.try_acquire(NOW)
    before = Path(path).read_bytes()
    rival = other.try_acquire(NOW + 1)
    assert rival is not None
    assert rival.holder == record(path)
    assert -1 < rival.age < 60
    assert Path(path).read_bytes() == before
    assert beside(path) == ["lock"]
    other.beat(NOW + 2)
    other.release()
    assert Path(path).read_bytes() == before
    lock.beat(NOW + 3)
    lock.release()


def test_a_released_lock_is_free_for_all_at_once(path: str) -> None:
    lock, other = Lock(path), Lock(path)
    lock.try_acquire(NOW)
    lock.beat(NOW + 30)
    lock.release()
    holder = record(path)
    assert holder is not None
    assert (holder.released, holder.heartbeat) == (True, NOW + 30)
    assert lock.overdue()
    assert other.try_acquire(NOW + 40) is None
    held = Path(path).read_bytes()
    lock.release()
    lock.beat(NOW + 50)
    assert Path(path).read_bytes() == held
    other.release()
    assert lock.try_acquire(NOW + 60) is None
    lock.release()
    assert beside(path) == ["lock"]


def test_a_beat_is_due_when_others_may_soon_think_us_dead(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lock, later = Lock(path), 0.0
    real = time.clock_gettime
    monkeypatch.setattr(time, "clock_gettime", lambda clock: real(clock) + later)
    lock.try_acquire(NOW)
    later = LEASE - 5
    assert not lock.overdue()
    later = LEASE + 1
    assert lock.overdue()
    lock.beat(NOW)
    assert not lock.overdue()
    lock.release()


# -- many runs -----------------------------------------------------------------------------------------------------

RUN = """
import sys
from xnat_sync.core.errors import Locked
from xnat_sync.shell.lock import Lock
with open("/proc/self/comm", "w") as name:
    name.write("a) Z 1 (b")
locks = {}
for line in sys.stdin:
    word, path = line.split()
    lock = locks.setdefault(path, Lock(path))
    answer = "done"
    try:
        if word == "acquire":
            rival = lock.try_acquire(1795395600.0)
            if rival is not None:
                answer = f"held {rival.holder.pid if rival.holder else None}"
        elif word == "beat":
            lock.beat(1795395600.0)
        else:
            lock.release()
    except Locked as error:
        answer = "lost"
    print(answer, flush=True)
"""


class Run:
    """A process that does with locks what it is told."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", RUN], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    @property
    def pid(self) -> int:
        return self.process.pid

    def tell(self, word: str, path: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{word} {path}\n")
        self.process.stdin.flush()

    def answer(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def ask(self, word: str, path: str) -> str:
        self.tell(word, path)
        return self.answer()

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def two() -> Iterator[list[Run]]:
    yield from started(2)


@pytest.fixture(scope="module")
def eight() -> Iterator[list[Run]]:
    yield from started(8)


def started(count: int) -> Iterator[list[Run]]:
    runs = [Run() for _ in range(count)]
    yield runs
    for run in runs:
        run.end()


def race(runs: Sequence[Run], path: str) -> Run:
    """Let all acquire at once: who did, and just one does. The others may have met one that did not in the end."""
    for run in runs:
        run.tell("acquire", path)
    answers = [run.answer() for run in runs]
    assert answers.count("done") == 1, answers
    winner = runs[answers.index("done")]
    assert set(answers) <= {"done", *(f"held {run.pid}" for run in runs)}
    assert beside(path) == ["lock"]
    holder = record(path)
    assert holder is not None
    assert holder.pid == winner.pid
    return winner


@pytest.mark.parametrize(
    "left", ["nothing", "a released one", "of a host that is dead", "of a process that is dead", "garbage"]
)
def test_of_many_that_race_for_a_lock_one_gets_it(left: str, tmp_path: Path, here: Holder, eight: list[Run]) -> None:
    for number in range(12):
        path = str(tmp_path / f"{number}" / "lock")
        os.mkdir(os.path.dirname(path))
        match left:
            case "a released one":
                write(path, replace(DEAD, released=True))
            case "of a host that is dead":
                write(path, DEAD, LIMIT + 60)
            case "of a process that is dead":
                write(path, replace(here, born=here.born + 1))
            case "garbage":
                write(path, b"", LIMIT + 60)
        winner = race(eight, path)
        assert winner.ask("beat", path) == "done"
        assert winner.ask("release", path) == "done"
        assert race(eight, path).ask("beat", path) == "done"


def test_the_lock_of_a_killed_run_is_taken_at_once_on_the_same_host(path: str, two: list[Run]) -> None:
    first, second = two
    assert first.ask("acquire", path) == "done"
    assert second.ask("acquire", path) == f"held {first.pid}"
    first.process.kill()
    os.waitid(os.P_PID, first.pid, os.WEXITED | os.WNOWAIT)  # dead, but its exit code waits to be fetched
    assert second.ask("acquire", path) == "done"
    second.process.kill()
    second.process.wait()
    assert taken(path)


def test_a_stopped_run_on_the_same_host_keeps_its_lock(path: str, two: list[Run]) -> None:
    run = two[0]
    assert run.ask("acquire", path) == "done"
    os.kill(run.pid, signal.SIGSTOP)
    os.utime(path, (0, 0))
    rival = Lock(path).try_acquire(NOW)
    assert rival is not None
    assert rival.age > 1e9
    os.kill(run.pid, signal.SIGCONT)
    assert run.ask("beat", path) == "done"


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the number of the call is another")
def test_a_killed_run_that_has_a_write_still_to_come_keeps_its_lock(path: str) -> None:
    # A thread that cannot be killed yet, as in a dead NFS mount, is played by one that lives on.
    code = f"""
import ctypes, sys, threading
from xnat_sync.shell.lock import Lock
lock = Lock({path!r})
assert lock.try_acquire(1.0) is None
threading.Thread(target=sys.stdin.read).start()
ctypes.CDLL(None).syscall(60, 0)  # exit, of this thread only
"""
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE) as process:
        while (stat := Path(f"/proc/{process.pid}/stat").read_text(encoding="ascii").rpartition(") ")[2])[0] != "Z":
            assert process.poll() is None, stat
        assert not taken(path)
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert taken(path)


# -- who is dead ---------------------------------------------------------------------------------------------------


def test_a_pid_that_was_given_anew_is_not_the_holder(path: str, here: Holder) -> None:
    write(path, replace(here, token="e" * 32))
    assert not taken(path)
    write(path, replace(here, token="e" * 32, born=here.born - 1))
    assert taken(path)


def test_a_process_of_another_user_is_a_process(path: str, here: Holder, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_pid: int, _signal: int) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "kill", refuse)
    write(path, here, LIMIT + 60)
    assert not taken(path)
    write(path, replace(here, born=here.born - 1))
    assert taken(path)


@pytest.mark.parametrize("hidden", [{"born": 0}, {"boot": ""}, {"namespace": "pid:[1]"}], ids=str)
def test_where_a_process_cannot_be_made_out_its_silence_counts(path: str, here: Holder, hidden: dict[str, Any]) -> None:
    write(path, replace(here, **hidden), LIMIT - 60)
    assert not taken(path)
    write(path, replace(here, **hidden), LIMIT + 60)
    assert taken(path)


def test_the_proc_of_another_namespace_is_not_believed(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.readlink
    monkeypatch.setattr(os, "readlink", lambda name: "1" if name == "/proc/self" else real(name))
    assert taken(path)
    holder = record(path)
    assert holder is not None
    assert holder.namespace == ""


@pytest.mark.skipif(not Path("/etc/machine-id").exists(), reason="this machine has no id")
def test_the_lock_of_a_run_before_the_machine_was_booted_is_taken_soon(path: str, here: Holder) -> None:
    write(path, replace(here, boot="another"), REBOOT - 30)
    assert not taken(path)
    write(path, replace(here, boot="another"), REBOOT + 30)
    assert taken(path)


@pytest.mark.parametrize(
    "left", [DEAD, b"", b"garbage", b"x" * 5000, bytes(SIZE)], ids=["a host", "empty", "garbage", "long", "zeros"]
)
def test_what_is_not_of_this_host_or_no_record_is_judged_by_its_age(path: str, left: Holder | bytes) -> None:
    write(path, left, LIMIT - 60)
    rival = Lock(path).try_acquire(NOW)
    assert rival is not None
    assert rival.holder == (left if isinstance(left, Holder) else None)
    assert LIMIT - 61 < rival.age < LIMIT
    write(path, left, LIMIT + 60)
    assert taken(path)


def test_the_clock_of_this_host_does_not_matter(path: str) -> None:
    write(path, DEAD, LIMIT - 60)
    assert Lock(path).try_acquire(NOW + 1e9) is not None
    write(path, DEAD, LIMIT + 60)
    assert Lock(path).try_acquire(0.0) is None


def test_a_lock_of_a_time_to_come_is_stale_once_it_was_seen_unchanged(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = 0.0
    real = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: real() + later)
    write(path, DEAD, -1e6)
    lock = Lock(path)
    assert lock.try_acquire(NOW) is not None
    later = LIMIT - 60
    assert lock.try_acquire(NOW) is not None
    write(path, replace(DEAD, heartbeat=NOW + 30), -1e6)
    later = LIMIT + 60
    assert lock.try_acquire(NOW) is not None
    os.utime(path, (time.time() + 1e7,) * 2)
    later = 2 * LIMIT
    assert lock.try_acquire(NOW) is not None
    later = 3 * LIMIT - 60
    assert lock.try_acquire(NOW) is not None
    later = 3 * LIMIT + 60
    assert lock.try_acquire(NOW) is None
    lock.release()


def test_a_lock_that_a_client_does_not_see_is_not_replaced(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lock, looks = Lock(path), []
    lock.try_acquire(NOW)
    real = os.open

    def blind(name: str, flags: int, *more: int, dir_fd: int | None = None) -> int:
        if name == path:
            looks.append(name)
            if len(looks) == 1:
                raise FileNotFoundError(errno.ENOENT, "cached")
        return real(name, flags, *more, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", blind)
    assert not taken(path)
    lock.beat(NOW)
    lock.release()


def test_who_came_too_late_need_not_be_allowed_to_open_the_lock(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def lose(*_names: str, **_: object) -> None:
        write(path, DEAD)
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))

    real = os.open

    def refuse(name: str, flags: int, *more: int, dir_fd: int | None = None) -> int:
        if os.path.basename(name) == "lock" and flags & os.O_RDWR:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return real(name, flags, *more, dir_fd=dir_fd)

    monkeypatch.setattr(os, "link", lose)
    monkeypatch.setattr(os, "open", refuse)
    rival = Lock(path).try_acquire(NOW)
    assert rival is not None
    assert rival.holder == DEAD


def test_who_lets_go_waits_for_a_beat_in_another_thread(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = Lock(path)
    lock.try_acquire(NOW)
    letting_go = threading.Thread(target=lock.release)
    real = os.listdir

    def slow(folder: str) -> list[str]:
        letting_go.start()
        letting_go.join(0.1)  # it has the time, and must not take it
        return real(folder)

    monkeypatch.setattr(os, "listdir", slow)
    lock.beat(NOW + 30)
    letting_go.join()
    holder = record(path)
    assert holder is not None
    assert (holder.released, holder.heartbeat) == (True, NOW + 30)
    assert lock.overdue()


# -- what is lost --------------------------------------------------------------------------------------------------


def test_a_holder_whose_lock_was_taken_over_learns_it_from_its_beat_and_harms_nothing(path: str) -> None:
    lock = Lock(path)
    lock.try_acquire(NOW)
    os.unlink(path)
    write(path, DEAD)
    for _ in range(2):
        with pytest.raises(Locked, match=r"/P was taken over by pid 77 on host far\.example\.org") as lost:
            lock.beat(NOW)
        assert lost.value.exit_code == 11
    lock.release()
    assert record(path) == DEAD
    lock.beat(NOW)


@pytest.mark.parametrize("planted", [None, b"", b"garbage"])
def test_a_holder_whose_lock_is_gone_or_damaged_learns_it_from_its_beat(path: str, planted: bytes | None) -> None:
    lock = Lock(path)
    lock.try_acquire(NOW)
    os.unlink(path)
    if planted is not None:
        write(path, planted)
    with pytest.raises(Locked, match="was removed or damaged"):
        lock.beat(NOW)
    lock.release()
    assert beside(path) == ([] if planted is None else ["lock"])


def test_an_nfs_that_lost_the_file_of_a_holder_says_so_to_its_beat(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = Lock(path)
    lock.try_acquire(NOW)

    def stale(*_: object) -> int:
        raise OSError(errno.ESTALE, "Stale file handle")

    monkeypatch.setattr(os, "pwrite", stale)
    with pytest.raises(DiskTrouble, match="Stale file handle"):
        lock.beat(NOW)
    os.unlink(path)
    write(path, DEAD)
    with pytest.raises(Locked, match="taken over"):
        lock.beat(NOW)
    monkeypatch.setattr(os, "pread", stale)
    with pytest.raises(Locked, match="removed or damaged"):
        lock.beat(NOW)
    lock.release()


# -- what is in the way --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["link", "dangling link", "folder", "pipe"])
def test_what_is_no_regular_file_is_not_followed_nor_replaced(path: str, tmp_path: Path, what: str) -> None:
    target = tmp_path / "target"
    match what:
        case "link":
            target.write_bytes(encode(replace(DEAD, released=True)))
            os.symlink(target, path)
        case "dangling link":
            os.symlink(target, path)
        case "folder":
            os.mkdir(path)
        case "pipe":
            os.mkfifo(path)
    before = os.lstat(path)
    with pytest.raises(DiskTrouble, match="is no regular file: see who put it there"):
        Lock(path).try_acquire(NOW)
    assert os.lstat(path) == before
    assert target.exists() == (what == "link")
    assert beside(path) == ["lock"]


def test_a_link_planted_under_a_holder_is_not_written_through(path: str, tmp_path: Path) -> None:
    lock, target = Lock(path), tmp_path / "target"
    lock.try_acquire(NOW)
    os.rename(path, target)
    os.symlink(target, path)
    with pytest.raises(DiskTrouble, match="is no regular file"):
        lock.beat(NOW)
    lock.release()
    assert os.path.islink(path)


def test_only_candidates_are_swept_away(path: str) -> None:
    token = "a" * 32
    others = ["lock.x", f"lock.{token}x", f"xlock.{token}", f"lock.{'A' * 32}", f"lock-{token}", f"lock.{'b' * 32}"]
    for name in others[:-1]:
        Path(f"{os.path.dirname(path)}/{name}").touch()
    os.mkdir(f"{os.path.dirname(path)}/{others[-1]}")
    for candidate in (f"{path}.{token}", f"{path}.{'c' * 32}"):
        write(candidate, DEAD)
    assert taken(path)
    assert beside(path) == sorted([*others, "lock"])


@pytest.mark.parametrize("refusal", [errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK], ids=errno.errorcode.get)
def test_without_hard_links_it_works_alike(path: str, monkeypatch: pytest.MonkeyPatch, refusal: int) -> None:
    asked = []

    def refused(*names: str, **_: object) -> None:
        asked.append(names)
        raise OSError(refusal, os.strerror(refusal))

    monkeypatch.setattr(os, "link", refused)
    lock = Lock(path)
    assert lock.try_acquire(NOW) is None
    assert len(asked) == 1
    lock.beat(NOW)
    assert not taken(path)
    lock.release()
    assert taken(path)
    assert beside(path) == ["lock"]


@pytest.mark.parametrize(("call", "answer"), [("link", errno.EEXIST), ("link", errno.ENOENT), ("rename", errno.ENOENT)])
def test_what_was_done_is_believed_though_the_reply_was_lost(
    path: str, monkeypatch: pytest.MonkeyPatch, call: str, answer: int
) -> None:
    if call == "rename":
        write(path, replace(DEAD, released=True))
    real = getattr(os, call)

    def lost(one: str, other: str, **folders: object) -> None:
        real(one, other, **folders)
        raise OSError(answer, os.strerror(answer))

    monkeypatch.setattr(os, call, lost)
    assert taken(path)
    assert beside(path) == ["lock"]


@pytest.mark.parametrize("call", ["open", "rename", "listdir", "unlink", "pread", "pwrite", "lstat"])
def test_trouble_with_the_disk_is_told_and_leaves_no_lock_behind(
    path: str, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    write(path, replace(DEAD, released=True))
    write(f"{path}.{'a' * 32}", DEAD)

    def refuse(*_args: object, **_: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, refuse)
        with pytest.raises(DiskTrouble, match="read-only"):
            Lock(path).try_acquire(NOW)
    holder = record(path)
    assert holder is not None
    if call == "pwrite":  # our record stands there, and cannot be marked: it goes with the process
        assert (holder.pid, holder.released) == (os.getpid(), False)
    else:
        assert holder.released


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    for path in (tmp_path / "missing" / "lock", Path("/sys/kernel/lock"), Path("/proc/self/lock")):
        with pytest.raises(DiskTrouble, match="lock"):
            Lock(str(path)).try_acquire(NOW)


# -- every interleaving --------------------------------------------------------------------------------------------

CALLS = ("open", "rename", "link", "unlink", "listdir", "pread", "pwrite", "fsync")
CALLS_OF_AN_ACQUIRE = 18
CALLS_OF_A_BEAT = 10
HOURS = "hours"
Step = tuple[int, int] | str  # who goes on, past how many calls; or hours go by


class Killed(BaseException):
    """Ends a thread where it stands."""


class Actor(threading.Thread):
    """A run on a host of its own, which stops before every call to the system, and after every word."""

    def __init__(self, stage: Stage, host: str, words: Sequence[str]) -> None:
        super().__init__(daemon=True)
        self.stage, self.host, self.words = stage, host, words
        self.lock = Lock(stage.path)
        self.listed: list[str] | None = None  # in the cache of its host
        self.opened: dict[str, int | None] = {}  # in that cache, by path; None if nothing was there
        self.change = 0  # of the folder, the last that its host knows of
        self.holds = self.killed = self.done = False
        self.failure: BaseException | None = None
        self._go, self._back = threading.Semaphore(0), threading.Semaphore(0)

    def run(self) -> None:
        self.stage.local.actor = self
        self._go.acquire()
        with contextlib.suppress(Killed):
            try:
                for word in self.words:
                    self.do(word)
                    self.pause()
            except Exception as error:  # noqa: BLE001 - shown by the test's own thread
                self.failure = error
        self.done = True
        self._back.release()

    def do(self, word: str) -> None:
        try:
            if word == "acquire" and not self.holds:
                self.holds = self.lock.try_acquire(NOW) is None
            elif word == "beat":
                self.lock.beat(NOW)
            elif word == "release":
                self.holds = False
                self.lock.release()
        except Locked:
            self.holds = False
            self.lock.release()

    def pause(self) -> None:
        """Wait to be told to go on; called in the actor's thread."""
        if not self.killed:
            self._back.release()
            self._go.acquire()
        if self.killed:
            raise Killed

    def forget(self, *paths: str) -> None:
        """Drop from the cache what was opened there."""
        for path in paths:
            if (fd := self.opened.pop(path, None)) is not None:
                os.close(fd)

    def go_on(self) -> None:
        """Let it go past one call, or to its end."""
        if not self.done:
            if not self.is_alive():
                self.start()
            self._go.release()
            self._back.acquire()
            if self.failure is not None:
                raise self.failure

    def kill(self) -> None:
        self.killed = True
        self.go_on()

    @property
    def sure(self) -> bool:
        """Whether it holds the lock and need not beat before it writes."""
        return self.holds and not self.lock.overdue()


@dataclass
class Stage:
    """A folder that actors share, a clock, and what the system answers them.

    With ``links`` it has hard links. With ``caches`` each host is the worst of NFS clients: it sees what it saw before,
    until it changes something in the folder itself; then it lists anew, and looks anew if others have changed something
    too. Each of ``lost`` says of one rename or link that its reply is lost.
    """

    path: str
    links: bool
    caches: bool
    lost: Sequence[bool]
    hours: int = 0
    change: int = 0

    def __post_init__(self) -> None:
        self.local = threading.local()
        self.actors: list[Actor] = []

    @contextlib.contextmanager
    def set_up(self) -> Iterator[None]:
        losses = cycle(self.lost or [False])
        with pytest.MonkeyPatch.context() as patch:
            for name in CALLS:
                patch.setattr(os, name, self._before(name, getattr(os, name), losses))
            patch.setattr(os, "uname", self._instead(os.uname, lambda actor: SimpleNamespace(nodename=actor.host)))
            patch.setattr(time, "monotonic", self._instead(time.monotonic, lambda _: self.hours * 3600.0))
            # Whether an actor is sure is asked from outside.
            patch.setattr(time, "clock_gettime", lambda _: self.hours * 3600.0)
            try:
                yield
            finally:
                for actor in self.actors:
                    actor.kill()
                    actor.forget(*actor.opened)
                    actor.lock.release()

    def _before(self, name: str, real: Callable[..., Any], losses: Iterator[bool]) -> Callable[..., Any]:
        def call(*args: Any, **more: Any) -> Any:
            actor: Actor | None = getattr(self.local, "actor", None)
            if actor is None:
                return real(*args, **more)
            if name == "fsync":
                return None
            actor.pause()
            if name == "link" and not self.links:
                raise OSError(errno.EPERM, "no links")
            if self.caches and name == "listdir":
                return self.list_cached(actor, real)
            if self.caches and name == "open" and not args[1] & os.O_CREAT:
                return self.open_cached(actor, real, *args[:2])
            answer = real(*args, **more)
            if name in ("open", "rename", "link", "unlink"):
                actor.listed = None
                actor.forget(*(actor.opened if actor.change != self.change else args[:2]))
                self.change += 1
                actor.change = self.change
            if name in ("link", "rename") and next(losses):
                code = errno.EEXIST if name == "link" else errno.ENOENT
                raise OSError(code, os.strerror(code))
            return answer

        return call

    def list_cached(self, actor: Actor, real: Callable[..., list[str]]) -> list[str]:
        if actor.listed is None:
            actor.listed = real(os.path.dirname(self.path))
        return actor.listed

    def open_cached(self, actor: Actor, real: Callable[..., int], path: str, flags: int) -> int:
        if path not in actor.opened:
            try:
                actor.opened[path] = real(path, os.O_RDWR)
            except FileNotFoundError:
                actor.opened[path] = None
        if actor.opened[path] is None:
            raise FileNotFoundError(errno.ENOENT, "cached", path)
        return real(f"/proc/self/fd/{actor.opened[path]}", flags & ~os.O_NOFOLLOW)

    def glance(self, who: int) -> None:
        """Let another process on an actor's host list the folder and open the lock."""
        self.list_cached(self.actors[who], os.listdir)
        with contextlib.suppress(FileNotFoundError):
            os.close(self.open_cached(self.actors[who], os.open, self.path, os.O_RDONLY))

    def _instead(self, real: Callable[..., Any], ours: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            actor = getattr(self.local, "actor", None)
            return real(*args) if actor is None else ours(actor, *args)

        return call

    def add(self, words: Sequence[str]) -> Actor:
        actor = Actor(self, f"host{len(self.actors)}", words)
        self.actors.append(actor)
        return actor

    def play(self, step: Step) -> None:
        if isinstance(step, str):
            self.hours += 1
            for name in beside(self.path):
                other = f"{os.path.dirname(self.path)}/{name}"
                then = os.lstat(other).st_mtime - 3600
                os.utime(other, (then, then))
            return
        who, count = step
        for _ in range(count):
            self.actors[who % len(self.actors)].go_on()
            sure = [actor.host for actor in self.actors if actor.sure]
            assert len(sure) <= 1, sure

    def finish(self, *who: int) -> None:
        """Let these go on to their ends, one after the other."""
        for number in who:
            while not self.actors[number].done:
                self.play((number, 1))

    def until_held(self, who: int) -> None:
        """Let one go on until it holds the lock."""
        while not self.actors[who].holds:
            assert not self.actors[who].done
            self.play((who, 1))

    def prove_usable(self) -> None:
        """Whatever they left, the lock can be had again, and nothing else lies about."""
        self.play(HOURS)
        last = self.add(["acquire", "beat"])
        self.finish(len(self.actors) - 1)
        assert last.sure
        assert beside(self.path) == ["lock"]


@contextlib.contextmanager
def stage(
    parts: Sequence[Sequence[str]],
    left: Holder | bytes | None = None,
    *,
    links: bool = True,
    caches: bool = True,
    lost: Sequence[bool] = (),
) -> Iterator[Stage]:
    with tempfile.TemporaryDirectory() as folder:
        made = Stage(f"{folder}/lock", links, caches, lost)
        if left is not None:
            write(made.path, left, LIMIT + 60)
        for part in parts:
            made.add(part)
        with made.set_up():
            yield made


@pytest.mark.parametrize("links", [True, False], ids=["links", "no links"])
@pytest.mark.parametrize("left", [None, DEAD], ids=["free", "stale"])
def test_two_that_race_may_stop_between_any_two_calls(left: Holder | None, links: bool) -> None:
    for one in range(CALLS_OF_AN_ACQUIRE):
        for other in range(CALLS_OF_AN_ACQUIRE):
            with stage([["acquire"], ["acquire"]], left, links=links) as scene:
                scene.play((0, one))
                scene.play((1, other))
                scene.finish(0, 1)
                assert [actor.sure for actor in scene.actors].count(True) == 1


def test_a_holder_that_wakes_may_meet_who_gave_it_up_between_any_two_calls() -> None:
    for one in range(CALLS_OF_AN_ACQUIRE):
        for other in range(CALLS_OF_A_BEAT):
            with stage([["acquire", "beat"], ["acquire"]]) as scene:
                scene.until_held(0)
                scene.play(HOURS)
                scene.glance(0)
                scene.play((1, one))
                scene.play((0, other))
                scene.glance(0)
                scene.finish(1, 0)
                assert [actor.sure for actor in scene.actors].count(True) == 1


@pytest.mark.parametrize("early", [True, False], ids=["before the beat", "in the beat"])
def test_a_holder_may_sleep_before_and_between_any_two_calls_of_a_beat(early: bool) -> None:
    for one in range(CALLS_OF_A_BEAT):
        for other in range(CALLS_OF_AN_ACQUIRE):
            with stage([["acquire", "beat"], ["acquire"]]) as scene:
                scene.until_held(0)
                for step in (HOURS, (0, one)) if early else ((0, one), HOURS):
                    scene.play(step)
                scene.play((1, other))
                scene.finish(0, 1)
                assert [actor.sure for actor in scene.actors].count(True) == 1


def test_the_counts_above_are_high_enough() -> None:
    with stage([["acquire"], ["acquire", "beat"]], DEAD) as scene:
        scene.play((0, CALLS_OF_AN_ACQUIRE))
        assert scene.actors[0].done
        scene.play(HOURS)
        scene.until_held(1)
        scene.play((1, CALLS_OF_A_BEAT))
        assert scene.actors[1].done


words = st.lists(st.sampled_from(["acquire", "acquire", "beat", "release"]), max_size=5)
steps = st.tuples(st.integers(0, 2), st.integers(1, 14)) | st.just(HOURS)


@settings(deadline=None, max_examples=250)
@given(
    parts=st.lists(words.map(lambda more: ["acquire", *more]), min_size=2, max_size=3),
    script=st.lists(steps, max_size=25),
    killed=st.sets(st.integers(0, 2)),
    left=st.sampled_from([None, DEAD, replace(DEAD, released=True), b""]),
    links=st.booleans(),
    caches=st.booleans(),
    lost=st.lists(st.booleans(), max_size=3),
)
def test_however_runs_stall_and_die_two_are_never_sure_of_the_lock(
    parts: list[list[str]],
    script: list[Step],
    killed: set[int],
    left: Holder | bytes | None,
    links: bool,
    caches: bool,
    lost: list[bool],
) -> None:
    with stage(parts, left, links=links, caches=caches, lost=lost) as scene:
        for step in script:
            scene.play(step)
        for number in killed:
            if number < len(parts):
                scene.actors[number].kill()
        scene.finish(*range(len(parts)))
        scene.prove_usable()
