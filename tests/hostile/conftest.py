"""Fixtures of the hostile tests, and the table of what the attacks cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from hostile.scene import Scene, few, scene
from xnat_embedded import Site

Make = Callable[[Site], Scene]


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Make]:
    """Makes the scene of an attack on a site."""
    with ExitStack() as stack:
        yield lambda site: stack.enter_context(scene(site, tmp_path / "outer"))


@pytest.fixture
def at(stage: Make) -> Scene:
    """The scene of an attack on two small sessions."""
    return stage(few(2))
