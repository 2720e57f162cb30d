"""Offline: what lies in a mirror against what its ledgers say, by hashing every file again.

Several units are read at once, each in a worker thread, since hashing lets go of the interpreter. Nothing is asked of
the server and nothing is changed, unless what is wrong is to be forgotten so that the next run fetches it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

import anyio
import anyio.to_thread

from xnat_sync.core import index, ledger
from xnat_sync.core.layout import STATE
from xnat_sync.shell import disk, zipstore
from xnat_sync.shell.mirror import Mirror

_THREADS = 4


class Fault(StrEnum):
    """What may be the matter with a file."""

    MISSING = "missing"
    CHANGED = "changed"
    FOREIGN = "extra"


@dataclass(frozen=True, slots=True)
class Finding:
    """A file with which something is the matter.

    ``at`` is relative to the project's folder; ``stands_at`` is the file itself, or the zip that it is in.
    """

    fault: Fault
    at: str
    unit: str = ""
    held_at: str = ""
    stands_at: str = ""


@dataclass(slots=True)
class Verified:
    """What was looked at."""

    files: int = 0
    bytes: int = 0
    damaged_lines: int = 0


class Verifier:
    """Verifies one mirror. ``progress`` is told of each file's bytes."""

    def __init__(self, mirror: Mirror, progress: Callable[[int], None]) -> None:
        self._mirror = mirror
        self._progress = progress
        self._known: set[str] = set()
        self.verified = Verified()
        self.findings: list[Finding] = []
        self.sums: list[tuple[str, str]] = []

    async def run(self) -> None:
        """Hash everything; findings end up sorted by path."""
        ledgers = iter(await anyio.to_thread.run_sync(self._mirror.ledgers))
        async with anyio.create_task_group() as group:
            for _ in range(_THREADS):
                group.start_soon(self._take, ledgers)
        await anyio.to_thread.run_sync(self._foreign)
        self.findings.sort(key=lambda finding: finding.at)

    async def _take(self, ledgers: Iterator[str]) -> None:
        for path in ledgers:
            await anyio.to_thread.run_sync(self._unit, path)

    def _unit(self, path: str) -> None:
        replay = ledger.replay(disk.read_bytes(path).decode("utf-8", "replace"))
        self.verified.damaged_lines += replay.damaged
        zips: dict[str, Mapping[str, tuple[int, str]] | None] = {}
        for held in replay.files.values():
            at = self._mirror.below(replay.folder or "", held.at)
            stands_at = self._mirror.below(replay.folder or "", held.stands_at)
            self._known.add(stands_at)
            if not held.archive:
                hashed = disk.hash_of(self._mirror.path(at))
                fact = (hashed[0].size, hashed[1]) if hashed is not None else None
            else:
                if stands_at not in zips:
                    back = zipstore.read_back(self._mirror.path(stands_at))
                    zips[stands_at] = None if back is None else back.files if back.fault is None else {}
                inside = zips[stands_at]
                fact = None if inside is None else inside.get(held.at.removeprefix(f"{held.archive}/"), (-1, ""))
            self.verified.files += 1
            self.verified.bytes += held.size
            self._progress(held.size)
            if fact is None:
                self.findings.append(Finding(Fault.MISSING, at, replay.unit, held.at, stands_at))
            elif fact != (held.size, held.md5):
                self.findings.append(Finding(Fault.CHANGED, at, replay.unit, held.at, stands_at))
            elif not held.archive:
                self.sums.append((at, held.md5))

    def _foreign(self) -> None:
        for folder, folders, files in os.walk(self._mirror.root):
            if folder == self._mirror.root:
                folders[:] = [name for name in folders if name != STATE]
            below = folder[len(self._mirror.root) + 1 :]
            for name in files:
                at = f"{below}/{name}" if below else name
                if at not in self._known:
                    self.findings.append(Finding(Fault.FOREIGN, at))

    async def forget(self) -> int:
        """Take what is missing or changed out of the ledgers, so that the next run fetches it; how many.

        A changed file is renamed out of the way first, since a run never replaces what it did not write.
        """
        wrong = [finding for finding in self.findings if finding.fault is not Fault.FOREIGN]
        for stands_at in sorted({finding.stands_at for finding in wrong if finding.fault is Fault.CHANGED}):
            await anyio.to_thread.run_sync(self._mirror.set_aside, stands_at)
        for finding in wrong:
            gone = ledger.gone_line([finding.held_at])
            await disk.append_text(self._mirror.ledger_path(finding.unit), gone)
        for unit in sorted({finding.unit for finding in wrong}):
            await disk.append_text(self._mirror.index_path, index.gone_line(unit))
        return len(wrong)
