"""Bytes that were pushed and are not yet used up, copied only where a record lies across two pieces.

The contract: ``load`` a piece, use it up with the other methods, then ``unload``, which lets go of it. Who
stops for want of bytes has asked for more than there were, so that by then the rest of the piece is held.
"""

from __future__ import annotations


class PushBuffer:
    """The rest of the newest piece, and before it a few bytes held from older ones.

    The work is linear in the stream, however small the pieces or the records in it: what is left of a piece
    is never moved, and what is held grows in place.
    """

    __slots__ = ("_at", "_before", "_held", "_view")

    def __init__(self) -> None:
        self._held = bytearray()
        self._view = memoryview(b"")
        self._at = 0  # used up or held, of the view
        self._before = 0  # bytes of the stream before the view

    @property
    def offset(self) -> int:
        """How many bytes of the stream are used up."""
        return self._before + self._at - len(self._held)

    @property
    def end(self) -> int:
        """How many bytes of the stream have been pushed."""
        return self._before + len(self._view)

    def load(self, piece: bytes | bytearray | memoryview) -> None:
        """Push a piece; it is not copied."""
        self._view = memoryview(piece).cast("B")

    def unload(self) -> None:
        """Let go of the piece, now that all of it is used up or held."""
        self._before += len(self._view)
        self._view, self._at = memoryview(b""), 0

    def need(self, size: int) -> bytes | memoryview | None:
        """The next ``size`` bytes, left in place; ``None`` if they have not all come."""
        if not self._held and self._at + size <= len(self._view):
            return self._view[self._at : self._at + size]
        self._hold(size)
        return bytes(self._held[:size]) if len(self._held) >= size else None

    def peek(self, size: int) -> bytes:
        """The next ``size`` bytes or as many as have come, left in place."""
        self._hold(size)
        return bytes(self._held[:size])

    def skip(self, size: int) -> None:
        """Use up bytes that ``need`` or ``peek`` gave."""
        if self._held:
            del self._held[:size]
        else:
            self._at += size

    def take(self, limit: int) -> memoryview:
        """Use up to ``limit`` bytes of the piece without copying them. Nothing may be held."""
        taken = self._view[self._at : self._at + limit]
        self._at += len(taken)
        return taken

    def untake(self, newest: bytes) -> None:
        """Give back the newest bytes taken, also those that came with an older piece."""
        kept = min(len(newest), self._at)
        self._at -= kept
        self._held += newest[: len(newest) - kept]

    def _hold(self, size: int) -> None:
        missing = size - len(self._held)
        if missing > 0:
            self._held += self.take(missing)
