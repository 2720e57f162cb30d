"""The disk: what is written durably, what is refused, and what a crash may have left."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from xnat_sync.core.errors import Conflict, DiskTrouble, ItemError
from xnat_sync.core.model import OnDisk
from xnat_sync.shell import disk
from xnat_sync.shell.mirror import Mirror
from xnat_sync.shell.stage import Stage


def md5(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()


# -- writing -------------------------------------------------------------------------------------------------------


def test_a_writer_hashes_what_it_writes(tmp_path: Path) -> None:
    path = str(tmp_path / "a")
    writer = disk.Writer(path)
    for piece in (b"one", bytearray(b"two"), memoryview(b"three"), b""):
        writer.write(piece)
    writer.close(sync=True)
    writer.close()
    assert Path(path).read_bytes() == b"onetwothree"
    assert (writer.size, writer.md5) == (11, md5(b"onetwothree"))


def test_a_writer_goes_on_behind_what_is_there_and_knows_its_hash(tmp_path: Path) -> None:
    path = tmp_path / "a"
    held = os.urandom(disk.PIECE + 17)
    path.write_bytes(held)
    writer = disk.Writer(str(path), append=True)
    assert (writer.size, writer.md5) == (len(held), md5(held))
    writer.write(b"more")
    writer.close()
    assert path.read_bytes() == held + b"more"
    assert (writer.size, writer.md5) == (len(held) + 4, md5(held + b"more"))


def test_a_new_writer_forgets_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old bytes")
    writer = disk.Writer(str(path))
    writer.write(b"new")
    writer.close()
    assert path.read_bytes() == b"new"


def test_a_dropped_writer_leaves_nothing(tmp_path: Path) -> None:
    writer = disk.Writer(str(tmp_path / "a"))
    writer.write(b"x")
    writer.drop()
    writer.drop()
    assert list(tmp_path.iterdir()) == []


def test_short_writes_are_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, bytes(data[:3])))
    writer = disk.Writer(str(tmp_path / "a"))
    writer.write(b"0123456789")
    writer.close()
    assert (tmp_path / "a").read_bytes() == b"0123456789"


@pytest.mark.parametrize(
    ("number", "kind", "says"),
    [
        (errno.ENOSPC, DiskTrouble, "no space left"),
        (errno.EDQUOT, DiskTrouble, "no space left"),
        (errno.EROFS, DiskTrouble, "read-only"),
        (errno.EACCES, DiskTrouble, "not allowed"),
        (errno.EIO, DiskTrouble, "check the disk"),
        (errno.ENAMETOOLONG, ItemError, "so long a name"),
    ],
)
def test_every_trouble_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[Exception], says: str
) -> None:
    writer = disk.Writer(str(tmp_path / "a"))

    def fail(fd: int, data: bytes) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "write", fail)
    with pytest.raises(kind, match=says) as caught:
        writer.write(b"x")
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    writer.close()


# -- links in the way ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "write",
    [
        lambda path: disk.Writer(path),
        lambda path: disk.Writer(path, append=True),
        lambda path: disk.write_bytes(path, b"ours"),
        lambda path: disk.append_bytes(path, b"ours"),
    ],
    ids=["new", "append", "write_bytes", "append_bytes"],
)
def test_a_link_is_never_written_through(tmp_path: Path, write: Callable[[str], object]) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    (tmp_path / "link").symlink_to(victim)
    with pytest.raises(DiskTrouble):
        write(str(tmp_path / "link"))
    assert victim.read_bytes() == b"precious"


@pytest.mark.parametrize("swapped", [".xnat-sync", ".xnat-sync/staging", ".xnat-sync/staging/E1"])
@pytest.mark.parametrize("elsewhere", ["empty", "alike"])
def test_a_link_that_comes_on_a_way_walked_before_is_seen(tmp_path: Path, swapped: str, elsewhere: str) -> None:
    folder = tmp_path / ".xnat-sync/staging/E1"
    disk.make_own_folder(str(folder))
    disk.write_bytes(str(folder / "before"), b"ours")
    below = folder.relative_to(tmp_path / swapped)
    other = tmp_path / "other"
    (other / below if elsewhere == "alike" else other).mkdir(parents=True)
    (tmp_path / swapped).rename(tmp_path / "aside")
    (tmp_path / swapped).symlink_to(other)
    with pytest.raises(DiskTrouble, match="is a link"):
        disk.write_bytes(str(folder / "after"), b"not theirs")
    with pytest.raises(DiskTrouble, match="is a link"):
        disk.make_own_folder(str(folder / "deeper"))
    with pytest.raises(DiskTrouble, match="is a link"):
        disk.append_bytes(str(folder / "before"), b"not theirs")
    assert not [path for path in other.rglob("*") if path.name in ("before", "after", "deeper")]


def test_a_link_is_no_regular_file_and_is_not_hashed(tmp_path: Path) -> None:
    (tmp_path / "victim").write_bytes(b"precious")
    (tmp_path / "link").symlink_to(tmp_path / "victim")
    found = disk.stat_of(str(tmp_path / "link"))
    assert found is not None
    assert not found.regular
    with pytest.raises(DiskTrouble):
        disk.hash_of(str(tmp_path / "link"))


# -- looking -------------------------------------------------------------------------------------------------------


def test_what_stands_is_told_and_what_does_not_is_none(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    stat = path.stat()
    assert disk.stat_of(str(path)) == OnDisk(3, stat.st_mtime_ns)
    assert disk.hash_of(str(path)) == (OnDisk(3, stat.st_mtime_ns), md5(b"abc"))
    for missing in (tmp_path / "b", path / "below a file"):
        assert disk.stat_of(str(missing)) is None
        assert disk.hash_of(str(missing)) is None
    folder = disk.stat_of(str(tmp_path))
    assert folder is not None
    assert not folder.regular


def test_a_file_that_changes_while_it_is_hashed_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    digest = hashlib.file_digest

    def slowly(*arguments: object) -> object:
        found = digest(*arguments)  # type: ignore[arg-type]
        path.write_bytes(b"abcd")
        return found

    monkeypatch.setattr(hashlib, "file_digest", slowly)
    assert disk.hash_of(str(path)) is None


def test_small_files_of_ours(tmp_path: Path) -> None:
    path = str(tmp_path / "note")
    assert disk.read_bytes(path) == b""
    disk.write_bytes(path, b"a long one")
    disk.write_bytes(path, b"short")
    disk.append_bytes(path, b"er")
    assert disk.read_bytes(path) == b"shorter"
    disk.remove(path)
    disk.remove(path)
    assert disk.stat_of(path) is None


# -- folders -------------------------------------------------------------------------------------------------------


def test_folders_are_made_down_from_the_mirror(tmp_path: Path) -> None:
    below = str(tmp_path)
    disk.make_folder(f"{below}/a/b/c", below)
    disk.make_folder(f"{below}/a/b/c", below)
    assert (tmp_path / "a/b/c").is_dir()


@pytest.mark.parametrize("at", ["a", "a/b"])
def test_a_file_where_a_folder_must_stand_is_a_conflict_and_is_kept(tmp_path: Path, at: str) -> None:
    (tmp_path / at).parent.mkdir(exist_ok=True)
    (tmp_path / at).write_bytes(b"mine")
    with pytest.raises(Conflict, match="in the way"):
        disk.make_folder(str(tmp_path / "a/b/c"), str(tmp_path))
    assert (tmp_path / at).read_bytes() == b"mine"


def test_a_dangling_link_where_a_folder_must_stand_is_a_conflict(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "nowhere")
    with pytest.raises(Conflict):
        disk.make_folder(str(tmp_path / "a/b"), str(tmp_path))
    assert not (tmp_path / "nowhere").exists()


# -- staging -------------------------------------------------------------------------------------------------------


@pytest.fixture
def mirror(tmp_path: Path) -> Mirror:
    made = Mirror(str(tmp_path / "P"))
    made.prepare()
    return made


@pytest.fixture
def stage(mirror: Mirror) -> Stage:
    made = mirror.stage("XNAT_E00001", "101")
    made.prepare()
    return made


def put(stage: Stage, local: str, data: bytes) -> None:
    writer = stage.open_member(local)
    writer.write(data)
    stage.accept(writer, local, durable=True)


def test_an_accepted_file_is_whole_and_one_in_hand_is_not(stage: Stage) -> None:
    put(stage, "a.dcm", b"aa")
    put(stage, "sub/deep/b.dcm", b"bbb")
    hand = stage.open_member("c.dcm")
    hand.write(b"c")
    assert stage.whole() == {"a.dcm": 2, "sub/deep/b.dcm": 3}
    hand.close()


def test_a_killed_runs_members_go_and_its_partials_stay(stage: Stage) -> None:
    stage.open_member("a.dcm").close()
    part = stage.open_part("b.nii", append=False)
    part.write(b"half")
    part.close()
    put(stage, "c.dcm", b"c")
    stage.prepare()
    assert os.listdir(stage.parts) == [os.path.basename(stage.part_path("b.nii"))]
    assert stage.whole() == {"c.dcm": 1}
    part = stage.open_part("b.nii", append=True)
    assert part.size == 4
    part.close()


def test_a_dropped_file_leaves_no_folder_that_a_file_could_trip_over(stage: Stage) -> None:
    """What was ``sub/deep/a`` when a run was killed may be the file ``sub`` when the next one comes."""
    put(stage, "sub/deep/a.dcm", b"a")
    put(stage, "sub/b.dcm", b"b")
    stage.drop("sub/deep/a.dcm")
    assert os.listdir(f"{stage.tree}/sub") == ["b.dcm"]
    stage.drop("sub/b.dcm")
    stage.drop("never/there.dcm")
    assert os.listdir(stage.tree) == []
    put(stage, "sub", b"now a file")
    assert stage.whole() == {"sub": 10}


def test_names_of_any_length_have_a_place_in_staging(stage: Stage) -> None:
    local = "/".join(["d" * 200] * 5)
    put(stage, local, b"x")
    assert stage.whole() == {local: 1}
    stage.clear()
    assert not os.path.exists(stage.root)


# -- final names ---------------------------------------------------------------------------------------------------


def test_a_new_resource_appears_whole_by_one_rename(mirror: Mirror, stage: Stage) -> None:
    put(stage, "a.dcm", b"a")
    put(stage, "sub/b.dcm", b"b")
    assert mirror.appear(stage, "S/E/scans/1/DICOM")
    assert sorted(os.listdir(mirror.path("S/E/scans/1/DICOM"))) == ["a.dcm", "sub"]
    assert not os.path.exists(stage.tree)


@pytest.mark.parametrize("standing", ["file", "folder", "link"])
def test_nothing_that_stands_is_replaced_by_appearing(
    mirror: Mirror, stage: Stage, standing: str, tmp_path: Path
) -> None:
    target = Path(mirror.path("S/E/scans/1/DICOM"))
    target.parent.mkdir(parents=True)
    if standing == "file":
        target.write_bytes(b"mine")
    elif standing == "folder":
        target.mkdir()
        (target / "mine.txt").write_bytes(b"mine")
    else:
        (tmp_path / "elsewhere").mkdir()
        target.symlink_to(tmp_path / "elsewhere")
    put(stage, "a.dcm", b"a")
    assert not mirror.appear(stage, "S/E/scans/1/DICOM")
    assert stage.whole() == {"a.dcm": 1}
    if standing == "file":
        assert target.read_bytes() == b"mine"
    else:
        assert os.listdir(target) == (["mine.txt"] if standing == "folder" else [])


def test_a_single_file_settles_in_a_folder_that_stands(mirror: Mirror, stage: Stage) -> None:
    folder = Path(mirror.path("S/E/scans/1/DICOM"))
    folder.mkdir(parents=True)
    (folder / "a.dcm").write_bytes(b"old")
    put(stage, "a.dcm", b"new")
    put(stage, "sub/b.dcm", b"b")
    mirror.settle(stage, "a.dcm", "S/E/scans/1/DICOM")
    mirror.settle(stage, "sub/b.dcm", "S/E/scans/1/DICOM")
    assert (folder / "a.dcm").read_bytes() == b"new"
    assert (folder / "sub/b.dcm").read_bytes() == b"b"
    assert stage.whole() == {}


def test_staging_is_marked_for_backups_to_leave_out(mirror: Mirror) -> None:
    tag = Path(mirror.state, "staging", "CACHEDIR.TAG").read_text()
    assert tag.startswith("Signature: 8a477f597d28d172789f06886806bc55\n")


def test_a_mirror_that_never_was_has_no_runs_and_no_ledgers(tmp_path: Path) -> None:
    never = Mirror(str(tmp_path / "P"))
    assert never.runs() == never.ledgers() == []
    assert never.state_bytes() == 0


def test_a_destination_below_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DiskTrouble):
        Mirror(str(tmp_path / "file" / "P")).prepare()


# -- state files ---------------------------------------------------------------------------------------------------


async def test_a_torn_line_is_closed_off_and_harms_only_itself(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    await disk.append_text(str(path), '{"a": 1}\n')
    with path.open("ab") as file:
        file.write(b'{"torn": "by a cra')
    await disk.append_text(str(path), '{"b": 2}\n')
    await disk.append_text(str(path), '{"c": 3}\n')
    assert path.read_text() == '{"a": 1}\n{"torn": "by a cra\n{"b": 2}\n{"c": 3}\n'


async def test_a_state_file_is_replaced_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "index.jsonl"
    await disk.replace_text(str(path), "old\n")
    await disk.replace_text(str(path), "new\n")
    assert path.read_text() == "new\n"
    assert os.listdir(tmp_path) == ["index.jsonl"]

    def full(fd: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskTrouble, match="no space left"):
        await disk.replace_text(str(path), "newer\n")
    assert path.read_text() == "new\n"


async def test_bytes_that_are_no_text_are_read_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    assert await disk.read_text(str(path)) == ""
    path.write_bytes(b'{"a": "\xff\xfe"}\r\n')
    assert await disk.read_text(str(path)) == '{"a": "\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}"}\r\n'
