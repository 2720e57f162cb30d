"""Text -> value, for settings: durations, sizes, switches, numbers, URLs, session ids.

Every parser raises ``ValueError`` with what would have been right, and never with what was given: that may be a secret.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from math import floor
from urllib.parse import urlsplit

from .model import Secret

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd]?)")
_SECONDS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_LONGEST = 1e12
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(B?)", re.IGNORECASE | re.ASCII)
_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off", ""})
# Tomcat's id is 32 hex digits; behind a load balancer the name of a node follows a dot.
_SESSION_ID = re.compile(r"[\w.!:~-]{1,200}", re.ASCII)


def duration(text: str) -> float:
    """``90s``, ``45m``, ``8h``, ``7d`` or plain seconds -> seconds."""
    found = _DURATION.fullmatch(text.strip())
    if found is None:
        raise ValueError("a duration is written like 90s, 45m, 8h or 7d")
    seconds = float(found[1]) * _SECONDS[found[2]]
    if seconds > _LONGEST:
        raise ValueError("this duration is longer than anybody can wait")
    return seconds


def duration_text(seconds: float) -> str:
    """Seconds as a setting writes them, in the largest unit that leaves nothing over."""
    unit, length = max(
        ((unit, length) for unit, length in _SECONDS.items() if unit and seconds % length == 0),
        key=lambda each: each[1],
        default=("s", 1.0),
    )
    count = seconds / length
    return f"{int(count) if count == int(count) else count}{unit}"


def size(text: str) -> int:
    """``50M``, ``500G`` (powers of 1024), ``50MB`` (powers of 1000) or plain bytes -> bytes."""
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise ValueError("a size is written like 50M, 10G or 2T, or 10GB for powers of 1000")
    power = " KMGT".index(found[2].upper() or " ")
    return int(Fraction(found[1]) * (1000 if found[3] and power else 1024) ** power)


def size_text(count: int) -> str:
    """Bytes as a setting writes them, in the largest unit that leaves nothing over."""
    for power, unit in ((40, "T"), (30, "G"), (20, "M"), (10, "K")):
        if count and count % (1 << power) == 0:
            return f"{count >> power}{unit}"
    return str(count)


def flag(text: str) -> bool:
    """Yes or no."""
    word = text.strip().lower()
    if word in _TRUE | _FALSE:
        return word in _TRUE
    raise ValueError("this is switched with 1 or 0")


def whole(low: int, high: int) -> Callable[[str], int]:
    """A whole number from ``low`` to ``high``."""

    def parse(text: str) -> int:
        if not re.fullmatch(r"\d{1,9}", text.strip()) or not low <= int(text) <= high:
            raise ValueError(f"this is a whole number from {low} to {high}")
        return int(text)

    return parse


def one_of(*words: str) -> Callable[[str], str]:
    """One of a few words."""

    def parse(text: str) -> str:
        if text.strip() not in words:
            raise ValueError(f"this is one of {', '.join(words)}")
        return text.strip()

    return parse


def _splits(url: str) -> bool:
    """Whether a URL has a host and a port that may be."""
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def host(text: str) -> str:
    """The URL of a site, with ``https://`` where no scheme is given and without a slash at its end."""
    url = text.strip().rstrip("/")
    if "://" not in url:
        url = f"https://{url}"
    if not _splits(url) or not re.fullmatch(
        r"https?://(\[[0-9A-Fa-f:.]+\]|[^/\s?#@:\[\]]+)(:\d{1,5})?(/[^\s?#]*)?", url
    ):
        raise ValueError("a host is written like https://xnat.example.org or https://example.org/xnat")
    return url


def web_address(text: str) -> Secret:
    """The URL of a page to ask for. Whoever knows it may do so as well, so it is a secret."""
    url = text.strip()
    if not _splits(url) or not re.fullmatch(r"https?://[^/\s?#@]+(/[!-~]*)?", url):
        raise ValueError("a URL is written like https://hc.example.org/ping/1234")
    return Secret(url)


def proxy(text: str) -> str:
    """The URL of an HTTP proxy, which may hold a login for it."""
    url = text.strip()
    if "://" not in url:
        url = f"http://{url}"
    if not _splits(url) or not re.fullmatch(r"https?://[^/\s?#]+/?", url):
        raise ValueError("a proxy is written like http://proxy.example.org:3128; SOCKS is not spoken")
    return url


def user(text: str) -> str:
    """A login name, or ``PROVIDER/NAME``; HTTP gives the colon another meaning."""
    name = text.strip()
    if not name or ":" in name or not name.isprintable():
        raise ValueError("a user name holds no colon and nothing that cannot be printed")
    return name


def session_id(text: str) -> Secret:
    """A pasted session id, taken out of what browsers and tools show around it; ``-`` stays as it is."""
    inner = text.strip().partition(";")[0].strip().strip("\"'").removeprefix("JSESSIONID=")
    if not _SESSION_ID.fullmatch(inner):
        raise ValueError("a session id is 32 letters and digits, the whole of what URL/data/JSESSION shows")
    return Secret(inner)


def time_of_day(text: str) -> datetime.time:
    """A time of day, in hours and minutes. Raises ``ValueError``."""
    found = re.fullmatch(r"([01]?\d|2[0-3]):([0-5]\d)", text.strip())
    if found is None:
        raise ValueError("a time of day is written like 06:00")
    return datetime.time(int(found[1]), int(found[2]))


def date(text: str) -> str:
    """A day, written as ISO 8601 writes it. Raises ``ValueError``."""
    try:
        return datetime.date.fromisoformat(text.strip()).isoformat()
    except ValueError:
        raise ValueError("a day is written like 2026-01-31") from None


@dataclass(frozen=True, slots=True)
class Share:
    """So many, or so many in a hundred."""

    count: int = 0
    percent: float | None = None

    def of(self, whole: int) -> int:
        """How many of ``whole`` that is."""
        return self.count if self.percent is None else floor(whole * self.percent / 100)

    def __str__(self) -> str:
        return str(self.count) if self.percent is None else f"{self.percent:g}%"


def share(text: str) -> Share:
    """A number of files, or a percentage. Raises ``ValueError``."""
    found = re.fullmatch(r"(\d{1,9})|(\d{1,3}(?:\.\d+)?)\s*%", text.strip())
    if found is None or (found[2] is not None and float(found[2]) > 100):
        raise ValueError("this is a number of files such as 100, or a percentage such as 10%")
    return Share(count=int(found[1])) if found[1] is not None else Share(percent=float(found[2]))
