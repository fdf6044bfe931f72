"""What a slider shows while it moves is what it leaves when it rests, on the shipped model."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest

from imhead import editing
from imhead.api import EditableHead
from imhead.isosurface.field import HeadField
from imhead.regions import resolve
from imhead.studio.session.page_protocol import Overlay, ShownSurface
from imhead.studio.session.preview import Preview
from imhead.studio.session.surface import SurfaceCache
from imhead.studio.session.tab_session import TabSession
from imhead.studio.state.commands.command import Command
from imhead.studio.state.commands.edits import MOST_SIGMA, MoveAlong, MoveByWord, SampleRegions
from imhead.studio.state.commands.expression import SetExpression
from imhead.studio.state.commands.library import RandomHead
from imhead.studio.state.studio import Studio
from imhead.surfaces.crossings import crossing_edges
from imhead.surfaces.distances import point_to_surface
from imhead.surfaces.visibility import visible_faces
from imhead.template.surface import template_of
from imhead.types import FloatArray, Head, IntArray, Mesh

MOST_MM = 0.3
EDITS = ("nose sample", "mouth sample", "eyes sample", "ears sample", "nose +2", "mouth -2", "eyes +2", "ears -2")


def marked(reasons: dict[str, str]) -> list[object]:
    """`EDITS`, some of which are expected to fail, and why."""
    return [
        pytest.param(one, marks=pytest.mark.xfail(strict=True, reason=reasons[one]) if one in reasons else ())
        for one in EDITS
    ]


@pytest.fixture(scope="module")
def at_rest(shipped: object) -> Iterator[tuple[Studio, SurfaceCache, IntArray]]:
    """A drawn head at rest, and the vertices of it that can be seen."""
    studio = Studio(shipped)  # type: ignore[arg-type]
    studio.do(RandomHead(3))
    cache = SurfaceCache(studio.model)
    mesh = cache.of(studio.head).mesh
    yield studio, cache, np.unique(mesh.faces[visible_faces(mesh)])


def edit(studio: Studio, what: str) -> Command:
    """`nose sample`, or `nose +2`: the first word of the nose, 2 standard deviations up."""
    group, how = what.split()
    studio.select(group)
    if how == "sample":
        return SampleRegions(studio.scope, 5)
    regions = resolve(group)
    word, score = next(iter(editing.readings_of(studio.model, studio.head, regions, studio.scope.mirror).items()))
    return MoveByWord(studio.scope, word, float(np.clip(score + float(how), -MOST_SIGMA, MOST_SIGMA)))


def apart_mm(one: Mesh, other: Mesh, visible: IntArray) -> FloatArray:
    """Distance of each visible vertex of one mesh to the other mesh, or back, whichever is larger, mm."""
    there, back = (point_to_surface(a.vertices[visible], b)[0] for a, b in ((one, other), (other, one)))
    larger: FloatArray = np.maximum(there, back)
    return larger


def held(preview: Preview, head: Head) -> Mesh:
    return preview.exact(preview.change(head))


@pytest.mark.parametrize("what", marked({"nose +2": "0.37 mm with these weights"}))
def test_the_preview_is_the_settled_surface(at_rest: tuple[Studio, SurfaceCache, IntArray], what: str) -> None:
    studio, cache, visible = at_rest
    head = edit(studio, what).apply(studio.model, studio.document).head
    preview = cache.preview(head)
    assert preview is not None
    shown, settled = held(preview, head), SurfaceCache(studio.model).of(head).mesh
    assert np.linalg.norm(settled.vertices - cache.of(studio.head).mesh.vertices, axis=1).max() > 1.0
    away = apart_mm(shown, settled, visible)
    assert np.quantile(away, 0.999) <= MOST_MM
    # a fold of one that the other has not
    faces = template_of(studio.model).touching_faces
    folds = [{tuple(edge) for edge in crossing_edges(mesh.vertices, faces).tolist()} for mesh in (shown, settled)]
    assert len(folds[0]) <= 1.25 * len(folds[1]) + 5


@pytest.mark.xfail(strict=True, reason="0.77 mm with these weights: a lid beside an ear's edit is untangled otherwise")
def test_a_preview_moves_only_what_the_edit_moves(at_rest: tuple[Studio, SurfaceCache, IntArray]) -> None:
    studio, cache, _ = at_rest
    head = edit(studio, "ears sample").apply(studio.model, studio.document).head
    preview = cache.preview(head)
    assert preview is not None
    change = preview.change(head)
    kept = np.setdiff1d(np.arange(len(template_of(studio.model).mean)), change.rows)
    before = cache.of(studio.head).mesh.vertices
    np.testing.assert_array_equal(change.quick.vertices[kept], before[kept])
    for mesh in (change.quick, preview.exact(change)):
        moved = np.linalg.norm(mesh.vertices - before, axis=1)
        assert moved[change.rows].max() > 1.0 and moved[kept].max() < MOST_MM


def test_a_step_of_a_drag_takes_few_values_of_the_field(
    at_rest: tuple[Studio, SurfaceCache, IntArray], monkeypatch: pytest.MonkeyPatch
) -> None:
    studio, cache, _ = at_rest
    head = edit(studio, "nose +2").apply(studio.model, studio.document).head
    preview = cache.preview(head)
    assert preview is not None
    taken: list[int] = []
    for name in ("skin_sdf", "canonical_sdf"):
        original = getattr(HeadField, name)

        def counted(field: HeadField, points: FloatArray, original=original) -> FloatArray:  # type: ignore[no-untyped-def]
            taken.append(len(points))
            return original(field, points)  # type: ignore[no-any-return]

        monkeypatch.setattr(HeadField, name, counted)
    change = preview.change(head)
    assert sum(taken) < 4000, "one for each vertex near the nose"
    taken.clear()
    preview.exact(change)
    assert sum(taken) <= 11 * len(change.rows)


def test_only_heads_of_the_same_person_have_a_preview(at_rest: tuple[Studio, SurfaceCache, IntArray]) -> None:
    studio, cache, _ = at_rest
    other = RandomHead(8).apply(studio.model, studio.document).head
    assert cache.preview(other) is None


class Page:
    """A page that records the surfaces it is given."""

    def __init__(self) -> None:
        self.moving: list[Mesh] = []
        self.still: list[Mesh] = []

    def show_moving(self, head: Head, mesh: Mesh) -> None:
        self.moving.append(mesh)

    def show_still(self, shown: ShownSurface, overlay: Overlay) -> None:
        self.still.append(shown.mesh)

    def show_error(self, sentence: str, nearest: object) -> None:
        raise AssertionError(sentence)

    def __getattr__(self, name: str) -> object:
        return lambda *_: None


def test_a_held_slider_shows_the_surface_that_its_rest_leaves(
    at_rest: tuple[Studio, SurfaceCache, IntArray],
) -> None:
    studio, _, visible = at_rest
    session, page = TabSession(studio.model, threading.Lock()), Page()
    session.attach(lambda: page)  # type: ignore[arg-type,return-value]
    session.do(RandomHead(3))
    session.change(lambda state: state.select("eyes"))
    assert session.wait()
    page.moving.clear()
    for sigma in (0.5, 1.0):
        session.draft(lambda state, s=sigma: MoveAlong(state.scope, 0, s))  # type: ignore[misc]
    assert session.wait(120.0)
    exact = EditableHead(session.studio.head, session.model).mesh(surface="template")
    np.testing.assert_array_equal(page.still[-1].vertices, exact.vertices)
    assert np.quantile(apart_mm(page.moving[-1], exact, visible), 0.999) <= MOST_MM
    session.close()
    session.join()


@pytest.mark.xfail(strict=True, reason="0.306 mm with these weights")
def test_a_preview_follows_an_expression(at_rest: tuple[Studio, SurfaceCache, IntArray]) -> None:
    studio, cache, visible = at_rest
    head = SetExpression((("browInnerUp", 0.5),)).apply(studio.model, studio.document).head
    preview = cache.preview(head)
    assert preview is not None
    away = apart_mm(held(preview, head), SurfaceCache(studio.model).of(head).mesh, visible)
    assert np.quantile(away, 0.999) <= MOST_MM
