"""Lines of text <-> what is held: the ledger of a unit, one JSON object a line.

The first line names the unit. After it, in the order of time, each line is one of::

    {"held": "XNAT's number of the resource", "label": …, "folder": …, "time": …, "files": [{…}, …]}
    {"gone": ["path of a file no longer held", …]}
    {"extra": ["path of a file that is held and was not listed the last time", …]}
    {"hooked": "seconds since the epoch"}

``folder`` is relative to the unit's, so that a renamed unit needs a new first line only; a file has ``path`` (the
server's own), ``size``, ``md5``, ``mtime_ns``, and ``at`` (relative to ``folder``) where that differs from ``path``.
Later lines win, and each ``extra`` line stands for all before it; ``hooked`` says that the user's command has seen all
that stands before it. A line that is torn or is no JSON is passed over and counted: what it said is found again by
hashing, so damage costs time and never data. Unknown keys are kept out of the way of older readers by being ignored.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

from .model import Held, Resource, Unit, UnitKind, stays_within

VERSION = 1
_LARGEST = 1 << 63  # bytes, or nanoseconds
_SIZE = attrgetter("size")
_made = tuple.__new__  # Without the way through Held's own, which looks for names and defaults.


@dataclass(slots=True)
class Replay:
    """What the lines of a ledger add up to.

    ``unit`` is its id; ``folder`` is where the unit lay when last recorded, None if no line says; ``files`` are by
    their path under that folder, and ``extra`` those of them that the last listing of the whole unit did not have;
    ``hooked`` says that the user's command has seen them as they are, else ``changed`` files are new or gone since.
    ``lines`` were read, of which ``damaged`` made no sense.
    """

    unit: str = ""
    folder: str | None = None
    files: dict[str, Held] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    extra: set[str] = field(default_factory=set)
    hooked: bool = False
    changed: int = 0
    lines: int = 0
    damaged: int = 0

    @property
    def bytes(self) -> int:
        """The bytes of all files held."""
        return sum(map(_SIZE, self.files.values()))

    def worth_compacting(self) -> bool:
        """Whether the ledger has many more lines than a fresh one would."""
        return self.damaged > 0 or self.lines > 64


def header_line(unit: Unit) -> str:
    """The first line of a ledger."""
    return _dump(
        {
            "xnat_sync": VERSION,
            "unit": unit.kind.value,
            "id": unit.id,
            "label": unit.label,
            "subject": unit.subject_label,
            "project": unit.project,
            "folder": unit.folder,
        }
    )


def held_line(resource: Resource, files: Iterable[Held]) -> str:
    """The line that says that these files of ``resource`` are held; all of them in one zip, or none."""
    rows = list(files)
    archive = rows[0].archive if rows else ""
    folder = archive or resource.folder
    return _line(resource.id, resource.label, folder, rows, time=resource.unit.last_modified)


def rezipped_line(rows: Sequence[Held], label: str) -> str:
    """The line that says that these members, all of one zip, are held in it as it stands now."""
    return _line(rows[0].resource, label, rows[0].archive, rows)


def _line(resource: str, label: str, folder: str, rows: Sequence[Held], **more: str) -> str:
    prefix = f"{folder}/" if folder else ""
    entry: dict[str, Any] = {"held": resource, "label": label, "folder": folder} | more
    if rows and rows[0].archive:
        entry["zip"] = rows[0].archive_size
    return _dump(entry | {"files": [_file(held, held.at.removeprefix(prefix)) for held in rows]})


def _file(held: Held, at: str) -> dict[str, Any]:
    file: dict[str, Any] = {"path": held.path, "size": held.size, "md5": held.md5, "mtime_ns": held.mtime_ns}
    return file if at == held.path else file | {"at": at}


def gone_line(paths: Sequence[str]) -> str:
    """The line that says that the files at these final paths are no longer held."""
    return _dump({"gone": list(paths)})


def extra_line(paths: Iterable[str]) -> str:
    """The line that says which of the files held the server does not list."""
    return _dump({"extra": sorted(paths)})


def hooked_line(now: float) -> str:
    """The line that says that the user's command has seen what is held."""
    return _dump({"hooked": round(now, 3)})


def compacted(unit: Unit, state: Replay) -> str:
    """The shortest ledger that says the same."""
    lines: dict[tuple[str, str, int], list[Held]] = {}
    for held in state.files.values():
        below = held.at.removesuffix(f"/{held.path}")
        folder = held.archive or (below if below != held.at else "")
        lines.setdefault((held.resource, folder, held.archive_size), []).append(held)
    text = "".join(
        _line(resource, state.labels.get(resource, ""), folder, rows)
        for (resource, folder, _), rows in sorted(lines.items())
    )
    return (
        header_line(unit)
        + text
        + (extra_line(state.extra) if state.extra else "")
        + (hooked_line(0) if state.hooked else "")
    )


def replay(text: str) -> Replay:
    """What a ledger says, whatever state it is in. Never raises."""
    state = Replay()
    for line in text.split("\n"):
        if not line.strip():
            continue
        state.lines += 1
        try:
            _apply(state, json.loads(line))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            state.damaged += 1
    return state


def _apply(state: Replay, entry: dict[str, Any]) -> None:
    if "held" in entry:
        folder, resource = _text(entry["folder"]), _text(entry["held"])
        archive, archive_size = (folder, _number(entry["zip"])) if "zip" in entry else ("", 0)
        if "zip" in entry and not folder:
            raise ValueError("a zip without a name")
        prefix = f"{folder}/" if folder else ""
        read = [_held(prefix, resource, file, archive, archive_size) for file in entry["files"]]
        state.labels[resource] = _text(entry.get("label", ""))
        files, known, changed = state.files, state.files.get, 0
        for held in read:
            old = known(held.at)
            if old is None or old.md5 != held.md5 or old.size != held.size:
                changed += 1
            files[held.at] = held
        if changed:
            _change(state, changed)
    elif "gone" in entry:
        for path in _texts(entry["gone"]):
            if state.files.pop(path, None) is not None:
                _change(state, 1)
            state.extra.discard(path)
    elif "extra" in entry:
        state.extra = {path for path in _texts(entry["extra"]) if path in state.files}
    elif "hooked" in entry:
        state.hooked, state.changed = True, 0
    elif "folder" in entry:
        unit, folder = _text(entry["id"]), _text(entry["folder"])
        if not (stays_within(folder) if folder else entry.get("unit") == UnitKind.PROJECT.value):
            raise ValueError("not a folder of ours")
        state.hooked &= state.folder in (None, folder)
        state.unit, state.folder = unit, folder


def _change(state: Replay, count: int) -> None:
    state.hooked = False
    state.changed += count


def _held(prefix: str, resource: str, file: dict[str, Any], archive: str, archive_size: int) -> Held:
    path, size, md5, mtime_ns = file["path"], file["size"], file["md5"], file["mtime_ns"]
    at = file.get("at", path)
    # In one go, since this is asked a million times; bool is an int, and no number here.
    if not (type(path) is type(at) is type(md5) is str and type(size) is type(mtime_ns) is int):
        raise TypeError("not a file")
    if not (stays_within(at := prefix + at) and 0 <= size < _LARGEST and -_LARGEST < mtime_ns < _LARGEST):
        raise ValueError("not a file of ours")
    return _made(Held, (at, path, size, md5, mtime_ns, resource, archive, archive_size))


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value


def _texts(values: object) -> list[str]:
    if not isinstance(values, list):
        raise TypeError("not a list")
    return [_text(value) for value in values]


def _number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError("not a number")
    return value


def _dump(entry: dict[str, Any]) -> str:
    # ASCII only: a lone surrogate in a server's name must not stop the line from being written as UTF-8.
    return json.dumps(entry, separators=(",", ":")) + "\n"
