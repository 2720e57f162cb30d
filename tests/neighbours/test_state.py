"""State edited by hand: whatever it says, it costs time and never data, and leads nowhere outside the project."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from neighbours.scene import STATE, WIDE, Scene, Stage, site_before, stage, state
from system.harness import truth
from system.warm import WarmWorld
from xnat_embedded import Server

Damage = Callable[[bytes], bytes]


@pytest.fixture(scope="module")
def made() -> Iterator[Stage]:
    with stage() as ready:
        yield ready


@pytest.fixture
def here(made: Stage, tmp_path: Path) -> Iterator[Scene]:
    scene = made.scene(tmp_path)
    yield scene
    scene.end()


def ledger(here: Scene) -> Path:
    return Path(here.mirrored.ledger_path(here.unit))


FILES: dict[str, Callable[[Scene], Path]] = {
    "ledger": ledger,
    "index": lambda here: Path(here.mirrored.index_path),
    "form": lambda here: Path(here.mirrored.form_path),
    "lock": lambda here: Path(here.mirrored.lock_path),
    "tag": lambda here: state(here) / "staging" / "CACHEDIR.TAG",
    "note": lambda here: Path(here.mirrored.stage(here.unit, here.notes).part_path("n.txt") + ".json"),
}


def each_line(change: Callable[[dict[str, Any]], object]) -> Damage:
    def damage(old: bytes) -> bytes:
        lines = []
        for line in old.splitlines():
            try:
                entry = json.loads(line)
                change(entry)
                lines.append(json.dumps(entry).encode())
            except (ValueError, TypeError, AttributeError):
                lines.append(line)
        return b"\n".join(lines) + b"\n"

    return damage


def every_file(**facts: object) -> Damage:
    """Each file of a ledger, and each unit of an index, says this."""

    def change(entry: dict[str, Any]) -> None:
        files = entry.get("files")
        for file in files if isinstance(files, list) else [entry]:
            file |= facts

    return each_line(change)


DAMAGE: dict[str, Damage] = {
    "empty": lambda old: b"",
    "junk": lambda old: b"no state at all\n" * 9,
    "another version": each_line(lambda entry: entry.update(xnat_sync=999, heartbeat="soon", layout="none")),
    "huge": lambda old: old + b'{"gone":["' + b"x" * (4 << 20) + b'"]}\n',
    "deep": lambda old: old + b"[" * 200_000 + b"\n",
    "deep object": lambda old: b'{"held":' * 50_000,
    "binary": lambda old: bytes(range(256)) * 64,
    "zeros": lambda old: bytes(len(old)),
    "other order": lambda old: b"\n".join(reversed(old.splitlines())) + b"\n",
    "doubled": lambda old: old + old,
    "lists": lambda old: b"[]\n[1, null]\nnull\n1e999\nNaN\n",
    "huge numbers": every_file(size=10**4000, mtime_ns=-(10**4000), files=10**30, bytes=-1, pid=10**30, listed=1e308),
    "negative sizes": every_file(size=-1, bytes=-1, files=-1),
    "other types": every_file(size="1", md5=5, path=["a"], at={}, id=7, folder=[], label=None),
    "climbing": every_file(path="../../../../../../outside/canary", at="../../../../../../outside/canary"),
    "climbing folders": each_line(lambda entry: entry.update(folder="../../outside/folder")),
    "absolute": every_file(at="/etc/hostname", folder="/etc"),
    "a zero in the path": every_file(at="a\0b", folder="a\0b"),
    "no text in the path": every_file(at="\ud800", folder="\ud800", label="\ud800"),
    "no path at all": every_file(at="", folder=""),
    "our own folder": every_file(at=f"../../{STATE}/index.jsonl", folder=STATE),
    "very long": every_file(at="x" * 100_000, folder="y/" * 100_000),
}
OFTEN = {
    "ledger": ("binary", "deep", "huge numbers", "negative sizes", "other order", "climbing",
               "climbing folders", "a zero in the path", "no text in the path", "no path at all", "very long"),
    "index": ("deep", "climbing folders", "no text in the path"),
    "form": ("binary", "another version", "deep object"),
    "lock": ("huge numbers",),
}  # fmt: skip
# A lock that says nothing of use may be somebody's, and mirror.json tells what the mirror is: these may be refused.
CODES = {"lock": {0, 3, 11}, "form": {0, 2, 3}}


def cases() -> list[tuple[str, str]]:
    return [(file, damage) for file in FILES for damage in DAMAGE if WIDE or damage in OFTEN.get(file, ())]


@pytest.mark.parametrize(("file", "damage"), cases())
def test_damaged_state_harms_nothing(here: Scene, file: str, damage: str) -> None:
    at = FILES[file](here)
    at.parent.mkdir(parents=True, exist_ok=True)
    kept = at.read_bytes() if at.exists() else b'{"total": 1}'
    if file == "note":
        Path(str(at).removesuffix(".json")).write_bytes(b"anot")
    before = here.tree()
    at.write_bytes(DAMAGE[damage](kept))
    done = here.nightly()
    here.assert_ended_well(done, *CODES.get(file, {0, 3}))
    assert done.code == 0 or before.items() <= {**here.tree(), **changed(before, here)}.items()
    if done.code == 0 and not WIDE:
        return
    if done.code in (2, 11):
        at.write_bytes(kept)
    again = here.nightly("--overwrite")
    assert again.code == 0, again
    here.assert_whole()
    here.assert_outside_untouched()


@pytest.mark.parametrize("damage", DAMAGE if WIDE else ("empty", "deep object", "binary", "lists"))
def test_a_damaged_summary_is_passed_over(here: Scene, damage: str) -> None:
    (at,) = (state(here) / "runs").glob("*/summary.json")
    at.write_bytes(DAMAGE[damage](at.read_bytes()))
    done = here.run("status", str(here.dest))
    assert done.code == 0, done
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    "fields",
    [{"files": []}, {"files": {"failed": "x"}}, {"missing": 7}, {"missing": "all"}, {"missing": [[]]}, {"message": 5},
     {"name": {}}, {"code": []}, {"started": 5}],
)  # fmt: skip
def test_a_summary_edited_by_hand_is_no_summary(here: Scene, fields: dict[str, object]) -> None:
    (at,) = (state(here) / "runs").glob("*/summary.json")
    told = json.loads(here.run("status", str(here.dest), "--json").out)[0]
    assert told["last_name"] == "ok"
    at.write_text(json.dumps(json.loads(at.read_text()) | fields))
    done = here.run("status", str(here.dest))
    assert (done.code, done.err) == (0, "")
    assert "none has ended" in done.out
    assert "None" not in done.out


def changed(before: dict[str, str], here: Scene) -> dict[str, str]:
    """What the run had every reason to replace or take away."""
    now = truth(here.site)
    return {at: md5 for at, md5 in before.items() if now.get(at) != md5}


# -- state that lies on purpose ---------------------------------------------------------------------------------------


def row(path: Path, **more: object) -> dict[str, object]:
    """A file as a ledger has it, all of it true but where it lies."""
    found = path.stat()
    digest = hashlib.md5(path.read_bytes()).hexdigest()
    return {"path": path.name, "size": found.st_size, "md5": digest, "mtime_ns": found.st_mtime_ns} | more


def claim(here: Scene, *rows: dict[str, object], folder: str = "scans/1/DICOM", to: Path | None = None) -> None:
    line = {"held": here.number("1"), "label": "DICOM", "folder": folder, "files": rows}
    with (to or ledger(here)).open("a") as file:
        file.write(json.dumps(line) + "\n")


@pytest.mark.parametrize("way", ["at", "folder", "header", "other ledger", "zip"])
def test_delete_takes_nothing_from_outside(here: Scene, way: str) -> None:
    canary = here.outside / "canary"
    if way == "at":
        for up in range(3, 9):
            claim(here, row(canary, at="../" * up + "outside/canary"))
    elif way == "folder":
        for up in range(3, 9):
            claim(here, row(canary), folder="../" * up + "outside")
    elif way == "header":
        entry = {"xnat_sync": 1, "unit": "experiment", "id": here.unit, "label": "E1", "folder": "../../outside"}
        with ledger(here).open("a") as file:
            file.write(json.dumps(entry) + "\n")
        claim(here, row(canary), folder="")
    elif way == "other ledger":
        other = state(here) / "sessions" / "XNAT_E09999.jsonl"
        entry = {"xnat_sync": 1, "unit": "experiment", "id": "XNAT_E09999", "label": "E9", "folder": "../../outside"}
        other.write_text(json.dumps(entry) + "\n")
        claim(here, row(canary), folder="", to=other)
    else:
        line = {"held": "1", "label": "", "folder": "../../../../outside/canary", "zip": canary.stat().st_size}
        with ledger(here).open("a") as file:
            file.write(json.dumps(line | {"files": [row(canary)]}) + "\n")
    done = here.nightly()
    here.assert_ended_well(done, 0, 3)
    here.run("verify", str(here.dest), "--repair")
    here.assert_outside_untouched()


def test_nothing_outside_is_taken_for_a_file_that_moved(here: Scene) -> None:
    """What the server newly lists has the size and MD5 of a file outside, which the ledger says is ours."""
    wanted = here.outside / "wanted"
    wanted.write_bytes(b"added" * 80)
    here.guard()
    for up in range(3, 9):
        claim(here, row(wanted, at="../" * up + "outside/wanted"))
    done = here.nightly()
    here.assert_ended_well(done, 0)


@pytest.mark.parametrize("folder", ["../../outside/folder", "..", "", "/", f"{STATE}/sessions"])
def test_an_index_moves_nothing_in_from_outside(here: Scene, folder: str) -> None:
    index = FILES["index"](here)
    index.write_bytes(every_file(folder=folder)(index.read_bytes()))
    mine = here.project.parent / "mine"
    mine.write_bytes(b"mine")
    done = here.nightly()
    here.assert_ended_well(done, 0)
    assert mine.read_bytes() == b"mine"


def test_repair_renames_nothing_outside(here: Scene) -> None:
    canary = here.outside / "canary"
    for up in range(2, 9):
        claim(here, row(canary, at="../" * up + "outside/canary", md5="0" * 32))
    here.run("verify", str(here.dest), "--repair")
    here.assert_outside_untouched()


def test_a_ledger_of_a_unit_that_is_no_more_takes_nothing_from_one_that_is(here: Scene) -> None:
    """As where lines of another project, or a copy with another id, lie among the ledgers."""
    text = ledger(here).read_text().replace(here.unit, "XNAT_E09999")
    (state(here) / "sessions" / "XNAT_E09999.jsonl").write_text(text)
    for _ in range(2):
        done = here.nightly()
        here.assert_ended_well(done, 0)


def test_a_session_uploaded_anew_under_its_old_label_is_not_extra(tmp_path: Path) -> None:
    site = site_before()
    with Server(site) as server:
        here = WarmWorld(server, site, tmp_path)
        assert here.mirror().code == 0
        subject = site.project("PTV000").subject("S1")  # type: ignore[union-attr]
        old = subject.session("E1")
        files = [(scan.id, entry) for scan in old.scans for entry in scan.resources[0].entries]
        old.remove()
        new = subject.add_session("E1")
        for number in ("1", "2"):
            resource = new.add_scan(number, "t").add_resource("DICOM")
            for scan, entry in files:
                if scan == number and entry.content is not None:
                    resource.add_file(entry.path, entry.content)
        for _ in range(2):
            done = here.mirror("--delete", "--max-delete", "100%")
            assert done.code == 0, done
            assert here.tree() == truth(site)
        here.end()


def test_a_whole_state_of_another_project_is_no_harm(here: Scene, tmp_path: Path) -> None:
    """Somebody copied ``.xnat-sync`` from one project's folder to another's."""
    other = here.dest / "OTHER"
    other.mkdir()
    shutil.copytree(state(here), other / STATE)
    session = here.site.add_project("OTHER", members=("demo",)) if here.site.project("OTHER") is None else None
    if session is not None:
        session.add_subject("S9").add_session("E9").add_scan("1").add_resource("DICOM").add_file("a", b"a")
    os.utime(other)
    before = here.tree()
    done = here.run("project", "OTHER", "--dest", str(here.dest), "--delete", "--max-delete", "100%")
    assert done.code == 0, done
    assert (other / "S9/E9/scans/1/DICOM/a").read_bytes() == b"a"
    assert here.tree() == before
    here.assert_outside_untouched()
