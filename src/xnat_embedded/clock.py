"""The server's clock, which tests may move, so that a session can expire without anybody sleeping."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class Clock:
    """Wall-clock seconds since the epoch, which never step back, plus whatever tests have added."""

    __slots__ = ("_ahead", "_lock", "before_advance")

    def __init__(self) -> None:
        self._ahead = time.time() - time.monotonic()
        self._lock = threading.Lock()
        #: Called before the time is moved: servers finish what their clients believe to be over.
        self.before_advance: list[Callable[[], None]] = []

    def now(self) -> float:
        """Seconds since the epoch as the server sees them."""
        return time.monotonic() + self._ahead

    def advance(self, seconds: float) -> None:
        """Move the server's time forward."""
        for call in list(self.before_advance):
            call()
        with self._lock:
            self._ahead += seconds
