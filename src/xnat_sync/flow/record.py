"""What a run leaves behind: its log, its report of one row an item, and its summary.

They lie in ``.xnat-sync/runs/<UTC time>/`` and are written whatever the end, as long as DEST can be written. Lines are
gathered as events come and written in rounds, off the event loop.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import time
from datetime import UTC, datetime
from typing import Any

import anyio
import anyio.to_thread

from xnat_sync.core import events, wire
from xnat_sync.core.errors import DiskTrouble
from xnat_sync.core.events import Event, Tally
from xnat_sync.shell import disk
from xnat_sync.shell.show import visible

COLUMNS = ("what", "resource", "path", "bytes", "reason")


class Record:
    """The files of one run."""

    def __init__(self, folder: str, log_file: str | None = None, report: str | None = None) -> None:
        """``folder`` is made at the first writing; it is ``""`` for a dry run, which writes none.

        ``log_file`` gets the log's lines too, ``report`` the report's.
        """
        self._report_file = report
        self.folder = folder
        self._log_file = log_file
        self.started = datetime.now(UTC)
        self._clock = time.monotonic()
        self._log: list[str] = []
        self._report = io.StringIO()
        self._rows = csv.writer(self._report, lineterminator="\n")
        self._row(*COLUMNS)

    def __call__(self, event: Event) -> None:
        """Take note of an event."""
        if (line := wire.json_line(event, datetime.now(UTC))) is not None:
            self._log.append(line + "\n")
        match event:
            case events.Committed(resource=resource, files=files):
                for path, size, reason in files:
                    self._row("fetched", resource, path, size, reason)
            case events.Planned(resource=resource, files=count, bytes=size, reasons=reasons) if not self.folder:
                why = ", ".join(f"{number} {reason}" for reason, number in reasons)
                self._row("planned", resource, f"({count} files)", size, why)
            case events.Skipped(resource=resource, files=count, bytes=size, reason=reason):
                self._row("skipped", resource, f"({count} files)", size, reason)
            case events.Extra(resource=resource, path=path, bytes=size):
                self._row("extra", resource, path, size, "the server no longer lists it")
            case events.Doubted(_, resource, counted, listed):
                why = f"the server counts {counted} files and lists {listed}: one of them is stale"
                self._row("doubted", resource, "", "", why)
            case events.Vanished(_, resource, path):
                self._row("vanished", resource, path, "", "listed, but not there")

    def _row(self, *cells: str | int) -> None:
        """One row; controls are written out, as people look at the report with what obeys them."""
        self._rows.writerow([visible(cell) if isinstance(cell, str) else cell for cell in cells])

    async def flush(self) -> None:
        """Write what has gathered."""
        log, self._log = "".join(self._log), []
        report = self._report.getvalue()
        self._report.seek(0)
        self._report.truncate()
        if log or report:
            # The end of the run must not come between taking these lines and writing them: they are nowhere else.
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(self._append, log, report)

    def _append(self, log: str, report: str) -> None:
        lines, rows = log.encode("utf-8", "backslashreplace"), report.encode("utf-8", "backslashreplace")
        # What the user named besides must not end a run half way: its disk may be another one.
        with contextlib.suppress(DiskTrouble):
            if self._log_file is not None:
                disk.append_to_named(self._log_file, lines)
            if self._report_file is not None:
                disk.append_to_named(self._report_file, rows)
        if not self.folder:
            return
        disk.make_own_folder(self.folder)
        disk.append_bytes(f"{self.folder}/log.jsonl", lines)
        disk.append_bytes(f"{self.folder}/report.csv", rows)

    async def finish(self, summary: dict[str, Any], tally: Tally) -> bool:
        """Write the last rows and ``summary.json``; False if the disk does not take them."""
        for (_, resource, path), error in tally.failed.items():
            self._row("failed", resource, path, "", error)
        try:
            await self.flush()
            if not self.folder:
                return True
            await disk.replace_text(f"{self.folder}/summary.json", json.dumps(summary, indent=2) + "\n")
        except DiskTrouble:
            return False
        return True

    def seconds(self) -> float:
        """How long the run has lasted."""
        return time.monotonic() - self._clock
