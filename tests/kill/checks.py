"""What may be found in DEST at any instant, and what must be: promises of ``contract.md`` §1 as functions of an image.

A zip under a final name counts as the files in it, so that one truth serves both kinds of mirror.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache, partial

from system.harness import STATE
from xnat_sync.core import ledger, zipwrite

from .image import File, Image

_CENTRAL = b"PK\1\2"  # begins each record of a zip's central directory


@dataclass(frozen=True)
class Facts:
    """What the mirror of one project may and must hold.

    ``old`` is what stood before the run: path -> MD5. ``new`` is what the server has: path -> MD5, with the size of
    each MD5 in ``sizes``, and the paths of each resource of which nothing stood before in ``fresh``. ``moves`` says
    which folders have another name now: what stood in the one may stand in the other. Of ``undigested`` files the
    server tells no MD5. ``damaged`` files have another MD5, or ``""`` for none, than what was written to them, and may
    be renamed. ``extra`` files may be there besides.
    """

    old: Mapping[str, str]
    new: Mapping[str, str]
    sizes: Mapping[str, int]
    fresh: Mapping[str, Collection[str]]
    moves: Mapping[str, str] = field(default_factory=dict)
    undigested: frozenset[str] = frozenset()
    damaged: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, str] = field(default_factory=dict)

    def moved(self, path: str) -> str:
        """Where what stood at ``path`` belongs now, as far as folders have other names."""
        return next((f"{new}{path[len(old) :]}" for old, new in self.moves.items() if path.startswith(f"{old}/")), path)

    def is_damaged(self, path: str, file: File) -> bool:
        """Whether a file is one that was damaged before, perhaps renamed since."""
        return self.damaged.get(path.partition(".changed")[0]) == file.md5


def final(image: Image) -> dict[str, File]:
    """What bears a final name."""
    return {path: file for path, file in image.files.items() if not path.startswith(f"{STATE}/")}


def contents(files: Mapping[str, File]) -> dict[str, str]:
    """Path -> MD5, zips as the files in them; what is called a zip and is none has no MD5."""
    found: dict[str, str] = {}
    for path, file in files.items():
        inside = _inside(file) if path.endswith(".zip") else None
        if inside is not None:
            found.update((f"{path.removesuffix('.zip')}/{name}", md5) for name, md5 in inside.items())
        else:
            found[path] = "" if path.endswith(".zip") else file.md5
    return found


@lru_cache(4096)
def _inside(file: File) -> Mapping[str, str] | None:
    try:
        with zipfile.ZipFile(io.BytesIO(file.data)) as held:
            return {name: hashlib.md5(held.read(name)).hexdigest() for name in held.namelist()}
    except (zipfile.BadZipFile, EOFError, OSError, ValueError, NotImplementedError):
        return None


def wrong(image: Image, facts: Facts) -> Iterator[str]:
    """Final names that bear neither what stood there nor what the server has there; and halves of new resources."""
    here = contents({path: file for path, file in final(image).items() if not facts.is_damaged(path, file)})
    moved = {(facts.moved(path), md5) for path, md5 in facts.old.items()}
    for path, md5 in here.items():
        if md5 not in (facts.old.get(path), facts.new.get(path), facts.extra.get(path)) and (path, md5) not in moved:
            yield f"wrong under a final name: {path}"
    for folder, paths in facts.fresh.items():
        if 0 < sum(path in here for path in paths) < len(paths):
            yield f"in part under a final name: {folder}"


def lies(image: Image, facts: Facts) -> Iterator[str]:
    """What the ledgers claim and the disk does not hold, though it looks so, or though it should be where it is.

    What a rename of its session has taken out of the way is held.
    """
    files = final(image)
    here = contents(files)
    moving = _moving(image)
    for stands_at, at, stat, md5 in claims(image):
        path = at.replace(".zip/", "/")
        file = files.get(stands_at)
        if file is None:
            wanted = facts.new.get(path) == md5 and not {path, stands_at} & facts.damaged.keys()
            lie = wanted and md5 not in moving
        else:
            believed = (len(file.data), file.mtime_ns) == stat
            lie = believed and here.get(path) != md5 and not facts.is_damaged(stands_at, file)
        if lie:
            how = "and is gone" if file is None else "by its size and time"
            yield f"the ledger believes what is not there, {how}: {at}"


def _moving(image: Image) -> set[str]:
    """MD5s of what a rename has taken out of the way."""
    return set(contents({path: file for path, file in image.files.items() if "/staging/%moving/" in path}).values())


def claims(image: Image) -> Iterator[tuple[str, str, tuple[int, int], str]]:
    """The rows of all ledgers: file, path in all, size and time, MD5."""
    for path, file in image.files.items():
        if path.startswith(f"{STATE}/sessions/") and path.endswith(".jsonl"):
            yield from _rows(file.data)


@lru_cache(4096)
def _rows(data: bytes) -> Sequence[tuple[str, str, tuple[int, int], str]]:
    replay = ledger.replay(data.decode("utf-8", "replace"))
    folder = f"{replay.folder}/" if replay.folder else ""
    return [(f"{folder}{row.stands_at}", f"{folder}{row.at}", row.stat, row.md5) for row in replay.files.values()]


def forgotten(image: Image, recorded: Mapping[str, bytes], seen: Image, facts: Facts) -> Iterator[str]:
    """What was recorded for good when the power failed, and stood there, and is gone; ``recorded`` are the ledgers."""
    here, before, moving = contents(final(image)), contents(final(seen)), _moving(image)
    for data in recorded.values():
        for _, at, _, md5 in _rows(data):
            path = at.replace(".zip/", "/")
            if before.get(path) == md5 == facts.new.get(path) and here.get(path) != md5 and md5 not in moving:
                yield f"was recorded, and is gone: {at}"


def lost(image: Image, facts: Facts) -> Iterator[str]:
    """What the server has no more, and is neither where it was nor in the trash."""
    anywhere = set(contents(image.files).values())
    for path, md5 in facts.old.items():
        if md5 and facts.moved(path) not in facts.new.keys() | facts.extra.keys() and md5 not in anywhere:
            yield f"deleted, and not in the trash: {path}"


def gaps(image: Image, facts: Facts) -> Iterator[str]:
    """What stood there, and the server has one still, and is neither the old nor the new one."""
    here, moving = contents(final(image)), _moving(image)
    for path, md5 in facts.old.items():
        at = facts.moved(path)
        if at in facts.new and not {path, at} & here.keys() and md5 not in moving and not facts.damaged:
            yield f"neither the old nor the new one is there: {path}"


def instant(image: Image, facts: Facts) -> list[str]:
    """All that is wrong at one instant."""
    return [*wrong(image, facts), *lies(image, facts), *lost(image, facts), *gaps(image, facts)]


@dataclass(frozen=True, slots=True)
class Hand:
    """What a killed run leaves to do: bytes that are ``missing``, and those ``in_hand`` of so many ``files``.

    Of those in hand, ``kept`` are in partials that the next run is to go on with.
    Nobody knows of ``unproved`` bytes whether they are the server's: no record says so, nor a digest. They are fetched
    again, to be compared.
    """

    missing: int
    in_hand: int
    files: int
    kept: int
    unproved: int


def in_hand(image: Image, facts: Facts) -> Hand:
    """What a killed run leaves to do."""
    there = Counter(contents(final(image)).values())
    parts: dict[str, int] = {}
    for path, file in image.files.items():
        if not path.startswith(f"{STATE}/staging/"):
            continue
        if "/tree/" in path or "/%moving/" in path:
            there.update(contents({path: file}).values())
        elif path.endswith(".zip.part"):
            whole, rest = _members(file)
            there.update(whole)
            parts[path.rpartition("/")[0]] = rest
        elif path.endswith((".part", ".member")):
            parts[path] = len(file.data)
    need = Counter(facts.new.values()) - there
    missing = sum(facts.sizes[md5] * count for md5, count in need.items())
    # What lies behind the last whole member is the one in hand, or the copy of a file whose own part is still there.
    held = [size for path, size in parts.items() if size and not any(each.startswith(f"{path}/") for each in parts)]
    here = contents(final(image))
    # A record of what stood there before says nothing of what stands there now.
    recorded = {path for _, at, _, md5 in claims(image) if here.get(path := at.replace(".zip/", "/")) == md5}
    unproved = sum(facts.sizes.get(here.get(path, ""), 0) for path in facts.undigested - recorded)
    return Hand(missing, sum(held), len(held), sum(_kept(image, need)), unproved)


def _kept(image: Image, need: Mapping[str, int]) -> Iterator[int]:
    """The sizes of partials that have a note which says of which file that is needed they are."""
    for path, file in image.files.items():
        if path.startswith(f"{STATE}/staging/") and path.endswith(".part") and f"{path}.json" in image.files:
            with suppress(ValueError):
                note = json.loads(image.files[f"{path}.json"].data)
                if need.get(note["md5"], 0) > 0 and len(file.data) <= note["size"]:
                    yield len(file.data)


def _members(file: File) -> tuple[list[str], int]:
    """The MD5s of the whole members of a zip that grows, and the bytes of the one behind them."""
    read = partial(_read, file.data)
    held, end = [], 0
    for member in zipwrite.scan(read, len(file.data)):
        md5 = zipwrite.prove(read, member)
        held += [md5] if md5 is not None else []
        end = member.end
    rest = file.data[end:]
    return held, 0 if _CENTRAL.startswith(rest[:4]) else len(rest)  # What is sealed has no member in hand.


def _read(data: bytes, size: int, at: int) -> bytes:
    return data[at : at + size]
