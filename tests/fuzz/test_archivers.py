"""Zips of other programs, whole and damaged: three readers agree.

The reader of ``xnat_sync``, Python's ``zipfile`` and Info-ZIP's ``unzip`` read what Info-ZIP, 7-Zip, bsdtar, Java and
Python itself have written. The invariant:

1. A whole zip of any of them is taken for whole, in any pieces, and all three get the bytes that went in, the first two
   under the same names. What these names are is another matter: Debian's zip writes UTF-8 and does not say so.
2. Damaged by a few bytes, a zip that is still taken for whole is so for the other two as well. ``unzip`` may warn, and
   refuse a version number too high for it: what a zip needs is told by its flags and methods.
"""

from __future__ import annotations

import io
import os
import random
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from core.zips import Read, by_zipfile, pieces, read
from fuzz.check_zip import second_opinion
from fuzz.targets import corpus

ARCHIVERS = {
    "zip": "zip -q -r OUT .",
    "zip, stored": "zip -q -0 -r OUT .",
    "zip, to a pipe": "zip -q -r - . > OUT",
    "zip, ZIP64": "zip -q -r -fz OUT .",
    "zip, bare": "zip -q -r -D -X OUT .",
    "jar": "jar cf OUT .",
    "jar, stored": "jar c0f OUT .",
    "bsdtar": "bsdtar -cf OUT --format zip .",
    "bsdtar, stored": "bsdtar -cf OUT --format zip --options zip:compression=store .",
    "7z": "7z a -tzip -bso0 OUT .",
    "7zz": "7zz a -tzip -bso0 OUT .",
    "7zz, stored": "7zz a -tzip -mx=0 -bso0 OUT .",
}
TREES = {
    "mixed": {
        "a.dcm": bytes(5000) + b"DICM",
        "random": random.Random(1).randbytes(100_000),
        "long": b"text\n" * 100_000,
        "sub/ü ñ.txt": b"text\n" * 50,
        "sub/empty": b"",
        "sub/deep/er/-dash": b"x",
        "sub/日本語/'quoted' #1": bytes(range(256)),
    },
    "many": {f"{number % 7}/{number}.dcm": bytes(number % 3) for number in range(300)},
}
MANIFEST = "MANIFEST.MF"  # what a jar has of its own
UTF8 = os.environ | {"LC_ALL": "C.UTF-8"}


def made(tool: str, tree: str, folder: Path) -> bytes:
    """The tree as a zip of that program."""
    command = ARCHIVERS[tool]
    if shutil.which(command.split()[0]) is None:
        pytest.skip(f"{command.split()[0]} is not installed")
    source, out = folder / "source", folder / "out.zip"
    for name, body in TREES[tree].items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(body)
    subprocess.run(
        command.replace("OUT", str(out)), shell=True, cwd=source, check=True, capture_output=True, env=UTF8, timeout=60
    )
    return out.read_bytes()


def unzipped(data: bytes, folder: Path) -> list[bytes]:
    """The contents of the files that ``unzip`` makes of it."""
    if shutil.which("unzip") is None:
        pytest.skip("unzip is not installed")
    (folder / "in.zip").write_bytes(data)
    out = folder / "unzipped"
    subprocess.run(["unzip", "-q", "in.zip", "-d", out], cwd=folder, check=True, capture_output=True, env=UTF8)
    return sorted(path.read_bytes() for path in out.rglob("*") if path.is_file() and path.name != MANIFEST)


@pytest.mark.parametrize("tree", TREES)
@pytest.mark.parametrize("tool", ARCHIVERS)
def test_a_whole_zip(tool: str, tree: str, tmp_path: Path) -> None:
    data = made(tool, tree, tmp_path)
    seen = read(pieces(data, 1 << 16))
    assert seen.error is None
    assert read(pieces(data, 611)).whole == seen.whole
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert {info.filename: archive.read(info) for info in archive.infolist()} == seen.whole
    bodies = sorted(TREES[tree].values())
    assert sorted(seen.whole[name] for name in seen.whole if not name.endswith(("/", MANIFEST))) == bodies
    assert unzipped(data, tmp_path) == bodies


def damaged(data: bytes, dice: random.Random) -> bytes:
    """The zip with one to three places changed."""
    mutable = bytearray(data)
    for _ in range(dice.randint(1, 3)):
        at = dice.randrange(len(mutable))
        match dice.randrange(4):
            case 0:
                mutable[at] ^= 1 << dice.randrange(8)
            case 1:
                mutable[at] = dice.choice([0, 1, 8, 0x50, 0xFF])
            case 2:
                mutable[at:at] = dice.randbytes(dice.randrange(4))
            case _:
                del mutable[at : at + dice.randrange(4)]
    return bytes(mutable)


def still_whole(data: bytes, count: int) -> list[tuple[bytes, Read]]:
    """So many damaged zips that are taken for whole all the same."""
    dice, found = random.Random(data), list[tuple[bytes, Read]]()
    while len(found) < count:
        tried = damaged(data, dice)
        seen = read(tried)
        if seen.error is None:
            found.append((tried, seen))
    return found


FILES = {"a/1.dcm": bytes(99) + b"DICM", "a/empty": b"", "a/text": b"text " * 40}
BASES = {
    "embedded server": corpus("zip")["seed-embedded-server"],
    "zipfile": by_zipfile(FILES),
    "zipfile, deflated, to a pipe": by_zipfile(FILES, 8, forward=True),
}


@pytest.mark.parametrize("base", BASES)
def test_damage_that_nobody_minds(base: str, tmp_path: Path) -> None:
    unzip = shutil.which("unzip")
    for number, (data, seen) in enumerate(still_whole(BASES[base], 40)):
        second_opinion(data, seen)
        if unzip is None:
            continue
        path = tmp_path / f"{number}.zip"
        path.write_bytes(data)
        done = subprocess.run([unzip, "-tqq", path], capture_output=True, stdin=subprocess.DEVNULL, env=UTF8)
        assert done.returncode in (0, 1, 81), (done.stdout + done.stderr, data)
