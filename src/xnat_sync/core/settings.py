"""Every setting of the tool: its name, its kind, and where its value comes from.

A setting is taken from the first that has it: the command line, the environment, a profile of the configuration file,
the default. ``XNAT_SYNC_<NAME>`` sets any of them; a few have the older names that other XNAT clients use as well.
Values are text until they are parsed here, so that a bad one gets the same clear message wherever it came from.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import time
from typing import Any

from .bandwidth import Timetable, timetable
from .errors import UsageError
from .model import Secret
from .profiles import Profile, Text
from .values import (
    Share,
    date,
    duration,
    duration_text,
    flag,
    host,
    one_of,
    proxy,
    session_id,
    share,
    size,
    size_text,
    time_of_day,
    user,
    web_address,
    whole,
)


@dataclass(frozen=True, slots=True)
class Option:
    """One setting.

    ``also`` are environment variables of other XNAT clients that set it too. One that is ``repeated`` collects a
    value each time it is given, and in the environment several values separated by commas. One without ``flags`` is
    set by the environment only. ``profile`` says whether a profile may hold it; one that is ``bound`` counts in a
    profile only for the profile's own host, so that no site is told the login of another.
    """

    name: str
    flags: tuple[str, ...]
    parse: Callable[[str], Any]
    default: Any
    help: str
    metavar: str = "TEXT"
    mirror: bool = False
    select: bool = False
    also: tuple[str, ...] = ()
    repeated: bool = False
    profile: bool = True
    bound: bool = False

    @property
    def is_switch(self) -> bool:
        """Whether it is given without a value."""
        return self.parse is flag

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return f"XNAT_SYNC_{self.name.upper()}"


def _flags(exclude: str, flags: Sequence[str]) -> tuple[str, ...]:
    if exclude:
        return tuple(f"--exclude-{flag}" for flag in flags if not flag.startswith("-"))
    return tuple(flag if flag.startswith("-") else f"--{flag}" for flag in flags)


OPTIONS: Sequence[Option] = (
    Option("host", ("--host", "--server", "--url"), host, None, "URL of the XNAT site.", "URL",
           also=("XNAT_HOST", "XNAT_URL")),
    Option("user", ("--user", "-u"), user, None, "Login name, PROVIDER/NAME where the site has several providers, or "
           "an alias token's alias.", "NAME", also=("XNAT_USER",), bound=True),
    Option("password", (), Secret, None, "Password, or an alias token's secret.", profile=False, also=("XNAT_PASS",)),
    Option("password_stdin", ("--password-stdin",), flag, False, "Read the password from standard input.",
           profile=False),
    Option("password_command", ("--password-command",), str, None, "Shell command that prints the password.",
           "COMMAND", bound=True),
    Option("jsession", ("--jsession",), session_id, None, "A session id pasted from URL/data/JSESSION in a browser "
           "that is logged in; - reads it from standard input.", "ID|-", profile=False, also=("XNAT_JSESSION",)),
    Option("cookie_file", ("--cookie-file",), str, None, "Cookies of a browser that is logged in, in Netscape's "
           "format (cookies.txt).", "FILE", bound=True),
    Option("netrc", ("--netrc",), str, None, "netrc file with the login.", "FILE", also=("NETRC",)),
    Option("no_netrc", ("--no-netrc",), flag, False, "Read no netrc file."),
    Option("no_keyring", ("--no-keyring",), flag, False, "Ask no keyring for the password."),
    Option("profile", ("--profile",), str, None, "Profile of the configuration file.", "NAME", profile=False),
    Option("config", ("--config",), str, None, "Configuration file, instead of the usual one.", "FILE",
           profile=False),
    Option("ca_bundle", ("--ca-bundle",), str, None, "Certificates to trust, instead of the system's.", "FILE",
           also=("REQUESTS_CA_BUNDLE",)),
    Option("insecure", ("--insecure",), flag, False, "Check no certificates. Anyone on the way can read along.",
           bound=True),
    Option("allow_http", ("--allow-http",), flag, False, "Speak http:// to another machine, login and all in the "
           "clear.", bound=True),
    Option("proxy", ("--proxy",), proxy, None, "HTTP proxy.", "URL"),
    Option("idle_timeout", ("--idle-timeout",), duration, 180.0, "Longest silence of the server.", "DURATION"),
    Option("retries", ("--retries",), whole(0, 100), 7, "Tries after the first, for what may pass.", "N"),
    Option("quiet", ("--quiet", "-q"), flag, False, "Print nothing on success."),
    Option("verbose", ("--verbose", "-v"), flag, False, "Tell of every resource and every retry."),
    Option("progress", ("--progress",), one_of("auto", "bars", "lines", "none"), "auto",
           "How to show progress: auto, bars, lines or none.", "HOW"),
    Option("log_format", ("--log-format",), one_of("text", "json"), "text", "text, or json for scripts.", "FORMAT"),
    Option("log_file", ("--log-file",), str, None, "Write the log there too, as JSON lines.", "FILE"),
    Option("report", ("--report",), str, None, "Write the report there too: CSV, one row an item with its reason.",
           "FILE"),
    Option("json", ("--json",), flag, False, "Print the result as JSON.", profile=False),
    Option("dest", ("--dest", "-o", "--out"), str, None, "Folder to mirror into; a project gets a folder in it.",
           "DIR", mirror=True),
    Option("jobs", ("--jobs", "-j", "--workers"), whole(1, 16), 4, "Transfers at once.", "N", mirror=True),
    Option("listers", ("--listers",), whole(1, 8), 2, "Listings at once.", "N", mirror=True),
    Option("overwrite", ("--overwrite",), flag, False, "Replace files that were changed or put here locally.",
           mirror=True),
    Option("dry_run", ("--dry-run",), flag, False, "Only say what would be fetched, and why.", mirror=True,
           profile=False),
    Option("layout", ("--layout",), str, "short", "Folders to mirror into: short, xnat, or a template such as "
           "{subject}/{session}/{scan}-{scan_type}/{resource}.", "TEMPLATE", mirror=True),
    Option("store", ("--store",), one_of("files", "zip"), "files", "Keep files, or one zip a resource.", "HOW",
           mirror=True),
    Option("max_duration", ("--max-duration",), duration, None, "Stop after so long; the next run goes on.",
           "DURATION", mirror=True),
    Option("stop_at", ("--stop-at",), time_of_day, None, "Stop at this time of day; the next run goes on.", "HH:MM",
           mirror=True),
    Option("max_transfer", ("--max-transfer",), size, None, "Stop after receiving so much; the next run goes on.",
           "SIZE", mirror=True),
    Option("bwlimit", ("--bwlimit",), timetable, None, "Most bytes a second, for all transfers together: 50M, or by "
           "time of day, as in '08:00,10M 18:00,off'.", "RATE", mirror=True),
    Option("min_free", ("--min-free",), size, 0, "Leave so much of the disk free.", "SIZE", mirror=True),
    Option("wait_lock", ("--wait-lock",), duration, 0.0, "Wait so long for another run to end.", "DURATION",
           mirror=True),
    Option("on_session", ("--on-session",), str, None, "Shell command for each experiment that became complete or "
           "changed.", "COMMAND", mirror=True),
    Option("on_end", ("--on-end",), str, None, "Shell command for the end, whatever it is.", "COMMAND", mirror=True),
    Option("ping", ("--ping",), web_address, None, "URL to ask for after success, for a dead-man's switch.", "URL",
           mirror=True),
    Option("projects", (), str, (), "Projects to mirror when none is named.", mirror=True, repeated=True),
    Option("relist", ("--relist",), flag, False, "List every session again, changed or not.", mirror=True,
           profile=False),
    Option("relist_after", ("--relist-after",), duration, 7 * 86400.0, "List a session again after so long, changed "
           "or not; each run takes its share.", "DURATION", mirror=True),
    Option("delete", ("--delete",), flag, False, "Move what the server no longer has to the mirror's trash folder.",
           mirror=True),
    Option("max_delete", ("--max-delete",), share, Share(percent=10.0), "Most files that --delete may take away, or a "
           "percentage of all.", "N|N%", mirror=True),
    Option("metadata", ("--metadata",), flag, False, "Store each experiment's own record beside its data.",
           mirror=True),
    *(
        Option(f"{exclude}{kind}", _flags(exclude, flags), str, (),
               f"{'Leave out' if exclude else 'Only'} {what} that match; a glob, or re: and a regular expression; may "
               "be repeated.", "PATTERN", select=True, repeated=True)
        for kind, flags, what in (
            ("subject", ("subject",), "subjects"),
            ("experiment", ("experiment", "session"), "experiments"),
            ("scan", ("scan",), "scans"),
            ("scan_type", ("scan-type",), "scans of types"),
            ("resource", ("resource", "-r"), "resources"),
        )
        for exclude in ("", "exclude_")
    ),
    Option("after", ("--after",), date, "", "Only sessions of this day or later.", "YYYY-MM-DD", select=True),
    Option("before", ("--before",), date, "", "Only sessions of this day or earlier.", "YYYY-MM-DD", select=True),
    Option("level", ("--level",), str, (), "Only these levels: scans, session, assessors, reconstructions, subject, "
           "project.", "LEVELS", select=True, repeated=True),
    Option("csv", ("--csv",), flag, False, "Print the result as CSV.", profile=False),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Settings:
    """The effective value of every setting, and where each came from."""

    host: str | None
    user: str | None
    password: Secret | None
    password_stdin: bool
    password_command: str | None
    jsession: Secret | None
    cookie_file: str | None
    netrc: str | None
    no_netrc: bool
    no_keyring: bool
    profile: str | None
    config: str | None
    ca_bundle: str | None
    insecure: bool
    allow_http: bool
    proxy: str | None
    idle_timeout: float
    retries: int
    quiet: bool
    verbose: bool
    progress: str
    log_format: str
    log_file: str | None
    report: str | None
    json: bool
    dest: str | None
    jobs: int
    listers: int
    overwrite: bool
    dry_run: bool
    layout: str
    store: str
    max_duration: float | None
    stop_at: time | None
    max_transfer: int | None
    bwlimit: Timetable | None
    min_free: int
    wait_lock: float
    on_session: str | None
    on_end: str | None
    ping: Secret | None
    projects: tuple[str, ...]
    relist: bool
    relist_after: float
    delete: bool
    max_delete: Share
    metadata: bool
    subject: tuple[str, ...]
    exclude_subject: tuple[str, ...]
    experiment: tuple[str, ...]
    exclude_experiment: tuple[str, ...]
    scan: tuple[str, ...]
    exclude_scan: tuple[str, ...]
    scan_type: tuple[str, ...]
    exclude_scan_type: tuple[str, ...]
    resource: tuple[str, ...]
    exclude_resource: tuple[str, ...]
    after: str
    before: str
    level: tuple[str, ...]
    csv: bool
    sources: Mapping[str, str]


Given = Text | None

# What a command of the user's gets tells it of its experiment by names that also set filters. So a command that calls
# the program again is told by this variable, and takes no filter from its environment.
HOOKED = "XNAT_SYNC_HOOKED"
_OF_HOOKS = frozenset({"XNAT_SYNC_SUBJECT", "XNAT_SYNC_EXPERIMENT"})


def merge(flags: Mapping[str, Given], environment: Mapping[str, str], profile: Profile | None = None) -> Settings:
    """The settings that follow. Raises ``UsageError`` that names the value, where it stands, and what is right."""
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    if environment.get(HOOKED):
        environment = {name: text for name, text in environment.items() if name not in _OF_HOOKS}
    for option in OPTIONS:  # The host is the first: what a profile holds for its host depends on it.
        foreign = option.bound and profile is not None and _is_foreign(profile, values["host"])
        given, source = _first(option, flags, environment, None if foreign else profile)
        sources[option.name] = source
        values[option.name] = option.default if given is None else _parsed(option, given, source)
    assert {field.name for field in fields(Settings)} == {*values, "sources"}  # noqa: S101
    return Settings(**values, sources=sources)


def _is_foreign(profile: Profile, site: str | None) -> bool:
    try:
        return "host" in profile.values and host(str(profile.values["host"])) != site
    except ValueError:
        return True


def _first(
    option: Option, flags: Mapping[str, Given], environment: Mapping[str, str], profile: Profile | None
) -> tuple[Given, str]:
    if (given := flags.get(option.name)) is not None and given != []:
        return given, f"option {option.flags[0]}"
    for variable in (option.variable, *option.also):
        if environment.get(variable):
            return environment[variable], f"environment {variable}"
    if profile is not None and option.name in profile.values:
        return profile.values[option.name], profile.origin
    return None, "default"


def _parsed(option: Option, given: Text, source: str) -> Any:
    try:
        if not option.repeated:
            return option.parse(given if isinstance(given, str) else ",".join(given))
        several = [part.strip() for part in given.split(",")] if isinstance(given, str) else given
        return tuple(option.parse(part) for part in several if part)
    except ValueError as error:
        shown = "" if option.parse in (session_id, Secret, web_address) else f" is {without_login(str(given))!r}"
        name = "" if source.startswith(("option", "environment")) else f", {option.name}"
        raise UsageError(f"{source}{name}{shown}: {error}") from None


def without_login(text: str) -> str:
    """A text with the logins in its URLs masked."""
    return re.sub(r"(?<=//)[^/@\s]*@|^[^/@\s]+:[^/@\s]*@", "***@", text)


def shown(option: Option, value: object) -> str:
    """A value for people, secrets masked; ``""`` for none."""
    match value:
        case None | ():
            return ""
        case bool():
            return "yes" if value else "no"
        case tuple():
            return ", ".join(str(one) for one in value)
        case Secret():
            return "***"
        case float() if option.parse is duration:
            return duration_text(value)
        case int() if option.parse is size:
            return size_text(value)
        case str() if option.name in ("password_command", "on_session", "on_end"):
            # What is handed to a command may be a secret; which command it is tells where to look.
            return value.split()[0] + (" …" if len(value.split()) > 1 else "") if value.strip() else ""
    return without_login(str(value))
