"""How a partial goes on: the docstring's table, and that bytes are never spliced onto the wrong ones."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xnat_sync.core import resume
from xnat_sync.core.model import RemoteFile
from xnat_sync.core.resume import Action, Part

MD5 = "9e107d9d372bb6826bd81d3542a419d6"
DATE = "Wed, 27 Sep 2023 17:31:21 GMT"
REMOTE = RemoteFile("a.nii.gz", 1000, MD5)
PART = Part(held=400, last_modified=DATE, total=1000, md5=MD5, size=1000, run="run 1")

TABLE = [
    ("200 any restart", 200, "", Action.RESTART),
    ("200 any restart", 200, "bytes 400-999/1000", Action.RESTART),
    (
        "206 Content-Range starts where we are, and append its total is the size known so far",
        206,
        "bytes 400-999/1000",
        Action.APPEND,
    ),
    ("206 otherwise discard", 206, "", Action.DISCARD),
    ("206 otherwise discard", 206, "bytes 399-999/1000", Action.DISCARD),
    ("206 otherwise discard", 206, "bytes 401-999/1000", Action.DISCARD),
    ("206 otherwise discard", 206, "bytes 0-999/1000", Action.DISCARD),
    ("206 otherwise discard", 206, "bytes 400-1000/1001", Action.DISCARD),
    ("206 otherwise discard", 206, "bytes 400-999/*", Action.DISCARD),
    ("206 otherwise discard", 206, "bytes 0--1/1000", Action.DISCARD),
    ("206 otherwise discard", 206, "bytes 400-999/1000, 1-2/1000", Action.DISCARD),
    ("206 otherwise discard", 206, "bytes 400-999/" + "1" * 5000, Action.DISCARD),
    ("412, 416 any discard", 412, "", Action.DISCARD),
    ("412, 416 any discard", 412, "bytes 400-999/1000", Action.DISCARD),
    ("412, 416 any discard", 416, "bytes */1000", Action.DISCARD),
    ("412, 416 any discard", 416, "bytes 400-999/1000", Action.DISCARD),
]


@pytest.mark.parametrize(("row", "status", "header", "action"), TABLE, ids=lambda value: str(value)[:40])
def test_the_table_says_what_to_do_with_an_answer(row: str, status: int, header: str, action: Action) -> None:
    assert resume.action(PART, status, header, REMOTE) is action
    assert row in " ".join((resume.__doc__ or "").split())


def test_a_part_of_a_file_is_of_no_use_where_nothing_is_held() -> None:
    assert resume.action(None, 200, "", REMOTE) is Action.RESTART
    assert resume.action(None, 206, "bytes 0-999/1000", REMOTE) is Action.DISCARD


@pytest.mark.parametrize(
    ("total", "size", "answered", "action"),
    [
        pytest.param(None, None, 1000, Action.APPEND, id="no size is known, so any total will do"),
        pytest.param(1000, None, 1000, Action.APPEND, id="the first answer's total"),
        pytest.param(1000, None, 1001, Action.DISCARD, id="not the first answer's total"),
        pytest.param(None, 1000, 1000, Action.APPEND, id="the listed size"),
        pytest.param(None, 1000, 1001, Action.DISCARD, id="not the listed size"),
        pytest.param(1001, 1000, 1000, Action.DISCARD, id="the listed size, but not the first answer's"),
        pytest.param(1001, 1000, 1001, Action.DISCARD, id="the first answer's total, but not the listed size"),
    ],
)
def test_every_size_known_must_be_the_answers_total(
    total: int | None, size: int | None, answered: int, action: Action
) -> None:
    part, remote = replace(PART, total=total, size=size), replace(REMOTE, size=size)
    assert resume.action(part, 206, f"bytes 400-999/{answered}", remote) is action


def test_at_the_end_of_the_file_xnat_answers_an_empty_range_that_may_be_appended() -> None:
    part = replace(PART, held=1000)
    assert resume.action(part, 206, "bytes 1000-999/1000", REMOTE) is Action.APPEND


numbers = st.integers(0, 60)
sizes = st.none() | numbers
ranges = st.builds("bytes {}-{}/{}".format, numbers, numbers, numbers) | st.text(max_size=30)


@settings(deadline=None, max_examples=400)
@given(
    held=numbers,
    total=sizes,
    size=sizes,
    status=st.sampled_from([200, 204, 206, 304, 412, 416]),
    header=ranges,
)
def test_bytes_are_appended_only_where_they_belong(
    held: int, total: int | None, size: int | None, status: int, header: str
) -> None:
    part, remote = replace(PART, held=held, total=total, size=size), replace(REMOTE, size=size)
    action = resume.action(part, status, header, remote)
    assert (action is Action.RESTART) == (status == 200)
    if action is Action.APPEND:
        found = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", header)
        assert status == 206
        assert found is not None
        assert int(found[1]) == held
        assert total in (None, int(found[3]))
        assert size in (None, int(found[3]))


@settings(deadline=None)
@given(held=numbers, more=numbers)
def test_the_right_answer_is_always_appended(held: int, more: int) -> None:
    whole = held + more
    part, remote = replace(PART, held=held, total=whole, size=whole), replace(REMOTE, size=whole)
    assert resume.action(part, 206, f"bytes {held}-{whole - 1 if whole else 0}/{whole}", remote) is Action.APPEND


@pytest.mark.parametrize(
    ("part", "remote", "usable"),
    [
        pytest.param(PART, REMOTE, True, id="of the file as listed"),
        pytest.param(None, REMOTE, False, id="there is none"),
        pytest.param(replace(PART, held=0), REMOTE, False, id="empty"),
        pytest.param(replace(PART, held=1), REMOTE, True, id="one byte"),
        pytest.param(replace(PART, last_modified=""), REMOTE, False, id="of an unknown time"),
        pytest.param(PART, replace(REMOTE, md5="0" * 32), False, id="another digest is listed now"),
        pytest.param(PART, replace(REMOTE, md5=None), False, id="no digest is listed any more"),
        pytest.param(replace(PART, md5=None), REMOTE, False, id="a digest is listed since"),
        pytest.param(PART, replace(REMOTE, size=1001), False, id="another size is listed now"),
        pytest.param(PART, replace(REMOTE, size=None), False, id="no size is listed any more"),
        pytest.param(replace(PART, held=1000), REMOTE, True, id="all of it"),
        pytest.param(replace(PART, held=1001), REMOTE, False, id="more than is listed"),
        pytest.param(replace(PART, held=1001, total=None), REMOTE, False, id="more than is listed, no total known"),
        pytest.param(replace(PART, held=1000, size=None), replace(REMOTE, size=None), True, id="all of the total"),
        pytest.param(replace(PART, held=1001, size=None), replace(REMOTE, size=None), False, id="more than the total"),
        pytest.param(
            replace(PART, held=1 << 40, size=None, total=None), replace(REMOTE, size=None), True, id="no size is known"
        ),
        pytest.param(replace(PART, run="an older run"), REMOTE, True, id="of an older run, with a digest"),
        pytest.param(replace(PART, md5=None), replace(REMOTE, md5=None), True, id="of this run, without a digest"),
        pytest.param(
            replace(PART, md5=None, run="an older run"),
            replace(REMOTE, md5=None),
            False,
            id="of an older run, without a digest",
        ),
    ],
)
def test_which_partials_can_be_gone_on_with(part: Part | None, remote: RemoteFile, usable: bool) -> None:
    assert resume.usable(part, remote, "run 1") is usable


@pytest.mark.parametrize(
    ("held", "size", "complete"),
    [(999, 1000, False), (1000, 1000, True), (1001, 1000, False), (1000, None, False), (0, 0, True)],
)
def test_nothing_is_asked_for_once_all_bytes_are_here(held: int, size: int | None, complete: bool) -> None:
    assert resume.complete(replace(PART, held=held), replace(REMOTE, size=size)) is complete


def test_the_rest_is_asked_for_open_ended_and_only_of_the_same_version() -> None:
    assert resume.request_headers(None) == {}
    assert resume.request_headers(PART) == {"Range": "bytes=400-", "If-Unmodified-Since": DATE}


@pytest.mark.parametrize(
    ("status", "length", "header", "total"),
    [
        pytest.param(200, 1000, "", 1000, id="200 by its length"),
        pytest.param(200, None, "", None, id="200 without a length"),
        pytest.param(200, 600, "bytes 400-999/1000", 600, id="200 by nothing but its length"),
        pytest.param(206, 600, "bytes 400-999/1000", 1000, id="206 by the range"),
        pytest.param(206, 600, "", None, id="206 without a range"),
        pytest.param(206, 0, "bytes 1000-999/1000", 1000, id="206 with nothing left"),
    ],
)
def test_the_headers_tell_the_size_of_the_whole(
    status: int, length: int | None, header: str, total: int | None
) -> None:
    assert resume.stored_total(status, length, header) == total
