"""verify and status: offline, from the state and the disk alone."""

from __future__ import annotations

import json
import subprocess

from system.harness import STATE, World, truth


def test_verify_finds_what_is_missing_changed_and_foreign(here: World) -> None:
    assert here.mirror().code == 0
    here.server.stop()
    done = here.run("verify", str(here.dest))
    assert done.code == 0, done
    assert f"{len(truth(here.site))} files" in done.out
    paths = sorted(path for path in truth(here.site) if path.endswith(".dcm"))
    (here.project / paths[0]).unlink()
    data = (here.project / paths[1]).read_bytes()
    (here.project / paths[1]).write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    (here.project / "notes.txt").write_text("mine")
    done = here.run("verify", str(here.dest), "--json")
    assert done.code == 3, done
    found = json.loads(done.out)[0]
    assert {(row["fault"], row["path"]) for row in found["findings"]} == {
        ("missing", paths[0]), ("changed", paths[1]), ("extra", "notes.txt"),
    }  # fmt: skip
    assert here.run("verify", str(here.project)).code == 3
    here.server.start()
    assert here.run("verify", str(here.dest), "--repair", "-q").code == 3
    before = here.fetched_bytes()
    assert here.mirror().code == 0
    assert here.fetched_bytes() - before == len(data) + (here.project / paths[0]).stat().st_size
    assert truth(here.site).items() <= here.tree().items()
    assert here.run("verify", str(here.dest), "-q").out == ""


def test_the_sums_are_taken_by_md5sum(here: World) -> None:
    assert here.mirror().code == 0
    sums = here.home / "sums"
    assert here.run("verify", str(here.dest), "--md5sum", str(sums)).code == 0
    checked = subprocess.run(["md5sum", "-c", "--quiet", str(sums)], capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stdout) == (0, "")
    assert len(sums.read_text().splitlines()) == len(truth(here.site))


def test_status_tells_from_the_state_alone(here: World) -> None:
    assert here.mirror().code == 0
    resource = here.site.project("PTV000").subject("Haofei01").session("Haofei01_MR1").resource("NOTES")  # type: ignore[union-attr]
    resource.add_file("gone.txt", b"x", on_disk=False)
    assert here.mirror().code == 4
    here.server.stop()
    done = here.run("status", str(here.dest))
    assert done.code == 0, done
    assert "gone.txt: vanished on the server" in done.out
    found = json.loads(here.run("status", str(here.dest), "--json").out)[0]
    assert (found["project"], found["last_code"], found["missing"]) == ("PTV000", 4, 1)
    assert found["last_good"] is not None
    for path in (here.project / STATE / "sessions").iterdir():
        path.unlink()
    assert json.loads(here.run("status", str(here.dest), "--json").out)[0]["files"] > 0


def test_a_folder_without_a_mirror_is_an_error(here: World) -> None:
    here.dest.mkdir()
    for command in ("verify", "status"):
        done = here.run(command, str(here.dest))
        assert (done.code, "there is no mirror" in done.err) == (2, True)


def test_a_dry_run_reports_what_it_would_do_and_why(here: World) -> None:
    report = here.home / "plan.csv"
    assert here.mirror("--dry-run", "--report", str(report)).code == 0
    rows = report.read_text().splitlines()
    assert len(rows) > 20
    assert all(row.startswith("planned,") and row.endswith(" new") for row in rows[1:])
    assert not here.project.exists()
    assert "requests" in here.mirror().out
