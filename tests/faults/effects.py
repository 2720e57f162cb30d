"""What every fault can be made of at a request of a kind, taken from the server's own list of them.

``CLASSES`` are the effects that the server knows, by looking into it. Each has a line in ``_VARIANTS``: as what it is
to be tried at answers of a certain size. A new one that has none is an error, so that none is forgotten.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import is_dataclass
from typing import cast, get_args

from xnat_embedded import (
    CleanEnd,
    CorruptMember,
    Delay,
    DropMember,
    EmptyBody,
    EndAfterMember,
    EofDelimited,
    ExpireDuring,
    KillSession,
    LoginPage,
    Reset,
    ShortList,
    Slow,
    Stall,
    Status,
    TruncateMember,
    WrongBody,
    faults,
)
from xnat_embedded.faults import Effect
from xnat_embedded.log import LISTINGS

from .ground import SLICES

CLASSES = tuple(
    cast("type[Effect]", found)
    for _, found in inspect.getmembers(faults, inspect.isclass)
    if found.__module__ == faults.__name__ and is_dataclass(found) and found is not faults.Fault
)
OF_MEMBERS = (DropMember, TruncateMember, EndAfterMember, CorruptMember, WrongBody)
LOSES_SESSION = (KillSession, ExpireDuring)
_OF_FILES = (TruncateMember, CorruptMember, WrongBody)
_TABLES = LISTINGS - {"item", "catalog"}

Together = tuple[Effect, ...]  # effects that meet one request


def bears(effect: type[Effect], kind: str) -> bool:
    """Whether the server carries the effect out at requests of that kind; elsewhere it does nothing.

    ==================  ==================
    effect              kinds
    ==================  ==================
    of members          zips; those of one file's bytes also files
    ``ShortList``       tables
    any other           all
    ==================  ==================
    """
    if effect in OF_MEMBERS:
        return kind == "zip" or (kind == "file" and effect in _OF_FILES)
    return effect is not ShortList or kind in _TABLES


def variants(effect: type[Effect], kind: str, size: int) -> tuple[Together, ...]:
    """As what an effect is to be tried at answers of that kind, of which the smallest has ``size`` bytes."""
    return tuple(dict.fromkeys(_VARIANTS[effect](kind, size)))


def _cut(kind: str, size: int) -> list[int]:
    """Before the first byte, in the middle, and short of the end: in a zip within its directory."""
    found = {0, size // 2, size - (30 if kind == "zip" else 1)}
    return sorted(at for at in found if 0 <= at < max(size, 1))


def _alone(*effects: Effect) -> Callable[[str, int], list[Together]]:
    return lambda kind, size: [(effect,) for effect in effects]


def _members(make: Callable[[int], Effect]) -> Callable[[str, int], list[Together]]:
    """The first and the last member of a zip; of a file there is one."""
    return lambda kind, size: [(make(at),) for at in ((0, len(SLICES) - 1) if kind == "zip" else (0,))]


def _wrong(kind: str, size: int) -> list[Together]:
    """Another's bytes, none, as many others as are right, and more."""
    right = SLICES[0] if kind == "zip" else size
    return [(WrongBody(body),) for body in (None, b"", bytes(right), bytes(2 * right))]


_VARIANTS: dict[type[Effect], Callable[[str, int], list[Together]]] = {
    Status: _alone(*(Status(code) for code in (401, 403, 404, 500, 503)), Status(429, 1), Status(504, html=False)),
    LoginPage: _alone(LoginPage()),
    EmptyBody: _alone(EmptyBody()),
    Delay: _alone(Delay(0.2)),
    KillSession: _alone(KillSession()),
    ShortList: _alone(ShortList(1), ShortList(99)),
    DropMember: _members(DropMember),
    TruncateMember: _members(lambda member: TruncateMember(member, 1_000)),
    EndAfterMember: _alone(EndAfterMember(0), EndAfterMember(len(SLICES) - 1)),
    CorruptMember: _members(CorruptMember),
    WrongBody: _wrong,
    Reset: lambda kind, size: [(Reset(),), *((Reset(at),) for at in _cut(kind, size))],
    CleanEnd: lambda kind, size: [(CleanEnd(at),) for at in _cut(kind, size)],
    Stall: lambda kind, size: [(Stall(at),) for at in _cut(kind, size)[:2]],
    Slow: lambda kind, size: [(Slow(max(size * 5.0, 50_000)),)],
    # A hop of HTTP/1.0 hides where a body ends, so that one cut short looks complete.
    EofDelimited: lambda kind, size: [
        (EofDelimited(),),
        *((EofDelimited(), CleanEnd(at)) for at in _cut(kind, size)[1:]),
    ],
    ExpireDuring: _alone(ExpireDuring()),
}


def is_complete() -> list[str]:
    """What is lacking here of what the server knows, or is here and unknown to it."""
    known, union, here = set(CLASSES), set(get_args(Effect)), set(_VARIANTS)
    return sorted(found.__name__ for found in (known ^ union) | (known ^ here))
