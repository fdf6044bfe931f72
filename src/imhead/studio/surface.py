"""The mesh of the head that is shown: kept, and re-made only where an edit reaches; and which region is where on it."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from imhead.checkpoint import Model
from imhead.conventions import ARKIT_NAMES, CANONICAL_JAW_OPEN, MODEL_UNIT_MM
from imhead.curation.rays import first_hit, ray_caster
from imhead.curation.surface import vertex_normals
from imhead.editing import region_codes
from imhead.geometry.field import HeadField
from imhead.geometry.meshing import grid_layout
from imhead.geometry.metrics import signed_distance
from imhead.geometry.session import HeadSession
from imhead.regions import REGIONS, Region
from imhead.template.surface import arkit_weights, template_of, template_path
from imhead.types import BoolArray, FloatArray, Head, IntArray, Mesh

_LEAST_SLOPE = 0.2  # below this a gradient says little about where the surface is
_FAR_MM = 5.0
_FAR_SHARE = 0.25
_DOUBT = 0.6  # cosine between a gradient and its triangles from which on only these count


@dataclass(frozen=True, eq=False)
class RegionMap:
    """Where the regions lie on a mesh."""

    mesh: Mesh
    """The mesh."""
    influence: FloatArray
    """(V, 39) how deep a vertex lies in each region's ball: 1 at its centre, 0 outside."""

    @property
    def owner(self) -> IntArray:
        """(V,) row of the region that a vertex belongs to most."""
        owners: IntArray = self.influence.argmax(axis=1)
        return owners

    def faces_of(self, region: Region) -> IntArray:
        """(K, 3) faces with a corner that belongs to the region."""
        faces: IntArray = self.mesh.faces[(self.owner[self.mesh.faces] == region.index).any(axis=1)]
        return faces

    def faces_within(self, regions: tuple[Region, ...], depth: float) -> IntArray:
        """(K, 3) faces whose corners all lie deeper than `depth` in one of the regions' balls."""
        deep = self.influence[:, [region.index for region in regions]].max(axis=1, initial=0.0) > depth
        faces: IntArray = self.mesh.faces[deep[self.mesh.faces].all(axis=1)]
        return faces


def map_regions(model: Model, head: Head, mesh: Mesh) -> RegionMap:
    """Where the regions lie on the mesh of a head."""
    field = HeadField(model, head)
    canonical = field.canonical(mesh.vertices) / MODEL_UNIT_MM
    centers = field.regional.keypoints[0].cpu().numpy()
    radius = model.net.radius.cpu().numpy()
    # |x|² - 2 x·k + |k|², because (V, 39, 3) would be large
    squared = (canonical**2).sum(axis=1)[:, None] - 2.0 * canonical @ centers.T + (centers**2).sum(axis=1)
    depth = 1.0 - np.sqrt(np.maximum(squared, 0.0)) / radius
    return RegionMap(mesh, np.maximum(depth, 0.0).astype(np.float32))


class Picker:
    """Says which region of a mesh a ray meets first."""

    def __init__(self, regions: RegionMap) -> None:
        self._regions = regions
        self._owner = regions.owner
        self._caster = ray_caster(regions.mesh)

    def region(self, origin_mm: FloatArray, direction: FloatArray) -> Region | None:
        """The region of the first hit of a ray (3,), (3,); None beside the head."""
        face = int(first_hit(self._caster, np.float64(origin_mm)[None], np.float64(direction)[None])[0])
        if face < 0:
            return None
        corners = self._owner[self._regions.mesh.faces[face]]
        return REGIONS[int(np.bincount(corners).argmax())]


def pointer_ray(wxyz: FloatArray, fov: float, aspect: float, x: float, y: float) -> FloatArray:
    """Direction (3,) from a camera through a place on its picture.

    Args:
        wxyz: (4,) rotation camera → world; the camera looks along +z, its y points down.
        fov: vertical field of view, radians.
        aspect: width over height.
        x: 0 at the left edge, 1 at the right one.
        y: 0 at the top, 1 at the bottom.
    """
    up = np.tan(fov / 2.0)
    through = np.array([(2.0 * x - 1.0) * up * aspect, (2.0 * y - 1.0) * up, 1.0])
    turned: FloatArray = Rotation.from_quat(np.roll(wxyz, -1)).apply(through / np.linalg.norm(through))
    return turned


@dataclass(frozen=True, eq=False)
class FineSurface:
    """A mesh as it is looked at."""

    mesh: Mesh
    """Its vertices lie on the zero set, not where a grid edge meets it by a straight line."""
    normals: FloatArray
    """(V, 3) unit normals, of the field rather than of the triangles."""


class LiveSurface:
    """Keeps the mesh of one head under edits.

    Args:
        resolution: cells along the longest side of the bounds.
    """

    def __init__(self, model: Model, resolution: int) -> None:
        self.model = model
        self.resolution = resolution
        self._session: HeadSession | None = None
        self._vertices: FloatArray = np.zeros((0, 3))
        self._slopes: FloatArray = np.zeros((0, 3))
        self._rough: BoolArray = np.zeros(0, dtype=bool)
        self._fine: FineSurface | None = None
        self.took_s = 0.0
        """Seconds that the last update took which re-made a part only."""

    def show(self, head: Head) -> Mesh:
        """The mesh of a head: the one that is shown, edited, costs only what the edit reaches.

        Raises:
            InputError: the head has no surface.
        """
        if self._session is None:
            self._session = HeadSession(self.model, head, resolution=self.resolution)
            self._forget(len(self._session.mesh.vertices))
        elif self._session.head is not head:
            start = time.perf_counter()
            change = self._session.update(head)
            if change.rebuilt:
                self._forget(change.vertex_count)
            elif len(change.vertices) or change.vertex_count != len(self._rough):
                self._fine = None
                self._rough = np.resize(self._rough, change.vertex_count)  # rows beyond the old ones are in the change
                self._rough[change.vertices] = True
                self.took_s = time.perf_counter() - start
        return self._session.mesh

    def fine(self, head: Head) -> FineSurface:
        """The mesh of a head for a long look: only what changed since the last one is computed.

        Raises:
            InputError: the head has no surface.
        """
        mesh = self.show(head)
        if self._fine is None:
            rows = np.flatnonzero(self._rough)
            self._vertices = _resized(self._vertices, len(mesh.vertices))
            self._slopes = _resized(self._slopes, len(mesh.vertices))
            self._vertices[rows], self._slopes[rows] = settled(
                HeadField(self.model, head), mesh.vertices[rows], 0.5 * grid_layout(self.resolution)[0]
            )
            self._rough[:] = False
            placed = Mesh(self._vertices, mesh.faces)
            self._fine = FineSurface(placed, smooth_normals(placed, self._slopes))
        return self._fine

    def is_local(self, head: Head) -> bool:
        """Whether `show` would re-make a part only."""
        if self._session is None:
            return False
        shown = self._session.head
        return np.array_equal(shown.z_id, head.z_id) and np.array_equal(shown.z_exp, head.z_exp)

    def free(self) -> None:
        """Let the mesh and its grid go; the next `show` makes them anew."""
        self._session = None
        self._forget(0)

    def _forget(self, vertices: int) -> None:
        self._fine = None
        self._rough = np.ones(vertices, dtype=bool)
        self._vertices = self._slopes = np.zeros((0, 3))


def settled(field: HeadField, points: FloatArray, most_mm: float) -> tuple[FloatArray, FloatArray]:
    """Points (N, 3) near the zero set, put onto it by a Newton step of at most `most_mm`, and the gradients (N, 3)."""
    if not len(points):
        return points, points
    distance, gradient = field.sdf(points).astype(np.float64), field.gradient(points).astype(np.float64)
    slope = np.maximum(np.linalg.norm(gradient, axis=1), _LEAST_SLOPE)
    length = np.clip(distance / slope, -most_mm, most_mm)
    return points - (length / slope)[:, None] * gradient, gradient


def movement(field: HeadField, before: Mesh, now: Mesh) -> FloatArray:
    """(V,) how far the vertices of a head lie outside what it was before, mm.

    Args:
        field: of the head before.

    The mouth behind the lips belongs to a mesh only while they are open. Where a vertex is far from the mesh before but
    the field says that the surface was near, the field is right.
    """
    moved = signed_distance(now.vertices, before)
    far = np.flatnonzero(np.abs(moved) > _FAR_MM)
    if len(far):
        places = now.vertices[far]
        slope = np.maximum(np.linalg.norm(field.gradient(places), axis=1), _LEAST_SLOPE)
        near = field.sdf(places) / slope
        moved[far] = np.where(np.abs(near) < _FAR_SHARE * np.abs(moved[far]), near, moved[far])
    return moved


def smooth_normals(mesh: Mesh, gradients: FloatArray) -> FloatArray:
    """(V, 3) unit normals: the field's where its gradient is sure, the triangles' where they say something else."""
    flat = vertex_normals(mesh.vertices, mesh.faces)[0]
    size = np.linalg.norm(gradients, axis=1, keepdims=True)
    normals = gradients / np.maximum(size, _LEAST_SLOPE)
    agree = (normals * flat).sum(axis=1, keepdims=True)
    share = np.clip((agree - _DOUBT) / (1.0 - _DOUBT), 0.0, 1.0)
    mixed = share * normals + (1.0 - share) * flat
    unit: FloatArray = mixed / np.linalg.norm(mixed, axis=1, keepdims=True)
    return unit


def _resized(rows: FloatArray, count: int) -> FloatArray:
    kept = rows[:count]
    return np.concatenate([kept, np.zeros((count - len(kept), 3))])


def used_part(vertices: FloatArray, faces: IntArray) -> tuple[FloatArray, IntArray]:
    """The vertices that some faces use, and the faces over these."""
    used: BoolArray = np.zeros(len(vertices), dtype=bool)
    used[faces] = True
    number = np.cumsum(used) - 1
    return vertices[used], number[faces]


def has_template(model: Model) -> bool:
    """Whether a template lies beside the model's file."""
    return model.path is not None and template_path(model.path).is_file()


def quick_mesh(model: Model, head: Head) -> Mesh | None:
    """A head's template in a few milliseconds, its vertices not yet on the exact surface; None without a template."""
    if not has_template(model):
        return None
    template = template_of(model)
    jaw = ARKIT_NAMES.index("jawOpen")
    weights = arkit_weights(model, head.z_exp)
    weights[jaw] -= CANONICAL_JAW_OPEN
    vertices = template.blend(model, region_codes(model, head)) + np.tensordot(weights, template.shapes, axes=(0, 0))
    return Mesh(vertices, template.faces)
