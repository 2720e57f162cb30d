"""What a server says beside its listings: tokens, headers, redirects, pages; from a server that is not trusted.

The invariants stand with each target.
"""

from __future__ import annotations

import math
import re
from contextlib import suppress

from fuzz.draw import lines
from xnat_sync.core import refusal, resume, retry, token
from xnat_sync.core.errors import BadListing, RunError
from xnat_sync.core.model import Login, LoginKind, RemoteFile
from xnat_sync.core.resume import Action, Part
from xnat_sync.shell import net

NOW = 1_800_000_000.0
LEAST = 12  # letters: what is as long as that stands in no message by chance


def any_token(data: bytes) -> None:
    """The answer to a request for an alias token.

    1. Nothing but ``BadListing`` is raised, and it shows nothing of the answer.
    2. A token has an alias and a secret; its end is unknown or a moment in time, and so it can be told if it is due.
    3. A token that ends is due before its end.
    """
    try:
        made = token.parse(data, NOW)
    except BadListing as error:
        assert str(error) == "the alias token: the server's answer holds none"  # noqa: PT017
        return
    for text in (made.alias.reveal(), made.secret.reveal()):
        assert isinstance(text, str)
        assert text
    assert isinstance(made.user, str)
    assert made.ends is None or math.isfinite(made.ends)
    token.is_due(made, NOW)
    assert made.ends is None or token.is_due(made, max(made.ends, NOW + 1))


def any_range(data: bytes) -> None:
    """The first line is a ``Content-Range``, the next three are the status, the bytes held, and the sizes known.

    1. Nothing is raised.
    2. Bytes are appended only if the answer is 206, starts at the byte that is wanted, and gives the size of the
       whole as all that is known of it says; 200 always starts anew.
    3. The size of the whole is never made up: it stands in the header.
    """
    header, status, held, total, size, *_ = [*lines(data), "", "", "", ""]
    part = Part(number(held) or 0, "then", number(total), None, number(size))
    remote = RemoteFile("a", number(size), None)
    code = number(status) or 206
    action = resume.action(part, code, header, remote)
    whole = resume.stored_total(code, 7, header)
    assert (action is Action.RESTART) == (code == 200)
    if action is Action.APPEND:
        first, _, rest = header.removeprefix("bytes ").partition("-")
        assert (code, int(first)) == (206, part.held)
        assert {known for known in (part.total, part.size) if known is not None} <= {int(rest.partition("/")[2])}
    if whole is not None and code != 200:
        assert int(header.rpartition("/")[2]) == whole >= 0


def number(text: str) -> int | None:
    return int(text) if re.fullmatch("[0-9]{1,18}", text) else None


def any_wait(data: bytes) -> None:
    """The text of a ``Retry-After``.

    1. Nothing is raised.
    2. The wait is unknown, or a finite number of seconds not below zero.
    """
    text = data.decode("latin-1")
    seconds = retry.retry_after_seconds(text, NOW, net._moment)
    assert seconds is None or 0 <= seconds < math.inf


def any_refusal(data: bytes) -> None:
    """The first line is a ``Location``, the second a ``Content-Type``, the rest the page, for each status of interest.

    1. Nothing is raised: there is a cause, and of each cause and each way in one error that ends the run.
    2. The error is one line, printable, and tells nothing of a redirect's query.
    """
    location, kind, body = (*data.split(b"\n", 2), b"", b"")[:3]
    where = location.decode("utf-8", "surrogateescape")
    for status in (200, 302, 401, 403, 404, 500):
        why = refusal.why(status, where if status == 302 else "", kind.decode("latin-1"), body, "/data/auth")
        for login in LoginKind:
            error = refusal.error(why, Login(login, "user"), "https://xnat.example.org")
            assert isinstance(error, RunError)
            assert "\n" not in why.detail or status == 302
            shown, _, query = where.partition("?")
            assert len(query) < LEAST or query in shown or query not in str(error)
    with suppress(BadListing):
        token.parse(body, NOW)
