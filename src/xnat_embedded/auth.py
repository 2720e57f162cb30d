"""The order of checks before any route is looked at: credentials, session, and what an anonymous request may do (§8).

The outcome is a ``Caller`` with a session, always: a request without a live session is given an anonymous one and its
cookie, refusals included. That is what poisons a cookie jar shared by many workers (§1.3).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass

from .accounts import Accounts
from .answers import Answer, Refuse, empty, restlet_page, text, tomcat_page
from .sessions import Session, Sessions
from .site import BROWSERS, Site

GUEST = "guest"

_OPEN_DATA = ("/JSESSION", "/services/auth")
_OPEN_XAPI = ("buildInfo", "siteId", "siteHome", "siteUrl", "siteLogoPath")
_CHANGING = ("POST", "PUT", "DELETE")


@dataclass(slots=True)
class Caller:
    """Who makes a request. ``fresh``: the session is new, or has a new id, and its cookie must be sent."""

    session: Session
    fresh: bool
    #: The login, ``guest`` on an open site, or None where an open path is asked for anonymously.
    user: str | None = None
    #: Basic credentials were refused, before the filter that sets the session time cookie (§1.3).
    bare: bool = False


def is_browser(agent: str) -> bool:
    """Whether XNAT takes this User-Agent for a person's; an empty one and the desktop client's are not."""
    return "XNATDesktopClient" not in agent and any(name in agent for name in BROWSERS)


def is_open(path: str) -> bool:
    """Whether the path needs no login. The patterns end in ``*``, which does not cross a slash (§1.1)."""
    for root in ("/data", "/REST"):
        for name in _OPEN_DATA:
            if path.startswith(root + name) and "/" not in path[len(root + name) :]:
                return True
    head, _, name = path.rpartition("/")
    if head == "/xapi/siteConfig":
        return name.startswith(_OPEN_XAPI)
    return path.startswith("/app/template/Login.vm")


def cookie(headers: Mapping[str, str], name: str) -> str | None:
    """The value of a request cookie."""
    for part in headers.get("Cookie", "").split(";"):
        key, _, value = part.strip().partition("=")
        if key == name:
            return value.strip('"')
    return None


class Gate:
    """Decides who a request is from and whether it may go on."""

    def __init__(self, site: Site, sessions: Sessions, accounts: Accounts) -> None:
        self._site = site
        self._sessions = sessions
        self._accounts = accounts

    def identify(self, headers: Mapping[str, str]) -> tuple[Caller, Answer | None]:
        """The caller by cookie and Basic credentials; with an answer if the credentials end the request."""
        session = self._sessions.get(cookie(headers, "JSESSIONID"))
        if session is not None:
            self._sessions.touch(session)
        caller = Caller(session, False) if session else Caller(self._sessions.create(None), True)
        header = headers.get("Authorization", "")
        if header.partition(" ")[0].lower() != "basic":
            return caller, None
        try:
            name, password = decode_basic(header)
        except ValueError:
            return caller, tomcat_page(500)
        if caller.session.user is not None and caller.session.user == self._accounts.owner_of(name):
            return caller, None  # The session already is this user's: the password is not even looked at (§1.5).
        refusal = self.log_in(caller, name, password)
        caller.bare = refusal is not None and refusal.status == 401
        return caller, refusal

    def log_in(self, caller: Caller, name: str, password: str) -> Answer | None:
        """Make the caller the user of these credentials; an answer if they are refused."""
        login = self._accounts.check(name, password)
        if login is None or len(self._sessions.of(login)) >= self._site.max_sessions:
            return tomcat_page(401)
        caller.session = self._sessions.log_in(caller.session, login)
        caller.fresh = True
        user = self._site.users[login]
        if not user.enabled:
            return self._redirect("/app/template/InactiveAccount.vm")
        if user.password_expired:
            return text("Your password has expired.", "text/plain", 403)
        return None

    def admit(self, caller: Caller, method: str, path: str, headers: Mapping[str, str], token: str) -> Answer | None:
        """Let the caller through, naming the user it runs as, or give the answer which turns it away."""
        if not self._site.configured:
            return tomcat_page(403)
        agent = headers.get("User-Agent", "")
        user = caller.session.user
        if user is not None:
            account = self._site.users.get(user)
            if account is not None and account.password_expired:
                return self._redirect("/app/template/XDATScreen_UpdateUser.vm")
            changing = method in _CHANGING and is_browser(agent) and not caller.fresh
            if changing and token != caller.session.csrf:
                return restlet_page(500, "INVALID CSRF")
            caller.user = user
            return None
        if is_open(path):
            return None
        data = path.startswith(("/data", "/REST", "/xapi"))
        if not self._site.require_login and data:
            caller.user = GUEST
            return None
        if is_browser(agent) or not data:
            return self._redirect("/app/template/Login.vm")
        realm = f'Basic realm="{self._site.site_id}"'
        return tomcat_page(401, headers=[("WWW-Authenticate", realm)])

    def require_user(self, caller: Caller) -> str:
        """The login behind a request, or the 401 of a Restlet that wants one."""
        if caller.user is None:
            raise Refuse(restlet_page(401))
        return caller.user

    def _redirect(self, to: str) -> Answer:
        return empty(302, [("Location", self._site.context + to)])


def decode_basic(header: str) -> tuple[str, str]:
    """User and password of a Basic header, decoded as UTF-8. Raises ``ValueError`` if it is malformed."""
    try:
        decoded = base64.b64decode(header[6:].strip(), validate=True).decode("utf-8", "replace")
    except (binascii.Error, ValueError) as error:
        raise ValueError("not base64") from error
    name, colon, password = decoded.partition(":")
    if not colon:
        raise ValueError("no colon")
    return name, password
