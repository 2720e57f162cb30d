"""All targets of the fuzzer: what is checked, which modules it is to reach, which words are worth trying.

A target takes any bytes at all and returns, or raises if its invariant does not hold.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fuzz import check_answers, check_listing, check_names, check_state, check_texts, check_zip

CORPUS = Path(__file__).parent / "corpus"

_ZIP = ("unzip", "_zipmember", "_zipformat", "_zipdirectory", "_pushbuffer")
_RECORDS = ("PK\3\4", "PK\1\2", "PK\5\6", "PK\6\6", "PK\6\7", "PK\7\x08", "\xff\xff\xff\xff", "\xff\xff", "\1\0\x10\0")
_ROW = ('"URI":"', "/data/experiments/", "/scans/", "/assessors/", "/out/", "/in/", "/resources/1/files/", '"Size":"1"')
_TABLE = ('{"ResultSet":{"Result":[', "]}}", '"ID":"', '{"items":[{"data_fields":{', "/data/projects/P1/subjects/S1")
_LEDGER = ('{"held":"1",', '"folder":"f",', '"files":[{', '"path":"a"', '"size":1', '"md5":""', '"mtime_ns":1', '"at":')
_INDEX = ('{"id":"a"', '"kind":""', '"listed":1', '"files":1', '"bytes":1', '"gone":true', "NaN", "Infinity", "1e999")
_FIELDS = (
    "{subject}",
    "{session}",
    "{scan}",
    "{scan_type}",
    "{resource}",
    "{project}",
    "{date}",
    "/",
    "{{",
    "resources",
)
_NAMES = ("CON", "nul.txt", ".xnat-sync", "%41", "%long", "~", "\u0308", "ß", "SS", "..", "/", " ", "\u200d", "ſ")
_TOML = (
    "[profiles.work]",
    "default_profile",
    "jobs = 8",
    "host = ",
    '"',
    "'''",
    "[[",
    "1979-05-27",
    "07:32",
    "true",
    "inf",
)
_VALUES = (
    "8h",
    "50M",
    "10GB",
    "10%",
    "08:00,10M",
    "18:00,off",
    "https://",
    "[::1]",
    ":8080",
    "@",
    "2026-01-31",
    "06:00",
)
_COOKIE = (
    "\tTRUE\t/\tFALSE\t0\t",
    "JSESSIONID\t",
    "#HttpOnly_",
    "example.org",
    ".org",
    "1800000001",
    "nan",
    "127.0.0.1",
)
_TOKEN = ('{"alias":"a","secret":"s"', '"estimatedExpirationTime":', '"created":', '"xdatUserId":', "NaN", "Infinity")
_DATES = ("Sun, 06 Nov 2094 08:49:37 GMT", "120", "Mon", "Jan", "-0000", "+9999", "99999", ":", "(")
_PAGES = (
    "https://",
    "Login.vm",
    "?",
    "#",
    "//",
    "[",
    "]",
    "<title>",
    "</title>",
    "<html",
    "expired",
    "maintenance",
    "text/html",
)


@dataclass(frozen=True)
class Target:
    """``check`` raises where its invariant does not hold; ``about`` are modules or functions of ``xnat_sync.core``."""

    check: Callable[[bytes], None]
    about: tuple[str, ...]
    words: tuple[str, ...] = ()
    longest: int = 4096  # bytes of an input


TARGETS = {
    "zip": Target(check_zip.any_bytes, _ZIP, _RECORDS),
    "zip-made": Target(check_zip.made, _ZIP, (), 300),
    "listing": Target(check_listing.any_bytes, ("listing",), _ROW + _TABLE),
    "ledger": Target(check_state.any_ledger, ("ledger",), (*_LEDGER, '{"gone":["', '{"extra":["', '"zip":5', "}]}\n")),
    "index": Target(check_state.any_index, ("index",), _INDEX),
    "names": Target(check_names.any_names, ("names",), _NAMES, 1500),
    "layout": Target(check_names.any_layout, ("layout",), _FIELDS + _NAMES, 400),
    "patterns": Target(
        check_names.any_pattern, ("patterns",), ("re:", "*", "?", "[!", "[a-z]", "{9}", "(?P<", "(?<=", "\\")
    ),
    "values": Target(check_texts.any_value, ("values", "bandwidth"), _VALUES, 200),
    "environment": Target(
        check_texts.any_environment,
        ("settings.merge", "settings._first", "settings._parsed", "settings.without_login", "settings.shown"),
        _VALUES + tuple(f"\n{name}=" for name in check_texts.KNOWN),
        400,
    ),
    "config": Target(
        check_texts.any_config, ("profiles", "settings._is_foreign"), _TOML + _VALUES + check_texts.KNOWN, 800
    ),
    "cookies": Target(check_texts.any_cookies, ("cookiefile",), _COOKIE, 800),
    "token": Target(check_answers.any_token, ("token",), _TOKEN, 400),
    "range": Target(
        check_answers.any_range,
        ("resume.action", "resume.stored_total"),
        ("bytes ", "-", "/", "*", "\n206\n", "\n200\n"),
        200,
    ),
    "wait": Target(check_answers.any_wait, ("retry.retry_after_seconds",), _DATES, 100),
    "refusal": Target(check_answers.any_refusal, ("refusal",), _PAGES, 800),
}


def corpus(name: str) -> dict[str, bytes]:
    """The inputs kept for a target, by the names of their files."""
    folder = CORPUS / name
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())} if folder.is_dir() else {}
