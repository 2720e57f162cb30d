"""The only module that speaks HTTP: one session, one cookie jar, one login at a time, idle time-outs only.

A request goes out with the live session id. An answer that shows that the server did not know the session (401, a
redirect, a web page, or a new anonymous session id beside a 200) is not believed: ``/data/auth`` is asked, the login
renewed once for all workers if it ended and can be, and the request repeated. No redirect is ever followed.
"""

from __future__ import annotations

import base64
import email.utils
import ssl
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

import aiohttp
import anyio
from yarl import URL

from xnat_sync import __version__
from xnat_sync.core import listing, retry, urls
from xnat_sync.core.errors import (
    BadListing,
    LoginRefused,
    Refused,
    RunError,
    ServerUnavailable,
    SessionEnded,
    Transient,
    Vanished,
)
from xnat_sync.core.model import Login, LoginKind

from .cookies import GuardedJar, lifetime, offered_session

USER_AGENT = f"xnat-sync/{__version__}"
READ_BUFFER = 1 << 20
_RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class NetOptions:
    """How to reach the server. Times in seconds; ``ca_bundle`` is a file; ``proxy`` a URL."""

    idle_timeout: float = 180.0
    connect_timeout: float = 30.0
    ca_bundle: str | None = None
    insecure: bool = False
    proxy: str | None = None
    listing_limit: int = 1 << 30


@dataclass(slots=True)
class Counts:
    """What was asked of the server."""

    requests: int = 0
    sessions_opened: int = 0


class Answer:
    """A successful answer whose body is still to be read."""

    def __init__(self, response: aiohttp.ClientResponse, what: str) -> None:
        self._response = response
        self._what = what
        self.status = response.status
        self.last_modified = response.headers.get("Last-Modified", "")
        self.content_range = response.headers.get("Content-Range", "")
        self.content_length = response.content_length

    async def read(self) -> bytes:
        """The next piece of the body, all that has arrived by now; ``b""`` at its end.

        Raises ``Transient`` if the connection breaks or is silent for too long.
        """
        with _translated(self._what):
            return await self._response.content.readany()


class Client:
    """The connection to one server, for one run and all its workers."""

    def __init__(self, base: str, login: Login, options: NetOptions | None = None) -> None:
        """``base`` is the site's URL, context path included. Use as an async context manager."""
        self._options = options or NetOptions()
        self._base = base.rstrip("/")
        self._origin = URL(self._base)
        self._login = login
        self._jar = GuardedJar()
        self._session_id = ""
        self._generation = 0
        self._renewing = anyio.Lock()
        self._http: aiohttp.ClientSession | None = None
        self._resume_at = 0.0
        self._last_heard = time.monotonic()
        self.user = ""
        self.idle_limit: float | None = None
        self.counts = Counts()

    async def __aenter__(self) -> Client:
        options = self._options
        verify: ssl.SSLContext | bool = True
        if options.insecure:
            verify = False
        elif options.ca_bundle:
            try:
                verify = ssl.create_default_context(cafile=options.ca_bundle)
            except (OSError, ssl.SSLError) as error:
                raise ServerUnavailable(f"the CA bundle {options.ca_bundle} cannot be read: {error}") from error
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=verify, keepalive_timeout=15),
            cookie_jar=self._jar,
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=options.connect_timeout, sock_read=options.idle_timeout
            ),
            headers={"User-Agent": USER_AGENT, "Accept": "*/*", "Accept-Encoding": "identity"},
            read_bufsize=READ_BUFFER,
            auto_decompress=False,
            requote_redirect_url=False,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the server session if this run opened it, then the connections. Bounded to five seconds."""
        assert self._http is not None  # noqa: S101
        try:
            if self._session_id and self._login.renewable:
                with anyio.move_on_after(5, shield=True):
                    await self.log_out()
        finally:
            with anyio.CancelScope(shield=True):
                await self._http.close()

    # -- logging in ---------------------------------------------------------------------------------------------

    @property
    def session_id(self) -> str:
        """The live session id; a secret."""
        return self._session_id

    async def log_in(self) -> str:
        """Log in and return the proved user name.

        Raises ``LoginRefused``, ``SessionEnded`` for a session that is not one any more, or ``Transient``.
        """
        if self._login.renewable:
            await self._open_session()
        else:
            self._adopt(self._login.secret.reveal())
        user = await self.whoami()
        if user is None:
            raise self._not_logged_in()
        self.user = user
        return user

    async def whoami(self) -> str | None:
        """The user that the server takes the live session for, by ``/data/auth``; None if for nobody or guest."""
        async with self._exchange("GET", urls.AUTH, {}) as response:
            self._raise_if_transient(response, "asking who is logged in")
            if response.status != 200:
                return None
            with _translated("asking who is logged in"):
                body = await response.content.read(4096)
            return listing.logged_in_user(body)

    def resume(self) -> None:
        """Take up the session of a login that has one, unproved: enough to close it."""
        self._adopt(self._login.secret.reveal())

    def leave_open(self) -> None:
        """Let the session live on after this client: it is kept for later."""
        self._session_id = ""

    async def log_out(self) -> bool:
        """End the live session on the server; False if that could not be done. Never raises for the network."""
        try:
            async with self._exchange("DELETE", urls.JSESSION, {}) as response:
                return response.status == 200
        except Transient:
            return False
        finally:
            self._session_id = ""
            self._jar.forget()

    def _adopt(self, session_id: str) -> None:
        self._session_id = session_id
        self._jar.adopt(session_id, self._origin)

    def _not_logged_in(self) -> RunError:
        match self._login.kind:
            case LoginKind.PASTED:
                return SessionEnded(
                    "the pasted session id is not logged in (mistyped, expired, or logged out in the browser): open "
                    f"{self._base}{urls.JSESSION} in a browser that is logged in, and pass the new id with --jsession"
                )
            case LoginKind.KEPT:
                return SessionEnded(f"the kept session for {self._base} has ended: run 'xnat-sync login' again")
            case _:
                return LoginRefused(f"{self._base} accepted the login of {self._login.user!r} but logged nobody in")

    async def _open_session(self) -> None:
        self._jar.forget()
        pair = f"{self._login.user}:{self._login.secret.reveal()}".encode()
        headers = {"Authorization": "Basic " + base64.b64encode(pair).decode("ascii")}
        async with self._exchange("POST", urls.JSESSION, headers) as response:
            self._raise_if_transient(response, "logging in")
            if response.status == 401:
                raise LoginRefused(
                    f"{self._base} refused the login of {self._login.user!r} (wrong or expired secret, locked account, "
                    "or too many open sessions); it is not tried again, so that no account is locked"
                )
            with _translated("logging in"):
                body = (await response.content.read(4096)).decode("latin-1").strip()
            if response.status != 200 or len(body) != 32 or not body.isalnum():
                raise LoginRefused(
                    f"{self._base}{urls.JSESSION} answered {response.status} without a session id: is this the URL of "
                    "an XNAT, and does it take passwords? At a federated site paste a session id with --jsession"
                )
        self.counts.sessions_opened += 1
        self._adopt(body)

    async def _renew(self, generation: int) -> bool:
        """Make sure of a live login after a doubtful answer. True if the session is another one than at sending."""
        async with self._renewing:
            if generation != self._generation:
                return True
            if await self.whoami() is not None:
                return False
            if not self._login.renewable:
                raise self._not_logged_in()
            await self._open_session()
            user = await self.whoami()
            if user is None or user != self.user:
                raise LoginRefused(f"{self._base} renewed the session, but for another user than {self.user!r}")
            self._generation += 1
            return True

    # -- asking -------------------------------------------------------------------------------------------------

    def hold_back(self, seconds: float) -> None:
        """Let no worker send anything for so long: the server asked for it."""
        self._resume_at = max(self._resume_at, time.monotonic() + seconds)

    def silent_for(self) -> float:
        """Seconds since the server was last asked anything, for the heartbeat."""
        return time.monotonic() - self._last_heard

    async def fetch(self, path: str, what: str) -> bytes:
        """The whole body of a listing or record. ``what`` names it in errors.

        Raises ``Transient``, ``Vanished`` (404), ``Refused``, ``BadListing``, and ``RunError`` if the login is lost.
        """
        async with self.get(path, what) as answer:
            pieces = []
            size = 0
            while piece := await answer.read():
                size += len(piece)
                if size > self._options.listing_limit:
                    raise BadListing(f"{what}: the answer is endless (over {size} bytes)")
                pieces.append(piece)
            return b"".join(pieces)

    @asynccontextmanager
    async def get(
        self,
        path: str,
        what: str,
        headers: dict[str, str] | None = None,
        accept: frozenset[int] = frozenset({200}),
    ) -> AsyncIterator[Answer]:
        """Ask for ``path``; yields an answer whose status is in ``accept`` and which a logged-in session got."""
        wait = self._resume_at - time.monotonic()
        if wait > 0:
            await anyio.sleep(wait)
        for last in (False, True):
            generation = self._generation
            async with self._exchange("GET", path, headers or {}) as response:
                doubt = self._doubt(response)
                if doubt is None or (last and doubt == "session"):
                    self._raise_for_status(response, what, accept)
                    yield Answer(response, what)
                    return
                if last:
                    raise self._final_doubt(response, doubt, what)
            await self._renew(generation)

    def _doubt(self, response: aiohttp.ClientResponse) -> str | None:
        """Why an answer may not be one to a logged-in session; None if there is no doubt."""
        if response.status == 401 or 300 <= response.status < 400:
            return "status"
        if response.status == 200 and listing.is_html(response.content_type, b""):
            return "page"
        offered = offered_session(response.headers.getall("Set-Cookie", []))
        return "session" if offered is not None and offered != self._session_id else None

    @staticmethod
    def _final_doubt(response: aiohttp.ClientResponse, doubt: str, what: str) -> Exception:
        if doubt == "page":
            return Transient(f"{what}: the server answered with a web page", status=None)
        return Refused(f"{what}: the server answered {response.status} although the session is logged in")

    def _raise_if_transient(self, response: aiohttp.ClientResponse, what: str) -> None:
        if response.status in _RETRIED:
            wished = retry.retry_after_seconds(response.headers.get("Retry-After", ""), time.time(), _moment)
            raise Transient(
                f"{what}: the server answered {response.status}", status=response.status, retry_after=wished
            )

    def _raise_for_status(self, response: aiohttp.ClientResponse, what: str, accept: frozenset[int]) -> None:
        if response.status in accept:
            return
        self._raise_if_transient(response, what)
        if response.status == 404:
            raise Vanished(f"{what}: the server does not have it, or hides it from this user (404)")
        raise Refused(f"{what}: the server answered {response.status}")

    @asynccontextmanager
    async def _exchange(self, method: str, path: str, headers: dict[str, str]) -> AsyncIterator[aiohttp.ClientResponse]:
        assert self._http is not None  # noqa: S101
        self.counts.requests += 1
        self._last_heard = time.monotonic()
        url = URL(self._base + path, encoded=True)
        with _translated(f"{self._origin.host}"):
            response = await self._http.request(
                method, url, headers=headers, allow_redirects=False, proxy=self._options.proxy
            )
        try:
            limit = lifetime(response.headers.getall("Set-Cookie", []))
            self.idle_limit = limit if limit is not None else self.idle_limit
            yield response
            if response.content.at_eof():
                response.release()
        finally:
            # An answer not read to its end cannot be followed by another on the same connection.
            response.close()
            self._last_heard = time.monotonic()


def _moment(text: str) -> float | None:
    try:
        return email.utils.parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):
        return None


@contextmanager
def _translated(what: str) -> Iterator[None]:
    """Turn the HTTP library's errors into ours, once."""
    try:
        yield
    except (aiohttp.ClientConnectorCertificateError, aiohttp.ClientSSLError) as error:
        raise ServerUnavailable(
            f"{what}: no secure connection ({error}): if the site's certificate is its own, name it with --ca-bundle"
        ) from error
    except aiohttp.ServerTimeoutError as error:
        raise Transient(f"{what}: the server was silent for too long") from error
    except aiohttp.ClientConnectorError as error:
        raise Transient(f"{what}: cannot connect ({error.strerror or error})") from error
    except (aiohttp.ClientPayloadError, aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
        raise Transient(f"{what}: the connection broke") from error
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise Transient(f"{what}: {error or type(error).__name__}") from error
