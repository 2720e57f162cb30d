"""Events and tally -> what scripts read: JSON lines and the summary.

What stands here is a promise: fields only get added.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from . import events
from .events import Event, Exit, Tally


def stamp(now: datetime) -> str:
    """A moment in UTC as ISO 8601 with milliseconds."""
    return now.isoformat(timespec="milliseconds").replace("+00:00", "Z")


_JSON_EVENTS: dict[type, str] = {
    events.LoggedIn: "logged_in",
    events.Warned: "warned",
    events.Waiting: "waiting",
    events.Listed: "listed",
    events.Planned: "planned",
    events.Skipped: "skipped",
    events.Began: "began",
    events.Committed: "committed",
    events.Retrying: "retrying",
    events.Throttled: "throttled",
    events.Hooked: "hooked",
    events.Failed: "failed",
    events.Doubted: "doubted",
    events.Vanished: "vanished",
    events.Extra: "extra",
    events.Trashed: "trashed",
    events.SessionDone: "session_done",
    events.WindowClosed: "window",
    events.Ended: "ended",
}


def json_line(event: Event, now: datetime) -> str | None:
    """An event as one JSON object with ``event`` and ``time`` (UTC, ISO 8601); None for those that are not logged."""
    name = _JSON_EVENTS.get(type(event))
    if name is None:
        return None
    # Events are flat. ``asdict`` would copy each of the files committed, to no use.
    fields = {of: getattr(event, of) for of in event.__dataclass_fields__}
    if isinstance(event, events.Committed):
        fields["files"] = len(event.files)
        fields["bytes"] = sum(entry[1] for entry in event.files)
    return json.dumps({"event": name, "time": stamp(now)} | fields)


def progress_line(tally: Tally, now: datetime) -> str:
    """The ``progress`` object that a JSON log gets once a minute."""
    return json.dumps(
        {
            "event": "progress",
            "time": stamp(now),
            "files": tally.files_landed,
            "bytes": tally.bytes_landed,
            "files_planned": tally.files_planned,
            "bytes_planned": tally.bytes_planned,
            "listing_complete": tally.listing_complete,
        }
    )


def summary(
    tally: Tally,
    code: Exit,
    message: str,
    *,
    project: str,
    seconds: float,
    requests: int,
    started: datetime,
    version: str,
) -> dict[str, Any]:
    """``summary.json``: what the run did, in numbers. Fields only ever get added."""
    return {
        "xnat_sync": version,
        "project": project,
        "code": int(code),
        "name": code.label,
        "message": message,
        "started": stamp(started),
        "seconds": round(seconds, 3),
        "user": tally.user,
        "sessions_opened": tally.sessions_opened,
        "requests": requests,
        "units": tally.units,
        "units_listed": len(tally.units_listed),
        "units_complete": tally.sessions_complete,
        "listing_complete": tally.listing_complete,
        "files": {
            "listed": tally.files_listed,
            "new": tally.files["new"],
            "changed": tally.files["changed"],
            "moved": tally.files["moved"],
            "extra": tally.files["extra"],
            "trashed": tally.files["trashed"],
            "skipped": tally.files["skipped"],
            "vanished": len(tally.vanished),
            "failed": len(tally.failed),
        },
        "bytes": {
            "listed": tally.bytes_listed,
            "new": tally.bytes["new"],
            "changed": tally.bytes["changed"],
            "skipped": tally.bytes["skipped"],
            "received": tally.bytes_received,
            "again": tally.bytes_again,
        },
        "retries": tally.retries,
        "hooks": {"run": tally.hooks_run, "failed": tally.hooks_failed},
        "missing": [
            f"{resource}: {path or 'all of it'}: {error}"
            for (_, resource, path), error in list(tally.failed.items())[:100]
        ]
        + [f"{resource}: {path}: vanished on the server" for _, resource, path in list(tally.vanished)[:100]],
    }


def summary_of_all(summaries: Sequence[dict[str, Any]], asked: int, code: Exit) -> dict[str, Any]:
    """``all.json``: the summaries of several projects that one command mirrored, and their sums."""

    def sums(of: str) -> dict[str, int]:
        total: Counter[str] = Counter()
        for each in summaries:
            total.update(each[of])
        return dict(total)

    return {
        "code": int(code),
        "name": code.label,
        "projects_asked": asked,
        "projects_complete": sum(each["code"] in (Exit.OK, Exit.VANISHED) for each in summaries),
        "seconds": round(sum(each["seconds"] for each in summaries), 3),
        "requests": sum(each["requests"] for each in summaries),
        "sessions_opened": sum(each["sessions_opened"] for each in summaries),
        "files": sums("files"),
        "bytes": sums("bytes"),
        "projects": list(summaries),
    }
