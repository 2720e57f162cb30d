"""JSON bytes from the server -> typed rows; and the recognition of answers that are no listing at all.

A listing that fails on the server is ``200`` with an empty body; a session that ended may be ``200`` with a web page;
an unknown path may be ``200`` with the files of something else. All three are errors here, never an empty list.
Every value of a table is text. Paths in it are raw, not percent-encoded: they are split as text, and no URL parser
ever sees them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .errors import BadListing
from .model import Experiment, Level, Place, RemoteFile, Unit, UnitKind

# The path of a file starts after the first "/files/" that follows "/resources/<number>/". An owner's id may hold
# anything, slashes included, so it is matched lazily up to the fixed words around it.
_URI = re.compile(
    r"""^(?:/data|/REST)(?:/archive)?
        (?:/projects/(?P<project>[^/]+))?
        (?:/subjects/(?P<subject>[^/]+))?
        (?:/experiments/(?P<experiment>[^/]+))?
        (?:/scans/(?P<scan>.+?)
          |/assessors/(?P<assessor>.+?)(?:/(?P<a_way>in|out))?
          |/reconstructions/(?P<recon>.+?)(?:/(?P<r_way>in|out))?
        )?
        /resources/(?P<resource>[0-9]{1,19})/files/(?P<path>.*)$""",
    re.VERBOSE | re.DOTALL,
)
_MD5 = re.compile(r"[0-9a-f]{32}")
# What a table may be made of, so that what is parsed takes a few times the memory of its bytes: true rows have a
# hundred bytes and more, and values of a few hundred characters.
_SPARSE = 16  # bytes for each object or list, on average
_BRIEF = 8  # bytes for each comma: one value with its key, of which none is shorter
_FEW = 1000  # of either, that any table may have
_LONGEST = 1 << 16  # characters of a value
_DEEPEST = 16  # folders above a file, on average
_DEEP = 1 << 25  # characters that the paths of folders may have in any listing


@dataclass(frozen=True, slots=True)
class ListedResource:
    """A resource as a file listing shows it, before it has a place on disk."""

    place: Place
    id: str
    label: str
    files: tuple[RemoteFile, ...]


@dataclass(frozen=True, slots=True)
class ProjectRow:
    """A row of the project list."""

    id: str
    name: str
    description: str


@dataclass(frozen=True, slots=True)
class SubjectRow:
    """A row of a project's subject list; ``label`` is the one in this project."""

    id: str
    label: str


@dataclass(frozen=True, slots=True)
class ScanRow:
    """A row of a session's scan list."""

    id: str
    type: str
    description: str


@dataclass(frozen=True, slots=True)
class ResourceRow:
    """A row of a resource list.

    ``count`` and ``size`` come from the database: they may be stale, and are None where it tells none. ``detail`` is
    the scan's type where the resource is a scan's.
    """

    id: str
    label: str
    category: str
    owner: str
    detail: str
    count: int | None
    size: int | None


def is_html(content_type: str, start: bytes) -> bool:
    """Whether an answer is a web page, whatever was asked for: a login, proxy or maintenance page."""
    kind = content_type.partition(";")[0].strip().lower()
    head = start.lstrip(b"\xef\xbb\xbf \t\r\n")[:15].lower()
    return kind in ("text/html", "application/xhtml+xml") or head.startswith((b"<!doctype html", b"<html"))


def logged_in_user(body: bytes) -> str | None:
    """The login name in an answer of ``/data/auth``, or None if it names nobody or ``guest``."""
    found = re.match(r"\s*User '([^']+)'", body.decode("utf-8", "replace"))
    return None if found is None or found[1] == "guest" else found[1]


def rows(body: bytes, what: str) -> list[dict[str, str]]:
    """The rows of a table answer.

    Raises ``BadListing`` if the body is not one, naming ``what`` was asked for.
    """
    if not body.strip():
        raise BadListing(f"{what}: the server answered with an empty body, so its query failed")
    brackets, commas = body.count(b"{") + body.count(b"["), body.count(b",")
    if brackets > len(body) // _SPARSE + _FEW or commas > len(body) // _BRIEF + _FEW:
        raise BadListing(f"{what}: the answer has more values for its size than any XNAT table")
    try:
        document: Any = json.loads(body)
    except (ValueError, RecursionError) as error:
        kind = "a web page" if is_html("", body[:200]) else "no valid JSON (cut short?)"
        raise BadListing(f"{what}: the answer is {kind}") from error
    match document:
        case {"ResultSet": {"Result": list(result)}}:
            if all(isinstance(row, dict) for row in result):
                return [{key: _text(value, what) for key, value in row.items()} for row in result]
    raise BadListing(f"{what}: the answer is JSON, but no XNAT table")


def _text(value: object, what: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        try:
            value = str(value)
        except RecursionError as error:  # pragma: no cover -- CPython up to 3.13 gives up sooner when it parses
            raise BadListing(f"{what}: a value is nested without end") from error
    if len(value) > _LONGEST:
        raise BadListing(f"{what}: a value has {len(value)} characters")
    return value


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None


def _required(row: Mapping[str, str], key: str, what: str) -> str:
    value = row.get(key, "")
    if not value:
        raise BadListing(f"{what}: a row lacks its {key}")
    return value


def experiments(body: bytes, project: str) -> list[Experiment]:
    """The project's experiments, each once, in the order of their ids."""
    what = f"experiments of project {project}"
    found: dict[str, Experiment] = {}
    for row in rows(body, what):
        accession = _required(row, "ID", what)
        found[accession] = Experiment(
            id=accession,
            label=row.get("label") or accession,
            subject_id=row.get("subject_ID", ""),
            subject_label=row.get("subject_label") or row.get("subject_ID", ""),
            project=row.get("project", ""),
            xsi_type=row.get("xsiType", ""),
            date=row.get("date", ""),
            last_modified=row.get("last_modified") or row.get("insert_date", ""),
        )
    return [found[accession] for accession in sorted(found)]


def item_fields(body: bytes, what: str) -> dict[str, str]:
    """The own fields of a record (``/data/experiments/ID?format=json``), as text. Raises ``BadListing``."""
    try:
        document: Any = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadListing(f"{what}: the answer is no valid JSON") from error
    match document:
        case {"items": [{"data_fields": dict(fields)}, *_]}:
            return {str(key): _text(value, what) for key, value in fields.items()}
    raise BadListing(f"{what}: the answer is JSON, but no XNAT record")


def projects(body: bytes) -> list[ProjectRow]:
    """The projects that this user may read."""
    what = "the project list"
    return [
        ProjectRow(_required(row, "ID", what), row.get("name", ""), row.get("description", ""))
        for row in rows(body, what)
    ]


def subjects(body: bytes, project: str) -> list[SubjectRow]:
    """The project's subjects, each once."""
    what = f"subjects of project {project}"
    found = {}
    for row in rows(body, what):
        accession = _required(row, "ID", what)
        found[accession] = SubjectRow(accession, row.get("label") or accession)
    return [found[accession] for accession in sorted(found)]


def scans(body: bytes, accession: str) -> list[ScanRow]:
    """The scans of a session."""
    what = f"scans of {accession}"
    return [
        ScanRow(_required(row, "ID", what), row.get("type", ""), row.get("series_description", ""))
        for row in rows(body, what)
    ]


def assessor_labels(body: bytes, accession: str) -> dict[str, str]:
    """Accession id -> label of the assessors of a session."""
    what = f"assessors of {accession}"
    return {_required(row, "ID", what): row.get("label") or row["ID"] for row in rows(body, what)}


def resources(body: bytes, unit: Unit) -> list[ResourceRow]:
    """The resources of a unit with the database's counts."""
    what = f"resources of {unit.label}"
    return [
        ResourceRow(
            id=_required(row, "xnat_abstractresource_id", what),
            label=row.get("label", ""),
            category=row.get("category", ""),
            owner=row.get("cat_id", ""),
            detail=row.get("cat_desc", "").strip(),
            count=_number(row.get("file_count", "")),
            size=_number(row.get("file_size", "")),
        )
        for row in rows(body, what)
    ]


def files(body: bytes, unit: Unit) -> tuple[ListedResource, ...]:
    """The files of a unit, by resource, each file once, in a stable order.

    Raises ``BadListing`` if any row is of something else than the unit: XNAT answers a path that it cannot resolve
    with the files of what it can, and ``200``.
    """
    what = f"files of {unit.label}"
    found: dict[str, tuple[Place, str, dict[str, RemoteFile]]] = {}
    table = rows(body, what)
    long = deep = 0  # Characters of all paths, and of all paths of folders, were each written out.
    for row in table:
        place, number, path = _split(_required(row, "URI", what), unit, what)
        long += len(path)
        deep += len(path) * path.count("/")
        _, _, held = found.setdefault(number, (place, row.get("collection", ""), {}))
        digest = row.get("digest", "").strip().lower()
        file = RemoteFile(path, _number(row.get("Size", "")), digest if _MD5.fullmatch(digest) else None)
        if held.setdefault(path, file) != file:
            raise BadListing(f"{what}: {path!r} is listed twice with different sizes or digests")
    if deep > _DEEPEST * long + _DEEP:
        raise BadListing(f"{what}: its {len(table)} files lie in deeper folders than any disk has")
    return tuple(
        ListedResource(place, number, label, tuple(held[path] for path in sorted(held)))
        for number, (place, label, held) in sorted(found.items(), key=lambda entry: int(entry[0]))
    )


def _split(uri: str, unit: Unit, what: str) -> tuple[Place, str, str]:
    found = _URI.match(uri)
    if found is None or not found["path"]:
        raise BadListing(f"{what}: a row's URI is not that of a file: {uri!r}")
    of = {
        UnitKind.EXPERIMENT: found["experiment"],
        UnitKind.SUBJECT: found["subject"] if found["experiment"] is None else None,
        UnitKind.PROJECT: found["project"] if found["subject"] is None and found["experiment"] is None else None,
    }[unit.kind]
    if of != unit.id:
        raise BadListing(f"{what}: the server answered with the files of something else: {uri!r}")
    return _place(found, unit), found["resource"], found["path"]


def _place(found: re.Match[str], unit: Unit) -> Place:
    if unit.kind is not UnitKind.EXPERIMENT:
        return Place(Level.SUBJECT if unit.kind is UnitKind.SUBJECT else Level.PROJECT)
    if found["scan"] is not None:
        return Place(Level.SCAN, found["scan"])
    if found["assessor"] is not None:
        return Place(Level.ASSESSOR, found["assessor"], found["a_way"] or "")
    if found["recon"] is not None:
        return Place(Level.RECONSTRUCTION, found["recon"], found["r_way"] or "")
    return Place(Level.SESSION)


def row_place(row: ResourceRow, unit: Unit) -> Place:
    """Where a resource of a resource list hangs. The list does not tell an assessor's ``in`` from its ``out``."""
    if unit.kind is UnitKind.SUBJECT:
        return Place(Level.SUBJECT)
    if unit.kind is UnitKind.PROJECT:
        return Place(Level.PROJECT)
    match row.category:
        case "scans":
            return Place(Level.SCAN, row.owner)
        case "assessors":
            return Place(Level.ASSESSOR, row.owner, "out")
        case "reconstructions":
            return Place(Level.RECONSTRUCTION, row.owner, "out")
    return Place(Level.SESSION)


def total_bytes(resources_: Iterable[ListedResource]) -> int:
    """The bytes of all files whose size the catalog knows."""
    return sum(file.size or 0 for resource in resources_ for file in resource.files)
