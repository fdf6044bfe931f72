"""Settings of a track."""

from __future__ import annotations

from dataclasses import dataclass, field

from imhead.fitting.config import FitConfig


@dataclass(frozen=True)
class TrackConfig:
    """Settings of a track. The defaults were chosen on a recorded take of a held-out head, and on phone frames."""

    candidates: int = 9
    """Frames, evenly spread, in which the head is searched for before the identity is fitted."""
    keyframes: int = 5
    """Of those, the frames from which the identity is fitted."""
    points: int = 2500
    """Scan points of a frame that enter a step."""
    face_share: float = 0.85
    """Share of them drawn from the face."""
    robust_mm: tuple[float, ...] = (4.0, 2.5, 1.5, 1.5, 1.5)
    """Scale of the robust loss in each step of a frame that starts from its neighbour."""
    lost_robust_mm: tuple[float, ...] = (12.0, 9.0, 6.0, 4.0, 3.0, 2.0, 1.5, 1.5, 1.5)
    """The same after a lost frame, or from a new search."""
    stay: float = 30.0
    """Precision of the prior that keeps a frame's ARKit weights near those of its neighbour."""
    least_face_points: int = 150
    """Samples of a frame on the face, of 4000, below which it is lost."""
    least_explained: float = 0.5
    """Share of them within 3 mm of the head, below which it is lost."""
    lost_factor: float = 4.0
    """A frame whose explained points lie farther from the head than this many times those of the keyframes is lost."""
    lost_mm: float = 1.0
    """Least distance at which that counts."""
    window: int = 160
    """Frames that are smoothed at once."""
    overlap: int = 40
    """Frames of a window on each side whose results another window gives."""
    least_change: float = 2e-3
    """Least standard deviation of the change of a weight's speed from frame to frame; in rotation and place, 50 times
    that in mm."""
    frames_per_second: float = 30.0
    """Rate of the timecode and of the animation."""
    fit: FitConfig = field(default_factory=FitConfig)
    """Settings of the identity's fit; `seed`, `settled` and the priors are those of the frames, too."""
