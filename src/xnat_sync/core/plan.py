"""What is to be done about each listed file, and how: one decision function, with its table.

======================  ====================  =======================  ==================================
ledger says             on disk               server's file            decision
======================  ====================  =======================  ==================================
nothing                 nothing               any                      fetch: new
nothing                 a file                size differs             conflict: foreign
nothing                 a file                size may be equal        check (hash it)
held                    nothing               any                      fetch: missing here
held                    as the ledger says    equal                    skip: unchanged
held                    as the ledger says    differs                  refetch: changed on server
held                    otherwise             any                      check (hash it)
any                     no regular file       any                      conflict: not a file
======================  ====================  =======================  ==================================

and after hashing:

======================  =======================================  ==========================
hash on disk            ledger                                   decision
======================  =======================================  ==========================
the server's            any                                      adopt
no digest listed        held, with this hash                     adopt
the ledger's            held                                     refetch: changed on server
neither                 held                                     conflict: changed locally
neither                 nothing                                  conflict: foreign
no digest listed        nothing                                  fetch: to compare
======================  =======================================  ==========================

``--overwrite`` turns a conflict over a regular file into a refetch. A file equals the server's if sizes agree where
the server tells one, and digests agree where it tells one; mtime alone decides nothing. What is fetched to compare is
compared at its commit, with what then stands there.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from .model import Held, OnDisk, RemoteFile

MEBIBYTE = 1 << 20
ZIP_AVERAGE = 32 * MEBIBYTE


class Kind(StrEnum):
    """What a decision means for the file."""

    SKIP = "skip"
    FETCH = "fetch"
    REFETCH = "refetch"
    CHECK = "check"
    ADOPT = "adopt"
    CONFLICT = "conflict"


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do about one file, and the one reason that the report gives."""

    kind: Kind
    reason: str


_NEW = Decision(Kind.FETCH, "new")
_MISSING = Decision(Kind.FETCH, "missing here")
_UNCHANGED = Decision(Kind.SKIP, "unchanged")
_CHANGED = Decision(Kind.REFETCH, "changed on server")
_CHECK = Decision(Kind.CHECK, "must be hashed")
_ADOPT = Decision(Kind.ADOPT, "already here")
_NOT_A_FILE = Decision(Kind.CONFLICT, "not a file here")
_FOREIGN = Decision(Kind.CONFLICT, "foreign file here")
_EDITED = Decision(Kind.CONFLICT, "changed locally")
COMPARE = "no digest to compare by"
_COMPARE = Decision(Kind.FETCH, COMPARE)
_OVERWRITE = Decision(Kind.REFETCH, "overwritten")


def same(remote: RemoteFile, size: int, md5: str) -> bool:
    """Whether a file of this size and MD5 is the server's, as far as the server tells."""
    return remote.size in (None, size) and remote.md5 in (None, md5)


def decide(remote: RemoteFile, held: Held | None, disk: OnDisk | None, *, overwrite: bool = False) -> Decision:
    """The first table above."""
    if disk is not None and not disk.regular:
        return _NOT_A_FILE
    if held is None:
        if disk is None:
            return _NEW
        if remote.size is not None and disk.size != remote.size:
            return _OVERWRITE if overwrite else _FOREIGN
        return _CHECK
    if disk is None:
        return _MISSING
    if (disk.size, disk.mtime_ns) != (held.size, held.mtime_ns):
        return _CHECK
    return _UNCHANGED if same(remote, held.size, held.md5) else _CHANGED


def decide_hashed(remote: RemoteFile, held: Held | None, size: int, md5: str, *, overwrite: bool = False) -> Decision:
    """The second table above, for a file that has this size and MD5 on disk."""
    ours = held is not None and (held.size, held.md5) == (size, md5)
    if same(remote, size, md5) and (ours or remote.md5 is not None):
        return _ADOPT
    if ours:
        return _CHANGED
    if overwrite:
        return _OVERWRITE
    if held is not None:
        return _EDITED
    return _COMPARE if remote.md5 is None else _FOREIGN


class How(StrEnum):
    """In what way the missing files of a resource are asked for."""

    ZIP = "zip"
    SINGLES = "singles"


def how(*, missing: int, missing_bytes: int, held_bytes: int) -> How:
    """One zip, or one request a file.

    A zip needs two files or more that average under 32 MiB, and pays only while what is held of the resource, in its
    folder or in staging, is less than a tenth of its bytes: a zip cannot be resumed, so it brings the held ones again.
    """
    if missing < 2 or missing_bytes >= missing * ZIP_AVERAGE:
        return How.SINGLES
    return How.ZIP if held_bytes * 10 < held_bytes + missing_bytes or held_bytes == 0 else How.SINGLES
