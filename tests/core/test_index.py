"""What need not be listed again: only what was seen whole, stands where it stood, and says it is unchanged."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xnat_sync.core import index
from xnat_sync.core.index import Seen
from xnat_sync.core.model import Unit, UnitKind, stays_within

DAY = 86400.0
SEEN = Seen("XNAT_E1", "experiment", "S1_MR1", "S1", "S1/S1_MR1", "2023-09-27 17:31:21", 1_700_000_000.5, 3, 5000)


def seen(unit: str, listed: float = 0.0) -> Seen:
    return replace(SEEN, id=unit, listed=listed)


# -- lines ------------------------------------------------------------------------------------------------------

texts = st.text(max_size=8)
anything_seen = st.builds(
    Seen, texts, texts, texts, texts, texts.filter(stays_within), texts,
    st.floats(-1e12, 1e12) | st.integers(-(10**12), 10**12), st.integers(), st.integers(),
)  # fmt: skip


def test_a_line_is_json_that_a_person_can_read() -> None:
    assert index.line(SEEN) == json.dumps(asdict(SEEN), separators=(",", ":")) + "\n"
    assert list(json.loads(index.line(SEEN))) == [
        "id", "kind", "label", "subject", "folder", "last_modified", "listed", "files", "bytes",
    ]  # fmt: skip
    assert index.gone_line("E1") == '{"id":"E1","gone":true}\n'


@settings(deadline=None)
@given(st.lists(anything_seen, max_size=6))
def test_what_was_written_is_read_again_and_later_lines_win(each: list[Seen]) -> None:
    expected = {one.id: one for one in each}
    found = index.replay("".join(map(index.line, each)))
    assert found == expected
    short = index.compacted(found.values())
    assert index.replay(short) == expected
    assert short.count("\n") == len(expected)
    assert list(index.replay(short)) == sorted(expected)


def test_what_is_gone_is_unknown_until_it_is_seen_again() -> None:
    one, two = seen("E1"), seen("E2")
    text = index.line(one) + index.line(two) + index.gone_line("E1")
    assert index.replay(text) == {"E2": two}
    assert index.replay(index.gone_line("E3") + text + index.line(one)) == {"E2": two, "E1": one}


GOOD = asdict(SEEN)
DAMAGED: dict[str, str] = {
    "no JSON": "{",
    "zeros of a power cut": "\0" * 9,
    "a number": "5",
    "null": "null",
    "a list": "[]",
    "nested without end": "[" * 100_000,
    "a number without end": "9" * 5000,
    "gone, but what": '{"gone":true}',
    "gone, of no name": '{"gone":true,"id":[]}',
    "half a line": index.line(SEEN)[:-9],
    **{f"lacks {key}": json.dumps({k: v for k, v in GOOD.items() if k != key}) for key in GOOD},
    **{f"{key} is null": json.dumps(GOOD | {key: None}) for key in GOOD},
    **{f"{key} is a list": json.dumps(GOOD | {key: [1]}) for key in GOOD},
    "files are half": json.dumps(GOOD | {"files": 1.5}),
    "listed at no time": json.dumps(GOOD | {"listed": float("nan")}),
    "listed at the end of time": json.dumps(GOOD | {"listed": float("inf")}),
    "listed before all time": json.dumps(GOOD | {"listed": -float("inf")}),
    "listed beyond all measure": json.dumps(GOOD | {"listed": 1 << 62}),
}


@pytest.mark.parametrize("line", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_line_costs_itself_only(line: str) -> None:
    before, after = seen("E1"), seen("E2")
    assert index.replay(f"{index.line(before)}{line}\n{index.line(after)}") == {"E1": before, "E2": after}


def test_what_a_newer_version_adds_is_passed_over() -> None:
    assert index.replay(json.dumps(GOOD | {"colour": "blue", "gone": False})) == {SEEN.id: SEEN}
    assert index.replay(json.dumps(GOOD | {"listed": (1 << 62) - 1})) != {}


# -- what is due ------------------------------------------------------------------------------------------------

NIGHTLY = [seen(f"E{day}", day * DAY) for day in range(7)]  # one listed each night of a week


@pytest.mark.parametrize(
    ("found", "now", "relist_after", "ids"),
    [
        pytest.param([], 0, 7 * DAY, [], id="nothing is known"),
        pytest.param([seen("E1")], 7 * DAY, 7 * DAY, ["E1"], id="listed as long ago as may be"),
        pytest.param([seen("E1")], 0, 7 * DAY, [], id="listed just now"),
        pytest.param([seen("E1", 1)], 0, 7 * DAY, ["E1"], id="listed in the future, as the clock was set back"),
        pytest.param([seen("E1"), seen("E2")], 0, 0, ["E1", "E2"], id="all, always"),
        pytest.param([seen("E1", 5)], 0, -1, ["E1"], id="all, also those of the future"),
        pytest.param(NIGHTLY, 7 * DAY, 7 * DAY, ["E0", "E1"], id="the one too old, and a night's share of the others"),
        pytest.param(
            [seen("E1", 2 * DAY), seen("E2", DAY), seen("E3", 3 * DAY)],
            4 * DAY,
            5 * DAY,
            [],
            id="no whole share of three",
        ),
        pytest.param(
            [seen("E1", 2 * DAY), seen("E2", DAY), seen("E3", 3 * DAY)], 5 * DAY, 6 * DAY, ["E2"], id="the oldest first"
        ),
        pytest.param(NIGHTLY, 6 * DAY, 7 * DAY, [], id="no time has passed since the newest"),
        pytest.param(NIGHTLY, 6.999 * DAY, 7 * DAY, [], id="not a whole share yet"),
        pytest.param(NIGHTLY, 6.5 * DAY, 3 * DAY, ["E0", "E1", "E2", "E3", "E4"], id="the share counts all"),
        pytest.param(
            [seen("E2"), seen("E1"), seen("E3")], 1 * DAY, 3 * DAY, ["E1"], id="of equal age, in the order of ids"
        ),
    ],
)
def test_what_is_due(found: list[Seen], now: float, relist_after: float, ids: list[str]) -> None:
    assert sorted(index.due(found, now, relist_after)) == ids
    assert sorted(index.due(reversed(found), now, relist_after)) == ids


@settings(deadline=None)
@given(st.integers(1, 40), st.integers(1, 12))
def test_a_run_each_night_lists_each_unit_within_the_time(count: int, nights: int) -> None:
    found = {f"E{number:02}": seen(f"E{number:02}", 0.0) for number in range(count)}
    for night in range(1, 3 * nights + 1):
        now = night * DAY
        found |= {unit: seen(unit, now) for unit in index.due(found.values(), now, nights * DAY)}
        assert all(now - each.listed < nights * DAY for each in found.values())


# -- what need not be listed ------------------------------------------------------------------------------------

PROJECT = Unit(UnitKind.PROJECT, "P1", "P1", "P1", "")
SUBJECT, OTHER = (Unit(UnitKind.SUBJECT, "P1", f"XNAT_S{n}", f"S{n}", f"S{n}", f"S{n}", f"XNAT_S{n}") for n in (1, 2))
ONE, TWO, THREE = (
    Unit(UnitKind.EXPERIMENT, "P1", f"XNAT_E{n}", f"MR{n}", f"S{s}/MR{n}", f"S{s}", f"XNAT_S{s}", f"day {n}")
    for n, s in ((1, 1), (2, 1), (3, 2))
)  # fmt: skip
UNITS = (PROJECT, SUBJECT, OTHER, ONE, TWO, THREE)
ALL = {unit.id for unit in UNITS}


def known(*units: Unit) -> dict[str, Seen]:
    return {unit.id: replace(SEEN, id=unit.id, folder=unit.folder, last_modified=unit.last_modified) for unit in units}


def changed(one: Unit, **what: Any) -> list[Unit]:
    return [replace(unit, **what) if unit is one else unit for unit in UNITS]


@pytest.mark.parametrize(
    ("units", "found", "again", "listed"),
    [
        pytest.param(UNITS, known(*UNITS), (), set(), id="nothing has changed"),
        pytest.param(UNITS, {}, (), ALL, id="nothing is known"),
        pytest.param(changed(ONE, last_modified="day 9"), known(*UNITS), (),
                     {ONE.id, SUBJECT.id, PROJECT.id}, id="an experiment changed: its subject and the project as well"),
        pytest.param(changed(THREE, folder="S2/other"), known(*UNITS), (),
                     {THREE.id, OTHER.id, PROJECT.id}, id="an experiment lies elsewhere now"),
        pytest.param(changed(ONE, last_modified=""), known(*changed(ONE, last_modified="")), (),
                     {ONE.id, SUBJECT.id, PROJECT.id}, id="an experiment without a date is never unchanged"),
        pytest.param(UNITS, known(PROJECT, SUBJECT, OTHER, ONE, TWO), (),
                     {THREE.id, OTHER.id, PROJECT.id}, id="an experiment is new"),
        pytest.param(UNITS, known(*UNITS), (TWO.id,),
                     {TWO.id, SUBJECT.id, PROJECT.id}, id="an experiment is due"),
        pytest.param(UNITS, known(*UNITS), (SUBJECT.id,), {SUBJECT.id}, id="a subject is due, which says nothing"),
        pytest.param(UNITS, known(*UNITS), (PROJECT.id,), {PROJECT.id}, id="the project is due"),
        pytest.param(changed(SUBJECT, folder="S1x"), known(*UNITS), (), {SUBJECT.id}, id="a subject lies elsewhere"),
        pytest.param([PROJECT, SUBJECT], known(*UNITS), (), set(), id="experiments that are not asked for"),
    ],
)  # fmt: skip
def test_what_is_listed_and_what_is_not(
    units: list[Unit], found: dict[str, Seen], again: tuple[str, ...], listed: set[str]
) -> None:
    assert {unit.id for unit in units} - index.current(units, found, frozenset(again)) == listed
    assert index.current(iter(units), found, frozenset(again)) <= {unit.id for unit in units}
