"""A zip whose resource was renamed on the server is renamed here, and nothing of it is fetched.

A scan or resource with a new name is a new resource to the listing, and the zip of the old one is listed no more. If
most of what that zip holds, by name, size and MD5, is what a listed resource without a zip wants, it is that resource's
zip. Blocking; called from worker threads. The zip is renamed before it is recorded: a kill between the two leaves a zip
without a record, which is read and adopted.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from xnat_sync.core import ledger, names, plan
from xnat_sync.core.model import Held, Resource, Unit
from xnat_sync.shell import disk
from xnat_sync.shell.mirror import Mirror


def follow(unit: Unit, held: ledger.Replay, resources: Sequence[Resource], mirror: Mirror) -> str:
    """Rename zips to where their resources are listed now; the ledger's lines for it, ``""`` if there are none."""
    listed = {resource.archive: resource for resource in resources}
    left: defaultdict[str, list[Held]] = defaultdict(list)
    for row in held.files.values():
        if row.archive and row.archive not in listed:
            left[row.archive].append(row)
    held_now = {row.archive for row in held.files.values()}
    free = [resource for archive, resource in listed.items() if archive not in held_now]
    lines = ""
    for archive, rows in sorted(left.items()):
        source = mirror.path(mirror.below(unit.folder, archive))
        standing = disk.stat_of(source)
        resource = _heir(archive, rows, free)
        if resource is None or standing is None or (standing.size, standing.mtime_ns) != rows[0].stat:
            continue
        target = mirror.below(unit.folder, resource.archive)
        if disk.stat_of(mirror.path(target)) is not None:
            continue
        free.remove(resource)
        mirror.replace(source, target)
        mirror.prune(source.rpartition("/")[0])
        moved = [
            row._replace(at=resource.archive + row.at[len(archive) :], resource=resource.id, archive=resource.archive)
            for row in rows
        ]
        lines += ledger.gone_line([row.at for row in rows]) + ledger.rezipped_line(moved, resource.label)
    return lines


def _heir(archive: str, rows: Sequence[Held], free: Sequence[Resource]) -> Resource | None:
    facts = {row.at.removeprefix(f"{archive}/"): row for row in rows}
    scores = [(_overlap(facts, resource), resource) for resource in free]
    score, heir = max(scores, key=lambda each: each[0], default=(0, None))
    return heir if score * 2 > len(rows) else None


def _overlap(facts: Mapping[str, Held], resource: Resource) -> int:
    locals_ = names.assign_paths(file.path for file in resource.files)
    return sum(
        file.md5 is not None and row is not None and plan.same(file, row.size, row.md5)
        for file in resource.files
        for row in [facts.get(locals_[file.path])]
    )
