"""Words and shapes on the shipped model: each changes one thing, and ends where the face would stop being one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imhead import InputError, editing, load
from imhead.api import EditableHead
from imhead.editing.readings import step_basis
from imhead.editing.smoothness import _vertex_moves, in_balls
from imhead.editing.soundness import MOST_PIERCED, pierced_walls, skin_patch
from imhead.editing.steps import conditioned_draw
from imhead.editing.words import OPPOSITES, WORDS, word_readings
from imhead.isosurface.field import HeadField
from imhead.regions import resolve
from imhead.surfaces.crossings import edges_of
from imhead.surfaces.normals import vertex_normals
from imhead.template.projection import onto_zero_set
from imhead.template.surface import template_of

GROUPS = [f"{name}s" if name in ("eye", "ear") else name for name in WORDS]


@pytest.fixture(scope="module")
def head() -> EditableHead:
    opened = load(device="cpu")
    if not opened.has_template:
        pytest.skip("the shipped model has no template yet: imhead train writes it, copy it beside the model")
    return opened.sample(1, seed=6)[0]


@pytest.mark.parametrize("group", GROUPS)
def test_every_word_of_a_group_is_a_reading_that_it_can_move(head: EditableHead, group: str) -> None:
    regions = resolve(group)
    known = word_readings(head.model, regions, True)
    assert set(known) == {word for word in editing.words_for(regions) if word not in OPPOSITES}


@pytest.mark.parametrize(("group", "word"), [("nose", "rounder"), ("mouth", "fuller"), ("cheek", "fuller")])
def test_a_word_changes_its_reading_and_leaves_those_of_the_others(head: EditableHead, group: str, word: str) -> None:
    regions = resolve(group)
    before = editing.readings_of(head.model, head.codes, regions, True)
    move = editing.along_word(head.model, head.codes, regions, word, 1.0, True)
    after = editing.readings_of(head.model, move.head, regions, True)
    assert after[word] - before[word] == pytest.approx(move.reached, abs=0.05)
    assert move.reached == 1.0 or move.stop
    for other in before.keys() - {word}:
        assert after[other] == pytest.approx(before[other], abs=0.1), other


def test_a_shape_changes_its_score_and_leaves_the_readings_of_the_words(head: EditableHead) -> None:
    regions = resolve("nose")
    shapes = editing.shapes_of(head.model, regions, True)
    before = editing.readings_of(head.model, head.codes, regions, True)
    move = editing.along_shape(head.model, head.codes, regions, 0, 1.0, True)
    after = editing.readings_of(head.model, move.head, regions, True)
    np.testing.assert_allclose(list(after.values()), list(before.values()), atol=0.1)
    change = shapes.scores(move.head)[0] - shapes.scores(head.codes)[0]
    assert change == pytest.approx(move.reached, abs=0.01)


@pytest.mark.parametrize("group", ["left_eye", "mouth", "nose", "chin", "cheek", "left_ear"])
def test_a_shape_moves_the_skin_by_millimetres_and_stretches_hardly_an_edge_by_its_length(
    head: EditableHead, group: str
) -> None:
    template, regions = template_of(head.model), resolve(group)
    near = in_balls(template, regions)
    start, end = edges_of(template.faces[near[template.faces].all(axis=1)]).T
    length = np.linalg.norm(template.mean[end] - template.mean[start], axis=1)
    shapes = editing.shapes_of(head.model, regions, False)
    for moved in _vertex_moves(template, head.model, regions, 3.0 * shapes.steps[:3]):
        assert np.linalg.norm(moved, axis=1).max() > 1.5
        assert np.percentile(np.linalg.norm(moved[end] - moved[start], axis=1) / length, 99.0) < 1.0


def test_an_unedited_head_is_at_zero_of_every_shape(head: EditableHead) -> None:
    plain = replace(head.codes, offsets=np.zeros_like(head.codes.offsets))
    np.testing.assert_array_equal(editing.shapes_of(head.model, resolve("nose"), True).scores(plain), 0.0)


def test_the_shares_of_the_shapes_fall_and_are_less_than_everything(head: EditableHead) -> None:
    shares = editing.shapes_of(head.model, resolve("nose"), True).shares
    assert (np.diff(shares) <= 0.0).all() and 0.1 < shares.sum() < 1.0


def test_a_move_that_goes_too_far_ends_at_a_sound_place_and_says_why(head: EditableHead) -> None:
    moved, move = head.by_direction("nose", "narrower", 9.0, mirror=True)
    assert 0.0 < move.reached < 9.0 and move.stop
    assert move.stop in moved.codes.provenance[-1] and "short of 9" in moved.codes.provenance[-1]
    again = editing.along_word(head.model, head.codes, resolve("nose"), "narrower", move.reached, True)
    assert not again.stop
    np.testing.assert_array_equal(again.head.offsets, moved.codes.offsets)


@settings(deadline=None, max_examples=4)
@given(word=st.sampled_from(sorted(WORDS["nose"])), sigma=st.floats(-4.0, 4.0))
def test_no_place_of_a_slider_has_a_pierced_wall(head: EditableHead, word: str, sigma: float) -> None:
    regions = resolve("nose")
    move = editing.along_word(head.model, head.codes, regions, word, sigma, True)
    assert skin_patch(head.model, regions).fault(move.head)[0]["pierced"] == 0


def test_a_wild_sample_has_faults_that_the_mean_head_has_not() -> None:
    mean = load(device="cpu").neutral()
    patch = skin_patch(mean.model, resolve("nose"))
    before, said = patch.fault(mean.codes)
    assert not said and sum(before.values()) < 5
    assert patch.fault(mean.codes, before)[1] == ""
    assert patch.fault(mean.sample("nose", 5, strength=6.0).codes, before)[1]


def test_no_step_is_a_step_nowhere(head: EditableHead) -> None:
    for move in (
        editing.along_word(head.model, head.codes, resolve("nose"), "wider", 0.0, True),
        editing.along_shape(head.model, head.codes, resolve("nose"), 0, 0.0, True),
    ):
        assert not move.stop and move.reached == 0.0
        np.testing.assert_array_equal(move.head.offsets, head.codes.offsets)


def test_a_word_that_a_region_cannot_move_is_refused(head: EditableHead) -> None:
    with pytest.raises(InputError, match=r"have no direction 'upturned'; they have .*longer"):
        head.along("nose_bridge", "upturned")


@pytest.mark.parametrize("mirror", [True, False])
def test_vertices_move_with_many_steps_at_once_as_they_do_one_by_one(head: EditableHead, mirror: bool) -> None:
    template, basis = template_of(head.model), step_basis(head.model, resolve("left_ear"), mirror)
    moves = _vertex_moves(template, head.model, basis.regions, basis.codes[:3])
    for step, move in zip(basis.codes, moves):
        z = np.zeros((39, step.shape[-1]))
        z[[region.index for region in basis.regions]] = step
        np.testing.assert_allclose(move, template.blend(head.model, z) - template.mean, atol=1e-3)


def test_the_skin_that_is_checked_has_the_places_that_the_whole_template_would_have(head: EditableHead) -> None:
    regions, template = resolve("jaw"), template_of(head.model)
    patch, near = skin_patch(head.model, regions), np.flatnonzero(in_balls(template, regions))
    assert len(patch.vertices) < len(near), "nothing was left out"
    field, blend = (
        HeadField(head.model, head.codes),
        template.blend(head.model, editing.region_codes(head.model, head.codes)),
    )
    normals = vertex_normals(template.mean, template.faces)[0]
    some, all_of_it = (
        onto_zero_set(field.canonical_sdf, blend[rows], normals[rows], template.on_surface[rows])
        for rows in (patch.vertices, near)
    )
    assert np.array_equal(some, all_of_it[np.searchsorted(near, patch.vertices)])
    assert patch.seen[patch.faces].all()


def test_heads_and_regions_are_drawn_less_far_where_a_nose_wing_would_be_pierced() -> None:
    opened = load(device="cpu")
    if not opened.has_template:
        pytest.skip("the shipped model has no template yet: imhead train writes it, copy it beside the model")
    drawn = opened.sample(1, seed=10_043)[0]
    far = replace(drawn.codes, z_id=np.random.default_rng(10_043).normal(0.0, 0.8, len(drawn.codes.z_id)))
    assert pierced_walls(opened.model, far) > MOST_PIERCED >= pierced_walls(opened.model, drawn.codes)
    face = opened.sample(1, seed=10_045)[0]
    whole = conditioned_draw(opened.model, face.codes, resolve("cheek"), 6700, 1.4, False)
    assert pierced_walls(opened.model, whole) > MOST_PIERCED
    assert pierced_walls(opened.model, face.sample("cheek", seed=6700, strength=1.4).codes) <= MOST_PIERCED
