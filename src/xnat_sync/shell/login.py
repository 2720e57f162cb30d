"""The login of a run: proved once, shared by all workers, renewed by one of them at a time.

A worker that got a doubtful answer says which generation of the session it had used. The first to come asks
``/data/auth`` and renews the session if it ended and can be; those who come later see a newer generation and just
repeat their request. What one was refused, no other asks for again: each try counts towards locking the account.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Awaitable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import anyio

from xnat_sync.core import listing, refusal, urls
from xnat_sync.core.errors import LoginRefused, RunError, ServerUnavailable, Transient
from xnat_sync.core.model import Cookie, Login
from xnat_sync.core.refusal import Cause, Why

# Tomcat's 32 hex digits, and where there is a cluster the node's name after a dot.
_SESSION_ID = re.compile(r"[0-9A-Za-z]{16,128}(\.[\w.-]{1,64})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Reply:
    """A short answer, or the start of a long one."""

    status: int
    location: str
    content_type: str
    body: bytes


class Ask(Protocol):
    """Sends a request with the live session and reads the reply.

    MUST raise ``Transient`` for what may pass: a broken connection, a gateway's 502, 503 and 504.
    """

    def __call__(self, method: str, path: str, what: str, headers: Mapping[str, str]) -> Awaitable[Reply]: ...


class Jar(Protocol):
    """Where the live session id is kept for sending."""

    def adopt(self, session_id: str) -> None: ...

    def forget(self) -> None: ...

    def plant(self, cookies: Iterable[Cookie]) -> None: ...


_RENEWALS = 5


class LoginKeeper:
    """Holds the live session of one login."""

    def __init__(self, base: str, login: Login, ask: Ask, jar: Jar) -> None:
        self.login = login
        self.session_id = ""
        self.user = ""
        self.generation = 0
        self.opened = 0
        self._base = base
        self._ask = ask
        self._jar = jar
        self._lost: RunError | None = None
        self._renewals = 0  # in a row, without an answer to any of the new sessions
        self._renewing = anyio.Lock()

    async def prove(self) -> str:
        """Log in and return the proved user name. May be called again after ``Transient``."""
        if not self.session_id:
            self._jar.plant(self.login.cookies)
            if self.login.renewable:
                await self._open()
            else:
                self.adopt()
        user = await self.who()
        if isinstance(user, Why):
            if self.opened and user.cause is Cause.REFUSED:
                user = replace(user, cause=Cause.NOBODY)  # The secret was taken: it is the session that is not.
            raise refusal.error(user, self.login, self._base)
        self.user = user
        return user

    def adopt(self) -> None:
        """Take up the session that the login brings, unproved."""
        self._live(self.login.secret.reveal())

    async def who(self) -> str | Why:
        """The user that the server takes the live session for, by ``/data/auth``; or why for nobody."""
        reply = await self._ask("GET", urls.AUTH, "asking who is logged in", {})
        user = listing.logged_in_user(reply.body) if reply.status == 200 else None
        return user or _why(reply, urls.AUTH)

    def served(self) -> None:
        """The live session got an answer, so it is good for something."""
        self._renewals = 0

    async def renew(self, generation: int) -> bool:
        """Make sure of a live login after a doubtful answer. True if the session is another one than ``generation``.

        Raises ``LoginRefused`` or ``SessionEnded`` if the login is lost, ``Transient`` if that cannot be told.
        """
        async with self._renewing:
            if self._lost is not None:
                raise self._lost
            if generation != self.generation:
                return True
            user = await self.who()
            if not isinstance(user, Why):
                return False
            self._renewals += 1
            if self._renewals > _RENEWALS:
                self._lost = ServerUnavailable(
                    f"{self._base} ends every session as soon as it is opened ({_RENEWALS} in a row): no more are "
                    "opened, so that it does not run out of them"
                )
                raise self._lost
            if user.cause is Cause.MAINTENANCE:
                raise Transient(f"{self._base} is in maintenance")
            try:
                await self._again(user)
            except RunError as error:
                self._lost = error
                raise
            self.generation += 1
            return True

    async def close(self) -> bool:
        """End the live session on the server; False if that could not be done. Never raises for the network."""
        try:
            reply = await self._ask("DELETE", urls.JSESSION, "logging out", {})
        except (Transient, RunError):
            return False
        else:
            return reply.status == 200
        finally:
            self.session_id = ""
            self._jar.forget()

    async def _again(self, why: Why) -> None:
        if not self.login.renewable:
            raise refusal.error(why, self.login, self._base)
        await self._open()
        if await self.who() != self.user:
            raise LoginRefused(f"{self._base} renewed the session, but not for {self.user!r}")

    async def _open(self) -> None:
        self._jar.forget()
        pair = f"{self.login.user}:{self.login.secret.reveal()}".encode()
        # XNAT reads UTF-8 here, where HTTP leaves it open.
        headers = {"Authorization": "Basic " + base64.b64encode(pair).decode("ascii")}
        reply = await self._ask("POST", urls.JSESSION, "logging in", headers)
        session_id = reply.body.decode("latin-1").strip()
        if reply.status != 200 or not _SESSION_ID.fullmatch(session_id):
            raise refusal.error(_why(reply, urls.JSESSION), self.login, self._base)
        self.opened += 1
        self._live(session_id)

    def _live(self, session_id: str) -> None:
        self.session_id = session_id
        self._jar.adopt(session_id)


def _why(reply: Reply, asked: str) -> Why:
    return refusal.why(reply.status, reply.location, reply.content_type, reply.body, asked)
