"""The only module that speaks HTTP: one session, one cookie jar, idle time-outs only.

A request goes out with the live session id. An answer that shows that the server did not know the session (401, a
redirect, a web page, or a new anonymous session id beside a 200) is not believed: ``login`` makes sure that somebody is
logged in, and the request is repeated. No redirect is ever followed.
"""

from __future__ import annotations

import email.utils
import os
import ssl
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

import aiohttp
import anyio
from yarl import URL

from xnat_sync import __version__
from xnat_sync.core import listing, retry, token, urls
from xnat_sync.core.errors import (
    BadListing,
    Refused,
    ServerUnavailable,
    Transient,
    UsageError,
    Vanished,
)
from xnat_sync.core.model import Cookie, Login
from xnat_sync.core.token import Token

from .cookies import GuardedJar, lifetime, offered_session
from .login import LoginKeeper, Reply

USER_AGENT = f"xnat-sync/{__version__}"
READ_BUFFER = 1 << 20
# A step in a worker thread costs about as much as hashing 64 KiB: fewer and larger pieces are cheaper.
PIECE = 1 << 19
GATHER = 0.02  # seconds: what comes slowly is not held back, lest a killed run lose it
# All of a login's answer, and enough of a web page to know it by.
_SHORT = 8192
# How often a request is repeated, each time with a fresh login, before it is given up as never logged in.
_ROUNDS = 3
_RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class NetOptions:
    """How to reach the server. Times in seconds; ``ca_bundle`` is a file or folder; ``proxy`` a URL."""

    idle_timeout: float = 180.0
    connect_timeout: float = 30.0
    ca_bundle: str | None = None
    insecure: bool = False
    proxy: str | None = None
    listing_limit: int = 1 << 28


@dataclass(frozen=True, slots=True)
class Counts:
    """What was asked of the server so far."""

    requests: int
    sessions_opened: int


class Answer:
    """A successful answer whose body is still to be read."""

    def __init__(self, response: aiohttp.ClientResponse, what: str, patience: float) -> None:
        """``patience`` is how long the next byte of the body may take, whatever else comes meanwhile."""
        self._response = response
        self._what = what
        self._patience = patience
        self.status = response.status
        self.last_modified = response.headers.get("Last-Modified", "")
        self.content_range = response.headers.get("Content-Range", "")
        self.content_length = response.content_length
        self._broken: Exception | None = None

    async def read(self) -> bytes:
        """The next piece of the body: ``PIECE`` bytes or more where they come fast, what has come where they do not.

        It is ``b""`` at the end. What had come before the connection broke, or fell silent for too long, is still
        given; the next call raises ``Transient`` for it.
        """
        if self._broken is not None:
            raise self._broken
        pieces: list[bytes] = []
        size = 0
        try:
            # The library hears any byte; one of framing, such as an endless chunk extension, is none of the answer.
            with _translated(self._what), anyio.move_on_after(self._patience) as waiting:
                while piece := await self._response.content.readany():
                    pieces.append(piece)
                    size += len(piece)
                    if size >= PIECE:
                        break
                    if len(pieces) == 1:
                        waiting.deadline = anyio.current_time() + GATHER
            if waiting.cancelled_caught and not pieces:
                raise Transient(f"{self._what}: the server was silent for too long", silent=True)
        except Transient as error:
            if not pieces:
                raise
            self._broken = error
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)


class Client:
    """The connection to one server, for one run and all its workers."""

    def __init__(self, base: str, login: Login, options: NetOptions | None = None) -> None:
        """``base`` is the site's URL, context path included. Use as an async context manager."""
        self._options = options or NetOptions()
        self._base = base.rstrip("/")
        self._origin = URL(self._base)
        self._jar = GuardedJar(self._origin)
        self._keeper = LoginKeeper(self._base, login, self._ask, self._jar)
        self._http: aiohttp.ClientSession | None = None
        self._resume_at = 0.0
        self._last_heard = time.monotonic()
        self.idle_limit: float | None = None
        self._requests = 0

    async def __aenter__(self) -> Client:
        options = self._options
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=_trust(options), keepalive_timeout=15),
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
            if self.session_id and self.login.renewable:
                with anyio.move_on_after(5, shield=True):
                    await self.log_out()
        finally:
            with anyio.CancelScope(shield=True):
                await self._http.close()

    # -- logging in ---------------------------------------------------------------------------------------------

    @property
    def login(self) -> Login:
        """The way in that this client was given."""
        return self._keeper.login

    def renew_with(self, login: Login) -> None:
        """From now on open new sessions with this login, of the same user."""
        self._keeper.login = login

    @property
    def user(self) -> str:
        """The proved user name; ``""`` before the login."""
        return self._keeper.user

    @property
    def session_id(self) -> str:
        """The live session id; a secret."""
        return self._keeper.session_id

    @property
    def cookies(self) -> tuple[Cookie, ...]:
        """The cookies that go with the session: without a load balancer's, another server might get what comes next."""
        return self._jar.others()

    async def log_in(self) -> str:
        """Log in and return the proved user name. May be called again after ``Transient``.

        Raises ``LoginRefused``, ``SessionEnded`` for a session that is not one any more, ``ServerUnavailable`` for a
        site in maintenance or none at all, or ``Transient``.
        """
        return await self._keeper.prove()

    async def whoami(self) -> str | None:
        """The user that the server takes the live session for; None if for nobody or guest. Raises ``Transient``."""
        user = await self._keeper.who()
        return user if isinstance(user, str) else None

    def resume(self) -> None:
        """Take up the session of a login that has one, unproved: enough to close it."""
        self._keeper.adopt()

    def leave_open(self) -> None:
        """Let the session live on after this client: it is kept for later."""
        self._keeper.session_id = ""

    async def log_out(self) -> bool:
        """End the live session on the server; False if that could not be done. Never raises for the network."""
        return await self._keeper.close()

    async def issue_token(self) -> Token:
        """A new alias token for the user who is logged in. Raises ``ItemError`` and ``RunError``."""
        return token.parse(await self.fetch(urls.TOKEN_ISSUE, "the alias token"), time.time())

    async def take_back_token(self, alias: str) -> None:
        """Make an alias token worthless. Raises ``ItemError`` and ``RunError``."""
        await self.fetch(urls.token_invalidate(alias), "taking the alias token back")

    async def _ask(self, method: str, path: str, what: str, headers: Mapping[str, str]) -> Reply:
        async with self._exchange(method, path, headers) as response:
            self._raise_if_transient(response, what)
            body = b""
            # An answer this short comes at once or not at all.
            with _translated(what), anyio.fail_after(self._options.idle_timeout):
                while len(body) < _SHORT and (piece := await response.content.read(_SHORT - len(body))):
                    body += piece
            return Reply(response.status, response.headers.get("Location", ""), response.content_type, body)

    @property
    def counts(self) -> Counts:
        """What was asked of the server so far."""
        return Counts(self._requests, self._keeper.opened)

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
        for tried in range(_ROUNDS):
            generation = self._keeper.generation
            async with self._exchange("GET", path, headers or {}) as response:
                doubt = self._doubt(path, response)
                if doubt is None:
                    self._keeper.served()
                    self._raise_for_status(response, what, accept)
                    yield Answer(response, what, self._options.idle_timeout)
                    return
            if not await self._keeper.renew(generation) and tried:
                raise self._unproved(response.status, doubt, what)
        raise Transient(f"{what}: each new session ended at once")

    def _doubt(self, path: str, response: aiohttp.ClientResponse) -> str | None:
        """Why an answer may not be one to a logged-in session; None if there is no doubt."""
        if response.status == 401 or 300 <= response.status < 400:
            return "status"
        if response.status == 200 and not _names_a_page(path) and listing.is_html(response.content_type, b""):
            return "page"
        offered = offered_session(response.headers.getall("Set-Cookie", []))
        # After the dot stands the node of a cluster, which may change under a living session.
        if offered is not None and offered.partition(".")[0] != self.session_id.partition(".")[0]:
            return "session"
        return None

    @staticmethod
    def _unproved(status: int, doubt: str, what: str) -> Exception:
        match doubt:
            case "page":
                return Transient(f"{what}: the server answered with a web page")
            case "session":
                return Transient(f"{what}: the server answered as if to a guest, although the session is logged in")
        return Refused(f"{what}: the server answered {status} although the session is logged in")

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
    async def _exchange(
        self, method: str, path: str, headers: Mapping[str, str]
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        assert self._http is not None  # noqa: S101
        self._requests += 1
        self._last_heard = time.monotonic()
        url = URL(self._base + path, encoded=True)
        # Interim answers (1xx) are bytes and no answer: without a limit of its own a head may take for ever.
        patience = min(self._options.connect_timeout, self._options.idle_timeout) + self._options.idle_timeout
        with _translated(f"{self._origin.host}"), anyio.fail_after(patience):
            response = await self._http.request(
                method, url, headers=headers, allow_redirects=False, proxy=self._options.proxy
            )
        try:
            if response.status == 407:
                raise ServerUnavailable("the proxy wants a login of its own, or refused the one it was given (407)")
            limit = lifetime(response.headers.getall("Set-Cookie", []))
            self.idle_limit = limit if limit is not None else self.idle_limit
            yield response
            if response.content.at_eof():
                response.release()
        finally:
            # An answer not read to its end cannot be followed by another on the same connection.
            response.close()
            self._last_heard = time.monotonic()


async def ping(url: str, options: NetOptions) -> bool:
    """Ask for a page that only wants to be asked for, without a cookie; False if it does not answer well.

    ``options.ca_bundle`` is trusted besides what the system trusts: the page need not be of the XNAT's own site.
    """
    context = _more_trust(options.ca_bundle)
    timeout = aiohttp.ClientTimeout(total=10)
    async with aiohttp.ClientSession(headers={"User-Agent": USER_AGENT}, timeout=timeout) as http:
        for _ in range(3):
            try:
                async with http.get(URL(url, encoded=True), ssl=context, proxy=options.proxy) as response:
                    if response.status < 400:
                        return True
            except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
                continue
    return False


def _names_a_page(path: str) -> bool:
    """Whether a file is asked for that is a web page itself: what comes is then proved by size and MD5, not by kind."""
    return path.partition("?")[0].lower().endswith((".html", ".htm", ".xhtml"))


def _moment(text: str) -> float | None:
    try:
        return email.utils.parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):
        return None


def _trust(options: NetOptions) -> ssl.SSLContext | bool:
    """Which certificates to trust: the system's unless told otherwise."""
    if options.insecure:
        return False
    bundle = options.ca_bundle
    if not bundle:
        return True
    try:
        if os.path.isdir(bundle):
            return ssl.create_default_context(capath=bundle)
        return ssl.create_default_context(cafile=bundle)
    except (OSError, ssl.SSLError) as error:
        raise UsageError(f"the certificates in {bundle} cannot be read: {error}") from None


def _more_trust(bundle: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if bundle and os.path.isdir(bundle):
        context.load_verify_locations(capath=bundle)
    elif bundle:
        context.load_verify_locations(cafile=bundle)
    return context


@contextmanager
def _translated(what: str) -> Iterator[None]:
    """Turn the HTTP library's errors into ours, once."""
    try:
        yield
    except (aiohttp.ClientConnectorCertificateError, aiohttp.ClientSSLError) as error:
        raise ServerUnavailable(
            f"{what}: no secure connection ({error}): if the site's certificate is its own, name it with --ca-bundle"
        ) from error
    except aiohttp.ClientHttpProxyError as error:  # Its text would show the proxy's address, login included.
        raise ServerUnavailable(f"{what}: the proxy refused the way there ({error.status})") from None
    except aiohttp.ClientProxyConnectionError as error:
        raise Transient(f"{what}: cannot connect to the proxy ({error.strerror or type(error).__name__})") from None
    except aiohttp.InvalidURL:
        raise UsageError(f"{what}: the address of the server or the proxy is none") from None
    except aiohttp.ClientResponseError as error:  # Its text shows what came, which may be long and no text.
        raise Transient(f"{what}: the answer is no valid HTTP") from error
    except TimeoutError as error:
        raise Transient(f"{what}: the server was silent for too long", silent=True) from error
    except aiohttp.ClientConnectorError as error:
        raise Transient(f"{what}: cannot connect ({error.strerror or type(error).__name__})") from error
    except (aiohttp.ClientPayloadError, aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
        raise Transient(f"{what}: the connection broke") from error
    except (aiohttp.ClientError, ValueError) as error:
        raise Transient(f"{what}: {error or type(error).__name__}") from error
