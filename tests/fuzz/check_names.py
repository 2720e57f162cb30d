"""Names on disk, layouts and patterns: any lines of text at all.

The invariants stand with each target.
"""

from __future__ import annotations

from contextlib import suppress
from fnmatch import fnmatchcase

from fuzz.draw import lines
from fuzz.portable import LONG, apart, portable, portable_path
from xnat_sync.core import layout, names, patterns
from xnat_sync.core.errors import UsageError
from xnat_sync.core.layout import METADATA
from xnat_sync.core.listing import ListedResource
from xnat_sync.core.model import Experiment, Level, Place, RemoteFile, Unit
from xnat_sync.core.patterns import REGEX, Patterns

MOST = 12  # lines that are looked at


def any_names(data: bytes) -> None:
    """Each line is a label, a file's path, and an id.

    1. ``safe`` gives a component that POSIX and Windows take; of different names different ones; ``unsafe`` turns it
       round, and raises ``ValueError`` only if the name was shortened.
    2. ``assign`` gives every id such a component, ``assign_paths`` every path such components; no two of them are one
       to any file system, nor a file where another is a folder; and the order of the names changes nothing.
    """
    some = list(dict.fromkeys(lines(data)[:MOST]))
    made = [names.safe(name) for name in some]
    assert len(set(made)) == len(made), "two names, one component"
    for name, component in zip(some, made, strict=True):
        assert portable(component)
        assert names.is_safe(component)
        try:
            assert names.unsafe(component) == name
        except ValueError:
            assert len(component.encode()) > 200, "not turned round, though it was not shortened"
    given = names.assign(zip(some, reversed(some), strict=True))
    assert given.keys() == set(some)
    assert all(map(portable, given.values()))
    apart(given.values())
    assert given == names.assign([*zip(some, reversed(some), strict=True)][::-1])
    table = names.assign_paths(some)
    assert table.keys() == set(some)
    assert all(portable_path(path.removeprefix(f"{LONG}/")) and len(path.encode()) <= 1024 for path in table.values())
    apart(table.values())
    assert table == names.assign_paths(some[::-1])


def any_layout(data: bytes) -> None:
    """The first line is a template, the others are labels of everything that the template can name.

    1. Nothing but ``UsageError`` is raised, and by ``parse`` only: what it accepts can be filled in with anything.
    2. No two resources of a project are in one place, nor one within another, nor in the place of an experiment's own
       record; and each lies under components that POSIX and Windows take.
    3. A layout's name is a template of the same layout.
    """
    template, *labels = lines(data)[:4]
    with suppress(UsageError):
        chosen = layout.parse(template)
        assert layout.parse(chosen.name) == chosen
        filled(chosen, labels)


def filled(chosen: layout.Layout, labels: list[str]) -> None:
    """Points 1 and 2. A ``UsageError`` is no longer allowed here."""
    try:
        experiments = [
            Experiment(f"E{at}", label, f"S{at % 2}", labels[at % 2], "P", label, labels[-1])
            for at, label in enumerate(labels)
        ]
        units = layout.units("P", experiments, {"S8": "", "S9": labels[0]} if labels else None, chosen)
        taken = [f"{unit.folder}/{METADATA}" for unit in units.values() if unit.id.startswith("E")]
        for unit in units.values():
            listed, types = resources(unit, labels), dict(zip(labels, labels[::-1], strict=True))
            taken += [
                resource.path for resource in layout.place(unit, listed, types, dict.fromkeys(["A1"], "a"), chosen)
            ]
    except UsageError as error:
        raise AssertionError("accepted, but it cannot be filled in") from error
    assert all(map(portable_path, taken))
    apart(taken)


def resources(unit: Unit, labels: list[str]) -> list[ListedResource]:
    """A resource of each label at each place that the unit may have."""
    if unit.id.startswith("E"):
        places = [Place(Level.SESSION), Place(Level.ASSESSOR, "A1", "out"), Place(Level.ASSESSOR, "A2")]
        places += [Place(Level.RECONSTRUCTION, label, "in") for label in labels[:1]]
        places += [Place(Level.SCAN, label) for label in dict.fromkeys(labels)]
    else:
        places = [Place(Level.SUBJECT if unit.id.startswith("S") else Level.PROJECT)]
    files = (RemoteFile("a", 1, None),)
    return [
        ListedResource(place, str(number), label, files)
        for number, (place, label) in enumerate((place, label) for place in places for label in labels)
    ]


def any_pattern(data: bytes) -> None:
    """The first line is a pattern, the others are names.

    1. Nothing but ``UsageError`` is raised; nothing is warned of either, since ``-q`` must print nothing.
    2. A glob matches what ``fnmatch`` says, whole and by case; to exclude is the contrary of to include.
    3. A pattern that matched nothing is complained of, and no other.

    Regular expressions are compiled only: how long one takes is the business of whoever wrote it.
    """
    pattern, *some = lines(data)[:MOST]
    assert isinstance(patterns.nearest(pattern, some), str)
    with suppress(UsageError):
        patterns.compiled(pattern)
        if pattern.startswith(REGEX):
            return
        include, exclude = Patterns("scan", include=(pattern,)), Patterns("scan", exclude=(pattern,))
        expected = [fnmatchcase(name, pattern) for name in some]
        assert [include.take(name) for name in some] == expected
        assert [not exclude.take(name) for name in some] == expected
        assert include.unmatched() == ([] if any(expected) else [pattern])
        try:
            patterns.complain([include])
            assert any(expected)
        except UsageError as error:
            assert not any(expected), error  # noqa: PT017
