"""The window: durations, times of day, midnight, and the nights on which the clocks change."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, time
from zoneinfo import ZoneInfo

import pytest

from xnat_sync.core import window

BERLIN = ZoneInfo("Europe/Berlin")


def in_berlin(moment: datetime) -> float:
    return moment.replace(tzinfo=BERLIN).timestamp()


def epoch_of(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


@pytest.mark.parametrize(
    ("now", "stop_at", "closes"),
    [
        ("2026-11-22T22:00", time(6), "2026-11-23T06:00+01:00"),
        ("2026-11-22T05:59", time(6), "2026-11-22T06:00+01:00"),
        ("2026-11-22T06:00", time(6), "2026-11-23T06:00+01:00"),
        ("2026-10-24T22:00", time(6), "2026-10-25T06:00+01:00"),  # an hour longer: the clocks go back
        ("2026-03-28T22:00", time(6), "2026-03-29T06:00+02:00"),  # an hour shorter
        ("2026-03-28T22:00", time(2, 30), "2026-03-29T03:30+02:00"),  # skipped that night
        ("2026-12-31T23:30", time(0, 15), "2027-01-01T00:15+01:00"),
    ],
)
def test_a_time_of_day_is_its_next_occurrence(now: str, stop_at: time, closes: str) -> None:
    found = window.closes(datetime.fromisoformat(now), in_berlin, max_duration=None, stop_at=stop_at)
    assert found == epoch_of(closes)


@pytest.mark.parametrize(("duration", "earlier"), [(3600.0, True), (20 * 3600.0, False)])
def test_the_earlier_of_both_counts(duration: float, earlier: bool) -> None:
    now = datetime(2026, 11, 22, 22)
    found = window.closes(now, in_berlin, max_duration=duration, stop_at=time(6))
    assert found is not None
    assert (found == in_berlin(now) + duration) is earlier


def test_without_either_it_never_closes() -> None:
    epoch: Callable[[datetime], float] = in_berlin
    assert window.closes(datetime(2026, 11, 22), epoch, max_duration=None, stop_at=None) is None
