"""Alias tokens: what the server issues, and when a new one is due."""

from __future__ import annotations

import json

import pytest

from xnat_sync.core.errors import BadListing
from xnat_sync.core.model import Secret
from xnat_sync.core.token import Token, is_due, parse

NOW = 1_800_000_000.0
DAY = 86400.0


def body(**changes: object) -> bytes:
    issued = {
        "alias": "a-b-c",
        "secret": "s" * 64,
        "xdatUserId": "jdoe",
        "singleUse": False,
        "created": 1_700_000_000_000,
        "estimatedExpirationTime": 1_700_000_000_000 + int(2 * DAY * 1000),
    }
    return json.dumps({key: value for key, value in (issued | changes).items() if value is not None}).encode()


def test_its_life_is_told_by_our_clock_even_where_the_server_clock_is_wrong() -> None:
    assert parse(body(), NOW) == Token("jdoe", Secret("a-b-c"), Secret("s" * 64), NOW, NOW + 2 * DAY)


@pytest.mark.parametrize(
    ("changes", "ends"),
    [
        ({"created": None}, 1_700_172_800.0),
        ({"created": "2024-01-01"}, 1_700_172_800.0),
        ({"estimatedExpirationTime": None}, None),
        ({"estimatedExpirationTime": "soon"}, None),
    ],
)
def test_what_is_not_told_is_not_made_up(changes: dict[str, object], ends: float | None) -> None:
    assert parse(body(**changes), NOW).ends == ends


@pytest.mark.parametrize(
    "answer", [b"", b"{}", b"[]", b"null", b"<html>", body(alias=None), body(secret=""), body(alias=3)]
)
def test_an_answer_without_a_token_is_none(answer: bytes) -> None:
    with pytest.raises(BadListing, match="holds none") as caught:
        parse(answer, NOW)
    assert "sss" not in str(caught.value)


@pytest.mark.parametrize(("age", "due"), [(0.0, False), (0.4 * DAY, False), (0.6 * DAY, True), (3 * DAY, True)])
def test_a_token_of_two_days_is_renewed_after_half_a_day(age: float, due: bool) -> None:
    assert is_due(parse(body(), NOW), NOW + age) is due


def test_a_token_without_an_end_is_never_due() -> None:
    assert not is_due(parse(body(estimatedExpirationTime=None), NOW), NOW + 999 * DAY)


def test_a_token_does_not_show_itself() -> None:
    assert "sss" not in repr(parse(body(), NOW))
    assert "a-b-c" not in repr(parse(body(), NOW))
