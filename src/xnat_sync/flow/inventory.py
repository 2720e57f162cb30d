"""What a unit has, by two answers that check each other: the file listing and the resource list.

One unreadable catalog makes the combined file listing of a whole session a ``404``, and a resource that the server
fails to load is left out of it with ``200``. So what the database counts and the listing lacks is asked for by
itself. A resource that cannot be listed is told, and costs only itself; a count that proves stale costs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import anyio.to_thread

from xnat_sync.core import events, layout, listing, urls
from xnat_sync.core.errors import ItemError, Refused, Transient, Vanished
from xnat_sync.core.listing import ListedResource, ResourceRow
from xnat_sync.core.model import Level, Resource, Unit, UnitKind
from xnat_sync.shell.net import Client

from .attempt import Attempts
from .bus import Bus

_OFF_LOOP = 1 << 18


@dataclass(frozen=True, slots=True)
class Inventory:
    """The resources of a unit, each with its place on disk.

    Not ``whole`` if some could not be listed; ``doubtful`` if the server counts files that it does not list.
    """

    resources: tuple[Resource, ...]
    whole: bool
    doubtful: bool = False


class Lister:
    """Takes the inventory of units for one run."""

    def __init__(self, client: Client, attempts: Attempts, bus: Bus, folders: layout.Layout = layout.SHORT) -> None:
        """``folders`` says where things are to lie."""
        self._layout = folders
        self._client = client
        self._attempts = attempts
        self._bus = bus

    async def take(self, unit: Unit) -> Inventory:
        """List a unit and tell of it. Raises ``ItemError`` if nothing of it can be listed."""
        rows = await self._rows(unit) if unit.kind is UnitKind.EXPERIMENT else []
        listed: dict[str, ListedResource] = {}
        doubtful = rows
        try:
            listed = {resource.id: resource for resource in await self._files(unit)}
        except (Vanished, Refused, Transient) as error:
            if isinstance(error, Transient) and error.status != 500:
                raise
            if unit.kind is not UnitKind.EXPERIMENT:
                rows = doubtful = await self._rows(unit)
            if not rows:
                raise
        else:
            doubtful = [row for row in rows if _hidden(row, listed.get(row.id))]
        whole = True
        for row in doubtful:
            whole &= await self._alone(unit, row, listed)
        if unit.kind is UnitKind.EXPERIMENT and not listed.keys() <= {row.id for row in rows}:
            # What it does not tell of would be of no scan type. One that lacks it twice lacks it for good.
            rows = await self._rows(unit)
        found = sorted(listed.values(), key=lambda resource: int(resource.id))
        files = sum(len(resource.files) for resource in found)
        self._bus(events.Listed(unit.id, unit.label, len(found), files, listing.total_bytes(found)))
        types = {row.owner: row.detail for row in rows if row.category == "scans"}
        hides = any(_hidden(row, listed.get(row.id)) for row in doubtful)
        return Inventory(layout.place(unit, found, types, await self._labels(unit, found), self._layout), whole, hides)

    async def _rows(self, unit: Unit) -> list[ResourceRow]:
        what = f"resources of {unit.label}"

        async def ask() -> list[ResourceRow]:
            return listing.resources(await self._client.fetch(urls.resources(unit), what), unit)

        return await self._attempts(what, ask)

    async def _files(self, unit: Unit) -> tuple[ListedResource, ...]:
        return await self._listing(unit, f"files of {unit.label}", urls.files(unit))

    async def _listing(self, unit: Unit, what: str, path: str) -> tuple[ListedResource, ...]:
        async def ask() -> tuple[ListedResource, ...]:
            body = await self._client.fetch(path, what)
            if len(body) < _OFF_LOOP:
                return listing.files(body, unit)
            return await anyio.to_thread.run_sync(listing.files, body, unit)

        return await self._attempts(what, ask)

    async def _alone(self, unit: Unit, row: ResourceRow, listed: dict[str, ListedResource]) -> bool:
        """List one resource by itself; False if that cannot be done."""
        place = listing.row_place(row, unit)
        name = Resource(unit, place, row.id, row.label, ()).name
        try:
            found = await self._listing(unit, f"files of {name}", urls.resource_files(unit, row.id))
        except ItemError as error:
            self._bus(events.Failed(unit.id, name, "", f"{error}; its other resources are not affected"))
            return False
        for resource in found:
            if resource.id == row.id:
                known = listed.get(row.id)
                listed[row.id] = ListedResource(known.place if known else place, row.id, row.label, resource.files)
        shown = len(listed[row.id].files) if row.id in listed else 0
        if row.count and not shown:
            error_text = f"the server counts {row.count} files in it and lists none"
            self._bus(events.Failed(unit.id, name, "", error_text))
            return False
        if row.count is not None and row.count > shown:
            self._bus(events.Doubted(unit.id, name, row.count, shown))
        return True

    async def _labels(self, unit: Unit, found: list[ListedResource]) -> dict[str, str]:
        owners = {resource.place.owner for resource in found if resource.place.level is Level.ASSESSOR}
        if not owners:
            return {}
        what = f"assessors of {unit.label}"

        async def ask() -> dict[str, str]:
            return listing.assessor_labels(await self._client.fetch(urls.assessors(unit.id), what), unit.id)

        labels = await self._attempts(what, ask)
        if not owners <= labels.keys():
            # Those without a label go by their ids. A list that lacks them twice lacks them for good.
            labels |= await self._attempts(what, ask)
        return labels


def _hidden(row: ResourceRow, listed: ListedResource | None) -> bool:
    """Whether the database knows of files that the listing does not show. It may be stale, so this is a doubt only."""
    if listed is None:
        return row.count != 0
    return row.count is not None and row.count > len(listed.files)
