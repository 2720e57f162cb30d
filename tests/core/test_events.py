"""What a run adds up to: each event's share, no file counted twice, and the one code that follows from it all."""

from __future__ import annotations

from collections import Counter
from dataclasses import fields
from itertools import combinations, permutations, product
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xnat_sync.core import errors, events
from xnat_sync.core.events import (
    Again,
    Began,
    Committed,
    Doubted,
    Ended,
    Event,
    Exit,
    Extra,
    Failed,
    Finished,
    Found,
    Hooked,
    Landed,
    Listed,
    ListingEnded,
    LoggedIn,
    Outcome,
    Planned,
    Progress,
    Retrying,
    SecondPass,
    SessionDone,
    Skipped,
    Tally,
    Throttled,
    Trashed,
    Vanished,
    Waiting,
    Warned,
    WindowClosed,
    exit_code,
)


def tally_of(*each: Event) -> Tally:
    tally = Tally()
    for event in each:
        tally.apply(event)
    return tally


def changed(tally: Tally) -> dict[str, Any]:
    """What differs from a new tally."""
    fresh = Tally()
    return {
        field.name: getattr(tally, field.name)
        for field in fields(Tally)
        if getattr(tally, field.name) != getattr(fresh, field.name)
    }


SHARES: list[tuple[Event, dict[str, Any]]] = [
    (LoggedIn("jdoe", opened=True), {"user": "jdoe", "sessions_opened": 1}),
    (LoggedIn("jdoe", opened=False), {"user": "jdoe"}),
    (Warned("the token ends"), {}),
    (Found("P1", 5), {"units": 5}),
    (Listed("E1", "MR", 2, 30, 400), {"units_listed": {"E1"}, "files_listed": 30, "bytes_listed": 400}),
    (ListingEnded(), {"listing_complete": True}),
    (Planned("E1", "r", "f", 3, 70, (("new", 3),)), {"files_planned": 3, "bytes_planned": 70}),
    (
        Skipped("E1", "r", "f", 4, 80, "unchanged"),
        {"files": Counter(skipped=4), "bytes": Counter(skipped=80)},
    ),
    (Began(1, "MR", "zip", 70), {}),
    (Progress(1, 50), {"bytes_received": 50}),
    (Finished(1), {}),
    (Landed(2, 60), {"files_landed": 2, "bytes_landed": 60}),
    (Again(9), {"bytes_again": 9}),
    (
        Committed("E1", "r", "f", (("a", 1, "new"), ("b", 2, "missing here"), ("c", 4, "changed on server"))),
        {"files_committed": 3, "files": Counter(new=2, changed=1), "bytes": Counter(new=3, changed=4)},
    ),
    (
        Committed("E1", "r", "f", (("a", 1, "overwritten"), ("b", 2, "no digest to compare by"))),
        {"files_committed": 2, "files": Counter(changed=2), "bytes": Counter(changed=3)},
    ),
    (
        Committed("E1", "r", "f", (("a", 1, "moved here"),)),
        {"files_committed": 1, "files": Counter(moved=1), "bytes": Counter(moved=1)},
    ),
    (Extra("E1", "r", "a", 7), {"files": Counter(extra=1), "bytes": Counter(extra=7)}),
    (Trashed("E1", "a", 7), {"files": Counter(trashed=1), "bytes": Counter(trashed=7)}),
    (Retrying("MR", "reset", 1.5, 1), {"retries": 1}),
    (Throttled(2, 4), {}),
    (Waiting("another run holds it", 60.0), {}),
    (Hooked("E1", "MR", 0), {"hooks_run": 1}),
    (Hooked("E1", "MR", 3, "ended with 3"), {"hooks_run": 1, "hooks_failed": 1}),
    (Failed("E1", "r", "a", "cut"), {"failed": {("E1", "r", "a"): "cut"}}),
    (Doubted("E1", "r", 5, 4), {}),
    (WindowClosed(3), {}),
    (Vanished("E1", "r", "a"), {"vanished": {("E1", "r", "a"): None}}),
    (SessionDone("E1", "MR", "S1/MR", complete=True, changed=1), {"sessions_complete": 1}),
    (SessionDone("E1", "MR", "S1/MR", complete=False, changed=1), {}),
    (SecondPass(("E1",)), {}),
    (Ended(0, "ok"), {}),
]


@pytest.mark.parametrize(("event", "share"), SHARES, ids=lambda value: type(value).__name__)
def test_each_event_adds_its_share_and_nothing_else(event: Event, share: dict[str, Any]) -> None:
    assert changed(tally_of(event)) == share


def test_every_kind_of_event_is_in_the_table() -> None:
    assert {type(event) for event, _ in SHARES} == set(get_args(Event))


@pytest.mark.parametrize(
    ("event", "share"),
    [(event, share) for event, share in SHARES if not isinstance(event, LoggedIn | Failed | Vanished)],
    ids=lambda value: type(value).__name__,
)
def test_shares_of_events_add_up(event: Event, share: dict[str, Any]) -> None:
    def twice(value: Any) -> Any:
        if isinstance(value, Counter):
            return value + value
        return value if isinstance(value, bool | set) else 2 * value

    assert changed(tally_of(event, event)) == {name: twice(value) for name, value in share.items()}


def test_sessions_opened_anew_are_counted() -> None:
    tally = tally_of(LoggedIn("jdoe", opened=True), LoggedIn("jdoe", opened=False), LoggedIn("jdoe", opened=True))
    assert tally.sessions_opened == 2


def test_the_same_failure_counts_once_with_its_last_reason() -> None:
    tally = tally_of(Failed("E1", "r", "a", "reset"), Failed("E1", "r", "a", "cut"), Failed("E1", "r", "", "no list"))
    assert tally.failed == {("E1", "r", "a"): "cut", ("E1", "r", ""): "no list"}
    assert len(tally_of(Vanished("E1", "r", "a"), Vanished("E1", "r", "a")).vanished) == 1


# -- a second pass ----------------------------------------------------------------------------------------------


def a_pass(unit: str) -> list[Event]:
    return [
        Listed(unit, unit, 1, 10, 100),
        Skipped(unit, "r", "f", 4, 40, "unchanged"),
        Planned(unit, "r", "f", 6, 60, (("new", 6),)),
    ]


def test_what_a_second_pass_lists_again_is_counted_once() -> None:
    once = tally_of(*a_pass("E1"), *a_pass("E2"))
    again = tally_of(*a_pass("E1"), *a_pass("E2"), SecondPass(("E1",)), *a_pass("E1"))
    for name in ("files_listed", "bytes_listed", "files_planned", "bytes_planned", "files", "bytes", "units_listed"):
        assert getattr(again, name) == getattr(once, name)


def test_a_unit_that_is_listed_in_the_second_pass_only_is_counted_there() -> None:
    failed = Failed("E1", "MR", "", "no listing")
    tally = tally_of(failed, *a_pass("E2"), SecondPass(("E1",)), *a_pass("E1"))
    expected = tally_of(*a_pass("E2"), *a_pass("E1"), SecondPass(("E1",)))
    assert changed(tally) | {"units_again": None} == changed(expected) | {"units_again": None}


def test_failures_so_far_of_a_unit_that_is_tried_again_do_not_count() -> None:
    events_: list[Event] = [
        Failed("E1", "r", "a", "reset"),
        Failed("E1", "", "", "reset"),
        Failed("E2", "r", "a", "reset"),
        Vanished("E1", "r", "b"),
        Vanished("E2", "r", "b"),
    ]
    tally = tally_of(*events_, SecondPass(("E1", "E3")))
    assert tally.failed == {("E2", "r", "a"): "reset"}
    assert tally.vanished == {("E2", "r", "b"): None}
    tally.apply(Failed("E1", "r", "a", "cut"))
    assert tally.failed[("E1", "r", "a")] == "cut"


def test_what_the_second_pass_brings_counts() -> None:
    tally = tally_of(
        *a_pass("E1"),
        Committed("E1", "r", "f", (("a", 10, "new"),)),
        SecondPass(("E1",)),
        *a_pass("E1"),
        Committed("E1", "r", "f", (("b", 10, "new"),)),
        SessionDone("E1", "MR", "S1/MR", complete=True, changed=1),
    )
    assert (tally.files_committed, tally.files["new"], tally.sessions_complete) == (2, 2, 1)


@pytest.mark.parametrize(
    ("before", "again", "landed"),
    [(True, ("E1",), 1), (False, ("E1",), 2), (True, ("E2",), 2)],
    ids=["found in staging by both passes", "brought by the second", "of a unit that has one pass only"],
)
def test_what_landed_before_the_run_is_counted_in_one_pass_only(
    before: bool, again: tuple[str, ...], landed: int
) -> None:
    found = Landed(1, 10, "E1", before=before)
    tally = tally_of(*a_pass("E1"), Landed(1, 10, "E1", before=True), SecondPass(again), found)
    assert (tally.files_landed, tally.bytes_landed) == (landed, 10 * landed)


units = st.sampled_from(["E1", "E2", "E3"])
counts = st.integers(0, 100)
told = st.one_of(
    st.builds(Listed, units, units, counts, counts, counts),
    st.builds(Planned, units, units, units, counts, counts, st.just(())),
    st.builds(Skipped, units, units, units, counts, counts, st.just("unchanged")),
    st.builds(Extra, units, units, units, counts),
    st.builds(Failed, units, units, units, units),
    st.builds(Vanished, units, units, units),
)


@settings(deadline=None)
@given(st.lists(told), st.sets(units), st.lists(told))
def test_a_second_pass_adds_only_what_the_first_could_not_list(
    first: list[Event], again: set[str], second: list[Event]
) -> None:
    listed = {event.unit for event in first if isinstance(event, Listed)}
    tally = tally_of(*first, SecondPass(tuple(again)), *second)
    counted = [
        *(event for event in first if not isinstance(event, Failed | Vanished) or event.unit not in again),
        *(
            event
            for event in second
            if not isinstance(event, Listed | Planned | Skipped | Extra) or event.unit not in again & listed
        ),
    ]
    assert changed(tally) | {"units_again": None} == changed(tally_of(*counted)) | {"units_again": None}


# -- exit codes -------------------------------------------------------------------------------------------------

CODES = {
    Exit.OK: (0, "ok"),
    Exit.BUG: (1, "bug"),
    Exit.USAGE: (2, "usage"),
    Exit.INCOMPLETE: (3, "incomplete"),
    Exit.VANISHED: (4, "vanished"),
    Exit.NOT_FOUND: (5, "not-found"),
    Exit.LOGIN: (6, "login"),
    Exit.UNAVAILABLE: (7, "unavailable"),
    Exit.TRANSFER_LIMIT: (8, "transfer-limit"),
    Exit.WINDOW: (10, "window"),
    Exit.LOCKED: (11, "locked"),
    Exit.DISK: (12, "disk"),
    Exit.INTERRUPTED: (130, "interrupted"),
    Exit.TERMINATED: (143, "terminated"),
}

# The contract: signal, 1, 12, 6, 7, 3, 10, 8, 4, 0. What is true of a run -> what it says of tally and outcome.
FATAL = [Exit.BUG, Exit.DISK, Exit.LOGIN, Exit.UNAVAILABLE]
TRUE: dict[Exit, dict[str, Any]] = {
    Exit.INTERRUPTED: {"signal": 2},
    Exit.TERMINATED: {"signal": 15},
    **{code: {"fatal": code} for code in FATAL},
    Exit.INCOMPLETE: {"failed": True},
    Exit.WINDOW: {"window_closed": True},
    Exit.TRANSFER_LIMIT: {"transfer_limit": True},
    Exit.VANISHED: {"vanished": True},
}


def code_of(*true: Exit) -> Exit:
    said: dict[str, Any] = {}
    for each in true:
        said |= TRUE[each]
    tally = Tally()
    if said.pop("failed", False):
        tally.apply(Failed("E1", "r", "a", "cut"))
    if said.pop("vanished", False):
        tally.apply(Vanished("E1", "r", "b"))
    return exit_code(tally, Outcome(**said))


def test_codes_and_names_are_those_of_the_manual() -> None:
    assert {code: (int(code), code.label) for code in Exit} == CODES


def test_a_run_of_which_nothing_is_true_is_ok() -> None:
    assert code_of() is Exit.OK
    assert (
        exit_code(tally_of(*(event for event, _ in SHARES if not isinstance(event, Failed | Vanished))), Outcome())
        is Exit.OK
    )


@pytest.mark.parametrize("code", TRUE, ids=lambda code: code.label)
def test_one_thing_alone_gives_its_code(code: Exit) -> None:
    assert code_of(code) is code


PAIRS = [(high, low) for high, low in combinations(TRUE, 2) if TRUE[high].keys() != TRUE[low].keys()]


@pytest.mark.parametrize(("high", "low"), PAIRS, ids=[f"{high.label} over {low.label}" for high, low in PAIRS])
def test_of_two_things_the_graver_gives_its_code(high: Exit, low: Exit) -> None:
    assert code_of(high, low) is high
    assert code_of(low, high) is high


def test_of_all_things_that_may_be_true_at_once_the_gravest_gives_its_code() -> None:
    order = list(TRUE)
    flags = [Exit.INCOMPLETE, Exit.WINDOW, Exit.TRANSFER_LIMIT, Exit.VANISHED]
    for signal, fatal, *chosen in product(
        (None, Exit.INTERRUPTED, Exit.TERMINATED), (None, *FATAL), *((None, flag) for flag in flags)
    ):
        true = [each for each in (signal, fatal, *chosen) if each is not None]
        assert code_of(*true) is min(true, key=order.index, default=Exit.OK)


@pytest.mark.parametrize("code", [Exit.USAGE, Exit.NOT_FOUND, Exit.LOCKED], ids=lambda code: code.label)
def test_codes_that_occur_alone_stand_against_all_but_signals_and_bugs(code: Exit) -> None:
    assert exit_code(Tally(), Outcome(fatal=code)) is code
    assert exit_code(tally_of(Failed("E1", "r", "a", "cut")), Outcome(fatal=code, window_closed=True)) is code
    assert exit_code(Tally(), Outcome(fatal=code, signal=2)) is Exit.INTERRUPTED


def test_a_signal_that_has_no_code_changes_nothing() -> None:
    assert exit_code(Tally(), Outcome(signal=1)) is Exit.OK


def test_every_code_but_ok_has_its_rank() -> None:
    assert sorted(events.PRECEDENCE) == sorted(set(Exit) - {Exit.OK})
    ranks = [code for code in events.PRECEDENCE if code in TRUE]
    assert ranks == list(TRUE)


def test_of_several_projects_the_gravest_code_is_the_runs() -> None:
    assert sorted(Exit, key=events.severity) == [*events.PRECEDENCE, Exit.OK]


def test_every_error_that_ends_a_run_has_a_code_of_the_manual() -> None:
    leaves = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, errors.RunError)]
    assert {leaf.__name__: Exit(leaf.exit_code) for leaf in leaves} == {
        "RunError": Exit.BUG,
        "Locked": Exit.LOCKED,
        "UsageError": Exit.USAGE,
        "NotVisible": Exit.NOT_FOUND,
        "LoginRefused": Exit.LOGIN,
        "TokenEnded": Exit.LOGIN,
        "SessionEnded": Exit.LOGIN,
        "ServerUnavailable": Exit.UNAVAILABLE,
        "DiskTrouble": Exit.DISK,
        "Interrupted": Exit.INTERRUPTED,
    } | {leaf.__name__: Exit(leaf.exit_code) for leaf in leaves if leaf.__name__ not in (errors.__doc__ or "")}


def test_the_order_of_events_does_not_change_the_code() -> None:
    each: list[Event] = [Failed("E1", "r", "a", "cut"), Vanished("E1", "r", "b"), ListingEnded()]
    assert {exit_code(tally_of(*order), Outcome()) for order in permutations(each)} == {Exit.INCOMPLETE}
