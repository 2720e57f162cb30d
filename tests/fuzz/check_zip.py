"""The zip reader, given any bytes in any pieces, and any zip that is right but for a few lies.

The invariant, for every input:

1. Nothing but a ``ZipError`` of the documented tree is raised, and after it nothing but the same one.
2. A member is a start, data, an end; one with an end has the announced size and the CRC-32 (``core.zips.read``).
3. How the bytes are cut into pieces changes nothing: not the members, not their bytes, not the error nor its place.
4. No event carries more than what was fed or ``PIECE``; all events together no more than ``max_total``, a member no
   more than ``max_member``, proved or not.
5. What is taken for whole, Python's ``zipfile`` takes for whole as well, with the same names and the same bytes at
   the same places. It may refuse to look for the reasons of ``EXCUSES`` only, all of them its own limits; and one whose
   comment holds the mark of an end is not for it.
6. Of a zip made here (``recipe``): one without a lie is whole, one with a lie in its end or its directory is not; and
   whatever the lies, no member comes with bytes that were not zipped, and a whole zip has all of them.

Nothing follows where the reader refuses: it is stricter than other programs, which find the directory from the end
and never look at what lies between.
"""

from __future__ import annotations

import io
import zipfile
import zlib

from core.zips import Read, pieces, read
from fuzz.draw import Draw
from fuzz.recipe import Recipe
from xnat_sync.core import unzip
from xnat_sync.core.unzip import PIECE, ZipError, ZipLimits

LIMITS = ZipLimits(max_name=300, max_members=40, max_member=1 << 16, max_total=1 << 17, max_ratio=500)
TREE = frozenset(
    kind for kind in map(unzip.__dict__.get, unzip.__all__) if isinstance(kind, type) and issubclass(kind, ZipError)
) - {ZipError, unzip.Unsupported}


def any_bytes(data: bytes) -> None:
    """Points 1 to 5 for the bytes as they are, within narrow limits."""
    examine(data, LIMITS)


def made(data: bytes) -> None:
    """All points, for the zip that the bytes are the recipe of."""
    recipe = Recipe.drawn(Draw(data))
    seen = examine(recipe.zip, ZipLimits())
    bodies = [member.data for member in recipe.members]
    assert all(body in bodies for body in seen.whole.values()), "bytes that nobody zipped"
    if seen.error is None:
        assert not recipe.hopeless, "taken for whole in spite of a lie"
        assert list(seen.whole.values()) == bodies, "taken for whole, but not all of it"
    elif recipe.honest:
        raise AssertionError(f"refused, though nothing is wrong with it: {seen.error!r}")


def examine(data: bytes, limits: ZipLimits) -> Read:
    """Points 1 to 5. Gives back what was read."""
    size = 1 + zlib.crc32(data) % 61 + len(data) // 64  # of few pieces where there is much
    seen, again = read(data, limits=limits), read(pieces(data, size), limits=limits)
    assert outcome(seen) == outcome(again), f"in pieces of {size} it is another zip"
    assert seen.error is None or type(seen.error) in TREE
    assert seen.largest <= max(PIECE, len(data))
    unproved = len(seen.buffer) if len(seen.starts) > len(seen.ends) else 0
    assert sum(map(len, seen.whole.values())) + unproved <= limits.max_total
    assert max([unproved, *map(len, seen.whole.values())]) <= limits.max_member
    if seen.error is None:
        second_opinion(data, seen)
    return seen


def outcome(seen: Read) -> tuple[object, ...]:
    """All that must not depend on the pieces.

    Where deflated data is broken in several ways, which of them shows first does: the inflater is given a piece, and
    what is wrong at its end hides what would have come out of its beginning.
    """
    error = seen.error
    fault: tuple[object, ...] | None = None
    if error is not None:
        fault = (error.member,)
        inflating = len(seen.starts) > len(seen.ends) and seen.starts[-1].method == 8
        if not (inflating and isinstance(error, unzip.BadDeflate | unzip.SizeMismatch | unzip.OverLimit)):
            fault += (type(error), error.offset, error.expected)
    return (seen.starts, seen.ends, seen.whole, fault, seen.reader.comment, seen.reader.last_good_offset)


# What zipfile says of zips that it is not up to -> why that is no fault of theirs.
EXCUSES = {
    "codec can't decode": "names that are no UTF-8 in spite of their flag, which are lone surrogates here",
    "patched data": "a flag of the directory alone; in the header, where it would tell of the data, it is refused",
    "zip file version": "versions above 6.3; what a zip needs is told by its flags and methods",
}


def second_opinion(data: bytes, seen: Read) -> None:
    """Point 5, of a zip that was taken for whole."""
    if b"PK\5\6" in seen.reader.comment:
        return  # zipfile takes the last of them for the end
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            assert archive.testzip() is None, "zipfile finds a bad member"
            there = {info.header_offset: (info.orig_filename, archive.read(info)) for info in archive.infolist()}
    except (zipfile.BadZipFile, NotImplementedError, ValueError, EOFError, zlib.error) as refusal:
        if any(words in str(refusal) for words in EXCUSES):
            return
        raise AssertionError("zipfile refuses it") from refusal
    assert {at: body for at, (_, body) in there.items()} == {
        start.offset: seen.whole[start.name] for start in seen.starts
    }
    for start in seen.starts:
        if start.name.encode("utf-8", "surrogateescape") == start.raw_name:  # else by a field zipfile knows since 3.13
            assert there[start.offset][0] == start.name
