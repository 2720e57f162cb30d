"""Every way in, through the real command: passwords, tokens, pasted ids, cookies, and what is kept between commands."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import signal
import stat
import subprocess
import termios
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from system.harness import COMMAND, Done, World, truth, world
from system.relay import relay
from xnat_embedded import EVERY, Fault, Site, Slow, Stall, Status

NOBODY: dict[str, str | None] = {"XNAT_USER": None, "XNAT_PASS": None}
ANSI = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


def whoami(here: World, *arguments: str, env: Mapping[str, str | None] = {}, stdin: str = "") -> dict[str, Any]:
    done = here.run("whoami", "--json", *arguments, env=env, stdin=stdin)
    assert done.code == 0, done
    found = json.loads(done.out)
    assert isinstance(found, dict)
    return found


def private(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    return path


def kept(here: World, kind: str) -> Path:
    (found,) = (here.home / "state" / "xnat-sync" / kind).iterdir()
    return found


def assert_one_session_and_closed(here: World) -> None:
    counts = here.server.counts
    assert (counts.sessions_opened, counts.sessions_closed, counts.logins_refused) == (1, 1, 0)


# -- passwords ----------------------------------------------------------------------------------------------------

DEMO = ("demo", "demo-password")
UMLAUT = ("jörg", "pässwörd-ünïcode")
USERS = pytest.mark.parametrize(("user", "password"), [DEMO, UMLAUT], ids=["ascii", "utf-8"])


@USERS
def test_password_by_the_environment(here: World, user: str, password: str) -> None:
    assert whoami(here, env={"XNAT_USER": user, "XNAT_PASS": password})["user"] == user
    assert_one_session_and_closed(here)


@USERS
def test_password_by_standard_input(here: World, user: str, password: str) -> None:
    assert whoami(here, "--user", user, "--password-stdin", env=NOBODY, stdin=f"{password}\n")["user"] == user
    assert_one_session_and_closed(here)


def test_password_by_standard_input_serves_several_parts_of_one_command(here: World) -> None:
    parts = ["experiment", "XNAT_E00001", "XNAT_E00003", "--dest", str(here.dest)]
    done = here.run(*parts, "--user", "demo", "--password-stdin", env=NOBODY, stdin="demo-password\n")
    assert done.code == 0, done


@USERS
def test_password_by_a_command(here: World, user: str, password: str) -> None:
    vault = private(here.home / "vault", f"{password}\nother\n")
    found = whoami(here, "--user", user, "--password-command", f"cat {vault}", env=NOBODY)
    assert (found["user"], found["login"]) == (user, "password")
    assert_one_session_and_closed(here)


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("echo HUSH; exit 3", "the password command (option --password-command) failed with exit 3"),
        ("true", "which is empty"),
        ("printf '\\377\\n'", "no text in UTF-8"),
    ],
)
def test_a_password_command_that_gives_none(here: World, command: str, says: str) -> None:
    done = here.run("whoami", "--user", "demo", "--password-command", command, env=NOBODY)
    assert done.code == 2, done
    assert says in done.err
    assert "HUSH" not in done.out + done.err
    assert here.server.log == []


@USERS
def test_password_by_netrc(here: World, user: str, password: str) -> None:
    private(here.home / ".netrc", f"machine 127.0.0.1 login {user} password {password}\n")
    assert whoami(here, env=NOBODY)["user"] == user
    assert_one_session_and_closed(here)
    elsewhere = private(here.home / "other", f"machine 127.0.0.1 login {user} password {password}\n")
    (here.home / ".netrc").unlink()
    assert whoami(here, "--netrc", str(elsewhere), env=NOBODY)["user"] == user


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_a_netrc_that_others_may_read_is_refused(here: World, mode: int) -> None:
    path = private(here.home / ".netrc", "machine 127.0.0.1 login demo password demo-password\n")
    path.chmod(mode)
    done = here.run("whoami", env=NOBODY)
    assert done.code == 2, done
    assert f"chmod 600 {path}" in done.err
    assert here.server.log == []
    assert here.run("whoami", "--no-netrc", env=NOBODY).code == 2


def test_a_netrc_that_is_none_shows_nothing_of_itself(here: World) -> None:
    private(here.home / ".netrc", "machine 127.0.0.1 login demo HUSH HUSH\n")
    done = here.run("whoami", env=NOBODY)
    assert done.code == 2, done
    assert "is no netrc file (line 1)" in done.err
    assert "HUSH" not in done.err


RING = '''
"""A keyring of one entry, as a backend of the real keyring library."""
from keyring.backend import KeyringBackend
from keyring.credentials import SimpleCredential


class Ring(KeyringBackend):
    priority = 1

    def get_password(self, service, username):
        return None

    def set_password(self, service, username, password):
        raise NotImplementedError

    def delete_password(self, service, username):
        raise NotImplementedError

    def get_credential(self, service, username):
        if service != {url!r} or username not in (None, "demo"):
            return None
        return SimpleCredential("demo", {password!r})
'''


def ring(here: World, password: str = "demo-password") -> dict[str, str | None]:
    (here.home / "ring.py").write_text(RING.format(url=here.server.url, password=password))
    path = os.pathsep.join(filter(None, (str(here.home), os.environ.get("PYTHONPATH"))))
    return {**NOBODY, "PYTHONPATH": path, "PYTHON_KEYRING_BACKEND": "ring.Ring"}


def test_password_by_a_keyring(here: World) -> None:
    pytest.importorskip("keyring")
    env = ring(here)
    assert whoami(here, env=env)["user"] == "demo"
    assert_one_session_and_closed(here)
    assert here.run("whoami", "--user", "other", env=env).code == 2
    assert here.run("whoami", "--no-keyring", env=env).code == 2


def test_without_a_keyring_the_other_ways_remain(here: World) -> None:
    private(here.home / ".netrc", "machine 127.0.0.1 login demo password demo-password\n")
    for module in ("raise ImportError", "def get_credential(*_):\n    raise OSError('no desktop')\n"):
        (here.home / "keyring.py").write_text(module)
        assert whoami(here, env={**NOBODY, "PYTHONPATH": str(here.home)})["user"] == "demo"


def test_the_order_of_passwords_and_that_only_one_is_tried(here: World) -> None:
    pytest.importorskip("keyring")
    env = ring(here, "wrong")
    private(here.home / ".netrc", "machine 127.0.0.1 login demo password demo-password\n")
    assert here.run("whoami", env=env).code == 6  # The keyring comes before netrc, and nothing after a refusal.
    assert here.server.counts.logins_refused == 1
    assert here.run("whoami", env={**env, "XNAT_USER": "demo", "XNAT_PASS": "demo-password"}).code == 0
    by_command = here.run(
        "whoami", "--password-command", "echo wrong", env={**env, "XNAT_USER": "demo", "XNAT_PASS": "demo-password"}
    )
    assert by_command.code == 6
    assert here.server.counts.logins_refused == 2


def at_a_terminal(here: World, *arguments: str, types: str, after: str) -> tuple[int, str]:
    """Run the command with a terminal of its own; type when ``after`` was asked. Its code and what it showed."""
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, *arguments], env=here.env({**NOBODY, "TERM": "dumb"}), stdin=follower, stdout=follower,
        stderr=follower, preexec_fn=lambda: _own_terminal(follower),
    )  # fmt: skip
    os.close(follower)
    shown = b""
    answers = types.split("|")
    asked = after.split("|")
    while True:
        try:
            piece = os.read(leader, 65536)
        except OSError:
            break
        if not piece:
            break
        shown += piece
        while asked and asked[0].encode() in shown:
            asked.pop(0)
            time.sleep(0.3)  # getpass switches the echo off after it has asked.
            os.write(leader, answers.pop(0).encode())
    os.close(leader)
    return process.wait(30), ANSI.sub("", shown.decode())


def _own_terminal(follower: int) -> None:
    os.setsid()
    fcntl.ioctl(follower, termios.TIOCSCTTY, 0)


def test_password_by_a_prompt_that_shows_nothing(here: World) -> None:
    code, shown = at_a_terminal(here, "login", types="demo\n|demo-password\n", after="User name|Password of demo")
    assert code == 0, shown
    assert "logged in to" in shown
    assert "demo-password" not in shown
    assert whoami(here, env=NOBODY)["login"] == "kept"


def test_ctrl_c_ends_the_prompt_of_a_mirror(here: World) -> None:
    code, shown = at_a_terminal(
        here, "project", "PTV000", "--dest", str(here.dest), "--user", "demo", types="\x03", after="Password of demo"
    )
    assert code == 130, shown
    assert "Traceback" not in shown
    assert here.server.log == []


def test_a_provider_goes_with_the_user_name(here: World) -> None:
    assert whoami(here, "--user", "localdb/demo")["user"] == "demo"
    assert here.run("login", "--user", "localdb/demo").code == 0
    assert whoami(here, "--user", "localdb/demo", env=NOBODY)["login"] == "kept"


def test_a_password_is_never_an_argument(here: World) -> None:
    done = here.run("whoami", "--password", "HUSH")
    assert done.code == 2
    assert "HUSH" not in done.out + done.err
    assert not re.search(r"--password[^-]", here.run("whoami", "--help").out)


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


# -- where ---------------------------------------------------------------------------------------------------------


def test_a_site_under_a_context_path(site: Site, tmp_path: Path) -> None:
    site.context = "/xnat"
    with world(site, tmp_path) as here:
        assert here.server.url.endswith("/xnat")
        assert here.run("login", "--host", f"{here.server.url}/").code == 0
        assert here.mirror(env=NOBODY).code == 0
        assert here.tree() == truth(site)
        assert here.server.counts.sessions_opened == 1


def test_http_to_another_machine_is_refused_without_the_flag(here: World) -> None:
    done = here.run("whoami", "--host", "http://xnat.invalid")
    assert done.code == 2, done
    assert "--allow-http" in done.err
    loud = here.run("whoami", "--host", "http://xnat.invalid", "--allow-http", "--retries", "0", "-q")
    assert loud.code == 7, loud
    assert "IS NOT ENCRYPTED" in loud.err


def test_https_is_meant_where_nothing_is_said(here: World) -> None:
    done = here.run("whoami", "--host", f"127.0.0.1:{here.server.port}", "--retries", "0")
    assert done.code == 7, done
    assert "secure" in done.err


# -- long runs -----------------------------------------------------------------------------------------------------


def test_a_heartbeat_keeps_the_session_alive_through_a_long_transfer(here: World) -> None:
    here.site.timeout_s = 4
    session = here.server.open_session("demo")
    scan = "PTV000/Haofei01/Haofei01_MR1/4"
    size = sum(len(data) for data in _scan(here.site))
    here.server.faults.add(Fault(Slow(size / 9), kind="zip"))
    done = here.run("scan", scan, "--dest", str(here.dest), "--jsession", "-", env=NOBODY, stdin=session)
    assert done.code == 0, done
    beats = [exchange for exchange in here.server.log if exchange.kind == "auth"]
    assert len(beats) >= 4
    assert here.server.sessions == {"demo": [session]}


def _scan(site: Site) -> list[bytes]:
    project = site.project("PTV000")
    assert project is not None
    scan = next(s for s in project.subject("Haofei01").session("Haofei01_MR1").scans if s.id == "4")
    return [e.content.read() for r in scan.resources for e in r.entries if e.content is not None]


def test_sessions_are_closed_when_a_run_is_interrupted(here: World) -> None:
    here.server.faults.add(Fault(Stall(100), kind="zip", count=EVERY))
    process = here.start("project", "PTV000", "--dest", str(here.dest))
    while not any(exchange.kind == "zip" for exchange in here.server.log):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130, Done(process.returncode, out, err)
    assert here.server.sessions == {}
