"""How a single file goes on from its partial: what to ask, and what to make of the answer.

XNAT's single files answer ``Range`` with a table of its own: ``206`` and an empty body at or past the end, never
``416``; ``If-Range`` is ignored, so a changed file would be spliced; ``Range`` with ``If-Unmodified-Since`` is the one
safe way, and answers ``412`` if the file changed. A range is asked for only open-ended: one whose end lies past the
file leaves the connection hanging.

=================  ==========================================  ==========
status             header                                      action
=================  ==========================================  ==========
200                any                                         restart
206                Content-Range starts where we are, and      append
                   its total is the size known so far
206                otherwise                                   discard
412, 416           any                                         discard
=================  ==========================================  ==========
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from .model import RemoteFile

_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19})")


@dataclass(frozen=True, slots=True)
class Part:
    """A partial file: bytes held, and what the server said of the whole when they came.

    ``last_modified`` is the header's text; ``md5`` and ``size`` are the listing's then, None where it knew none.
    ``run`` names the run that wrote it.
    """

    held: int
    last_modified: str
    total: int | None
    md5: str | None
    size: int | None
    run: str = ""


def usable(part: Part | None, remote: RemoteFile, run: str) -> bool:
    """Whether a partial is of the file that is listed now, and can be gone on with in the run named ``run``.

    Where no digest is listed nothing would notice bytes that a power cut took from the partial, so there it serves
    the run that wrote it only.
    """
    if part is None or part.held <= 0 or not part.last_modified:
        return False
    if (part.md5, part.size) != (remote.md5, remote.size):
        return False
    if remote.md5 is None and part.run != run:
        return False
    whole = remote.size if remote.size is not None else part.total
    return whole is None or part.held <= whole


def complete(part: Part, remote: RemoteFile) -> bool:
    """Whether all bytes are here already, so that nothing is asked for: only the digest is to be proved."""
    return remote.size is not None and part.held == remote.size


def request_headers(part: Part | None) -> dict[str, str]:
    """The headers that ask for the rest of ``part``, or for the whole."""
    if part is None:
        return {}
    return {"Range": f"bytes={part.held}-", "If-Unmodified-Since": part.last_modified}


class Action(StrEnum):
    """What to do with the body of an answer."""

    RESTART = "restart"
    APPEND = "append"
    DISCARD = "discard"


def action(part: Part | None, status: int, content_range: str, remote: RemoteFile) -> Action:
    """The table above. ``status`` is one of 200, 206, 412 and 416; ``content_range`` is ``""`` where there is none."""
    if status == 200:
        return Action.RESTART
    found = _CONTENT_RANGE.fullmatch(content_range)
    if status != 206 or part is None or found is None:
        return Action.DISCARD
    start, total = int(found[1]), int(found[3])
    known = {size for size in (part.total, remote.size) if size is not None}
    return Action.APPEND if start == part.held and known <= {total} else Action.DISCARD


def stored_total(status: int, content_length: int | None, content_range: str) -> int | None:
    """The size of the whole file, as the headers of an answer tell it."""
    if status == 200:
        return content_length
    found = _CONTENT_RANGE.fullmatch(content_range)
    return int(found[3]) if found else None
