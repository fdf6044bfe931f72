"""Sizes of the benchmarks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from imhead.errors import InputError


@dataclass(frozen=True)
class BenchConfig:
    """What is timed, how often, and how much of it is checked against a slow reference."""

    runs: int = 3
    """Timed runs of each side, taken in turns after one untimed run."""
    resolution: int = 256
    """Cells of a mesh along the longest side of the bounds; the peer's grid has as many points on each axis."""
    heads: int = 4
    """Heads that are meshed: the mean head, then drawn ones with a strong edit and an expression."""
    reference_heads: int = 1
    """Of these, heads that are compared with marching cubes on the dense grid, which takes about a minute each."""
    peer_points: int = 100_000
    """Points of the peer's batch; its time for a whole grid is extrapolated from it."""
    regions: int = 39
    """Regions that are edited, spread over the table of regions."""
    edit_strength: float = 1.0
    """Standard deviations of an edit that is re-meshed."""
    scan: Path | None = None
    """Scan that is fitted; None for the one that ships with the package."""
    scan_points: int = 5000
    """Points without normals that are drawn from it."""
    adam_steps: int = 350
    """Steps of the plain fit that ours is compared with."""
    batch_heads: int = 16
    """Heads in a training step."""
    batch_points: int = 900
    """Points of each head in a training step."""
    seed: int = 0
    """Seed of heads, edits, points and the peer's weights."""
    quick: bool = False
    """Whether the sizes are so small that the figures mean nothing; every row says so."""

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
"""Sizes that only show that a benchmark runs; its figures mean nothing."""
