"""A failing input made smaller while it goes on failing in the same way."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable

Check = Callable[[bytes], None]
Failure = tuple[str, str, str]  # the error, and the file and function that it came out of


def failure(check: Check, data: bytes) -> Failure | None:
    """How ``check`` fails, or None if it does not. Where in a function makes no difference."""
    try:
        check(data)
    except Exception as error:  # noqa: BLE001 -- any error at all is what is looked for
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "/lib/python" not in frame.filename]
        return type(error).__name__, frames[-1].filename, frames[-1].name
    return None


def shrink(check: Check, data: bytes, seconds: float = 20.0) -> bytes:
    """The smallest input found in that time that fails as it does: ever smaller pieces cut out, the rest made plain."""
    wanted, until = failure(check, data), time.monotonic() + seconds
    if wanted is None:
        return data

    def still(tried: bytes) -> bool:
        return time.monotonic() < until and failure(check, tried) == wanted

    size = len(data)
    while size:
        at, shorter = 0, False
        while at < len(data):
            tried = data[:at] + data[at + size :]
            if still(tried):
                data, shorter = tried, True
            else:
                at += size
        size = size if shorter else size // 2
    for at in range(len(data)):
        for plain in (b"\0", b"0", b"a"):
            tried = data[:at] + plain + data[at + 1 :]
            if data[at : at + 1] not in (b"\0", b"0", b"a") and still(tried):
                data = tried
                break
    return data
