"""The studio's server: WebSockets behind access control, and one session per browser tab."""

from __future__ import annotations

import asyncio
import secrets
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from imhead.checkpoint import Model
from imhead.errors import InputError
from imhead.io.memory import return_large_blocks
from imhead.studio.session.tab_session import TabSession
from imhead.studio.web.access import Access, log, tab_of
from imhead.studio.web.one_line import OneLine, kind_of
from imhead.studio.web.page import StudioPage
from imhead.studio.web.wire import Outbox
from imhead.template.surface import template_of

_LARGEST_MESSAGE = 4 << 20  # of a page; an upload comes in smaller pieces
_MOST_PORTS = 100  # that are tried
_FULL = '{"kind": "full"}'
_RELOAD_S = 1.0  # a reloaded page may connect before the server notices that its old connection ended


@dataclass(frozen=True)
class StudioConfig:
    """Settings of the server."""

    host: str = "127.0.0.1"
    """Address to bind to; the default is reachable from this machine only."""
    port: int = 8080
    """First port to try."""
    keep_s: float = 900.0
    """Seconds for which a closed tab's session is kept, so that a reload finds it; less when the studio is full."""
    most_sessions: int = 64
    """Largest number of sessions kept at once; the sessions of closed tabs give way to new tabs."""


@dataclass
class _OpenPage:
    """A connected page."""

    name: str
    """Name of its connection."""
    key: str
    """Key of its session."""
    page: StudioPage | None = None
    """None until the session's thread has made it."""


class StudioServer:
    """A running studio.

    Args:
        model: the model of all heads; it needs a template.
        config: where and how to serve.

    Raises:
        InputError: the address cannot be bound.
    """

    def __init__(self, model: Model, config: StudioConfig = StudioConfig()) -> None:
        self.model, self.config = model, config
        self.token = secrets.token_urlsafe(24)
        self._access = Access(self.token, config.host)
        self._sessions: dict[str, TabSession] = {}
        self._pages: dict[str, _OpenPage] = {}
        self._closed_at: dict[str, float] = {}
        self._lock = threading.Lock()
        self._fit_lock = threading.Lock()
        self._loop = asyncio.new_event_loop()
        self._stopped = asyncio.Event()
        ready: Future[tuple[Server, int]] = Future()
        self._thread = threading.Thread(target=self._run, args=(ready,), name="imhead-studio-server", daemon=True)
        self._thread.start()
        self._server, self._port = ready.result()

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._port

    @property
    def address(self) -> str:
        """The address to open in a browser, with the token."""
        host = self.config.host
        shown = "127.0.0.1" if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host
        return f"http://{shown}:{self.port}/?token={self.token}"

    def sessions(self) -> dict[str, TabSession]:
        """The kept sessions by key."""
        with self._lock:
            return dict(self._sessions)

    def stop(self) -> None:
        """Stop every session and the server."""
        with self._lock:
            sessions = list(self._sessions.values())
            self._sessions = {}
        for session in sessions:
            session.close()
        for session in sessions:
            session.join()
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join()

    def wait(self) -> None:
        """Serve until interrupted."""
        while self._thread.is_alive():
            self._thread.join(1.0)  # a wait without end could not be interrupted on every system

    def _run(self, ready: Future[tuple[Server, int]]) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve(ready))
        except Exception as error:
            if ready.done():
                raise
            ready.set_exception(error)
        finally:
            self._loop.close()

    async def _serve(self, ready: Future[tuple[Server, int]]) -> None:
        host, first, refusal = self.config.host, self.config.port, "no port is left"
        for port in range(first, min(first + _MOST_PORTS, 65536)):
            try:
                server = await serve(
                    self._connected, host, port, compression=None, max_size=_LARGEST_MESSAGE, logger=OneLine(log),
                    process_request=lambda connection, request: self._access.check(
                        request, connection.local_address[1]
                    ),
                )  # fmt: skip
            except OSError as error:
                refusal = error.strerror or str(error)
                continue
            ready.set_result((server, next(iter(server.sockets)).getsockname()[1]))
            await self._stopped.wait()
            server.close()
            await server.wait_closed()
            return
        raise InputError(
            f"the studio cannot listen at {host}, port {first} ({refusal}); choose another --host or --port"
        )

    async def _connected(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        name, outbox = tab_of(connection.request), Outbox(self._loop)
        deadline = time.monotonic() + _RELOAD_S
        while self._in_use_by_another(name) and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        opened = self._opened(name, outbox)
        sending = asyncio.create_task(_send_all(outbox, connection))
        try:
            if opened is None:
                outbox.put(_FULL)
                await connection.wait_closed()
                return
            async for message in connection:
                _receive(opened, message)
        except ConnectionClosed:
            pass
        finally:
            sending.cancel()
            if opened is not None:
                self._disconnected(opened)

    def _opened(self, name: str, outbox: Outbox) -> _OpenPage | None:
        """Join a new page with its session; None if there is no room for one."""
        with self._lock:
            self._drop_expired()
            stale, key = self._pages.pop(name, None), name.partition(".")[0]
            if stale is not None:
                # the same page reconnects: its old connection broke unnoticed
                key = stale.key
                self._leave(stale)
            elif any(page.key == key for page in self._pages.values()):
                # a duplicated tab has the name of the original: it gets a session of its own
                key = name
            if key not in self._sessions and not self._make_room():
                return None
            if key not in self._sessions:
                self._sessions[key] = TabSession(self.model, self._fit_lock)
            session = self._sessions[key]
            opened = self._pages[name] = _OpenPage(name, key)
            self._closed_at.pop(key, None)

        def make_page() -> StudioPage:
            opened.page = page = StudioPage(outbox, session)
            page.greet()  # only now can it answer
            return page

        session.attach(make_page)
        return opened

    def _in_use_by_another(self, name: str) -> bool:
        with self._lock:
            key = name.partition(".")[0]
            return name not in self._pages and any(page.key == key for page in self._pages.values())

    def _disconnected(self, opened: _OpenPage) -> None:
        with self._lock:
            if self._pages.get(opened.name) is opened:  # else the page has come back already
                del self._pages[opened.name]
                self._leave(opened)
            self._drop_expired()

    def _leave(self, opened: _OpenPage) -> None:
        if opened.page is not None:
            opened.page.close()
        if opened.key in self._sessions:  # not while the server stops
            self._sessions[opened.key].detach()
            self._closed_at[opened.key] = time.monotonic()

    def _drop_expired(self) -> None:
        for key, since in list(self._closed_at.items()):
            if time.monotonic() - since >= self.config.keep_s:
                self._drop(key)

    def _make_room(self) -> bool:
        """Drop sessions of closed tabs, the first closed first, until one more has room; returns whether it has."""
        for key in list(self._closed_at):
            if len(self._sessions) < self.config.most_sessions:
                break
            self._drop(key)
        return len(self._sessions) < self.config.most_sessions

    def _drop(self, key: str) -> None:
        self._sessions.pop(key).close()
        del self._closed_at[key]


def _receive(opened: _OpenPage, message: str | bytes) -> None:
    """Give a message to the page; one that cannot be used is logged in one line, without what was sent."""
    if opened.page is None:
        return
    try:
        opened.page.receive(message)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        log.error("a message from a page could not be used: %s", kind_of(error))


async def _send_all(outbox: Outbox, connection: ServerConnection) -> None:
    try:
        while True:
            await connection.send(await outbox.take())
    except ConnectionClosed:
        pass


def start(model: Model, config: StudioConfig = StudioConfig()) -> StudioServer:
    """Start a studio.

    Raises:
        InputError: a setting is invalid, or the model has no template.
    """
    if not 0 <= config.port <= 65535:
        raise InputError(f"port {config.port} is outside 0 to 65535; choose another --port")
    template_of(model)  # the view shows it; fail early
    return_large_blocks()
    return StudioServer(model, config)
