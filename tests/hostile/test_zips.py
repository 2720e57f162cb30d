"""Zips that climb out, blow up or lie: what is true in them is taken, the rest is fetched file by file."""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path

from core.zips import DESCRIPTOR, FULL32, UTF8, M, central, ending, local, make
from hostile.conftest import Make
from hostile.evil import body
from hostile.scene import HEAVY, MIB, few, resources
from system.harness import md5_tree, truth
from xnat_embedded import Resource

ZIP = r"/resources/{}/files\?format=zip$"
EVIL = b"\x7fELF somebody else's program"


def honest(resource: Resource) -> list[M]:
    """The members that an honest zip of a resource has."""
    return [member(resource, entry.path, entry.content.read()) for entry in resource.entries if entry.content]


def member(resource: Resource, path: str, data: bytes, **lies: object) -> M:
    return M(f"E/resources/{resource.label}/files/{path}", data, **lies)  # type: ignore[arg-type]


def climbing(outside: Path) -> list[str | bytes]:
    """Names that would lead out of a folder on some system, or onto what is no file there."""
    up = os.path.relpath(outside, outside / "a/b/c/d/e/f/g/h/i/j/k")
    return [
        f"{outside}/escape.dcm", f"{up}/escape.dcm", f"E/resources/DICOM/files/{up}/escape.dcm", "../escape.dcm",
        "..\\..\\escape.dcm", "E/resources/DICOM/files/..\\..\\..\\escape.dcm", "C:\\escape.dcm", "C:escape.dcm",
        "\\\\server\\share\\escape.dcm", "//server/share/escape.dcm", "\\\\?\\C:\\escape.dcm", "/dev/null",
        b"escape.dcm\0.txt", b"E/resources/DICOM/files/0.dcm\0/../../escape.dcm", "E/resources/DICOM/files/CON",
        "E/resources/DICOM/files/0.dcm:stream", "./././escape.dcm", "", "/", "..", ".", "~/escape.dcm", "$HOME/x.dcm",
        "\N{FULLWIDTH FULL STOP}\N{FULLWIDTH FULL STOP}\N{FULLWIDTH SOLIDUS}x.dcm", b"\xc0\xae\xc0\xae\xc0\xafx.dcm",
        ".xnat-sync/lock", "E/resources/DICOM/files/../../../../../.xnat-sync/index.jsonl", "E/resources/DICOM/files/",
        "E/resources/DICOM/files/0.dcm/", "E/resources/DICOM/files/0.dcm/below",
    ]  # fmt: skip


def test_no_name_in_a_zip_leads_anywhere(stage: Make, tmp_path: Path) -> None:
    names = climbing(tmp_path / "outer")
    at = stage(few(len(names)))
    for resource, name in zip(resources(at.here.site), names, strict=True):
        flags = 0 if isinstance(name, bytes) else UTF8
        false = M(name, EVIL, flags=flags)
        at.evil.lie(ZIP.format(resource.id), body(make(false, *honest(resource), false), kind="application/zip"))
    ended = at.attack(name="zip: names that climb")
    assert ended.code == 0, ended
    assert at.here.tree() == truth(at.here.site)
    assert not [path for path in at.outer.rglob("*") if path.is_file() and EVIL in path.read_bytes()]


def test_links_and_devices_in_a_zip_are_files_or_nothing(stage: Make) -> None:
    """What the central directory says of a member's kind is never believed."""
    at = stage(few(6))
    kinds = [0xA1FF, 0x61B6, 0x21B6, 0x11B6, 0xC1FF, 0x41FF]  # link, block and character device, pipe, socket, folder
    for resource, kind in zip(resources(at.here.site), kinds, strict=True):
        target = f"{at.outer}/escape.dcm".encode()
        resource.add_file("link", target)
        odd = {"central": {"made": 0x0314, "external": kind << 16}}
        true = [M(m.name, m.data, **odd) for m in honest(resource)]  # type: ignore[arg-type]
        false = M("E/resources/DICOM/files/0.dcm/..", target, **odd)  # type: ignore[arg-type]
        at.evil.lie(ZIP.format(resource.id), body(make(*true, false), kind="application/zip"))
    ended = at.attack(name="zip: links and devices")
    assert ended.code == 0, ended
    assert at.here.tree() == truth(at.here.site)
    assert all(path.is_file() or path.is_dir() for path in at.project.rglob("*"))
    assert not [path for path in at.project.rglob("*") if path.is_symlink()]


def test_a_listing_that_climbs_and_a_zip_that_agrees(stage: Make, tmp_path: Path) -> None:
    """List and zip tell the same lie: the files are had, each within the folder of its resource."""
    at = stage(few(1))
    resource = resources(at.here.site)[0]
    for number, name in enumerate(climbing(tmp_path / "outer")):
        if isinstance(name, str) and name.rstrip("/") == name != "" and "/resources/" not in name:
            resource.add_file(name, b"climber %d" % number)
    at.evil.lie(ZIP.format(resource.id), body(make(*honest(resource)), kind="application/zip"))
    folder = at.project / "S/E00/scans/1/DICOM"
    wanted = sorted(hashlib.md5(each.data).hexdigest() for each in honest(resource))
    ended = at.attack(name="zip and listing: names that climb", anywhere=True)
    assert ended.code == 0, ended
    assert sorted(md5_tree(folder).values()) == sorted(md5_tree(at.project).values()) == wanted


BOMB = 64 * MIB * HEAVY


@cache
def zeros(size: int) -> bytes:
    """So many zeros, deflated: a thousandth of their number."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return b"".join([*(packer.compress(bytes(MIB)) for _ in range(size // MIB)), packer.flush()])


def bomb(name: str, **lies: object) -> M:
    """A member that inflates to far more than anybody listed, whatever it declares."""
    return M(name, bytes(BOMB), method=8, packed=zeros(BOMB), **lies)  # type: ignore[arg-type]


def overlapping(first: M, *rest: M) -> bytes:
    """A directory whose many records all point at the bytes of one member."""
    data, records = local(first), b"".join(central(each, 0) for each in (first, *rest))
    return data + records + ending(1 + len(rest), len(records), len(data), comment=b"", zip64_end=False)


def resized(of: M, size: int) -> M:
    """A stored member that declares another size than it has."""
    return M(of.name, of.data, local={"size": size, "csize": size}, central={"size": size, "csize": size})


Lying = Callable[[M, M, M], bytes]
INNER = "E/resources/DICOM/files/"
LIES: dict[str, Lying] = {
    "ratio": lambda a, b, c: make(bomb(str(a.name)), b, c),
    "ratio, declared as listed": lambda a, b, c: make(bomb(str(a.name), local={"size": len(a.data)}), b, c),
    "ratio, declared behind": lambda a, b, c: make(bomb(str(a.name), descriptor="32sig"), b, c),
    "ratio, a name nobody listed": lambda a, b, c: make(bomb(INNER + "bomb"), a, b, c),
    "too large": lambda a, b, c: make(resized(a, len(a.data) + 9), b, c),
    "too small": lambda a, b, c: make(resized(a, len(a.data) - 9), b, c),
    "4 GiB": lambda a, b, c: make(resized(a, FULL32 - 1), b, c),
    "16 EiB": lambda a, b, c: make(M(a.name, a.data, extra=b"\1\0\x10\0" + b"\xff" * 16, local={"size": FULL32}), b, c),
    "another's bytes": lambda a, b, c: make(M(a.name, b.data), M(b.name, c.data), M(c.name, a.data)),
    "one name twice": lambda a, b, c: make(a, M(a.name, EVIL), b, c),
    "nothing": lambda a, b, c: make(),
    "encrypted": lambda a, b, c: make(M(a.name, a.data, flags=UTF8 | 1), b, c),
    "an unknown method": lambda a, b, c: make(M(a.name, a.data, method=99), b, c),
    "behind a page": lambda a, b, c: b"<!DOCTYPE html><html>" + make(a, b, c),
    "with a tail": lambda a, b, c: make(a, b, c) + bytes(MIB),
    "two zips": lambda a, b, c: make(a, b, c) * 2,
    "overlapping": overlapping,
    "nested": lambda a, b, c: make(M(INNER + "0.dcm.zip", make(bomb("0.dcm"))), M(a.name, make(a)), b, c),
    "another directory": lambda a, b, c: make(a, b, M(c.name, c.data, central={"name": b"../../escape.dcm"})),
    "an offset far away": lambda a, b, c: make(a, b, M(c.name, c.data, central={"offset": FULL32 - 1})),
    "a descriptor that never comes": lambda a, b, c: local(M(a.name, a.data, flags=UTF8 | DESCRIPTOR)),
    "two bytes": lambda a, b, c: b"PK",
    "gzip": lambda a, b, c: b"\x1f\x8b\x08" + bytes(1000),
}  # fmt: skip


def test_zips_that_lie_cost_time_and_nothing_else(stage: Make) -> None:
    at = stage(few(len(LIES)))
    for resource, lying in zip(resources(at.here.site), LIES.values(), strict=True):
        at.evil.lie(ZIP.format(resource.id), body(lying(*honest(resource)), kind="application/zip"))
    ended = at.attack(name="zip: bombs and sizes that lie")
    assert ended.code == 0, ended
    assert at.here.tree() == truth(at.here.site)


def test_a_bomb_does_not_fill_the_disk(stage: Make) -> None:
    """No more of a member is written than the listing says it has."""
    at = stage(few(2))
    for resource, lie in zip(resources(at.here.site), ({}, {"descriptor": "32sig"}), strict=True):
        first, *rest = honest(resource)
        at.evil.lie(ZIP.format(resource.id), body(make(bomb(str(first.name), **lie), *rest), kind="application/zip"))
    ended = at.attack(name="zip: a bomb, on a disk that is nearly full", most_file=8 * MIB)
    assert ended.code == 0, ended
    assert at.here.tree() == truth(at.here.site)


def test_members_without_number_take_no_memory(stage: Make) -> None:
    """More members than were listed, each with a long name: what is remembered of them is bounded by the listing."""
    at = stage(few(1))
    resource = resources(at.here.site)[0]
    many = [local(M(f"{INNER}{number:0200}", b"")) for number in range(150_000 * HEAVY)]
    at.evil.lie(ZIP.format(resource.id), body(b"".join(many), kind="application/zip"))
    ended = at.attack(name="zip: 150,000 members that nobody listed")
    assert ended.code == 0, ended
    assert at.here.tree() == truth(at.here.site)


def test_kept_as_zips_the_lies_cost_no_more(stage: Make) -> None:
    """The same with ``--store zip``, where members go from one zip into another."""
    at = stage(few(len(LIES)))
    for resource, lying in zip(resources(at.here.site), LIES.values(), strict=True):
        at.evil.lie(ZIP.format(resource.id), body(lying(*honest(resource)), kind="application/zip"))
    ended = at.attack(*at.mirroring("--store", "zip"), name="zip: the same, kept as zips", anywhere=True)
    assert ended.code == 0, ended
    assert len(list(at.project.rglob("DICOM.zip"))) == len(LIES)
    done = at.here.run("verify", str(at.here.dest))
    assert done.code == 0, done
    assert f"{3 * len(LIES)} files" in done.out, done
