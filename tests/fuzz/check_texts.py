"""What a user writes: values of settings, the environment, the configuration file, a browser's cookies.

The invariants stand with each target.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from fuzz.draw import lines
from xnat_sync.core import cookiefile, profiles, settings, values
from xnat_sync.core.bandwidth import timetable
from xnat_sync.core.errors import UsageError
from xnat_sync.core.model import Secret
from xnat_sync.core.settings import OPTIONS, Settings

KNOWN = tuple(option.name for option in OPTIONS if option.profile)
WITHOUT_FLAGS = frozenset(option.name for option in OPTIONS if not option.flags)
PARSERS: dict[str, Callable[[str], Any]] = {
    "duration": values.duration,
    "size": values.size,
    "flag": values.flag,
    "whole": values.whole(1, 16),
    "one of": values.one_of("files", "zip"),
    "host": values.host,
    "web address": values.web_address,
    "proxy": values.proxy,
    "user": values.user,
    "session id": values.session_id,
    "time of day": values.time_of_day,
    "date": values.date,
    "share": values.share,
    "timetable": timetable,
}
LEAST = 24  # letters: what is as long as that stands in no message by chance


def any_value(data: bytes) -> None:
    """The text, as a value of every kind.

    1. Nothing but ``ValueError`` is raised, and it does not quote the value, which may be a secret.
    2. A duration, size, rate or share is a finite number not below zero; a whole number is in its bounds.
    3. What is written from a duration, a size or a timetable is read as the same again.
    4. A URL can be taken apart: it has a host, and a port that is one. What goes into a header is printable ASCII.
    """
    text = data.decode("utf-8", "surrogateescape")
    for kind, parse in PARSERS.items():
        try:
            value = parse(text)
        except ValueError as error:
            assert len(text.strip()) < LEAST or text.strip() not in str(error), "quoted"  # noqa: PT017
        else:
            CHECKS.get(kind, lambda _: None)(value)


def _finite(value: float) -> None:
    assert math.isfinite(value)
    assert value >= 0


def _duration(value: float) -> None:
    _finite(value)
    assert values.duration(values.duration_text(value)) == value


def _size(value: int) -> None:
    assert value >= 0
    assert values.size(values.size_text(value)) == value


def _share(value: values.Share) -> None:
    assert 0 <= value.of(100) <= max(100, value.count)
    assert isinstance(str(value), str)


def _timetable(value: Any) -> None:
    for _, rate in value.entries:
        assert rate is None or 0 < rate < math.inf
    assert timetable(str(value)) == value


def _url(value: str | Secret) -> None:
    parts = urlsplit(value if isinstance(value, str) else value.reveal())
    assert parts.scheme in ("http", "https")
    assert parts.hostname
    assert parts.port is None or 0 <= parts.port < 65_536


def _in_bounds(value: int) -> None:
    assert 1 <= value <= 16


def _header(value: Secret) -> None:
    assert re.fullmatch("[!-~]+", value.reveal())


CHECKS: dict[str, Callable[[Any], None]] = {
    "duration": _duration, "size": _size, "share": _share, "timetable": _timetable, "whole": _in_bounds,
    "host": _url, "proxy": _url, "web address": _url, "session id": _header,
}  # fmt: skip


def any_environment(data: bytes) -> None:
    """Lines of ``name=value``, as environment variables of settings, and as options.

    1. Nothing but ``UsageError`` is raised.
    2. Every effective setting can be shown, and a secret is not.
    """
    pairs = dict(line.split("=", 1) for line in lines(data) if "=" in line)
    with suppress(UsageError):
        shows(settings.merge({}, {f"XNAT_SYNC_{name.upper()}": value for name, value in pairs.items()}))
    with suppress(UsageError):
        shows(settings.merge({name: value for name, value in pairs.items() if name not in WITHOUT_FLAGS}, {}))


def any_config(data: bytes) -> None:
    """The configuration file.

    1. Nothing but ``UsageError`` is raised, neither by reading a profile nor by taking the settings from it.
    2. A profile that is read holds known settings only, as text.
    3. Every effective setting can be shown, and a secret is not.
    """
    text = data.decode("utf-8", "replace")
    for name in (None, "work"):
        with suppress(UsageError):
            profile = profiles.chosen(text, "config.toml", name, KNOWN)
            if profile is not None:
                assert profile.values.keys() <= set(KNOWN)
                for value in profile.values.values():
                    assert all(isinstance(one, str) for one in ([value] if isinstance(value, str) else value))
                shows(settings.merge({}, {}, profile))


def shows(effective: Settings) -> None:
    """Every setting as text."""
    for option in OPTIONS:
        value = getattr(effective, option.name)
        shown = settings.shown(option, value)
        assert isinstance(shown, str)
        if isinstance(value, Secret):
            assert shown == "***"


NOW = 1_800_000_000.0
SITES = (
    "https://xnat.example.org",
    "https://xnat.example.org:8443/xnat",
    "http://xnat.example.org",
    "http://127.0.0.1:8080",
    "https://[::1]",
)


def any_cookies(data: bytes) -> None:
    """A browser's ``cookies.txt``, for sites of several kinds.

    1. Nothing but ``ValueError`` is raised, and it quotes no value.
    2. Each cookie comes from a line whose domain is the site's host, or one above it that says so and the host is no
       number; whose path is above the site's; that is not for https only where the site is not; and has not expired.
    3. A cookie can go into a header: printable, without ``;``, ``,`` in its name or an end of line.
    """
    text = data.decode("utf-8", "surrogateescape")
    rows = (line.removesuffix("\r").removeprefix("#HttpOnly_") for line in text.removeprefix("\ufeff").split("\n"))
    held = [row.split("\t") for row in rows if row.count("\t") in (5, 6)]
    for url in SITES:
        try:
            found = cookiefile.for_site(text, url, NOW)
        except ValueError as error:
            assert not any(len(line) == 7 and len(line[6]) > LEAST and line[6] in str(error) for line in held)  # noqa: PT017
            continue
        assert found.ends is None or found.ends > NOW
        for name, value in [
            ("JSESSIONID", found.session.reveal()),
            *((cookie.name, cookie.value.reveal()) for cookie in found.others),
        ]:
            assert re.fullmatch(r"[!-~]+", name)
            assert not set(name) & set('()<>@,;:\\"/[]?={}')
            assert re.fullmatch(r"[ -:<-~]*", value)
            assert any(line[5:] in ([name, value], [name] if not value else []) and meant(line, url) for line in held)


def meant(line: list[str], url: str) -> bool:
    """Whether a browser would send the cookie of this line to the site: RFC 6265, 5.1.3, 5.1.4 and 5.4."""
    parts = urlsplit(url)
    host, domain = parts.hostname or "", line[0].lstrip(".").lower()
    below = (line[1].upper() == "TRUE" or line[0].startswith(".")) and host.endswith(f".{domain}")
    with suppress(ValueError):
        ipaddress.ip_address(host)
        below = False
    until = math.nan
    with suppress(ValueError):
        until = float(line[4] or 0)
    path = f"{parts.path}/data/"
    return (
        (host == domain or below)
        and (parts.scheme == "https" or line[3].upper() != "TRUE")
        and path.startswith((line[2] or "/").rstrip("/") + "/")
        and (until <= 0 or until > NOW)
    )
