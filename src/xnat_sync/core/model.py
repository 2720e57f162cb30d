"""The vocabulary: what the server says there is, what we hold of it, and what is to be done.

Terms are XNAT's own. An *experiment* is an imaging session or another form of a subject; its *accession id* is
unique on a site, its *label* only within a project. Files hang in *resources*, which have a site-wide number and
a label that need not be unique, at one of the levels below.

A *unit* is what one file listing covers and one ledger records: an experiment with all that hangs on it, the own
resources of a subject, or those of the project.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from typing import NamedTuple


class Level(StrEnum):
    """Where in XNAT's tree a resource hangs. The values are those of ``--level``."""

    SCAN = "scans"
    SESSION = "session"
    ASSESSOR = "assessors"
    RECONSTRUCTION = "reconstructions"
    SUBJECT = "subject"
    PROJECT = "project"


@dataclass(frozen=True, slots=True)
class Experiment:
    """A row of a project's experiment list; every value is text, as the server sends it."""

    id: str
    label: str
    subject_id: str
    subject_label: str
    project: str
    xsi_type: str = ""
    date: str = ""
    last_modified: str = ""


class UnitKind(StrEnum):
    """What a unit is a unit of."""

    EXPERIMENT = "experiment"
    SUBJECT = "subject"
    PROJECT = "project"


@dataclass(frozen=True, slots=True)
class Unit:
    """What one listing covers and one ledger records.

    ``folder`` is relative to the project's folder in DEST, and safe; ``""`` is that folder itself.
    ``last_modified`` is the server's text, compared for equality only; ``""`` where the server tells none.
    """

    kind: UnitKind
    project: str
    id: str
    label: str
    folder: str
    subject_label: str = ""
    subject_id: str = ""
    last_modified: str = ""
    xsi_type: str = ""
    date: str = ""

    def own(self, folder: str) -> str:
        """What of ``folder`` is the unit's alone: a subject's folder holds its experiments as well."""
        return f"{folder}/resources" if self.kind is UnitKind.SUBJECT else folder


@dataclass(frozen=True, slots=True)
class Place:
    """The spot within a unit where a resource hangs: level, id of scan, assessor or reconstruction, in or out."""

    level: Level
    owner: str = ""
    direction: str = ""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file as the listing has it. ``path`` is relative to its resource, raw, and names nothing on disk.

    ``size`` in bytes and ``md5`` in lower-case hex are None where the catalog does not know them.
    """

    path: str
    size: int | None
    md5: str | None


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource with the files that the listing gives it.

    ``id`` is XNAT's number for it, as text; ``folder`` is where it lies under the unit's folder.
    """

    unit: Unit
    place: Place
    id: str
    label: str
    files: tuple[RemoteFile, ...]
    folder: str = ""
    scan_type: str = ""

    @property
    def archive(self) -> str:
        """Where the resource lies under the unit's folder if it is kept as one zip."""
        parent, _, last = self.folder.rpartition("/")
        if len(last.encode("utf-8", "surrogatepass")) > 251:
            digest = sha256(last.encode("utf-8", "surrogatepass")).hexdigest()[:16]
            last = last.encode("utf-8", "surrogatepass")[:200].decode("utf-8", "ignore") + f"~{digest}"
        return f"{parent}/{last}.zip" if parent else f"{last}.zip"

    @property
    def path(self) -> str:
        """Where the resource lies under the project's folder."""
        return f"{self.unit.folder}/{self.folder}" if self.unit.folder else self.folder

    @property
    def name(self) -> str:
        """How the resource is named to people."""
        owner = f"/{self.place.owner}" if self.place.owner else ""
        level = "" if self.place.level in (Level.SUBJECT, Level.PROJECT) else f" {self.place.level}{owner}"
        return f"{self.unit.label}{level} {self.label or self.id}"


def stays_within(path: str) -> bool:
    """Whether a path that was read from a state file is one that we may have written there.

    It is relative, climbs nowhere, leads to a name within its folder and not into our own, and can be a path at all.
    """
    if "/." in path or "//" in path or path[:1] in ("", "/", ".") or path[-1] == "/":
        parts = path.split("/")
        if parts[0] == ".xnat-sync" or not {"", ".", ".."}.isdisjoint(parts):
            return False
    if "\0" in path:
        return False
    if len(path) > 255 and any(len(part.encode("utf-8", "surrogatepass")) > 255 for part in path.split("/")):
        return False
    if len(path) > 4000:
        return False
    if not path.isascii():
        try:
            path.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            return False
    return True


class Held(NamedTuple):
    """What the ledger says of a file that we wrote or adopted. ``at`` is relative to the unit's folder.

    A tuple, since a mirror may hold a million of these, and each night makes all of them anew.
    A member of a resource's zip lies at ``archive/…``; ``mtime_ns`` and ``archive_size`` are then the zip's.
    """

    at: str
    path: str
    size: int
    md5: str
    mtime_ns: int
    resource: str
    archive: str = ""
    archive_size: int = 0

    @property
    def stands_at(self) -> str:
        """What there is to look at on disk: the file itself, or the zip that it is in."""
        return self.archive or self.at

    @property
    def stat(self) -> tuple[int, int]:
        """The size and time that it should have."""
        return (self.archive_size if self.archive else self.size), self.mtime_ns


@dataclass(frozen=True, slots=True)
class OnDisk:
    """What a stat says of a final path. ``regular`` is False for folders, links and devices."""

    size: int
    mtime_ns: int
    regular: bool = True


@dataclass(frozen=True, slots=True)
class Want:
    """One file to be brought: what the server says of it, and where it is to lie.

    ``local`` is relative to the resource's folder. ``replaces`` is what stood there at planning time and may be
    replaced; None means that nothing may stand there.
    """

    remote: RemoteFile
    local: str
    reason: str
    replaces: OnDisk | None = None


@dataclass(frozen=True, slots=True)
class Member:
    """A member of a zip of ours that stands: the server's path, size and MD5."""

    path: str
    size: int
    md5: str


@dataclass(frozen=True, slots=True)
class Job:
    """The files of one resource that are to be brought.

    ``fresh`` says that nothing of the resource lies under its final name yet, so that it can appear whole.
    ``held_bytes`` are those of the resource that lie there already. For a resource that is kept as a zip, ``keep`` are
    the members to take over from the zip that stands, by local path, and ``standing`` is that zip's stat.
    """

    resource: Resource
    wants: tuple[Want, ...]
    fresh: bool
    held_bytes: int = 0
    keep: Mapping[str, Member] = field(default_factory=dict)
    standing: OnDisk | None = None

    @property
    def bytes(self) -> int:
        """What the listing says is to be brought; files of unknown size count as nothing."""
        return sum(w.remote.size or 0 for w in self.wants)


@dataclass(frozen=True, slots=True)
class Landed:
    """A file whose bytes are on disk and verified. ``resource`` is the number of the resource."""

    want: Want
    size: int
    md5: str


class Secret:
    """Text that never shows itself: not in ``repr``, not in ``str``, not in a format string."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text, for the one place that sends it."""
        return self._text

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)


class LoginKind(StrEnum):
    """How the run got its right to read; decides who closes the session and whether it can be renewed."""

    PASSWORD = "password"  # noqa: S105
    TOKEN = "token"  # noqa: S105
    PASTED = "pasted"
    COOKIES = "cookies"
    KEPT = "kept"


@dataclass(frozen=True, slots=True)
class Cookie:
    """A cookie to send beside the session id: a load balancer's, which finds our server again, or a proxy's."""

    name: str
    value: Secret
    path: str = "/"


@dataclass(frozen=True, slots=True)
class Login:
    """One way in. A password or token opens a session of ours; one pasted, kept or in cookies is there already.

    ``user`` is the name that goes with the secret, for a token its alias. ``ends`` is when the login ends for good,
    whatever is done, in seconds since the epoch; None if that is not known.
    """

    kind: LoginKind
    user: str = ""
    secret: Secret = field(default_factory=lambda: Secret(""))
    origin: str = ""
    cookies: tuple[Cookie, ...] = ()
    ends: float | None = None

    @property
    def renewable(self) -> bool:
        """Whether a session that ended can be opened again."""
        return self.kind in (LoginKind.PASSWORD, LoginKind.TOKEN)
