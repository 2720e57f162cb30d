"""Server sessions: who is behind a JSESSIONID, until when, and how many a user has.

Idle time-outs slide (§1.4). Anonymous sessions are sessions too: every request without a live one gets its own.
The store is shared by the event loop and by tests, hence the lock.
"""

from __future__ import annotations

import secrets
import threading
import uuid
from collections import Counter
from dataclasses import dataclass, field

from .site import Site

_PURGE_EVERY = 512


@dataclass(slots=True, eq=False)
class Session:
    """One server session. ``user`` None: anonymous."""

    id: str
    user: str | None
    last_access: float
    csrf: str = field(default_factory=lambda: str(uuid.uuid4()))


class Sessions:
    """All sessions of a running server."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._live: dict[str, Session] = {}
        self._lock = threading.RLock()
        self.opened: Counter[str] = Counter()
        self.closed = 0
        self.anonymous = 0

    def get(self, session_id: str | None) -> Session | None:
        """The live session of that id; asking does not keep it alive, ``touch`` does."""
        if session_id is None:
            return None
        with self._lock:
            session = self._live.get(session_id)
            if session is not None and self._expired(session):
                del self._live[session_id]
                return None
            return session

    def touch(self, session: Session) -> None:
        """The session was used now."""
        session.last_access = self._site.clock.now()

    def create(self, user: str | None) -> Session:
        """A new session."""
        with self._lock:
            session = Session(secrets.token_hex(16).upper(), user, self._site.clock.now())
            self._live[session.id] = session
            self._count(user)
            if len(self._live) % _PURGE_EVERY == 0:
                self._purge()
        return session

    def log_in(self, session: Session | None, user: str) -> Session:
        """The session of a user who just proved who they are.

        A session that existed before gets another id: session-fixation protection (§1.5).
        """
        with self._lock:
            if session is None:
                return self.create(user)
            self._live.pop(session.id, None)
            session.id = secrets.token_hex(16).upper()
            session.user = user
            self.touch(session)
            self._live[session.id] = session
            self._count(user)
        return session

    def end(self, session: Session, *, by_client: bool = False) -> None:
        """End a session; ``by_client`` if a DELETE asked for it."""
        with self._lock:
            if self._live.pop(session.id, None) is not None and by_client and session.user is not None:
                self.closed += 1

    def end_all(self, user: str | None = None, *, by_client: bool = False) -> int:
        """End the authenticated sessions of a user, or of all. Returns how many there were."""
        with self._lock:
            ending = [found for found in self._live.values() if found.user and user in (None, found.user)]
            for session in ending:
                self.end(session, by_client=by_client)
        return len(ending)

    def of(self, user: str) -> list[str]:
        """Ids of the live sessions of a user."""
        return self.by_user().get(user, [])

    def by_user(self) -> dict[str, list[str]]:
        """Ids of all live authenticated sessions, by user."""
        with self._lock:
            self._purge()
            found: dict[str, list[str]] = {}
            for session in self._live.values():
                if session.user is not None:
                    found.setdefault(session.user, []).append(session.id)
            return found

    def _expired(self, session: Session) -> bool:
        return self._site.clock.now() - session.last_access > self._site.timeout_s

    def _purge(self) -> None:
        for session in [found for found in self._live.values() if self._expired(found)]:
            del self._live[session.id]

    def _count(self, user: str | None) -> None:
        if user is None:
            self.anonymous += 1
        else:
            self.opened[user] += 1
