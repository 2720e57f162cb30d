"""The cells of the matrix: which effect meets which request of which run, taken from the log of an undisturbed one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cache

from xnat_embedded import EVERY, Exchange, Fault
from xnat_embedded.faults import Effect

from .effects import CLASSES, Together, bears, variants
from .ground import Journey

# The words of XNAT's paths; whatever else stands in one is a name.
_WORDS = frozenset(
    {"data", "archive", "projects", "subjects", "experiments", "scans", "assessors", "reconstructions", "out", "in",
     "resources", "files", "JSESSION", "auth", "services", "tokens", "issue", "invalidate", "xapi", "siteConfig",
     "buildInfo", "app", "template"}
)  # fmt: skip


@dataclass(frozen=True, order=True)
class Place:
    """A kind of request at one level of the tree: ``files`` of ``/data/experiments/*/files``."""

    kind: str
    shape: str

    @classmethod
    def of(cls, exchange: Exchange) -> Place:
        """Where a request was made: names are taken out of its path."""
        words, shape = exchange.path.strip("/").split("/"), []
        for at, word in enumerate(words):
            shape.append(word if word in _WORDS else "*")
            if word == "files" and words[at + 1 :]:
                shape.append("**")
                break
        return cls(exchange.kind, "/" + "/".join(shape))

    @property
    def pattern(self) -> re.Pattern[str]:
        """What the target of such a request looks like, and of no other of that kind."""
        return _pattern(self.shape)

    def __str__(self) -> str:
        return f"{self.kind} {self.shape}"


@cache
def _pattern(shape: str) -> re.Pattern[str]:
    path = re.escape(shape).replace(r"\*\*", ".+").replace(r"\*", "[^/?]+")
    return re.compile(rf"^{path}/?(\?.*)?$")


@dataclass(frozen=True)
class Cell:
    """One run: these effects meet the ``nth`` request at a place, or from there on every one (``ever``)."""

    journey: str
    place: Place
    effects: Together
    nth: int = 1
    ever: bool = False

    def faults(self) -> list[Fault]:
        """The faults to be ordered."""
        count = EVERY if self.ever else 1
        return [Fault(effect, self.place.kind, self.place.pattern, self.nth, count) for effect in self.effects]

    def __str__(self) -> str:
        when = "every" if self.ever else f"no. {self.nth}"
        return f"{self.journey}: {' and '.join(map(told, self.effects))} at {self.place}, {when}"


def told(effect: Effect) -> str:
    """An effect in few letters: what has its default is left out, and long bodies are counted."""
    parts = []
    for field in fields(effect):
        value = getattr(effect, field.name)
        if value != field.default:
            short = f"<{len(value)} bytes>" if isinstance(value, bytes) else repr(value)
            parts.append(f"{field.name}={short}")
    return f"{type(effect).__name__}({', '.join(parts)})"


@dataclass(frozen=True)
class Usual:
    """What a journey does undisturbed: its requests, logins among them, and the bytes of their answers."""

    log: tuple[Exchange, ...]
    sessions: int
    out: str

    def places(self) -> dict[Place, list[Exchange]]:
        """The requests made at each place, in their order."""
        found: dict[Place, list[Exchange]] = {}
        for exchange in self.log:
            found.setdefault(Place.of(exchange), []).append(exchange)
        return found

    @property
    def requests(self) -> int:
        """How many there are."""
        return len(self.log)

    @property
    def bytes(self) -> int:
        """Of all bodies."""
        return sum(exchange.body_bytes for exchange in self.log)


def cells(journey: Journey, usual: Usual) -> Iterator[Cell]:
    """Every effect that the journey is about, as whatever it can be, at the first, middle, last, and every request."""
    for place, made in usual.places().items():
        size, last = min(exchange.body_bytes for exchange in made), len(made)
        for effect in CLASSES:
            if not (bears(effect, place.kind) and journey.about(effect, place.kind)):
                continue
            for together in variants(effect, place.kind, size):
                for nth in sorted({1, (last + 1) // 2, last}):
                    yield Cell(journey.name, place, together, nth)
                yield Cell(journey.name, place, together, ever=True)


def without_effect(journey: Journey, usual: Usual) -> list[Fault]:
    """Every effect at each place where it should do nothing, always."""
    return [
        Fault(effect, place.kind, place.pattern, count=EVERY)
        for place, made in usual.places().items()
        for cls in CLASSES
        if not bears(cls, place.kind)
        for (effect, *_) in variants(cls, place.kind, min(exchange.body_bytes for exchange in made))
    ]
