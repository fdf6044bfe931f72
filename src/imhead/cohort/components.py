"""Principal components of aligned shapes.

Shape legend: N shapes, V vertices, K components.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from imhead.types import FloatArray


@dataclass(frozen=True, eq=False)
class Components:
    """Directions in which shapes vary most."""

    mean: FloatArray
    """(V, 3) mean shape."""
    directions: FloatArray
    """(K, V, 3) movement for one standard deviation, mm."""
    scores: FloatArray
    """(N, K) of the shapes, in standard deviations."""
    explained: FloatArray
    """(K,) share of the variance."""

    def at(self, component: int, sigma: float) -> FloatArray:
        """The shape (V, 3) at `sigma` standard deviations along one component."""
        shape: FloatArray = self.mean + sigma * self.directions[component]
        return shape


def principal_components(shapes: FloatArray, count: int | None = None, share: float = 1.0) -> Components:
    """Components of aligned shapes (N, V, 3), largest first; each points so that its largest movement is positive.

    Args:
        count: at most so many; None for all that N shapes can have.
        share: the fewest that explain this share of the variance.
    """
    mean = shapes.mean(axis=0)
    flat = (shapes - mean).reshape(len(shapes), -1)
    scores, size, directions = np.linalg.svd(flat, full_matrices=False)
    variance = size**2
    rank = int((size > 1e-9 * max(float(size[0]), 1e-30)).sum()) if len(size) else 0
    explained = variance / max(float(variance.sum()), 1e-30)
    enough = int(np.searchsorted(np.cumsum(explained), share - 1e-12)) + 1
    kept = min(rank, len(shapes) - 1, enough, rank if count is None else count)
    scores, size, directions = scores[:, :kept], size[:kept], directions[:kept]
    sign = np.sign(directions[np.arange(kept), np.abs(directions).argmax(axis=1)])
    degrees = np.sqrt(max(len(shapes) - 1, 1))
    return Components(
        mean, (directions * (sign * size / degrees)[:, None]).reshape(kept, *mean.shape), scores * sign * degrees,
        explained[:kept],
    )  # fmt: skip
