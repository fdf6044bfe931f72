"""A person's session in a real browser: select, drag, undo, set an expression, upload a scan, compare, save.

Slow, because the browser draws without a graphics card: `make test-browser` runs it, `make test` leaves it out.
"""

from __future__ import annotations

import io
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import trimesh

pytest.importorskip("viser")
pytest.importorskip("playwright")
from playwright import sync_api

from imhead.api import EditableHead
from imhead.checkpoint import load_model
from imhead.studio.session.tab_session import TabSession
from imhead.studio.web.server import StudioConfig, StudioServer, start

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
PATIENCE_MS = 300_000


@pytest.fixture(scope="module")
def server() -> Iterator[StudioServer]:
    made = start(load_model(), StudioConfig(port=0))
    yield made
    made.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[sync_api.Browser]:
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


class Person:
    """Somebody at the page."""

    def __init__(self, browser: sync_api.Browser, server: StudioServer) -> None:
        known = set(server.sessions())
        self.context = browser.new_context(viewport={"width": 1280, "height": 720}, accept_downloads=True)
        self.page = self.context.new_page()
        self.page.set_default_timeout(PATIENCE_MS)
        self.broken: list[str] = []
        self.page.on("pageerror", lambda error: self.broken.append(str(error)))
        self.page.goto(server.address)
        self.wait_for(lambda: len(set(server.sessions()) - known) == 1)
        (tab,) = set(server.sessions()) - known
        self.session: TabSession = server.sessions()[tab]
        self.wait_for(lambda: self.session.shown is not None)
        self.settled()

    def wait_for(self, what: Callable[[], bool], seconds: float = PATIENCE_MS / 1000) -> None:
        until = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < until, "waited too long"
            self.page.wait_for_timeout(100)

    def settled(self) -> None:
        assert self.session.wait(PATIENCE_MS / 1000)

    def button(self, name: str) -> None:
        self.page.get_by_role("button", name=name, exact=True).first.click()
        self.page.wait_for_timeout(300)
        self.settled()

    def tab(self, name: str) -> None:
        self.page.get_by_role("tab", name=name).click()

    def point_at(self, place_mm: np.ndarray) -> tuple[float, float]:
        """Where on the page a point of the head is drawn, in the view from the front."""
        camera = self.session.page._client.camera  # type: ignore[union-attr]
        away = place_mm / 100.0 - np.asarray(camera.position)
        canvas = self.page.locator("canvas[data-engine]").bounding_box()
        assert canvas is not None
        scale = canvas["height"] / 2.0 / np.tan(camera.fov / 2.0) / -away[2]
        look = np.asarray(camera.look_at) - np.asarray(camera.position)
        level = look[1] / look[2] * away[2]  # the picture's middle, so far away
        x = canvas["x"] + canvas["width"] / 2.0 + scale * away[0]
        y = canvas["y"] + canvas["height"] / 2.0 - scale * (away[1] - level)
        return float(x), float(y)

    def saved(self, name: str) -> bytes:
        with self.page.expect_download(timeout=PATIENCE_MS) as caught:
            self.page.get_by_role("button", name=name, exact=True).click()
        return Path(caught.value.path()).read_bytes()


@pytest.fixture
def person(browser: sync_api.Browser, server: StudioServer) -> Iterator[Person]:
    made = Person(browser, server)
    yield made
    assert not made.broken
    made.context.close()


def mesh(content: bytes, kind: str) -> trimesh.Trimesh:
    return trimesh.load(io.BytesIO(content), file_type=kind, process=False, force="mesh")


def test_a_person_edits_a_nose_and_nothing_else(person: Person, shared: Path) -> None:
    page, session = person.page, person.session
    person.button("front")
    first = EditableHead(session.studio.head, session.model)
    x, y = person.point_at(first.balls("nose_tip")[0].center_mm)
    page.mouse.move(x, y)
    page.wait_for_selector("#imhead-region")
    person.wait_for(lambda: page.locator("#imhead-region").inner_text() == "nose tip")
    page.mouse.click(x, y)
    person.wait_for(lambda: session.studio.settings.selection == ("nose_tip",))
    page.get_by_text("nose tip", exact=True).first.wait_for()

    person.tab("Files")
    before = mesh(person.saved("save PLY"), "ply")
    person.tab("Edit")
    slider = page.get_by_role("slider").first
    slider.focus()
    for _ in range(40):
        page.keyboard.press("ArrowRight")
    person.wait_for(lambda: session.studio.history.at > 0)
    person.settled()
    steps = session.studio.history.steps
    assert len(steps) < 12, "values that the slider only passed are not steps"
    person.tab("Files")
    after = mesh(person.saved("save PLY"), "ply")
    head = EditableHead(session.studio.head, session.model)
    outside = np.ones(len(before.vertices), dtype=bool)
    for ball in (*first.posed_balls("nose_tip"), *head.posed_balls("nose_tip")):
        outside &= np.linalg.norm(before.vertices - ball.center_mm, axis=1) > ball.radius_mm + 1.0
    moved = (before.vertices != after.vertices).any(axis=1)
    assert outside.sum() > 1000 and not moved[outside].any()
    assert np.linalg.norm(after.vertices - before.vertices, axis=1).max() > 0.5

    edited = session.studio.head.offsets.tobytes()
    page.locator("canvas[data-engine]").click(position={"x": 30, "y": 500})
    while session.studio.history.at > 0:
        page.keyboard.press("Control+z")
        page.wait_for_timeout(500)
        person.settled()
    assert session.studio.head.offsets.tobytes() == session.model.neutral().offsets.tobytes()
    for _ in steps[1:]:
        page.keyboard.press("Control+Shift+z")
        page.wait_for_timeout(500)
        person.settled()
    assert session.studio.head.offsets.tobytes() == edited

    person.tab("Expression")
    person.button("smile")
    assert (
        "mouthSmileLeft" in session.studio.history.steps[-1].label
        or "6 shapes" in session.studio.history.steps[-1].label
    )

    scan = shared / "scans" / "meshmonk_demoface.ply"
    page.locator("input[type=file]").first.set_input_files(str(scan))
    person.wait_for(lambda: "meshmonk_demoface" in session.studio.document.names(), 900.0)
    person.settled()
    page.get_by_text("median distance").wait_for()
    assert session.fitted["meshmonk_demoface"].median_mm < 0.6

    person.tab("Edit")
    person.button("chin")
    person.button("sample")
    person.tab("History")
    person.button("movement")
    assert session.display == "movement"
    page.get_by_text("movement since it was added").wait_for()
    person.button("now")

    person.tab("Files")
    glb = trimesh.load(io.BytesIO(person.saved("save GLB")), file_type="glb", process=False)
    assert 0.1 < np.ptp(glb.bounds[:, 1]) < 0.6, "a GLB is in metres"


def test_two_tabs_never_see_each_others_heads(browser: sync_api.Browser, server: StudioServer) -> None:
    first, second = Person(browser, server), Person(browser, server)
    assert first.session is not second.session
    first.button("new random head")
    assert len(first.session.studio.document.heads) == 2
    assert len(second.session.studio.document.heads) == 1
    assert second.page.get_by_text("random").count() <= 1  # the button itself
    for person in (first, second):
        person.context.close()


def test_a_reload_returns_to_the_same_session(person: Person) -> None:
    person.button("new random head")
    name = person.session.studio.document.current.name
    person.page.reload()
    person.wait_for(lambda: person.session.shown is not None and person.session.page is not None)
    person.settled()
    assert person.page.locator(f"input[value='{name}']").first.is_visible()


def test_a_page_without_the_key_says_what_to_open(browser: sync_api.Browser, server: StudioServer) -> None:
    page = browser.new_page()
    page.goto(server.address.partition("?")[0])
    assert "open the address" in page.inner_text("body")
    page.close()
