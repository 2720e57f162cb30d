"""Fixtures of the system tests: a small site, and a world around it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from system.harness import World, world
from xnat_embedded import Site, small_site


@pytest.fixture
def site() -> Site:
    return small_site()


@pytest.fixture
def here(site: Site, tmp_path: Path) -> Iterator[World]:
    with world(site, tmp_path) as made:
        yield made
