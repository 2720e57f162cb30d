"""Which folder each thing of the server lies in: a template, labels made safe, and clashes told apart.

A layout is a template of folders. Its first part, which every experiment has of its own, is made of what is known from
the project's lists; the second, for each scan resource within, of what the experiment's listing tells. Resources of
other levels lie beside the scans under fixed words. ``short`` and ``xnat`` are such templates with names.

=============  ======================================================================
level          short
=============  ======================================================================
scan           ``{subject}/{session}/scans/{scan}/{resource}``
session        ``{subject}/{session}/resources/{resource}``
assessor       ``{subject}/{session}/assessors/{label}/{out|in|resources}/{resource}``
subject        ``{subject}/resources/{resource}``
project        ``resources/{resource}``
=============  ======================================================================

In ``xnat``, as in the zips of XNAT itself, a session lies at the top, a scan's folder bears its type as well, and each
``{resource}`` is ``resources/{resource}/files``.
"""

from __future__ import annotations

import re
import string
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from . import names
from .errors import UsageError
from .listing import ListedResource
from .model import Experiment, Level, Resource, Unit, UnitKind
from .patterns import nearest

STATE = ".xnat-sync"
RESOURCES = "resources"
METADATA = "experiment.json"
NAMED = {
    "short": "{subject}/{session}/scans/{scan}/{resource}",
    "xnat": "{session}/scans/{scan_and_type}/resources/{resource}/files",
}

_SUBJECT = frozenset({"subject", "subject_id"})
_SESSION = frozenset({"session", "session_id"})
_UNIT = _SUBJECT | _SESSION | {"project", "date", "session_type"}
_SCAN = frozenset({"scan", "scan_and_type"})
_RESOURCE = frozenset({"resource", "resource_id"})
_INNER = _SCAN | _RESOURCE | {"scan_type"}
_FIXED = (RESOURCES, "assessors", "reconstructions", METADATA)

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, slots=True)
class _Step:
    """One folder of a path: whose it is, what it would be called. A ``fixed`` word is nobody's and keeps its name."""

    owner: str
    text: str
    fixed: bool = False


@dataclass(frozen=True, slots=True)
class Layout:
    """A checked template: the folders of an experiment, and below them those of a scan resource.

    ``name`` is the template's name if it has one, else its text.
    """

    name: str
    outer: tuple[str, ...]
    inner: tuple[str, ...]

    @property
    def wrapped(self) -> bool:
        """Whether a resource is ``resources/{resource}/files`` at every level."""
        return self.name == "xnat"


def parse(text: str) -> Layout:
    """The layout of ``--layout``: ``short``, ``xnat`` or a template. Raises ``UsageError``.

    A template in which two resources could fall together is refused here, before anything is asked for.
    """
    template = NAMED.get(text, text)
    parts = template.split("/")
    if any(part in ("", ".", "..") for part in parts) or "\\" in template:
        raise UsageError(f"--layout {text!r}: a template is a relative path such as {NAMED['short']}")
    fields = [_fields(part, text) for part in parts]
    for part, found in zip(parts, fields, strict=True):
        if not found and part not in _FIXED and names.fold(part) in {names.fold(word) for word in _FIXED}:
            raise UsageError(f"--layout {text!r}: {part!r} would fall together with a fixed word of the mirror")
    first = next((i for i, found in enumerate(fields) if found & _INNER), len(parts))
    split = 1 + max((i for i in range(first) if fields[i]), default=-1)
    outer, inner = frozenset[str]().union(*fields[:split]), frozenset[str]().union(*fields[split:])
    for needed, where, found in (
        (_SESSION, "before any of the scan", outer),
        (_SCAN, "so that scans have folders of their own", inner),
        (_RESOURCE, "so that resources have folders of their own", inner),
    ):
        if not needed & found:
            words = " or ".join(f"{{{name}}}" for name in sorted(needed))
            raise UsageError(f"--layout {text!r} lacks {words}, {where}")
    name = next((known for known, named in NAMED.items() if named == template), template)
    return Layout(name, tuple(parts[:split]), tuple(parts[split:]))


def _fields(part: str, text: str) -> frozenset[str]:
    try:
        found = [(name, spec, how) for _, name, spec, how in string.Formatter().parse(part) if name is not None]
    except ValueError as error:
        raise UsageError(f"--layout {text!r}: {error}") from None
    for name, spec, how in found:
        if name not in _UNIT | _INNER or spec or how:
            hint = nearest(name, _UNIT | _INNER) or f"; there are {', '.join(sorted(_UNIT | _INNER))}"
            raise UsageError(f"--layout {text!r}: no field is called {{{name}}}{hint}")
    return frozenset(name for name, _, _ in found)


SHORT = parse("short")


def _paths(rows: Iterable[tuple[Key, Sequence[_Step]]], reserved: Sequence[str], depth: int) -> dict[Key, str]:
    """Key -> path made of the row's steps from the top; folders of different owners never fall together.

    Down to ``depth`` no folder takes a ``reserved`` name, but one that is that very word.
    """
    made: dict[Key, str] = {}
    waiting = [("", key, tuple(steps)) for key, steps in rows]
    while waiting:
        reserved, depth = (reserved if depth else ()), depth - 1
        below: defaultdict[str, list[tuple[Key, tuple[_Step, ...]]]] = defaultdict(list)
        for parent, key, steps in waiting:
            if steps:
                below[parent].append((key, steps))
            else:
                made[key] = parent.removesuffix("/")
        waiting = []
        for parent, members in below.items():
            steps_here = {steps[0] for _, steps in members}
            words = {*reserved, *(step.text for step in steps_here if step.fixed)}
            given = names.assign(
                [
                    *((step.owner, step.text) for step in steps_here if not step.fixed),
                    *((f"\0{word}", word) for word in words),
                ]
            )
            for key, steps in members:
                name = names.safe(steps[0].text) if steps[0].fixed else given[steps[0].owner]
                waiting.append((f"{parent}{name}/", key, steps[1:]))
    return made


def _step(part: str, values: Mapping[str, str], owners: Sequence[tuple[frozenset[str], str]]) -> _Step:
    """One part of the template filled in; ``owners`` are (fields, id), the most particular first."""
    fields = _fields(part, part)
    text = part.format(**values)
    if not fields:
        return _Step("", text, fixed=True)
    return _Step(next((owner for some, owner in owners if fields & some), text), text)


def units(
    project: str,
    experiments: Sequence[Experiment],
    subjects: Mapping[str, str] | None = None,
    layout: Layout = SHORT,
) -> dict[str, Unit]:
    """Id -> unit: the project itself, each of its subjects, each of their experiments.

    The whole project's list must be given, whatever part of it is wanted: clashes depend on all siblings.
    ``subjects`` (id -> label) adds those that have no experiment.
    """
    labels = dict(subjects or {}) | {e.subject_id: e.subject_label for e in experiments}
    rows: list[tuple[str, list[_Step]]] = []
    for e in experiments:
        values = {
            "project": project, "subject": e.subject_label, "subject_id": e.subject_id, "session": e.label,
            "session_id": e.id, "date": e.date or "undated", "session_type": e.xsi_type.rpartition(":")[2],
        }  # fmt: skip
        owners = [(_SESSION, e.id), (_SUBJECT, e.subject_id)]
        rows.append((e.id, [_step(part, values, owners) for part in layout.outer]))
    above = _above_sessions(layout)
    for subject, label in sorted(labels.items()):
        if subject:
            values = {"project": project, "subject": label, "subject_id": subject}
            rows.append((subject, [_step(part, values, [(_SUBJECT, subject)]) for part in above]))
    folders = _paths(rows, (RESOURCES,), len(above) + 1)
    made = {project: Unit(UnitKind.PROJECT, project, project, project, "")}
    for subject, label in sorted(labels.items()):
        if subject:
            made[subject] = Unit(UnitKind.SUBJECT, project, subject, label, folders[subject], label, subject)
    for e in experiments:
        made[e.id] = Unit(
            kind=UnitKind.EXPERIMENT,
            project=project,
            id=e.id,
            label=e.label,
            folder=folders[e.id],
            subject_label=e.subject_label,
            subject_id=e.subject_id,
            last_modified=e.last_modified,
            xsi_type=e.xsi_type,
            date=e.date,
        )
    return made


def _above_sessions(layout: Layout) -> tuple[str, ...]:
    """The parts of the template that make a subject's folder, or a folder of its own where they make none."""
    fields = [_fields(part, layout.name) for part in layout.outer]
    first = next(number for number, found in enumerate(fields) if not found <= {"project"})
    return layout.outer[: first + 1] if fields[first] <= _SUBJECT | {"project"} else ("{subject}",)


def place(
    unit: Unit,
    listed: Sequence[ListedResource],
    types: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
    layout: Layout = SHORT,
) -> tuple[Resource, ...]:
    """The listed resources of a unit with the folder of each, relative to the unit's.

    ``types`` are scan types by scan id, ``labels`` are assessors' labels by their id; both may lack entries.
    """
    types, labels = types or {}, labels or {}
    rows = [(r.id, _steps(unit, r, types, labels, layout)) for r in listed]
    folders = _paths(rows, _FIXED, 1)
    return tuple(
        Resource(
            unit, r.place, r.id, r.label, r.files, folders[r.id],
            types.get(r.place.owner, "") if r.place.level is Level.SCAN else "",
        )
        for r in listed
    )  # fmt: skip


def _steps(
    unit: Unit, resource: ListedResource, types: Mapping[str, str], labels: Mapping[str, str], layout: Layout
) -> list[_Step]:
    spot, name = resource.place, resource.label or resource.id
    own = _Step(resource.id, name)
    last = [_Step("", RESOURCES, True), own, _Step("", "files", True)] if layout.wrapped else [own]
    match spot.level:
        case Level.SCAN:
            kind = types.get(spot.owner, "")
            suffix = "-" + re.sub(r"\W", "_", kind) if kind else ""
            values = {
                "project": unit.project, "subject": unit.subject_label, "subject_id": unit.subject_id,
                "session": unit.label, "session_id": unit.id, "date": unit.date or "undated",
                "session_type": unit.xsi_type.rpartition(":")[2],
                "scan": spot.owner, "scan_and_type": spot.owner + suffix, "scan_type": kind or "untyped",
                "resource": name, "resource_id": resource.id,
            }  # fmt: skip
            owners = [(_RESOURCE, resource.id), (_SCAN, f"scan-{spot.owner}")]
            return [_step(part, values, owners) for part in layout.inner]
        case Level.ASSESSOR | Level.RECONSTRUCTION:
            owner = _Step(
                f"{spot.level}-{spot.owner}" if spot.level is Level.RECONSTRUCTION else spot.owner,
                labels.get(spot.owner, spot.owner),
            )
            way = _Step("", spot.direction or RESOURCES, True)
            if layout.wrapped and not spot.direction:
                return [_Step("", str(spot.level), True), owner, *last]
            return [_Step("", str(spot.level), True), owner, way, *last]
        case _:
            return last if layout.wrapped else [_Step("", RESOURCES, True), own]
