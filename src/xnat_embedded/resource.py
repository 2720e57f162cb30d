"""A resource, its catalog and its files; and what everything that can have resources has in common.

A change bumps ``last_modified`` of the experiment it belongs to, as XNAT's database triggers do; ``touch=False``
leaves it stale, as happens with uploads that do not update statistics (§2.5).
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from threading import RLock
from typing import Protocol

from .content import Content, as_content

Bytes = bytes | str | os.PathLike[str] | Content


class Registry(Protocol):
    """What the tree needs of its site: a lock, numbers and dates."""

    lock: RLock
    on_disk: bool

    def number(self, kind: str) -> int:
        """The next number of a site-wide counter."""

    def accession(self, letter: str) -> str:
        """A new accession id such as ``XNAT_E00001``."""

    def stamp(self) -> str:
        """The database's next time stamp: server-local, without zone."""

    def file_time(self) -> int:
        """The next file modification time, in whole seconds."""


@dataclass(slots=True, eq=False)
class Entry:
    """One entry of a resource's catalog: what is listed, and what is on disk, which need not agree.

    ``content`` None: the file vanished from disk. ``listed_size`` and ``listed_digest`` None: the truth; ``""``: not
    known to the catalog. ``has_id`` False: old entries without an ID attribute, whose resource answers 500 instead
    of 404 for unknown names (§2.6). ``remote``: kept elsewhere, so neither size nor digest is known.
    """

    path: str
    content: Content | None
    mtime: int
    listed_size: str | None = None
    listed_digest: str | None = None
    has_id: bool = True
    remote: bool = False
    format: str = ""
    content_type: str = ""
    tags: str = ""

    @property
    def name(self) -> str:
        """The last segment; many entries may share it."""
        return self.path.rpartition("/")[2]

    @property
    def on_disk(self) -> bool:
        """Whether a request for it would find bytes."""
        return self.content is not None and self.content.exists()

    def size_text(self) -> str:
        """The ``Size`` column: from the catalog, else from disk, else empty."""
        if self.listed_size is not None:
            return self.listed_size
        return "" if self.remote or not self.on_disk or self.content is None else str(self.content.size)

    def digest_text(self) -> str:
        """The ``digest`` column: lower-case MD5 or empty."""
        if self.listed_digest is not None:
            return self.listed_digest
        return "" if self.remote or not self.on_disk or self.content is None else self.content.md5()


@dataclass(slots=True, eq=False)
class Resource:
    """A labelled folder of files with a catalog.

    ``file_count`` and ``file_size`` are what the database says: None for the truth, any text for stale values.
    ``corrupt_catalog`` makes every combined list that holds it fail; ``unloadable`` makes combined lists leave out
    this resource and all after it, silently (§2.2).
    """

    id: int
    label: str
    owner: Owner
    site: Registry
    way: str = ""
    format: str = ""
    content: str = ""
    tags: str = ""
    file_count: str | None = None
    file_size: str | None = None
    corrupt_catalog: bool = False
    unloadable: bool = False
    entries: list[Entry] = field(default_factory=list)
    _index: dict[str, Entry] | None = None

    def entry(self, path: str) -> Entry | None:
        """The entry whose catalog path is exactly ``path``."""
        if self._index is None:
            self._index = {entry.path: entry for entry in reversed(self.entries)}
        return self._index.get(path)

    def __getitem__(self, path: str) -> Entry:
        entry = self.entry(path)
        if entry is None:
            raise KeyError(path)
        return entry

    def count_text(self) -> str:
        """``file_count`` as lists show it."""
        return str(len(self.entries)) if self.file_count is None else self.file_count

    def bytes_text(self) -> str:
        """``file_size`` as lists show it."""
        if self.file_size is not None:
            return self.file_size
        return str(sum(int(entry.size_text() or 0) for entry in self.entries))

    def touch(self) -> None:
        """Bump ``last_modified`` of what this belongs to."""
        self.owner.touch()

    def add_file(
        self,
        path: str,
        data: Bytes = b"",
        *,
        size: str | None = None,
        digest: str | None = None,
        mtime: int | None = None,
        on_disk: bool = True,
        has_id: bool = True,
        remote: bool = False,
        tags: str = "",
        touch: bool = True,
    ) -> Entry:
        """Add a file. ``size``/``digest`` set what is listed; ``on_disk=False`` lists it without having it."""
        content = as_content(data)
        if not on_disk:
            size = str(content.size) if size is None else size
            digest = content.md5() if digest is None else digest
        with self.site.lock:
            mtime = self.site.file_time() if mtime is None else mtime
            kept = content if on_disk else None
            entry = Entry(path, kept, mtime, size, digest, has_id, remote, self.format, self.content, tags=tags)
            self.entries.append(entry)
            self._changed(touch, content)
        return entry

    def replace_file(self, path: str, data: Bytes, *, touch: bool = True) -> Entry:
        """Give a file other bytes and a later time of change."""
        with self.site.lock:
            entry = self[path]
            entry.content = as_content(data)
            entry.listed_size = entry.listed_digest = None
            entry.mtime = self.site.file_time()
            self._changed(touch, entry.content)
        return entry

    def remove_file(self, path: str, *, touch: bool = True) -> None:
        """Take a file out of the catalog and off the disk."""
        with self.site.lock:
            self.entries.remove(self[path])
            self._changed(touch)

    def lose_file(self, path: str) -> None:
        """Take a file off the disk behind the catalog's back: it stays listed, and is not there."""
        with self.site.lock:
            entry = self[path]
            entry.listed_size, entry.listed_digest = entry.size_text(), entry.digest_text()
            entry.content = None

    def remove(self, *, touch: bool = True) -> None:
        """Delete the resource."""
        with self.site.lock:
            self.owner.resources.remove(self)
            if touch:
                self.touch()

    def _changed(self, touch: bool, content: Content | None = None) -> None:
        self._index = None
        self.site.on_disk = self.site.on_disk or (content is not None and content.blocking)
        if touch:
            self.touch()


class Owner:
    """What can have resources. Subclasses hold ``site`` and ``resources``."""

    __slots__ = ()

    site: Registry
    resources: list[Resource]

    def touch(self) -> None:
        """Bump ``last_modified`` of the experiment this is or belongs to; nothing above experiments has one."""

    def add_resource(
        self,
        label: str = "",
        files: Iterable[tuple[str, Bytes]] = (),
        *,
        format: str = "",  # noqa: A002 - the name of XNAT's column
        content: str = "",
        way: str = "",
        tags: str = "",
        touch: bool = True,
    ) -> Resource:
        """Add a resource; ``way`` is ``out`` or ``in`` for assessors and reconstructions."""
        with self.site.lock:
            number = self.site.number("resource")
            resource = Resource(number, label, self, self.site, way, format, content, tags)
            for path, data in files:
                resource.add_file(path, data, touch=False)
            self.resources.append(resource)
            if touch:
                self.touch()
        return resource

    def resource(self, label: str) -> Resource:
        """The first resource with that label."""
        return next(found for found in self.resources if found.label == label)
