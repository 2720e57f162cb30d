"""How many transfers at once a server can bear: halved when it is in trouble, one more after each calm spell.

Trouble is what a server says or shows when it is overloaded: 429, 502, 503, 504, and silence. What fails together is
one trouble: answers to requests that were on their way when the number was halved say nothing of the new one, so it
is halved once in a while and not once an answer. The number never falls below one and never rises above what the user
allows.
"""

from __future__ import annotations

from .errors import ItemError, Transient
from .retry import SHARED

PAUSE = 5.0  # seconds in which one trouble counts once
CALM = 8  # transfers that went well before one more is tried


def is_trouble(error: ItemError) -> bool:
    """Whether an error tells of a server that has too much to do."""
    return isinstance(error, Transient) and (error.status in SHARED or error.silent)


class Throttle:
    """The number of transfers at once, as the server's answers shape it."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.allowed = most
        self._calm = 0
        self._halved = float("-inf")

    def trouble(self, now: float) -> bool:
        """Take note of trouble at ``now``, in seconds; True if fewer are allowed since."""
        self._calm = 0
        if now - self._halved < PAUSE or self.allowed == 1:
            return False
        self._halved = now
        self.allowed = max(1, self.allowed // 2)
        return True

    def success(self) -> bool:
        """Take note of a transfer that went well; True if one more is allowed since."""
        if self.allowed == self.most:
            return False
        self._calm += 1
        if self._calm < CALM:
            return False
        self._calm = 0
        self.allowed += 1
        return True
