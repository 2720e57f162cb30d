"""Which listed file a zip's member is: names in a zip are looked up, never used.

Asked for by number, without its scan, a resource is zipped with members ``<session>/resources/<label>/files/<path>``.
XNAT writes the session's label wherever the accession id stood, inside the path too, so that is undone if the exact
path is not listed. A member that matches nothing is read past: what it may have been is then fetched singly.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

_INNER = re.compile(r"^.*?/resources/[^/]*/files/(.+)$", re.DOTALL)


def index(paths: Iterable[str], accession: str, label: str) -> dict[str, str]:
    """Path as a zip may have it -> path as listed."""
    exact = {path: path for path in paths}
    rewritten: dict[str, str] = {}
    ambiguous: set[str] = set()
    for path in exact:
        alias = path.replace(accession, label) if accession else path
        if alias != path and rewritten.setdefault(alias, path) != path:
            ambiguous.add(alias)
    return {alias: path for alias, path in rewritten.items() if alias not in ambiguous} | exact


def find(member: str, listed: Mapping[str, str]) -> str | None:
    """The listed path that ``member`` is, or None."""
    inner = _INNER.match("/" + member)
    return listed.get(inner[1]) if inner else None
