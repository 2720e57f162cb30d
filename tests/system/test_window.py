"""The overnight window through the real command."""

from __future__ import annotations

from system.harness import World, truth


def test_when_the_window_closes_the_next_night_goes_on(here: World) -> None:
    here.site.rate = 30_000
    done = here.mirror("--max-duration", "1s")
    assert done.code == 10, done
    assert "the window closed" in done.err
    assert here.summary()["name"] == "window"
    log = next((here.project / ".xnat-sync" / "runs").glob("*/log.jsonl")).read_text()
    assert '"event": "window"' in log
    assert here.server.sessions.get("demo", []) == []
    night = here.tree()
    assert 0 < len(night) < len(truth(here.site))
    assert night.items() <= truth(here.site).items()
    here.site.rate = None
    assert here.mirror("--max-duration", "8h", "--stop-at", "06:00").code in (0, 10)
    assert here.mirror().code == 0
    assert here.tree() == truth(here.site)


def test_a_login_that_ends_before_the_window_is_told_at_the_start(here: World) -> None:
    here.site.token_timeout_s = 3600
    assert here.run("login", "--token").code == 0
    without: dict[str, str | None] = {"XNAT_USER": None, "XNAT_PASS": None}
    done = here.mirror("--max-duration", "7d", env=without)
    assert done.code == 0, done
    assert "this login ends" in done.err
    assert "this login ends" not in here.mirror("--max-duration", "1m", env=without).err


def test_bad_times_are_told(here: World) -> None:
    for option, value, right in (("--stop-at", "25:00", "06:00"), ("--max-duration", "8 hours", "8h")):
        done = here.mirror(option, value)
        assert (done.code, right in done.err) == (2, True), done
