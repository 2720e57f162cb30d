"""The state on disk, after whatever happened to it: ledgers and the index, as any bytes at all.

The invariants stand with each target.
"""

from __future__ import annotations

import math
import zlib

from xnat_sync.core import index, ledger
from xnat_sync.core.ledger import Replay
from xnat_sync.core.model import Held, Level, Place, Resource, Unit, UnitKind

UNIT = Unit(UnitKind.EXPERIMENT, "P1", "XNAT_E1", "MR1", "S1/MR1", "S1", "XNAT_S1", last_modified="2026-01-31")
DICOM = Resource(UNIT, Place(Level.SCAN, "4"), "12", "DICOM", (), "scans/4/DICOM")
GOOD = [Held("scans/4/DICOM/1.dcm", "1.dcm", 5, "9e107d9d372bb6826bd81d3542a419d6", 7, "12")]


def any_ledger(data: bytes) -> None:
    """1. Nothing is raised. What is held is of the right types, and sizes and times are numbers.
    2. A damaged line costs itself: without it the ledger says the same, and what comes after it is held.
    3. Compacted, a ledger says the same of all files in no damaged line; compacted again, it is the same text.
    4. Torn at any byte, a compacted ledger holds nothing that the whole does not, and at most one line is damaged.
    """
    text = data.decode("utf-8", "replace")
    state = ledger.replay(text)
    assert 0 <= state.damaged <= state.lines <= text.count("\n") + 1
    assert state.extra <= state.files.keys()
    for at, held in state.files.items():
        assert at == held.at
        texts = (held.at, held.path, held.md5, held.resource, held.archive)
        assert all(type(value) is str for value in texts)
        assert all(type(value) is int for value in (held.size, held.mtime_ns, held.archive_size))
    sound = ledger.replay("\n".join(line for line in text.split("\n") if not ledger.replay(line).damaged))
    assert (sound.damaged, says(sound)) == (0, says(state)), "a damaged line cost more than itself"
    more = ledger.replay(f"{text}\n{ledger.held_line(DICOM, GOOD)}")
    assert more.files == state.files | {GOOD[0].at: GOOD[0]}
    short = ledger.compacted(UNIT, state)
    again = ledger.replay(short)
    assert (again.files, again.extra, again.damaged) == (state.files, state.extra, 0), "compacted, it says other things"
    assert again.labels == {held.resource: state.labels[held.resource] for held in state.files.values()}
    assert again.hooked == state.hooked
    assert ledger.compacted(UNIT, again) == short
    torn = ledger.replay(short[: zlib.crc32(data) % (len(short) + 1)])
    assert torn.damaged <= 1
    assert torn.files.items() <= state.files.items()


def says(state: Replay) -> tuple[object, ...]:
    """All but the count of lines."""
    return state.unit, state.folder, state.files, state.labels, state.extra, state.hooked, state.changed


def any_index(data: bytes) -> None:
    """1. Nothing is raised, neither by reading nor by what is then asked of it, whatever the clock says.
    2. What is found is of the right types, its time a time; compacted, the index says the same.
    3. A line alone says what it says among others, if no other is of the same unit.
    4. ``due`` names units that are known: all, where listings are to be repeated at once.
    """
    text = data.decode("utf-8", "replace")
    found = index.replay(text)
    for accession, seen in found.items():
        assert accession == seen.id
        assert all(isinstance(value, str) for value in (seen.id, seen.label, seen.folder, seen.last_modified))
        assert math.isfinite(seen.listed), "a time that is none"
    assert index.replay(index.compacted(found.values())) == found
    units = [Unit(UnitKind.EXPERIMENT, "P", seen.id, seen.label, seen.folder) for seen in found.values()]
    for now, after in ((1_700_000_010.0, 604_800.0), (0.0, 1.0), (1_800_000_000.0, 0.0)):
        again = index.due(found.values(), now, after)
        assert again <= found.keys()
        assert after or again == found.keys()
        assert not index.current(units, found, again) & again
    for line in text.split("\n"):
        for accession, seen in index.replay(line).items():
            if text.count("\n") == line.count("\n"):
                assert found == {accession: seen}
