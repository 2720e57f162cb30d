"""Faults on order: what goes wrong, for which requests, and how often.

Each effect stands for something that real servers, or the proxies before them, do; its docstring says what. Effects
are data. Four places carry them out: ``service`` (instead of an answer), ``service`` again (in a list), ``packing``
(in a zip or file), and ``wire`` (while bytes leave).
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import unquote

# --- instead of the answer -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Status:
    """A proxy answers by itself: 502, 503, 504, or a firewall's 429 with ``Retry-After`` (§6)."""

    code: int
    retry_after: str | int | None = None
    html: bool = True


@dataclass(frozen=True, slots=True)
class LoginPage:
    """200 and a web page: a login form after a redirect, a single-sign-on or maintenance page (§6)."""


@dataclass(frozen=True, slots=True)
class EmptyBody:
    """200 and ``Content-Length: 0``: a list whose query failed in the database (§2.1)."""


@dataclass(frozen=True, slots=True)
class Delay:
    """A slow first byte: a catalog lock, a CRC read ahead, remote storage (§2.2, §3.2)."""

    seconds: float


@dataclass(frozen=True, slots=True)
class KillSession:
    """The request's session ended just before, by expiry, an administrator or a restart (§1.4).

    The request is then handled as any other with a dead cookie: 401 and a new anonymous cookie, or as guest. What it
    brings as Basic credentials still counts.
    """


# --- in a list -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ShortList:
    """The last rows are missing, with status 200: a guest's view, or a resource that failed to load (§2.2)."""

    missing: int = 1


# --- in a zip, or in a file ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DropMember:
    """A listed file is absent: it had vanished from disk when the request came (§3.5).

    ``member`` is its place, from 0, or the end of its name.
    """

    member: int | str = 0


@dataclass(frozen=True, slots=True)
class TruncateMember:
    """A read error half-way: the member is short, its sizes and CRC agree with what there is, the zip is valid."""

    member: int | str = 0
    at: int = 0


@dataclass(frozen=True, slots=True)
class EndAfterMember:
    """A file vanished, or a name came twice: the zip is valid and ends after ``count`` members."""

    count: int


@dataclass(frozen=True, slots=True)
class CorruptMember:
    """Bytes changed on their way, by a disk or a bad proxy: the CRC is that of the original. Also for single files."""

    member: int | str = 0
    at: int | None = None


@dataclass(frozen=True, slots=True)
class WrongBody:
    """Another file's bytes, with a CRC of their own: a cache, or a replacement of the file on the server.

    ``data`` None: those of the next file in the same resource or zip. For a zip, of its member ``member``.
    """

    data: bytes | None = None
    member: int | str = 0


# --- while bytes leave -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Reset:
    """The connection is reset after so many body bytes, or before anything is sent (None): Tomcat or a proxy dies."""

    after_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class CleanEnd:
    """HTTP ends as if complete after so many body bytes: an exception while streaming, which Restlet swallows (§3.5).

    An answer with a declared length cannot end cleanly: there, the connection is closed short of it.
    """

    after_bytes: int


@dataclass(frozen=True, slots=True)
class Stall:
    """Nothing more after so many body bytes, until the client leaves or the server is stopped: hung storage."""

    after_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Slow:
    """So many bytes a second: a busy line."""

    rate: float


@dataclass(frozen=True, slots=True)
class EofDelimited:
    """No chunks and no length; the end of the connection is the end of the body: an HTTP/1.0 hop (§3.5)."""


@dataclass(frozen=True, slots=True)
class ExpireDuring:
    """The session ends while its answer is streamed. The answer goes on; the next request is anonymous (§1.4)."""


Effect = (
    Status
    | LoginPage
    | EmptyBody
    | Delay
    | KillSession
    | ShortList
    | DropMember
    | TruncateMember
    | EndAfterMember
    | CorruptMember
    | WrongBody
    | Reset
    | CleanEnd
    | Stall
    | Slow
    | EofDelimited
    | ExpireDuring
)

EVERY = None

_E = TypeVar("_E")


@dataclass(frozen=True, slots=True, eq=False)
class Fault:
    """An effect, and the requests that meet it.

    A request matches if it is of that ``kind`` (see ``Exchange.kind``; None for any) and its target holds ``path``, a
    substring or a compiled pattern, tried on the target as sent and percent-decoded. Of the matching requests, the
    effect meets the ``nth``, counted from 1, and in all ``count`` from there on (``EVERY``: all).
    """

    effect: Effect
    kind: str | None = None
    path: str | re.Pattern[str] | None = None
    nth: int = 1
    count: int | None = 1

    def matches(self, kind: str, target: str) -> bool:
        """Whether a request is one of those counted."""
        if self.kind not in (None, kind):
            return False
        if self.path is None:
            return True
        forms = (target, unquote(target))
        if isinstance(self.path, str):
            return any(self.path in form for form in forms)
        return any(self.path.search(form) for form in forms)

    def meets(self, occurrence: int) -> bool:
        """Whether the matching request of that number, from 1, is hit."""
        return occurrence >= self.nth and (self.count is None or occurrence < self.nth + self.count)


class Faults:
    """The faults of a server. Safe to change while it runs."""

    def __init__(self) -> None:
        self._seen: dict[Fault, int] = {}
        self._fired: dict[Fault, int] = {}
        self._lock = threading.Lock()

    def add(self, fault: Fault) -> Fault:
        """Order a fault; counting starts now."""
        with self._lock:
            self._seen[fault] = self._fired[fault] = 0
        return fault

    def clear(self) -> None:
        """Cancel all."""
        with self._lock:
            self._seen.clear()
            self._fired.clear()

    def fired(self, fault: Fault) -> int:
        """How many requests a fault has met."""
        with self._lock:
            return self._fired.get(fault, 0)

    def hit(self, kind: str, target: str) -> tuple[Effect, ...]:
        """The effects that a request meets, in the order in which they were added."""
        if not self._seen:
            return ()
        effects = []
        with self._lock:
            for fault, seen in self._seen.items():
                if fault.matches(kind, target):
                    self._seen[fault] = seen + 1
                    if fault.meets(seen + 1):
                        self._fired[fault] += 1
                        effects.append(fault.effect)
        return tuple(effects)


def of_type(effects: Iterable[Effect], kind: type[_E]) -> list[_E]:
    """The effects of one type."""
    return [effect for effect in effects if isinstance(effect, kind)]


def first(effects: Iterable[Effect], kind: type[_E]) -> _E | None:
    """The first effect of one type, if any."""
    return next(iter(of_type(effects, kind)), None)
