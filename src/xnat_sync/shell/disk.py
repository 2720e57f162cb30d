"""The only module that changes the disk: staging, hashing, commit by rename, and the state files.

A project's folder in DEST holds the mirrored tree and ``.xnat-sync``, which is ours alone. The order is always the
same: bytes are staged, verified, made durable, renamed to their final name, and only then recorded. Functions here
block; they are called from worker threads, in pieces of about a mebibyte or a whole small file. Foreign errors become
``DiskTrouble`` here, once.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import aiofiles
import anyio.to_thread

from xnat_sync.core import names
from xnat_sync.core.errors import Conflict, DiskTrouble, ItemError, UsageError
from xnat_sync.core.layout import STATE
from xnat_sync.core.model import OnDisk

PIECE = 1 << 20
_TAG = (
    "Signature: 8a477f597d28d172789f06886806bc55\n"
    "# xnat-sync keeps partial downloads here. Backups may leave this folder out; see https://bford.info/cachedir/\n"
)
_NEW = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0)
_APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0)
_READ = os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0)


@contextlib.contextmanager
def translated(path: str) -> Iterator[None]:
    """Turn an ``OSError`` into one line that says what is wrong with the disk and what to do."""
    try:
        yield
    except OSError as error:
        raise _trouble(error, path) from error


def _trouble(error: OSError, path: str) -> Exception:
    where = error.filename if isinstance(error.filename, str) else path
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return DiskTrouble(f"no space left for {where}: free some or raise the quota, then run again")
        case errno.EROFS:
            return DiskTrouble(f"{where} is on a read-only file system: mount it writable, then run again")
        case errno.EACCES | errno.EPERM:
            return DiskTrouble(f"not allowed to write {where}: check its owner and mode")
        case errno.ENAMETOOLONG:
            return ItemError(f"the file system refuses so long a name: {where}")
    return DiskTrouble(f"{where}: {error.strerror or error}: check the disk or mount, then run again")


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
                with open(os.open(path, _READ), "rb") as held:
                    while piece := held.read(PIECE):
                        self._md5.update(piece)
                        self.size += len(piece)
                self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0))
            else:
                self._fd = os.open(path, _NEW, 0o666)

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
        with contextlib.suppress(OSError):
            os.unlink(self.path)


def stat_of(path: str) -> OnDisk | None:
    """What stands at ``path``, links not followed; None if nothing does."""
    try:
        found = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise _trouble(error, path) from error
    return OnDisk(found.st_size, found.st_mtime_ns, stat.S_ISREG(found.st_mode))


def hash_of(path: str) -> tuple[OnDisk, str] | None:
    """Size, time and MD5 of the regular file at ``path``; None if it is not there or changes while it is read."""
    try:
        with open(os.open(path, _READ), "rb", buffering=0) as file:
            before = os.fstat(file.fileno())
            digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False))
            after = os.fstat(file.fileno())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise _trouble(error, path) from error
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        return None
    return OnDisk(after.st_size, after.st_mtime_ns, stat.S_ISREG(after.st_mode)), digest.hexdigest()


def remove(path: str) -> None:
    """Remove a file of ours, if it is there."""
    with translated(path), contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def read_bytes(path: str) -> bytes:
    """A small file of ours, whole; empty if it is not there."""
    with translated(path), contextlib.suppress(FileNotFoundError), open(os.open(path, _READ), "rb") as file:
        return file.read()
    return b""


def write_bytes(path: str, data: bytes) -> None:
    """A small file of ours that may be torn by a crash: who reads it must cope."""
    with translated(path), open(os.open(path, _NEW, 0o666), "wb") as file:
        file.write(data)


def identity(path: str) -> tuple[int, int] | None:
    """What tells a folder from any other that may stand at its path later; None if there is none."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _trouble(error, path) from error
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
    with translated(path), open(os.open(path, _APPEND, 0o666), "ab") as file:
        file.write(data)


def open_log(path: str) -> int:
    """A descriptor that appends to a log of ours, its folder made; the caller closes it."""
    with translated(path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return os.open(path, _APPEND, 0o666)


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

    Raises ``Conflict`` if something that is no folder stands in the way.
    """
    if os.path.isdir(path):
        return
    if path != below:
        make_folder(os.path.dirname(path), below)
    with translated(path):
        try:
            os.mkdir(path)
        except FileExistsError:
            if not os.path.isdir(path):
                raise Conflict(f"{path} is in the way: a folder must stand there") from None
            return
    sync_paths([os.path.dirname(path)])


@dataclass(frozen=True, slots=True)
class Stage:
    """The staging folder of one resource.

    ``tree`` holds whole, verified files by their path in the resource; ``parts`` holds files in hand. One rename of
    ``tree`` makes a resource appear whole.
    """

    root: str

    @property
    def tree(self) -> str:
        """Whole, verified files."""
        return f"{self.root}/tree"

    @property
    def parts(self) -> str:
        """Files in hand."""
        return f"{self.root}/parts"

    def prepare(self) -> None:
        """Make the folders; drop what a killed run left in hand, except partials that can be gone on with."""
        with translated(self.root):
            os.makedirs(self.tree, exist_ok=True)
            os.makedirs(self.parts, exist_ok=True)
            for name in os.listdir(self.parts):
                if name.endswith(".member"):
                    os.unlink(f"{self.parts}/{name}")

    def whole(self) -> dict[str, int]:
        """Path in the resource -> size of every whole file."""
        found = {}
        for folder, _, files in os.walk(self.tree):
            for name in files:
                path = f"{folder}/{name}"
                with translated(path):
                    found[path[len(self.tree) + 1 :]] = os.lstat(path).st_size
        return found

    def verified(self, local: str) -> tuple[int, str] | None:
        """Size and MD5 of a whole file, hashed anew; None if it is no regular file."""
        found = hash_of(f"{self.tree}/{local}")
        return (found[0].size, found[1]) if found is not None and found[0].regular else None

    def close(self) -> None:
        """Nothing is held open between calls."""

    def part_path(self, local: str) -> str:
        """Where the partial of the file that will be ``local`` grows."""
        return f"{self.parts}/{_short(local)}.part"

    def open_member(self, local: str, size: int | None = None) -> Writer:
        """Begin a file that cannot be gone on with when cut, such as a zip's member; ``size`` if it is known."""
        return Writer(f"{self.parts}/{_short(local)}.member")

    def open_part(self, local: str, *, append: bool) -> Writer:
        """Begin, or go on with, a file that can be gone on with when cut."""
        return Writer(self.part_path(local), append=append)

    def accept(self, writer: Writer, local: str, *, durable: bool) -> None:
        """Close a verified file and put it among the whole ones.

        ``durable`` syncs it first: for a file with no digest listed, staging is all that a later run can believe.
        """
        writer.close(sync=durable)
        target = f"{self.tree}/{local}"
        with translated(target):
            try:
                os.rename(writer.path, target)
            except FileNotFoundError:
                os.makedirs(os.path.dirname(target), exist_ok=True)
                os.rename(writer.path, target)

    def take(self, path: str, local: str) -> None:
        """Move a file that stands elsewhere in the mirror among the whole ones; who uses it proves it first."""
        target = f"{self.tree}/{local}"
        with translated(target):
            os.makedirs(os.path.dirname(target), exist_ok=True)
            os.rename(path, target)

    def drop(self, local: str) -> None:
        """Remove a whole file that proved to be of no use, and the folders that held nothing else."""
        path = f"{self.tree}/{local}"
        with translated(path), contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        with contextlib.suppress(OSError):
            while (path := os.path.dirname(path)) != self.tree:
                os.rmdir(path)

    def clear(self) -> None:
        """Remove the staging folder."""
        shutil.rmtree(self.root, ignore_errors=True)

    def folders(self) -> list[str]:
        """Every folder of the tree, the deepest first."""
        return [folder for folder, _, _ in os.walk(self.tree, topdown=False)]


def _short(local: str) -> str:
    return hashlib.sha256(local.encode("utf-8", "surrogatepass")).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Mirror:
    """A project's folder in DEST, and the state in it."""

    root: str

    @property
    def state(self) -> str:
        """The folder that is ours alone."""
        return f"{self.root}/{STATE}"

    def path(self, at: str) -> str:
        """The path of what lies at ``at`` under the project's folder."""
        return f"{self.root}/{at}" if at else self.root

    @staticmethod
    def below(folder: str, path: str) -> str:
        """``path`` within ``folder``, where ``""`` is the project's own folder."""
        return f"{folder}/{path}" if folder else path

    def replace(self, path: str, at: str) -> OnDisk:
        """Give a durable staged file its final name, in place of what stands there; its stat."""
        target = self.path(at)
        make_folder(os.path.dirname(target), self.root)
        with translated(target):
            os.rename(path, target)
        sync_paths([os.path.dirname(target)])
        stat = stat_of(target)
        if stat is None:
            raise DiskTrouble(f"{target} is gone as soon as it was written: does another process remove it?")
        return stat

    def stage(self, unit: str, resource: str) -> Stage:
        """The staging folder of one resource."""
        return Stage(f"{self.state}/staging/{names.safe(unit)}/{names.safe(resource)}")

    def clear_staging(self, unit: str) -> None:
        """Remove all that is staged of a unit."""
        shutil.rmtree(f"{self.state}/staging/{names.safe(unit)}", ignore_errors=True)

    def prepare(self) -> None:
        """Make the folders. Raises ``DiskTrouble`` if DEST cannot be written."""
        with translated(self.root):
            for folder in ("sessions", "staging", "runs"):
                os.makedirs(f"{self.state}/{folder}", exist_ok=True)
            with open(os.open(f"{self.state}/staging/CACHEDIR.TAG", _NEW, 0o666), "w", encoding="ascii") as tag:
                tag.write(_TAG)

    def _moving(self, unit: str) -> str:
        return f"{self.state}/staging/moving/{names.safe(unit)}"

    def move_out(self, unit: str, old: str) -> None:
        """Take what lies at ``old`` out of the way, into staging: the first half of a rename."""
        source, target = self.path(old), self._moving(unit)
        if os.path.isdir(source) and not os.path.lexists(target):
            with translated(source):
                os.makedirs(os.path.dirname(target), exist_ok=True)
                os.rename(source, target)
            self.prune(os.path.dirname(source))

    def move_in(self, unit: str, new: str) -> bool:
        """Give what was moved out its new place: the second half.

        False if something stands there, or nothing was moved out.
        """
        source, target = self._moving(unit), self.path(new)
        if not os.path.isdir(source) or os.path.lexists(target):
            return False
        make_folder(os.path.dirname(target), self.root)
        with translated(target):
            os.rename(source, target)
        sync_paths([os.path.dirname(source), os.path.dirname(target)])
        return True

    def moved_out(self) -> frozenset[str]:
        """The units that a killed run left between the two halves, by their safe names."""
        try:
            return frozenset(os.listdir(f"{self.state}/staging/moving"))
        except FileNotFoundError:
            return frozenset()

    def appear(self, stage: Stage, folder: str) -> bool:
        """Give a whole resource its final name by one rename; False if something stands there already."""
        target = self.path(folder)
        make_folder(os.path.dirname(target), self.root)
        try:
            os.rename(stage.tree, target)
        except OSError as error:
            if error.errno in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
                return False
            raise _trouble(error, target) from error
        sync_paths([os.path.dirname(target)])
        return True

    def settle(self, stage: Stage, local: str, folder: str) -> None:
        """Give one staged file its final name within an existing folder. The caller syncs the folder after."""
        target = self.path(f"{folder}/{local}")
        make_folder(os.path.dirname(target), self.root)
        with translated(target):
            os.rename(f"{stage.tree}/{local}", target)

    @staticmethod
    def trash_path(at: str, trash: str) -> str:
        """A free path in a trash folder for what lay at ``at``, its folders made."""
        target, number = f"{trash}/{at}", 1
        with translated(target):
            os.makedirs(os.path.dirname(target), exist_ok=True)
        while os.path.lexists(target):
            number += 1
            target = f"{trash}/{at}~{number}"
        return target

    def take_away(self, at: str, trash: str) -> None:
        """Move a file to a trash folder, under its own path there, beside what lies there already."""
        source, target = self.path(at), self.trash_path(at, trash)
        with translated(target):
            os.rename(source, target)
        self.prune(os.path.dirname(source))

    def prune(self, folder: str) -> None:
        """Remove ``folder`` and those above it as far as they are empty, down to the project's own."""
        while folder.startswith(f"{self.root}/"):
            try:
                os.rmdir(folder)
            except OSError:
                return
            folder = os.path.dirname(folder)

    def set_aside(self, at: str) -> None:
        """Rename a file that is not what it should be, so that the right one may take its place and nothing is lost."""
        source = self.path(at)
        target, number = f"{source}.changed", 1
        while os.path.lexists(target):
            number += 1
            target = f"{source}.changed{number}"
        with translated(source):
            os.rename(source, target)

    def runs(self) -> list[str]:
        """The folders of the runs on record."""
        with translated(self.state), contextlib.suppress(FileNotFoundError):
            return [f"{self.state}/runs/{name}" for name in os.listdir(f"{self.state}/runs")]
        return []

    def state_bytes(self) -> int:
        """The bytes of ledgers and index."""
        paths = [*self.ledgers(), self.index_path]
        return sum(found.size for path in paths if (found := stat_of(path)) is not None)

    def ledgers(self) -> list[str]:
        """The paths of all ledgers."""
        folder = f"{self.state}/sessions"
        with translated(folder), contextlib.suppress(FileNotFoundError):
            return sorted(f"{folder}/{name}" for name in os.listdir(folder) if name.endswith(".jsonl"))
        return []

    def put(self, at: str, data: bytes) -> OnDisk:
        """Give a small file its final name, whole and durable, in place of what may stand there."""
        writer = Writer(f"{self.state}/staging/{_short(at)}.new")
        try:
            writer.write(data)
            writer.close(sync=True)
            return self.replace(writer.path, at)
        except BaseException:
            writer.drop()
            raise

    @property
    def lock_path(self) -> str:
        """Who may write here."""
        return f"{self.state}/lock"

    @property
    def form_path(self) -> str:
        """What form the mirror has: its layout, and whether it keeps files or zips."""
        return f"{self.state}/mirror.json"

    def ledger_path(self, unit: str) -> str:
        """The ledger of a unit."""
        return f"{self.state}/sessions/{names.safe(unit)}.jsonl"

    @property
    def index_path(self) -> str:
        """What the last good listing said of each unit."""
        return f"{self.state}/index.jsonl"


async def read_text(path: str) -> str:
    """The text of a state file; ``""`` if there is none. Bytes that are no UTF-8 become replacement characters."""
    with anyio.CancelScope(shield=True):
        try:
            async with aiofiles.open(path, encoding="utf-8", errors="replace", newline="\n") as file:
                text: str = await file.read()
        except FileNotFoundError:
            text = ""
        except OSError as error:
            raise _trouble(error, path) from error
    return text


async def append_text(path: str, text: str, *, durable: bool = True) -> None:
    """Append whole lines and make them durable, unless that is not worth it.

    A torn last line is closed off first, so that it harms only itself.
    A cancelled run still ends what it has begun to write here.
    """
    with anyio.CancelScope(shield=True), translated(path):
        async with aiofiles.open(path, "ab+") as file:
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
        async with aiofiles.open(fresh, "wb") as file:
            await file.write(text.encode("utf-8"))
            await file.flush()
            await anyio.to_thread.run_sync(os.fsync, file.fileno())
        await anyio.to_thread.run_sync(os.replace, fresh, path)
        await anyio.to_thread.run_sync(sync_paths, [os.path.dirname(path)])
