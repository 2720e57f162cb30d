"""Entry paths inside a zip, for every value of ``structure=`` (§3.3).

XNAT makes them by replacing substrings of the archive path, wherever they occur. The replacements are repeated here
one by one, since their accidents are part of what a client meets: an accession id inside a file name becomes the
label, ``/4/`` in a subfolder becomes ``/4-t1_mprage/``, and ``simplified`` eats folders called ``files…``.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from .file_list import ListedFile
from .reach import Reach

_NOT_WORD = re.compile(r"\W", re.ASCII)
_HOSTILE = re.compile(r'[\\/:*?"<>|\x00-\x1f]')

_LEVELS = {"scans": "SCANS", "reconstructions": "PROCESSED", "assessors": "ASSESSORS"}


def entry_path(structure: str, reach: Reach, *, tar: bool = False) -> Callable[[ListedFile], str]:
    """The function from a listed file to its path in the archive of one request."""
    match structure:
        case "simplified":
            return lambda listed: _default(listed, reach).replace("/resources", "").replace("/files", "")
        case "improved":
            return lambda listed: _improved(listed, tar=tar)
        case "legacy":
            return lambda listed: _legacy(listed, reach)
    return lambda listed: _with_scan_types(_default(listed, reach), reach)


def _folder(listed: ListedFile) -> str:
    resource = listed.found.resource
    return resource.label or str(resource.id)


def _default(listed: ListedFile, reach: Reach) -> str:
    path = f"{listed.found.place}/resources/{_folder(listed)}/files/{listed.entry.path}"
    for accession, label in reach.named.items():
        path = path.replace(accession, label)
    return path


def _with_scan_types(path: str, reach: Reach) -> str:
    """Only where the request names scans, and for scans with a type."""
    for scan in reach.scans:
        if scan.type:
            path = path.replace(f"/{scan.id}/", f"/{scan.id}-{_NOT_WORD.sub('_', scan.type)}/")
    return path


def _improved(listed: ListedFile, *, tar: bool) -> str:
    found = listed.found
    rel = listed.entry.path.rpartition("/files/")[2]
    owner = found.cat_id if tar or not found.cat_desc else f"{found.cat_id}_{found.cat_desc}"
    parts = [found.category, _HOSTILE.sub("_", owner), _HOSTILE.sub("_", _folder(listed)), rel]
    return "/".join(part for part in parts if part)


def _legacy(listed: ListedFile, reach: Reach) -> str:
    found = listed.found
    session, _, rest = found.place.partition("/")
    level, _, name = rest.partition("/")
    parts = [reach.named.get(session, session)]
    parts += [_LEVELS.get(level, level.upper()), name] if level else ["RESOURCES"]
    return "/".join([*parts, _folder(listed), listed.entry.path])
