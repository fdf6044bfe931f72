"""The Blender extension: fits, imports, edits in a real Blender that talks to a real `imhead serve`.

`pip install bpy` in an environment of its own, for the Python that it needs; IMHEAD_BPY is the path of that Python.
"""

from __future__ import annotations

import ast
import importlib
import json
import os
import struct
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tools.blender_extension import SOURCE, built

import imhead
from imhead.conventions import ARKIT_NAMES
from imhead.io.live_link import Take
from imhead.serving.server import ServeConfig, Server

HERE = Path(__file__).resolve().parent
DEMO_SCAN = Path(imhead.__file__).parent / "assets" / "demo_scan.ply"
PROGRAM = Path(sys.executable).with_name("imhead")
BLENDERS_OWN = {"bpy", "bpy_extras", "mathutils", "numpy"}


def test_the_zip_holds_all_that_blender_needs_and_is_the_same_each_time(tmp_path: Path) -> None:
    first, again = built(tmp_path / "a"), built(tmp_path / "b")
    assert first.read_bytes() == again.read_bytes()
    names = set(zipfile.ZipFile(first).namelist())
    assert {"__init__.py", "blender_manifest.toml", "LICENSE"} <= names
    assert names == {file.name for file in SOURCE.iterdir() if file.is_file()}


def test_the_extension_is_of_the_version_of_the_package() -> None:
    manifest = (SOURCE / "blender_manifest.toml").read_text(encoding="utf-8")
    assert f'version = "{imhead.__version__.split("+")[0]}"' in manifest
    assert "GPL-3.0-or-later" in manifest
    for file in SOURCE.glob("*.py"):
        assert file.read_text(encoding="utf-8").startswith("# SPDX-License-Identifier: GPL-3.0-or-later\n")


def test_the_extension_imports_nothing_that_blender_does_not_have() -> None:
    for file in SOURCE.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module and not node.level else []
            for name in names:
                top = name.split(".")[0]
                assert top in BLENDERS_OWN or top in sys.stdlib_module_names, f"{file.name}: {name}"


def glb_of(tree: dict[str, Any]) -> bytes:
    text = json.dumps(tree).encode()
    return (
        struct.pack("<4sIII4s", b"glTF", 2, 28 + len(text), len(text), b"JSON") + text + struct.pack("<I4s", 0, b"BIN")
    )


@pytest.mark.timeout(20)
def test_a_file_of_a_stranger_ends_in_one_line_or_is_read(client: ModuleType) -> None:
    """Nodes that hang on themselves have an end, and a count that no file holds takes no memory."""
    glb = importlib.import_module("imhead_blender.glb")
    circle = {"meshes": [], "nodes": [{"name": "a", "children": [1]}, {"name": "b", "children": [0]}],
              "skins": [{"joints": [0]}]}  # fmt: skip
    assert list(glb.read_avatar(glb_of(circle))[1]) == ["a"]
    mesh = {"name": "skin", "primitives": [{"attributes": {"POSITION": 0}}]}
    huge = circle | {"meshes": [mesh], "accessors": [{"count": 1 << 60, "type": "VEC3", "componentType": 5126}]}
    with pytest.raises(ValueError, match="imhead avatar"):
        glb.read_avatar(glb_of(huge))


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    """The part of the extension that needs no Blender."""
    folder = tmp_path_factory.mktemp("extension")
    (folder / "imhead_blender").mkdir()
    (folder / "imhead_blender" / "__init__.py").touch()
    for name in ("client.py", "glb.py"):
        (folder / "imhead_blender" / name).write_bytes((SOURCE / name).read_bytes())
    sys.path.insert(0, str(folder))
    yield importlib.import_module("imhead_blender.client")
    sys.path.remove(str(folder))


@pytest.mark.parametrize(
    "address",
    ["https://127.0.0.1:80", "http://example.org:8081", "http://127.0.0.1.example.org:1", "http://127.0.0.1", "ftp://x",
     "http://127.0.0.1:8081/elsewhere", "http://127.0.0.1:99999", "", "http://[::1"],
)  # fmt: skip
def test_the_key_is_sent_to_this_computer_only(client: ModuleType, address: str) -> None:
    with pytest.raises(client.RefusedError, match="this computer"):
        client.Client(address, "key")


@pytest.mark.parametrize("key", ["", "schlüssel", "two\nlines"])
def test_what_is_no_key_is_refused(client: ModuleType, key: str) -> None:
    with pytest.raises(client.RefusedError, match="key"):
        client.Client("http://127.0.0.1:8081", key)


def test_a_refusal_is_a_line_that_the_server_or_the_client_says(
    client: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # is not asked
    server = Server(imhead.load(device="cpu"), ServeConfig(port=0))
    try:
        found = client.Client(server.address, server.key)
        assert found.about()["imhead"] == imhead.__version__
        assert "wider" in found.words()["nose"] and "left_nostril" in found.groups()["nose"]
        head = found.sample(7)
        assert found.known(head, b"") == head
        with pytest.raises(client.RefusedError, match="did you mean nose"):
            found.edit(head, regions=["nos"], sample=1)
        with pytest.raises(client.RefusedError, match="the key is missing or wrong"):
            client.Client(server.address, "wrong").about()
    finally:
        server.stop()
    with pytest.raises(client.RefusedError, match="start it, then connect"):
        found.about()


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """What a session in Blender found, and the folder with its pictures."""
    python = os.environ.get("IMHEAD_BPY")
    if python is None:
        pytest.skip("IMHEAD_BPY names no Python with bpy; docs/blender.md says how")
    folder = tmp_path_factory.mktemp("blender")
    seconds = np.linspace(0.0, 2.0, 61)
    weights = np.zeros((61, 52))
    weights[:, ARKIT_NAMES.index("jawOpen")] = 0.8 * np.sin(seconds * np.pi / 2)
    angles = np.zeros((61, 9))
    angles[:, 0] = 0.3 * seconds
    head = imhead.load(device="cpu").sample(1, seed=7)[0]
    head.avatar(folder / "take.glb", imhead.Look(texture=512), Take(seconds, weights, angles))
    (folder / "user").mkdir()
    words = [python, HERE / "blender_session.py", built(folder), PROGRAM, DEMO_SCAN, folder / "take.glb", folder]
    own = os.environ | {"BLENDER_USER_RESOURCES": str(folder / "user")}
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True, env=own, cwd=folder, timeout=3000)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return json.loads(done.stdout.strip().splitlines()[-1]), folder


pytestmark = pytest.mark.timeout(3600)


@pytest.mark.slow
def test_blender_fits_the_demo_scan_and_lays_its_avatar_on_it(session: tuple[dict[str, Any], Path]) -> None:
    found = session[0]
    assert found["module"] == "bl_ext.user_default.imhead" and not found["torch"]
    assert not found["refused_unconnected"]
    assert found["armature"] == found["collection"] == "demo_scan head"
    assert {"skin", "teeth", "gums", "tongue", "lashes", "eye_left", "eye_right"} <= set(found["parts"])
    assert found["scan_to_skin_mm"] < 1.0


@pytest.mark.slow
def test_the_avatar_has_shapes_by_name_bones_weights_and_materials(session: tuple[dict[str, Any], Path]) -> None:
    found = session[0]
    assert found["keys"] == ["Basis", *ARKIT_NAMES]
    assert found["bones"] == ["neck", "head", "jaw", "left_eye", "right_eye"]
    assert {"skin", "eye", "cornea", "teeth", "gums", "lashes"} <= set(found["materials"])
    assert found["images"] == [[2048, 2048]]
    assert 0.999 < min(found["weights"]) <= max(found["weights"]) < 1.001
    # no seam of the UVs is a cut of the skin: only lids, neck and the like are open
    assert found["open_edges"] < 400


@pytest.mark.slow
def test_one_slider_moves_every_part(session: tuple[dict[str, Any], Path]) -> None:
    assert session[0]["teeth_follow_mm"] > 10.0


@pytest.mark.slow
def test_a_region_changes_in_place_and_nothing_else_does(session: tuple[dict[str, Any], Path]) -> None:
    found = session[0]
    assert "wider" in found["words"]
    assert found["nose_moved_mm"] > 1.0
    # teeth follow the face, and the inner side of the cheeks makes room for them
    assert found["far_moved_mm"] < 0.2 and found["shapes_kept_mm"] < 0.8
    assert found["same_material"] and found["sliders_back"]
    assert found["nothing_to_do"] == ["CANCELLED"]


@pytest.mark.slow
def test_the_head_outlives_its_server_and_the_key_is_not_saved(session: tuple[dict[str, Any], Path]) -> None:
    found, folder = session
    head = imhead.load(device="cpu").open(folder / "head.safetensors")
    assert [line.split(":")[0] for line in head.codes.provenance].count("chin") == 1
    assert not found["key_in_scene"]
    assert found["unregistered"]


@pytest.mark.slow
def test_a_take_plays_for_as_long_as_it_lasts(session: tuple[dict[str, Any], Path]) -> None:
    found = session[0]
    assert found["take_seconds"] == pytest.approx(2.0, abs=0.05)
    assert found["take_jaw"][0] > 0.7 and found["take_jaw"][1] < 1e-4


@pytest.mark.slow
def test_the_renders_show_a_face_and_another_nose(session: tuple[dict[str, Any], Path]) -> None:
    fitted, edited = (
        np.asarray(Image.open(session[1] / f"{name}.png").convert("RGB"), dtype=float) for name in ("fitted", "edited")
    )
    assert fitted.std() > 15.0
    changed = np.abs(fitted - edited).max(axis=2) > 12.0
    assert 0.002 < changed.mean() < 0.5
