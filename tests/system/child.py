"""What a forked process does to become ``xnat-sync``. It imports nothing that the command does not."""

from __future__ import annotations

import os
import runpy
import sys
import warnings


def become(arguments: tuple[str, ...], environment: dict[str, str], where: str) -> None:
    """Run the command with its streams in the files ``in``, ``out`` and ``err`` of a folder."""
    for fd, name in ((0, "in"), (1, "out"), (2, "err")):
        os.dup2(os.open(f"{where}/{name}", os.O_RDWR | os.O_CREAT, 0o600), fd)
    sys.stdin, sys.stdout, sys.stderr = open(0, encoding="utf-8"), open(1, "w"), open(2, "w", buffering=1)
    os.environ.clear()
    os.environ.update(environment)
    warnings.simplefilter("error")
    sys.argv = ["xnat-sync", *arguments]
    runpy.run_module("xnat_sync", run_name="__main__")
