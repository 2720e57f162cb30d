"""What a dry run found: per unit, how many files and bytes would be fetched, and why."""

from __future__ import annotations

from collections import Counter, defaultdict

from xnat_sync.core import events
from xnat_sync.core.events import Event
from xnat_sync.shell.show import size

from .tables import Cell, aligned


class Planned:
    """Listens to a dry run and sums up what it would do."""

    def __init__(self) -> None:
        self._labels: dict[str, str] = {}
        self._files: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()
        self._reasons: defaultdict[str, Counter[str]] = defaultdict(Counter)

    def __call__(self, event: Event) -> None:
        """Take note of an event."""
        match event:
            case events.Listed(unit, label):
                self._labels[unit] = label
            case events.Planned(unit=unit, files=files, bytes=count, reasons=reasons):
                self._files[unit] += files
                self._bytes[unit] += count
                self._reasons[unit].update(dict(reasons))

    def rows(self) -> list[dict[str, object]]:
        """For scripts: one object a unit that would change."""
        return [
            {
                "unit": unit,
                "label": self._labels.get(unit, unit),
                "files": files,
                "bytes": self._bytes[unit],
                "reasons": dict(self._reasons[unit]),
            }
            for unit, files in sorted(self._files.items(), key=lambda entry: self._labels.get(entry[0], ""))
        ]

    def table(self) -> str:
        """For people; empty if nothing would be fetched."""
        rows: list[list[Cell]] = []
        for unit, files in sorted(self._files.items(), key=lambda entry: self._labels.get(entry[0], "")):
            reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(self._reasons[unit].items()))
            rows.append([self._labels.get(unit, unit), files, size(self._bytes[unit]), reasons])
        return aligned(("unit", "files", "size", "why"), rows) if rows else ""
