"""The server's labels and paths as names on disk: safe everywhere, reversible, never two on one.

The contract:

- ``safe`` makes of any text one path component that POSIX and Windows both take as it stands (``is_safe``).
  It is injective, and ``unsafe`` turns it round unless the name had to be shortened. Ordinary names stay.
- Two names clash if they ``fold`` alike: then some file system would put both in one place. ``assign`` and
  ``assign_paths`` give names that never clash, and *every* name of a clash gets a suffix, so that the result
  depends on what there is, not on its order nor on what was there before.
- A result is relative, has no component that is empty, ``.`` or ``..``, and so never leaves its folder.

The way of writing is that of URLs: ``%`` and two upper-case hex digits for each byte of UTF-8. A ``%`` of the
name itself is written so only before two hex digits, since only there could it be misread. What is escaped is
a fixed list, not a Unicode category: names on disk must not change with the Unicode version of Python.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable
from functools import lru_cache
from hashlib import sha256
from typing import TypeVar

Key = TypeVar("Key", bound=Hashable)

LONGEST = 255  # bytes of a component: ext4, XFS, NFS, Lustre; NTFS and APFS count no stricter
LONGEST_PATH = 1024  # bytes of a path within a resource: the rest of 4096 is left to where it lies
LONG = "%long"  # the folder of paths that are longer
OWN = frozenset({".xnat-sync", LONG})  # names that only we give

_EMPTY = "%FF"  # what the empty name is written as: no byte of UTF-8, so no other name is

# Windows' devices, also with an extension and with spaces before it; some know zero and raised digits.
_DEVICE = r"(?:CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|CLOCK\$|(?:COM|LPT)[0-9¹²³]) *(?:\.|\Z)"
_RESERVED = re.compile(_DEVICE, re.IGNORECASE | re.ASCII)

# Separators and what Windows refuses; controls; what is invisible or turns text round; what is no text.
_FORBIDDEN = (
    r'[\x00-\x1f"*/:<>?\\|\x7f-\x9f'
    r"\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff0-\ufffb\U000e0000-\U000e007f"
    r"\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]"
)
_UNSAFE = re.compile(rf"{_FORBIDDEN}|\A |[ .]\Z")
_ESCAPED = re.compile(rf"{_FORBIDDEN}|\A |[ .]\Z|%(?=[0-9A-Fa-f]{{2}})")
_ESCAPES = re.compile(r"(?:%[0-9A-F]{2})+")

# Nearly every name there is: short, ASCII, nothing to do. One match decides.
_PLAIN = re.compile(
    rf"(?!{_DEVICE}|\.xnat-sync\Z)[!#$&'()+,\-.;=@\[\]^_`{{}}~0-9A-Z]"
    r"(?:[!#$&'()+,\-.;=@\[\]^_`{}~0-9A-Z ]{0,198}[!#$&'()+,\-;=@\[\]^_`{}~0-9A-Z])?(?<!\.)",
    re.IGNORECASE | re.ASCII,
)

_EXTENSION = re.compile(r"(?:\.[A-Za-z][A-Za-z0-9]{0,7}){1,2}\Z")  # .dcm, .nii.gz; not the last part of a UID
_SHORTENED = re.compile(r"~[0-9a-f]{16}(?:\.[A-Za-z][A-Za-z0-9]{0,7}){0,2}\Z")
_CUT_ESCAPE = re.compile(r"%[0-9A-F]?\Z")
_MOST_CUT = 5  # bytes that a cut loses at most beyond its limit: part of a character, before it part of an escape

# Characters that ext4, APFS and HFS+ may pass over when they compare: joiners, fillers, variation selectors.
_IGNORED = re.compile(
    r"[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    r"\ufe00-\ufe0f\ufeff\uffa0\U000e0000-\U000e0fff]"
)


@lru_cache(maxsize=1 << 14)
def safe(name: str) -> str:
    """One component that is safe on every file system; of different names, different ones.

    What has more than 255 bytes is cut and gets ``~`` and 16 hex digits of the SHA-256 of the whole name
    before a short extension. A name that looks as if that had been done to it is treated so too, or it could
    be taken for another's.
    """
    if _PLAIN.fullmatch(name):
        return name
    if not name:
        return _EMPTY
    written = _ESCAPED.sub(_escape, name)
    if _RESERVED.match(written) or fold(written) in OWN:
        written = _percent(written[0]) + written[1:]
    if _size(written) > LONGEST or _is_shortened(written):
        return _suffixed(written, f"~{_digest(name)[:16]}", _extension(written))
    return written


def unsafe(component: str) -> str:
    """The name that ``safe`` made ``component`` of. ``ValueError`` if it was shortened or is no such name."""
    if component == _EMPTY:
        return ""
    if _is_shortened(component):
        raise ValueError(f"the name was shortened to {component!r}")
    return _ESCAPES.sub(lambda run: bytes.fromhex(run[0].replace("%", "")).decode("utf-8", "surrogatepass"), component)


def is_safe(component: str) -> bool:
    """Whether this may be a name on disk as it stands. All that ``safe`` gives is."""
    return bool(
        component
        and not _UNSAFE.search(component)
        and not _RESERVED.match(component)
        and fold(component) not in OWN
        and _size(component) <= LONGEST
    )


def fold(name: str) -> str:
    """Names that fold alike are one name to some file system.

    Unicode's canonical caseless match (D145: decompose, fold the case, decompose), made coarser by going
    through upper case, as NTFS does, and by leaving out what ext4, APFS and HFS+ pass over. To be too coarse
    costs a suffix; to be too fine would cost a file.
    """
    if name.isascii():
        return name.lower()
    text = unicodedata.normalize("NFD", _IGNORED.sub("", name))
    return unicodedata.normalize("NFD", text.upper().casefold())


def assign(names: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Siblings as (id, label) -> component by id: the label, and in a clash ``~`` and the id.

    A pair may come twice. Of several labels for one id the first in sorting order counts.
    """
    labels: dict[str, str] = {}
    for key, label in names:
        labels[key] = min(label, labels.get(key, label))

    def name(key: str, level: int) -> str:
        component = safe(labels[key])
        suffix = f"~{safe(key)}"
        if level > 1 or _size(suffix) > 64:
            suffix = f"~{_digest(f'{level} {key}')[:32]}"
        return _suffixed(component, suffix) if level else component

    return _distinct(labels, name)


def assign_paths(paths: Iterable[str]) -> dict[str, str]:
    """Paths on the server -> relative paths on disk, both with ``/``.

    Empty components, ``.`` and ``..`` are names like any other. In a clash each name gets ``~`` and 8 hex
    digits of the SHA-256 of its kind and itself, files before their extension. A path of more than 1024 bytes
    goes into a folder of its own, ``%long/<digest of the path>``.
    """
    files: dict[str, list[str]] = {"": []}  # names by folder; a folder is written with its "/" at the end
    folders: defaultdict[str, list[str]] = defaultdict(list)
    for path in dict.fromkeys(paths):
        at = path.rfind("/") + 1
        folder = path[:at]
        if folder in files:
            files[folder].append(path[at:])
            continue
        files[folder] = [path[at:]]
        while True:
            at = folder.rfind("/", 0, -1) + 1
            parent, name = folder[:at], folder[at:]
            folders[parent].append(name)
            if parent in files:
                break
            files[parent], folder = [], parent

    result: dict[str, str] = {}
    waiting = [("", "")]
    while waiting:
        folder, prefix = waiting.pop()
        given = _components(files[folder], folders.get(folder, []))
        for name in files[folder]:
            path, made = folder + name, prefix + given[name]
            if len(made) > LONGEST_PATH // 4 and _size(made) > LONGEST_PATH:
                made = f"{LONG}/{_digest(path)[:32]}/{safe(name)}"
            result[path] = made
        waiting += [(folder + name, f"{prefix}{given[name]}/") for name in folders.get(folder, [])]
    return result


def _components(files: list[str], folders: list[str]) -> dict[str, str]:
    """Name -> component for all in one folder; folders' names end in "/", their components do not."""
    given = {name: safe(name) for name in files}
    given |= {name: safe(name[:-1]) for name in folders}
    if len({fold(component) for component in given.values()}) == len(given):
        return given

    def name(key: str, level: int) -> str:
        if not level:
            return given[key]
        kind, raw = ("folder", key[:-1]) if key.endswith("/") else ("file", key)
        digits = _digest(f"{level} {kind} {raw}")[: 8 if level == 1 else 32]
        return _suffixed(given[key], f"~{digits}", _extension(given[key]) if kind == "file" else "")

    return _distinct(given, name)


def _distinct(keys: Iterable[Key], name: Callable[[Key, int], str]) -> dict[Key, str]:
    """A name for each key such that no two fold alike: in a clash, the ones of the lowest level go up by one.

    All clashes of a round are settled at once, so that the order of the keys does not matter. Only the first
    suffix may be one that somebody chose; from the second on each level has another digest, so that it ends.
    """
    levels = dict.fromkeys(keys, 0)
    given = {key: name(key, 0) for key in levels}
    while True:
        alike: defaultdict[str, list[Key]] = defaultdict(list)
        for key, component in given.items():
            alike[fold(component)].append(key)
        clashes = [group for group in alike.values() if len(group) > 1]
        if not clashes:
            return given
        for group in clashes:
            lowest = min(levels[key] for key in group)
            for key in group:
                if levels[key] == lowest:
                    levels[key] += 1
                    given[key] = name(key, levels[key])


def _suffixed(component: str, suffix: str, extension: str = "") -> str:
    """The component with a suffix before its extension, cut to what a file system takes."""
    stem = component[: len(component) - len(extension)]
    limit = LONGEST - _size(suffix) - _size(extension)
    data = stem.encode()
    if len(data) > limit:
        stem = _CUT_ESCAPE.sub("", data[:limit].decode("utf-8", "ignore"))
    return f"{stem}{suffix}{extension}"


def _is_shortened(component: str) -> bool:
    return _size(component) >= LONGEST - _MOST_CUT and _SHORTENED.search(component) is not None


def _extension(component: str) -> str:
    found = _EXTENSION.search(component)
    return found[0] if found else ""


def _escape(found: re.Match[str]) -> str:
    return _percent(found[0])


def _percent(text: str) -> str:
    return "".join(f"%{byte:02X}" for byte in text.encode("utf-8", "surrogatepass"))


def _digest(text: str) -> str:
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _size(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))
