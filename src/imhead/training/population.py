"""The training heads of a data set, and their samples, which are cached in the folder of the run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from imhead.conventions import MODEL_UNIT_MM
from imhead.datasets.dataset import DataSet
from imhead.datasets.heads import OpenSources, SourceHead, check_sources
from imhead.datasets.identities import Identity
from imhead.errors import InputError
from imhead.io.atomic import write_atomically
from imhead.parallel import in_processes
from imhead.regions import CENTERS_MM, RADII_MM, REGIONS
from imhead.sources.ict import IctModel
from imhead.training.codes import keypoint_weights
from imhead.training.config import TrainConfig
from imhead.training.samples import UNCOVERED_SHARE, Samples, face_density, head_samples
from imhead.types import BoolArray, FloatArray, IntArray

CREASED = tuple(r.index for r in REGIONS if r.group in ("mouth", "left_eye", "right_eye"))
"""Regions in which two surfaces meet along a line: lips and lids."""
_CREASE_REACH = 0.6  # of the radius of their balls
_COLUMNS = 11
_VERSION = 8  # raised whenever the same settings draw other samples


@dataclass(frozen=True, eq=False)
class Population:
    """Training samples, model units, memory-mapped.

    Columns: point (3), signed distance, normal (3), the point in the canonical pose (3), 1 if the distance is an upper
    bound.
    """

    canonical: np.ndarray
    """(M, n, 11) float32 samples in the canonical pose."""
    posed: np.ndarray
    """(M, E, m, 11) float32 samples in E expressions, the first of them neutral."""
    expressions: Tensor
    """(M, E, 52) ARKit weights of those expressions."""
    keypoints: Tensor
    """(M, 39, 3) true keypoints, model units."""
    canonical_creases: BoolArray
    """(M, n) bool: canonical samples where lids or lips meet."""
    posed_creases: BoolArray
    """(M, E, m) bool: the same for the posed samples."""


@dataclass(frozen=True, eq=False)
class TrainingHeads:
    """The identities of a data set that a model is trained on.

    Raises:
        InputError: ICT-FaceKit is not open, a source has other data than the data set, or no identity is to train on.
    """

    data: DataSet
    """The data set."""
    sources: OpenSources
    """The data of its sources."""
    limit: int | None = None
    """Largest number of identities; None for all."""

    def __post_init__(self) -> None:
        if self.sources.ict is None:
            raise InputError("training needs ICT-FaceKit, to whose topology heads are registered; name it with --ict")
        check_sources(self.data.manifest, self.sources)
        if not self.identities:
            raise InputError(f"{self.data.folder}: has no identity to train on; build a larger data set")

    @property
    def ict(self) -> IctModel:
        """ICT-FaceKit, to whose topology the heads are registered."""
        assert self.sources.ict is not None
        return self.sources.ict

    @cached_property
    def identities(self) -> tuple[Identity, ...]:
        """The first `limit` identities of the training split."""
        return self.data.split("train")[: self.limit]

    @property
    def count(self) -> int:
        """Number of identities M."""
        return len(self.identities)

    @property
    def of_ict(self) -> BoolArray:
        """(M,) bool: the identity comes from ICT-FaceKit."""
        return np.array([identity.source in ("ict", "compose") for identity in self.identities])

    def head(self, index: int) -> SourceHead:
        """The vertices of one identity."""
        identity = self.identities[index]
        return self.sources.head(identity.shape, self.data.deformation(identity))

    def eyes(self) -> FloatArray:
        """(M, 2, 5) the eyeballs of every identity, mm."""

        def of_identity(index: int) -> FloatArray:
            identity = self.identities[index]
            return self.sources.eyes(identity.shape, self.data.deformation(identity))

        return np.stack(list(in_processes(of_identity, self.count, 2, chunk=32)))

    def expressions(self, index: int, count: int) -> FloatArray:
        """(count, 52) ARKit weights for one identity: neutral, then others of its own, varying with the index."""
        own = self.data.expressions[self.identities[index].index]
        others = 1 + (index * (count - 1) + np.arange(count - 1)) % max(len(own) - 1, 1)
        rows: IntArray = np.concatenate([[0], np.minimum(others, len(own) - 1)])
        return own[rows]

    def all_expressions(self) -> FloatArray:
        """(E, 52) ARKit weights of every expression of every identity."""
        return np.concatenate([self.data.expressions[identity.index] for identity in self.identities])

    def offsets(self) -> Tensor:
        """(M, V, 3) float32 offsets from the canonical mean head, on ICT's topology, mm."""
        mean = self.ict.mean + self.ict.canonical_offset
        registered = [head.registered(head.canonical) - mean for head in map(self.head, range(self.count))]
        return torch.from_numpy(np.stack(registered).astype(np.float32))


def build_population(
    heads: TrainingHeads,
    offsets: Tensor,
    config: TrainConfig,
    folder: Path,
    progress: Callable[[str], None],
    processes: int = 2,
) -> Population:
    """Draw all samples into `folder`, or open those of an earlier call with the same settings.

    Args:
        offsets: `heads.offsets()`.
    """
    settings = {
        "recipe": _VERSION,
        "files": heads.data.manifest.files,
        "sources": [record.digest for record in heads.data.manifest.sources],
        "points": [heads.count, config.canonical_points, config.expression_points, config.expressions, config.seed],
    }
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
    marker = folder / "population.json"
    paths = (folder / "canonical.npy", folder / "posed.npy")
    if not (marker.is_file() and json.loads(marker.read_text())["settings"] == digest):
        folder.mkdir(parents=True, exist_ok=True)
        shift = torch.from_numpy(keypoint_weights((heads.ict.mean + heads.ict.canonical_offset).astype(np.float64)))
        moved = torch.einsum("rv,mvc->mrc", shift.float(), offsets)
        np.save(folder / "keypoints.npy", (torch.from_numpy(CENTERS_MM).float() + moved).numpy() / MODEL_UNIT_MM)
        expressions = [heads.expressions(k, config.expressions) for k in range(heads.count)]
        np.save(folder / "expressions.npy", np.stack(expressions).astype(np.float32))
        _write_samples(heads, config, paths, progress, processes)
        write_atomically(marker, json.dumps({"settings": digest}).encode())
    return open_population(folder)


def open_population(folder: Path) -> Population:
    """Open the samples that `build_population` wrote to `folder`."""
    canonical, posed = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("canonical", "posed"))
    keypoints = np.load(folder / "keypoints.npy")
    return Population(
        canonical=canonical,
        posed=posed,
        expressions=torch.from_numpy(np.load(folder / "expressions.npy")),
        keypoints=torch.from_numpy(keypoints),
        canonical_creases=_at_creases(canonical, keypoints),
        posed_creases=_at_creases(posed, keypoints),
    )


def _at_creases(samples: np.ndarray, keypoints: FloatArray) -> BoolArray:
    """(M, …) bool: the sample's canonical point lies within 0.6 radii of the keypoint of a region of mouth or eyes."""
    rows = list(CREASED)
    reach = np.square(_CREASE_REACH * RADII_MM[rows] / MODEL_UNIT_MM)
    near = np.zeros(samples.shape[:-1], dtype=bool)
    for row, (own, centers) in enumerate(zip(samples, keypoints)):
        offset = own[..., None, 7:10] - centers[rows]
        near[row] = (np.square(offset).sum(axis=-1) < reach).any(axis=-1)
    return near


def _write_samples(
    heads: TrainingHeads,
    config: TrainConfig,
    paths: tuple[Path, Path],
    progress: Callable[[str], None],
    processes: int,
) -> None:
    opened = {id(source): source for source in (heads.sources.source_of(k.shape) for k in heads.identities)}
    densities = {key: face_density(source) for key, source in opened.items()}
    shapes = (
        (heads.count, config.canonical_points, _COLUMNS),
        (heads.count, config.expressions, config.expression_points, _COLUMNS),
    )
    maps = [
        np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape) for path, shape in zip(paths, shapes)
    ]
    draw = partial(_samples_of_head, heads, densities, config)
    for index, canonical, posed in in_processes(draw, heads.count, processes, ordered=False, chunk=8):
        maps[0][index], maps[1][index] = canonical, posed
        if (index + 1) % 200 == 0:
            progress(f"samples of {index + 1} / {heads.count} heads")
    for array in maps:
        array.flush()


def _samples_of_head(
    heads: TrainingHeads, densities: dict[int, FloatArray], config: TrainConfig, index: int
) -> tuple[int, np.ndarray, np.ndarray]:
    rng = np.random.default_rng([config.seed, 0x5A, index])
    head = heads.head(index)
    density = densities[id(head.source)]

    def drawn(vertices: FloatArray, weights: FloatArray | None, count: int, uncovered: int = 0) -> np.ndarray:
        seen = head.measured(weights)
        return _columns(head_samples(head, density, vertices, count, rng, uncovered, seen))

    points = config.canonical_points
    canonical = drawn(head.canonical, None, points, int(UNCOVERED_SHARE * points))
    weights = heads.expressions(index, config.expressions)
    return index, canonical, np.stack([drawn(head.posed(row), row, config.expression_points) for row in weights])


def _columns(samples: Samples) -> np.ndarray:
    lengths = np.concatenate([samples.points, samples.distance[:, None]], axis=1) / MODEL_UNIT_MM
    columns = [lengths, samples.normal, samples.target / MODEL_UNIT_MM, samples.bound[:, None]]
    return np.concatenate(columns, axis=1).astype(np.float32)
