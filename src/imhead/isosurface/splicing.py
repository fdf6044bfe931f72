"""A triangle mesh that is edited in place: vertices and faces that an edit does not touch keep their rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from imhead.isosurface.cells import Numbering, Patch, Triangles
from imhead.types import BoolArray, FloatArray, IntArray

Scalar = TypeVar("Scalar", bound=np.generic)
VertexPositions = Callable[[IntArray], FloatArray]
"""Vertex keys (N,) → positions (N, 3)."""


@dataclass(frozen=True, eq=False)
class WrittenRows:
    """Rows of a mesh that an edit wrote."""

    vertices: IntArray
    """Rows of vertices, ascending."""
    faces: IntArray
    """Rows of faces, ascending."""


class SplicedMesh:
    """A mesh whose vertices have keys and whose faces belong to grid cells. Starts empty.

    There are never gaps: new rows fill freed ones or are appended; gaps that are left are filled with the last rows.
    """

    def __init__(self) -> None:
        self.keys: IntArray = np.zeros(0, dtype=np.int64)
        """(V,) key of each vertex."""
        self.vertices: FloatArray = np.zeros((0, 3))
        """(V, 3)."""
        self.uses: IntArray = np.zeros(0, dtype=np.int64)
        """(V,) number of face corners at each vertex."""
        self.faces: IntArray = np.zeros((0, 3), dtype=np.int32)
        """(F, 3)."""
        self.cells: IntArray = np.zeros(0, dtype=np.int64)
        """(F,) cell of each face."""

    def lost(self, faces: IntArray) -> IntArray:
        """(V,) number of face corners that each vertex loses if `faces` (N,) are removed."""
        return np.bincount(self.faces[faces].reshape(-1), minlength=len(self.keys))

    def rim(self, faces: IntArray) -> IntArray:
        """Keys of the vertices that `faces` (N,) share with other faces."""
        lost = self.lost(faces)
        return self.keys[(lost > 0) & (lost < self.uses)]

    def rim_labels(self, faces: IntArray) -> IntArray:
        """Labels of the vertices of `rim`, equal where `faces` (N,) connect them."""
        lost = self.lost(faces)
        vertices = np.flatnonzero(lost)
        renumber = np.zeros(len(lost), dtype=np.int32)
        renumber[vertices] = np.arange(len(vertices), dtype=np.int32)
        label = component_labels(renumber[self.faces[faces]], len(vertices))
        return label[lost[vertices] < self.uses[vertices]].astype(np.int64)

    def splice(self, removed: IntArray, added: Patch, place: VertexPositions, numbering: Numbering) -> WrittenRows:
        """Replace faces; a vertex stays as long as a face uses it.

        Args:
            removed: rows of faces, ascending, each once.
            added: new faces; those of their vertices that the mesh has must belong to removed faces.
        """
        lost = self.lost(removed)
        old = np.flatnonzero(lost)
        found = numbering.find(added.keys, self.keys[old])
        stays = found >= 0
        freed = np.ones(len(old), dtype=bool)
        freed[found[stays]] = False
        freed &= self.uses[old] == lost[old]
        new_rows, gaps = _rows_for(int((~stays).sum()), old[freed], len(self.keys))
        row = np.zeros(len(found), dtype=np.int64)
        row[stays], row[~stays] = old[found[stays]], new_rows
        self.uses -= lost
        self._grow(len(new_rows) - int(freed.sum()) + len(gaps))
        self.keys[row] = added.keys
        self.uses += np.bincount(row[added.faces].reshape(-1), minlength=len(self.keys))
        places = place(added.keys)
        written = np.zeros(len(self.keys), dtype=bool)
        written[row] = (self.vertices[row] != places).any(axis=1)
        written[new_rows] = True
        self.vertices[row] = places
        faces_written = self._replace_faces(removed, row[added.faces], added.cells)
        self._fill_gaps(gaps, written, faces_written)
        return WrittenRows(np.flatnonzero(written[: len(self.keys)]), np.flatnonzero(faces_written))

    def _grow(self, count: int) -> None:
        if count > 0:
            self.keys, self.uses = _grown(self.keys, count), _grown(self.uses, count)
            self.vertices = _grown(self.vertices, count)

    def _replace_faces(self, removed: IntArray, faces: IntArray, cells: IntArray) -> BoolArray:
        rows, gaps = _rows_for(len(faces), removed, len(self.faces))
        more = len(faces) - len(removed)
        if more > 0:
            self.faces, self.cells = _grown(self.faces, more), _grown(self.cells, more)
        written = np.zeros(len(self.faces), dtype=bool)
        written[rows] = True
        self.faces[rows], self.cells[rows] = faces, cells
        source, target = _moves(gaps, len(self.faces))
        self.faces[target], self.cells[target], written[target] = self.faces[source], self.cells[source], True
        count = len(self.faces) - len(gaps)
        self.faces, self.cells = self.faces[:count], self.cells[:count]
        return written[:count]

    def _fill_gaps(self, gaps: IntArray, written: BoolArray, faces_written: BoolArray) -> None:
        """Move the last vertices into the gaps."""
        count = len(self.keys) - len(gaps)
        source, target = _moves(gaps, len(self.keys))
        if len(source):
            self.keys[target], self.uses[target] = self.keys[source], self.uses[source]
            self.vertices[target], written[target] = self.vertices[source], True
            moved = np.flatnonzero((self.faces >= count).any(axis=1))
            renumber = np.arange(len(self.keys), dtype=np.int32)
            renumber[source] = target
            self.faces[moved], faces_written[moved] = renumber[self.faces[moved]], True
        self.keys, self.uses, self.vertices = self.keys[:count], self.uses[:count], self.vertices[:count]


class LargestComponent:
    """The component with the most faces of a surface whose cells change, and the other components, kept apart.

    Args:
        keys: number of possible vertex keys.
    """

    def __init__(self, keys: int) -> None:
        self.mesh = SplicedMesh()
        """The largest component."""
        self.rest = SplicedMesh()
        """The other components."""
        self._numbering = Numbering(keys)

    def rows(self, case: IntArray) -> list[IntArray]:
        """Faces of `mesh` and of `rest` in cells whose case (P,) is 0."""
        return [np.flatnonzero(case[mesh.cells] == 0) for mesh in (self.mesh, self.rest)]

    def replace(self, removed: list[IntArray], added: Triangles, place: VertexPositions) -> WrittenRows:
        """Replace faces of `mesh` and of `rest`; returns the rows of `mesh` that were written.

        Args:
            removed: as from `rows`.
            added: triangles that take their place. Nothing may have changed in other cells.
        """
        if not len(removed[0]) + len(removed[1]) + len(added.cells):
            return WrittenRows(removed[0], removed[0])
        patch = self._numbering.patch(added)
        joins = self._joins(removed, patch)
        if joins is None:
            meshes = (self.mesh, self.rest)
            kept = [np.setdiff1d(np.arange(len(m.faces)), r, assume_unique=True) for m, r in zip(meshes, removed)]
            parts = [Triangles(m.keys[m.faces[k]], m.cells[k]) for m, k in zip(meshes, kept)]
            whole = self._numbering.patch(Triangles.joined([*parts, added]))
            sizes = [len(part.cells) for part in parts]
            of_mesh, of_rest, joins = np.split(in_largest_component(whole.faces, len(whole.keys)), np.cumsum(sizes))
            removed = [np.union1d(removed[0], kept[0][~of_mesh]), np.union1d(removed[1], kept[1][of_rest])]
            to_mesh = self._numbering.patch(Triangles.joined([parts[1].where(of_rest), added.where(joins)]))
            to_rest = self._numbering.patch(Triangles.joined([parts[0].where(~of_mesh), added.where(~joins)]))
        else:
            all_join = bool(joins.all())
            to_mesh = patch if all_join else self._numbering.patch(added.where(joins))
            to_rest = self._numbering.patch(added.where(~joins))
        self.rest.splice(removed[1], to_rest, place, self._numbering)
        return self.mesh.splice(removed[0], to_mesh, place, self._numbering)

    def _joins(self, removed: list[IntArray], added: Patch) -> BoolArray | None:
        """(T,) which new triangles belong to the largest component; None if the whole surface must be searched.

        The remaining triangles are connected as before if the new ones connect the rim as the removed ones did.
        """
        rims = [mesh.rim(rows) for mesh, rows in zip((self.mesh, self.rest), removed)]
        if not len(rims[0]):
            return None
        label = component_labels(added.faces, len(added.keys))
        after = label[self._numbering.find(np.concatenate(rims), added.keys)]
        if len(rims[1]) or after.min() != after.max():
            before = np.concatenate([mesh.rim_labels(rows) for mesh, rows in zip((self.mesh, self.rest), removed)])
            before[len(rims[0]) :] += len(self.mesh.keys)
            pairs = np.unique(before * np.int64(len(label)) + after)
            if not len(pairs) == len(np.unique(before)) == len(np.unique(after)):
                return None
        of_mesh = np.zeros(len(label), dtype=bool)
        of_mesh[after[: len(rims[0])]] = True
        joins: BoolArray = of_mesh[label[added.faces[:, 0]]]
        size = len(self.mesh.faces) - len(removed[0]) + int(joins.sum())
        others = len(self.rest.faces) - len(removed[1]) + int((~joins).sum())
        return joins if others < size else None


def component_labels(faces: IntArray, count: int) -> IntArray:
    """(count,) component of each vertex, from faces (F, 3)."""
    edges = faces[:, [0, 1, 1, 2]].reshape(-1, 2)
    graph = coo_matrix((np.ones(len(edges), dtype=bool), (edges[:, 0], edges[:, 1])), shape=(count, count))
    label: IntArray = connected_components(graph, directed=False)[1]
    return label


def in_largest_component(faces: IntArray, count: int) -> BoolArray:
    """(F,) True for faces of the component with the most faces."""
    label = component_labels(faces, count)[faces[:, 0]]
    mark: BoolArray = label == np.bincount(label, minlength=1).argmax()
    return mark


def _rows_for(count: int, free: IntArray, length: int) -> tuple[IntArray, IntArray]:
    """Rows for `count` new entries, free ones first, and the free rows that are left."""
    appended = np.arange(length, length + max(0, count - len(free)))
    return np.concatenate([free[:count], appended]), free[count:]


def _moves(gaps: IntArray, length: int) -> tuple[IntArray, IntArray]:
    """(source, target) rows: moving the last of `length` rows into the gaps, so that the end can be cut off."""
    count = length - len(gaps)
    tail = np.ones(len(gaps), dtype=bool)
    tail[gaps[gaps >= count] - count] = False
    return count + np.flatnonzero(tail), gaps[gaps < count]


def _grown(rows: NDArray[Scalar], count: int) -> NDArray[Scalar]:
    return np.concatenate([rows, np.zeros((count, *rows.shape[1:]), dtype=rows.dtype)])
