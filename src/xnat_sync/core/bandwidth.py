"""How fast data may come: a rate by time of day, and the waits that keep to it.

A timetable is written ``50M``, ``off``, or ``08:00,10M 18:00,off``: from each time of day on that rate holds, until
the next one, over midnight. Times are those of the local wall clock, so a change of clocks needs no thought here.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass

from .values import size, size_text, time_of_day

_HELP = "a rate is written like 50M, off, or a timetable like 08:00,10M 18:00,off"


@dataclass(frozen=True, slots=True)
class Timetable:
    """Rates in bytes a second, each from its time of day on; None for no limit. In the order of the day."""

    entries: tuple[tuple[datetime.time, float | None], ...]

    def rate(self, now: datetime.time) -> float | None:
        """What holds at this time of day. Before the first entry of the day holds the last of the day before."""
        past = [rate for start, rate in self.entries if start <= now]
        return past[-1] if past else self.entries[-1][1]

    def __str__(self) -> str:
        if len(self.entries) == 1:
            return _text(self.entries[0][1])
        return " ".join(f"{start:%H:%M},{_text(rate)}" for start, rate in self.entries)


def _text(rate: float | None) -> str:
    return "off" if rate is None else size_text(int(rate))


def timetable(text: str) -> Timetable:
    """Read one. Raises ``ValueError``."""
    words = text.split()
    if not words:
        raise ValueError(_HELP)
    if len(words) == 1 and "," not in words[0]:
        return Timetable(((datetime.time(), _rate(words[0])),))
    entries = []
    for word in words:
        start, comma, rate = word.partition(",")
        if not comma:
            raise ValueError(_HELP)
        try:
            entries.append((time_of_day(start), _rate(rate)))
        except ValueError:
            raise ValueError(_HELP) from None
    if len({start for start, _ in entries}) < len(entries):
        raise ValueError("a timetable names each time of day once")
    if len(entries) == 1:  # it holds all day
        return Timetable(((datetime.time(), entries[0][1]),))
    return Timetable(tuple(sorted(entries, key=lambda entry: entry[0])))


def _rate(text: str) -> float | None:
    if text.lower() == "off":
        return None
    try:
        rate = float(size(text.removesuffix("/s")))
    except (ValueError, OverflowError):
        raise ValueError(_HELP) from None
    if rate <= 0:
        raise ValueError(f"{_HELP}; nothing at all would never end")
    return rate


class Pace:
    """Who has received bytes learns how long to wait before asking for more; all transfers share one.

    A bucket that fills at the rate and holds one second of it: after a pause a burst is no longer than that.
    """

    def __init__(self) -> None:
        self._due = 0.0

    def wait(self, count: int, rate: float | None, now: float) -> float:
        """Seconds to wait after ``count`` bytes came at ``now``, a clock that never goes back."""
        if rate is None:
            self._due = now
            return 0.0
        self._due = max(self._due, now - 1.0) + count / rate
        return max(0.0, self._due - now)
