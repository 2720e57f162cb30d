"""The client against servers that are no plain XNAT: clusters, gateways, redirects, answers in pieces."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
import pytest
from aiohttp import web

from xnat_sync.core.errors import LoginRefused, Refused, ServerUnavailable, SessionEnded, Transient
from xnat_sync.core.model import Login, LoginKind, Secret
from xnat_sync.shell.net import Client, NetOptions

ID = "6F0C" * 8
PASSWORD = Login(LoginKind.PASSWORD, "jdoe", Secret("secret"))
PASTED = Login(LoginKind.PASTED, secret=Secret(ID))
Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@dataclass
class Served:
    url: str = ""
    requests: list[web.BaseRequest] = field(default_factory=list)

    def cookies(self) -> list[str]:
        return [request.headers.get("Cookie", "") for request in self.requests]


@asynccontextmanager
async def serving(answer: Handler) -> AsyncIterator[Served]:
    served = Served()

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        served.requests.append(request)
        return await answer(request)

    runner = web.ServerRunner(web.Server(handle), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    served.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield served
    finally:
        await runner.cleanup()


def xnat(session_id: str = ID, **also: Handler) -> Handler:
    """A server that knows one session; ``also`` are answers by the last part of a path."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        last = request.path.rpartition("/")[2]
        if last in also:
            return await also[last](request)
        if last == "JSESSION":
            return web.Response(text=session_id)
        if last == "auth":
            known = request.cookies.get("JSESSIONID") == session_id
            return web.Response(text="User 'jdoe' is logged in") if known else web.Response(status=401)
        return web.Response(text="[]", content_type="application/json")

    return answer


def always(response: Callable[[], web.StreamResponse]) -> Handler:
    async def answer(_: web.BaseRequest) -> web.StreamResponse:
        return response()

    return answer


def page(text: str) -> Callable[[], web.StreamResponse]:
    return lambda: web.Response(text=f"<!DOCTYPE html><html>{text}</html>", content_type="text/html")


def redirect(location: str, status: int = 302) -> Callable[[], web.StreamResponse]:
    return lambda: web.Response(status=status, headers={"Location": location})


async def refused(handler: Handler, login: Login = PASSWORD) -> Exception:
    async with serving(handler) as served, Client(served.url, login) as client:
        with pytest.raises(Exception) as caught:  # noqa: PT011
            await client.log_in()
        assert sum(request.method == "POST" for request in served.requests) == login.renewable
    return caught.value


@pytest.mark.parametrize(
    ("answer", "kind", "says"),
    [
        (page("<title>AAF Sign in</title>"), LoginRefused, "web page of its own (AAF Sign in)"),
        (page("<h1>XNAT is down for maintenance</h1>"), ServerUnavailable, "in maintenance"),
        (redirect("https://idp.example.org/sso?state=HUSH"), LoginRefused, "(https://idp.example.org/sso)"),
        (redirect("https://xnat.example.org/data/JSESSION", 301), ServerUnavailable, "(https://xnat.example.org)"),
        (lambda: web.Response(status=404), ServerUnavailable, "there is no XNAT"),
        (lambda: web.Response(text="hello"), LoginRefused, "without a session id"),
        (lambda: web.Response(status=407), ServerUnavailable, "proxy"),
        (lambda: web.Response(status=503), Transient, "503"),
    ],
)
async def test_what_stands_before_a_site_is_told_apart(
    answer: Callable[[], web.StreamResponse], kind: type[Exception], says: str
) -> None:
    error = await refused(xnat(JSESSION=always(answer)))
    assert type(error) is kind
    assert says in str(error)
    assert "HUSH" not in str(error)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (page("Sign in"), SessionEnded),
        (redirect("/app/template/Login.vm"), SessionEnded),
        (redirect("/app/template/XDATScreen_UpdateUser.vm"), LoginRefused),
        (page("maintenance"), ServerUnavailable),
        (lambda: web.Response(text="User 'guest' is logged in"), SessionEnded),
    ],
)
async def test_a_pasted_session_is_proved(answer: Callable[[], web.StreamResponse], kind: type[Exception]) -> None:
    assert type(await refused(xnat(auth=always(answer)), PASTED)) is kind


async def test_the_name_of_a_node_belongs_to_the_id_and_may_change() -> None:
    async def listing(_: web.BaseRequest) -> web.StreamResponse:
        response = web.Response(text="[]")
        response.headers["Set-Cookie"] = f"JSESSIONID={ID}.node2; Path=/"
        return response

    async with serving(xnat(f"{ID}.node1", list=listing)) as served, Client(served.url, PASSWORD) as client:
        assert await client.log_in() == "jdoe"
        assert await client.fetch("/data/list", "the list") == b"[]"
        assert served.cookies()[-1] == f"JSESSIONID={ID}.node1"


async def test_an_id_in_two_pieces_is_one_id() -> None:
    async def slowly(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for piece in (ID[:5], ID[5:]):
            await response.write(piece.encode())
        await response.write_eof()
        return response

    async with serving(xnat(JSESSION=slowly)) as served, Client(served.url, PASSWORD) as client:
        assert await client.log_in() == "jdoe"


async def test_an_answer_to_a_guest_is_not_believed_even_while_the_session_lives() -> None:
    """Two servers behind one address, of which one does not know the session."""

    async def guest(_: web.BaseRequest) -> web.StreamResponse:
        response = web.Response(text="[]")
        response.headers["Set-Cookie"] = "JSESSIONID=0000; Path=/"
        return response

    async with serving(xnat(list=guest)) as served, Client(served.url, PASTED) as client:
        await client.log_in()
        with pytest.raises(Transient, match="as if to a guest"):
            await client.fetch("/data/list", "the list")


async def test_no_redirect_is_followed_and_no_cookie_leaves() -> None:
    async with serving(xnat()) as elsewhere:
        away = redirect(f"{elsewhere.url}/data/list")
        async with serving(xnat(list=always(away))) as served, Client(served.url, PASTED) as client:
            await client.log_in()
            with pytest.raises(Refused, match="302"):
                await client.fetch("/data/list", "the list")
        assert elsewhere.requests == []


async def test_maintenance_in_the_middle_may_pass() -> None:
    down = False

    async def sometimes(request: web.BaseRequest) -> web.StreamResponse:
        return page("maintenance")() if down else await xnat()(request)

    async with serving(sometimes) as served, Client(served.url, PASTED) as client:
        await client.log_in()
        down = True
        with pytest.raises(Transient, match="maintenance"):
            await client.fetch("/data/list", "the list")
        down = False
        assert await client.fetch("/data/list", "the list") == b"[]"


async def test_a_silent_server_is_left() -> None:
    async def silent(_: web.BaseRequest) -> web.StreamResponse:
        await anyio.sleep(30)
        raise AssertionError

    options = NetOptions(idle_timeout=0.2)
    async with serving(xnat(list=silent)) as served, Client(served.url, PASTED, options) as client:
        await client.log_in()
        with pytest.raises(Transient, match="silent for too long"):
            await client.fetch("/data/list", "the list")


async def in_two_parts(request: web.BaseRequest, between: Callable[[], Awaitable[object]]) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(b"first")
    await between()
    await response.write(b"second")
    return response


async def test_what_has_come_is_given_before_more_comes() -> None:
    taken = anyio.Event()

    async def slow(request: web.BaseRequest) -> web.StreamResponse:
        return await in_two_parts(request, taken.wait)

    async with serving(xnat(list=slow)) as served, Client(served.url, PASTED) as client:
        await client.log_in()
        with anyio.fail_after(30):
            async with client.get("/data/list", "the list") as answer:
                assert await answer.read() == b"first"
                taken.set()
                assert [await answer.read(), await answer.read()] == [b"second", b""]


async def test_a_body_that_stops_is_left_and_what_has_come_is_given() -> None:
    async def stops(request: web.BaseRequest) -> web.StreamResponse:
        return await in_two_parts(request, anyio.sleep_forever)

    options = NetOptions(idle_timeout=0.2)
    async with serving(xnat(list=stops)) as served, Client(served.url, PASTED, options) as client:
        await client.log_in()
        async with client.get("/data/list", "the list") as answer:
            assert await answer.read() == b"first"
            with pytest.raises(Transient, match="silent for too long"):
                await answer.read()


async def test_passwords_are_sent_in_utf_8() -> None:
    login = Login(LoginKind.PASSWORD, "jörg", Secret("pässwörd:€"))
    async with serving(xnat()) as served, Client(served.url, login) as client:
        await client.log_in()
        header = served.requests[0].headers["Authorization"]
    assert base64.b64decode(header.removeprefix("Basic ")).decode() == "jörg:pässwörd:€"
