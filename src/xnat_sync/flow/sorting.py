"""The files of one resource, each held against the ledger and the disk: what is right here, what is wanted, what is in
the way. Blocking; called from worker threads. ``plan`` decides, this looks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from xnat_sync.core import ledger, names, plan
from xnat_sync.core.model import Held, Member, OnDisk, RemoteFile, Resource, Want
from xnat_sync.core.plan import Decision, Kind
from xnat_sync.shell import disk, zipstore
from xnat_sync.shell.mirror import Mirror


@dataclass(slots=True)
class Sorted:
    """The files of one resource by what is to be done about them.

    ``targets`` are the paths in the unit that the listing accounts for; ``here`` says that something of the resource
    stands already. For a zip, ``keep`` are its members that are ours by local path, and ``standing`` is its stat.
    """

    wants: list[Want] = field(default_factory=list)
    adopted: list[Held] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    conflicts: list[tuple[str, str]] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    skipped_bytes: Counter[str] = field(default_factory=Counter)
    targets: set[str] = field(default_factory=set)
    keep: dict[str, Member] = field(default_factory=dict)
    standing: OnDisk | None = None
    here: bool = False

    def skip(self, reason: str, size: int) -> None:
        """Count a file that needs nothing."""
        self.skipped[reason] += 1
        self.skipped_bytes[reason] += size


def files(resource: Resource, held: ledger.Replay, mirror: Mirror, *, overwrite: bool) -> Sorted:
    """Sort a resource that is kept as files."""
    found = Sorted()
    folder = mirror.path(resource.path)
    locals_ = names.assign_paths(file.path for file in resource.files)
    found.here = disk.stat_of(folder) is not None
    for file in resource.files:
        local = locals_[file.path]
        at = f"{resource.folder}/{local}"
        found.targets.add(at)
        path = f"{folder}/{local}"
        record = held.files.get(at)
        on_disk = disk.stat_of(path) if found.here else None
        decision = plan.decide(file, record, on_disk, overwrite=overwrite)
        fact: tuple[OnDisk, str] | None = None
        if decision.kind is Kind.CHECK:
            fact = disk.hash_of(path)
            if fact is None:
                decision = Decision(Kind.CONFLICT, "changing while it is read")
            else:
                on_disk = fact[0]
                decision = plan.decide_hashed(file, record, on_disk.size, fact[1], overwrite=overwrite)
        match decision.kind:
            case Kind.FETCH:
                found.wants.append(Want(file, local, decision.reason))
            case Kind.REFETCH:
                found.wants.append(Want(file, local, decision.reason, replaces=on_disk))
            case Kind.CONFLICT:
                found.conflicts.append((file.path, decision.reason))
            case _:
                found.skip(decision.reason, on_disk.size if on_disk else 0)
                if fact is not None:
                    found.adopted.append(Held(at, file.path, fact[0].size, fact[1], fact[0].mtime_ns, resource.id))
    return found


def zipped(resource: Resource, held: ledger.Replay, mirror: Mirror, *, overwrite: bool) -> Sorted:
    """Sort a resource that is kept as one zip.

    The zip is replaced as a whole, so it is looked at as a whole: as the ledger says, it holds what the ledger says;
    otherwise it is read. One with anything in it that is neither recorded nor the server's is not ours to replace.
    """
    found = Sorted()
    archive = resource.archive
    path = mirror.path(mirror.below(resource.unit.folder, archive))
    found.standing = disk.stat_of(path)
    found.here = found.standing is not None
    locals_ = {file.path: local for file, local in _local_paths(resource)}
    records = {row.at.removeprefix(f"{archive}/"): row for row in held.files.values() if row.archive == archive}
    inside: Mapping[str, tuple[int, str]] = {}
    read = False
    if found.standing is not None:
        if all((row.archive_size, row.mtime_ns) == (found.standing.size, found.standing.mtime_ns)
               for row in records.values()) and records:  # fmt: skip
            inside = {local: (row.size, row.md5) for local, row in records.items()}
        else:
            read = True
            back = zipstore.read_back(path) if found.standing.regular else None
            ours = back is not None and back.fault is None and _is_ours(resource, locals_, records, back.files)
            if not ours and not overwrite:
                reason = "changed locally" if records else "foreign file here"
                found.conflicts.append((f"{archive.rpartition('/')[2]}", reason))
                found.targets.update(f"{archive}/{local}" for local in locals_.values())
                return found
            inside = back.files if back is not None else {}
    servers = {local: file.path for file, local in _local_paths(resource)}
    servers |= {local: row.path for local, row in records.items() if local not in servers}
    # What the listing lacks stays in the zip as it would stay in a folder; what is replaced stays until it is.
    found.keep = {local: Member(servers[local], *fact) for local, fact in inside.items() if local in servers}
    for file in resource.files:
        _member(file, locals_[file.path], records, inside, found, read=read)
        found.targets.add(f"{archive}/{locals_[file.path]}")
    if read:
        found.gone = [row.at for local, row in records.items() if local not in inside]
    if read and found.standing is not None and not any(want.reason == plan.COMPARE for want in found.wants):
        found.adopted = [
            Held(f"{archive}/{local}", member.path, member.size, member.md5, found.standing.mtime_ns, resource.id,
                 archive, found.standing.size)
            for local, member in found.keep.items()
        ]  # fmt: skip
    return found


def _local_paths(resource: Resource) -> list[tuple[RemoteFile, str]]:
    locals_ = names.assign_paths(file.path for file in resource.files)
    return [(file, locals_[file.path]) for file in resource.files]


def _is_ours(
    resource: Resource,
    locals_: Mapping[str, str],
    records: Mapping[str, Held],
    inside: Mapping[str, tuple[int, str]],
) -> bool:
    listed = {locals_[file.path]: file for file in resource.files}
    return all(
        ((row := records.get(local)) is not None and (row.size, row.md5) == (size, md5))
        or (local in listed and plan.same(listed[local], size, md5))
        for local, (size, md5) in inside.items()
    )


def _member(
    file: RemoteFile,
    local: str,
    records: Mapping[str, Held],
    inside: Mapping[str, tuple[int, str]],
    found: Sorted,
    *,
    read: bool,
) -> None:
    fact = inside.get(local)
    if fact is None:
        found.wants.append(Want(file, local, "missing here" if local in records else "new"))
    elif not plan.same(file, *fact):
        found.wants.append(Want(file, local, "changed on server"))
    elif read and file.md5 is None and local not in records:
        found.wants.append(Want(file, local, plan.COMPARE))
    else:
        found.skip("unchanged", fact[0])
