"""Fixtures of the system tests: a small site, and a world around it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from system.harness import DISK
from system.warm import WarmWorld, warm_world
from xnat_embedded import Site, small_site


@pytest.fixture
def site() -> Site:
    return small_site()


@pytest.fixture
def here(site: Site, tmp_path: Path) -> Iterator[WarmWorld]:
    with warm_world(site, tmp_path) as made:
        yield made
        made.assert_no_secrets()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of 2 MiB."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root may mount a small file system")
    path = tmp_path / "scratch"
    path.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", path], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip("no small file system can be mounted here")
    yield path
    subprocess.run(["umount", "-l", path], capture_output=True, check=False)
