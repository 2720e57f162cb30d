"""What a file, a resource and a session cost, in calls and not in seconds: a slow-down is seen, and no clock is read.

Two sites that differ in one thing are mirrored with every call counted; the difference is the cost of that thing. The
bounds are what it takes today, and a little. Whoever makes it cheaper lowers them; whoever must raise one says why.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest

from system import counted
from system.harness import world
from xnat_embedded import Site, empty_site

SIZE = 60_000


def site_of(sessions: int, scans: int, files: int) -> Site:
    """Scans of many small files, as DICOM has them."""
    site, chance = empty_site(), random.Random(1)
    project = site.add_project("PTV000", members=("demo",))
    for number in range(sessions):
        session = project.add_subject(f"S{number}").add_session(f"S{number}_MR1")
        for scan in range(1, scans + 1):
            data = [(f"{file}.dcm", chance.randbytes(SIZE)) for file in range(files)]
            session.add_scan(str(scan), "t1").add_resource("DICOM", data, format="DICOM")
    return site


def costs_of(site: Site, home: Path, runs: int = 1, *more: str) -> list[Counter[str]]:
    """How often each was called in each of some runs, and how many requests there were."""
    home.mkdir()
    found = []
    with world(site, home) as here:
        for _ in range(runs):
            before = here.server.counts.total
            command = [sys.executable, str(counted.__file__), str(home / "counts"), "project", "PTV000"]
            subprocess.run([*command, "--dest", str(here.dest), "-q", *more], env=here.env(), check=True, timeout=90)
            counts = Counter(json.loads((home / "counts").read_text()))
            counts["requests"] = here.server.counts.total - before
            found.append(counts)
    return found


def per(more: Counter[str], less: Counter[str], count: int) -> dict[str, float]:
    """What each of ``count`` things costs that one site has more than the other."""
    return {name: round((more[name] - less[name]) / count, 2) for name in {*more, *less}}


def over(cost: Mapping[str, float], bounds: Mapping[str, float]) -> dict[str, tuple[float, float]]:
    """What costs more than it may; each bound is for something that is called at all."""
    return {name: (cost[name], most) for name, most in bounds.items() if cost[name] > most}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> list[Counter[str]]:
    """A new mirror of three sessions of two scans of twenty files, and then an unchanged night."""
    return costs_of(site_of(3, 2, 20), tmp_path_factory.mktemp("base") / "home", 2)


@pytest.fixture(scope="module")
def longer(tmp_path_factory: pytest.TempPathFactory) -> list[Counter[str]]:
    """The same with forty files in each scan: 120 more."""
    return costs_of(site_of(3, 2, 40), tmp_path_factory.mktemp("longer") / "home", 2)


@pytest.fixture(scope="module")
def wider(tmp_path_factory: pytest.TempPathFactory) -> list[Counter[str]]:
    """The same with three sessions, of as many subjects, more."""
    return costs_of(site_of(6, 2, 20), tmp_path_factory.mktemp("wider") / "home", 2)


def test_a_new_file_is_hashed_once_and_written_once(base: list[Counter[str]], longer: list[Counter[str]]) -> None:
    cost = per(longer[0], base[0], 120)
    assert cost["md5"] == 1
    assert cost["os.rename"] == 1
    assert cost["os.fsync"] == 1
    # Once to write it, once to make it durable, and three times a folder, in which it is made and from which to which
    # it is renamed: from their descriptors, since a path may lead through a link by then. A look before its final name,
    # and one for an earlier file there.
    bounds = {"os.open": 5.5, "os.lstat": 2.2, "os.write": 1.5, "os.stat": 0.1, "os.mkdir": 0.2, "os.unlink": 0}
    assert over(cost, bounds | {"hops": 0.3, "requests": 0, "calls": 155}) == {}


def test_a_megabyte_takes_few_steps_in_threads(tmp_path: Path) -> None:
    short, long = costs_of(site_of(1, 1, 20), tmp_path / "a"), costs_of(site_of(1, 1, 220), tmp_path / "b")
    megabytes = 200 * SIZE / 1e6
    # A slow server's bytes are not waited for longer than 20 ms, so how many steps there are is not quite certain;
    # a step for each of its chunks would be 120.
    assert over(per(long[0], short[0], int(megabytes)), {"hops": 25, "os.fsync": 17, "os.write": 35}) == {}


def test_a_new_session_takes_few_requests(base: list[Counter[str]], wider: list[Counter[str]]) -> None:
    # Its resources and its files, its subject's files, and two zips.
    assert over(per(wider[0], base[0], 3), {"requests": 5, "hops": 100, "calls": 8500, "os.fsync": 50}) == {}


def test_an_unchanged_file_is_looked_at_once(base: list[Counter[str]], longer: list[Counter[str]]) -> None:
    cost = per(longer[1], base[1], 120)
    assert cost["os.lstat"] == 1
    bounds = {"md5": 0, "os.open": 0, "os.write": 0, "os.fsync": 0, "os.stat": 0, "hops": 0, "requests": 0}
    assert over(cost, bounds | {"calls": 3.5}) == {}


def test_an_unchanged_session_asks_nothing(base: list[Counter[str]], wider: list[Counter[str]]) -> None:
    cost = per(wider[1], base[1], 3)
    # It has forty files, which are looked at, and it and its subject have a ledger each, which are read, and of which
    # the folder is opened; many sessions in one step in a thread.
    assert over(cost, {"requests": 0, "os.open": 4, "os.lstat": 40, "os.fsync": 0, "hops": 0.4, "calls": 420}) == {}


def test_keeping_zips_costs_no_more_files(tmp_path: Path) -> None:
    short = costs_of(site_of(1, 1, 20), tmp_path / "a", 1, "--store", "zip")
    long = costs_of(site_of(1, 1, 220), tmp_path / "b", 1, "--store", "zip")
    bounds = {"os.open": 0, "os.fsync": 0, "os.rename": 0, "os.lstat": 0, "md5": 1, "hops": 0.3, "calls": 180}
    assert over(per(long[0], short[0], 200), bounds) == {}
