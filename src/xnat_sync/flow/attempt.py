"""The one loop that tries again: it asks ``retry`` what to do, tells of it, waits, and repeats.

It also notices when the whole server is gone: when several things in a row were given up for want of an answer, and
nothing succeeded between, the run ends instead of failing every item one by one.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

from xnat_sync.core import retry
from xnat_sync.core.errors import ItemError, ServerUnavailable, Transient
from xnat_sync.core.events import Retrying
from xnat_sync.shell.net import Client

from .bus import Bus

T = TypeVar("T")
GONE_AFTER = 4


class Attempts:
    """The retry policy of a run, and what it has seen of the server."""

    def __init__(
        self,
        client: Client,
        bus: Bus,
        policy: retry.Policy,
        failed: Callable[[ItemError], None] = lambda error: None,
    ) -> None:
        """``failed`` is told of each error that is not the end."""
        self._client = client
        self._bus = bus
        self._policy = policy
        self._failed = failed
        self._unanswered = 0

    async def __call__(
        self, what: str, operation: Callable[[], Awaitable[T]], progress: Callable[[], int] = lambda: 0
    ) -> T:
        """Run ``operation`` until it succeeds or the policy gives up.

        ``progress`` is a number that grows when something was gained; a gain gives the full budget back. Raises the
        last ``ItemError``, ``ServerUnavailable`` if the server seems gone, and any ``RunError`` at once.
        """
        tried, mark = 0, progress()
        while True:
            try:
                result = await operation()
            except ItemError as error:
                if progress() > mark:
                    tried, mark = 0, progress()
                tried += 1
                self._failed(error)
                after = retry.after(error, tried, self._policy, random.random)
                if after.verdict is not retry.Verdict.WAIT:
                    await self._gave_up(error)
                    raise
                self._bus(Retrying(what, str(error), after.seconds, tried))
                if after.shared:
                    self._client.hold_back(after.seconds)
                await anyio.sleep(after.seconds)
            else:
                self._unanswered = 0
                return result

    async def _gave_up(self, error: ItemError) -> None:
        if not isinstance(error, Transient) or error.status == 500:
            return
        self._unanswered += 1
        if self._unanswered < GONE_AFTER:
            return
        try:
            # A few things that cannot be had are not the end of a server that answers all else.
            await self._client.whoami()
        except Transient:
            raise ServerUnavailable(
                f"the server stopped answering ({error}): what is here is safe, run again when it is back"
            ) from error
        self._unanswered = 0
