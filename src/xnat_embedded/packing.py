"""Answers that carry files: zips and tars of what a request reaches (§3), and single files (§4)."""

from __future__ import annotations

import contextlib
import io
import re
import zipfile
from collections.abc import AsyncIterator, Mapping
from email.utils import formatdate
from urllib.parse import unquote_plus

from .answers import Answer, empty, refuse, restlet_page, tomcat_page
from .content import Content, Corrupt, Data, Piece, Truncated
from .faults import CorruptMember, DropMember, Effect, EndAfterMember, TruncateMember, WrongBody
from .file_list import ListedFile
from .layout import entry_path
from .ranges import Outcome, Slice, decide, unsized
from .reach import Reach
from .routes import ZIP_FORMATS
from .site import Site
from .tree import Entry
from .zipstream import Member, read, tar_stream, zip_stream

_TYPES = {
    "bmp": "image/bmp",
    "gif": "image/gif",
    "html": "text/html",
    "jpg": "image/jpeg",
    "pdf": "application/pdf",
    "png": "image/png",
    "svg": "image/svg+xml",
    "tiff": "image/tiff",
    "txt": "text/plain",
    "xml": "text/xml",
}
_ARCHIVE_TYPES = {"zip": "application/zip", "tar": "application/x-tar", "tar.gz": "application/x-gzip"}
_INSIDE = re.compile(r"^(.*?\.(?:zip|jar|rar|ear|gar|mrb))[/!](.+)$", re.IGNORECASE)

# What a DICOM file becomes when a client accepts image/jpeg: any small JPEG does.
_JPEG = bytes.fromhex("ffd8ffe000104a46494600010100000100010000ffd9")


def archive(
    site: Site,
    reach: Reach,
    listed: list[ListedFile],
    query: Mapping[str, str],
    headers: Mapping[str, str],
    effects: tuple[Effect, ...] = (),
) -> Answer:
    """The zip or tar of these files. Raises ``Refuse`` where there is nothing to send."""
    kind = ZIP_FORMATS[query["format"]]
    method = _method(site, query)
    name = entry_path(query.get("structure", ""), reach, tar=kind != "zip")
    members = [
        Member(name(each), each.entry.content if each.entry.on_disk else None, each.entry.mtime) for each in listed
    ]
    members = _spoil(members, effects)
    if not any(member.content for member in members):
        if query.get("accept-not-found") == "true":
            raise refuse(204)
        raise refuse(404)
    refusal = refuse_range(headers)
    if refusal is not None:
        return refusal
    if kind != "zip":
        body = tar_stream(members, packed=kind == "tar.gz")
    else:
        body = zip_stream(members if method in (0, 8) else (), method)
    disposition = f'attachment; filename="{reach.label}.{kind}";'
    named = [("Content-Type", _ARCHIVE_TYPES[kind]), ("Content-Disposition", disposition)]
    return Answer(200, body, named, measured=True)


def _method(site: Site, query: Mapping[str, str]) -> int:
    try:
        return int(query["compression"]) if "compression" in query else site.compression
    except ValueError as error:
        raise refuse(500) from error


def refuse_range(headers: Mapping[str, str]) -> Answer | None:
    """The answer to a range of something whose length is unknown, or None if the range is simply ignored."""
    match unsized(headers):
        case Outcome.CHANGED:
            return restlet_page(500, close=True)
        case Outcome.NOT_IMPLEMENTED:
            return restlet_page(501, close=True)
    return None


def _spoil(members: list[Member], effects: tuple[Effect, ...]) -> list[Member]:
    """The members as faults leave them; a fault whose member does not exist does nothing."""
    for effect in effects:
        if isinstance(effect, EndAfterMember):
            del members[effect.count :]
        elif isinstance(effect, DropMember | TruncateMember | CorruptMember | WrongBody):
            at = _place(members, effect.member)
            old = None if at is None else members[at]
            if at is None or old is None or old.content is None:
                continue
            if isinstance(effect, DropMember):
                del members[at]
            else:
                others = [each.content for each in members[at + 1 :] + members[:at] if each.content]
                members[at] = Member(old.name, _spoiled(old.content, effect, others), old.mtime)
    return members


def _spoiled(content: Content, effect: TruncateMember | CorruptMember | WrongBody, others: list[Content]) -> Content:
    match effect:
        case TruncateMember():
            return Truncated(content, effect.at)
        case CorruptMember():
            return Corrupt(content, effect.at)
        case WrongBody():
            if effect.data is not None:
                return Data(effect.data)
            return others[0] if others else Data(b"not this file")


def _place(members: list[Member], member: int | str) -> int | None:
    if isinstance(member, int):
        return member if member < len(members) else None
    return next((at for at, each in enumerate(members) if each.name.endswith(member)), None)


# --- single files ----------------------------------------------------------------------------------------


def lookup(reach: Reach, segment: str) -> tuple[ListedFile, str] | None:
    """The entry that a raw path names, and the path inside it if it is a stored archive's member (§2.6).

    Only if the raw path holds ``%20`` or ``%2B`` is the whole of it form-decoded first. Then entries are compared
    exactly, and then with the path decoded. ``x.zip/inner`` is a member of the file ``x.zip``, never a folder's file.
    """
    path = unquote_plus(segment) if "%20" in segment or "%2B" in segment.upper() else segment
    inside = _INSIDE.match(path)
    name, inner = (inside[1], inside[2]) if inside else (path, "")
    for form in (name, unquote_plus(name)):
        for found in reach.found:
            entry = found.resource.entry(form)
            if entry is not None:
                return ListedFile(found, entry), unquote_plus(inner)
    return None


def single(
    site: Site,
    reach: Reach,
    segment: str,
    query: Mapping[str, str],
    headers: Mapping[str, str],
    effects: tuple[Effect, ...] = (),
) -> Answer:
    """The answer for one file."""
    found = lookup(reach, segment)
    if found is None:
        if any(not entry.has_id for each in reach.found for entry in each.resource.entries):
            return restlet_page(500)  # Comparing by entry ID meets an entry without one.
        return _missing(query)
    entry, inner = found[0].entry, found[1]
    content = entry.content
    if content is None or not content.exists():
        return _missing(query)
    if inner:
        content = _member_of(content, inner)
        if content is None:
            return _missing(query)
    if entry.format == "DICOM" and ("image/jpeg" in headers.get("Accept", "") or query.get("format") == "image/jpeg"):
        return _file(site, entry, Data(_JPEG), headers, "image/jpeg")
    for effect in effects:
        if isinstance(effect, TruncateMember | CorruptMember | WrongBody):
            entries = found[0].found.resource.entries
            at = entries.index(entry)
            others = [each.content for each in entries[at + 1 :] + entries[:at] if each.content]
            content = _spoiled(content, effect, others)
    return _file(site, entry, content, headers, content_type(inner or entry.path))


def _missing(query: Mapping[str, str]) -> Answer:
    if query.get("accept-not-found") == "true":
        return empty(204)
    return tomcat_page(404)


def _member_of(content: Content, inner: str) -> Content | None:
    try:
        with zipfile.ZipFile(io.BytesIO(content.read())) as stored:
            return Data(stored.read(inner))
    except (KeyError, zipfile.BadZipFile):
        return None


def content_type(path: str) -> str:
    """By extension, for the few that XNAT knows."""
    return _TYPES.get(path.rpartition(".")[2].lower(), "application/octet-stream")


def _file(site: Site, entry: Entry, content: Content, headers: Mapping[str, str], kind: str) -> Answer:
    part = decide(headers, content.size, entry.mtime)
    match part.outcome:
        case Outcome.NOT_IMPLEMENTED:
            return restlet_page(501, close=True)
        case Outcome.CHANGED:
            return restlet_page(412)
    named = [
        ("Content-Type", kind),
        ("Last-Modified", formatdate(entry.mtime, usegmt=True)),
        ("Cache-Control", "must-revalidate"),
        ("Content-Disposition", f'attachment; filename="{entry.name}";'),
    ]
    if part.outcome is Outcome.NOT_MODIFIED:
        return Answer(304, b"", named[1:])
    if part.content_range:
        named.append(("Content-Range", part.content_range))
    return _slice(site, content, part, named)


def _slice(site: Site, content: Content, part: Slice, named: list[tuple[str, str]]) -> Answer:
    answer = Answer(part.outcome.value, b"", named, part.declared)
    if part.stop > part.start:
        answer.body = _as_far_as_it_goes(content, part)
    if part.promises_too_much:
        answer.hang = site.hang_on_overlong_range
        answer.close = not answer.hang
    return answer


async def _as_far_as_it_goes(content: Content, part: Slice) -> AsyncIterator[Piece]:
    """A read error ends the body; Restlet swallows the exception, and Tomcat closes short of the length (§3.5)."""
    with contextlib.suppress(OSError):
        async for piece in read(content, part.start, part.stop):
            yield piece
