"""The largest first, a share for the small, and never more known than there is memory for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xnat_sync.core.backlog import SMALL_SHARE, Backlog
from xnat_sync.core.model import Job, Level, Place, RemoteFile, Resource, Unit, UnitKind, Want

UNIT = Unit(UnitKind.EXPERIMENT, "P1", "XNAT_E00001", "S1_MR1", "S1/S1_MR1")


def job(size: int, number: str = "1") -> Job:
    resource = Resource(UNIT, Place(Level.SCAN, "4"), number, "DICOM", (), "scans/4/DICOM")
    return Job(resource, (Want(RemoteFile("a", size, None), "a", "new"),), fresh=True)


def test_every_fourth_is_the_smallest_and_the_others_the_largest() -> None:
    backlog = Backlog()
    for size in (5, 1, 4, 2, 3):
        backlog.put(job(size))
    assert [backlog.take().bytes for _ in range(5)] == [5, 4, 3, 1, 2]
    with pytest.raises(IndexError):
        backlog.take()


def test_of_equal_ones_the_oldest_is_the_first() -> None:
    backlog = Backlog()
    for number in ("1", "2", "3"):
        backlog.put(job(7, number))
    assert [backlog.take().resource.id for _ in range(3)] == ["1", "2", "3"]


@given(st.lists(st.integers(0, 100), max_size=80), st.integers(1, 20))
def test_everything_comes_out_once_and_what_is_known_is_bounded(sizes: list[int], most: int) -> None:
    backlog, out, left = Backlog(most), [], list(sizes)
    while left or len(backlog):
        if left and not backlog.full:
            backlog.put(job(left.pop()))
            assert len(backlog) <= most
        else:
            out.append(backlog.take().bytes)
    assert sorted(out) == sorted(sizes)


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=80))
def test_nothing_waits_behind_all_larger_ones(sizes: list[int]) -> None:
    backlog = Backlog()
    for size in sizes:
        backlog.put(job(size))
    smallest = min(sizes)
    first = next(at for at in range(len(sizes)) if backlog.take().bytes == smallest)
    assert first < SMALL_SHARE
