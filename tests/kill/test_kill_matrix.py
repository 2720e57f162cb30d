"""A sample of the kill matrix and of the power losses; ``make kill-matrix`` tries them all.

Of each kind of call that changes the disk, one is killed before it, one after it, and a write in the middle.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from kill.ground import laid
from kill.matrix import Outcome, sample, tried
from kill.power import look, moments, recover
from kill.scenarios import SCENARIOS
from kill.served import small
from system.harness import STATE
from system.warm import warm_world

CALLS = ("create", "mkdir", "open", "rename", "rmdir", "sync", "unlink", "write")
SAMPLES = [
    ("changed", CALLS, ""),
    ("zip-changed", ("truncate", "write"), " zip"),
    ("first", ("link",), ""),
]
STEP = 7  # every so many calls the power fails


@pytest.mark.parametrize(("name", "calls", "kind"), SAMPLES)
def test_a_kill_anywhere_is_made_up_for(tmp_path: Path, name: str, calls: tuple[str, ...], kind: str) -> None:
    with laid(SCENARIOS[name], tmp_path) as ground:
        points = sample(ground.log, calls, kind)
        assert {point.site.split()[0] for point in points} == {*calls}
        found = list(tried(ground, points))
    assert [(each.point, each.complaints) for each in found if each.complaints] == []
    assert sum(each.outcome is Outcome.NOT_REACHED for each in found) <= 2, "transfers side by side: it may happen"


@pytest.mark.parametrize("name", ["first", "changed", "zip-changed"])
def test_a_power_loss_is_made_up_for(tmp_path: Path, name: str) -> None:
    with laid(SCENARIOS[name], tmp_path) as ground:
        looked = look(ground, moments(ground, range(2), STEP))
        wrong = [(complaint, moment, ground.log[moment.at - 1].site) for moment, complaint in looked.first_of_each()]
        assert wrong == []
        assert looked.images > 150
        left = iter([True])
        for recovered in recover(ground, looked, lambda: next(left, False)):
            assert recovered.complaints == (), recovered.moment


def test_what_a_power_loss_brought_back_to_staging_goes_though_its_session_is_unchanged(tmp_path: Path) -> None:
    """What was removed last may come back, when the index has already said that the session is whole."""
    with warm_world(small(), tmp_path) as here:
        assert here.mirror().code == 0
        for ledger in (here.project / STATE / "sessions").glob("*.jsonl"):
            part = here.project / STATE / "staging" / ledger.stem / "7" / "parts" / "0.part.json"
            part.parent.mkdir(parents=True)
            part.write_text("{}")
        assert here.mirror("--dry-run").code == 0
        assert part.exists()
        here.server.clear_log()
        assert here.mirror().code == 0
        here.assert_no_leftovers()
        assert here.fetched_bytes() == 0
