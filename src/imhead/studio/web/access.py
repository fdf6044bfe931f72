"""Access control: only a page opened with the current token, and from the studio's own origin, may connect.

viser itself answers any page on the machine. It starts its web server with a single call; the studio adds to that call
a check of every request, for pages and WebSockets, which runs before viser sees the request.
"""

from __future__ import annotations

import http
import json
import logging
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

from imhead.serving.access import is_ours, same_key
from imhead.studio.web.one_line import OneLine

log = logging.getLogger("imhead.studio.web")

TAB: ContextVar[str] = ContextVar("tab")
"""Name of the connection being served: the name of a browser tab, a dot, and the name of one loading of its page."""

_TAB_NAME = re.compile(r"[0-9a-f]{32}\.[0-9a-f]{32}")
_REFUSAL = "The key is missing or out of date: open the address that `imhead studio` printed.\n"
_GARBAGE = "This request cannot be understood: open the address that `imhead studio` printed.\n"
# the page needs nothing from other machines, and may not contact them
_POLICY = (
    "default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob: data:; "
    "style-src 'self' 'unsafe-inline'; connect-src 'self' data: blob:; frame-ancestors 'none'; form-action 'none'"
)

Pointer = Callable[[str, float, float], str | None]
"""(tab, x, y) → name of the region under the pointer, from (0, 0) at the top left of the view to (1, 1)."""


@dataclass(frozen=True)
class Access:
    """Checks every request."""

    token: str
    """Random, drawn at each start."""
    host: str
    """Address the server is bound to."""
    pointer: Pointer
    """Answers which region is under the pointer."""

    def check(self, request: Request, port: int) -> Response | None:
        """The response to a page request or a refusal; None lets a WebSocket through to viser.

        Args:
            port: port of this machine at which the request arrived.
        """
        try:
            return self._checked(request, port)
        except (ValueError, LookupError):  # an address that cannot be taken apart, or a header given twice
            return _response(http.HTTPStatus.BAD_REQUEST, _GARBAGE)

    def _checked(self, request: Request, port: int) -> Response | None:
        address = urlsplit(request.path)
        query = parse_qs(address.query)
        hosts, origins = request.headers.get_all("Host"), request.headers.get_all("Origin")
        if len(hosts) != 1 or len(origins) > 1:
            return _response(http.HTTPStatus.FORBIDDEN, _REFUSAL)
        host = hosts[0]
        if not is_ours(host, self.host, port):
            return _response(http.HTTPStatus.FORBIDDEN, _REFUSAL)
        given = query.get("token", [""])[0]
        if not same_key(given, self.token):
            return _response(http.HTTPStatus.FORBIDDEN, _REFUSAL)
        if request.headers.get("Upgrade", "").lower() == "websocket":
            if origins not in ([f"http://{host}"], [f"https://{host}"]) or not _TAB_NAME.fullmatch(tab_of(request)):
                return _response(http.HTTPStatus.FORBIDDEN, _REFUSAL)
            return None
        if address.path == "/":
            return _index_page(self.token)
        if address.path == "/pointer":
            return self._pointer(request, query)
        return _response(http.HTTPStatus.NOT_FOUND, "There is nothing at this address.\n")

    def _pointer(self, request: Request, query: dict[str, list[str]]) -> Response:
        try:
            x, y = float(query["x"][0]), float(query["y"][0])
        except (KeyError, ValueError):
            return _response(http.HTTPStatus.BAD_REQUEST, "x and y must be numbers.\n")
        found = self.pointer(tab_of(request), x, y)
        return _response(http.HTTPStatus.OK, json.dumps({"region": found}), "application/json")


def tab_of(request: Request) -> str:
    """Name of the tab that sent a request; empty if it sent none."""
    return parse_qs(urlsplit(request.path).query).get("tab", [""])[0]


@contextmanager
def guarded(access: Access) -> Iterator[None]:
    """Apply `access` to a viser server that is started inside this context.

    Raises:
        RuntimeError: viser did not start its web server with the guarded call.
    """
    original = websockets.asyncio.server.serve
    calls = 0

    def serve(handler: Callable[[ServerConnection], Any], *args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1

        async def serve_tab(connection: ServerConnection) -> None:
            assert connection.request is not None
            TAB.set(tab_of(connection.request))
            await handler(connection)

        kwargs["process_request"] = lambda connection, request: access.check(request, connection.local_address[1])
        kwargs["logger"] = OneLine(log)
        return original(serve_tab, *args, **kwargs)

    websockets.asyncio.server.serve = serve  # type: ignore[assignment,misc]
    try:
        yield
    finally:
        websockets.asyncio.server.serve = original  # type: ignore[misc]
    if not calls:
        raise RuntimeError("viser started its web server unguarded; install the version that constraints.txt names")


def _index_page(token: str) -> Response:
    """viser's page, with the studio's script before viser's."""
    page = (Path(viser.__file__).parent / "client" / "build" / "index.html").read_text(encoding="utf-8")
    script = (resources.files("imhead.studio.web") / "page.js").read_text(encoding="utf-8")
    ours = f"<title>imhead studio</title><script>const STUDIO_TOKEN = {json.dumps(token)};\n{script}</script>"
    return _response(http.HTTPStatus.OK, page.replace("<title>Viser</title>", ours, 1), "text/html; charset=utf-8")


def _response(status: http.HTTPStatus, text: str, kind: str = "text/plain; charset=utf-8") -> Response:
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
