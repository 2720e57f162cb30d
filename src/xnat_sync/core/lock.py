"""Who holds the lock of a project's folder: the record in it, and when that record counts no more.

The record is one JSON object of a fixed length, so that its holder can write it anew in place. ``silent`` is for how
long nothing was heard of the holder: the age of the lock's file by the clock of its file system, or, where that makes
no sense, for how long the one who asks has seen it unchanged.

=====================================================  ================  ========
record                                                 silent            standing
=====================================================  ================  ========
released                                               any               stale
its process can be seen from here, and runs            any               held
its process can be seen from here, and is gone         any               stale
of this very machine, before it was booted anew        > ``REBOOT``      stale
of this very machine, before it was booted anew        else              held
any other, or none that can be read                    > ``LIMIT``       stale
any other, or none that can be read                    else              held
=====================================================  ================  ========

A process can be seen by those on the same host, in the same boot and the same pid namespace: not from one container
into another. A machine is known again by its name and its machine id together. Machines cloned from one image may have
both in common, and a file system: a clone at work is heard of every ``BEAT`` seconds, so ``REBOOT`` tells it from
one that was booted anew, long before cron comes round.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

BEAT = 30.0
"""Seconds from one heartbeat to the next."""
LEASE = 2 * BEAT
"""Seconds since the last heartbeat after which the holder must beat before it writes on. Less than ``REBOOT``."""
REBOOT = 3 * BEAT
LIMIT = 20 * BEAT
SIZE = 1024
"""The length of a record, in bytes."""

_TEXT = 64
_END_OF_TIME = 253402300800.0  # the year 10000, which no date can show
_TOKEN = re.compile(r"[0-9a-f]{32}")


class Standing(StrEnum):
    """Whether a lock still counts."""

    HELD = "held"
    STALE = "stale"


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a lock.

    ``boot``, ``machine`` and ``namespace`` are Linux' ids of the boot, of the installation and of the pid namespace,
    ``""`` where there is none; ``born`` is when the process began, in ticks since the boot, 0 if unknown. ``token`` is
    unique to this hold. ``started`` and ``heartbeat`` are seconds since the epoch by the holder's own clock, for people
    only; ``released`` says that the holder has let go.
    """

    host: str
    pid: int
    boot: str
    machine: str
    namespace: str
    born: int
    token: str
    started: float
    heartbeat: float
    released: bool = False


@dataclass(frozen=True, slots=True)
class Rival:
    """What keeps us from a lock: its record, None if that cannot be read, and its age.

    ``age`` is in seconds since the last heartbeat, and below zero where the file system's clock jumped back.
    """

    holder: Holder | None
    age: float


def text(raw: str) -> str:
    """What a record can hold of a text: up to 64 characters, printable ASCII. So no record needs more than its room."""
    return "".join(c if " " <= c <= "~" else "?" for c in raw[:_TEXT])


def encode(holder: Holder) -> bytes:
    """The record, ``SIZE`` bytes whatever it says. Its texts are such as ``text`` gives."""
    return json.dumps(asdict(holder), separators=(",", ":")).ljust(SIZE - 1).encode("ascii") + b"\n"


def decode(data: bytes) -> Holder | None:
    """The record that a file holds, None if that is no record. Never raises: anyone may have written it."""
    if len(data) > SIZE:
        return None
    try:
        entry = json.loads(data.decode("ascii"))
        holder = Holder(**{field.name: entry[field.name] for field in fields(Holder)})
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return holder if _makes_sense(holder) else None


def _makes_sense(holder: Holder) -> bool:
    texts: tuple[Any, ...] = (holder.host, holder.boot, holder.machine, holder.namespace)
    numbers: tuple[Any, ...] = (holder.pid, holder.born)
    times: tuple[Any, ...] = (holder.started, holder.heartbeat)
    return (
        all(isinstance(each, str) and each == text(each) for each in texts)
        and all(type(each) is int and 0 <= each < 1 << 63 for each in numbers)
        and 0 < holder.pid < 1 << 31
        and all(type(each) in (int, float) and 0 <= each < _END_OF_TIME for each in times)
        and isinstance(holder.token, str)
        and _TOKEN.fullmatch(holder.token) is not None
        and isinstance(holder.released, bool)
    )


def can_see(me: Holder, other: Holder) -> bool:
    """Whether the process of ``other``, if it runs, is one that ``me`` can see by its pid."""
    here, there = (me.host, me.boot, me.namespace), (other.host, other.boot, other.namespace)
    return here == there and all(here)


def judge(other: Holder | None, me: Holder, *, runs: bool | None, age: float, unchanged: float) -> Standing:
    """How a lock stands that says ``other``; the module's table.

    ``runs`` is whether the process of ``other`` does, None if that cannot be seen; ``age`` is that of the file, and
    ``unchanged`` for how long it was seen as it is, both in seconds.
    """
    if other is not None:
        if other.released:
            return Standing.STALE
        if runs is not None:
            return Standing.HELD if runs else Standing.STALE
    # A time to come, as after a jump of the file system's clock, is no silence; to be seen unchanged is.
    silent = max(age, unchanged)
    return Standing.STALE if silent > (REBOOT if _booted_anew(other, me) else LIMIT) else Standing.HELD


def _booted_anew(other: Holder | None, me: Holder) -> bool:
    if other is None or (other.host, other.machine) != (me.host, me.machine):
        return False
    return bool(me.machine and me.boot and other.boot) and other.boot != me.boot


def held(rival: Rival, root: str, path: str) -> str:
    """What to tell who may not write in ``root``, because of the lock at ``path``; one line."""
    heard = f"last heard of {_length(rival.age)} ago"
    way_on = f"wait for it with --wait-lock, or, if it is surely dead, remove {path}"
    if rival.holder is None:
        return f"another run holds {root}, and its lock does not say which, {heard}; {way_on}"
    since = datetime.fromtimestamp(rival.holder.started, UTC)
    return f"another run holds {root}: {_who(rival.holder)} since {since:%Y-%m-%d %H:%M} UTC, {heard}; {way_on}"


def lost(holder: Holder | None, root: str) -> str:
    """What to tell who held the lock of ``root`` until ``holder`` took it, or until it was removed; one line."""
    if holder is None:
        return f"the lock of {root} was removed or damaged while this run held it: this run stops; run again"
    return (
        f"the lock of {root} was taken over by {_who(holder)}, after nothing was heard of this run for too long: "
        "this run stops, and that one goes on"
    )


def _who(holder: Holder) -> str:
    return f"pid {holder.pid} on host {holder.host}"


def _length(seconds: float) -> str:
    for unit, length in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length:.0f} {unit}"
    return f"{max(seconds, 0.0):.0f} s"
