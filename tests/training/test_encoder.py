"""The encoder learned from quick scans of registered heads."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from imhead.checkpoint import Model, weights_hash
from imhead.encoding.config import EncoderConfig
from imhead.encoding.encoder import motion_of
from imhead.model.config import ModelConfig
from imhead.model.head import HeadModel
from imhead.sources.ict import IctModel
from imhead.surfaces.transforms import transform_points
from imhead.training.codes import apply_start, seen_faces, start_codes
from imhead.training.encoder import RegisteredHeads, basis_of, draw_scan, train_encoder
from imhead.training.population import TrainingHeads

CONFIG = EncoderConfig(face_places=120, other_places=40, width=64, depth=1, scans=1000, epochs=6, batch=32)


@pytest.fixture(scope="module")
def registered(ict: IctModel, training_heads: Callable[[int], TrainingHeads]) -> tuple[Model, RegisteredHeads]:
    sizes = ModelConfig(identity_size=12, region_code_size=8, local_width=8, local_hidden=2, feature_size=4)
    offsets = training_heads(24).offsets()
    net = HeadModel(sizes)
    start = start_codes(ict, offsets, sizes)
    apply_start(net, start)
    model = Model("m", weights_hash(net.state_dict()), net.eval().requires_grad_(False), {})
    weights = np.zeros((3, 52), dtype=np.float32)
    weights[1, 17], weights[2, 5] = 0.7, 0.4
    return model, RegisteredHeads(ict, offsets.numpy(), start.z_id.numpy(), weights, seen_faces(ict))


def test_a_training_scan_comes_home_by_its_own_twist(registered: tuple[Model, RegisteredHeads]) -> None:
    heads = registered[1]
    for seed in range(5):
        points, z_id, weights, twist = draw_scan(heads, np.random.default_rng(seed), CONFIG)
        assert np.isfinite(points).all() and 300 <= len(points) <= 6000
        assert z_id.shape == (12,) and weights.shape == (52,)
        home = motion_of(twist)
        placed = transform_points(home, points)
        assert placed[:, 1].min() > -330.0 and np.median(np.abs(placed[:, 0])) < 90.0


def test_the_places_of_the_encoder_are_mirror_images_in_pairs(ict: IctModel) -> None:
    basis = basis_of(ict.mean, seen_faces(ict), CONFIG)
    half = len(basis) // 2
    assert len(basis) == CONFIG.face_places + CONFIG.other_places
    assert np.array_equal(basis[half:], basis[:half] * [-1.0, 1.0, 1.0])


def test_an_encoder_knows_more_of_a_scan_than_the_mean_head_does(registered: tuple[Model, RegisteredHeads]) -> None:
    model, heads = registered
    told: list[str] = []
    encoder = train_encoder(model, heads, CONFIG, told.append)
    shares = [float(line.split(", ")[1].split(" ")[0]) for line in told if "variance" in line]
    assert len(shares) == CONFIG.epochs and shares[-1] < 0.8 and shares[-1] < shares[0]
    assert not encoder.training and torch.isfinite(encoder.out.weight).all()
