"""Patterns for labels and ids: globs, or regular expressions behind ``re:``; what to take and what to leave out.

A pattern is matched against the whole of a label or of an id, case-sensitively, as XNAT compares them. One that never
matched anything is worth an error: a typing mistake would otherwise pass for an empty project.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import translate

from .errors import UsageError

REGEX = "re:"


def compiled(pattern: str) -> re.Pattern[str]:
    """The pattern as a regular expression for ``fullmatch``. Raises ``UsageError`` if it is none."""
    try:
        if pattern.startswith(REGEX):
            return re.compile(pattern.removeprefix(REGEX))
        return re.compile(translate(pattern))
    except (re.error, OverflowError, RecursionError, FutureWarning) as error:
        raise UsageError(f"{pattern!r} is no regular expression: {error}") from None


@dataclass(slots=True)
class Patterns:
    """The patterns of one kind of thing, and which names they were held against.

    ``kind`` names the thing to people. With nothing to include, all is taken but what is excluded.
    ``exact`` ones are names, not patterns.
    """

    kind: str
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    exact: bool = False
    matched: set[str] = field(default_factory=set)
    seen: set[str] = field(default_factory=set)
    _include: tuple[re.Pattern[str], ...] = field(init=False)
    _exclude: tuple[re.Pattern[str], ...] = field(init=False)

    def __post_init__(self) -> None:
        self._include = tuple(re.compile(re.escape(name)) if self.exact else compiled(name) for name in self.include)
        self._exclude = tuple(compiled(pattern) for pattern in self.exclude)

    def __bool__(self) -> bool:
        return bool(self.include or self.exclude)

    def take(self, *names: str) -> bool:
        """Whether the thing that bears these names is wanted; any of them may match."""
        if not self:
            return True
        if len(self.seen) < 10_000:
            self.seen.update(names[:1])
        hits = [
            text
            for text, pattern in zip(self.include, self._include, strict=True)
            if any(pattern.fullmatch(name) for name in names)
        ]
        self.matched.update(hits)
        if self.include and not hits:
            return False
        for text, pattern in zip(self.exclude, self._exclude, strict=True):
            if any(pattern.fullmatch(name) for name in names):
                self.matched.add(text)
                return False
        return True

    def unmatched(self) -> list[str]:
        """The patterns to include that matched nothing so far."""
        return [text for text in self.include if text not in self.matched]


def nearest(name: str, known: Iterable[str]) -> str:
    """A clause that tells the names nearest to ``name``, for the end of a message."""
    close = difflib.get_close_matches(name.removeprefix(REGEX), sorted(set(known)), n=3, cutoff=0.5)
    return f"; did you mean {', '.join(close)}?" if close else ""


def complain(patterns: Iterable[Patterns]) -> None:
    """Raise ``UsageError`` with the nearest names if a pattern to include matched nothing."""
    for some in patterns:
        for pattern in some.unmatched():
            raise UsageError(f"no {some.kind} matches {pattern!r}{nearest(pattern, some.seen)}")
