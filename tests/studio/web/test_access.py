"""Access control with a real WebSocket client: only a page with the current token and its own origin connects."""

from __future__ import annotations

import logging
import socket
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterator

import msgspec
import pytest

pytest.importorskip("viser")
import viser
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.http11 import Request
from websockets.sync.client import connect
from websockets.typing import Origin, Subprotocol

from imhead.checkpoint import Model
from imhead.studio.web.access import Access
from imhead.studio.web.one_line import silence_viser
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


PORT = 8080


def answer(bound_to: str, host: str, port: int = PORT) -> int:
    """Status of the page for a Host header, of a studio that is bound to an address."""
    access = Access("key", bound_to, lambda tab, x, y: None)
    response = access.check(Request("/?token=key", Headers([("Host", host)])), port)
    assert response is not None
    return response.status_code


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "[::1]"])
def test_the_host_must_name_this_machine_and_the_studios_port(name: str) -> None:
    assert answer("127.0.0.1", f"{name}:{PORT}") == 200
    for host in (name, f"{name}:", f"{name}:1", f"{name}.:{PORT}", f"{name}:{PORT}:{PORT}", f"x@{name}:{PORT}", ""):
        assert answer("127.0.0.1", host) == 403, host
    assert answer("127.0.0.1", name, port=80) == 200, "a browser leaves the default port out"


def test_a_studio_open_to_others_answers_to_addresses_and_to_the_machines_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "Desk")
    for host in ("127.0.0.1", "localhost", "192.168.1.5", "[fe80::1]", "desk"):
        assert answer("0.0.0.0", f"{host}:{PORT}") == 200, host
        assert answer("0.0.0.0", f"{host}:1") == 403, host
    assert answer("0.0.0.0", f"evil.example:{PORT}") == 403
    assert answer("0.0.0.0", f"fe80::1:{PORT}") == 403
    for host, status in (("192.168.1.5", 200), ("desk", 200), ("192.168.1.6", 403), ("localhost", 403)):
        assert answer("192.168.1.5", f"{host}:{PORT}") == status, host


def logged_of(caplog: pytest.LogCaptureFixture, server: StudioServer) -> list[str]:
    """Warnings and errors that were logged; no record of any level may hold the key."""
    ours = [record for record in caplog.records if not record.name.startswith("websockets.client")]
    for record in ours:
        assert server.token not in record.getMessage() and not record.exc_info
    return [record.getMessage() for record in ours if record.levelno >= logging.WARNING]


GARBAGE = {
    "no words": b"\x00\xff\x01\r\n\r\n",
    "another version": b"GET /?token=KEY HTTP/1.0\r\n\r\n",
    "another method": b"POST /?token=KEY HTTP/1.1\r\nHost: HOST\r\n\r\n",
    "a broken address": b"GET //[?token=KEY HTTP/1.1\r\nHost: HOST\r\n\r\n",
    "bytes beyond ASCII": b"GET /?token=KEY\xff HTTP/1.1\r\nHost: HOST\r\n\r\n",
    "a header twice": b"GET /?token=KEY HTTP/1.1\r\nHost: HOST\r\nUpgrade: websocket\r\nUpgrade: websocket\r\n\r\n",
    "half a WebSocket": b"GET /?token=KEY&tab=TAB HTTP/1.1\r\nHost: HOST\r\nOrigin: http://HOST\r\n"
    b"Upgrade: websocket\r\n\r\n",
    "a header without a colon": b"GET /?token=KEY HTTP/1.1\r\nKEY\r\n\r\n",
    "a long line": b"GET /?token=KEY&x=" + b"x" * 20_000 + b" HTTP/1.1\r\n\r\n",
    "many headers": b"GET /?token=KEY HTTP/1.1\r\n" + b"a: KEY\r\n" * 500 + b"\r\n",
}


@pytest.mark.parametrize("kind", sorted(GARBAGE))
def test_a_garbage_request_leaves_one_line_in_the_log_and_never_the_key(
    server: StudioServer, kind: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    host = f"127.0.0.1:{server.port}"
    sent = GARBAGE[kind].replace(b"KEY", server.token.encode()).replace(b"HOST", host.encode())
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as plain:
        plain.sendall(sent.replace(b"TAB", TAB.encode()))
        while plain.recv(4096):
            pass
    assert get(server, f"/?token={server.token}")[0] == 200
    lines = logged_of(caplog, server)
    assert len(lines) <= 1 and all(line.isprintable() and len(line) < 200 for line in lines)
    printed = capfd.readouterr()
    assert server.token not in printed.out + printed.err and "Traceback" not in printed.err


MESSAGES = {
    "text": "GuiUpdateMessage",
    "bytes": b"\xc1\xff\x00",
    "a list": msgspec.msgpack.encode([1, 2, 3]),
    "a kind that does not exist": msgspec.msgpack.encode({"type": "KEY"}),
    "a message without its parts": msgspec.msgpack.encode({"type": "GuiUpdateMessage"}),
    "a camera of words": msgspec.msgpack.encode(
        {
            "type": "ViewerCameraMessage", "wxyz": "KEY", "position": "KEY", "fov": "KEY", "near": 0, "far": 0,
            "image_height": 0, "image_width": 0, "look_at": {}, "up_direction": None,
        }
    ),
    "a click without a place": msgspec.msgpack.encode(
        {
            "type": "ScenePointerMessage", "event_type": "click", "ray_origin": ["KEY"], "ray_direction": [],
            "screen_pos": [[0, 0]], "modifier": None,
        }
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", sorted(MESSAGES))
def test_a_garbage_message_leaves_one_line_in_the_log_and_the_studio_goes_on(
    server: StudioServer, kind: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    with connect(
        f"ws://127.0.0.1:{server.port}/?token={server.token}&tab={TAB}",
        origin=Origin(own_origin(server)),
        subprotocols=PROTOCOL,
    ) as opened:
        opened.send(MESSAGES[kind])
        try:
            for _ in range(20):
                opened.recv(timeout=0.2)
        except (ConnectionClosed, TimeoutError):
            pass
    deadline = time.monotonic() + 5.0
    while not logged_of(caplog, server) and time.monotonic() < deadline and kind != "a click without a place":
        time.sleep(0.02)
    lines = logged_of(caplog, server)
    assert len(lines) == (0 if kind == "a click without a place" else 1)
    assert all(line.isprintable() and len(line) < 200 for line in lines)
    assert "Traceback" not in capfd.readouterr().err
    assert get(server, f"/?token={server.token}")[0] == 200


def test_no_warning_repeats_what_a_page_sent() -> None:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        silence_viser()
        with pytest.raises(ValueError):
            viser._messages.Message.deserialize(MESSAGES["a camera of words"])  # type: ignore[arg-type]
    assert seen == []


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
