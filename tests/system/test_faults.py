"""Every fault of the script, alone and mixed: an identical mirror, or the documented code and all else there.

Whatever happens: no wrong byte under a final name, no endless repeating, no hanging, never more transfers at once than
``--jobs``, and no session more than needed.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from system.harness import Done, truth
from system.warm import WarmWorld, warm_world
from xnat_embedded import (
    EVERY,
    CleanEnd,
    CorruptMember,
    Delay,
    DropMember,
    EmptyBody,
    EndAfterMember,
    EofDelimited,
    ExpireDuring,
    Fault,
    KillSession,
    LoginPage,
    Reset,
    ShortList,
    Site,
    Slow,
    Stall,
    Status,
    TruncateMember,
    WrongBody,
    empty_site,
)
from xnat_embedded.faults import Effect
from xnat_embedded.log import Exchange

JOBS = 3
LANES = 4
MORE_REQUESTS = 25  # Than an undisturbed run: what one fault may cost at most; one that never ceases, three times that.
NEW_SESSION = (KillSession, ExpireDuring)


def fault_site(*, digests: bool = True) -> Site:
    """Two sessions with three zips and two large single files, a note, and files of the project."""
    site, source = empty_site(), random.Random(5)
    project = site.add_project("PTV000", members=("demo",))
    for label, scans in (("S1", (5, 4)), ("S2", (3,))):
        session = project.add_subject(label).add_session(f"{label}_MR1")
        for number, count in enumerate(scans, 1):
            files = [(f"{label} {number}/{i}.dcm", source.randbytes(9_000 + 700 * i)) for i in range(count)]
            session.add_scan(str(number), f"type {number}").add_resource("DICOM", files, format="DICOM")
        session.add_scan("9", "bold").add_resource("NIFTI", [("bold.nii.gz", source.randbytes(70_000))])
    project.subjects[0].experiments[0].add_resource("NOTES", [("a note.txt", b"eyes open\n")])
    project.add_resource("DOCS", [("README.txt", b"made for tests\n"), ("sub/codes.csv", b"id\n1\n")])
    if not digests:
        for experiment in site.experiments():
            for scan in experiment.scans:
                for entry in scan.resources[0].entries:
                    entry.listed_digest = ""
    return site


@dataclass(frozen=True)
class Case:
    """Faults, and the codes that a run which meets them may end with."""

    faults: tuple[Fault, ...]
    codes: frozenset[int] = frozenset({0})
    arguments: tuple[str, ...] = ()
    says: str = ""
    digests: bool = True
    must_fire: bool = True
    lacks: str | None = None
    sessions: int | None = None

    @property
    def name(self) -> str:
        return "; ".join(f"{f.effect} in {f.kind} {f.path or ''} {f.nth}+{f.count}" for f in self.faults)


@dataclass
class Met:
    """What came of a case, and what is wrong with it."""

    case: Case
    done: Done
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.case.name}\n  {'; '.join(self.wrong)}\n{self.done}"


def one(effect: Effect, kind: str, nth: int = 1, path: str | re.Pattern[str] | None = None, **more: object) -> Case:
    """A case of one fault that happens once."""
    return Case((Fault(effect, kind, path, nth),), **more)  # type: ignore[arg-type]


def ever(
    effect: Effect,
    kind: str | None = None,
    path: str | re.Pattern[str] | None = None,
    codes: Iterable[int] = (0,),
    **more: object,
) -> Case:
    """A case of one fault that never ceases."""
    more = {"arguments": ("--retries", "1"), **more}
    return Case((Fault(effect, kind, path, count=EVERY),), frozenset(codes), **more)  # type: ignore[arg-type]


def transfers_at_once(log: Sequence[Exchange]) -> int:
    """The most zips and files that were under way at once; those that were cut off do not count."""
    moments = []
    for exchange in log:
        if exchange.kind in ("zip", "file") and not exchange.aborted and exchange.finished is not None:
            moments += [(exchange.number, 1), (exchange.finished, -1)]
    most = now = 0
    for _, step in sorted(moments):
        now += step
        most = max(most, now)
    return most


def meet(case: Case, home: Path, usual: int) -> Met:
    """Run a case and look at everything that must hold."""
    site = fault_site(digests=case.digests)
    with warm_world(site, home) as here:
        for fault in case.faults:
            here.server.faults.add(fault)
        done = here.mirror("--jobs", str(JOBS), "--idle-timeout", "1s", *case.arguments)
        met = Met(case, done)
        _look(met, here, usual)
        if done.code and not met.wrong:
            here.server.faults.clear()
            again = here.mirror()
            if again.code or here.tree() != truth(site):
                met.wrong.append(f"the next run does not mend it: {again}")
        if not done.code or not met.wrong:
            left = [path.name for path in (here.project / ".xnat-sync/staging").rglob("*") if path.is_file()]
            if left != ["CACHEDIR.TAG"]:
                met.wrong.append(f"left in staging: {left}")
        return met


def _look(met: Met, here: WarmWorld, usual: int) -> None:
    case, done, whole, tree = met.case, met.done, truth(here.site), here.tree()
    counts = here.server.counts

    def must(what: str, holds: bool) -> None:
        if not holds:
            met.wrong.append(what)

    must(f"exit {done.code}", done.code in case.codes)
    must("a traceback", "Traceback" not in done.err)
    must(f"does not say {case.says!r}", case.says in done.err)
    must("wrong bytes", all(whole.get(path) == md5 for path, md5 in tree.items()))
    if done.code == 0:
        must("not all there", tree == whole)
    elif case.lacks is not None:
        lacking = {path for path in whole if path not in tree}
        must(f"lacks {sorted(lacking)}", lacking != set() and all(case.lacks in path for path in lacking))
    needed = 1 + sum(isinstance(fault.effect, NEW_SESSION) for fault in case.faults)
    must(f"{counts.sessions_opened} sessions", counts.sessions_opened <= (case.sessions or needed))
    times = sum(3 if fault.count is EVERY else 1 for fault in case.faults)
    must(f"{counts.total} requests", counts.total <= usual + MORE_REQUESTS * times)
    must("too many transfers at once", transfers_at_once(here.server.log) <= JOBS)
    if case.must_fire:
        must("did not happen", all(here.server.faults.fired(fault) for fault in case.faults))


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> int:
    """The requests of an undisturbed run."""
    site = fault_site()
    with warm_world(site, tmp_path_factory.mktemp("usual")) as here:
        assert here.mirror().code == 0
        assert here.tree() == truth(site)
        return here.server.counts.total


_ANYWHERE: tuple[Effect, ...] = (
    Status(503),
    Status(500),
    Status(429, retry_after=1),
    Status(504, html=False),
    Reset(),
    Reset(0),
    Stall(),
    LoginPage(),
    EmptyBody(),
    KillSession(),
    ExpireDuring(),
    Delay(0.2),
)

_FIRST, _NIFTI = "/resources/101/", "/resources/103/"

_ZIP = (
    *(one(effect, "zip") for effect in _ANYWHERE),
    *(one(effect, "zip", 2) for effect in (Reset(20_000), CleanEnd(20_000), Stall(20_000))),
    *(one(effect, "zip", 3) for effect in (Reset(1), CleanEnd(0), CleanEnd(29_500))),
    *(one(DropMember(n), "zip", path=_FIRST) for n in (0, 4)),
    *(one(TruncateMember(n, 4000), "zip", path=_FIRST) for n in (0, 4)),
    *(one(EndAfterMember(n), "zip", path=_FIRST) for n in (0, 1, 4)),
    *(one(CorruptMember(n), "zip", path=_FIRST) for n in (0, 2, 4)),
    *(one(WrongBody(member=n), "zip", path=_FIRST) for n in (0, 4)),
    *(one(effect, "zip", path=_FIRST, digests=False) for effect in (TruncateMember(4, 4000), CorruptMember(1))),
    one(WrongBody(b"", 1), "zip"),
    one(Slow(60_000), "zip"),
    one(EofDelimited(), "zip"),
    Case((Fault(EofDelimited(), "zip", nth=2), Fault(CleanEnd(25_000), "zip", nth=2))),
    *(ever(effect, "zip") for effect in (Status(503), Status(404), Status(403), LoginPage(), Reset(), EmptyBody())),
    *(ever(effect, "zip") for effect in (CleanEnd(15_000), DropMember(1), CorruptMember(0), WrongBody())),
)  # fmt: skip

_FILE = (
    *(one(effect, "file") for effect in _ANYWHERE),
    *(one(effect, "file", path="bold") for effect in (Reset(30_000), CleanEnd(30_000), Stall(30_000))),
    *(one(effect, "file", 2, path="bold") for effect in (TruncateMember(at=30_000), CorruptMember(), WrongBody())),
    *(one(WrongBody(b"x" * size), "file", path="bold") for size in (70_000, 90_000)),
    one(EofDelimited(), "file", path="bold"),
    Case((Fault(EofDelimited(), "file", "bold"), Fault(CleanEnd(30_000), "file", "bold"))),
    Case((Fault(Reset(20_000), "file", "bold", 1, 6),)),
)

_FILE_EVER = (
    *(ever(Status(code), "file", _FIRST, must_fire=False) for code in (403, 500)),  # It comes as a zip.
    ever(Status(404), "file", "bold", {4}, says="bold.nii.gz", lacks="bold"),
    *(ever(effect, "file", _NIFTI, {3}, lacks="S1/S1_MR1/scans/9/NIFTI/bold", says="bold")
      for effect in (Status(403), Status(500), CorruptMember(), TruncateMember(at=10), LoginPage(), EmptyBody(),
                     Reset(0), WrongBody(b"x" * 70_000))),
    ever(Stall(100), "file", _NIFTI, {3}, arguments=("--retries", "0"), lacks="S1/S1_MR1/scans/9/NIFTI/bold"),
)  # fmt: skip

_LISTINGS = tuple(
    one(effect, kind, nth)
    for kind, last in (("experiments", 1), ("files", 5))
    for effect, nth in (
        *((effect, 1) for effect in _ANYWHERE),
        (CleanEnd(150), last),
        (Reset(150), last),
        (Stall(150), last),
        (EofDelimited(), last),
        (Slow(100_000), 1),
    )
)

_LISTINGS_EVER = (
    *(one(effect, kind) for kind in ("resources", "subjects") for effect in
      (Status(503), Reset(), EmptyBody(), LoginPage(), KillSession(), CleanEnd(60))),
    *(ever(effect, "experiments", codes={7}, says="experiments of project PTV000") for effect in
      (Status(503), Status(500), EmptyBody(), LoginPage(), CleanEnd(100))),
    *(ever(Status(code), "experiments", codes={5}) for code in (403, 404)),
    *(ever(effect, "files", "/XNAT_E00001/files?all", {3}, lacks="S1/S1_MR1/", says="S1_MR1") for effect in
      (EmptyBody(), CleanEnd(300), LoginPage(), Status(503))),
    *(ever(Status(code), "files", "/XNAT_E00001/files?all", {0}) for code in (404, 500)),
    *(ever(effect, "files", codes={3, 7}) for effect in (Status(503), Reset())),
    *(ever(effect, codes={7}, sessions=2) for effect in (Status(503), Reset())),
    # What one resource's list lacks, its count in the database tells.
    *(one(ShortList(rows), "files", path="/XNAT_E00001/files?all") for rows in (1, 99)),
)  # fmt: skip

# An answer to a login that is lost on its way leaves a session behind that nobody knows.
_LOGIN = (
    *(one(effect, kind, sessions=2) for kind in ("login", "auth") for effect in
      (Status(503), Status(429, retry_after=1), Reset(), Stall(), EofDelimited())),
    # A session that ends before it is proved looks like one that was refused, and a login is never repeated then.
    one(KillSession(), "auth", codes=frozenset({6})),
    one(ExpireDuring(), "auth", sessions=2),
    *(ever(effect, kind, codes={7}, sessions=2) for kind in ("login", "auth") for effect in (Status(503), Reset())),
    *(ever(effect, "login", codes={6, 7}) for effect in (LoginPage(), EmptyBody(), Status(401), Status(500))),
    *(ever(effect, "logout") for effect in (Status(503), Reset(), Stall(), LoginPage(), Status(401))),
    one(Delay(1.5), "logout", arguments=("--idle-timeout", "5s")),
)  # fmt: skip


@pytest.mark.parametrize(
    "cases",
    [_ZIP[::2], _ZIP[1::2], _FILE, _FILE_EVER, _LISTINGS[::2], _LISTINGS[1::2], _LISTINGS_EVER, _LOGIN],
    ids=["zips", "more zips", "files", "files for ever", "lists", "more lists", "other lists", "logins"],
)
def test_each_fault_alone_ends_as_documented(tmp_path: Path, usual: int, cases: Sequence[Case]) -> None:
    homes = [tmp_path / str(number) for number in range(len(cases))]
    for home in homes:
        home.mkdir()
    _meet_all(cases, homes, usual)


def _meet_all(cases: Sequence[Case], homes: Sequence[Path], usual: int) -> None:
    with ThreadPoolExecutor(LANES) as lanes:
        met = list(lanes.map(meet, cases, homes, [usual] * len(cases)))
    print(len(met), "cases")
    wrong = [each for each in met if each.wrong]
    assert not wrong, "\n\n".join(str(each) for each in wrong)


_MIXED: dict[str, tuple[Effect, ...]] = {
    "zip": (*_ANYWHERE, CleanEnd(9_000), Reset(14_000), DropMember(1), TruncateMember(1, 99), EndAfterMember(2),
            CorruptMember(2), WrongBody(member=1)),
    "file": (*_ANYWHERE, Reset(9_000), CleanEnd(5_000), CorruptMember(), WrongBody()),
    "files": (*_ANYWHERE, CleanEnd(99), Reset(99)),
    "experiments": _ANYWHERE,
    "resources": _ANYWHERE,
    "auth": (Status(503), Reset(), ExpireDuring(), Delay(0.1)),
    "logout": (Status(503), Reset(), KillSession()),
}  # fmt: skip


def _mix(seed: int) -> Case:
    """Sixteen faults drawn at random; each happens once, so that a run gets over all of them or its next does."""
    source = random.Random(seed)
    faults = []
    for _ in range(16):
        kind = source.choices(list(_MIXED), (6, 6, 4, 1, 2, 1, 1))[0]
        faults.append(Fault(source.choice(_MIXED[kind]), kind, nth=source.randint(2, 6)))
    return Case(tuple(faults), frozenset({0, 3}), must_fire=False)


def test_faults_mixed_at_random_end_as_documented(tmp_path: Path, usual: int) -> None:
    seeds = range(8)
    for seed in seeds:
        (tmp_path / str(seed)).mkdir()
    _meet_all([_mix(seed) for seed in seeds], [tmp_path / str(seed) for seed in seeds], usual)


def test_a_list_of_experiments_that_is_silently_short_removes_nothing(tmp_path: Path) -> None:
    """Nothing tells that it is: the next run sees the rest. What was mirrored of the rows left out stays."""
    site = fault_site()
    with warm_world(site, tmp_path) as here:
        assert here.mirror().code == 0
        here.server.faults.add(Fault(ShortList(1), "experiments"))
        done = here.mirror()
        assert done.code == 0, done
        assert here.tree() == truth(site)
        before = here.data_bytes()
        assert here.mirror().code == 0
        assert here.data_bytes() == before


def test_a_short_file_list_with_a_stale_count_removes_nothing(tmp_path: Path) -> None:
    """The database's count tells of rows that lack. Where it is stale too, the next run brings what lacked."""
    site = fault_site()
    scan = site.project("PTV000").subjects[0].experiments[0].scans[0]  # type: ignore[union-attr]
    scan.resource("DICOM").file_count = ""
    with warm_world(site, tmp_path) as here:
        here.server.faults.add(Fault(ShortList(99), "files", "/XNAT_E00001/files?all"))
        done = here.mirror()
        assert done.code == 0, done
        assert truth(site).items() >= here.tree().items()
        here.server.faults.add(Fault(ShortList(2), "files", "/XNAT_E00001/files?all", count=EVERY))
        assert here.mirror().code == 0
        before = here.tree()
        here.server.faults.clear()
        assert here.mirror().code == 0
        assert before.items() <= here.tree().items()
        assert here.tree() == truth(site)
