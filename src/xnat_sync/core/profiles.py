"""The configuration file: TOML text -> one profile's settings as text, every key known.

::

    default_profile = "work"

    [profiles.work]
    host = "https://xnat.example.org"
    jobs = 8

A profile holds settings by their long names, with ``-`` or ``_``. Secrets do not belong there. Nothing is inherited
from one profile by another, so that what a profile does can be read in one place.
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, time

from .errors import UsageError
from .patterns import nearest

Text = str | Sequence[str]
_TOP = ("default_profile", "profiles")
_SECRETS = frozenset({"password", "pass", "secret", "jsession", "token", "alias"})


@dataclass(frozen=True, slots=True)
class Profile:
    """One profile: its settings as text. ``origin`` names it to people."""

    name: str
    values: Mapping[str, Text]
    origin: str


def chosen(text: str, path: str, name: str | None, known: Collection[str]) -> Profile | None:
    """The profile called ``name``, else the default one; None if no profile was asked for and there is no default.

    ``known`` are the keys that a profile may hold. The whole file is checked, other profiles too, so that a mistake
    shows at once. Raises ``UsageError``.
    """
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # TOML's own errors are of the first kind
        raise UsageError(f"{path} is no TOML: {error}") from None
    _check(document, _TOP, f"{path}", "key")
    tables = document.get("profiles", {})
    if not isinstance(tables, dict):
        raise UsageError(f"{path}: profiles are written as tables: [profiles.NAME]")
    profiles = {key: _profile(key, table, path, known) for key, table in tables.items()}
    wanted = name
    if wanted is None:
        wanted = document.get("default_profile")
        if wanted is None:
            return None
        if not isinstance(wanted, str):
            raise UsageError(f"{path}: default_profile is the name of a profile")
    if wanted not in profiles:
        raise UsageError(f"{path} has no profile {wanted!r}{nearest(wanted, profiles)}")
    return profiles[wanted]


def _profile(name: str, table: object, path: str, known: Collection[str]) -> Profile:
    where = f"{path}, profile {name}"
    if not isinstance(table, dict):
        raise UsageError(f"{where}: a profile is written as a table: [profiles.{name}]")
    plain = {key.replace("-", "_"): value for key, value in table.items()}
    _check(plain, known, where, "setting")
    values = {key: _text(value, f"{where}, {key}") for key, value in plain.items()}
    return Profile(name, values, f"profile {name} of {path}")


def _check(table: Mapping[str, object], known: Collection[str], where: str, kind: str) -> None:
    for key in table:
        if key in known:
            continue
        if key in _SECRETS:
            raise UsageError(f"{where}: {key}: secrets do not belong in this file; see password_command and netrc")
        hint = "; settings stand in a table [profiles.NAME]" if kind == "key" else nearest(key, known)
        raise UsageError(f"{where}: there is no {kind} {key!r}{hint}")


def _text(value: object, where: str) -> Text:
    match value:
        case bool():
            return "1" if value else "0"
        case str():
            return value
        case int() if abs(value) >= 1 << 64:
            raise UsageError(f"{where}: this number is too large")
        case int() | float():
            return str(value)
        case time():
            return f"{value:%H:%M}"
        case date():
            return value.isoformat()
        case list() if all(isinstance(one, str | int | float | date) and not isinstance(one, bool) for one in value):
            return [str(one) for one in value]
    raise UsageError(f"{where}: this is text, a number, true or false, or a list of texts")
