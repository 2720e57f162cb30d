"""Alias tokens through the real command: issued, used by cron, renewed in time, taken back; and whoami."""

from __future__ import annotations

import json
import re
import stat
import time
from typing import Any

import anyio
import pytest

from system.harness import World, truth
from system.ways_in import NOBODY, kept, private, whoami
from xnat_embedded import EVERY, Fault, LoginPage, Status
from xnat_sync.core.events import Event, Warned
from xnat_sync.core.settings import merge
from xnat_sync.face.enter import enter
from xnat_sync.flow.bus import Bus

# -- alias tokens -------------------------------------------------------------------------------------------------


def test_login_token_by_password_serves_cron(here: World) -> None:
    done = here.run("login", "--token")
    assert done.code == 0, done
    path = kept(here, "tokens")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    (token,) = here.site.tokens.values()
    assert token.secret not in done.out + done.err
    assert token.alias not in done.out + done.err
    assert re.search(r"it ends \d{4}-\d\d-\d\d \d\d:\d\d UTC, in 2 days", done.out), done
    assert here.server.sessions == {}
    assert here.mirror(env=NOBODY).code == 0
    assert here.tree() == truth(here.site)
    assert here.server.sessions == {}
    found = whoami(here, env=NOBODY)
    assert (found["user"], found["login"]) == ("demo", "token")
    assert found["token_ends"] == found["login_ends"] != None  # noqa: E711


def test_login_token_by_a_pasted_session_survives_it(here: World) -> None:
    session = here.server.open_session("demo")
    assert here.run("login", "--token", "--jsession", "-", env=NOBODY, stdin=session).code == 0
    assert here.server.sessions == {"demo": [session]}
    here.server.kill_sessions()
    assert whoami(here, env=NOBODY)["login"] == "token"


def test_login_token_by_the_kept_session(here: World) -> None:
    assert here.run("login").code == 0
    assert here.run("login", "--token", env=NOBODY).code == 0
    assert whoami(here, env=NOBODY)["login"] == "kept"
    here.server.kill_sessions()
    assert whoami(here, env=NOBODY)["login"] == "token"


def test_a_token_is_printed_only_when_asked_for_and_works_as_a_password(here: World) -> None:
    shown = json.loads(here.run("login", "--token", "--show-token", "--json").out)
    hidden = json.loads(here.run("login", "--token", "--json").out)
    assert set(shown) - set(hidden) == {"alias", "secret"}
    assert here.run("logout").code == 0
    assert whoami(here, env={"XNAT_USER": shown["alias"], "XNAT_PASS": shown["secret"]})["user"] == "demo"


def aged(here: World, days: float) -> dict[str, Any]:
    """Make the kept token look as old as that; returns what was kept."""
    path = kept(here, "tokens")
    found = json.loads(path.read_text())
    changed = found | {"issued": found["issued"] - days * 86400, "ends": found["ends"] - days * 86400}
    private(path, json.dumps(changed))
    assert isinstance(found, dict)
    return found


def test_a_token_that_nears_its_end_is_renewed_at_the_start_of_a_run(here: World) -> None:
    assert here.run("login", "--token").code == 0
    old = aged(here, 0.3)
    assert here.mirror(env=NOBODY).code == 0
    assert json.loads(kept(here, "tokens").read_text())["alias"] == old["alias"]
    aged(here, 1.0)
    assert here.mirror(env=NOBODY).code == 0
    new = json.loads(kept(here, "tokens").read_text())
    assert new["alias"] != old["alias"]
    assert new["ends"] > time.time() + 1.9 * 86400
    assert stat.S_IMODE(kept(here, "tokens").stat().st_mode) == 0o600
    assert len(here.site.tokens) == 2
    assert whoami(here, env=NOBODY)["login"] == "token"


def test_a_token_that_ended_is_not_even_tried(here: World) -> None:
    assert here.run("login", "--token").code == 0
    aged(here, 3)
    before = len(here.server.log)
    done = here.run("whoami", env=NOBODY)
    assert done.code == 6, done
    assert "ended 20" in done.err
    assert "xnat-sync login --token" in done.err
    assert len(here.server.log) == before
    assert whoami(here)["login"] == "password"


def test_a_token_that_was_taken_back_is_tried_once_and_forgotten(here: World) -> None:
    assert here.run("login", "--token").code == 0
    here.site.tokens.clear()
    done = here.run("whoami", env=NOBODY)
    assert done.code == 6, done
    assert "refused the kept alias token" in done.err
    assert here.run("whoami", env=NOBODY).code == 2
    assert here.server.counts.logins_refused == 1
    assert here.run("login", "--token").code == 0
    here.site.tokens.clear()
    assert whoami(here)["login"] == "password"


def test_a_token_outlives_a_proxy_that_stands_in_the_way_for_a_night(here: World) -> None:
    assert here.run("login", "--token").code == 0
    here.server.faults.add(Fault(LoginPage(), kind="login"))
    done = here.run("whoami", env=NOBODY)
    assert done.code in (6, 7), done
    assert "web page" in done.err
    assert whoami(here, env=NOBODY)["login"] == "token"


def test_logout_takes_the_token_back(here: World) -> None:
    assert here.run("login", "--token").code == 0
    done = here.run("logout", env=NOBODY)
    assert "taken back" in done.out, done
    assert here.site.tokens == {}
    assert here.server.sessions == {}
    assert here.run("whoami", env=NOBODY).code == 2


def test_a_token_that_cannot_be_renewed_is_worth_a_warning(here: World) -> None:
    assert here.run("login", "--token").code == 0
    aged(here, 1.0)
    here.server.faults.add(Fault(Status(403), kind="token", count=EVERY))
    done = here.run("whoami", "-q", env=NOBODY)
    assert done.code == 0, done
    assert "could not be renewed" in done.err
    assert "it ends 20" in done.err


@pytest.mark.parametrize(("days", "warned"), [(1.0, False), (9.0, True)])
@pytest.mark.parametrize("way", ["token", "cookies"])
def test_a_login_that_ends_before_the_window_does_is_worth_a_warning(
    here: World, monkeypatch: pytest.MonkeyPatch, way: str, days: float, warned: bool
) -> None:
    flags = {"host": here.server.url}
    if way == "token":
        assert here.run("login", "--token").code == 0
    else:
        line = (
            f"127.0.0.1\tFALSE\t/\tFALSE\t{time.time() + 172800:.0f}\tJSESSIONID\t{here.server.open_session('demo')}\n"
        )
        flags["cookie_file"] = str(private(here.home / "cookies.txt", line))
    monkeypatch.setenv("XDG_STATE_HOME", here.env()["XDG_STATE_HOME"])
    heard: list[Event] = []

    async def begin() -> None:
        client = await enter(merge(flags, {}), Bus(heard.append), until=time.time() + days * 86400)
        await client.__aexit__()

    anyio.run(begin)
    told = [event.message for event in heard if isinstance(event, Warned)]
    assert [("before the window closes" in message) for message in told] == [True] * warned


# -- whoami -------------------------------------------------------------------------------------------------------


def test_whoami_tells_user_server_version_and_how_long(here: World) -> None:
    assert here.run("login", "--token").code == 0
    done = here.run("whoami")
    assert done.code == 0, done
    assert f"demo at {here.server.url} (XNAT 1.8.10)" in done.out
    assert "ends after 15 minutes without use" in done.out
    assert re.search(r"alias token of demo is kept; it ends .* in 2 days", done.out)
    assert whoami(here) == {
        "user": "demo",
        "server": here.server.url,
        "version": "1.8.10",
        "login": "token",
        "idle_seconds": 900.0,
        "login_ends": whoami(here)["token_ends"],
        "token_ends": whoami(here)["token_ends"],
    }
