"""Settings of a fit."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FitConfig:
    """Settings of a fit. The defaults were chosen on held-out heads and five real scans."""

    points: int = 7000
    """Scan points that enter a step."""
    face_share: float = 0.6
    """Share of them drawn from the face, where the scan has enough."""
    early_points: int = 2000
    """Points of an early step, while the robust loss is wider than at the end: a coarse alignment needs no more."""
    sigma_mm: float = 0.25
    """Least standard deviation of an inlier's residual: the model error. Noise, or a wide robust loss, raises it."""
    effective_points: float = 1000.0
    """Independent measurements that the points count as; errors of neighbours are correlated."""
    elsewhere_weight: float = 0.06
    """Weight of a point off the face, where hair and clothes are, over that of one on it, while z_id is free."""
    robust_mm: tuple[float, ...] = (12.0, 9.0, 7.0, 5.0, 4.0, 3.0, 2.5, 2.0, 2.0, *7 * (1.5,))
    """Scale of the robust loss in each step on pose and codes."""
    robust_noise: float = 2.0
    """Least scale of the last steps, in standard deviations of the noise that is independent between neighbours."""
    detail_robust_mm: tuple[float, ...] = (1.5, 1.5, 1.5, 1.5)
    """Scale of the robust loss in each step on pose and region offsets, with z_id held."""
    early_prior: float = 6.0
    """Weight of the squared distance of z_id to the first guess, while the robust loss is wider than at the end: until
    hair and clothes are outliers, the first guess is trusted more than the points."""
    identity_prior: float = 0.05
    """Least weight of |z_id|² after that."""
    identity_limit: float = 1.3
    """Largest root mean square of z_id, in standard deviations: a step takes the least weight of |z_id|² that keeps it.
    A scan that the model cannot explain does not become an implausible head."""
    expression_prior: float = 10.0
    """Weight of the L1 norm of the ARKit weights: an expression has few of them, some large. Gaze stays 0: a scan
    hardly shows it."""
    offset_prior: float = 0.15
    """Weight of the L1 norm of the offsets of a region that the scan shows whole, divided by the squared share that the
    scan shows: unseen parts would follow the seen ones."""
    offset_limit: float = 1.0
    """Largest root mean square of a region's offsets, about: a step takes the least weight of their squares that keeps
    it. Beyond, the networks were never trained, and the surface folds."""
    try_shut_eyes: bool = True
    """Whether a fit whose eyes are not explained well begins once more with them shut."""
    wall_weight: float = 15.0
    """Weight of the squared depth, mm², that a held middle of a thin wall lacks; 0 checks and holds no wall."""
    wall_share: float = 0.3
    """Depth that a held middle of a wall keeps, over the thickness of the wall; in its very middle it is half."""
    wall_depth_mm: float = 0.5
    """Largest depth that a held middle of a wall keeps."""
    lip_depth_mm: float = 0.05
    """Depth that a held middle between two shut lips keeps."""
    settled: float = 2.0
    """A stage (the wide scales, the narrowest, the offsets) ends after a step at its narrowest scale that is predicted
    to lower the negative log posterior by less than this: four unknowns gain as much by chance."""
    normal_gate: float = 0.2
    """Least cosine between the normals of a point and of the surface; below it, the point has no weight."""
    detail: bool = True
    """Whether region offsets are fitted at all."""
    residual: bool = True
    """Whether what the offsets leave over is kept too, as a smooth displacement; never without `detail`."""
    encoder: bool = True
    """Whether the model's encoder makes the first guess, if there is one; else the fit starts from the mean head."""
    resolution: int = 256
    """Cells of the fitted mesh along the longest side of the bounds."""
    seed: int = 0
    """Seed of the draw of points and of the pose search."""
