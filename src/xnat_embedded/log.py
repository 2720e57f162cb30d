"""What the server saw and did: one record a request, and counts made from them.

Written by the event loop, read by tests in other threads: readers get frozen copies.
"""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field

LISTINGS = frozenset({"projects", "subjects", "experiments", "scans", "resources", "files", "item", "catalog"})


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and its answer.

    ``number`` and ``finished`` are serials of one common counter, so they tell what overlapped; ``finished`` is None
    while the answer is on its way. ``aborted``: the answer did not end as it should, by a fault or by the client.
    """

    number: int
    method: str
    path: str
    query: str
    kind: str
    status: int
    body_bytes: int
    session: str
    user: str | None
    finished: int | None
    aborted: bool
    range: str
    user_agent: str


@dataclass(slots=True, eq=False)
class Record:
    """An exchange in the making."""

    number: int
    method: str
    path: str
    query: str
    kind: str
    range: str = ""
    user_agent: str = ""
    status: int = 0
    body_bytes: int = 0
    session: str = ""
    user: str | None = None
    finished: int | None = None
    aborted: bool = False

    def frozen(self) -> Exchange:
        """A copy for readers."""
        return Exchange(
            self.number,
            self.method,
            self.path,
            self.query,
            self.kind,
            self.status,
            self.body_bytes,
            self.session,
            self.user,
            self.finished,
            self.aborted,
            self.range,
            self.user_agent,
        )


@dataclass(frozen=True, slots=True)
class Counts:
    """Totals since the server was made. ``peak`` and ``live`` are requests at once, by group and in ``"all"``."""

    requests: Counter[str]
    body_bytes: Counter[str]
    sessions_opened: int
    sessions_closed: int
    anonymous_sessions: int
    logins_refused: int
    peak: dict[str, int]
    live: dict[str, int]

    @property
    def total(self) -> int:
        """All requests."""
        return self.requests.total()


@dataclass(slots=True)
class Log:
    """The records of a server."""

    records: list[Record] = field(default_factory=list)
    _serial: int = 0
    _live: Counter[str] = field(default_factory=Counter)
    _peak: dict[str, int] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self, record: Record) -> None:
        """A request has come."""
        with self._lock:
            self._serial += 1
            record.number = self._serial
            self.records.append(record)
            for group in ("all", group_of(record.kind)):
                self._live[group] += 1
                self._peak[group] = max(self._peak.get(group, 0), self._live[group])

    def end(self, record: Record, *, aborted: bool) -> None:
        """Its answer is out, or never will be."""
        with self._lock:
            self._serial += 1
            record.finished = self._serial
            record.aborted = record.aborted or aborted
            for group in ("all", group_of(record.kind)):
                self._live[group] -= 1

    def snapshot(self) -> list[Exchange]:
        """All exchanges in the order in which they began."""
        with self._lock:
            return [record.frozen() for record in self.records]

    def clear(self) -> None:
        """Forget what has ended."""
        with self._lock:
            self.records = [record for record in self.records if record.finished is None]
            self._peak = dict(self._live)

    def counts(self, *, opened: int, closed: int, anonymous: int, refused: int) -> Counts:
        """Totals, with what only the session store knows."""
        with self._lock:
            requests: Counter[str] = Counter()
            sent: Counter[str] = Counter()
            for record in self.records:
                requests[record.kind] += 1
                sent[record.kind] += record.body_bytes
            live = {group: number for group, number in self._live.items() if number}
            return Counts(requests, sent, opened, closed, anonymous, refused, dict(self._peak), live)


def group_of(kind: str) -> str:
    """``listing``, ``zip``, ``file`` or ``other``."""
    if kind in LISTINGS:
        return "listing"
    return kind if kind in ("zip", "file") else "other"
