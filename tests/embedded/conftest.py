"""Servers and probes for the tests of the embedded XNAT."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from embedded.probe import Probe
from xnat_embedded import Server, Site, empty_site, odd_site, small_site


@pytest.fixture
def site() -> Site:
    """A small demonstration site of the test's own."""
    return small_site()


@pytest.fixture
def server(site: Site) -> Iterator[Server]:
    with Server(site) as running:
        yield running
        assert running.failures == []


@pytest.fixture
def probe(server: Server) -> Probe:
    """A probe that has not logged in."""
    return Probe(server)


@pytest.fixture
def demo(server: Server) -> Probe:
    """A probe logged in as ``demo``."""
    probe = Probe(server)
    probe.log_in()
    return probe


@pytest.fixture
def bare() -> Site:
    """A site with users and nothing else."""
    return empty_site()


@pytest.fixture(scope="module")
def odd_server() -> Iterator[Server]:
    """The odd site; its tests only read it."""
    with Server(odd_site()) as running:
        yield running


@pytest.fixture
def odd(odd_server: Server) -> Probe:
    probe = Probe(odd_server)
    probe.log_in()
    return probe
