"""XNAT's tables: every value text, in JSON, CSV, XML or HTML (§2.1)."""

from __future__ import annotations

import csv
import io
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

from .answers import Answer, chunked

Row = dict[str, str]


@dataclass(slots=True)
class Table:
    """Rows with the same keys. ``extras`` are the members after ``Result``; ``columns`` stands before it."""

    keys: Sequence[str]
    rows: list[Row]
    extras: dict[str, str] = field(default_factory=dict)
    counted: bool = True
    columns: Sequence[Mapping[str, str]] | None = None


def render(table: Table, query: Mapping[str, str], order: random.Random | None) -> Answer:
    """The table as the request wants it. ``order`` shuffles what nothing sorts: rows, keys, trailing members."""
    rows, keys = list(table.rows), list(table.keys)
    if order is not None:
        order.shuffle(rows)
        order.shuffle(keys)
    by = [key for key in query.get("sortBy", "").split(",") if key in table.keys]
    if by:
        rows.sort(key=lambda row: [row[key] for key in by], reverse=query.get("sortOrder", "").upper() == "DESC")
    match query.get("format", "json"):
        case "csv" | "text/csv":
            return chunked(_csv(table.keys, rows), "text/csv")
        case "xml" | "text/xml":
            return chunked(_xml(table, rows), "text/xml")
        case "html" | "text/html":
            return chunked(_html(table.keys, rows), "text/html")
    return chunked(_json(table, keys, rows, order), "application/json")


def _json(table: Table, keys: list[str], rows: list[Row], order: random.Random | None) -> str:
    extras = dict(table.extras)
    if table.counted:
        extras["totalRecords"] = str(len(rows))
    names = sorted(extras)
    if order is not None:
        order.shuffle(names)
    result: dict[str, object] = {}
    if table.columns is not None:
        result["Columns"] = table.columns
    result["Result"] = [{key: row[key] for key in keys} for row in rows]
    result |= {name: extras[name] for name in names}
    return json.dumps({"ResultSet": result}, ensure_ascii=False, separators=(",", ":"))


def _csv(keys: Sequence[str], rows: list[Row]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, keys, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def _xml(table: Table, rows: list[Row]) -> str:
    columns = "".join(f"<column>{escape(key)}</column>" for key in table.keys)
    lines = "".join(
        "<row>" + "".join(f"<cell>{escape(row[key])}</cell>" for key in table.keys) + "</row>" for row in rows
    )
    title = escape(table.extras.get("title", ""))
    total = f' totalRecords="{len(rows)}"' if table.counted else ""
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<ResultSet title="{title}"{total}><results>'
        f"<columns>{columns}</columns><rows>{lines}</rows></results></ResultSet>"
    )


def _html(keys: Sequence[str], rows: list[Row]) -> str:
    head = "".join(f"<th>{escape(key)}</th>" for key in keys)
    body = "".join("<tr>" + "".join(f"<td>{escape(row[key])}</td>" for key in keys) + "</tr>" for row in rows)
    return f"<html><body><table><tr>{head}</tr>{body}</table></body></html>"
