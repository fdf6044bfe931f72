"""The row `train`: both sides train on the same points with the same loss."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
import torch

from imhead.benchmark import train
from imhead.benchmark.peer import PeerConfig
from imhead.benchmark.settings import QUICK
from imhead.benchmark.suite import run_benchmarks
from imhead.checkpoint import Model


@pytest.fixture(scope="module")
def batch(default: Model) -> train.TrainBatch:
    return train.train_batch(default, replace(QUICK, batch_heads=3, batch_points=200, resolution=160))


def test_the_row_is_well_formed(default: Model) -> None:
    row: dict[str, Any]
    (row,) = run_benchmarks(default, ["train"], QUICK, lambda text: None)
    assert row == json.loads(json.dumps(row, allow_nan=False))
    points = QUICK.batch_heads * QUICK.batch_points
    assert row["points"] == row["evaluations"] == points
    assert row["ours_points_per_second"] * row["ours_seconds"] == pytest.approx(points)
    assert row["ratio"] == pytest.approx(row["ours_points_per_second"] / row["peer_points_per_second"])
    assert row["equal_to_reference"] is True


def test_the_points_are_spread_as_in_training(batch: train.TrainBatch) -> None:
    distance_mm = 100.0 * batch.distance.abs().flatten()
    assert 0.45 < (distance_mm < 0.3).float().mean() < 0.75
    assert 0.02 < (distance_mm > 30.0).float().mean() < 0.2
    assert not torch.equal(batch.x[0], batch.x[1])


def test_a_step_lowers_the_loss_of_both_sides(default: Model, batch: train.TrainBatch) -> None:
    few = train.TrainBatch(batch.x[:2, :16], batch.distance[:2, :16])
    for make in (lambda: train._our_step(default, few, 0), lambda: train._peer_step(few, 0)):
        step, _ = make()
        for group in step.optimizer.param_groups:
            group["lr"] = 2e-4
        losses = []
        for _ in range(12):
            losses.append(step.backward())
            step()
        assert losses[-1] < losses[0]


def test_one_head_at_a_time_gives_the_gradient_of_all_heads_together(batch: train.TrainBatch) -> None:
    few = train.TrainBatch(batch.x[:, :8], batch.distance[:, :8])
    gradients = []
    for at_once in (1, 3):
        step, net = train._peer_step(few, 0)
        step.heads_at_once = at_once
        step.backward()
        gradients.append(torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None]))
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-3, atol=1e-5)


def test_the_gradients_of_ours_are_those_of_the_slow_forward_pass(model: Model, batch: train.TrainBatch) -> None:
    assert train.gradient_error(model, batch, 0) < 1e-4


def test_training_leaves_the_model_as_it_was(default: Model, batch: train.TrainBatch) -> None:
    before = default.net.fusion_net.layers[0].weight.clone()
    step, _ = train._our_step(default, batch, 0)
    step()
    assert torch.equal(before, default.net.fusion_net.layers[0].weight)
    assert not any(p.requires_grad for p in default.net.parameters())


def test_the_peer_trains_a_code_of_its_published_size_for_each_head(batch: train.TrainBatch) -> None:
    step, _ = train._peer_step(batch, 0)
    codes = step.optimizer.param_groups[0]["params"][0]
    assert codes.shape == (len(batch.x), PeerConfig().code_size)
