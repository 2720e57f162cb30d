"""Certificates and proxies, through the real command and real TLS on loopback."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest

from system.harness import World, truth
from system.relay import Relay, authority, relay


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return tmp_path / "authority.pem"


@pytest.fixture
def secure(here: World, bundle: Path) -> Iterator[Relay]:
    """The world's server behind TLS, with a certificate of an authority of its own."""
    context, _ = authority(bundle.parent, "localhost")
    with relay(here.server.port, tls=context) as between:
        here.environment["XNAT_HOST"] = f"https://localhost:{between.port}"
        yield between


def test_an_unknown_certificate_is_not_trusted_and_told_no_secret(here: World, secure: Relay) -> None:
    done = here.run("whoami", "--retries", "3")
    assert done.code == 7, done
    assert "no secure connection" in done.err
    assert "--ca-bundle" in done.err
    assert bytes(secure.seen) == b""


@pytest.mark.parametrize("variable", ["XNAT_SYNC_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"])
def test_a_bundle_by_the_environment(here: World, secure: Relay, bundle: Path, variable: str) -> None:
    assert here.run("whoami", env={variable: str(bundle)}).code == 0


def test_a_whole_mirror_over_tls(here: World, secure: Relay, bundle: Path) -> None:
    done = here.mirror("--ca-bundle", str(bundle))
    assert done.code == 0, done
    assert here.tree() == truth(here.site)
    assert done.err == "" or "NOT CHECKED" not in done.err


def test_the_name_in_the_certificate_counts(here: World, secure: Relay, bundle: Path) -> None:
    done = here.run("whoami", "--ca-bundle", str(bundle), "--host", f"https://127.0.0.1:{secure.port}")
    assert done.code == 7, done


@pytest.mark.parametrize("text", [None, "no certificate"])
def test_a_bundle_of_no_use(here: World, secure: Relay, tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "bad.pem"
    if text is not None:
        path.write_text(text)
    done = here.run("whoami", "--ca-bundle", str(path))
    assert done.code == 2, done
    assert str(path) in done.err


@pytest.mark.parametrize("extra", [(), ("-q",), ("--log-format", "json"), ("--progress", "none")])
def test_insecure_is_loud(here: World, secure: Relay, extra: tuple[str, ...]) -> None:
    done = here.mirror("--insecure", *extra)
    assert done.code == 0, done
    assert "CERTIFICATES ARE NOT CHECKED (option --insecure)" in done.err
    assert done.err.count("NOT CHECKED") == 1
    log = next((here.project / ".xnat-sync" / "runs").rglob("log.jsonl")).read_text()
    assert '"event": "warned"' in log


def test_insecure_is_loud_for_every_command(here: World, secure: Relay) -> None:
    accession = ["experiment", "XNAT_E00001", "--dest", str(here.dest)]
    for command in (["whoami"], ["projects"], ["ls", "PTV000"], accession, ["login"]):
        done = here.run(*command, "--insecure")
        assert done.code == 0, done
        assert "NOT CHECKED" in done.err, command


# -- proxies -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["option", "https_proxy", "HTTPS_PROXY", "all_proxy"])
def test_a_proxy_tunnels_to_the_site(here: World, secure: Relay, bundle: Path, way: str) -> None:
    with relay(secure.port, proxy=True) as proxy:
        url = f"http://127.0.0.1:{proxy.port}"
        arguments = ["--proxy", url] if way == "option" else []
        done = here.run("whoami", *arguments, "--ca-bundle", str(bundle), env={} if way == "option" else {way: url})
        assert done.code == 0, done
        assert set(proxy.tunnels) == {f"localhost:{secure.port}"}


def test_no_proxy_is_obeyed(here: World, secure: Relay, bundle: Path) -> None:
    env = {"https_proxy": "http://127.0.0.1:9", "no_proxy": "localhost"}
    assert here.run("whoami", "--ca-bundle", str(bundle), env=env).code == 0


def test_a_proxy_with_a_login_shows_it_to_nobody(here: World, secure: Relay, bundle: Path) -> None:
    right = base64.b64encode(b"me:HUSH").decode()
    with relay(secure.port, proxy=True, login=right) as proxy:
        url = f"http://me:HUSH@127.0.0.1:{proxy.port}"
        assert here.run("whoami", "--ca-bundle", str(bundle), "--proxy", url).code == 0
        wrong = here.run("whoami", "--ca-bundle", str(bundle), "--proxy", url.replace("HUSH", "HUSHHUSH"), "-v")
        assert wrong.code == 7, wrong
        assert "407" in wrong.err
        assert "HUSH" not in wrong.err + wrong.out
    gone = here.run("whoami", "--ca-bundle", str(bundle), "--proxy", url, "--retries", "0")
    assert gone.code == 7, gone
    assert "proxy" in gone.err
    assert "HUSH" not in gone.err


def test_a_proxy_that_cannot_be_spoken_with(here: World) -> None:
    done = here.run("whoami", "--proxy", "socks5://me:HUSH@127.0.0.1:9")
    assert done.code == 2, done
    assert "SOCKS" in done.err
    assert "HUSH" not in done.err
    done = here.run("whoami", env={"http_proxy": "socks5://me:HUSH@127.0.0.1:9"})
    assert done.code == 2, done
    assert "HUSH" not in done.err
