"""The server: it answers whoever holds the key as the Python verbs do, and nobody else."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trimesh

import imhead
from imhead.regions import region_table
from imhead.serving.openapi import FILE, openapi
from imhead.serving.routes import ROUTES
from imhead.serving.server import ServeConfig, Server

DEMO_SCAN = Path(imhead.__file__).parent / "assets" / "demo_scan.ply"
Answer = tuple[int, Any]
Ask = Callable[..., Answer]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    running = Server(imhead.load(device="cpu"), ServeConfig(port=0))
    yield running
    running.stop()


def asked(
    server: Server, method: str, path: str, body: bytes | dict[str, Any] | None = None, **headers: str | None
) -> Answer:
    """Status and answer; a header of None is left out."""
    host, port = server.address.removeprefix("http://").split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=60)
    sent = {"Host": f"{host}:{port}", "Authorization": f"Bearer {server.key}"}
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}  # type: ignore[misc]
    data = json.dumps(body).encode() if isinstance(body, dict) else body or b""
    connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
    for name, value in ({"Content-Length": str(len(data))} | sent).items():
        if value is not None:
            connection.putheader(name, value)
    connection.endheaders(data)
    response = connection.getresponse()
    content = response.read()
    connection.close()
    return response.status, content if response.getheader("Content-Type") == FILE else json.loads(content)


@pytest.fixture(scope="module")
def ask(server: Server) -> Ask:
    return lambda *words, **headers: asked(server, *words, **headers)


@pytest.fixture(scope="module")
def head(ask: Ask) -> str:
    status, said = ask("POST", "/v1/sample", {"seed": 7})
    assert status == 200
    return str(said["head"])


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Authorization": None}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": "Bearer "}, 401),
        ({"Authorization": "Basic eDp5"}, 401),
        ({"Authorization": "Bearer schlüssel".encode().decode("latin-1")}, 401),
        ({"Host": None}, 403),
        ({"Host": "evil.example"}, 403),
        ({"Host": "127.0.0.1"}, 403),
        ({"Host": "127.0.0.1:1"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Content_Length": None, "Transfer_Encoding": "chunked"}, 411),
        ({"Content_Length": "-1"}, 411),
        ({"Content_Length": str(1 << 40)}, 413),
    ],
)
def test_whoever_lacks_the_key_or_comes_from_a_page_is_refused(
    ask: Ask, headers: dict[str, str | None], status: int
) -> None:
    found, said = ask("GET", "/v1/regions", **headers)
    assert found == status and said["error"].isprintable()
    assert ask("GET", "/v1/regions") == (200, region_table())


def test_an_address_without_the_key_learns_nothing_of_what_is_there(ask: Ask) -> None:
    assert ask("GET", "/v1/heads/00", Authorization=None) == ask("GET", "/nothing", Authorization=None)


def test_a_head_is_the_one_that_python_draws_and_comes_back_from_its_file(ask: Ask, head: str, tmp_path: Path) -> None:
    status, file = ask("GET", f"/v1/heads/{head}")
    assert status == 200
    (tmp_path / "head.safetensors").write_bytes(file)
    model = imhead.load(device="cpu")
    opened, drawn = model.open(tmp_path / "head.safetensors"), model.sample(seed=7)[0]
    assert (opened.codes.z_id == drawn.codes.z_id).all()
    status, again = ask("POST", "/v1/heads", file)
    assert status == 200
    assert ask("GET", f"/v1/heads/{again['head']}") == (200, file)


def test_an_edit_makes_a_new_head_whose_measurement_changed(ask: Ask, head: str) -> None:
    status, said = ask("POST", f"/v1/heads/{head}/edit", {"regions": ["nose"], "sample": 7, "strength": 2.0})
    assert status == 200 and "seed 7" in said["provenance"][-1]
    widths = [
        ask("GET", f"/v1/heads/{name}/measure")[1]["measurements"]["alar_width"]["value"]
        for name in (head, said["head"])
    ]
    assert abs(widths[1] - widths[0]) > 0.1
    status, taken = ask("POST", f"/v1/heads/{head}/edit", {"regions": ["nose"], "source": said["head"]})
    assert status == 200 and taken["head"] not in (head, said["head"])


def test_a_mesh_has_the_unit_and_the_axis_that_were_asked_for(ask: Ask, head: str, tmp_path: Path) -> None:
    bounds = {}
    for name, settings in {"mm": {}, "inches": {"units": "in", "up": "z"}}.items():
        status, data = ask("POST", f"/v1/heads/{head}/mesh", {"format": "ply", "resolution": 32, **settings})
        assert status == 200
        (tmp_path / f"{name}.ply").write_bytes(data)
        bounds[name] = trimesh.load(tmp_path / f"{name}.ply").extents
    assert bounds["inches"][[0, 2, 1]] * 25.4 == pytest.approx(bounds["mm"], rel=1e-5)


def test_an_avatar_has_the_look_that_was_asked_for(ask: Ask, head: str) -> None:
    status, data = ask("POST", f"/v1/heads/{head}/avatar", {"skin": "tan", "texture": 512, "lod": 2, "names": "unreal"})
    assert status == 200 and data[:4] == b"glTF" and b"skin tan" in data and b"FACIAL_C_Jaw" in data
    for settings, words in (({"skin": "purple"}, "no skin is named"), ({"format": "usda"}, "use glb, usdz")):
        status, said = ask("POST", f"/v1/heads/{head}/avatar", settings)
        assert status == 400 and words in said["error"]


def test_the_words_of_a_group_are_those_that_an_edit_takes(ask: Ask, head: str) -> None:
    words = ask("GET", "/v1/words")[1]["words"]
    assert {"nose", "ears", "chin"} <= set(words) <= set(ask("GET", "/v1/regions")[1]["groups"])
    for group in ("nose", "chin"):
        status, said = ask("POST", f"/v1/heads/{head}/edit", {"regions": [group], "direction": "none such"})
        assert status == 400 and all(word in said["error"] for word in words[group])


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "words"),
    [
        ("GET", "/v1/heads/0123456789abcdef", None, 404, "there is no head"),
        ("GET", "/v1/heads/../about", None, 404, "openapi"),
        ("GET", "/", None, 404, "openapi"),
        ("PUT", "/v1/about", None, 501, ""),
        ("POST", "/v1/about", None, 405, "use GET"),
        ("POST", "/v1/sample", b"[1]", 400, "no JSON object"),
        ("POST", "/v1/sample", b"[" * 100_000, 400, "not JSON"),
        ("POST", "/v1/sample", {"sead": 1}, 400, "setting 'sead' is not known; use seed, spread"),
        ("POST", "/v1/sample", {"seed": True}, 400, "wrong type; give integer"),
        ("POST", "/v1/sample", {"seed": -1}, 400, "the seed is -1"),
        ("POST", "/v1/sample", b'{"spread": NaN}', 400, "wrong type"),
        ("POST", "/v1/sample?seed=1", None, 400, "takes no query"),
        ("POST", "/v1/heads", b"PK\x03\x04" * 10, 400, "head.safetensors: is a pickle"),
        ("POST", "/v1/fits?format=exe", b"x", 400, "format 'exe' is not known"),
        ("POST", "/v1/fits?format=ply&units=feet", b"x", 400, "units 'feet' are not known"),
        ("POST", "/v1/fits?format=ply", b"x", 400, "scan.ply"),
    ],
)  # fmt: skip
def test_a_wrong_request_is_told_in_one_line_what_is_wrong(
    ask: Ask, method: str, path: str, body: bytes | dict[str, Any] | None, status: int, words: str
) -> None:
    if status == 501:  # Python's own answer, as a page
        with pytest.raises(json.JSONDecodeError):
            ask(method, path, body)
        return
    found, said = ask(method, path, body)
    assert (found, list(said)) == (status, ["error"]), said
    assert words in said["error"] and said["error"].isprintable() and "/imhead-" not in said["error"]


def test_wrong_edits_and_meshes_are_refused_as_in_python(ask: Ask, head: str) -> None:
    for path, body, words in (
        ("edit", {"regions": ["nos"], "sample": 1}, "did you mean nose"),
        ("edit", {"regions": ["nose"]}, "exactly one of"),
        ("edit", {"regions": ["nose"], "source": "00"}, "there is no head"),
        ("mesh", {"format": "fbx"}, "format 'fbx' is not known"),
        ("mesh", {"format": "glb", "up": "z"}, "head.glb: a GLB is in metres"),
        ("mesh", {"expression": "smile"}, "own"),
    ):
        status, said = ask("POST", f"/v1/heads/{head}/{path}", body)
        assert status in (400, 404) and words in said["error"], said


def test_the_oldest_head_gives_way_and_a_forgotten_one_is_gone(server: Server, ask: Ask) -> None:
    name = ask("POST", "/v1/sample", {"seed": 1})[1]["head"]
    assert ask("DELETE", f"/v1/heads/{name}")[0] == 200
    assert ask("GET", f"/v1/heads/{name}")[0] == 404
    first = ask("POST", "/v1/sample", {"seed": 1})[1]["head"]
    kept = server.workshop.head(first)
    for _ in range(256):
        server.workshop.keep(kept)
    assert ask("GET", f"/v1/heads/{first}")[0] == 404


def test_the_description_names_every_address_and_every_setting(ask: Ask) -> None:
    status, said = ask("GET", "/v1/openapi.json")
    assert status == 200 and said == json.loads(json.dumps(openapi(ROUTES)))
    assert said["openapi"].startswith("3.1") and said["security"] == [{"key": []}]
    named = {(method.upper(), path) for path, methods in said["paths"].items() for method in methods}
    assert named == {(route.method, route.path) for route in ROUTES}
    edit = said["paths"]["/v1/heads/{head}/edit"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert {"sample", "direction", "target", "mirror"} <= set(edit["properties"])
    names = [operation["operationId"] for methods in said["paths"].values() for operation in methods.values()]
    assert len(set(names)) == len(names)


def test_a_port_that_is_taken_is_refused_with_a_remedy(server: Server) -> None:
    taken = int(server.address.rpartition(":")[2])
    with pytest.raises(imhead.InputError, match=r"port \d+: .*choose another --port"):
        Server(server.workshop.model, ServeConfig(port=taken))


@pytest.mark.slow
def test_a_fit_tells_how_far_it_is_and_another_can_be_cancelled(ask: Ask) -> None:
    scan = DEMO_SCAN.read_bytes()
    names = [ask("POST", "/v1/fits?format=ply&units=cm&detail=false", scan)[1]["fit"] for _ in range(2)]
    assert ask("DELETE", f"/v1/fits/{names[1]}")[0] == 200
    stages = set()
    deadline = time.monotonic() + 600.0
    while (state := ask("GET", f"/v1/fits/{names[0]}")[1])["status"] in ("waiting", "running"):
        assert time.monotonic() < deadline
        stages.add(state["stage"])
        time.sleep(0.2)
    assert state["status"] == "done" and state["report"]["scan_to_head_mm"]["median"] < 0.5 and len(stages) > 1
    assert ask("GET", f"/v1/heads/{state['head']}/measure")[0] == 200
    while (other := ask("GET", f"/v1/fits/{names[1]}")[1])["status"] == "waiting":
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert other["status"] == "cancelled" and other["head"] is None
