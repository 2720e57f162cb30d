"""The end of a command: one summary for several projects, the user's command, and the ping of a dead-man's switch."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import anyio

from xnat_sync.core import events, wire
from xnat_sync.core.errors import DiskTrouble
from xnat_sync.core.events import Exit
from xnat_sync.core.settings import Settings
from xnat_sync.shell import command, disk, net, show

from .enter import options_elsewhere

COMMAND_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Ended:
    """One project's run: its code, its summary, and the folder with its record, ``""`` if there is none."""

    project: str
    code: Exit
    summary: dict[str, Any]
    folder: str


async def conclude(settings: Settings, ended: Sequence[Ended], asked: int, code: Exit) -> None:
    """Do what is to be done at the end, whatever it is; nothing of it changes the code."""
    path = await _summary(settings, ended, asked, code)
    if settings.on_end:
        await _run(settings.on_end, ended, code, path)
    if settings.ping is not None and code is Exit.OK and not settings.dry_run:
        url = settings.ping.reveal()
        if not await net.ping(url, options_elsewhere(settings, url)):
            show.say("xnat-sync: warning: all is well, but the URL of --ping did not answer", sys.stderr)


async def _summary(settings: Settings, ended: Sequence[Ended], asked: int, code: Exit) -> str:
    """The path of the summary of the whole command, ``""`` if there is none."""
    folder = next((each.folder for each in ended if each.folder), "")
    path = f"{folder}/summary.json" if folder else ""
    if asked < 2:
        return path
    if folder:
        path = f"{folder}/all.json"
        try:
            text = json.dumps(wire.summary_of_all([each.summary for each in ended], asked, code), indent=2)
            await disk.replace_text(path, text + "\n")
        except DiskTrouble:
            path = ""
    if not settings.quiet and settings.log_format != "json":
        good = sum(each.code in (Exit.OK, Exit.VANISHED) for each in ended)
        bad = sorted((each for each in ended if each.code), key=lambda each: events.severity(each.code))
        why = "".join(f"; {each.project}: {each.code.label}" for each in bad)
        left = f"; {asked - len(ended)} not begun" if len(ended) < asked else ""
        line = f"{good} of {asked} projects complete{why}{left}; exit {int(code)} ({code.label})"
        show.say(show.plain(line), sys.stdout if code in (Exit.OK, Exit.VANISHED) else sys.stderr)
    return path


async def _run(text: str, ended: Sequence[Ended], code: Exit, path: str) -> None:
    facts = {
        "XNAT_SYNC_PROJECT": " ".join(each.project for each in ended),
        "XNAT_SYNC_CODE": str(int(code)),
        "XNAT_SYNC_SUMMARY": path,
    }
    status: int | None = None
    with anyio.move_on_after(COMMAND_SECONDS):
        status = await command.run(text, facts)
    if status is None:
        show.say(f"xnat-sync: warning: --on-end took over {COMMAND_SECONDS:.0f} s and was ended", sys.stderr)
    elif status:
        show.say(f"xnat-sync: warning: --on-end ended with {status}", sys.stderr)
