"""One test for each exit code, and what a run does at its end: hooks, pings, one summary for several projects."""

from __future__ import annotations

import json
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from system.harness import STATE, Done, truth
from system.warm import WarmWorld, warm_world
from xnat_embedded import EVERY, Delay, Fault, Status, empty_site
from xnat_sync.core.events import Exit


def add_project(here: WarmWorld, name: str) -> None:
    session = here.site.add_project(name, members=("demo",)).add_subject(f"{name}_1").add_session(f"{name}_MR1")
    session.add_scan("1", "t1").add_resource("DICOM").add_file("a.dcm", name.encode() * 50)


# -- every code -------------------------------------------------------------------------------------------------------


def interrupted(number: int) -> Callable[[WarmWorld], Done]:
    def run(here: WarmWorld) -> Done:
        here.site.rate = 40_000
        begun = here.begin_mirror()
        assert here.until(lambda: here.data_bytes() > 20_000, begun)
        begun.send(number)
        begun.send(number)
        return begun.done()

    return run


def vanished(here: WarmWorld) -> Done:
    project = here.site.project("PTV000")
    assert project is not None
    resource = project.subject("Haofei01").session("Haofei01_MR1").scan("4").resource("DICOM")
    resource.lose_file(resource.entries[0].path)
    return here.mirror()


def incomplete(here: WarmWorld) -> Done:
    here.server.faults.add(Fault(Status(403), kind="file", count=EVERY))
    return here.mirror()


def unavailable(here: WarmWorld) -> Done:
    here.server.stop()
    return here.mirror("--retries", "0")


def unwritable(here: WarmWorld) -> Done:
    here.dest.write_text("a file where a folder should be")
    return here.mirror()


WAYS: dict[Exit, Callable[[WarmWorld], Done]] = {
    Exit.OK: lambda here: here.mirror(),
    Exit.BUG: lambda here: here.mirror(env={"XNAT_SYNC_TEST_BUG": "1"}),
    Exit.USAGE: lambda here: here.mirror("--jobs", "many"),
    Exit.INCOMPLETE: incomplete,
    Exit.VANISHED: vanished,
    Exit.NOT_FOUND: lambda here: here.run("project", "NOPE", "--dest", str(here.dest)),
    Exit.LOGIN: lambda here: here.mirror(env={"XNAT_PASS": "wrong"}),
    Exit.UNAVAILABLE: unavailable,
    Exit.TRANSFER_LIMIT: lambda here: here.mirror("--max-transfer", "1K"),
    Exit.WINDOW: lambda here: here.mirror("--max-duration", "0s"),
    Exit.DISK: unwritable,
    Exit.INTERRUPTED: interrupted(signal.SIGINT),
    Exit.TERMINATED: interrupted(signal.SIGTERM),
}


@pytest.mark.parametrize("code", [code for code in Exit if code is not Exit.LOCKED], ids=lambda code: code.label)
def test_each_code_has_its_cause(here: WarmWorld, code: Exit) -> None:
    ended = here.home / "ended"
    done = WAYS[code](here) if code is not Exit.USAGE else here.mirror("--jobs", "many")
    assert done.code == int(code), done
    assert ("Traceback" in done.err) == (code is Exit.BUG), done
    if code not in (Exit.OK, Exit.VANISHED):
        assert done.err.strip(), "an end that is not good is told"
    if code not in (Exit.USAGE, Exit.DISK, Exit.NOT_FOUND):
        summary = here.summary()
        assert (summary["code"], summary["name"]) == (int(code), code.label)
        last = (sorted((here.project / STATE / "runs").iterdir())[-1] / "log.jsonl").read_text().splitlines()[-1]
        assert (json.loads(last)["event"], json.loads(last)["code"]) == ("ended", int(code))
    assert not ended.exists()


@pytest.mark.parametrize("code", [Exit.OK, Exit.TRANSFER_LIMIT, Exit.WINDOW], ids=lambda code: code.label)
def test_a_quiet_run_says_nothing_when_there_is_nothing_to_do(here: WarmWorld, code: Exit) -> None:
    arguments = {Exit.OK: (), Exit.TRANSFER_LIMIT: ("--max-transfer", "1K"), Exit.WINDOW: ("--max-duration", "0s")}
    done = here.mirror("-q", *arguments[code])
    assert (done.code, done.out, done.err) == (int(code), "", "")


# -- signals ----------------------------------------------------------------------------------------------------------


def test_sigusr1_tells_where_the_run_stands_and_changes_nothing(here: WarmWorld) -> None:
    here.site.rate = 80_000
    run = here.begin_mirror("-q")
    assert here.until(lambda: here.data_bytes() > 50_000, run)
    run.send(signal.SIGUSR1)
    here.site.rate = None
    done = run.done()
    assert done.code == 0, done
    [line] = done.err.splitlines()
    assert line.startswith("PTV000: ")
    assert "files" in line


def test_a_hangup_stops_a_run_softly(here: WarmWorld) -> None:
    here.site.rate = 80_000
    run = here.begin_mirror()
    assert here.until(lambda: here.data_bytes() > 50_000, run)
    run.send(signal.SIGHUP)
    done = run.done()
    assert done.code == 143, done
    here.site.rate = None
    assert here.mirror().code == 0
    assert here.tree() == truth(here.site)


def test_under_nohup_a_hangup_is_nothing(here: WarmWorld) -> None:
    here.site.rate = 80_000
    process = here.start(
        "project", "PTV000", "--dest", str(here.dest), preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)
    )
    here.wait_for(lambda: here.data_bytes() > 50_000, process)
    process.send_signal(signal.SIGHUP)
    here.site.rate = None
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, (out, err)
    assert here.tree() == truth(here.site)


# -- hooks ------------------------------------------------------------------------------------------------------------

TELL = (
    'printf "%s|" "$XNAT_SYNC_PROJECT" "$XNAT_SYNC_SUBJECT" "$XNAT_SYNC_EXPERIMENT" "$XNAT_SYNC_EXPERIMENT_ID" '
    '"$XNAT_SYNC_PATH" "$XNAT_SYNC_CHANGED" >> "$HOME/told"; echo >> "$HOME/told"'
)


def told(here: WarmWorld) -> list[list[str]]:
    path = here.home / "told"
    lines = path.read_text().splitlines() if path.exists() else []
    path.unlink(missing_ok=True)
    return sorted(line.split("|")[:-1] for line in lines)


def sessions(here: WarmWorld) -> list[list[str]]:
    project = here.site.project("PTV000")
    assert project is not None
    return sorted(
        ["PTV000", each.subject.label, each.label, each.id, str(here.project / each.subject.label / each.label)]
        for each in project.sessions()
    )


def test_on_session_runs_once_for_each_experiment_and_again_for_what_changes(here: WarmWorld) -> None:
    assert here.mirror("--on-session", TELL).code == 0
    rows = told(here)
    assert [row[:5] for row in rows] == sessions(here)
    for row in rows:
        files = [path for path in Path(row[4]).rglob("*") if path.is_file()]
        assert int(row[5]) == len(files)
    assert here.mirror("--on-session", TELL).code == 0
    assert told(here) == []
    project = here.site.project("PTV000")
    assert project is not None
    session = project.subject("Haofei01").session("Haofei01_MR1")
    session.scan("4").resource("DICOM").add_file("new.dcm", b"n" * 100)
    assert here.mirror("--on-session", TELL).code == 0
    [row] = told(here)
    assert (row[2], row[5]) == ("Haofei01_MR1", "1")
    assert here.mirror("--relist", "--on-session", TELL).code == 0
    assert told(here) == []


def test_a_hook_that_fails_harms_nothing_and_is_run_again(here: WarmWorld) -> None:
    done = here.mirror("-q", "--on-session", f"{TELL}; echo what went wrong; exit 3")
    assert done.code == 0, done
    first = told(here)
    assert len(first) == len(sessions(here))
    assert done.err.count("--on-session ended with 3; it is run again next time") == len(first)
    log = sorted((here.project / STATE / "runs").iterdir())[-1] / "hooks.log"
    assert log.read_text() == "what went wrong\n" * len(first)
    assert here.summary()["hooks"] == {"run": len(first), "failed": len(first)}
    assert here.tree() == truth(here.site)
    assert here.mirror("--on-session", TELL).code == 0
    assert told(here) == first
    assert here.mirror("--on-session", TELL).code == 0
    assert told(here) == []


def test_a_hook_gets_no_secret_and_its_facts_set_no_filter(here: WarmWorld) -> None:
    inner = f"env > $HOME/environment; {sys.executable} -m xnat_sync config show > $HOME/settings"
    assert here.mirror("--on-session", inner, "--experiment", "Haofei01_MR1").code == 0
    environment = (here.home / "environment").read_text()
    assert "XNAT_SYNC_EXPERIMENT=Haofei01_MR1" in environment
    assert "demo-password" not in environment
    assert "XNAT_PASS" not in environment
    shown = [line for line in (here.home / "settings").read_text().splitlines() if line.startswith("experiment")]
    assert shown
    assert not any("Haofei01" in line for line in shown)


def test_labels_are_never_spliced_into_the_command(here: WarmWorld) -> None:
    project = here.site.project("PTV000")
    assert project is not None
    session = project.subjects[0].add_session("$(touch $HOME/pwned); `id`")
    session.add_scan("1", "t1").add_resource("DICOM").add_file("a.dcm", b"a")
    assert here.mirror("--on-session", TELL).code == 0
    assert session.label in {row[2] for row in told(here)}
    assert not (here.home / "pwned").exists()


def test_at_most_two_hooks_run_at_once(here: WarmWorld) -> None:
    busy = here.home / "busy"
    busy.mkdir()
    command = 'mkdir "$HOME/busy/$$"; ls "$HOME/busy" | wc -l >> "$HOME/peak"; sleep 0.1; rmdir "$HOME/busy/$$"'
    assert here.mirror("--on-session", command).code == 0
    counts = [int(line) for line in (here.home / "peak").read_text().split()]
    assert len(counts) == len(sessions(here))
    assert max(counts) == 2


def living(group: int) -> list[str]:
    """The processes of a group that still do something."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _, of, *_ = path.read_text().rpartition(")")[2].split()
            found += [str(path)] if int(of) == group and state != "Z" else []
    return found


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="only Linux tells of processes there")
def test_a_hook_that_is_cut_off_is_ended_with_what_it_started_and_is_due_again(here: WarmWorld) -> None:
    command = 'echo $$ >> "$HOME/pids"; trap "" TERM; sleep 300 & wait; wait'
    run = here.begin_mirror("--on-session", command)
    pids = here.home / "pids"
    assert here.until(lambda: pids.exists() and bool(pids.read_text().strip()), run)
    run.send(signal.SIGTERM)
    run.send(signal.SIGTERM)
    assert run.done().code == 143
    for pid in pids.read_text().split():
        assert living(int(pid)) == []
    assert here.mirror("--on-session", TELL).code == 0
    assert [row[:5] for row in told(here)] == sessions(here)


@pytest.mark.parametrize(
    ("arguments", "environment", "code"),
    [((), {}, 0), ((), {"XNAT_PASS": "wrong"}, 6), (("--max-duration", "0s"), {}, 10), (("--min-free", "9T"), {}, 12)],
)
def test_on_end_is_told_of_every_end(
    here: WarmWorld, arguments: tuple[str, ...], environment: dict[str, str], code: int
) -> None:
    command = 'echo "$XNAT_SYNC_PROJECT $XNAT_SYNC_CODE" > "$HOME/end"; cp "$XNAT_SYNC_SUMMARY" "$HOME/copy"; exit 9'
    if code == 12:
        arguments = ("--min-free", "9000T")
    done = here.mirror("--on-end", command, *arguments, env=environment)
    assert done.code == code, done
    assert (here.home / "end").read_text() == f"PTV000 {code}\n"
    assert json.loads((here.home / "copy").read_text())["code"] == code
    assert "--on-end ended with 9" in done.err


class Pinged:
    """A page that only wants to be asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.status = 200
        pinged = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                pinged.asked.append((self.path, self.headers.get("Cookie", "")))
                self.send_response(pinged.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/ping/1234-secret"
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()


@pytest.fixture
def pinged() -> Iterator[Pinged]:
    made = Pinged()
    yield made
    made.server.shutdown()
    made.thread.join()
    made.server.server_close()


def test_ping_asks_once_after_success_and_never_else(here: WarmWorld, pinged: Pinged) -> None:
    assert here.mirror("--ping", pinged.url, "--max-duration", "0s").code == 10
    assert here.mirror("--ping", pinged.url, env={"XNAT_PASS": "wrong"}).code == 6
    assert here.mirror("--ping", pinged.url, "--dry-run").code == 0
    assert pinged.asked == []
    assert here.mirror("--ping", pinged.url).code == 0
    assert pinged.asked == [("/ping/1234-secret", "")]
    pinged.status = 500
    done = here.mirror("--ping", pinged.url)
    assert (done.code, "--ping did not answer" in done.err) == (0, True)
    assert "1234-secret" not in done.err + done.out
    assert "1234-secret" not in here.run("config", "show", env={"XNAT_SYNC_PING": pinged.url}).out


# -- several projects -------------------------------------------------------------------------------------------------


def test_one_project_that_fails_does_not_stop_the_others_and_there_is_one_summary(here: WarmWorld) -> None:
    add_project(here, "OTHER")
    done = here.run("project", "PTV000", "NOPE", "OTHER", "--dest", str(here.dest), "--on-end",
                    'cp "$XNAT_SYNC_SUMMARY" "$HOME/copy"')  # fmt: skip
    assert done.code == 5, done
    assert here.tree() == truth(here.site)
    assert (here.dest / "OTHER" / "OTHER_1" / "OTHER_MR1" / "scans" / "1" / "DICOM" / "a.dcm").exists()
    assert done.err.splitlines()[-1] == "2 of 3 projects complete; NOPE: not-found; exit 5 (not-found)"
    summary = json.loads((here.home / "copy").read_text())
    assert (summary["code"], summary["projects_asked"], summary["projects_complete"]) == (5, 3, 2)
    assert [each["project"] for each in summary["projects"]] == ["PTV000", "NOPE", "OTHER"]
    assert summary["files"]["new"] == len(truth(here.site)) + 1
    assert here.server.counts.sessions_opened == 1


def test_a_bug_in_one_project_does_not_stop_the_others(here: WarmWorld) -> None:
    add_project(here, "OTHER")
    done = here.run("project", "PTV000", "OTHER", "--dest", str(here.dest), env={"XNAT_SYNC_TEST_BUG": "1"})
    assert done.code == 1, done
    assert "OTHER: " in done.err


def test_a_profile_lists_the_projects(here: WarmWorld) -> None:
    add_project(here, "OTHER")
    folder = here.home / "config" / "xnat-sync"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text(
        f'[profiles.nightly]\nhost = "{here.server.url}"\ndest = "{here.dest}"\nprojects = ["PTV000", "OTHER"]\n'
        'bwlimit = "08:00,100M 18:00,off"\nping = "http://127.0.0.1:9/x"\nmin_free = "1K"\n'
    )
    done = here.run("--profile", "nightly", "project")
    assert done.code == 0, done
    assert "2 of 2 projects complete; exit 0 (ok)" in done.out
    done = here.run("project", "--dest", str(here.dest))
    assert (done.code, "which project?" in done.err) == (2, True)


# -- logs -------------------------------------------------------------------------------------------------------------


def test_a_log_may_be_rotated_at_any_time(here: WarmWorld) -> None:
    log, old = here.home / "xnat-sync.log", here.home / "xnat-sync.log.1"
    here.site.rate = 60_000
    run = here.begin_mirror("--log-file", str(log))
    assert here.until(lambda: log.exists() and log.stat().st_size > 0, run)
    log.rename(old)
    here.site.rate = None
    assert run.done().code == 0
    lines = [json.loads(line) for path in (old, log) for line in path.read_text().splitlines()]
    assert (lines[0]["event"], lines[-1]["event"]) == ("logged_in", "ended")
    kept = sorted((here.project / STATE / "runs").iterdir())[-1] / "log.jsonl"
    assert [json.loads(line) for line in kept.read_text().splitlines()] == lines


# -- order ------------------------------------------------------------------------------------------------------------


def test_the_largest_are_begun_first_and_every_fourth_is_the_smallest(tmp_path: Path) -> None:
    site = empty_site()
    project = site.add_project("PTV000", members=("demo",))
    for number in range(1, 10):
        session = project.add_subject(f"S{number}").add_session(f"MR{number}")
        made = session.add_scan("1", "t1").add_resource("DICOM")
        for file in range(2):
            made.add_file(f"{file}.dcm", bytes([number]) * 1000 * number)
    with warm_world(site, tmp_path) as here:
        # The first one known is begun at once; while it is in hand, all others are listed.
        first = here.server.faults.add(Fault(Delay(3.0), kind="zip"))
        done = here.mirror("--jobs", "1", "--listers", "4")
        assert done.code == 0, done
        assert here.server.faults.fired(first) == 1
        sizes = [exchange.body_bytes // 2000 for exchange in here.server.log if exchange.kind == "zip"]
        rest = sorted(sizes[1:])
        expected = [rest.pop(0 if taken % 4 == 0 else -1) for taken in range(2, 10)]
        assert sizes[1:] == expected
