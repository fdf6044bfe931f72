"""A user's mesh bound to the template: wherever the template goes, it follows.

    near the skin   a place in a face of the template, and an offset in the frame of that place
    away from it    the similarity that best moves the template's vertices around it (teeth, tongue, hair, shoulders)
    eyeballs        the similarity that moves the template's eyeball
    in the mouth    as away from the skin on the neutral head; an expression moves what hangs on the jaw as the chin

The first fades into the second with distance, so that nothing breaks between them.

Shape legend: U vertices of the user's mesh, V of the template, F faces, K neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import igl
import numpy as np
from scipy.sparse import csr_matrix, diags
from scipy.spatial import cKDTree

from imhead.conventions import ARKIT_NAMES
from imhead.io.obj_polygons import Polygons
from imhead.registration.frames import pointers, vertex_frames
from imhead.surfaces.crossings import edges_of
from imhead.surfaces.normals import vertex_normals
from imhead.surfaces.pieces import piece_of_vertices
from imhead.surfaces.properties import face_cross, face_normals
from imhead.surfaces.transforms import aligned
from imhead.template.projection import smoothstep
from imhead.template.surface import TemplateSurface
from imhead.template.topology import LEFT_EYE, RIGHT_EYE, SKIN
from imhead.topology.parts import eyeballs, jaw_shares
from imhead.types import FloatArray, IntArray, Mesh

FAR_MM = 30.0
"""From this distance on a vertex has nothing of the template near it."""
NEAR_MM = 8.0
"""Up to this distance a vertex belongs to the skin of the template."""
_FADE_MM = (2.0, NEAR_MM)  # distance over which the second way takes over from the first
_CELL_MM = 5.0  # of the grid that thins the template's vertices for the second way
_CARRIERS = 48
_LEAST_WIDTH_MM = 6.0
_AGREES = 0.2  # least cosine between the normals of a vertex and of its face
_DETOUR_MM = 4.0  # farther than the nearest face, a face that agrees is not taken
_DIRECTIONS = 26
_ON_SKIN_MM = 1.5
_TURN_ROUNDS, _UNFOLD_ROUNDS = 4, 24
_CHIN_SHARE = 0.8  # of the largest movement of jawOpen


@dataclass(frozen=True, eq=False)
class Binding:
    """How a mesh hangs on the template."""

    rest: FloatArray
    """(U, 3) the mesh on the template, mm."""
    triangles: IntArray
    """(T, 3) its polygons, cut into fans."""
    template_rest: FloatArray
    """(V, 3) the template, registered to the mesh, mm."""
    template_faces: IntArray
    """(F, 3)."""
    template_part: IntArray
    """(V,) as in the topology."""
    corners: IntArray
    """(U, 3) vertices of the template's face nearest to each vertex."""
    shares: FloatArray
    """(U, 3) barycentric weights of the place in that face."""
    eye: IntArray
    """(U,) `LEFT_EYE` or `RIGHT_EYE` of the topology for vertices of an eyeball; 0 for the others."""
    jaw: FloatArray
    """(U,) share of the jaw's motion that vertices of teeth, gums and tongue take; -1 for the others."""
    chin: IntArray
    """Vertices of the template that show how the jaw moves."""

    @cached_property
    def distance_mm(self) -> FloatArray:
        """(U,) from each vertex to its place on the template."""
        place = np.einsum("uk,ukc->uc", self.shares, self.template_rest[self.corners])
        return np.linalg.norm(self.rest - place, axis=1)

    @cached_property
    def _pointers(self) -> IntArray:
        return pointers(self.template_rest, self.template_faces)

    @cached_property
    def _rest_frames(self) -> FloatArray:
        return vertex_frames(self.template_rest, self.template_faces, self._pointers)

    @cached_property
    def _neighbours(self) -> csr_matrix:
        """(U, U) whose product with values at the vertices is the mean over each one's neighbours."""
        edges = edges_of(self.triangles)
        both = np.concatenate([edges, edges[:, ::-1]])
        graph = csr_matrix((np.ones(len(both)), (both[:, 0], both[:, 1])), shape=(len(self.rest), len(self.rest)))
        return csr_matrix(diags(1.0 / np.maximum(np.asarray(graph.sum(axis=1)).ravel(), 1.0)) @ graph)

    @cached_property
    def _local(self) -> FloatArray:
        """(U, 3, 3) offset of each vertex from its place, in the frames of the three corners."""
        place = np.einsum("uk,ukc->uc", self.shares, self.template_rest[self.corners])
        local: FloatArray = np.einsum("ukrc,uc->ukr", self._rest_frames[self.corners], self.rest - place)
        return local

    @cached_property
    def _away(self) -> IntArray:
        """Vertices that the second way moves."""
        away = (self.distance_mm > _FADE_MM[0]) | (self.jaw >= 0.0)
        return np.flatnonzero(away & (self.eye == 0))

    @cached_property
    def _carriers(self) -> tuple[IntArray, FloatArray]:
        """(n, K) vertices of the template around each vertex `_away`, and their weights, which add up to 1."""
        outside = np.flatnonzero(self.template_part < LEFT_EYE)
        cell = np.floor(self.template_rest[outside] / _CELL_MM).astype(np.int64)
        thin = outside[np.unique(cell, axis=0, return_index=True)[1]]
        reach, near = cKDTree(self.template_rest[thin]).query(self.rest[self._away], k=min(_CARRIERS, len(thin)))
        width = np.maximum(reach[:, :1], _LEAST_WIDTH_MM)
        # to zero at the last of the neighbours, so that none comes in with a jump
        weight = np.exp(-0.5 * (reach / width) ** 2) * np.maximum(1.0 - (reach / reach[:, -1:]) ** 2, 0.0)
        weight[:, 0] += 1e-9
        return thin[near], weight / weight.sum(axis=1, keepdims=True)

    @property
    def has_mouth(self) -> bool:
        """Whether the mesh has teeth, gums or a tongue: an expression then needs the neutral head too."""
        return bool((self.jaw >= 0.0).any())

    def placed(self, template: FloatArray, neutral: FloatArray | None = None) -> FloatArray:
        """The mesh (U, 3) on a template, mm.

        Args:
            template: (V, 3) with any expression.
            neutral: (V, 3) the same head without; None where `template` is neutral.
        """
        frames = vertex_frames(template, self.template_faces, self._pointers)
        turned = np.einsum("vki,vkj->vij", self._rest_frames, frames)
        offset = np.einsum("ukrc,ukr->ukc", frames[self.corners], self._local)
        result: FloatArray = np.einsum("uk,ukc->uc", self.shares, template[self.corners] + offset)
        if len(self._away):
            share = smoothstep(*_FADE_MM, self.distance_mm[self._away])[:, None]
            carried = self._carried(template)
            inner = self.jaw[self._away] >= 0.0
            if inner.any():
                share[inner] = 1.0
                if neutral is not None:
                    carried[inner] = self._carried(neutral)[inner]
            result[self._away] += share * (carried - result[self._away])
        if neutral is not None and self.has_mouth:
            rows = self.jaw >= 0.0
            _, turn = aligned(neutral[self.chin], template[self.chin])
            moved = (result[rows] - neutral[self.chin].mean(axis=0)) @ turn.T + template[self.chin].mean(axis=0)
            result[rows] += self.jaw[rows, None] * (moved - result[rows])
        result = self._unfolded(result, turned)
        for side in (LEFT_EYE, RIGHT_EYE):
            rows = self.eye == side
            if rows.any():
                ball = self.template_part == side
                scale, turn = aligned(self.template_rest[ball], template[ball])
                middle = self.template_rest[ball].mean(axis=0)
                result[rows] = scale * (self.rest[rows] - middle) @ turn.T + template[ball].mean(axis=0)
        return result

    def _unfolded(self, placed: FloatArray, turned: FloatArray) -> FloatArray:
        """The mesh (U, 3) with movements smoothed where a face of it is turned over.

        Args:
            placed: (U, 3).
            turned: (V, 3, 3) how each vertex of the template has turned, for rows of coordinates.
        """
        mean = self._neighbours
        turns = np.einsum("uk,ukij->uij", self.shares, turned[self.corners]).reshape(-1, 9)
        for _ in range(_TURN_ROUNDS):  # a single vertex of the template may itself lie in a fold
            turns = mean @ turns
        expected = np.einsum(
            "fi,fij->fj", face_cross(self.rest, self.triangles), turns.reshape(-1, 3, 3)[self.triangles].mean(axis=1)
        )
        free = (self.eye[self.triangles] == 0).all(axis=1) & (self.jaw[self.triangles] < 0.0).all(axis=1)
        expected, faces = expected[free], self.triangles[free]
        moved, best, fewest = placed - self.rest, placed, len(faces)
        for _ in range(_UNFOLD_ROUNDS):
            over = faces[np.einsum("fc,fc->f", face_cross(self.rest + moved, faces), expected) < 0.0]
            if len(over) < fewest:  # where the template itself is folded, smoothing may not help
                best, fewest = self.rest + moved, len(over)
            if not fewest:
                break
            rows = np.unique(over)
            moved[rows] = 0.5 * (moved[rows] + mean[rows] @ moved)
        return best

    def _carried(self, template: FloatArray) -> FloatArray:
        """Vertices `_away` (n, 3) by the similarities of their carriers (Schaefer et al. 2006)."""
        rows, weight = self._carriers
        source, target = self.template_rest[rows], template[rows]
        middle, goal = (np.einsum("nk,nkc->nc", weight, k) for k in (source, target))
        source, target = source - middle[:, None], target - goal[:, None]
        u, spread, vt = np.linalg.svd(np.einsum("nk,nki,nkj->nij", weight, source, target))
        spread[:, 2] *= np.sign(np.linalg.det(u @ vt))
        u[:, :, 2] *= np.sign(np.linalg.det(u @ vt))[:, None]
        scale = spread.sum(axis=1) / np.einsum("nk,nki,nki->n", weight, source, source)
        away = self.rest[self._away] - middle
        carried: FloatArray = scale[:, None] * np.einsum("ni,nij->nj", away, u @ vt) + goal
        return carried


def bind(rest: FloatArray, polygons: Polygons, template: TemplateSurface, registered: FloatArray) -> Binding:
    """Bind a mesh to the template that was registered to it.

    Args:
        rest: (U, 3) the mesh, head frame, mm.
        polygons: its polygons.
        template: the topology.
        registered: (V, 3) its vertices on the mesh.
    """
    triangles = polygons.triangles(len(rest))
    piece = piece_of_vertices(edges_of(triangles), len(rest))
    eye = eyeballs(rest, piece, template, registered)
    outside = np.flatnonzero((template.part[template.faces] < LEFT_EYE).all(axis=1))
    faces = template.faces[outside]
    normals, _ = vertex_normals(rest, triangles)
    alone = np.ones(len(rest), dtype=bool)
    alone[triangles] = False
    mesh = Mesh(registered, faces)
    outwards = face_normals(mesh)
    squared, face, _ = igl.point_mesh_squared_distance(rest, registered, faces)
    if np.median(np.einsum("uc,uc->u", normals, outwards[face])[np.sqrt(squared) < 1.0]) < 0:
        normals = -normals  # an inside-out mesh
    wrong = np.flatnonzero((np.einsum("uc,uc->u", normals, outwards[face]) < _AGREES) & ~alone)
    directions = _sphere(_DIRECTIONS)
    nearest = (normals[wrong] @ directions.T).argmax(axis=1)
    for k in np.unique(nearest):
        own = wrong[nearest == k]
        agreeing = np.flatnonzero(outwards @ directions[k] > _AGREES)
        if len(agreeing):
            other, found, _ = igl.point_mesh_squared_distance(rest[own], registered, faces[agreeing])
            better = np.sqrt(other) < np.sqrt(squared[own]) + _DETOUR_MM
            face[own[better]] = agreeing[found[better]]
    corners = faces[face]
    shares = _places(rest, registered[corners])
    place = np.einsum("uk,ukc->uc", shares, registered[corners])
    on_skin = (template.on_surface[corners] > 0.5).all(axis=1) & (np.linalg.norm(rest - place, axis=1) < _ON_SKIN_MM)
    jaw = jaw_shares(rest, piece, on_skin | (eye > 0), template, registered)
    open_mm = np.linalg.norm(template.shapes[ARKIT_NAMES.index("jawOpen")], axis=1)
    chin = np.flatnonzero((template.part == SKIN) & (open_mm > _CHIN_SHARE * open_mm.max()))
    return Binding(rest, triangles, registered, template.faces, template.part, corners, shares, eye, jaw, chin)


def _places(points: FloatArray, triangles: FloatArray) -> FloatArray:
    """(U, 3) barycentric weights of the place in each triangle (U, 3, 3) nearest to a point (U, 3)."""
    flat = np.ascontiguousarray(triangles.reshape(-1, 3))
    shares = np.empty((len(points), 3))
    a, b, c = (flat[k::3] for k in range(3))
    # beside the triangle, the nearest place lies on one of its edges
    inside = np.asarray(igl.barycentric_coordinates(_flattened(points, a, b, c), a, b, c))
    shares[:] = inside
    out = np.flatnonzero((inside < 0.0).any(axis=1))
    best = np.full(len(out), np.inf)
    for k in range(3):
        start, end = triangles[out, k], triangles[out, (k + 1) % 3]
        along = end - start
        t = np.einsum("uc,uc->u", points[out] - start, along) / np.einsum("uc,uc->u", along, along).clip(1e-30)
        t = t.clip(0.0, 1.0)
        away = np.linalg.norm(points[out] - start - t[:, None] * along, axis=1)
        closer = away < best
        best[closer] = away[closer]
        row = np.zeros((len(out), 3))
        row[:, k], row[:, (k + 1) % 3] = 1.0 - t, t
        shares[out[closer]] = row[closer]
    return shares


def _flattened(points: FloatArray, a: FloatArray, b: FloatArray, c: FloatArray) -> FloatArray:
    """Points (U, 3) moved straight into the planes of their triangles."""
    normal = np.cross(b - a, c - a)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True).clip(1e-30)
    return points - np.einsum("uc,uc->u", points - a, normal)[:, None] * normal


def _sphere(count: int) -> FloatArray:
    """(count, 3) directions spread evenly (Fibonacci's lattice)."""
    k = np.arange(count) + 0.5
    z, turn = 1.0 - 2.0 * k / count, np.pi * (1.0 + 5.0**0.5) * k
    ring = np.sqrt(1.0 - z**2)
    return np.stack([ring * np.cos(turn), ring * np.sin(turn), z], axis=1)
