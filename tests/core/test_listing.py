"""Whatever the server answers: rows of what was asked for, or ``BadListing``; and paths come out as they went in."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from xnat_sync.core import listing
from xnat_sync.core.errors import BadListing
from xnat_sync.core.listing import ListedResource, ProjectRow, ResourceRow, ScanRow, SubjectRow
from xnat_sync.core.model import Experiment, Level, Place, RemoteFile, Unit, UnitKind

MD5 = "9e107d9d372bb6826bd81d3542a419d6"
SESSION = Unit(UnitKind.EXPERIMENT, "P1", "XNAT_E00001", "S1_MR1", "S1/S1_MR1")
SUBJECT = Unit(UnitKind.SUBJECT, "P1", "XNAT_S00001", "S1", "S1")
PROJECT = Unit(UnitKind.PROJECT, "P1", "P1", "P1", "")
UNITS = [SESSION, SUBJECT, PROJECT]


def table(*rows: object) -> bytes:
    return json.dumps({"ResultSet": {"Result": rows, "totalRecords": str(len(rows)), "title": "Files"}}).encode()


def row(uri: str, size: str = "10", digest: str = MD5, label: str = "DICOM") -> dict[str, str]:
    return {"Name": "a name", "Size": size, "URI": uri, "collection": label, "cat_ID": "?", "digest": digest}


def scan_file(path: str, number: str = "12", scan: str = "4", accession: str = SESSION.id) -> str:
    return f"/data/experiments/{accession}/scans/{scan}/resources/{number}/files/{path}"


PARSERS: dict[str, Callable[[bytes], object]] = {
    "rows": lambda body: listing.rows(body, "it"),
    "item_fields": lambda body: listing.item_fields(body, "it"),
    "experiments": lambda body: listing.experiments(body, "P1"),
    "projects": listing.projects,
    "subjects": lambda body: listing.subjects(body, "P1"),
    "scans": lambda body: listing.scans(body, "XNAT_E00001"),
    "assessor labels": lambda body: listing.assessor_labels(body, "XNAT_E00001"),
    "resources": lambda body: listing.resources(body, SESSION),
    "files of a session": lambda body: listing.files(body, SESSION),
    "files of a subject": lambda body: listing.files(body, SUBJECT),
    "files of a project": lambda body: listing.files(body, PROJECT),
}
parsers = pytest.mark.parametrize("parse", PARSERS.values(), ids=PARSERS)

texts = st.text(max_size=8) | st.just("\ud800")
scalars = st.none() | st.booleans() | st.integers() | st.floats() | texts
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
KEYS = ["ID", "URI", "label", "Size", "digest", "collection", "xnat_abstractresource_id", "file_count", "subject_ID"]
values = st.sampled_from([scan_file("a"), "/data/projects/P1/resources/1/files/a", MD5, "1", ""]) | anything
tables = st.lists(st.dictionaries(st.sampled_from(KEYS), values), max_size=4).map(lambda rows: table(*rows))
items = st.lists(st.dictionaries(st.just("data_fields"), anything), max_size=2).map(
    lambda each: json.dumps({"items": each}).encode()
)
documents = anything.map(lambda value: json.dumps(value).encode())
wrong_tables = anything.map(lambda value: json.dumps({"ResultSet": {"Result": value}}).encode())


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=60) | documents | tables | wrong_tables | items, st.sampled_from(sorted(PARSERS)))
@example(b"\x00", "rows")
@example(b"\xef\xbb\xbf", "rows")
@example(b'{"ResultSet":{"Result":[{"ID":' + b"9" * 5000 + b"}]}}", "experiments")
def test_any_bytes_are_a_listing_or_a_bad_listing(body: bytes, name: str) -> None:
    with contextlib.suppress(BadListing):
        PARSERS[name](body)


@settings(deadline=None, max_examples=100)
@given(tables | wrong_tables)
def test_every_value_of_a_row_is_text(body: bytes) -> None:
    try:
        rows = listing.rows(body, "it")
    except BadListing:
        return
    assert all(isinstance(key, str) and isinstance(value, str) for row in rows for key, value in row.items())


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")], ids=["lists", "objects"])
def test_nesting_without_end_is_a_bad_listing_at_worst(opening: str, closing: str) -> None:
    # Around the recursion limit, what can just be parsed must also become text.
    for depth in (10, 100, *range(850, 1010), 100_000):
        deep = opening * depth + "1" + closing * depth
        for parse, body in (
            (listing.rows, f'{{"ResultSet":{{"Result":[{{"a":{deep}}}]}}}}'),
            (listing.item_fields, f'{{"items":[{{"data_fields":{{"a":{deep}}}}}]}}'),
        ):
            try:
                parse(body.encode(), "it")
            except BadListing:
                assert depth > 100


# -- answers that are no listing --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "said"),
    [
        pytest.param(b"", "empty body", id="200 and nothing"),
        pytest.param(b" \r\n", "empty body", id="200 and blanks"),
        pytest.param(b"<!DOCTYPE html><html>log in</html>", "a web page", id="login page"),
        pytest.param(b"\n <HTML><head>", "a web page", id="maintenance page"),
        pytest.param(b"\xef\xbb\xbf<!doctype HTML>", "a web page", id="page with a byte order mark"),
        pytest.param(table(row(scan_file("a")))[:-1], "cut short", id="all but the last byte"),
        pytest.param(table(row(scan_file("a")))[:40], "cut short", id="cut in the middle"),
        pytest.param(b"\xff\xfe\xff", "no valid JSON", id="no text"),
        pytest.param(b"{}", "no XNAT table", id="other JSON"),
        pytest.param(b"[]", "no XNAT table", id="a list"),
        pytest.param(b'{"items":[{"children":[],"data_fields":{"ID":"X"}}]}', "no XNAT table", id="an item"),
        pytest.param(b'{"ResultSet":{"Result":{}}}', "no XNAT table", id="a result that is no list"),
        pytest.param(b'{"ResultSet":{"Result":[["URI"]]}}', "no XNAT table", id="rows that are no objects"),
        pytest.param(b'{"ResultSet":{"Result":[{"ID":"a"}, null]}}', "no XNAT table", id="one row that is no object"),
        pytest.param(b'{"ResultSet":{"totalRecords":"0"}}', "no XNAT table", id="no result"),
        pytest.param(table({"ID": "x" * 65_537}), "a value has 65537 characters", id="a value without end"),
    ],
)
@pytest.mark.parametrize("name", [name for name in PARSERS if name != "item_fields"])
def test_an_answer_that_is_no_table_is_an_error_and_never_an_empty_list(name: str, body: bytes, said: str) -> None:
    with pytest.raises(BadListing, match=said):
        PARSERS[name](body)


@pytest.mark.parametrize("name", [name for name in PARSERS if name != "item_fields"])
def test_an_empty_table_is_an_empty_list(name: str) -> None:
    assert len(PARSERS[name](table())) == 0  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("least", "more"),
    [
        (b"[" * 600 + b"{" * 500 + b" " * 500, b"["),
        (b"[" * 600 + b"{" * 500 + b" " * 500, b"{"),
        (b"," * 1200 + b" " * 400, b","),
    ],
    ids=["lists", "objects", "values"],
)
def test_more_values_than_a_table_of_that_size_has_are_not_even_parsed(least: bytes, more: bytes) -> None:
    with pytest.raises(BadListing, match=r"^it: the answer is no valid JSON"):
        listing.rows(least, "it")
    with pytest.raises(BadListing, match=r"^it: the answer has more values for its size than any XNAT table$"):
        listing.rows(more + least[:-1], "it")


def test_a_value_has_so_many_characters_and_no_more() -> None:
    assert listing.rows(table({"a": "x" * 65_536}), "it") == [{"a": "x" * 65_536}]
    with pytest.raises(BadListing, match=r"^it: a value has 65537 characters$"):
        listing.rows(table({"a": "x" * 65_537}), "it")
    with pytest.raises(BadListing, match=r"^it: a value has 65537 characters$"):
        listing.item_fields(json.dumps({"items": [{"data_fields": {"a": "x" * 65_537}}]}).encode(), "it")


def deep(name: str, slashes: int, length: int = 1 << 14) -> dict[str, str]:
    """A row whose path has so many folders and letters."""
    path = name + "/x" * slashes
    return row(scan_file(path.ljust(length, "y")))


def test_files_lie_as_deep_as_a_disk_could_have_them_and_no_deeper() -> None:
    a, b = deep("a", 1040), deep("b", 1040)
    assert len(listing.files(table(a, b), SESSION)[0].files) == 2
    for wrong in ([deep("a", 1041), b], [a, deep("b", 1041)]):
        with pytest.raises(BadListing, match=r"^files of S1_MR1: its 2 files lie in deeper folders than any disk has$"):
            listing.files(table(*wrong), SESSION)


ASKED = {
    "rows": "it",
    "experiments": "experiments of project P1",
    "projects": "the project list",
    "subjects": "subjects of project P1",
    "scans": "scans of XNAT_E00001",
    "assessor labels": "assessors of XNAT_E00001",
    "resources": "resources of S1_MR1",
    "files of a session": "files of S1_MR1",
    "files of a subject": "files of S1",
    "files of a project": "files of P1",
}


@pytest.mark.parametrize("name", ASKED)
def test_an_error_names_what_was_asked_for(name: str) -> None:
    with pytest.raises(BadListing) as empty:
        PARSERS[name](b"")
    assert str(empty.value) == f"{ASKED[name]}: the server answered with an empty body, so its query failed"
    if name != "rows":
        with pytest.raises(BadListing) as bare:
            PARSERS[name](table({}))
        assert str(bare.value).startswith(f"{ASKED[name]}: a row lacks its ")


@pytest.mark.parametrize(
    ("content_type", "start", "html"),
    [
        pytest.param("text/html", b"", True, id="by its type"),
        pytest.param("TEXT/HTML ; charset=ISO-8859-1", b"{}", True, id="by its type, with a charset"),
        pytest.param("application/xhtml+xml", b"", True, id="XHTML"),
        pytest.param("application/json", b"<html>", True, id="by its start"),
        pytest.param("", b"\xef\xbb\xbf\r\n\t <!DOCTYPE HTML PUBLIC", True, id="by its start, after blanks"),
        pytest.param("application/json", b'{"a": "<html>"}', False, id="JSON about HTML"),
        pytest.param("text/plain", b"", False, id="nothing"),
        pytest.param("text/plain", b"X<html>", False, id="text before it"),
        pytest.param("text/html-sandboxed", b"PK", False, id="another type"),
    ],
)
def test_a_web_page_is_known_by_type_or_start(content_type: str, start: bytes, html: bool) -> None:
    assert listing.is_html(content_type, start) is html


@pytest.mark.parametrize(
    ("body", "user"),
    [
        (b"User 'jdoe' is logged in", "jdoe"),
        (b"\n User 'j d\xc3\xb6' is logged in\n", "j dö"),
        (b"User 'guest' is logged in", None),
        (b"User '' is logged in", None),
        (b"", None),
        (b"<html>User 'jdoe' is logged in", None),
        (b"User '\xff' is logged in", "\ufffd"),
    ],
)
def test_only_a_named_user_is_logged_in(body: bytes, user: str | None) -> None:
    assert listing.logged_in_user(body) == user


# -- rows -------------------------------------------------------------------------------------------------------


def test_values_that_are_no_text_become_text() -> None:
    body = b'{"ResultSet":{"Result":[{"a":"x","b":null,"c":5,"d":true,"e":1.5}]}}'
    assert listing.rows(body, "it") == [{"a": "x", "b": "", "c": "5", "d": "True", "e": "1.5"}]


def test_experiments_come_once_each_in_the_order_of_their_ids() -> None:
    full = {
        "ID": "E2",
        "label": "S1_MR1",
        "subject_ID": "S1",
        "subject_label": "one",
        "project": "P1",
        "xsiType": "xnat:mrSessionData",
        "date": "2020-09-01",
        "insert_date": "2023-01-01",
        "last_modified": "2023-09-27 17:31:21.352",
    }
    bare = {"ID": "E1", "subject_ID": "S2", "insert_date": "2023-01-01", "last_modified": ""}
    assert listing.experiments(table(full, bare, full, {"ID": "E0"}), "P1") == [
        Experiment("E0", "E0", "", "", ""),
        Experiment("E1", "E1", "S2", "S2", "", last_modified="2023-01-01"),
        Experiment("E2", "S1_MR1", "S1", "one", "P1", "xnat:mrSessionData", "2020-09-01", "2023-09-27 17:31:21.352"),
    ]


def test_subjects_come_once_each_in_the_order_of_their_ids() -> None:
    body = table({"ID": "S2", "label": "two"}, {"ID": "S1", "label": ""}, {"ID": "S2", "label": "two"})
    assert listing.subjects(body, "P1") == [SubjectRow("S1", "S1"), SubjectRow("S2", "two")]


def test_projects_scans_and_resources_are_read_row_by_row() -> None:
    assert listing.projects(table({"ID": "P1", "name": "One", "description": "first"}, {"ID": "P2"})) == [
        ProjectRow("P1", "One", "first"),
        ProjectRow("P2", "", ""),
    ]
    assert listing.scans(table({"ID": "4", "type": "t1", "series_description": "mprage"}, {"ID": "5"}), "E1") == [
        ScanRow("4", "t1", "mprage"),
        ScanRow("5", "", ""),
    ]
    told = {
        "label": "DICOM",
        "category": "scans",
        "cat_id": "4",
        "cat_desc": " t1 ",
        "file_count": "176",
        "file_size": "23908352",
    }
    stale = {"xnat_abstractresource_id": "9", "file_count": "", "file_size": "-1"}
    least = {"xnat_abstractresource_id": "7"}
    assert listing.resources(table({"xnat_abstractresource_id": "12"} | told, stale, least), SESSION) == [
        ResourceRow("12", "DICOM", "scans", "4", "t1", 176, 23908352),
        ResourceRow("9", "", "", "", "", None, None),
        ResourceRow("7", "", "", "", "", None, None),
    ]


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("experiments", "ID"),
        ("projects", "ID"),
        ("subjects", "ID"),
        ("scans", "ID"),
        ("assessor labels", "ID"),
        ("resources", "xnat_abstractresource_id"),
        ("files of a session", "URI"),
    ],
)
@pytest.mark.parametrize("broken", [{}, None], ids=["missing", "empty"])
def test_a_row_without_its_key_is_an_error(name: str, key: str, broken: dict[str, str] | None) -> None:
    with pytest.raises(BadListing, match=f"a row lacks its {key}"):
        PARSERS[name](table({key: ""} if broken is None else {"label": "x"}))


def test_assessors_have_labels() -> None:
    body = table({"ID": "A1", "label": "QC"}, {"ID": "A2", "label": ""}, {"ID": "A3"})
    assert listing.assessor_labels(body, "E1") == {"A1": "QC", "A2": "A2", "A3": "A3"}


@pytest.mark.parametrize(
    ("unit", "category", "place"),
    [
        (SESSION, "scans", Place(Level.SCAN, "4")),
        (SESSION, "assessors", Place(Level.ASSESSOR, "4", "out")),
        (SESSION, "reconstructions", Place(Level.RECONSTRUCTION, "4", "out")),
        (SESSION, "", Place(Level.SESSION)),
        (SUBJECT, "scans", Place(Level.SUBJECT)),
        (PROJECT, "", Place(Level.PROJECT)),
    ],
)
def test_a_resource_list_says_where_a_resource_hangs(unit: Unit, category: str, place: Place) -> None:
    assert listing.row_place(ResourceRow("12", "DICOM", category, "4", "", None, None), unit) == place


def test_an_item_gives_its_own_fields_as_text() -> None:
    body = b'{"items":[{"children":[],"data_fields":{"ID":"E1","frames":176,"note":null}},{"data_fields":{}}]}'
    assert listing.item_fields(body, "it") == {"ID": "E1", "frames": "176", "note": ""}


@pytest.mark.parametrize("body", [b"", b"<html>", b"{}", b'{"items":[]}', b'{"items":[{"data_fields":[]}]}', table()])
def test_what_is_no_item_is_an_error(body: bytes) -> None:
    with pytest.raises(BadListing, match=r"^record of E1: the answer is "):
        listing.item_fields(body, "record of E1")


# -- files ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("unit", "uri", "place", "number", "path"),
    [
        (SESSION, scan_file("a.dcm"), Place(Level.SCAN, "4"), "12", "a.dcm"),
        (SESSION, f"/REST{scan_file('a')[5:]}", Place(Level.SCAN, "4"), "12", "a"),
        (SESSION, f"/data/archive{scan_file('a')[5:]}", Place(Level.SCAN, "4"), "12", "a"),
        (
            SESSION,
            "/data/projects/P1/subjects/XNAT_S1/experiments/XNAT_E00001/scans/4/resources/12/files/sub/a",
            Place(Level.SCAN, "4"),
            "12",
            "sub/a",
        ),
        (SESSION, scan_file("a", scan="4-MR1/x y"), Place(Level.SCAN, "4-MR1/x y"), "12", "a"),
        (SESSION, "/data/experiments/XNAT_E00001/resources/7/files/a", Place(Level.SESSION), "7", "a"),
        (
            SESSION,
            "/data/experiments/XNAT_E00001/assessors/XNAT_A1/out/resources/7/files/a",
            Place(Level.ASSESSOR, "XNAT_A1", "out"),
            "7",
            "a",
        ),
        (
            SESSION,
            "/data/experiments/XNAT_E00001/assessors/XNAT_A1/in/resources/7/files/a",
            Place(Level.ASSESSOR, "XNAT_A1", "in"),
            "7",
            "a",
        ),
        (
            SESSION,
            "/data/experiments/XNAT_E00001/assessors/XNAT_A1/resources/7/files/a",
            Place(Level.ASSESSOR, "XNAT_A1"),
            "7",
            "a",
        ),
        (
            SESSION,
            "/data/experiments/XNAT_E00001/reconstructions/r/out/resources/7/files/a",
            Place(Level.RECONSTRUCTION, "r", "out"),
            "7",
            "a",
        ),
        (
            SESSION,
            "/data/experiments/XNAT_E00001/reconstructions/r/resources/7/files/a",
            Place(Level.RECONSTRUCTION, "r"),
            "7",
            "a",
        ),
        (SUBJECT, "/data/projects/P1/subjects/XNAT_S00001/resources/8/files/a", Place(Level.SUBJECT), "8", "a"),
        (SUBJECT, "/data/subjects/XNAT_S00001/resources/8/files/a", Place(Level.SUBJECT), "8", "a"),
        (PROJECT, "/data/projects/P1/resources/9/files/a", Place(Level.PROJECT), "9", "a"),
        (SESSION, scan_file("b/resources/13/files/c"), Place(Level.SCAN, "4"), "12", "b/resources/13/files/c"),
        (SESSION, scan_file("100%20 a+b#c?d&é\n\\"), Place(Level.SCAN, "4"), "12", "100%20 a+b#c?d&é\n\\"),
    ],
    ids=lambda value: value if isinstance(value, str) and value.startswith("/") else "",
)
def test_the_uri_says_where_a_file_hangs(unit: Unit, uri: str, place: Place, number: str, path: str) -> None:
    assert listing.files(table(row(uri)), unit) == (
        ListedResource(place, number, "DICOM", (RemoteFile(path, 10, MD5),)),
    )


odd = st.text(min_size=1, max_size=12) | st.text("/ .%+#?&inout'\"\\\n\té\u0301~:", min_size=1, max_size=12)
ids = st.text(min_size=1, max_size=8).filter(lambda text: "/" not in text) | st.sampled_from(
    ["in", "out", "scans", "%2F"]
)
prefixes = st.sampled_from(["/data", "/REST", "/data/archive", "/REST/archive"])
resource_numbers = st.integers(0, 10**12).map(str)
OWNED = {Level.SCAN: "scans", Level.ASSESSOR: "assessors", Level.RECONSTRUCTION: "reconstructions"}


@st.composite
def places(draw: st.DrawFn, number: str) -> Place:
    level = draw(st.sampled_from([Level.SESSION, *OWNED]))
    if level is Level.SESSION:
        return Place(level)
    owner = draw(odd)
    direction = draw(st.sampled_from(["", "in", "out"])) if level is not Level.SCAN else ""
    # What no reader could tell apart: an owner that itself holds the words that end it.
    first = re.search(r"/resources/[0-9]+/files/", f"{owner}/resources/{number}/files/")
    assume(first is not None and first.start() == len(owner))
    assume(direction or level is Level.SCAN or not owner.endswith(("/in", "/out")))
    return Place(level, owner, direction)


def uri_of(prefix: str, owner: str, place: Place, number: str, path: str) -> str:
    hangs = f"/{OWNED[place.level]}/{place.owner}" if place.level in OWNED else ""
    way = f"/{place.direction}" if place.direction else ""
    return f"{prefix}{owner}{hangs}{way}/resources/{number}/files/{path}"


@settings(deadline=None, max_examples=250)
@given(st.data(), prefixes, ids, resource_numbers, odd)
def test_what_a_uri_was_built_from_comes_out_again(
    data: st.DataObject, prefix: str, accession: str, number: str, path: str
) -> None:
    place = data.draw(places(number))
    long = data.draw(st.booleans())
    owner = f"/projects/P1/subjects/S1/experiments/{accession}" if long else f"/experiments/{accession}"
    uri = uri_of(prefix, owner, place, number, path)
    unit = Unit(UnitKind.EXPERIMENT, "P1", accession, "label", "S1/label")
    (found,) = listing.files(table(row(uri)), unit)
    assert (found.place, found.id, found.files[0].path) == (place, number, path)


@settings(deadline=None)
@given(prefixes, ids, resource_numbers, odd, st.booleans())
def test_what_a_uri_of_a_subject_or_project_was_built_from_comes_out_again(
    prefix: str, identity: str, number: str, path: str, subject: bool
) -> None:
    kind, level = (UnitKind.SUBJECT, Level.SUBJECT) if subject else (UnitKind.PROJECT, Level.PROJECT)
    owner = f"/projects/P1/subjects/{identity}" if subject else f"/projects/{identity}"
    unit = Unit(kind, "P1", identity, "label", "")
    (found,) = listing.files(table(row(f"{prefix}{owner}/resources/{number}/files/{path}")), unit)
    assert (found.place, found.id, found.files[0].path) == (Place(level), number, path)


OWNERS = {
    "another experiment": "/experiments/XNAT_E00002",
    "an experiment whose id ours begins": "/experiments/XNAT_E000011",
    "an experiment whose id begins ours": "/experiments/XNAT_E0000",
    "another experiment of the same subject": "/projects/P1/subjects/XNAT_S00001/experiments/XNAT_E00002",
    "the session": "/experiments/XNAT_E00001",
    "the subject": "/projects/P1/subjects/XNAT_S00001",
    "another subject": "/projects/P1/subjects/XNAT_S00002",
    "the project": "/projects/P1",
    "another project": "/projects/P10",
    "nothing": "",
}
OF = {SESSION: "the session", SUBJECT: "the subject", PROJECT: "the project"}


@pytest.mark.parametrize("owner", OWNERS)
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.kind)
def test_files_of_something_else_are_never_taken_for_those_of_the_unit(unit: Unit, owner: str) -> None:
    body = table(row(f"/data{OWNERS[owner]}/resources/12/files/a"))
    if owner == OF[unit]:
        assert len(listing.files(body, unit)) == 1
    else:
        with pytest.raises(BadListing, match="something else"):
            listing.files(body, unit)


@settings(deadline=None)
@given(st.data(), ids, resource_numbers, odd, st.integers(0, 3), st.integers(0, 3))
def test_one_row_of_another_experiment_spoils_the_listing(
    data: st.DataObject, other: str, number: str, path: str, before: int, after: int
) -> None:
    assume(other != SESSION.id)
    stranger = row(uri_of("/data", f"/experiments/{other}", data.draw(places(number)), number, path))
    ours = [row(scan_file(f"{at}.dcm")) for at in range(before + after)]
    with pytest.raises(BadListing):
        listing.files(table(*ours[:before], stranger, *ours[before:]), SESSION)


@pytest.mark.parametrize(
    "uri",
    [
        pytest.param(scan_file(""), id="no path"),
        pytest.param("/data/experiments/XNAT_E00001/scans/4/resources/DICOM/files/a", id="a label for a number"),
        pytest.param("/data/experiments/XNAT_E00001/scans/4/resources/१२/files/a", id="other digits"),
        pytest.param("/data/experiments/XNAT_E00001/scans/4", id="a scan"),
        pytest.param("/data/experiments/XNAT_E00001/scans//resources/12/files/a", id="a scan without id"),
        pytest.param("/data/experiments/XNAT_E00001/other/4/resources/12/files/a", id="an unknown level"),
        pytest.param("/xapi/experiments/XNAT_E00001/resources/12/files/a", id="another root"),
        pytest.param("https://example.org" + scan_file("a"), id="a URL"),
        pytest.param(" " + scan_file("a"), id="a blank before it"),
    ],
)
def test_a_uri_that_is_not_that_of_a_file_is_an_error(uri: str) -> None:
    with pytest.raises(BadListing, match="not that of a file"):
        listing.files(table(row(uri)), SESSION)


@pytest.mark.parametrize(
    ("size", "known"),
    [
        ("0", 0),
        ("135842", 135842),
        ("9999999999999999999", 9999999999999999999),
        ("", None),
        ("-1", None),
        ("1.5", None),
        (" 1", None),
        ("1e3", None),
        ("１２", None),
        ("²", None),
        ("1" * 20, None),
    ],
)
def test_a_size_is_decimal_digits_or_not_known(size: str, known: int | None) -> None:
    (found,) = listing.files(table(row(scan_file("a"), size=size)), SESSION)
    assert found.files[0].size == known


@pytest.mark.parametrize(
    ("digest", "known"),
    [
        (MD5, MD5),
        (f" {MD5.upper()} ", MD5),
        ("", None),
        (MD5[1:], None),
        (MD5 + "0", None),
        ("g" * 32, None),
        (MD5 + "\n" + MD5, None),
    ],
)
def test_a_digest_is_thirty_two_hex_digits_or_not_known(digest: str, known: str | None) -> None:
    (found,) = listing.files(table(row(scan_file("a"), digest=digest)), SESSION)
    assert found.files[0].md5 == known


def test_a_row_may_lack_all_but_its_uri() -> None:
    assert listing.files(table({"URI": scan_file("a")}), SESSION) == (
        ListedResource(Place(Level.SCAN, "4"), "12", "", (RemoteFile("a", None, None),)),
    )


def test_a_file_listed_twice_alike_counts_once() -> None:
    (found,) = listing.files(table(row(scan_file("a")), row(scan_file("a"))), SESSION)
    assert found.files == (RemoteFile("a", 10, MD5),)


@pytest.mark.parametrize(
    "other", [row(scan_file("a"), size="11"), row(scan_file("a"), digest=""), row(scan_file("a"), size="")]
)
def test_a_file_listed_twice_differently_is_an_error(other: dict[str, str]) -> None:
    with pytest.raises(BadListing, match="'a' is listed twice"):
        listing.files(table(row(scan_file("a")), other), SESSION)


@settings(deadline=None)
@given(st.data())
def test_the_order_of_the_rows_does_not_matter(data: st.DataObject) -> None:
    rows = [
        row(scan_file(path, number=number, scan=scan), label=label)
        for number, scan, label in (
            ("12", "4", "DICOM"),
            ("3", "4", "SNAPSHOTS"),
            ("100", "10", "DICOM"),
            ("20", "5", ""),
        )
        for path in ("b", "a", "B", "c/a")
    ]
    found = listing.files(table(*data.draw(st.permutations(rows))), SESSION)
    assert [(each.id, each.label) for each in found] == [
        ("3", "SNAPSHOTS"),
        ("12", "DICOM"),
        ("20", ""),
        ("100", "DICOM"),
    ]
    assert all([file.path for file in each.files] == ["B", "a", "b", "c/a"] for each in found)


def test_the_total_counts_the_sizes_that_are_known() -> None:
    rows: list[Any] = [row(scan_file("a"), size="5"), row(scan_file("b"), size=""), row(scan_file("c", "3"), size="7")]
    assert listing.total_bytes(listing.files(table(*rows), SESSION)) == 12
    assert listing.total_bytes(()) == 0


def test_paths_that_no_disk_has_are_refused() -> None:
    unit = SESSION

    def body(*paths: str) -> bytes:
        rows = [
            {"Name": "x", "Size": "1", "URI": f"/data/experiments/XNAT_E00001/resources/1/files/{path}", "cat_ID": "1"}
            for path in paths
        ]
        return json.dumps({"ResultSet": {"Result": rows}}).encode()

    assert len(listing.files(body("a/" * 2000 + "x", "y" * 20_000), unit)[0].files) == 2
    assert len(listing.files(body(*("a/" * 16 + str(number) for number in range(2000))), unit)[0].files) == 2000
    with pytest.raises(BadListing, match="than any disk"):
        listing.files(body("a/" * 4500 + "x"), unit)
    with pytest.raises(BadListing, match="than any disk"):
        listing.files(body(*(f"{number}/" + "a/" * 2000 + "x" for number in range(6))), unit)
