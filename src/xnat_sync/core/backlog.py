"""Which of the jobs that are known is begun next: the largest, and every fourth time the smallest.

The largest first, so that no giant is begun just before dawn and holds up the end alone; a share for the small ones,
so that sessions become whole all night long. What is known is bounded by files, since a job names all of its own: a
listing that runs ahead of the transfers has to wait.
"""

from __future__ import annotations

from bisect import insort

from .model import Job

SMALL_SHARE = 4
MOST_FILES = 20_000


class Backlog:
    """Jobs that were listed and not yet begun."""

    def __init__(self, most_files: int = MOST_FILES) -> None:
        self._most = most_files
        self._jobs: list[tuple[int, int, Job]] = []  # by size, then by age; the serial number decides ties
        self._serial = 0
        self._files = 0
        self._taken = 0

    def __len__(self) -> int:
        return len(self._jobs)

    @property
    def full(self) -> bool:
        """Whether no more should be listed for now."""
        return self._files >= self._most

    def put(self, job: Job) -> None:
        """Add a job."""
        self._serial += 1
        insort(self._jobs, (job.bytes, -self._serial, job), key=lambda entry: entry[:2])
        self._files += len(job.wants)

    def take(self) -> Job:
        """Remove and give the next one. Raises ``IndexError`` if there is none."""
        self._taken += 1
        _, _, job = self._jobs.pop(0 if self._taken % SMALL_SHARE == 0 else -1)
        self._files -= len(job.wants)
        return job
