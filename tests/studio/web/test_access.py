"""Access control with a real WebSocket client: only a page with the current token and its own origin connects."""

from __future__ import annotations

import socket
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

pytest.importorskip("viser")
import viser
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin, Subprotocol

from imhead.checkpoint import Model
from imhead.studio.web.server import StudioConfig, StudioServer, start

TAB = "0" * 32 + "." + "1" * 32
PROTOCOL = [Subprotocol(f"viser-v{viser.__version__}")]


@pytest.fixture(scope="module")
def server(model: Model) -> Iterator[StudioServer]:
    made = start(model, StudioConfig(port=0))
    yield made
    made.stop()


def get(server: StudioServer, path: str, **headers: str) -> tuple[int, str]:
    request = urllib.request.Request(f"http://127.0.0.1:{server.port}{path}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read().decode()


def own_origin(server: StudioServer) -> str:
    return f"http://127.0.0.1:{server.port}"


def refused(server: StudioServer, query: str, origin: str | None, host: str = "127.0.0.1") -> bool:
    """Whether a WebSocket is refused, and the answer says nothing else."""
    try:
        with connect(
            f"ws://{host}:{server.port}/{query}",
            origin=None if origin is None else Origin(origin),
            subprotocols=PROTOCOL,
            sock=socket.create_connection(("127.0.0.1", server.port)),
        ) as opened:
            opened.recv(timeout=10)
            return False
    except InvalidStatus as error:
        assert error.response.status_code == 403
        assert b"viser" not in (error.response.body or b"")
        return True


def test_a_page_with_the_token_and_our_origin_is_served(server: StudioServer) -> None:
    assert not refused(server, f"?token={server.token}&tab={TAB}", own_origin(server))


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "http://127.0.0.1:1", "https://127.0.0.1.evil.example", "null", None]
)
def test_a_page_from_another_origin_is_refused(server: StudioServer, origin: str | None) -> None:
    assert refused(server, f"?token={server.token}&tab={TAB}", origin)


@pytest.mark.parametrize("token", ["", "?token=", "?token=guess", "?token=%C3%A9"])
def test_a_page_without_the_token_is_refused(server: StudioServer, token: str) -> None:
    assert refused(server, token, own_origin(server))
    assert get(server, f"/{token}")[0] == 403


def test_a_foreign_host_name_that_points_here_is_refused(server: StudioServer) -> None:
    query = f"?token={server.token}&tab={TAB}"
    assert refused(server, query, f"http://evil.example:{server.port}", "evil.example")
    assert get(server, f"/{query}", Host=f"evil.example:{server.port}")[0] == 403


def test_a_request_with_two_host_headers_is_refused(server: StudioServer) -> None:
    line = f"GET /?token={server.token} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nHost: evil.example\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as plain:
        plain.sendall(line.encode())
        assert plain.recv(100).startswith(b"HTTP/1.1 403")


def test_a_connection_without_a_tab_name_is_refused(server: StudioServer) -> None:
    assert refused(server, f"?token={server.token}", own_origin(server))
    assert refused(server, f"?token={server.token}&tab=../../x", own_origin(server))


def test_the_page_has_our_script_and_may_contact_no_other_machine(server: StudioServer) -> None:
    status, page = get(server, f"/?token={server.token}")
    assert status == 200
    assert "<title>imhead studio</title>" in page and server.token in page
    request = urllib.request.urlopen(server.address, timeout=10)
    assert "connect-src 'self'" in request.headers["Content-Security-Policy"]
    assert request.headers["Referrer-Policy"] == "no-referrer"


@pytest.mark.parametrize("path", ["/../../etc/passwd", "/index.html", "/pointer", "/%2e%2e/%2e%2e/etc/passwd"])
def test_nothing_else_is_served(server: StudioServer, path: str) -> None:
    assert get(server, f"{path}?token={server.token}")[0] in (400, 404)


def test_the_pointer_of_an_unknown_tab_is_over_no_region(server: StudioServer) -> None:
    assert get(server, f"/pointer?token={server.token}&tab={TAB}&x=nan&y=0.5") == (200, '{"region": null}')


def test_two_starts_have_different_tokens(model: Model, server: StudioServer) -> None:
    other = start(model, StudioConfig(port=0))
    try:
        assert other.token != server.token and len(other.token) >= 32
        assert refused(other, f"?token={server.token}&tab={TAB}", own_origin(other))
    finally:
        other.stop()


def test_the_server_is_bound_to_this_machine_only(server: StudioServer) -> None:
    sockets = server._server._websock_server
    assert sockets._host == "127.0.0.1"
