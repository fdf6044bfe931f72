"""Settings of a comparison of scans."""

from __future__ import annotations

from dataclasses import dataclass, field

from imhead.fitting.config import FitConfig
from imhead.registration.config import RegistrationConfig

STABLE = ("forehead", "brow", "nose_bridge", "temple")
"""Regions and groups that most treatments of the face leave alone."""


@dataclass(frozen=True)
class ChangeConfig:
    """Settings of a comparison. The defaults were chosen on virtual patients; others measure how good they are."""

    stable: tuple[str, ...] = STABLE
    """Regions or groups on which the scans are aligned."""
    mirror: tuple[str, ...] = ("forehead", "brow", "nose_bridge", "temple", "left_eye", "right_eye", "cheek")
    """Regions or groups on which a head is aligned with its mirror image."""
    mirror_robust_mm: float = 1.0
    """Scale of the robust loss of that alignment."""
    robust_mm: float = 0.5
    """Scale of the robust loss of the alignment: a place that changed by more counts little."""
    reach_mm: float = 4.0
    """How far from its own vertex a normal may meet the later surface, along the normal."""
    least_cosine: float = 0.3
    """Least cosine between the normals of both surfaces at a place that is compared."""
    local_mm: float = 2.0
    """Standard deviation of the window over which a scan's points around a vertex are averaged."""
    correlated_mm2: float = 900.0
    """Area of the surface within which errors of a scan are alike."""
    averaged_mm2: float = 400.0
    """Area over which the scanner's error is alike, in the error of a mean or a volume."""
    refine: bool = True
    """Whether the alignment on the stable regions is refined on all else that did not change."""
    window_mm: float = 2.0
    """Standard deviation of the window over which the change is averaged, of a scan with a noise of 0.2 mm; it grows
    with the noise."""
    largest_window_mm: float = 5.0
    """Largest standard deviation of that window."""
    rim_mm: float = 4.0
    """A place nearer than this to what is not shown is not compared: there scans fray."""
    expression_size: float = 0.15
    """Spread of the difference of an ARKit weight."""
    expression_lean: float = 0.1
    """Spread of the difference between left and right."""
    expression_robust_mm: float = 0.5
    """Scale of the robust loss of the expressions: a place that something else moved is an outlier."""
    expression_share: float = 0.1
    """Error of the movement that is taken out with an expression, as a share of it."""
    least_noise_mm: float = 0.03
    """Least standard deviation of a distance between two scans."""
    growth_power: float = 1.0
    """Power by which the scanner's error grows with the variance that the scatter of the points gives a place."""
    factor_95: float = 2.0
    """95 % intervals over those of 68 %."""
    place_sigma: float = 6.0
    """A connected place is said to have changed if somewhere in it the change is this many standard deviations."""
    slide_mm: float = 1.0
    """In measurements, a slide of a vertex along the surface of this length counts half, and a shorter one less: a
    registration is no surer of it."""
    fit: FitConfig = field(default_factory=FitConfig)
    """Settings of the fits."""
    registration: RegistrationConfig = field(default_factory=RegistrationConfig)
    """Settings of the registrations."""
