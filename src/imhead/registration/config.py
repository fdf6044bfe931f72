"""Settings of a registration."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RegistrationConfig:
    """Settings of a registration. The defaults were chosen on a few held-out heads and one real scan."""

    population_spread: float = 1.0
    """Standard deviations by which each region may vary on its own, over those of the identities, when the vertices
    move as they do among the model's heads."""
    population_sigma_mm: float = 0.3
    """Standard deviation of what this movement leaves over at a vertex."""
    smooth_mm: tuple[tuple[float, float], ...] = ((30.0, 0.4), (10.0, 0.2))
    """Length and standard deviation of each smooth field of heights, mm, from stiff to soft."""
    point_sigma_mm: float = 0.05
    """Least standard deviation of a scan point; the measured noise is added to it."""
    robust_mm: float = 1.5
    """Least scale of the robust loss; it begins twice as wide."""
    robust_noise: float = 3.0
    """Least scale of the robust loss, in standard deviations of the measured noise."""
    reach_mm: float = 5.0
    """Longest distance from a scan point to its place on the template."""
    normal_gate: tuple[float, float] = (0.3, 0.7)
    """Cosines between the normals of a point and of its place, over which its weight grows from 0 to 1."""
    unmeasured_sigma_mm: float = 0.1
    """Standard deviation of the surface around the head's own, far from every measured place."""
    rim_mm: tuple[float, float] = (4.0, 20.0)
    """Distances from the measured places over which the head's own surface begins to count."""
