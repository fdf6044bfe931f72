"""The encoder as a file and as a network; its part in a fit is tested in tests/fitting."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from imhead.checkpoint import Model, load_model, save_model
from imhead.encoding.encoder import (
    ScanEncoder,
    encoder_of,
    encoder_path,
    estimate,
    load_encoder,
    motion_of,
    save_encoder,
)
from imhead.errors import InputError
from imhead.model.head import HeadModel
from imhead.training.config import PRESETS


@pytest.fixture()
def model(tmp_path: Path) -> Model:
    torch.manual_seed(0)
    save_model(HeadModel(PRESETS["tiny"].model), tmp_path / "m.safetensors", "m", {})
    return load_model(tmp_path / "m.safetensors")


def tiny(seed: int = 0) -> ScanEncoder:
    torch.manual_seed(seed)
    places = torch.from_numpy(np.random.default_rng(0).normal(0.0, 60.0, (20, 3)))
    return ScanEncoder(places, 256, 16, 1).eval()


def test_a_rotation_and_its_opposite_cancel() -> None:
    twist = np.array([0.7, -1.0, 2.0, 0.0, 0.0, 0.0])
    assert np.allclose(motion_of(twist) @ motion_of(-twist), np.eye(4), atol=1e-12)


def test_a_saved_encoder_gives_the_same_estimates(model: Model) -> None:
    assert model.path is not None
    path = encoder_path(model.path)
    assert encoder_of(model) is None
    save_encoder(tiny().half().float(), model.hash, path)
    opened = load_encoder(path, model)
    points = np.random.default_rng(1).normal(0.0, 60.0, (400, 3))
    again, first = estimate(opened, points), estimate(tiny().half().float(), points)
    assert np.allclose(again.z_id, first.z_id, atol=1e-5) and np.allclose(again.motion, first.motion, atol=1e-5)


def test_an_estimate_has_weights_between_zero_and_one_and_a_rigid_motion() -> None:
    found = estimate(tiny(), np.random.default_rng(1).normal(0.0, 60.0, (9000, 3)))
    assert found.z_id.shape == (256,) and found.weights.shape == (52,)
    assert found.weights.min() >= 0.0 and found.weights.max() <= 1.0
    assert np.allclose(found.motion[:3, :3] @ found.motion[:3, :3].T, np.eye(3), atol=1e-9)


def test_the_encoder_of_another_model_is_refused(model: Model, tmp_path: Path) -> None:
    save_encoder(tiny(), "0" * 16, tmp_path / "e.safetensors")
    with pytest.raises(InputError, match="the encoder of model 0000"):
        load_encoder(tmp_path / "e.safetensors", model)


def test_an_encoder_with_nan_weights_is_refused(model: Model, tmp_path: Path) -> None:
    broken = tiny()
    with torch.no_grad():
        broken.out.bias[0] = torch.nan
    save_encoder(broken, model.hash, tmp_path / "e.safetensors")
    with pytest.raises(InputError, match="NaN"):
        load_encoder(tmp_path / "e.safetensors", model)


def test_an_encoder_with_wrong_sizes_is_refused(model: Model, tmp_path: Path) -> None:
    path = tmp_path / "e.safetensors"
    save_encoder(tiny(), model.hash, path)
    tensors = load_file(path)
    for sizes, message in (('{"M": 20, "width": 17, "depth": 1}', "expected"), ('{"M": -1}', "sizes")):
        metadata = {"format": "imhead-encoder-1", "model_hash": model.hash, "sizes": sizes}
        save_file(tensors, tmp_path / "other.safetensors", metadata)
        with pytest.raises(InputError, match=message):
            load_encoder(tmp_path / "other.safetensors", model)


def test_a_model_file_is_refused_as_an_encoder(model: Model) -> None:
    assert model.path is not None
    with pytest.raises(InputError, match="not an encoder"):
        load_encoder(model.path, model)
