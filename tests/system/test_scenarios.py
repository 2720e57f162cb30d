"""Random, seeded histories: the server changes, the mirror is damaged, and a run makes the tree the server's again.

The model is simple: after a run every file is the server's, and what was fetched is what could not be found here. A
file can be found here if its bytes lie at its place, or anywhere in the same experiment under the record of our own.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from system.harness import STATE, World, truth
from xnat_embedded import Experiment, Resource, Server, empty_site

NUMBERS = st.integers(0, 1 << 30)
OVERHEAD = 400  # bytes of headers that a zip needs for a member


class Scenario(RuleBasedStateMachine):
    """One project, its mirror, and what may happen to either."""

    @initialize()
    def begin(self) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="scenario-"))
        self.site = empty_site()
        self.project = self.site.add_project("PTV000", members=("demo",))
        self.serial = 0
        self.changed = True
        for number in range(2):
            subject = self.project.add_subject(f"S{number}")
            for _ in range(2):
                self._session(subject.add_session(self._name("MR")))
        self.server = Server(self.site)
        self.server.start()
        self.world = World(self.server, self.site, self.home)

    def teardown(self) -> None:
        if hasattr(self, "server"):
            self.server.stop()
            shutil.rmtree(self.home)

    def _name(self, stem: str) -> str:
        self.serial += 1
        return f"{stem}{self.serial}"

    def _data(self) -> bytes:
        self.serial += 1
        return hashlib.sha512(str(self.serial).encode()).digest() * (self.serial % 40 + 1)

    def _session(self, session: Experiment) -> None:
        for scan in ("1", "2"):
            made = session.add_scan(scan, "t1").add_resource("DICOM")
            for number in range(4):
                made.add_file(f"{number}.dcm", self._data())

    def _sessions(self) -> list[Experiment]:
        return list(self.site.experiments_in(self.project))

    def _resource(self, number: int) -> Resource | None:
        found = [r for e in self._sessions() for scan in e.scans for r in scan.resources if r.entries]
        return found[number % len(found)] if found else None

    def _local(self, number: int) -> Path | None:
        found = sorted(self.world.tree())
        return self.world.project / found[number % len(found)] if found else None

    # -- the server changes -----------------------------------------------------------------------------------------

    @rule()
    def a_session_comes(self) -> None:
        self._session(self.project.subjects[0].add_session(self._name("MR")))

    @rule(number=NUMBERS)
    def a_file_comes(self, number: int) -> None:
        if resource := self._resource(number):
            resource.add_file(self._name("new") + ".dcm", self._data())

    @rule(number=NUMBERS)
    def a_file_is_replaced_by_one_of_the_same_size(self, number: int) -> None:
        if resource := self._resource(number):
            entry = resource.entries[number % len(resource.entries)]
            assert entry.content is not None
            resource.replace_file(entry.path, hashlib.sha512(self._data()).digest() * (entry.content.size // 64))

    @rule(number=NUMBERS)
    def a_file_goes(self, number: int) -> None:
        if resource := self._resource(number):
            resource.remove_file(resource.entries[number % len(resource.entries)].path)

    @rule(number=NUMBERS)
    def a_session_goes(self, number: int) -> None:
        sessions = self._sessions()
        if len(sessions) > 2:
            sessions[number % len(sessions)].remove()

    @rule(number=NUMBERS)
    def a_session_is_renamed(self, number: int) -> None:
        sessions = self._sessions()
        sessions[number % len(sessions)].rename(self._name("Renamed"))

    @rule(number=NUMBERS)
    def a_session_moves_to_the_other_subject(self, number: int) -> None:
        session = self._sessions()[number % len(self._sessions())]
        session.move(next(one for one in self.project.subjects if one is not session.subject))

    @rule(number=NUMBERS)
    def a_subject_is_renamed(self, number: int) -> None:
        self.project.subjects[number % 2].rename(self._name("Subject"))

    # -- the mirror is damaged --------------------------------------------------------------------------------------

    @rule(number=NUMBERS)
    def a_file_is_deleted_here(self, number: int) -> None:
        if path := self._local(number):
            path.unlink()

    @rule(number=NUMBERS)
    def a_file_is_edited_here(self, number: int) -> None:
        if path := self._local(number):
            path.write_bytes(b"edited" * (number % 9))

    @rule(number=NUMBERS)
    def a_file_is_touched_here(self, number: int) -> None:
        if path := self._local(number):
            path.touch()

    @precondition(lambda self: (self.world.project / STATE).exists())
    @rule(number=NUMBERS)
    def a_ledger_is_damaged(self, number: int) -> None:
        ledgers = sorted((self.world.project / STATE / "sessions").glob("*.jsonl"))
        if ledgers:
            path = ledgers[number % len(ledgers)]
            path.write_bytes(path.read_bytes()[: -(number % 90)])

    @precondition(lambda self: (self.world.project / STATE).exists())
    @rule()
    def the_index_is_lost(self) -> None:
        (self.world.project / STATE / "index.jsonl").unlink(missing_ok=True)

    # -- a run ------------------------------------------------------------------------------------------------------

    @rule()
    def a_run(self) -> None:
        wanted, here = truth(self.site), self.world.tree()
        sizes = {path: self._size(path) for path in wanted}
        at_place = {path for path, md5 in wanted.items() if here.get(path) == md5}
        anywhere = set(here.values())
        # A renamed unit is found under its old name, so the model asks only for bytes that lie nowhere here.
        owed = sum(sizes[path] for path, md5 in wanted.items() if md5 not in anywhere)
        most = sum(sizes[path] for path in wanted if path not in at_place)
        before = self.world.fetched_bytes()
        done = self.world.mirror("--overwrite", "--delete", "--max-delete", "100%")
        assert done.code == 0, done
        assert self.world.tree() == wanted
        cost = self.world.fetched_bytes() - before
        assert owed <= cost <= max(owed, most) * 10 / 9 + OVERHEAD * len(wanted)
        if owed == most == 0:
            assert cost == 0
        again = self.world.fetched_bytes()
        assert self.world.mirror().code == 0
        assert self.world.fetched_bytes() == again

    def _size(self, path: str) -> int:
        subject, label, _, scan, resource, name = path.split("/", 5)
        session = next(e for e in self._sessions() if (e.subject.label, e.label) == (subject, label))
        content = session.scan(scan).resource(resource)[name].content
        assert content is not None
        return content.size


TestScenarios = Scenario.TestCase
TestScenarios.settings = settings(
    max_examples=8,
    stateful_step_count=14,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
