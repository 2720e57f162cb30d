"""Logging in by password, through the real command; where to, and how long it holds."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import subprocess
import termios
import time
from pathlib import Path

import pytest

from system.harness import COMMAND, Done, World, truth
from system.warm import warm_world
from system.ways_in import NOBODY, assert_one_session_and_closed, private, whoami
from xnat_embedded import EVERY, Fault, Scan, Site, Slow, Stall

ANSI = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


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


# -- where ---------------------------------------------------------------------------------------------------------


def test_a_site_under_a_context_path(site: Site, tmp_path: Path) -> None:
    site.context = "/xnat"
    with warm_world(site, tmp_path) as here:
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
    here.site.timeout_s = 6
    session = here.server.open_session("demo")
    scan = "PTV000/Haofei01/Haofei01_MR1/4"
    size = sum(len(data) for data in _scan(here.site))
    largest = max(_scan_of(here.site).resources, key=lambda each: len(each.entries))
    here.server.faults.add(Fault(Slow(size / 9), kind="zip", path=f"/resources/{largest.id}/"))
    done = here.run("scan", scan, "--dest", str(here.dest), "--jsession", "-", env=NOBODY, stdin=session)
    assert done.code == 0, done
    beats = [exchange for exchange in here.server.log if exchange.kind == "auth"]
    assert len(beats) >= 3
    assert here.server.sessions == {"demo": [session]}


def _scan_of(site: Site) -> Scan:
    project = site.project("PTV000")
    assert project is not None
    return next(s for s in project.subject("Haofei01").session("Haofei01_MR1").scans if s.id == "4")


def _scan(site: Site) -> list[bytes]:
    return [e.content.read() for r in _scan_of(site).resources for e in r.entries if e.content is not None]


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
