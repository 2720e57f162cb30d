"""A run is cancelled at each place where it waits: it ends at once, leaves nothing, and the next one completes it.

All places are tried with ``XNAT_SYNC_TEST_WIDE`` set, else some, spread evenly.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import anyio
import pytest

from system.harness import STATE, World, truth
from system.inside import Suspensions, alone, mirror, no_blocking, nothing_left
from xnat_embedded import Server, Site, empty_site
from xnat_sync.core.errors import RunError
from xnat_sync.flow.engine import Stop

WIDE = bool(os.environ.get("XNAT_SYNC_TEST_WIDE"))
SAMPLES = 8


def site_of_all_kinds() -> Site:
    """A zip, single files, files without a digest, and what comes from every level."""
    site = empty_site()
    project = site.add_project("PTV000", members=("demo",))
    subject = project.add_subject("S1")
    for name in ("E1", "E2"):
        session = subject.add_session(name)
        series = session.add_scan("1", "t1").add_resource("DICOM")
        for number in range(3):
            series.add_file(f"{number}.dcm", f"{name} {number}".encode() * 300)
        session.add_scan("2", "t2").add_resource("NIFTI").add_file("a.nii", name.encode() * 2000)
    subject.add_resource("INFO").add_file("i.txt", b"info")
    project.add_resource("DOCS").add_file("d.txt", b"docs")
    return site


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server(site_of_all_kinds()) as made:
        yield made


@pytest.fixture(autouse=True)
def unblocked() -> Iterator[None]:
    with no_blocking():
        yield


Way = Callable[[Suspensions, World, str], set[str]]


def by_scope(suspensions: Suspensions, here: World, store: str) -> set[str]:
    """A scope around the run is cancelled: every wait that is not shielded ends, again and again."""

    async def work() -> None:
        with anyio.CancelScope() as scope:
            suspensions.act = scope.cancel
            await mirror(here, store=store)
        # Where all was done but for the logout, which is shielded, there was nothing left to cancel.
        zipped = store == "zip"
        done = here.project.exists() and unpacked(here, zipped=zipped) == truth(here.site)
        assert scope.cancelled_caught or done, "the run swallowed its cancellation"

    return alone(work, suspensions)


def by_hard_stop(suspensions: Suspensions, here: World, store: str) -> set[str]:
    """What the second signal does."""

    async def work() -> None:
        stop = Stop()
        suspensions.act = stop.hard
        await mirror(here, stop, store=store)

    return alone(work, suspensions)


WAYS: tuple[Way, ...] = (by_scope, by_hard_stop)


def check(here: World, store: str) -> None:
    """What is there bears a final name only if it is whole; then an undisturbed run completes it."""
    zipped, whole = store == "zip", truth(here.site)
    assert unpacked(here, zipped=zipped).items() <= whole.items()
    for session in ("E1", "E2"):
        series = here.project / "S1" / session / "scans" / "1" / "DICOM"
        assert not series.exists() or len(list(series.iterdir())) == 3, "half a series can be seen"
    assert not list((here.project / STATE).rglob("*.new")), "a state file was replaced in part"
    assert not alone(lambda: mirror(here, store=store), Suspensions())
    assert unpacked(here, zipped=zipped) == whole
    here.assert_no_leftovers()


def unpacked(here: World, *, zipped: bool) -> dict[str, str]:
    """Path -> MD5 of what is there, members of zips as files."""
    if not zipped:
        return here.tree()
    found = {}
    for path in here.project.rglob("*.zip"):
        with zipfile.ZipFile(path) as whole:
            for name in whole.namelist():
                at = path.with_suffix("").relative_to(here.project) / name
                found[str(at)] = hashlib.md5(whole.read(name)).hexdigest()
    return found


def cancelled(way: Way, server: Server, home: Path, at: int | None, store: str) -> int:
    """Cancel at one place, check all that is promised, and tell how many places there were."""
    here = World(server, server.site, home)
    suspensions = Suspensions(at)
    with nothing_left():
        try:
            left = way(suspensions, here, store)
        except* RunError as errors:
            raise AssertionError(f"a cancelled run ended with {errors.exceptions!r}") from errors
        assert not left, f"tasks were left: {left}"
    if at is not None:
        with nothing_left():
            check(here, store)
    return suspensions.count


@pytest.mark.parametrize("store", ["files", "zip"])
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.timeout(3600 if WIDE else 120)
def test_a_run_may_be_cancelled_wherever_it_waits(server: Server, tmp_path: Path, way: Way, store: str) -> None:
    if store == "zip" and not WIDE:
        pytest.skip("with XNAT_SYNC_TEST_WIDE only")
    count = cancelled(way, server, tmp_path / "undisturbed", None, store)
    assert count > 100
    wrong: dict[int, BaseException] = {}
    for at in range(1, count + 1) if WIDE else range(1, count, count // SAMPLES):
        try:
            cancelled(way, server, tmp_path / str(at), at, store)
        except Exception as error:  # noqa: BLE001 - all that is wrong is told together
            wrong[at] = error
        shutil.rmtree(tmp_path / str(at), ignore_errors=True)
    assert not wrong, f"of {count} places these are wrong: {sorted(wrong)}"
