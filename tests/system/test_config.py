"""Profiles, precedence and the config commands, through the real command."""

from __future__ import annotations

import json
import stat
import tomllib
from pathlib import Path
from typing import Any

import pytest

from system.harness import World, truth
from xnat_sync.core.settings import OPTIONS

SAMPLES = sorted((Path(__file__).parents[2] / "configs").glob("*.toml"))
BARE: dict[str, str | None] = {"XNAT_HOST": None, "XNAT_USER": None, "XNAT_PASS": None}


def write(here: World, text: str) -> Path:
    path = here.home / "config" / "xnat-sync" / "config.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def shown(here: World, *arguments: str, env: dict[str, str | None] = BARE) -> dict[str, tuple[str, str]]:
    done = here.run("config", "show", "--json", *arguments, env=env)
    assert done.code == 0, done
    rows: list[dict[str, Any]] = json.loads(done.out)
    return {row["setting"]: (row["value"], row["source"]) for row in rows}


def test_option_before_environment_before_profile_before_default(here: World) -> None:
    path = write(here, 'default_profile = "work"\n[profiles.work]\njobs = 5\nlisters = 3\nretries = 9\n')
    found = shown(here, "--jobs", "7", env={**BARE, "XNAT_SYNC_JOBS": "6", "XNAT_SYNC_LISTERS": "4"})
    assert found["jobs"] == ("7", "option --jobs")
    assert found["listers"] == ("4", "environment XNAT_SYNC_LISTERS")
    assert found["retries"] == ("9", f"profile work of {path}")
    assert found["idle_timeout"] == ("3m", "default")
    assert list(found) == [option.name for option in OPTIONS]


def test_a_profile_mirrors(here: World) -> None:
    vault = here.home / "vault"
    vault.write_text("demo-password\n")
    write(
        here,
        f"""
        [profiles.cron]
        host = "{here.server.url}"
        user = "demo"
        password-command = "cat {vault}"
        dest = "~/scratch"
        quiet = true
        """,
    )
    done = here.run("project", "PTV000", "--profile", "cron", env=BARE)
    assert (done.code, done.out, done.err) == (0, "", ""), done
    assert here.tree() == truth(here.site)
    assert here.run("--profile", "cron", "whoami", env=BARE).code == 0
    assert here.run("whoami", env={**BARE, "XNAT_SYNC_PROFILE": "cron"}).code == 0


def test_no_other_site_is_told_the_login_of_a_profile(here: World) -> None:
    write(
        here,
        """
        default_profile = "work"
        [profiles.work]
        host = "https://xnat.example.org"
        user = "demo"
        password_command = "echo demo-password"
        """,
    )
    done = here.run("whoami", env={**BARE, "XNAT_HOST": here.server.url})
    assert done.code == 2, done
    assert here.server.log == []


def test_secrets_are_masked(here: World) -> None:
    env = {**BARE, "XNAT_PASS": "HUSH-1", "XNAT_JSESSION": "HUSH-2", "XNAT_SYNC_PROXY": "http://me:HUSH-3@proxy:3128"}
    for arguments in (["config", "show"], ["config", "show", "--json"]):
        done = here.run(*arguments, "--password-command", "echo HUSH-4", env=env)
        assert done.code == 0, done
        assert "HUSH" not in done.out + done.err
        assert "environment XNAT_PASS" in done.out
        assert "***@proxy:3128" in done.out


@pytest.mark.parametrize(
    ("text", "arguments", "says"),
    [
        ("[profiles.a]\njobz = 8", [], "profile a: there is no setting 'jobz'; did you mean jobs?"),
        ("[profiles.a]\npassword = 'HUSH'", [], "secrets do not belong in this file"),
        ("[profiles.work]\n", ["--profile", "wrok"], "has no profile 'wrok'; did you mean work?"),
        ("[profiles.a]\njobs = 99", ["--profile", "a"], "jobs is '99'"),
        ("[profiles", [], "is no TOML"),
    ],
)
def test_a_mistake_in_the_file_is_one_line(here: World, text: str, arguments: list[str], says: str) -> None:
    path = write(here, text)
    done = here.run("whoami", *arguments)
    assert done.code == 2, done
    assert says in done.err
    assert str(path) in done.err
    assert "HUSH" not in done.err
    assert len(done.err.splitlines()) == 1
    assert here.run("config", "path", *arguments).code == 0  # Where the mistake is can still be asked.


def test_a_profile_that_cannot_be_looked_up(here: World) -> None:
    done = here.run("whoami", "--profile", "work")
    assert done.code == 2, done
    assert "xnat-sync config init" in done.err
    done = here.run("whoami", "--config", str(here.home / "none.toml"))
    assert done.code == 2, done


def test_a_file_that_everybody_may_write_to_is_refused(here: World) -> None:
    path = write(here, "")
    path.chmod(0o666)
    done = here.run("whoami")
    assert done.code == 2, done
    assert f"chmod o-w {path}" in done.err


def test_config_path_and_init(here: World) -> None:
    where = here.home / "config" / "xnat-sync" / "config.toml"
    assert here.run("config", "path", env=BARE).out == f"{where}\n"
    elsewhere = here.home / "other.toml"
    assert here.run("config", "path", "--config", str(elsewhere), env=BARE).out == f"{elsewhere}\n"
    done = here.run("config", "init", env=BARE)
    assert done.code == 0, done
    assert str(where) in done.out
    assert stat.S_IMODE(where.stat().st_mode) == 0o600
    assert here.run("whoami").code == 0  # All in it is commented out.
    again = here.run("config", "init", env=BARE)
    assert again.code == 2, again
    assert "left as it is" in again.err


def test_the_sample_names_every_setting_that_a_profile_may_hold(here: World) -> None:
    path = here.home / "sample.toml"
    assert here.run("config", "init", "--config", str(path), env=BARE).code == 0
    text = path.read_text()
    live = text.replace("# default_profile", "default_profile")
    for option in OPTIONS:
        assert (f"\n# {option.name} = " in live) is option.profile, option.name
        live = live.replace(f"\n# {option.name} = ", f"\n{option.name} = ")
    assert set(tomllib.loads(live)["profiles"]["work"]) == {option.name for option in OPTIONS if option.profile}


def test_there_are_samples() -> None:
    assert {path.stem for path in SAMPLES} >= {"workstation", "cron", "federated"}


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_the_samples_load_and_set_what_they_say(here: World, sample: Path) -> None:
    document = tomllib.loads(sample.read_text())
    assert "#" in sample.read_text()
    for name, table in document["profiles"].items():
        found = shown(here, "--config", str(sample), "--profile", name)
        for key in table:
            assert found[key.replace("-", "_")][1] == f"profile {name} of {sample}"
    chosen = document.get("default_profile")
    if chosen:
        assert shown(here, "--config", str(sample))["host"][1] == f"profile {chosen} of {sample}"
