"""What needs the model that ships, with its template: measurements, and the quick surface of a moving slider."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial import cKDTree

from imhead.api import EditableHead
from imhead.checkpoint import Model, load_model
from imhead.errors import InputError
from imhead.isosurface.field import HeadField
from imhead.regions import resolve
from imhead.studio.session.surface import StillSurface, map_regions, quick_mesh
from imhead.studio.session.tab_session import Shown, TabSession
from imhead.studio.state.commands import MoveByWord, RandomHead, SetExpression, SetMeasurement, measured
from imhead.studio.state.scores import named_directions, word_score
from imhead.studio.state.studio import Studio
from imhead.template.surface import template_of
from imhead.types import FloatArray, Mesh


class LimitPage:
    """A page that writes down the scale of the heat map."""

    def __init__(self, told: list[float]) -> None:
        self._told = told
        self.moving: list[Mesh] = []

    def show(self, mesh: Mesh) -> None:
        self.moving.append(mesh)

    def show_whole(self, shown: Shown, colors: FloatArray | None, limit_mm: float) -> None:
        self._told.append(limit_mm)

    def sync(self) -> None:
        pass

    def progress(self, stage: str, part: float | None) -> None:
        pass

    def download(self, name: str, content: bytes) -> None:
        pass

    def tell(self, sentence: str, *, error: bool = False) -> None:
        raise AssertionError(sentence)


@pytest.fixture(scope="module")
def shipped() -> Model:
    return load_model()


@pytest.fixture
def studio(shipped: Model) -> Studio:
    made = Studio(shipped)
    made.do(RandomHead(3))
    made.select("nose")
    return made


def test_a_measurement_is_brought_to_the_number_that_was_given(studio: Studio) -> None:
    before = studio.head
    wanted = measured(studio.model, before)["nasal_length"] + 2.0
    studio.do(SetMeasurement(studio.scope, "nasal_length", wanted))
    assert measured(studio.model, studio.head)["nasal_length"] == pytest.approx(wanted, abs=0.1)
    moved = np.flatnonzero((before.offsets != studio.head.offsets).any(axis=1))
    assert set(moved.tolist()) <= {region.index for region in resolve("nose")}
    assert studio.history.steps[-1].label == f"nose: nasal length to {wanted:.1f}"


def test_a_measurement_that_no_person_has_is_refused(studio: Studio) -> None:
    before = studio.head
    with pytest.raises(InputError):
        studio.do(SetMeasurement(studio.scope, "nasal_length", 400.0))
    assert studio.head is before


@pytest.mark.parametrize("symmetric", [True, False])
def test_a_word_widens_the_nose_and_says_how_far(studio: Studio, symmetric: bool) -> None:
    studio.set_symmetric(symmetric)
    regions = studio.scope.resolve()
    assert "wider" in named_directions(studio.model, regions, symmetric)
    widths = []
    for sigma in (-2.0, 0.0, 2.0):
        studio.do(MoveByWord(studio.scope, "wider", sigma))
        assert word_score(studio.model, studio.head, regions, symmetric, "wider") == pytest.approx(sigma, abs=1e-3)
        widths.append(measured(studio.model, studio.head)["alar_width"])
    assert widths[1] > widths[0] + 1.0 and widths[2] > widths[1] + 1.0


def test_a_word_tells_people_apart_by_standard_deviations(studio: Studio) -> None:
    regions = studio.scope.resolve()
    drawn = np.random.default_rng(1).normal(size=(200, studio.model.net.config.identity_size))
    heads = [replace(studio.model.neutral(), z_id=z) for z in drawn]
    for word in named_directions(studio.model, regions, True):
        scores = [word_score(studio.model, head, regions, True, word) for head in heads]
        assert 0.6 < np.std(scores) < 1.6


def test_a_word_moves_nothing_but_what_is_selected_and_free(studio: Studio) -> None:
    before = studio.head
    studio.set_locked(("nose_bridge",), True)
    studio.do(MoveByWord(studio.scope, "projecting", 1.5))
    changed = np.flatnonzero((studio.head.offsets != before.offsets).any(axis=1))
    free = {region.index for region in resolve("nose")} - {resolve("nose_bridge")[0].index}
    assert set(changed) == free


def test_a_word_that_the_selection_does_not_have_lists_those_that_it_has(studio: Studio) -> None:
    with pytest.raises(InputError, match=r"nose have no direction 'fuller'; they have .*wider"):
        studio.do(MoveByWord(studio.scope, "fuller", 1.0))


def test_what_is_looked_at_lies_on_the_zero_set(studio: Studio) -> None:
    quick, fine = quick_mesh(studio.model, studio.head), StillSurface(studio.model).of(studio.head)
    skin = template_of(studio.model).on_surface == 1.0
    quick_off, fine_off = (
        np.abs(HeadField(studio.model, studio.head).sdf(mesh.vertices[skin])) for mesh in (quick, fine.mesh)
    )
    assert np.quantile(fine_off, 0.9) < 0.2 * np.quantile(quick_off, 0.9)
    np.testing.assert_array_equal(fine.mesh.faces, quick.faces)
    np.testing.assert_allclose(np.linalg.norm(fine.normals, axis=1), 1.0, atol=1e-9)


def test_a_head_and_what_it_was_are_kept_at_hand(studio: Studio) -> None:
    surface, before = StillSurface(studio.model), studio.head
    first = surface.of(before)
    studio.do(MoveByWord(studio.scope, "wider", 2.0))
    assert not surface.knows(studio.head)
    assert surface.of(studio.head) is not first and surface.of(before) is first
    surface.free()
    assert not surface.knows(before)


def test_an_edit_of_the_nose_moves_what_is_looked_at_nowhere_else(studio: Studio) -> None:
    surface, before = StillSurface(studio.model), studio.head
    first = surface.of(before)
    studio.do(MoveByWord(studio.scope, "wider", 2.0))
    moved = np.linalg.norm(surface.of(studio.head).mesh.vertices - first.mesh.vertices, axis=1)
    nose = [region.index for region in resolve("nose")]
    reached = map_regions(studio.model, before, first.mesh).influence[:, nose].max(axis=1) > 0.0
    reached |= map_regions(studio.model, studio.head, first.mesh).influence[:, nose].max(axis=1) > 0.0
    assert moved[reached].max() > 1.0
    far = cKDTree(first.mesh.vertices[reached]).query(first.mesh.vertices)[0] > 8.0  # what a Newton step looks at
    assert far.sum() > 1000 and not moved[far].any()


def test_the_movement_of_a_head_is_measured_from_its_own_beginning(studio: Studio) -> None:
    session = TabSession(studio.model, threading.Lock())
    told: list[float] = []
    session.attach(lambda: LimitPage(told))
    for seed in (3, 14):
        session.do(RandomHead(seed))
        session.compare("movement")
    assert session.wait()
    assert told[-1] == pytest.approx(0.1), "a head that has not moved has the least scale, whatever was shown before"
    session.close()
    session.join()


def test_a_slider_moves_the_quick_surface(studio: Studio) -> None:
    session = TabSession(studio.model, threading.Lock())
    page = LimitPage([])
    session.attach(lambda: page)
    session.change(lambda state: state.select("jaw"))
    assert session.wait()
    for sigma in (0.5, 1.0):
        session.draft(lambda state, s=sigma: MoveByWord(state.scope, "wider", s))  # type: ignore[misc]
        assert session.wait()
    quick = quick_mesh(studio.model, session.studio.head)
    np.testing.assert_array_equal(page.moving[-1].vertices, quick.vertices)
    assert session.shown is not None and not np.array_equal(session.shown.mesh.vertices, quick.vertices)
    session.close()
    session.join()


def test_the_quick_surface_lies_near_the_exact_one(studio: Studio) -> None:
    studio.do(SetExpression((("mouthSmileLeft", 0.6), ("mouthSmileRight", 0.6))))
    quick = quick_mesh(studio.model, studio.head)
    skin = template_of(studio.model).on_surface == 1.0
    away = np.abs(HeadField(studio.model, studio.head).sdf(quick.vertices[skin]))
    assert np.median(away) < 0.7 and np.quantile(away, 0.99) < 4.0


def test_the_tip_of_the_nose_belongs_to_the_nose(studio: Studio) -> None:
    mesh = EditableHead(studio.head, studio.model).mesh(resolution=64)
    regions = map_regions(studio.model, studio.head, mesh)
    near = np.abs(mesh.vertices[:, 0]) < 15.0
    tip = np.flatnonzero(near)[mesh.vertices[near, 2].argmax()]
    assert resolve("nose_tip")[0].index == regions.owner[tip]
