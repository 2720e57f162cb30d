"""Bytes as a row of small choices, so that a fuzzer that knows bytes only can make structured things.

Every input means something: once the bytes are used up each choice is the first one, each number zero, each text
empty. So a shorter input is a simpler thing, and an input can be shrunk without knowing what it means.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Draw:
    """Takes choices off the front of ``data``."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def more(self) -> bool:
        """Whether anything is left to choose by."""
        return self._at < len(self._data)

    def number(self, bound: int) -> int:
        """A number from 0 to ``bound - 1``, of as many bytes as that takes."""
        size = ((bound - 1).bit_length() + 7) // 8
        return int.from_bytes(self._take(size), "little") % bound

    def pick(self, choices: Sequence[T]) -> T:
        """One of a few things."""
        return choices[self.number(len(choices))]

    def chance(self, one_in: int) -> bool:
        """Rarely true: never, once the bytes are used up."""
        return self.number(256) % one_in == 1

    def chunk(self, most: int) -> bytes:
        """Up to ``most`` bytes."""
        return self._take(self.number(most + 1))

    def _take(self, size: int) -> bytes:
        taken = self._data[self._at : self._at + size]
        self._at += size
        return taken


def lines(data: bytes) -> list[str]:
    """The input as lines of any text at all; bytes that are no UTF-8 become lone surrogates."""
    return data.decode("utf-8", "surrogateescape").split("\n")
