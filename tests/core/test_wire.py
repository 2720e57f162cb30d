"""What scripts read: the names and keys that were promised are there, one object a line, and no secret ever is."""

from __future__ import annotations

import json
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any, get_args, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xnat_sync.core import wire
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
)
from xnat_sync.core.model import Login, LoginKind, Secret

NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)

# Contract, section 7; and what was added since.
PROMISED = {
    "listed", "planned", "skipped", "began", "progress", "committed", "retrying", "failed", "vanished", "session_done",
    "window", "ended",
}  # fmt: skip
ADDED = {"logged_in", "warned", "extra", "trashed", "doubted", "throttled", "hooked", "waiting"}
TO_COME: set[str] = set()

# Event -> what its line says beside ``event`` and ``time``; None if it is not logged.
LINES: list[tuple[Event, str | None, dict[str, Any]]] = [
    (LoggedIn("jdoe", opened=True), "logged_in", {"user": "jdoe", "opened": True}),
    (Throttled(2, 4), "throttled", {"transfers": 2, "most": 4}),
    (Waiting("another run", 60.0), "waiting", {"message": "another run", "seconds": 60.0}),
    (Hooked("E1", "MR", 0), "hooked", {"unit": "E1", "label": "MR", "code": 0, "message": ""}),
    (
        Listed("XNAT_E1", "MR", 2, 30, 400),
        "listed",
        {"unit": "XNAT_E1", "label": "MR", "resources": 2, "files": 30, "bytes": 400},
    ),
    (
        Planned("XNAT_E1", "MR DICOM", "S1/MR/scans/4/DICOM", 3, 70, (("changed on server", 1), ("new", 2))),
        "planned",
        {
            "unit": "XNAT_E1",
            "resource": "MR DICOM",
            "folder": "S1/MR/scans/4/DICOM",
            "files": 3,
            "bytes": 70,
            "reasons": [["changed on server", 1], ["new", 2]],
        },
    ),
    (
        Skipped("XNAT_E1", "MR DICOM", "f", 4, 80, "unchanged"),
        "skipped",
        {"unit": "XNAT_E1", "resource": "MR DICOM", "folder": "f", "files": 4, "bytes": 80, "reason": "unchanged"},
    ),
    (Began(1, "MR", "zip", None), "began", {"transfer": 1, "what": "MR", "how": "zip", "bytes": None}),
    (
        Committed("XNAT_E1", "MR DICOM", "f", (("a", 10, "new"), ("é", 5, "changed on server"))),
        "committed",
        {"unit": "XNAT_E1", "resource": "MR DICOM", "folder": "f", "files": 2, "bytes": 15},
    ),
    (
        Retrying("MR", "reset", 1.5, 2),
        "retrying",
        {"what": "MR", "error": "reset", "seconds": 1.5, "tried": 2},
    ),
    (
        Failed("XNAT_E1", "MR DICOM", "a", "cut"),
        "failed",
        {"unit": "XNAT_E1", "resource": "MR DICOM", "path": "a", "error": "cut"},
    ),
    (
        Doubted("XNAT_E1", "MR DICOM", 5, 4),
        "doubted",
        {"unit": "XNAT_E1", "resource": "MR DICOM", "counted": 5, "listed": 4},
    ),
    (WindowClosed(7), "window", {"files_left": 7}),
    (
        Vanished("XNAT_E1", "MR DICOM", "a\n\u2028\ud800"),
        "vanished",
        {"unit": "XNAT_E1", "resource": "MR DICOM", "path": "a\n\u2028\ud800"},
    ),
    (
        SessionDone("XNAT_E1", "MR", "S1/MR", complete=True, changed=2),
        "session_done",
        {"unit": "XNAT_E1", "label": "MR", "folder": "S1/MR", "complete": True, "changed": 2},
    ),
    (Ended(4, "vanished", "why"), "ended", {"code": 4, "name": "vanished", "message": "why"}),
    (Warned("the token ends"), "warned", {"message": "the token ends"}),
    (
        Extra("XNAT_E1", "MR DICOM", "a", 7),
        "extra",
        {"unit": "XNAT_E1", "resource": "MR DICOM", "path": "a", "bytes": 7},
    ),
    (Trashed("XNAT_E1", "S1/a", 7), "trashed", {"unit": "XNAT_E1", "path": "S1/a", "bytes": 7}),
    (Found("P1", 5), None, {}),
    (ListingEnded(), None, {}),
    (Progress(1, 50), None, {}),
    (Finished(1), None, {}),
    (Landed(2, 60), None, {}),
    (Again(9), None, {}),
    (SecondPass(("XNAT_E1",)), None, {}),
]


@pytest.mark.parametrize(("event", "name", "said"), LINES, ids=[type(event).__name__ for event, _, _ in LINES])
def test_an_event_is_one_object_on_one_line(event: Event, name: str | None, said: dict[str, Any]) -> None:
    line = wire.json_line(event, NOW)
    if name is None:
        assert line is None
        return
    assert line is not None
    assert line.isascii()
    assert "\n" not in line
    made = json.loads(line)
    assert list(made)[:2] == ["event", "time"]
    assert made == {"event": name, "time": "2026-01-02T03:04:05.678Z"} | said


def test_every_kind_of_event_is_in_the_table() -> None:
    assert {type(event) for event, _, _ in LINES} == set(get_args(Event))


def test_every_name_is_promised_and_every_promise_kept() -> None:
    logged = {name for _, name, _ in LINES if name is not None}
    logged.add(json.loads(wire.progress_line(Tally(), NOW))["event"])
    assert logged <= PROMISED | ADDED
    assert PROMISED - logged <= TO_COME


def test_the_name_and_the_time_are_never_overwritten_by_a_field() -> None:
    for kind in get_args(Event):
        assert not {"event", "time"} & {field.name for field in fields(kind)}


@settings(deadline=None)
@given(st.text() | st.just("\ud800\udc00"), st.datetimes(timezones=st.just(UTC)))
def test_no_name_of_the_server_breaks_a_line(text: str, now: datetime) -> None:
    for event in (Failed(text, text, text, text), Committed(text, text, text, ((text, 1, text),))):
        line = wire.json_line(event, now)
        assert line is not None
        assert len(line.splitlines()) == 1
        assert set(json.loads(line)) >= {"event", "time"}
        assert line.encode("utf-8")


def test_no_event_can_hold_a_secret_and_none_would_be_written() -> None:
    for kind in get_args(Event):
        hints = get_type_hints(kind)
        assert not any("Secret" in str(hint) or hint is Login for hint in hints.values())
    leak = LoggedIn(Secret("0123ABCD"), opened=True)  # type: ignore[arg-type]
    with pytest.raises(TypeError) as error:
        wire.json_line(leak, NOW)
    assert "0123ABCD" not in str(error.value)
    login = Login(LoginKind.PASSWORD, "jdoe", Secret("0123ABCD"))
    assert "0123ABCD" not in f"{login} {login!r} {login.secret} {login.secret!r}"


@pytest.mark.parametrize(
    ("now", "text"),
    [
        (NOW, "2026-01-02T03:04:05.678Z"),
        (NOW.replace(microsecond=0), "2026-01-02T03:04:05.000Z"),
        (NOW.replace(microsecond=999_999), "2026-01-02T03:04:05.999Z"),
    ],
)
def test_times_are_utc_in_iso_8601_to_the_millisecond(now: datetime, text: str) -> None:
    assert wire.stamp(now) == text


def full() -> Tally:
    tally = Tally()
    for event in (
        LoggedIn("jdoe", opened=True),
        Found("P1", 3),
        Listed("E1", "MR", 2, 30, 400),
        Listed("E2", "MR", 2, 1, 2),
        ListingEnded(),
        Planned("E1", "r", "f", 11, 90, ()),
        Skipped("E1", "r", "f", 4, 80, "unchanged"),
        Progress(1, 95),
        Landed(7, 65),
        Again(9),
        Committed("E1", "r", "f", (("a", 10, "new"), ("b", 20, "missing here"), ("c", 40, "changed on server"))),
        Committed("E1", "r", "f", (("h", 10, "moved here"),)),
        Extra("E1", "r", "i", 5),
        Trashed("E1", "S1/i", 5),
        Retrying("r", "reset", 1.0, 1),
        Retrying("r", "reset", 2.0, 2),
        Hooked("E1", "MR", 0),
        Hooked("E1", "MR", 1, "ended with 1"),
        Vanished("E1", "r", "d"),
        Failed("E1", "r", "e", "cut"),
        Failed("E1", "r", "", "cut"),
        SessionDone("E2", "MR", "S1/MR", complete=True, changed=0),
    ):
        tally.apply(event)
    return tally


def test_a_progress_line_has_totals() -> None:
    line = wire.progress_line(full(), NOW)
    assert "\n" not in line
    assert json.loads(line) == {
        "event": "progress",
        "time": "2026-01-02T03:04:05.678Z",
        "files": 7,
        "bytes": 65,
        "files_planned": 11,
        "bytes_planned": 90,
        "listing_complete": True,
    }


def test_the_summary_has_every_number_in_its_place() -> None:
    made = wire.summary(
        full(),
        Exit.INCOMPLETE,
        "two files failed",
        project="P1",
        seconds=12.34567,
        requests=17,
        started=NOW,
        version="0.1.0",
    )
    assert made == {
        "xnat_sync": "0.1.0",
        "project": "P1",
        "code": 3,
        "name": "incomplete",
        "message": "two files failed",
        "started": "2026-01-02T03:04:05.678Z",
        "seconds": 12.346,
        "user": "jdoe",
        "sessions_opened": 1,
        "requests": 17,
        "units": 3,
        "units_listed": 2,
        "units_complete": 1,
        "listing_complete": True,
        "files": {
            "listed": 31,
            "new": 2,
            "changed": 1,
            "moved": 1,
            "skipped": 4,
            "extra": 1,
            "trashed": 1,
            "vanished": 1,
            "failed": 2,
        },
        "bytes": {"listed": 402, "new": 30, "changed": 40, "skipped": 80, "received": 95, "again": 9},
        "retries": 2,
        "hooks": {"run": 2, "failed": 1},
        "missing": ["r: e: cut", "r: all of it: cut", "r: d: vanished on the server"],
    }
    assert json.loads(json.dumps(made)) == made
    assert type(made["code"]) is int


def test_the_summary_names_a_hundred_of_each_kind_of_what_is_missing() -> None:
    tally = Tally()
    for at in range(150):
        tally.apply(Failed("E1", "r", f"f{at}", "cut"))
        tally.apply(Vanished("E1", "r", f"v{at}"))
    made = wire.summary(tally, Exit.INCOMPLETE, "", project="P1", seconds=0, requests=0, started=NOW, version="0.1.0")
    assert made["missing"] == [
        *(f"r: f{at}: cut" for at in range(100)),
        *(f"r: v{at}: vanished on the server" for at in range(100)),
    ]
    assert (made["files"]["failed"], made["files"]["vanished"]) == (150, 150)


def test_a_run_that_did_nothing_has_a_summary_of_zeros() -> None:
    tally = Tally()
    made = wire.summary(tally, Exit.LOGIN, "refused", project="P1", seconds=0, requests=0, started=NOW, version="0.1.0")
    assert set(made["files"].values()) == set(made["bytes"].values()) == {0}
    assert (made["code"], made["name"], made["user"]) == (6, "login", "")
    assert tally == Tally()


def test_the_summary_of_all_adds_up() -> None:
    one = wire.summary(
        full(), Exit.INCOMPLETE, "", project="P1", seconds=1.5, requests=17, started=NOW, version="0.1.0"
    )
    two = wire.summary(Tally(), Exit.OK, "", project="P2", seconds=2.25, requests=3, started=NOW, version="0.1.0")
    made = wire.summary_of_all([one, two], 3, Exit.INCOMPLETE)
    assert (made["code"], made["name"], made["projects_asked"], made["projects_complete"]) == (3, "incomplete", 3, 1)
    assert (made["requests"], made["seconds"], made["projects"]) == (20, 3.75, [one, two])
    assert made["files"] == one["files"]
    assert made["bytes"] == one["bytes"]
