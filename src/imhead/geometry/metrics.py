"""Accuracy of one surface against another, in millimetres: pure functions of two meshes.

Chamfer is the mean of the two one-way mean distances, not squared. Distances are from area-weighted samples on one
mesh to the exact surface of the other (point to triangle), so no figure has a floor set by the sampling density.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import igl
import numpy as np
from numpy.typing import NDArray

from imhead.errors import InputError
from imhead.types import FloatArray, IntArray, Mesh

BoolArray = NDArray[np.bool_]
RegionTest = Callable[[FloatArray], BoolArray]
"""Points (N, 3) in mm → (N,) bool: whether each lies in the region of interest."""

_MAX_ROUNDS = 400
_MIN_ACCEPTANCE = 1e-4


@dataclass(frozen=True)
class SurfaceMetrics:
    """How well a predicted surface agrees with the true one."""

    chamfer_mm: float
    """Mean of `forward_mm` and `backward_mm`; distances are not squared."""
    forward_mm: float
    """Mean distance from the predicted surface to the true one (accuracy)."""
    backward_mm: float
    """Mean distance from the true surface to the predicted one (completeness)."""
    normal_consistency: float
    """Mean SIGNED cosine between the normal of a sample and that of the closest face, both ways; 1 is perfect and a
    surface turned inside out scores -1."""
    fscore_1mm: float
    """Harmonic mean of the shares of samples within 1 mm, both ways; 0-1."""
    fscore_5mm: float
    """The same within 5 mm."""


def face_areas(mesh: Mesh) -> FloatArray:
    """(F,) area of each face, squared units of the mesh."""
    return np.asarray(0.5 * np.linalg.norm(_face_cross(mesh), axis=1))


def face_normals(mesh: Mesh) -> FloatArray:
    """(F, 3) unit normals; zero where a face has no area."""
    cross = _face_cross(mesh)
    length = np.linalg.norm(cross, axis=1, keepdims=True)
    return np.asarray(np.divide(cross, length, out=np.zeros_like(cross), where=length > 0))


def vertex_areas(mesh: Mesh) -> FloatArray:
    """(V,) a third of the area of the faces around each vertex, so that vertex statistics do not depend on density."""
    share = np.repeat(face_areas(mesh) / 3.0, 3)
    return np.bincount(mesh.faces.ravel(), weights=share, minlength=len(mesh.vertices)).astype(np.float64)


def is_closed(mesh: Mesh) -> bool:
    """Whether faces run along every edge equally often each way: a watertight, consistently turned surface."""
    if not len(mesh.faces):
        return False
    ends = mesh.faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    count = len(mesh.vertices)
    low, high = ends.min(axis=1), ends.max(axis=1)
    _, edge = np.unique(low * count + high, return_inverse=True)
    balance = np.bincount(edge, weights=np.where(ends[:, 0] == low, 1.0, -1.0))
    return bool((balance == 0).all())


def volume_ml(mesh: Mesh) -> float:
    """Signed volume in millilitres of a closed mesh in mm, from signed tetrahedra; positive where faces look outwards.

    Raises:
        InputError: the mesh is not watertight, so it has no volume.
    """
    if not is_closed(mesh):
        raise InputError("the mesh is not watertight, so it has no volume; close its holes first")
    # about the centroid, so that a mesh far from its origin loses no digits
    a, b, c = (mesh.vertices - mesh.vertices.mean(axis=0))[mesh.faces].transpose(1, 0, 2)
    return float(np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6.0 / 1000.0)


def point_to_surface(points: FloatArray, mesh: Mesh) -> tuple[FloatArray, FloatArray, IntArray]:
    """Exact distance from each point to a mesh.

    Args:
        points: (N, 3), in the units of the mesh.
        mesh: at least one face.

    Returns:
        distance (N,) not squared and never negative, closest point (N, 3), index of its face (N,).

    Raises:
        InputError: an empty array, a wrong shape or a number that is not finite.
    """
    query = _checked_points(points)
    _check_mesh(mesh, "the mesh")
    squared, face, closest = igl.point_mesh_squared_distance(query, mesh.vertices, mesh.faces)
    return np.sqrt(np.maximum(squared, 0.0)), closest, face


def signed_distance(points: FloatArray, mesh: Mesh) -> FloatArray:
    """(N,) signed distance from each point to a mesh, negative inside.

    The magnitude is the exact distance. The sign comes from the winding number where the mesh is watertight, else from
    the angle-weighted pseudonormal of the closest point, which needs no closed surface.

    Raises:
        InputError: as `point_to_surface`, or the mesh has no face with an area.
    """
    query = _checked_points(points)
    _check_mesh(mesh, "the mesh")
    # a face without area has no normal, and pseudonormals around it become NaN
    faces = mesh.faces[face_areas(mesh) > 0]
    if not len(faces):
        raise InputError("the mesh has no face with an area; give a surface")
    vertices, faces = np.ascontiguousarray(mesh.vertices), np.ascontiguousarray(faces)
    squared, _, _ = igl.point_mesh_squared_distance(query, vertices, faces)
    distance = np.sqrt(np.maximum(squared, 0.0))
    if is_closed(mesh):
        inside = igl.fast_winding_number(vertices, faces, query) > 0.5
    else:
        kind = igl.SignedDistanceType.SIGNED_DISTANCE_TYPE_PSEUDONORMAL
        inside = igl.signed_distance(query, vertices, faces, kind)[0] < 0
    return np.asarray(np.where(inside, -distance, distance))


def sample_surface(
    mesh: Mesh, samples: int, *, seed: int, mask: BoolArray | None = None, region: RegionTest | None = None
) -> tuple[FloatArray, IntArray]:
    """Area-weighted random points on a mesh.

    Args:
        mesh: the surface.
        samples: how many points to draw.
        seed: the same seed gives the same points.
        mask: (F,) bool, the faces to draw on; None for all.
        region: keeps only points for which it is true; points are drawn until `samples` of them are.

    Returns:
        points (samples, 3) and the index of the face that each lies on (samples,).

    Raises:
        InputError: nothing to draw on, or (almost) no point of the surface lies in the region.
    """
    if samples < 1:
        raise InputError(f"samples is {samples}; ask for at least one")
    weights = np.where(_checked_mask(mesh, mask, "mask"), face_areas(mesh), 0.0)
    total = np.cumsum(weights)
    if not total[-1] > 0:
        raise InputError("the chosen faces have no area; choose faces of a surface")
    rng = np.random.default_rng(seed)
    points: list[FloatArray] = []
    faces: list[IntArray] = []
    drawn = kept = 0
    for _ in range(_MAX_ROUNDS):
        # once the share that lies in the region is known, draw just over what is still missing
        missing = 1.1 * (samples - kept) * drawn / kept if kept else float(samples)
        batch = int(np.clip(missing, 64, 1_000_000)) if drawn else samples
        face = np.searchsorted(total, rng.random(batch) * total[-1], side="right")
        u, v = rng.random((2, batch))
        root = np.sqrt(u)
        corners = mesh.vertices[mesh.faces[face]]
        point = np.einsum("ck,ckd->cd", np.stack([1 - root, root * (1 - v), root * v], axis=1), corners)
        if region is not None:
            inside = _checked_region(region, point)
            point, face = point[inside], face[inside]
        points.append(point)
        faces.append(face)
        drawn, kept = drawn + batch, kept + len(point)
        if kept >= samples:
            return np.concatenate(points)[:samples], np.concatenate(faces)[:samples]
        if drawn * _MIN_ACCEPTANCE > max(kept, 1):
            break
    raise InputError("almost none of the surface lies in the region of interest; check the region, frame and units")


def surface_metrics(
    predicted: Mesh,
    truth: Mesh,
    *,
    samples: int = 30000,
    seed: int,
    predicted_mask: BoolArray | None = None,
    truth_mask: BoolArray | None = None,
    region: RegionTest | None = None,
) -> SurfaceMetrics:
    """Accuracy of a predicted surface, in mm.

    Samples are drawn on the masked faces, in the region; distances go to the whole of the other mesh, mask and region
    or not, so that a rim costs nothing: what is seen of one mouth cavity may be hidden in the other. Both meshes are
    sampled with the same seed: swapping them swaps `forward_mm` and `backward_mm` and changes nothing else.

    Args:
        predicted: predicted surface, mm.
        truth: true surface in the same frame, mm.
        samples: points drawn on each mesh.
        seed: the same seed gives the same figures.
        predicted_mask: (F,) bool, the faces of `predicted` that count (visible, say); None for all.
        truth_mask: (F,) bool, the same for `truth`.
        region: points (N, 3) → (N,) bool, where samples are drawn; None for everywhere.

    Raises:
        InputError: an empty mesh, mask or region, or a mask of the wrong shape.
    """
    ours = _masked(predicted, predicted_mask, "predicted")
    theirs = _masked(truth, truth_mask, "truth")
    forward, forward_cosine = _one_way(ours, _masked(truth, None, "truth"), samples, seed, region)
    backward, backward_cosine = _one_way(theirs, _masked(predicted, None, "predicted"), samples, seed, region)

    def fscore(limit_mm: float) -> float:
        precision, recall = float(np.mean(forward <= limit_mm)), float(np.mean(backward <= limit_mm))
        return 2.0 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0

    return SurfaceMetrics(
        chamfer_mm=float(0.5 * (forward.mean() + backward.mean())),
        forward_mm=float(forward.mean()),
        backward_mm=float(backward.mean()),
        normal_consistency=float(0.5 * (forward_cosine.mean() + backward_cosine.mean())),
        fscore_1mm=fscore(1.0),
        fscore_5mm=fscore(5.0),
    )


def _one_way(
    source: Mesh, target: Mesh, samples: int, seed: int, region: RegionTest | None
) -> tuple[FloatArray, FloatArray]:
    """Distance (samples,) and signed cosine (samples,) from samples on one mesh to the other."""
    points, face = sample_surface(source, samples, seed=seed, region=region)
    distance, _, hit = point_to_surface(points, target)
    cosine = np.einsum("nd,nd->n", face_normals(source)[face], face_normals(target)[hit])
    return distance, cosine


def _masked(mesh: Mesh, mask: BoolArray | None, name: str) -> Mesh:
    _check_mesh(mesh, f"the {name} mesh")
    # a face without area is no surface, and has no normal to compare
    keep = _checked_mask(mesh, mask, f"{name}_mask") & (face_areas(mesh) > 0)
    if not keep.any():
        raise InputError(f"the {name} mesh has no face left with an area; check the mesh and {name}_mask")
    return Mesh(mesh.vertices, mesh.faces[keep])


def _face_cross(mesh: Mesh) -> FloatArray:
    a, b, c = mesh.vertices[mesh.faces].transpose(1, 0, 2)
    return np.asarray(np.cross(b - a, c - a))


def _check_mesh(mesh: Mesh, name: str) -> None:
    # libigl segfaults on an empty array; Mesh itself already refuses bad indices, NaN and bad shapes
    if not len(mesh.faces) or not len(mesh.vertices):
        raise InputError(f"{name} has no faces; give a surface, not points")


def _checked_points(points: FloatArray) -> FloatArray:
    query = np.ascontiguousarray(points, dtype=np.float64)
    if query.ndim != 2 or query.shape[1] != 3:
        raise InputError(f"points has shape {query.shape}; expected (n, 3)")
    if not len(query):
        raise InputError("points is empty; give at least one point")
    if not np.isfinite(query).all():
        raise InputError("points holds NaN or infinite numbers; drop them first")
    return query


def _checked_mask(mesh: Mesh, mask: BoolArray | None, name: str) -> BoolArray:
    _check_mesh(mesh, "the mesh")
    if mask is None:
        return np.ones(len(mesh.faces), dtype=bool)
    value = np.asarray(mask)
    if value.dtype != np.bool_ or value.shape != (len(mesh.faces),):
        raise InputError(f"{name} is {value.dtype} {value.shape}; expected bool ({len(mesh.faces)},), one a face")
    return value


def _checked_region(region: RegionTest, points: FloatArray) -> BoolArray:
    inside = np.asarray(region(points))
    if inside.dtype != np.bool_ or inside.shape != (len(points),):
        raise InputError(f"region returned {inside.dtype} {inside.shape}; expected bool ({len(points)},)")
    return inside
