"""Transfers side by side, and listing while downloading, as the server's own log tells it: no clock is read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from system.harness import truth
from system.test_faults import transfers_at_once
from system.warm import warm_world
from xnat_embedded import Site, empty_site
from xnat_embedded.log import Exchange

LATENCY = 0.25  # seconds: much more than a busy machine takes for anything between two answers


def many_scans(sessions: int, scans: int) -> Site:
    """Tiny files only, so that what counts is how many answers are waited for one after the other."""
    site = empty_site()
    subject = site.add_project("PTV000", members=("demo",)).add_subject("S1")
    for number in range(sessions):
        session = subject.add_session(f"S1_MR{number}")
        for scan in range(scans):
            files = [(f"{i}.dcm", f"{number} {scan} {i}") for i in range(2)]
            session.add_scan(str(scan), "t1").add_resource("DICOM", files, format="DICOM")
    return site


def rounds(log: Sequence[Exchange]) -> int:
    """How many exchanges followed one upon the end of another: the longest chain of which no two overlap.

    With the same delay on each answer that is the time the run took, in units of the delay.
    """
    count, free = 0, 0
    for finished, began in sorted((each.finished or 0, each.number) for each in log):
        if began > free:
            count, free = count + 1, finished
    return count


def _mirror(home: Path, jobs: int) -> list[Exchange]:
    site = many_scans(sessions=1, scans=48)
    with warm_world(site, home) as here:
        # One after the other they are as many, however long each takes.
        site.latency_s = LATENCY if jobs > 1 else 0.02
        done = here.mirror("--jobs", str(jobs), "--level", "scans")
        assert done.code == 0, done
        assert here.tree() == truth(site)
        assert here.server.counts.requests["zip"] == 48
        peak = here.server.counts.peak["zip"]
        assert peak <= jobs
        assert peak >= jobs * 3 // 4
        assert here.server.counts.sessions_opened == 1
        return here.server.log


def test_eight_jobs_take_less_than_a_quarter_of_the_time_of_one(tmp_path: Path) -> None:
    logs = {}
    for jobs in (1, 8):
        home = tmp_path / str(jobs)
        home.mkdir()
        logs[jobs] = _mirror(home, jobs)
    zips = {jobs: rounds([each for each in log if each.kind == "zip"]) for jobs, log in logs.items()}
    total = {jobs: rounds(log) for jobs, log in logs.items()}
    print(f"rounds of zips {zips}, of everything {total}")
    assert zips[1] == 48
    assert zips[8] <= 8
    assert total[8] * 4 < total[1]


def test_downloading_begins_before_listing_has_ended(tmp_path: Path) -> None:
    site = many_scans(sessions=8, scans=2)
    with warm_world(site, tmp_path) as here:
        site.latency_s = 0.05
        assert here.mirror("--listers", "2").code == 0
        first_zip = min(each.number for each in here.server.log if each.kind == "zip")
        listings = sorted(each.number for each in here.server.log if each.kind == "files")
        assert first_zip < listings[len(listings) // 2]
        assert here.server.counts.peak["listing"] <= 2


@pytest.mark.parametrize("jobs", [1, 2])
def test_never_more_transfers_than_jobs(tmp_path: Path, jobs: int) -> None:
    """Also when zips are short and their files are asked for singly, at which more could be under way."""
    site = many_scans(sessions=1, scans=4)
    resources = [scan.resources[0] for session in site.experiments() for scan in session.scans]
    for resource in resources:
        for number in range(4):
            resource.add_file(f"gone {number}.dcm", b"x", on_disk=False)
    with warm_world(site, tmp_path) as here:
        site.latency_s = 0.03
        done = here.mirror("--jobs", str(jobs))
        assert done.code == 4, done
        transfers = [each for each in here.server.log if each.kind in ("zip", "file")]
        assert len(transfers) == 4 + 16
        assert transfers_at_once(transfers) == jobs
