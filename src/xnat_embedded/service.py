"""The handler behind every request: checks in XNAT's order, then the route's answer, then the standing headers.

Everything that reads the tree runs under the site's lock and without awaiting, so that a test which changes the tree
meanwhile is seen as a whole or not at all. Where files lie on disk it runs in a worker thread.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections.abc import Mapping
from email.utils import formatdate
from urllib.parse import parse_qsl
from weakref import WeakKeyDictionary

from aiohttp import web

from . import portal
from .accounts import Accounts
from .answers import (
    Answer,
    Headers,
    Refuse,
    chunked,
    empty,
    login_page,
    proxy_page,
    refuse,
    restlet_page,
    tomcat_page,
)
from .auth import Caller, Gate, cookie
from .experiment_list import BrokenQuery
from .faults import Delay, Effect, EmptyBody, Faults, KillSession, LoginPage, ShortList, Status, first, of_type
from .file_list import entries, file_table, readable
from .items import Thing, catalog_xml, item_json, item_xml
from .listings import Lists, resource_table
from .log import Log, Record
from .packing import archive, lookup, refuse_range, single
from .reach import Finder, Reach, match_scans
from .routes import ZIP_FORMATS, Route, Target, is_malformed, parse
from .sessions import Sessions
from .site import Site
from .tables import Table, render
from .tree import Experiment
from .wire import Sent, Shape, send

_LOG = logging.getLogger(__name__)
_TABLES = ("projects", "subjects", "experiments", "scans", "reconstructions", "assessors")
_VARY = ("Vary", "Accept-Charset, Accept-Encoding, Accept-Language, Accept")
_STANDING = (
    ("X-Content-Type-Options", "nosniff"),
    ("X-XSS-Protection", "1; mode=block"),
    ("X-Frame-Options", "SAMEORIGIN"),
    ("Content-Security-Policy", "frame-ancestors 'self'"),
)


class Service:
    """Answers requests for one site. ``sessions`` is replaced when the server restarts."""

    def __init__(self, site: Site, accounts: Accounts, sessions: Sessions, faults: Faults, log: Log) -> None:
        self.site = site
        self.accounts = accounts
        self.sessions = sessions
        self.faults = faults
        self.log = log
        self.gate = Gate(site, sessions, accounts)
        self.failures: list[Exception] = []
        self._order = random.Random(site.site_id)
        self._running: set[asyncio.Task[object]] = set()
        self._served: WeakKeyDictionary[asyncio.Transport, int] = WeakKeyDictionary()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        raw = request.raw_path
        target = parse(request.method, raw, self.site.context)
        record = Record(
            0,
            request.method,
            target.path,
            raw.partition("?")[2],
            target.route.kind,
            request.headers.get("Range", ""),
            request.headers.get("User-Agent", ""),
        )
        self.log.begin(record)
        task = asyncio.current_task()
        if task is not None:
            self._running.add(task)
        aborted = True
        try:
            sent = await self._handle(request, target, record)
            aborted = False
            return sent
        except ConnectionError:
            return Sent(record.status, keep_alive=False)  # The client left.
        except Exception as error:  # noqa: BLE001 - a bug here must not become an answer
            _LOG.exception("cannot answer %s %s", request.method, raw)
            self.failures.append(error)
            if request.transport is not None:
                request.transport.abort()
            return Sent(500, keep_alive=False)
        finally:
            if task is not None:
                self._running.discard(task)
            self.log.end(record, aborted=aborted)

    async def drop(self) -> None:
        """Give up every request in hand, as a server that dies does."""
        running = list(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _handle(self, request: web.BaseRequest, target: Target, record: Record) -> Sent:
        body = await request.read() if request.body_exists else b""
        effects = self.faults.hit(target.route.kind, request.raw_path)
        delay = self.site.latency_s + sum(effect.seconds for effect in of_type(effects, Delay))
        if delay:
            await asyncio.sleep(delay)
        if first(effects, KillSession) is not None:
            dead = self.sessions.get(cookie(request.headers, "JSESSIONID"))
            if dead is not None:
                self.sessions.end(dead)
        answer = self._instead(effects)
        caller: Caller | None = None
        if answer is None and is_malformed(request.raw_path):
            answer = tomcat_page(400)
            answer.close = True
        if answer is None:
            caller, answer = self.gate.identify(request.headers)
            if answer is None:
                answer = await self._admitted(request, target, body, caller, effects)
            record.session, record.user = caller.session.id, caller.user or caller.session.user
        answer.headers = [*self._standing(answer, caller, request.method, target.path), *answer.headers]
        answer.close = answer.close or self._worn_out(request)
        shape = Shape.of(
            effects,
            rate=self.site.rate if record.kind in ("zip", "file") else None,
            chunk=8192 if self.site.tomcat_chunks else None,
            expire=lambda: self.sessions.end(caller.session) if caller else None,
        )
        try:
            return await send(request, answer, record, shape)
        finally:
            if caller is not None:
                self.sessions.touch(caller.session)

    def _worn_out(self, request: web.BaseRequest) -> bool:
        """Whether this connection has had all the requests that Tomcat serves on one (§7)."""
        limit, transport = self.site.keepalive_requests, request.transport
        if limit is None or transport is None:
            return False
        served = self._served[transport] = self._served.get(transport, 0) + 1
        return served >= limit

    def _instead(self, effects: tuple[Effect, ...]) -> Answer | None:
        """The answer of a fault that keeps the request from XNAT altogether."""
        if self.site.maintenance is not None:
            return proxy_page(self.site.maintenance)
        for effect in effects:
            match effect:
                case Status():
                    after = [] if effect.retry_after is None else [("Retry-After", str(effect.retry_after))]
                    return proxy_page(effect.code, after, as_html=effect.html)
                case LoginPage():
                    return login_page()
                case EmptyBody():
                    return empty()
        return None

    async def _admitted(
        self,
        request: web.BaseRequest,
        target: Target,
        body: bytes,
        caller: Caller,
        effects: tuple[Effect, ...],
    ) -> Answer:
        form = dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True)) if body else {}
        token = target.query.get("XNAT_CSRF", form.get("XNAT_CSRF", ""))
        answer = self.gate.admit(caller, request.method, target.path, request.headers, token)
        if answer is not None:
            return answer
        try:
            return await self._route(request, target, form, caller, effects)
        except Refuse as refusal:
            return refusal.answer
        except BrokenQuery:
            return empty()

    async def _route(
        self,
        request: web.BaseRequest,
        target: Target,
        form: Mapping[str, str],
        caller: Caller,
        effects: tuple[Effect, ...],
    ) -> Answer:
        route, query = target.route, target.query
        entrance = portal.ROUTES.get(route.name)
        if entrance is not None:
            return entrance(portal.Visit(self, caller, request.method, target, form))
        if request.method not in ("GET", "HEAD"):
            return restlet_page(405)
        user = self.gate.require_user(caller)
        if self.site.on_disk:
            return await asyncio.to_thread(self._archive, route, query, request.headers, user, effects)
        return self._archive(route, query, request.headers, user, effects)

    # --- the archive -------------------------------------------------------------------------------------

    def _archive(
        self,
        route: Route,
        query: Mapping[str, str],
        headers: Mapping[str, str],
        user: str,
        effects: tuple[Effect, ...],
    ) -> Answer:
        """The answer of an archive route; what it streams is read later. May raise ``Refuse``."""
        with self.site.lock:
            if route.name in _TABLES:
                return self._rendered(self._table(route, query, user), query, headers, effects)
            if route.name == "item":
                return self._item(route, query, user, headers)
            reach = self._reach(route, query, user)
            match route.name:
                case "resources":
                    return self._rendered(resource_table(reach.found), query, headers, effects)
                case "catalog":
                    if not reach.found:
                        return restlet_page(404)
                    return chunked(catalog_xml(reach.found[0].resource), "text/xml")
                case "file":
                    return self._file(reach, route, query, headers, effects)
            listed = entries(reach, query, route.file)
            if query.get("format") in ZIP_FORMATS:
                return archive(self.site, reach, listed, query, headers, effects)
            return self._rendered(file_table(listed, query, self.site.context), query, headers, effects)

    def _file(
        self,
        reach: Reach,
        route: Route,
        query: Mapping[str, str],
        headers: Mapping[str, str],
        effects: tuple[Effect, ...],
    ) -> Answer:
        readable(reach)
        if query.get("format") not in ZIP_FORMATS:
            return single(self.site, reach, route.file, query, headers, effects)
        found = lookup(reach, route.file)
        return archive(self.site, reach, [found[0]] if found else [], query, headers, effects)

    def _table(self, route: Route, query: Mapping[str, str], user: str) -> Table:
        lists = Lists(self.site, user)
        match route.name:
            case "projects":
                return lists.projects(query)
            case "subjects":
                return lists.subjects(route, query)
            case "experiments":
                if self.site.break_query:
                    raise BrokenQuery("knob")
                return lists.experiments(route, query)
            case "scans":
                return lists.scans(route, query)
            case "reconstructions":
                return lists.reconstructions(route, query)
        return lists.assessors(route, query)

    def _rendered(
        self, table: Table, query: Mapping[str, str], headers: Mapping[str, str], effects: tuple[Effect, ...]
    ) -> Answer:
        refusal = refuse_range(headers)
        if refusal is not None:
            return refusal
        for effect in of_type(effects, ShortList):
            table.rows = table.rows[: max(0, len(table.rows) - effect.missing)]
        if "format" not in query and "text/html" in headers.get("Accept", ""):
            query = {**query, "format": "html"}
        return render(table, query, self._order if self.site.shuffle else None)

    def _reach(self, route: Route, query: Mapping[str, str], user: str) -> Reach:
        finder = Finder(self.site, user)
        reach = finder.reach(route, everything=query.get("all") == "true", files=route.name in ("files", "file"))
        return finder.narrow(reach, route) if route.resources is not None else reach

    def _item(self, route: Route, query: Mapping[str, str], user: str, headers: Mapping[str, str]) -> Answer:
        thing = self._thing(route, user)
        wanted = query.get("format", "")
        if wanted == "json":
            text = json.dumps(item_json(thing), ensure_ascii=False, separators=(",", ":"))
            return chunked(text, "application/json")
        if wanted == "html" or (not wanted and "text/html" in headers.get("Accept", "")):
            return chunked("<html><body>XNAT</body></html>", "text/html")
        return chunked(item_xml(thing), "text/xml")

    def _thing(self, route: Route, user: str) -> Thing:
        finder = Finder(self.site, user)
        if route.experiment is None:
            if route.subject is not None:
                return finder.subject(route)
            return finder.project(route.project or "")
        experiment = finder.experiment(route)
        if experiment is None:
            raise refuse(404)
        if not isinstance(experiment, Experiment):
            return experiment
        if route.scans is not None:
            scans = match_scans(experiment.scans, route.scans)
            if not scans:
                raise refuse(404)
            return scans[0]
        if route.assessor is not None:
            for assessor in experiment.assessors:
                if route.assessor in (assessor.id, assessor.label):
                    return assessor
            raise refuse(404)
        return experiment

    # --- standing headers --------------------------------------------------------------------------------

    def _standing(self, answer: Answer, caller: Caller | None, method: str, path: str) -> Headers:
        """What every answer carries (§8, ground rules)."""
        headers = [("Date", formatdate(usegmt=True))]
        if answer.by_proxy:
            return [("Server", "nginx"), *headers]
        headers += _STANDING
        if path.startswith(("/data", "/REST")):
            headers += [("Server", "Noelios-Restlet-Engine/1.1.10"), ("Accept-Ranges", "bytes")]
            if method in ("GET", "HEAD"):
                headers.append(_VARY)
        if caller is None:
            return headers
        if not caller.bare:
            now, idle = int(self.site.clock.now() * 1000), int(self.site.timeout_s * 1000)
            headers.append(("Set-Cookie", f'SESSION_EXPIRATION_TIME="{now},{idle}"; Version=1; Path=/'))
        if caller.fresh:
            secure = "; Secure" if self.site.site_url_https else ""
            path = self.site.context or "/"
            value = f"JSESSIONID={caller.session.id}; Path={path}{secure}; HttpOnly"
            headers.append(("Set-Cookie", value))
        return headers
