"""Results for people as aligned columns, for scripts as JSON or CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence

from xnat_sync.shell.show import plain, visible

Cell = str | int | None


def aligned(header: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    """Columns padded to their widest entry, numbers to the right, the last one left ragged."""
    shown = [[plain("?" if cell is None else str(cell)) for cell in row] for row in [header, *rows]]
    widths = [max(len(row[i]) for row in shown) for i in range(len(header))]
    right = [bool(rows) and all(isinstance(row[i], int | None) for row in rows) for i in range(len(header))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(row, widths, right, strict=True)
        ).rstrip()
        for row in shown
    )


def as_json(header: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    """A list of objects, one a row; what is not known is null."""
    return json.dumps([dict(zip(header, row, strict=True)) for row in rows], indent=2)


def as_csv(header: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    """A header and rows by RFC 4180; what is not known is empty. Controls are written out, as it may go to a screen."""
    text = io.StringIO()
    shown = [[visible(cell) if isinstance(cell, str) else cell for cell in row] for row in [header, *rows]]
    csv.writer(text, lineterminator="\n").writerows(shown)
    return text.getvalue().rstrip("\n")
