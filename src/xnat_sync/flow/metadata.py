"""``--metadata``: an experiment's own record, as the server gives it in JSON, beside its data and in its ledger."""

from __future__ import annotations

import hashlib

import anyio.to_thread

from xnat_sync.core import events, layout, ledger, listing, urls
from xnat_sync.core.errors import BadListing, ItemError
from xnat_sync.core.model import Held, Level, Place, Resource, Unit, UnitKind
from xnat_sync.shell import disk
from xnat_sync.shell.mirror import Mirror
from xnat_sync.shell.net import Client

from .attempt import Attempts
from .bus import Bus


class Metadata:
    """Keeps the records of experiments for one run."""

    def __init__(self, client: Client, attempts: Attempts, bus: Bus, mirror: Mirror, *, overwrite: bool) -> None:
        self._client = client
        self._attempts = attempts
        self._bus = bus
        self._mirror = mirror
        self._overwrite = overwrite

    async def keep(self, unit: Unit, held: ledger.Replay) -> bool:
        """Bring the record of ``unit`` up to date; False, and told, if that cannot be done."""
        if unit.kind is not UnitKind.EXPERIMENT:
            return True
        what = f"record of {unit.label}"

        async def ask() -> bytes:
            body = await self._client.fetch(urls.item(unit.id), what)
            if listing.item_fields(body, what).get("ID") != unit.id:
                raise BadListing(f"{what}: the server answered with the record of something else")
            return body

        try:
            body = await self._attempts(what, ask)
            fresh = await anyio.to_thread.run_sync(self._write, unit, held.files.get(layout.METADATA), body)
        except ItemError as error:
            self._bus(events.Failed(unit.id, unit.label, layout.METADATA, str(error)))
            return False
        if fresh is not None:
            resource = Resource(unit, Place(Level.SESSION), "", "", ())
            await disk.append_text(self._mirror.ledger_path(unit.id), ledger.held_line(resource, [fresh]))
        return True

    def _write(self, unit: Unit, record: Held | None, body: bytes) -> Held | None:
        at, md5 = layout.METADATA, hashlib.md5(body, usedforsecurity=False).hexdigest()
        path = self._mirror.path(f"{unit.folder}/{at}")
        standing = disk.hash_of(path)
        if standing is not None and standing[1] == md5:
            if record is not None and record.mtime_ns == standing[0].mtime_ns:
                return None
            return Held(at, at, standing[0].size, md5, standing[0].mtime_ns, "")
        ours = standing is None or (record is not None and record.md5 == standing[1])
        if not ours and not self._overwrite:
            raise ItemError(f"{path} was not written by this mirror, or was changed; kept as it is")
        stat = self._mirror.put(f"{unit.folder}/{at}", body)
        return Held(at, at, len(body), md5, stat.mtime_ns, "")
