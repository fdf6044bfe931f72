"""The population that a run learns from: registered heads and their samples, cached beside the run."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from imhead.atomic import write_atomically
from imhead.config import TrainConfig, to_dict
from imhead.conventions import ARKIT_NAMES, MODEL_UNIT_MM
from imhead.regions import CENTERS_MM, RADII_MM, REGIONS
from imhead.sources.compose import ComposeConfig, draw_expression, draw_identity, group_masks
from imhead.sources.ict import IctModel
from imhead.training.codes import keypoint_weights
from imhead.training.samples import Samples, face_density, head_samples

HELD_OUT_SEED = 1_000_000
"""Identity seeds from here on are never trained on."""
_COLUMNS = 11
_RECIPE = 3  # raised whenever the same settings would draw other samples


@dataclass(frozen=True, eq=False)
class Population:
    """Training data in model units, as memory maps: columns are x (3), distance, normal (3), canonical
    target (3), and 1 where the distance is an upper bound."""

    canonical: np.ndarray
    """(M, n, 11) float32 samples in the canonical pose."""
    posed: np.ndarray
    """(M, m, 11) float32 samples in one drawn expression each."""
    expressions: Tensor
    """(M, 52) ARKit weights of the posed samples; zero is neutral."""
    keypoints: Tensor
    """(M, 39, 3) true keypoints, model units."""
    canonical_creases: np.ndarray
    """(M, n) bool: samples where lids and lips meet."""
    posed_creases: np.ndarray
    """(M, m) bool, the same of the posed ones."""


CREASED = tuple(r.index for r in REGIONS if r.group in ("mouth", "left_eye", "right_eye"))
"""Regions with a line where two surfaces meet."""
_CREASE_REACH = 0.6  # of the radius of their balls


_worker_state: tuple[IctModel, np.ndarray, np.ndarray, TrainConfig] | None = None


def expression_weights(index: int, config: TrainConfig) -> np.ndarray:
    """ARKit weights (52,) of the posed samples of training identity `index`."""
    neutral = np.random.default_rng([config.seed, 0xA, index]).random() < config.neutral_fraction
    return np.zeros(len(ARKIT_NAMES)) if neutral else draw_expression(config.seed * HELD_OUT_SEED + index)


def training_offsets(ict: IctModel, config: TrainConfig, compose: ComposeConfig) -> Tensor:
    """(M, V, 3) float32 offsets of the training identities, mm."""
    masks = group_masks(ict.mean)
    first = config.seed * HELD_OUT_SEED * 2  # seed 0 draws identities 0, 1, …; other seeds never meet the held-out ones
    return torch.from_numpy(np.stack([draw_identity(ict, masks, first + k, compose) for k in range(config.identities)]))


def build_population(
    ict: IctModel,
    offsets: Tensor,
    config: TrainConfig,
    folder: Path,
    progress: Callable[[str], None],
    processes: int = 2,
) -> Population:
    """Draw all samples, or open them where an earlier run with the same settings left them in `folder`."""
    key = {k: v for k, v in to_dict(config).items() if k in _SAMPLE_SETTINGS}
    key |= {"recipe": _RECIPE, "compose": to_dict(ComposeConfig())}
    # not the offsets themselves: their last bits depend on the number of threads that drew them
    content = json.dumps(key, sort_keys=True).encode() + np.ascontiguousarray(ict.mean).tobytes()
    digest = hashlib.sha256(content).hexdigest()
    marker = folder / "population.json"
    paths = (folder / "canonical.npy", folder / "posed.npy")
    if not (marker.is_file() and json.loads(marker.read_text())["settings"] == digest):
        folder.mkdir(parents=True, exist_ok=True)
        _draw_all(ict, offsets, config, paths, progress, processes)
        write_atomically(marker, json.dumps({"settings": digest}).encode())
    expressions = np.stack([expression_weights(k, config) for k in range(config.identities)])
    shift = torch.from_numpy(keypoint_weights((ict.mean + ict.canonical_offset).astype(np.float64))).float()
    moved = torch.einsum("rv,mvc->mrc", shift, offsets)
    keypoints = (torch.from_numpy(CENTERS_MM).float() + moved) / MODEL_UNIT_MM
    canonical, posed = (np.load(path, mmap_mode="r") for path in paths)
    return Population(
        canonical=canonical,
        posed=posed,
        expressions=torch.from_numpy(expressions).float(),
        keypoints=keypoints,
        canonical_creases=_at_creases(canonical, keypoints.numpy()),
        posed_creases=_at_creases(posed, keypoints.numpy()),
    )


def _at_creases(samples: np.ndarray, keypoints: np.ndarray) -> np.ndarray:
    """(M, n) bool: whose canonical place lies in the inner part of the ball of a lid, a lip or a corner."""
    reach = np.square(_CREASE_REACH * RADII_MM[list(CREASED)] / MODEL_UNIT_MM)
    near = np.zeros(samples.shape[:2], dtype=bool)
    for row, (own, centers) in enumerate(zip(samples, keypoints)):
        offset = own[:, None, 7:10] - centers[list(CREASED)]
        near[row] = (np.square(offset).sum(axis=2) < reach).any(axis=1)
    return near


_SAMPLE_SETTINGS = ("identities", "canonical_points", "expression_points", "neutral_fraction", "seed")


def _draw_all(
    ict: IctModel,
    offsets: Tensor,
    config: TrainConfig,
    paths: tuple[Path, Path],
    progress: Callable[[str], None],
    processes: int,
) -> None:
    global _worker_state
    _worker_state = (ict, face_density(ict), offsets.numpy(), config)
    counts = (config.canonical_points, config.expression_points)
    maps = [
        np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(config.identities, count, _COLUMNS))
        for path, count in zip(paths, counts)
    ]
    # forked workers share the source and the offsets without copying them
    with multiprocessing.get_context("fork").Pool(processes) as pool:
        for index, canonical, posed in pool.imap_unordered(_draw_one, range(config.identities), chunksize=8):
            maps[0][index], maps[1][index] = canonical, posed
            if (index + 1) % 200 == 0:
                progress(f"samples of {index + 1} / {config.identities} heads")
    for array in maps:
        array.flush()
    _worker_state = None


def _draw_one(index: int) -> tuple[int, np.ndarray, np.ndarray]:
    assert _worker_state is not None
    ict, density, offsets, config = _worker_state
    rng = np.random.default_rng([config.seed, 0x5A, index])
    neutral = ict.mean + offsets[index]
    canonical = neutral + ict.canonical_offset
    posed = neutral + ict.expression_offsets(expression_weights(index, config))
    return (
        index,
        _columns(head_samples(ict, density, canonical, canonical, config.canonical_points, rng)),
        _columns(head_samples(ict, density, posed, canonical, config.expression_points, rng)),
    )


def _columns(samples: Samples) -> np.ndarray:
    lengths = np.concatenate([samples.points, samples.distance[:, None]], axis=1) / MODEL_UNIT_MM
    columns = [lengths, samples.normal, samples.target / MODEL_UNIT_MM, samples.bound[:, None]]
    return np.concatenate(columns, axis=1).astype(np.float32)
