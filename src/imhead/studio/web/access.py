"""Access control: only a page opened with the current token, and from the studio's own origin, may connect.

Every request is checked before anything else sees it, for the page, for its files and for WebSockets.
"""

from __future__ import annotations

import http
import logging
import re
import secrets
from dataclasses import dataclass
from functools import lru_cache
from html import escape
from importlib import resources
from urllib.parse import parse_qs, quote, urlsplit

from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from imhead.serving.access import is_ours, same_key

log = logging.getLogger("imhead.studio.web")

_TAB_NAME = re.compile(r"[0-9a-f]{32}\.[0-9a-f]{32}")
_REFUSAL = "The key is missing or out of date: open the address that `imhead studio` printed.\n"
_GARBAGE = "This request cannot be understood: open the address that `imhead studio` printed.\n"
# the page needs nothing from other machines, and may not contact them
_POLICY = (
    "default-src 'none'; script-src 'self' 'nonce-{nonce}'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' blob: data:; frame-ancestors 'none'; form-action 'none'; base-uri 'none'"
)
_KINDS = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}
_MODULES = ("three", "app", "dom", "panels", "view", "surface", "player", "webp")
_PAGE, _TOKEN, _NONCE, _IMPORTS = "page.html", "{{token}}", "{{nonce}}", "{{imports}}"


@dataclass(frozen=True)
class Access:
    """Checks every request."""

    token: str
    """Random, drawn at each start."""
    host: str
    """Address the server is bound to."""

    def check(self, request: Request, port: int) -> Response | None:
        """The response to a page request or a refusal; None lets a WebSocket through.

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
        text = _client_files().get(address.path)
        if text is None:
            return _response(http.HTTPStatus.NOT_FOUND, "There is nothing at this address.\n")
        return _response(http.HTTPStatus.OK, text, _KINDS[address.path[address.path.rindex(".") :]])


def tab_of(request: Request) -> str:
    """Name of the tab that sent a request: that of a browser tab, a dot, and that of one loading of its page."""
    return parse_qs(urlsplit(request.path).query).get("tab", [""])[0]


@lru_cache(maxsize=1)
def _client_files() -> dict[str, str]:
    """Path → text of each file of the page but itself."""
    folder = resources.files("imhead.studio.web") / "client"
    return {
        f"/{file.name}": file.read_text(encoding="utf-8") for file in folder.iterdir() if file.name.endswith((*_KINDS,))
    }


def _index_page(token: str) -> Response:
    page = (resources.files("imhead.studio.web") / "client" / _PAGE).read_text(encoding="utf-8")
    nonce, key = secrets.token_urlsafe(16), quote(token)
    imports = ", ".join(f'"{name}": "/{name}.js?token={key}"' for name in _MODULES)
    page = page.replace(_NONCE, nonce).replace(_IMPORTS, imports).replace(_TOKEN, escape(key))
    return _response(http.HTTPStatus.OK, page, "text/html; charset=utf-8", nonce)


def _response(
    status: http.HTTPStatus, text: str, kind: str = "text/plain; charset=utf-8", nonce: str = "none"
) -> Response:
    body = text.encode()
    headers = Headers(
        [
            ("Content-Type", kind),
            ("Content-Length", str(len(body))),
            ("Content-Security-Policy", _POLICY.format(nonce=nonce)),
            ("Cache-Control", "no-store"),
            ("Referrer-Policy", "no-referrer"),
            ("X-Content-Type-Options", "nosniff"),
            ("Connection", "close"),
        ]
    )
    return Response(int(status), status.phrase, headers, body)
