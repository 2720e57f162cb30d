"""Sites to be fetched: made anew in every process that serves them, alike each time, and cheap in memory.

Files are slices of one pool of bytes, at offsets of their own, so that a gigabyte of different files takes no more
memory than the pool. The pool is like a scanner's images: noise of ten bits in words of sixteen, and empty background;
it deflates to about a half, at the rate at which DICOM does.
"""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass

from xnat_embedded import Data, Site, empty_site

PROJECT = "BENCH"
USER, PASSWORD = "demo", "demo-password"

_POOL = 48 << 20
_ROW = 4096


@dataclass(frozen=True, slots=True)
class Shape:
    """A project: ``sessions`` of ``scans`` with ``files`` each, sizes spread evenly between two bounds.

    ``compression`` is what the server does unasked, 0 or 8; ``latency`` the delay before each of its answers.
    """

    sessions: int
    scans: int
    files: int
    smallest: int = 50_000
    largest: int = 500_000
    compression: int = 0
    latency: float = 0.0

    @property
    def count(self) -> int:
        """All files."""
        return self.sessions * self.scans * self.files

    @property
    def bytes(self) -> int:
        """All bytes of all files."""
        return sum(size for size, _ in self._cuts())

    def _cuts(self) -> list[tuple[int, int]]:
        """Size and offset in the pool of each file."""
        chance = random.Random(1)
        sizes = [chance.randint(self.smallest, self.largest) for _ in range(self.count)]
        return [(size, chance.randrange(_POOL - size)) for size in sizes]

    def build(self) -> Site:
        """The site; its account is ``USER`` with ``PASSWORD``."""
        site = empty_site()
        site.compression = self.compression
        site.latency_s = self.latency
        pool = memoryview(_pool())
        cuts = iter(self._cuts())
        project = site.add_project(PROJECT, members=(USER,))
        for number in range(self.sessions):
            session = project.add_subject(f"S{number:05}").add_session(f"S{number:05}_MR1")
            for scan in range(1, self.scans + 1):
                files = []
                for file in range(1, self.files + 1):
                    size, at = next(cuts)
                    files.append((f"{file:04}.dcm", Data(pool[at : at + size])))  # type: ignore[arg-type]
                session.add_scan(str(scan), "t1").add_resource("DICOM", files, format="DICOM")
        return site

    def digests(self) -> dict[str, int]:
        """MD5 -> how many files have it."""
        pool, found = memoryview(_pool()), dict[str, int]()
        for size, at in self._cuts():
            digest = hashlib.md5(pool[at : at + size], usedforsecurity=False).hexdigest()
            found[digest] = found.get(digest, 0) + 1
        return found


def _pool() -> bytes:
    chance = random.Random(0)
    words = bytearray(_POOL)
    words[0::2] = chance.randbytes(_POOL // 2)
    # The upper byte: mostly 0 and 1, seldom 2 or 3.
    words[1::2] = chance.randbytes(_POOL // 2).translate(bytes([0] * 128 + [1] * 96 + [2] * 24 + [3] * 8))
    for at in range(0, _POOL, _ROW):
        words[at : at + _ROW // 4] = bytes(_ROW // 4)
    return bytes(words)
