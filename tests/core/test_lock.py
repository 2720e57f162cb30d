"""The record of a lock, and when it counts no more: the docstring's table, and that nothing is made up."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from xnat_sync.core import lock
from xnat_sync.core.lock import BEAT, LEASE, LIMIT, REBOOT, SIZE, Holder, Rival, Standing

ME = Holder("node7", 123, "boot-1", "machine-1", "pid:[1]", 4711, "0" * 32, 1_795_395_600.5, 1_795_395_630.25)
THEIRS = replace(ME, pid=99, born=8, token="f" * 32)
BOOTED = replace(THEIRS, boot="boot-0")
ELSEWHERE = replace(THEIRS, host="node8", boot="boot-8", machine="machine-8")


# -- the record ----------------------------------------------------------------------------------------------------

texts = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=64)
moments = st.integers(0, 253402300799) | st.floats(0, 253402300799)
holders = st.builds(
    Holder,
    host=texts,
    pid=st.integers(1, (1 << 31) - 1),
    boot=texts,
    machine=texts,
    namespace=texts,
    born=st.integers(0, (1 << 63) - 1),
    token=st.text("0123456789abcdef", min_size=32, max_size=32),
    started=moments,
    heartbeat=moments,
    released=st.booleans(),
)
FULLEST = Holder(
    '"' * 64, (1 << 31) - 1, "\\" * 64, '"' * 64, "\\" * 64, (1 << 63) - 1, "f" * 32, *2 * (math.pi * 10,), True
)


@settings(deadline=None)
@given(holder=holders)
@example(holder=FULLEST)
def test_a_record_is_read_as_it_was_written_and_is_always_as_long(holder: Holder) -> None:
    data = lock.encode(holder)
    assert lock.decode(data) == holder
    assert len(data) == SIZE
    assert data.endswith(b"\n")
    assert data.count(b"\n") == 1


def test_a_record_is_json_that_a_person_can_read() -> None:
    assert json.loads(lock.encode(ME)) == {
        "host": "node7",
        "pid": 123,
        "boot": "boot-1",
        "machine": "machine-1",
        "namespace": "pid:[1]",
        "born": 4711,
        "token": "0" * 32,
        "started": 1_795_395_600.5,
        "heartbeat": 1_795_395_630.25,
        "released": False,
    }


def test_a_later_version_may_say_more() -> None:
    assert lock.decode(json.dumps(asdict(ME) | {"purpose": [1]}).encode()) == ME


STRANGE: list[tuple[str, object]] = [
    ("host", 5),
    ("host", None),
    ("host", "a\nb"),
    ("host", "\x1b[2J"),
    ("host", "ü"),
    ("host", "a" * 65),
    ("pid", 0),
    ("pid", -1),
    ("pid", True),
    ("pid", 12.0),
    ("pid", "12"),
    ("pid", 1 << 31),
    ("boot", []),
    ("machine", {}),
    ("namespace", 0),
    ("born", -1),
    ("born", 1 << 63),
    ("born", False),
    ("born", 0.5),
    ("token", "F" * 32),
    ("token", "f" * 31),
    ("token", "f" * 33),
    ("token", "f" * 32 + "\n"),
    ("token", "../" + "f" * 29),
    ("token", 0),
    ("started", math.nan),
    ("started", math.inf),
    ("started", -1),
    ("started", 253402300800),
    ("started", "2026-01-01"),
    ("started", True),
    ("heartbeat", None),
    ("heartbeat", 10**400),
    ("released", 0),
    ("released", None),
]


@pytest.mark.parametrize(("field", "value"), STRANGE, ids=str)
def test_a_record_that_makes_no_sense_is_none(field: str, value: object) -> None:
    assert lock.decode(json.dumps(asdict(ME) | {field: value}).encode()) is None


@pytest.mark.parametrize("field", asdict(ME))
def test_a_record_that_lacks_something_is_none(field: str) -> None:
    assert lock.decode(json.dumps({key: value for key, value in asdict(ME).items() if key != field}).encode()) is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * SIZE,
        b" " * SIZE,
        b"null",
        b"[]",
        b'"host"',
        b"12",
        b"[" * SIZE,
        b'{"a":' * (SIZE // 5),
        b"1" * SIZE,
        b"\xff\xfe",
        lock.encode(ME)[:40],
        lock.encode(ME)[1:],
        lock.encode(ME) + b" ",
        lock.encode(ME).decode().encode("utf-16"),
    ],
    ids=lambda data: repr(data[:12]),
)
def test_what_is_no_record_is_none(data: bytes) -> None:
    assert lock.decode(data) is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
records = st.fixed_dictionaries({key: json_values | st.just(value) for key, value in asdict(ME).items()})
torn = st.builds(
    lambda one, other, at: lock.encode(one)[:at] + lock.encode(other)[at:], holders, holders, st.integers(0, SIZE)
)


@settings(deadline=None, max_examples=400)
@given(data=st.binary(max_size=80) | torn | records.map(lambda record: json.dumps(record).encode()))
def test_whatever_is_read_can_be_judged_told_and_written_again(data: bytes) -> None:
    holder = lock.decode(data)
    assert lock.judge(holder, ME, runs=None, age=0, unchanged=0) in Standing
    for line in (lock.held(Rival(holder, 1.0), "/d/P", "/d/P/lock"), lock.lost(holder, "/d/P")):
        assert line.isascii()
        assert line.isprintable()
        assert len(line) < 400
    if holder is not None:
        assert lock.decode(lock.encode(holder)) == holder


@settings(deadline=None)
@given(raw=st.text(st.characters(), max_size=200))
@example(raw="node-7.example.org")
@example(raw="\udcff\x7f\0")
def test_any_host_name_fits_into_a_record(raw: str) -> None:
    holder = replace(ME, host=lock.text(raw))
    assert lock.decode(lock.encode(holder)) == holder
    assert all(kept in (given, "?") for kept, given in zip(holder.host, raw, strict=False))
    if len(raw) <= 64 and raw.isascii() and raw.isprintable():
        assert holder.host == raw


# -- the table -----------------------------------------------------------------------------------------------------

RELEASED = "released any stale"
RUNS = "its process can be seen from here, and runs any held"
IS_GONE = "its process can be seen from here, and is gone any stale"
WAS_BOOTED = "of this very machine, before it was booted anew > ``REBOOT`` stale"
BOOTS = "of this very machine, before it was booted anew else held"
SILENT = "any other, or none that can be read > ``LIMIT`` stale"
HEARD = "any other, or none that can be read else held"
AGES = (-1e9, -1.0, 0.0, 1.0, BEAT, REBOOT, REBOOT + 1, LIMIT, LIMIT + 1, 1e9)
RECORDS: dict[str, Holder | None] = {
    "none": None,
    "mine": ME,
    "here": THEIRS,
    "booted": BOOTED,
    "elsewhere": ELSEWHERE,
    "another machine of this name": replace(BOOTED, machine="machine-8"),
    "another name of this machine": replace(BOOTED, host="node8"),
    "no machine known": replace(BOOTED, machine=""),
    "no boot known": replace(BOOTED, boot=""),
    "another container here": replace(THEIRS, namespace="pid:[2]"),
}


def row(record: str, released: bool, runs: bool | None, silent: float) -> str:
    if released:
        return RELEASED
    if runs is not None and record != "none":
        return RUNS if runs else IS_GONE
    if record == "booted":
        return WAS_BOOTED if silent > REBOOT else BOOTS
    return SILENT if silent > LIMIT else HEARD


@pytest.mark.parametrize("runs", [None, True, False])
@pytest.mark.parametrize("released", [False, True])
@pytest.mark.parametrize("record", RECORDS)
def test_the_table_says_how_a_lock_stands(record: str, released: bool, runs: bool | None) -> None:
    words = " ".join((lock.__doc__ or "").split())
    other = RECORDS[record]
    if other is not None:
        other = replace(other, released=released)
    for age in AGES:
        for unchanged in (0.0, REBOOT, REBOOT + 1, LIMIT, LIMIT + 1):
            said = row(record, released and other is not None, runs, max(age, unchanged))
            assert said in words
            standing = lock.judge(other, ME, runs=runs, age=age, unchanged=unchanged)
            assert standing is Standing(said.split()[-1]), (age, unchanged)


def test_what_knows_no_machine_and_no_boot_is_no_machine_known_again() -> None:
    me, other = replace(ME, machine="", boot=""), replace(BOOTED, machine="", boot="")
    for one in (me, replace(me, boot="boot-1"), replace(me, machine="machine-1")):
        for another in (other, replace(other, boot="boot-0"), replace(other, machine="machine-1")):
            assert lock.judge(another, one, runs=None, age=LIMIT, unchanged=0) is Standing.HELD


def test_a_holder_beats_again_before_anybody_may_take_its_lock() -> None:
    assert BEAT < LEASE < REBOOT < LIMIT


@pytest.mark.parametrize(
    ("other", "seen"),
    [
        pytest.param(ME, True, id="itself"),
        pytest.param(THEIRS, True, id="another process here"),
        pytest.param(replace(THEIRS, machine=""), True, id="the machine's id does not matter"),
        pytest.param(BOOTED, False, id="of another boot"),
        pytest.param(ELSEWHERE, False, id="on another host"),
        pytest.param(replace(THEIRS, host="node8"), False, id="a clone of another name"),
        pytest.param(replace(THEIRS, namespace="pid:[2]"), False, id="in another container"),
    ],
)
def test_which_processes_can_be_seen(other: Holder, seen: bool) -> None:
    assert lock.can_see(ME, other) is seen
    assert lock.can_see(other, ME) is seen


@pytest.mark.parametrize("field", ["host", "boot", "namespace"])
def test_what_is_not_known_is_not_the_same(field: str) -> None:
    unknown: dict[str, Any] = {field: ""}
    assert not lock.can_see(replace(ME, **unknown), replace(THEIRS, **unknown))


# -- what people read ----------------------------------------------------------------------------------------------


def test_who_may_not_write_is_told_by_whom_and_what_to_do() -> None:
    assert lock.held(Rival(ME, 20.4), "/scratch/P", "/scratch/P/.xnat-sync/lock") == (
        "another run holds /scratch/P: pid 123 on host node7 since 2026-11-23 01:00 UTC, last heard of 20 s ago; "
        "wait for it with --wait-lock, or, if it is surely dead, remove /scratch/P/.xnat-sync/lock"
    )
    assert lock.held(Rival(None, 300), "/scratch/P", "FILE") == (
        "another run holds /scratch/P, and its lock does not say which, last heard of 5 min ago; "
        "wait for it with --wait-lock, or, if it is surely dead, remove FILE"
    )


@pytest.mark.parametrize(
    ("age", "words"),
    [
        (-3600.0, "0 s"),
        (0.4, "0 s"),
        (119.0, "119 s"),
        (120.0, "2 min"),
        (7199.0, "119 min"),
        (7200.0, "2 h"),
        (172799.0, "47 h"),
        (172800.0, "2 days"),
        (1e9, "11574 days"),
    ],
)
def test_how_long_ago_it_was_heard_of(age: float, words: str) -> None:
    assert f"last heard of {words} ago;" in lock.held(Rival(ME, age), "/d", "/d/lock")


def test_who_lost_the_lock_is_told_to_whom() -> None:
    assert "of /d/P was taken over by pid 123 on host node7," in lock.lost(ME, "/d/P")
    assert "of /d/P was removed or damaged" in lock.lost(None, "/d/P")
