"""What lies in a folder, as a value: read from a disk, put on one, and compared."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property


@dataclass(frozen=True)
class File:
    """A file's bytes, and its time."""

    data: bytes
    mtime_ns: int = 0

    @cached_property
    def md5(self) -> str:
        """The MD5 of the bytes, in hex."""
        return hashlib.md5(self.data).hexdigest()


@dataclass(frozen=True)
class Image:
    """Files and folders by their path below the one that was read."""

    files: Mapping[str, File] = field(default_factory=dict)
    folders: frozenset[str] = frozenset()

    def below(self, folder: str) -> Image:
        """What lies in one folder of it."""
        prefix = f"{folder}/"
        return Image(
            {path[len(prefix) :]: file for path, file in self.files.items() if path.startswith(prefix)},
            frozenset(path[len(prefix) :] for path in self.folders if path.startswith(prefix)),
        )

    def differs(self, other: Image) -> list[str]:
        """Paths of which one has something else than the other, in bytes, time or kind."""
        files = {path for path in self.files.keys() | other.files if self.files.get(path) != other.files.get(path)}
        return sorted(files | (self.folders ^ other.folders))

    def fingerprint(self) -> str:
        """The same for two images that are alike, whatever the times of their files."""
        digest = hashlib.sha256()
        for path in sorted(self.folders):
            digest.update(f"{path}/\0".encode())
        for path, file in sorted(self.files.items()):
            digest.update(f"{path}\0{file.md5}\0".encode())
        return digest.hexdigest()


def read(root: str | os.PathLike[str]) -> Image:
    """All that lies in a folder, an empty image if there is none."""
    files, folders = {}, set()
    for folder, names in _walk(str(root)):
        if folder:
            folders.add(folder)
        for name in names:
            path = f"{folder}/{name}" if folder else name
            with open(f"{root}/{path}", "rb") as file:
                files[path] = File(file.read(), os.fstat(file.fileno()).st_mtime_ns)
    return Image(files, frozenset(folders))


def _walk(root: str) -> Iterator[tuple[str, list[str]]]:
    for folder, _, names in os.walk(root):
        yield folder[len(root) + 1 :], names


def write(image: Image, root: str | os.PathLike[str]) -> None:
    """Make a folder that is like the image, in place of what stands there."""
    shutil.rmtree(root, ignore_errors=True)
    os.makedirs(root)
    for folder in sorted(image.folders):
        os.makedirs(f"{root}/{folder}", exist_ok=True)
    for path, file in image.files.items():
        with open(f"{root}/{path}", "wb") as target:
            target.write(file.data)
        set_time(f"{root}/{path}", file.mtime_ns)


def set_time(path: str | os.PathLike[str], mtime_ns: int) -> None:
    """Give a file a time."""
    os.utime(path, ns=(mtime_ns, mtime_ns))
