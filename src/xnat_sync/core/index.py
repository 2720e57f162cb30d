"""What the last good listing said of each unit, so that an unchanged one need not be listed again.

One JSON object a line, later lines win, a damaged line is passed over: the index saves requests and is believed for
nothing else. ``last_modified`` is compared for equality, as text; the server's clock and ours never meet.

A listing is repeated all the same after a while, since not every change on the server shows in ``last_modified``.
``due`` spreads that: each run takes its share, oldest first, and none waits longer than asked.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from math import floor

from .model import Unit, UnitKind, stays_within


@dataclass(frozen=True, slots=True)
class Seen:
    """A unit that was whole when it was listed. ``listed`` is our clock then, in seconds since the epoch."""

    id: str
    kind: str
    label: str
    subject: str
    folder: str
    last_modified: str
    listed: float
    files: int
    bytes: int


def line(seen: Seen) -> str:
    """The line of one unit."""
    return json.dumps(asdict(seen), separators=(",", ":")) + "\n"


def gone_line(unit: str) -> str:
    """The line that takes a unit out of the index."""
    return json.dumps({"id": unit, "gone": True}, separators=(",", ":")) + "\n"


_LATEST = 1 << 62  # seconds; also no NaN is less than that
_TYPES: Mapping[str, type | tuple[type, ...]] = {
    **{field.name: str for field in fields(Seen)},
    "listed": (int, float),
    "files": int,
    "bytes": int,
}


def replay(text: str) -> dict[str, Seen]:
    """Id -> what was seen. Never raises."""
    found: dict[str, Seen] = {}
    for entry_text in text.split("\n"):
        try:
            entry = json.loads(entry_text)
            if entry.get("gone") is True:
                found.pop(entry["id"], None)
            elif (
                all(isinstance(entry[name], kind) for name, kind in _TYPES.items())
                and abs(entry["listed"]) < _LATEST
                and (stays_within(entry["folder"]) if entry["folder"] else entry["kind"] == UnitKind.PROJECT.value)
            ):
                found[entry["id"]] = Seen(**{name: entry[name] for name in _TYPES})
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            continue
    return found


def compacted(found: Iterable[Seen]) -> str:
    """The shortest text that says the same."""
    return "".join(line(seen) for seen in sorted(found, key=lambda seen: seen.id))


def due(found: Iterable[Seen], now: float, relist_after: float) -> frozenset[str]:
    """The units to list again whatever the server says of changes. Times in seconds.

    All those listed longer ago than ``relist_after``, or in the future, as after a jump of the clock. And of the others
    the oldest, as many as fit the time since the newest listing, so that a nightly run takes a night's share.
    """
    known = sorted(found, key=lambda seen: (seen.listed, seen.id))
    late = {seen.id for seen in known if seen.listed > now or now - seen.listed >= relist_after}
    waiting = [seen for seen in known if seen.id not in late]
    if not waiting or relist_after <= 0:
        return frozenset(late)
    since = now - waiting[-1].listed
    share = floor(len(known) * since / relist_after)
    return frozenset(late | {seen.id for seen in waiting[:share]})


def current(units: Iterable[Unit], found: Mapping[str, Seen], again: frozenset[str]) -> frozenset[str]:
    """The units that need no listing: seen whole, unmoved and unchanged, and not due ``again``.

    The server dates experiments only. A subject's own resources are listed when one of its experiments is, the
    project's when anything is.
    """
    all_units = list(units)
    same = {
        unit.id
        for unit in all_units
        if (seen := found.get(unit.id)) is not None
        and unit.id not in again
        and (seen.folder, seen.last_modified) == (unit.folder, unit.last_modified)
        and (unit.last_modified or unit.kind is not UnitKind.EXPERIMENT)
    }
    changed = [unit for unit in all_units if unit.kind is UnitKind.EXPERIMENT and unit.id not in same]
    subjects = {unit.subject_id for unit in changed}
    return frozenset(
        unit.id
        for unit in all_units
        if unit.id in same
        and not (unit.kind is UnitKind.SUBJECT and unit.id in subjects)
        and not (unit.kind is UnitKind.PROJECT and changed)
    )
