"""Training that begins with a trained model: it reads heads that it never saw before the first step."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from imhead.checkpoint import Model, load_model
from imhead.conventions import MODEL_UNIT_MM
from imhead.errors import InputError
from imhead.sources.ict import IctModel
from imhead.template.surface import template_of
from imhead.training.config import PRESETS
from imhead.training.learner import Learner, rescale_codes
from imhead.training.loop import train
from imhead.training.pictures import save_run_model
from imhead.training.population import TrainingHeads
from imhead.training.warm_start import continued, warm_start

HEADS = 8
CONFIG = replace(
    PRESETS["default"], identities=4, steps=2, warp_steps=1, canonical_points=100, expression_points=50,
    batch_points=16, batch_heads=2, warmup_steps=1, progress_steps=1,
)  # fmt: skip


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model("default")


@pytest.fixture(scope="module")
def offsets(training_heads: Callable[[int], TrainingHeads]) -> Tensor:
    return training_heads(HEADS).offsets()


@pytest.fixture(scope="module")
def learner(model: Model, ict: IctModel, offsets: Tensor) -> Learner:
    started = warm_start(model, template_of(model), ict, offsets, model.net.config)
    return started.requires_grad_(False)


@torch.no_grad()
def misses(learner: Learner, ict: IctModel, offsets: Tensor, mirrored: bool = False) -> np.ndarray:
    """(M,) mean distance of the heads' own eyeballs and skin from the surface of their codes, mm."""
    z = learner.z_id * learner.model.identity_parity if mirrored else learner.z_id
    mean = torch.from_numpy(ict.mean + ict.canonical_offset).float()
    points = (mean + offsets)[:, np.unique(ict.skin_faces)[::7]] / MODEL_UNIT_MM
    if mirrored:
        points = points * torch.tensor([-1.0, 1.0, 1.0])
    distance = learner.model.canonical_sdf(points, learner.model.regional(z)).abs()
    return distance.median(dim=1).values.numpy() * MODEL_UNIT_MM


def test_new_heads_have_codes_that_the_model_reads_at_once(learner: Learner, ict: IctModel, offsets: Tensor) -> None:
    found = misses(learner, ict, offsets)
    mean_head = misses(Learner(learner.model, torch.zeros_like(learner.z_id)), ict, offsets)
    assert (found < 0.5).all() and (found < 0.3 * mean_head).all()


def test_a_mirrored_head_still_has_the_codes_times_their_parity(
    learner: Learner, ict: IctModel, offsets: Tensor
) -> None:
    np.testing.assert_allclose(misses(learner, ict, offsets, mirrored=True), misses(learner, ict, offsets), atol=0.1)


def test_the_model_that_a_run_begins_with_is_left_as_it_was(learner: Learner, model: Model) -> None:
    fresh = load_model("default")
    assert all(torch.equal(a, b) for a, b in zip(model.net.parameters(), fresh.net.parameters()))
    assert not torch.equal(learner.model.decnet.weight, model.net.decnet.weight)


def test_a_model_of_other_sizes_is_refused(model: Model, ict: IctModel, offsets: Tensor) -> None:
    with pytest.raises(InputError, match="other sizes"):
        warm_start(model, template_of(model), ict, offsets, PRESETS["tiny"].model)


def test_a_run_remembers_what_it_began_with(
    model: Model, training_heads: Callable[[int], TrainingHeads], tmp_path: Path
) -> None:
    heads, run = training_heads(4), tmp_path / "run"
    warm = train(CONFIG, heads, run, start=model, stop_after=1, progress=lambda text: None)
    moved = [(a - b).abs().max() for a, b in zip(warm.model.local_nets.parameters(), model.net.local_nets.parameters())]
    assert 0.0 < max(moved) < 0.1
    with pytest.raises(InputError, match="other settings"):
        train(CONFIG, heads, run, resume=True, progress=lambda text: None)
    train(CONFIG, heads, run, resume=True, start=model, progress=lambda text: None)


def test_codes_are_rescaled_to_the_deviation_of_some_heads_and_no_head_changes(learner: Learner) -> None:
    some = torch.arange(HEADS) < 5
    net, z = copy.deepcopy(learner.model), learner.z_id.clone()
    z[:5, 3] *= 0.5 / z[:5, 3].square().mean().sqrt()
    narrow = Learner(net, z).requires_grad_(False)
    x = torch.rand(HEADS, 40, 3) * 2.0 - 1.0
    code = torch.zeros(HEADS, net.config.expression_size)
    before = net(x, narrow.z_id, code)
    rescale_codes(narrow, some)
    torch.testing.assert_close(net(x, narrow.z_id, code), before, rtol=1e-3, atol=1e-4)
    assert narrow.z_id[:5, 3].square().mean().sqrt() == pytest.approx(1.0, abs=1e-4)
    assert (narrow.z_id.abs() >= z.abs() - 1e-6).all() and narrow.z_id.abs().max() <= 3.0 * z.abs().max()


def test_a_run_that_begins_with_a_run_on_the_same_data_keeps_its_codes(
    training_heads: Callable[[int], TrainingHeads], tmp_path: Path
) -> None:
    heads = training_heads(4)
    first = train(CONFIG, heads, tmp_path / "first", progress=lambda text: None)
    model = load_model(save_run_model(first, CONFIG, tmp_path / "first", heads.data.manifest, {}))
    started = continued(tmp_path / "first", model, heads, CONFIG.model)
    assert torch.equal(started.z_id, first.z_id)
    assert all(torch.equal(a, b) for a, b in zip(started.parameters(), first.parameters()))
    other = Model(model.name, model.hash, model.net, {**model.card, "data_seed": -1})
    with pytest.raises(InputError, match="another data set"):
        continued(tmp_path / "first", other, heads, CONFIG.model)
    with pytest.raises(InputError, match="holds no checkpoint"):
        continued(tmp_path, model, heads, CONFIG.model)
