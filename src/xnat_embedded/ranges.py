"""What XNAT makes of the conditional and range headers of a single file (§4). Pure: numbers in, a decision out.

Restlet never says 416, ignores ``If-Range`` and ``If-None-Match``, and promises more than it sends when a range ends
beyond the file: ``99990-100005`` of 100000 bytes announces 16 bytes, sends 10 and leaves the connection open.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import Enum

_RANGE = re.compile(r"(\d*)-(\d*)")


class Outcome(Enum):
    """What kind of answer it will be."""

    WHOLE = 200
    PART = 206
    NOT_MODIFIED = 304
    CHANGED = 412
    NOT_IMPLEMENTED = 501


@dataclass(frozen=True, slots=True)
class Slice:
    """The bytes to send: ``start`` up to ``stop``. ``declared`` is the Content-Length; None means chunked."""

    outcome: Outcome
    start: int = 0
    stop: int = 0
    declared: int | None = None
    content_range: str = ""

    @property
    def promises_too_much(self) -> bool:
        """Whether fewer bytes are sent than announced, so that a client waits for the rest."""
        return self.declared is not None and self.declared > self.stop - self.start


def decide(headers: Mapping[str, str], size: int, mtime: int) -> Slice:
    """The answer to a GET or HEAD of a file of that size and time of change."""
    since = _date(headers.get("If-Modified-Since"))
    if since is not None and mtime <= since:
        return Slice(Outcome.NOT_MODIFIED)
    unless = _date(headers.get("If-Unmodified-Since"))
    if unless is not None and mtime > unless:
        return Slice(Outcome.CHANGED)
    header = headers.get("Range")
    if header is None:
        return Slice(Outcome.WHOLE, 0, size, size)
    unit, _, spec = header.partition("=")
    if "," in spec:
        return Slice(Outcome.NOT_IMPLEMENTED)
    found = _RANGE.fullmatch(spec.strip())
    if unit.strip().lower() != "bytes" or found is None or spec.strip() == "-":
        return Slice(Outcome.PART, declared=0, content_range=f"bytes 0--1/{size}")
    first, last = found[1], found[2]
    if not first:
        return _suffix(int(last), size)
    start = int(first)
    end = int(last) if last else size - 1
    if last and end < start:
        return Slice(Outcome.PART, declared=0, content_range=f"bytes {start}-{end}/{size}")
    if start > size:
        return Slice(Outcome.PART, content_range=f"bytes {start}-{end}/{size}")
    return Slice(Outcome.PART, start, min(end + 1, size), end + 1 - start, f"bytes {start}-{end}/{size}")


def _suffix(length: int, size: int) -> Slice:
    start = max(0, size - length)
    return Slice(Outcome.PART, start, size, length, f"bytes {start}-{start + length - 1}/{size}")


def _date(value: str | None) -> int | None:
    if value is None:
        return None
    try:
        return int(parsedate_to_datetime(value).timestamp())
    except (TypeError, ValueError):
        return None


def unsized(headers: Mapping[str, str]) -> Outcome:
    """The same for an answer of unknown length, a list or a zip: open and suffix ranges are a 500 (§3.4)."""
    header = headers.get("Range")
    if header is None:
        return Outcome.WHOLE
    spec = header.partition("=")[2].strip()
    if "," in spec:
        return Outcome.NOT_IMPLEMENTED
    return Outcome.CHANGED if spec.startswith("-") or spec.endswith("-") else Outcome.WHOLE
