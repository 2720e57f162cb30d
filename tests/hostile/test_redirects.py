"""Redirects to other hosts, ports and schemes: none is followed, and nobody else ever hears a byte of ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from hostile.conftest import Make
from hostile.evil import Elsewhere, Evil, body, redirect, running
from hostile.scene import PASSWORD, Scene, few, resources, some
from system.harness import Done, truth
from system.relay import authority

ID = "/data/JSESSION$"
PLACES = {"login": (ID, "POST"), "auth": ("/data/auth$", "GET"), "experiments": (r"/PTV000/experiments\?", "GET")}


class Others:
    """Two places that nobody should come to, one of them with TLS."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self.places = [Elsewhere(), Elsewhere()]
        context, self.bundle = authority(folder, "localhost", "127.0.0.1")
        for place, tls in zip(self.places, (None, context), strict=True):
            stack.enter_context(running(place, tls))

    def locations(self, at: Scene) -> list[str]:
        """Where a redirect may lead, each with the path that was asked for, so that it looks like a move."""
        plain, secure = (place.port for place in self.places)
        return [
            f"http://127.0.0.1:{plain}/data/auth", f"http://localhost:{plain}/data/JSESSION", f"//localhost:{plain}/x",
            f"https://127.0.0.1:{secure}/data/JSESSION", f"https://localhost:{secure}/data/auth",
            f"http://localhost:{at.evil.port}/data/JSESSION", f"http://demo:{'x' * 8}@127.0.0.1:{plain}/",
            f"http://127.0.0.1:{at.evil.port}@localhost:{plain}/", f"http://127.0.0.1:{plain}\\@localhost/",
            f"\\\\localhost:{plain}\\x", f"HTTP://LOCALHOST:{plain}", "file:///etc/passwd", f"ftp://localhost:{plain}/",
            "javascript:alert(1)", "data:text/html,x", "", "/data/JSESSION", "/data/auth", "http://[::1", "http://",
            "http://localhost:99999/", "\x1b[2J", "http://\xe9\x9b/", "x" * 8000, "//", "?", "gopher://x", "http:///x",
        ]  # fmt: skip

    def assert_unheard(self, at: Scene) -> None:
        """Nobody came, and nobody called the site by another name than the user did."""
        assert [(place.came, bytes(place.heard)) for place in self.places] == [(0, b""), (0, b"")]
        wanted = f"\r\nhost: 127.0.0.1:{at.evil.port}\r\n".encode()
        assert all(wanted in head.lower() for head in at.evil.seen)


@pytest.fixture
def others(tmp_path: Path) -> Iterator[Others]:
    with ExitStack() as stack:
        yield Others(stack, tmp_path)


def test_a_redirect_of_the_login_is_told_and_not_followed(at: Scene, others: Others) -> None:
    """Each location at each of the first requests, with a status of its own: a login that is not to be had."""
    statuses = (301, 302, 303, 307, 308, 300, 305, 399)
    places = list(PLACES.values())
    for number, location in enumerate(some(others.locations(at), *others.locations(at)[:16:2])):
        target, method = places[number % len(places)]
        at.evil.lies.clear()
        lie = at.evil.lie(target, redirect(location, statuses[number % len(statuses)]), method)
        ended = at.attack(
            "whoami" if number % 3 < 2 else "ls", *([] if number % 3 < 2 else ["PTV000"]), "--retries", "0"
        )
        assert ended.code in (5, 6, 7), (location, ended)
        assert len(ended.err) < 1500, ended
        assert 1 <= len(lie.met) <= 3
        assert PASSWORD not in ended.err
    others.assert_unheard(at)


def test_a_redirect_of_the_data_costs_the_data(stage: Make, others: Others) -> None:
    """A file list that is said to have moved is had otherwise; a file that is said so is refused. All else comes."""
    at = stage(few(29, files=1))
    for number, (resource, location) in enumerate(
        zip(resources(at.here.site)[:-1], others.locations(at), strict=True), 1
    ):
        kind = (rf"/XNAT_E{number:05}/files\?", rf"/resources/{resource.id}/files")[number % 2]
        at.evil.lie(kind, redirect(location, (301, 302, 303, 307, 308)[number % 5]))
    ended = at.attack(name="redirects of lists, zips and files")
    assert ended.code == 3, ended
    assert at.here.tree() == at.hold_back(*range(0, 28, 2))
    others.assert_unheard(at)


def test_one_location_after_another_is_not_run_in_circles(at: Scene) -> None:
    lie = at.evil.lie("/data/", redirect("/data/JSESSION"))
    ended = at.attack(name="redirects in a circle")
    assert ended.code in (6, 7), ended
    assert len(lie.met) <= 2


def test_headers_that_send_a_browser_elsewhere_are_not_obeyed(at: Scene, others: Others) -> None:
    plain, secure = (place.port for place in others.places)
    at.evil.extra = (
        f"Location: http://localhost:{plain}/\r\nRefresh: 0; url=http://localhost:{plain}/\r\n"
        f"Content-Location: https://localhost:{secure}/\r\nAlt-Svc: http/1.1=\":{plain}\"; ma=9999\r\n"
        f"Link: <http://localhost:{plain}/>; rel=\"preconnect preload\"\r\nOrigin-Agent-Cluster: ?1\r\n"
        "Content-Disposition: attachment; filename=\"../../../escape.dcm\"\r\nX-Sendfile: /etc/passwd\r\n"
        f"Set-Cookie: S=1; Domain=localhost; Path=/\r\nWWW-Authenticate: Basic realm=\"http://localhost:{plain}/\"\r\n"
        f"Proxy-Authenticate: Basic\r\nStrict-Transport-Security: max-age=9999\r\nUpgrade: h2c, TLS/1.3\r\n"
    ).encode()  # fmt: skip
    ended = at.attack(name="headers that send elsewhere")
    assert ended.code == 0, ended
    assert at.here.tree() == truth(at.here.site)
    others.assert_unheard(at)


def test_no_redirect_leads_from_https_to_http(at: Scene, others: Others, tmp_path: Path) -> None:
    context, bundle = authority(tmp_path, "localhost")
    site, plain = Evil(at.here.server.port), others.places[0].port
    with running(site, context):
        env = {"XNAT_HOST": f"https://localhost:{site.port}", "XNAT_SYNC_CA_BUNDLE": str(bundle)}
        for target, method in PLACES.values():
            site.lies.clear()
            lie = site.lie(target, redirect(f"http://localhost:{plain}/data/JSESSION", 307), method)
            # Certificates are read from disk when the program starts, so this is no matter for the warm one.
            process = at.here.start(*at.mirroring(), env=env)
            out, err = process.communicate(timeout=30)
            at.hold(Done(process.returncode, out, err))
            assert process.returncode in (5, 6, 7), err
            assert lie.met
    assert others.places[0].came == 0


@pytest.mark.parametrize("way", ["pasted", "token"])
def test_a_session_or_token_goes_nowhere_else(at: Scene, others: Others, way: str) -> None:
    """A pasted session and a kept alias token, with every answer a redirect or a page that names another place."""
    nobody: dict[str, str | None] = {"XNAT_USER": None, "XNAT_PASS": None}
    session = at.here.server.open_session("demo") if way == "pasted" else ""
    at.secrets |= {session} - {""}
    plain, secure = (place.port for place in others.places)
    for answer in (
        redirect(f"http://localhost:{plain}/data/auth"),
        redirect(f"https://localhost:{secure}/app/template/Login.vm", 307),
        body(b"<html>moved</html>", f"Location: http://localhost:{plain}/", kind="text/html"),
    ):
        at.evil.lies.clear()
        if way == "token":
            assert at.here.run("login", "--token").code == 0
            at.secrets |= {text for token in at.here.site.tokens.values() for text in (token.secret, token.alias)}
        lie = at.evil.lie("/data/", answer)
        more = ["--jsession", "-"] if way == "pasted" else []
        done = at.here.run(*at.mirroring(*more), env=nobody, stdin=session)
        at.hold(done)
        assert done.code in (6, 7), done
        assert lie.met
    others.assert_unheard(at)
