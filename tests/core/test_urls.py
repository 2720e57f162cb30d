"""Every path that is asked for, as XNAT wants it; and nothing in it that anything on the way could misread."""

from __future__ import annotations

import re
import string
from dataclasses import replace
from urllib.parse import unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xnat_sync.core import urls
from xnat_sync.core.model import Level, Place, Resource, Unit, UnitKind

UNRESERVED = string.ascii_letters + string.digits + "-._~"
SESSION = Unit(UnitKind.EXPERIMENT, "P 1", "XNAT_E1", "S1_MR1", "S1/S1_MR1")
SUBJECT = Unit(UnitKind.SUBJECT, "P 1", "XNAT_S1", "S1", "S1")
PROJECT = Unit(UnitKind.PROJECT, "P 1", "P 1", "P 1", "")
SCAN = Place(Level.SCAN, "4")


def resource(unit: Unit = SESSION, place: Place = SCAN) -> Resource:
    return Resource(unit, place, "12", "DICOM", (), "scans/4/DICOM")


@pytest.mark.parametrize(
    ("made", "url"),
    [
        (
            urls.experiments("P 1"),
            "/data/projects/P%201/experiments?columns=ID,label,xsiType,subject_ID,subject_label,project,date,"
            "insert_date,last_modified&format=json",
        ),
        (urls.subjects("P 1"), "/data/projects/P%201/subjects?format=json"),
        (urls.scans("XNAT_E1"), "/data/experiments/XNAT_E1/scans?format=json"),
        (urls.assessors("XNAT_E1"), "/data/experiments/XNAT_E1/assessors?format=json"),
        (urls.item("XNAT_E1"), "/data/experiments/XNAT_E1?format=json"),
        (urls.PROJECTS, "/data/projects?format=json"),
        (urls.JSESSION, "/data/JSESSION"),
        (urls.AUTH, "/data/auth"),
        (urls.BUILD_INFO, "/xapi/siteConfig/buildInfo"),
        (urls.TOKEN_ISSUE, "/data/services/tokens/issue"),
        (urls.token_invalidate("a b/c"), "/data/services/tokens/invalidate/a%20b%2Fc"),
        (urls.files(SESSION), "/data/experiments/XNAT_E1/files?all=true&format=json"),
        (urls.files(SUBJECT), "/data/projects/P%201/subjects/XNAT_S1/files?format=json"),
        (urls.files(PROJECT), "/data/projects/P%201/files?format=json"),
        (urls.resources(SESSION), "/data/experiments/XNAT_E1/resources?all=true&format=json"),
        (urls.resources(SUBJECT), "/data/projects/P%201/subjects/XNAT_S1/resources?format=json"),
        (urls.resources(PROJECT), "/data/projects/P%201/resources?format=json"),
    ],
)
def test_paths(made: str, url: str) -> None:
    assert made == url


def test_every_listing_asks_for_json() -> None:
    listings = [
        urls.PROJECTS,
        urls.experiments("P"),
        urls.subjects("P"),
        urls.scans("E"),
        urls.item("E"),
        urls.assessors("E"),
        urls.resource_files(SESSION, "1"),
        *(ask(unit) for ask in (urls.files, urls.resources) for unit in (SESSION, SUBJECT, PROJECT)),
    ]
    assert all(re.search(r"[?&]format=json$", each) for each in listings)


def test_no_column_narrows_the_experiments_to_imaging_sessions() -> None:
    imaging = {"modality", "UID", "session_type", "scanner", "dcmPatientId", "session_ID", "session_label"}
    columns = re.search(r"columns=([^&]*)", urls.experiments("P"))
    assert columns is not None
    assert not imaging & set(columns[1].split(","))


PLACES = [
    (SESSION, SCAN, "/data/experiments/XNAT_E1/resources/12"),
    (SESSION, Place(Level.SCAN, "4/x, y"), "/data/experiments/XNAT_E1/resources/12"),
    (SESSION, Place(Level.SESSION), "/data/experiments/XNAT_E1/resources/12"),
    (SESSION, Place(Level.ASSESSOR, "A 1", "out"), "/data/experiments/XNAT_E1/assessors/A%201/out/resources/12"),
    (SESSION, Place(Level.ASSESSOR, "A1", "in"), "/data/experiments/XNAT_E1/assessors/A1/in/resources/12"),
    (SESSION, Place(Level.ASSESSOR, "A1"), "/data/experiments/XNAT_E1/assessors/A1/resources/12"),
    (SESSION, Place(Level.RECONSTRUCTION, "r", "out"), "/data/experiments/XNAT_E1/reconstructions/r/out/resources/12"),
    (SESSION, Place(Level.RECONSTRUCTION, "r"), "/data/experiments/XNAT_E1/reconstructions/r/resources/12"),
    (SUBJECT, Place(Level.SUBJECT), "/data/projects/P%201/subjects/XNAT_S1/resources/12"),
    (PROJECT, Place(Level.PROJECT), "/data/projects/P%201/resources/12"),
]


@pytest.mark.parametrize(("unit", "place", "base"), PLACES, ids=[base for _, _, base in PLACES])
def test_a_resource_is_asked_for_by_its_number(unit: Unit, place: Place, base: str) -> None:
    assert urls.resource_zip(resource(unit, place)) == f"{base}/files?format=zip"
    assert urls.file(resource(unit, place), "sub/a b.dcm") == f"{base}/files/sub/a%20b.dcm"


@pytest.mark.parametrize(
    ("unit", "base"),
    [
        (SESSION, "/data/experiments/XNAT_E1"),
        (SUBJECT, "/data/projects/P%201/subjects/XNAT_S1"),
        (PROJECT, "/data/projects/P%201"),
    ],
)
def test_a_resource_is_listed_by_its_number(unit: Unit, base: str) -> None:
    assert urls.resource_files(unit, "12") == f"{base}/resources/12/files?format=json"


def test_a_single_file_is_asked_for_without_a_format() -> None:
    assert "?" not in urls.file(resource(), "what?format=zip")


@pytest.mark.parametrize(
    ("text", "written"),
    [
        pytest.param(UNRESERVED, UNRESERVED, id="unreserved"),
        pytest.param("a b", "a%20b", id="space"),
        pytest.param("a+b", "a%2Bb", id="plus"),
        pytest.param("100%", "100%25", id="percent"),
        pytest.param("%20", "%2520", id="escaped already"),
        pytest.param("a?b#c&d;e", "a%3Fb%23c%26d%3Be", id="delimiters"),
        pytest.param('[]{}|^"', "%5B%5D%7B%7D%7C%5E%22", id="what Tomcat refuses"),
        pytest.param("é", "%C3%A9", id="two bytes"),
        pytest.param("e\u0301", "e%CC%81", id="decomposed stays decomposed"),
        pytest.param("\ud800", "%ED%A0%80", id="a lone surrogate"),
        pytest.param("\0\n", "%00%0A", id="controls"),
        pytest.param("", "", id="nothing"),
    ],
)
def test_what_is_not_unreserved_is_percent_encoded(text: str, written: str) -> None:
    assert urls.segment(text) == written
    assert urls.file_path(text) == written


def test_slashes_stay_in_a_files_path_and_nowhere_else() -> None:
    assert urls.file_path("a/b c//d") == "a/b%20c//d"
    assert urls.segment("a/b") == "a%2Fb"
    assert urls.scans("a/b") == "/data/experiments/a%2Fb/scans?format=json"


def test_each_character_alone() -> None:
    for code in (*range(0x300), 0xD800, 0xDFFF, 0xFFFF, 0x1F600):
        character = chr(code)
        written = character if character in UNRESERVED else None
        if written is None:
            written = "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "surrogatepass"))
        assert urls.segment(character) == written
        assert urls.file_path(character) == ("/" if character == "/" else written)


texts = st.text() | st.text(st.characters(categories=["Cs"]), max_size=3)


@settings(deadline=None)
@given(texts)
def test_what_was_quoted_comes_out_again(text: str) -> None:
    for quoted in (urls.segment(text), urls.file_path(text)):
        assert re.fullmatch(r"(?:[A-Za-z0-9\-._~/]|%[0-9A-F]{2})*", quoted)
        assert unquote(quoted, errors="surrogatepass") == text
    assert "/" not in urls.segment(text)
    assert urls.file_path(text).count("/") == text.count("/")


@settings(deadline=None)
@given(texts, texts, texts)
def test_no_name_changes_the_shape_of_a_path(project: str, identity: str, owner: str) -> None:
    subject = replace(SUBJECT, project=project, id=identity)
    session = replace(SESSION, id=identity)
    made = [
        (urls.experiments(project), 4),
        (urls.subjects(project), 4),
        (urls.scans(identity), 4),
        (urls.item(identity), 3),
        (urls.files(subject), 6),
        (urls.resource_files(session, owner), 6),
        (urls.resource_zip(resource(session, Place(Level.ASSESSOR, owner, "out"))), 9),
    ]
    for url, segments in made:
        path, question, query = url.partition("?")
        assert path.count("/") == segments
        assert question
        assert re.fullmatch(r"[A-Za-z_,=&]+", query)
