"""A 3D view is one file that asks nobody for anything."""

from __future__ import annotations

import base64
import html
import json
import re
import shutil
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from hypothesis import given
from hypothesis import strategies as st

from imhead.errors import InputError
from imhead.reports.scene_page import ScenePart, scene_page
from imhead.types import Mesh


def ball(radius: float = 90.0) -> Mesh:
    made = trimesh.creation.icosphere(3, radius=radius)
    return Mesh(np.asarray(made.vertices) + [0.0, 20.0, 0.0], np.asarray(made.faces))


def scene_of(text: str) -> dict[str, Any]:
    found = re.search(r'<script id="scene"[^>]*>(.*?)</script>', text, re.DOTALL)
    assert found
    scene: dict[str, Any] = json.loads(found[1])
    return scene


def array(text: str, dtype: str) -> np.ndarray[Any, Any]:
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), dtype=dtype).reshape(-1, 3)


def test_the_page_holds_the_mesh_to_a_hundredth_of_a_millimetre() -> None:
    mesh = ball()
    scene = scene_of(scene_page([ScenePart("ball", mesh)]).text)
    (packed,) = scene["meshes"]
    places = np.array(scene["low"]) + array(packed["places"], "<u2") / 65_535 * np.array(scene["side"])
    assert np.abs(places - mesh.vertices).max() < 0.01
    np.testing.assert_array_equal(array(packed["faces"], "<u4"), mesh.faces)


def test_the_page_makes_no_request() -> None:
    text = scene_page([ScenePart("ball", ball())]).text
    assert not re.search(r"https?:|//cdn|<link|src=|fetch\(|import\s", text)


@given(name=st.text(max_size=200))
def test_no_name_of_a_part_ends_the_data_or_the_frame(name: str) -> None:
    page = scene_page([ScenePart(name + "</script><b>", Mesh(np.eye(3), [[0, 1, 2]]))])
    assert page.text.count("<script") == page.text.count("</script>") == 2
    shown = page._repr_html_()
    assert shown.count("<") == 2 and html.unescape(shown).count(page.text) == 1


def test_a_mesh_that_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(InputError, match="meshes with faces"):
        scene_page([])
    with pytest.raises(InputError, match="one for each vertex"):
        scene_page([ScenePart("ball", ball(), colors=np.zeros((3, 3), dtype=np.uint8))])
    many = Mesh(np.eye(3), np.tile([0, 1, 2], (1_000_001, 1)))
    with pytest.raises(InputError, match="too many"):
        scene_page([ScenePart("many", many)])
    with pytest.raises(InputError, match=r"ends in \.html"):
        scene_page([ScenePart("ball", ball())]).save("ball.png")


@pytest.mark.slow
def test_a_browser_draws_the_page_from_a_file_without_a_network(tmp_path: Path) -> None:
    sync_api = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    scene_page([ScenePart("ball", ball()), ScenePart("small", ball(20.0), (40, 90, 200))]).save(tmp_path / "ball.html")
    flags = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=flags)
        page = browser.new_context(offline=True).new_page()
        broken: list[str] = []
        page.on("pageerror", lambda error: broken.append(str(error)))
        page.goto((tmp_path / "ball.html").as_uri())
        page.wait_for_selector("body[data-drawn='2560']", timeout=60_000)
        before = page.locator("canvas").screenshot()
        page.get_by_label("ball").uncheck()
        page.wait_for_timeout(500)
        after = page.locator("canvas").screenshot()
        browser.close()
    assert not broken and before != after
