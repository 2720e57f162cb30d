"""What the file system on paper holds to be durable, and what it lets a disk hold after the power failed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kill.calls import Call, parse
from kill.image import File, Image
from kill.shadow import Policy, Shadow

SEEDS = range(40)


def create(path: str, data: bytes = b"", mtime_ns: int = 1) -> list[Call]:
    written = [Call("write", path, data=data, mtime_ns=mtime_ns)] if data else []
    return [Call("create", path, mtime_ns=mtime_ns), *written]


def sync(path: str) -> Call:
    return Call("sync", path)


def folders(*paths: str) -> Image:
    return Image({}, frozenset(paths))


def crashes(shadow: Shadow, at: int, *policies: Policy) -> Iterator[Image]:
    for policy in policies or tuple(Policy):
        for seed in SEEDS:
            yield shadow.crashed(at, policy, seed)


def contents(images: Iterator[Image], path: str) -> set[bytes | None]:
    found = [image.files.get(path) for image in images]
    return {None if file is None else file.data for file in found}


def test_a_killed_program_leaves_all_that_it_did() -> None:
    calls = [Call("mkdir", "a"), *create("a/x", b"123"), Call("write", "a/x", at=2, data=b"45", mtime_ns=7)]
    calls += [Call("truncate", "a/x", at=3, mtime_ns=8), Call("rename", "a/x", "y"), Call("rmdir", "a")]
    shadow = Shadow(Image(), calls)
    assert shadow.seen(0) == Image()
    assert shadow.seen(4) == Image({"a/x": File(b"1245", 7)}, frozenset({"a"}))
    assert shadow.seen(len(calls)) == Image({"y": File(b"124", 8)})


def test_what_stood_before_and_was_not_touched_stays() -> None:
    first = Image({"a/x": File(b"1", 5)}, frozenset({"a"}))
    shadow = Shadow(first, create("b", b"2"))
    for image in crashes(shadow, 2):
        assert image.files["a/x"] == File(b"1", 5)


@pytest.mark.parametrize("policy", list(Policy))
def test_a_synced_file_in_a_synced_folder_is_there(policy: Policy) -> None:
    shadow = Shadow(Image(), [*create("x", b"123"), sync("x"), sync("")])
    assert contents(crashes(shadow, 4, policy), "x") == {b"123"}


def test_a_file_whose_folder_was_not_synced_is_not_there_if_nothing_need_be() -> None:
    shadow = Shadow(Image(), [*create("x", b"123"), sync("x")])
    assert contents(crashes(shadow, 3, Policy.STRICT), "x") == {None}
    assert contents(crashes(shadow, 3, Policy.JOURNAL), "x") == {b"123"}, "its sync took all before it along"
    assert contents(crashes(shadow, 3, Policy.RANDOM), "x") == {None, b"123"}


def test_a_sync_is_of_what_came_before_it() -> None:
    shadow = Shadow(Image(), [*create("x", b"123"), sync("x"), sync(""), Call("write", "x", at=3, data=b"45")])
    assert contents(crashes(shadow, 5, Policy.STRICT), "x") == {b"123", b"1234", b"12345", b"123\0\0"}
    assert contents(crashes(shadow, 4), "x") == {b"123"}
    assert None in contents(crashes(shadow, 3, Policy.STRICT), "x")


def test_bytes_that_were_not_synced_are_lost_cut_zeros_or_torn_and_the_time_is_kept() -> None:
    data = b"1" * 512 + b"2" * 512
    shadow = Shadow(Image(), [*create("x", data, mtime_ns=9), sync("")])
    found = contents(crashes(shadow, 3, Policy.JOURNAL), "x")
    assert {b"", data, bytes(1024), data[:512] + bytes(512), bytes(512) + data[512:]} <= found
    assert any(held is not None and 0 < len(held) < 1024 for held in found), "cut"
    assert {image.files["x"].mtime_ns for image in crashes(shadow, 3, Policy.JOURNAL)} == {9}
    assert shadow.crashed(3, Policy.JOURNAL, 0).files["x"] == File(bytes(1024), 9), "seed 0 is the worst"


def test_what_is_written_over_in_place_is_old_or_new_by_sectors() -> None:
    first = Image({"x": File(b"1" * 1024)})
    shadow = Shadow(first, [Call("write", "x", at=0, data=b"2" * 1024)])
    found = contents(crashes(shadow, 1), "x")
    assert {b"1" * 1024, b"2" * 1024, b"1" * 512 + b"2" * 512, b"2" * 512 + b"1" * 512} == found


def test_a_file_that_was_cut_and_written_anew_may_be_empty() -> None:
    shadow = Shadow(Image({"x": File(b"111")}), [Call("truncate", "x"), Call("write", "x", data=b"2222")])
    found = contents(crashes(shadow, 2), "x")
    assert {b"111", b"", b"22", b"\0\0\0\0", b"2222"} <= found
    assert b"2221" not in found


@pytest.mark.parametrize("policy", list(Policy))
def test_a_file_is_never_lost_on_its_way(policy: Policy) -> None:
    first = Image({"a/x": File(b"1")}, frozenset({"a", "b"}))
    shadow = Shadow(first, [Call("rename", "a/x", "b/x"), sync("a"), *create("a/x", b"2"), sync("a")])
    for at in range(6):
        for image in crashes(shadow, at, policy):
            held = [image.files[path].data for path in ("a/x", "b/x") if path in image.files]
            assert held.count(b"1") == 1, (at, image)


@pytest.mark.parametrize("synced", ["a", "b"])
def test_a_rename_is_durable_when_either_of_its_folders_was_synced(synced: str) -> None:
    first = Image({"a/x": File(b"1")}, frozenset({"a", "b"}))
    shadow = Shadow(first, [Call("rename", "a/x", "b/x"), sync(synced)])
    assert contents(crashes(shadow, 2), "b/x") == {b"1"}
    assert contents(crashes(shadow, 1, Policy.STRICT), "a/x") == {b"1"}


def test_a_rename_that_is_durable_brings_a_file_of_which_no_name_was() -> None:
    shadow = Shadow(folders("a", "b"), [*create("a/x", b"1"), sync("a/x"), Call("rename", "a/x", "b/x"), sync("b")])
    assert contents(crashes(shadow, 5), "b/x") == {b"1"}
    assert contents(crashes(shadow, 5), "a/x") == {None}


def test_a_rename_over_a_file_leaves_one_or_the_other() -> None:
    first = Image({"x": File(b"old")})
    shadow = Shadow(first, [*create("new", b"new"), sync("new"), Call("rename", "new", "x")])
    assert contents(crashes(shadow, 4), "x") == {b"old", b"new"}


def test_a_rename_of_a_folder_takes_along_what_is_durable_in_it() -> None:
    calls = [*create("a/x", b"1"), sync("a/x"), *create("a/y", b"2"), sync("a/y")]
    without = Shadow(folders("a", "b"), [*calls, Call("rename", "a", "b/a"), sync("b")])
    assert contents(crashes(without, 8, Policy.STRICT), "b/a/x") == {None}
    assert contents(crashes(without, 8, Policy.RANDOM), "b/a/x") == {None, b"1"}
    shadow = Shadow(folders("a", "b"), [*calls, sync("a"), Call("rename", "a", "b/a"), sync("b")])
    assert contents(crashes(shadow, 9), "b/a/x") == {b"1"}
    assert contents(crashes(shadow, 9), "b/a/y") == {b"2"}


def test_a_folder_that_is_not_durable_is_gone_with_all_in_it() -> None:
    shadow = Shadow(Image(), [Call("mkdir", "a"), *create("a/x", b"1"), sync("a/x"), sync("a")])
    assert shadow.crashed(5, Policy.STRICT, 0) == Image()
    durable = Shadow(Image(), [Call("mkdir", "a"), sync(""), *create("a/x", b"1"), sync("a/x"), sync("a")])
    assert contents(crashes(durable, 6), "a/x") == {b"1"}


def test_a_file_is_not_moved_into_a_folder_that_is_not_there() -> None:
    first = Image({"x": File(b"1")})
    for calls in ([Call("rename", "x", "a/x")], [Call("rename", "x", "a/x"), sync("")]):
        shadow = Shadow(first, [Call("mkdir", "a"), *calls])
        for image in crashes(shadow, 1 + len(calls)):
            assert [file.data for file in image.files.values()] == [b"1"]


def test_a_folder_is_removed_when_what_was_in_it_is_elsewhere() -> None:
    first = Image({"a/x": File(b"1")}, frozenset({"a"}))
    shadow = Shadow(first, [Call("rename", "a/x", "x"), Call("rmdir", "a")])
    for image in crashes(shadow, 2):
        assert [file.data for file in image.files.values()] == [b"1"]
        assert "a/x" not in image.files or "a" in image.folders


def test_an_unlinked_file_may_come_back_until_its_folder_is_synced() -> None:
    shadow = Shadow(Image({"x": File(b"1")}), [Call("unlink", "x"), sync("")])
    assert contents(crashes(shadow, 1), "x") == {None, b"1"}
    assert contents(crashes(shadow, 2), "x") == {None}


def test_two_names_of_a_file_are_one_file() -> None:
    shadow = Shadow(Image(), [*create("x", b"1"), Call("link", "x", "y"), Call("unlink", "x"), sync(""), sync("y")])
    assert contents(crashes(shadow, 6), "y") == {b"1"}
    calls = [*create("x", b"1"), Call("link", "x", "y"), Call("write", "y", data=b"2"), sync("x"), sync("")]
    for image in crashes(Shadow(Image(), calls), 6):
        assert image.files["x"] is image.files["y"]
        assert image.files["x"].data == b"2"


def test_a_journal_keeps_the_order() -> None:
    shadow = Shadow(Image(), [*create("1"), *create("2"), *create("3"), *create("4")])
    found = {"".join(sorted(image.files)) for image in crashes(shadow, 4, Policy.JOURNAL)}
    assert found == {"", "1", "12", "123", "1234"}
    assert len({"".join(sorted(image.files)) for image in crashes(shadow, 4, Policy.RANDOM)}) > 8


def test_a_journal_has_all_that_was_before_the_last_sync_of_anything() -> None:
    shadow = Shadow(Image({"log": File(b"")}), [*create("1"), sync("log"), *create("2")])
    assert {tuple(sorted(image.files)) for image in crashes(shadow, 3, Policy.JOURNAL)} == {
        ("1", "log"),
        ("1", "2", "log"),
    }


def test_files_that_nobody_has_synced_may_be_anything_until_somebody_does() -> None:
    first = Image({"x": File(b"123", 4)})
    shadow = Shadow(first, [sync("x")], unsynced=["x"])
    assert {b"", b"123", b"\0\0\0"} <= contents(crashes(shadow, 0), "x")
    assert contents(crashes(shadow, 1), "x") == {b"123"}
    assert shadow.seen(0) == first
    assert {image.files["x"].mtime_ns for image in crashes(shadow, 0)} == {4}


def test_what_is_sure_to_be_left_of_a_file() -> None:
    calls = [*create("a/x", b"1"), sync("a/x"), Call("write", "a/x", at=1, data=b"2"), Call("rename", "a/x", "a/y")]
    shadow = Shadow(folders("a"), calls)
    assert shadow.kept("a/x", 2) == b""
    assert shadow.kept("a/x", 4) == b"1"
    assert shadow.kept("a/x", 5) is None
    assert shadow.kept("a/y", 5) == b"1"


def test_the_same_seed_gives_the_same_disk() -> None:
    shadow = Shadow(Image(), [*create("x", b"1" * 3000), *create("y", b"2" * 3000), sync("x")])
    for policy in Policy:
        assert [shadow.crashed(4, policy, seed) for seed in SEEDS] == [
            shadow.crashed(4, policy, seed) for seed in SEEDS
        ]


def test_an_unknown_call_is_no_call() -> None:
    with pytest.raises(ValueError, match="no such call: fallocate"):
        Shadow(Image(), [Call("fallocate", "x")])


def test_a_line_of_the_record_says_all_of_a_call() -> None:
    call = Call("write", "a/x", at=3, data=b"\0\xff", mtime_ns=5, site="write here part", ordinal=2)
    assert parse(call.line()) == call
    assert parse(Call("sync", "").line()) == Call("sync", "")
