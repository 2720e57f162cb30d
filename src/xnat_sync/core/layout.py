"""Which folder each thing of the server lies in: labels made safe, and clashes told apart.

Under a project's folder stand its subjects, under them their experiments, and in each the fixed words of the layout
(``scans``, ``resources``, ``assessors``, ``reconstructions``) with what hangs there. A label that would take the
place of a fixed word is told apart like any other clash.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from . import names
from .listing import ListedResource
from .model import Experiment, Level, Place, Resource, Unit, UnitKind

RESOURCES = "resources"
STATE = ".xnat-sync"


def _siblings(labels: Iterable[tuple[str, str]]) -> dict[str, str]:
    """(id, label) of siblings -> folder names, none of them equal to the fixed word ``resources``."""
    reserved = "\0resources"
    given = names.assign([*labels, (reserved, RESOURCES)])
    del given[reserved]
    return given


def subject_folders(subjects: Mapping[str, str]) -> dict[str, str]:
    """Accession id -> folder of each subject of a project, from id -> label."""
    return _siblings(sorted(subjects.items()))


def units(
    project: str, experiments: Sequence[Experiment], subjects: Mapping[str, str] | None = None
) -> dict[str, Unit]:
    """Id -> unit: the project itself, each of its subjects, each of their experiments.

    The whole project's list must be given, whatever part of it is wanted: clashes depend on all siblings.
    ``subjects`` adds those that have no experiment.
    """
    labels = {e.subject_id: e.subject_label for e in experiments} | dict(subjects or {})
    folders = subject_folders(labels)
    by_subject: defaultdict[str, list[Experiment]] = defaultdict(list)
    for experiment in experiments:
        by_subject[experiment.subject_id].append(experiment)
    made = {
        subject: Unit(UnitKind.SUBJECT, project, subject, label, folders[subject], label, subject)
        for subject, label in labels.items()
        if subject
    }
    made[project] = Unit(UnitKind.PROJECT, project, project, project, "")
    for subject, members in by_subject.items():
        given = _siblings((e.id, e.label) for e in members)
        for e in members:
            made[e.id] = Unit(
                kind=UnitKind.EXPERIMENT,
                project=project,
                id=e.id,
                label=e.label,
                folder=f"{folders[subject]}/{given[e.id]}",
                subject_label=e.subject_label,
                subject_id=e.subject_id,
                last_modified=e.last_modified,
                xsi_type=e.xsi_type,
                date=e.date,
            )
    return made


def place(
    unit: Unit,
    listed: Sequence[ListedResource],
    types: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
) -> tuple[Resource, ...]:
    """The listed resources of a unit with the folder of each, relative to the unit's.

    ``types`` are scan types by scan id, ``labels`` are assessors' labels by their id; both may lack entries.
    """
    types, labels = types or {}, labels or {}
    owners: dict[Level, dict[str, str]] = {
        level: names.assign(
            (r.place.owner, labels.get(r.place.owner, r.place.owner)) for r in listed if r.place.level is level
        )
        for level in (Level.SCAN, Level.ASSESSOR, Level.RECONSTRUCTION)
    }
    by_place: defaultdict[Place, list[ListedResource]] = defaultdict(list)
    for resource in listed:
        by_place[resource.place].append(resource)
    placed = []
    for spot, members in by_place.items():
        given = names.assign((r.id, r.label or r.id) for r in members)
        parent = _parent(spot, owners)
        scan_type = types.get(spot.owner, "") if spot.level is Level.SCAN else ""
        placed += [Resource(unit, spot, r.id, r.label, r.files, f"{parent}/{given[r.id]}", scan_type) for r in members]
    return tuple(placed)


def _parent(spot: Place, owners: Mapping[Level, Mapping[str, str]]) -> str:
    match spot.level:
        case Level.SCAN:
            return f"scans/{owners[spot.level][spot.owner]}"
        case Level.ASSESSOR | Level.RECONSTRUCTION:
            return f"{spot.level}/{owners[spot.level][spot.owner]}/{spot.direction or RESOURCES}"
        case _:
            return RESOURCES
