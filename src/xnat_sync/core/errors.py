"""Every error that the client raises on purpose, in one tree; each says what may be done about it.

``XnatSyncError``
├── ``RunError``             ends the run; ``exit_code`` is the documented code
│   ├── ``UsageError``           2   an option, a setting or a combination is wrong
│   ├── ``NotVisible``           5   the project does not exist or is hidden from this user
│   ├── ``LoginRefused``         6   the server refused this login; never tried a second time
│   │   └── ``TokenEnded``       6   an alias token that it knows no more
│   ├── ``SessionEnded``         6   the session ended and cannot be renewed
│   ├── ``ServerUnavailable``    7   the server cannot be reached, or went away for good
│   ├── ``Locked``              11   another run has the same project of this DEST
│   ├── ``DiskTrouble``         12   full, read-only, or not ours to write
│   └── ``Interrupted``        130   Ctrl-C at a question
└── ``ItemError``            concerns one request or one file; the rest of the run goes on
    ├── ``Transient``            may succeed when tried again: resets, time-outs, 429, 5xx
    ├── ``Broken``               what came is not what was listed: cut, corrupt, or another file's bytes
    ├── ``Vanished``             listed, but the server does not have it
    ├── ``Refused``              the server will not give it: 403 and other final answers
    ├── ``BadListing``           an answer that should be a listing is not one
    └── ``Conflict``             what stands at the final path is not ours to replace
"""

from __future__ import annotations


class XnatSyncError(Exception):
    """Base of all errors of the client. ``str()`` is one line for the user."""


class RunError(XnatSyncError):
    """Ends the whole run with ``exit_code``."""

    exit_code = 1


class UsageError(RunError):
    """An option, a setting or their combination makes no sense."""

    exit_code = 2


class NotVisible(RunError):
    """The project does not exist, or this user may not see it; XNAT answers both alike."""

    exit_code = 5


class LoginRefused(RunError):
    """The server refused the login. Raised at most once a run for one secret, so that no account is locked."""

    exit_code = 6


class TokenEnded(LoginRefused):
    """The server knows an alias token no more: it is of no use to keep it."""


class SessionEnded(RunError):
    """The session ended and there is nothing to renew it with."""

    exit_code = 6


class ServerUnavailable(RunError):
    """The server cannot be reached, or stopped answering for good."""

    exit_code = 7


class Locked(RunError):
    """Another run holds the lock of this project's folder, or has taken it over from this one."""

    exit_code = 11


class DiskTrouble(RunError):
    """The destination is full, read-only, gone, or not writable by us."""

    exit_code = 12


class Interrupted(RunError):
    """Ctrl-C instead of an answer to a question at the terminal."""

    exit_code = 130


class ItemError(XnatSyncError):
    """Concerns one request or one file."""


class Transient(ItemError):
    """May succeed when tried again.

    ``status`` is the HTTP status where there was one; ``retry_after`` is the server's own wish in seconds; ``silent``
    says that nothing came for too long.
    """

    def __init__(
        self, message: str, *, status: int | None = None, retry_after: float | None = None, silent: bool = False
    ) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after
        self.silent = silent


class Broken(ItemError):
    """What came is not what was listed: cut short, corrupt, or the bytes of something else."""


class Vanished(ItemError):
    """The listing names it, but the server does not have it."""


class Refused(ItemError):
    """The server will not give it, and asking again will not change that."""


class BadListing(ItemError):
    """An answer that should be a listing is empty, a web page, or about something else."""


class Conflict(ItemError):
    """What stands at the final path was not written by us, or was changed since; nothing of it is touched."""
