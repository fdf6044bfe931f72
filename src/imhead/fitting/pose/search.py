"""Batched search for a head in an oriented cloud: many starts, robust Gauss-Newton, a two-way score.

Works in "scan mm": the scan's own axes, scaled to millimetres by a unit hypothesis. A pose (s, R, t) maps the
template into scan mm, x = s R q + t. Normals count up to sign, so inverted or mixed normals change nothing.

Shape legend: N scan points, K template points, B poses in a batch. Vectors stand as (3, B, K), one plane for each axis:
sums over the first axis run along memory, and a search is hardly anything else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation
from torch import Tensor

from imhead.fitting.pose.template import NOSE_RADIUS_MM, PoseTemplate
from imhead.parallel import side_by_side, threads
from imhead.surfaces.sampling import even_subset
from imhead.types import FloatArray

Nearest = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Positions (3, B, K) → nearest scan points (3, B, K) and their normals (3, B, K)."""

SCALE_SIGMA = 0.08
"""Prior deviation of log(scale) of real heads about the mean head."""

_CELL_MM = 4.0
_MAX_CELLS = 6_000_000
_PAD_MM = 24.0
_SPINS = 12
_TILTS_DEG = (0.0, -22.0, 22.0)
_CANDIDATE_GAP_MM = 10.0
_ABOVE_JAW_MM = 60.0


@dataclass(frozen=True, eq=False)
class Cloud:
    """A scan in mm, thinned to an even spacing, with a grid that answers "nearest point" in one look-up."""

    points: FloatArray
    """(N, 3) scan mm."""
    normals: FloatArray
    """(N, 3) unit, sign without meaning."""
    spacing_mm: float
    """Median distance between neighbours."""
    grid_origin: Tensor
    """(3,) centre of the first cell."""
    grid_cell_mm: float
    """Edge of a cell."""
    grid_shape: tuple[int, int, int]
    """Cells along each axis."""
    grid_nearest: Tensor
    """(cells,) int32, row of a point nearest to the cell."""
    oriented: Tensor
    """(6, N) float32, planes of point and normal."""


@dataclass(frozen=True, eq=False)
class Poses:
    """A batch of similarities, template → scan mm."""

    scale: Tensor
    """(B,)."""
    rotation: Tensor
    """(B, 3, 3)."""
    translation: Tensor
    """(B, 3)."""

    def take(self, rows: Tensor | NDArray[np.int64]) -> Poses:
        index = torch.as_tensor(rows)
        return Poses(self.scale[index], self.rotation[index], self.translation[index])

    def turn(self, vectors: Tensor) -> Tensor:
        """(K, 3) → (3, B, K), turned only."""
        count = len(self.scale)
        return (self.rotation.transpose(0, 1).reshape(3 * count, 3) @ vectors.T).view(3, count, len(vectors))

    def apply(self, points: Tensor) -> Tensor:
        """(K, 3) → (3, B, K)."""
        return self.turn(points) * self.scale[:, None] + self.translation.T[..., None]


def join(batches: list[Poses]) -> Poses:
    """One batch of all poses, in order."""
    return Poses(
        torch.cat([b.scale for b in batches]),
        torch.cat([b.rotation for b in batches]),
        torch.cat([b.translation for b in batches]),
    )


def make_cloud(points: FloatArray, normals: FloatArray) -> Cloud:
    """Thin to an even spacing and index. `points` (N, 3) in scan mm, `normals` (N, 3) unit."""
    keep = even_subset(points, 3.0)
    points, normals = points[keep], normals[keep]
    gaps, _ = cKDTree(points).query(points, k=2)
    origin = points.min(0) - _PAD_MM
    span = np.ptp(points, axis=0) + 2 * _PAD_MM
    cell = max(_CELL_MM, float((span.prod() / _MAX_CELLS) ** (1 / 3)))
    shape = np.ceil(span / cell).astype(int) + 1
    where = np.rint((points - origin) / cell).astype(int)
    owner = np.full(shape, -1, dtype=np.int64)
    owner[where[:, 0], where[:, 1], where[:, 2]] = np.arange(len(points))
    nearest = ndimage.distance_transform_edt(owner < 0, return_distances=False, return_indices=True)
    table = owner[nearest[0], nearest[1], nearest[2]].ravel().astype(np.int32)
    return Cloud(
        points, normals, float(np.median(gaps[:, 1])), torch.from_numpy(origin.astype(np.float32)), cell,
        (int(shape[0]), int(shape[1]), int(shape[2])), torch.from_numpy(table),
        _planes(points, normals),
    )  # fmt: skip


def _planes(points: FloatArray, normals: FloatArray) -> Tensor:
    return torch.from_numpy(np.concatenate([points.T, normals.T]).astype(np.float32))


def grid_nearest(cloud: Cloud) -> Nearest:
    """Approximate nearest points by one grid look-up: the fast path of the search."""
    last = torch.tensor(cloud.grid_shape, dtype=torch.float32)[:, None, None] - 1.0
    _, ny, nz = cloud.grid_shape
    origin = cloud.grid_origin[:, None, None]

    def look_up(at: Tensor) -> tuple[Tensor, Tensor]:
        x, y, z = ((at - origin) / cloud.grid_cell_mm).round_().clamp_(min=0).minimum(last)
        flat = (x * ny + y) * nz + z  # below 2**24, so exact in single precision
        row = cloud.grid_nearest.index_select(0, flat.view(-1).int())
        found = cloud.oriented.index_select(1, row).view(6, *at.shape[1:])
        return found[:3], found[3:]

    return look_up


def exact_nearest(points: FloatArray, normals: FloatArray) -> Nearest:
    """Exact nearest points of (N, 3): for the last steps, where the thinning of the cloud would show."""
    tree = cKDTree(points)
    table = _planes(points, normals)

    def look_up(at: Tensor) -> tuple[Tensor, Tensor]:
        _, row = tree.query(at.reshape(3, -1).T.double().numpy())
        found = table.index_select(1, torch.from_numpy(row)).view(6, *at.shape[1:])
        return found[:3], found[3:]

    return look_up


def nose_candidates(cloud: Cloud, limit: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Points that stand out from the ball around them as a nose tip does.

    Returns:
        positions (C, 3), outward directions (C, 3), heights (C,) in mm, the most prominent first.
    """
    rows = even_subset(cloud.points, 4.0 if len(cloud.points) < 20000 else 5.0)
    points, normals = cloud.points[rows], cloud.normals[rows]
    tree = cKDTree(points)
    pairs = tree.query_pairs(NOSE_RADIUS_MM, output_type="ndarray")
    count = np.ones(len(points))
    total = points.copy()
    for a, b in ((pairs[:, 0], pairs[:, 1]), (pairs[:, 1], pairs[:, 0])):
        count += np.bincount(a, minlength=len(points))
        for axis in range(3):
            total[:, axis] += np.bincount(a, weights=points[b, axis], minlength=len(points))
    step = points - total / count[:, None]
    # along the normal: at the rim of a sheet the mean lies sideways, and that is no nose
    height = np.abs(np.einsum("ni,ni->n", step, normals))
    height[count < 12] = 0.0
    chosen: list[int] = []
    free = np.ones(len(points), dtype=bool)
    for row in np.argsort(-height):
        if not free[row] or height[row] < 3.0:
            continue
        chosen.append(int(row))
        free[tree.query_ball_point(points[row], _CANDIDATE_GAP_MM)] = False
        if len(chosen) == limit:
            break
    direction = step[chosen] / np.maximum(np.linalg.norm(step[chosen], axis=1, keepdims=True), 1e-9)
    return points[chosen], direction, height[chosen]


def everywhere_candidates(cloud: Cloud, limit: int) -> tuple[FloatArray, FloatArray]:
    """At most `limit` points all over the scan, each with its normal and the opposite: starts that need no nose."""
    gap = 20.0
    rows = even_subset(cloud.points, gap)
    while len(rows) > limit:
        gap *= 1.15
        rows = even_subset(cloud.points, gap)
    outward = np.stack([cloud.normals[rows], -cloud.normals[rows]], 1).reshape(-1, 3)
    return np.repeat(cloud.points[rows], 2, axis=0), outward


def starts(
    template: PoseTemplate, positions: FloatArray, directions: FloatArray, scale: float, spins: int, tilts: int
) -> Poses:
    """Poses that put the template's nose tip on each position, its axis along each direction, spun and tilted."""
    onto = _turn_between(template.nose_axis, directions)
    spin = Rotation.from_rotvec(np.outer(np.arange(spins) * 2 * np.pi / spins, template.nose_axis))
    tilt = Rotation.from_euler("x", np.array(_TILTS_DEG[:tilts])[:, None], degrees=True)
    local = np.einsum("aij,bjk->abik", spin.as_matrix(), tilt.as_matrix()).reshape(-1, 3, 3)
    turns = np.einsum("cij,ljk->clik", onto, local).reshape(-1, 3, 3)
    at = np.repeat(positions, len(local), axis=0)
    shift = at - scale * turns @ template.nose_tip_mm
    return Poses(
        torch.full((len(turns),), scale), torch.from_numpy(turns.astype(np.float32)),
        torch.from_numpy(shift.astype(np.float32)),
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class FacePoints:
    """Template points that are laid onto the scan, with what each one counts."""

    points: Tensor
    """(K, 3) float32, head frame mm."""
    normals: Tensor
    """(K, 3) float32 unit."""
    smooth: Tensor
    """(K, 3) float32 unit, see `PoseTemplate.smooth_normals`."""
    relief: Tensor
    """(K,) float32, see `PoseTemplate.relief`."""


def face_points(template: PoseTemplate, count: int, rng: np.random.Generator) -> FacePoints:
    """`count` of the template's face points, drawn evenly; all of them where it has fewer."""
    return _pick(template, rng.permutation(np.flatnonzero(template.face))[:count])


def head_points(template: PoseTemplate, count: int, rng: np.random.Generator) -> FacePoints:
    """All face points and `count` of the rest of the head above the jaw, which steady the nod where they are seen."""
    rest = np.flatnonzero(~template.face & (template.points[:, 1] > template.nose_tip_mm[1] - _ABOVE_JAW_MM))
    return _pick(template, np.concatenate([np.flatnonzero(template.face), rng.permutation(rest)[:count]]))


def _pick(template: PoseTemplate, rows: NDArray[np.int64]) -> FacePoints:
    fields = (template.points, template.normals, template.smooth_normals, template.relief)
    return FacePoints(*(torch.from_numpy(field[rows].astype(np.float32)) for field in fields))


def refine(
    nearest: Nearest,
    face: FacePoints,
    poses: Poses,
    reaches_mm: tuple[float, ...],
    center_scale: float,
    scale_sigma: float = SCALE_SIGMA,
) -> Poses:
    """Robust Gauss-Newton of the template's face onto the scan, one step per reach, all poses at once.

    The residual is taken along the sum of both normals, which widens the basin of plain point-to-plane.

    Args:
        nearest: looks up the scan.
        face: K template points.
        poses: B starts.
        reaches_mm: beyond this distance a pair of points has no weight; one step for each.
        center_scale: most likely scale.
        scale_sigma: deviation of log(scale) about it; 0 keeps the scale.
    """

    def steps(part: Poses) -> Poses:
        for reach in reaches_mm:
            part = _gauss_newton_step(nearest, face, part, reach, center_scale, scale_sigma)
        return part

    device = poses.scale.device
    shares = torch.arange(len(poses.scale)).tensor_split(min(len(poses.scale), threads(device)))
    return join(list(side_by_side(steps, [poses.take(rows) for rows in shares], device)))


def _gauss_newton_step(
    nearest: Nearest, face: FacePoints, poses: Poses, reach: float, center_scale: float, scale_sigma: float
) -> Poses:
    at, facing = poses.apply(face.points), poses.turn(face.normals)
    found, found_normal = nearest(at)
    cosine = _dot(facing, found_normal)
    gap = at - found
    agreement = ((cosine.abs() - 0.3) / 0.7).clamp_(min=0)
    weight = (1 - _dot(gap, gap) / reach**2).clamp_(min=0).square_() * agreement * (0.3 + face.relief)
    along = facing + torch.where(cosine < 0, -1.0, 1.0) * found_normal
    along = along / _dot(along, along).sqrt_().clamp_(min=1e-6)
    residual = _dot(gap, along)
    middle = at.mean(2, keepdim=True)
    arm = at - middle
    jacobian = torch.cat([_cross(arm, along), along, _dot(arm, along)[None]]).transpose(0, 1)
    weighted = jacobian * weight[:, None]
    system = weighted @ jacobian.transpose(1, 2)
    right = -(weighted @ residual[..., None])[..., 0]
    mass = weight.sum(1) + 1.0
    # a little damping, in millimetres of motion, keeps sliding directions from running away
    damping = torch.tensor([25.0, 25.0, 25.0, 0.01, 0.01, 0.01, 25.0])
    system = system + torch.diag(damping) * mass[:, None, None]
    if scale_sigma > 0:
        stiffness = mass * 0.32 / scale_sigma**2
        system[:, 6, 6] += stiffness
        right[:, 6] -= stiffness * torch.log(poses.scale / center_scale)
        move = torch.linalg.solve(system, right)
        growth = move[:, 6].clamp(-0.1, 0.1).exp()
    else:
        move = torch.linalg.solve(system[:, :6, :6], right[:, :6])
        growth = torch.ones_like(mass)
    turn = _exponential(move[:, :3])
    center = middle[..., 0].T
    moved = growth[:, None] * torch.einsum("bij,bj->bi", turn, poses.translation - center) + center + move[:, 3:6]
    return Poses(poses.scale * growth, turn @ poses.rotation, moved)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """(3, B, K) each → (B, K)."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def _cross(a: Tensor, b: Tensor) -> Tensor:
    """(3, B, K) each → (3, B, K)."""
    return torch.stack([a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]])


@dataclass(frozen=True, eq=False)
class Marks:
    """How well poses explain the scan, (B,) each."""

    score: Tensor
    """0..1, the one number that ranks poses."""
    quality: Tensor
    """0..1, agreement of the template's face with the scan, where the scan has a surface."""
    contrast: Tensor
    """-1..1 on nose, lids and lips: 1 where the scan has the face's relief, -1 where it is as smooth as an egg."""
    seen: Tensor
    """0..1, part of the template's face that has scan nearby."""
    covered: Tensor
    """0..1, part of the template's face with a scan point near and an agreeing normal."""


def mark(nearest: Nearest, spacing_mm: float, face: FacePoints, poses: Poses) -> Marks:
    """Agreement of the template's face with the scan, whose points lie `spacing_mm` apart."""
    at, facing = poses.apply(face.points), poses.turn(face.normals)
    found, found_normal = nearest(at)
    cosine = _dot(facing, found_normal)
    found_normal = found_normal * torch.where(cosine < 0, -1.0, 1.0)
    cosine = cosine.abs()
    gap = at - found
    far = _dot(gap, gap).sqrt()
    plane = _dot(gap, facing).abs()
    size = poses.scale[:, None]
    reach = max(14.0, 2.5 * spacing_mm)
    near = (far < reach * size).float()
    fit = torch.exp(-((plane / (5.0 * size)) ** 2)) * ((cosine - 0.6) / 0.35).clamp(0, 1) * near
    carved = face.relief / face.relief.sum()
    seen = near.mean(1)
    quality = fit.mean(1) / seen.clamp(min=0.05)
    covered = ((plane < 6.0 * size) & (far < reach * size) & (cosine > 0.75)).float().mean(1)
    # is the scan's normal nearer to the face's own or to the egg's? 1 for the first, -1 for the second
    smooth = poses.turn(face.smooth)
    turn = facing - smooth
    depth = _dot(turn, turn)
    side = 2 * _dot(found_normal - smooth, turn) / depth.clamp(min=1e-6) - 1
    carving = torch.exp(-((plane / (7.0 * size)) ** 2)) * near * depth
    contrast = (side.clamp(-1, 1) * carving).sum(1) / depth.sum(1)
    agreement = 0.4 * fit.mean(1) + 0.6 * (fit * carved).sum(1)
    score = 0.8 * agreement + 0.2 * contrast
    return Marks(score, quality, contrast, seen, covered)


def clutter(cloud: Cloud, template: PoseTemplate, poses: Poses) -> FloatArray:
    """(B,) scan points that hang in the air before the face, over those that lie on it: 0 for a clean scan."""
    result = []
    front = template.points[template.face]
    for k in range(len(poses.scale)):
        rotation = poses.rotation[k].double().numpy()
        local = (cloud.points - poses.translation[k].double().numpy()) @ rotation / float(poses.scale[k])
        local = local[np.linalg.norm(local - template.nose_tip_mm, axis=1) < 110.0]
        distance, nearest = template.lookup(local)
        faces = template.face[nearest]
        on_face = faces & (np.abs(distance) < 8.0)
        in_air = faces & (distance > 12.0) & (distance < 38.0)
        result.append(in_air.sum() / max(on_face.sum(), 0.02 * len(front), 1.0))
    return np.array(result)


def _turn_between(start: FloatArray, ends: FloatArray) -> FloatArray:
    """(C, 3, 3) smallest rotations from one unit vector to each of (C, 3)."""
    axis = np.cross(start, ends)
    cosine = ends @ start
    flip = cosine < -0.9999
    side = np.cross(start, [1.0, 0.0, 0.0]) if abs(start[0]) < 0.9 else np.cross(start, [0.0, 1.0, 0.0])
    axis[flip] = side
    length = np.linalg.norm(axis, axis=1, keepdims=True)
    angle = np.arctan2(np.where(flip, 0.0, length[:, 0]), cosine)
    return Rotation.from_rotvec(axis / np.maximum(length, 1e-12) * angle[:, None]).as_matrix()


def _exponential(vector: Tensor) -> Tensor:
    """(B, 3) rotation vectors → (B, 3, 3), kept below 0.5 rad a step."""
    angle = vector.norm(dim=1, keepdim=True)
    vector = vector * (0.5 / angle.clamp(min=0.5))
    x, y, z = vector.unbind(1)
    zero = torch.zeros_like(x)
    skew = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], 1).reshape(-1, 3, 3)
    return torch.linalg.matrix_exp(skew)
