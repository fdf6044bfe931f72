"""Who may talk to the studio: only a page that was opened with this start's token, and only from its own origin.

viser answers any page on the machine. Its web server is built by one call, and into that call goes a check of every
request, of pages and of WebSockets, before viser sees it.
"""

from __future__ import annotations

import hmac
import http
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import viser
import websockets.asyncio.server
from websockets.asyncio.server import ServerConnection
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

TAB: ContextVar[str] = ContextVar("tab")
"""Whose connection is being served: the name of a browser tab, a dot, and that of one loading of its page."""

_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
_TAB_NAME = re.compile(r"[0-9a-f]{32}\.[0-9a-f]{32}")
_CLOSED = "This address needs the key of the studio that is running: open the address that `imhead studio` printed.\n"
# everything the page needs comes with it: it may ask nobody else for anything
_POLICY = (
    "default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob: data:; "
    "style-src 'self' 'unsafe-inline'; connect-src 'self' data: blob:; frame-ancestors 'none'; form-action 'none'"
)

Pointer = Callable[[str, float, float], str | None]
"""(tab, x, y) → what is under the pointer: (0, 0) is the top left of the view, (1, 1) its bottom right."""


@dataclass(frozen=True)
class Access:
    """The check of every request."""

    token: str
    """Drawn at random when the studio starts."""
    host: str
    """What it is bound to."""
    pointer: Pointer
    """Answers where the pointer is."""

    def check(self, request: Request) -> Response | None:
        """An answer for pages and refusals; None for a WebSocket that may go on to viser."""
        address = urlsplit(request.path)
        query = parse_qs(address.query)
        hosts, origins = request.headers.get_all("Host"), request.headers.get_all("Origin")
        if len(hosts) != 1 or len(origins) > 1:
            return _answer(http.HTTPStatus.FORBIDDEN, _CLOSED)
        host = hosts[0]
        # a foreign name that was made to point here would share our origin
        if self.host in ("127.0.0.1", "::1", "localhost") and host.rpartition(":")[0] not in _LOOPBACK:
            return _answer(http.HTTPStatus.FORBIDDEN, _CLOSED)
        given = query.get("token", [""])[0]
        if not hmac.compare_digest(given.encode(), self.token.encode()):
            return _answer(http.HTTPStatus.FORBIDDEN, _CLOSED)
        if request.headers.get("Upgrade", "").lower() == "websocket":
            if origins not in ([f"http://{host}"], [f"https://{host}"]) or not _TAB_NAME.fullmatch(tab_of(request)):
                return _answer(http.HTTPStatus.FORBIDDEN, _CLOSED)
            return None
        if address.path == "/":
            return _page(self.token)
        if address.path == "/pointer":
            return self._pointer(request, query)
        return _answer(http.HTTPStatus.NOT_FOUND, "There is nothing here.\n")

    def _pointer(self, request: Request, query: dict[str, list[str]]) -> Response:
        try:
            x, y = float(query["x"][0]), float(query["y"][0])
        except (KeyError, ValueError):
            return _answer(http.HTTPStatus.BAD_REQUEST, "x and y are numbers from 0 to 1.\n")
        found = self.pointer(tab_of(request), x, y)
        return _answer(http.HTTPStatus.OK, json.dumps({"region": found}), "application/json")


def tab_of(request: Request) -> str:
    """The name that a tab gives itself; empty where it gives none."""
    return parse_qs(urlsplit(request.path).query).get("tab", [""])[0]


@contextmanager
def guarded(access: Access) -> Iterator[None]:
    """A viser server that is started inside lets nobody in whom `access` refuses.

    Raises:
        RuntimeError: viser did not build its web server with the call that is guarded.
    """
    plain = websockets.asyncio.server.serve
    built = 0

    def serve(handler: Callable[[ServerConnection], Any], *args: Any, **kwargs: Any) -> Any:
        nonlocal built
        built += 1

        async def known_tab(connection: ServerConnection) -> None:
            assert connection.request is not None
            TAB.set(tab_of(connection.request))
            await handler(connection)

        kwargs["process_request"] = lambda _, request: access.check(request)
        return plain(known_tab, *args, **kwargs)

    websockets.asyncio.server.serve = serve  # type: ignore[assignment,misc]
    try:
        yield
    finally:
        websockets.asyncio.server.serve = plain  # type: ignore[misc]
    if not built:
        raise RuntimeError("viser started its web server unguarded; install the version that constraints.txt names")


def _page(token: str) -> Response:
    """viser's page with our script in front of its own."""
    page = (Path(viser.__file__).parent / "client" / "build" / "index.html").read_text(encoding="utf-8")
    script = (resources.files("imhead.studio.web") / "page.js").read_text(encoding="utf-8")
    ours = f"<title>imhead studio</title><script>const STUDIO_TOKEN = {json.dumps(token)};\n{script}</script>"
    return _answer(http.HTTPStatus.OK, page.replace("<title>Viser</title>", ours, 1), "text/html; charset=utf-8")


def _answer(status: http.HTTPStatus, text: str, kind: str = "text/plain; charset=utf-8") -> Response:
    body = text.encode()
    headers = Headers(
        [
            ("Content-Type", kind),
            ("Content-Length", str(len(body))),
            ("Content-Security-Policy", _POLICY),
            ("Cache-Control", "no-store"),
            ("Referrer-Policy", "no-referrer"),
            ("X-Content-Type-Options", "nosniff"),
            ("Connection", "close"),
        ]
    )
    return Response(int(status), status.phrase, headers, body)
