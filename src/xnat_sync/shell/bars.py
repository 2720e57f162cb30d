"""What a run shows on a terminal: bars, drawn in place, and troubles in lines above them.

Apart from ``show``, since loading what draws takes a run in the night 20 ms for nothing: import it where it is used.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from tqdm import tqdm

from xnat_sync.core import events
from xnat_sync.core.events import Event, Tally

from .show import Quiet, plain


class Bars(Quiet):
    """Bars on a terminal: one for the whole run, one for each transfer; troubles are printed above them."""

    def __init__(self, tally: Callable[[], Tally], *, verbose: int = 0) -> None:
        super().__init__(sys.stderr, verbose=verbose)
        self._tally = tally
        self._whole = tqdm(
            total=0, unit="B", unit_scale=True, unit_divisor=1024, position=0, dynamic_ncols=True, mininterval=0.1,
            bar_format="{desc} {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}<{postfix}, {rate_fmt}]",
        )  # fmt: skip
        self._open: dict[int, tqdm[Any]] = {}
        self._got: dict[int, int] = {}
        self._started = time.monotonic()

    def _say(self, line: str) -> None:
        tqdm.write(line, file=self._stream)

    def __call__(self, event: Event) -> None:
        match event:
            case events.Began(transfer, what, _, total):
                place = next(i for i in range(1, 999) if i not in {-bar.pos for bar in self._open.values()})
                self._open[transfer] = tqdm(
                    total=total, desc=f"  {plain(what)[-40:]:40}", unit="B", unit_scale=True, unit_divisor=1024,
                    position=place, leave=False, dynamic_ncols=True, mininterval=0.1, miniters=0,
                )  # fmt: skip
                self._got[transfer] = 0
            case events.Progress(transfer, count):
                if transfer in self._got:
                    self._got[transfer] += count
            case events.Finished(transfer):
                if (bar := self._open.pop(transfer, None)) is not None:
                    bar.close()
                self._got.pop(transfer, None)
            case events.Committed(folder=folder, files=files):
                if self._verbose:
                    self._say(plain(f"done: {folder}: {len(files)} files"))
            case _:
                super().__call__(event)

    def tick(self) -> None:
        for transfer, bar in self._open.items():
            bar.n = self._got[transfer]
            bar.refresh()
        tally = self._tally()
        self._whole.total = tally.bytes_planned
        self._whole.n = tally.bytes_landed
        more = "" if tally.listing_complete else "≥"
        self._whole.set_description_str(f"{tally.files_landed}/{more}{tally.files_planned} files", refresh=False)
        self._whole.postfix = f"{more}{self._left(tally)}"
        self._whole.refresh()

    def _left(self, tally: Tally) -> str:
        spent = time.monotonic() - self._started
        if not tally.bytes_landed:
            return "?"
        left = (tally.bytes_planned - tally.bytes_landed) * spent / tally.bytes_landed
        return str(tqdm.format_interval(left))

    def close(self) -> None:
        for bar in self._open.values():
            bar.close()
        self._open.clear()
        self._whole.close()


@contextlib.contextmanager
def bar(what: str, *, quiet: bool) -> Iterator[Callable[[int], None]]:
    """A bar of bytes of unknown total, for a task of one kind; nothing off a terminal, or if ``quiet``."""
    hidden = quiet or not sys.stderr.isatty()
    with tqdm(desc=plain(what), unit="B", unit_scale=True, unit_divisor=1024, disable=hidden, mininterval=0.1) as made:

        def progress(count: int) -> None:
            made.update(count)

        yield progress
