"""A call that changed what lies under DEST, as ``tap`` records it and ``shadow`` replays it: one JSON object a line."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Call:
    """One call that went well. Paths are relative to DEST, and DEST itself is ``""``.

    ``name`` is ``create``, ``open`` (for writing), ``write``, ``truncate``, ``sync``, ``rename``, ``link``, ``mkdir``,
    ``unlink``, ``rmdir`` or ``touch``, whatever function of Python it was. ``at`` is where a write begins or to what
    size a file was cut, ``mtime_ns`` the file's time after the call. ``site`` says who called, and ``ordinal`` how
    many calls came from there before, those that failed among them.
    """

    name: str
    path: str
    to: str = ""
    at: int = 0
    data: bytes = b""
    mtime_ns: int = 0
    site: str = ""
    ordinal: int = 0

    def line(self) -> str:
        """The line that says this."""
        entry = {key: value for key, value in asdict(self).items() if value}
        if self.data:
            entry["data"] = base64.b64encode(self.data).decode("ascii")
        return json.dumps(entry) + "\n"


def parse(line: str) -> Call:
    """What a line says."""
    entry = json.loads(line)
    call = Call(**{**entry, "path": entry.get("path", ""), "data": b""})
    return replace(call, data=base64.b64decode(entry.get("data", "")))


def load(path: Path) -> list[Call]:
    """A whole log; a last line that a kill has torn is left out."""
    return list(_whole_lines(path.read_text(encoding="ascii")))


def _whole_lines(text: str) -> Iterator[Call]:
    for line in text.splitlines(keepends=True):
        if line.endswith("\n"):
            yield parse(line)
