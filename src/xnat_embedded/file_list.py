"""File lists: catalog entries, not files on disk, with raw paths (§2.2).

One unreadable catalog spoils a combined list with 404; a resource that fails to load silently ends it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from urllib.parse import unquote_plus

from .answers import refuse
from .reach import Found, Reach
from .tables import Table
from .tree import Entry

_KEYS = (
    "Name", "Size", "URI", "collection", "file_tags", "file_format", "file_content", "cat_ID", "digest",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ListedFile:
    """One catalog entry, and the resource through which it is reached."""

    found: Found
    entry: Entry

    @property
    def uri(self) -> str:
        """Raw, never percent-encoded."""
        return f"{self.found.uri}/resources/{self.found.resource.id}/files/{self.entry.path}"


def entries(reach: Reach, query: Mapping[str, str], below: str = "") -> list[ListedFile]:
    """The catalog entries of all resources reached that pass the query's filters. May raise ``Refuse``.

    ``below`` is the path segment after ``files/``: a folder ending in ``/``, or a glob ending in ``*``.
    """
    readable(reach)
    chosen = list(_filtered(_loaded(reach), query, unquote_plus(below)))
    if query.get("index", "").isdigit():
        at = int(query["index"])
        return chosen[at : at + 1]
    return chosen


def readable(reach: Reach) -> None:
    """Raises ``Refuse`` if any catalog is unreadable."""
    if any(found.resource.corrupt_catalog for found in reach.found):
        raise refuse(404)


def _loaded(reach: Reach) -> Iterator[ListedFile]:
    for found in reach.found:
        if found.resource.unloadable and reach.combined:
            return
        for entry in found.resource.entries:
            yield ListedFile(found, entry)


def _filtered(listed: Iterator[ListedFile], query: Mapping[str, str], below: str) -> Iterator[ListedFile]:
    formats = [name for name in query.get("file_format", "").split(",") if name]
    contents = [name for name in query.get("file_content", "").split(",") if name]
    flat = query.get("recursive") == "false"
    for each in listed:
        path = each.entry.path
        if below.endswith("/"):
            if not path.startswith(below) or (flat and "/" in path[len(below) :]):
                continue
        elif below and not fnmatchcase(path, below):
            continue
        if _passes(each.entry.format, formats) and _passes(each.entry.content_type, contents):
            yield each


def _passes(value: str, wanted: list[str]) -> bool:
    """Case-sensitive; ``NULL`` stands for no value."""
    return not wanted or value in wanted or (not value and "NULL" in wanted)


def file_table(listed: list[ListedFile], query: Mapping[str, str], server_root: str) -> Table:
    """The file list: no total, and ``Columns`` that tell the context path, which the URIs leave out."""
    place = query.get("locator", "")
    key = place if place in ("absolutePath", "projectPath") else "URI"
    root = "/data/xnat/archive" if key == "absolutePath" else ""
    rows = []
    for each in listed:
        entry, resource = each.entry, each.found.resource
        uri = each.uri if key == "URI" else f"{root}/{each.found.place}/{resource.label}/{entry.path}"
        rows.append(
            {
                "Name": entry.name,
                "Size": entry.size_text(),
                key: uri,
                "collection": resource.label,
                "file_tags": entry.tags,
                "file_format": entry.format,
                "file_content": entry.content_type,
                "cat_ID": str(resource.id),
                "digest": entry.digest_text(),
            }
        )
    keys = tuple(key if name == "URI" else name for name in _KEYS)
    columns = [{"key": key, "serverRoot": server_root}]
    return Table(keys, rows, {"title": "Files"}, counted=False, columns=columns)
