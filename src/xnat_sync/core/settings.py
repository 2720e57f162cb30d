"""Every setting of the tool: its name, its kind, and where its value comes from.

A setting is taken from the first that has it: the command line, the environment, the default. ``XNAT_SYNC_<NAME>``
sets any of them; a few have the older names that other XNAT clients use as well. Values are text until they are
parsed here, so that a bad one gets the same clear message wherever it came from.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from .errors import UsageError
from .model import Secret

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd]?)")
_SECONDS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(B?)", re.IGNORECASE)
_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off", ""})


def duration(text: str) -> float:
    """``90s``, ``45m``, ``8h``, ``7d`` or plain seconds -> seconds. Raises ``ValueError``."""
    found = _DURATION.fullmatch(text.strip())
    if found is None:
        raise ValueError("a duration is written like 90s, 45m, 8h or 7d")
    return float(found[1]) * _SECONDS[found[2]]


def size(text: str) -> int:
    """``50M``, ``500G`` (powers of 1024), ``50MB`` (powers of 1000) or plain bytes -> bytes. Raises ``ValueError``."""
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise ValueError("a size is written like 50M, 10G or 2T, or 10GB for powers of 1000")
    power = " KMGT".index(found[2].upper() or " ")
    return int(float(found[1]) * (1000 if found[3] and power else 1024) ** power)


def flag(text: str) -> bool:
    """Yes or no. Raises ``ValueError``."""
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


def host(text: str) -> str:
    """The URL of a site, with ``https://`` where no scheme is given and without a slash at its end."""
    url = text.strip().rstrip("/")
    if "://" not in url:
        url = f"https://{url}"
    if not re.fullmatch(r"https?://[^/\s?#@]+(/[^\s?#]*)?", url):
        raise ValueError("a host is written like https://xnat.example.org or https://example.org/xnat")
    return url


@dataclass(frozen=True, slots=True)
class Option:
    """One setting.

    ``also`` are environment variables of other XNAT clients that set it too. One that is ``repeated`` collects a
    value each time it is given, and in the environment several values separated by commas.
    """

    name: str
    flags: tuple[str, ...]
    parse: Callable[[str], Any]
    default: Any
    help: str
    metavar: str = "TEXT"
    mirror: bool = False
    also: tuple[str, ...] = ()
    repeated: bool = False

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return f"XNAT_SYNC_{self.name.upper()}"


OPTIONS: Sequence[Option] = (
    Option("host", ("--host", "--server", "--url"), host, None, "URL of the XNAT site.", "URL",
           also=("XNAT_HOST", "XNAT_URL")),
    Option("user", ("--user", "-u"), str, None, "Login name, or an alias token's alias.", "NAME",
           also=("XNAT_USER",)),
    Option("password_stdin", ("--password-stdin",), flag, False, "Read the password from standard input."),
    Option("jsession", ("--jsession",), Secret, None, "A session id pasted from URL/data/JSESSION in a browser that "
           "is logged in; - reads it from standard input.", "ID|-", also=("XNAT_JSESSION",)),
    Option("netrc", ("--netrc",), str, None, "netrc file with the login.", "FILE", also=("NETRC",)),
    Option("no_netrc", ("--no-netrc",), flag, False, "Read no netrc file."),
    Option("ca_bundle", ("--ca-bundle",), str, None, "Certificates to trust, instead of the system's.", "FILE",
           also=("REQUESTS_CA_BUNDLE",)),
    Option("insecure", ("--insecure",), flag, False, "Check no certificates. Anyone on the way can read along."),
    Option("proxy", ("--proxy",), str, None, "HTTP proxy.", "URL"),
    Option("idle_timeout", ("--idle-timeout",), duration, 180.0, "Longest silence of the server.", "DURATION"),
    Option("retries", ("--retries",), whole(0, 100), 7, "Tries after the first, for what may pass.", "N"),
    Option("quiet", ("--quiet", "-q"), flag, False, "Print nothing on success."),
    Option("verbose", ("--verbose", "-v"), flag, False, "Tell of every resource and every retry."),
    Option("progress", ("--progress",), one_of("auto", "bars", "lines", "none"), "auto",
           "How to show progress: auto, bars, lines or none.", "HOW"),
    Option("log_format", ("--log-format",), one_of("text", "json"), "text", "text, or json for scripts.", "FORMAT"),
    Option("log_file", ("--log-file",), str, None, "Write the log there too, as JSON lines.", "FILE"),
    Option("json", ("--json",), flag, False, "Print the result as JSON."),
    Option("dest", ("--dest", "-o", "--out"), str, None, "Folder to mirror into; a project gets a folder in it.",
           "DIR", mirror=True),
    Option("jobs", ("--jobs", "-j", "--workers"), whole(1, 16), 4, "Transfers at once.", "N", mirror=True),
    Option("listers", ("--listers",), whole(1, 8), 2, "Listings at once.", "N", mirror=True),
    Option("overwrite", ("--overwrite",), flag, False, "Replace files that were changed or put here locally.",
           mirror=True),
    Option("dry_run", ("--dry-run",), flag, False, "Only say what would be fetched, and why.", mirror=True),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Settings:
    """The effective value of every setting, and where each came from."""

    host: str | None
    user: str | None
    password_stdin: bool
    jsession: Secret | None
    netrc: str | None
    no_netrc: bool
    ca_bundle: str | None
    insecure: bool
    proxy: str | None
    idle_timeout: float
    retries: int
    quiet: bool
    verbose: bool
    progress: str
    log_format: str
    log_file: str | None
    json: bool
    dest: str | None
    jobs: int
    listers: int
    overwrite: bool
    dry_run: bool
    sources: Mapping[str, str]


Given = str | Sequence[str] | None


def _parsed(option: Option, given: str | Sequence[str]) -> Any:
    if not option.repeated:
        return option.parse(str(given))
    several = [part.strip() for part in given.split(",")] if isinstance(given, str) else given
    return tuple(option.parse(part) for part in several if part)


def merge(flags: Mapping[str, Given], environment: Mapping[str, str]) -> Settings:
    """The settings that follow. Raises ``UsageError`` that names the value, where it stands, and what is right."""
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for option in OPTIONS:
        given, source = flags.get(option.name), f"option {option.flags[0]}"
        if given is None or given == []:
            given = None
            for variable in (option.variable, *option.also):
                if environment.get(variable):
                    given, source = environment[variable], f"environment {variable}"
                    break
        if given is None:
            values[option.name], sources[option.name] = option.default, "default"
            continue
        try:
            values[option.name] = _parsed(option, given)
        except ValueError as error:
            raise UsageError(f"{source} is {given!r}: {error}") from None
        sources[option.name] = source
    assert {field.name for field in fields(Settings)} == {*values, "sources"}  # noqa: S101
    return Settings(**values, sources=sources)
