"""An avatar in programs that know nothing of this project: Khronos's validator, and three.js in a browser.

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

from imhead import Look, load
from imhead.checkpoint import load_model
from imhead.conventions import ARKIT_NAMES
from imhead.io.live_link import Take
from imhead.template.surface import template_path
from imhead.types import FloatArray

HERE = Path(__file__).resolve().parent
PACKAGES = Path(os.environ.get("IMHEAD_NODE_MODULES", HERE.parents[1] / "out" / "engine" / "node_modules"))
CHROMIUM = os.environ.get("IMHEAD_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
MISSING = "is not installed; tests/engine/README.md says how"
EYE: dict[str, Any] = {"at": [0.033, 0.03, 0.08], "half": 0.03}
MOUTH: dict[str, Any] = {"at": [0.0, -0.045, 0.09], "half": 0.045}
SHOWN: dict[str, dict[str, Any]] = {
    "face": {},
    "eye": EYE,
    "blink": EYE | {"weights": {"eyeBlinkLeft": 1.0}},
    "gaze": EYE | {"weights": {"eyeLookOutLeft": 0.8}},
    "mouth": MOUTH,
    "open": MOUTH | {"weights": {"jawOpen": 0.4}},
    "start": {"seconds": 0.0},
    "turned": {"seconds": 1.0},
    "back": {"seconds": 1.9},
}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def packages() -> Path:
    if shutil.which("node") is None:
        pytest.skip(f"node {MISSING}")
    for name in ("gltf-validator", "three"):
        if not (PACKAGES / name).is_dir():
            pytest.skip(f"the npm package {name} {MISSING}")
    return PACKAGES


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Avatars of a drawn head, driven by shapes and by joints, with a take that turns the head and opens the jaw."""
    path = load_model("default").path
    if path is None or not template_path(path).is_file():
        pytest.skip("the shipped model has no template")
    seconds = np.linspace(0.0, 2.0, 60)
    weights, angles = np.zeros((60, 52)), np.zeros((60, 9))
    weights[:, ARKIT_NAMES.index("jawOpen")] = 0.4 * np.sin(seconds * np.pi / 2)
    angles[:, 0] = 0.5 * np.sin(seconds * np.pi / 2)
    head = load(device="cpu").sample(1, seed=11)[0]
    folder = tmp_path_factory.mktemp("avatar")
    found = {drive: folder / f"{drive}.glb" for drive in ("morphs", "joints")}
    for drive, file in found.items():
        head.avatar(file, Look(texture=1024, drive=drive), Take(seconds, weights, angles))  # type: ignore[arg-type]
    return found


@pytest.mark.parametrize("drive", ["morphs", "joints"])
def test_the_khronos_validator_finds_no_error_and_no_warning(
    packages: Path, files: dict[str, Path], drive: str
) -> None:
    words = ["node", str(HERE / "validate.mjs"), str(packages), str(files[drive])]
    issues = json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout)
    assert (issues["numErrors"], issues["numWarnings"]) == (0, 0), issues["messages"]


@pytest.fixture(scope="module")
def shown(packages: Path, files: dict[str, Path]) -> Iterator[tuple[dict[str, Any], dict[str, FloatArray]]]:
    """What three.js says of the file, and its pictures (640, 640, 3) of each entry of SHOWN."""
    if find_spec("playwright") is None:
        pytest.skip(f"playwright {MISSING}")
    if CHROMIUM is None:
        pytest.skip(f"Chromium {MISSING}")
    from playwright.sync_api import sync_playwright

    served = {"/avatar.html": HERE / "avatar.html", "/avatar.glb": files["morphs"]}
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Served, files=served, packages=packages))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    flags = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
    kept = packages.parent / "pictures"
    kept.mkdir(exist_ok=True)
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=flags)
        page = browser.new_page(viewport={"width": 640, "height": 640})
        page.set_default_timeout(600_000)
        page.goto(f"http://127.0.0.1:{server.server_port}/avatar.html")
        page.wait_for_function("window.avatar || window.failed")
        assert page.evaluate("window.failed") is None
        about = page.evaluate("({...window.avatar, show: null})")
        pictures = {}
        for name, view in SHOWN.items():
            page.evaluate("view => window.avatar.show(view)", view)
            data = page.locator("canvas").screenshot(path=kept / f"avatar_{name}.png")
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


def test_three_js_finds_the_parts_the_bones_and_the_take(
    shown: tuple[dict[str, Any], dict[str, FloatArray]],
) -> None:
    about = shown[0]
    meshes = {mesh["name"]: mesh for mesh in about["meshes"]}
    assert {"skin", "teeth", "tongue", "lashes", "eye_left", "eye_right"} <= set(meshes)
    assert meshes["skin"]["names"] == list(ARKIT_NAMES)
    assert meshes["skin"]["textured"] and meshes["eye_left"]["textured"]
    assert about["bones"] == ["neck", "head", "jaw", "left_eye", "right_eye"]
    assert about["takes"] == [["take", pytest.approx(2.0)]]


def test_an_eye_has_an_iris_and_a_pupil_and_a_blink_hides_them(
    shown: tuple[dict[str, Any], dict[str, FloatArray]],
) -> None:
    middle = (slice(290, 350), slice(290, 350))
    open_eye, shut = (shown[1][name][middle].mean(axis=2) for name in ("eye", "blink"))
    assert open_eye.min() < 45.0  # the pupil
    white, lid = ((shown[1][name].min(axis=2) > 160.0).mean() for name in ("eye", "blink"))
    assert white > 0.004 and lid < 0.1 * white
    assert shut.min() > open_eye.min() or shut.mean() > 60.0


def test_a_gaze_moves_the_pupil_to_the_side(shown: tuple[dict[str, Any], dict[str, FloatArray]]) -> None:
    columns = []
    for name in ("eye", "gaze"):
        dark = shown[1][name].max(axis=2) < 60.0
        dark[:200] = dark[450:] = False
        columns.append(np.median(np.nonzero(dark)[1]))
    assert columns[1] > columns[0] + 25.0  # the subject's left is on the right


def test_an_open_mouth_shows_teeth(shown: tuple[dict[str, Any], dict[str, FloatArray]]) -> None:
    rows = (slice(180, 460), slice(180, 460))
    bright = [(shown[1][name][rows].min(axis=2) > 150.0).mean() for name in ("mouth", "open")]
    assert bright[1] > bright[0] + 0.003


def test_the_take_turns_the_head(shown: tuple[dict[str, Any], dict[str, FloatArray]]) -> None:
    turned, back = (
        (np.abs(shown[1][name] - shown[1]["start"]).max(axis=2) > 12.0).mean() for name in ("turned", "back")
    )
    assert turned > 0.1 and back < turned
