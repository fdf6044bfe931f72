"""A person's sessions in a real browser: select, drag, undo, measure, lock, compare, upload a scan, save, turn.

Slow, because the browser draws without a graphics card: `make test-browser` runs it, `make test` leaves it out.
Pictures of every stage lie in `out/engine/pictures`. axe-core checks the pages, if its npm package is there:

    npm install --prefix out/engine axe-core@4.14.1
"""

from __future__ import annotations

import io
import json
import os
import shutil
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from PIL import Image
from scipy.spatial.transform import Rotation

pytest.importorskip("websockets")
pytest.importorskip("playwright")
from playwright import sync_api

from imhead.api import EditableHead
from imhead.checkpoint import load_model
from imhead.evaluation.virtual_scanner import FRONTAL_PHONE, virtual_scan
from imhead.io.live_link import read_take
from imhead.io.mesh_file import write_mesh
from imhead.regions import groups
from imhead.studio.session.tab_session import TabSession
from imhead.studio.state.commands.expression import clipped_arkit_weights
from imhead.studio.web.server import StudioConfig, StudioServer, start
from imhead.types import Mesh

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

CHROMIUM = os.environ.get("IMHEAD_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
ENGINE = Path(__file__).resolve().parents[2] / "out" / "engine"
AXE = Path(os.environ.get("IMHEAD_NODE_MODULES", ENGINE / "node_modules")) / "axe-core" / "axe.min.js"
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

    def __init__(self, browser: sync_api.Browser, server: StudioServer, **context: Any) -> None:
        known = set(server.sessions())
        options: dict[str, Any] = {"viewport": {"width": 1280, "height": 720}, "accept_downloads": True} | context
        self.context = browser.new_context(**options)
        self.page = self.context.new_page()
        self.page.set_default_timeout(PATIENCE_MS)
        self.broken: list[str] = []
        self.page.on("pageerror", lambda error: self.broken.append(str(error)))
        self.page.on("console", lambda line: self.broken.append(line.text) if line.type == "error" else None)
        self.page.goto(server.address)
        self.wait_for(lambda: len(set(server.sessions()) - known) == 1)
        (tab,) = set(server.sessions()) - known
        self.session: TabSession = server.sessions()[tab]
        self.wait_for(lambda: self.session.shown is not None)
        self.settled()

    def wait_for(self, what: Callable[[], Any], seconds: float = PATIENCE_MS / 1000) -> None:
        until = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < until, "waited too long"
            self.page.wait_for_timeout(100)

    def settled(self) -> None:
        assert self.session.wait(PATIENCE_MS / 1000)
        self.page.wait_for_timeout(300)

    def button(self, name: str, within: str = "body") -> None:
        self.page.locator(within).get_by_role("button", name=name, exact=True).first.click()
        self.page.wait_for_timeout(300)
        self.settled()

    def key(self, name: str) -> None:
        self.page.locator("#view").focus()
        self.page.keyboard.press(name)
        self.page.evaluate("document.activeElement.blur()")  # its ring is no part of the picture
        self.page.wait_for_timeout(300)
        self.settled()

    def tab(self, name: str) -> None:
        self.page.get_by_role("tab", name=name).click()

    def point_at(self, place_mm: np.ndarray) -> tuple[float, float]:
        """Where on the page a point of the head is drawn, in the view from the front."""
        box = self.page.locator("#view").bounding_box()
        assert box is not None
        away = 830.0 - place_mm[2]  # as client/view.js places its camera, but for a little height
        scale = box["height"] / 2.0 / np.tan(np.radians(12.0)) / away
        height = place_mm[1] - 6.0 - 0.04 * place_mm[2]
        return float(box["x"] + box["width"] / 2.0 + scale * place_mm[0]), float(
            box["y"] + box["height"] / 2.0 - scale * height
        )

    def saved(self, name: str) -> bytes:
        with self.page.expect_download(timeout=PATIENCE_MS) as caught:
            self.page.get_by_role("button", name=name, exact=True).click()
        return Path(caught.value.path()).read_bytes()

    def picture(self, name: str) -> np.ndarray:
        """A screenshot, kept for a person to look at; the view alone as an array."""
        folder = ENGINE / "pictures"
        folder.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=folder / f"studio_{name}.png")
        return np.asarray(Image.open(io.BytesIO(self.page.locator("#view").screenshot())).convert("RGB"), dtype=float)

    def faults(self) -> list[str]:
        """Serious faults that axe-core finds, one line each."""
        if not AXE.is_file():
            pytest.skip("the npm package axe-core is not installed; the head of this file says how")
        self.page.evaluate(AXE.read_text(encoding="utf-8"))
        found = self.page.evaluate("() => axe.run(document, {resultTypes: ['violations']})")
        return [
            f"{fault['id']}: {node['html'][:160]} {json.dumps([c['message'] for c in node['any']])[:200]}"
            for fault in found["violations"] if fault["impact"] in ("serious", "critical")
            for node in fault["nodes"]
        ]  # fmt: skip


@pytest.fixture
def person(browser: sync_api.Browser, server: StudioServer) -> Iterator[Person]:
    made = Person(browser, server)
    yield made
    assert made.broken == []
    made.context.close()


def mesh(content: bytes, kind: str) -> trimesh.Trimesh:
    return trimesh.load(io.BytesIO(content), file_type=kind, process=False, force="mesh")


def test_a_person_edits_a_nose_and_nothing_else(person: Person, shared: Path) -> None:
    page, session = person.page, person.session
    person.button("front")
    first = EditableHead(session.studio.head, session.model)
    x, y = person.point_at(first.balls("nose_tip")[0].center_mm)
    page.mouse.move(x, y)
    person.wait_for(lambda: page.locator("#pointer-name").inner_text() == "nose tip")
    page.mouse.click(x, y)
    person.wait_for(lambda: session.studio.settings.selection == ("nose_tip",))
    page.get_by_role("heading", name="nose tip").wait_for()
    person.settled()
    before = mesh(_saved_under(person, "PLY"), "ply")

    person.tab("Edit")
    slider = page.get_by_role("slider", name="shape 1").first
    slider.focus()
    for _ in range(30):
        page.keyboard.press("ArrowRight")
    page.get_by_role("heading", name="nose tip").click()
    person.wait_for(lambda: session.studio.history.at > 0)
    person.settled()
    assert len(session.studio.history.steps) == 2, "values that the slider only passed are not steps"
    after = mesh(_saved_under(person, "PLY"), "ply")
    head = EditableHead(session.studio.head, session.model)
    outside = np.ones(len(before.vertices), dtype=bool)
    for ball in (*first.posed_balls("nose_tip"), *head.posed_balls("nose_tip")):
        outside &= np.linalg.norm(before.vertices - ball.center_mm, axis=1) > ball.radius_mm + 1.0
    moved = (before.vertices != after.vertices).any(axis=1)
    assert outside.sum() > 1000 and not moved[outside].any()
    assert np.linalg.norm(after.vertices - before.vertices, axis=1).max() > 0.5

    edited = session.studio.head.offsets.tobytes()
    person.key("Control+z")
    assert session.studio.head.offsets.tobytes() == session.model.neutral().offsets.tobytes()
    person.key("Control+Shift+z")
    assert session.studio.head.offsets.tobytes() == edited

    person.tab("Expression")
    person.button("smile")
    assert "6 shapes" in session.studio.history.steps[-1].label
    person.picture("smile")

    scan = shared / "scans" / "meshmonk_demoface.ply"
    page.locator("input[type=file]").set_input_files(str(scan))
    page.locator("#jobs progress").wait_for()
    person.wait_for(lambda: "meshmonk_demoface" in session.studio.document.names(), 900.0)
    person.settled()
    page.get_by_text("median distance").wait_for()
    assert session.scan is not None and session.scan.median_mm < 0.6
    person.picture("scan")

    person.tab("Edit")
    person.button("chin")
    person.button("Random")
    person.button("Movement")
    assert session.display == "movement"
    page.get_by_text("movement since it was added").wait_for()
    person.picture("movement")
    person.button("Side by side")
    person.picture("beside")
    person.button("Now")
    glb = trimesh.load(io.BytesIO(_saved_under(person, "Mesh (GLB)")), file_type="glb", process=False)
    assert 0.1 < np.ptp(glb.bounds[:, 1]) < 0.6, "a GLB is in metres"


def _saved_under(person: Person, name: str) -> bytes:
    person.tab("Save")
    return person.saved(name)


def test_selection_locks_measurements_and_history_do_what_they_say(person: Person) -> None:
    page, session = person.page, person.session
    assert page.get_by_role("button", name="Lock").is_disabled(), "nothing is selected"
    assert page.get_by_role("button", name="Random", exact=True).is_disabled()
    assert page.get_by_role("button", name="Undo").count() == 0 or page.get_by_role("button", name="Undo").is_disabled()
    plain = person.picture("start")

    page.get_by_label("one part").select_option("left_cheek")
    person.settled()
    page.mouse.move(5, 300)
    tinted = person.picture("cheek")
    assert np.abs(tinted - plain).max() > 40.0
    person.key("t")
    assert np.abs(person.picture("untinted") - plain).mean() < 1.0, "the tint is off"
    person.key("t")
    person.key("f")
    assert np.abs(person.picture("framed") - tinted).mean() > 5.0, "F brings the selection close"
    person.button("¾")
    person.key("Escape")
    assert session.studio.settings.selection == ()
    person.button("nose")
    assert len(session.studio.settings.selection) > 1
    page.mouse.click(290, 400)
    person.settled()
    assert session.studio.settings.selection == (), "a click beside the head deselects"

    person.button("mouth")
    person.button("Lock")
    person.key("Escape")
    assert np.abs(person.picture("locked") - plain).max() > 30.0, "locks are seen"
    page.get_by_text("striped on the head").wait_for()
    person.button("mouth")
    assert page.get_by_role("button", name="Random", exact=True).is_disabled(), "all of it is locked"
    person.button("Unlock all")

    person.button("nose")
    person.button("front")
    steps = len(session.studio.history.steps)
    x, y = person.point_at(EditableHead(session.studio.head, session.model).balls("nose_tip")[0].center_mm)
    person.button("drag surface")
    page.mouse.move(x, y)
    page.mouse.down()
    for k in range(900):  # until the page knows where this point can go
        page.mouse.move(x + k % 2, y - min(k, 30))
        page.wait_for_timeout(200)
        if session.studio.drafting:
            break
    person.picture("pulled")
    page.mouse.up()
    person.wait_for(lambda: len(session.studio.history.steps) == steps + 1)
    assert session.studio.history.steps[-1].label.startswith("nose: ")
    person.button("drag surface")
    person.key("Control+z")
    field = page.locator(".measure input").first
    now = float(field.input_value())
    field.focus()
    page.get_by_text("can reach").first.wait_for()
    field.fill(str(now + 60.0))
    page.keyboard.press("Enter")
    page.get_by_role("alert").wait_for()
    person.picture("out_of_reach")
    page.get_by_role("button", name="Use ").click()
    person.settled()
    person.wait_for(lambda: float(field.input_value()) > now + 0.5)
    person.picture("reached")

    page.once("dialog", lambda dialog: dialog.accept("longer nose"))
    person.tab("History")
    page.get_by_role("button", name="name the step").first.click()
    person.wait_for(lambda: "longer nose" in [step.label for step in session.studio.history.steps])
    person.picture("history")
    person.tab("Heads")
    person.button("New random head")
    person.button("Rename")
    page.get_by_label("new name of the head").fill("someone")
    page.keyboard.press("Enter")
    person.wait_for(lambda: session.studio.document.current.name == "someone")
    page.get_by_text("From another head").click()
    assert page.get_by_label("head to copy from").locator("option").all_inner_texts() == ["mean head"]


def test_drawing_turning_and_errors(person: Person) -> None:
    page = person.page
    page.locator("input[type=file]").set_input_files({"name": "face.docx", "mimeType": "", "buffer": b"x"})
    alert = page.get_by_role("alert")
    alert.wait_for()
    assert alert.count() == 1 and "cannot be opened" in alert.inner_text()
    page.get_by_role("button", name="close this message").click()
    clay = person.picture("clay")
    page.get_by_label("surface").select_option("skin")
    person.wait_for(lambda: np.abs(person.picture("skin") - clay).mean() > 2.0)
    page.get_by_label("surface").select_option("matcap")
    person.picture("matcap")
    page.get_by_label("light").select_option("side")
    page.get_by_label("surface").select_option("clay")
    assert np.abs(person.picture("side_light") - clay).mean() > 2.0
    person.key("w")
    person.picture("wireframe")
    person.key("w")
    page.get_by_label("light").select_option("studio")
    person.tab("Save")
    with page.expect_download(timeout=PATIENCE_MS) as caught:
        page.get_by_role("button", name="Turntable").click()
    spin = Image.open(caught.value.path())
    assert (spin.format, spin.size, spin.n_frames) == ("WEBP", (512, 512), 48)  # type: ignore[attr-defined]
    spin.seek(12)
    spin.convert("RGB").save(ENGINE / "pictures" / "studio_turntable.png")
    with page.expect_download(timeout=PATIENCE_MS) as caught:
        page.get_by_role("button", name="Avatar (GLB)").click()
    assert Path(caught.value.path()).read_bytes()[:4] == b"glTF" and caught.value.suggested_filename.endswith(".glb")
    page.get_by_role("button", name="Report").click()
    page.get_by_role("button", name="cancel mean head: report").click()
    person.wait_for(lambda: page.locator(".job").count() == 0)


@pytest.mark.parametrize(("size", "scheme"), [((1280, 720), "light"), ((1920, 1080), "dark"), ((900, 700), "light")])
def test_axe_finds_no_serious_fault_and_nothing_overflows(
    browser: sync_api.Browser, server: StudioServer, size: tuple[int, int], scheme: str
) -> None:
    view = {"width": size[0], "height": size[1]}
    person = Person(browser, server, viewport=view, color_scheme=scheme)
    name = f"{size[0]}_{scheme}"
    found = person.faults()
    person.button("nose")
    for tab in ("History", "Expression", "Save", "Edit"):
        person.tab(tab)
        person.page.wait_for_timeout(1500)
        person.picture(f"{name}_{tab.lower()}")
        found += person.faults()
    person.tab("Expression")
    person.page.get_by_role("button", name="Play every expression").click()
    person.wait_for(lambda: not person.page.locator("#take .time").inner_text().startswith("0.0"))
    person.page.get_by_role("button", name="pause").click()
    person.picture(f"{name}_take")
    found += person.faults()
    person.page.get_by_role("button", name="put the take away").click()
    person.button("New random head")
    person.button("Split")
    person.picture(f"{name}_split")
    found += person.faults()
    assert sorted(set(found)) == []
    wide = person.page.evaluate(
        "() => [...document.querySelectorAll('aside *')].filter((e) => e.clientWidth && !e.matches('.unseen')"
        " && e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).overflowX !== 'visible')"
        ".map((e) => e.outerHTML.slice(0, 120))"
    )
    assert wide == []
    assert person.broken == []
    person.page.set_viewport_size({"width": 700, "height": 700})
    assert person.page.get_by_text("too narrow").is_visible() and not person.page.locator("#view").is_visible()
    person.context.close()


def test_a_take_is_opened_played_scrubbed_and_saved(person: Person, shared: Path) -> None:
    page, session = person.page, person.session
    page.get_by_label("surface").select_option("skin")
    person.button("front")
    person.tab("Expression")
    person.wait_for(lambda: page.locator(".presets img").count() == 8)
    person.picture("take_none")
    page.locator("input[type=file]").set_input_files(
        {"name": "people.csv", "mimeType": "", "buffer": b"name,age\nA,3\n"}
    )
    page.get_by_role("alert").wait_for()
    assert "people.csv: its first line names no ARKit weight" in page.get_by_role("alert").inner_text()
    page.get_by_role("button", name="close this message").click()
    page.locator("input[type=file]").set_input_files(str(shared / "takes" / "live_link_face.csv"))
    page.get_by_text("live_link_face: 328 frames").wait_for()
    take = read_take(shared / "takes" / "live_link_face.csv")
    bar, clock = page.locator("#take"), page.locator("#take .time")
    person.wait_for(lambda: "ready" not in bar.inner_text())
    assert clock.inner_text() == f"0.00 / {take.seconds[-1]:.2f} s"
    before = len(session.studio.history.steps)

    scrub = page.get_by_label("time in the take")
    shown = []
    for second in (0.5, 2.0, 3.5):
        scrub.fill(str(second))
        assert clock.inner_text().startswith(f"{second:.2f} /")
        page.wait_for_timeout(400)
        shown.append(person.picture(f"take_{second:g}"))
    assert all(np.abs(one - other).mean() > 0.3 for one, other in pairwise(shown))
    scrub.fill("2.0")
    page.wait_for_timeout(400)
    assert np.abs(person.picture("take_again") - shown[1]).mean() < 0.05, "a time has one frame"
    sent: list[int] = []
    page.on("websocket", lambda socket: socket.on("framereceived", lambda _: sent.append(1)))

    page.get_by_role("button", name="play", exact=True).click()
    began = time.monotonic()
    person.wait_for(lambda: clock.inner_text().startswith(f"{take.seconds[-1]:.2f}"))
    lasted = time.monotonic() - began
    assert take.seconds[-1] - 2.0 - 0.5 < lasted < take.seconds[-1] - 2.0 + 2.0, "a slow page drops frames, no time"
    assert page.get_by_role("button", name="play", exact=True).is_visible(), "it stops at its end"
    assert len(session.studio.history.steps) == before and sent == []

    scrub.fill("2.0")
    page.get_by_role("button", name="Keep frame").click()
    person.wait_for(lambda: len(session.studio.history.steps) == before + 1)
    person.settled()
    kept = clipped_arkit_weights(session.model, session.studio.head)
    wanted = [np.interp(2.0, take.seconds, column) for column in take.weights.T]
    assert np.abs(kept - wanted).max() < 0.05
    page.get_by_role("button", name="put the take away").click()
    assert not bar.is_visible()
    person.tab("Save")
    page.get_by_text("play live_link_face").wait_for()
    person.picture("take_save")
    data = person.saved("Avatar (GLB)")
    (length,) = struct.unpack_from("<I", data, 12)
    assert [clip["name"] for clip in json.loads(data[20 : 20 + length])["animations"]] == ["take"]
    moving = Image.open(io.BytesIO(person.saved("Preview")))
    assert moving.format == "WEBP" and moving.n_frames == round(12.5 * take.seconds[-1])  # type: ignore[attr-defined]
    moving.seek(20)
    moving.convert("RGB").save(ENGINE / "pictures" / "studio_take_preview.png")


def test_the_page_reads_times_and_turns_as_the_package_does(person: Person) -> None:
    rng = np.random.default_rng(0)
    seconds = np.cumsum(rng.uniform(0.01, 0.2, 40))
    table = rng.random((40, 5)).astype(np.float32)
    times = [0.0, *rng.uniform(0.0, seconds[-1], 20).tolist(), seconds[-1] + 1.0]
    rows = person.page.evaluate(
        "async ([s, t, at]) => { const { rowAt } = await import('player');"
        " return at.map((second) => [...rowAt(s, t, 5, second)]); }",
        [seconds.tolist(), table.ravel().tolist(), times],
    )
    np.testing.assert_allclose(rows, [[np.interp(k, seconds, c) for c in table.T] for k in times], atol=1e-5)
    angles = rng.uniform(-1.0, 1.0, (10, 3)).tolist()
    turns = person.page.evaluate(
        "async (all) => { const { turned } = await import('player'); return all.map((one) => turned(...one)); }", angles
    )
    np.testing.assert_allclose(turns, Rotation.from_euler("YXZ", angles).as_matrix(), atol=1e-12)


def test_every_expression_plays_and_an_edit_ends_it(person: Person) -> None:
    page = person.page
    person.button("front")
    rest = person.picture("every_rest")
    person.tab("Expression")
    page.get_by_role("button", name="Play every expression").click()
    clock = page.locator("#take .time")
    person.wait_for(lambda: float(clock.inner_text().split()[0]) > 0.3)
    page.get_by_role("button", name="pause").click()
    page.get_by_label("time in the take").fill(str(17.5 * 1.4))
    page.wait_for_timeout(500)
    assert page.locator("#take .about").inner_text() == "jaw open"
    assert np.abs(person.picture("every_jaw") - rest).mean() > 0.5
    person.tab("Edit")
    person.button("nose")
    page.mouse.move(5, 300)
    person.button("Random")
    assert "jaw" not in person.session.studio.history.steps[-1].label
    person.key("Space")
    person.wait_for(lambda: page.get_by_role("button", name="pause").is_visible())
    person.key("Space")
    page.get_by_role("button", name="put the take away").click()


def test_two_heads_side_by_side_and_parted(person: Person) -> None:
    page, session = person.page, person.session
    person.button("New random head")
    person.button("New random head")
    person.button("Side by side")
    person.button("front")
    first = person.picture("beside_itself")
    page.get_by_label("with").select_option("mean head")
    person.wait_for(lambda: session.other is not None)
    person.settled()
    beside = person.picture("beside_other")
    middle = beside.shape[1] // 2
    assert np.abs(beside - first)[:, : middle - 30].mean() > 0.5, "another head on the left"
    person.button("Split")
    split = person.picture("split")
    line = page.get_by_role("separator", name="where the view is parted")
    box = line.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, 200)
    page.mouse.down()
    page.mouse.move(box["x"] + 130, 200, steps=4)
    page.mouse.up()
    page.wait_for_timeout(400)
    moved = person.picture("split_moved")
    assert int(line.get_attribute("aria-valuenow") or 0) > 60
    assert np.abs(moved - split)[:, : middle - 60].mean() < 0.3, "the left side stays"
    assert np.abs(moved - split)[:, middle + 20 : middle + 110].mean() > 0.5
    person.button("profile")
    person.picture("split_profile")
    person.button("Movement")
    page.get_by_text("movement from mean head").wait_for()
    person.picture("movement_from_other")


@pytest.fixture(scope="module")
def operated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two scans of one person in other poses, the chin 4 mm farther forward in the second."""
    head = EditableHead(load_model().neutral(), load_model()).sample(sorted(groups()), seed=5)
    mesh = head.mesh(surface="template")
    chin = head.landmarks()["pogonion"]
    grown = 4.0 * np.exp(-0.5 * np.square(np.linalg.norm(mesh.vertices - chin, axis=1) / 12.0))
    folder, rng = tmp_path_factory.mktemp("operated"), np.random.default_rng(1)
    paths = folder / "visit_before.ply", folder / "visit_after.ply"
    for path, forward in zip(paths, (0.0, grown)):
        moved = Mesh(mesh.vertices + np.outer(forward * np.ones(len(grown)), [0.0, 0.0, 1.0]), mesh.faces)
        scan = virtual_scan(moved, replace(FRONTAL_PHONE, unit="mm"), rng, path.stem).scan
        assert scan.faces is not None
        write_mesh(Mesh(scan.points, scan.faces), path)
    return paths


def test_two_scans_of_a_person_show_where_the_chin_was_moved(person: Person, operated: tuple[Path, Path]) -> None:
    page, session = person.page, person.session
    for path in operated:
        page.locator("input[type=file]").set_input_files(str(path))
        person.wait_for(lambda path=path: path.stem in session.studio.document.names(), 900.0)
        person.settled()
    person.button("Side by side")
    page.get_by_label("with").select_option("visit_before")
    person.settled()
    person.button("front")
    person.picture("two_scans")
    assert [scan is not None for scan in session._shown_scans()] == [True, True]
    assert page.get_by_label("scan before").locator("option").all_inner_texts() == ["visit_before"]
    page.get_by_role("button", name="Compare the scans").click()
    page.locator("#jobs progress").wait_for()
    person.picture("two_scans_compared")
    person.wait_for(lambda: session.display == "change", 1200.0)
    person.settled()
    page.get_by_text("moved by more than the noise").wait_for()
    page.get_by_text("white is within the noise").wait_for()
    beyond = person.picture("change_beyond")
    change = session.scan_change
    assert change is not None and 0.1 < change.noise_mm < 1.0
    region, mean, error, volume = change.places[0]
    assert "chin" in region and mean > 1.0 and volume > 0.5 and 2.0 * error < mean
    assert len(change.places) == 1, "nothing else changed"
    page.get_by_label("only what is beyond the noise").uncheck()
    person.settled()
    assert np.abs(person.picture("change_all") - beyond).mean() > 0.3
    with page.expect_download(timeout=PATIENCE_MS) as caught:
        page.get_by_role("button", name="Save its report").click()
    report = Path(caught.value.path()).read_text(encoding="utf-8")
    assert "visit_before" in report and "visit_after" in report and "not a medical device" in report
    person.tab("Edit")
    person.button("nose")
    assert session.display == "change", "to look at a region is no edit"
    person.button("Random")
    assert session.display == "now"


def test_two_tabs_never_see_each_others_heads(browser: sync_api.Browser, server: StudioServer) -> None:
    first, second = Person(browser, server), Person(browser, server)
    assert first.session is not second.session
    first.button("New random head")
    assert len(first.session.studio.document.heads) == 2
    assert len(second.session.studio.document.heads) == 1
    assert second.page.locator(".heads li").count() == 1
    for person in (first, second):
        person.context.close()


def test_a_reload_returns_to_the_same_session(person: Person) -> None:
    person.button("New random head")
    name = person.session.studio.document.current.name
    person.page.reload()
    person.wait_for(lambda: person.session.shown is not None and person.session.page is not None)
    person.settled()
    assert person.page.get_by_role("button", name=name).first.is_visible()


def test_a_page_without_the_key_says_what_to_open(browser: sync_api.Browser, server: StudioServer) -> None:
    page = browser.new_page()
    page.goto(server.address.partition("?")[0])
    assert "open the address" in page.inner_text("body")
    page.close()
