"""EyeNet: two eyeballs from the identity alone, alike on both sides of a mirrored head."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from imhead.checkpoint import Model
from imhead.model.config import ModelConfig
from imhead.model.eyes import EyeNet
from imhead.model.head import HeadModel
from imhead.surfaces.eyeballs import EYEBALL_NUMBERS

SEEDS = st.integers(0, 2**31)


@settings(deadline=None, max_examples=30)
@given(SEEDS)
def test_the_mirrored_code_gives_the_mirrored_eyes(model: Model, seed: int) -> None:
    net = model.net
    z_id = torch.randn(4, net.config.identity_size, generator=torch.Generator().manual_seed(seed))
    eyes = net.eye_net(z_id, net.identity_parity)
    mirrored = net.eye_net(z_id * net.identity_parity, net.identity_parity)
    assert eyes.shape == (4, 2, EYEBALL_NUMBERS) and not torch.equal(eyes[:, 0], eyes[:, 1])
    assert torch.equal(mirrored, eyes.flip(1))


@settings(deadline=None, max_examples=30)
@given(SEEDS, st.floats(-2.0, 2.0))
def test_eyes_are_linear_in_the_code(model: Model, seed: int, share: float) -> None:
    net = model.net
    one, other = torch.randn(2, 1, net.config.identity_size, generator=torch.Generator().manual_seed(seed))
    eyes = [net.eye_net(z, net.identity_parity) for z in (one, other, one + share * (other - one))]
    np.testing.assert_allclose(eyes[2], eyes[0] + share * (eyes[1] - eyes[0]), atol=1e-4)


def test_the_mean_head_has_the_mean_eyes_on_both_sides(model: Model) -> None:
    net = model.net
    eyes = net.eye_net(torch.zeros(1, net.config.identity_size), net.identity_parity)
    assert torch.equal(eyes[0], net.eye_net.mean.expand(2, EYEBALL_NUMBERS))


def test_a_new_network_has_the_eyes_of_the_mean_head_for_every_code() -> None:
    config = ModelConfig()
    net = EyeNet(config)
    eyes = net(torch.randn(3, config.identity_size), torch.ones(config.identity_size))
    assert torch.equal(eyes, net.mean.expand(3, 2, EYEBALL_NUMBERS))
    assert 10.0 < float(net.mean[3]) < 20.0 and float(net.mean[4]) > 0.0


def test_the_eyes_are_kept_with_the_weights_and_no_step_of_training_moves_them(model: Model) -> None:
    assert {"eye_net.weight", "eye_net.mean"} <= set(model.net.state_dict())
    assert not any(name.startswith("eye_net") for name, _ in model.net.named_parameters())
    copy = HeadModel(model.net.config)
    copy.load_state_dict(model.net.state_dict())
    assert torch.equal(copy.eye_net.weight, model.net.eye_net.weight)
