"""The lock of a project's folder: of all runs on all hosts that share it, one writes.

The file ``lock`` says who holds it (``core.lock``). It needs of the file system only that of a rename and an unlink of
one name one comes first, and that a folder lists what was created in it before. So it works on NFS and Lustre, where
hard links are refused, and where ``flock`` lies.

Who wants the lock writes a *candidate*: its own record, under a name that is never used again. Then it looks, and if
the lock is free or stale, renames the candidate to ``lock``, and beats. To beat is to

1. write the own record anew, in place;
2. unlink all candidates;
3. look whether ``lock`` is still the own record.

A beat comes back only within ``LEASE`` of its first step, else it is done again. So who is back from one holds the
lock, and nobody takes it until silence counts again. For who looked before the record was written (1) had its candidate
ready by then: it is unlinked (2), or has become ``lock`` and is seen (3). And who looks later sees a record just
written. No step has a time limit: who sleeps for hours before its rename finds its candidate gone, or replaces what was
silent all that time. A holder who slept, or hung in a dead NFS mount, and was given up meanwhile, learns that from its
next beat; ``overdue`` says when one is due before anything else is written.

Of those who race, each may be replaced by the next before its first beat is over; the last one to rename is not, so one
always wins. What is left of a killed one is a candidate that nobody will rename, and the next beat unlinks it. To let
go, a holder marks its record, in place, as released. Nobody unlinks ``lock``: that takes a look and an unlink, and
between the two the lock may have become another's.

An NFS client may answer from its cache what was true a minute ago. It lists anew after a change of its own, and looks
anew if that change shows it that others have changed the folder too: so every look and every list comes after one. That
fails only if the server's clock is too coarse to show it. Then what was replaced is still not found, since it is gone;
but what was not there may be believed not to be there. So to where nothing was seen the candidate is not renamed but
linked, if that is possible, which the server refuses if something stands there. A reply that was lost on the way makes
an error of what was done: so it is not believed that a file is there or is not, but looked at what ``lock`` says then.
Ages are taken between two times of the same file system, the candidate's and the lock's; on Lustre these come from the
clients' clocks, which must agree to within minutes.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
import threading
import time
import uuid
from dataclasses import replace

from xnat_sync.core import lock as core
from xnat_sync.core.errors import DiskTrouble, Locked
from xnat_sync.core.lock import Holder, Rival, Standing

from . import disk, reach

_NOFOLLOW = os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0)
_READ = os.O_RDONLY | _NOFOLLOW | getattr(os, "O_NONBLOCK", 0)  # what turns out to be a pipe does not hold us up
_GONE = (errno.ENOENT, errno.ESTALE)  # replaced or unlinked, here or by another client of an NFS
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
_ATTEMPTS = 20
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # one that goes on while the machine sleeps


class Lock:
    """The lock of the folder ROOT, at ``path``, which is ``ROOT/.xnat-sync/lock``.

    Threads may share it. Everything but ``overdue`` blocks, for as long as the file system does.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._folder, self._name = os.path.split(path)
        self._root = os.path.dirname(self._folder)
        self._candidates = re.compile(re.escape(self._name) + r"\.[0-9a-f]{32}")
        self._guard = threading.Lock()
        self._held: tuple[int, Holder] | None = None  # our record, open
        self._beaten = float("-inf")
        self._seen: tuple[bytes, int] | None = None
        self._seen_since = 0.0

    def try_acquire(self, now: float) -> Rival | None:
        """Take the lock if it is free or stale: None if it is ours now, else what keeps us from it.

        ``now`` is seconds since the epoch. Who waits calls this again and again on the same ``Lock``, which then knows
        for how long nothing has changed. Raises ``DiskTrouble``.
        """
        with self._guard, disk.translated(self.path):
            for _ in range(_ATTEMPTS):
                me = _myself(now)
                rival = self._try(me)
                if rival is not None:
                    return rival
                if self._hold(me):
                    return None
        return Rival(None, 0.0)

    def beat(self, now: float) -> None:
        """Show that we are still here, every ``core.lock.BEAT`` seconds. Does nothing once the lock was released.

        Raises ``Locked`` if the lock is ours no more; ``DiskTrouble`` if that cannot be told.
        """
        with self._guard, disk.translated(self.path):
            self._beat(now)

    def overdue(self) -> bool:
        """Whether the last beat is so long ago that others may have taken the lock, or soon may.

        Then nothing is to be written before the next beat has come back.
        """
        return time.clock_gettime(_CLOCK) - self._beaten > core.LEASE

    def release(self) -> None:
        """Let go of the lock, if it is still ours. Releasing twice does nothing."""
        with self._guard:
            self._release()

    # -- with the guard held --------------------------------------------------------------------------------------

    def _try(self, me: Holder) -> Rival | None:
        """Put our record where no lock is, or a stale one; what keeps us from that. Only ``_hold`` tells who won."""
        candidate = disk.Writer(f"{self.path}.{me.token}")
        try:
            candidate.write(core.encode(me))
            candidate.close(sync=True)
            free, rival = self._look(me, os.lstat(candidate.path).st_mtime_ns)
            if rival is None:
                self._put(candidate.path, free=free)
            return rival
        except OSError as error:
            if error.errno not in _GONE:
                raise
            return None
        finally:
            candidate.drop()

    def _put(self, candidate: str, *, free: bool) -> None:
        if free:
            try:
                reach.link(candidate, self.path)
                return
            except FileExistsError:
                return
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
        reach.rename(candidate, self.path)

    def _look(self, me: Holder, clock: int) -> tuple[bool, Rival | None]:
        """Whether no lock is there, and else who holds it, None if it is stale. ``clock`` is the file system's."""
        found = self._read()
        if found != self._seen:
            self._seen, self._seen_since = found, time.monotonic()
        if found is None:
            return True, None
        data, mtime_ns = found
        other = core.decode(data)
        rival = Rival(other, (clock - mtime_ns) / 1e9)
        runs = _runs(other) if other is not None and core.can_see(me, other) else None
        unchanged = time.monotonic() - self._seen_since
        standing = core.judge(other, me, runs=runs, age=rival.age, unchanged=unchanged)
        return False, rival if standing is Standing.HELD else None

    def _read(self) -> tuple[bytes, int] | None:
        """What stands in the lock, and its mtime; None if there is no lock."""
        try:
            fd = os.open(self.path, _READ)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise self._in_the_way() from None
            raise
        try:
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode):
                raise self._in_the_way()
            return os.pread(fd, core.SIZE + 1, 0), found.st_mtime_ns
        finally:
            os.close(fd)

    def _in_the_way(self) -> DiskTrouble:
        return DiskTrouble(f"{self.path} is no regular file: see who put it there, and remove it")

    def _unlink_candidates(self) -> None:
        self._touch_folder()
        for name in os.listdir(self._folder):
            if self._candidates.fullmatch(name):
                with contextlib.suppress(FileNotFoundError, IsADirectoryError):
                    reach.unlink(f"{self._folder}/{name}")
        self._touch_folder()

    def _touch_folder(self) -> None:
        """Change the folder, so that an NFS client notices what others have changed."""
        disk.Writer(f"{self.path}.{uuid.uuid4().hex}").drop()

    def _hold(self, me: Holder) -> bool:
        """Open the lock and beat, if it is ours: whether it is."""
        fd = self._open_ours(me)
        if fd is None:
            return False
        self._held = fd, me
        try:
            self._beat(now=me.started)
        except Locked:
            self._release()
            return False
        except BaseException:
            self._release()
            raise
        return True

    def _open_ours(self, me: Holder) -> int | None:
        """The lock, opened for writing; None if it is another's: that is never to be written."""
        fd = -1
        try:
            fd = reach.open_file(self.path, os.O_RDWR | _NOFOLLOW)
            if _is_ours(os.pread(fd, core.SIZE + 1, 0), me):
                ours, fd = fd, -1
                return ours
        except OSError as error:
            if error.errno not in (*_GONE, errno.EACCES, errno.EPERM):
                raise
        finally:
            if fd >= 0:
                os.close(fd)
        return None

    def _beat(self, now: float) -> None:
        if self._held is None:
            return
        fd, me = self._held
        me = replace(me, heartbeat=round(now, 3))
        self._held = fd, me
        while True:
            began = time.clock_gettime(_CLOCK)
            try:
                _write(fd, me)
            except OSError:
                self._must_be_ours(me)
                raise
            self._unlink_candidates()
            self._must_be_ours(me)
            self._beaten = began
            if not self.overdue():  # else we slept, and may have been given up since
                return

    def _must_be_ours(self, me: Holder) -> None:
        found = None
        try:
            found = self._read()
        except OSError as error:
            if error.errno not in _GONE:
                raise
        if found is None or not _is_ours(found[0], me):
            raise Locked(core.lost(core.decode(found[0]) if found is not None else None, self._root))

    def _release(self) -> None:
        if self._held is None:
            return
        fd, me = self._held
        self._held, self._beaten = None, float("-inf")
        # If another took the lock over, what is open here is a file of the past, and nobody reads it. And a record that
        # cannot be written will be found to be stale.
        with contextlib.suppress(OSError):
            _write(fd, replace(me, released=True))
        os.close(fd)


def _is_ours(data: bytes, me: Holder) -> bool:
    holder = core.decode(data)
    return holder is not None and holder.token == me.token


def _write(fd: int, holder: Holder) -> None:
    if os.pwrite(fd, core.encode(holder), 0) != core.SIZE:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    os.fsync(fd)


def _myself(now: float) -> Holder:
    """This process, about to hold a lock."""
    pid = os.getpid()
    process = _process(pid)
    namespace = ""
    with contextlib.suppress(OSError):
        if os.readlink("/proc/self") == str(pid):  # else it is the /proc of another namespace, and of no use here
            namespace = os.readlink("/proc/self/ns/pid")
    return Holder(
        host=core.text(os.uname().nodename),
        pid=pid,
        boot=core.text(_line("/proc/sys/kernel/random/boot_id")),
        machine=core.text(_line("/etc/machine-id")),
        namespace=core.text(namespace),
        born=process[1] if process is not None else 0,
        token=uuid.uuid4().hex,
        started=round(now, 3),
        heartbeat=round(now, 3),
    )


def _runs(other: Holder) -> bool | None:
    """Whether a process that can be seen from here runs; None if that is kept from us."""
    try:
        os.kill(other.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # another user's
    process = _process(other.pid)
    if process is None or not other.born:
        return None  # as where /proc hides the processes of others
    alive, born = process
    return alive and born == other.born


def _process(pid: int) -> tuple[bool, int] | None:
    """Whether a process is more than its exit code, and when it began, in ticks since the boot; see proc(5)."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()  # the name before it may hold anything
        # A killed process whose threads are stuck in the kernel may have a write still to come.
        state, threads, born = fields[0], int(fields[17]), int(fields[19])
        return state not in (b"Z", b"X") or threads > 1, born
    return None


def _line(path: str) -> str:
    with contextlib.suppress(OSError), open(path, encoding="ascii", errors="replace") as file:
        return file.readline().strip()
    return ""
