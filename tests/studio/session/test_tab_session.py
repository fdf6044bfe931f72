"""A tab's session, seen by a page that records every call."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
import trimesh

from imhead.api import EditableHead
from imhead.checkpoint import Model
from imhead.errors import InputError
from imhead.studio.session import scans
from imhead.studio.session import tab_session as session_module
from imhead.studio.session.exports import KINDS
from imhead.studio.session.jobs import JobState
from imhead.studio.session.page_protocol import FittedScan, Overlay, ShownSurface
from imhead.studio.session.scans import ScanChange
from imhead.studio.session.tab_session import INTERNAL_ERROR, TabSession
from imhead.studio.session.takes import NamedTake
from imhead.studio.state.commands.edits import MoveAlong, SampleRegions
from imhead.studio.state.commands.expression import SetExpression
from imhead.studio.state.commands.library import RandomHead, RemoveHead, RenameHead, ShowHead
from imhead.studio.state.studio import Studio
from imhead.types import FloatArray, Head, Mesh, Scan


class RecordingPage:
    """A page that shows nothing and records every call."""

    def __init__(self) -> None:
        self.meshes: list[Mesh] = []
        self.still: list[ShownSurface] = []
        self.colors: list[FloatArray | None] = []
        self.beside: list[Mesh] = []
        self.takes: list[NamedTake] = []
        self.scans: list[tuple[object, object]] = []
        self.errors: list[str] = []
        self.nearest: dict[str, float] = {}
        self.ranges: dict[str, tuple[float, float]] = {}
        self.files: dict[str, bytes] = {}
        self.jobs: list[tuple[JobState, ...]] = []
        self.over = threading.Event()

    def show_moving(self, head: Head, mesh: Mesh) -> None:
        self.meshes.append(mesh)

    def show_still(self, shown: ShownSurface, overlay: Overlay) -> None:
        self.still.append(shown)
        self.colors.append(overlay.colors)
        self.scans.append(overlay.scans)
        self.beside += [] if overlay.beside is None else [overlay.beside[1]]

    def sync(self) -> None:
        pass

    def show_jobs(self, jobs: tuple[JobState, ...]) -> None:
        self.jobs.append(jobs)
        if not jobs and len(self.jobs) > 1 and self.jobs[-2]:
            self.over.set()

    def show_take(self, take: NamedTake) -> None:
        self.takes.append(take)
        self.over.set()

    def show_face(self, head: Head) -> None:
        pass

    def show_handle(self, vertex: int, ways: object) -> None:
        pass

    def show_range(self, name: str, low: float, high: float) -> None:
        self.ranges[name] = low, high

    def download(self, name: str, content: bytes) -> None:
        self.files[name] = content
        self.over.set()

    def show_error(self, sentence: str, nearest: Mapping[str, float]) -> None:
        self.errors.append(sentence)
        self.nearest |= nearest
        self.over.set()


Opened = tuple[TabSession, RecordingPage]


@pytest.fixture
def opened(model: Model) -> Iterator[Opened]:
    session, page = TabSession(model, threading.Lock()), RecordingPage()
    session.attach(lambda: page)
    assert session.wait()
    yield session, page
    session.close()
    session.join()


def test_the_page_shows_the_surface_of_the_edited_head(opened: Opened) -> None:
    session, page = opened
    session.do(RandomHead(3))
    session.change(lambda studio: studio.select("nose"))
    session.do(SampleRegions(session.studio.scope, 1))
    session.change(lambda studio: studio.do(SampleRegions(studio.scope, 2)))
    assert session.wait()
    assert page.errors == ["no region is selected; click one on the head first"]
    exact = EditableHead(session.studio.head, session.model).mesh(surface="template")
    np.testing.assert_array_equal(page.still[-1].mesh.vertices, exact.vertices)


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
    np.testing.assert_array_equal(page.still[-1].mesh.faces, page.meshes[-1].faces)


def test_a_moving_slider_does_not_wait_for_the_exact_surface(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    session, page = opened
    session.change(lambda studio: studio.select("nose"))
    assert session.wait()
    surfaces = len(page.still)
    original = session_module.map_regions

    def moved_on(*arguments: object) -> object:  # while regions are mapped, the slider moves again
        monkeypatch.setattr(session_module, "map_regions", original)
        session.draft(lambda studio: MoveAlong(studio.scope, 0, 2.0))
        return original(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(session_module, "map_regions", moved_on)
    session.draft(lambda studio: MoveAlong(studio.scope, 0, 1.0))
    assert session.wait()
    assert len(page.still) == surfaces + 1, "only the last value gets its exact surface"
    assert "+2.00" in session.studio.history.steps[-1].label


def test_undo_shows_the_first_surface_again(opened: Opened) -> None:
    session, page = opened
    session.do(RandomHead(3))
    session.change(lambda studio: studio.select("mouth"))
    assert session.wait()
    before = page.still[-1].mesh
    session.change(lambda studio: studio.do(SampleRegions(studio.scope, 5)))
    session.change(Studio.undo)
    assert session.wait()
    after = page.still[-1].mesh
    np.testing.assert_allclose(np.sort(after.vertices, axis=0), np.sort(before.vertices, axis=0), atol=1e-4)


def test_a_held_slider_is_one_step_however_long_it_rests(opened: Opened) -> None:
    session, page = opened
    session.change(lambda studio: studio.select("nose"))
    assert session.wait()
    steps, surfaces = len(session.studio.history.steps), len(page.still)
    session.hold()
    for sigma in (0.5, 1.0):
        session.draft(lambda studio, s=sigma: MoveAlong(studio.scope, 0, s))  # type: ignore[misc]
        assert session.wait()
        assert len(session.studio.history.steps) == steps
    assert len(page.still) == surfaces + 2, "each rest shows the exact surface"
    session.release()
    assert session.wait()
    assert len(session.studio.history.steps) == steps + 1
    assert "+1.00" in session.studio.history.steps[-1].label


def test_side_by_side_shows_the_head_as_it_was_added(opened: Opened) -> None:
    session, page = opened
    first = page.still[-1].mesh
    session.change(lambda studio: studio.select("nose"))
    session.change(lambda studio: studio.do(SampleRegions(studio.scope, 4)))
    session.set_display("beside")
    assert session.wait()
    np.testing.assert_array_equal(page.beside[-1].vertices, first.vertices)
    assert (page.still[-1].mesh.vertices != first.vertices).any()


def test_side_by_side_shows_another_head_whatever_it_is_called(opened: Opened) -> None:
    session, page = opened
    session.do(RandomHead(3))
    session.do(SetExpression((("jawOpen", 0.5),)))
    assert session.wait()
    other = page.still[-1].mesh
    session.do(RandomHead(4))
    session.set_other("random 3")
    assert session.wait()
    assert session.display == "beside", "whoever chooses a head wants to see it"
    np.testing.assert_array_equal(page.beside[-1].vertices, other.vertices)
    session.do(ShowHead("random 3"))
    session.do(RenameHead("somebody"))
    session.do(ShowHead("random 4"))
    session.set_display("split")
    assert session.wait()
    assert session.other is not None and session.other.name == "somebody"
    np.testing.assert_array_equal(page.beside[-1].vertices, other.vertices)
    session.do(ShowHead("somebody"))
    assert session.wait() and session.other is None, "it is not compared with itself"
    session.do(RemoveHead())
    assert session.wait() and session.other is None and page.errors == []


def test_movement_is_counted_from_another_head_without_its_expression(opened: Opened) -> None:
    session, page = opened
    session.do(RandomHead(3))
    session.do(SetExpression((("jawOpen", 0.5),)))
    session.do(ShowHead("mean head"))
    session.change(lambda studio: studio.select("nose"))
    session.do(SampleRegions(session.studio.scope, 4)) if session.wait() else None
    session.set_other("random 3")
    session.set_display("movement")
    assert session.wait()
    moved = page.colors[-1]
    session.do(ShowHead("random 3"))
    session.do(SetExpression(()))
    session.do(ShowHead("mean head"))
    assert session.wait()
    assert moved is not None and page.colors[-1] is not None
    np.testing.assert_array_equal(page.colors[-1], moved)


def fitted(head: Head, name: str) -> FittedScan:
    points = np.random.default_rng(0).normal(0.0, 60.0, (500, 3))
    return FittedScan(Scan(name, points), points, np.full(500, 0.5), 0.5, 1.0, ())


def test_two_scans_lie_over_their_heads_side_by_side(opened: Opened) -> None:
    session, page = opened
    session.do(RandomHead(1))
    session.do(RandomHead(2))
    assert session.wait()
    for named in session.studio.document.heads[1:]:
        session.fitted[named.origin] = fitted(named.origin, named.name)
    session.set_overlay(True)
    assert session.wait()
    mine, other = (session.fitted[named.origin] for named in reversed(session.studio.document.heads[1:]))
    assert page.scans[-1] == (mine, None)
    session.set_other("random 1")
    assert session.wait()
    assert page.scans[-1] == (mine, other)
    session.set_display("movement")
    assert session.wait()
    assert page.scans[-1] == (None, None), "they would hide what has moved"


def test_the_change_between_two_scans_is_shown_and_left_by_the_next_edit(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, page = opened
    session.do(RandomHead(1))
    session.do(RandomHead(2))
    assert session.wait()
    session.compare_scans("random 1", False)
    assert session.wait()
    assert page.errors == ["a comparison needs two heads that were fitted to scans; open both scans first"]
    for named in session.studio.document.heads[1:]:
        session.fitted[named.origin] = fitted(named.origin, named.name)
    asked = []

    def change(before: Scan, after: Scan, model: Model, stable: object, job: object) -> ScanChange:
        asked.append((before.name, after.name, stable))
        moved = np.zeros(len(page.still[-1].mesh.vertices))
        moved[:10] = 3.0
        return ScanChange(("a", "b"), page.still[-1], moved, moved, 4.0, 0.3, 0.1, (), (), b"<html>")

    monkeypatch.setattr(session_module, "change_of", change)
    session.change(lambda studio: studio.select("forehead"))
    session.compare_scans("random 1", True)
    deadline = time.monotonic() + 60.0
    while session.display != "change" and time.monotonic() < deadline:
        time.sleep(0.02)
    assert session.wait()
    assert asked == [("random 1", "random 2", ("forehead",))]
    colors = page.colors[-1]
    assert colors is not None and (colors[:10] != colors[10]).any(axis=1).all() and np.ptp(colors[10:]) < 10.0
    session.save_change_report()
    assert session.wait() and page.files["change_report.html"] == b"<html>"
    session.change(lambda studio: studio.do(SampleRegions(studio.scope, 2)))
    assert session.wait()
    assert session.display == "now" and page.colors[-1] is None


def test_the_heat_map_is_white_where_nothing_moved(opened: Opened) -> None:
    session, page = opened
    session.change(lambda studio: studio.select("chin"))
    session.change(lambda studio: studio.do(MoveAlong(studio.scope, 0, 4.0)))
    session.set_display("movement")
    assert session.wait()
    shown, colors = page.still[-1], page.colors[-1]
    assert colors is not None and len(colors) == len(shown.mesh.vertices)
    ball = EditableHead(session.studio.head, session.model).posed_balls("chin")[0]
    far = np.linalg.norm(shown.mesh.vertices - ball.center_mm, axis=1) > 2.0 * ball.radius_mm
    assert (np.ptp(colors[far], axis=0) <= 2).all()
    session.set_display("now")
    assert session.wait()
    assert page.colors[-1] is None


def test_an_error_is_shown_and_the_session_goes_on(opened: Opened) -> None:
    session, page = opened
    session.do(ShowHead("nobody"))

    def broken(_: Studio) -> None:
        raise ZeroDivisionError("inside")

    session.change(broken)
    session.do(RandomHead(1))
    assert session.wait()
    assert page.errors[0].startswith("no head of this session is named 'nobody'")
    assert page.errors[1] == INTERNAL_ERROR
    assert session.studio.document.names() == ("mean head", "random 1")


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("report", "avatar", "preview")])
def test_every_saved_file_can_be_read_back(
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
    assert page.over.wait(100.0) and page.errors == []
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
        if kind == "GLB":
            neutral, _, morphs = head.animated()
            exact = neutral.vertices + np.tensordot(morphs.weights, morphs.offsets, axes=(0, 0))
        else:
            exact = (head.mesh(resolution=32) if kind == "STL" else head.mesh(surface="template")).vertices
        np.testing.assert_allclose(np.ptp(read_mesh(path).vertices * scale, axis=0), np.ptp(exact, axis=0), rtol=1e-4)


def test_a_saved_project_opens_in_another_tab(opened: Opened, model: Model) -> None:
    session, page = opened
    session.do(RandomHead(2))
    session.save_project()
    assert session.wait()
    (name, content), = page.files.items()  # fmt: skip
    assert name == "random_2.imhead"
    other, other_page = TabSession(model, threading.Lock()), RecordingPage()
    other.attach(lambda: other_page)
    other.upload(name, content)
    assert other_page.over.wait(100.0) and other.wait()
    assert other_page.errors == []
    assert other.studio.document.names() == session.studio.document.names()
    other.close()
    other.join()


def test_an_upload_that_is_not_a_scan_is_refused_once_and_its_job_ends(opened: Opened) -> None:
    session, page = opened
    session.upload("../face.ply", b"ply\nnonsense")
    deadline = time.monotonic() + 100.0
    while not (page.errors and page.jobs[-1] == ()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(page.errors) == 1 and page.errors[0].startswith("face.ply: ")
    assert [job.title for jobs in page.jobs for job in jobs][-1] == "face.ply"
    assert session.studio.document.names() == ("mean head",)


def test_a_scan_without_a_face_is_refused_in_words(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_face(*_: object, **__: object) -> None:
        raise InputError("ball: no face was found; crop the scan to the head")

    monkeypatch.setattr(scans, "fit_scan", no_face)
    session, page = opened
    session.upload("ball.ply", trimesh.creation.icosphere(3, radius=90.0).export(file_type="ply"))
    deadline = time.monotonic() + 100.0
    while not page.errors and time.monotonic() < deadline:
        time.sleep(0.05)
    assert page.errors == ["ball: no face was found; crop the scan to the head"]


def test_a_session_without_its_page_keeps_its_state(opened: Opened) -> None:
    session, _ = opened
    session.do(RandomHead(7))
    session.detach()
    again = RecordingPage()
    session.attach(lambda: again)
    assert session.wait()
    assert session.studio.document.current.name == "random 7"
    assert len(again.still) == 1
