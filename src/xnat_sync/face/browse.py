"""projects and ls: what is on the server, in as few requests as it takes.

``ls`` of a project costs two listings, whatever its size: experiments and subjects. Counts and sizes of files are told
where file listings are read, from a subject downwards, and so are true; a size that the catalog does not know makes
the sum a lower bound.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from xnat_sync.core import layout, listing, select, urls
from xnat_sync.core.errors import NotVisible, Refused, Vanished
from xnat_sync.core.events import Exit
from xnat_sync.core.model import RemoteFile, Resource, Unit, UnitKind
from xnat_sync.core.settings import Settings
from xnat_sync.flow.attempt import Attempts
from xnat_sync.flow.bus import Bus
from xnat_sync.flow.inventory import Lister
from xnat_sync.shell.net import Client
from xnat_sync.shell.show import plain, say, size

from .enter import policy
from .run import asked, selection, with_client
from .tables import Cell, aligned, as_csv, as_json

Table = tuple[Sequence[str], Sequence[Sequence[Cell]]]


def _print(settings: Settings, table: Table) -> int:
    write = as_json if settings.json else as_csv if settings.csv else aligned
    say(write(*table))
    return 0


def _lacks(told: Bus) -> int:
    """Tell what could not be listed; the exit code that follows."""
    for (_, resource, _), error in told.tally.failed.items():
        say(plain(f"failed: {resource}: {error}"), sys.stderr)
    return int(Exit.INCOMPLETE if told.tally.failed else Exit.OK)


async def projects(settings: Settings) -> int:
    """List the projects that may be read."""

    async def ask(client: Client) -> int:
        rows = await asked(settings, client, urls.PROJECTS, "the project list", listing.projects)
        return _print(settings, (("id", "name", "description"), [(row.id, row.name, row.description) for row in rows]))

    return await with_client(settings, ask)


async def ls(settings: Settings, path: str) -> int:
    """List one level below ``path``."""
    depth = min(path.strip("/").count("/") + 1, 4)
    wanted = selection(settings, select.parse_target(path, depth))
    within = depth >= 3 or bool(wanted.scans or wanted.scan_types or wanted.resources or wanted.levels)

    async def ask(client: Client) -> int:
        units = wanted.units(await _units(settings, client, wanted.target.project))
        if depth == 1 and not within:
            return _print(settings, _experiments(units))
        told = Bus()
        lister = Lister(client, Attempts(client, told, policy(settings)), told)
        if not within:
            listed = [(unit, (await lister.take(unit)).resources) for unit in units]
            return _print(settings, _sessions(listed, people=not (settings.json or settings.csv))) or _lacks(told)
        resources: list[Resource] = []
        for unit in units:
            found = await lister.take(unit)
            resources += [resource for resource in found.resources if wanted.takes(resource)]
        wanted.complain()
        return _print(settings, _resources(resources, people=not (settings.json or settings.csv))) or _lacks(told)

    return await with_client(settings, ask)


async def _units(settings: Settings, client: Client, project: str) -> dict[str, Unit]:
    where = urls.experiments(project), f"experiments of project {project}"
    people = urls.subjects(project), f"subjects of project {project}"
    try:
        found = await asked(settings, client, *where, lambda body: listing.experiments(body, project))
        subjects = await asked(settings, client, *people, lambda body: listing.subjects(body, project))
    except (Vanished, Refused) as error:
        raise NotVisible(f"project {project!r} does not exist, or {client.user!r} may not see it") from error
    return layout.units(project, found, {row.id: row.label for row in subjects})


def _experiments(units: Sequence[Unit]) -> Table:
    found = sorted((unit for unit in units if unit.kind is UnitKind.EXPERIMENT), key=lambda unit: unit.folder)
    return ("subject", "experiment", "id", "type", "date", "last_modified"), [
        (u.subject_label, u.label, u.id, u.xsi_type, u.date, u.last_modified) for u in found
    ]


def _sessions(listed: Sequence[tuple[Unit, Sequence[Resource]]], *, people: bool) -> Table:
    rows: list[Sequence[Cell]] = []
    for unit, resources in listed:
        files = [file for resource in resources for file in resource.files]
        row: list[Cell] = [unit.label, unit.id, unit.xsi_type, unit.date, len(resources), len(files)]
        rows.append([*row, *_size(files, people=people)])
    header = ("unit", "id", "type", "date", "resources", "files")
    return (*header, *_size_header(people=people)), rows


def _size_header(*, people: bool) -> Sequence[str]:
    return ("size",) if people else ("bytes", "files_of_unknown_size")


def _size(files: Sequence[RemoteFile], *, people: bool) -> Sequence[Cell]:
    known, unknown = sum(file.size or 0 for file in files), sum(file.size is None for file in files)
    return (f"{'≥' if unknown else ''}{size(known)}",) if people else (known, unknown)


def _resources(resources: Sequence[Resource], *, people: bool) -> Table:
    rows: list[Sequence[Cell]] = []
    for resource in resources:
        place = resource.place
        where = "/".join(part for part in (place.level, place.owner, place.direction) if part)
        row: list[Cell] = [resource.unit.label, where, resource.scan_type, resource.label, resource.id]
        rows.append([*row, len(resource.files), *_size(resource.files, people=people)])
    header = ("unit", "place", "type", "resource", "id", "files")
    return (*header, *_size_header(people=people)), rows
