"""A batch of similarities, and vectors stored as planes.

Shape legend: B poses in a batch, K template points. Vectors are stored as (3, B, K), one plane for each axis: sums over
the first axis then run along memory, and the search does little else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["Poses", "concatenate_poses", "cross", "dot"]


@dataclass(frozen=True, eq=False)
class Poses:
    """B similarities, template → scan mm: x = scale · rotation · q + translation."""

    scale: Tensor
    """(B,)."""
    rotation: Tensor
    """(B, 3, 3)."""
    translation: Tensor
    """(B, 3)."""

    def __len__(self) -> int:
        return len(self.scale)

    def take(self, rows: Tensor | NDArray[np.int64]) -> Poses:
        """The poses of some rows, in their order."""
        index = torch.as_tensor(rows)
        return Poses(self.scale[index], self.rotation[index], self.translation[index])

    def rotate(self, vectors: Tensor) -> Tensor:
        """Vectors (K, 3) under each rotation: (3, B, K)."""
        count = len(self)
        return (self.rotation.transpose(0, 1).reshape(3 * count, 3) @ vectors.T).view(3, count, len(vectors))

    def apply(self, points: Tensor) -> Tensor:
        """Points (K, 3) under each similarity: (3, B, K)."""
        return self.rotate(points) * self.scale[:, None] + self.translation.T[..., None]


def concatenate_poses(batches: Sequence[Poses]) -> Poses:
    """One batch of the poses of all batches, in order."""
    return Poses(
        torch.cat([batch.scale for batch in batches]),
        torch.cat([batch.rotation for batch in batches]),
        torch.cat([batch.translation for batch in batches]),
    )


def dot(a: Tensor, b: Tensor) -> Tensor:
    """Dot products (B, K) of vectors (3, B, K)."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def cross(a: Tensor, b: Tensor) -> Tensor:
    """Cross products (3, B, K) of vectors (3, B, K)."""
    return torch.stack([a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]])
