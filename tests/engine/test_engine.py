"""An exported head in programs that know nothing of this project: Khronos's validator, and three.js in a browser.

How to install them stands in README.md beside this file.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from imhead import load
from imhead.checkpoint import load_model
from imhead.conventions import ARKIT_NAMES
from imhead.io.mesh_file import write_mesh
from imhead.template.surface import template_path
from imhead.types import Animation, FloatArray, Mesh

HERE = Path(__file__).resolve().parent
PACKAGES = Path(os.environ.get("IMHEAD_NODE_MODULES", HERE.parents[1] / "out" / "engine" / "node_modules"))
CHROMIUM = os.environ.get("IMHEAD_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
MISSING = "is not installed; tests/engine/README.md says how"
DRAWN = {"neutral": {}, "jawOpen": {"jawOpen": 0.4}, "eyeBlinkLeft": {"eyeBlinkLeft": 1.0},
         "mouthSmileRight": {"mouthSmileRight": 1.0}}  # fmt: skip
# windows of the 480 × 480 picture, rows and columns: the subject's left is on the right
LEFT_EYE, RIGHT_EYE = (slice(145, 200), slice(250, 330)), (slice(145, 200), slice(150, 230))
MOUTH_LEFT, MOUTH_RIGHT = (slice(270, 400), slice(262, 300)), (slice(270, 400), slice(180, 218))

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def packages() -> Path:
    if shutil.which("node") is None:
        pytest.skip(f"node {MISSING}")
    for name in ("gltf-validator", "three"):
        if not (PACKAGES / name).is_dir():
            pytest.skip(f"the npm package {name} {MISSING}")
    return PACKAGES


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Mesh, dict[str, Path]]:
    """A drawn head, and its GLB as floats, quantized, and animated."""
    path = load_model("default").path
    if path is None or not template_path(path).is_file():
        pytest.skip("the shipped model has no template")
    mesh, uv, morphs = load(device="cpu").sample(1, seed=11)[0].animated()
    folder = tmp_path_factory.mktemp("engine")
    files = {"floats": folder / "floats.glb", "quantized": folder / "quantized.glb"}
    for name, file in files.items():
        notes = {"licence": "weights: Apache-2.0"}
        write_mesh(mesh, file, metadata=notes, uv=uv, morphs=morphs, quantized=name == "quantized")
    files["animated"] = folder / "animated.glb"
    weights = np.random.default_rng(0).random((5, len(morphs.names)))
    moving = Animation(np.arange(5) / 30.0, weights, np.tile(np.eye(3), (5, 1, 1)), np.zeros((5, 3)))
    write_mesh(mesh, files["animated"], metadata=notes, uv=uv, morphs=morphs, quantized=True, animation=moving)
    return mesh, files


@pytest.mark.parametrize("kind", ["floats", "quantized", "animated"])
def test_the_khronos_validator_finds_no_error_and_no_warning(
    packages: Path, exported: tuple[Mesh, dict[str, Path]], kind: str
) -> None:
    words = ["node", str(HERE / "validate.mjs"), str(packages), str(exported[1][kind])]
    issues = json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout)
    assert (issues["numErrors"], issues["numWarnings"]) == (0, 0), issues["messages"]


@pytest.fixture(scope="module", params=["floats", "quantized"])
def shown(
    packages: Path, exported: tuple[Mesh, dict[str, Path]], request: pytest.FixtureRequest
) -> Iterator[tuple[dict[str, Any], dict[str, FloatArray]]]:
    """What three.js says of the file, and its pictures (480, 480, 3) of each entry of DRAWN."""
    if find_spec("playwright") is None:
        pytest.skip(f"playwright {MISSING}")
    if CHROMIUM is None:
        pytest.skip(f"Chromium {MISSING}")
    from playwright.sync_api import sync_playwright

    files = {"/page.html": HERE / "page.html", "/head.glb": exported[1][request.param]}
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Served, files=files, packages=packages))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    flags = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
    kept = packages.parent / "pictures"
    kept.mkdir(exist_ok=True)
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=flags)
        page = browser.new_page(viewport={"width": 480, "height": 480})
        page.set_default_timeout(300_000)
        page.goto(f"http://127.0.0.1:{server.server_port}/page.html")
        page.wait_for_function("window.head || window.failed")
        assert page.evaluate("window.failed") is None
        about = page.evaluate("({...window.head, show: null})")
        pictures = {}
        for name, weights in DRAWN.items():
            page.evaluate("weights => window.head.show(weights)", weights)
            data = page.locator("canvas").screenshot(path=kept / f"{request.param}_{name}.png")
            pictures[name] = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), dtype=float)
        browser.close()
    server.shutdown()
    yield about, pictures


class _Served(SimpleHTTPRequestHandler):
    """The page, the file and three.js, and nothing else."""

    def __init__(self, *args: Any, files: dict[str, Path], packages: Path, **kwargs: Any) -> None:
        self.files, self.packages = files, packages
        super().__init__(*args, **kwargs)

    def translate_path(self, path: str) -> str:
        if path in self.files:
            return str(self.files[path])
        kept = path.startswith("/three/") and ".." not in path
        return str(self.packages / path.lstrip("/")) if kept else str(HERE / "none")

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def changed(pictures: dict[str, FloatArray], name: str, window: tuple[slice, slice]) -> float:
    """Share of a window's pixels that differ from the neutral picture."""
    return float((np.abs(pictures[name] - pictures["neutral"]).max(axis=2)[window] > 8.0).mean())


def test_three_js_finds_the_head_in_metres_with_its_uvs_and_52_names(
    exported: tuple[Mesh, dict[str, Path]], shown: tuple[dict[str, Any], dict[str, FloatArray]]
) -> None:
    mesh, about = exported[0], shown[0]
    assert about["names"] == list(ARKIT_NAMES)
    assert about["uv"] == about["vertices"] >= len(mesh.vertices)
    # the box that three.js gives holds every shape as well
    assert (np.array(about["low"]) <= 1e-3 * mesh.vertices.min(axis=0) + 1e-4).all()
    assert (np.array(about["high"]) >= 1e-3 * mesh.vertices.max(axis=0) - 1e-4).all()
    assert np.abs([about["low"], about["high"]]).max() < 0.5


def test_a_browser_opens_the_jaw_and_leaves_the_eyes(shown: tuple[dict[str, Any], dict[str, FloatArray]]) -> None:
    pictures = shown[1]
    assert changed(pictures, "jawOpen", MOUTH_LEFT) > 0.1 < changed(pictures, "jawOpen", MOUTH_RIGHT)
    assert changed(pictures, "jawOpen", LEFT_EYE) < 0.01 > changed(pictures, "jawOpen", RIGHT_EYE)


def test_a_browser_shuts_the_left_eye_and_not_the_right_one(
    shown: tuple[dict[str, Any], dict[str, FloatArray]],
) -> None:
    pictures = shown[1]
    assert changed(pictures, "eyeBlinkLeft", LEFT_EYE) > 0.02
    assert changed(pictures, "eyeBlinkLeft", RIGHT_EYE) < 0.002 > changed(pictures, "eyeBlinkLeft", MOUTH_LEFT)


def test_a_browser_smiles_with_the_right_corner_of_the_mouth(
    shown: tuple[dict[str, Any], dict[str, FloatArray]],
) -> None:
    pictures = shown[1]
    smile = [changed(pictures, "mouthSmileRight", side) for side in (MOUTH_RIGHT, MOUTH_LEFT)]
    assert smile[0] > 0.05 and smile[0] > 4.0 * smile[1]
