"""What a run shows off a terminal: a line a minute, JSON lines for scripts, or nothing; ``bars`` has the terminal.

Each form listens to the same events and keeps integers; drawing happens at its own pace, from ``tick``, at most ten
times a second. Texts that come from the server are shown with their control characters made visible, so that no label
can move the cursor.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol, TextIO

from xnat_sync.core import events, wire
from xnat_sync.core.events import Event, Tally

LINE_EVERY = 60.0
MOST_LINES = 50
MOST_SHOWN = 4000  # characters of a line: more than any true path has


class Display(Protocol):
    """What shows a run."""

    def __call__(self, event: Event) -> None:
        """Take note of an event."""

    def tick(self) -> None:
        """Draw what changed; called about ten times a second."""

    def close(self) -> None:
        """Leave the terminal as it was."""


def plain(text: str) -> str:
    """``text`` on one line that a person can read, with nothing in it that a terminal would obey."""
    if len(text) > MOST_SHOWN:
        text = f"{text[: MOST_SHOWN // 2]} … {text[-MOST_SHOWN // 2 :]}"
    return visible(text)


def visible(text: str) -> str:
    """All of ``text``, with controls, and whatever else would not be seen, written out."""
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def size(count: float) -> str:
    """Bytes for people, in powers of 1024."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(count) < 1024 or unit == "TiB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    raise AssertionError


def trouble(event: Event) -> str | None:
    """The line for an event that somebody should know of; None for the others."""
    match event:
        case events.Warned(message):
            return plain(f"warning: {message}")
        case events.Hooked(_, label, code, message) if code:
            return plain(f"warning: {label}: --on-session {message}")
        case events.Failed(_, resource, path, error):
            return plain(f"failed: {resource}{': ' + path if path else ''}: {error}")
        case events.Vanished(_, resource, path):
            return plain(f"vanished: {resource}: {path}: listed, but the server does not have it")
    return None


def say(line: str, file: TextIO | None = None) -> None:
    """Print a line; nobody listening any more is no reason to stop."""
    with contextlib.suppress(OSError, ValueError):
        print(line, file=file or sys.stdout, flush=True)


def is_terminal() -> bool:
    """Whether somebody watches standard error."""
    return sys.stderr.isatty()


class Quiet:
    """Shows nothing on success: troubles only, on stderr.

    What failed is told at the end, once: a second pass may still bring it, and then it was no trouble.
    """

    def __init__(self, stream: TextIO | None = None, *, verbose: int = 0) -> None:
        self._stream = stream or sys.stderr
        self._verbose = verbose
        self._lacking: dict[tuple[str, str, str], str] = {}

    def __call__(self, event: Event) -> None:
        if isinstance(event, events.Failed | events.Vanished):
            self._lacking[event.unit, event.resource, event.path] = trouble(event) or ""
        elif isinstance(event, events.SecondPass):
            self._lacking = {key: line for key, line in self._lacking.items() if key[0] not in event.units}
        elif isinstance(event, events.Ended):
            self._tell_lacking()
        elif (line := trouble(event)) is not None:
            self._say(line)
        elif self._verbose and isinstance(event, events.Doubted):
            self._say(plain(f"doubted: {event.resource}: {event.counted} files counted, {event.listed} listed"))
        elif self._verbose and isinstance(event, events.Waiting):
            self._say(plain(f"waiting: {event.message}"))
        elif self._verbose and isinstance(event, events.Throttled):
            self._say(f"{event.transfers} of {event.most} transfers at once, as the server bears it")
        elif self._verbose and isinstance(event, events.Retrying):
            self._say(plain(f"retrying in {event.seconds:.1f} s: {event.what}: {event.error}"))

    def _tell_lacking(self) -> None:
        lines = list(self._lacking.values())
        for line in lines[:MOST_LINES]:
            self._say(line)
        if len(lines) > MOST_LINES:
            self._say(f"and {len(lines) - MOST_LINES} more, which the report names")

    def _say(self, line: str) -> None:
        say(line, self._stream)

    def tick(self) -> None:
        pass

    def close(self) -> None:
        pass


class Lines(Quiet):
    """One line a minute, for logs and cron: no control characters."""

    def __init__(
        self,
        tally: Callable[[], Tally],
        stream: TextIO | None = None,
        *,
        verbose: int = 0,
        every: float = LINE_EVERY,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(stream, verbose=verbose)
        self._tally = tally
        self._clock = clock
        self._every = every
        self._next = clock() + every

    def __call__(self, event: Event) -> None:
        super().__call__(event)
        if not self._verbose and isinstance(event, events.Waiting):
            self._say(plain(f"waiting: {event.message}"))
        if self._verbose and isinstance(event, events.Committed):
            total = sum(entry[1] for entry in event.files)
            self._say(plain(f"done: {event.folder}: {len(event.files)} files, {size(total)}"))

    def tick(self) -> None:
        if self._clock() >= self._next:
            self._next = self._clock() + self._every
            self._say(standing(self._tally()))


def standing(tally: Tally) -> str:
    """Where the run stands, in one line."""
    more = "" if tally.listing_complete else "≥"
    return (
        f"{tally.files_landed}/{more}{tally.files_planned} files, "
        f"{size(tally.bytes_landed)}/{more}{size(tally.bytes_planned)}, "
        f"{len(tally.units_listed)}/{tally.units} listed, {len(tally.failed)} failed"
    )


class JsonLines(Lines):
    """The events as JSON lines on stdout."""

    def __init__(self, tally: Callable[[], Tally]) -> None:
        super().__init__(tally, sys.stdout)

    def __call__(self, event: Event) -> None:
        if isinstance(event, events.Warned | events.Hooked):
            self._warn(event)
        if (line := wire.json_line(event, datetime.now(UTC))) is not None:
            self._say(line)

    @staticmethod
    def _warn(event: Event) -> None:
        if (line := trouble(event)) is not None:
            say(line, sys.stderr)

    def tick(self) -> None:
        if self._clock() >= self._next:
            self._next = self._clock() + self._every
            self._say(wire.progress_line(self._tally(), datetime.now(UTC)))
