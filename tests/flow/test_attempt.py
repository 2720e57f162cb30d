"""The one loop that tries again: how often, for how long, and when it says that the server is gone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import cast

import anyio
import pytest

from xnat_sync.core import events, retry
from xnat_sync.core.errors import Broken, DiskTrouble, ItemError, Refused, ServerUnavailable, Transient, Vanished
from xnat_sync.core.events import Event
from xnat_sync.flow import conduct
from xnat_sync.flow.attempt import GONE_AFTER, Attempts
from xnat_sync.flow.bus import Bus
from xnat_sync.shell.net import Client


class FakeClient:
    """What the loop and the heartbeat need of a client."""

    def __init__(self) -> None:
        self.held_back: list[float] = []
        self.idle_limit: float | None = None
        self.silence = 0.0
        self.asked = 0
        self.trouble: list[Exception] = []

    def hold_back(self, seconds: float) -> None:
        self.held_back.append(seconds)

    def silent_for(self) -> float:
        return self.silence

    async def whoami(self) -> str | None:
        self.asked += 1
        self.silence = 0.0
        if self.trouble:
            raise self.trouble.pop()
        return "demo"


class Bench:
    def __init__(self, monkeypatch: pytest.MonkeyPatch, **policy: int) -> None:
        self.client, self.told, self.slept = FakeClient(), list[Event](), list[float]()
        self.attempts = Attempts(cast("Client", self.client), Bus(self.told.append), retry.Policy(**policy))
        self.calls = 0

        async def sleep(seconds: float) -> None:
            self.slept.append(seconds)

        monkeypatch.setattr(anyio, "sleep", sleep)

    async def __call__(self, outcomes: Sequence[object], progress: Callable[[], int] = lambda: 0) -> object:
        """Try something that has these outcomes one after the other, the last again and again."""

        async def operation() -> object:
            outcome = outcomes[min(self.calls, len(outcomes) - 1)]
            self.calls += 1
            if isinstance(outcome, Exception):
                raise outcome
            return outcome

        return await self.attempts("something", operation, progress)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(monkeypatch, tries=5)


def passing(status: int | None = None) -> Transient:
    return Transient("it may pass", status=status)


async def test_success_at_last(bench: Bench) -> None:
    assert await bench([passing(), passing(503), "well"]) == "well"
    assert len(bench.slept) == 2
    assert bench.client.held_back == [bench.slept[1]]
    assert [event.tried for event in bench.told if isinstance(event, events.Retrying)] == [1, 2]


@pytest.mark.parametrize(
    ("error", "calls"),
    [
        (passing(), 6),
        (passing(503), 6),
        (passing(500), 3),
        (Broken("cut"), 3),
        (Vanished("gone"), 1),
        (Refused("no"), 1),
    ],
)
async def test_every_error_has_its_budget(bench: Bench, error: ItemError, calls: int) -> None:
    with pytest.raises(type(error)):
        await bench([error])
    assert bench.calls == calls


async def test_what_ends_the_run_is_not_tried_again(bench: Bench) -> None:
    with pytest.raises(DiskTrouble):
        await bench([DiskTrouble("full")])
    assert (bench.calls, bench.slept) == (1, [])


async def test_a_gain_gives_the_whole_budget_back(bench: Bench) -> None:
    gains: Iterator[int] = iter([0, *(n for n in range(1, 11) for _ in range(2)), *[10] * 99])
    with pytest.raises(Transient):
        await bench([passing()], progress=lambda: next(gains))
    assert 11 <= bench.calls <= 20


async def test_without_a_gain_it_ends(bench: Bench) -> None:
    """Bytes that come again and again are none: see ``fetch``."""
    with pytest.raises(Broken):
        await bench([Broken("other bytes")], progress=lambda: 70_000)
    assert bench.calls == 3


async def test_several_things_in_a_row_without_an_answer_mean_that_the_server_is_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench = Bench(monkeypatch, tries=1)
    for _ in range(GONE_AFTER - 1):
        with pytest.raises(Transient):
            await bench([passing(503)])
    bench.client.trouble = [passing(503)]
    with pytest.raises(ServerUnavailable, match="run again"):
        await bench([passing(503)])


async def test_several_things_that_cannot_be_had_are_not_the_end_of_a_server_that_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench = Bench(monkeypatch, tries=1)
    for _ in range(3 * GONE_AFTER):
        with pytest.raises(Transient):
            await bench([passing(503)])
    assert bench.client.asked == 3


@pytest.mark.parametrize("error", [passing(500), Broken("cut"), Vanished("gone")])
async def test_an_answer_that_says_no_does_not_mean_that_it_is_gone(
    monkeypatch: pytest.MonkeyPatch, error: ItemError
) -> None:
    bench = Bench(monkeypatch, tries=0)
    for _ in range(3 * GONE_AFTER):
        with pytest.raises(type(error)):
            await bench([error])


async def test_one_success_between_says_that_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch, tries=0)
    for _ in range(3):
        for _ in range(GONE_AFTER - 1):
            bench.calls = 0
            with pytest.raises(Transient):
                await bench([passing()])
        assert await bench(["well"]) == "well"


# -- the heartbeat -------------------------------------------------------------------------------------------------


async def _beat(client: FakeClient, monkeypatch: pytest.MonkeyPatch, *, turns: int, busy: bool = False) -> list[float]:
    """Let the heartbeat go so many turns on a clock of ours; what it slept."""
    slept: list[float] = []
    sleep = anyio.sleep

    async def skip(seconds: float) -> None:
        slept.append(seconds)
        client.silence = 0.5 if busy else client.silence + seconds
        if len(slept) > turns:
            scope.cancel()
        await sleep(0)

    monkeypatch.setattr(anyio, "sleep", skip)
    with anyio.CancelScope() as scope:
        await conduct.heartbeat(cast("Client", client))
    return slept


async def test_a_silent_run_asks_well_before_the_session_would_idle_away(monkeypatch: pytest.MonkeyPatch) -> None:
    client = FakeClient()
    client.idle_limit = 900.0
    slept = await _beat(client, monkeypatch, turns=6)
    assert client.asked == 6
    assert max(slept) <= 900 / 2 - 20


async def test_a_busy_run_needs_no_heartbeat(monkeypatch: pytest.MonkeyPatch) -> None:
    client = FakeClient()
    await _beat(client, monkeypatch, turns=20, busy=True)
    assert client.asked == 0


async def test_a_heartbeat_that_fails_once_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    client = FakeClient()
    client.trouble = [passing(), passing(502)]
    await _beat(client, monkeypatch, turns=6)
    assert client.asked >= 4
