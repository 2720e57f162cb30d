"""What is kept between commands: a session and an alias token for each site, in files that only their owner may read.

They lie in the user's state folder, one file a site and kind, mode 0600, and are replaced as a whole.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import tempfile
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import platformdirs

from xnat_sync.core.errors import UsageError
from xnat_sync.core.model import Cookie, Login, LoginKind, Secret
from xnat_sync.core.token import Token


@dataclass(frozen=True, slots=True)
class Session:
    """A kept session. ``asked`` is the name it was opened with: an alias, or one with a provider.

    ``pasted`` says that it is a browser's, and so not ours to close.
    """

    user: str
    asked: str
    session_id: Secret
    pasted: bool
    cookies: tuple[Cookie, ...] = ()

    def login(self, path: str) -> Login:
        """The way in that it is."""
        return Login(LoginKind.KEPT, self.user, self.session_id, f"kept in {path}", self.cookies)


def session_path(url: str) -> str:
    """The file of a site's session."""
    return _path("sessions", url)


def token_path(url: str) -> str:
    """The file of a site's alias token."""
    return _path("tokens", url)


def read_session(url: str) -> Session | None:
    """The session kept for a site. Raises ``UsageError`` if others may read it."""
    found = read_private_json(session_path(url))
    try:
        return None if found is None else Session(
            str(found["user"]),
            str(found.get("asked", "")),
            Secret(str(found["jsession"])),
            bool(found.get("pasted")),
            tuple(Cookie(c["name"], Secret(c["value"]), c["path"]) for c in found.get("cookies", ())),
        )  # fmt: skip
    except (KeyError, TypeError, AttributeError):
        return None


def write_session(url: str, session: Session) -> str:
    """Keep a session; returns the file's path."""
    cookies = [{"name": c.name, "value": c.value.reveal(), "path": c.path} for c in session.cookies]
    return _write(
        session_path(url),
        {
            "url": url,
            "user": session.user,
            "asked": session.asked,
            "jsession": session.session_id.reveal(),
            "pasted": session.pasted,
            "cookies": cookies,
        },
    )


def read_token(url: str) -> Token | None:
    """The alias token kept for a site. Raises ``UsageError`` if others may read it."""
    found = read_private_json(token_path(url))
    try:
        if found is None:
            return None
        ends = None if found["ends"] is None else float(found["ends"])
        return Token(
            str(found["user"]), Secret(str(found["alias"])), Secret(str(found["secret"])), float(found["issued"]), ends
        )
    except (KeyError, TypeError, ValueError, OverflowError):
        return None


def write_token(url: str, token: Token) -> str:
    """Keep an alias token; returns the file's path."""
    return _write(
        token_path(url),
        {
            "url": url,
            "user": token.user,
            "alias": token.alias.reveal(),
            "secret": token.secret.reveal(),
            "issued": token.issued,
            "ends": token.ends,
        },
    )


def forget(path: str) -> bool:
    """Forget what is kept in a file; False if there was nothing."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return False
    return True


def read_private(path: str, what: str) -> str | None:
    """The text of a file that holds secrets; None if there is none.

    Raises ``UsageError``, also if others than its owner may read it.
    """
    try:
        with open(path, encoding="utf-8") as file:
            if os.fstat(file.fileno()).st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise UsageError(f"{path} holds {what} and others may read it: chmod 600 {path}")
            return file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path} is no text in UTF-8") from None


def read_private_json(path: str) -> dict[str, Any] | None:
    """The object in one of our files; None if there is none, or nothing of use in it."""
    text = read_private(path, "a login")
    try:
        found = json.loads(text or "null")
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _path(kind: str, url: str) -> str:
    name = hashlib.sha256(url.encode()).hexdigest()[:16]
    host = "".join(c if c.isalnum() or c in "-." else "_" for c in urlsplit(url).netloc)
    return os.path.join(platformdirs.user_state_dir("xnat-sync"), kind, f"{host}-{name}.json")


def _write(path: str, content: dict[str, Any]) -> str:
    folder = os.path.dirname(path)
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        fd, fresh = tempfile.mkstemp(dir=folder)  # Of mode 0600 from its first moment.
        try:
            with open(fd, "w", encoding="utf-8") as file:
                json.dump(content, file)
            os.replace(fresh, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(fresh)
            raise
    except OSError as error:
        raise UsageError(f"the login cannot be kept in {folder}: {error.strerror}") from None
    return path
