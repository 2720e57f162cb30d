"""When to try again and how long to wait: the docstring's table, and the bounds that hold for every error."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xnat_sync.core import errors, retry
from xnat_sync.core.errors import (
    BadListing,
    Broken,
    Conflict,
    ItemError,
    LoginRefused,
    Refused,
    RunError,
    SessionEnded,
    Transient,
    Vanished,
)
from xnat_sync.core.retry import Next, Policy, Verdict

POLICY = Policy()
SHARED = (429, 502, 503, 504)


def least() -> float:
    return 0.0


def most() -> float:
    return 1.0 - 2**-53


# Row of the docstring -> the errors that it is about, the tries after the first, whether all workers wait.
TABLE: dict[str, tuple[list[Exception], int | None, bool]] = {
    "``RunError``, anything unknown abort": (
        [RunError("x"), LoginRefused("x"), SessionEnded("x"), ValueError("x"), OSError("x"), Exception("x")],
        None,
        False,
    ),
    "``Transient`` 429, 502, 503, 504 wait": ([Transient("x", status=status) for status in SHARED], 5, True),
    "``Transient`` 500 wait, two tries more at most": ([Transient("x", status=500)], 2, False),
    "``Transient`` without status wait": ([Transient("x")], 5, False),
    "``Broken``, ``BadListing`` wait, two tries more at most": ([Broken("x"), BadListing("x")], 2, False),
    "``Vanished``, ``Refused`` give up": ([Vanished("x"), Refused("x"), Conflict("x")], 0, False),
}
ROWS = [
    pytest.param(error, tries, shared, id=f"{row} {error!r}")
    for row, (each, tries, shared) in TABLE.items()
    for error in each
]


@pytest.mark.parametrize(("error", "tries", "shared"), ROWS)
def test_the_table_says_what_follows_an_error(error: Exception, tries: int | None, shared: bool) -> None:
    verdicts = [retry.after(error, tried, POLICY, least).verdict for tried in range(1, 8)]
    if tries is None:
        assert verdicts == [Verdict.ABORT] * 7
    else:
        assert verdicts == [Verdict.WAIT] * tries + [Verdict.GIVE_UP] * (7 - tries)
    assert retry.after(error, 1, POLICY, least).shared is shared


@pytest.mark.parametrize("row", TABLE)
def test_the_docstring_has_the_same_row(row: str) -> None:
    assert row in " ".join((retry.__doc__ or "").split())


def test_only_a_wait_has_seconds() -> None:
    assert retry.after(Vanished("x"), 1, POLICY, most) == Next(Verdict.GIVE_UP, 0.0, False)
    assert retry.after(RunError("x"), 1, POLICY, most) == Next(Verdict.ABORT, 0.0, False)
    assert retry.after(Transient("x", status=503, retry_after=9), 6, POLICY, most) == Next(Verdict.GIVE_UP, 0.0, False)


@pytest.mark.parametrize(
    ("tried", "low", "high"), [(1, 0.25, 0.5), (2, 0.5, 1.0), (3, 1.0, 2.0), (4, 2.0, 4.0), (7, 15.0, 30.0)]
)
def test_waits_double_up_to_the_ceiling_with_jitter_over_their_upper_half(tried: int, low: float, high: float) -> None:
    policy = Policy(tries=100)
    assert retry.after(Transient("x"), tried, policy, least).seconds == low
    assert retry.after(Transient("x"), tried, policy, most).seconds == pytest.approx(high)
    assert retry.after(Transient("x"), tried, policy, lambda: 0.5).seconds == pytest.approx((low + high) / 2)


@pytest.mark.parametrize(
    ("asked", "waited"),
    [
        pytest.param(None, 0.25, id="none"),
        pytest.param(120.0, 120.0, id="obeyed"),
        pytest.param(300.0, 300.0, id="the longest"),
        pytest.param(86400.0, 300.0, id="too long"),
        pytest.param(0.0, 0.25, id="shorter than ours"),
        pytest.param(-5.0, 0.25, id="negative"),
    ],
)
@pytest.mark.parametrize("status", SHARED)
def test_retry_after_is_obeyed_within_bounds(status: int, asked: float | None, waited: float) -> None:
    assert retry.after(Transient("x", status=status, retry_after=asked), 1, POLICY, least).seconds == waited


def test_fewer_tries_than_the_doubtful_ones_count_for_them_too() -> None:
    policy = Policy(tries=1)
    assert retry.after(Broken("x"), 1, policy, least).verdict is Verdict.WAIT
    assert retry.after(Broken("x"), 2, policy, least).verdict is Verdict.GIVE_UP
    assert retry.after(Transient("x"), 1, Policy(tries=0), least).verdict is Verdict.GIVE_UP


items = st.one_of(
    st.sampled_from([Broken("x"), BadListing("x"), Vanished("x"), Refused("x"), Conflict("x"), ItemError("x")]),
    st.builds(
        lambda status, after: Transient("x", status=status, retry_after=after),
        st.none() | st.integers(400, 599),
        st.none() | st.floats(-1e6, 1e12),
    ),
)
policies = st.builds(
    Policy,
    tries=st.integers(0, 100),
    base=st.floats(0.01, 60),
    ceiling=st.floats(0.01, 600),
    longest_retry_after=st.floats(0, 3600),
    doubtful_tries=st.integers(0, 5),
)


@settings(deadline=None, max_examples=300)
@given(items, st.integers(1, 200), policies, st.floats(0, 1, exclude_max=True))
def test_a_wait_is_never_outside_its_bounds(error: ItemError, tried: int, policy: Policy, jitter: float) -> None:
    after = retry.after(error, tried, policy, lambda: jitter)
    if after.verdict is Verdict.WAIT:
        assert tried <= policy.tries
        assert min(policy.base, policy.ceiling) / 2 <= after.seconds
        assert after.seconds <= max(policy.ceiling, policy.longest_retry_after)
        if getattr(error, "retry_after", None) is None:
            assert after.seconds <= policy.ceiling
    else:
        assert after == Next(Verdict.GIVE_UP)
    assert not after.shared or getattr(error, "status", None) in SHARED


@settings(deadline=None, max_examples=200)
@given(items, policies, st.floats(0, 1, exclude_max=True))
def test_once_given_up_it_stays_so_and_waits_do_not_shrink(error: ItemError, policy: Policy, jitter: float) -> None:
    each = [retry.after(error, tried, policy, lambda: jitter) for tried in range(1, 105)]
    waits = [after.seconds for after in each if after.verdict is Verdict.WAIT]
    assert [after.verdict for after in each] == [Verdict.WAIT] * len(waits) + [Verdict.GIVE_UP] * (104 - len(waits))
    assert waits == sorted(waits)
    larger = replace(policy, tries=policy.tries + 1)
    more = [retry.after(error, tried, larger, lambda: jitter) for tried in range(1, 105)]
    assert more[: len(waits)] == each[: len(waits)]


def test_every_error_of_the_tree_has_a_verdict() -> None:
    leaves = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, Exception)]
    for leaf in leaves:
        aborts = not issubclass(leaf, ItemError)
        assert (retry.after(leaf("x"), 1, POLICY, least).verdict is Verdict.ABORT) is aborts


DATES = {"Wed, 27 Sep 2023 17:31:21 GMT": 1_695_835_881.0}


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        pytest.param("120", 120.0, id="seconds"),
        pytest.param(" 120 ", 120.0, id="seconds among spaces"),
        pytest.param("0", 0.0, id="at once"),
        pytest.param("Wed, 27 Sep 2023 17:31:21 GMT", 81.0, id="a date"),
        pytest.param("9" * 5000, 999_999_999.0, id="digits without end"),
        pytest.param("", None, id="empty"),
        pytest.param("   ", None, id="blank"),
        pytest.param("soon", None, id="nonsense"),
        pytest.param("-5", None, id="negative"),
        pytest.param("1.5", None, id="a fraction"),
        pytest.param("١٢", None, id="other digits"),
        pytest.param("²", None, id="no decimal digit"),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str, seconds: float | None) -> None:
    assert retry.retry_after_seconds(value, 1_695_835_800.0, DATES.get) == seconds


def test_a_date_that_is_past_asks_for_nothing() -> None:
    (date, moment), *_ = DATES.items()
    assert retry.retry_after_seconds(date, moment - 0.5, DATES.get) == 0.5
    assert retry.retry_after_seconds(date, moment, DATES.get) is None
    assert retry.retry_after_seconds(date, moment + 1, DATES.get) is None


def test_an_absent_date_is_not_parsed() -> None:
    def never(_text: str) -> float | None:
        raise AssertionError

    assert retry.retry_after_seconds("", 0.0, never) is None
    assert retry.retry_after_seconds("7", 0.0, never) == 7.0
