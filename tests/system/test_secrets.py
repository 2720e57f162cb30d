"""No secret appears anywhere but in the 0600 files: not in output, logs, reports, summaries, or state."""

from __future__ import annotations

import base64
import os
import stat
from collections.abc import Mapping
from pathlib import Path

from system.harness import World
from xnat_embedded import Fault, KillSession, Status

PASSWORD = "pAssw0rd-äöü-7391"
WRONG = "wr0ng-S3cret-5512"
NONE: Mapping[str, str | None] = {}
NOBODY: dict[str, str | None] = {"XNAT_USER": None, "XNAT_PASS": None}


def files(folder: Path) -> dict[Path, bytes]:
    return {Path(at) / name: (Path(at) / name).read_bytes() for at, _, names in os.walk(folder) for name in names}


def test_secrets_appear_nowhere_but_in_private_files(here: World) -> None:
    site, server = here.site, here.server
    site.users["demo"].password = PASSWORD
    here.environment["XNAT_PASS"] = PASSWORD
    secrets = {PASSWORD, WRONG, base64.b64encode(f"demo:{PASSWORD}".encode()).decode(), "HUSH-proxy", "HUSH-sticky"}
    said = ""

    def run(
        *arguments: str, codes: tuple[int, ...] = (0,), env: Mapping[str, str | None] = NONE, stdin: str = ""
    ) -> None:
        nonlocal said
        for extra in ([], ["-v"]):
            done = here.run(*arguments, *extra, env=env, stdin=stdin)
            assert done.code in codes, done
            said += done.out + done.err
            secrets.update(one for ids in server.sessions.values() for one in ids)
            secrets.update(text for token in site.tokens.values() for text in (token.secret, token.alias))

    dest = ["--dest", str(here.dest)]
    log = ["--log-file", str(here.home / "log.jsonl")]
    run("login")
    run("whoami", "--json")
    run("config", "show")
    run("config", "show", "--json", "--jsession", WRONG, "--proxy", "http://me:HUSH-proxy@127.0.0.1:9")
    server.faults.add(Fault(KillSession(), kind="zip", count=2))
    server.faults.add(Fault(Status(503), kind="file", count=2))
    run("logout")
    run("project", "PTV000", *dest, *log)
    run("project", "PTV000", *dest, *log, "--log-format", "json", "--overwrite")
    run("login", "--token")
    run("project", "PTV000", *dest, env=NOBODY)
    run("logout")
    session = server.open_session("demo")
    run("project", "PTV000", *dest, "--jsession", "-", env=NOBODY, stdin=session)
    run("login", "--jsession", "-", env=NOBODY, stdin=session)
    cookies = here.home / "cookies.txt"
    cookies.write_text(
        f"127.0.0.1\tFALSE\t/\tFALSE\t0\tJSESSIONID\t{session}\n127.0.0.1\tFALSE\t/\tFALSE\t0\tS\tHUSH-sticky\n"
    )
    cookies.chmod(0o600)
    run("projects", "--cookie-file", str(cookies), env=NOBODY)
    run("login", "--cookie-file", str(cookies), env=NOBODY)
    run("project", "PTV000", *dest, codes=(6,), env={"XNAT_PASS": WRONG, "XDG_STATE_HOME": str(here.home / "none")})
    run("whoami", "--password-command", f"echo {WRONG}; exit 1", "--user", "x", codes=(2,), env=NOBODY)
    run("whoami", "--proxy", "http://me:HUSH-proxy@127.0.0.1:9", "--retries", "0", codes=(7,))
    run("whoami", "--host", f"https://demo:{WRONG}@127.0.0.1", codes=(2,))
    server.kill_sessions()
    run("project", "PTV000", *dest, "--jsession", "-", codes=(6,), env=NOBODY, stdin=session)
    run("whoami", codes=(6, 2), env=NOBODY)
    site.maintenance = 503
    run("ls", "PTV000", "--retries", "0", codes=(7,))
    site.maintenance = None

    assert len(secrets) > 10
    assert [secret for secret in secrets if secret in said] == []
    found = files(here.home)
    assert any(path.name == "log.jsonl" for path in found)
    for path, content in found.items():
        leaked = [secret for secret in secrets if secret.encode() in content]
        if leaked:
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
            assert path == cookies or path.parent.parent.name == "xnat-sync", (path, leaked)
