"""A virtual scanner: depth cameras around a head, with the faults of real ones. Its truth is known, so it can be used
to judge what a fit makes of a scan.

Shape legend: N points, V vertices, F faces.
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


_PROBE_SIZE = 64


@dataclass(frozen=True)
class ScannerConfig:
    """A scanner and its faults. Lengths in mm of the head frame, whatever unit the scan is written in."""

    cameras: int = 3
    """Depth images taken."""
    arc_deg: float = 70.0
    """Total azimuth that the cameras spread over, centred in front of the face; 360 is a full ring."""
    elevation_deg: float = 8.0
    """Cameras stand alternately this much above and below the ears."""
    image_size: int = 128
    """Pixels along each side of a depth image; `target_points` overrides it."""
    distance_mm: float = 550.0
    """From the camera to the point it looks at."""
    aim_mm: tuple[float, float, float] = (0.0, -10.0, 30.0)
    """The point that every camera looks at."""
    field_deg: float = 36.0
    """Full opening angle of the square image."""
    depth_noise_mm: float = 0.2
    """Standard deviation of the depth of a pixel that faces the camera."""
    grazing_noise: float = 0.5
    """Growth of the noise with slant: its deviation is multiplied by 1 + grazing_noise * (1 / cos - 1)."""
    wave_noise_mm: float = 0.15
    """Standard deviation of a slow error of depth, the same over about a tenth of the image."""
    grazing_cutoff_deg: float = 78.0
    """No pixel survives where the surface is turned further than this from the camera."""
    dropout_width_deg: float = 20.0
    """Below the cut-off, pixels vanish at random, from never to always over this many degrees."""
    depth_jump_mm: float = 8.0
    """Triangles over a larger step in depth are dropped."""
    holes: int = 2
    """Round holes around random points of the surface."""
    hole_radius_mm: float = 8.0
    """Their radius."""
    random_pose: bool = True
    """Write the scan in a random rotation and a shift of some hundred mm; otherwise in the head frame."""
    unit: Unit = "random"
    """Unit that the scan is written in; `random` picks one."""
    as_points: bool = False
    """A cloud with normals from the depth images, instead of a mesh."""
    target_points: int | None = None
    """Points wanted: for a mesh to about a tenth, for a cloud exactly; None keeps every pixel of `image_size`."""
    outlier_fraction: float = 0.0
    """Share of the points displaced by 5 to 40 mm along their ray."""

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
"""Three frontal depth images of a phone, as overlapping sheets of a mesh, about 20 000 points."""


FULL_RING = ScannerConfig(cameras=10, arc_deg=360.0, elevation_deg=18.0, distance_mm=700.0, target_points=40_000)
"""Ten cameras all around, as of a turntable or a rig."""


@dataclass(frozen=True, eq=False)
class VirtualScan:
    """A scan whose pose and unit are known."""

    scan: Scan
    """In its own pose and unit."""
    head_to_scan: FloatArray
    """(4, 4): takes a point of the head frame in mm to the scan's frame and unit."""
    unit: str
    """mm, cm or m."""


@dataclass(frozen=True, eq=False)
class _Sheet:
    """What one camera saw: a triangulated depth image, head frame, mm."""

    points: FloatArray
    rays: FloatArray
    faces: IntArray


def virtual_scan(mesh: Mesh, config: ScannerConfig, rng: np.random.Generator, name: str) -> VirtualScan:
    """Scan a head.

    Args:
        mesh: the head, head frame, mm; only faces that turn their outside to a camera are seen.
        config: the scanner.
        rng: source of every random choice; the same state gives the same scan.
        name: name of the scan.

    Raises:
        InputError: the cameras see nothing of the mesh.
    """
    caster = ray_caster(mesh)
    size = config.image_size
    if config.target_points is not None:
        size = _image_size_for(caster, config, config.target_points)
    cameras = _camera_frames(config)
    sheets = [_sheet(caster, frame, size, config, rng) for frame in cameras]
    sheets = _with_holes(sheets, config, rng)
    if not any(len(sheet.faces) for sheet in sheets):
        raise InputError(f"{name}: the cameras see nothing; is the mesh in the head frame, in mm, with outward faces?")
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
    turned = normals @ rotation.T
    if not config.as_points:
        return VirtualScan(Scan(name, placed, turned, faces), transform, unit)
    order = rng.permutation(len(placed))[: config.target_points]
    return VirtualScan(Scan(name, placed[order], turned[order]), transform, unit)


def _camera_frames(config: ScannerConfig) -> list[tuple[FloatArray, FloatArray]]:
    """For each camera its position (3,), and its axes (3, 3) as rows: right, up, towards the head."""
    # a full ring must not put its last camera on its first
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
    """(size * size, 3) unit rays, row after row from the top left."""
    edge = math.tan(math.radians(field_deg) / 2)
    steps = (np.arange(size) + 0.5) / size * 2 - 1
    across, down = np.meshgrid(steps * edge, -steps * edge)
    rays = across.reshape(-1, 1) * axes[0] + down.reshape(-1, 1) * axes[1] + axes[2]
    unit: FloatArray = rays / np.linalg.norm(rays, axis=1, keepdims=True)
    return unit


def _depths(caster: Caster, origin: FloatArray, rays: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(N,) distance along each ray, NaN where it misses or meets an inside, and (N,) cosine of the slant."""
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


def _survives(cosine: FloatArray, config: ScannerConfig) -> FloatArray:
    """(N,) probability that a pixel is kept."""
    slant = np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0)))
    width = max(config.dropout_width_deg, 1e-9)
    ramp = np.clip((config.grazing_cutoff_deg - slant) / width, 0.0, 1.0)
    smooth: FloatArray = ramp * ramp * (3 - 2 * ramp)
    return smooth


def _image_size_for(caster: Caster, config: ScannerConfig, wanted: int) -> int:
    """Image size at which the cameras together bring home about the points wanted, some more for a cloud."""
    kept = 0.0
    for position, axes in _camera_frames(config):
        depth, cosine = _depths(caster, position, _pixel_rays(axes, _PROBE_SIZE, config.field_deg))
        kept += float(_survives(cosine, config)[np.isfinite(depth)].sum())
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
    depth[rng.random(len(rays)) >= _survives(cosine, config)] = np.nan
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
    step = heights.max(axis=1) - heights.min(axis=1)  # NaN at a gap, and NaN is not below the step allowed
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
    """A rotation (3, 3), uniform over all of them, and a shift (3,) in mm."""
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
