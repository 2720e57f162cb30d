"""An alias token: what the server issues, and when a new one is due.

XNAT issues a pair that is good wherever a password is, for ``aliasTokenTimeout`` (two days unless the site says
otherwise). Any valid session may ask for a new one, one opened with the old token included; so a token that is renewed
while it is valid never ends, and a federated user's cron goes on without a browser.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from .errors import BadListing
from .model import Secret


@dataclass(frozen=True, slots=True)
class Token:
    """An alias token of ``user``. ``issued`` and ``ends`` in seconds since the epoch, by our clock."""

    user: str
    alias: Secret
    secret: Secret
    issued: float
    ends: float | None


_LAST = 1 << 45  # milliseconds: the year 3084, which calendars still have


def parse(body: bytes, now: float) -> Token:
    """The token in the server's answer. Raises ``BadListing``, and shows nothing of the answer."""
    try:
        found = json.loads(body)
        user, alias, secret = found.get("xdatUserId"), found.get("alias"), found.get("secret")
        ends, created = found.get("estimatedExpirationTime"), found.get("created")
    except (ValueError, AttributeError, RecursionError):
        raise BadListing("the alias token: the server's answer holds none") from None
    if not (isinstance(alias, str) and isinstance(secret, str) and alias and secret):
        raise BadListing("the alias token: the server's answer holds none")
    return Token(str(user or ""), Secret(alias), Secret(secret), now, _end(ends, created, now))


def _end(ends: object, created: object, now: float) -> float | None:
    if not isinstance(ends, int | float) or not 0 < ends < _LAST:
        return None
    # Both are milliseconds of the server's clock, which may be wrong; their distance is not.
    if isinstance(created, int | float) and 0 < created < ends:
        return now + (ends - created) / 1000
    return ends / 1000


def is_due(token: Token, now: float) -> bool:
    """Whether the token should be replaced: a quarter of its life is over.

    So a run each day renews one of two days with a day to spare, and one each hour does not ask for a token each time.
    """
    return token.ends is not None and now - token.issued > (token.ends - token.issued) / 4
