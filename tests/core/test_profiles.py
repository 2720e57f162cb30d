"""Profiles of the configuration file: what may stand there, and how a mistake is told."""

from __future__ import annotations

import pytest

from xnat_sync.core.errors import UsageError
from xnat_sync.core.profiles import chosen
from xnat_sync.core.settings import OPTIONS, merge, shown
from xnat_sync.core.values import duration, duration_text

KNOWN = ("host", "user", "jobs", "insecure", "resource", "idle_timeout", "after", "stop_at", "password_command")
FILE = """
default_profile = "work"

[profiles.work]
host = "https://xnat.example.org"
jobs = 8
insecure = false
idle-timeout = "3m"
resource = ["DICOM", "NIFTI"]
after = 2024-01-31
stop_at = 06:00:00

[profiles.home]
host = "https://home.example.org/xnat"
"""


def test_the_default_profile_is_taken_as_text() -> None:
    found = chosen(FILE, "c.toml", None, KNOWN)
    assert found is not None
    assert found.values == {
        "host": "https://xnat.example.org",
        "jobs": "8",
        "insecure": "0",
        "idle_timeout": "3m",
        "resource": ["DICOM", "NIFTI"],
        "after": "2024-01-31",
        "stop_at": "06:00",
    }
    assert found.origin == "profile work of c.toml"


def test_a_named_profile_inherits_nothing() -> None:
    found = chosen(FILE, "c.toml", "home", KNOWN)
    assert found is not None
    assert dict(found.values) == {"host": "https://home.example.org/xnat"}


def test_without_a_name_and_a_default_there_is_none() -> None:
    assert chosen("[profiles.work]\njobs = 1\n", "c.toml", None, KNOWN) is None
    assert chosen("", "c.toml", None, KNOWN) is None


@pytest.mark.parametrize(
    ("text", "name", "says"),
    [
        ("[profiles.a]\njobz = 8", None, "c.toml, profile a: there is no setting 'jobz'; did you mean jobs?"),
        ("[profiles.a]\nzzz = 8", "a", "there is no setting 'zzz'"),
        ("[profiles.a]\n[profiles.b]\nuzer = 'x'", "a", "profile b: there is no setting 'uzer'; did you mean user?"),
        ("jobs = 8", None, "there is no key 'jobs'; settings stand in a table [profiles.NAME]"),
        ("[profiles.work]", "wrok", "has no profile 'wrok'; did you mean work?"),
        ("default_profile = 'x'", None, "has no profile 'x'"),
        ("default_profile = 3", None, "default_profile is the name of a profile"),
        ("profiles = 3", None, "[profiles.NAME]"),
        ("profiles.work = 3", None, "[profiles.work]"),
        ("[profiles.a", None, "c.toml is no TOML"),
        ("[profiles.a]\njobs = {}", None, "c.toml, profile a, jobs: this is text, a number"),
        (f"[profiles.a]\njobs = {1 << 64}", None, "c.toml, profile a, jobs: this number is too large"),
        (f"[profiles.a]\njobs = -{1 << 64}", None, "c.toml, profile a, jobs: this number is too large"),
        ("[profiles.a]\nresource = [true]", None, "profile a, resource: this is text"),
        ("[profiles.a]\npassword = 'HUSH'", None, "secrets do not belong in this file"),
        ("[profiles.a]\njsession = 'HUSH'", None, "secrets do not belong in this file"),
        ("[profiles.a]\ntoken = 'HUSH'", None, "secrets do not belong in this file"),
    ],
)
def test_a_mistake_names_its_place_and_what_is_right(text: str, name: str | None, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        chosen(text, "c.toml", name, KNOWN)
    assert says in str(caught.value)
    assert "HUSH" not in str(caught.value)


@pytest.mark.parametrize(
    ("flags", "environment", "jobs", "source"),
    [
        ({}, {}, 5, "profile p of c.toml"),
        ({}, {"XNAT_SYNC_JOBS": "6"}, 6, "environment XNAT_SYNC_JOBS"),
        ({"jobs": "7"}, {"XNAT_SYNC_JOBS": "6"}, 7, "option --jobs"),
    ],
)
def test_option_before_environment_before_profile_before_default(
    flags: dict[str, str], environment: dict[str, str], jobs: int, source: str
) -> None:
    profile = chosen("[profiles.p]\njobs = 5", "c.toml", "p", ["jobs"])
    settings = merge(flags, environment, profile)
    assert (settings.jobs, settings.sources["jobs"]) == (jobs, source)
    assert (settings.listers, settings.sources["listers"]) == (2, "default")


LOGIN = """
[profiles.p]
host = "https://a.example.org/"
user = "jdoe"
password_command = "pass show a"
insecure = true
jobs = 7
"""


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ({}, True),
        ({"host": "https://a.example.org"}, True),
        ({"host": "a.example.org"}, True),
        ({"host": "https://b.example.org"}, False),
        ({"host": "http://a.example.org"}, False),
    ],
)
def test_no_site_is_told_the_login_of_another(flags: dict[str, str], told: bool) -> None:
    profile = chosen(LOGIN, "c.toml", "p", [option.name for option in OPTIONS if option.profile])
    settings = merge(flags, {}, profile)
    assert (settings.user, settings.password_command, settings.insecure) == (
        ("jdoe", "pass show a", True) if told else (None, None, False)
    )
    assert settings.jobs == 7


def test_a_profile_without_a_host_goes_with_any() -> None:
    profile = chosen("[profiles.p]\nuser = 'jdoe'", "c.toml", "p", ["user"])
    assert merge({"host": "https://b.example.org"}, {}, profile).user == "jdoe"


def test_a_bad_value_in_a_profile_names_its_place() -> None:
    profile = chosen("[profiles.p]\njobs = 99", "c.toml", "p", ["jobs"])
    with pytest.raises(UsageError, match=r"profile p of c\.toml, jobs is '99': .*from 1 to 16"):
        merge({}, {}, profile)


@pytest.mark.parametrize(
    ("flags", "environment", "hidden"),
    [
        ({"host": "https://me:HUSH@x.example.org"}, {}, "HUSH"),
        ({"host": "me:HUSH@x.example.org"}, {}, "HUSH"),
        ({"proxy": "socks5://me:HUSH@proxy"}, {}, "HUSH"),
        ({"jsession": "HUSH HUSH"}, {}, "HUSH"),
        ({}, {"XNAT_JSESSION": "HUSH<"}, "HUSH"),
    ],
)
def test_a_bad_value_that_holds_a_secret_is_not_repeated(
    flags: dict[str, str], environment: dict[str, str], hidden: str
) -> None:
    with pytest.raises(UsageError) as caught:
        merge(flags, environment)
    assert hidden not in str(caught.value)


def test_shown_values_hide_secrets() -> None:
    settings = merge(
        {"proxy": "http://me:HUSH@proxy:3128", "jsession": "HUSH", "password_command": "echo HUSH"},
        {"XNAT_PASS": "HUSH", "XNAT_SYNC_INSECURE": "yes", "XNAT_SYNC_RESOURCE": "A,B"},
    )
    text = {option.name: shown(option, getattr(settings, option.name)) for option in OPTIONS}
    assert "HUSH" not in str(text)
    assert "HUSH" not in repr(settings).replace("http://me:HUSH@", "").replace("echo HUSH", "")
    assert text["proxy"] == "http://***@proxy:3128"
    assert text["jsession"] == text["password"] == "***"
    assert text["password_command"] == "echo …"
    assert (text["insecure"], text["resource"], text["user"], text["idle_timeout"]) == ("yes", "A, B", "", "3m")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.5, "0.5s"), (90.0, "90s"), (180.0, "3m"), (3600.0, "1h"), (604800.0, "7d"), (90000.0, "25h")],
)
def test_a_duration_is_shown_as_it_is_written(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text
    assert duration(text) == seconds


def test_every_default_is_shown_as_it_would_be_given() -> None:
    settings = merge({}, {})
    for option in OPTIONS:
        text = shown(option, getattr(settings, option.name))
        assert "(" not in text, option.name
        if text and not option.repeated:
            assert option.parse(text) == option.default, option.name
