"""For the tests of logging in: asking who we are, and files that only their owner may read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from system.harness import World

NOBODY: dict[str, str | None] = {"XNAT_USER": None, "XNAT_PASS": None}


def whoami(here: World, *arguments: str, env: Mapping[str, str | None] = {}, stdin: str = "") -> dict[str, Any]:
    done = here.run("whoami", "--json", *arguments, env=env, stdin=stdin)
    assert done.code == 0, done
    found = json.loads(done.out)
    assert isinstance(found, dict)
    return found


def private(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    return path


def kept(here: World, kind: str) -> Path:
    (found,) = (here.home / "state" / "xnat-sync" / kind).iterdir()
    return found


def assert_one_session_and_closed(here: World) -> None:
    counts = here.server.counts
    assert (counts.sessions_opened, counts.sessions_closed, counts.logins_refused) == (1, 1, 0)
