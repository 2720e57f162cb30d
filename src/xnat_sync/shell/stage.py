"""The staging folder of one resource: files in hand, and whole, verified files that wait for their final names.

What a killed run leaves here is believed by the next as far as its hashes go.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from dataclasses import dataclass

from . import reach
from .disk import Writer, hash_of, make_folder, make_own_folder, sync_paths, translated


def short_name(local: str) -> str:
    """A name of bounded length for what may have any."""
    return hashlib.sha256(local.encode("utf-8", "surrogatepass")).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Stage:
    """The staging folder of one resource.

    ``tree`` holds whole, verified files by their path in the resource; ``parts`` holds files in hand. One rename of
    ``tree`` makes a resource appear whole.
    """

    root: str

    @property
    def _project(self) -> str:
        return reach.project_of(self.root) or self.root

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
            make_own_folder(self.tree)
            make_own_folder(self.parts)
            for name in os.listdir(self.parts):
                if name.endswith(".member"):
                    reach.unlink(f"{self.parts}/{name}")

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
        return f"{self.parts}/{short_name(local)}.part"

    def open_member(self, local: str, size: int | None = None) -> Writer:
        """Begin a file that cannot be gone on with when cut, such as a zip's member; ``size`` if it is known."""
        return Writer(f"{self.parts}/{short_name(local)}.member")

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
                reach.rename(writer.path, target)
            except FileNotFoundError:
                make_own_folder(os.path.dirname(target))
                reach.rename(writer.path, target)

    def take(self, path: str, local: str) -> None:
        """Move a file that stands elsewhere in the mirror among the whole ones; who uses it proves it first."""
        target = f"{self.tree}/{local}"
        make_folder(os.path.dirname(target), os.path.dirname(os.path.dirname(self.root)))
        with translated(target):
            reach.rename(path, target, self._project)
        sync_paths([os.path.dirname(path), os.path.dirname(target)])

    def drop(self, local: str) -> None:
        """Remove a whole file that proved to be of no use, and the folders that held nothing else."""
        path = f"{self.tree}/{local}"
        with translated(path), contextlib.suppress(FileNotFoundError):
            reach.unlink(path)
        with contextlib.suppress(OSError):
            while (path := os.path.dirname(path)) != self.tree:
                reach.rmdir(path, self._project)

    def clear(self) -> None:
        """Remove the staging folder."""
        reach.rmtree(self.root)

    def folders(self) -> list[str]:
        """Every folder of the tree, the deepest first."""
        return [folder for folder, _, _ in os.walk(self.tree, topdown=False)]
