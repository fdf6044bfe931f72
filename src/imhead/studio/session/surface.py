"""The surface of the head that is shown, quick or exact, and which region is where on it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from imhead.checkpoint import Model
from imhead.conventions import ARKIT_NAMES, CANONICAL_JAW_OPEN, MODEL_UNIT_MM
from imhead.editing import region_codes
from imhead.isosurface.field import LEAST_SLOPE, HeadField
from imhead.regions import REGIONS, Region
from imhead.surfaces.normals import vertex_normals
from imhead.surfaces.rays import first_hit, ray_caster
from imhead.template.surface import arkit_weights, template_of
from imhead.types import BoolArray, FloatArray, Head, IntArray, Mesh

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
    """The template, its vertices on the zero set."""
    normals: FloatArray
    """(V, 3) unit normals, of the field rather than of the triangles."""


class StillSurface:
    """The template of heads that are looked at, on their zero sets; the last two are kept: a head and what it was."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self._kept: list[tuple[Head, FineSurface]] = []

    def of(self, head: Head) -> FineSurface:
        """The surface of a head, as it is looked at."""
        for row, (known, surface) in enumerate(self._kept):
            if known is head or same_codes(known, head):
                self._kept.append(self._kept.pop(row))
                return surface
        mesh = template_of(self.model).mesh(self.model, head)
        surface = FineSurface(mesh, smooth_normals(mesh, HeadField(self.model, head).gradient(mesh.vertices)))
        self._kept = [*self._kept[-1:], (head, surface)]
        return surface

    def knows(self, head: Head) -> bool:
        """Whether `of` has its answer at hand."""
        return any(known is head or same_codes(known, head) for known, _ in self._kept)

    def free(self) -> None:
        """Let the surfaces go."""
        self._kept = []


def same_codes(one: Head, other: Head) -> bool:
    """Whether two heads have the same surface."""
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in ("z_id", "z_exp", "offsets"))


def smooth_normals(mesh: Mesh, gradients: FloatArray) -> FloatArray:
    """(V, 3) unit normals: the field's where its gradient is sure, the triangles' where they say something else."""
    flat = vertex_normals(mesh.vertices, mesh.faces)[0]
    size = np.linalg.norm(gradients, axis=1, keepdims=True)
    normals = gradients / np.maximum(size, LEAST_SLOPE)
    agree = (normals * flat).sum(axis=1, keepdims=True)
    share = np.clip((agree - _DOUBT) / (1.0 - _DOUBT), 0.0, 1.0)
    mixed = share * normals + (1.0 - share) * flat
    unit: FloatArray = mixed / np.linalg.norm(mixed, axis=1, keepdims=True)
    return unit


def used_rows(faces: IntArray, vertices: int) -> tuple[IntArray, IntArray]:
    """The rows (U,) that faces use of so many vertices, and the faces over these."""
    used: BoolArray = np.zeros(vertices, dtype=bool)
    used[faces] = True
    number = np.cumsum(used) - 1
    return np.flatnonzero(used), number[faces]


def quick_mesh(model: Model, head: Head) -> Mesh:
    """A head's template in a few milliseconds, its vertices not yet on the exact surface."""
    template = template_of(model)
    jaw = ARKIT_NAMES.index("jawOpen")
    weights = arkit_weights(model, head.z_exp)
    weights[jaw] -= CANONICAL_JAW_OPEN
    vertices = template.blend(model, region_codes(model, head)) + np.tensordot(weights, template.shapes, axes=(0, 0))
    return Mesh(vertices, template.faces)
