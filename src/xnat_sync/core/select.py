"""Which part of a project is asked for: exact names from the command line, looked up in the listings.

A name is an XNAT label or an accession id. One that matches nothing is an error that tells the nearest names, since a
mirror of nothing would otherwise end well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .errors import UsageError
from .model import Level, Resource, Unit, UnitKind
from .patterns import nearest


@dataclass(frozen=True, slots=True)
class Target:
    """A part of a project: all of it, a subject, an experiment, or a scan. Empty names ask for all."""

    project: str
    subject: str = ""
    experiment: str = ""
    scan: str = ""


def parse_target(text: str, depth: int) -> Target:
    """``P``, ``P/S``, ``P/S/E`` or ``P/S/E/SCAN``; ``depth`` is the number of names wanted.

    A scan id may hold slashes, so the last of four names takes the rest. Raises ``UsageError``.
    """
    names = text.strip("/").split("/", depth - 1) if depth == 4 else text.strip("/").split("/")
    shape = "/".join(("PROJECT", "SUBJECT", "EXPERIMENT", "SCAN")[:depth])
    if len(names) != depth or not all(names):
        raise UsageError(f"{text!r} does not name {shape}")
    return Target(*names)


def units(target: Target, all_units: Mapping[str, Unit]) -> list[Unit]:
    """The units that ``target`` asks for, in a stable order. Raises ``UsageError`` if a name matches none."""
    subjects = {u.id: u for u in all_units.values() if u.kind is UnitKind.SUBJECT}
    experiments = [u for u in all_units.values() if u.kind is UnitKind.EXPERIMENT]
    if not target.subject and not target.experiment:
        return list(all_units.values())
    chosen: list[Unit] = []
    if target.subject:
        chosen = [u for u in subjects.values() if target.subject in (u.id, u.label)]
        if not chosen:
            hint = nearest(target.subject, (u.label for u in subjects.values()))
            raise UsageError(f"no subject {target.subject!r} in project {target.project}{hint}")
        labels = {u.label for u in chosen}
        experiments = [u for u in experiments if u.subject_label in labels]
    if target.experiment:
        found = [u for u in experiments if target.experiment in (u.id, u.label)]
        if not found:
            hint = nearest(target.experiment, (u.label for u in experiments))
            raise UsageError(f"no experiment {target.experiment!r} in {target.project}/{target.subject}{hint}")
        return found
    return chosen + experiments


def is_wanted(target: Target, resource: Resource) -> bool:
    """Whether a resource of a chosen unit is asked for: with a scan named, only that scan's are."""
    if not target.scan:
        return True
    return resource.place.level is Level.SCAN and resource.place.owner == target.scan
