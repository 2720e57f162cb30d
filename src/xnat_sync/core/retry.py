"""How long to wait before the next try, or whether to give up: one policy for every request.

=========================================  =========================================================
error                                      verdict
=========================================  =========================================================
``RunError``, anything unknown             abort: the run ends
``Transient`` 429, 502, 503, 504           wait; the server's ``Retry-After`` counts, within bounds
``Transient`` 500                          wait, two tries more at most: on XNAT it often means "no"
``Transient`` without status               wait: resets, time-outs, refused connections
``Broken``, ``BadListing``                 wait, two tries more at most
``Vanished``, ``Refused``                  give up: the answer is final
=========================================  =========================================================

Waits double from ``base`` up to ``ceiling`` with full jitter over their upper half. Tries are counted since the last
progress: a transfer that brought bytes starts again with a full budget.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from .errors import BadListing, Broken, ItemError, Transient

SHARED = frozenset({429, 502, 503, 504})


class Verdict(StrEnum):
    """What to do after an error."""

    WAIT = "wait"
    GIVE_UP = "give up"
    ABORT = "abort"


@dataclass(frozen=True, slots=True)
class Next:
    """The verdict; ``seconds`` to wait; ``shared`` if every worker should hold back meanwhile."""

    verdict: Verdict
    seconds: float = 0.0
    shared: bool = False


@dataclass(frozen=True, slots=True)
class Policy:
    """``tries`` after the first, seconds of the first wait and the longest, the longest ``Retry-After`` obeyed."""

    tries: int = 5
    base: float = 0.5
    ceiling: float = 30.0
    longest_retry_after: float = 300.0
    doubtful_tries: int = 2


def after(error: Exception, tried: int, policy: Policy, jitter: Callable[[], float]) -> Next:
    """What follows ``error`` when ``tried`` tries failed since the last progress. ``jitter`` gives [0, 1)."""
    if not isinstance(error, ItemError):
        return Next(Verdict.ABORT)
    match error:
        case Transient(status=500) | Broken() | BadListing():
            budget = min(policy.tries, policy.doubtful_tries)
        case Transient():
            budget = policy.tries
        case _:
            return Next(Verdict.GIVE_UP)
    if tried > budget:
        return Next(Verdict.GIVE_UP)
    span = min(policy.ceiling, policy.base * 2 ** (tried - 1))
    seconds = span * (0.5 + 0.5 * jitter())
    shared = isinstance(error, Transient) and error.status in SHARED
    if isinstance(error, Transient) and error.retry_after is not None:
        seconds = max(seconds, min(error.retry_after, policy.longest_retry_after))
    return Next(Verdict.WAIT, seconds, shared)


def retry_after_seconds(value: str, now: float, parse_date: Callable[[str], float | None]) -> float | None:
    """``Retry-After`` in seconds from ``now``; None if absent or nonsense. RFC 9110 §10.2.3: seconds or a date."""
    text = value.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    moment = parse_date(text) if text else None
    return None if moment is None or moment <= now else moment - now
