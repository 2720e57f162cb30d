"""The only module that runs the user's own commands during a run: under a shell, in a process group of their own.

A command gets its facts in its environment and never spliced into its text, so that no label can be obeyed. It gets no
login: what it is given is not known. Whatever it prints goes to a file.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping

import anyio
import anyio.to_thread
from anyio.abc import Process

from xnat_sync.core.settings import HOOKED

from . import disk

_SECRETS = frozenset({"XNAT_PASS", "XNAT_JSESSION", "XNAT_SYNC_PASSWORD", "XNAT_SYNC_JSESSION", "XNAT_SYNC_PING"})
PATIENCE = 5.0  # seconds between asking a command to end and making it


async def run(command: str, facts: Mapping[str, str], output: str = "") -> int:
    """Run ``command`` under ``/bin/sh`` and give its exit status, as the shell does for signals: 128 and the number.

    ``output`` is a file to append to; without one the command prints where we do. When cancelled, the command and
    what it started are asked to end, then made to.
    """
    kept = {name: value for name, value in os.environ.items() if name not in _SECRETS}
    environment = kept | {name: _harmless(value) for name, value in facts.items()} | {HOOKED: "1"}
    log = await anyio.to_thread.run_sync(disk.open_log, output) if output else None
    try:
        process = await anyio.open_process(
            ["/bin/sh", "-c", command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log if log is None else subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
    finally:
        if log is not None:
            os.close(log)
    try:
        code = await process.wait()
    except BaseException:
        with anyio.CancelScope(shield=True):
            await _end(process)
        raise
    return code if code >= 0 else 128 - code


async def _end(process: Process) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except (ProcessLookupError, PermissionError):
            break
        with anyio.move_on_after(PATIENCE):
            await process.wait()
            return
    await process.wait()


def _harmless(value: str) -> str:
    """A text that an environment can hold."""
    return value.replace("\0", "").encode("utf-8", "replace").decode("utf-8")
