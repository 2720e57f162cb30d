"""The real command, with every call counted that it makes into the system and of its own functions.

    python counted.py FILE ARGUMENT…

Runs ``xnat-sync ARGUMENT…`` and writes to FILE, as JSON, how often each was called: the interpreter tells of all
calls in all threads, so nothing is put in the place of anything.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections import Counter
from types import FrameType
from typing import Any

_OURS = f"{os.sep}xnat_sync{os.sep}"
_SYSTEM = frozenset({"open", "write", "fsync", "rename", "replace", "lstat", "stat", "mkdir", "unlink", "scandir"})

_counts: Counter[str] = Counter()


def _count(frame: FrameType, event: str, argument: Any) -> None:
    code = frame.f_code
    if event == "c_call":
        name = argument.__name__
        if name in _SYSTEM and argument.__module__ == "posix":
            _counts[f"os.{name}"] += 1
        elif name == "openssl_md5":
            _counts["md5"] += 1
        elif name == "run" and code.co_qualname == "WorkerThread.run":
            _counts["hops"] += 1
    elif event == "call":
        if _OURS in code.co_filename:
            _counts["calls"] += 1
        elif code.co_qualname == "_WorkItem.run":
            _counts["hops"] += 1


def main() -> None:
    """Import first, so that what is counted is the run."""
    from xnat_sync.face.cli import main as command

    file, *arguments = sys.argv[1:]
    sys.argv = ["xnat-sync", *arguments]
    threading.setprofile(_count)
    sys.setprofile(_count)
    try:
        command()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
        with open(file, "w", encoding="utf-8") as out:
            json.dump(_counts, out)


if __name__ == "__main__":
    main()
