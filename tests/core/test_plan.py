"""What is done about a file: the docstring's two tables, row for row, over every case there is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xnat_sync.core import plan
from xnat_sync.core.model import Held, OnDisk, RemoteFile
from xnat_sync.core.plan import Decision, How, Kind

MEBIBYTE = 1024 * 1024
A, B, C = "a" * 32, "b" * 32, "c" * 32
SIZES, DIGESTS, TIMES = (0, 1, 2), (A, B), (5, 6)

REMOTES = [RemoteFile("f", size, md5) for size, md5 in product((None, *SIZES), (None, *DIGESTS))]
HELDS = [None, *(Held("r/f", "f", *each, "12") for each in product(SIZES, DIGESTS, TIMES))]
DISKS = [None, *(OnDisk(*each) for each in product(SIZES, TIMES, (True, False)))]

# (held, on disk, remote) -> whether the cell says it.
Case = tuple[Held | None, OnDisk | None, RemoteFile]
Cell = Callable[[Held | None, OnDisk | None, RemoteFile], bool]


def no_record(held: Held | None, _disk: OnDisk | None, _remote: RemoteFile) -> bool:
    return held is None


def record(held: Held | None, _disk: OnDisk | None, _remote: RemoteFile) -> bool:
    return held is not None


def nothing(_held: Held | None, disk: OnDisk | None, _remote: RemoteFile) -> bool:
    return disk is None


def a_file(_held: Held | None, disk: OnDisk | None, _remote: RemoteFile) -> bool:
    return disk is not None and disk.regular


def not_a_file(_held: Held | None, disk: OnDisk | None, _remote: RemoteFile) -> bool:
    return disk is not None and not disk.regular


def as_recorded(held: Held | None, disk: OnDisk | None, _remote: RemoteFile) -> bool:
    if held is None or disk is None or not disk.regular:
        return False
    return disk.size == held.size and disk.mtime_ns == held.mtime_ns


def otherwise(held: Held | None, disk: OnDisk | None, remote: RemoteFile) -> bool:
    return a_file(held, disk, remote) and not as_recorded(held, disk, remote)


def anything(_held: Held | None, _disk: OnDisk | None, _remote: RemoteFile) -> bool:
    return True


def size_differs(_held: Held | None, disk: OnDisk | None, remote: RemoteFile) -> bool:
    return disk is not None and remote.size is not None and remote.size != disk.size


def size_may_be_equal(held: Held | None, disk: OnDisk | None, remote: RemoteFile) -> bool:
    return not size_differs(held, disk, remote)


def equal(held: Held | None, _disk: OnDisk | None, remote: RemoteFile) -> bool:
    if held is None:
        return False
    right_size = remote.size is None or remote.size == held.size
    right_hash = remote.md5 is None or remote.md5 == held.md5
    return right_size and right_hash


def differs(held: Held | None, disk: OnDisk | None, remote: RemoteFile) -> bool:
    return not equal(held, disk, remote)


TABLE: dict[str, tuple[Cell, Cell, Cell, Decision]] = {
    "nothing | nothing | any | fetch: new": (no_record, nothing, anything, Decision(Kind.FETCH, "new")),
    "nothing | a file | size differs | conflict: foreign": (
        no_record,
        a_file,
        size_differs,
        Decision(Kind.CONFLICT, "foreign file here"),
    ),
    "nothing | a file | size may be equal | check (hash it)": (
        no_record,
        a_file,
        size_may_be_equal,
        Decision(Kind.CHECK, "must be hashed"),
    ),
    "held | nothing | any | fetch: missing here": (record, nothing, anything, Decision(Kind.FETCH, "missing here")),
    "held | as the ledger says | equal | skip: unchanged": (
        record,
        as_recorded,
        equal,
        Decision(Kind.SKIP, "unchanged"),
    ),
    "held | as the ledger says | differs | refetch: changed on server": (
        record,
        as_recorded,
        differs,
        Decision(Kind.REFETCH, "changed on server"),
    ),
    "held | otherwise | any | check (hash it)": (record, otherwise, anything, Decision(Kind.CHECK, "must be hashed")),
    "any | no regular file | any | conflict: not a file": (
        anything,
        not_a_file,
        anything,
        Decision(Kind.CONFLICT, "not a file here"),
    ),
}


def matching(held: Held | None, disk: OnDisk | None, remote: RemoteFile) -> Iterator[str]:
    for row, (*cells, _) in TABLE.items():
        if all(cell(held, disk, remote) for cell in cells):
            yield row


CASES: dict[str, list[Case]] = {row: [] for row in TABLE}
for _case in product(HELDS, DISKS, REMOTES):
    for _row in matching(*_case):
        CASES[_row].append(_case)


@pytest.mark.parametrize("row", TABLE)
def test_the_table_says_what_is_done(row: str) -> None:
    assert CASES[row]
    for held, disk, remote in CASES[row]:
        assert plan.decide(remote, held, disk) == TABLE[row][-1], (held, disk, remote)


def test_every_case_is_in_exactly_one_row() -> None:
    assert sum(map(len, CASES.values())) == len(HELDS) * len(DISKS) * len(REMOTES)
    assert all(len(list(matching(*case))) == 1 for case in product(HELDS, DISKS, REMOTES))


@pytest.mark.parametrize("row", TABLE)
def test_overwrite_turns_only_conflicts_over_a_regular_file_into_a_refetch(row: str) -> None:
    over = Decision(Kind.REFETCH, "overwritten") if row.endswith("conflict: foreign") else TABLE[row][-1]
    for held, disk, remote in CASES[row]:
        assert plan.decide(remote, held, disk, overwrite=True) == over, (held, disk, remote)


# After hashing: (the file's size and MD5, held, remote), rows in order, the first that fits.
HASHED: dict[str, tuple[Callable[[int, str, Held | None, RemoteFile], bool], Decision]] = {
    "the server's | any | adopt": (
        lambda size, md5, held, remote: remote.md5 == md5 and remote.size in (None, size),
        Decision(Kind.ADOPT, "already here"),
    ),
    "no digest listed | held, with this hash | adopt": (
        lambda size, md5, held, remote: (
            remote.md5 is None
            and remote.size in (None, size)
            and held is not None
            and (held.size, held.md5) == (size, md5)
        ),
        Decision(Kind.ADOPT, "already here"),
    ),
    "the ledger's | held | refetch: changed on server": (
        lambda size, md5, held, remote: held is not None and (held.size, held.md5) == (size, md5),
        Decision(Kind.REFETCH, "changed on server"),
    ),
    "neither | held | conflict: changed locally": (
        lambda size, md5, held, remote: held is not None,
        Decision(Kind.CONFLICT, "changed locally"),
    ),
    "neither | nothing | conflict: foreign": (
        lambda size, md5, held, remote: remote.md5 is not None,
        Decision(Kind.CONFLICT, "foreign file here"),
    ),
    "no digest listed | nothing | fetch: to compare": (
        lambda size, md5, held, remote: True,
        Decision(Kind.FETCH, "no digest to compare by"),
    ),
}
HASHED_CASES: dict[str, list[tuple[int, str, Held | None, RemoteFile]]] = {row: [] for row in HASHED}
for _size, _md5, _held, _remote in product(SIZES, (*DIGESTS, C), HELDS, REMOTES):
    _first = next(row for row, (fits, _) in HASHED.items() if fits(_size, _md5, _held, _remote))
    HASHED_CASES[_first].append((_size, _md5, _held, _remote))


@pytest.mark.parametrize("row", HASHED)
def test_the_table_says_what_is_done_after_hashing(row: str) -> None:
    assert HASHED_CASES[row]
    for size, md5, held, remote in HASHED_CASES[row]:
        assert plan.decide_hashed(remote, held, size, md5) == HASHED[row][-1], (size, md5, held, remote)


@pytest.mark.parametrize("row", HASHED)
def test_overwrite_replaces_what_is_neither_the_servers_nor_ours(row: str) -> None:
    kept = HASHED[row][-1].kind in (Kind.ADOPT, Kind.REFETCH)
    over = HASHED[row][-1] if kept else Decision(Kind.REFETCH, "overwritten")
    for size, md5, held, remote in HASHED_CASES[row]:
        assert plan.decide_hashed(remote, held, size, md5, overwrite=True) == over, (size, md5, held, remote)


@pytest.mark.parametrize("row", [*TABLE, *HASHED])
def test_the_docstring_has_the_same_row(row: str) -> None:
    assert row.replace(" |", "") in " ".join((plan.__doc__ or "").split())


def test_nothing_is_kept_that_contradicts_the_listing() -> None:
    for held, disk, remote, overwrite in product(HELDS, DISKS, REMOTES, (False, True)):
        if plan.decide(remote, held, disk, overwrite=overwrite).kind is Kind.SKIP:
            assert held is not None
            assert plan.same(remote, held.size, held.md5)
    for size, md5, held, remote, overwrite in product(SIZES, (*DIGESTS, C), HELDS, REMOTES, (False, True)):
        if plan.decide_hashed(remote, held, size, md5, overwrite=overwrite).kind is Kind.ADOPT:
            assert plan.same(remote, size, md5)


@pytest.mark.parametrize(
    ("size", "md5", "same"),
    [
        pytest.param(3, A, True, id="both as on disk"),
        pytest.param(None, A, True, id="size not told"),
        pytest.param(3, None, True, id="digest not told"),
        pytest.param(None, None, True, id="nothing told"),
        pytest.param(4, A, False, id="size differs"),
        pytest.param(0, A, False, id="size is told to be zero"),
        pytest.param(3, B, False, id="digest differs"),
        pytest.param(None, B, False, id="digest differs, size not told"),
        pytest.param(4, None, False, id="size differs, digest not told"),
    ],
)
def test_a_file_is_the_servers_as_far_as_the_server_tells(size: int | None, md5: str | None, same: bool) -> None:
    assert plan.same(RemoteFile("f", size, md5), 3, A) is same


@pytest.mark.parametrize(
    ("missing", "missing_bytes", "held_bytes", "how"),
    [
        pytest.param(0, 0, 0, How.SINGLES, id="nothing is missing"),
        pytest.param(1, 10, 0, How.SINGLES, id="one file"),
        pytest.param(2, 10, 0, How.ZIP, id="two small files"),
        pytest.param(2, 0, 0, How.ZIP, id="two files of no size or of unknown size"),
        pytest.param(2, 64 * MEBIBYTE - 1, 0, How.ZIP, id="two just under 32 MiB on average"),
        pytest.param(2, 64 * MEBIBYTE, 0, How.SINGLES, id="two of 32 MiB on average"),
        pytest.param(300, 300 * 32 * MEBIBYTE - 1, 0, How.ZIP, id="many just under 32 MiB on average"),
        pytest.param(300, 300 * 32 * MEBIBYTE, 0, How.SINGLES, id="many of 32 MiB on average"),
        pytest.param(2, 91, 9, How.ZIP, id="held less than a tenth"),
        pytest.param(2, 90, 10, How.SINGLES, id="held a tenth"),
        pytest.param(2, 901, 100, How.ZIP, id="held just less than a tenth"),
        pytest.param(2, 899, 100, How.SINGLES, id="held just more than a tenth"),
        pytest.param(2, 0, 1, How.SINGLES, id="something held, unknown missing"),
    ],
)
def test_how_the_missing_files_are_asked_for(missing: int, missing_bytes: int, held_bytes: int, how: How) -> None:
    assert plan.how(missing=missing, missing_bytes=missing_bytes, held_bytes=held_bytes) is how


@settings(deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 1 << 45), st.integers(0, 1 << 45))
def test_what_is_held_never_makes_a_zip_more_likely(missing: int, missing_bytes: int, held: int) -> None:
    way = plan.how(missing=missing, missing_bytes=missing_bytes, held_bytes=held)
    if way is How.ZIP:
        assert missing >= 2
        assert missing_bytes / missing < 32 * MEBIBYTE
        assert held == 0 or held / (held + missing_bytes) < 0.1 + 1e-9
        assert plan.how(missing=missing, missing_bytes=missing_bytes, held_bytes=held // 2) is How.ZIP
