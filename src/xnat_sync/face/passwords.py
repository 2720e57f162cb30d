"""Where a password comes from: standard input, a command, the environment, a keyring, a netrc file, a prompt.

The first that has one is the only one used: a refused password is never followed by another guess, since each counts
towards locking the account. A secret is never an argument and never printed.
"""

from __future__ import annotations

import functools
import getpass
import netrc
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import TypeVar
from urllib.parse import urlsplit

from xnat_sync.core.errors import Interrupted, UsageError
from xnat_sync.core.model import Login, LoginKind, Secret
from xnat_sync.core.settings import Settings

from . import kept

T = TypeVar("T")
COMMAND_SECONDS = 120


def of(settings: Settings, url: str) -> Login | None:
    """The one login by password, or None if there is none and nobody to ask. Raises ``UsageError``."""
    if settings.password_stdin:
        return _named(settings, read_line("a password"), "--password-stdin")
    if settings.password_command:
        return _named(settings, _from_command(settings), settings.sources["password_command"])
    if settings.password is not None and settings.user:
        return Login(LoginKind.PASSWORD, settings.user, settings.password, settings.sources["password"])
    found = None if settings.no_keyring else _from_keyring(url, settings.user)
    found = found or (None if settings.no_netrc else _from_netrc(url, settings))
    return found or (_from_prompt(url, settings.user) if sys.stdin.isatty() else None)


def _named(settings: Settings, secret: Secret, origin: str) -> Login:
    if not settings.user:
        raise UsageError(f"{origin} gives a password: whose? Name the user with --user")
    return Login(LoginKind.PASSWORD, settings.user, secret, origin)


def read_line(what: str) -> Secret:
    """A secret from the first line of standard input, or asked for where that is a terminal. Raises ``UsageError``."""
    return Secret(_asking(lambda: getpass.getpass(f"Paste {what}: ")) if sys.stdin.isatty() else _first_line(what))


@functools.cache
def _first_line(what: str) -> str:
    # Kept, since a command with several parts logs in for each, and standard input can be read once.
    return _text(sys.stdin.buffer.readline(), what, "standard input")


def _text(line: bytes, what: str, where: str) -> str:
    try:
        text = line.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        raise UsageError(f"{what} from {where} is no text in UTF-8") from None
    if not text:
        raise UsageError(f"{what} was to come from {where}, which is empty")
    return text


def _from_command(settings: Settings) -> Secret:
    origin = settings.sources["password_command"]
    try:
        # Its standard error stays the user's, who may be asked there for a passphrase.
        done = subprocess.run(  # noqa: S603
            ["/bin/sh", "-c", settings.password_command or ""],
            stdin=None if sys.stdin.isatty() else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            timeout=COMMAND_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise UsageError(f"the password command ({origin}) took longer than {COMMAND_SECONDS} s") from None
    if done.returncode != 0:
        raise UsageError(f"the password command ({origin}) failed with exit {done.returncode}")
    return Secret(_text(done.stdout.partition(b"\n")[0], "the password", f"the password command ({origin})"))


def _from_keyring(url: str, user: str | None) -> Login | None:
    try:
        import keyring
    except ImportError:  # An optional extra.
        return None
    try:
        found = keyring.get_credential(url, user)
    except Exception:  # noqa: BLE001 - no keyring, a locked one, no desktop to unlock it from: other ways remain
        return None
    if found is None or not found.password:
        return None
    return Login(LoginKind.PASSWORD, found.username or user or "", Secret(found.password), "keyring")


def _from_netrc(url: str, settings: Settings) -> Login | None:
    path = os.path.expanduser(settings.netrc or "~/.netrc")
    if kept.read_private(path, "passwords") is None:
        if settings.netrc:
            raise UsageError(f"{settings.sources['netrc']}: {path} does not exist")
        return None
    try:
        entry = netrc.netrc(path).authenticators(urlsplit(url).hostname or "")
    except netrc.NetrcParseError as error:  # Its own text may quote what stands there.
        raise UsageError(f"{path} is no netrc file (line {error.lineno})") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    if entry is None or not entry[2] or settings.user not in (None, entry[0]):
        return None
    return Login(LoginKind.PASSWORD, entry[0], Secret(entry[2]), f"netrc {path}")


def _from_prompt(url: str, user: str | None) -> Login:
    name = user or _asking(lambda: input(f"User name at {url}: ")).strip()
    password = _asking(lambda: getpass.getpass(f"Password of {name}: ")) if name else ""
    if not name or not password:
        raise UsageError("no login without a user name and a password")
    return Login(LoginKind.PASSWORD, name, Secret(password), "prompt")


def _asking(ask: Callable[[], T]) -> T:
    """Ask on the terminal; Ctrl-C ends the question, though the event loop has taken the signal for itself."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return ask()
    except EOFError:
        raise UsageError("no login without an answer") from None
    except KeyboardInterrupt:
        raise Interrupted("interrupted before the login") from None
    finally:
        signal.signal(signal.SIGINT, before)
