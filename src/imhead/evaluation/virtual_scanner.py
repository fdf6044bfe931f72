"""A virtual scanner: depth cameras around a head, with the errors of real ones, whose scans have a known truth.

Shape legend: N points, F faces.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy.ndimage import gaussian_filter

from imhead.conventions import UNIT_MM
from imhead.errors import InputError
from imhead.surfaces.mending import without_unused_points
from imhead.surfaces.normals import vertex_normals
from imhead.surfaces.rays import Caster, first_hit, ray_caster
from imhead.surfaces.transforms import matrix_of, transform_points
from imhead.types import FloatArray, IntArray, Mesh, Scan

Unit = Literal["mm", "cm", "m", "random"]

_PROBE_SIZE = 64  # pixels along a side of the image that estimates how many points a scanner sees


@dataclass(frozen=True)
class ScannerConfig:
    """A scanner and its errors. Lengths are in mm of the head frame, whatever the unit of the scan."""

    cameras: int = 3
    """Number of depth images."""
    arc_deg: float = 70.0
    """Range of azimuth of the cameras, centred in front of the face; 360 is a full ring."""
    elevation_deg: float = 8.0
    """The cameras stand at this elevation, alternately below and above the point they look at."""
    image_size: int = 128
    """Pixels along a side of a depth image; `target_points` overrides it."""
    distance_mm: float = 550.0
    """Distance of a camera from the point it looks at."""
    aim_mm: tuple[float, float, float] = (0.0, -10.0, 30.0)
    """Point that all cameras look at."""
    field_deg: float = 36.0
    """Full field of view of the square image."""
    depth_noise_mm: float = 0.2
    """Standard deviation of the depth noise where the surface faces the camera."""
    grazing_noise: float = 0.5
    """Growth of the noise with slant: its standard deviation is multiplied by 1 + grazing_noise * (1 / cos - 1)."""
    wave_noise_mm: float = 0.15
    """Standard deviation of a smooth depth error, correlated over about a tenth of the image."""
    grazing_cutoff_deg: float = 78.0
    """Pixels are lost where the surface slants more than this."""
    dropout_width_deg: float = 20.0
    """Width of the ramp below the cut-off over which the probability of losing a pixel rises from 0 to 1."""
    depth_jump_mm: float = 8.0
    """Triangles that span a larger step in depth are dropped."""
    holes: int = 2
    """Number of round holes around random points of the surface."""
    hole_radius_mm: float = 8.0
    """Radius of the holes."""
    random_pose: bool = True
    """Rotate the scan at random and shift it by up to 400 mm along each axis; otherwise it is in the head frame."""
    unit: Unit = "random"
    """Unit of the scan; `random` draws one."""
    as_points: bool = False
    """A point cloud with normals instead of a mesh."""
    target_points: int | None = None
    """Points of the scan, exact for a cloud and within about a tenth for a mesh; None uses `image_size`."""
    outlier_fraction: float = 0.0
    """Share of points displaced by 5 to 40 mm along their ray."""

    def __post_init__(self) -> None:
        for name in ("cameras", "image_size", "distance_mm", "depth_jump_mm", "hole_radius_mm"):
            if not getattr(self, name) > 0:
                raise InputError(f"ScannerConfig.{name} is {getattr(self, name)}; give a number above 0")
        for name in ("depth_noise_mm", "grazing_noise", "wave_noise_mm", "dropout_width_deg", "holes"):
            if not getattr(self, name) >= 0:
                raise InputError(f"ScannerConfig.{name} is {getattr(self, name)}; give 0 or more")
        if not 0 < self.field_deg < 170 or not 0 < self.grazing_cutoff_deg < 90 or not 0 <= self.arc_deg <= 360:
            raise InputError("ScannerConfig: field_deg must be in 0-170, grazing_cutoff_deg in 0-90, arc_deg in 0-360")
        if not 0 <= self.outlier_fraction < 1:
            raise InputError(
                f"ScannerConfig.outlier_fraction is {self.outlier_fraction}; give a share from 0 to below 1"
            )
        if self.unit not in (*UNIT_MM, "random"):
            raise InputError(f"ScannerConfig.unit is {self.unit!r}; give one of {', '.join(UNIT_MM)} or random")
        if self.target_points is not None and self.target_points < 1:
            raise InputError(f"ScannerConfig.target_points is {self.target_points}; give a number above 0 or None")


FRONTAL_PHONE = ScannerConfig(target_points=20_000)
"""Three frontal depth images of a phone: overlapping sheets of one mesh, about 20 000 points."""


@dataclass(frozen=True, eq=False)
class VirtualScan:
    """A scan whose pose and unit are known."""

    scan: Scan
    """In its own pose and unit."""
    head_to_scan: FloatArray
    """(4, 4) head frame in mm → frame and unit of the scan."""
    unit: str
    """mm, cm or m."""


@dataclass(frozen=True, eq=False)
class _Sheet:
    """The triangulated depth image of one camera, head frame, mm."""

    points: FloatArray
    """(N, 3)."""
    rays: FloatArray
    """(N, 3) unit vectors from the camera."""
    faces: IntArray
    """(F, 3)."""


def virtual_scan(mesh: Mesh, config: ScannerConfig, rng: np.random.Generator, name: str) -> VirtualScan:
    """Scan a head.

    Args:
        mesh: the head, head frame, mm, with outward faces; cameras see no back faces.
        config: the scanner.
        rng: the same state gives the same scan.
        name: name of the scan.

    Raises:
        InputError: the cameras see no part of the mesh.
    """
    caster = ray_caster(mesh)
    size = config.image_size
    if config.target_points is not None:
        size = _image_size_for(caster, config, config.target_points)
    cameras = _camera_frames(config)
    sheets = [_sheet(caster, frame, size, config, rng) for frame in cameras]
    sheets = _with_holes(sheets, config, rng)
    if not any(len(sheet.faces) for sheet in sheets):
        raise InputError(f"{name}: the cameras see nothing; give a mesh in the head frame, in mm, with outward faces")
    firsts = np.cumsum([0] + [len(sheet.points) for sheet in sheets])
    points = np.concatenate([sheet.points for sheet in sheets])
    rays = np.concatenate([sheet.rays for sheet in sheets])
    faces = np.concatenate([sheet.faces + first for sheet, first in zip(sheets, firsts)])
    stray = np.flatnonzero(rng.random(len(points)) < config.outlier_fraction)
    push = rng.uniform(5.0, 40.0, len(stray)) * rng.choice([-1.0, 1.0], len(stray))
    points[stray] += rays[stray] * push[:, None]
    normals, _ = vertex_normals(points, faces)
    rotation, shift_mm = _pose(config, rng)
    unit = str(rng.choice(list(UNIT_MM))) if config.unit == "random" else config.unit
    transform = matrix_of(rotation / UNIT_MM[unit], shift_mm / UNIT_MM[unit])
    placed = transform_points(transform, points)
    rotated = normals @ rotation.T
    if not config.as_points:
        return VirtualScan(Scan(name, placed, rotated, faces), transform, unit)
    order = rng.permutation(len(placed))[: config.target_points]
    return VirtualScan(Scan(name, placed[order], rotated[order]), transform, unit)


def _camera_frames(config: ScannerConfig) -> list[tuple[FloatArray, FloatArray]]:
    """Position (3,) of each camera, and its axes (3, 3) as rows: right, up, towards the head."""
    # the last camera of a full ring must not coincide with the first
    steps = config.cameras if config.arc_deg == 360.0 else max(config.cameras - 1, 1)
    frames: list[tuple[FloatArray, FloatArray]] = []
    for k in range(config.cameras):
        turn = math.radians(config.arc_deg) * (k / steps - (0.5 if config.cameras > 1 else 0.0))
        rise = math.radians(config.elevation_deg) * (1 if k % 2 else -1)
        back = np.array([math.sin(turn) * math.cos(rise), math.sin(rise), math.cos(turn) * math.cos(rise)])
        right = np.cross([0.0, 1.0, 0.0], back)
        right /= np.linalg.norm(right)
        position = np.array(config.aim_mm) + config.distance_mm * back
        frames.append((position, np.stack([right, np.cross(back, right), -back])))
    return frames


def _pixel_rays(axes: FloatArray, size: int, field_deg: float) -> FloatArray:
    """(size * size, 3) unit rays, row by row from the top left."""
    edge = math.tan(math.radians(field_deg) / 2)
    steps = (np.arange(size) + 0.5) / size * 2 - 1
    across, down = np.meshgrid(steps * edge, -steps * edge)
    rays = across.reshape(-1, 1) * axes[0] + down.reshape(-1, 1) * axes[1] + axes[2]
    unit: FloatArray = rays / np.linalg.norm(rays, axis=1, keepdims=True)
    return unit


def _depths(caster: Caster, origin: FloatArray, rays: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(N,) distance along each ray, NaN where it misses or hits a back face, and (N,) cosine of the slant."""
    hit = first_hit(caster, np.broadcast_to(origin, rays.shape), rays)
    met = hit >= 0
    corner = caster.corners[hit[met], 0]
    normal = caster.normals[hit[met]]
    normal = normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-300)
    cosine, depth = np.zeros(len(rays)), np.full(len(rays), np.nan)
    cosine[met] = -np.einsum("ij,ij->i", rays[met], normal)
    front = cosine[met] > 1e-3
    seen = np.flatnonzero(met)[front]
    depth[seen] = np.einsum("ij,ij->i", corner[front] - origin, -normal[front]) / cosine[seen]
    return depth, cosine


def _survival(cosine: FloatArray, config: ScannerConfig) -> FloatArray:
    """(N,) probability that a pixel is kept."""
    slant = np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0)))
    width = max(config.dropout_width_deg, 1e-9)
    ramp = np.clip((config.grazing_cutoff_deg - slant) / width, 0.0, 1.0)
    smooth: FloatArray = ramp * ramp * (3 - 2 * ramp)
    return smooth


def _image_size_for(caster: Caster, config: ScannerConfig, wanted: int) -> int:
    """Image size at which the cameras together see about `wanted` points, 30 % more for a cloud."""
    kept = 0.0
    for position, axes in _camera_frames(config):
        depth, cosine = _depths(caster, position, _pixel_rays(axes, _PROBE_SIZE, config.field_deg))
        kept += float(_survival(cosine, config)[np.isfinite(depth)].sum())
    if kept == 0:
        return config.image_size
    spare = 1.3 if config.as_points else 1.0
    return max(2, math.ceil(_PROBE_SIZE * math.sqrt(spare * wanted / kept)))


def _sheet(
    caster: Caster, frame: tuple[FloatArray, FloatArray], size: int, config: ScannerConfig, rng: np.random.Generator
) -> _Sheet:
    position, axes = frame
    rays = _pixel_rays(axes, size, config.field_deg)
    depth, cosine = _depths(caster, position, rays)
    depth[rng.random(len(rays)) >= _survival(cosine, config)] = np.nan
    steady = np.maximum(cosine, 0.05)
    noise = rng.normal(size=len(rays)) * config.depth_noise_mm * (1 + config.grazing_noise * (1 / steady - 1))
    wave = gaussian_filter(rng.normal(size=(size, size)), sigma=size / 20, mode="wrap").reshape(-1)
    noise += config.wave_noise_mm * wave / max(float(wave.std()), 1e-12)
    faces = _triangulate(depth.reshape(size, size), config.depth_jump_mm)
    points: FloatArray = position + rays * np.nan_to_num(depth + noise)[:, None]
    used = np.unique(faces)
    points, faces = without_unused_points(points, faces)
    return _Sheet(points, rays[used], faces)


def _triangulate(depth: FloatArray, jump_mm: float) -> IntArray:
    """(F, 3) pixel indices, counter-clockwise seen from the camera; none across a gap or a step in depth."""
    rows, columns = depth.shape
    index = np.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]
    faces = np.concatenate([np.stack(t, axis=-1).reshape(-1, 3) for t in ((a, c, b), (b, c, d))])
    heights = depth.reshape(-1)[faces]
    step = heights.max(axis=1) - heights.min(axis=1)  # NaN at a gap, which compares false below
    joined: IntArray = faces[step < jump_mm]
    return joined


def _with_holes(sheets: list[_Sheet], config: ScannerConfig, rng: np.random.Generator) -> list[_Sheet]:
    points = np.concatenate([sheet.points for sheet in sheets])
    if config.holes == 0 or len(points) == 0:
        return sheets
    centres = points[rng.integers(len(points), size=config.holes)]
    cut = []
    for sheet in sheets:
        away = np.ones(len(sheet.points), dtype=bool)
        for centre in centres:
            away &= np.linalg.norm(sheet.points - centre, axis=1) > config.hole_radius_mm
        faces = sheet.faces[away[sheet.faces].all(axis=1)]
        used = np.unique(faces)
        kept, faces = without_unused_points(sheet.points, faces)
        cut.append(replace(sheet, points=kept, rays=sheet.rays[used], faces=faces))
    return cut


def _pose(config: ScannerConfig, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """A uniformly random rotation (3, 3) and a random translation (3,) in mm."""
    if not config.random_pose:
        return np.eye(3), np.zeros(3)
    w, x, y, z = (q := rng.normal(size=4)) / np.linalg.norm(q)
    rotation = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
    return rotation, rng.uniform(-400.0, 400.0, size=3)
