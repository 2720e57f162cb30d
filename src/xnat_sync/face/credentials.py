"""Where a login comes from: the ways in, in their documented order, and the session kept between commands.

In order: a pasted session id, the session kept by ``login``, then a password or alias token from standard input, the
environment, or netrc, and last a prompt if there is a terminal. A secret is never an argument and never printed.
"""

from __future__ import annotations

import contextlib
import getpass
import hashlib
import json
import netrc as netrc_format
import os
import stat
import sys
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

import platformdirs

from xnat_sync.core.errors import UsageError
from xnat_sync.core.model import Login, LoginKind, Secret
from xnat_sync.core.settings import Settings


def site(settings: Settings) -> str:
    """The URL of the site. Raises ``UsageError`` if none is set, or if it would carry secrets in the clear."""
    if settings.host is None:
        raise UsageError("which XNAT? Name it with --host https://… or in the environment as XNAT_HOST")
    return settings.host


def candidates(settings: Settings, environment: Mapping[str, str]) -> Iterator[Login]:
    """The ways in, the first to try first; each is looked up only when it is asked for."""
    url = site(settings)
    if settings.jsession is not None:
        text = settings.jsession.reveal()
        pasted = _read_secret_line("a session id") if text == "-" else text
        yield Login(LoginKind.PASTED, secret=Secret(pasted.strip()), origin=settings.sources["jsession"])
        return
    kept = read_kept(url)
    if kept is not None and settings.user in (None, kept.user) and not settings.password_stdin:
        yield kept
    if settings.password_stdin:
        user = settings.user or _fail("--password-stdin needs --user")
        yield Login(LoginKind.PASSWORD, user, Secret(_read_secret_line("a password")), "--password-stdin")
        return
    password = environment.get("XNAT_PASS")
    if password and settings.user:
        yield Login(LoginKind.PASSWORD, settings.user, Secret(password), "environment XNAT_PASS")
        return
    if not settings.no_netrc and (found := _from_netrc(url, settings)) is not None:
        yield found
        return
    if sys.stdin.isatty():
        user = settings.user or input(f"User name at {url}: ").strip()
        yield Login(LoginKind.PASSWORD, user, Secret(getpass.getpass(f"Password of {user}: ")), "prompt")


def none_left(settings: Settings) -> UsageError:
    """The error for when there is no way in at all."""
    return UsageError(
        f"no login for {site(settings)}: run 'xnat-sync login', or set XNAT_USER and XNAT_PASS, or use a netrc "
        "file; at a federated site paste a session id with --jsession"
    )


def _fail(message: str) -> str:
    raise UsageError(message)


def _read_secret_line(what: str) -> str:
    if sys.stdin.isatty():
        return getpass.getpass(f"Paste {what}: ")
    text = sys.stdin.readline().rstrip("\r\n")
    if not text:
        raise UsageError(f"{what} was to come from standard input, which is empty")
    return text


def _from_netrc(url: str, settings: Settings) -> Login | None:
    path = settings.netrc or os.path.expanduser("~/.netrc")
    try:
        with open(path, encoding="utf-8") as file:
            status = os.fstat(file.fileno())
            if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise UsageError(f"{path} holds passwords and others may read it: chmod 600 {path}")
        entry = netrc_format.netrc(path).authenticators(urlsplit(url).hostname or "")
    except FileNotFoundError:
        if settings.netrc and settings.sources["netrc"].startswith("option"):
            raise UsageError(f"{path} does not exist") from None
        return None
    except (OSError, netrc_format.NetrcParseError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read as netrc: {error}") from None
    if entry is None or not entry[2] or settings.user not in (None, "", entry[0]):
        return None
    return Login(LoginKind.PASSWORD, entry[0], Secret(entry[2]), f"netrc {path}")


# -- the session kept between commands ------------------------------------------------------------------------------


def _kept_path(url: str) -> str:
    name = hashlib.sha256(url.encode()).hexdigest()[:16]
    host = "".join(c if c.isalnum() or c in "-." else "_" for c in urlsplit(url).netloc)
    return os.path.join(platformdirs.user_state_dir("xnat-sync"), "sessions", f"{host}-{name}.json")


def read_kept(url: str) -> Login | None:
    """The session kept for this site, if there is one that only its owner may read."""
    path = _kept_path(url)
    try:
        with open(path, encoding="utf-8") as file:
            status = os.fstat(file.fileno())
            if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                return None
            kept = json.load(file)
        return Login(LoginKind.KEPT, str(kept["user"]), Secret(str(kept["jsession"])), f"kept in {path}")
    except (OSError, ValueError, TypeError, KeyError):
        return None


def keep(url: str, user: str, session_id: str) -> str:
    """Keep a session for this site in a file of mode 0600; returns its path."""
    path = _kept_path(url)
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    fresh = f"{path}.new"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(fresh)
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(fd, "w", encoding="utf-8") as file:
        json.dump({"url": url, "user": user, "jsession": session_id}, file)
    os.replace(fresh, path)
    return path


def forget(url: str) -> bool:
    """Forget the session kept for this site; False if there was none."""
    try:
        os.unlink(_kept_path(url))
    except FileNotFoundError:
        return False
    return True
