"""Committing: what is found at the final name against the plan is kept, and the ledger says no more than the disk."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

import pytest

from xnat_sync.core import events, ledger
from xnat_sync.core.events import Event
from xnat_sync.core.model import Job, Landed, Level, Place, RemoteFile, Resource, Unit, UnitKind, Want
from xnat_sync.flow.bus import Bus
from xnat_sync.flow.commit import Committer
from xnat_sync.flow.fetch import Brought
from xnat_sync.shell import disk, mirror
from xnat_sync.shell.mirror import Mirror

FILES = {"a.dcm": b"aaa", "b.dcm": b"bbbb", "sub/c.dcm": b"cc"}
UNIT = Unit(UnitKind.EXPERIMENT, "P", "XNAT_E00001", "S1_MR1", "S1/S1_MR1")


class Bench:
    """A mirror, a resource of three files that have landed, and what is told of them."""

    def __init__(self, root: Path) -> None:
        self.mirror = Mirror(str(root / "P"))
        self.mirror.prepare()
        self.stage = self.mirror.stage(UNIT.id, "101")
        self.stage.prepare()
        self.told: list[Event] = []
        self.committer = Committer(Bus(self.told.append), self.mirror)
        remotes = tuple(RemoteFile(path, len(data), hashlib.md5(data).hexdigest()) for path, data in FILES.items())
        self.resource = Resource(UNIT, Place(Level.SCAN, "1"), "101", "DICOM", remotes, "scans/1/DICOM")
        self.folder = Path(self.mirror.path(self.resource.path))
        self.brought = Brought()

    def land(self, *paths: str, replaces: bool = False) -> tuple[Want, ...]:
        """Put files among the whole ones in staging."""
        wants = []
        for remote in self.resource.files:
            standing = disk.stat_of(str(self.folder / remote.path)) if replaces else None
            want = Want(remote, remote.path, "new", standing)
            wants.append(want)
            if remote.path in (paths or FILES):
                writer = self.stage.open_member(want.local)
                writer.write(FILES[remote.path])
                self.stage.accept(writer, want.local, durable=True)
                self.brought.landed[want.local] = Landed(want, writer.size, writer.md5)
        return tuple(wants)

    async def commit(self, wants: tuple[Want, ...], *, fresh: bool) -> bool:
        return await self.committer.commit(Job(self.resource, wants, fresh), self.stage, self.brought)

    def standing(self) -> dict[str, bytes]:
        return {
            os.path.relpath(os.path.join(folder, name), self.folder): Path(folder, name).read_bytes()
            for folder, _, names in os.walk(self.folder)
            for name in names
        }

    def claimed(self) -> set[str]:
        """What the ledger says is held; each must be so on disk."""
        path = Path(self.mirror.ledger_path(UNIT.id))
        replay = ledger.replay(path.read_text() if path.exists() else "")
        for at, held in replay.files.items():
            found = disk.hash_of(self.mirror.path(f"{UNIT.folder}/{at}"))
            assert found is not None, at
            assert (found[0].size, found[0].mtime_ns, found[1]) == (held.size, held.mtime_ns, held.md5)
        return {held.path for held in replay.files.values()}

    def failed(self) -> dict[str, str]:
        return {event.path: event.error for event in self.told if isinstance(event, events.Failed)}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


async def test_a_new_resource_appears_and_is_recorded(bench: Bench) -> None:
    assert await bench.commit(bench.land(), fresh=True)
    assert bench.standing() == FILES
    assert bench.claimed() == set(FILES)
    assert not os.path.exists(bench.stage.root)
    committed = next(event for event in bench.told if isinstance(event, events.Committed))
    assert sorted(committed.files) == sorted((path, len(data), "new") for path, data in FILES.items())


@pytest.mark.parametrize("why", ["failed", "parked"])
async def test_a_new_resource_that_is_not_whole_stays_in_staging(bench: Bench, why: str) -> None:
    wants = bench.land("a.dcm", "b.dcm")
    if why == "failed":
        bench.brought.failed["sub/c.dcm"] = "no"
    else:
        bench.brought.parked = True
    assert not await bench.commit(wants, fresh=True)
    assert not bench.folder.exists()
    assert bench.claimed() == set()
    assert set(bench.stage.whole()) == {"a.dcm", "b.dcm"}


async def test_what_vanished_on_the_server_holds_nothing_up(bench: Bench) -> None:
    wants = bench.land("a.dcm", "b.dcm")
    bench.brought.vanished.add("sub/c.dcm")
    assert await bench.commit(wants, fresh=True)
    assert bench.claimed() == {"a.dcm", "b.dcm"}
    assert [event.path for event in bench.told if isinstance(event, events.Vanished)] == ["sub/c.dcm"]


async def test_into_a_folder_that_stands_what_landed_goes_although_others_failed(bench: Bench) -> None:
    bench.folder.mkdir(parents=True)
    wants = bench.land("a.dcm")
    bench.brought.failed["b.dcm"] = "no"
    assert not await bench.commit(wants, fresh=False)
    assert bench.standing() == {"a.dcm": b"aaa"}
    assert bench.claimed() == {"a.dcm"}
    assert bench.failed() == {"b.dcm": "no"}


async def test_a_folder_that_came_up_meanwhile_gets_the_files_one_by_one(bench: Bench) -> None:
    wants = bench.land()
    bench.folder.mkdir(parents=True)
    (bench.folder / "mine.txt").write_bytes(b"mine")
    assert await bench.commit(wants, fresh=True)
    assert bench.standing() == FILES | {"mine.txt": b"mine"}
    assert bench.claimed() == set(FILES)


async def test_a_file_that_came_up_meanwhile_is_kept_unless_it_is_the_same(bench: Bench) -> None:
    wants = bench.land()
    bench.folder.mkdir(parents=True)
    (bench.folder / "a.dcm").write_bytes(FILES["a.dcm"])
    (bench.folder / "b.dcm").write_bytes(b"mine")
    assert not await bench.commit(wants, fresh=True)
    assert bench.standing() == FILES | {"b.dcm": b"mine"}
    assert bench.claimed() == {"a.dcm", "sub/c.dcm"}
    assert set(bench.failed()) == {"b.dcm"}
    assert "kept as it is" in bench.failed()["b.dcm"]


async def test_a_planned_replacement_replaces(bench: Bench) -> None:
    bench.folder.mkdir(parents=True)
    (bench.folder / "a.dcm").write_bytes(b"old")
    assert await bench.commit(bench.land(replaces=True), fresh=False)
    assert bench.standing() == FILES
    assert bench.claimed() == set(FILES)


async def test_a_file_edited_after_the_plan_is_kept(bench: Bench) -> None:
    bench.folder.mkdir(parents=True)
    (bench.folder / "a.dcm").write_bytes(b"old")
    wants = bench.land(replaces=True)
    (bench.folder / "a.dcm").write_bytes(b"edited")
    assert not await bench.commit(wants, fresh=False)
    assert bench.standing()["a.dcm"] == b"edited"
    assert bench.claimed() == {"b.dcm", "sub/c.dcm"}


@pytest.mark.parametrize("kind", ["link", "folder", "pipe"])
async def test_what_is_no_file_is_kept(bench: Bench, kind: str, tmp_path: Path) -> None:
    bench.folder.mkdir(parents=True)
    victim = tmp_path / "victim"
    victim.write_bytes(FILES["a.dcm"])
    target = bench.folder / "a.dcm"
    match kind:
        case "link":
            target.symlink_to(victim)
        case "folder":
            target.mkdir()
        case _:
            os.mkfifo(target)
    assert not await bench.commit(bench.land(), fresh=True)
    assert set(bench.failed()) == {"a.dcm"}
    assert bench.claimed() == {"b.dcm", "sub/c.dcm"}
    assert victim.read_bytes() == FILES["a.dcm"]
    assert disk.stat_of(str(target)) is not None


async def test_a_file_where_a_folder_must_stand_fails_what_lies_below_it_only(bench: Bench) -> None:
    """And the ledger does not claim what could not be put in its place."""
    bench.folder.mkdir(parents=True)
    (bench.folder / "sub").write_bytes(b"mine")
    assert not await bench.commit(bench.land(), fresh=False)
    assert bench.standing() == {"a.dcm": b"aaa", "b.dcm": b"bbbb", "sub": b"mine"}
    assert set(bench.failed()) == {"sub/c.dcm"}
    assert bench.claimed() == {"a.dcm", "b.dcm"}


async def test_a_file_where_the_resource_must_stand_is_kept(bench: Bench) -> None:
    bench.folder.parent.mkdir(parents=True)
    bench.folder.write_bytes(b"mine")
    assert not await bench.commit(bench.land(), fresh=True)
    assert bench.folder.read_bytes() == b"mine"
    assert set(bench.failed()) == set(FILES)
    assert bench.claimed() == set()


# -- the order that makes a power cut harmless ---------------------------------------------------------------------


@pytest.mark.parametrize("fresh", [True, False], ids=["a new resource", "into a folder"])
async def test_synced_then_renamed_then_synced_then_recorded(
    bench: Bench, fresh: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[tuple[str, str]] = []
    sync, rename, append = disk.sync_paths, os.rename, disk.append_text

    def noting_sync(paths: Iterable[str]) -> None:
        paths = list(paths)
        sync(paths)
        done.extend(("sync", path) for path in paths)

    def noting_rename(source: str, target: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        at = os.readlink(f"/proc/self/fd/{dst_dir_fd}")
        rename(source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)
        done.append(("rename", f"{at}/{target}"))

    async def noting_append(path: str, text: str) -> None:
        done.append(("record", path))
        assert bench.standing() == FILES
        await append(path, text)

    wants = bench.land()
    if not fresh:
        (bench.folder / "sub").mkdir(parents=True)
    for module in (disk, mirror):
        monkeypatch.setattr(module, "sync_paths", noting_sync)
    monkeypatch.setattr(os, "rename", noting_rename)
    monkeypatch.setattr(disk, "append_text", noting_append)
    assert await bench.commit(wants, fresh=fresh)

    kinds = [kind for kind, _ in done]
    first, last = kinds.index("rename"), len(kinds) - 1 - kinds[::-1].index("rename")
    before, after = done[:first], done[last:]
    assert {("sync", f"{bench.stage.tree}/{path}") for path in FILES} <= set(before)
    changed = [bench.folder.parent] if fresh else [bench.folder, bench.folder / "sub"]
    assert {("sync", str(folder)) for folder in changed} <= set(after)
    assert kinds.count("record") == 1
    assert kinds[-1] == "record"
