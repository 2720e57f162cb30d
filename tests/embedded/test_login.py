"""Sessions, credentials and refusals (§1; §8 rows 1–5, 7, 21, 22 and the order of checks)."""

from __future__ import annotations

import re

import pytest

from embedded.probe import BROWSER, Probe
from xnat_embedded import Server, Site, User

HEX = re.compile(r"[0-9A-F]{32}")
TIMES = re.compile(r'SESSION_EXPIRATION_TIME="(\d+),(\d+)"; Version=1; Path=/')


# --- row 1: /data/JSESSION -------------------------------------------------------------------------------


def test_jsession_with_password_gives_32_hex_digits_and_the_same_cookie(probe: Probe) -> None:
    reply = probe.ask("/data/JSESSION", basic=("demo", "demo-password"))
    assert reply.status == 200
    assert HEX.fullmatch(reply.text)
    assert reply.header("Content-Type") == "text/plain;charset=ISO-8859-1"
    assert reply.header("Content-Length") == "32"
    assert reply.cookie("JSESSIONID") == f"JSESSIONID={reply.text}; Path=/; HttpOnly"


def test_jsession_answers_anonymous_requests_with_an_anonymous_session_even_on_a_closed_site(probe: Probe) -> None:
    reply = probe.ask("/data/JSESSION")
    assert reply.status == 200
    assert HEX.fullmatch(reply.text)
    assert reply.session == reply.text
    assert probe.ask("/data/auth", session=reply.text).status == 401


def test_jsession_replaces_a_mistyped_id_silently(probe: Probe) -> None:
    reply = probe.ask("/data/JSESSION", session="0" * 32)
    assert reply.status == 200
    assert reply.text != "0" * 32


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_jsession_keeps_a_live_session_and_sets_no_cookie(demo: Probe, method: str) -> None:
    reply = demo.ask("/data/JSESSION", method)
    assert reply.text == demo.session
    assert reply.session is None


def test_jsession_with_a_trailing_slash_is_not_open(probe: Probe) -> None:
    assert probe.ask("/data/JSESSION/").status == 401
    assert probe.ask("/REST/JSESSION").status == 200
    assert HEX.fullmatch(probe.ask("/data/JSESSION/", basic=("demo", "demo-password")).text)


def test_jsession_appends_the_csrf_token_on_request(demo: Probe) -> None:
    assert re.fullmatch(rf"{demo.session}; XNAT_CSRF=[0-9a-f-]{{36}}", demo.ask("/data/JSESSION?CSRF=true").text)


# --- row 2: logging out ----------------------------------------------------------------------------------


def test_delete_ends_the_session(demo: Probe, server: Server) -> None:
    reply = demo.ask("/data/JSESSION", "DELETE")
    assert (reply.status, reply.header("Content-Length"), reply.body) == (200, "0", b"")
    assert demo.ask("/data/auth").status == 401
    assert server.counts.sessions_closed == 1
    assert server.sessions == {}


def test_put_is_405_and_says_what_is_allowed(demo: Probe) -> None:
    reply = demo.ask("/data/JSESSION", "PUT", body=b"")
    assert (reply.status, reply.header("Allow")) == (405, "POST, DELETE, GET, HEAD, OPTIONS")


# --- row 3: who am I -------------------------------------------------------------------------------------


def test_auth_names_the_user(demo: Probe) -> None:
    reply = demo.ask("/data/auth")
    assert (reply.status, reply.text) == (200, "User 'demo' is logged in")
    assert demo.ask("/xapi/users/username").text == "demo"
    assert "; XNAT_CSRF=" in demo.ask("/data/auth?CSRF=true").text


def test_auth_on_an_open_site_says_guest(probe: Probe, site: Site) -> None:
    site.require_login = False
    assert probe.ask("/data/auth").text == "User 'guest' is logged in"


# --- row 4: form login -----------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_form_login(probe: Probe, method: str) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    reply = probe.ask("/data/services/auth", method, headers=form, body=b"username=demo&password=demo-password")
    assert reply.status == 200
    assert reply.session == reply.text
    assert probe.ask("/data/auth", session=reply.text).text == "User 'demo' is logged in"
    refused = probe.ask("/data/services/auth", method, headers=form, body=b"username=demo&password=wrong")
    assert refused.status == 401
    assert "<title>Status page</title>" in refused.text
    assert refused.header("WWW-Authenticate") is None
    assert refused.cookie("SESSION_EXPIRATION_TIME")


def test_form_login_in_an_anonymous_session_changes_its_id(probe: Probe, server: Server) -> None:
    before = probe.ask("/data/JSESSION").text
    body = b"username=demo&password=demo-password"
    reply = probe.ask("/data/services/auth", "POST", session=before, body=body)
    assert reply.text not in ("", before)
    assert probe.ask("/data/JSESSION", session=before).text != before


# --- row 5: alias tokens ---------------------------------------------------------------------------------


def test_alias_tokens(demo: Probe, site: Site) -> None:
    token = demo.ask("/data/services/tokens/issue").json()
    assert set(token) == {
        "alias", "secret", "xdatUserId", "singleUse", "validIPAddresses", "estimatedExpirationTime",
        "timestamp", "created", "enabled", "id", "disabled",
    }  # fmt: skip
    alias, secret = token["alias"], token["secret"]
    assert re.fullmatch(r"[0-9a-f-]{36}", alias)
    assert re.fullmatch(r"[0-9A-Za-z]{64}", secret)
    other = Probe(demo.server)
    other.log_in(alias, secret)
    assert other.ask("/data/auth").text == "User 'demo' is logged in"
    assert demo.ask(f"/data/services/tokens/validate/{alias}/{secret}").json() == {"valid": "demo"}
    assert demo.ask(f"/data/services/tokens/validate/{alias}/no").json() == {}
    assert [each["alias"] for each in demo.ask("/data/services/tokens/show").json()] == [alias]
    assert demo.ask(f"/data/services/tokens/invalidate/{alias}/{secret}").text == '{"result": "OK"}'
    assert other.ask("/data/JSESSION", session="x", basic=(alias, secret)).status == 401


def test_tokens_expire(demo: Probe, site: Site) -> None:
    token = demo.ask("/data/services/tokens/issue").json()
    site.clock.advance(site.token_timeout_s + 1)
    assert demo.ask("/data/JSESSION", basic=(token["alias"], token["secret"])).status == 401


def test_tokens_for_others_are_for_administrators(demo: Probe, probe: Probe) -> None:
    assert demo.ask("/data/services/tokens/issue/user/admin").status == 403
    assert demo.ask("/data/services/tokens/issue/user/demo").status == 200
    probe.log_in("admin", "admin-password")
    assert probe.ask("/data/services/tokens/issue/user/demo").json()["xdatUserId"] == "demo"


def test_guests_get_no_token(probe: Probe, site: Site) -> None:
    assert probe.ask("/data/services/tokens/issue").status == 401
    site.require_login = False
    assert probe.ask("/data/services/tokens/issue").status == 403


# --- cookies ---------------------------------------------------------------------------------------------


def test_a_401_carries_the_cookie_of_a_new_anonymous_session(probe: Probe, server: Server) -> None:
    """The poison of shared cookie jars."""
    reply = probe.ask("/data/projects", session="F" * 32)
    assert reply.status == 401
    assert reply.header("WWW-Authenticate") == 'Basic realm="XNAT"'
    assert "<h1>HTTP Status 401 – Unauthorized</h1>" in reply.text
    assert reply.session is not None
    assert reply.session != "F" * 32
    assert reply.cookie("SESSION_EXPIRATION_TIME") is not None
    assert server.counts.anonymous_sessions == 1


def test_every_request_without_a_live_session_makes_one(probe: Probe, server: Server) -> None:
    assert len({probe.ask("/data/auth").session for _ in range(5)}) == 5
    assert server.counts.anonymous_sessions == 5


def test_expiration_cookie_tells_the_servers_clock_and_the_idle_time(demo: Probe, site: Site) -> None:
    site.timeout_s = 1200
    found = TIMES.fullmatch(demo.ask("/data/auth").cookie("SESSION_EXPIRATION_TIME") or "")
    assert found
    assert found[2] == "1200000"
    site.clock.advance(3600)
    later = TIMES.fullmatch(demo.ask("/data/JSESSION").cookie("SESSION_EXPIRATION_TIME") or "")
    assert later
    assert 3600_000 <= int(later[1]) - int(found[1]) < 3660_000


def test_secure_cookie_and_context_path(site: Site) -> None:
    site.context, site.site_url_https = "/xnat", True
    with Server(site) as server:
        assert server.url.endswith("/xnat")
        reply = Probe(server).ask("/xnat/data/JSESSION", basic=("demo", "demo-password"))
        assert reply.cookie("JSESSIONID") == f"JSESSIONID={reply.text}; Path=/xnat; Secure; HttpOnly"
        assert Probe(server).ask("/data/JSESSION").status == 404


# --- the order of checks ---------------------------------------------------------------------------------


def test_wrong_password_is_a_plain_401(probe: Probe, server: Server) -> None:
    reply = probe.ask("/data/JSESSION", basic=("demo", "wrong"))
    assert reply.status == 401
    assert reply.header("WWW-Authenticate") is None
    assert reply.cookie("SESSION_EXPIRATION_TIME") is None
    assert "HTTP Status 401" in reply.text
    assert server.counts.logins_refused == 1


@pytest.mark.parametrize("header", ["Basic !!!", "Basic bm9jb2xvbg==", "Basic "])
def test_malformed_basic_is_500(probe: Probe, header: str) -> None:
    assert probe.ask("/data/JSESSION", basic=header).status == 500


def test_basic_is_decoded_as_utf8(probe: Probe) -> None:
    assert probe.ask("/data/auth", basic=("jörg", "pässwörd-ünïcode")).text == "User 'jörg' is logged in"
    latin = "Basic avZyZzpw5HNzd/ZyZC387O9jb2Rl"
    assert probe.ask("/data/auth", basic=latin).status == 401


def test_a_provider_before_the_user_name(probe: Probe) -> None:
    assert probe.ask("/data/auth", basic=("localdb/demo", "demo-password")).status == 200


def test_basic_without_cookie_makes_a_session_each_time(probe: Probe, server: Server) -> None:
    for _ in range(3):
        probe.ask("/data/projects", basic=("demo", "demo-password"))
    assert server.counts.sessions_opened == 3
    assert len(server.sessions["demo"]) == 3


def test_basic_with_the_users_live_cookie_does_nothing(demo: Probe, server: Server) -> None:
    reply = demo.ask("/data/auth", basic=("demo", "demo-password"))
    assert reply.session is None
    assert server.counts.sessions_opened == 1


def test_basic_with_an_anonymous_cookie_changes_the_id(probe: Probe) -> None:
    before = probe.ask("/data/JSESSION").text
    reply = probe.ask("/data/JSESSION", session=before, basic=("demo", "demo-password"))
    assert reply.session == reply.text != before


def test_session_limit_refuses_the_next_login_like_a_wrong_password(probe: Probe, site: Site, server: Server) -> None:
    site.max_sessions = 2
    probe.log_in()
    server.open_session("demo")
    probe.session = None
    reply = probe.ask("/data/JSESSION", basic=("demo", "demo-password"))
    assert reply.status == 401
    assert reply.header("WWW-Authenticate") is None
    server.kill_sessions("demo")
    assert probe.ask("/data/JSESSION", basic=("demo", "demo-password")).status == 200


def test_too_many_wrong_passwords_lock_the_account(probe: Probe, site: Site) -> None:
    site.max_failed_logins = 3
    for _ in range(3):
        probe.ask("/data/JSESSION", basic=("demo", "wrong"))
    assert probe.ask("/data/JSESSION", basic=("demo", "demo-password")).status == 401
    site.clock.advance(3601)
    assert probe.ask("/data/JSESSION", basic=("demo", "demo-password")).status == 200


def test_lock_out_counts_are_forgiven_by_a_good_login(probe: Probe, site: Site) -> None:
    site.max_failed_logins = 2
    for _ in range(3):
        assert probe.ask("/data/JSESSION", basic=("demo", "wrong")).status == 401
        assert probe.ask("/data/JSESSION", basic=("demo", "demo-password")).status == 200


def test_browsers_are_sent_to_the_login_page(probe: Probe) -> None:
    reply = probe.ask("/data/projects", agent=BROWSER)
    assert (reply.status, reply.header("Location")) == (302, "/app/template/Login.vm")
    page = probe.ask("/app/template/Login.vm", agent=BROWSER)
    assert page.status == 200
    assert (page.header("Content-Type") or "").startswith("text/html")
    assert 'type="password"' in page.text


@pytest.mark.parametrize("agent", [None, "", "XNATDesktopClient/3 Mozilla/5.0", "xnat-sync/1"])
def test_other_agents_get_a_401(probe: Probe, agent: str | None) -> None:
    assert probe.ask("/data/projects", agent=agent).status == 401


@pytest.mark.parametrize("path", ["/archive/experiments/X", "/app/template/Index.vm"])
def test_pages_for_people_always_redirect(probe: Probe, path: str, site: Site) -> None:
    assert probe.ask(path).status == 302
    site.require_login = False
    assert probe.ask(path).status == 302


def test_browser_needs_the_csrf_token_to_change_things(demo: Probe) -> None:
    token = demo.ask("/data/JSESSION?CSRF=true").text.partition("XNAT_CSRF=")[2]
    assert demo.ask("/data/JSESSION", "DELETE", agent=BROWSER).status == 500
    assert demo.ask(f"/data/JSESSION?XNAT_CSRF={token}", "DELETE", agent=BROWSER).status == 200


def test_expired_password_and_disabled_account(probe: Probe, site: Site, server: Server) -> None:
    user: User = site.users["demo"]
    session = server.open_session("demo")
    user.password_expired = True
    assert probe.ask("/data/projects", basic=("demo", "demo-password")).status == 403
    assert probe.ask("/data/projects", session=session).status == 302
    user.password_expired, user.enabled = False, False
    assert probe.ask("/data/projects", basic=("demo", "demo-password")).status == 302


def test_a_site_never_set_up_is_403(probe: Probe, site: Site) -> None:
    site.configured = False
    assert probe.ask("/data/projects", basic=("demo", "demo-password")).status == 403


# --- guests ----------------------------------------------------------------------------------------------


def test_open_site_runs_lost_sessions_as_guest_with_shorter_lists(demo: Probe, site: Site, server: Server) -> None:
    site.require_login = False
    public = site.add_project("OPEN", visibility="public")
    public.add_subject("A").add_session("A_MR1")
    assert {row["ID"] for row in demo.rows("/data/projects")} == {"PTV000", "OPEN"}
    server.kill_sessions()
    assert [row["ID"] for row in demo.rows("/data/projects")] == ["OPEN"]
    assert demo.ask("/data/projects/PTV000/experiments").status == 404


# --- expiry ----------------------------------------------------------------------------------------------


def test_sessions_expire_after_idle_time_and_every_request_keeps_them(demo: Probe, site: Site) -> None:
    for _ in range(3):
        site.clock.advance(800)
        assert demo.ask("/data/auth").status == 200
    site.clock.advance(901)
    reply = demo.ask("/data/auth")
    assert reply.status == 401
    assert reply.session is not None


# --- rows 6, 21, 22 --------------------------------------------------------------------------------------


def test_build_info_is_open_and_the_rest_of_site_config_is_not(probe: Probe, demo: Probe) -> None:
    reply = probe.ask("/xapi/siteConfig/buildInfo")
    assert reply.status == 200
    assert reply.header("Content-Type") == "application/json"
    assert reply.json()["version"] == "1.8.10"
    assert all(isinstance(value, str) for value in reply.json().values())
    assert probe.ask("/xapi/siteConfig/siteId").text == "XNAT"
    assert probe.ask("/xapi/siteConfig/siteUrl").status == 200
    assert probe.ask("/xapi/siteConfig").status == 401
    assert demo.ask("/xapi/siteConfig").status == 403


def test_user_sessions_are_counted_and_ended(demo: Probe, probe: Probe, server: Server) -> None:
    server.open_session("demo")
    assert demo.ask("/data/user/demo/sessions").json() == {"demo": 2}
    assert demo.ask("/data/user/admin/sessions").status == 403
    assert len(demo.ask("/xapi/users/active/demo").json()) == 2
    probe.log_in("admin", "admin-password")
    assert probe.ask("/data/user/demo/sessions", "DELETE").status == 200
    assert demo.ask("/data/auth").status == 401


def test_data_version_is_gone(demo: Probe) -> None:
    assert demo.ask("/data/version").status == 404
