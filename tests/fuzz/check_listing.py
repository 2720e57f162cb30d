"""The listings: any bytes as the server's answer, for any unit.

The first line of an input is the unit, its kind's first letter before its id; the rest is the body.

The invariant, for every input:

1. Nothing but ``BadListing`` is raised, whichever table was asked for.
2. Every id is there and every value is text; a size or count is None or a number not below zero, an MD5 None or 32
   hex digits.
3. A body cut short is a ``BadListing``, never a shorter listing.
4. The files are those that the rows name and no others: each once, under the number and the path that its URI has
   behind the unit and the first id. The order of the rows changes nothing.
5. What is listed finds a place on disk: relative, of components that POSIX and Windows take, and no two in one place.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable
from contextlib import suppress

from fuzz.portable import apart, portable_path
from xnat_sync.core import layout, listing, names
from xnat_sync.core.errors import BadListing
from xnat_sync.core.listing import ListedResource
from xnat_sync.core.model import Unit, UnitKind

TABLES: tuple[Callable[[bytes], object], ...] = (
    lambda body: listing.experiments(body, "P1"),
    listing.projects,
    lambda body: listing.subjects(body, "P1"),
    lambda body: listing.scans(body, "XNAT_E00001"),
    lambda body: listing.item_fields(body, "it"),
)
KINDS = {kind.value[0]: kind for kind in UnitKind}
# Behind the unit: a place with an id of any letters but none, or nothing; then the number and the path.
FILE = re.compile(r"(?:(?:scans|assessors|reconstructions)/.+?/)?resources/([0-9]+)/files/(.*)\Z", re.DOTALL)


def any_bytes(data: bytes) -> None:
    """All points."""
    head, _, body = data.partition(b"\n")
    text = head.decode("utf-8", "surrogateescape")
    unit = Unit(KINDS.get(text[:1], UnitKind.EXPERIMENT), "P1", text[1:], "label", "folder")
    listing.is_html("", body[:200])
    listing.logged_in_user(body)
    for table in TABLES:
        with suppress(BadListing):
            table(body)
    with suppress(BadListing):
        assert all(accession for accession in listing.assessor_labels(body, "XNAT_E00001"))
    with suppress(BadListing):
        for row in listing.resources(body, unit):
            assert row.id
            assert min(row.count or 0, row.size or 0) >= 0
            listing.row_place(row, unit)
    with suppress(BadListing):
        files(body, unit)


def files(body: bytes, unit: Unit) -> None:
    """Points 2 to 5 for a file listing. Raises ``BadListing`` if it is none."""
    listed = listing.files(body, unit)
    whole = len(body.rstrip(b" \t\r\n"))
    refused(body[: zlib.crc32(body) % whole], unit)
    rows = json.loads(body)["ResultSet"]["Result"]
    behind = [row["URI"].partition(f"/{unit.kind}s/{unit.id}/")[2] for row in rows]
    named = {(found[1], found[2]) for found in map(FILE.match, behind) if found}
    given = [(resource.id, file.path) for resource in listed for file in resource.files]
    assert len(set(given)) == len(given)
    assert set(given) == named
    assert {(r.id, frozenset(r.files)) for r in reordered(rows, unit)} == {(r.id, frozenset(r.files)) for r in listed}
    for resource in listed:
        assert all(isinstance(text, str) for text in (resource.label, resource.place.owner))
        for file in resource.files:
            assert file.path
            assert file.size is None or file.size >= 0
            assert file.md5 is None or re.fullmatch("[0-9a-f]{32}", file.md5)
    places(listed, unit)


def refused(body: bytes, unit: Unit) -> None:
    """Point 3."""
    try:
        listing.files(body, unit)
    except BadListing:
        return
    raise AssertionError("cut short, and a listing all the same")


def reordered(rows: list[object], unit: Unit) -> tuple[ListedResource, ...]:
    """The listing of the same rows, the last first."""
    return listing.files(json.dumps({"ResultSet": {"Result": rows[::-1]}}).encode(), unit)


def places(listed: tuple[ListedResource, ...], unit: Unit) -> None:
    """Point 5."""
    taken = []
    for resource in layout.place(unit, listed):
        local = names.assign_paths(file.path for file in resource.files)
        taken += [f"{resource.folder}/{path}" for path in local.values()]
    assert all(map(portable_path, taken))
    apart(taken)
