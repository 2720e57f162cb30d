"""Sessions that end in mid-run: one new login for all workers, or a clean stop with a word on how to go on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from system.harness import truth
from system.warm import Run, WarmWorld, warm_world
from xnat_embedded import EVERY, Delay, ExpireDuring, Fault, KillSession, Site, small_site
from xnat_embedded.log import Exchange

NO_PASSWORD: dict[str, str | None] = {"XNAT_USER": None, "XNAT_PASS": None}


@pytest.fixture
def here(tmp_path: Path) -> Iterator[WarmWorld]:
    with warm_world(small_site(), tmp_path) as made:
        yield made


def killed_at(here: WarmWorld, part: float, run: Run, then: Callable[[], object] = lambda: None) -> None:
    """Let a run bring a part of the project, then end its session on the server, and do something ``then``."""
    scans = [scan for experiment in here.site.experiments() for scan in experiment.scans]
    whole = sum(int(resource.bytes_text()) for scan in scans for resource in scan.resources)
    assert here.until(lambda: here.data_bytes() >= whole * part, run)
    then()
    assert here.server.kill_sessions("demo") >= 1
    here.site.rate = None


def data_requests(here: WarmWorld) -> list[Exchange]:
    return [exchange for exchange in here.server.log if exchange.kind in ("zip", "file")]


# -- with a password -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("jobs", [1, 8])
def test_a_session_killed_in_mid_run_is_renewed_once_for_all_workers(here: WarmWorld, jobs: int) -> None:
    here.site.rate = 300_000
    run = here.begin_mirror("--jobs", str(jobs))
    killed_at(here, 0.3, run)
    done = run.done()
    assert done.code == 0, done
    assert here.tree() == truth(here.site)
    counts = here.server.counts
    assert counts.sessions_opened == 2
    assert counts.requests["login"] == 2
    assert here.server.sessions.get("demo", []) == []
    # The anonymous sessions that came with each 401 were never sent back.
    assert len({exchange.session for exchange in here.server.log if exchange.status == 200}) == 2


def test_sessions_killed_again_and_again_do_not_stop_a_run(here: WarmWorld) -> None:
    here.server.faults.add(Fault(KillSession(), "files", nth=3, count=1))
    here.server.faults.add(Fault(KillSession(), "zip", nth=2, count=1))
    here.server.faults.add(Fault(KillSession(), "zip", nth=7, count=1))
    here.server.faults.add(Fault(KillSession(), "resources", nth=5, count=1))
    here.server.faults.add(Fault(KillSession(), "file", nth=2, count=1))
    done = here.mirror("--jobs", "4")
    assert done.code == 0, done
    assert here.tree() == truth(here.site)
    assert here.server.counts.sessions_opened <= 6


def test_a_session_killed_before_every_answer_ends_the_run(here: WarmWorld) -> None:
    here.server.faults.add(Fault(KillSession(), "zip", count=EVERY))
    here.server.faults.add(Fault(KillSession(), "file", count=EVERY))
    done = here.mirror("--retries", "1")
    assert done.code in (3, 6, 7), done
    assert here.tree() == {}
    assert "Traceback" not in done.err
    assert here.server.counts.total < 800


def test_late_401s_do_not_undo_the_new_login(here: WarmWorld) -> None:
    """Four workers hang in requests whose session ends; their 401s come one after another, after the new login."""
    for number, delay in enumerate((1.0, 1.2, 1.4, 1.6), 1):
        here.server.faults.add(Fault(Delay(delay), "zip", nth=number))
    run = here.begin_mirror("--jobs", "4")
    assert here.until(lambda: here.server.counts.requests["zip"] >= 4, run)
    here.server.kill_sessions("demo")
    done = run.done()
    assert done.code == 0, done
    assert here.tree() == truth(here.site)
    assert here.server.counts.sessions_opened == 2
    assert sum(exchange.status == 401 for exchange in here.server.log if exchange.kind == "zip") == 4
    # Proved at the start, found to have ended, proved anew: who came late just repeated what he had asked.
    assert here.server.counts.requests["auth"] == 3


def test_a_session_that_expires_while_its_zip_streams_costs_no_byte(here: WarmWorld) -> None:
    fault = here.server.faults.add(Fault(ExpireDuring(), "zip", nth=2))
    done = here.mirror()
    assert done.code == 0, done
    assert here.server.faults.fired(fault) == 1
    assert here.tree() == truth(here.site)
    assert here.server.counts.sessions_opened == 2
    assert here.summary()["bytes"]["again"] == 0


def test_a_changed_password_in_mid_run_is_not_tried_again_and_again(here: WarmWorld) -> None:
    here.site.rate = 300_000
    run = here.begin_mirror("--jobs", "4")
    killed_at(here, 0.3, run, then=lambda: here.site.add_user("demo", "another"))
    done = run.done()
    assert done.code == 6, done
    assert "refused the login" in done.err
    assert here.server.counts.logins_refused == 1
    kept = here.tree()
    assert kept
    assert kept.items() <= truth(here.site).items()


# -- with a pasted session -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["option", "stdin", "environment"])
def test_a_pasted_session_serves_the_run_and_is_left_open(here: WarmWorld, way: str) -> None:
    pasted = here.server.open_session("demo")
    arguments = {"option": ("--jsession", pasted), "stdin": ("--jsession", "-"), "environment": ()}[way]
    env = NO_PASSWORD | ({"XNAT_JSESSION": pasted} if way == "environment" else {})
    done = here.mirror(*arguments, env=env, stdin=f"{pasted}\n" if way == "stdin" else "")
    assert done.code == 0, done
    assert here.tree() == truth(here.site)
    assert here.server.sessions["demo"] == [pasted]
    assert here.server.counts.requests["login"] == here.server.counts.requests["logout"] == 0
    assert {exchange.session for exchange in here.server.log} == {pasted}
    assert pasted not in done.out + done.err


def test_a_pasted_session_that_ends_stops_the_run_and_a_new_one_goes_on(here: WarmWorld) -> None:
    pasted = here.server.open_session("demo")
    here.site.rate = 300_000
    run = here.begin_mirror("--jsession", pasted, env=NO_PASSWORD)
    killed_at(here, 0.5, run)
    done = run.done()
    assert done.code == 6, done
    assert f"{here.server.url}/data/JSESSION" in done.err
    assert "--jsession -" in done.err
    assert "Traceback" not in done.err
    assert here.server.counts.requests["login"] == 0
    part = here.tree()
    assert part
    assert part.items() <= truth(here.site).items()
    # As a mistyped one: the id is proved before anything is asked for.
    asked = len(data_requests(here))
    done = here.mirror("--jsession", pasted, env=NO_PASSWORD)
    assert done.code == 6, done
    assert len(data_requests(here)) == asked

    usual = here.data_bytes()
    new = here.server.open_session("demo")
    done = here.mirror("--jsession", "-", env=NO_PASSWORD, stdin=new)
    assert done.code == 0, done
    assert here.tree() == truth(here.site)
    assert here.server.sessions["demo"] == [new]
    whole = sum((here.project / path).stat().st_size for path in truth(here.site))
    missing = whole - sum((here.project / path).stat().st_size for path in part)
    assert here.data_bytes() - usual <= missing + 2000 * len(data_requests(here))


def test_a_mistyped_session_asks_for_nothing(here: WarmWorld) -> None:
    done = here.mirror("--jsession", "0" * 32, env=NO_PASSWORD)
    assert done.code == 6, done
    assert not here.tree() if here.project.exists() else True
    assert here.server.counts.requests["experiments"] == 0


# -- a site where everybody may read something ---------------------------------------------------------------------


def open_site() -> Site:
    """Guests see the project and, in every list, only what is public: here nothing is missing but the files."""
    site = small_site()
    site.require_login = False
    project = site.project("PTV000")
    assert project is not None
    project.visibility = "public"
    return site


@pytest.mark.parametrize("visibility", ["private", "public"])
def test_what_an_open_site_tells_a_guest_is_never_believed(tmp_path: Path, visibility: str) -> None:
    """With its session gone a request runs as guest and is answered with 200, and lists are shorter."""
    site = open_site()
    site.project("PTV000").visibility = visibility  # type: ignore[union-attr]
    with warm_world(site, tmp_path) as here:
        for kind, nth in (("files", 2), ("experiments", 1), ("resources", 3), ("zip", 3), ("file", 2)):
            here.server.faults.add(Fault(KillSession(), kind, nth=nth))
        done = here.mirror()
        assert done.code == 0, done
        assert here.tree() == truth(site)
        assert here.server.counts.sessions_opened <= 6
        by_guests = [exchange for exchange in here.server.log if exchange.user in (None, "guest")]
        assert {exchange.kind for exchange in by_guests} >= {"files", "zip"}
        before = here.data_bytes()
        here.server.faults.clear()
        assert here.mirror().code == 0
        assert here.data_bytes() == before


def test_a_pasted_session_that_ends_on_an_open_site_stops_the_run(tmp_path: Path) -> None:
    site = open_site()
    with warm_world(site, tmp_path) as here:
        pasted = here.server.open_session("demo")
        here.server.faults.add(Fault(KillSession(), "files", nth=4))
        done = here.mirror("--jsession", pasted, env=NO_PASSWORD)
        assert done.code == 6, done
        assert "guest" in done.err
        assert here.tree().items() <= truth(site).items()
        done = here.mirror("--jsession", here.server.open_session("demo"), env=NO_PASSWORD)
        assert done.code == 0, done
        assert here.tree() == truth(site)


# -- a kept session ------------------------------------------------------------------------------------------------


def test_a_kept_session_that_ended_gives_way_to_the_password(here: WarmWorld) -> None:
    assert here.run("login").code == 0
    here.server.kill_sessions("demo")
    done = here.mirror()
    assert done.code == 0, done
    assert here.tree() == truth(here.site)
    assert here.server.counts.sessions_opened == 2
    assert here.server.counts.logins_refused == 0
    assert here.server.sessions.get("demo", []) == []


def test_a_kept_session_that_ends_in_mid_run_is_told_with_how_to_go_on(here: WarmWorld) -> None:
    assert here.run("login").code == 0
    here.site.rate = 300_000
    run = here.begin_mirror(env=NO_PASSWORD)
    killed_at(here, 0.3, run)
    done = run.done()
    assert done.code == 6, done
    assert "xnat-sync login" in done.err
    assert here.run("login").code == 0
    assert here.mirror(env=NO_PASSWORD).code == 0
    assert here.tree() == truth(here.site)
