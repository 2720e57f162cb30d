"""Below a project's folder: opened, made, renamed and removed through no link, whatever a neighbour swaps meanwhile.

A path is walked anew at each call, and between a look at it and its use a folder on the way may become a link to
elsewhere. So each change is made from a descriptor of the folder that it happens in. That folder was opened name by
name, no name a link; or it is the very one that was opened so before, and then it does not matter what led to it.
The project's own folder, and what is above it, may be links: they are the user's.

Functions here block, and raise ``OSError`` with whole paths: ``ELOOP`` names the link that stands in the way.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
from collections.abc import Iterator

from xnat_sync.core.layout import STATE

_FOLDER = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC

# Folders that no link led to when they were last walked to, and what they were then: device and inode.
_walked: dict[str, tuple[int, int]] = {}
_MOST_WALKED = 256


def project_of(path: str) -> str | None:
    """The project's folder, for a path within ``.xnat-sync``; None for any other path."""
    above, ours, _ = path.partition(f"/{STATE}/")
    return above if ours else None


def open_folder(path: str, root: str) -> int:
    """A descriptor of the folder ``path``, which is ``root`` or below it, for ``dir_fd`` only; the caller closes it."""
    known = _walked.get(path)
    if known is not None:
        with contextlib.suppress(OSError):  # the walk says of what
            fd = os.open(path, _FOLDER)
            if _identity(fd) == known:
                return fd
            os.close(fd)
    fd = _walk(path, root)
    if len(_walked) >= _MOST_WALKED:
        _walked.clear()
    _walked[path] = _identity(fd)
    return fd


def _walk(path: str, root: str) -> int:
    fd, at = os.open(root, _FOLDER), root
    for name in path[len(root) + 1 :].split("/") if path != root else ():
        at = f"{at}/{name}"
        try:
            below = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=fd)
        except OSError as error:
            # Linux says of a link only that it is no folder.
            number = errno.ELOOP if error.errno == errno.ENOTDIR and _is_link(name, fd) else error.errno
            raise OSError(number, os.strerror(number or 0), at) from None
        finally:
            os.close(fd)
        fd = below
    return fd


def _is_link(name: str, fd: int) -> bool:
    try:
        return stat.S_ISLNK(os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return False


def _identity(fd: int) -> tuple[int, int]:
    try:
        found = os.fstat(fd)
    except OSError:  # as of a folder that a distant server has no more
        os.close(fd)
        raise
    return found.st_dev, found.st_ino


@contextlib.contextmanager
def _parent(path: str, root: str | None = None) -> Iterator[tuple[str, int | None]]:
    """What to call ``path``, and from which folder: by its last name, from the folder that it stands in.

    Without a ``root``, a path that is not within ``.xnat-sync`` is called what it is called: the user named it.
    """
    root = root or project_of(path)
    if root is None:
        yield path, None
        return
    folder, name = os.path.split(path)
    fd = open_folder(folder, root)
    try:
        yield name, fd
    except OSError as error:
        if error.filename == name:
            error.filename = path
        raise
    finally:
        os.close(fd)


def check(path: str, root: str) -> None:
    """Make sure that no link leads to the folder that ``path`` stands in."""
    with _parent(path, root):
        pass


def open_file(path: str, flags: int, mode: int = 0o666) -> int:
    """A descriptor of a file of ours, or of one that the user named."""
    with _parent(path) as (name, fd):
        return os.open(name, flags, mode, dir_fd=fd)


def unlink(path: str) -> None:
    """Remove a file of ours."""
    with _parent(path) as (name, fd):
        os.unlink(name, dir_fd=fd)


def mkdir(path: str, root: str) -> None:
    """Make a folder in one that is there; ``root`` is the project's folder."""
    with _parent(path, root) as (name, fd):
        os.mkdir(name, dir_fd=fd)


def rmdir(path: str, root: str) -> None:
    """Remove an empty folder; ``root`` is the project's folder."""
    with _parent(path, root) as (name, fd):
        os.rmdir(name, dir_fd=fd)


def rmtree(path: str) -> None:
    """Remove a folder of ours with all that is in it, as far as that is possible."""
    with contextlib.suppress(OSError), _parent(path) as (name, fd):
        shutil.rmtree(name, ignore_errors=True, dir_fd=fd)


def rename(source: str, target: str, root: str | None = None) -> None:
    """Give a file or folder another name; a file takes the place of another.

    ``root`` is the project's folder, above both; it need not be said if both are within ``.xnat-sync``.
    """
    with _two(source, target, root) as (old, old_fd, new, new_fd):
        os.rename(old, new, src_dir_fd=old_fd, dst_dir_fd=new_fd)


def link(source: str, target: str) -> None:
    """Give a file of ours a second name, which must not stand yet."""
    with _two(source, target, None) as (old, old_fd, new, new_fd):
        os.link(old, new, src_dir_fd=old_fd, dst_dir_fd=new_fd)


@contextlib.contextmanager
def _two(source: str, target: str, root: str | None) -> Iterator[tuple[str, int | None, str, int | None]]:
    with _parent(source, root) as (old, old_fd), _parent(target, root) as (new, new_fd):
        try:
            yield old, old_fd, new, new_fd
        except OSError as error:
            error.filename, error.filename2 = source, target
            raise
