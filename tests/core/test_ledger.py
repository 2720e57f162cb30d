"""What a ledger holds is what was written, whatever happened to its lines; nothing is ever made up."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from xnat_sync.core import ledger
from xnat_sync.core.ledger import Replay
from xnat_sync.core.model import Held, Level, Place, Resource, Unit, UnitKind
from xnat_sync.core.names import safe

MD5 = "9e107d9d372bb6826bd81d3542a419d6"
UNIT = Unit(
    UnitKind.EXPERIMENT, "P1", "XNAT_E00001", "S1_MR1", "S1/S1_MR1", subject_label="S1", last_modified="2023-09-27"
)
DICOM = Resource(UNIT, Place(Level.SCAN, "4"), "12", "DICOM", (), "scans/4/DICOM")
HEADER = ledger.header_line(UNIT)


def held(path: str, at: str | None = None, *, size: int = 5, folder: str = DICOM.folder, number: str = "12") -> Held:
    return Held(f"{folder}/{path if at is None else at}", path, size, MD5, 1_700_000_000_000_000_007, number)


def test_a_ledger_is_lines_of_json_that_a_person_can_read() -> None:
    assert json.loads(HEADER) == {
        "xnat_sync": 1,
        "unit": "experiment",
        "id": "XNAT_E00001",
        "label": "S1_MR1",
        "subject": "S1",
        "project": "P1",
        "folder": "S1/S1_MR1",
    }
    line = ledger.held_line(DICOM, [held("a.dcm"), held("b?.dcm", "b%3F.dcm")])
    assert json.loads(line) == {
        "held": "12",
        "label": "DICOM",
        "folder": "scans/4/DICOM",
        "time": "2023-09-27",
        "files": [
            {"path": "a.dcm", "size": 5, "md5": MD5, "mtime_ns": 1_700_000_000_000_000_007},
            {"path": "b?.dcm", "size": 5, "md5": MD5, "mtime_ns": 1_700_000_000_000_000_007, "at": "b%3F.dcm"},
        ],
    }
    assert json.loads(ledger.gone_line(["a", "b"])) == {"gone": ["a", "b"]}


names = st.text(min_size=1, max_size=10) | st.sampled_from(
    ["a", "A", "\ud800", "\n", "\u2028", "\x85", "a/b", '"', "\\"]
)
files = st.tuples(
    names,
    st.none() | names,
    st.integers(0, 1 << 60),
    st.text("0123456789abcdef", min_size=32, max_size=32),
    st.integers(0, (1 << 63) - 1),
)
resources = st.builds(
    lambda number, label, folder: Resource(UNIT, Place(Level.SESSION), str(number), label, (), folder),
    st.integers(0, 10**9),
    names,
    st.sampled_from(["scans/4/DICOM", "scans/4/NIFTI", "resources/x", "resources/é"]) | names.map(safe),
)


def batch(resource: Resource, rows: list[tuple[str, str | None, int, str, int]]) -> tuple[Resource, list[Held]]:
    return resource, [
        Held(f"{resource.folder}/{safe(path if at is None else at)}", path, size, md5, mtime_ns, resource.id)
        for path, at, size, md5, mtime_ns in rows
    ]


batches = st.builds(batch, resources, st.lists(files, max_size=4))


@settings(deadline=None)
@given(st.lists(batches, max_size=4))
def test_what_was_written_is_read_again_exactly(written: list[tuple[Resource, list[Held]]]) -> None:
    lines = [HEADER, *(ledger.held_line(resource, each) for resource, each in written)]
    assert all(line.isascii() and line.endswith("\n") and line.count("\n") == 1 for line in lines)
    state = ledger.replay("".join(lines))
    assert state.files == {each.at: each for _, batch in written for each in batch}
    assert (state.folder, state.lines, state.damaged) == (UNIT.folder, len(lines), 0)
    assert state.bytes == sum(each.size for each in state.files.values())


def test_a_ledger_of_no_line_holds_nothing() -> None:
    assert ledger.replay("") == Replay(folder=None, files={}, lines=0, damaged=0)
    assert ledger.replay("\n \n\r\n") == Replay()
    assert Replay().bytes == 0


def test_the_labels_of_resources_and_the_id_of_the_unit_are_known_again() -> None:
    other = Resource(UNIT, Place(Level.SESSION), "13", "LOGS", (), "resources/LOGS")
    state = ledger.replay(HEADER + ledger.held_line(DICOM, [held("a")]) + ledger.held_line(other, []))
    assert (state.unit, state.labels) == (UNIT.id, {"12": "DICOM", "13": "LOGS"})


def test_files_without_a_folder_of_their_own_lie_in_the_units() -> None:
    record = Resource(UNIT, Place(Level.SESSION), "", "", (), "")
    one = Held("experiment.json", "experiment.json", 5, MD5, 7, "")
    other = Held("x.json", "y.json", 5, MD5, 7, "")
    assert ledger.replay(ledger.held_line(record, [one, other])).files == {one.at: one, other.at: other}


def test_later_lines_win() -> None:
    first, second = held("a", size=1), held("a", size=2)
    other = Unit(UnitKind.EXPERIMENT, "P1", UNIT.id, "renamed", "S1/renamed")
    text = HEADER + ledger.held_line(DICOM, [first]) + ledger.held_line(DICOM, [second]) + ledger.header_line(other)
    state = ledger.replay(text)
    assert state.files == {second.at: second}
    assert state.folder == "S1/renamed"


def test_what_is_gone_is_held_no_more_until_it_is_held_again() -> None:
    a, b = held("a"), held("b")
    text = HEADER + ledger.held_line(DICOM, [a, b]) + ledger.gone_line([a.at, "never/held"])
    assert ledger.replay(text).files == {b.at: b}
    assert ledger.replay(text).damaged == 0
    assert ledger.replay(text + ledger.held_line(DICOM, [a])).files == {a.at: a, b.at: b}


operations = st.one_of(
    batches.map(lambda pair: ("held", pair)),
    st.lists(st.sampled_from(["scans/4/DICOM/a", "scans/4/DICOM/A", "resources/x/a"])).map(lambda at: ("gone", at)),
)


@settings(deadline=None)
@given(st.lists(operations, max_size=8))
def test_any_sequence_of_lines_adds_up(steps: list[tuple[str, Any]]) -> None:
    expected: dict[str, Held] = {}
    text = HEADER
    for kind, value in steps:
        if kind == "held":
            resource, each = value
            text += ledger.held_line(resource, each)
            expected.update({one.at: one for one in each})
        else:
            text += ledger.gone_line(value)
            for at in value:
                expected.pop(at, None)
    assert ledger.replay(text).files == expected


@settings(deadline=None)
@given(st.lists(operations, max_size=6))
def test_a_compacted_ledger_says_the_same_in_fewer_lines(steps: list[tuple[str, Any]]) -> None:
    text = HEADER
    for kind, value in steps:
        text += ledger.held_line(*value) if kind == "held" else ledger.gone_line(value)
    state = ledger.replay(text)
    short = ledger.compacted(UNIT, state)
    again = ledger.replay(short)
    assert (again.unit, again.folder, again.files, again.damaged) == (UNIT.id, UNIT.folder, state.files, 0)
    assert again.labels == {each.resource: state.labels[each.resource] for each in state.files.values()}
    assert ledger.compacted(UNIT, again) == short
    assert again.lines <= 1 + len(state.files)


def test_compacted_a_resource_is_one_line() -> None:
    files_ = [held("a"), held("sub/b"), held("c")]
    text = HEADER + "".join(ledger.held_line(DICOM, [each]) for each in files_)
    lines = ledger.compacted(UNIT, ledger.replay(text)).splitlines(keepends=True)
    assert lines[0] == HEADER
    assert [(json.loads(line)["folder"], len(json.loads(line)["files"])) for line in lines[1:]] == [(DICOM.folder, 3)]


LAST_LINES = {
    "held": ledger.held_line(DICOM, [held("c"), held("d é", "d %C3")]),
    "gone": ledger.gone_line(["scans/4/DICOM/a"]),
    "header": ledger.header_line(Unit(UnitKind.EXPERIMENT, "P1", UNIT.id, "new", "S1/new")),
}


@pytest.mark.parametrize("kind", LAST_LINES)
def test_a_line_torn_at_any_byte_says_nothing(kind: str) -> None:
    before = HEADER + ledger.held_line(DICOM, [held("a"), held("b")])
    last = LAST_LINES[kind].rstrip("\n")
    good = ledger.replay(before)
    for cut in range(1, len(last)):
        torn = ledger.replay(before + last[:cut])
        assert torn.files == good.files
        assert torn.folder == good.folder
        assert (torn.lines, torn.damaged) == (good.lines + 1, 1)
    assert ledger.replay(before + last) == ledger.replay(before + last + "\n") != good


@pytest.mark.parametrize("kind", LAST_LINES)
def test_bytes_lost_at_the_front_of_a_line_cost_that_line_only(kind: str) -> None:
    before, after = HEADER, ledger.held_line(DICOM, [held("a"), held("b")])
    good = ledger.replay(before + after)
    for cut in range(1, len(LAST_LINES[kind]) - 1):
        state = ledger.replay(before + LAST_LINES[kind][cut:] + after)
        assert (state.files, state.folder) == (good.files, good.folder)


GARBAGE = {
    "no JSON": "not JSON at all",
    "zeros of a power cut": "\0" * 40,
    "a replacement character": "\ufffd{}",
    "a number": "5",
    "null": "null",
    "text with the word": '"held gone folder"',
    "a list with the word": '["held"]',
    "a list with the other word": '["gone"]',
    "a number without end": "9" * 5000,
    "nested without end": "[" * 100_000,
    "held without files": '{"held":"12","folder":"f"}',
    "held without a folder": '{"held":"12","files":[]}',
    "files that are a number": '{"held":"12","folder":"f","files":5}',
    "a file that is text": '{"held":"12","folder":"f","files":["a"]}',
    "a file that is null": '{"held":"12","folder":"f","files":[null]}',
    "a zip without a name": '{"held":"12","folder":"","zip":9,"files":[]}',
    "a zip whose size is yes": '{"held":"12","folder":"f.zip","zip":true,"files":[]}',
    "a zip without a size": '{"held":"12","folder":"f.zip","zip":null,"files":[]}',
    "gone that is a number": '{"gone":5}',
    "gone that is no name": '{"gone":[[]]}',
    "two lines in one": HEADER.strip() + HEADER.strip(),
}


@pytest.mark.parametrize("line", GARBAGE.values(), ids=GARBAGE)
def test_a_line_that_makes_no_sense_is_passed_over_and_counted(line: str) -> None:
    a, b = held("a"), held("b")
    text = HEADER + ledger.held_line(DICOM, [a]) + line + "\n" + ledger.held_line(DICOM, [b])
    state = ledger.replay(text)
    assert state.files == {a.at: a, b.at: b}
    assert state.folder == UNIT.folder
    assert (state.lines, state.damaged) == (4, 1)


FILE: dict[str, Any] = {"path": "c", "size": 1, "md5": MD5, "mtime_ns": 1}


@pytest.mark.parametrize(
    "wrong",
    [
        *({key: value for key, value in FILE.items() if key != left_out} for left_out in FILE),
        FILE | {"path": 5},
        FILE | {"path": None},
        FILE | {"at": 5},
        FILE | {"at": None},
        FILE | {"md5": None},
        FILE | {"md5": 5},
        FILE | {"size": "1"},
        FILE | {"size": None},
        FILE | {"size": 1.5},
        FILE | {"size": -1},
        FILE | {"size": 1 << 63},
        FILE | {"mtime_ns": 1 << 63},
        FILE | {"mtime_ns": -(1 << 63)},
        FILE | {"at": "../c"},
        FILE | {"path": "/c"},
        FILE | {"mtime_ns": "1"},
        FILE | {"mtime_ns": None},
        FILE | {"mtime_ns": True},
        FILE | {"size": False},
    ],
    ids=json.dumps,
)
def test_a_file_that_lacks_something_is_not_held_nor_is_any_other_of_its_line(wrong: dict[str, Any]) -> None:
    line = json.dumps({"held": "12", "folder": "f", "files": [FILE, wrong]})
    state = ledger.replay(HEADER + line)
    assert (state.files, state.damaged) == ({}, 1)
    whole = json.dumps({"held": "12", "folder": "f", "files": [FILE, FILE | {"path": "d"}]})
    assert list(ledger.replay(HEADER + whole).files) == ["f/c", "f/d"]


@pytest.mark.parametrize(
    "line",
    [
        pytest.param('{"folder":null}', id="header"),
        pytest.param('{"folder":5}', id="header with a number"),
        pytest.param(json.dumps({"held": "12", "folder": None, "files": [FILE]}), id="held"),
        pytest.param('{"id":5,"folder":"f"}', id="header of no unit"),
        pytest.param('{"unit":"experiment","id":"E","folder":"../f"}', id="header of a folder outside"),
        pytest.param('{"unit":"experiment","id":"E","folder":""}', id="header of the project's folder"),
        pytest.param(json.dumps({"held": "12", "label": 5, "folder": "f", "files": [FILE]}), id="held of no label"),
        pytest.param(json.dumps({"held": None, "folder": "f", "files": [FILE]}), id="held of no resource"),
    ],
)
def test_a_folder_or_number_that_is_no_text_is_damage_and_not_a_name(line: str) -> None:
    state = ledger.replay(HEADER + line)
    assert (state.folder, state.files, state.damaged) == (UNIT.folder, {}, 1)


@settings(deadline=None, max_examples=300)
@given(st.text() | st.lists(st.text('{}[]":, heldgonfrmtis0159\\', max_size=30)).map("\n".join))
@example("\ud800")
@example('{"gone":["a",{}]}')
def test_no_text_at_all_makes_it_raise_or_hold_anything(text: str) -> None:
    state = ledger.replay(text)
    assert state.files == {}
    assert 0 <= state.damaged <= state.lines <= text.count("\n") + 1


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)
keys = st.sampled_from(["held", "gone", "folder", "files", "label", "path", "size", "md5", "mtime_ns", "at"])
entries = st.dictionaries(
    keys, json_values | st.lists(st.dictionaries(keys, json_values, max_size=5), max_size=2), max_size=5
)


@settings(deadline=None, max_examples=100)
@given(st.lists(entries, max_size=2))
def test_no_json_at_all_makes_it_raise_or_lose_what_other_lines_hold(between: list[dict[str, Any]]) -> None:
    a = held("a")
    text = "\n".join(json.dumps(entry) for entry in between)
    state = ledger.replay(f"{HEADER}{text}\n{ledger.held_line(DICOM, [a])}")
    assert state.files[a.at] == a
    assert all(
        (type(each.at), type(each.path), type(each.md5), type(each.resource)) == (str,) * 4
        and isinstance(each.size, int)
        and isinstance(each.mtime_ns, int)
        for each in state.files.values()
    )


def test_keys_of_a_newer_version_are_ignored() -> None:
    a = held("a")
    head = json.loads(HEADER) | {"new": [1, {"held": "x"}]}
    line = json.loads(ledger.held_line(DICOM, [a]))
    line["files"][0] |= {"sha256": "0" * 64}
    line |= {"tags": {"files": 5}}
    other = {"note": "of a kind not known yet"}
    state = ledger.replay("\n".join(json.dumps(each) for each in (head, line, other)))
    assert (state.folder, state.files, state.lines, state.damaged) == (UNIT.folder, {a.at: a}, 3, 0)


def test_old_windows_line_ends_do_no_harm() -> None:
    a = held("a")
    text = HEADER + ledger.held_line(DICOM, [a])
    assert ledger.replay(text.replace("\n", "\r\n")) == ledger.replay(text)
    assert ledger.replay(text).files == {a.at: a}


@pytest.mark.parametrize(
    ("lines", "damaged", "worth"), [(0, 0, False), (64, 0, False), (65, 0, True), (2, 1, True), (65, 1, True)]
)
def test_a_ledger_is_compacted_when_it_is_long_or_damaged(lines: int, damaged: int, worth: bool) -> None:
    assert Replay(lines=lines, damaged=damaged).worth_compacting() is worth


def test_extras_are_remembered_until_a_later_line_says_otherwise() -> None:
    rows = [held("a.dcm"), held("b.dcm"), held("c.dcm")]
    text = HEADER + ledger.held_line(DICOM, rows) + ledger.extra_line(row.at for row in rows[1:])
    state = ledger.replay(text)
    assert state.extra == {rows[1].at, rows[2].at}
    assert ledger.replay(ledger.compacted(UNIT, state)).extra == state.extra
    assert ledger.replay(text + ledger.gone_line([rows[1].at])).extra == {rows[2].at}
    assert ledger.replay(text + ledger.extra_line([])).extra == set()
    assert ledger.replay(text + ledger.extra_line(["never/held"])).extra == set()


def test_members_of_a_zip_that_was_put_together_anew() -> None:
    rows = [held("a.dcm", folder="scans/4/DICOM.zip")._replace(archive="scans/4/DICOM.zip", archive_size=99)]
    state = ledger.replay(HEADER + ledger.rezipped_line(rows, "DICOM"))
    assert (list(state.files.values()), state.labels) == (rows, {"12": "DICOM"})


def test_a_command_has_seen_what_stands_before_its_line() -> None:
    rows = [held("a.dcm"), held("b.dcm")]
    text = HEADER + ledger.held_line(DICOM, rows)
    assert (ledger.replay(text).hooked, ledger.replay(text).changed) == (False, 2)
    seen = text + ledger.hooked_line(1.5)
    assert (ledger.replay(seen).hooked, ledger.replay(seen).changed) == (True, 0)
    assert ledger.replay(ledger.compacted(UNIT, ledger.replay(seen))).hooked
    assert not ledger.replay(ledger.compacted(UNIT, ledger.replay(text))).hooked
    changes = {
        ledger.held_line(DICOM, [rows[0]._replace(mtime_ns=1)]): 0,
        ledger.held_line(DICOM, [rows[0]._replace(size=6)]): 1,
        ledger.held_line(DICOM, [held("c.dcm")]): 1,
        ledger.gone_line([rows[0].at, rows[1].at]): 2,
        ledger.gone_line(["never/held"]): 0,
        HEADER: 0,
    }
    for line, count in changes.items():
        state = ledger.replay(seen + line)
        assert (state.hooked, state.changed) == (count == 0, count)
    assert not ledger.replay(seen + ledger.header_line(replace(UNIT, folder="S1/renamed"))).hooked
