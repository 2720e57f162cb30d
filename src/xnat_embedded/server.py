"""The server itself: an event loop in a thread of its own, real sockets on loopback, and what tests may ask of it.

``with Server(site) as server:`` starts it and leaves nothing behind: no thread, no socket, no task. ``stop`` and
``start`` restart it on the same port, which loses every session and nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from types import TracebackType

from aiohttp import web

from .accounts import Accounts
from .faults import Faults
from .log import Counts, Exchange, Log
from .service import Service
from .sessions import Sessions
from .site import Site

_SETTLE_TURNS = 4
_SHUTDOWN_S = 1.0  # Of patience with what is left after every connection was cut.


class Server:
    """Serves a site on ``host`` until stopped. Port 0: the system picks one, which is then kept."""

    def __init__(self, site: Site, port: int = 0, *, host: str = "127.0.0.1") -> None:
        self.site = site
        self.host = host
        self.port = port
        self.faults = Faults()
        #: Mistakes of this server itself, which clients saw as a broken connection. Empty unless it has a bug.
        self.failures: list[Exception] = []
        self._log = Log()
        self._accounts = Accounts(site)
        self._sessions = Sessions(site)
        self._past = (0, 0, 0)
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None

    # --- running -----------------------------------------------------------------------------------------

    def start(self) -> Server:
        """Listen and serve. Returns when connections are accepted."""
        if self._thread is not None:
            raise RuntimeError("the server runs already")
        listener = self._listen()
        self.port = listener.getsockname()[1]
        ready = threading.Event()
        failure: list[BaseException] = []

        def run() -> None:
            try:
                asyncio.run(self._serve(listener, ready))
            except BaseException as error:  # noqa: BLE001 - handed to whoever waits for the start
                failure.append(error)
            finally:
                listener.close()
                ready.set()

        self._thread = threading.Thread(target=run, name="embedded-xnat", daemon=True)
        self._thread.start()
        ready.wait()
        if failure:
            self._thread.join()
            self._thread = None
            raise failure[0]
        # A request ends a moment after its client has the answer, and that moment counts for its session.
        self.site.clock.before_advance.append(self._settle)
        return self

    def stop(self) -> None:
        """Stop: connections are closed, requests in hand are dropped, sessions are gone."""
        thread, loop, stopping = self._thread, self._loop, self._stopping
        if thread is None:
            return
        if loop is not None and stopping is not None:
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(stopping.set)
        thread.join()
        self.site.clock.before_advance.remove(self._settle)
        self._thread = self._loop = self._stopping = None
        old = self._sessions
        self._past = (
            self._past[0] + old.opened.total(),
            self._past[1] + old.closed,
            self._past[2] + old.anonymous,
        )
        self._sessions = Sessions(self.site)

    def __enter__(self) -> Server:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _listen(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((self.host, self.port))
            listener.listen(128)
            listener.setblocking(False)
        except OSError:
            listener.close()
            raise
        return listener

    async def _serve(self, listener: socket.socket, ready: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        service = Service(self.site, self._accounts, self._sessions, self.faults, self._log)
        service.failures = self.failures
        web_server = web.Server(
            service.handle,
            handler_cancellation=True,
            access_log=None,
            keepalive_timeout=self.site.keepalive_s,
            lingering_time=0,
            auto_decompress=False,
        )
        endpoint = await self._loop.create_server(web_server, sock=listener)
        ready.set()
        try:
            await self._stopping.wait()
        finally:
            # No more is accepted, and what was just accepted becomes a connection; a listener that is closed before
            # would leave it open for ever, with nobody to close it.
            self._loop.remove_reader(listener)
            for _ in range(_SETTLE_TURNS):
                await asyncio.sleep(0)
                for connection in web_server.connections:
                    if connection.transport is not None:
                        connection.transport.abort()
            endpoint.close()
            await service.drop()
            await web_server.shutdown(_SHUTDOWN_S)
            await endpoint.wait_closed()

    # --- where, and what was seen ------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """The base URL, with the site's context path."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}{self.site.context}"

    @property
    def log(self) -> list[Exchange]:
        """What was asked and answered, in the order in which requests began."""
        self._settle()
        return self._log.snapshot()

    def clear_log(self) -> None:
        """Forget the exchanges that have ended; session counts stay."""
        self._settle()
        self._log.clear()

    @property
    def counts(self) -> Counts:
        """Totals."""
        self._settle()
        opened, closed, anonymous = self._past
        return self._log.counts(
            opened=opened + self._sessions.opened.total(),
            closed=closed + self._sessions.closed,
            anonymous=anonymous + self._sessions.anonymous,
            refused=self._accounts.refused,
        )

    @property
    def sessions(self) -> dict[str, list[str]]:
        """Ids of the live authenticated sessions, by user."""
        self._settle()
        return self._sessions.by_user()

    def kill_sessions(self, user: str | None = None) -> int:
        """End all authenticated sessions, or those of one user, as an expiry would. Returns how many."""
        return self._sessions.end_all(user)

    def open_session(self, user: str) -> str:
        """A session as a browser's login would open it; its id can be pasted."""
        return self._sessions.log_in(None, user).id

    def _settle(self) -> None:
        """Let the event loop finish what it has sent already, so that a client's last answer is in the log."""
        loop = self._loop
        if loop is None or threading.current_thread() is self._thread:
            return
        for _ in range(_SETTLE_TURNS):
            turn = threading.Event()
            try:
                loop.call_soon_threadsafe(turn.set)
            except RuntimeError:
                return
            turn.wait(1)
