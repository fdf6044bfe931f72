"""Access control with a real WebSocket client: only a page with the current token and its own origin connects."""

from __future__ import annotations

import logging
import re
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

pytest.importorskip("websockets")
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.http11 import Request
from websockets.sync.client import connect
from websockets.typing import Origin

from imhead.checkpoint import Model
from imhead.studio.web.access import Access
from imhead.studio.web.server import StudioConfig, StudioServer, start

TAB = "0" * 32 + "." + "1" * 32


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
            sock=socket.create_connection(("127.0.0.1", server.port)),
        ) as opened:
            opened.recv(timeout=10)
            return False
    except InvalidStatus as error:
        assert error.response.status_code == 403
        assert b"region" not in (error.response.body or b"")
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
    access = Access("key", bound_to)
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


MESSAGES: dict[str, str | bytes] = {
    "no JSON": "KEY",
    "a list": "[1, 2, 3]",
    "a kind that does not exist": '{"do": "KEY"}',
    "a message without its parts": '{"do": "word"}',
    "a number of words": '{"do": "jump", "number": "KEY"}',
    "a number beyond all": '{"do": "jump", "number": 1e999}',
    "a name that is no text": '{"do": "select", "names": [["KEY"]]}',
    "pairs that are none": '{"do": "express", "weights": [["KEY"]]}',
    "a mode that does not exist": '{"do": "display", "mode": "KEY"}',
    "deep nesting": "[" * 100_000,
    "a piece of an upload that nobody announced": b"\xc1\xff\x00",
}
QUIET = ("a piece of an upload that nobody announced",)


@pytest.mark.parametrize("kind", sorted(MESSAGES))
def test_a_garbage_message_leaves_one_line_in_the_log_and_the_studio_goes_on(
    server: StudioServer, kind: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    with connect(
        f"ws://127.0.0.1:{server.port}/?token={server.token}&tab={TAB}",
        origin=Origin(own_origin(server)),
    ) as opened:
        opened.recv(timeout=60)  # the page is there
        opened.send(MESSAGES[kind])
        try:
            for _ in range(20):
                opened.recv(timeout=0.2)
        except (ConnectionClosed, TimeoutError):
            pass
    deadline = time.monotonic() + 5.0
    while not logged_of(caplog, server) and time.monotonic() < deadline and kind not in QUIET:
        time.sleep(0.02)
    lines = logged_of(caplog, server)
    assert len(lines) == (0 if kind in QUIET else 1)
    assert all(line.isprintable() and len(line) < 200 for line in lines)
    assert "Traceback" not in capfd.readouterr().err
    assert get(server, f"/?token={server.token}")[0] == 200


def test_a_request_with_two_host_headers_is_refused(server: StudioServer) -> None:
    line = f"GET /?token={server.token} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nHost: evil.example\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as plain:
        plain.sendall(line.encode())
        assert plain.recv(100).startswith(b"HTTP/1.1 403")


def test_a_connection_without_a_tab_name_is_refused(server: StudioServer) -> None:
    assert refused(server, f"?token={server.token}", own_origin(server))
    assert refused(server, f"?token={server.token}&tab=../../x", own_origin(server))


def test_the_page_and_its_files_need_the_key_and_may_contact_no_other_machine(server: StudioServer) -> None:
    status, page = get(server, f"/?token={server.token}")
    assert status == 200 and "<title>imhead studio</title>" in page and "{{" not in page
    files = sorted(set(re.findall(r"/[a-z]+\.(?:js|css|svg)(?=\?token=)", page)))
    assert len(files) >= 9, "every module, the style and the icon"
    for file in files:
        assert get(server, f"{file}?token={server.token}")[0] == 200
        assert get(server, file)[0] == 403
    policy = urllib.request.urlopen(server.address, timeout=10).headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "connect-src 'self'" in policy and "unsafe" not in policy
    (nonce,) = re.findall(r"'nonce-([^']+)'", policy)
    assert nonce not in page, "each load has a nonce of its own"
    assert urllib.request.urlopen(server.address, timeout=10).headers["Referrer-Policy"] == "no-referrer"


def test_every_module_that_a_page_imports_is_served(server: StudioServer) -> None:
    _, page = get(server, f"/?token={server.token}")
    known = set(re.findall(r'"([a-z]+)": "/', page))
    for name in known - {"three"}:
        _, text = get(server, f"/{name}.js?token={server.token}")
        assert set(re.findall(r'^(?:import|\}) .*from "([^"]+)";$', text, re.MULTILINE)) <= known


@pytest.mark.parametrize("path", ["/../../etc/passwd", "/page.html", "/pointer", "/%2e%2e/%2e%2e/etc/passwd", "/.js"])
def test_nothing_else_is_served(server: StudioServer, path: str) -> None:
    assert get(server, f"{path}?token={server.token}")[0] in (400, 404)


def test_two_starts_have_different_tokens(model: Model, server: StudioServer) -> None:
    other = start(model, StudioConfig(port=0))
    try:
        assert other.token != server.token and len(other.token) >= 32
        assert refused(other, f"?token={server.token}&tab={TAB}", own_origin(other))
    finally:
        other.stop()


def test_the_server_is_bound_to_this_machine_only(server: StudioServer) -> None:
    addresses = {socket.getsockname()[0] for socket in server._server.sockets}
    assert addresses == {"127.0.0.1"}
