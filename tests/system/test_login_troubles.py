"""What can be wrong with a login: each cause has its own line and code, and no secret is tried twice."""

from __future__ import annotations

import time

import pytest

import xnat_embedded.auth
from system.harness import Done, World, truth
from xnat_embedded import EVERY, Fault, KillSession, LoginPage, ShortList, Status

NOBODY: dict[str, str | None] = {"XNAT_USER": None, "XNAT_PASS": None}


def assert_says(done: Done, code: int, *words: str) -> None:
    assert done.code == code, done
    for word in words:
        assert word in done.err, done
    assert "Traceback" not in done.err
    assert len([line for line in done.err.splitlines() if line.startswith("xnat-sync:")]) == 1, done


# -- refused -------------------------------------------------------------------------------------------------------


def test_a_wrong_password_is_tried_once(here: World) -> None:
    done = here.mirror(env={"XNAT_PASS": "wrong-secret"})
    assert_says(done, 6, "refused the login of 'demo'", "wrong or expired secret", "not tried again")
    assert "wrong-secret" not in done.out + done.err
    assert here.server.counts.logins_refused == 1
    assert here.summary()["code"] == 6


def test_several_targets_do_not_try_a_wrong_password_again(here: World) -> None:
    done = here.run("project", "PTV000", "GUARDED", "--dest", str(here.dest), env={"XNAT_PASS": "wrong"})
    assert done.code == 6, done
    assert here.server.counts.logins_refused == 1


def test_a_locked_account_looks_like_a_wrong_password_and_the_line_says_so(here: World) -> None:
    here.site.max_failed_logins = 1
    assert here.run("whoami", env={"XNAT_PASS": "wrong"}).code == 6
    assert_says(here.run("whoami"), 6, "locked account", "does not say which")
    here.site.clock.advance(here.site.lockout_s + 1)
    assert here.run("whoami").code == 0


def test_too_many_sessions_look_like_a_wrong_password_and_the_line_says_so(here: World) -> None:
    here.site.max_sessions = 1
    here.server.open_session("demo")
    assert_says(here.run("whoami"), 6, "too many open sessions")
    assert here.server.counts.logins_refused <= 1
    assert len([exchange for exchange in here.server.log if exchange.kind == "login"]) == 1


def test_an_expired_password(here: World) -> None:
    session = here.server.open_session("demo")
    here.site.users["demo"].password_expired = True
    assert_says(here.run("whoami"), 6, "the password of 'demo' has expired", "choose a new one")
    pasted = here.run("whoami", "--jsession", session, env=NOBODY)
    assert_says(pasted, 6, "the password has expired")


def test_a_disabled_account(here: World) -> None:
    here.site.users["demo"].enabled = False
    assert_says(here.run("whoami"), 6, "the account of 'demo' is disabled")


def test_a_password_that_was_changed_during_the_run_is_tried_once_by_all_workers_together(here: World) -> None:
    here.server.faults.add(Fault(KillSession(), kind="zip", count=EVERY))
    here.server.faults.add(Fault(KillSession(), kind="files", nth=3, count=EVERY))
    process = here.start("project", "PTV000", "--dest", str(here.dest), "--jobs", "8", "--listers", "4")
    while not here.server.counts.sessions_opened:
        time.sleep(0.01)
    here.site.users["demo"].password = "another"
    out, err = process.communicate(timeout=60)
    assert_says(Done(process.returncode, out, err), 6, "refused the login of 'demo'")
    assert here.server.counts.logins_refused == 1


# -- ended ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("open_site", [False, True], ids=["closed", "open"])
def test_an_ended_pasted_session_stops_the_run_cleanly_and_a_new_one_goes_on(here: World, open_site: bool) -> None:
    here.site.require_login = not open_site
    session = here.server.open_session("demo")
    fault = here.server.faults.add(Fault(KillSession(), kind="zip", nth=3))
    done = here.mirror("--jsession", "-", "--jobs", "1", env=NOBODY, stdin=session)
    assert_says(done, 6, "the pasted session id is not logged in", "--jsession")
    assert ("guest" in done.err) is open_site
    assert here.server.faults.fired(fault) == 1
    before = here.data_bytes()
    assert before > 0
    again = here.mirror("--jsession", "-", env=NOBODY, stdin=here.server.open_session("demo"))
    assert again.code == 0, again
    assert here.tree() == truth(here.site)
    assert here.summary()["bytes"]["again"] == 0
    assert here.server.counts.logins_refused == 0


@pytest.mark.parametrize("open_site", [False, True], ids=["closed", "open"])
@pytest.mark.parametrize("kind", ["experiments", "files", "zip", "file"])
def test_a_password_renews_a_session_that_ended_anywhere(here: World, kind: str, open_site: bool) -> None:
    here.site.require_login = not open_site
    here.server.faults.add(Fault(KillSession(), kind=kind))
    done = here.mirror()
    assert done.code == 0, done
    assert here.tree() == truth(here.site)
    assert here.server.counts.sessions_opened == 2
    assert here.server.sessions == {}


def test_an_alias_token_renews_a_session_that_ended(here: World) -> None:
    assert here.run("login", "--token").code == 0
    here.server.faults.add(Fault(KillSession(), kind="files", nth=2))
    assert here.mirror(env=NOBODY).code == 0
    assert here.tree() == truth(here.site)


@pytest.mark.parametrize("kind", ["experiments", "files"])
def test_a_list_that_is_shorter_as_guest_is_never_believed(here: World, kind: str) -> None:
    """On an open site with a public project a guest is answered 200, with fewer rows."""
    here.site.require_login = False
    project = here.site.project("PTV000")
    assert project is not None
    project.visibility = "public"
    session = here.server.open_session("demo")
    here.server.faults.add(Fault(KillSession(), kind=kind))
    here.server.faults.add(Fault(ShortList(missing=99), kind=kind))
    done = here.mirror("--jsession", "-", env=NOBODY, stdin=session)
    assert_says(done, 6, "takes it for a guest's")
    here.server.faults.clear()
    here.server.faults.add(Fault(KillSession(), kind=kind))
    here.server.faults.add(Fault(ShortList(missing=99), kind=kind))
    done = here.mirror()
    assert done.code == 0, done
    assert here.tree() == truth(here.site)


def test_a_guest_is_nobody(here: World) -> None:
    here.site.require_login = False
    done = here.run("projects", "--jsession", "0" * 32, env=NOBODY)
    assert_says(done, 6, "takes it for a guest's")
    assert here.run("projects", env=NOBODY).code == 2


@pytest.mark.parametrize("site_is", ["closed", "open"])
def test_an_expired_session_is_no_session(here: World, site_is: str) -> None:
    here.site.require_login = site_is == "closed"
    session = here.server.open_session("demo")
    here.site.clock.advance(here.site.timeout_s + 1)
    assert_says(here.run("whoami", "--jsession", session, env=NOBODY), 6, "expired")


def test_where_xnat_takes_us_for_a_browser_its_redirect_is_no_answer(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sites may add to ``interactiveAgentIds``; then a dead session is a 302 to the login page."""
    monkeypatch.setattr(xnat_embedded.auth, "BROWSERS", ("xnat-sync",))
    assert_says(here.run("whoami", "--jsession", "0" * 32, env=NOBODY), 6, "pasted session id is not logged in")
    here.server.faults.add(Fault(KillSession(), kind="zip"))
    done = here.mirror()
    assert done.code == 0, done
    assert here.tree() == truth(here.site)


# -- in the way ----------------------------------------------------------------------------------------------------


def test_a_sign_on_page_with_status_200_is_no_login(here: World) -> None:
    here.server.faults.add(Fault(LoginPage(), kind="login", count=EVERY))
    done = here.mirror()
    assert_says(done, 6, "web page of its own (XNAT)", "/data/JSESSION in a browser", "--jsession", "--cookie-file")
    assert here.server.counts.requests["login"] == 1


def test_a_sign_on_page_instead_of_the_proof_of_a_session(here: World) -> None:
    session = here.server.open_session("demo")
    here.server.faults.add(Fault(LoginPage(), kind="auth", count=EVERY))
    assert_says(here.run("whoami", "--jsession", session, env=NOBODY), 6, "sign-on service", "--cookie-file")


def test_one_page_in_the_way_of_a_transfer_is_asked_again(here: World) -> None:
    here.server.faults.add(Fault(LoginPage(), kind="files"))
    here.server.faults.add(Fault(LoginPage(), kind="zip"))
    assert here.mirror().code == 0
    assert here.tree() == truth(here.site)
    assert here.server.counts.sessions_opened == 1


@pytest.mark.parametrize("status", [502, 503, 504])
def test_maintenance(here: World, status: int) -> None:
    here.site.maintenance = status
    done = here.mirror("--retries", "1")
    assert_says(done, 7, str(status), "is the server up?")
    assert here.server.counts.logins_refused == 0
    here.site.maintenance = None
    here.server.faults.add(Fault(Status(status), kind="login"))
    assert here.mirror().code == 0


def test_a_new_site_that_was_never_set_up(here: World) -> None:
    here.site.configured = False
    assert_says(here.run("whoami"), 6, "forbids the login (403)", "not set up")


def test_an_address_where_no_xnat_is(here: World) -> None:
    done = here.run("whoami", "--host", f"{here.server.url}/nowhere")
    assert_says(done, 7, "there is no XNAT at", "path")


def test_a_server_that_is_not_there(here: World) -> None:
    here.server.stop()
    assert_says(here.run("whoami", "--retries", "1"), 7, "cannot connect", "is the server up?")


def test_without_any_login_the_ways_in_are_named(here: World) -> None:
    assert_says(here.run("whoami", env=NOBODY), 2, "xnat-sync login", "XNAT_PASS", "netrc", "--jsession")
    assert_says(here.run("whoami", env={"XNAT_HOST": None}), 2, "--host", "XNAT_HOST")
    assert_says(here.run("whoami", "--password-stdin", env={**NOBODY}, stdin="x\n"), 2, "--user")
    assert here.server.log == []
