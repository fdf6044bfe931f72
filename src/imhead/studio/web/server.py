"""The studio's server: viser behind access control, and one session per browser tab."""

from __future__ import annotations

import asyncio
import secrets
import threading
import time
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO

import viser

from imhead.checkpoint import Model
from imhead.errors import InputError
from imhead.studio.session.memory import return_large_blocks
from imhead.studio.session.tab_session import TabSession
from imhead.studio.session.uploads import MAX_UPLOAD_BYTES, too_large
from imhead.studio.web.access import TAB, Access, guarded, log
from imhead.studio.web.one_line import log_in_one_line, silence_viser
from imhead.studio.web.page import StudioPage, notify_error
from imhead.studio.web.stage import light_scene
from imhead.studio.web.transfer import close_ways_out, limit_uploads
from imhead.template.surface import template_of

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

    client_id: int
    """viser's number of its connection."""
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
        self._sessions: dict[str, TabSession] = {}
        self._pages: dict[str, _OpenPage] = {}
        self._closed_at: dict[str, float] = {}
        self._lock = threading.Lock()
        self._fit_lock = threading.Lock()
        # viser would print an address without the token
        with guarded(Access(self.token, config.host, self._region_at)), redirect_stdout(StringIO()):
            self._server = viser.ViserServer(config.host, config.port, label="imhead studio", verbose=False)
        self._server.gui.configure_theme(
            show_logo=False, show_share_button=False, brand_color=(24, 110, 160), control_width="medium"
        )
        self._server.gui.main_panel.dock_right()
        self._server.gui.main_panel.set_width(324)
        close_ways_out(self._server)
        log_in_one_line(self._server._event_loop, log)
        light_scene(self._server)
        self._server.on_client_connect(self._connected)
        self._server.on_client_disconnect(self._disconnected)

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._server.get_port()

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
        with redirect_stdout(StringIO()):
            self._server.stop()

    def wait(self) -> None:
        """Serve until interrupted."""
        self._server.sleep_forever()

    async def _connected(self, client: viser.ClientHandle) -> None:
        limit_uploads(client, MAX_UPLOAD_BYTES, lambda name, size: notify_error(client, str(too_large(name, size))))
        name = TAB.get()
        deadline = time.monotonic() + _RELOAD_S
        while self._in_use_by_another(name) and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
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
                client.add_notification("The studio is full", "Close another tab of the studio, then reload this one.")
                return
            if key not in self._sessions:
                self._sessions[key] = TabSession(self.model, self._fit_lock)
            session = self._sessions[key]
            opened = self._pages[name] = _OpenPage(client.client_id, key)
            self._closed_at.pop(key, None)

        def make_page() -> StudioPage:
            opened.page = StudioPage(client, session)
            return opened.page

        session.attach(make_page)

    def _in_use_by_another(self, name: str) -> bool:
        with self._lock:
            key = name.partition(".")[0]
            return name not in self._pages and any(page.key == key for page in self._pages.values())

    async def _disconnected(self, client: viser.ClientHandle) -> None:
        with self._lock:
            for name, opened in list(self._pages.items()):
                if opened.client_id == client.client_id:
                    del self._pages[name]
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

    def _region_at(self, name: str, x: float, y: float) -> str | None:
        with self._lock:
            opened = self._pages.get(name)
        return None if opened is None or opened.page is None else opened.page.hover(x, y)


def start(model: Model, config: StudioConfig = StudioConfig()) -> StudioServer:
    """Start a studio.

    Raises:
        InputError: a setting is invalid, or the model has no template.
    """
    if not 0 <= config.port <= 65535:
        raise InputError(f"port {config.port} is outside 0 to 65535; choose another --port")
    template_of(model)  # the view shows it; fail early
    return_large_blocks()
    silence_viser()
    return StudioServer(model, config)
