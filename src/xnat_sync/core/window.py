"""When a run has to stop: the earlier of ``--max-duration`` and the next ``--stop-at``.

A time of day is one of the wall clock. Its next occurrence is looked up in the calendar, so it stays right over
midnight and when the clocks change; a time that a change skips is the moment after it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, time, timedelta


def closes(
    now: datetime, epoch: Callable[[datetime], float], *, max_duration: float | None, stop_at: time | None
) -> float | None:
    """Seconds since the epoch at which the window closes; None if it never does.

    ``now`` is local and naive; ``epoch`` turns such a time into seconds since the epoch.
    """
    start = epoch(now)
    ends = []
    if max_duration is not None:
        ends.append(start + max_duration)
    if stop_at is not None:
        today = datetime.combine(now.date(), stop_at)
        days = (today + timedelta(days=ahead) for ahead in range(3))
        ends.append(next(epoch(day) for day in days if epoch(day) > start))
    return min(ends, default=None)
