"""Every call by which the command changes what lies under DEST: recorded, and one of them may be its last.

Loaded into the command by ``tests/system/child.py``. It takes the place of the functions of ``os`` that change a disk
and of the ``open`` that the command and aiofiles use, whose files then write through Python as well. The calls are made
one at a time, so what a killed command had done is known exactly, whatever its threads were about. Calls elsewhere
than under DEST, and those that only read, pass; they may come from the event loop, so nothing that blocks is done for
them.
"""

from __future__ import annotations

import builtins
import fcntl
import io
import json
import os
import re
import shutil  # asks, when it is imported, what the functions of os can do that are replaced here
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from .calls import Call

VARIABLE = "XNAT_SYNC_TEST_TAP"
BEFORE, WITHIN, AFTER = "before", "within", "after"
_CHANGES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Point:
    """Where to end: before or after the ``ordinal``-th call of a site, or within a write, when half of it is done."""

    site: str
    ordinal: int
    when: str


@dataclass(frozen=True, slots=True)
class Orders:
    """What to do in one run: watch ``root``, record in the file ``log`` if there is one, and end at ``kill``.

    With a ``swap`` the run does not end there, but this folder becomes a link to a copy of it. In the second folder are
    then ``link``, to which that leads, ``copy``, which is the same for who wants to compare, and ``aside``, the folder.
    """

    root: str
    log: str = ""
    kill: Point | None = None
    swap: tuple[str, str] | None = None

    def variable(self) -> dict[str, str]:
        """The environment that gives these orders."""
        kill = self.kill and [self.kill.site, self.kill.ordinal, self.kill.when]
        return {VARIABLE: json.dumps({"root": self.root, "log": self.log, "kill": kill, "swap": self.swap})}


def install(environment: Mapping[str, str]) -> None:
    """From now on watch what this process does, as the environment orders."""
    entry = json.loads(environment[VARIABLE])
    kill = Point(*entry["kill"]) if entry["kill"] else None
    root = entry["root"]
    assert root == os.path.realpath(root), f"{root} has another name, by which it would not be known"
    _Tap(Orders(root, entry["log"], kill, entry["swap"])).install()


class _Tap:
    """The functions in place of those of ``os``."""

    def __init__(self, orders: Orders) -> None:
        self._root = orders.root
        self._kill = orders.kill
        self._swap = orders.swap
        self._one_at_a_time = threading.RLock()
        self._seen: Counter[str] = Counter()
        self._log = os.open(orders.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600) if orders.log else -1
        self._os = {name: getattr(os, name) for name in dir(os) if callable(getattr(os, name))}
        self._builtin_open = builtins.open

    def install(self) -> None:
        """Take the places."""
        for name in ("mkdir", "rmdir", "unlink", "remove", "rename", "replace", "link", "symlink", "utime", "chmod",
                     "open", "write", "writev", "pwrite", "pwritev", "fsync", "fdatasync", "ftruncate",
                     "truncate", "posix_fallocate", "copy_file_range", "sendfile"):  # fmt: skip
            own = getattr(self, f"_{name}", None) or self._not_foreseen(name)
            setattr(os, name, own)
        builtins.open = self.file
        io.open = self.file
        if aiofiles := sys.modules.get("aiofiles.threadpool"):
            aiofiles.sync_open = self.file  # type: ignore[attr-defined]

    # -- names ----------------------------------------------------------------------------------------------------

    def _mkdir(self, path: Any, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
        self._named("mkdir", path, dir_fd, lambda: self._os["mkdir"](path, mode, dir_fd=dir_fd))

    def _rmdir(self, path: Any, *, dir_fd: int | None = None) -> None:
        self._named("rmdir", path, dir_fd, lambda: self._os["rmdir"](path, dir_fd=dir_fd))

    def _unlink(self, path: Any, *, dir_fd: int | None = None) -> None:
        self._named("unlink", path, dir_fd, lambda: self._os["unlink"](path, dir_fd=dir_fd))

    _remove = _unlink

    def _rename(self, path: Any, to: Any, **fds: int | None) -> None:
        self._two("rename", path, to, fds)

    _replace = _rename

    def _link(self, path: Any, to: Any, **fds: Any) -> None:
        self._two("link", path, to, fds)

    def _two(self, name: str, path: Any, to: Any, fds: Mapping[str, Any]) -> None:
        places = self._place(path, fds.get("src_dir_fd")), self._place(to, fds.get("dst_dir_fd"))
        if places == (None, None):
            self._os[name](path, to, **fds)
            return
        assert None not in places, f"{name} across the border of DEST: {path} to {to}"
        self._one(Call(name, str(places[0]), str(places[1])), lambda: self._os[name](path, to, **fds))

    def _utime(self, path: Any, *arguments: Any, **more: Any) -> None:
        self._named("touch", path, more.get("dir_fd"), lambda: self._os["utime"](path, *arguments, **more))

    def _named(self, name: str, path: Any, dir_fd: int | None, do: Callable[[], T]) -> T:
        place = self._place(path, dir_fd)
        return do() if place is None else self._one(Call(name, place), do)

    # -- open files -----------------------------------------------------------------------------------------------

    def _open(self, path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        def do() -> int:
            fd: int = self._os["open"](path, flags, mode, dir_fd=dir_fd)
            return fd

        place = self._place(path, dir_fd)
        if place is None or not flags & _CHANGES:
            return do()
        full = f"{self._root}/{place}"
        with self._one_at_a_time:
            there = os.path.lexists(full)
            cut = there and flags & os.O_TRUNC and os.path.getsize(full) > 0
            return self._one(Call("create" if not there else "truncate" if cut else "open", place), do)

    def _write(self, fd: int, data: Any) -> int:
        return self.written(fd, data, None, lambda piece: self._os["write"](fd, piece))

    def _pwrite(self, fd: int, data: Any, offset: int) -> int:
        return self.written(fd, data, offset, lambda piece: self._os["pwrite"](fd, piece, offset))

    def written(self, fd: int, data: Any, offset: int | None, do: Callable[[memoryview], int]) -> int:
        """One write to a file; ``do`` is what writes."""
        place, view = self._place_of(fd), memoryview(data).cast("B")
        if place is None:
            return do(view)
        with self._one_at_a_time:
            if offset is None:
                append = fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_APPEND
                offset = os.fstat(fd).st_size if append else os.lseek(fd, 0, os.SEEK_CUR)
            call = Call("write", place, at=offset, data=bytes(view))
            return self._one(call, lambda: do(view), lambda: do(view[: len(view) // 2]))

    def _fsync(self, fd: int) -> None:
        self.at("sync", fd, 0, lambda: self._os["fsync"](fd))

    _fdatasync = _fsync

    def _ftruncate(self, fd: int, length: int) -> None:
        self.at("truncate", fd, length, lambda: self._os["ftruncate"](fd, length))

    def at(self, name: str, fd: int, at: int, do: Callable[[], T]) -> T:
        """One call that changes an open file."""
        place = self._place_of(fd)
        return do() if place is None else self._one(Call(name, place, at=at), do)

    def _not_foreseen(self, name: str) -> Callable[..., Any]:
        """A function that the command does not use, and whose effect nobody would know of."""

        def refused(first: Any, *arguments: Any, **more: Any) -> Any:
            place = self._place_of(first) if isinstance(first, int) else self._place(first, None)
            assert place is None, f"os.{name} is not foreseen by the tap"
            return self._os[name](first, *arguments, **more)

        return refused

    # -- what open() gives ----------------------------------------------------------------------------------------

    def file(self, file: Any, mode: str = "r", buffering: int = -1, encoding: str | None = None,
             errors: str | None = None, newline: str | None = None, closefd: bool = True,
             opener: Any = None) -> Any:  # fmt: skip
        """``open``, but for what writes under DEST: that is a file whose every call to the system can be seen."""
        place = self._place_of(file) if isinstance(file, int) else self._place(file, None)
        if place is None or not set(mode) & set("wax+"):
            return self._builtin_open(file, mode, buffering, encoding, errors, newline, closefd, opener)
        raw = _Raw(self, file, mode.replace("t", "").replace("b", ""), closefd, opener or self.opened)
        if buffering == 0:
            return raw
        whole = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
        return whole if "b" in mode else io.TextIOWrapper(whole, encoding, errors, newline)

    def opened(self, path: str, flags: int) -> int:
        """The call behind ``open``."""
        return self._open(path, flags, 0o666)

    # -- one call -------------------------------------------------------------------------------------------------

    def _one(self, call: Call, do: Callable[[], T], half: Callable[[], object] | None = None) -> T:
        """Make one call; ``half`` makes half of it."""
        site = f"{call.name} {_caller()} {_kind(call.path)}"
        with self._one_at_a_time:
            ordinal, self._seen[site] = self._seen[site], self._seen[site] + 1
            self._end_if(site, ordinal, BEFORE)
            if half is not None and self._kill == Point(site, ordinal, WITHIN):
                half()
                self._end_if(site, ordinal, WITHIN)
            try:
                result = do()
            except OSError:
                self._end_if(site, ordinal, AFTER)
                raise
            if self._log >= 0:
                data = call.data[:result] if isinstance(result, int) else b""
                done = replace(call, data=data, mtime_ns=self._time(call), site=site, ordinal=ordinal)
                self._os["write"](self._log, done.line().encode("ascii"))
            self._end_if(site, ordinal, AFTER)
            return result

    def _end_if(self, site: str, ordinal: int, when: str) -> None:
        if self._kill != Point(site, ordinal, when):
            return
        if self._swap:
            folder, elsewhere = self._swap
            if not os.path.isdir(folder):
                return
            for name in ("link", "copy"):
                shutil.copytree(folder, f"{elsewhere}/{name}", symlinks=True)
            self._os["rename"](folder, f"{elsewhere}/aside")
            self._os["symlink"](f"{elsewhere}/link", folder)
        else:
            os.kill(os.getpid(), signal.SIGKILL)
            threading.Event().wait()  # until it is delivered

    def _time(self, call: Call) -> int:
        try:
            return os.lstat(f"{self._root}/{call.to or call.path}").st_mtime_ns
        except OSError:
            return 0

    # -- where ----------------------------------------------------------------------------------------------------

    def _place(self, path: Any, dir_fd: int | None) -> str | None:
        """A path relative to DEST; None if it lies elsewhere."""
        text = os.fsdecode(path)
        if dir_fd is not None:
            text = os.path.join(self._os["readlink"](f"/proc/self/fd/{dir_fd}"), text)
        return self._under(os.path.normpath(text))

    def _place_of(self, fd: int) -> str | None:
        """The path of an open file relative to DEST; None if it lies elsewhere, or has no name any more."""
        try:
            path = self._os["readlink"](f"/proc/self/fd/{fd}")
        except OSError:
            return None
        return None if path.endswith(" (deleted)") else self._under(path)

    def _under(self, path: str) -> str | None:
        if path == self._root:
            return ""
        return path[len(self._root) + 1 :] if path.startswith(f"{self._root}/") else None


class _Raw(io.FileIO):
    """A file whose calls to the system the tap sees."""

    def __init__(self, tap: _Tap, file: Any, mode: str, closefd: bool, opener: Callable[[str, int], int]) -> None:
        self._tap = tap
        super().__init__(file, mode, closefd, opener)

    def write(self, data: Any) -> int:
        return self._tap.written(self.fileno(), data, None, lambda piece: super(_Raw, self).write(piece))

    def truncate(self, size: int | None = None) -> int:
        length = self.tell() if size is None else size
        return self._tap.at("truncate", self.fileno(), length, lambda: super(_Raw, self).truncate(length))


def _caller() -> str:
    """The line of the command that calls, and the function that called that; ``aiofiles`` where a thread hides it."""
    frame = sys._getframe(1)
    found: list[str] = []
    while frame is not None and len(found) < 2:
        _, inside, below = frame.f_code.co_filename.rpartition("/xnat_sync/")
        if inside:
            name = below.removesuffix(".py").replace("/", ".")
            found.append(f"{name}:{frame.f_lineno}" if not found else f"{name}.{frame.f_code.co_name}")
        frame = frame.f_back  # type: ignore[assignment]
    return "<".join(found) or "aiofiles"


def _kind(path: str) -> str:
    """What a path is for, whatever its name: so that a site is the same in every run."""
    project, inside, state = path.partition(".xnat-sync")
    if not inside:
        return "final" if "/" in project else "root"
    for pattern, kind in _KINDS:
        if re.fullmatch(pattern, state):
            return kind
    return "state"


_KINDS = (
    (r"/sessions/.*\.jsonl", "ledger"),
    (r"/sessions/.*\.new", "ledger.new"),
    (r"/(index|mirror)\.json.*", "index"),
    (r"/lock", "lock"),
    (r"/lock\..*", "candidate"),
    (r"/runs.*", "record"),
    (r"/trash.*", "trash"),
    (r"/staging/%moving.*", "moving"),
    (r"/staging/.*/parts/.*", "part"),
    (r"/staging/.*/tree/.*", "staged"),
    (r"/staging/.*\.zip\..*", "zip"),
    (r"/staging.*", "staging"),
)
