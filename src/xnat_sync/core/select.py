"""Which part of a project is asked for: the names, patterns, dates and levels of the command line.

A name is an XNAT label or an accession id. One that matches nothing is an error that tells the nearest names, since a
mirror of nothing would otherwise end well. Which levels are meant follows from what is named, unless ``--level`` says
it:

=====================================  ============================================================
asked for                              levels
=====================================  ============================================================
a project                              all
subjects                               all but the project's own
experiments, or a range of dates       those within a session: scans, session, assessors
scans, or scan types                   scans
=====================================  ============================================================
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import assert_never

from .errors import UsageError
from .model import Level, Resource, Unit, UnitKind
from .patterns import Patterns, complain

WITHIN_SESSION = frozenset({Level.SCAN, Level.SESSION, Level.ASSESSOR, Level.RECONSTRUCTION})


@dataclass(frozen=True, slots=True)
class Target:
    """A part of a project: all of it, a subject, an experiment, or a scan. Empty names ask for all."""

    project: str
    subject: str = ""
    experiment: str = ""
    scan: str = ""


def parse_target(text: str, depth: int) -> Target:
    """``P``, ``P/S``, ``P/S/E`` or ``P/S/E/SCAN``; ``depth`` is the number of names wanted.

    A scan id may hold slashes, so the last of four names takes the rest. Raises ``UsageError``.
    """
    names = text.strip("/").split("/", depth - 1) if depth == 4 else text.strip("/").split("/")
    shape = "/".join(("PROJECT", "SUBJECT", "EXPERIMENT", "SCAN")[:depth])
    if len(names) != depth or not all(names):
        raise UsageError(f"{text!r} does not name {shape}")
    return Target(*names)


@dataclass(slots=True)
class Selection:
    """What of a project is wanted. It remembers which patterns have matched, for ``complain``."""

    target: Target
    subjects: Patterns = field(default_factory=lambda: Patterns("subject"))
    experiments: Patterns = field(default_factory=lambda: Patterns("experiment"))
    scans: Patterns = field(default_factory=lambda: Patterns("scan"))
    scan_types: Patterns = field(default_factory=lambda: Patterns("scan type"))
    resources: Patterns = field(default_factory=lambda: Patterns("resource"))
    after: str = ""
    before: str = ""
    levels: frozenset[Level] = frozenset()
    _named: tuple[Patterns, Patterns, Patterns] = field(init=False)

    def __post_init__(self) -> None:
        target = self.target
        self._named = (_exactly("subject", target.subject), _exactly("experiment", target.experiment),
                       _exactly("scan", target.scan))  # fmt: skip
        if self.after and self.before and self.after > self.before:
            raise UsageError(f"no date is after {self.after} and before {self.before}")

    @property
    def effective_levels(self) -> frozenset[Level]:
        """The levels asked for, by the table above."""
        if self.levels:
            return self.levels
        if self.scans.include or self.scan_types.include or self.target.scan:
            return frozenset({Level.SCAN})
        if self.experiments.include or self.target.experiment or self.after or self.before:
            return WITHIN_SESSION
        if self.subjects.include or self.target.subject:
            return frozenset(Level) - {Level.PROJECT}
        return frozenset(Level)

    def units(self, known: Mapping[str, Unit]) -> list[Unit]:
        """The units asked for, in a stable order. Raises ``UsageError`` if a name or pattern matches none."""
        levels = self.effective_levels
        subject, experiment, _ = self._named
        chosen = []
        for unit in known.values():
            match unit.kind:
                case UnitKind.PROJECT:
                    wanted = Level.PROJECT in levels and not self.target.subject and not self.target.experiment
                case UnitKind.SUBJECT:
                    wanted = subject.take(unit.label, unit.id) & self.subjects.take(unit.label, unit.id)
                    wanted = wanted and Level.SUBJECT in levels and not self.target.experiment
                case UnitKind.EXPERIMENT:
                    wanted = self._is_wanted(unit, subject, experiment) and bool(levels & WITHIN_SESSION)
                case _:
                    assert_never(unit.kind)
            if wanted:
                chosen.append(unit)
        complain([subject, experiment, self.subjects, self.experiments])
        dates = sorted(unit.date for unit in known.values() if unit.kind is UnitKind.EXPERIMENT and unit.date)
        if (self.after or self.before) and dates and not any(u.kind is UnitKind.EXPERIMENT for u in chosen):
            raise UsageError(f"no session has a date in that range; they are of {dates[0]} to {dates[-1]}")
        return chosen

    def _is_wanted(self, unit: Unit, subject: Patterns, experiment: Patterns) -> bool:
        of_subject = (unit.subject_label, unit.subject_id)
        if not (subject.take(*of_subject) and self.subjects.take(*of_subject)):
            return False
        if not (experiment.take(unit.label, unit.id) and self.experiments.take(unit.label, unit.id)):
            return False
        if (self.after or self.before) and not unit.date:
            return False
        return (not self.after or unit.date >= self.after) and (not self.before or unit.date <= self.before)

    @property
    def everything(self) -> bool:
        """Whether the whole project is asked for."""
        narrowed = self.subjects or self.experiments or self.scans or self.scan_types or self.resources
        named = self.target.subject or self.target.experiment or self.target.scan
        return not (narrowed or named or self.after or self.before) and self.effective_levels == frozenset(Level)

    def wholly(self, unit: Unit) -> bool:
        """Whether everything of a chosen unit is asked for, so that what it lacks then is really gone."""
        needed = {
            UnitKind.PROJECT: frozenset({Level.PROJECT}),
            UnitKind.SUBJECT: frozenset({Level.SUBJECT}),
            UnitKind.EXPERIMENT: WITHIN_SESSION,
        }[unit.kind]
        narrowed = self.scans or self.scan_types or self.resources or self.target.scan
        return needed <= self.effective_levels and not narrowed

    def takes(self, resource: Resource) -> bool:
        """Whether a resource of a chosen unit is asked for."""
        place = resource.place
        if place.level not in self.effective_levels:
            return False
        if place.level is Level.SCAN:
            if not (self._named[2].take(place.owner) and self.scans.take(place.owner)):
                return False
            if not self.scan_types.take(resource.scan_type):
                return False
        elif self.target.scan:
            return False
        return self.resources.take(resource.label, resource.id)

    def complain(self) -> None:
        """Raise ``UsageError`` for a scan or resource that was named and never seen, once everything was listed."""
        complain([self._named[2], self.scans, self.scan_types, self.resources])


def _exactly(kind: str, name: str) -> Patterns:
    return Patterns(kind, (name,) if name else (), exact=True)


def levels(words: Iterable[str]) -> frozenset[Level]:
    """``--level`` values, each a level or several separated by commas. Raises ``UsageError``."""
    found = set()
    for word in (part.strip() for text in words for part in text.split(",")):
        if word not in {level.value for level in Level}:
            raise UsageError(f"no level is called {word!r}: there are {', '.join(Level)}")
        found.add(Level(word))
    return frozenset(found)
