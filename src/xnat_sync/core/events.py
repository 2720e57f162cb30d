"""What a run tells while it goes: typed events, the tally that adds them up, and the exit code that follows.

Everything that is shown, logged or reported comes from these events, so the same run gives the same numbers in every
form. ``exit_code`` is the one place that knows the precedence of the documented codes.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import IntEnum


class Exit(IntEnum):
    """The documented exit codes."""

    OK = 0
    BUG = 1
    USAGE = 2
    INCOMPLETE = 3
    VANISHED = 4
    NOT_FOUND = 5
    LOGIN = 6
    UNAVAILABLE = 7
    TRANSFER_LIMIT = 8
    WINDOW = 10
    LOCKED = 11
    DISK = 12
    INTERRUPTED = 130
    TERMINATED = 143

    @property
    def label(self) -> str:
        """The name that the log's last line and ``summary.json`` give."""
        return self.name.lower().replace("_", "-")


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """A login was proved. ``opened`` says whether it made a new session on the server."""

    user: str
    opened: bool


@dataclass(frozen=True, slots=True)
class Warned:
    """Something that need not go wrong, and that somebody should know of before it does."""

    message: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """Another run holds the project's folder; it is waited for up to ``seconds``."""

    message: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Found:
    """The project's list was read: so many units are in scope."""

    project: str
    units: int


@dataclass(frozen=True, slots=True)
class Listed:
    """A unit's file listing was read."""

    unit: str
    label: str
    resources: int
    files: int
    bytes: int


@dataclass(frozen=True, slots=True)
class ListingEnded:
    """Every unit in scope was listed, so planned totals are final."""


@dataclass(frozen=True, slots=True)
class Planned:
    """Files of one resource are to be brought, for the reasons counted in ``reasons``."""

    unit: str
    resource: str
    folder: str
    files: int
    bytes: int
    reasons: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Skipped:
    """Files of one resource need nothing, all for the same reason."""

    unit: str
    resource: str
    folder: str
    files: int
    bytes: int
    reason: str


@dataclass(frozen=True, slots=True)
class Began:
    """A transfer begins: ``what`` names it to people, ``bytes`` is what it should bring, if that is known."""

    transfer: int
    what: str
    how: str
    bytes: int | None


@dataclass(frozen=True, slots=True)
class Progress:
    """So many more bytes came on a transfer."""

    transfer: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Finished:
    """A transfer is over, well or not."""

    transfer: int


@dataclass(frozen=True, slots=True)
class Landed:
    """Bytes of wanted files are verified on disk, in staging as yet; ``before`` if they were there already."""

    files: int
    bytes: int
    unit: str = ""
    before: bool = False


@dataclass(frozen=True, slots=True)
class Again:
    """Bytes came that were of no use: held already, or dropped because they proved wrong or were cut."""

    bytes: int


@dataclass(frozen=True, slots=True)
class Committed:
    """Files are under their final names and recorded. ``files`` are (path, bytes, reason)."""

    unit: str
    resource: str
    folder: str
    files: tuple[tuple[str, int, str], ...]


@dataclass(frozen=True, slots=True)
class Retrying:
    """Something failed and is tried again after ``seconds``."""

    what: str
    error: str
    seconds: float
    tried: int


@dataclass(frozen=True, slots=True)
class Throttled:
    """So many transfers at once are allowed now: fewer after trouble of the server, more after a calm spell."""

    transfers: int
    most: int


@dataclass(frozen=True, slots=True)
class Hooked:
    """A command of the user's was run for a unit; ``code`` is its exit status, 0 if all is well."""

    unit: str
    label: str
    code: int
    message: str = ""


@dataclass(frozen=True, slots=True)
class Failed:
    """Something is not there after all tries, in this pass. ``path`` is ``""`` for a whole unit or resource."""

    unit: str
    resource: str
    path: str
    error: str


@dataclass(frozen=True, slots=True)
class Doubted:
    """The server's own counts speak of more files than it lists; either may be stale."""

    unit: str
    resource: str
    counted: int
    listed: int


@dataclass(frozen=True, slots=True)
class Vanished:
    """The server lists the file and does not have it."""

    unit: str
    resource: str
    path: str


@dataclass(frozen=True, slots=True)
class Extra:
    """A file is held here that the server no longer lists."""

    unit: str
    resource: str
    path: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Trashed:
    """An extra file was moved to the trash."""

    unit: str
    path: str
    bytes: int


@dataclass(frozen=True, slots=True)
class SessionDone:
    """All that was to be done for a unit is done. ``complete`` if nothing of it is missing."""

    unit: str
    label: str
    folder: str
    complete: bool
    changed: int


@dataclass(frozen=True, slots=True)
class SecondPass:
    """So many units had failures and are listed and tried once more; their failures so far do not count."""

    units: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class WindowClosed:
    """A window or ``--max-transfer`` has ended the run; what was not done is left for the next one."""

    files_left: int


@dataclass(frozen=True, slots=True)
class Ended:
    """The run is over."""

    code: int
    name: str
    message: str = ""


Event = (
    LoggedIn
    | Warned
    | Waiting
    | Found
    | Listed
    | ListingEnded
    | Planned
    | Skipped
    | Began
    | Progress
    | Finished
    | Landed
    | Again
    | Committed
    | Retrying
    | Throttled
    | Hooked
    | Failed
    | Doubted
    | Vanished
    | Extra
    | Trashed
    | SessionDone
    | SecondPass
    | WindowClosed
    | Ended
)

_KINDS = {"new": "new", "missing here": "new", "moved here": "moved"}


@dataclass(slots=True)
class Tally:
    """The sums of a run. Bytes are those of files, unless a name says otherwise."""

    user: str = ""
    sessions_opened: int = 0
    units: int = 0
    listing_complete: bool = False
    sessions_complete: int = 0
    files_listed: int = 0
    bytes_listed: int = 0
    files_planned: int = 0
    bytes_planned: int = 0
    files_landed: int = 0
    bytes_landed: int = 0
    bytes_received: int = 0
    bytes_again: int = 0
    retries: int = 0
    hooks_run: int = 0
    hooks_failed: int = 0
    files_committed: int = 0
    files: Counter[str] = field(default_factory=Counter)
    bytes: Counter[str] = field(default_factory=Counter)
    failed: dict[tuple[str, str, str], str] = field(default_factory=dict)
    vanished: dict[tuple[str, str, str], None] = field(default_factory=dict)
    units_listed: set[str] = field(default_factory=set)
    units_again: frozenset[str] = frozenset()

    def apply(self, event: Event) -> None:
        """Add one event. What a second pass lists again is counted once."""
        if isinstance(event, Listed | Planned | Skipped | Extra) and event.unit in self.units_again:
            return
        match event:
            case LoggedIn(user, opened):
                self.user = user
                self.sessions_opened += opened
            case Found(units=units):
                self.units += units
            case Listed(unit, files=files, bytes=size):
                self.units_listed.add(unit)
                self.files_listed += files
                self.bytes_listed += size
            case ListingEnded():
                self.listing_complete = True
            case Planned(files=files, bytes=size):
                self.files_planned += files
                self.bytes_planned += size
            case Skipped(files=files, bytes=size):
                self.files["skipped"] += files
                self.bytes["skipped"] += size
            case Progress(bytes=size):
                self.bytes_received += size
            case Landed(files, size, unit, before):
                if before and unit in self.units_again:
                    return
                self.files_landed += files
                self.bytes_landed += size
            case Again(size):
                self.bytes_again += size
            case Committed(files=committed):
                self._committed(committed)
            case Retrying():
                self.retries += 1
            case Hooked(code=code):
                self.hooks_run += 1
                self.hooks_failed += code != 0
            case Failed(unit, resource, path, error):
                self.failed[unit, resource, path] = error
            case Vanished(unit, resource, path):
                self.vanished[unit, resource, path] = None
            case Extra(bytes=size):
                self.files["extra"] += 1
                self.bytes["extra"] += size
            case Trashed(bytes=size):
                self.files["trashed"] += 1
                self.bytes["trashed"] += size
            case SessionDone(complete=complete):
                self.sessions_complete += complete
            case SecondPass(units=again):
                self.units_again = frozenset(again) & self.units_listed
                self._forget(frozenset(again))
            case _:
                pass

    def _committed(self, committed: tuple[tuple[str, int, str], ...]) -> None:
        self.files_committed += len(committed)
        for _, size, reason in committed:
            kind = _KINDS.get(reason, "changed")
            self.files[kind] += 1
            self.bytes[kind] += size

    def _forget(self, units: frozenset[str]) -> None:
        for found in (self.failed, self.vanished):
            for key in [key for key in found if key[0] in units]:
                del found[key]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What ended a run early, if anything did.

    ``signal`` is 2 or 15 if one was received; ``fatal`` is the code of the error that stopped the run; the window and
    the transfer limit are flags since both may close on one run.
    """

    signal: int | None = None
    fatal: Exit | None = None
    window_closed: bool = False
    transfer_limit: bool = False


def exit_code(tally: Tally, outcome: Outcome) -> Exit:
    """The code of a run: signal, 1, 12, 6, 7, 3, 10, 8, 4, 0; the codes 2, 5 and 11 occur alone."""
    signal = {2: Exit.INTERRUPTED, 15: Exit.TERMINATED}
    true = {
        signal.get(outcome.signal or 0),
        outcome.fatal,
        Exit.INCOMPLETE if tally.failed else None,
        Exit.WINDOW if outcome.window_closed else None,
        Exit.TRANSFER_LIMIT if outcome.transfer_limit else None,
        Exit.VANISHED if tally.vanished else None,
    }
    return next((code for code in PRECEDENCE if code in true), Exit.OK)


PRECEDENCE = (
    Exit.INTERRUPTED,
    Exit.TERMINATED,
    Exit.BUG,
    Exit.USAGE,
    Exit.NOT_FOUND,
    Exit.LOCKED,
    Exit.DISK,
    Exit.LOGIN,
    Exit.UNAVAILABLE,
    Exit.INCOMPLETE,
    Exit.WINDOW,
    Exit.TRANSFER_LIMIT,
    Exit.VANISHED,
)


def severity(code: Exit) -> int:
    """The place of a code in the precedence; the least is the worst."""
    return PRECEDENCE.index(code) if code in PRECEDENCE else len(PRECEDENCE)
