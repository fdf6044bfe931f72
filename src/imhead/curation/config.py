"""Settings of a curation, and the limits of its audit."""

from __future__ import annotations

from dataclasses import dataclass, field

from imhead.fitting.config import FitConfig


@dataclass(frozen=True)
class CleaningConfig:
    """What of a raw scan is masked before it is fitted."""

    stretch: float = 2.5
    """A face is torn where its longest edge is longer than this many mean edges, or its area larger than this many
    squared mean edges."""
    stretched_share: float = 0.15
    """Share of the area, at most, that torn faces may make up: beyond it the mesh is coarse there, and none is."""
    piece_share: float = 0.01
    """A connected piece with less than this share of the points is stray."""
    piece_gap: float = 4.0
    """Points of a cloud farther apart than this many spacings belong to different pieces."""
    spike: float = 12.0
    """A point is a spike if its height over its neighbours' plane is more than this many standard deviations."""
    spike_spacing: float = 1.5
    """And more than this many spacings."""


@dataclass(frozen=True)
class AuditLimits:
    """Beyond a limit a scan is refused. The accepted scans follow from the figures, these limits and the decisions."""

    agreement_mm: float = 3.0
    """Largest distance between the places in which the same face is found from random poses and starts."""
    face_mm: float = 1.2
    """Largest median distance of the scan to its own fitted head, on the face."""
    face_p90_mm: float = 4.0
    """Largest 90th percentile of the distance of the scan's points to the person's head, on the face."""
    unexplained_share: float = 0.15
    """Largest share of the points on the face that the head does not explain."""
    bearded_share: float = 0.35
    """The same of a scan that shows a beard, which the head does not explain."""
    beard_cm2: float = 12.0
    """Least area of a beard."""
    measured_share: float = 0.6
    """Least share of the face's skin, by area, that the scan must show."""
    side_share: float = 0.35
    """Least share of each half of the face that the scan must show."""
    noise_mm: float = 1.5
    """Largest noise that is independent between neighbours."""
    code_sigma: float = 1.29
    """Root mean square of the identity code of a scan's own fit, in standard deviations, that ranks as 1.
    It refuses none: fits end at 1.3, and those of real people are there."""
    crossed_vertices: int = 60
    """Largest number of vertices at which faces of the registered template cross or have turned over."""
    mirror_excess_mm: float = 0.05
    """By how much closer a scan must lie to its person's mirror image than to the person to be called mirrored."""
    size: tuple[float, float] = (0.75, 1.22)
    """Sizes of a head over the mean head's in a unit that was not named."""
    size_differs: float = 0.15
    """Largest share by which a head may differ in size from the same person's other scans, in an unnamed unit."""


@dataclass(frozen=True)
class CurationConfig:
    """Settings of a curation."""

    fit: FitConfig = field(default_factory=lambda: FitConfig(detail=False, resolution=128))
    """Of each scan's own fit and of the joint fits. Detail and residual are left to the registration: it follows the
    scan, and what these explain would no longer move the population's guess of the places that no scan shows."""
    turns: int = 2
    """Further searches for the head, each from a random pose, unit and start, that must agree with the first."""
    kept_points: int = 20_000
    """Measured points of a scan that are kept to learn from, at most."""
    cleaning: CleaningConfig = field(default_factory=CleaningConfig)
    """What is masked."""
    limits: AuditLimits = field(default_factory=AuditLimits)
    """Of the audit. They may change between runs: no fit depends on them beyond which scans are joined."""
