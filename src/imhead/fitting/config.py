"""Settings of a fit."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FitConfig:
    """Settings of a fit. The defaults were chosen on held-out heads and five real scans."""

    points: int = 7000
    """Scan points that enter an iteration."""
    face_share: float = 0.6
    """Part of them drawn from the face, where the scan has that many."""
    early_points: int = 2000
    """How many of them enter while the robust loss is wider than at the end: a coarse goal needs no more."""
    sigma_mm: float = 0.25
    """Least spread of an inlier's residual: model error. A noisier scan, and early iterations, are trusted less."""
    effective_points: float = 1000.0
    """Independent measurements that the points count as; neighbours repeat each other's errors."""
    elsewhere_weight: float = 0.06
    """Weight of a point off the face, where hair and clothes are, against one on it, while z_id is sought."""
    robust_mm: tuple[float, ...] = (12.0, 9.0, 7.0, 5.0, 4.0, 3.0, 2.5, 2.0, 2.0, *7 * (1.5,))
    """Scale of the robust loss in each iteration of pose and codes."""
    robust_noise: float = 2.0
    """Least scale of the last iterations, in standard deviations of the noise that neighbouring points do not share."""
    detail_robust_mm: tuple[float, ...] = (1.5, 1.5, 1.5, 1.5)
    """The same for the iterations in which region offsets are sought and z_id is held."""
    early_prior: float = 6.0
    """Weight of the squared distance of z_id to where the fit started, while the robust loss is wider than at the end:
    until hair and clothes are told from the head, the first guess is trusted more than the points."""
    identity_prior: float = 0.05
    """Weight of |z_id|² after that, at least."""
    identity_limit: float = 2.0
    """Length of z_id, in standard deviations, that a step may not lead beyond: it takes the least weight that keeps it.
    A scan that the model cannot explain is not to be explained by an implausible head."""
    expression_prior: float = 10.0
    """Weight of the L1 norm of the ARKit weights: few of them make an expression, and some of those are large. Gaze is
    not fitted: a scan hardly shows it."""
    offset_prior: float = 0.15
    """Weight of the L1 norm of the region offsets, for a region that the scan shows whole; it is divided by the squared
    share that the scan shows, since what is not seen would follow what is."""
    settled: float = 2.0
    """A step at the narrowest robust loss of its stage (the wide ones, the narrowest, the offsets) that promises to
    lower the negative log posterior by less than this is the stage's last: what four unknowns gain by chance."""
    normal_gate: float = 0.2
    """Least cosine between a point's normal and the surface's for the point to count."""
    detail: bool = True
    """Whether region offsets are fitted at all."""
    encoder: bool = True
    """Whether the model's encoder makes the first guess, where it has one; else the fit starts from the mean head."""
    resolution: int = 256
    """Cells of the mesh along the longest side of the bounds."""
    seed: int = 0
    """Seed of the draw of points and of the search for the pose."""
