"""From a raw request target to the route that XNAT would take, wrong turns included (§2.7).

Paths are split before anything is decoded, since XNAT decodes unevenly: scan lists are decoded, other labels are not
(§2.6). Restlet matches prefixes, so an unknown tail falls back to the nearest known route: a scan list below
``/projects/P/experiments/E`` is the experiment's item.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

ZIP_FORMATS = {
    "zip": "zip",
    "application/zip": "zip",
    "tar": "tar",
    "application/x-tar": "tar",
    "tar.gz": "tar.gz",
    "application/x-gzip": "tar.gz",
}

_BAD_CHARACTER = re.compile(r'[\x00-\x20"<>\[\]\\^`{|}\x7f-\U0010ffff]')
_BAD_ESCAPE = re.compile(r"%(?:2f|5c|00)", re.IGNORECASE)
_ARCHIVE = ("projects", "subjects", "experiments")
_KINDS = {"assessors": "experiments", "reconstructions": "scans"}


@dataclass(frozen=True, slots=True)
class Route:
    """What a request asks for. Names are raw path segments, None where the path does not have them.

    ``kind`` groups requests for logs and faults; ``name`` says which handler answers.
    """

    name: str
    kind: str
    project: str | None = None
    subject: str | None = None
    experiment: str | None = None
    scans: str | None = None
    assessor: str | None = None
    recon: str | None = None
    way: str = ""
    resources: str | None = None
    file: str = ""
    rest: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Target:
    """A request target taken apart: the decoded query, and the route."""

    path: str
    query: dict[str, str] = field(default_factory=dict)
    route: Route = field(default_factory=lambda: Route("nowhere", "other"))


def is_malformed(raw: str) -> bool:
    """Whether Tomcat answers 400 before XNAT sees the request: raw special characters, or an escaped slash."""
    path, _, query = raw.partition("?")
    return bool(_BAD_CHARACTER.search(path) or _BAD_CHARACTER.search(query) or _BAD_ESCAPE.search(path))


def parse(method: str, raw: str, context: str = "") -> Target:
    """Take a raw request target apart. Never fails: what is nowhere is the route ``nowhere``."""
    path, _, query_text = raw.partition("?")
    if context:
        if path != context and not path.startswith(context + "/"):
            return Target(path)
        path = path[len(context) :] or "/"
    query = dict(reversed(parse_qsl(query_text, keep_blank_values=True)))
    return Target(path, query, _route(method, path, query))


def _route(method: str, path: str, query: dict[str, str]) -> Route:
    segments = path.split("/")[1:]
    match segments[0]:
        case "data" | "REST":
            if "//" in path:
                return Route("nowhere", "other")
            return _data(method, segments[1:], query)
        case "xapi":
            kind = "auth" if segments[1:] == ["users", "username"] else "other"
            return Route("xapi", kind, rest=tuple(segments[1:]))
        case "app":
            return Route("app", "other", rest=tuple(segments[1:]))
        case "archive":
            return Route("app", "other", rest=tuple(segments))
        case "":
            return Route("home", "other")
    return Route("nowhere", "other")


def _data(method: str, segments: list[str], query: dict[str, str]) -> Route:
    if segments[:1] == ["archive"]:
        segments = segments[1:]
    trimmed = segments[:-1] if segments[-1:] == [""] else segments
    match trimmed:
        case ["JSESSION", *_]:
            return Route("jsession", "logout" if method == "DELETE" else "login")
        case ["auth", *_]:
            return Route("who", "auth")
        case ["services", "auth", *_]:
            return Route("form_login", "login")
        case ["services", "tokens", *rest]:
            return Route("tokens", "token", rest=tuple(rest))
        case ["user", login, "sessions", *_]:
            return Route("user_sessions", "other", rest=(login,))
        case ["search", "elements", *rest]:
            return Route("elements", "other", rest=tuple(rest))
        case [("projects" | "subjects" | "experiments"), *_]:
            return _archive(segments, trimmed, query)
    return Route("nowhere", "other")


def _archive(segments: list[str], trimmed: list[str], query: dict[str, str]) -> Route:
    """Walk ``projects/P/subjects/S/experiments/E/…`` as far as routes exist."""
    at: dict[str, str] = {}
    rest = list(trimmed)
    while rest:
        level = rest.pop(0)
        if level in ("files", "resources") and at:
            return _tail(at, [level, *segments[len(trimmed) - len(rest) :]], query)
        if level not in _levels_below(at):
            return _item(at)
        if not rest:
            return Route(level, _KINDS.get(level, level), **at)  # type: ignore[arg-type]
        name = rest.pop(0)
        short = {"reconstructions": "recon", "scans": "scans"}.get(level, level[:-1])
        at[short] = name
        if level in ("assessors", "reconstructions") and rest[:1] in (["out"], ["in"]):
            at["way"] = rest.pop(0)
        if "project" in at and "experiment" in at and "subject" not in at and rest[:1] != ["resources"]:
            return _item(at)  # Only resources have a route here; all else is the experiment itself.
    return _item(at)


def _levels_below(at: dict[str, str]) -> tuple[str, ...]:
    if not at:
        return _ARCHIVE
    if "scans" in at or "assessor" in at or "recon" in at:
        return ()
    if "experiment" in at:
        return ("scans", "assessors", "reconstructions")
    return ("experiments",) if "subject" in at else ("subjects", "experiments")


def _item(at: dict[str, str]) -> Route:
    return Route("item", "item", **at)  # type: ignore[arg-type]


def _tail(at: dict[str, str], segments: list[str], query: dict[str, str]) -> Route:
    """``resources[/R[/files[/path]]]`` or ``files[/path]``; the path is everything after, raw."""
    resources = None
    if segments[0] == "resources":
        named = segments[1:2]
        if named in ([], [""]):
            return Route("resources", "resources", **at)  # type: ignore[arg-type]
        resources = named[0]
        if segments[2:3] != ["files"]:
            return Route("catalog", "catalog", resources=resources, **at)  # type: ignore[arg-type]
        segments = segments[2:]
    path = "/".join(segments[1:])
    if path and not path.endswith(("/", "*")):
        return Route("file", "file", resources=resources, file=path, **at)  # type: ignore[arg-type]
    kind = "zip" if query.get("format") in ZIP_FORMATS else "files"
    return Route("files", kind, resources=resources, file=path, **at)  # type: ignore[arg-type]
