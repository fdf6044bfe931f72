"""Make the template's topology: triangles and UVs on the mean of the registered heads.

The left half of the mean skin, lips apart, is remeshed with a size field (finer at lids, lips, nostrils and ears),
mirrored, and cut at the back for the UVs. Two eyeballs are rings around the pupil. Each vertex is stored as a point on
a face of the source.

    python tools/template_topology.py ICT_FACEKIT OUT

needs the extra `imhead[template]`.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import igl
import numpy as np
from scipy.sparse import coo_matrix, diags
from scipy.sparse.linalg import spsolve
from scipy.spatial import cKDTree

from imhead.conventions import ARKIT_NAMES
from imhead.regions import CENTERS_MM, REGIONS
from imhead.sources.ict import IctModel, boundary_loops, read_ict
from imhead.template.topology import LEFT_EYE, MOUTH, RIGHT_EYE, SKIN, Topology, save_topology
from imhead.types import BoolArray, FloatArray, IntArray

_JAW_OPEN = 0.35  # wide enough that the nearest face to a point of one lip is never on the other
_SIZE = 0.95  # scales all lengths below
_LARGEST_MM, _FACE_MM, _FACE_REACH_MM = 16.0, 4.2, 80.0
_EYE_RINGS, _EYE_SEGMENTS = 16, 28
_MIDLINE_MM = 0.6
_SEAM_BEHIND_MM = -34.0  # the seam runs down the back of the head from here
_SLIM_STEPS = 60


@dataclass(frozen=True, eq=False)
class _Sheet:
    """A triangle mesh with the number of a part for each face."""

    vertices: FloatArray
    faces: IntArray
    part: IntArray


def make_topology(ict: IctModel) -> Topology:
    """The topology, for a registered source."""
    posed = (ict.mean + _JAW_OPEN * ict.expressions[ARKIT_NAMES.index("jawOpen")]).astype(np.float64)
    source = _open_skin(ict)
    half = _remeshed_half(ict, posed, source)
    corners, weights = _places(posed, source.faces, half.vertices)
    skin, twin = _mirrored(half)
    ours = np.arange(len(skin.vertices))
    mirrored = ours[len(half.vertices) :]
    corners = np.concatenate([corners, ict.mirror[corners[twin[mirrored]]]])
    weights = np.concatenate([weights, weights[twin[mirrored]]])

    part = np.full(len(ours), MOUTH)
    part[np.unique(skin.faces[skin.part == SKIN])] = SKIN
    uv, uv_faces = _flat(skin)
    eye_faces, eye_uv, eye_uv_faces, directions = _eyeball()
    eye_corners, eye_weights = _eye_places(ict, directions)
    count, first = len(directions), len(ours)
    # left half first: the left eye comes before the mirrored skin
    order = np.concatenate(
        [np.arange(len(half.vertices)), first + np.arange(count), mirrored, first + count + np.arange(count)]
    )
    number = np.argsort(order)
    faces = np.concatenate([skin.faces, eye_faces + first, eye_faces[:, [0, 2, 1]] + first + count])
    twins = np.concatenate([twin, first + count + np.arange(count), first + np.arange(count)])
    left_uv = eye_uv * 0.095 + [0.895, 0.105]
    right_uv = left_uv * [-1.0, 1.0] + [1.0, 0.0]
    flat_faces = np.concatenate([uv_faces, eye_uv_faces + len(uv), eye_uv_faces[:, [0, 2, 1]] + len(uv) + len(left_uv)])
    parts = np.concatenate([part, np.full(count, LEFT_EYE), np.full(count, RIGHT_EYE)])
    return Topology(
        faces=number[faces],
        uv=np.concatenate([uv, left_uv, right_uv]),
        uv_faces=flat_faces,
        part=parts[order],
        twin=number[twins[order]],
        source_corners=np.concatenate([corners, eye_corners, ict.mirror[eye_corners]])[order],
        source_weights=np.concatenate([weights, eye_weights, eye_weights])[order],
    )


def _open_skin(ict: IctModel) -> _Sheet:
    """The source's skin and mouth socket without the fans that close its openings."""
    caps = np.arange(len(ict.mean) - 3, len(ict.mean))
    faces = ict.skin_faces[~np.isin(ict.skin_faces, caps).any(axis=1)]
    outside = set(map(tuple, np.sort(ict.skin_open_faces, axis=1).tolist()))
    part = np.array([SKIN if tuple(f) in outside else MOUTH for f in np.sort(faces, axis=1).tolist()])
    return _Sheet(ict.mean, faces, part)


def _remeshed_half(ict: IctModel, posed: FloatArray, source: _Sheet) -> _Sheet:
    from mmgpy import MmgMeshS

    left = ict.mean[source.faces, 0].mean(axis=1) > 0
    used, faces = np.unique(source.faces[left], return_inverse=True)
    faces = faces.reshape(-1, 3)
    vertices, part = posed[used], source.part[left]
    mesh = MmgMeshS()
    mesh.set_mesh_size(vertices=len(vertices), triangles=len(faces))
    mesh.set_vertices(vertices)
    mesh.set_triangles(faces.astype(np.int32), refs=part.astype(np.int64) + 1)
    mesh.set_field("metric", _sizes(ict.mean[used], vertices, faces, part)[:, None].astype(np.float64))
    mesh.remesh(hgrad=1.25, hausd=0.4, hmin=0.6, hmax=20.0, verbose=-1)
    found, refs = mesh.get_triangles_with_refs()
    return _Sheet(np.asarray(mesh.get_vertices()), np.asarray(found).astype(np.int64), np.asarray(refs) - 1)


def _sizes(neutral: FloatArray, vertices: FloatArray, faces: IntArray, part: IntArray) -> FloatArray:
    """Target edge length at each vertex, mm."""
    rim = min(boundary_loops(faces), key=len)
    lip = np.intersect1d(faces[part == SKIN], faces[part == MOUTH])
    from_lid, from_lip = (cKDTree(vertices[rows]).query(vertices)[0] for rows in (rim, lip))
    centers = {r.name: CENTERS_MM[r.index] for r in REGIONS}

    def beyond(name: str, radius_mm: float) -> FloatArray:
        return np.maximum(np.linalg.norm(neutral - centers[name], axis=1) - radius_mm, 0.0)

    ears = (("left_ear_helix", 22.0), ("left_ear_canal", 20.0), ("left_ear_lobe", 18.0))
    wanted = [
        np.full(len(vertices), _LARGEST_MM),
        _FACE_MM + 0.10 * beyond("nose_tip", _FACE_REACH_MM),
        1.15 + 0.10 * from_lid,
        1.5 + 0.11 * from_lip,
        2.0 + 0.10 * beyond("left_nostril", 11.0),
        2.7 + 0.13 * np.min([beyond(name, radius) for name, radius in ears], axis=0),
    ]
    size = np.min(wanted, axis=0)
    behind = np.setdiff1d(faces[part == MOUTH], lip)
    size[behind] = np.maximum(size[behind], np.minimum(6.0, 1.8 + 0.25 * from_lip[behind]))
    result: FloatArray = _SIZE * size
    return result


def _mirrored(half: _Sheet) -> tuple[_Sheet, IntArray]:
    """Both halves, welded at the midline; and the twin of each vertex."""
    border = np.concatenate(boundary_loops(half.faces))
    middle = np.zeros(len(half.vertices), dtype=bool)
    middle[border[np.abs(half.vertices[border, 0]) < _MIDLINE_MM]] = True
    half.vertices[middle, 0] = 0.0
    count, off = len(half.vertices), np.flatnonzero(~middle)
    twin = np.arange(count)
    twin[off] = count + np.arange(len(off))
    vertices = np.concatenate([half.vertices, half.vertices[off] * [-1.0, 1.0, 1.0]])
    faces = np.concatenate([half.faces, twin[half.faces][:, [0, 2, 1]]])
    return _Sheet(vertices, faces, np.concatenate([half.part, half.part])), np.concatenate([twin, off])


def _places(source: FloatArray, faces: IntArray, points: FloatArray) -> tuple[IntArray, FloatArray]:
    """The nearest face of the source to each point: corners (N, 3) and barycentric coordinates (N, 3)."""
    _, face, closest = igl.point_mesh_squared_distance(points, source, faces)
    corners = faces[face]
    a, b, c = (np.ascontiguousarray(source[corners[:, k]]) for k in range(3))
    weights = np.clip(igl.barycentric_coordinates(np.ascontiguousarray(closest), a, b, c), 0.0, 1.0)
    return corners, weights / weights.sum(axis=1, keepdims=True)


def _flat(skin: _Sheet) -> tuple[FloatArray, IntArray]:
    """UVs of skin and mouth socket in two charts; the large one shows the face upright and symmetric."""
    vertices = skin.vertices
    middle = np.abs(vertices[:, 0]) < 1e-9
    seam = middle & (vertices[:, 2] < _SEAM_BEHIND_MM)
    uv, faces, origin = _unwrapped(vertices, skin.faces[skin.part == SKIN], seam)
    up = np.flatnonzero(middle[origin] & (vertices[origin, 2] > 0.0))
    uv = _upright(uv, faces, vertices[origin], up)
    inner, inner_faces, inner_origin = _unwrapped(vertices, skin.faces[skin.part == MOUTH], np.zeros_like(middle))
    up = np.flatnonzero(middle[inner_origin])
    inner = _upright(inner, inner_faces, vertices[inner_origin], up)
    low, high = uv.min(axis=0), uv.max(axis=0)
    uv = (uv - [0.5 * (low[0] + high[0]), low[1]]) * min(0.99 / (high[0] - low[0]), 0.80 / (high[1] - low[1]))
    uv += [0.5, 0.995 - uv[:, 1].max()]
    low, high = inner.min(axis=0), inner.max(axis=0)
    inner = (inner - 0.5 * (low + high)) * (0.17 / (high - low).max()) + [0.5, 0.095]
    flat = np.empty_like(skin.faces)
    flat[skin.part == SKIN], flat[skin.part == MOUTH] = faces, inner_faces + len(uv)
    return np.concatenate([uv, inner]), flat


def _unwrapped(vertices: FloatArray, faces: IntArray, seam: BoolArray) -> tuple[FloatArray, IntArray, IntArray]:
    """A chart without flips and with little distortion: UVs (T, 2), faces (F, 3) of them, vertex (T,) of each."""
    used, chart = np.unique(faces, return_inverse=True)
    chart = np.ascontiguousarray(chart.reshape(-1, 3))
    cut = np.stack([seam[used][chart[:, k]] & seam[used][chart[:, (k + 1) % 3]] for k in range(3)], axis=1)
    points, chart, origin = igl.cut_mesh(vertices[used], chart, np.ascontiguousarray(cut))
    loops = boundary_loops(chart)
    lengths = [np.linalg.norm(points[loop] - points[np.roll(loop, 1)], axis=1).sum() for loop in loops]
    outer = loops[int(np.argmax(lengths))]
    # fans close the openings while the chart is flattened
    holes = [loop for loop in loops if loop is not outer]
    filled = np.concatenate([points, *[points[loop].mean(axis=0)[None] for loop in holes]])
    fans = [
        np.stack([np.roll(loop, -1), loop, np.full(len(loop), len(points) + k)], axis=1) for k, loop in enumerate(holes)
    ]
    closed = np.concatenate([chart, *fans])
    start = _on_a_disc(filled, closed, outer)
    data = igl.slim_precompute(
        np.asfortranarray(filled), np.asfortranarray(closed.astype(np.int32)), np.asfortranarray(start),
        igl.MappingEnergyType.SYMMETRIC_DIRICHLET, np.zeros(0, np.int32), np.asfortranarray(np.zeros((0, 2))), 0.0,
    )  # fmt: skip
    flat = igl.slim_solve(data, _SLIM_STEPS)[: len(points), :2]
    return flat, chart, used[origin]


def _on_a_disc(points: FloatArray, faces: IntArray, outer: IntArray) -> FloatArray:
    """Tutte's embedding: the outer loop on a circle, every other vertex the mean of its neighbours."""
    edges = np.unique(np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1), axis=0)
    both = np.concatenate([edges, edges[:, ::-1]])
    graph = coo_matrix((np.ones(len(both)), (both[:, 0], both[:, 1])), (len(points), len(points))).tocsr()
    laplacian = (diags(np.asarray(graph.sum(axis=1)).ravel()) - graph).tocsr()
    length = np.linalg.norm(points[outer] - np.roll(points[outer], 1, axis=0), axis=1)
    angle = 2.0 * np.pi * np.cumsum(length) / length.sum()
    side = points[faces[:, 1:]] - points[faces[:, :1]]
    area = 0.5 * np.linalg.norm(np.cross(side[:, 0], side[:, 1]), axis=1).sum()
    flat = np.zeros((len(points), 2))
    flat[outer] = np.sqrt(area / np.pi) * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    inner = np.setdiff1d(np.arange(len(points)), outer)
    flat[inner] = spsolve(laplacian[inner][:, inner].tocsc(), -(laplacian[inner][:, outer] @ flat[outer]))
    return flat


def _upright(uv: FloatArray, faces: IntArray, points: FloatArray, midline: IntArray) -> FloatArray:
    """Turn a chart so that the midline points up, and make its sides mirror images."""
    line = uv[midline] - uv[midline].mean(axis=0)
    axis = np.linalg.svd(line, full_matrices=False)[2][0]
    axis *= np.sign(np.corrcoef(line @ axis, points[midline, 1])[0, 1])
    turned = (uv - uv[midline].mean(axis=0)) @ np.array([[axis[1], axis[0]], [-axis[0], axis[1]]])
    if not np.isfinite(turned).all():
        raise RuntimeError("the chart could not be laid flat")
    # the copies of a seam vertex have the same position; their side in the chart distinguishes them
    side = np.sign(turned[:, 0:1])
    key = np.concatenate([points, 1e3 * side * (np.abs(points[:, :1]) < 1e-9) * (np.abs(turned[:, :1]) > 5.0)], axis=1)
    _, twin = cKDTree(key).query(key * [-1.0, 1.0, 1.0, -1.0])
    return 0.5 * (turned + turned[twin] * [-1.0, 1.0])


def _eyeball() -> tuple[IntArray, FloatArray, IntArray, FloatArray]:
    """Rings around the pupil: faces, UVs (a disc, the pupil in its middle), faces into them, directions (N, 3)."""
    angle = np.pi * np.linspace(0.0, 1.0, _EYE_RINGS + 1)[1:-1] ** 1.25
    turn = 2.0 * np.pi * np.arange(_EYE_SEGMENTS) / _EYE_SEGMENTS
    ring = np.stack([np.cos(turn), np.sin(turn)], axis=1)
    directions = [np.array([[0.0, 0.0, 1.0]])]
    directions += [np.column_stack([np.sin(a) * ring, np.full(_EYE_SEGMENTS, np.cos(a))]) for a in angle]
    directions += [np.array([[0.0, 0.0, -1.0]])]
    uv = [np.zeros((1, 2)), *[a / np.pi * ring for a in angle]]
    middle = turn + np.pi / _EYE_SEGMENTS
    uv += [np.stack([np.cos(middle), np.sin(middle)], axis=1)]  # the back pole, once for each of its faces
    here = np.arange(_EYE_SEGMENTS)
    ahead = (here + 1) % _EYE_SEGMENTS
    faces = [np.stack([np.zeros_like(here), 1 + here, 1 + ahead], axis=1)]
    for k in range(_EYE_RINGS - 2):
        a, b = 1 + k * _EYE_SEGMENTS, 1 + (k + 1) * _EYE_SEGMENTS
        faces += [np.stack([a + here, b + here, b + ahead], axis=1), np.stack([a + here, b + ahead, a + ahead], axis=1)]
    last = 1 + (_EYE_RINGS - 2) * _EYE_SEGMENTS
    pole = last + _EYE_SEGMENTS
    back = np.stack([last + here, np.full_like(here, pole), last + ahead], axis=1)
    flat_back = np.stack([last + here, pole + here, last + ahead], axis=1)
    return (
        np.concatenate([*faces, back]),
        np.concatenate(uv),
        np.concatenate([*faces, flat_back]),
        np.concatenate(directions),
    )


def _eye_places(ict: IctModel, directions: FloatArray) -> tuple[IntArray, FloatArray]:
    left = ict.eye_faces[ict.mean[ict.eye_faces, 0].mean(axis=1) > 0]
    points = ict.mean[np.unique(left)].astype(np.float64)
    center = 0.5 * (points.min(axis=0) + points.max(axis=0))
    radius = np.median(np.linalg.norm(points - center, axis=1))
    return _places(ict.mean.astype(np.float64), left, center + radius * directions)


if __name__ == "__main__":
    source, out = map(Path, sys.argv[1:])
    save_topology(make_topology(read_ict(source)), out)
