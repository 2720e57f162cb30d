"""Netscape's cookies.txt: which cookies go to a site, as RFC 6265 has it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xnat_sync.core.cookiefile import for_site
from xnat_sync.core.model import Cookie, Secret

NOW = 1_800_000_000
ID = "6F0C" * 8
SITE = "https://xnat.example.org"


def line(
    domain: str = "xnat.example.org",
    subdomains: str = "FALSE",
    path: str = "/",
    https: str = "FALSE",
    expires: object = 0,
    name: str = "JSESSIONID",
    value: str = ID,
) -> str:
    return "\t".join((domain, subdomains, path, https, str(expires), name, value)) + "\n"


def test_the_session_and_the_sticky_cookies_are_taken() -> None:
    text = (
        "# Netscape HTTP Cookie File\n# http://curl.se/docs/http-cookies.html\n\n"
        + "#HttpOnly_"
        + line(https="TRUE", expires=NOW + 60)
        + line(name="AWSALB", value="a/b+c==")
        + line(domain=".example.org", subdomains="TRUE", name="SERVERID", value="node1")
        + line(domain="other.example.org", name="OTHER", value="x")
    )
    found = for_site(text, SITE, NOW)
    assert found.session == Secret(ID)
    assert found.ends == NOW + 60
    assert set(found.others) == {Cookie("AWSALB", Secret("a/b+c==")), Cookie("SERVERID", Secret("node1"))}


@pytest.mark.parametrize(
    ("cookie", "url", "sent"),
    [
        ({}, SITE, True),
        ({}, "https://XNAT.example.org:8443", True),
        ({"domain": "example.org"}, SITE, False),
        ({"domain": "example.org", "subdomains": "TRUE"}, SITE, True),
        ({"domain": ".example.org"}, SITE, True),
        ({"domain": ".xnat.example.org"}, SITE, True),
        ({"domain": ".ample.org"}, SITE, False),
        ({"https": "TRUE"}, "http://xnat.example.org", False),
        ({"path": "/xnat"}, f"{SITE}/xnat", True),
        ({"path": "/xnat/"}, f"{SITE}/xnat", True),
        ({"path": "/xnat"}, SITE, False),
        ({"path": "/xnat"}, f"{SITE}/xnat2", False),
        ({"path": "/data"}, SITE, True),
        ({"expires": NOW - 1}, SITE, False),
        ({"expires": NOW + 1}, SITE, True),
        ({"expires": "1800000001.5"}, SITE, True),
    ],
)
def test_a_cookie_goes_where_a_browser_would_send_it(cookie: dict[str, object], url: str, sent: bool) -> None:
    text = line(**cookie)  # type: ignore[arg-type]
    if sent:
        assert for_site(text, url, NOW).session == Secret(ID)
    else:
        with pytest.raises(ValueError, match="JSESSIONID"):
            for_site(text, url, NOW)


def test_the_most_specific_path_wins() -> None:
    text = line(path="/xnat", value="INNER") + line(path="/", value="OUTER")
    assert for_site(text, f"{SITE}/xnat", NOW).session == Secret("INNER")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "holds no cookies"),
        ("# Netscape HTTP Cookie File\n", "holds no cookies"),
        ('{"cookies": []}', "holds no cookies"),
        (line(name="OTHER"), f"holds no JSESSIONID for {SITE}"),
        (line(expires=NOW - 5), "the JSESSIONID in it has expired"),
    ],
)
def test_what_is_missing_is_said_without_a_value(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says) as caught:
        for_site(text, SITE, NOW)
    assert ID not in str(caught.value)


@pytest.mark.parametrize(
    "odd",
    [
        "xnat.example.org\tFALSE\t/\tFALSE\t0\tEMPTY\n",
        line(name="BAD;NAME"),
        line(name="CRLF", value="a\x0bb"),
        line(name="SEMI", value="a;b"),
        line(name="WHEN", expires="never"),
        "one field\n",
    ],
)
def test_odd_lines_do_no_harm(odd: str) -> None:
    found = for_site(odd + line(), SITE, NOW)
    assert found.session == Secret(ID)
    assert {cookie.name for cookie in found.others} <= {"EMPTY"}


@given(st.text())
def test_no_text_breaks_it(text: str) -> None:
    assert for_site(f"{text}\n{line()}", SITE, NOW).session == Secret(ID)
