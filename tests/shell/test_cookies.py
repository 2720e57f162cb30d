"""The guarded jar: what an answer may set, what is sent, and what the answers tell about the session."""

from __future__ import annotations

from http.cookies import SimpleCookie

import pytest
from yarl import URL

from xnat_sync.core.model import Cookie, Secret
from xnat_sync.shell.cookies import GuardedJar, lifetime, offered_session

SITE = URL("https://xnat.example.org/xnat")
ASKED = URL("https://xnat.example.org/xnat/data/projects")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def jar(anyio_backend: str) -> GuardedJar:
    made = GuardedJar(SITE)
    made.adopt("OURS")
    return made


def sent(jar: GuardedJar, url: URL = ASKED) -> dict[str, str]:
    return {morsel.key: morsel.coded_value for morsel in jar.filter_cookies(url).values()}


async def test_no_answer_replaces_or_drops_the_session(jar: GuardedJar) -> None:
    for header in (
        "JSESSIONID=ANONYMOUS; Path=/; HttpOnly",
        "JSESSIONID=ANONYMOUS; Path=/xnat; Secure; HttpOnly",
        "JSESSIONID=; Path=/; Max-Age=0",
        'SESSION_EXPIRATION_TIME="1,2"; Version=1; Path=/',
    ):
        jar.update_cookies_from_headers([header], ASKED)
        jar.update_cookies(SimpleCookie(header), ASKED)
    assert sent(jar) == {"JSESSIONID": "OURS"}


async def test_the_session_goes_to_its_origin_only(jar: GuardedJar) -> None:
    for other in ("https://example.org/", "https://evil.xnat.example.org/", "https://xnat.example.com/"):
        assert sent(jar, URL(other)) == {}


async def test_adopting_another_replaces_it_and_forgetting_drops_it_alone(jar: GuardedJar) -> None:
    jar.update_cookies_from_headers(["SERVERID=n1; Path=/"], ASKED)
    jar.adopt("NEW")
    assert sent(jar) == {"JSESSIONID": "NEW", "SERVERID": "n1"}
    jar.forget()
    assert sent(jar) == {"SERVERID": "n1"}


async def test_sticky_cookies_go_back_as_they_came(jar: GuardedJar) -> None:
    jar.update_cookies_from_headers(["AWSALB=a/b+c==; Path=/; Expires=Wed, 01 Jan 2098 00:00:00 GMT"], ASKED)
    jar.plant([Cookie("SERVERID", Secret("x/y=z"), "/xnat"), Cookie("OTHER", Secret("o"), "/elsewhere")])
    assert sent(jar) == {"JSESSIONID": "OURS", "AWSALB": "a/b+c==", "SERVERID": "x/y=z"}
    assert set(jar.others()) == {
        Cookie("AWSALB", Secret("a/b+c==")),
        Cookie("SERVERID", Secret("x/y=z"), "/xnat"),
        Cookie("OTHER", Secret("o"), "/elsewhere"),
    }


async def test_a_session_cannot_be_planted_among_the_others(jar: GuardedJar) -> None:
    jar.plant([Cookie("JSESSIONID", Secret("THEIRS"))])
    assert sent(jar) == {"JSESSIONID": "OURS"}


async def test_addresses_are_served_too(anyio_backend: str) -> None:
    site = URL("http://127.0.0.1:8080")
    jar = GuardedJar(site)
    jar.adopt("OURS")
    jar.update_cookies_from_headers(["SERVERID=n1; Path=/"], site)
    assert sent(jar, site) == {"JSESSIONID": "OURS", "SERVERID": "n1"}


@pytest.mark.parametrize(
    ("headers", "id_"),
    [
        ([], None),
        (["A=b; Path=/"], None),
        (["A=b", "JSESSIONID=6F0C; Path=/; HttpOnly"], "6F0C"),
        ([' JSESSIONID = "6F0C" ; Path=/'], "6F0C"),
        (["JSESSIONID=; Max-Age=0"], ""),
        (["XJSESSIONID=1"], None),
    ],
)
def test_the_session_that_an_answer_offers(headers: list[str], id_: str | None) -> None:
    assert offered_session(headers) == id_


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ([], None),
        (['SESSION_EXPIRATION_TIME="1596086146219,900000"; Version=1; Path=/'], 900.0),
        (['SESSION_EXPIRATION_TIME="1596086146219\\054900000"; Version=1; Path=/'], 900.0),
        (["A=b", "SESSION_EXPIRATION_TIME=1596086146219,3600000"], 3600.0),
        (['SESSION_EXPIRATION_TIME="soon"'], None),
    ],
)
def test_how_long_a_session_may_idle(headers: list[str], seconds: float | None) -> None:
    assert lifetime(headers) == seconds
