"""The server: sockets, the checks that come before a request is read, and threads."""

from __future__ import annotations

import http
import logging
import os
import socket
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from imhead.api import MorphableModel
from imhead.errors import InputError, refusal, system_refusal
from imhead.serving.access import is_ours, new_key, same_key
from imhead.serving.routes import MOST_BYTES, Request, Response, answer, failure
from imhead.serving.work import Workshop

log = logging.getLogger("imhead.serving")
_HOST = "127.0.0.1"


@dataclass(frozen=True)
class ServeConfig:
    """Settings of the server. It listens on this machine only."""

    port: int = 8081
    """Port; 0 for any that is free."""
    patience_s: float = 60.0
    """Seconds for which a connection may stay silent."""


class Server:
    """A running server.

    Args:
        model: draws and fits all heads.
        config: where to listen.

    Raises:
        InputError: the port is outside 0 to 65535, or in use.
    """

    def __init__(self, model: MorphableModel, config: ServeConfig = ServeConfig()) -> None:
        if not 0 <= config.port <= 65535:
            raise InputError(f"port {config.port} is outside 0 to 65535; choose another --port")
        self.key = new_key()
        self.workshop = Workshop(model)
        try:
            self._http = _Listening(self.workshop, self.key, config)
        except OSError as error:
            raise InputError(f"port {config.port}: cannot be listened to {system_refusal(error)}") from error
        self._thread = Thread(target=self._http.serve_forever, name="imhead-serve", daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        """Where it listens, without the key."""
        return f"http://{_HOST}:{self._http.server_address[1]}"

    def wait(self) -> None:
        """Serve until interrupted."""
        while self._thread.is_alive():
            self._thread.join(1.0)  # so that Ctrl-C is heard on every system

    def stop(self) -> None:
        """End the server, and the fit that runs."""
        self._http.shutdown()
        self._http.server_close()
        self.workshop.close()


class _Listening(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = os.name == "posix"  # on Windows, another program could then take the same port

    def __init__(self, workshop: Workshop, key: str, config: ServeConfig) -> None:
        self.workshop, self.key, self.config = workshop, key, config
        super().__init__((_HOST, config.port), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news."""
        log.debug("a connection ended early", exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    server: _Listening
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "imhead", ""

    def setup(self) -> None:
        super().setup()
        self.connection.settimeout(self.server.config.patience_s)
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_DELETE(self) -> None:
        self._answer()

    def _answer(self) -> None:
        refused = self._refusal()
        if refused is not None:
            self.close_connection = True  # what it sends is not read
            self._send(refused)
            return
        address = urlsplit(self.path)
        try:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            request = Request(body, dict(parse_qsl(address.query, keep_blank_values=True, max_num_fields=20)))
            response = answer(self.server.workshop, self.command, address.path, request)
        except TimeoutError:
            self.close_connection = True
            return
        except Exception as error:  # the client reads a line, and the server goes on
            said = refusal(error)
            if said is None:
                log.exception("a request failed")
            response = failure(500 if said is None else 400, said or f"internal error: {type(error).__name__}")
        self._send(response)

    def _refusal(self) -> Response | None:
        """Why a request is not read."""
        headers = self.headers
        hosts, keys = headers.get_all("Host", []), headers.get_all("Authorization", [])
        port = self.server.server_address[1]
        # a browser names the page's site as the origin of what it sends; programs do not
        if len(hosts) != 1 or not is_ours(hosts[0], _HOST, port) or headers.get_all("Origin"):
            return failure(403, "this server answers programs on this machine, at the address that it printed")
        scheme, _, given = keys[0].partition(" ") if len(keys) == 1 else ("", "", "")
        if scheme.lower() != "bearer" or not given.isascii() or not same_key(given, self.server.key):
            return failure(401, "the key is missing or wrong; send Authorization: Bearer and the key that was printed")
        lengths = headers.get_all("Content-Length", ["0"])
        if headers.get("Transfer-Encoding") is not None or len(lengths) != 1 or not lengths[0].isdecimal():
            return failure(411, "the length of the body is missing; send one Content-Length")
        if len(lengths[0]) > 12 or int(lengths[0]) > MOST_BYTES:
            return failure(413, f"the body is too large; send at most {MOST_BYTES >> 20} MB")
        return None

    def _send(self, response: Response) -> None:
        self.send_response(response.status, http.HTTPStatus(response.status).phrase)
        for name, value in (
            ("Content-Type", response.kind), ("Content-Length", str(len(response.body))), ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"), ("Connection", "close" if self.close_connection else "keep-alive"),
        ):  # fmt: skip
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(response.body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: a request may hold anything."""
