"""A browser's cookies in Netscape's format (``cookies.txt``): text -> those that one site is to be sent.

A line has seven fields, separated by tabs: domain, whether subdomains get it too, path, whether https only, expiry in
seconds since the epoch or 0, name, value. ``#HttpOnly_`` before the domain marks what scripts may not see; other lines
that begin with ``#`` are comments. What is sent where follows RFC 6265 §5.4.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from .model import Cookie, Secret

SESSION = "JSESSIONID"
_HTTP_ONLY = "#HttpOnly_"
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\x20-\x3a\x3c-\x7e]*")


@dataclass(frozen=True, slots=True)
class Found:
    """What a file holds for a site: the session id, when that ends if the file knows, and the other cookies."""

    session: Secret
    ends: float | None
    others: tuple[Cookie, ...]


@dataclass(frozen=True, slots=True)
class _Line:
    domain: str
    subdomains: bool
    path: str
    https_only: bool
    expires: float
    name: str
    value: str


def for_site(text: str, url: str, now: float) -> Found:
    """The cookies for the site at ``url``. Raises ``ValueError`` that says what is wrong, and shows no value."""
    lines = list(_lines(text))
    if not lines:
        raise ValueError("holds no cookies; seven fields separated by tabs are expected in each line")
    ours = [line for line in lines if _goes_to(line, url)]
    # The most specific path comes last and wins.
    ours.sort(key=lambda line: len(line.path))
    live = {line.name: line for line in ours if line.expires == 0 or line.expires > now}
    session = live.pop(SESSION, None)
    if session is None:
        ended = any(line.name == SESSION for line in ours)
        what = f"the {SESSION} in it has expired" if ended else f"holds no {SESSION}"
        raise ValueError(f"{what} for {url}: export the cookies of that site while you are logged in")
    others = tuple(Cookie(line.name, Secret(line.value), line.path) for line in live.values())
    return Found(Secret(session.value), session.expires or None, others)


def _lines(text: str) -> Iterator[_Line]:
    for raw in text.removeprefix("\ufeff").split("\n"):
        raw = raw.removesuffix("\r")
        http_only = raw.startswith(_HTTP_ONLY)
        if not raw.strip() or (raw.startswith("#") and not http_only):
            continue
        fields = raw.removeprefix(_HTTP_ONLY).split("\t")
        if len(fields) == 6:  # An empty value, its tab lost on the way.
            fields.append("")
        if len(fields) != 7:
            continue
        domain, subdomains, path, https_only, expires, name, value = fields
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            continue
        try:
            when = float(expires or 0)
        except ValueError:
            continue
        # Some tools write a leading dot instead of the second field.
        whole = subdomains.upper() == "TRUE" or domain.startswith(".")
        yield _Line(
            domain.lstrip(".").lower(), whole, path or "/", https_only.upper() == "TRUE", max(when, 0.0), name, value
        )


def _goes_to(line: _Line, url: str) -> bool:
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    numeric = ":" in host or host.replace(".", "").isdigit()  # an address has no subdomains: RFC 6265, 5.1.3
    if host != line.domain and not (line.subdomains and not numeric and host.endswith(f".{line.domain}")):
        return False
    if line.https_only and parts.scheme != "https":
        return False
    # A request's path lies below the site's, so a cookie may sit at the site's path, above it, or in /data.
    base = f"{parts.path}/data/"
    return base.startswith(line.path if line.path.endswith("/") else f"{line.path}/")
