"""A site: its users, its projects, its settings and its counters.

Everything is deterministic: ids, dates and file times come from counters, so that two sites built alike answer alike.
Settings are plain attributes that tests may change at any time; the server reads them anew for every request.
"""

from __future__ import annotations

import datetime as dt
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from threading import RLock

from .clock import Clock
from .tree import Experiment, Project, Subject

# The database's dates have no zone (§2.2).
_EPOCH = dt.datetime(2023, 9, 27, 17, 31, 21, 352_000)  # noqa: DTZ001
_FILE_EPOCH = 1_695_828_000

#: The password of ``demo`` wherever a site is made for demonstrations.
DEMO_PASSWORD = "demo-password"

#: Fragments of the User-Agent header that make XNAT take a client for a browser (preference ``interactiveAgentIds``).
BROWSERS = ("MSIE", "Mozilla", "AppleWebKit", "Opera")


@dataclass(slots=True, eq=False)
class User:
    """An account. ``password_expired`` and ``enabled`` change what a login with it is answered (§1.5)."""

    login: str
    password: str
    admin: bool = False
    enabled: bool = True
    password_expired: bool = False


@dataclass(slots=True, eq=False)
class Token:
    """An alias token: a pair that works wherever a password does (§1.7)."""

    alias: str
    secret: str
    login: str
    serial: int
    created: float


@dataclass(eq=False)
class Site:
    """What a server serves, and how it is set up. The defaults are XNAT's own."""

    site_id: str = "XNAT"
    version: str = "1.8.10"
    #: Closed site: anonymous requests are refused. False: they run as ``guest``.
    require_login: bool = True
    #: Idle time after which a session ends; sliding.
    timeout_s: float = 900
    #: Sessions a user may have at once; the next login is refused as if the password were wrong.
    max_sessions: int = 1000
    #: Wrong passwords after which an account is locked for ``lockout_s``.
    max_failed_logins: int = 20
    lockout_s: float = 3600
    token_timeout_s: float = 2 * 86400
    #: Path below which the site lives, e.g. ``/xnat``.
    context: str = ""
    #: Preference ``siteUrl`` is https: session cookies are marked Secure.
    site_url_https: bool = False
    #: False: a new site that was never set up; 403 for everything.
    configured: bool = True
    #: A status: a proxy answers everything with a maintenance page of that status.
    maintenance: int | None = None
    #: Experiment lists fail in the database: 200 and an empty body.
    break_query: bool = False
    #: Over-long ranges promise more than they send and leave the connection open, as XNAT does (§4).
    hang_on_overlong_range: bool = True
    #: Delay before each answer.
    latency_s: float = 0.0
    #: Bytes a second of each zip or file answer; None for no limit.
    rate: float | None = None
    #: Send bodies in chunks of 8 KiB as Tomcat does, instead of as they come.
    tomcat_chunks: bool = False
    #: Tomcat closes a connection after so many requests, or so long idle.
    keepalive_requests: int | None = 100
    keepalive_s: float = 20.0
    #: Zip method when a request does not say: 0 stored, 8 deflated (preference ``zipCompressionMethod``).
    compression: int = 0
    #: Some contents lie on disk: answers are worked out in worker threads. Set when such a file is added.
    on_disk: bool = False
    #: Lists come in another order each time, as nothing sorts them.
    shuffle: bool = True
    users: dict[str, User] = field(default_factory=dict)
    tokens: dict[str, Token] = field(default_factory=dict)
    projects: list[Project] = field(default_factory=list)
    clock: Clock = field(default_factory=Clock)
    lock: RLock = field(default_factory=RLock)
    _numbers: Counter[str] = field(default_factory=Counter)

    # --- building ----------------------------------------------------------------------------------------

    def add_user(self, login: str, password: str, *, admin: bool = False) -> User:
        """Add an account."""
        with self.lock:
            self.users[login] = user = User(login, password, admin)
        return user

    def add_project(
        self,
        project_id: str,
        *,
        name: str | None = None,
        description: str = "",
        visibility: str = "private",
        members: tuple[str, ...] | dict[str, str] = (),
    ) -> Project:
        """Add a project; ``members`` are logins, or login to role (``owner``, ``member``, ``collaborator``)."""
        with self.lock:
            roles = members if isinstance(members, dict) else dict.fromkeys(members, "member")
            project = Project(
                project_id, self, name or project_id, description, visibility=visibility, members=dict(roles)
            )
            self.projects.append(project)
        return project

    @classmethod
    def from_folder(
        cls,
        path: str | os.PathLike[str],
        project: str = "FOLDER",
        *,
        user: str = "demo",
        password: str = DEMO_PASSWORD,
    ) -> Site:
        """A site that serves ``SUBJECT/EXPERIMENT/scans/SCAN/RESOURCE/**`` of a folder, read anew from disk."""
        from .folder import site_from_folder

        return site_from_folder(path, project, user=user, password=password)

    # --- counters (``tree.Registry``) --------------------------------------------------------------------

    def number(self, kind: str) -> int:
        with self.lock:
            self._numbers[kind] += 1
            return self._numbers[kind] + (100 if kind == "resource" else 0)

    def accession(self, letter: str) -> str:
        return f"{self.site_id}_{letter}{self.number(letter):05d}"

    def stamp(self) -> str:
        moment = _EPOCH + dt.timedelta(microseconds=731_010 * self.number("stamp"))
        text = moment.strftime("%Y-%m-%d %H:%M:%S.%f").rstrip("0")
        return text.rstrip(".")

    def file_time(self) -> int:
        return _FILE_EPOCH + 2 * self.number("file time")

    # --- looking up --------------------------------------------------------------------------------------

    def project(self, project_id: str) -> Project | None:
        """The project of that id, whoever may see it."""
        return next((project for project in self.projects if project.id == project_id), None)

    def subjects(self) -> Iterator[Subject]:
        """Every subject of the site, once."""
        for project in self.projects:
            yield from project.subjects

    def experiments(self) -> Iterator[Experiment]:
        """Every experiment of the site, once; without image assessors."""
        for subject in self.subjects():
            yield from subject.experiments

    def subjects_in(self, project: Project) -> list[Subject]:
        """The subjects a project shows: its own and those shared into it."""
        return [subject for subject in self.subjects() if subject.label_in(project.id) is not None]

    def experiments_in(self, project: Project) -> list[Experiment]:
        """The experiments a project shows: its own and those shared into it."""
        return [found for found in self.experiments() if found.label_in(project.id) is not None]

    # --- rights ------------------------------------------------------------------------------------------

    def can_read(self, login: str, project: Project) -> bool:
        """Whether a user may read the data of a project."""
        user = self.users.get(login)
        if user is not None and user.admin:
            return True
        return login in project.members or project.visibility == "public"

    def can_read_experiment(self, login: str, experiment: Experiment) -> bool:
        """Whether a user may read an experiment, through its own project or one it is shared into."""
        if self.can_read(login, experiment.project):
            return True
        shared = (self.project(project_id) for project_id in experiment.shares)
        return any(project is not None and self.can_read(login, project) for project in shared)

    def can_read_subject(self, login: str, subject: Subject) -> bool:
        """Whether a user may read a subject, through its own project or one it is shared into."""
        if self.can_read(login, subject.project):
            return True
        shared = (self.project(project_id) for project_id in subject.shares)
        return any(project is not None and self.can_read(login, project) for project in shared)


def empty_site() -> Site:
    """A site with the users ``demo`` (password ``demo-password``) and ``admin``, and nothing else."""
    site = Site()
    site.add_user("demo", DEMO_PASSWORD)
    site.add_user("admin", "admin-password", admin=True)
    return site
