"""The client against the embedded server: one login for all workers, and answers that are not believed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import anyio
import pytest

from xnat_embedded import EVERY, Fault, KillSession, LoginPage, Server, Site, Status, small_site
from xnat_sync.core import urls
from xnat_sync.core.errors import LoginRefused, Refused, SessionEnded, Transient, Vanished, XnatSyncError
from xnat_sync.core.model import Login, LoginKind, Secret
from xnat_sync.shell.net import USER_AGENT, Client

LISTING = urls.experiments("PTV000")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def site() -> Site:
    return small_site()


@pytest.fixture
def server(site: Site) -> Iterator[Server]:
    with Server(site) as made:
        yield made


def by_password(password: str = "demo-password", user: str = "demo") -> Login:
    return Login(LoginKind.PASSWORD, user, Secret(password))


def pasted(id_: str) -> Login:
    return Login(LoginKind.PASTED, secret=Secret(id_))


@pytest.fixture
async def client(server: Server) -> AsyncIterator[Client]:
    async with Client(server.url, by_password()) as made:
        assert await made.log_in() == "demo"
        yield made


async def many(client: Client, count: int = 10) -> list[bytes | Exception]:
    answers: list[bytes | Exception] = []

    async def one() -> None:
        try:
            answers.append(await client.fetch(LISTING, "the list"))
        except XnatSyncError as error:
            answers.append(error)

    async with anyio.create_task_group() as group:
        for _ in range(count):
            group.start_soon(one)
    return answers


def logins(server: Server) -> int:
    return sum(exchange.kind == "login" and exchange.method == "POST" for exchange in server.log)


@pytest.mark.parametrize("open_site", [False, True], ids=["closed", "open"])
async def test_ten_workers_renew_a_session_once(client: Client, server: Server, open_site: bool) -> None:
    server.site.require_login = not open_site
    whole = await client.fetch(LISTING, "the list")
    server.kill_sessions()
    answers = await many(client)
    assert {len(answer) for answer in answers if isinstance(answer, bytes)} == {len(whole)}
    assert logins(server) == 2
    assert client.counts.sessions_opened == 2


async def test_a_refused_renewal_is_not_tried_by_the_other_workers(client: Client, server: Server, site: Site) -> None:
    site.users["demo"].password = "changed"
    server.kill_sessions()
    answers = await many(client)
    assert {type(answer) for answer in answers} == {LoginRefused}
    assert server.counts.logins_refused == 1


async def test_an_ended_pasted_session_is_the_end_for_all(server: Server, site: Site) -> None:
    site.require_login = False
    async with Client(server.url, pasted(server.open_session("demo"))) as client:
        await client.log_in()
        server.kill_sessions()
        answers = await many(client)
    assert {type(answer) for answer in answers} == {SessionEnded}
    assert logins(server) == 0


async def test_a_session_renewed_for_another_user_is_refused(client: Client, server: Server, site: Site) -> None:
    server.kill_sessions()
    client.renew_with(by_password("admin-password", "admin"))
    with pytest.raises(LoginRefused, match="not for 'demo'"):
        await client.fetch(LISTING, "the list")


async def test_a_server_that_forgets_each_session_at_once_is_given_up(client: Client, server: Server) -> None:
    server.faults.add(Fault(KillSession(), kind="experiments", count=EVERY))
    with pytest.raises(Transient, match="ended at once"):
        await client.fetch(LISTING, "the list")
    assert logins(server) == 4
    server.faults.clear()
    assert await client.fetch(LISTING, "the list")


async def test_a_page_instead_of_a_list_is_asked_for_again_and_then_told(client: Client, server: Server) -> None:
    server.faults.add(Fault(LoginPage(), kind="experiments"))
    assert await client.fetch(LISTING, "the list")
    server.faults.add(Fault(LoginPage(), kind="experiments", count=EVERY))
    with pytest.raises(Transient, match="web page"):
        await client.fetch(LISTING, "the list")
    assert logins(server) == 1


async def test_a_web_page_among_the_files_is_a_file(client: Client, server: Server, site: Site) -> None:
    project = site.project("PTV000")
    assert project is not None
    page = b"<!DOCTYPE html><html><body>report</body></html>"
    resource = project.add_resource("REPORTS", [("sub-01.html", page)])
    before = len(server.log)
    path = f"/data/projects/PTV000/resources/{resource.id}/files/sub-01.html"
    assert await client.fetch(path, "a report") == page
    assert len(server.log) == before + 1


async def test_answers_that_are_final(client: Client, server: Server) -> None:
    with pytest.raises(Vanished):
        await client.fetch(urls.experiments("NONE"), "the list")
    with pytest.raises(Refused):
        await client.fetch(urls.experiments("GUARDED"), "the list")
    server.faults.add(Fault(Status(503, retry_after=7), kind="experiments"))
    with pytest.raises(Transient) as caught:
        await client.fetch(LISTING, "the list")
    assert (caught.value.status, caught.value.retry_after) == (503, 7.0)


async def test_a_login_tried_again_after_a_hiccup_opens_one_session(server: Server) -> None:
    server.faults.add(Fault(Status(503), kind="auth"))
    async with Client(server.url, by_password()) as client:
        with pytest.raises(Transient):
            await client.log_in()
        assert await client.log_in() == "demo"
    assert server.counts.sessions_opened == 1
    assert server.sessions == {}


async def test_who_we_are_and_how_long_a_session_idles(client: Client, server: Server) -> None:
    assert client.idle_limit == 900.0
    assert {exchange.user_agent for exchange in server.log} == {USER_AGENT}
    assert not any(word in USER_AGENT for word in ("Mozilla", "AppleWebKit", "Opera", "MSIE"))


async def test_a_token_is_issued_used_and_taken_back(client: Client, server: Server, site: Site) -> None:
    token = await client.issue_token()
    assert token.user == "demo"
    assert token.ends is not None
    assert abs(token.ends - token.issued - site.token_timeout_s) < 1
    login = Login(LoginKind.TOKEN, token.alias.reveal(), token.secret)
    async with Client(server.url, login) as other:
        assert await other.log_in() == "demo"
        await other.take_back_token(token.alias.reveal())
    assert site.tokens == {}
    assert not any(token.secret.reveal() in exchange.path for exchange in server.log)
