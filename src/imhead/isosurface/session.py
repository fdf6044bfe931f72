"""Interactive editing: the mesh of a head is kept, and an edit recomputes only what the edited regions reach."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from imhead.checkpoint import Model
from imhead.errors import InputError
from imhead.isosurface.cells import triangles_of, vertices_of
from imhead.isosurface.feature_cache import FeatureCache
from imhead.isosurface.field import HeadField
from imhead.isosurface.meshing import NO_SURFACE, lattice_of
from imhead.isosurface.refinement import GridSamples, Surface, coarsest_cells, refine, search_points, touching_cells
from imhead.isosurface.splicing import LargestComponent, WrittenRows
from imhead.regions import REGIONS
from imhead.types import FloatArray, Head, IntArray, Mesh

_CACHE_GROWTH = 3  # beyond this multiple of the first mesh's points, cached points without a value are dropped
_SMALL_EDIT = 8192  # cells; for fewer, a few evaluations too many cost less than several calls


@dataclass(frozen=True, eq=False)
class MeshChange:
    """What an update did to a session's mesh.

    To turn a copy of the old mesh into the new one, resize it to the new counts and copy these rows.
    """

    regions: tuple[str, ...]
    """Regions whose codes differ; all of them after a full rebuild."""
    rebuilt: bool
    """True if more than region offsets differs: the mesh was built from scratch, and no row kept its meaning."""
    evaluations: int
    """Grid points at which the field was evaluated."""
    vertices: IntArray
    """Rows of `mesh.vertices` that are new or moved, ascending."""
    faces: IntArray
    """Rows of `mesh.faces` that are new or differ, ascending."""
    vertex_count: int
    """Vertices of the new mesh."""
    face_count: int
    """Faces of the new mesh."""


class HeadSession:
    """One head, its grid and its mesh, for a sequence of edits.

    The mesh equals that of `extract_mesh` for the same head, up to the order of its rows. A vertex keeps its row while
    the surface crosses its grid edge. New vertices take the rows of those that are gone; gaps that are left are filled
    with the last rows.

    Args:
        resolution: cells along the longest side of the bounds.
        z_exp: expression code (64,) instead of the heads' own.

    Raises:
        InputError: a resolution out of range, or a head without a surface in the bounds.
    """

    def __init__(self, model: Model, head: Head, *, resolution: int = 256, z_exp: FloatArray | None = None) -> None:
        self._model = model
        self._z_exp = None if z_exp is None else np.array(z_exp)
        self._lattice = lattice_of(resolution)
        self._head = head
        self._mesh: Mesh | None = None
        self._build(head)

    @property
    def head(self) -> Head:
        """The head that the mesh shows."""
        return self._head

    @property
    def mesh(self) -> Mesh:
        """The surface, head frame, mm.

        Raises:
            InputError: the last update was to a head without a surface.
        """
        if not self._has_surface:
            raise InputError(NO_SURFACE)
        if self._mesh is None:
            self._mesh = Mesh(self._component.mesh.vertices, self._component.mesh.faces)
        return self._mesh

    def update(self, head: Head) -> MeshChange:
        """Show another head; to undo, show an earlier one.

        If only region offsets differ, the work is limited to the regions' balls; else the mesh is built from scratch.

        Raises:
            InputError: the head has no surface in the bounds. The session has no mesh until the next update.
        """
        same = np.array_equal(head.z_id, self._head.z_id) and np.array_equal(head.eyes, self._head.eyes)
        same &= head.residual is self._head.residual
        same &= self._z_exp is not None or np.array_equal(head.z_exp, self._head.z_exp)
        if not (same and self._has_surface):
            evaluations, rows = self._build(head)
            return self._change(range(len(REGIONS)), True, evaluations, rows)
        regions = np.flatnonzero((head.offsets != self._head.offsets).any(axis=1)).tolist()
        known = self._samples.evaluations
        none = np.zeros(0, dtype=np.int64)
        rows = self._edit(head, regions) if regions else WrittenRows(none, none)
        self._head = head
        return self._change(regions, False, self._samples.evaluations - known, rows)

    def _build(self, head: Head) -> tuple[int, WrittenRows]:
        self._head = head
        self._mesh = None
        self._has_surface = False
        self._cache = FeatureCache(HeadField(self._model, head, self._z_exp), self._lattice)
        self._samples = GridSamples(self._lattice, self._cache.values)
        self._surface = Surface(self._samples)
        self._component = LargestComponent(4 * self._lattice.count)
        cells = self._surface.follow(refine(self._samples, coarsest_cells(self._lattice)))
        self._first_count = len(self._cache)
        rows = self._replace([np.zeros(0, dtype=np.int64)] * 2, cells)
        return self._samples.evaluations, rows

    def _edit(self, head: Head, regions: list[int]) -> WrittenRows:
        self._mesh, self._has_surface = None, False
        reached = self._cache.change(HeadField(self._model, head, self._z_exp), regions)
        stale = reached[self._samples.known[reached]]
        self._samples.forget(stale)
        left = self._surface.forget_cells_at(stale)
        removed = self._component.rows(self._surface.case)
        self._prefetch(stale, left)
        # a coarsest cell without a stale value needs no second search, its result would be the same; the surface that
        # stays enters the forgotten cells through faces whose corners are known
        again = refine(self._samples, touching_cells(stale, self._lattice))
        rows = self._replace(removed, self._surface.follow(np.concatenate([self._surface.surely_passed(left), again])))
        if len(self._cache) > _CACHE_GROWTH * self._first_count:
            self._cache.keep(np.flatnonzero(self._samples.known))
        return rows

    def _prefetch(self, stale: IntArray, left: IntArray) -> None:
        """Evaluate at once what the search will need; after a small edit also the corners of the forgotten cells."""
        wanted = [search_points(stale, self._lattice)]
        if len(left) < _SMALL_EDIT:
            wanted.append((left[:, None] + self._lattice.corners()).reshape(-1))
        self._samples.evaluate(np.concatenate(wanted))

    def _replace(self, removed: list[IntArray], cells: IntArray) -> WrittenRows:
        values, lattice = self._samples.values, self._lattice
        added = triangles_of(values, cells, self._surface.case[cells], lattice)
        rows = self._component.replace(removed, added, lambda keys: vertices_of(values, keys, lattice))
        if not len(self._component.mesh.faces):
            raise InputError(NO_SURFACE)
        self._has_surface = True
        return rows

    def _change(self, regions: Iterable[int], rebuilt: bool, evaluations: int, rows: WrittenRows) -> MeshChange:
        mesh = self._component.mesh
        names = tuple(REGIONS[k].name for k in regions)
        return MeshChange(names, rebuilt, evaluations, rows.vertices, rows.faces, len(mesh.vertices), len(mesh.faces))
