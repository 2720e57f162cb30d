"""The vocabulary: values that cannot change, names as people read them, and a secret that never shows itself."""

from __future__ import annotations

import copy
import inspect
from dataclasses import FrozenInstanceError, asdict, is_dataclass
from enum import Enum
from hashlib import sha256

import pytest

from xnat_sync.core import model
from xnat_sync.core.model import (
    Held,
    Job,
    Level,
    Login,
    LoginKind,
    OnDisk,
    Place,
    RemoteFile,
    Resource,
    Secret,
    Unit,
    UnitKind,
    Want,
    stays_within,
)

SESSION = Unit(UnitKind.EXPERIMENT, "P1", "XNAT_E1", "S1_MR1", "S1/S1_MR1")
SUBJECT = Unit(UnitKind.SUBJECT, "P1", "XNAT_S1", "S1", "S1")
PROJECT = Unit(UnitKind.PROJECT, "P1", "P1", "P1", "")
TYPES = [
    each
    for _, each in inspect.getmembers(model, inspect.isclass)
    if each.__module__ == model.__name__ and not issubclass(each, Enum)
]


@pytest.mark.parametrize("kind", TYPES, ids=lambda kind: kind.__name__)
def test_every_type_is_slotted_and_if_it_is_data_frozen(kind: type) -> None:
    assert "__slots__" in vars(kind)
    if is_dataclass(kind):
        with pytest.raises((FrozenInstanceError, TypeError)):
            kind.__new__(kind).any_name = 1  # type: ignore[attr-defined]


def test_the_levels_are_the_words_of_the_option() -> None:
    assert [str(level) for level in Level] == [
        "scans",
        "session",
        "assessors",
        "reconstructions",
        "subject",
        "project",
    ]


@pytest.mark.parametrize(
    ("unit", "place", "label", "path", "name"),
    [
        (SESSION, Place(Level.SCAN, "4"), "DICOM", "S1/S1_MR1/f", "S1_MR1 scans/4 DICOM"),
        (SESSION, Place(Level.SESSION), "LOGS", "S1/S1_MR1/f", "S1_MR1 session LOGS"),
        (SESSION, Place(Level.ASSESSOR, "A1", "out"), "", "S1/S1_MR1/f", "S1_MR1 assessors/A1 12"),
        (SESSION, Place(Level.RECONSTRUCTION, "r"), "x", "S1/S1_MR1/f", "S1_MR1 reconstructions/r x"),
        (SUBJECT, Place(Level.SUBJECT), "DOCS", "S1/f", "S1 DOCS"),
        (PROJECT, Place(Level.PROJECT), "DOCS", "f", "P1 DOCS"),
    ],
    ids=["scan", "session", "assessor, no label", "reconstruction", "subject", "project"],
)
def test_a_resource_says_where_it_lies_and_how_people_call_it(
    unit: Unit, place: Place, label: str, path: str, name: str
) -> None:
    resource = Resource(unit, place, "12", label, (), "f")
    assert (resource.path, resource.name) == (path, name)


@pytest.mark.parametrize(
    ("folder", "archive"),
    [
        ("scans/4/DICOM", "scans/4/DICOM.zip"),
        ("DICOM", "DICOM.zip"),
        ("a/" + "x" * 251, "a/" + "x" * 251 + ".zip"),
        ("a/" + "x" * 252, "a/" + "x" * 200 + "~" + sha256(b"x" * 252).hexdigest()[:16] + ".zip"),
        ("ä" * 126, "ä" * 100 + "~" + sha256("ä".encode() * 126).hexdigest()[:16] + ".zip"),
        ("x" + "ä" * 126, "x" + "ä" * 99 + "~" + sha256(b"x" + "ä".encode() * 126).hexdigest()[:16] + ".zip"),
    ],
    ids=["in a folder", "at the top", "just fits", "too long", "too long in bytes", "cut between two letters"],
)
def test_a_resource_kept_as_one_zip_has_a_name_that_fits(folder: str, archive: str) -> None:
    resource = Resource(SESSION, Place(Level.SCAN, "4"), "12", "DICOM", (), folder)
    assert resource.archive == archive
    assert len(resource.archive.rpartition("/")[2].encode()) <= 255


def test_what_is_held_in_a_zip_stands_or_falls_with_the_zip() -> None:
    file = Held("r/f", "f", 5, "0" * 32, 7, "12")
    member = Held("r.zip/f", "f", 5, "0" * 32, 8, "12", "r.zip", 99)
    assert (file.stands_at, file.stat) == ("r/f", (5, 7))
    assert (member.stands_at, member.stat) == ("r.zip", (99, 8))


@pytest.mark.parametrize(
    ("path", "within"),
    [
        ("a", True),
        ("S1/S1_MR1/scans/4/DICOM/1.dcm", True),
        ("a/.hidden", True),
        ("a/..b/c..", True),
        ("b/.xnat-sync/lock", True),
        ("ä/\udcff", True),
        ("/".join(["x" * 255] * 15), True),
        ("", False),
        ("/a", False),
        ("a/", False),
        ("a//b", False),
        (".", False),
        ("..", False),
        ("../a", False),
        ("a/../../b", False),
        ("a/./b", False),
        ("a/..", False),
        (".xnat-sync", False),
        (".xnat-sync/lock", False),
        ("a\0b", False),
        ("a/" + "x" * 256, False),
        ("ä" * 128 + "x" * 128, False),
        ("/".join(["x" * 200] * 20), False),
        ("\ud800", False),
    ],
    ids=lambda value: ascii(value)[:30],
)
def test_a_path_that_was_read_stays_within_its_folder_and_out_of_our_own(path: str, within: bool) -> None:
    assert stays_within(path) is within


def test_a_subjects_folder_is_its_own_only_in_part() -> None:
    assert SUBJECT.own("S1") == "S1/resources"
    assert SESSION.own("S1/S1_MR1") == "S1/S1_MR1"
    assert PROJECT.own("resources") == "resources"


def test_a_job_brings_the_bytes_that_are_known() -> None:
    resource = Resource(SESSION, Place(Level.SCAN, "4"), "12", "DICOM", ())
    wants = tuple(Want(RemoteFile(str(size), size, None), str(size), "new") for size in (5, None, 0, 7))
    assert Job(resource, wants, fresh=True).bytes == 12
    assert Job(resource, (), fresh=True).bytes == 0


def test_what_stands_on_disk_is_compared_by_value() -> None:
    assert OnDisk(1, 2) == OnDisk(1, 2, regular=True)
    assert OnDisk(1, 2) != OnDisk(1, 2, regular=False)


def test_a_secret_shows_itself_to_nobody_but_who_asks() -> None:
    secret = Secret("s3cret")
    login = Login(LoginKind.PASSWORD, "jdoe", secret, "stdin")
    shown = [f"{secret}", f"{secret!r}", f"{secret!s}", "%s" % secret, str([secret]), repr(login), str(asdict(login))]  # noqa: UP031
    assert not any("s3cret" in text for text in shown)
    assert repr(secret) == "Secret(***)"
    assert secret.reveal() == "s3cret"
    assert not hasattr(secret, "__dict__")


def test_secrets_are_compared_by_what_they_hide() -> None:
    assert Secret("a") == Secret("a") == copy.deepcopy(Secret("a"))
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a"), Secret("b")}) == 2


@pytest.mark.parametrize(
    ("kind", "renewable"),
    [
        (LoginKind.PASSWORD, True),
        (LoginKind.TOKEN, True),
        (LoginKind.PASTED, False),
        (LoginKind.KEPT, False),
        (LoginKind.COOKIES, False),
    ],
)
def test_a_session_is_renewed_only_with_a_password_or_token(kind: LoginKind, renewable: bool) -> None:
    assert Login(kind).renewable is renewable
    assert Login(kind).secret == Secret("")
