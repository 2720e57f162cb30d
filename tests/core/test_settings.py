"""Where each setting comes from and how it is written; and that a bad one is told by name, place and remedy."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from xnat_sync.core import values
from xnat_sync.core.errors import UsageError
from xnat_sync.core.model import Secret
from xnat_sync.core.profiles import Profile
from xnat_sync.core.settings import OPTIONS, Option, Settings, merge, shown, without_login

# -- how values are written -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90.0),
        ("45m", 2700.0),
        ("8h", 28800.0),
        ("7d", 604800.0),
        ("90", 90.0),
        ("0", 0.0),
        ("1.5h", 5400.0),
        (" 8 h ", 28800.0),
        ("0.25s", 0.25),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert values.duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "h", "8x", "8H", "-8h", "+8h", "8h30m", "1e3", ".5h", "5.", "8 h h", "inf", "nan", "1,5h"]
)
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match=r"^a duration is written like 90s, 45m, 8h or 7d$"):
        values.duration(text)


def test_a_duration_that_nobody_can_wait_is_an_error_of_the_user_and_not_ours() -> None:
    assert values.duration("1000000000000s") == 1e12
    for text in ("1000000000001s", "11574075d", "9" * 400):
        with pytest.raises(ValueError, match=r"^this duration is longer than anybody can wait$"):
            values.duration(text)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("0", 0),
        ("512", 512),
        ("512B", 512),
        ("1K", 1024),
        ("50M", 50 * 1024**2),
        ("500G", 500 * 1024**3),
        ("2T", 2 * 1024**4),
        ("1KB", 1000),
        ("50MB", 50 * 1000**2),
        ("500GB", 500 * 1000**3),
        ("2TB", 2 * 1000**4),
        ("1.5K", 1536),
        ("1.5kb", 1500),
        ("50m", 50 * 1024**2),
        (" 10 G ", 10 * 1024**3),
        ("0.1", 0),
    ],
)
def test_sizes(text: str, count: int) -> None:
    made = values.size(text)
    assert (made, type(made)) == (count, int)


@pytest.mark.parametrize(
    "text", ["", "G", "10P", "10KiB", "-1", "1e9", "10 G B", "1,5G", ".5G", "inf", "10BB", "\u212a", "10\u212a"]
)
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match=r"^a size is written like 50M, 10G or 2T, or 10GB for powers of 1000$"):
        values.size(text)


def test_a_size_beyond_all_measure_is_an_error_of_the_user_and_not_ours() -> None:
    try:
        assert values.size("9" * 400) == int("9" * 400)
    except ValueError as error:
        assert "a size is written like" in str(error)  # noqa: PT017


@hypothesis_settings(deadline=None)
@given(st.integers(0, 10**6), st.sampled_from("smhd"), st.integers(0, 10**6), st.sampled_from(["", *"KMGT"]))
def test_units_are_steps(number: int, unit: str, count: int, power: str) -> None:
    assert values.duration(f"{number}{unit}") == number * {"s": 1, "m": 60, "h": 3600, "d": 86400}[unit]
    exponent = ["", "K", "M", "G", "T"].index(power)
    assert values.size(f"{count}{power}") == count * 1024**exponent
    assert values.size(f"{count}{power}B") == count * 1000**exponent


@hypothesis_settings(deadline=None)
@given(st.text(max_size=8) | st.text("0123456789.KMGTBsmhd ", max_size=8))
def test_any_text_is_read_or_is_a_value_error(text: str) -> None:
    for parse in (values.duration, values.size, values.flag, values.whole(1, 16), values.host):
        try:
            value = parse(text)
        except ValueError:
            continue
        assert value is not None
        assert isinstance(value, str) or value >= 0


@pytest.mark.parametrize("text", ["1", "true", "YES", " on "])
def test_what_switches_on(text: str) -> None:
    assert values.flag(text) is True


@pytest.mark.parametrize("text", ["0", "false", "No", "off", "", "  "])
def test_what_switches_off(text: str) -> None:
    assert values.flag(text) is False


@pytest.mark.parametrize("text", ["2", "maybe", "tru", "1 0"])
def test_what_does_not_switch(text: str) -> None:
    with pytest.raises(ValueError, match=r"^this is switched with 1 or 0$"):
        values.flag(text)


@pytest.mark.parametrize(("text", "number"), [("1", 1), ("16", 16), (" 7 ", 7), ("007", 7)])
def test_whole_numbers_within_their_bounds(text: str, number: int) -> None:
    assert values.whole(1, 16)(text) == number


@pytest.mark.parametrize("text", ["0", "17", "-1", "+1", "1.0", "", "a", "1_0", "1000000000000"])
def test_whole_numbers_outside_their_bounds(text: str) -> None:
    with pytest.raises(ValueError, match=r"^this is a whole number from 1 to 16$"):
        values.whole(1, 16)(text)


def test_one_of_a_few_words() -> None:
    parse = values.one_of("auto", "none")
    assert (parse("auto"), parse(" none ")) == ("auto", "none")
    for text in ("", "AUTO", "autonone", "auto, none"):
        with pytest.raises(ValueError, match=r"^this is one of auto, none$"):
            parse(text)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("xnat.example.org", "https://xnat.example.org"),
        ("xnat.example.org:8443", "https://xnat.example.org:8443"),
        (" https://xnat.example.org/ ", "https://xnat.example.org"),
        ("http://localhost:8080", "http://localhost:8080"),
        ("https://example.org/xnat//", "https://example.org/xnat"),
        ("example.org/xnat", "https://example.org/xnat"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        ("https://example.org/a@b", "https://example.org/a@b"),
    ],
)
def test_hosts(text: str, url: str) -> None:
    assert values.host(text) == url
    assert values.host(url) == url


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "https://",
        "http:///",
        "https:///xnat",
        "ftp://example.org",
        "https://a b",
        "https://example.org/x y",
        "https://example.org?x=1",
        "https://example.org/#x",
        "https://user:pass@example.org",
        "user@example.org",
        "https://example.org\nX: y",
    ],
)
def test_what_is_no_host(text: str) -> None:
    with pytest.raises(ValueError, match=r"^a host is written like https://xnat.example.org or "):
        values.host(text)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://proxy.example.org:3128", "http://proxy.example.org:3128"),
        (" proxy.example.org:3128/ ", "http://proxy.example.org:3128/"),
        ("https://jdoe:s3cret@proxy.example.org", "https://jdoe:s3cret@proxy.example.org"),
    ],
)
def test_proxies(text: str, url: str) -> None:
    assert values.proxy(text) == url


@pytest.mark.parametrize("text", ["", "socks5://proxy:1080", "http://proxy/path", "http://a b", "http://proxy?x"])
def test_what_is_no_proxy(text: str) -> None:
    with pytest.raises(ValueError, match=r"^a proxy is written like "):
        values.proxy(text)


def test_user_names() -> None:
    assert values.user(" jdoe ") == "jdoe"
    assert values.user("LDAP/j döe") == "LDAP/j döe"
    for text in ("", " ", "jdoe:secret", "j\ndoe", "j\0"):
        with pytest.raises(ValueError, match=r"^a user name holds no colon "):
            values.user(text)


@pytest.mark.parametrize(
    "text",
    [
        "0123456789ABCDEF0123456789ABCDEF",
        " 0123456789ABCDEF0123456789ABCDEF\n",
        "JSESSIONID=0123456789ABCDEF0123456789ABCDEF; Path=/; HttpOnly",
        "'0123456789ABCDEF0123456789ABCDEF'",
        '"0123456789ABCDEF0123456789ABCDEF"',
        "0123456789ABCDEF0123456789ABCDEF; XNAT_CSRF=0-1-2",
    ],
)
def test_a_session_id_is_taken_out_of_what_is_around_it(text: str) -> None:
    assert values.session_id(text) == Secret("0123456789ABCDEF0123456789ABCDEF")


def test_a_session_id_may_name_a_node_or_standard_input() -> None:
    assert values.session_id("0123ABCD.node1") == Secret("0123ABCD.node1")
    assert values.session_id("-") == Secret("-")


@pytest.mark.parametrize("text", ["", "<html>s3cret</html>", "s3cret s3cret", "s3crét", "s3cret" * 40])
def test_what_is_no_session_id_is_not_told(text: str) -> None:
    with pytest.raises(ValueError, match=r"^a session id is 32 letters and digits") as error:
        values.session_id(text)
    assert "s3cr" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "whole", "count", "shown_as"),
    [
        ("0", 250, 0, "0"),
        ("100", 250, 100, "100"),
        ("100", 7, 100, "100"),
        (" 10% ", 250, 25, "10%"),
        ("10 %", 259, 25, "10%"),
        ("0.5%", 1000, 5, "0.5%"),
        ("0%", 250, 0, "0%"),
        ("100%", 250, 250, "100%"),
    ],
)
def test_shares_are_a_number_or_a_percentage(text: str, whole: int, count: int, shown_as: str) -> None:
    made = values.share(text)
    assert (made.of(whole), str(made)) == (count, shown_as)


@pytest.mark.parametrize("text", ["", "-1", "101%", "100.1%", "%", "1.5", "ten", "10%%", "1e3"])
def test_what_is_no_share(text: str) -> None:
    with pytest.raises(ValueError, match=r"^this is a number of files such as 100, or a percentage such as 10%$"):
        values.share(text)


def test_days() -> None:
    assert values.date(" 2026-01-31 ") == "2026-01-31"
    for text in ("", "31.1.2026", "2026-02-30", "2026-1-1", "today"):
        with pytest.raises(ValueError, match=r"^a day is written like 2026-01-31$"):
            values.date(text)


# -- where values come from -------------------------------------------------------------------------------------

# Two values of each kind as they are written, neither of them a default.
WRITTEN: dict[Any, tuple[str, str]] = {
    values.host: ("https://one.example.org", "https://two.example.org"),
    values.duration: ("1h", "2h"),
    values.size: ("1G", "2G"),
    values.flag: ("1", "yes"),
    values.proxy: ("http://one:1", "http://two:2"),
    values.user: ("one", "two"),
    values.session_id: ("0123ABCD", "4567ABCD"),
    values.web_address: ("https://one.example.org/a", "https://two.example.org/b"),
    str: ("one", "two"),
    Secret: ("one", "two"),
}
BY_NAME = {option.name: option for option in OPTIONS}
options = pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)


def accepted(option: Option) -> tuple[str, str]:
    """Two texts that the option takes."""
    if option.parse in WRITTEN:
        return WRITTEN[option.parse]
    tried = [*"123456", *"abc", *(word for word in option.help.replace(",", " ").replace(".", " ").split())]
    tried += ["2020-01-01", "2021-01-01", "06:00", "07:00", "10%", "20%", "1G", "2G", "1h", "2h"]
    good = []
    for text in tried:
        try:
            value = option.parse(text)
        except (ValueError, UsageError):
            continue
        if value != option.default and text not in good:
            good.append(text)
    return good[0], good[-1]


def parsed(option: Option, text: str) -> Any:
    return (option.parse(text),) if option.repeated else option.parse(text)


def effective(made: Settings, option: Option) -> tuple[Any, str]:
    return getattr(made, option.name), made.sources[option.name]


@options
def test_option_then_environment_then_profile_then_default(option: Option) -> None:
    one, two = accepted(option)
    names = [option.variable, *option.also]
    assert effective(merge({}, {}), option) == (option.default, "default")
    profile = Profile("p", {option.name: one}, "profile p of it") if option.profile else None
    if profile is not None:
        assert effective(merge({}, {}, profile), option) == (parsed(option, one), "profile p of it")
    for at, name in enumerate(names):
        environment = {name: two} | dict.fromkeys(names[at + 1 :], one)
        assert effective(merge({}, environment, profile), option) == (parsed(option, two), f"environment {name}")
    if option.flags:
        made = merge({option.name: one}, dict.fromkeys(names, two), profile)
        assert effective(made, option) == (parsed(option, one), f"option {option.flags[0]}")


@options
def test_an_empty_variable_is_as_good_as_none(option: Option) -> None:
    names = [option.variable, *option.also]
    assert effective(merge({option.name: None}, dict.fromkeys(names, "")), option) == (option.default, "default")
    text, _ = accepted(option)
    assert effective(merge({}, dict.fromkeys(names[:-1], "") | {names[-1]: text}), option) == (
        parsed(option, text),
        f"environment {names[-1]}",
    )


@options
def test_one_setting_changes_no_other(option: Option) -> None:
    made = merge({}, {option.variable: accepted(option)[0], "UNRELATED": "1", "XNAT_SYNC_": "1"})
    plain = merge({}, {})
    for other in OPTIONS:
        if other is not option:
            assert effective(made, other) == effective(plain, other)


@options
def test_a_setting_that_is_repeated_collects_its_values(option: Option) -> None:
    one, two = accepted(option)
    if option.repeated:
        both = (option.parse(one), option.parse(two))
        if option.flags:
            assert effective(merge({option.name: [one, two]}, {}), option) == (both, f"option {option.flags[0]}")
        else:
            made = merge({}, {}, Profile("p", {option.name: [one, two]}, "profile p of it"))
            assert effective(made, option) == (both, "profile p of it")
        assert effective(merge({}, {option.variable: f"{one} , {two},"}), option)[0] == both
        assert effective(merge({option.name: []}, {option.variable: one}), option)[0] == both[:1]
        assert option.default == ()


def bad(option: Option) -> str | None:
    """A text that the option does not take; None if it takes all."""
    for text in ("no such value?", "\n"):
        try:
            option.parse(text)
        except ValueError:
            return text
    return None


REFUSING = [(option, text) for option in OPTIONS if (text := bad(option)) is not None]


@pytest.mark.parametrize(("option", "text"), REFUSING, ids=[option.name for option, _ in REFUSING])
def test_a_bad_value_is_told_with_its_place_and_what_is_right(option: Option, text: str) -> None:
    with pytest.raises(ValueError, match=r".") as reason:
        option.parse(text)
    value = "" if option.name in ("jsession", "ping") else f" is {text!r}"
    given: list[tuple[dict[str, str], dict[str, str], Profile | None, str]] = [
        ({}, {name: text}, None, f"environment {name}{value}: ") for name in (option.variable, *option.also)
    ]
    if option.flags:
        given.append(({option.name: text}, {}, None, f"option {option.flags[0]}{value}: "))
    if option.profile:
        given.append(({}, {}, Profile("p", {option.name: text}, "profile p"), f"profile p, {option.name}{value}: "))
    for flags, environment, profile, start in given:
        with pytest.raises(UsageError) as error:
            merge(flags, environment, profile)
        assert str(error.value) == f"{start}{reason.value}"
        assert error.value.exit_code == 2


def test_a_message_reads_well() -> None:
    with pytest.raises(UsageError) as error:
        merge({"jobs": "40"}, {})
    assert str(error.value) == "option --jobs is '40': this is a whole number from 1 to 16"
    with pytest.raises(UsageError) as error:
        merge({}, {"XNAT_HOST": "ftp://x"})
    assert str(error.value) == (
        "environment XNAT_HOST is 'ftp://x': "
        "a host is written like https://xnat.example.org or https://example.org/xnat"
    )


def test_a_bad_variable_does_no_harm_where_an_option_is_given() -> None:
    assert merge({"jobs": "2"}, {"XNAT_SYNC_JOBS": "many"}).jobs == 2


def test_a_password_in_a_url_is_not_told() -> None:
    with pytest.raises(UsageError) as error:
        merge({"host": "https://jdoe:s3cret@example.org"}, {})
    assert "s3cret" not in str(error.value)


@pytest.mark.parametrize("name", ["jsession", "password"])
def test_a_secret_does_not_show(name: str) -> None:
    made = merge({}, {f"XNAT_SYNC_{name.upper()}": "0123ABCD"})
    assert getattr(made, name) == Secret("0123ABCD")
    assert "0123ABCD" not in repr(made)
    assert "0123ABCD" not in str(made)


# -- what a profile holds for its host --------------------------------------------------------------------------

BOUND = [option for option in OPTIONS if option.bound]


@pytest.mark.parametrize("option", BOUND, ids=lambda option: option.name)
def test_no_site_is_told_the_login_of_another(option: Option) -> None:
    text, _ = accepted(option)
    profile = Profile("p", {"host": "one.example.org/", option.name: text}, "profile p")
    for flags, environment in (
        ({"host": "https://two.example.org"}, {}),
        ({}, {"XNAT_HOST": "https://two.example.org"}),
        ({"host": "http://one.example.org"}, {}),
    ):
        assert effective(merge(flags, environment, profile), option) == (option.default, "default")
    for same in ({}, {"host": "https://one.example.org"}, {"host": "one.example.org"}):
        assert effective(merge(same, {}, profile), option) == (parsed(option, text), "profile p")


def test_what_is_not_bound_counts_for_every_site() -> None:
    profile = Profile("p", {"host": "one.example.org", "jobs": "7"}, "profile p")
    assert merge({"host": "two.example.org"}, {}, profile).jobs == 7
    assert not BY_NAME["jobs"].bound


def test_a_profile_without_a_host_counts_for_every_site() -> None:
    assert merge({"host": "two.example.org"}, {}, Profile("p", {"user": "jdoe"}, "profile p")).user == "jdoe"


def test_a_bad_host_in_a_profile_is_the_users_error_also_where_another_host_is_given() -> None:
    profile = Profile("p", {"host": "ftp://one.example.org", "user": "jdoe"}, "profile p")
    try:
        assert merge({"host": "two.example.org"}, {}, profile).host == "https://two.example.org"
    except UsageError as error:
        assert "profile p" in str(error)  # noqa: PT017


def test_what_holds_a_login_does_so_for_its_own_host_only() -> None:
    assert {option.name for option in BOUND} >= {"user", "password_command", "cookie_file", "insecure"}
    secret = {option.name for option in OPTIONS if option.parse in (Secret, values.session_id)}
    assert secret == {"password", "jsession"}
    assert not any(BY_NAME[name].profile for name in secret)
    assert BY_NAME["password"].flags == ()


# -- how values are shown ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("host", None, ""),
        ("quiet", True, "yes"),
        ("quiet", False, "no"),
        ("jobs", 4, "4"),
        ("idle_timeout", 180.0, "3m"),
        ("idle_timeout", 0.5, "0.5s"),
        ("jobs", ("a", "b"), "a, b"),
        ("jobs", (), ""),
        ("password", Secret("s3cret"), "***"),
        ("proxy", "http://jdoe:s3cret@proxy:3128", "http://***@proxy:3128"),
        ("password_command", "pass show s3cret", "pass …"),
        ("password_command", "pass", "pass"),
        ("password_command", " ", ""),
    ],
)
def test_values_are_shown_without_their_secrets(name: str, value: object, text: str) -> None:
    assert shown(BY_NAME[name], value) == text


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("https://jdoe:s3cret@example.org/x", "https://***@example.org/x"),
        ("https://token@example.org", "https://***@example.org"),
        ("jdoe:s3cret@example.org", "***@example.org"),
        ("https://example.org/a@b", "https://example.org/a@b"),
        ("https://example.org", "https://example.org"),
    ],
)
def test_logins_in_urls_are_masked(text: str, masked: str) -> None:
    assert without_login(text) == masked


# -- the table of settings --------------------------------------------------------------------------------------


def test_the_table_and_the_settings_have_the_same_names() -> None:
    assert [field.name for field in fields(Settings) if field.name != "sources"] == [option.name for option in OPTIONS]
    assert set(merge({}, {}).sources) == {option.name for option in OPTIONS}


def test_no_flag_and_no_variable_sets_two_things() -> None:
    flags = [flag for option in OPTIONS for flag in option.flags]
    variables = [name for option in OPTIONS for name in (option.variable, *option.also)]
    assert len(flags) == len(set(flags))
    assert len(variables) == len(set(variables))


@options
def test_every_setting_has_a_long_name_a_variable_and_a_line_of_help(option: Option) -> None:
    assert option.flags[:1] in ((f"--{option.name.replace('_', '-')}",), ())
    assert all(flag.startswith("--") or (len(flag) == 2 and flag[0] == "-") for flag in option.flags)
    assert option.variable == f"XNAT_SYNC_{option.name.upper()}"
    assert option.help.endswith(".")
    assert "\n" not in option.help
    assert option.is_switch is (option.parse is values.flag)
    assert option.default is False or not option.is_switch


PROMISED = {
    "host": ("--host", "--server", "--url"),
    "user": ("--user",),
    "password_stdin": ("--password-stdin",),
    "jsession": ("--jsession",),
    "netrc": ("--netrc",),
    "no_netrc": ("--no-netrc",),
    "ca_bundle": ("--ca-bundle",),
    "insecure": ("--insecure",),
    "proxy": ("--proxy",),
    "idle_timeout": ("--idle-timeout",),
    "retries": ("--retries",),
    "quiet": ("-q",),
    "verbose": ("-v",),
    "progress": ("--progress",),
    "log_format": ("--log-format",),
    "log_file": ("--log-file",),
    "json": ("--json",),
    "dest": ("--dest", "-o", "--out"),
    "jobs": ("--jobs", "-j", "--workers"),
    "listers": ("--listers",),
    "overwrite": ("--overwrite",),
    "dry_run": ("--dry-run",),
}


@pytest.mark.parametrize("name", PROMISED)
def test_the_promised_names_are_there(name: str) -> None:
    assert set(PROMISED[name]) <= set(BY_NAME[name].flags)


def test_the_promised_defaults_and_bounds() -> None:
    made = merge({}, {})
    assert (made.jobs, made.listers, made.idle_timeout) == (4, 2, 180.0)
    assert (made.progress, made.log_format) == ("auto", "text")
    assert merge({"jobs": "16"}, {}).jobs == 16
    with pytest.raises(UsageError):
        merge({"jobs": "17"}, {})
    for how in ("auto", "bars", "lines", "none"):
        assert merge({"progress": how}, {}).progress == how


def test_the_variables_of_other_clients_are_known() -> None:
    made = merge(
        {},
        {"XNAT_HOST": "h", "XNAT_USER": "u", "XNAT_JSESSION": "j", "REQUESTS_CA_BUNDLE": "c"},
    )
    assert (made.host, made.user, made.jsession, made.ca_bundle) == ("https://h", "u", Secret("j"), "c")


def test_no_password_is_taken_as_an_argument() -> None:
    assert not any(flag in ("--password", "-p", "--pass") for option in OPTIONS for flag in option.flags)


def test_a_hook_that_calls_the_program_again_takes_no_filter_from_what_it_is_told() -> None:
    told = {"XNAT_SYNC_SUBJECT": "S1", "XNAT_SYNC_EXPERIMENT": "S1_MR1", "XNAT_SYNC_JOBS": "2"}
    assert (merge({}, told).subject, merge({}, told).experiment) == (("S1",), ("S1_MR1",))
    made = merge({}, told | {"XNAT_SYNC_HOOKED": "1"})
    assert (made.subject, made.experiment, made.jobs) == ((), (), 2)
