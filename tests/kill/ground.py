"""A scenario made ready: a server, DEST as the run finds it, and the record of one undisturbed run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import anyio

from system.harness import STATE, truth, truth_by_resource
from system.warm import WarmWorld, warm_world
from xnat_embedded import Site
from xnat_sync.core.layout import METADATA
from xnat_sync.flow.verify import Fault, Verifier
from xnat_sync.shell.mirror import Mirror

from . import calls, checks, image
from .calls import Call
from .checks import Facts
from .image import Image
from .scenarios import Scenario, run
from .served import PROJECT, resources, small
from .shadow import Shadow
from .tap import Orders


@dataclass
class Ground:
    """A scenario ready to be run, again and again, and what one undisturbed run does."""

    scenario: Scenario
    here: WarmWorld
    before: Image
    facts: Facts
    log: list[Call] = field(default_factory=list)
    after: Image = field(default_factory=Image)

    @property
    def in_hand(self) -> int:
        """Files that an earlier run has left in hand."""
        return checks.in_hand(self.before.below(PROJECT), self.facts).files

    def lay(self, found: Image | None = None) -> None:
        """Make DEST what it was before the run, or like ``found``."""
        image.write(self.before if found is None else found, self.here.dest)
        self.here.server.clear_log()

    def start(self, orders: Orders) -> int:
        """Run to the end, whatever it is; the code, or the number of the signal below zero."""
        command = (part.format(dest=self.here.dest) for part in self.scenario.command)
        done = self.here.run(*command, env={**self.scenario.environment, **orders.variable()})
        return done.code

    def mend(self) -> Iterator[str]:
        """Make up for what happened, undisturbed; what is wrong then."""
        for command, allowed in self.scenario.make_up:
            if complaint := run(self.here, command, allowed, self.scenario.environment):
                yield complaint
                return
        whole = image.read(self.here.project)
        found = checks.final(whole)
        here = checks.contents({at: file for at, file in found.items() if not self.facts.is_damaged(at, file)})
        wanted = {**self.facts.new, **self.facts.extra}
        yield from (f"left over: {path}" for path in here.keys() - wanted.keys())
        yield from (f"not as on the server: {path}" for path in wanted if here.get(path) != wanted[path])
        yield from checks.lost(whole, self.facts)
        yield from self.leftovers()
        verifier = Verifier(Mirror(str(self.here.project)), lambda size: None)  # as the command does, and faster
        anyio.run(verifier.run)
        yield from (str(found) for found in verifier.findings if found.fault is not Fault.FOREIGN)

    def leftovers(self) -> Iterator[str]:
        """What is left of a killed run in the state, and should not be."""
        state = image.read(self.here.project / STATE)
        for path in state.files:
            if path.startswith("staging/") and path != "staging/CACHEDIR.TAG":
                yield f"left over in staging: {path}"
            if path.startswith("lock."):
                yield f"left over of the lock: {path}"


@contextmanager
def laid(scenario: Scenario, home: Path) -> Iterator[Ground]:
    """Lay a scenario's ground. The record of its run, replayed on paper, must give just what is on the disk then."""
    home.mkdir(parents=True, exist_ok=True)
    with warm_world(small(), home) as here:
        here.dest.mkdir()
        scenario.before(here)
        before = image.read(here.dest)
        ground = Ground(scenario, here, before, _facts(scenario, here, before))
        ground.lay()
        log = home / "calls.jsonl"
        code = ground.start(Orders(str(here.dest), str(log)))
        assert code in scenario.ends_with, f"{scenario.name} ended with {code} undisturbed"
        ground.log, ground.after = calls.load(log), image.read(here.dest)
        seen = Shadow(before, ground.log).seen(len(ground.log))
        assert seen.differs(ground.after) == [], "not every call that changes the disk was recorded"
        records = checks.contents(checks.final(ground.after.below(PROJECT)))
        extra = {path: md5 for path, md5 in records.items() if path.endswith(f"/{METADATA}")}
        ground.facts = replace(ground.facts, extra=extra)
        yield ground


def _facts(scenario: Scenario, here: WarmWorld, before: Image) -> Facts:
    new, files = truth(here.site), checks.final(before.below(PROJECT))
    old = checks.contents(files)
    fresh = {
        folder: [f"{folder}/{path}" for path in paths]
        for folder, paths in truth_by_resource(here.site).items()
        if not any(path.startswith(f"{folder}/") for path in old)
    }
    damaged: dict[str, str] = {}
    if scenario.damages:
        damaged = dict.fromkeys(new.keys() - old.keys(), "")
        for path, file in files.items():
            if not checks.contents({path: file}).items() <= new.items():
                damaged[path] = file.md5
    return Facts(old, new, _sizes(here.site), fresh, _moves(here, before), _undigested(here.site), damaged)


def _moves(here: WarmWorld, before: Image) -> dict[str, str]:
    index = before.files.get(f"{PROJECT}/{STATE}/index.jsonl", image.File(b"")).data.decode()
    stood = {entry["id"]: entry["folder"] for entry in map(json.loads, index.splitlines()) if "folder" in entry}
    folders = {session.id: f"{session.subject.label}/{session.label}" for session in here.site.experiments()}
    return {stood[unit]: folder for unit, folder in folders.items() if stood.get(unit, folder) != folder}


def _undigested(site: Site) -> frozenset[str]:
    """Paths of files of which the site lists no digest."""
    of_none = {entry.content.md5() for resource in resources(site) for entry in resource.entries
               if entry.content is not None and not entry.digest_text()}  # fmt: skip
    return frozenset(path for path, md5 in truth(site).items() if md5 in of_none)


def _sizes(site: Site) -> dict[str, int]:
    contents = [entry.content for resource in resources(site) for entry in resource.entries]
    return {content.md5(): content.size for content in contents if content is not None}
