"""What may come of a fault: the exit codes of the contract, by what the client sees and what it had asked for.

=========  ==============================================================================================
nature     what the client sees
=========  ==============================================================================================
harmless   the right answer, late, slowly, or on a connection that is then closed
passing    no answer, half of one, or one of a gateway that is busy: 429, 503, 504
error      500, which on XNAT often means "no"
page       200 with a web page, or with nothing
cropped    200 with the first part of the answer, and nothing that tells that there was more
denied     401, although the session is good
forbidden  403
missing    404
spoilt     a zip or file that is complete and holds something else
killed     the session had ended when the request came
expiring   the session ended as the request was answered
short      a list that lacks rows
=========  ==============================================================================================

=========  ==============================================================================================
role       what the request was for
=========  ==============================================================================================
login      a session
proof      who is logged in
head       a list, record or token without which there is nothing to do
files      what a unit has; where it is refused, the resource list leads to it one by one, if there is any
rows       what else is needed of a unit: its resource list, its assessors' labels
record     the experiment's record that ``--metadata`` keeps
zip        a resource; what does not come of it is asked for file by file
file       one file
manners    logging out, a ping, the version, renewing a token: good to have
=========  ==============================================================================================
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum, auto

from xnat_embedded import (
    CleanEnd,
    Delay,
    EmptyBody,
    EofDelimited,
    ExpireDuring,
    Fault,
    KillSession,
    LoginPage,
    Reset,
    ShortList,
    Slow,
    Stall,
    Status,
)

from .effects import LOSES_SESSION, OF_MEMBERS, Together
from .ground import JOBS, LARGE, SLICES, Journey
from .matrix import Cell, Place, Usual

LISTERS = 2  # the default
TRIES = 4  # of one thing for ever refused: one retry, and the unit once more at the end
RENEWALS = 6  # sessions in a row that end before anything is answered
PAGE = 600  # bytes of an error page, a proof, a login, or a list of a small unit

# One fault costs at most: its request again, the proof and the login that it makes needful and the proof of that; all
# that was under way again, if the session ended; or a zip's files one by one; or its unit's lists again.
REQUESTS = 4 + JOBS + LISTERS + len(SLICES)


class Nature(StrEnum):
    """See the table above."""

    HARMLESS = auto()
    PASSING = auto()
    ERROR = auto()
    PAGE = auto()
    CROPPED = auto()
    DENIED = auto()
    FORBIDDEN = auto()
    MISSING = auto()
    SPOILT = auto()
    KILLED = auto()
    EXPIRING = auto()
    SHORT = auto()


class Role(StrEnum):
    """See the table above."""

    LOGIN = auto()
    PROOF = auto()
    HEAD = auto()
    FILES = auto()
    ROWS = auto()
    RECORD = auto()
    ZIP = auto()
    FILE = auto()
    MANNERS = auto()


_STATUS = {401: Nature.DENIED, 403: Nature.FORBIDDEN, 404: Nature.MISSING, 500: Nature.ERROR}


def nature(effects: Together) -> Nature:
    """What the client sees of them."""
    match effects:
        case (EofDelimited(), CleanEnd()):
            return Nature.CROPPED
        case (Delay() | Slow() | EofDelimited(),):
            return Nature.HARMLESS
        case (Status(code=code),):
            return _STATUS.get(code, Nature.PASSING)
        case (Reset() | Stall() | CleanEnd(),):
            return Nature.PASSING
        case (LoginPage() | EmptyBody(),):
            return Nature.PAGE
        case (KillSession(),):
            return Nature.KILLED
        case (ExpireDuring(),):
            return Nature.EXPIRING
        case (ShortList(),):
            return Nature.SHORT
        case (effect,) if isinstance(effect, OF_MEMBERS):
            return Nature.SPOILT
    raise AssertionError(f"nobody has said what {effects} look like to a client")


def role(place: Place, journey: Journey) -> Role:
    """What a request of a journey is for."""
    match place.kind:
        case _ if journey.command == ("logout",):
            return Role.MANNERS  # What is kept is forgotten, and the server told if it can be.
        case "login":
            return Role.LOGIN
        case "auth":
            return Role.PROOF
        case "zip":
            return Role.ZIP
        case "file":
            return Role.FILE
        case "files":
            return Role.FILES
        case "resources":
            return Role.ROWS
        case "experiments" if place.shape.endswith("/assessors"):
            return Role.ROWS
        case "item":
            return Role.HEAD if "experiment" in journey.command else Role.RECORD
        case "experiments" | "subjects" | "projects":
            return Role.HEAD
        case "token" if "--token" in journey.command:
            return Role.HEAD
        case "token" | "logout" | "other":
            return Role.MANNERS
    raise AssertionError(f"nobody has said what {place} is for")


# Once, and for ever: the codes that may come of it; a dot where there is no such cell.
_CODES = """
           login  proof  head   files  rows   record  zip    file   manners
harmless   0 0    0 0    0 0    0 0    0 0    0 0     0 0    0 0    0 0
passing    0 7    0 7    0 7    0 3    0 3    0 3     0 0    0 3    0 0
error      0 7    0 7    0 7    0 03   0 3    0 3     0 0    0 3    0 0
page       6 6    6 6    0 7    0 3    0 3    0 3     0 0    0 3    0 0
cropped    6 6    06 06  0 7    0 3    0 3    0 3     0 0    0 3    0 0
denied     6 6    6 6    0 5    0 03   0 3    0 3     0 0    0 3    0 0
forbidden  6 6    6 6    5 5    0 03   0 3    3 3     0 0    0 3    0 0
missing    7 7    7 7    5 5    0 03   0 3    3 3     0 0    4 4    0 0
spoilt     . .    . .    . .    . .    . .    . .     0 0    0 3    . .
killed     0 0    6 6    0 7    0 7    0 7    0 7     0 07   0 037  0 0
expiring   6 6    0 7    0 0    0 0    0 0    0 0     0 0    0 0    0 0
short      . .    . .    0 0    0 0    0 0    . .     . .    . .    . .
"""


@dataclass(frozen=True)
class Allowed:
    """The codes; and whether 0 means that all is there, which it does unless nothing tells of what lacks.

    ``keeps`` says whether the login that is kept is good afterwards.
    """

    codes: frozenset[int]
    whole: bool = True
    keeps: bool = True


def _table() -> dict[tuple[str, str, bool], frozenset[int]]:
    head, *rows = (line.split() for line in _CODES.strip().splitlines())
    return {
        (row[0], column, ever): frozenset(int(digit) for digit in cell if digit != ".")
        for row in rows
        for at, column in enumerate(head)
        for ever, cell in zip((False, True), row[1 + 2 * at : 3 + 2 * at], strict=True)
    }


CODES = _table()


def allowed(cells: Sequence[Cell], journey: Journey) -> Allowed:
    """What may come of a cell, or of several at once."""
    each = [_allowed(cell, journey) for cell in cells]
    codes = frozenset.intersection(*(one.codes for one in each))
    return Allowed(codes, all(one.whole for one in each), all(one.keeps for one in each))


def _allowed(cell: Cell, journey: Journey) -> Allowed:
    what, purpose = nature(cell.effects), role(cell.place, journey)
    codes = CODES[what, purpose, cell.ever]
    if 5 in codes and not journey.mirrors and cell.place.kind not in ("experiments", "subjects"):
        codes = frozenset({3})  # There is no project that could be hidden.
    if purpose is Role.ROWS and what in (Nature.FORBIDDEN, Nature.MISSING) and not journey.mirrors:
        codes = frozenset({3})  # A clear no is told; only a mirror tries its units once more.
    if "experiment" in journey.command and cell.place.kind == "item" and 5 in codes:
        codes = frozenset({2})  # The accession is one that the server does not know.
    if what in (Nature.PASSING, Nature.CROPPED) and purpose is Role.FILE and _cut(cell) > 0:
        codes |= {0}  # Each try goes on where the last was cut, as far as what came is not lost with the connection.
    if what in (Nature.KILLED, Nature.EXPIRING) and not journey.renewable:
        # Who asks nothing more need not know. A kept session that ended before the proof is passed over.
        over = purpose is Role.MANNERS or what is Nature.EXPIRING or (journey.name == "kept" and purpose is Role.PROOF)
        codes = frozenset({0, 6} if over else {6})
    if _passed_over(cell, journey):
        codes |= {0}
    # Nothing is asked after the proof, so nobody can know that the session ended as it was answered.
    blind = what is Nature.EXPIRING and purpose is Role.PROOF and journey.command in (("login",), ("whoami",))
    if blind:
        codes |= {0}
    # A token that was refused once is forgotten, as is documented: a refused secret is never tried again.
    refused = what is Nature.DENIED and purpose is Role.LOGIN and "token" in journey.name
    unnoticed = what is Nature.SHORT and _unnoticed(cell, purpose)
    if unnoticed and "--scan-type" in journey.command:
        codes |= {2}  # Nobody has told of any scan's type, so that none is of the one asked for.
    if unnoticed and purpose is Role.HEAD and "ls" in journey.command:
        codes |= {2}  # The list has no experiment of the name asked for.
    return Allowed(codes, whole=not unnoticed, keeps=not (blind or refused))


def _passed_over(cell: Cell, journey: Journey) -> bool:
    """Whether a kept session is taken for one that ended, so that the password opens another."""
    over = (Nature.PAGE, Nature.CROPPED, Nature.DENIED, Nature.KILLED)
    return journey.name == "kept" and role(cell.place, journey) is Role.PROOF and nature(cell.effects) in over


def loses_session(fault: Fault) -> bool:
    """Whether a fault ends a session or has it taken for one that ended, so that another is opened."""
    if fault.kind == "auth" and isinstance(fault.effect, LoginPage | EmptyBody | CleanEnd):
        return True  # An answer that names no user is what an ended session looks like.
    if fault.kind == "auth" and isinstance(fault.effect, Status):
        return fault.effect.code in (401, 403)
    return fault.kind == "login" or isinstance(fault.effect, LOSES_SESSION)


def _unnoticed(cell: Cell, purpose: Role) -> bool:
    """Whether nothing tells that such a list is short.

    Of an experiment's files the database's counts do. Resources and assessors that others tell of and their own lists
    do not are asked for once more, and believed then.
    """
    if purpose is Role.ROWS:
        return cell.ever
    if purpose is Role.HEAD:
        return cell.place.kind != "subjects"  # The experiments' list tells of those that have any.
    return not cell.place.shape.startswith("/data/experiments/")


def _cut(cell: Cell) -> int:
    """Bytes after which the answer is cut; 0 if nothing of it comes."""
    found = [getattr(effect, "after_bytes", None) for effect in cell.effects]
    return max((at for at in found if at), default=0)


@dataclass(frozen=True)
class Bounds:
    """The most that a cell may cost: requests and bytes beyond the usual, and sessions in all."""

    requests: int
    bytes: int
    sessions: int


def bounds(cells: Sequence[Cell], journey: Journey, usual: Usual, hits: Sequence[int]) -> Bounds:
    """The bounds of a cell whose faults met so many requests, or of several at once: their sum."""
    each = [_bounds(cell, journey, usual, met) for cell, met in zip(cells, hits, strict=True)]
    return Bounds(
        sum(one.requests for one in each),
        sum(one.bytes for one in each),
        usual.sessions + sum(one.sessions - usual.sessions for one in each),
    )


def _bounds(cell: Cell, journey: Journey, usual: Usual, hits: int) -> Bounds:
    """Once: ``REQUESTS``, each with a page or so, and once more the largest answer that it spoils. For ever: for each
    request at that place ``TRIES`` times as much, or as many requests as its pieces, where each try brings one.
    """
    sizes = [exchange.body_bytes for exchange in usual.places()[cell.place]]
    if journey.name == "resumed" and role(cell.place, journey) is Role.FILE:
        # What spoils a file that was gone on with costs all of it, and may have a size of its own.
        sizes = [max(size, LARGE, *map(_announced, cell.effects)) for size in sizes]
    ends = isinstance(cell.effects[0], LOSES_SESSION)
    if cell.ever:
        tries = RENEWALS if ends else TRIES
        pieces = sum(math.ceil(size / _cut(cell)) for size in sizes) if _cut(cell) else 0
        requests = REQUESTS * len(sizes) * tries + TRIES * pieces
        again = TRIES * sum(sizes)
    else:
        requests, again = REQUESTS, max(sizes)
    lost = hits if ends or cell.place.kind == "login" else 0
    most = RENEWALS * len(sizes) * TRIES if cell.ever else 1
    sessions = usual.sessions + (min(lost, most) if journey.renewable else 0) + _passed_over(cell, journey)
    return Bounds(requests, again + PAGE * requests, sessions)


def _announced(effect: object) -> int:
    """Bytes of a body that a fault puts in place of the right one."""
    return len(getattr(effect, "data", None) or b"")
