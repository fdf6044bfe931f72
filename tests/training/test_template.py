"""The template learned from registered heads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from imhead.checkpoint import Model, weights_hash
from imhead.conventions import MODEL_UNIT_MM
from imhead.isosurface.field import HeadField
from imhead.model.config import ModelConfig
from imhead.model.head import HeadModel
from imhead.regions import RADII_MM
from imhead.sources.ict import IctModel
from imhead.template.surface import TemplateSurface
from imhead.template.topology import LEFT_EYE, load_topology
from imhead.training.codes import apply_start, start_codes
from imhead.training.config import TrainConfig
from imhead.training.learner import Learner
from imhead.training.population import TrainingHeads
from imhead.training.template import build_template

CONFIG = TrainConfig(
    model=ModelConfig(
        identity_size=24, region_code_size=12, local_width=8, local_hidden=2, feature_size=4, fusion_width=8,
        warp_width=8, warp_hidden=2,
    ),
    identities=24, steps=1, batch_heads=4,
)  # fmt: skip


@pytest.fixture(scope="module")
def offsets(training_heads: Callable[[int], TrainingHeads]) -> Tensor:
    return training_heads(24).offsets()


@pytest.fixture(scope="module")
def built(ict: IctModel, offsets: Tensor) -> tuple[Learner, TemplateSurface]:
    """A learner at its start, and the template of it."""
    torch.manual_seed(0)
    model = HeadModel(CONFIG.model)
    start = start_codes(ict, offsets, CONFIG.model)
    apply_start(model, start)
    model.eye_net.weight.normal_()
    learner = Learner(model, start.z_id)
    learner.eval().requires_grad_(False)
    return learner, build_template(_model(learner), learner.z_id, ict, offsets, lambda text: None)


def test_the_codes_of_training_heads_bring_the_template_near_their_vertices(
    built: tuple[Learner, TemplateSurface], offsets: Tensor
) -> None:
    learner, template = built
    skin = template.part < LEFT_EYE
    known = load_topology().place(offsets[:6].numpy())[:, skin]
    model = _model(learner)
    left, whole = 0.0, 0.0
    for row in range(6):
        z = learner.model.decnet(learner.z_id[row : row + 1])[0].numpy()
        moved = (template.blend(model, z) - template.mean)[skin]
        left += float(np.linalg.norm(moved - known[row], axis=1).mean())
        whole += float(np.linalg.norm(known[row], axis=1).mean())
    # twelve numbers a region, and a share of the mean's own way to the zero set
    assert left < 0.6 * whole


def test_a_vertex_is_held_only_by_regions_whose_ball_holds_it_on_every_training_head(
    built: tuple[Learner, TemplateSurface], ict: IctModel, offsets: Tensor
) -> None:
    learner, template = built
    topology = load_topology()
    known = topology.place(ict.mean + ict.canonical_offset + offsets.numpy())[:, template.pair_vertex]
    keypoints = learner.model.keypoint_net(learner.model.decnet(learner.z_id)).numpy() * MODEL_UNIT_MM
    away = np.linalg.norm(known - keypoints[:, template.pair_region], axis=2) / RADII_MM[template.pair_region]
    lost = np.unique(template.pair_vertex[away.max(axis=0) >= 1.0])
    # a few at the nape above the cut and in the palate lie in no ball on some head, and still need a region
    assert len(lost) < 0.01 * template.half
    assert away.max() < 1.3
    skin = np.flatnonzero(template.part[: template.half] < LEFT_EYE)
    assert np.array_equal(np.unique(template.pair_vertex), skin)


def test_no_region_s_code_moves_an_eyeball_and_the_identity_does(built: tuple[Learner, TemplateSurface]) -> None:
    learner, template = built
    model = _model(learner)
    ball = template.part >= LEFT_EYE
    z = np.random.default_rng(0).normal(size=(len(RADII_MM), CONFIG.model.region_code_size)).astype(np.float32)
    np.testing.assert_array_equal(template.blend(model, z)[ball], template.mean[ball])
    plain = model.neutral()
    identity = replace(plain, z_id=np.random.default_rng(1).normal(size=plain.z_id.shape))
    offsets = replace(identity, offsets=0.1 * np.random.default_rng(2).normal(size=plain.offsets.shape))
    at_rest, other, edited = (template.posed(model, head)[ball] for head in (plain, identity, offsets))
    assert np.abs(other - at_rest).max() > 0.5
    np.testing.assert_array_equal(edited, other)


def test_the_template_belongs_to_the_model_as_it_is_saved(built: tuple[Learner, TemplateSurface]) -> None:
    learner, template = built
    assert template.model_hash == _model(learner).hash
    posed = template.posed(_model(learner), _model(learner).neutral())
    assert np.isfinite(posed).all() and posed.shape == template.mean.shape
    assert HeadField(_model(learner), _model(learner).neutral()).sdf(posed[:5]).shape == (5,)


def _model(learner: Learner) -> Model:
    return Model("learner", weights_hash(learner.model.state_dict()), learner.model, {})
