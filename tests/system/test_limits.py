"""Limits that a user sets and limits that a disk has: the run ends with the documented code, and the next goes on."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from system.harness import DISK, STATE, fill, truth
from system.warm import Run, WarmWorld
from xnat_embedded import EVERY, Fault, Site, Status


def bytes_of(site: Site) -> int:
    """The bytes of all files of a site."""
    project = site.project("PTV000")
    assert project is not None
    owners = [project, *project.subjects, *project.sessions()]
    owners += [each for session in project.sessions() for each in [*session.scans, *session.assessors]]
    return sum(
        entry.content.size
        for owner in owners
        for resource in owner.resources
        for entry in resource.entries
        if entry.content is not None
    )


def test_max_transfer_ends_each_night_with_code_8_until_all_is_here(here: WarmWorld) -> None:
    nights = 0
    before = here.data_bytes()
    while (done := here.mirror("--max-transfer", "100K", "--jobs", "2")).code == 8:
        nights += 1
        assert "--max-transfer is reached" in done.err
        assert here.summary()["name"] == "transfer-limit"
        assert here.summary()["bytes"]["received"] <= (100 << 10) + 2 * (1 << 20)
        assert nights < 40, "no night brings anything"
    assert done.code == 0, done
    assert nights >= 1
    assert here.tree() == truth(here.site)
    # Each night loses at most the file in hand of each of its two connections, and what the socket held of it.
    largest = max(path.stat().st_size for path in here.project.rglob("*") if path.is_file())
    assert here.data_bytes() - before <= 1.2 * sum(
        path.stat().st_size for path in here.project.rglob("*") if STATE not in path.parts and path.is_file()
    ) + nights * 2 * (largest + 300_000)


def test_max_transfer_counts_over_all_projects(here: WarmWorld) -> None:
    other = here.site.add_project("OTHER", members=("demo",)).add_subject("O1").add_session("O1_MR1")
    other.add_scan("1", "t1").add_resource("DICOM").add_file("a.dcm", b"a" * 5000)
    done = here.run("project", "PTV000", "OTHER", "--dest", str(here.dest), "--max-transfer", "1K")
    assert done.code == 8, done
    assert "1 not begun" in done.err
    assert not (here.dest / "OTHER").exists()


def test_bwlimit_is_kept(here: WarmWorld) -> None:
    done = here.mirror("--bwlimit", "00:00,200K 12:00,200K")
    assert done.code == 0, done
    received = here.summary()["bytes"]["received"]
    # A lower bound only, which no slow machine can break: the rate, after the second that a burst may take.
    assert here.summary()["seconds"] >= received / (200 << 10) - 1.0 - 0.2
    assert received > 250 << 10


def test_nothing_is_begun_that_would_leave_less_than_min_free(here: WarmWorld) -> None:
    done = here.mirror("--min-free", "9000T")
    assert done.code == 12, done
    assert "--min-free" in done.err
    assert "warning: at least" in done.err or "warning: " in done.err
    assert here.data_bytes() == 0
    assert here.summary()["name"] == "disk"
    assert here.mirror().code == 0
    assert here.tree() == truth(here.site)


def at_half(here: WarmWorld) -> Run:
    """A run that has received about half."""
    here.site.rate = 200_000
    before = here.data_bytes()
    run = here.begin_mirror()
    assert here.until(lambda: here.data_bytes() - before > bytes_of(here.site) // 2, run)
    return run


@pytest.fixture
def on_small_disk(small_disk: Path, here: WarmWorld) -> WarmWorld:
    assert here.dest == small_disk
    return here


def test_what_does_not_fit_is_not_begun_and_is_told_before(on_small_disk: WarmWorld) -> None:
    here = on_small_disk
    (here.dest / "ballast").write_bytes(bytes(DISK - (500 << 10)))
    done = here.mirror()
    assert done.code == 12, done
    assert "do not fit" in done.err
    assert "are to come, and there is room for" in done.err
    assert here.tree().items() <= truth(here.site).items()
    (here.dest / "ballast").unlink()
    cost = here.fetched_bytes()
    here_already = sum(path.stat().st_size for path in here.project.rglob("*.dcm") if STATE not in path.parts)
    assert here.mirror().code == 0
    assert here.tree() == truth(here.site)
    assert here.fetched_bytes() - cost < bytes_of(here.site) * 1.2 - here_already


def test_a_disk_that_fills_while_the_run_goes_on(on_small_disk: WarmWorld) -> None:
    here = on_small_disk
    run = at_half(here)
    fill(here.dest / "ballast")
    done = run.done()
    assert done.code == 12, done
    assert "no space left" in done.err or "do not fit" in done.err
    assert "Traceback" not in done.err
    assert here.tree().items() <= truth(here.site).items()
    (here.dest / "ballast").unlink()
    here.site.rate = None
    before = here.fetched_bytes()
    assert here.mirror().code == 0
    assert here.tree() == truth(here.site)
    assert here.fetched_bytes() - before < bytes_of(here.site) * 0.8


def test_a_disk_that_became_read_only(on_small_disk: WarmWorld) -> None:
    here = on_small_disk
    run = at_half(here)
    run.kill()
    here.until_settled()
    here.site.rate = None
    subprocess.run(["mount", "-o", "remount,ro", here.dest], check=True)
    held = here.tree()
    ended = here.mirror()
    assert ended.code == 12, ended
    assert "is on a read-only file system: mount it writable" in ended.err
    assert here.tree() == held
    subprocess.run(["mount", "-o", "remount,rw", here.dest], check=True)
    assert here.mirror().code == 0
    assert here.tree() == truth(here.site)


def test_a_mount_that_goes_away_is_noticed_and_nothing_is_written_below_it(on_small_disk: WarmWorld) -> None:
    here = on_small_disk
    run = at_half(here)
    subprocess.run(["umount", "-l", here.dest], check=True)
    ended = run.done()
    assert ended.code == 12, ended
    assert [path for path in here.dest.rglob("*") if path.is_file() and STATE not in path.parts] == []


def test_a_server_in_trouble_gets_fewer_transfers_and_the_run_completes(here: WarmWorld) -> None:
    here.server.faults.add(Fault(Status(503), kind="zip", count=3))
    done = here.mirror("--jobs", "8", "--log-format", "json")
    assert done.code == 0, done
    assert '"event": "throttled"' in done.out
    assert here.tree() == truth(here.site)


def test_a_server_that_goes_away_ends_the_run_with_code_7(here: WarmWorld) -> None:
    fault = Fault(Status(503), kind="files", count=EVERY)
    here.server.faults.add(fault)
    here.server.faults.add(Fault(Status(503), kind="auth", nth=2, count=EVERY))
    done = here.mirror("--retries", "1")
    assert done.code == 7, done
    assert here.summary()["name"] == "unavailable"
    here.server.faults.clear()
    assert here.mirror().code == 0
    assert here.tree() == truth(here.site)
