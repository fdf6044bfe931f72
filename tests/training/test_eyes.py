"""The eyeballs of a model follow from the identity codes of its training heads."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from imhead.model.config import Blend, ModelConfig
from imhead.model.head import HeadModel
from imhead.surfaces.eyeballs import EYEBALL_NUMBERS
from imhead.training.eyes import fit_eye_net
from imhead.training.learner import Learner
from imhead.training.population import TrainingHeads

MEAN = np.array([31.0, 30.0, 69.0, 15.4, 2.1])


@pytest.fixture
def learner(random_net: Callable[..., HeadModel], small_config: Callable[[Blend], ModelConfig]) -> Learner:
    """With 60 heads, and no eyeballs fitted yet."""
    net = random_net(small_config("local"))
    net.eye_net.weight.zero_()
    return Learner(net, torch.randn(60, net.config.identity_size, generator=torch.Generator().manual_seed(1)))


def known_eyes(learner: Learner, noise_mm: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """A linear map (24, 5), and the eyes (60, 2, 5) that the codes have under it, with noise."""
    rng = np.random.default_rng(2)
    z_id, parity = learner.z_id.detach().numpy(), learner.model.identity_parity.numpy()
    weight = rng.normal(0.0, 0.3, (z_id.shape[1], EYEBALL_NUMBERS))
    eyes = MEAN + np.stack([z_id @ weight, (z_id * parity) @ weight], axis=1)
    return weight, eyes + rng.normal(0.0, noise_mm, eyes.shape) if noise_mm else eyes


def test_a_linear_map_from_code_to_eyes_is_found(learner: Learner) -> None:
    weight, eyes = known_eyes(learner)
    left = fit_eye_net(learner, eyes, np.stack([MEAN, MEAN]))
    assert left < 1e-3
    np.testing.assert_allclose(learner.model.eye_net.weight, weight, atol=1e-3)
    np.testing.assert_allclose(learner.model.eye_net.mean, MEAN, atol=1e-5)
    given = learner.model.eye_net(learner.z_id, learner.model.identity_parity).detach()
    np.testing.assert_allclose(given, eyes, atol=1e-2)


def test_what_codes_do_not_tell_is_left_and_said(learner: Learner) -> None:
    _, eyes = known_eyes(learner, noise_mm=0.5)
    left = fit_eye_net(learner, eyes, np.stack([MEAN, MEAN]))
    given = learner.model.eye_net(learner.z_id, learner.model.identity_parity).detach().numpy()
    assert left == pytest.approx(np.linalg.norm((given - eyes)[..., :3], axis=2).mean(), abs=1e-3)
    assert 0.4 < left < 1.0


def test_mirrored_heads_give_the_same_map(learner: Learner) -> None:
    _, eyes = known_eyes(learner, noise_mm=0.3)
    fit_eye_net(learner, eyes, np.stack([MEAN, MEAN]))
    before = learner.model.eye_net.weight.clone()
    with torch.no_grad():
        learner.z_id.mul_(learner.model.identity_parity)
    fit_eye_net(learner, eyes[:, ::-1].copy(), np.stack([MEAN, MEAN]))
    np.testing.assert_allclose(learner.model.eye_net.weight, before, atol=1e-5)


def test_the_mean_head_gets_the_mean_of_its_two_eyes(learner: Learner) -> None:
    _, eyes = known_eyes(learner)
    fit_eye_net(learner, eyes, np.stack([MEAN + 1.0, MEAN - 1.0]))
    np.testing.assert_allclose(learner.model.eye_net.mean, MEAN, atol=1e-5)


def test_training_heads_know_the_eyes_of_every_identity(training_heads: Callable[[int], TrainingHeads]) -> None:
    heads = training_heads(3)
    eyes = heads.eyes()
    assert eyes.shape == (3, 2, EYEBALL_NUMBERS)
    for index in range(3):
        head = heads.head(index)
        np.testing.assert_allclose(eyes[index], head.eyes, atol=0.02)
        identity = heads.identities[index]
        # the samples are those of the deformed head
        deformed = heads.sources.head(identity.shape, heads.data.deformation(identity))
        np.testing.assert_array_equal(head.neutral, deformed.neutral)
        assert not np.array_equal(head.neutral, heads.sources.head(identity.shape).neutral)
