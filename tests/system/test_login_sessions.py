"""Sessions that are there already, through the real command: kept between commands, pasted, or a browser's."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from system.harness import World, truth
from system.relay import relay
from system.ways_in import NOBODY, kept, private, whoami

# -- the session kept between commands ----------------------------------------------------------------------------


def test_login_keeps_one_session_for_the_commands_after_it(here: World) -> None:
    done = here.run("login")
    assert done.code == 0, done
    path = kept(here, "sessions")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert str(path) in done.out
    (session,) = here.server.sessions["demo"]
    assert session not in done.out + done.err
    assert whoami(here, env=NOBODY)["login"] == "kept"
    assert here.mirror(env=NOBODY).code == 0
    assert here.tree() == truth(here.site)
    assert here.server.counts.sessions_opened == 1
    assert here.server.sessions == {"demo": [session]}
    out = here.run("logout", env=NOBODY)
    assert "closed" in out.out, out
    assert here.server.sessions == {}
    assert not path.exists()
    assert "nothing is kept" in here.run("logout", env=NOBODY).out


def test_another_login_closes_the_session_that_it_replaces(here: World) -> None:
    assert here.run("login").code == 0
    (first,) = here.server.sessions["demo"]
    assert here.run("login").code == 0
    (second,) = here.server.sessions["demo"]
    assert first != second
    assert here.server.counts.sessions_closed == 1


def test_a_kept_session_is_for_its_site_and_user_only(here: World) -> None:
    assert here.run("login").code == 0
    assert here.run("whoami", "--user", "admin", env=NOBODY).code == 2
    elsewhere = here.server.url.replace("127.0.0.1", "localhost")
    assert here.run("whoami", "--host", elsewhere, env=NOBODY).code == 2


def test_a_kept_session_that_ended_is_passed_over_and_forgotten(here: World) -> None:
    assert here.run("login").code == 0
    here.site.clock.advance(here.site.timeout_s + 1)
    done = here.run("whoami", env=NOBODY)
    assert done.code == 6, done
    assert "the kept session for" in done.err
    assert "xnat-sync login" in done.err
    assert here.run("login").code == 0
    here.server.kill_sessions()
    assert whoami(here)["login"] == "password"
    assert not (here.home / "state/xnat-sync/sessions").exists() or not list(
        (here.home / "state/xnat-sync/sessions").iterdir()
    )


def test_what_is_kept_is_refused_where_others_may_read_it(here: World) -> None:
    assert here.run("login").code == 0
    path = kept(here, "sessions")
    path.chmod(0o644)
    done = here.run("whoami")
    assert done.code == 2, done
    assert f"chmod 600 {path}" in done.err


def test_a_damaged_file_is_no_session(here: World) -> None:
    assert here.run("login").code == 0
    for text in ("", "{", "[]", '{"user": "demo"}'):
        private(kept(here, "sessions"), text)
        assert whoami(here)["login"] == "password"


# -- pasted session ids -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", ["{}", "  {}\n", "JSESSIONID={}", '"{}"', "{}; XNAT_CSRF=x-y"])
def test_a_pasted_session_is_taken_and_left_alone(here: World, shape: str) -> None:
    session = here.server.open_session("demo")
    found = whoami(here, "--jsession", "-", env=NOBODY, stdin=shape.format(session))
    assert (found["user"], found["login"]) == ("demo", "pasted")
    assert whoami(here, env={**NOBODY, "XNAT_JSESSION": session})["login"] == "pasted"
    assert here.server.sessions == {"demo": [session]}
    assert here.server.counts.sessions_closed == 0


def test_a_pasted_session_mirrors_and_outlives_the_run(here: World) -> None:
    session = here.server.open_session("demo")
    done = here.mirror("--jsession", "-", env=NOBODY, stdin=session)
    assert done.code == 0, done
    assert here.tree() == truth(here.site)
    assert here.server.counts.sessions_opened == 1  # The browser's.
    assert here.server.sessions == {"demo": [session]}
    assert here.server.counts.logins_refused == 0


def test_a_pasted_session_can_be_kept_and_logout_leaves_it_to_the_browser(here: World) -> None:
    session = here.server.open_session("demo")
    done = here.run("login", "--jsession", "-", env=NOBODY, stdin=session)
    assert done.code == 0, done
    assert whoami(here, env=NOBODY)["user"] == "demo"
    assert "stays logged in" in here.run("logout", env=NOBODY).out
    assert here.server.sessions == {"demo": [session]}
    assert here.run("whoami", env=NOBODY).code == 2


def test_a_mistyped_id_is_not_believed_although_the_server_answers_200(here: World) -> None:
    done = here.run("whoami", "--jsession", "0" * 32, env=NOBODY)
    assert done.code == 6, done
    assert "mistyped" in done.err
    assert f"{here.server.url}/data/JSESSION" in done.err
    assert here.run("whoami", "--jsession", "no id\nat all", env=NOBODY).code == 2


# -- cookies ------------------------------------------------------------------------------------------------------


def cookies(here: World, session: str, *more: str) -> Path:
    lines = ["# Netscape HTTP Cookie File", f"#HttpOnly_127.0.0.1\tFALSE\t/\tFALSE\t0\tJSESSIONID\t{session}", *more]
    return private(here.home / "cookies.txt", "\n".join(lines) + "\n")


def test_a_cookie_file_brings_session_and_sticky_cookies(here: World) -> None:
    session = here.server.open_session("demo")
    path = cookies(
        here,
        session,
        "127.0.0.1\tFALSE\t/\tFALSE\t0\tAWSALB\ta/b+c==",
        "127.0.0.1\tFALSE\t/\tTRUE\t0\tSECURE\tno",
        "other.example.org\tFALSE\t/\tFALSE\t0\tOTHER\tno",
    )
    with relay(here.server.port) as between:
        host = {"XNAT_HOST": f"http://127.0.0.1:{between.port}", **NOBODY}
        assert whoami(here, "--cookie-file", str(path), env=host)["login"] == "cookies"
        assert between.cookies() == {f"JSESSIONID={session}", "AWSALB=a/b+c=="}
        assert here.run("login", "--cookie-file", str(path), env=host).code == 0
        path.unlink()
        between.seen.clear()
        assert whoami(here, env=host)["login"] == "kept"
        assert between.cookies() == {f"JSESSIONID={session}", "AWSALB=a/b+c=="}
        assert here.run("logout", env=host).code == 0
    assert here.server.sessions == {"demo": [session]}


def test_login_keeps_the_cookie_that_a_load_balancer_set(here: World) -> None:
    with relay(here.server.port, set_cookie="SERVERID=node/1; Path=/") as between:
        host = {"XNAT_HOST": f"http://127.0.0.1:{between.port}"}
        assert here.run("login", env=host).code == 0
        between.seen.clear()
        assert whoami(here, env={**host, **NOBODY})["user"] == "demo"
        assert "SERVERID=node/1" in between.cookies()


def test_a_cookie_file_of_no_use_is_told(here: World) -> None:
    session = here.server.open_session("demo")
    path = cookies(here, session)
    path.chmod(0o644)
    refused = here.run("whoami", "--cookie-file", str(path), env=NOBODY)
    assert (refused.code, f"chmod 600 {path}" in refused.err) == (2, True), refused
    assert here.run("whoami", "--cookie-file", str(here.home / "none"), env=NOBODY).code == 2
    empty = private(here.home / "empty", "# Netscape HTTP Cookie File\n")
    assert here.run("whoami", "--cookie-file", str(empty), env=NOBODY).code == 2
    here.server.kill_sessions()
    path.chmod(0o600)
    ended = here.run("whoami", "--cookie-file", str(path), env=NOBODY)
    assert ended.code == 6, ended
    assert "export the browser's cookies again" in ended.err
