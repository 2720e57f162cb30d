"""The server as a thing to be started, watched, restarted and stopped; and the command that runs it."""

from __future__ import annotations

import ast
import concurrent.futures
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import xnat_embedded
from embedded.probe import Probe, read_until
from xnat_embedded import EVERY, Delay, Fault, Server, Site, Stall

PACKAGE = Path(xnat_embedded.__file__).parent


def test_nothing_is_left_behind(site: Site) -> None:
    before = set(threading.enumerate())
    with Server(site) as server:
        port = server.port
        Probe(server).log_in()
        idle = socket.create_connection(("127.0.0.1", port))
    assert set(threading.enumerate()) == before
    with idle, contextlib.suppress(ConnectionResetError):
        assert idle.recv(1) == b""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


def test_stopping_twice_or_unstarted_is_fine(site: Site) -> None:
    server = Server(site)
    server.stop()
    server.start()
    with pytest.raises(RuntimeError):
        server.start()
    server.stop()
    server.stop()


def test_a_taken_port_is_an_error_at_start(server: Server, site: Site) -> None:
    with pytest.raises(OSError, match="in use"):
        Server(site, server.port).start()


def test_restart_on_the_same_port_loses_the_sessions(demo: Probe, server: Server) -> None:
    port, token = server.port, demo.ask("/data/services/tokens/issue").json()
    server.stop()
    server.start()
    assert server.port == port
    assert demo.ask("/data/auth").status == 401
    assert demo.ask("/data/auth", basic=(token["alias"], token["secret"])).status == 200
    assert server.counts.sessions_opened == 2


def test_log(demo: Probe, server: Server) -> None:
    demo.ask("/data/experiments/XNAT_E00001/files?all=true&format=zip", headers={"Range": "bytes=0-5"})
    exchange = server.log[-1]
    assert (exchange.method, exchange.path) == ("GET", "/data/experiments/XNAT_E00001/files")
    assert (exchange.query, exchange.kind, exchange.status) == ("all=true&format=zip", "zip", 200)
    assert (exchange.session, exchange.user, exchange.range) == (demo.session, "demo", "bytes=0-5")
    assert exchange.user_agent == "probe/1.0"
    assert exchange.body_bytes > 100_000
    assert exchange.finished is not None
    assert exchange.finished > exchange.number
    assert not exchange.aborted
    server.clear_log()
    assert server.log == []


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/data/JSESSION", "login"),
        ("/data/auth", "auth"),
        ("/data/projects", "projects"),
        ("/data/projects/PTV000/subjects", "subjects"),
        ("/data/projects/PTV000/experiments", "experiments"),
        ("/data/experiments/XNAT_E00001/scans", "scans"),
        ("/data/experiments/XNAT_E00001/resources", "resources"),
        ("/data/experiments/XNAT_E00001/resources/NOTES", "catalog"),
        ("/data/experiments/XNAT_E00001/files", "files"),
        ("/data/experiments/XNAT_E00001/files?format=zip", "zip"),
        ("/data/experiments/XNAT_E00001/resources/NOTES/files/protocol.txt", "file"),
        ("/data/experiments/XNAT_E00001?format=json", "item"),
        ("/data/services/tokens/issue", "token"),
        ("/xapi/siteConfig/buildInfo", "other"),
    ],
)
def test_kinds(demo: Probe, server: Server, path: str, kind: str) -> None:
    demo.ask(path)
    assert server.log[-1].kind == kind


def test_counts_and_peaks(demo: Probe, server: Server) -> None:
    server.faults.add(Fault(Delay(0.2), kind="zip", count=EVERY))
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        zips = [pool.submit(demo.ask, "/data/experiments/XNAT_E00001/files?format=zip") for _ in range(3)]
        lists = [pool.submit(demo.ask, "/data/projects") for _ in range(3)]
        sizes = [len(each.result().body) for each in zips]
        assert all(each.result().status == 200 for each in lists)
    counts = server.counts
    assert counts.requests["zip"] == 3
    assert counts.requests["projects"] == 3
    assert counts.body_bytes["zip"] == sum(sizes)
    assert counts.peak["zip"] == 3
    assert counts.peak["all"] >= 3
    assert counts.live == {}
    assert counts.total == 7
    assert (counts.sessions_opened, counts.sessions_closed, counts.logins_refused) == (1, 0, 0)


def test_sessions_by_hand(server: Server) -> None:
    probe = Probe(server)
    probe.session = server.open_session("demo")
    assert probe.ask("/data/auth").text == "User 'demo' is logged in"
    assert server.sessions == {"demo": [probe.session]}
    assert server.kill_sessions() == 1
    assert probe.ask("/data/auth").status == 401


def test_latency_and_rate(demo: Probe, site: Site, server: Server) -> None:
    whole = demo.ask("/data/experiments/XNAT_E00001/scans/4/files?format=zip").body
    site.latency_s, site.rate = 0.05, len(whole) * 5
    assert demo.ask("/data/experiments/XNAT_E00001/scans/4/files?format=zip").body == whole


def test_stopping_in_the_middle_of_an_answer(demo: Probe, server: Server) -> None:
    server.faults.add(Fault(Stall(after_bytes=5), kind="projects"))
    with demo.connect() as line:
        line.sendall(demo.request("/data/projects"))
        read_until(line, 100)
        server.stop()
    assert server.log[-1].aborted


def test_it_shares_no_code_with_the_client() -> None:
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not any(name.startswith("xnat_sync") for name in names), path


# --- the command -----------------------------------------------------------------------------------------


def run(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "xnat_embedded", *arguments]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ)
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_command_announces_itself_in_json_and_ends_cleanly(number: int) -> None:
    with run("--json", "--site", "small", "--latency", "1") as process:
        assert process.stdout is not None
        facts = json.loads(process.stdout.readline())
        assert facts["url"].startswith("http://127.0.0.1:")
        assert (facts["user"], facts["password"], facts["project"]) == ("demo", "demo-password", "PTV000")
        port = int(facts["url"].rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=10) as line:
            line.sendall(b"GET /data/JSESSION HTTP/1.0\r\n\r\n")
            assert line.recv(12) == b"HTTP/1.0 200"
        process.send_signal(number)
        out, error = process.communicate(timeout=20)
        assert (process.returncode, out, error) == (0, "", "")


def test_command_ends_with_its_parent() -> None:
    with run("--site", "odd", "--until-eof") as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("Embedded XNAT at http://127.0.0.1:")
        assert process.stdout.readline() == "user demo, password demo-password, project ODD\n"
        _, error = process.communicate(timeout=20)
        assert (process.returncode, error) == (0, "")


def test_command_serves_a_folder(tmp_path: Path) -> None:
    (tmp_path / "S/E/scans/1/R").mkdir(parents=True)
    (tmp_path / "S/E/scans/1/R/f.txt").write_text("f")
    with run("--folder", str(tmp_path), "--project", "MINE", "--json", "--until-eof") as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["project"] == "MINE"
        process.communicate(timeout=20)
        assert process.returncode == 0


def test_command_says_what_is_wrong(tmp_path: Path, server: Server) -> None:
    for arguments, words in (
        (("--folder", str(tmp_path / "nope")), "is not a folder"),
        (("--site", "small", "--port", str(server.port)), "cannot listen"),
    ):
        with run(*arguments) as process:
            _, error = process.communicate(timeout=20)
            assert process.returncode == 2
            assert words in error
            assert error.count("\n") == 1


def test_command_without_pydicom_names_the_extra(tmp_path: Path) -> None:
    (tmp_path / "pydicom.py").write_text("raise ImportError('not here')\n")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    found = subprocess.run(
        [sys.executable, "-m", "xnat_embedded"],
        capture_output=True,
        text=True,
        env=environment,
        timeout=60,
        check=False,
    )
    assert found.returncode == 2
    assert "xnat-sync[demo]" in found.stderr
    assert found.stderr.count("\n") == 1
