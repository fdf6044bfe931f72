"""The studio's server: viser behind our own door, and a session for each browser tab."""

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
from imhead.studio.web.access import TAB, Access, guarded
from imhead.studio.web.page import StudioPage
from imhead.studio.web.stage import light_scene
from imhead.template.surface import template_of

_RELOAD_S = 1.0  # a reloaded page may come before its old connection is known to have ended


@dataclass(frozen=True)
class StudioConfig:
    """How the studio is served."""

    host: str = "127.0.0.1"
    """Address to bind to. Others than this machine can reach it only where this says so."""
    port: int = 8080
    """First port that is tried."""
    keep_s: float = 900.0
    """A closed tab's work is kept for so long, seconds: a reload brings it back."""
    most_sessions: int = 64
    """Tabs whose work is kept at once."""


@dataclass
class _OpenPage:
    """A page that is connected."""

    client_id: int
    key: str
    """Of its session."""
    page: StudioPage | None = None
    """None until its session has made it."""


class StudioServer:
    """A running studio.

    Raises:
        InputError: the address cannot be bound.
    """

    def __init__(self, model: Model, config: StudioConfig = StudioConfig()) -> None:
        self.model, self.config = model, config
        self.token = secrets.token_urlsafe(24)
        self._sessions: dict[str, TabSession] = {}
        self._pages: dict[str, _OpenPage] = {}
        self._left: dict[str, float] = {}
        self._lock = threading.Lock()
        self._fit_turn = threading.Lock()
        # viser prints an address that lets nobody in
        with guarded(Access(self.token, config.host, self._point)), redirect_stdout(StringIO()):
            self._server = viser.ViserServer(config.host, config.port, label="imhead studio", verbose=False)
        self._server.gui.configure_theme(
            show_logo=False, show_share_button=False, brand_color=(24, 110, 160), control_width="medium"
        )
        self._server.gui.main_panel.dock_right()
        self._server.gui.main_panel.set_width(324)
        light_scene(self._server)
        self._server.on_client_connect(self._connected)
        self._server.on_client_disconnect(self._disconnected)

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return self._server.get_port()

    @property
    def address(self) -> str:
        """What to open in a browser."""
        host = self.config.host
        shown = "127.0.0.1" if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host
        return f"http://{shown}:{self.port}/?token={self.token}"

    def sessions(self) -> dict[str, TabSession]:
        """The sessions that are kept, by tab."""
        with self._lock:
            return dict(self._sessions)

    def stop(self) -> None:
        """End every session and the server."""
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
        name = TAB.get()
        until = time.monotonic() + _RELOAD_S
        while self._in_use_by_another(name) and time.monotonic() < until:
            await asyncio.sleep(0.02)
        with self._lock:
            self._forget_old()
            broken, key = self._pages.pop(name, None), name.partition(".")[0]
            if broken is not None:
                # the same page again: its connection broke, and nobody has noticed yet
                key = broken.key
                self._leave(broken)
            elif any(page.key == key for page in self._pages.values()):
                # a tab that was duplicated carries the name of the first one: its work is its own
                key = name
            if key not in self._sessions and len(self._sessions) >= self.config.most_sessions:
                client.add_notification("The studio is full", "Close another tab of it, then reload this one.")
                return
            if key not in self._sessions:
                self._sessions[key] = TabSession(self.model, self._fit_turn)
            session = self._sessions[key]
            opened = self._pages[name] = _OpenPage(client.client_id, key)
            self._left.pop(key, None)

        def make() -> StudioPage:
            opened.page = StudioPage(client, session)
            return opened.page

        session.attach(make)

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
            self._forget_old()

    def _leave(self, opened: _OpenPage) -> None:
        if opened.page is not None:
            opened.page.close()
        if opened.key in self._sessions:  # not while the server stops
            self._sessions[opened.key].detach()
            self._left[opened.key] = time.monotonic()

    def _forget_old(self) -> None:
        for tab, since in list(self._left.items()):
            if time.monotonic() - since >= self.config.keep_s:
                self._sessions.pop(tab).close()
                del self._left[tab]

    def _point(self, name: str, x: float, y: float) -> str | None:
        with self._lock:
            opened = self._pages.get(name)
        return None if opened is None or opened.page is None else opened.page.point(x, y)


def start(model: Model, config: StudioConfig = StudioConfig()) -> StudioServer:
    """Start a studio.

    Raises:
        InputError: a setting that cannot be, or a model without a template.
    """
    if not 0 <= config.port <= 65535:
        raise InputError(f"port {config.port} is outside 0 to 65535; choose another --port")
    template_of(model)  # what the view shows
    return_large_blocks()
    return StudioServer(model, config)
