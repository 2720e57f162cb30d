"""The main job through the real command: a project mirrored whole, once, in one session."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import stat
import subprocess
from pathlib import Path

import pytest

from system.harness import COMMAND, STATE, World, md5_tree, truth, truth_by_resource
from xnat_embedded import EVERY, Fault, Site, Stall, Status


def test_a_project_is_mirrored_whole_in_one_session(here: World) -> None:
    done = here.mirror()
    assert done.code == 0, done
    assert here.tree() == truth(here.site)
    counts = here.server.counts
    assert (counts.sessions_opened, counts.sessions_closed) == (1, 1)
    assert here.server.sessions.get("demo", []) == []
    assert sum(exchange.path.endswith("/projects/PTV000/experiments") for exchange in here.server.log) == 1
    units = 1 + len({path.split("/")[0] for path in truth(here.site)} - {"resources"}) + 7
    assert counts.requests["files"] == units
    here.assert_no_leftovers()


def test_the_second_run_fetches_nothing(here: World) -> None:
    assert here.mirror().code == 0
    before = here.data_bytes()
    done = here.mirror()
    assert done.code == 0, done
    assert here.data_bytes() == before
    assert here.summary()["files"]["skipped"] == len(truth(here.site))
    assert here.tree() == truth(here.site)


def test_the_ledger_says_what_the_disk_holds(here: World) -> None:
    here.mirror()
    recorded = {}
    for path in (here.project / STATE / "sessions").iterdir():
        folder = ""
        for line in path.read_text().splitlines():
            entry = json.loads(line)
            if "unit" in entry:
                folder = entry["folder"]
            for file in entry.get("files", []):
                at = "/".join(filter(None, (folder, entry["folder"], file.get("at", file["path"]))))
                recorded[at] = file["md5"]
                assert (here.project / at).stat().st_mtime_ns == file["mtime_ns"]
    assert recorded == truth(here.site)


@pytest.mark.parametrize(
    ("command", "name", "prefixes"),
    [
        ("subject", "PTV000/Haofei01", ["Haofei01/"]),
        ("experiment", "PTV000/Haofei01/Haofei01_MR1", ["Haofei01/Haofei01_MR1/"]),
        ("scan", "PTV000/Haofei01/Haofei01_MR1/4", ["Haofei01/Haofei01_MR1/scans/4/"]),
    ],
)
def test_a_part_of_a_project_goes_through_the_same_engine(
    here: World, command: str, name: str, prefixes: list[str]
) -> None:
    done = here.run(command, name, "--dest", str(here.dest))
    assert done.code == 0, done
    wanted = {path: md5 for path, md5 in truth(here.site).items() if path.startswith(tuple(prefixes))}
    assert wanted
    assert here.tree() == wanted
    assert here.mirror().code == 0
    assert here.tree() == truth(here.site)


def test_an_experiment_may_be_named_by_its_accession_id(here: World) -> None:
    accession = here.site.project("PTV000").subject("Haofei01").session("Haofei01_MR1").id  # type: ignore[union-attr]
    done = here.run("experiment", accession, "--dest", str(here.dest))
    assert done.code == 0, done
    assert here.tree() == {
        path: md5 for path, md5 in truth(here.site).items() if path.startswith("Haofei01/Haofei01_MR1/")
    }


def test_quiet_is_silent_on_success(here: World) -> None:
    done = here.mirror("-q")
    assert (done.code, done.out, done.err) == (0, "", "")


def test_off_a_terminal_there_are_no_control_characters(here: World) -> None:
    done = here.mirror("-v")
    assert done.code == 0
    assert all(c == "\n" or c.isprintable() for c in done.out + done.err)
    assert "exit 0 (ok)" in done.out


def test_json_lines_are_typed_and_end_with_the_code(here: World) -> None:
    done = here.mirror("--log-format", "json")
    lines = [json.loads(line) for line in done.out.splitlines()]
    assert done.code == 0
    assert all({"event", "time"} <= line.keys() for line in lines)
    assert (lines[-1]["event"], lines[-1]["code"], lines[-1]["name"]) == ("ended", 0, "ok")
    assert {"listed", "planned", "began", "committed", "session_done"} <= {line["event"] for line in lines}


def test_bars_are_drawn_on_a_terminal(here: World) -> None:
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, "project", "PTV000", "--dest", str(here.dest)],
        env=here.env({"TERM": "xterm"}), stdin=subprocess.DEVNULL, stdout=follower, stderr=follower,
    )  # fmt: skip
    os.close(follower)
    drawn = b""
    while True:
        ready, _, _ = select.select([leader], [], [], 60)
        assert ready, "the command is silent"
        try:
            piece = os.read(leader, 65536)
        except OSError:
            break
        if not piece:
            break
        drawn += piece
    os.close(leader)
    assert process.wait(30) == 0
    assert b"files" in drawn
    assert b"\r" in drawn
    assert "exit 0 (ok)" in drawn.decode()


def test_dry_run_tells_and_writes_nothing(here: World) -> None:
    done = here.mirror("--dry-run")
    assert done.code == 0, done
    assert f"would fetch {len(truth(here.site))} files" in done.out
    assert not here.project.exists()
    assert here.data_bytes() == 0


def test_a_new_scan_resource_is_never_seen_in_part(here: World) -> None:
    """One file of a resource cannot be had: nothing of that resource bears a final name, all else is there."""
    here.server.faults.add(Fault(Status(500), path="/files/", count=EVERY))
    here.server.faults.add(Fault(Status(500), kind="zip", path="/resources/", count=1))
    done = here.mirror("--retries", "0")
    assert done.code == 3, done
    whole = truth_by_resource(here.site)
    tree = here.tree()
    for folder, files in whole.items():
        present = [path for path in files if f"{folder}/{path}" in tree]
        assert present in ([], list(files)), folder
    assert 0 < len(tree) < len(truth(here.site))
    here.server.faults.clear()
    assert here.mirror().code == 0
    assert here.tree() == truth(here.site)


# -- what is not ours ----------------------------------------------------------------------------------------------


def test_foreign_and_changed_files_are_kept_and_told(here: World) -> None:
    path = next(path for path in truth(here.site) if path.endswith(".dcm"))
    foreign = here.project / path
    foreign.parent.mkdir(parents=True)
    foreign.write_bytes(b"mine")
    done = here.mirror()
    assert done.code == 3, done
    assert foreign.read_bytes() == b"mine"
    assert "foreign file here" in done.err
    assert len(here.tree()) == len(truth(here.site))
    done = here.mirror("--overwrite")
    assert done.code == 0, done
    assert here.tree() == truth(here.site)


def test_a_file_changed_locally_is_kept_until_overwrite(here: World) -> None:
    assert here.mirror().code == 0
    path = here.project / next(path for path in truth(here.site) if path.endswith(".dcm"))
    path.write_bytes(b"edited")
    done = here.mirror()
    assert done.code == 3, done
    assert "changed locally" in done.err
    assert path.read_bytes() == b"edited"
    assert here.mirror("--overwrite").code == 0
    assert here.tree() == truth(here.site)


def test_lost_state_costs_no_bytes(here: World) -> None:
    assert here.mirror().code == 0
    for path in (here.project / STATE / "sessions").iterdir():
        path.unlink()
    before = here.data_bytes()
    done = here.mirror()
    assert done.code == 0, done
    assert here.data_bytes() == before
    assert here.mirror().code == 0
    assert here.tree() == truth(here.site)


def test_a_replaced_and_an_added_file_move_alone(here: World, site: Site) -> None:
    assert here.mirror().code == 0
    scan = site.project("PTV000").subject("Haofei01").session("Haofei01_MR1").scan("4")  # type: ignore[union-attr]
    resource = scan.resource("DICOM")
    entry = resource.entries[0]
    assert entry.content is not None
    resource.replace_file(entry.path, bytes(reversed(entry.content.read())))
    resource.add_file("extra.dcm", b"x" * 5000)
    before = here.data_bytes()
    done = here.mirror()
    assert done.code == 0, done
    assert here.tree() == truth(site)
    assert here.data_bytes() - before == resource[entry.path].content.size + 5000  # type: ignore[union-attr]
    assert here.summary()["files"]["changed"] == 1


# -- codes and messages --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "env", "code", "says"),
    [
        (("project", "NOPE", "--dest", "x"), {}, 5, "'NOPE' does not exist, or 'demo' may not see it"),
        (("project", "HIDDEN", "--dest", "x"), {}, 5, "may not see it"),
        (("project", "GUARDED", "--dest", "x"), {}, 5, "may not see it"),
        (("project", "PTV000", "--dest", "x"), {"XNAT_PASS": "s3cr3t-0"}, 6, "refused the login of 'demo'"),
        (("project", "PTV000", "--dest", "x"), {"XNAT_HOST": None}, 2, "--host"),
        (("project", "PTV000", "--dest", "x"), {"XNAT_PASS": None}, 2, "xnat-sync login"),
        (("project", "PTV000"), {}, 2, "--dest"),
        (("project", "PTV000", "--dest", "x", "--jobs", "99"), {}, 2, "from 1 to 16"),
        (("subject", "PTV000/Haofei1", "--dest", "x"), {}, 2, "did you mean Haofei01"),
        (("experiment", "PTV000/Haofei01/Haofei01_MR", "--dest", "x"), {}, 2, "did you mean Haofei01_MR"),
        (("experiment", "XNAT_E99999", "--dest", "x"), {}, 2, "no experiment has the accession id"),
        (("scan", "PTV000/Haofei01", "--dest", "x"), {}, 2, "PROJECT/SUBJECT/EXPERIMENT/SCAN"),
        (("project", "PTV000", "--dest", "x", "--retries", "1"), {"XNAT_HOST": "http://127.0.0.1:9"}, 7, "connect"),
    ],
)
def test_bad_input_is_one_line_and_its_code(
    here: World, arguments: tuple[str, ...], env: dict[str, str | None], code: int, says: str
) -> None:
    arguments = tuple(str(here.dest) if part == "x" else part for part in arguments)
    done = here.run(*arguments, env=env)
    assert done.code == code, done
    assert says in done.err, done
    assert "Traceback" not in done.err
    assert "s3cr3t-0" not in done.out + done.err


def test_a_refused_login_is_not_tried_again(here: World) -> None:
    assert here.mirror(env={"XNAT_PASS": "wrong"}).code == 6
    assert here.server.counts.logins_refused == 1
    assert here.summary()["code"] == 6


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_code_12(here: World) -> None:
    here.dest.mkdir()
    here.dest.chmod(0o500)
    done = here.mirror()
    here.dest.chmod(0o700)
    assert done.code == 12, done


def test_a_destination_that_is_a_file_is_code_12(here: World) -> None:
    here.dest.write_text("not a folder")
    done = here.mirror()
    assert done.code == 12, done
    assert "Traceback" not in done.err
    assert done.err.count("\n") <= 2


def test_a_file_listed_but_gone_is_code_4(here: World, site: Site) -> None:
    scan = site.project("PTV000").subject("Haofei01").session("Haofei01_MR1").scan("4")  # type: ignore[union-attr]
    scan.resource("DICOM").add_file("gone.dcm", b"x", on_disk=False)
    done = here.mirror()
    assert done.code == 4, done
    assert "gone.dcm" in done.err
    assert here.tree() == truth(site)
    assert here.summary()["files"]["vanished"] == 1


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_first_signal_stops_cleanly(here: World, number: int, code: int) -> None:
    here.site.rate = 100_000
    process = here.start("project", "PTV000", "--dest", str(here.dest))
    here.wait_for(lambda: here.data_bytes() > 100_000, process)
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert process.returncode == code, (out, err)
    assert "Traceback" not in err
    assert here.server.sessions.get("demo", []) == []
    assert here.summary()["code"] == code
    here.site.rate = None
    assert here.mirror().code == 0
    assert here.tree() == truth(here.site)


def test_the_second_signal_stops_at_once(here: World) -> None:
    here.server.faults.add(Fault(Stall(1000), kind="zip", count=EVERY))
    process = here.start("project", "PTV000", "--dest", str(here.dest))
    here.wait_for(lambda: here.server.counts.peak.get("zip", 0) >= 1, process)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=8)
    assert process.returncode in (130, 143), (out, err)
    assert err.startswith("xnat-sync: stopped by a signal"), err


def test_login_keeps_a_session_for_later_commands(here: World) -> None:
    done = here.run("login")
    assert done.code == 0, done
    kept = list((here.home / "state").rglob("*.json"))
    assert [stat.S_IMODE(path.stat().st_mode) for path in kept] == [0o600]
    without: dict[str, str | None] = {"XNAT_USER": None, "XNAT_PASS": None}
    assert "demo at" in here.run("whoami", env=without).out
    assert here.mirror(env=without).code == 0
    assert here.tree() == truth(here.site)
    assert here.server.counts.sessions_opened == 1
    assert here.run("logout", env=without).code == 0
    assert here.server.sessions.get("demo", []) == []
    assert here.mirror(env=without).code == 2


def test_projects_and_ls(here: World) -> None:
    assert "PTV000" in here.run("projects").out
    assert {row["id"] for row in json.loads(here.run("projects", "--json").out)} >= {"PTV000"}
    assert "Haofei01_MR1" in here.run("ls", "PTV000").out
    assert "Haofei01_MR1" in here.run("ls", "PTV000/Haofei01").out
    assert "DICOM" in here.run("ls", "PTV000/Haofei01/Haofei01_MR1").out
    rows = json.loads(here.run("ls", "PTV000/Haofei01/Haofei01_MR1/4", "--json").out)
    assert {row["resource"] for row in rows} == {"DICOM", "SNAPSHOTS"}


def test_the_demo_command_mirrors_its_own_server(here: World, tmp_path: Path) -> None:
    for fetched in (True, False):
        done = here.run("demo", "--dest", str(tmp_path / "demo"))
        assert done.code == 0, done
        assert ("; 0 files new" in done.out) is not fetched
        assert done.err == ""
    tree = md5_tree(tmp_path / "demo" / "PTV000")
    assert any(path.startswith("Haofei01/Haofei01_MR1/scans/4/DICOM/") for path in tree)
