"""Fixtures that many tests share: a small model with random weights, and the registered source where it is present."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from imhead.checkpoint import Model, weights_hash
from imhead.config import Blend, ModelConfig
from imhead.model.head import HeadModel
from imhead.regions import REGIONS
from imhead.sources.ict import IctModel, read_ict


def _small(blend: Blend) -> ModelConfig:
    return ModelConfig(
        identity_size=24, region_code_size=8, expression_size=16, blend=blend, local_width=16, local_hidden=2,
        feature_size=8, fusion_width=16, warp_width=16, warp_hidden=2, warp_frequencies=3, warp_identity_size=8,
    )  # fmt: skip


def _random_net(config: ModelConfig, seed: int = 0) -> HeadModel:
    """A network none of whose parameters is trivially zero or one, with parities as training would set them."""
    torch.manual_seed(seed)
    net = HeadModel(config)
    sign = torch.where(torch.rand(config.identity_size) < 0.5, -1.0, 1.0)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        net.identity_parity.copy_(sign)
        for region in REGIONS:
            if region.side == 0:
                net.region_parity[region.index] = torch.where(torch.rand(config.region_code_size) < 0.5, -1.0, 1.0)
        # a symmetric identity dimension moves both sides alike, an antisymmetric one in opposite ways
        net.decnet.weight.copy_(
            0.5 * (net.decnet.weight + sign[:, None, None] * net.decnet.weight[:, net.mirror] * net.region_parity)
        )
    return net


def _random_model(blend: Blend = "local", seed: int = 0) -> Model:
    net = _random_net(_small(blend), seed)
    net.eval().requires_grad_(False)
    return Model(f"random-{seed}", weights_hash(net.state_dict()), net, {"seed": seed})


@pytest.fixture(scope="session")
def small_config() -> Callable[[Blend], ModelConfig]:
    """Sizes of a network that runs in no time, for a blend."""
    return _small


@pytest.fixture(scope="session")
def random_net() -> Callable[..., HeadModel]:
    """(config, seed=0) → a network with random weights that a test may change."""
    return _random_net


@pytest.fixture(scope="session")
def random_model() -> Callable[..., Model]:
    """(blend="local", seed=0) → a small frozen Model with random weights."""
    return _random_model


@pytest.fixture(scope="session")
def model() -> Model:
    """A small model of the `local` blend. Frozen: no test may change it."""
    return _random_model()


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of shared data beside the repository."""
    folder = Path(__file__).resolve().parents[1].parent / "shared"
    if not folder.is_dir():
        pytest.skip("the folder of shared data is not beside the repository")
    return folder


@pytest.fixture(scope="session")
def ict_path(shared: Path) -> Path:
    """The packed ICT-FaceKit file."""
    path = shared / "ict" / "ict_facekit_light.npz"
    if not path.is_file():
        pytest.skip("the packed ICT-FaceKit file is not in the folder of shared data")
    return path


@pytest.fixture(scope="session")
def ict(ict_path: Path) -> IctModel:
    """The ICT source, read once."""
    return read_ict(ict_path)
