"""Passwords, alias tokens and the lock-out after too many wrong ones (§1.5, §1.7).

These survive a restart of the server, as they are in XNAT's database; sessions do not.
"""

from __future__ import annotations

import secrets
import string
import threading
import uuid
from collections import Counter
from typing import Any

from .site import Site, Token

_SECRET = string.ascii_letters + string.digits


class Accounts:
    """Checks credentials. A refusal never tells why: wrong, locked and expired look alike."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._failed: Counter[str] = Counter()
        self._locked_at: dict[str, float] = {}
        self._lock = threading.Lock()
        self.refused = 0

    def check(self, name: str, password: str) -> str | None:
        """The login of whoever these credentials belong to, or None."""
        with self._lock:
            login = self._token(name, password) or self._password(name, password)
            if login is None:
                self.refused += 1
            return login

    def owner_of(self, name: str) -> str | None:
        """The login that a user name or a live alias stands for, whatever the password."""
        token = self._site.tokens.get(name)
        if token is not None:
            return token.login
        return name if name in self._site.users else None

    def locked(self, login: str) -> bool:
        """Whether too many wrong passwords have locked the account."""
        since = self._locked_at.get(login)
        return since is not None and self._site.clock.now() - since < self._site.lockout_s

    def _token(self, alias: str, secret: str) -> str | None:
        token = self._site.tokens.get(alias)
        if token is None or not secrets.compare_digest(token.secret, secret):
            return None
        alive = self._site.clock.now() - token.created < self._site.token_timeout_s
        return token.login if alive and token.login in self._site.users else None

    def _password(self, name: str, password: str) -> str | None:
        # "provider/user" picks an authentication provider; the one here is called localdb.
        login = name.rpartition("/")[2]
        user = self._site.users.get(login)
        if user is None or self.locked(login):
            return None
        if secrets.compare_digest(user.password.encode(), password.encode()):
            del self._failed[login]
            self._locked_at.pop(login, None)
            return login
        self._failed[login] += 1
        if self._failed[login] >= self._site.max_failed_logins:
            self._locked_at[login] = self._site.clock.now()
            del self._failed[login]
        return None

    # --- alias tokens ------------------------------------------------------------------------------------

    def issue(self, login: str) -> Token:
        """A new alias token for a user."""
        with self._lock:
            alias = str(uuid.uuid4())
            secret = "".join(secrets.choice(_SECRET) for _ in range(64))
            token = Token(alias, secret, login, len(self._site.tokens) + 1, self._site.clock.now())
            self._site.tokens[alias] = token
        return token

    def owner_if_valid(self, alias: str, secret: str) -> str | None:
        """The login a token stands for, if it is alive."""
        with self._lock:
            return self._token(alias, secret)

    def invalidate(self, alias: str, secret: str | None) -> None:
        """Make a token worthless."""
        with self._lock:
            token = self._site.tokens.get(alias)
            if token is not None and secret in (None, token.secret):
                del self._site.tokens[alias]

    def tokens_of(self, login: str) -> list[Token]:
        """The tokens of a user."""
        with self._lock:
            return [token for token in self._site.tokens.values() if token.login == login]

    def describe(self, token: Token) -> dict[str, Any]:
        """A token as its JSON object."""
        created = int(token.created * 1000)
        return {
            "alias": token.alias,
            "secret": token.secret,
            "xdatUserId": token.login,
            "singleUse": False,
            "validIPAddresses": None,
            "estimatedExpirationTime": created + int(self._site.token_timeout_s * 1000),
            "timestamp": created,
            "created": created,
            "enabled": True,
            "id": token.serial,
            "disabled": 0,
        }
