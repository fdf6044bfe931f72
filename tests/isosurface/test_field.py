"""The field of one head is the union of the model's skin and two eyeballs, in mm, however many points are given."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from imhead.checkpoint import Model
from imhead.conventions import ARKIT_NAMES, BOUNDS_MAX_MM, BOUNDS_MIN_MM, MODEL_UNIT_MM
from imhead.errors import InputError
from imhead.isosurface.field import HeadField, expression_code, eyes_of
from imhead.regions import CENTERS_MM, RADII_MM, REGIONS, resolve
from imhead.surfaces.eyeballs import eye_centers, eyes_distance, eyes_gradient, near_eyes
from imhead.types import Head


def a_head(model: Model, seed: int = 0) -> Head:
    plain, rng = model.neutral(), np.random.default_rng(seed)
    return replace(
        plain,
        z_id=rng.normal(size=plain.z_id.shape),
        z_exp=rng.normal(size=plain.z_exp.shape),
        offsets=0.1 * rng.normal(size=plain.offsets.shape),
    )


def places(count: int, seed: int = 0) -> np.ndarray:
    """mm; half of them anywhere, half about the keypoints of the mean head."""
    rng = np.random.default_rng(seed)
    points = rng.uniform(BOUNDS_MIN_MM, BOUNDS_MAX_MM, (count, 3))
    points[::2] = CENTERS_MM[rng.integers(39, size=len(points[::2]))] + 15.0 * rng.normal(size=points[::2].shape)
    return points


def test_the_field_is_the_model_s_forward_in_mm(model: Model) -> None:
    head, points = a_head(model), places(500)
    x = torch.from_numpy(points / MODEL_UNIT_MM).float()[None]
    z_id, z_exp, offsets = (torch.tensor(v)[None] for v in (head.z_id, head.z_exp, head.offsets))
    direct = model.net(x, z_id, z_exp, offsets)[0].numpy() * MODEL_UNIT_MM
    np.testing.assert_allclose(HeadField(model, head).skin_sdf(points), direct, atol=1e-4)
    canonical = model.net.canonical(x, z_id, z_exp)[0][0].numpy() * MODEL_UNIT_MM
    np.testing.assert_allclose(HeadField(model, head).canonical(points), canonical, atol=1e-4)


def test_many_points_give_what_few_give(model: Model) -> None:
    field, points = HeadField(model, a_head(model)), places(70_000)
    together = field.sdf(points)
    assert together.shape == (70_000,) and together.dtype == np.float32
    rows = np.arange(0, 70_000, 1009)
    np.testing.assert_allclose(field.sdf(points[rows]), together[rows], atol=1e-4)


def test_no_points_give_no_distances(model: Model) -> None:
    field = HeadField(model, a_head(model))
    assert field.sdf(np.zeros((0, 3))).shape == (0,)
    assert field.canonical(np.zeros((0, 3))).shape == (0, 3)
    assert field.gradient(np.zeros((0, 3))).shape == (0, 3)


@pytest.mark.parametrize("shape", [(3,), (4, 2), (2, 5, 3)])
def test_points_of_another_shape_are_refused(model: Model, shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"expected \(N, 3\)"):
        HeadField(model, a_head(model)).sdf(np.zeros(shape))


def test_the_gradient_is_the_slope_of_the_field(model: Model) -> None:
    field, points = HeadField(model, a_head(model)), places(200)
    step = 0.05
    numeric = np.stack(
        [(field.sdf(points + step * e).astype(float) - field.sdf(points - step * e)) / (2 * step) for e in np.eye(3)],
        axis=1,
    )
    gradient = field.gradient(points)
    assert gradient.shape == (200, 3)
    np.testing.assert_allclose(gradient, numeric, atol=0.02 * np.abs(gradient).max())


def test_asking_for_the_gradient_leaves_the_caller_s_points_and_the_model_alone(model: Model) -> None:
    points = places(10)
    before = points.copy()
    HeadField(model, a_head(model)).gradient(points)
    np.testing.assert_array_equal(points, before)
    assert all(p.grad is None and not p.requires_grad for p in model.net.parameters())


def test_another_expression_takes_the_place_of_the_head_s_own(model: Model) -> None:
    head, points = a_head(model), places(100)
    other = np.random.default_rng(5).normal(size=head.z_exp.shape)
    wanted = HeadField(model, replace(head, z_exp=other)).sdf(points)
    np.testing.assert_array_equal(HeadField(model, head, z_exp=other).sdf(points), wanted)
    assert not np.array_equal(wanted, HeadField(model, head).sdf(points))


def test_the_balls_of_the_mean_head_are_those_of_the_region_table(model: Model) -> None:
    field = HeadField(model, model.neutral())
    for region in REGIONS:
        ball = field.ball(region.index)
        np.testing.assert_allclose(ball.center_mm, CENTERS_MM[region.index], atol=1e-4)
        assert ball.radius_mm == pytest.approx(RADII_MM[region.index], rel=1e-6)


@pytest.mark.parametrize("name", ["left_nostril", "right_cheek", "upper_lip"])
def test_an_edited_head_s_field_is_the_same_outside_the_region_s_balls_bit_for_bit(model: Model, name: str) -> None:
    (region,) = resolve(name)
    head = replace(a_head(model), z_exp=np.zeros(model.net.config.expression_size))
    offsets = np.array(head.offsets)
    offsets[region.index] += np.random.default_rng(0).normal(size=offsets.shape[1])
    old, new = HeadField(model, head), HeadField(model, replace(head, offsets=offsets))
    points = places(100_000)
    inside = np.zeros(len(points), dtype=bool)
    canonical = old.canonical(points)  # balls are balls in the canonical pose; the warp is not edited
    np.testing.assert_array_equal(canonical, new.canonical(points))
    for field in (old, new):
        ball = field.ball(region.index)
        inside |= np.linalg.norm(canonical - ball.center_mm, axis=1) < ball.radius_mm + 1e-4
    assert (~inside).sum() > 10_000 and (old.skin_sdf(points) != new.skin_sdf(points))[inside].mean() > 0.9
    before, after = old.sdf(points), new.sdf(points)
    assert (before != after)[inside].mean() > 0.5  # the others lie nearer to an eyeball
    np.testing.assert_array_equal(before[~inside], after[~inside])


def at_the_eyes(field: HeadField, count: int, seed: int = 0) -> np.ndarray:
    """(count, 3) points in and around both eyeballs, mm."""
    rng = np.random.default_rng(seed)
    return np.asarray(eye_centers(field.eyes)[rng.integers(2, size=count)] + 12.0 * rng.normal(size=(count, 3)))


def test_the_field_is_the_union_of_skin_and_eyeballs(model: Model) -> None:
    field = HeadField(model, a_head(model))
    points = np.concatenate([at_the_eyes(field, 2000), places(500)])
    skin, eyes = field.skin_sdf(points), eyes_distance(points, field.eyes)
    near = near_eyes(points, field.eyes, 25.0)
    union = skin.copy()
    union[near] = np.minimum(skin[near], eyes[near].astype(np.float32))
    joined = field.sdf(points)
    smooth = np.abs(skin - eyes) < 1.2
    np.testing.assert_array_equal(joined[~smooth], union[~smooth])
    assert (joined <= union).all() and (joined > union - 0.301).all()
    assert 0.1 < (joined < skin).mean() < 0.9
    assert (joined[eyes < 0.0] < 0.0).all()


def test_far_from_the_eyes_the_field_is_that_of_the_skin(model: Model) -> None:
    field, points = HeadField(model, a_head(model)), places(2000)
    far = np.linalg.norm(points[:, None] - eye_centers(field.eyes), axis=2).min(axis=1) > 90.0
    assert far.sum() > 500
    np.testing.assert_array_equal(field.sdf(points[far]), field.skin_sdf(points[far]))


def test_the_gradient_is_that_of_the_nearer_of_skin_and_eyeballs(model: Model) -> None:
    field = HeadField(model, a_head(model))
    points = at_the_eyes(field, 1000)
    on_eye = eyes_distance(points, field.eyes) < field.skin_sdf(points) - 1.2
    assert on_eye.any() and not on_eye.all()
    gradient = field.gradient(points)
    np.testing.assert_allclose(gradient[on_eye], eyes_gradient(points[on_eye], field.eyes), atol=1e-6)
    away = points[on_eye] - eye_centers(field.eyes)[np.where(points[on_eye, 0] > 0.0, 0, 1)]
    behind = away[:, 2] < 0.0
    unit = away[behind] / np.linalg.norm(away[behind], axis=1, keepdims=True)
    np.testing.assert_allclose(gradient[on_eye][behind], unit, atol=1e-4)


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 1000), st.sampled_from([r.name for r in REGIONS] + ["left_eye", "right_eye", "nose"]))
def test_an_edit_of_a_region_moves_no_eyeball(model: Model, seed: int, name: str) -> None:
    head = a_head(model, seed)
    offsets = np.array(head.offsets)
    for region in resolve(name):
        offsets[region.index] += np.random.default_rng(seed).normal(size=offsets.shape[1])
    old, new = HeadField(model, head), HeadField(model, replace(head, offsets=offsets))
    np.testing.assert_array_equal(old.eyes, new.eyes)
    # a shut lid flattens the cornea, the fifth number
    other = HeadField(model, head, np.ones_like(head.z_exp)).eyes
    np.testing.assert_array_equal(old.eyes[:, :4], other[:, :4])


def test_a_head_s_own_eyes_are_offsets_from_those_of_its_identity(model: Model) -> None:
    head, shift = a_head(model), np.array([[1.0, -0.5, 0.25, 0.5, 0.0], [0.0, 0.0, -2.0, 0.0, 0.125]])
    moved = replace(head, eyes=shift)
    np.testing.assert_allclose(eyes_of(model, moved) - eyes_of(model, head), shift, atol=1e-6)
    other = replace(head, z_id=np.zeros_like(head.z_id))
    assert np.abs(HeadField(model, other).eyes - HeadField(model, head).eyes).max() > 0.1


def test_a_named_expression_is_its_row_of_the_learned_map(model: Model) -> None:
    code = expression_code(model, {"jawOpen": 0.5, "mouthSmileLeft": 1.0})
    arkit = model.net.warp.arkit.numpy()
    wanted = 0.5 * arkit[ARKIT_NAMES.index("jawOpen")] + arkit[ARKIT_NAMES.index("mouthSmileLeft")]
    np.testing.assert_allclose(code, wanted, atol=1e-6)
    assert not expression_code(model, {}).any()


def test_a_misspelt_expression_is_refused_with_the_nearest_names(model: Model) -> None:
    with pytest.raises(InputError, match="jawOpen") as caught:
        expression_code(model, {"jawOpne": 0.5})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("weight", [-0.1, 1.01, float("nan"), float("inf")])
def test_an_expression_weight_out_of_range_is_refused(model: Model, weight: float) -> None:
    with pytest.raises(InputError, match="from 0 to 1"):
        expression_code(model, {"jawOpen": weight})
