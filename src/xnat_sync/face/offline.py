"""verify and status: what is here, without asking the server."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from typing import Any

import anyio.to_thread

from xnat_sync.core import index
from xnat_sync.core.errors import UsageError
from xnat_sync.core.events import Exit
from xnat_sync.core.layout import STATE
from xnat_sync.core.settings import Settings
from xnat_sync.flow.bus import Bus
from xnat_sync.flow.hold import Hold
from xnat_sync.flow.verify import Fault, Verifier
from xnat_sync.shell import disk, show
from xnat_sync.shell.mirror import Mirror

from .tables import aligned


def mirrors(dest: str) -> list[Mirror]:
    """The mirrors in DEST, or DEST itself if it is one. Raises ``UsageError`` if there is none."""
    root = os.path.abspath(dest)
    if os.path.isdir(f"{root}/{STATE}"):
        return [Mirror(root)]
    try:
        names = sorted(os.listdir(root))
    except OSError as error:
        raise UsageError(f"{dest}: {error.strerror}") from None
    found = [Mirror(f"{root}/{name}") for name in names if os.path.isdir(f"{root}/{name}/{STATE}")]
    if not found:
        raise UsageError(f"there is no mirror in {dest}: name the folder that was given to --dest, or a project in it")
    return found


async def verify(settings: Settings, dest: str, *, repair: bool, md5sum: str | None) -> int:
    """Hash every file again; exit 3 if any is missing or changed."""
    from xnat_sync.shell.bars import bar

    results, sums = [], []
    bad = 0
    for mirror in await anyio.to_thread.run_sync(mirrors, dest):
        with bar(f"verifying {os.path.basename(mirror.root)}", quiet=settings.quiet or settings.json) as progress:
            verifier = Verifier(mirror, progress)
            await verifier.run()
        counts = Counter(finding.fault for finding in verifier.findings)
        bad += counts[Fault.MISSING] + counts[Fault.CHANGED]
        forgotten = await _forget(mirror, verifier) if repair else 0
        sums += [(os.path.join(mirror.root, at), md5) for at, md5 in verifier.sums]
        results.append(_result(mirror, verifier, counts, forgotten))
        if not settings.json:
            _tell(settings, results[-1])
    if md5sum is not None:
        await anyio.to_thread.run_sync(_export, md5sum, sums)
    if settings.json:
        print(json.dumps(results, indent=2))  # noqa: T201
    return int(Exit.INCOMPLETE if bad else Exit.OK)


async def _forget(mirror: Mirror, verifier: Verifier) -> int:
    """Forget what is wrong, while no run writes here. Raises ``Locked``."""
    hold = Hold(mirror)
    await hold.acquire(0.0, Bus())
    async with hold.kept():
        return await verifier.forget()


def _result(mirror: Mirror, verifier: Verifier, counts: Counter[Fault], forgotten: int) -> dict[str, Any]:
    return {
        "mirror": mirror.root,
        "files": verifier.verified.files,
        "bytes": verifier.verified.bytes,
        **{str(fault): counts[fault] for fault in Fault},
        "forgotten": forgotten,
        "damaged_state_lines": verifier.verified.damaged_lines,
        "findings": [{"fault": str(finding.fault), "path": finding.at} for finding in verifier.findings],
    }


def _tell(settings: Settings, result: dict[str, Any]) -> None:
    bad = result["missing"] + result["changed"]
    for finding in result["findings"]:
        if finding["fault"] != Fault.FOREIGN or settings.verbose:
            print(show.plain(f"{finding['fault']}: {finding['path']}"), file=sys.stderr)  # noqa: T201
    if settings.quiet and not bad:
        return
    line = (
        f"{os.path.basename(result['mirror'])}: {result['files']} files ({show.size(result['bytes'])}) hashed; "
        f"{result['missing']} missing, {result['changed']} changed, {result['extra']} not ours"
    )
    if result["forgotten"]:
        line += f"; {result['forgotten']} forgotten, so that the next run fetches them"
    elif bad:
        line += "; 'verify --repair' lets the next run fetch them"
    print(show.plain(line), file=sys.stderr if bad else sys.stdout)


def _export(path: str, sums: list[tuple[str, str]]) -> None:
    """Write the sums for ``md5sum -c``; a name with a newline or backslash is escaped as md5sum does."""
    lines = []
    for name, md5 in sorted(sums):
        escaped = name.replace("\\", "\\\\").replace("\n", "\\n")
        lines.append(f"{'' if escaped == name else chr(92)}{md5}  {escaped}\n")
    disk.write_bytes(path, "".join(lines).encode("utf-8", "surrogateescape"))


def status(settings: Settings, dest: str) -> int:
    """Tell from the state alone what each mirror in DEST holds and how its last run ended."""
    found = [_standing(mirror) for mirror in mirrors(dest)]
    if settings.json:
        print(json.dumps(found, indent=2))  # noqa: T201
        return int(Exit.OK)
    rows = [
        (s["project"], s["sessions"], s["files"], show.size(s["bytes"]), s["last_good"] or "never",
         s["last_name"] if s["last_code"] is None else f"{s['last_name']} ({s['last_code']})", s["missing"])
        for s in found
    ]  # fmt: skip
    header = ("project", "sessions", "files", "size", "last good run", "last run", "missing")
    print(aligned(header, rows))  # noqa: T201
    for standing in found:
        for line in standing["why"]:
            print(show.plain(f"{standing['project']}: {line}"))  # noqa: T201
    return int(Exit.OK)


def _standing(mirror: Mirror) -> dict[str, Any]:
    seen = index.replay(disk.read_bytes(mirror.index_path).decode("utf-8", "replace")).values()
    runs = sorted(mirror.runs(), reverse=True)
    summaries = [_summary(run) for run in runs[:100]]
    last: dict[str, Any] = next((summary for summary in summaries if summary), {})
    good = next((summary for summary in summaries if summary.get("code") == 0), {})
    files = last.get("files", {})
    return {
        "project": os.path.basename(mirror.root),
        "sessions": sum(one.kind == "experiment" for one in seen),
        "files": sum(one.files for one in seen),
        "bytes": sum(one.bytes for one in seen),
        "state_bytes": mirror.state_bytes(),
        "last_good": good.get("started"),
        "last_code": last.get("code"),
        "last_name": last.get("name", "none has ended"),
        "missing": files.get("failed", 0) + files.get("vanished", 0),
        "why": ([last["message"]] if last.get("message") else []) + last.get("missing", [])[:20],
    }


def _summary(run: str) -> dict[str, Any]:
    """What a run said when it ended; nothing if it did not, or if somebody has edited that into something else."""
    try:
        found = json.loads(disk.read_bytes(f"{run}/summary.json"))
        files, missing = found.get("files", {}), found.get("missing", [])
        texts = [found.get("message") or "", found.get("name", ""), found.get("started", ""), *missing]
        numbers = [found.get("code", 0), files.get("failed", 0), files.get("vanished", 0)]
    except (ValueError, TypeError, AttributeError, RecursionError):
        return {}
    whole = all(isinstance(text, str) for text in texts) and all(isinstance(number, int) for number in numbers)
    return found if whole and isinstance(missing, list) else {}
