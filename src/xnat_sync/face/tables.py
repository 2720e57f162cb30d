"""Results for people as aligned columns, for scripts as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence

from xnat_sync.shell.show import plain


def aligned(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns padded to their widest entry, the last one left ragged."""
    shown = [[plain(cell) for cell in row] for row in [header, *rows]]
    widths = [max(len(row[i]) for row in shown) for i in range(len(header))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in shown
    )


def as_json(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A list of objects, one a row."""
    return json.dumps([dict(zip(header, row, strict=True)) for row in rows], indent=2)
