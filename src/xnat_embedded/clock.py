"""The server's clock, which tests may move, so that a session can expire without anybody sleeping."""

from __future__ import annotations

import threading
import time


class Clock:
    """Wall-clock seconds since the epoch, which never step back, plus whatever tests have added."""

    __slots__ = ("_ahead", "_lock")

    def __init__(self) -> None:
        self._ahead = time.time() - time.monotonic()
        self._lock = threading.Lock()

    def now(self) -> float:
        """Seconds since the epoch as the server sees them."""
        return time.monotonic() + self._ahead

    def advance(self, seconds: float) -> None:
        """Move the server's time forward."""
        with self._lock:
            self._ahead += seconds
