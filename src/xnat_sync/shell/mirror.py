"""A project's folder in DEST: the mirrored tree, and ``.xnat-sync``, which is ours alone.

Here names become final: a whole resource by one rename, a single file by one that replaces; and what was renamed, gone
or wrong finds its place, or the trash.
"""

from __future__ import annotations

import contextlib
import errno
import os
from dataclasses import dataclass

from xnat_sync.core import names
from xnat_sync.core.errors import Conflict, DiskTrouble
from xnat_sync.core.layout import STATE
from xnat_sync.core.model import OnDisk

from . import reach
from .disk import (
    Writer,
    make_folder,
    make_own_folder,
    must_be_beneath,
    stat_of,
    sync_paths,
    translated,
    trouble,
    write_bytes,
)
from .stage import Stage, short_name

_MOVING = "%moving"  # No unit's folder is ever named so, whatever the server calls it.
_TAG = (
    "Signature: 8a477f597d28d172789f06886806bc55\n"
    "# xnat-sync keeps partial downloads here. Backups may leave this folder out; see https://bford.info/cachedir/\n"
)


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
            reach.rename(path, target, self.root)
        sync_paths([os.path.dirname(target)])
        stat = stat_of(target)
        if stat is None:
            raise DiskTrouble(f"{target} is gone as soon as it was written: does another process remove it?")
        return stat

    def stage(self, unit: str, resource: str) -> Stage:
        """The staging folder of one resource."""
        return Stage(f"{self.state}/staging/{names.safe(unit)}/{names.safe(resource)}")

    def staged(self) -> frozenset[str]:
        """The units of which something is staged, by their safe names."""
        with translated(self.state):
            return frozenset(os.listdir(f"{self.state}/staging"))

    def clear_staging(self, unit: str) -> None:
        """Remove all that is staged of a unit."""
        reach.rmtree(f"{self.state}/staging/{names.safe(unit)}")

    def prepare(self) -> None:
        """Make the folders. Raises ``DiskTrouble`` if DEST cannot be written."""
        for folder in ("sessions", "staging", "runs"):
            make_own_folder(f"{self.state}/{folder}")
        write_bytes(f"{self.state}/staging/CACHEDIR.TAG", _TAG.encode("ascii"))
        # DEST and the project's folder may be links; no other folder may.
        sync_paths([os.path.realpath(os.path.dirname(self.root)), os.path.realpath(self.root), self.state])

    def _moving(self, unit: str) -> str:
        return f"{self.state}/staging/{_MOVING}/{names.safe(unit)}"

    def move_out(self, unit: str, old: str) -> None:
        """Take what lies at ``old`` out of the way, into staging: the first half of a rename."""
        source, target = self.path(old), self._moving(unit)
        try:
            must_be_beneath(source, self.root)
        except Conflict:
            return
        if os.path.isdir(source) and not os.path.lexists(target):
            with translated(source):
                make_own_folder(os.path.dirname(target))
                reach.rename(source, target, self.root)
            sync_paths([f"{self.state}/staging", os.path.dirname(target), os.path.dirname(source)])
            self.prune(os.path.dirname(source))

    def move_in(self, unit: str, new: str) -> bool:
        """Give what was moved out its new place: the second half.

        False if something stands there, or nothing was moved out.
        """
        source, target = self._moving(unit), self.path(new)
        if not os.path.isdir(source) or os.path.lexists(target):
            return False
        try:
            make_folder(os.path.dirname(target), self.root)
        except Conflict:
            return False
        with translated(target):
            reach.rename(source, target, self.root)
        sync_paths([os.path.dirname(source), os.path.dirname(target)])
        return True

    def moved_out(self) -> frozenset[str]:
        """The units that a killed run left between the two halves, by their safe names."""
        try:
            return frozenset(os.listdir(f"{self.state}/staging/{_MOVING}"))
        except FileNotFoundError:
            return frozenset()

    def appear(self, stage: Stage, folder: str) -> bool:
        """Give a whole resource its final name by one rename; False if something stands there already."""
        target = self.path(folder)
        make_folder(os.path.dirname(target), self.root)
        try:
            reach.check(f"{stage.tree}/", self.root)
            reach.rename(stage.tree, target, self.root)
            if os.path.islink(target):  # what was renamed is what stands there, and a neighbour may have put it there
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), stage.tree)
        except OSError as error:
            if error.errno in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
                return False
            raise trouble(error, target) from error
        sync_paths([os.path.dirname(target)])
        return True

    def settle(self, stage: Stage, local: str, folder: str) -> None:
        """Give one staged file its final name within an existing folder. The caller syncs the folder after."""
        source, target = f"{stage.tree}/{local}", self.path(f"{folder}/{local}")
        make_folder(os.path.dirname(target), self.root)
        with translated(target):
            reach.rename(source, target, self.root)

    @staticmethod
    def trash_path(at: str, trash: str) -> str:
        """A free path in a trash folder for what lay at ``at``, its folders made."""
        target, number = f"{trash}/{at}", 1
        make_folder(os.path.dirname(target), os.path.dirname(os.path.dirname(trash)))
        while os.path.lexists(target):
            number += 1
            target = f"{trash}/{at}~{number}"
        return target

    def take_away(self, at: str, trash: str) -> None:
        """Move a file to a trash folder, under its own path there, beside what lies there already."""
        source = self.path(at)
        must_be_beneath(source, self.root)
        target = self.trash_path(at, trash)
        with translated(target):
            reach.rename(source, target, self.root)
        sync_paths([os.path.dirname(source), os.path.dirname(target)])
        self.prune(os.path.dirname(source))

    def prune(self, folder: str) -> None:
        """Remove ``folder`` and those above it as far as they are empty, down to the project's own."""
        while folder.startswith(f"{self.root}/"):
            try:
                reach.rmdir(folder, self.root)
            except OSError:
                return
            folder = os.path.dirname(folder)

    def set_aside(self, at: str) -> None:
        """Rename a file that is not what it should be, so that the right one may take its place and nothing is lost."""
        source = self.path(at)
        must_be_beneath(source, self.root)
        target, number = f"{source}.changed", 1
        while os.path.lexists(target):
            number += 1
            target = f"{source}.changed{number}"
        with translated(source):
            reach.rename(source, target, self.root)
        sync_paths([os.path.dirname(source)])

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
        writer = Writer(f"{self.state}/staging/{short_name(at)}.new")
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
