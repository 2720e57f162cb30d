"""What the fault matrix (``tests/faults``) leaves out: a server that is gone altogether, what is said, stale counts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from faults.ground import whole_site
from system.harness import truth
from system.warm import warm_world
from xnat_embedded import EVERY, Fault, Reset, ShortList, Status
from xnat_embedded.faults import Effect
from xnat_embedded.log import Exchange


def transfers_at_once(log: Sequence[Exchange]) -> int:
    """The most zips and files that were under way at once; those that were cut off do not count."""
    moments = []
    for exchange in log:
        if exchange.kind in ("zip", "file") and not exchange.aborted and exchange.finished is not None:
            moments += [(exchange.number, 1), (exchange.finished, -1)]
    most = now = 0
    for _, step in sorted(moments):
        now += step
        most = max(most, now)
    return most


@pytest.mark.parametrize("first", [1, 3, 8, 14])
@pytest.mark.parametrize("effect", [Status(503), Reset()])
def test_a_server_that_is_gone_for_good_is_not_asked_for_ever(tmp_path: Path, effect: Effect, first: int) -> None:
    """From the first request, or in the midst of the login, the lists, the files."""
    site = whole_site()
    with warm_world(site, tmp_path) as here:
        here.server.faults.add(Fault(effect, nth=first, count=EVERY))
        done = here.mirror("--retries", "1")
        assert done.code == 7, done
        assert here.tree().items() <= truth(site).items()
        # What four jobs have in hand, four files of each, all tried twice, and lists and logins beside them.
        assert here.server.counts.total <= first + 80
        assert here.server.counts.sessions_opened <= 2  # A login whose answer is lost leaves one that nobody knows.
        here.server.faults.clear()
        done = here.mirror()
        assert done.code == 0, done
        assert here.tree() == truth(site)
        here.assert_no_leftovers()


@pytest.mark.parametrize(
    ("code", "kind", "path", "ends", "says"),
    [
        (404, "file", "bold", 4, "bold.nii.gz"),
        (403, "file", "bold", 3, "bold.nii.gz"),
        (503, "files", "/XNAT_E00001/", 3, "S1_MR1"),
        (503, "experiments", "/projects/", 7, "experiments of project PTV000"),
    ],
)
def test_what_is_lacking_is_named(tmp_path: Path, code: int, kind: str, path: str, ends: int, says: str) -> None:
    with warm_world(whole_site(), tmp_path) as here:
        here.server.faults.add(Fault(Status(code), kind, path, count=EVERY))
        done = here.mirror("--retries", "0")
        assert done.code == ends, done
        assert says in done.err


def test_a_list_of_experiments_that_is_silently_short_removes_nothing(tmp_path: Path) -> None:
    """Nothing tells that it is: the next run sees the rest. What was mirrored of the rows left out stays."""
    site = whole_site()
    with warm_world(site, tmp_path) as here:
        assert here.mirror().code == 0
        here.server.faults.add(Fault(ShortList(1), "experiments"))
        done = here.mirror()
        assert done.code == 0, done
        assert here.tree() == truth(site)
        before = here.data_bytes()
        assert here.mirror().code == 0
        assert here.data_bytes() == before


def test_a_short_file_list_with_a_stale_count_removes_nothing(tmp_path: Path) -> None:
    """The database's count tells of rows that lack. Where it is stale too, the next run brings what lacked."""
    site = whole_site()
    scan = site.project("PTV000").subjects[0].experiments[0].scans[0]  # type: ignore[union-attr]
    scan.resource("DICOM").file_count = ""
    with warm_world(site, tmp_path) as here:
        here.server.faults.add(Fault(ShortList(99), "files", "/XNAT_E00001/files?all"))
        done = here.mirror()
        assert done.code == 0, done
        assert truth(site).items() >= here.tree().items()
        here.server.faults.add(Fault(ShortList(2), "files", "/XNAT_E00001/files?all", count=EVERY))
        assert here.mirror().code == 0
        before = here.tree()
        here.server.faults.clear()
        assert here.mirror().code == 0
        assert before.items() <= here.tree().items()
        assert here.tree() == truth(site)
