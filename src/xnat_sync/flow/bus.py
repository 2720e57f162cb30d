"""Where a run's events go: to the tally first, then to whoever shows, logs or reports them."""

from __future__ import annotations

from collections.abc import Callable

from xnat_sync.core.events import Event, Tally

Listener = Callable[[Event], None]


class Bus:
    """Hands each event to the tally and to every listener, in order, at once."""

    def __init__(self, *listeners: Listener) -> None:
        self.tally = Tally()
        self._listeners = listeners
        self._transfers = 0

    def __call__(self, event: Event) -> None:
        """Tell everybody."""
        self.tally.apply(event)
        for listener in self._listeners:
            listener(event)

    def next_transfer(self) -> int:
        """A number for a transfer, unique in the run."""
        self._transfers += 1
        return self._transfers
