"""Random, seeded histories: the server changes, the mirror is damaged, faults strike, clocks jump; then a run.

After each run the tree is the model's and the bytes that the server sent are those the model says were owed, to the
byte. The model knows what the contract promises and nothing of how it is kept: what lies at its place is not fetched,
nor what lies elsewhere in the same experiment by the mirror's own record; of the rest of a resource, two files or more
come as one zip unless a tenth of its bytes is here, and all else file by file.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from system.harness import STATE, md5_tree
from system.warm import WarmWorld
from xnat_embedded import DropMember, Effect, Experiment, Fault, KillSession, Resource, Server, Status, empty_site

NUMBERS = st.integers(0, 1 << 30)
DAY = 86400.0


@dataclass
class Owed:
    """What the model expects of one run.

    ``zips`` are the resources that come as one zip, with the paths wanted of each; ``kept`` is what ``--delete`` must
    leave, since it was changed here.
    """

    bytes: int = 0
    zips: list[tuple[str, Resource, set[str]]] = field(default_factory=list)
    kept: dict[str, str] = field(default_factory=dict)


@dataclass
class Recorded:
    """What a ledger says, read with a model's eyes: the folder, and path in it -> MD5."""

    folder: str | None = None
    files: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, path: Path) -> Recorded:
        """Replay a ledger as the contract describes it."""
        made = cls()
        for line in path.read_bytes().split(b"\n") if path.exists() else ():
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if "held" in entry:
                for row in entry["files"]:
                    made.files[f"{entry['folder']}/{row.get('at', row['path'])}"] = row["md5"]
            elif "gone" in entry:
                for at in entry["gone"]:
                    made.files.pop(at, None)
            elif "folder" in entry:
                made.folder = entry["folder"]
        return made


class Scenario(RuleBasedStateMachine):
    """One project, its mirror, and what may happen to either."""

    @initialize()
    def begin(self) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="scenario-"))
        self.site = empty_site()
        self.project = self.site.add_project("PTV000", members=("demo",))
        self.serial = 0
        self.silent = False  # whether something changed that no date on the server tells
        self.clock = 0.0  # how far the mirror's clock is ahead
        for number in range(2):
            subject = self.project.add_subject(f"S{number}")
            for _ in range(2):
                self._session(subject.add_session(self._name("MR")))
        self.server = Server(self.site)
        self.server.start()
        self.world = WarmWorld(self.server, self.site, self.home)

    def teardown(self) -> None:
        if hasattr(self, "server"):
            self.world.end()
            self.server.stop()
            shutil.rmtree(self.home)

    def _name(self, stem: str) -> str:
        self.serial += 1
        return f"{stem}{self.serial}"

    def _data(self, blocks: int = 0) -> bytes:
        self.serial += 1
        return hashlib.sha512(str(self.serial).encode()).digest() * (blocks or self.serial % 40 + 1)

    def _session(self, session: Experiment) -> None:
        for scan in ("1", "2"):
            made = session.add_scan(scan, "t1").add_resource("DICOM")
            for number in range(4):
                made.add_file(f"{number}.dcm", self._data())

    def _sessions(self) -> list[Experiment]:
        return list(self.site.experiments_in(self.project))

    def _any_session(self, number: int) -> Experiment:
        return self._sessions()[number % len(self._sessions())]

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

    @rule(number=NUMBERS, count=st.integers(1, 3))
    def files_come(self, number: int, count: int) -> None:
        if resource := self._resource(number):
            for _ in range(count):
                resource.add_file(self._name("new") + ".dcm", self._data())

    @rule(number=NUMBERS)
    def a_resource_comes(self, number: int) -> None:
        scan = self._any_session(number).scans[0]
        made = scan.add_resource(self._name("R"))
        made.add_file("only.dat", self._data())

    @rule(number=NUMBERS, tells=st.booleans())
    def a_file_is_replaced_by_one_of_the_same_size(self, number: int, tells: bool) -> None:
        if resource := self._resource(number):
            entry = resource.entries[number % len(resource.entries)]
            assert entry.content is not None
            resource.replace_file(entry.path, self._data(entry.content.size // 64), touch=tells)
            self.silent |= not tells

    @rule(number=NUMBERS)
    def a_file_goes(self, number: int) -> None:
        if resource := self._resource(number):
            resource.remove_file(resource.entries[number % len(resource.entries)].path)

    @rule(number=NUMBERS)
    def a_scan_is_renamed(self, number: int) -> None:
        session = self._any_session(number)
        old = session.scans[-1]
        new = session.add_scan(self._name(""), "t1")
        for resource in old.resources:
            made = new.add_resource(resource.label)
            for entry in resource.entries:
                assert entry.content is not None
                made.add_file(entry.path, entry.content)
        old.remove()

    @rule(number=NUMBERS)
    def a_session_goes(self, number: int) -> None:
        if len(self._sessions()) > 2:
            self._any_session(number).remove()

    @rule(number=NUMBERS)
    def a_session_is_renamed(self, number: int) -> None:
        self._any_session(number).rename(self._name("Renamed"))

    @rule(number=NUMBERS)
    def a_session_moves_to_the_other_subject(self, number: int) -> None:
        session = self._any_session(number)
        session.move(next(one for one in self.project.subjects if one is not session.subject))

    @rule(number=NUMBERS)
    def a_subject_is_renamed(self, number: int) -> None:
        self.project.subjects[number % 2].rename(self._name("Subject"))

    @rule(days=st.integers(-400, 400))
    def the_servers_clock_jumps(self, days: int) -> None:
        self.site.clock.advance(days * DAY)  # so that last_modified goes backwards too

    # -- the mirror is damaged --------------------------------------------------------------------------------------

    @rule(days=st.integers(-400, 400))
    def the_clock_here_jumps(self, days: int) -> None:
        self.clock += days * DAY

    @rule(number=NUMBERS)
    def a_file_is_deleted_here(self, number: int) -> None:
        if path := self._local(number):
            path.unlink()

    @rule(number=NUMBERS, same_size=st.booleans())
    def a_file_is_edited_here(self, number: int, same_size: bool) -> None:
        if path := self._local(number):
            size = path.stat().st_size if same_size else number % 99
            path.write_bytes(self._data()[:1] * size)

    @rule(number=NUMBERS)
    def a_file_is_touched_here(self, number: int) -> None:
        if path := self._local(number):
            os.utime(path, ns=(number, number))

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

    # -- what is owed -----------------------------------------------------------------------------------------------

    def _wanted(self) -> dict[str, dict[str, dict[str, tuple[Resource, int, str]]]]:
        """Session id -> folder of each resource in it -> path -> resource, size and MD5."""
        found: dict[str, dict[str, dict[str, tuple[Resource, int, str]]]] = {}
        for session in self._sessions():
            of_session = found.setdefault(session.id, {})
            for scan in session.scans:
                for resource in scan.resources:
                    files = of_session.setdefault(f"scans/{scan.id}/{resource.label}", {})
                    for entry in resource.entries:
                        assert entry.content is not None
                        files[entry.path] = resource, entry.content.size, entry.content.md5()
        return found

    def _folder(self, session: Experiment) -> str:
        return f"{session.subject.label}/{session.label}"

    def _expected(self) -> Owed:
        owed = Owed()
        ledgers = self.world.project / STATE / "sessions"
        index = self.world.project / STATE / "index.jsonl"
        lay = {}
        for line in index.read_text().splitlines() if index.exists() else ():
            entry = json.loads(line)
            lay[entry["id"]] = entry.get("folder")
        wanted = self._wanted()
        for session in self._sessions():
            recorded = Recorded.of(ledgers / f"{session.id}.jsonl")
            folder = lay.get(session.id) or recorded.folder or self._folder(session)
            self._of_session(session, wanted[session.id], recorded, md5_tree(self.world.project / folder), owed)
        for path in sorted(ledgers.glob("*.jsonl")) if ledgers.exists() else ():
            if path.stem not in wanted:
                recorded = Recorded.of(path)
                here = md5_tree(self.world.project / str(recorded.folder))
                self._beside(str(recorded.folder), recorded.files, here, owed)
        return owed

    def _of_session(
        self,
        session: Experiment,
        resources: dict[str, dict[str, tuple[Resource, int, str]]],
        recorded: Recorded,
        here: dict[str, str],
        owed: Owed,
    ) -> None:
        listed = {f"{folder}/{path}" for folder, files in resources.items() for path in files}
        beside = {at: md5 for at, md5 in recorded.files.items() if at not in listed}
        movable = {md5 for at, md5 in beside.items() if here.get(at) == md5}
        moved = set()
        for folder, files in resources.items():
            held = missing_bytes = 0
            missing = set()
            for path, (_, size, md5) in files.items():
                at = f"{folder}/{path}"
                if here.get(at) == md5:
                    held += size
                elif at not in here and md5 in movable:
                    held += size
                    moved.add(md5)
                else:
                    missing.add(path)
                    missing_bytes += size
            if len(missing) > 1 and (held == 0 or held * 10 < held + missing_bytes):
                [resource] = {resource for resource, _, _ in files.values()}
                owed.zips.append((session.id, resource, missing))
                owed.bytes += self._zip_size(session, folder, {path: files[path][1] for path in files})
            else:
                owed.bytes += missing_bytes
        self._beside(
            self._folder(session), {at: md5 for at, md5 in beside.items() if md5 not in moved}, here, owed
        )  # fmt: skip

    @staticmethod
    def _zip_size(session: Experiment, folder: str, files: dict[str, int]) -> int:
        """A stored zip: a local header of 30 bytes and a central one of 46 a member, and 22 at the end (APPNOTE)."""
        label = folder.rpartition("/")[2]
        names = [f"{session.label}/resources/{label}/files/{path}" for path in files]
        return 22 + sum(76 + 2 * len(name) for name in names) + sum(files.values())

    @staticmethod
    def _beside(folder: str, beside: dict[str, str], here: dict[str, str], owed: Owed) -> None:
        """What is held and not listed goes to the trash unless it was changed here."""
        owed.kept |= {f"{folder}/{at}": here[at] for at, md5 in beside.items() if at in here and here[at] != md5}

    # -- a run ------------------------------------------------------------------------------------------------------

    def _run(self, *arguments: str) -> int:
        """Run as a cron job would, and check the tree and the cost; the bytes beyond those owed."""
        owed = self._expected()
        foreign = self._foreign(owed)
        before = self.world.fetched_bytes()
        relist = ("--relist",) if self.silent else ()
        done = self.world.mirror(
            "--overwrite", "--delete", "--max-delete", "100%", *relist, *arguments,
            env={"XNAT_SYNC_TEST_CLOCK": str(self.clock)},
        )  # fmt: skip
        assert done.code == (3 if owed.kept else 0), done
        self.silent = False
        wanted = {
            f"{self._folder(session)}/{folder}/{path}": md5
            for session in self._sessions()
            for folder, files in self._wanted()[session.id].items()
            for path, (_, _, md5) in files.items()
        }
        assert self.world.tree() == wanted | owed.kept | foreign
        return self.world.fetched_bytes() - before - owed.bytes

    def _foreign(self, owed: Owed) -> dict[str, str]:
        """Files of which no record is left and that are not listed: nobody's to move."""
        ledgers = self.world.project / STATE / "sessions"
        known = set(owed.kept)
        folders = {}
        for path in ledgers.glob("*.jsonl") if ledgers.exists() else ():
            recorded = Recorded.of(path)
            if recorded.folder is not None:
                folders[recorded.folder] = path.stem
                known |= {f"{recorded.folder}/{at}" for at in recorded.files}
        wanted, now = self._wanted(), {session.id: self._folder(session) for session in self._sessions()}
        found = {}
        for at, md5 in self.world.tree().items():
            folder = "/".join(at.split("/")[:2])
            unit = folders.get(folder, "")
            below = at.removeprefix(f"{folder}/")
            scan, _, name = below.rpartition("/")
            if at not in known and name not in wanted.get(unit, {}).get(scan, {}):
                found[f"{now.get(unit, folder)}/{below}"] = md5
        return found

    @rule()
    def a_run(self) -> None:
        assert self._run() == 0
        cost = self.world.fetched_bytes()
        self.world.mirror(env={"XNAT_SYNC_TEST_CLOCK": str(self.clock)})
        assert self.world.fetched_bytes() == cost, "a second run fetched something"

    @rule(
        effect=st.sampled_from([Status(503), Status(500), KillSession()]),
        kind=st.sampled_from(["zip", "file", "files", "resources", "experiments"]),
        nth=st.integers(1, 4),
    )
    def a_run_meets_a_fault(self, effect: Effect, kind: str, nth: int) -> None:
        self.server.faults.add(Fault(effect, kind=kind, nth=nth))
        assert self._run() == 0
        self.server.faults.clear()

    @rule(number=NUMBERS)
    def a_run_meets_a_zip_that_lacks_a_member(self, number: int) -> None:
        zips = self._expected().zips
        if not zips:
            return
        _, resource, missing = zips[number % len(zips)]
        path = sorted(missing)[number % len(missing)]
        fault = self.server.faults.add(Fault(DropMember(f"/{path}"), kind="zip", path=f"/resources/{resource.id}/"))
        beyond = self._run()
        session = next(e for e in self._sessions() for s in e.scans if resource in s.resources)
        scan = next(scan for scan in session.scans if resource in scan.resources)
        headers = self._zip_size(session, f"scans/{scan.id}/{resource.label}", {path: 0}) - 22
        # The member comes by itself, so only its headers are saved.
        assert (self.server.faults.fired(fault), beyond) == (1, -headers)
        self.server.faults.clear()


TestScenarios = Scenario.TestCase
TestScenarios.settings = settings(
    max_examples=int(os.environ.get("SCENARIOS", "10")),
    stateful_step_count=18,
    deadline=None,
    derandomize="SCENARIOS" not in os.environ,
    suppress_health_check=list(HealthCheck),
)
