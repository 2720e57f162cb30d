"""Two runs on one folder: one writes, the other says who, or waits; and a dead one is in nobody's way."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from system.harness import STATE, truth
from system.warm import Run, WarmWorld


def lock(here: WarmWorld) -> Path:
    return here.project / STATE / "lock"


def under_way(here: WarmWorld) -> Run:
    """A run that has begun to receive, slowly."""
    here.site.rate = 60_000
    before = here.data_bytes()
    run = here.begin_mirror()
    assert here.until(lambda: here.data_bytes() - before > 20_000, run)
    return run


def test_a_second_run_says_who_holds_the_folder_and_touches_nothing(here: WarmWorld) -> None:
    first = under_way(here)
    logins = here.server.counts.sessions_opened
    second = here.mirror("-q")
    assert second.code == 11, second
    record = json.loads(lock(here).read_text())
    assert f"pid {record['pid']} on host" in second.err
    assert "--wait-lock" in second.err
    assert second.err.count("\n") == 1
    assert here.server.counts.sessions_opened == logins, "who may not write need not log in"
    assert here.summary()["name"] == "locked"
    here.site.rate = None
    assert first.done().code == 0
    assert here.tree() == truth(here.site)
    assert here.mirror().code == 0


def test_a_second_run_that_waits_goes_on_after_the_first(here: WarmWorld) -> None:
    first = under_way(here)
    second = here.begin_mirror("--wait-lock", "1m")
    third = here.begin_mirror("--wait-lock", "0s")
    assert third.done().code == 11
    here.site.rate = None
    assert first.done().code == 0
    cost = here.fetched_bytes()
    done = second.done()
    assert done.code == 0, done
    assert here.fetched_bytes() == cost
    assert "waiting: another run holds" in done.err


def test_who_waits_can_be_stopped(here: WarmWorld) -> None:
    first = under_way(here)
    second = here.begin("project", "PTV000", "--dest", str(here.dest), "--wait-lock", "1h", "--log-format", "json")
    log = here.project / STATE / "runs"
    assert here.until(lambda: any("waiting" in path.read_text() for path in log.glob("*/log.jsonl")), second)
    second.send(signal.SIGTERM)
    assert second.done().code == 143
    here.site.rate = None
    assert first.done().code == 0


def test_a_dry_run_needs_no_lock(here: WarmWorld) -> None:
    first = under_way(here)
    assert here.mirror("--dry-run").code == 0
    here.site.rate = None
    assert first.done().code == 0


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_who_is_dead_holds_nothing(here: WarmWorld, number: int) -> None:
    first = under_way(here)
    first.send(number)
    first.send(number)
    first.done()
    here.until_settled()
    here.site.rate = None
    done = here.mirror()
    assert done.code == 0, done
    assert here.tree() == truth(here.site)


def test_another_machine_that_is_heard_of_is_respected(here: WarmWorld) -> None:
    assert here.mirror().code == 0
    record = json.loads(lock(here).read_text())
    record |= {"host": "node\x1b[31m7", "boot": "another", "machine": "another", "released": False}
    text = json.dumps(record).ljust(len(lock(here).read_bytes()) - 1) + "\n"
    lock(here).write_text(text)
    done = here.mirror()
    assert done.code == 11, done.err
    assert "\x1b" not in done.err
    record["host"] = "node7"
    lock(here).write_text(json.dumps(record).ljust(len(text) - 1) + "\n")
    assert "on host node7" in here.mirror().err
    an_hour_ago = lock(here).stat().st_mtime - 3600
    os.utime(lock(here), (an_hour_ago, an_hour_ago))
    assert here.mirror().code == 0


@pytest.mark.parametrize("beat", ["0.05", "60"])
def test_who_lost_the_lock_stops_before_it_writes(here: WarmWorld, beat: str) -> None:
    """A machine that slept for long, as its process sees it: another took the lock over meanwhile.

    It learns so when it beats, or else from what it lacks in its staging folder.
    """
    here.site.rate = 60_000
    first = here.begin_mirror(env={"XNAT_SYNC_TEST_BEAT": beat})
    assert here.until(lambda: here.data_bytes() > 20_000, first)
    with first.stopped():
        an_hour_ago = lock(here).stat().st_mtime - 3600
        record = json.loads(lock(here).read_text()) | {"host": "asleep"}
        lock(here).write_text(json.dumps(record).ljust(1023) + "\n")
        os.utime(lock(here), (an_hour_ago, an_hour_ago))
        here.site.rate = None
        second = here.mirror()
        assert second.code == 0, second
    done = first.done()
    assert done.code == 11, done.err
    assert "was taken over by" in done.err
    assert here.tree() == truth(here.site)
    assert here.mirror().code == 0


def test_repairing_waits_for_nobody_and_disturbs_nobody(here: WarmWorld) -> None:
    first = under_way(here)
    done = here.run("verify", str(here.dest), "--repair")
    assert done.code == 11, done.err
    here.site.rate = None
    assert first.done().code == 0
    assert here.run("verify", str(here.dest), "--repair").code == 0
