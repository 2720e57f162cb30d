"""projects and ls: what is on the server, in as few requests as it takes."""

from __future__ import annotations

from collections.abc import Sequence

from xnat_sync.core import layout, listing, patterns, select, urls
from xnat_sync.core.errors import NotVisible, Refused, UsageError, Vanished
from xnat_sync.core.model import Level, Resource, Unit, UnitKind
from xnat_sync.core.select import Target
from xnat_sync.core.settings import Settings
from xnat_sync.shell.net import Client
from xnat_sync.shell.show import size

from .run import fetch_text, with_client
from .tables import aligned, as_json


def _print(settings: Settings, header: Sequence[str], rows: Sequence[Sequence[str]]) -> int:
    print(as_json(header, rows) if settings.json else aligned(header, rows))  # noqa: T201
    return 0


async def projects(settings: Settings) -> int:
    """List the projects that may be read."""

    async def ask(client: Client) -> int:
        rows = listing.projects(await fetch_text(settings, client, urls.PROJECTS, "the project list"))
        return _print(settings, ("id", "name"), [(row.id, row.name) for row in rows])

    return await with_client(settings, ask)


async def ls(settings: Settings, path: str) -> int:
    """List one level below ``path``."""
    depth = min(path.strip("/").count("/") + 1, 4)
    target = select.parse_target(path, depth)

    async def ask(client: Client) -> int:
        what = f"experiments of project {target.project}"
        try:
            body = await fetch_text(settings, client, urls.experiments(target.project), what)
        except (Vanished, Refused) as error:
            raise NotVisible(f"project {target.project!r} does not exist, or {client.user!r} may not see it") from error
        units = select.units(target, layout.units(target.project, listing.experiments(body, target.project)))
        if depth <= 2:
            return _print(settings, *_experiments(units, depth))
        resources = await _resources(settings, client, units[0])
        wanted = [r for r in resources if select.is_wanted(target, r)]
        if target.scan and not wanted:
            raise UsageError(f"no scan {target.scan!r} in {target.experiment}{_scans(target, resources)}")
        return _print(settings, *_files(wanted))

    return await with_client(settings, ask)


def _scans(target: Target, resources: Sequence[Resource]) -> str:
    return patterns.nearest(target.scan, (r.place.owner for r in resources if r.place.level is Level.SCAN))


def _experiments(units: Sequence[Unit], depth: int) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
    found = [unit for unit in units if unit.kind is UnitKind.EXPERIMENT]
    if depth == 2:
        return ("experiment", "id", "type", "date"), [(u.label, u.id, u.xsi_type, u.date) for u in found]
    return ("subject", "experiment", "id", "type", "date"), [
        (u.subject_label, u.label, u.id, u.xsi_type, u.date) for u in sorted(found, key=lambda u: u.folder)
    ]


async def _resources(settings: Settings, client: Client, unit: Unit) -> tuple[Resource, ...]:
    body = await fetch_text(settings, client, urls.files(unit), f"files of {unit.label}")
    return layout.place(unit, listing.files(body, unit))


def _files(resources: Sequence[Resource]) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
    rows = []
    for resource in resources:
        known = sum(file.size or 0 for file in resource.files)
        unknown = "≥" if any(file.size is None for file in resource.files) else ""
        where = "/".join(
            part for part in (resource.place.level, resource.place.owner, resource.place.direction) if part
        )
        rows.append((where, resource.label or resource.id, str(len(resource.files)), unknown + size(known)))
    return ("place", "resource", "files", "size"), rows
