"""A tab's session, seen by a page that writes down what it is told."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import trimesh

from imhead.api import EditableHead
from imhead.checkpoint import Model
from imhead.errors import InputError
from imhead.regions import resolve
from imhead.studio.session import tab_session as session_module
from imhead.studio.session.exports import KINDS
from imhead.studio.session.tab_session import SORRY, Shown, TabSession
from imhead.studio.state.commands import MoveAlong, RandomHead, SampleRegions, SetExpression, ShowHead
from imhead.studio.state.studio import Studio
from imhead.types import FloatArray, Mesh


class WrittenPage:
    """A page that shows nothing and remembers everything."""

    def __init__(self) -> None:
        self.meshes: list[Mesh] = []
        self.whole: list[Shown] = []
        self.colors: list[FloatArray | None] = []
        self.told: list[str] = []
        self.files: dict[str, bytes] = {}
        self.stages: list[tuple[str, float | None]] = []
        self.over = threading.Event()

    def show(self, mesh: Mesh) -> None:
        self.meshes.append(mesh)

    def show_whole(self, shown: Shown, colors: FloatArray | None, limit_mm: float) -> None:
        self.whole.append(shown)
        self.colors.append(colors)

    def sync(self) -> None:
        pass

    def progress(self, stage: str, part: float | None) -> None:
        self.stages.append((stage, part))
        if part is None:
            self.over.set()

    def download(self, name: str, content: bytes) -> None:
        self.files[name] = content
        self.over.set()

    def tell(self, sentence: str, *, error: bool = False) -> None:
        self.told.append(sentence)
        self.over.set()


Opened = tuple[TabSession, WrittenPage]


@pytest.fixture
def opened(model: Model) -> Iterator[Opened]:
    session, page = TabSession(model, threading.Lock()), WrittenPage()
    session.attach(lambda: page)
    assert session.wait()
    yield session, page
    session.close()
    session.join()


def test_the_page_shows_the_surface_of_the_head_that_is_edited(opened: Opened) -> None:
    session, page = opened
    session.do(RandomHead(3))
    session.change(lambda studio: studio.select("nose"))
    session.do(SampleRegions(session.studio.scope, 1))
    session.change(lambda studio: studio.do(SampleRegions(studio.scope, 2)))
    assert session.wait()
    assert page.told == ["no region is selected; click one on the head first"]
    exact = EditableHead(session.studio.head, session.model).mesh(surface="template")
    np.testing.assert_array_equal(page.whole[-1].mesh.vertices, exact.vertices)


def test_a_drag_is_shown_as_it_moves_and_becomes_one_step(opened: Opened) -> None:
    session, page = opened
    session.change(lambda studio: studio.select("nose"))
    assert session.wait()
    steps = len(session.studio.history.steps)
    for sigma in np.linspace(0.0, 2.0, 12):
        session.draft(lambda studio, s=float(sigma): MoveAlong(studio.scope, 0, s))  # type: ignore[misc]
        time.sleep(0.01)
    assert session.wait()
    assert len(session.studio.history.steps) == steps + 1
    assert "+2.00" in session.studio.history.steps[-1].label
    assert page.meshes
    np.testing.assert_array_equal(page.whole[-1].mesh.faces, page.meshes[-1].faces)


def test_a_slider_that_moves_on_does_not_wait_for_the_long_look(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, page = opened
    session.change(lambda studio: studio.select("nose"))
    assert session.wait()
    looks = len(page.whole)
    mapped = session_module.map_regions

    def moved_on(*arguments: object) -> object:  # while regions are mapped, the slider moves again
        monkeypatch.setattr(session_module, "map_regions", mapped)
        session.draft(lambda studio: MoveAlong(studio.scope, 0, 2.0))
        return mapped(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(session_module, "map_regions", moved_on)
    session.draft(lambda studio: MoveAlong(studio.scope, 0, 1.0))
    assert session.wait()
    assert len(page.whole) == looks + 1, "only the last place is looked at long"
    assert "+2.00" in session.studio.history.steps[-1].label


def test_undo_shows_the_first_surface_again(opened: Opened) -> None:
    session, page = opened
    session.do(RandomHead(3))
    session.change(lambda studio: studio.select("mouth"))
    assert session.wait()
    before = page.whole[-1].mesh
    session.change(lambda studio: studio.do(SampleRegions(studio.scope, 5)))
    session.change(Studio.undo)
    assert session.wait()
    after = page.whole[-1].mesh
    np.testing.assert_allclose(np.sort(after.vertices, axis=0), np.sort(before.vertices, axis=0), atol=1e-4)


def test_a_ray_at_a_region_picks_it_and_one_beside_the_head_nothing(opened: Opened) -> None:
    session, page = opened
    shown = page.whole[-1]
    owner = shown.regions.owner
    front = shown.mesh.vertices[:, 2].argmax()
    place = shown.mesh.vertices[front] - 0.01 * shown.normals[front]
    found = session.pick(place + np.array([0.0, 0.0, 500.0]), np.array([0.0, 0.0, -1.0]))
    assert found is not None
    near = np.linalg.norm(shown.mesh.vertices - place, axis=1) < 30.0
    assert found.index in set(owner[near])
    assert session.pick(np.array([0.0, 2000.0, 500.0]), np.array([0.0, 0.0, -1.0])) is None


def test_what_lights_up_lies_in_the_ball_of_the_selection(opened: Opened) -> None:
    session, page = opened
    shown = page.whole[-1]
    for name in ("left_ear_lobe", "chin"):
        regions = resolve(name)
        ball = EditableHead(session.studio.head, session.model).posed_balls(name)[0]
        used = np.unique(shown.regions.faces_within(regions, 0.0))
        distance = np.linalg.norm(shown.mesh.vertices[used] - ball.center_mm, axis=1)
        assert len(used) == 0 or distance.max() <= ball.radius_mm


def test_the_heat_map_is_white_where_nothing_moved(opened: Opened) -> None:
    session, page = opened
    session.change(lambda studio: studio.select("chin"))
    session.change(lambda studio: studio.do(SampleRegions(studio.scope, 5, 3.0)))
    session.compare("movement")
    assert session.wait()
    shown, colors = page.whole[-1], page.colors[-1]
    assert colors is not None and len(colors) == len(shown.mesh.vertices)
    ball = EditableHead(session.studio.head, session.model).posed_balls("chin")[0]
    far = np.linalg.norm(shown.mesh.vertices - ball.center_mm, axis=1) > 2.0 * ball.radius_mm
    assert (np.ptp(colors[far], axis=0) <= 2).all()
    session.compare("after")
    assert session.wait()
    assert page.colors[-1] is None


def test_an_error_is_a_sentence_and_the_session_goes_on(opened: Opened) -> None:
    session, page = opened
    session.do(ShowHead("nobody"))

    def broken(_: Studio) -> None:
        raise ZeroDivisionError("inside")

    session.change(broken)
    session.do(RandomHead(1))
    assert session.wait()
    assert page.told[0].startswith("no head of this session is named 'nobody'")
    assert page.told[1] == SORRY
    assert session.studio.document.names() == ("mean head", "random 1")


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "report"])
def test_every_file_that_is_saved_can_be_read_back(
    opened: Opened, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from imhead.checkpoint import load_head
    from imhead.io.mesh_file import read_mesh
    from imhead.studio.session import exports

    monkeypatch.setattr(exports, "RESOLUTION", 32)
    session, page = opened
    session.do(RandomHead(2))
    session.do(SetExpression((("jawOpen", 0.4),)))
    session.export(kind)
    assert page.over.wait(60.0)
    (name, content), = page.files.items()  # fmt: skip
    assert name == "random_2" + KINDS[kind]
    path = tmp_path / name
    path.write_bytes(content)
    if kind == "head file":
        assert load_head(path, session.model).z_exp.tobytes() == session.studio.head.z_exp.tobytes()
    else:
        scale = 1000.0 if kind == "GLB" else 1.0
        head = EditableHead(session.studio.head, session.model)
        # a GLB is neutral and holds expressions as shapes; an STL is closed
        shown = head.animated()[0] if kind == "GLB" else head.mesh(surface="template")
        exact = head.mesh(resolution=32) if kind == "STL" else shown
        np.testing.assert_allclose(
            np.ptp(read_mesh(path).vertices * scale, axis=0), np.ptp(exact.vertices, axis=0), rtol=1e-4
        )


def test_a_project_that_is_saved_opens_in_another_tab(opened: Opened, model: Model) -> None:
    session, page = opened
    session.do(RandomHead(2))
    session.save_project()
    assert session.wait()
    (name, content), = page.files.items()  # fmt: skip
    assert name == "random_2.imhead" and len(content) > 1000


def test_an_upload_that_is_no_scan_is_told_and_the_bar_goes(opened: Opened) -> None:
    session, page = opened
    session.upload("../face.ply", b"ply\nnonsense")
    deadline = time.monotonic() + 100.0
    while not (page.told and page.stages and page.stages[-1][1] is None) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert page.told and page.told[0].startswith("face.ply: ")
    assert page.stages[-1] == ("", None)
    assert session.studio.document.names() == ("mean head",)


def test_a_scan_without_a_face_is_told_in_words(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_face(*_: object, **__: object) -> None:
        raise InputError("ball: no face was found; crop the scan to the head")

    monkeypatch.setattr(session_module, "fit_scan", no_face)
    session, page = opened
    session.upload("ball.ply", trimesh.creation.icosphere(3, radius=90.0).export(file_type="ply"))
    deadline = time.monotonic() + 100.0
    while not page.told and time.monotonic() < deadline:
        time.sleep(0.05)
    assert page.told == ["ball: no face was found; crop the scan to the head"]


def test_a_session_that_lost_its_page_keeps_its_work(opened: Opened) -> None:
    session, _ = opened
    session.do(RandomHead(7))
    session.detach()
    again = WrittenPage()
    session.attach(lambda: again)
    assert session.wait()
    assert session.studio.document.current.name == "random 7"
    assert len(again.whole) == 1
