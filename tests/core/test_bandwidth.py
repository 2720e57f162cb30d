"""Rates by time of day, and waits that keep to them whatever the pieces."""

from __future__ import annotations

from datetime import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xnat_sync.core.bandwidth import Pace, Timetable, timetable

MIB = 1 << 20


@pytest.mark.parametrize(
    ("text", "rates"),
    [
        ("50M", {time(0): 50 * MIB, time(23, 59): 50 * MIB}),
        ("1MB/s", {time(12): 1_000_000}),
        ("off", {time(12): None}),
        (
            "08:00,10M 18:00,off",
            {time(7, 59): None, time(8): 10 * MIB, time(17, 59): 10 * MIB, time(18): None, time(0): None},
        ),
        ("18:00,off  08:00,512K", {time(0): None, time(9): 512 << 10, time(20): None}),
        ("06:00,1G", {time(0): 1 << 30, time(6): 1 << 30, time(5, 59): 1 << 30}),
        ("06:00,1M 12:00,2M 00:30,3M", {time(0): 2 * MIB, time(1): 3 * MIB, time(6): MIB, time(23): 2 * MIB}),
    ],
)
def test_what_holds_when(text: str, rates: dict[time, float | None]) -> None:
    table = timetable(text)
    assert {at: table.rate(at) for at in rates} == rates
    assert timetable(str(table)) == table


@pytest.mark.parametrize(
    "text", ["", " ", "fast", "08:00", "08:00,", "25:00,1M", "08:00,1M 18:00", "08:00,1M,2M", "0", "08:00,0", "-1M"]
)
def test_what_is_no_rate(text: str) -> None:
    with pytest.raises(ValueError, match=r"^a rate is written like 50M, off, or a timetable like"):
        timetable(text)


def test_a_time_of_day_stands_once() -> None:
    with pytest.raises(ValueError, match=r"each time of day once"):
        timetable("08:00,1M 8:00,2M")


MINUTES = st.times().map(lambda moment: moment.replace(second=0, microsecond=0))


@given(st.dictionaries(MINUTES, st.none() | st.integers(1, 1 << 50), min_size=1), st.times())
def test_some_entry_always_holds(entries: dict[time, float | None], now: time) -> None:
    table = Timetable(tuple(sorted(entries.items())))
    assert table.rate(now) in entries.values()


@given(
    st.lists(st.tuples(st.integers(1, 1 << 24), st.floats(0, 3)), min_size=1, max_size=60), st.integers(1000, 1 << 30)
)
def test_the_rate_is_kept_over_every_stretch(pieces: list[tuple[int, float]], rate: int) -> None:
    pace, now = Pace(), 100.0
    came: list[tuple[float, int]] = []
    for count, pause in pieces:
        came.append((now, count))
        now += pace.wait(count, rate, now) + pause
    for first in range(len(came)):
        start, total = came[first][0], 0
        for at, count in came[first:]:
            # What comes by any time is the rate, one second of burst, and the piece that is in hand.
            assert total <= rate * (at - start + 1.0) * 1.000001 + 1
            total += count


def test_nothing_waits_without_a_limit() -> None:
    pace = Pace()
    assert pace.wait(1 << 40, None, 5.0) == 0.0
    assert pace.wait(100, 100.0, 5.0) == pytest.approx(1.0)
    assert pace.wait(100, None, 5.0) == 0.0
    assert pace.wait(100, 100.0, 60.0) == 0.0
