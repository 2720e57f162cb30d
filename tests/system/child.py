"""A process that has imported the command and forks one for each line that it reads; see ``warm``.

Between it and the command stands a keeper, which says the command's number at once and leaves its status in the file
``status`` when it has ended.
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import sys
import time
import warnings
from typing import Any

from blockbuster import BlockBuster


def refuse_to_block() -> None:
    """From now on a call in the event loop that may block is an error, but for printing and looking up logins."""
    guard = BlockBuster()
    for function in guard.functions.values():
        # The terminal is drawn from the loop, at most ten times a second.
        function.can_block_in("xnat_sync/shell/show.py", {"say", "tick", "close", "__call__"})
        function.can_block_in("xnat_sync/shell/bars.py", {"bar", "tick", "close", "__init__", "__call__"})
        # Logins are looked up before anything is under way; a password may even be asked for.
        function.can_block_in("xnat_sync/face/kept.py", {"read_private", "forget"})
        function.can_block_in("xnat_sync/face/passwords.py", {"of"})
        # Certificates are read once, before the first connection.
        function.can_block_in("xnat_sync/shell/net.py", {"_trust", "_more_trust"})
    guard.activate()


def become(arguments: list[str], environment: dict[str, str], where: str) -> None:
    """Run the command with its streams in the files ``in``, ``out`` and ``err`` of a folder."""
    for fd, name in ((0, "in"), (1, "out"), (2, "err")):
        os.dup2(os.open(f"{where}/{name}", os.O_RDWR | os.O_CREAT, 0o600), fd)
    sys.stdin = open(0, encoding="utf-8", closefd=False)
    sys.stdout = open(1, "w", closefd=False)
    sys.stderr = open(2, "w", buffering=1, closefd=False)
    os.environ.clear()
    os.environ.update(environment)
    warnings.simplefilter("error")
    if ahead := float(environment.get("XNAT_SYNC_TEST_CLOCK", "0")):
        # A machine whose clock is wrong, as the command sees it.
        true_time = time.time
        time.time = lambda: true_time() + ahead
    if beat := environment.get("XNAT_SYNC_TEST_BEAT"):
        from xnat_sync.core import lock

        lock.BEAT = float(beat)
    if environment.get("XNAT_SYNC_TEST_BUG"):
        # A bug in the middle of a run: a promise of the tool, that no input breaks, is broken.
        from xnat_sync.core import plan

        plan.how = None  # type: ignore[assignment]
    if environment.get("XNAT_SYNC_TEST_TAP"):
        # Its calls that change the disk are recorded, and one of them may be its last.
        sys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
        from kill import tap

        tap.install(environment)
    refuse_to_block()
    sys.argv = ["xnat-sync", *arguments]
    runpy.run_module("xnat_sync", run_name="__main__")


def keep(order: dict[str, Any]) -> bool:
    """Fork the command and wait for it. True in the command, which is then to become it."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    command = os.fork()
    if not command:
        return True
    os.write(1, f"{command}\n".encode())
    _, status = os.waitpid(command, 0)
    path = f"{order['where']}/status"
    with open(f"{path}.new", "w") as file:
        file.write(str(os.waitstatus_to_exitcode(status)))
    os.rename(f"{path}.new", path)
    os._exit(0)


def main() -> None:
    """Take orders until there are no more."""

    # With what the command imports only when it runs, which would cost each of them a part of its time.
    import anyio._backends._asyncio  # noqa: F401

    import xnat_sync.face.cli  # noqa: F401

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while line := sys.stdin.readline():
        order = json.loads(line)
        if not os.fork() and keep(order):
            become(**order)
            return


if __name__ == "__main__":
    main()
