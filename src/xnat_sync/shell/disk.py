"""Files and folders as such: written and hashed in one go, looked at, made durable, appended to, replaced.

With ``reach``, on which it builds, and with ``stage``, ``mirror``, ``zipstore`` and ``lock``, which build on it, the
only module that changes the disk. The order is always the same: bytes are staged, verified, made durable, renamed to
their final name, and only then recorded. Functions here block, but for those of state files; they are called from
worker threads, in pieces of about a mebibyte or a whole small file. Foreign errors become ``DiskTrouble`` here, once.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import stat
from collections.abc import Iterable, Iterator

import aiofiles
import anyio.to_thread

from xnat_sync.core.errors import Conflict, DiskTrouble, ItemError, UsageError
from xnat_sync.core.layout import STATE
from xnat_sync.core.model import OnDisk

from . import reach

PIECE = 1 << 20
# No link is followed, and what turns out to be a pipe does not hold us up.
_CAREFUL = os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
NEW = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND
_READ = os.O_RDONLY | _CAREFUL


@contextlib.contextmanager
def translated(path: str) -> Iterator[None]:
    """Turn an ``OSError`` into one line that says what is wrong with the disk and what to do."""
    try:
        yield
    except OSError as error:
        raise trouble(error, path) from error


def trouble(error: OSError, path: str) -> Exception:
    """The error of ours that says what an ``OSError`` at ``path`` means."""
    named = error.filename2 or error.filename  # of a rename it is the new name that may not be written
    where = named if isinstance(named, str) else path
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return DiskTrouble(f"no space left for {where}: free some or raise the quota, then run again")
        case errno.EROFS:
            return DiskTrouble(f"{where} is on a read-only file system: mount it writable, then run again")
        case errno.EACCES | errno.EPERM:
            return DiskTrouble(f"not allowed to write {where}: check its owner and mode")
        case errno.ENAMETOOLONG:
            return ItemError(f"the file system refuses so long a name: {where}")
        case errno.EXDEV:
            return DiskTrouble(f"{where} is on another file system than {STATE}: a project must lie on one")
        case errno.ELOOP:
            return DiskTrouble(f"{where} is a link, and none is followed here: see who put it there, and remove it")
    return DiskTrouble(f"{where}: {error.strerror or error}: check the disk or mount, then run again")


def open_own(path: str, flags: int) -> int:
    """A descriptor of a file of ours, made if ``flags`` say so; an opener for ``open``.

    Links are not followed, and nothing but a regular file is taken. One that is to be written and has other names, as
    a snapshot made of hard links gives it, is first parted from these, which stay as they are. Raises ``OSError`` or
    ``DiskTrouble``.
    """
    while True:
        fd = reach.open_file(path, flags & ~os.O_TRUNC | _CAREFUL)
        try:
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode):
                raise DiskTrouble(f"{path} is no regular file: see who put it there, and remove it")
            if found.st_nlink < 2 or not flags & (os.O_WRONLY | os.O_RDWR):
                if flags & os.O_TRUNC and found.st_size:
                    os.ftruncate(fd, 0)
                ours, fd = fd, -1
                return ours
        finally:
            if fd >= 0:
                os.close(fd)
        if flags & os.O_TRUNC:
            reach.unlink(path)
        else:
            _part(path)


def _part(path: str) -> None:
    alone = f"{path}.own"
    with contextlib.suppress(FileNotFoundError):
        reach.unlink(alone)
    with open(path, "rb", opener=_open_shared) as shared, open(alone, "wb", opener=open_own) as own:
        shutil.copyfileobj(shared, own, PIECE)
    reach.rename(alone, path)


def _open_shared(path: str, _flags: int) -> int:
    return reach.open_file(path, _READ)


class Writer:
    """A file being staged: written and hashed in one go, and nothing under its final name."""

    __slots__ = ("_fd", "_md5", "path", "size")

    def __init__(self, path: str, *, append: bool = False) -> None:
        """Open ``path`` for writing; with ``append``, hash what it holds and go on behind it."""
        self.path = path
        self.size = 0
        self._md5 = hashlib.md5(usedforsecurity=False)
        with translated(path):
            if append:
                with open(path, "rb", opener=open_own) as held:
                    while piece := held.read(PIECE):
                        self._md5.update(piece)
                        self.size += len(piece)
                self._fd = open_own(path, os.O_WRONLY | os.O_APPEND)
            else:
                self._fd = open_own(path, NEW)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write and hash ``data`` whole."""
        with translated(self.path):
            view = memoryview(data)
            while view:
                view = view[os.write(self._fd, view) :]
        self._md5.update(data)
        self.size += len(data)

    @property
    def md5(self) -> str:
        """The MD5 of all that was written so far, in hex."""
        return self._md5.hexdigest()

    def close(self, *, sync: bool = False) -> None:
        """Close the file, making it durable first with ``sync``. Closing twice does nothing."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            with translated(self.path):
                try:
                    if sync:
                        os.fsync(fd)
                finally:
                    os.close(fd)

    def drop(self) -> None:
        """Close and remove the file."""
        self.close()
        with contextlib.suppress(OSError, DiskTrouble):
            reach.unlink(self.path)


def stat_of(path: str) -> OnDisk | None:
    """What stands at ``path``, links not followed; None if nothing does."""
    try:
        found = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise trouble(error, path) from error
    return OnDisk(found.st_size, found.st_mtime_ns, stat.S_ISREG(found.st_mode))


def astray(base: str, files: Iterable[tuple[str, int, int]]) -> str:
    """The first of the files below ``base`` that has not this size and time in ns; ``""`` if all have.

    The one question asked of each file every night, so it is asked of many in one go.
    """
    at, lstat = "", os.lstat
    try:
        for at, size, mtime_ns in files:
            found = lstat(f"{base}/{at}")
            if found.st_size != size or found.st_mtime_ns != mtime_ns:
                return at
    except (FileNotFoundError, NotADirectoryError):
        return at
    except OSError as error:
        raise trouble(error, f"{base}/{at}") from error
    return ""


def hash_of(path: str) -> tuple[OnDisk, str] | None:
    """Size, time and MD5 of the regular file at ``path``; None if it is not there or changes while it is read."""
    try:
        with open(os.open(path, _READ), "rb", buffering=0) as file:
            before = os.fstat(file.fileno())
            if not stat.S_ISREG(before.st_mode):
                return None
            digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False))
            after = os.fstat(file.fileno())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise trouble(error, path) from error
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        return None
    return OnDisk(after.st_size, after.st_mtime_ns), digest.hexdigest()


def remove(path: str) -> None:
    """Remove a file of ours, if it is there."""
    with translated(path), contextlib.suppress(FileNotFoundError):
        reach.unlink(path)


def read_bytes(path: str) -> bytes:
    """A small file of ours, whole; empty if it is not there."""
    with translated(path), contextlib.suppress(FileNotFoundError), open(path, "rb", opener=open_own) as file:
        return file.read()
    return b""


def write_bytes(path: str, data: bytes) -> None:
    """A small file of ours that may be torn by a crash: who reads it must cope."""
    with translated(path), open(path, "wb", opener=open_own) as file:
        file.write(data)


def identity(path: str) -> tuple[int, int] | None:
    """What tells a folder from any other that may stand at its path later; None if there is none."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise trouble(error, path) from error
    return found.st_dev, found.st_ino


def space(path: str) -> tuple[int, int]:
    """Bytes that this user may still write where ``path`` lies or will lie, and bytes that there are in all.

    File systems that know of quotas for folders tell of these; of a user's own they do not.
    """
    with translated(path):
        while not os.path.exists(path) and path != os.path.dirname(path):
            path = os.path.dirname(path)
        found = os.statvfs(path)
    return found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize


def must_be_writable(path: str | None) -> None:
    """Make sure that a file named by the user can be written, before anything else is done. Raises ``UsageError``."""
    if path is not None:
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666))
        except OSError as error:
            raise UsageError(f"{path} cannot be written: {error.strerror}") from None


def append_bytes(path: str, data: bytes) -> None:
    """Append to a log of ours."""
    with translated(path), open(path, "ab", opener=open_own) as file:
        file.write(data)


def append_to_named(path: str, data: bytes) -> None:
    """Append to what the user named, which may be a pipe or a device; a link is not followed."""
    flags = APPEND | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0)
    with translated(path), open(os.open(path, flags, 0o666), "ab") as file:
        file.write(data)


def open_log(path: str) -> int:
    """A descriptor that appends to a log of ours, its folder made; the caller closes it."""
    with translated(path):
        make_own_folder(os.path.dirname(path))
        return open_own(path, APPEND)


def sync_paths(paths: Iterable[str]) -> None:
    """Make files and folders durable. A file system that cannot sync a folder is believed to need none."""
    for path in paths:
        with translated(path):
            fd = os.open(path, _READ)
            try:
                os.fsync(fd)
            except OSError as error:
                if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
                    raise
            finally:
                os.close(fd)


def make_folder(path: str, below: str) -> None:
    """Make ``path`` and what lacks above it down from ``below``, each durable in its parent.

    Raises ``Conflict`` if something that is no folder stands in the way, be it a link to one; ``below`` may be a link.
    """
    root = reach.project_of(path) or below
    with translated(path):
        if _is_folder(path, root):
            return
        if path != below:
            make_folder(os.path.dirname(path), below)
        try:
            reach.mkdir(path, root)
        except FileExistsError:  # made by another, just now
            if not _is_folder(path, root):
                raise
        else:
            sync_paths([os.path.dirname(path)])


def _is_folder(path: str, root: str) -> bool:
    try:
        os.close(reach.open_folder(path, root))
    except FileNotFoundError:
        return False
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.ENOTDIR):
            raise
        raise Conflict(f"{error.filename} is in the way: a folder must stand there") from None
    return True


def make_own_folder(path: str) -> None:
    """Make a folder within our own, and what lacks above it. Raises ``DiskTrouble`` if a link stands in the way."""
    root = reach.project_of(f"{path}/") or path
    with translated(path):
        try:
            os.close(reach.open_folder(path, root))
        except FileNotFoundError:
            if not os.path.isdir(root):
                os.makedirs(root, exist_ok=True)
            if (above := os.path.dirname(path)) != root:
                make_own_folder(above)
            with contextlib.suppress(FileExistsError):
                reach.mkdir(path, root)
            os.close(reach.open_folder(path, root))


def must_be_beneath(path: str, below: str) -> None:
    """Make sure that no link stands on the way from ``below`` to ``path``. Raises ``Conflict``.

    What the last name stands for is not looked at.
    """
    with translated(path), contextlib.suppress(FileNotFoundError):
        try:
            reach.check(path, below)
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
            raise Conflict(
                f"{error.filename} is a link, and what lies behind it is not ours: it is kept as it is"
            ) from None


async def read_text(path: str) -> str:
    """The text of a state file; ``""`` if there is none. Bytes that are no UTF-8 become replacement characters."""
    with anyio.CancelScope(shield=True):
        try:
            async with aiofiles.open(path, encoding="utf-8", errors="replace", newline="\n", opener=open_own) as file:
                text: str = await file.read()
        except FileNotFoundError:
            text = ""
        except OSError as error:
            raise trouble(error, path) from error
    return text


async def append_text(path: str, text: str, *, durable: bool = True) -> None:
    """Append whole lines and make them durable, unless that is not worth it.

    A torn last line is closed off first, so that it harms only itself.
    A cancelled run still ends what it has begun to write here.
    """
    with anyio.CancelScope(shield=True), translated(path):
        async with aiofiles.open(path, "ab+", opener=open_own) as file:
            if await file.seek(0, os.SEEK_END) > 0:
                await file.seek(-1, os.SEEK_END)
                torn = await file.read(1) != b"\n"
            else:
                torn = False
            await file.write((b"\n" if torn else b"") + text.encode("utf-8"))
            await file.flush()
            if durable:
                await anyio.to_thread.run_sync(os.fsync, file.fileno())


async def replace_text(path: str, text: str) -> None:
    """Put ``text`` in place of a state file, atomically and durably."""
    fresh = f"{path}.new"
    with anyio.CancelScope(shield=True), translated(path):
        async with aiofiles.open(fresh, "wb", opener=open_own) as file:
            await file.write(text.encode("utf-8"))
            await file.flush()
            await anyio.to_thread.run_sync(os.fsync, file.fileno())
        await anyio.to_thread.run_sync(reach.rename, fresh, path)
        await anyio.to_thread.run_sync(sync_paths, [os.path.dirname(path)])
