"""Fewer transfers while the server is in trouble, more again when it is calm."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xnat_sync.core.errors import Broken, ItemError, Refused, Transient, Vanished
from xnat_sync.core.throttle import CALM, PAUSE, Throttle, is_trouble


@pytest.mark.parametrize(
    ("error", "trouble"),
    [
        *((Transient("", status=status), True) for status in (429, 502, 503, 504)),
        (Transient("", silent=True), True),
        (Transient(""), False),
        *((Transient("", status=status), False) for status in (408, 500)),
        (Broken(""), False),
        (Vanished(""), False),
        (Refused(""), False),
    ],
)
def test_what_counts_as_trouble(error: ItemError, trouble: bool) -> None:
    assert is_trouble(error) is trouble


def test_halved_once_for_what_fails_together_and_regained_one_by_one() -> None:
    throttle = Throttle(8)
    assert [throttle.trouble(now) for now in (0.0, 1.0, PAUSE - 0.1)] == [True, False, False]
    assert throttle.allowed == 4
    assert throttle.trouble(PAUSE)
    assert throttle.trouble(2 * PAUSE)
    assert not throttle.trouble(3 * PAUSE)
    assert throttle.allowed == 1
    assert [throttle.success() for _ in range(CALM)] == [False] * (CALM - 1) + [True]
    assert throttle.allowed == 2
    throttle.trouble(4 * PAUSE)
    assert throttle.allowed == 1


def test_trouble_ends_a_calm_spell() -> None:
    throttle = Throttle(4)
    throttle.trouble(0.0)
    for _ in range(CALM - 1):
        throttle.success()
    throttle.trouble(1.0)
    assert not throttle.success()
    assert throttle.allowed == 2


@given(st.integers(1, 16), st.lists(st.one_of(st.none(), st.floats(0, 10)), max_size=200))
def test_never_below_one_nor_above_what_is_allowed(most: int, events: list[float | None]) -> None:
    throttle, now = Throttle(most), 0.0
    for event in events:
        if event is None:
            throttle.success()
        else:
            now += event
            throttle.trouble(now)
        assert 1 <= throttle.allowed <= most
    for _ in range(CALM * most):
        throttle.success()
    assert throttle.allowed == most
