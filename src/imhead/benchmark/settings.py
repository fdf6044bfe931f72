"""Sizes of the benchmarks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from imhead.errors import InputError


@dataclass(frozen=True)
class BenchConfig:
    """Sizes and repetitions of the benchmarks, and how much is checked against a slow reference."""

    runs: int = 3
    """Timed runs of each side, in turns, after one untimed run."""
    resolution: int = 256
    """Cells of a mesh along the longest side of the bounds; the peer's grid has as many points on each axis."""
    heads: int = 4
    """Number of heads that are meshed: the mean head, then sampled ones with a strong edit and an expression."""
    reference_heads: int = 1
    """Number of these heads that are compared with marching cubes on the dense grid, about a minute each."""
    peer_points: int = 100_000
    """Points of the peer's batch, from which its time for a whole grid is extrapolated."""
    regions: int = 39
    """Number of regions that are edited, spread evenly over the table of regions."""
    edit_strength: float = 1.0
    """Strength of the edits, standard deviations."""
    scan: Path | None = None
    """Scan to fit; None for the one that ships with the package."""
    scan_points: int = 5000
    """Points, without normals, sampled from the scan."""
    adam_steps: int = 350
    """Steps of the plain Adam fit."""
    batch_heads: int = 16
    """Heads in a training step."""
    batch_points: int = 900
    """Points of each head in a training step."""
    seed: int = 0
    """Seed of heads, edits, points and the peer's weights."""
    quick: bool = False
    """Whether the sizes are too small for meaningful figures; every row records it."""

    def __post_init__(self) -> None:
        for name in ("runs", "heads", "peer_points", "regions", "scan_points", "adam_steps", "batch_heads"):
            if getattr(self, name) < 1:
                raise InputError(f"BenchConfig.{name} is {getattr(self, name)}; give 1 or more")
        if not 16 <= self.resolution <= 1024:
            raise InputError(f"BenchConfig.resolution is {self.resolution}; give 16 to 1024 cells")
        if not 0 <= self.reference_heads <= self.heads:
            raise InputError(f"BenchConfig.reference_heads is {self.reference_heads}; give 0 to heads ({self.heads})")
        if self.regions > 39 or self.batch_points < 8:
            raise InputError("BenchConfig: at most 39 regions and at least 8 batch_points are needed")


QUICK = BenchConfig(
    runs=2, resolution=40, heads=2, reference_heads=1, peer_points=200, regions=2, scan_points=2000, adam_steps=4,
    batch_heads=2, batch_points=32, quick=True,
)  # fmt: skip
"""Tiny sizes that show that a benchmark runs; the figures mean nothing."""
