"""The field of one head is the model's forward pass in mm, however many points are given."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from imhead.checkpoint import Model
from imhead.conventions import ARKIT_NAMES, BOUNDS_MAX_MM, BOUNDS_MIN_MM, MODEL_UNIT_MM
from imhead.errors import InputError
from imhead.isosurface.field import HeadField, expression_code
from imhead.regions import CENTERS_MM, RADII_MM, REGIONS, resolve
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
    np.testing.assert_allclose(HeadField(model, head).sdf(points), direct, atol=1e-4)
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
    before, after = old.sdf(points), new.sdf(points)
    assert (~inside).sum() > 10_000 and (before != after)[inside].mean() > 0.9
    np.testing.assert_array_equal(before[~inside], after[~inside])


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
