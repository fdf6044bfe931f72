"""A head under a slider: its mesh is kept, and an edit re-makes only what the edited regions reach."""

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
from imhead.isosurface.refinement import Samples, Surface, coarsest_cells, refine, search_points, touching_cells
from imhead.isosurface.splicing import LargestComponent, Rows
from imhead.regions import REGIONS
from imhead.types import FloatArray, Head, IntArray, Mesh

_CACHE_GROWTH = 3  # when so many times the first mesh's points are held, those without a value are let go
_SMALL = 8192  # cells; of fewer it costs less to ask for too much than to ask often


@dataclass(frozen=True, eq=False)
class MeshChange:
    """What an update did to a session's mesh.

    A copy of the old mesh becomes the new one if it is cut, or lengthened, to the new counts and these rows are copied.
    """

    regions: tuple[str, ...]
    """Regions whose codes differ; all of them after a full rebuild."""
    rebuilt: bool
    """z_id or the expression differs: everything was made anew, and rows have lost their meaning."""
    evaluations: int
    """Grid points at which the field was evaluated."""
    vertices: IntArray
    """Rows of `mesh.vertices` that are new or moved, ascending."""
    faces: IntArray
    """Rows of `mesh.faces` that are new or differ, ascending."""
    vertex_count: int
    """Vertices of the mesh now."""
    face_count: int
    """Faces of the mesh now."""


class HeadSession:
    """One head, its grid and its mesh, for a sequence of edits.

    The mesh is what `extract_mesh` gives for the same head, up to the order of its rows. A vertex keeps its row as long
    as the surface passes its grid edge; there are never gaps: new vertices take the rows of those that went, and where
    more went than came, the last rows move into the gaps.

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
        self._shown: Mesh | None = None
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
        if not self._whole:
            raise InputError(NO_SURFACE)
        if self._shown is None:
            self._shown = Mesh(self._component.mesh.vertices, self._component.mesh.faces)
        return self._shown

    def update(self, head: Head) -> MeshChange:
        """Show another head; an earlier one is an undo.

        Where only region offsets differ, the work is bounded by the regions' balls. Otherwise everything is made anew.

        Raises:
            InputError: the head has no surface in the bounds. The session shows nothing until the next update.
        """
        same = np.array_equal(head.z_id, self._head.z_id)
        same &= self._z_exp is not None or np.array_equal(head.z_exp, self._head.z_exp)
        if not (same and self._whole):
            evaluations, rows = self._build(head)
            return self._change(range(len(REGIONS)), True, evaluations, rows)
        regions = np.flatnonzero((head.offsets != self._head.offsets).any(axis=1)).tolist()
        known = self._samples.evaluations
        rows = self._edit(head, regions) if regions else Rows(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))
        self._head = head
        return self._change(regions, False, self._samples.evaluations - known, rows)

    def _build(self, head: Head) -> tuple[int, Rows]:
        self._head = head
        self._shown = None
        self._whole = False
        self._cache = FeatureCache(HeadField(self._model, head, self._z_exp), self._lattice)
        self._samples = Samples(self._lattice, self._cache.values)
        self._surface = Surface(self._samples)
        self._component = LargestComponent(4 * self._lattice.count)
        cells = self._surface.follow(refine(self._samples, coarsest_cells(self._lattice)))
        self._first_count = len(self._cache)
        rows = self._replace([np.zeros(0, dtype=np.int64)] * 2, cells)
        return self._samples.evaluations, rows

    def _edit(self, head: Head, regions: list[int]) -> Rows:
        self._shown, self._whole = None, False
        reached = self._cache.change(HeadField(self._model, head, self._z_exp), regions)
        stale = reached[self._samples.known[reached]]
        self._samples.forget(stale)
        left = self._surface.leave(stale)
        removed = self._component.rows(self._surface.case)
        self._ask_at_once(stale, left)
        # in a coarsest cell without a stale value the search would ask what it asked before and find the same; the
        # surface that stays enters the cells that were left through faces whose corners are known
        again = refine(self._samples, touching_cells(stale, self._lattice))
        rows = self._replace(removed, self._surface.follow(np.concatenate([self._surface.bound(left), again])))
        if len(self._cache) > _CACHE_GROWTH * self._first_count:
            self._cache.keep(np.flatnonzero(self._samples.known))
        return rows

    def _ask_at_once(self, stale: IntArray, left: IntArray) -> None:
        """Ask together for what the search will ask; of a small edit also where the surface was, needed or not."""
        wanted = [search_points(stale, self._lattice)]
        if len(left) < _SMALL:
            wanted.append((left[:, None] + self._lattice.corners()).reshape(-1))
        self._samples.need(np.concatenate(wanted))

    def _replace(self, removed: list[IntArray], cells: IntArray) -> Rows:
        values, lattice = self._samples.values, self._lattice
        added = triangles_of(values, cells, self._surface.case[cells], lattice)
        rows = self._component.replace(removed, added, lambda keys: vertices_of(values, keys, lattice))
        if not len(self._component.mesh.faces):
            raise InputError(NO_SURFACE)
        self._whole = True
        return rows

    def _change(self, regions: Iterable[int], rebuilt: bool, evaluations: int, rows: Rows) -> MeshChange:
        mesh = self._component.mesh
        names = tuple(REGIONS[k].name for k in regions)
        return MeshChange(names, rebuilt, evaluations, rows.vertices, rows.faces, len(mesh.vertices), len(mesh.faces))
