"""What a name on disk may be, and when two are one: said a second time, in other words than ``core.names`` does.

From the rules of POSIX, of Windows (Naming Files, Paths, and Namespaces) and of file systems that compare names
without case or in another Unicode form.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable

DEVICES = frozenset({"CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$", "CLOCK$"}) | {
    f"{port}{digit}" for port in ("COM", "LPT") for digit in "0123456789¹²³"
}
OURS = ".xnat-sync"
LONG = "%long"  # the folder of paths that are too long

# How file systems compare: as it is, by case one way or the other, and in either form of Unicode.
SAME: tuple[Callable[[str], str], ...] = (
    str.lower,
    str.upper,
    str.casefold,
    lambda name: unicodedata.normalize("NFC", name).casefold(),
    lambda name: unicodedata.normalize("NFD", unicodedata.normalize("NFD", name).casefold()),
)


def portable(name: str) -> bool:
    """Whether this one component may be a name anywhere."""
    return (
        name not in ("", ".", "..")
        and not set(name) & set('<>:"/\\|?*')
        and all(" " <= letter != "\x7f" and not "\ud800" <= letter <= "\udfff" for letter in name)
        and name[-1] not in " ."
        and name.partition(".")[0].rstrip(" ").upper() not in DEVICES
        and name.casefold() != OURS
        and len(name.encode()) <= 255
    )


def portable_path(path: str) -> bool:
    """Whether this is a relative path of such names."""
    return all(map(portable, path.split("/")))


def apart(paths: Iterable[str]) -> None:
    """No two paths may be one to some file system, and none may be a file where another needs a folder."""
    together = list(paths)
    for same in SAME:
        files = [same(path) for path in together]
        assert len(set(files)) == len(files), "two in one place"
        folders = {path[:at] for path in files for at, letter in enumerate(path) if letter == "/"}
        assert not folders & set(files), "a file where a folder is"
