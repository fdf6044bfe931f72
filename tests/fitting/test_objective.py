"""The Jacobian of a fit against finite differences."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from imhead.conventions import MODEL_UNIT_MM
from imhead.fitting.objective import (
    Codes,
    DenseJacobian,
    dense_jacobian,
    distances_mm,
    geman_mcclure,
    normal_equations,
    pair_jacobian,
)
from imhead.model.config import Blend, ModelConfig
from imhead.model.head import HeadModel
from imhead.regions import CENTERS_MM, REGION_COUNT

BLENDS: tuple[Blend, ...] = ("local", "paper")
STEP = 1e-5
Setting = tuple[HeadModel, Codes, Tensor]


@pytest.fixture(scope="module", params=BLENDS)
def setting(
    request: pytest.FixtureRequest, random_net: Callable[..., HeadModel], small_config: Callable[[Blend], ModelConfig]
) -> Setting:
    net = random_net(small_config(request.param)).double().requires_grad_(False)
    config, rng = net.config, np.random.default_rng(1)
    codes = Codes(
        torch.tensor(0.5 * rng.normal(size=config.identity_size)),
        torch.tensor(rng.uniform(0.1, 0.9, 52)),
        torch.tensor(0.1 * rng.normal(size=(REGION_COUNT, config.region_code_size))),
    )
    points = CENTERS_MM[rng.integers(REGION_COUNT, size=40)] + 12.0 * rng.normal(size=(40, 3))
    return net, codes, torch.tensor(points)


@pytest.fixture(scope="module")
def linear(setting: Setting) -> DenseJacobian:
    return dense_jacobian(*setting, with_offsets=True)


def distances(net: HeadModel, codes: Codes, points_mm: Tensor) -> Tensor:
    z_exp = net.warp.code(codes.weights[None])
    x = points_mm[None] / MODEL_UNIT_MM
    return net(x, codes.z_id[None], z_exp, codes.offsets[None])[0] * MODEL_UNIT_MM


def differences(of: Callable[[Tensor], Tensor], at: Tensor) -> Tensor:
    """(N, at.numel()) central differences."""
    columns = []
    for k in range(at.numel()):
        step = torch.zeros(at.numel(), dtype=at.dtype)
        step[k] = STEP
        columns.append((of(at + step.view_as(at)) - of(at - step.view_as(at))) / (2 * STEP))
    return torch.stack(columns, dim=1)


def assert_derivative(got: Tensor, wanted: Tensor) -> None:
    assert got.shape == wanted.shape and wanted.abs().max() > 1e-3
    torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-6 * wanted.abs().max().item())


def test_the_distances_are_those_of_the_model(setting: Setting, linear: DenseJacobian) -> None:
    torch.testing.assert_close(linear.sdf_mm, distances(*setting), rtol=0, atol=1e-9)


def test_the_distances_without_derivatives_are_the_same(setting: Setting, linear: DenseJacobian) -> None:
    torch.testing.assert_close(distances_mm(*setting), linear.sdf_mm, rtol=0, atol=1e-9)


def test_the_derivative_by_the_point_is_the_true_one(setting: Setting, linear: DenseJacobian) -> None:
    net, codes, points = setting
    wanted = torch.stack(
        [
            (distances(net, codes, points + STEP * e) - distances(net, codes, points - STEP * e)) / (2 * STEP)
            for e in torch.eye(3, dtype=torch.float64)
        ],
        dim=1,
    )
    assert_derivative(linear.point, wanted)


def test_the_derivative_by_the_identity_is_the_true_one(setting: Setting, linear: DenseJacobian) -> None:
    net, codes, points = setting
    wanted = differences(lambda z: distances(net, replace(codes, z_id=z), points), codes.z_id)
    assert_derivative(linear.z_id, wanted)


def test_the_derivative_by_the_expression_weights_is_the_true_one(setting: Setting, linear: DenseJacobian) -> None:
    net, codes, points = setting
    wanted = differences(lambda w: distances(net, replace(codes, weights=w), points), codes.weights)
    assert_derivative(linear.weights, wanted)


def test_the_derivative_by_the_region_offsets_is_the_true_one(setting: Setting, linear: DenseJacobian) -> None:
    net, codes, points = setting
    wanted = differences(lambda o: distances(net, replace(codes, offsets=o), points), codes.offsets)
    assert linear.offsets is not None
    assert_derivative(linear.offsets, wanted)
    if net.config.blend == "local":  # a region whose ball does not hold the point has zero derivatives
        assert (linear.offsets.view(len(points), REGION_COUNT, -1) == 0).all(dim=-1).any(dim=1).all()


def test_offsets_are_left_out_unless_asked_for(setting: Setting, linear: DenseJacobian) -> None:
    plain = dense_jacobian(*setting)
    assert plain.offsets is None
    assert torch.equal(plain.z_id, linear.z_id) and torch.equal(plain.weights, linear.weights)


@pytest.mark.parametrize("with_offsets", [False, True])
def test_the_normal_equations_are_those_of_the_dense_jacobian(
    setting: Setting, linear: DenseJacobian, with_offsets: bool
) -> None:
    net, codes, points = setting
    rng = np.random.default_rng(2)
    twist, weight = torch.tensor(rng.normal(size=(len(points), 6))), torch.tensor(rng.uniform(size=len(points)))
    hessian, gradient = normal_equations(net, pair_jacobian(net, codes, points), twist, weight, with_offsets)
    assert linear.offsets is not None
    sought = [linear.offsets] if with_offsets else [linear.weights, linear.z_id]
    jacobian = torch.cat([twist, *sought], dim=1)
    wanted = jacobian.T @ (weight[:, None] * jacobian)
    torch.testing.assert_close(hessian, wanted, rtol=1e-9, atol=1e-9 * wanted.abs().max().item())
    pull = jacobian.T @ (weight * linear.sdf_mm)
    torch.testing.assert_close(gradient, pull, rtol=1e-9, atol=1e-9 * pull.abs().max().item())


def test_derivatives_at_a_point_do_not_depend_on_the_others(setting: Setting, linear: DenseJacobian) -> None:
    net, codes, points = setting
    few = dense_jacobian(net, codes, points[5:9], with_offsets=True)
    for name in ("sdf_mm", "point", "z_id", "weights", "offsets"):
        torch.testing.assert_close(getattr(few, name), getattr(linear, name)[5:9], rtol=1e-9, atol=1e-9)


def test_the_jacobian_leaves_its_inputs_alone(setting: Setting) -> None:
    net, codes, points = setting
    before = points.clone()
    result = dense_jacobian(net, codes, points)
    assert torch.equal(points, before) and not points.requires_grad
    assert not any(value.requires_grad for value in (result.sdf_mm, result.point, result.z_id, result.weights))


def test_a_trainable_model_gives_the_same_derivatives(setting: Setting, linear: DenseJacobian) -> None:
    net, codes, points = setting
    net.requires_grad_(True)
    try:
        result = dense_jacobian(net, codes, points)
    finally:
        net.requires_grad_(False)
    torch.testing.assert_close(result.z_id, linear.z_id, rtol=0, atol=1e-12)
    assert all(p.grad is None for p in net.parameters())


def test_points_far_from_every_region_still_have_derivatives(setting: Setting) -> None:
    net, codes, _ = setting
    result = dense_jacobian(net, codes, torch.full((3, 3), 900.0, dtype=torch.float64), with_offsets=True)
    assert torch.isfinite(result.point).all() and torch.isfinite(result.z_id).all()


@given(st.floats(0.1, 10.0), st.lists(st.floats(0.0, 100.0), min_size=2, max_size=20))
def test_a_residual_weighs_one_at_zero_and_less_the_larger_it_is(scale: float, residuals: list[float]) -> None:
    values = torch.tensor(sorted(residuals), dtype=torch.float64)
    weight = geman_mcclure(values, scale)
    assert geman_mcclure(torch.zeros(1), scale).item() == pytest.approx(1.0, abs=1e-6)
    assert (weight > 0).all() and (weight <= 1).all() and (weight.diff() <= 0).all()
    torch.testing.assert_close(geman_mcclure(-values, scale), weight)


def test_a_far_residual_falls_with_its_fourth_power() -> None:
    weight = geman_mcclure(torch.tensor([1.0, 1000.0, 2000.0], dtype=torch.float64), 1.0)
    assert weight[0] == 0.25
    assert (weight[1] / weight[2]).item() == pytest.approx(16.0, rel=1e-4)


def test_points_in_parallel_chunks_give_the_same_jacobian(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    net, codes, points = setting
    together = pair_jacobian(net, codes, points)
    monkeypatch.setattr("imhead.fitting.objective.chunks", lambda rows, least: rows.split(1 + len(rows) // 3))
    apart = pair_jacobian(net, codes, points)
    assert apart.counts == together.counts
    torch.testing.assert_close(apart.pair_point, together.pair_point)
    for name in ("sdf_mm", "point", "weights", "warp_identity", "region"):
        torch.testing.assert_close(getattr(apart, name), getattr(together, name))
