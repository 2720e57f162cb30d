"""Everything that is not the archive: logging in and out, tokens, who am I, site facts, the login page (§1)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import schema
from .answers import Answer, chunked, empty, login_page, plain, restlet_page, text, tomcat_page
from .auth import GUEST, Caller
from .routes import Target
from .tables import Table, render

if TYPE_CHECKING:
    from .service import Service

_ALLOW_JSESSION = "POST, DELETE, GET, HEAD, OPTIONS"
_JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Visit:
    """One request to the portal."""

    service: Service
    caller: Caller
    method: str
    target: Target
    form: Mapping[str, str]

    @property
    def rest(self) -> tuple[str, ...]:
        """The path segments after the route's own."""
        return self.target.route.rest

    @property
    def user(self) -> str:
        """The login; a 401 page if there is none."""
        return self.service.gate.require_user(self.caller)

    @property
    def is_admin(self) -> bool:
        """Whether an administrator asks."""
        account = self.service.site.users.get(self.caller.user or "")
        return account is not None and account.admin

    def with_csrf(self, body: str) -> Answer:
        """Plain text, with the session's CSRF token if asked for."""
        if self.target.query.get("CSRF") == "true":
            body += f"; XNAT_CSRF={self.caller.session.csrf}"
        return plain(body)


def jsession(visit: Visit) -> Answer:
    """``/data/JSESSION``: the id of whatever session the request has, an anonymous one included (§1.1)."""
    if visit.method in ("GET", "HEAD", "POST"):
        return visit.with_csrf(visit.caller.session.id)
    if visit.method == "DELETE":
        visit.service.sessions.end(visit.caller.session, by_client=True)
        return empty()
    page = restlet_page(405)
    page.headers.append(("Allow", _ALLOW_JSESSION))
    return page


def who(visit: Visit) -> Answer:
    """``/data/auth``: the one reliable proof of a login (§1.2)."""
    return visit.with_csrf(f"User '{visit.user}' is logged in")


def form_login(visit: Visit) -> Answer:
    """``/data/services/auth``: user and password as a form (§1.6)."""
    if visit.method not in ("POST", "PUT"):
        return restlet_page(405)
    name, password = visit.form.get("username", ""), visit.form.get("password", "")
    refusal = visit.service.gate.log_in(visit.caller, name, password)
    if refusal is None:
        return plain(visit.caller.session.id)
    return restlet_page(401) if refusal.status == 401 else refusal


def tokens(visit: Visit) -> Answer:
    """``/data/services/tokens/…``: alias tokens (§1.7)."""
    accounts, user = visit.service.accounts, visit.user
    match visit.rest:
        case ["issue"]:
            if user == GUEST:
                return restlet_page(403)
            return _json(accounts.describe(accounts.issue(user)))
        case ["issue", "user", login]:
            if (login != user and not visit.is_admin) or login not in visit.service.site.users:
                return restlet_page(403)
            return _json(accounts.describe(accounts.issue(login)))
        case ["show"]:
            return _json([accounts.describe(token) for token in accounts.tokens_of(user)])
        case ["validate", alias, secret]:
            login_or_none = accounts.owner_if_valid(alias, secret)
            return _json({} if login_or_none is None else {"valid": login_or_none})
        case ["invalidate", alias, *secret]:
            accounts.invalidate(alias, secret[0] if secret else None)
            return chunked('{"result": "OK"}', _JSON)
    return restlet_page(404)


def user_sessions(visit: Visit) -> Answer:
    """``/data/user/{login}/sessions``: how many sessions a user has; DELETE ends them (§1.5)."""
    login = visit.rest[0]
    if login != visit.user and not visit.is_admin:
        return restlet_page(403)
    if visit.method == "DELETE":
        visit.service.sessions.end_all(login, by_client=True)
        return empty()
    return _json({login: len(visit.service.sessions.of(login))})


_ELEMENTS = {
    "xnat:projectData": ("Project", "Projects"),
    "xnat:subjectData": ("Subject", "Subjects"),
    "xnat:mrSessionData": ("MR Session", "MR Sessions"),
    "xnat:ctSessionData": ("CT Session", "CT Sessions"),
    "xnat:petSessionData": ("PET Session", "PET Sessions"),
    "xnat:qcManualAssessorData": ("QC", "QCs"),
}
_ELEMENT_KEYS = ("ELEMENT_NAME", "SINGULAR", "PLURAL", "SECURED", "COUNT")


def elements(visit: Visit) -> Answer:
    """``/data/search/elements``: the data types that can be searched for; xnatpy asks for them."""
    _ = visit.user  # Refuses whoever has none.
    if visit.rest and visit.rest[0]:
        fields = ("FIELD_ID", "HEADER", "SUMMARY", "TYPE", "REQUIRES_VALUE", "DESC", "ELEMENT_NAME", "SRC")
        if visit.rest[0] not in _ELEMENTS:
            return restlet_page(404)
        return render(Table(fields, []), visit.target.query, None)
    rows = [
        dict(zip(_ELEMENT_KEYS, (name, one, many, "true", "1"), strict=True)) for name, (one, many) in _ELEMENTS.items()
    ]
    return render(Table(_ELEMENT_KEYS, rows), visit.target.query, None)


def xapi(visit: Visit) -> Answer:
    """``/xapi/…``: the few paths that clients ask for. Errors here have no body (§6)."""
    site = visit.service.site
    match visit.rest:
        case ["siteConfig", "buildInfo"]:
            info = {
                "version": site.version,
                "buildNumber": "1",
                "buildDate": "Mon May 06 10:00:00 CDT 2024",
                "commit": "v1.8.10-0-g0000000",
                "application": "XNAT",
            }
            return _json(info)
        case ["siteConfig", ("siteId" | "siteHome" | "siteUrl" | "siteLogoPath") as name]:
            return text({"siteId": site.site_id}.get(name, ""), "text/plain;charset=UTF-8")
        case ["siteConfig", *_]:
            return empty(403 if not visit.is_admin else 404)
        case ["users", "username"]:
            return text(visit.user, "text/plain;charset=UTF-8")
        case ["users", "active", login]:
            if login != visit.user and not visit.is_admin:
                return empty(403)
            if visit.method == "DELETE":
                visit.service.sessions.end_all(login, by_client=True)
                return _json([])
            return _json(visit.service.sessions.of(login))
        case ["users", login]:
            account = site.users.get(login)
            if account is None or (login != visit.user and not visit.is_admin):
                return empty(404 if visit.is_admin else 403)
            return _json({"username": login, "enabled": account.enabled, "verified": True})
        case ["schemas"]:
            return _json(list(schema.NAMES))
        case ["schemas", name] if name in schema.NAMES:
            return chunked(schema.xnat_xsd(), "application/xml")
    return empty(404)


def app(visit: Visit) -> Answer:
    """``/app/…`` and ``/archive/…``: pages for people."""
    if visit.rest[:2] == ("template", "Login.vm"):
        return login_page()
    return text("<!DOCTYPE html><html><body>XNAT</body></html>", "text/html;charset=UTF-8")


def nowhere(visit: Visit) -> Answer:
    """No route at all."""
    return restlet_page(404) if visit.target.path.startswith(("/data", "/REST")) else tomcat_page(404)


def _json(value: object) -> Answer:
    return chunked(json.dumps(value), _JSON)


ROUTES: Mapping[str, Callable[[Visit], Answer]] = {
    "jsession": jsession,
    "who": who,
    "form_login": form_login,
    "tokens": tokens,
    "user_sessions": user_sessions,
    "elements": elements,
    "xapi": xapi,
    "app": app,
    "home": app,
    "nowhere": nowhere,
}
