"""Against a real server, reading only: set XNAT_HOST, XNAT_PROJECT and a login, then ``make test-live``.

Choose a small project. What was mirrored is compared with what the server lists, asked for here by other means.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from system.harness import COMMAND, STATE, Done, World, world
from xnat_embedded import small_site

HOST, PROJECT = os.environ.get("XNAT_HOST", "").rstrip("/"), os.environ.get("XNAT_PROJECT", "")
live = pytest.mark.skipif(not (HOST and PROJECT), reason="needs XNAT_HOST, XNAT_PROJECT and a login")


def command(*arguments: str) -> Done:
    done = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, check=False)
    return Done(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def mirrored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project, mirrored once."""
    dest = tmp_path_factory.mktemp("live")
    done = command("project", PROJECT, "--dest", str(dest))
    assert done.code in (0, 4), done
    return dest


def summary(dest: Path) -> dict[str, Any]:
    runs = sorted((dest / PROJECT / STATE / "runs").iterdir())
    found: dict[str, Any] = json.loads((runs[-1] / "summary.json").read_text())
    return found


@live
@pytest.mark.live
def test_who_am_i() -> None:
    done = command("whoami")
    assert done.code == 0, done
    assert HOST in done.out


@live
@pytest.mark.live
def test_the_project_can_be_listed() -> None:
    done = command("ls", PROJECT)
    assert done.code == 0, done
    assert done.out.strip()


@live
@pytest.mark.live
def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    done = command("project", PROJECT, "--dest", str(tmp_path), "--dry-run")
    assert done.code == 0, done
    assert "would fetch" in done.out
    assert list(tmp_path.iterdir()) == []


@live
@pytest.mark.live
@pytest.mark.timeout(0)
def test_what_is_mirrored_is_what_the_server_lists(mirrored: Path) -> None:
    """Name, size and MD5 of every file of every experiment, by a listing fetched with nothing of ours."""
    found: dict[tuple[str, int], set[str]] = {}
    for folder, folders, files in os.walk(mirrored / PROJECT):
        if STATE in folders:
            folders.remove(STATE)
        for name in files:
            data = Path(folder, name).read_bytes()
            found.setdefault((name, len(data)), set()).add(hashlib.md5(data).hexdigest())
    gone = summary(mirrored)["files"]["vanished"]
    lacking = [row for row in _listed() if not _among(row, found)]
    assert len(lacking) <= gone, lacking[:20]


def _among(row: dict[str, str], found: dict[tuple[str, int], set[str]]) -> bool:
    name = row["URI"].rpartition("/")[2]
    if not row["Size"]:
        return any(each == name for each, _ in found)
    digests = found.get((name, int(row["Size"])), set())
    return row.get("digest", "") in digests or (not row.get("digest") and bool(digests))


@live
@pytest.mark.live
@pytest.mark.timeout(0)
def test_a_second_run_fetches_nothing(mirrored: Path) -> None:
    done = command("project", PROJECT, "--dest", str(mirrored))
    assert done.code in (0, 4), done
    assert summary(mirrored)["files"]["new"] == summary(mirrored)["files"]["changed"] == 0


def _listed() -> Iterator[dict[str, str]]:
    cookie, ours = _session()
    try:
        experiments = _rows(f"projects/{quote(PROJECT, safe='')}/experiments?format=json", cookie)
        for experiment in experiments:
            yield from _rows(f"experiments/{experiment['ID']}/files?all=true&format=json", cookie)
    finally:
        if ours:
            _open("JSESSION", {"Cookie": f"JSESSIONID={cookie}"}, "DELETE")


def _session() -> tuple[str, bool]:
    """A session id, and whether it was opened here."""
    if pasted := os.environ.get("XNAT_JSESSION"):
        return pasted, False
    pair = f"{os.environ.get('XNAT_USER', '')}:{os.environ.get('XNAT_PASS', '')}".encode()
    return _open("JSESSION", {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}).decode(), True


def _rows(path: str, cookie: str) -> list[dict[str, str]]:
    found: list[dict[str, str]] = json.loads(_open(path, {"Cookie": f"JSESSIONID={cookie}"}))["ResultSet"]["Result"]
    return found


def _open(path: str, headers: dict[str, str], method: str = "GET") -> bytes:
    request = urllib.request.Request(f"{HOST}/data/{path}", headers=headers, method=method)
    with urllib.request.urlopen(request, timeout=300) as answer:
        body: bytes = answer.read()
    return body


# -- and the tests themselves are tested ---------------------------------------------------------------------------


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    with world(small_site(), tmp_path) as made:
        yield made


def _run_live(here: World, *arguments: str) -> subprocess.CompletedProcess[str]:
    settings = Path(__file__).parents[2] / "pyproject.toml"
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-c", str(settings), "-p", "no:cacheprovider", "-q", "-m", "live", __file__,
         *arguments],
        env=here.env({"XNAT_PROJECT": "PTV000", "PYTHONWARNINGS": None}),
        cwd=here.home, capture_output=True, text=True, check=False, timeout=100,
    )  # fmt: skip


def test_the_live_tests_pass_against_the_embedded_server(here: World) -> None:
    done = _run_live(here)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "5 passed" in done.stdout
    assert here.server.sessions.get("demo", []) == []
    assert {exchange.method for exchange in here.server.log if exchange.kind != "login"} <= {"GET", "DELETE"}


def test_the_live_tests_fail_if_a_file_is_wrong(here: World) -> None:
    """A server that lists a digest which is not that of its bytes: the mirror must not take them, and tells."""
    resource = here.site.project("PTV000").subjects[0].experiments[0].scans[0].resources[0]  # type: ignore[union-attr]
    resource.entries[0].listed_digest = "0" * 32
    done = _run_live(here, "-k", "server_lists")
    assert done.returncode == 1, done.stdout
    assert "failed" in done.stdout
