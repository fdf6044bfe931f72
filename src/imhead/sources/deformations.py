"""Smooth random deformations: what real heads have and a linear model's modes leave out.

A deformation is a draw of a Gaussian process of displacements. Its covariance is the sum of squared-exponential kernels
of several lengths, each with a symmetric and a free part:

    k(x, y) = Σ_l s_l² [(1 - a) (e(x, y) + M e(Mx, y)) + a e(x, y)],   e = exp(-|x - y|² / 2 l²),   M mirrors x

(Gaussian process morphable models, Lüthi et al. 2018). Draws use random Fourier features (Rahimi and Recht 2007), so a
deformation is a function of its seed and of a place on the mean head.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from imhead.errors import InputError, check_numbers
from imhead.surfaces.eyeballs import eye_centers
from imhead.types import FloatArray

_MIRROR = np.array([-1.0, 1.0, 1.0], dtype=np.float32)
_MOST_KERNELS = 16
_RIGID_MM, _FREE_MM = 2.0, 9.0  # distances from an eyeball within which all moves with it, and from which nothing does


@dataclass(frozen=True)
class DeformationConfig:
    """How deformations are drawn."""

    lengths_mm: tuple[float, ...] = (60.0, 30.0, 15.0, 8.0)
    """Length scale l of each kernel."""
    spreads_mm: tuple[float, ...] = (1.3, 0.8, 0.4, 0.2)
    """Standard deviation s of each kernel along each axis, at strength 1."""
    free_share: float = 0.3
    """Share a of the variance that is not symmetric."""
    strength: tuple[float, float] = (0.2, 1.3)
    """Range of the strength of a head's deformation, drawn evenly; the spreads are multiplied by it."""
    features: int = 48
    """Random Fourier features of each kernel."""

    def __post_init__(self) -> None:
        check_numbers(self, low=0.0, high=1e3)
        for name in ("lengths_mm", "spreads_mm", "strength"):
            if not all(isinstance(value, (int, float)) and 0.0 <= value <= 1e3 for value in getattr(self, name)):
                raise InputError(f"DeformationConfig.{name} is {getattr(self, name)}; expected numbers from 0 to 1000")
        if not 1 <= len(self.lengths_mm) == len(self.spreads_mm) <= _MOST_KERNELS or min(self.lengths_mm) <= 0.0:
            raise InputError(
                f"DeformationConfig: up to {_MOST_KERNELS} lengths above 0 are needed, and as many spreads as lengths"
            )
        if len(self.strength) != 2 or self.strength[0] > self.strength[1]:
            raise InputError(f"DeformationConfig.strength is {self.strength}; expected a lower and an upper bound")
        if self.free_share > 1.0 or self.features < 1:
            raise InputError("DeformationConfig: free_share is at most 1, features at least 1")


@dataclass(frozen=True)
class Deformation:
    """The deformation of one head."""

    seed: int
    """Seed of its draw."""
    config: DeformationConfig
    """How it is drawn."""


def displacements(places: FloatArray, eyes: FloatArray, deformation: Deformation) -> FloatArray:
    """Displacements (N, 3) float32, mm, of a deformation at places (N, 3) of a neutral mean head.

    Args:
        eyes: (2, 5) eyeballs of that mean head; each moves as a whole, with its lids.
    """
    config = deformation.config
    rng = np.random.default_rng([0xDEF0, deformation.seed])
    strength = rng.uniform(*config.strength)
    centers = eye_centers(eyes)
    points = np.concatenate([places, centers]).astype(np.float32)
    moved = np.zeros_like(points)
    for length, spread in zip(config.lengths_mm, config.spreads_mm):
        symmetric, free = (_features(rng, length, config.features) for _ in range(2))
        even = _drawn(points, *symmetric) + _drawn(points * _MIRROR, *symmetric) * _MIRROR
        odd = _drawn(points, *free)
        scale = np.float32(strength * spread)
        moved += scale * (np.sqrt((1.0 - config.free_share) / 2.0) * even + np.sqrt(config.free_share) * odd)
    field, at_centers = moved[: len(places)], moved[len(places) :]
    for eyeball, center, shift in zip(eyes, centers, at_centers):
        away = np.linalg.norm(places - center, axis=1) - eyeball[3]
        t = np.clip((_FREE_MM - away) / (_FREE_MM - _RIGID_MM), 0.0, 1.0)[:, None]
        field += (t * t * (3.0 - 2.0 * t)) * (shift - field)
    return field.astype(np.float32)


def _features(rng: np.random.Generator, length: float, count: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    waves = rng.normal(0.0, 1.0 / length, (3, count)).astype(np.float32)
    phases = rng.uniform(0.0, 2.0 * np.pi, count).astype(np.float32)
    return waves, phases, rng.normal(0.0, np.sqrt(2.0 / count), (count, 3)).astype(np.float32)


def _drawn(points: FloatArray, waves: FloatArray, phases: FloatArray, amplitudes: FloatArray) -> FloatArray:
    drawn: FloatArray = np.cos(points @ waves + phases) @ amplitudes
    return drawn
