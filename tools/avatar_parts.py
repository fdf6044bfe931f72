"""Make the avatar's parts: teeth, gums, tongue, lashes, tear lines and caruncles of ICT-FaceKit, bound to the template.

The movements of a few hundred template vertices around the mouth give an affine map of each jaw: the lips' shift and
growth, corrected by ridge regression on the source's identity modes. So no tooth bends, and gums fit the teeth.

    python tools/avatar_parts.py ICT_FACEKIT.npz OUT
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from embreex.mesh_construction import TriangleMesh
from embreex.rtcore_scene import EmbreeScene
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from imhead.avatar.parts import (
    CARUNCLES,
    LASHES,
    LOWER_GUM,
    LOWER_TEETH,
    MOVED_SHAPES,
    TEAR_LINES,
    TONGUE,
    UPPER_GUM,
    UPPER_TEETH,
    Parts,
    affine,
    in_lower_jaw,
    save_parts,
)
from imhead.sources.ict import read_ict
from imhead.surfaces.eyeballs import fitted_eyes
from imhead.surfaces.lids import Lids
from imhead.surfaces.normals import vertex_normals
from imhead.template.topology import LEFT_EYE, RIGHT_EYE, SKIN, load_topology
from imhead.types import FloatArray, IntArray

_GUMS, _TEETH = slice(14062, 17039), (slice(17039, 19247), slice(19247, 21451))
_TEARS = (slice(24591, 24795), slice(24795, 24999))
_LASHES = ((25351, 90), (25693, 60), (26035, 90), (26377, 60))  # first vertex of three sheets, lashes to draw
_SHEET, _ROWS, _COLUMNS = 114, 6, 19
_LASH_WIDTH_MM, _LASH_LENGTH = 0.17, (0.5, 0.78)  # at the root; part of the sheet's length
_KEPT_AT = (0.0, 0.4, 0.75, 1.0)  # of a lash's length: two vertices at each but the tip
_ANCHORS, _NOISE_MM = 360, 12.0  # strong: heads outside the source's modes lie nearer to the lips' own movement
_LIPS_MM, _LIPS_REACH_MM = np.array([0.0, -40.0, 98.0]), np.array([30.0, 16.0, 25.0])
_CARUNCLE_MM, _CARUNCLE_RINGS, _CARUNCLE_SEGMENTS = np.array([2.3, 2.0, 1.9]), 4, 12
_RAYS, _FAR_MM = 128, 45.0
_ORIGIN_MM = np.array([0.0, 6.0, 10.0])


def make_parts(path: Path) -> Parts:
    """The parts, from the packed source."""
    with np.load(path, allow_pickle=False) as data:
        source = data["vertices"].astype(np.float64) * 10.0 - _ORIGIN_MM
        identity = data["identity"].astype(np.float32) * 10.0
        names = [str(name) for name in data["expression_names"]]
        shapes = dict(zip(names, data["expressions"].astype(np.float64) * 10.0))
        marks = source[data["landmarks68"]]
        polygons, uv, uv_polygons = data["polygons"], data["uv"], data["uv_polygons"]
    ict, topology = read_ict(path), load_topology()
    skin = topology.place(ict.mean.astype(np.float64))
    eyes = fitted_eyes(skin[topology.part == LEFT_EYE], skin[topology.part == RIGHT_EYE])
    skin = Lids.of(skin, np.flatnonzero(topology.part < LEFT_EYE), eyes).on_eyes(skin, eyes)
    vertex_uv = np.zeros((len(source), 2))
    real = polygons >= 0
    vertex_uv[polygons[real]] = uv[uv_polygons[real]]

    rows, piece = _mouth(polygons, vertex_uv, np.linalg.norm(shapes["jawOpen"], axis=1))
    mouth, lower = source[rows], in_lower_jaw(piece) == 1
    anchors = _anchors(skin, topology.part)
    centers = np.stack([mouth[~lower].mean(axis=0), mouth[lower].mean(axis=0)])
    moved = topology.place(ict.identity.astype(np.float64))[:, anchors]
    follow = np.stack(
        [
            _followed(skin[anchors], moved, mouth[block], identity[:, rows[block]].astype(np.float64), center)
            for block, center in ((~lower, centers[0]), (lower, centers[1]))
        ]
    )
    teeth = piece >= LOWER_TEETH
    jaw = np.stack([_fit(mouth[teeth], shapes[name][rows[teeth]], centers[1]) for name in MOVED_SHAPES])
    lids, lid_faces, lid_piece, lid_root = _lids(source, polygons, vertex_uv, marks)
    return Parts(
        skin=skin, shade=_shade(skin, topology.faces), marks=marks, eyes=eyes, mouth=mouth,
        mouth_faces=_triangles(polygons, rows), mouth_piece=piece, anchors=anchors, follow=follow,
        centers=centers, jaw=jaw, lids=lids, lid_faces=lid_faces, lid_piece=lid_piece, lid_root=lid_root,
    )  # fmt: skip


def _shade(skin: FloatArray, faces: IntArray) -> FloatArray:
    """(V,) share of rays from each vertex that leave the head."""
    scene = EmbreeScene()
    TriangleMesh(scene, skin.astype(np.float32), faces.astype(np.int32))
    normals = vertex_normals(skin, faces)[0]
    rng = np.random.default_rng(0)
    free = np.zeros(len(skin))
    for _ in range(_RAYS):
        # a normal and a random unit vector: rays by the cosine of their angle
        away = rng.normal(size=skin.shape)
        away = normals + 0.98 * away / np.linalg.norm(away, axis=1, keepdims=True)
        away /= np.linalg.norm(away, axis=1, keepdims=True)
        hit = scene.run((skin + 0.3 * normals).astype(np.float32), away.astype(np.float32), output=1)
        free += (hit["primID"] < 0) | (hit["tfar"] > _FAR_MM)
    return free / _RAYS


def _triangles(polygons: IntArray, rows: IntArray) -> IntArray:
    """Triangles of the polygons whose corners are all among the source's vertices `rows`, renumbered."""
    number = np.full(int(polygons.max()) + 1, -1)
    number[rows] = np.arange(len(rows))
    real = np.where(polygons >= 0, number[np.maximum(polygons, 0)], 0)
    kept, corners = real[(real >= 0).all(axis=1)], polygons[(real >= 0).all(axis=1)]
    return np.concatenate([kept[:, :3], kept[corners[:, 3] >= 0][:, [0, 2, 3]]])


def _mouth(polygons: IntArray, uv: FloatArray, opening: FloatArray) -> tuple[IntArray, IntArray]:
    """The source's vertices in the mouth, and the piece of each, sorted by piece."""
    gums = np.arange(_GUMS.start, _GUMS.stop)
    u, v = uv[gums, 0] - 2.0, uv[gums, 1]
    # the islands of the tongue in the source's UVs: its back and its underside; a flap of the gum touches the first
    tongue = ((u > 0.48) & (v < 0.65) & ~((u > 0.9) & (v > 0.35))) | ((u < 0.27) & (v < 0.42))
    lower = opening[gums] > 2.0
    tongue &= lower
    edges = _triangles(polygons, gums)[:, [0, 1, 1, 2]].reshape(-1, 2)
    edges = edges[tongue[edges].all(axis=1)]
    label = connected_components(coo_matrix((np.ones(len(edges)), edges.T), (len(gums), len(gums))), directed=False)[1]
    tongue &= label == np.bincount(label[tongue]).argmax()
    pieces = [np.where(lower, np.where(tongue, TONGUE, LOWER_GUM), UPPER_GUM)]
    rows = [gums]
    for block, first in zip(_TEETH, (UPPER_TEETH, LOWER_TEETH)):
        teeth = np.arange(block.start, block.stop)
        faces = _triangles(polygons, teeth)
        edges = faces[:, [0, 1, 1, 2]].reshape(-1, 2)
        graph = coo_matrix((np.ones(len(edges)), edges.T), (len(teeth), len(teeth)))
        count, label = connected_components(graph, directed=False)
        if count != 16:
            raise SystemExit(f"the source has {count} teeth in a jaw where 16 are expected")
        rows.append(teeth)
        pieces.append(label + first)
    joined, piece = np.concatenate(rows), np.concatenate(pieces)
    order = np.argsort(piece, kind="stable")
    return joined[order], piece[order]


def _anchors(skin: FloatArray, part: IntArray) -> IntArray:
    """Template vertices around mouth, chin and the front of the jaw, evenly spread."""
    x, y, z = skin.T
    near = np.flatnonzero((part == SKIN) & (np.abs(x) < 48.0) & (y < -18.0) & (y > -92.0) & (z > 42.0))
    chosen = [int(near[np.argmax(skin[near, 2])])]
    distance = np.full(len(near), np.inf)
    while len(chosen) < _ANCHORS:
        distance = np.minimum(distance, np.linalg.norm(skin[near] - skin[chosen[-1]], axis=1))
        chosen.append(int(near[np.argmax(distance)]))
    return np.sort(np.array(chosen))


def _fit(points: FloatArray, moved: FloatArray, center: FloatArray) -> FloatArray:
    """The affine map (12,) about `center` that best gives the movements (N, 3) of points (N, 3)."""
    basis = np.column_stack([points - center, np.ones(len(points))])
    return np.linalg.lstsq(basis, moved, rcond=None)[0].T.ravel()


def _followed(
    anchors: FloatArray, moved: FloatArray, block: FloatArray, block_moved: FloatArray, center: FloatArray
) -> FloatArray:
    """(12, 3 A) movements of the anchors → affine map of a jaw, learnt from K modes.

    Args:
        anchors: (A, 3) at rest.
        moved: (K, A, 3) movements of the anchors by each mode.
        block: (N, 3) the jaw's parts at rest.
        block_moved: (K, N, 3) their movements.
    """
    prior = _similar(anchors, center)
    x = moved.reshape(len(moved), -1)
    y = np.stack([_fit(block, row, center) for row in block_moved])
    learnt = prior + _ridge(x, y - x @ prior.T)
    _report(x, y, block, center, prior)
    return learnt


def _similar(anchors: FloatArray, center: FloatArray) -> FloatArray:
    """(12, 3 A) movements of the anchors → the shift and the growth of the lips, as an affine map about `center`."""
    weight = np.exp(-np.square((anchors - _LIPS_MM) / _LIPS_REACH_MM).sum(axis=1))
    weight /= weight.sum()
    away = anchors - center
    middle = weight @ away
    growth = weight[:, None] * (away - middle) / (weight @ np.square(away - middle).sum(axis=1))
    table = np.zeros((3, 4, len(anchors), 3))
    for axis in range(3):
        table[axis, axis] += growth
        table[axis, 3, :, axis] += weight
        table[axis, 3] -= growth * middle[axis]
    return table.reshape(12, -1)


def _ridge(x: FloatArray, y: FloatArray) -> FloatArray:
    """(12, 3 A) ridge regression of K rows; in the dual form, which has as many equations as there are rows."""
    return np.linalg.solve(x @ x.T + _NOISE_MM**2 * np.eye(len(x)), y).T @ x


def _report(x: FloatArray, y: FloatArray, block: FloatArray, center: FloatArray, prior: FloatArray) -> None:
    """Print how far a jaw lies from its place, on modes that were held out."""
    spread = []
    for fold in range(5):
        out = np.arange(len(x)) % 5 == fold
        wrong = x[out] @ (prior + _ridge(x[~out], y[~out] - x[~out] @ prior.T)).T - y[out]
        spread += [np.square(affine(row, block, center)).sum(axis=1).mean() for row in wrong]
    plain = [np.square(affine(row, block, center)).sum(axis=1).mean() for row in x @ prior.T - y]
    real = [np.square(affine(row, block, center)).sum(axis=1).mean() for row in y]
    told = [float(np.sqrt(np.sum(values))) for values in (spread, plain, real)]
    print("jaw off by {:.2f} mm rms (held-out modes); lips alone {:.2f}; unmoved {:.2f}".format(*told))


def _lids(
    source: FloatArray, polygons: IntArray, uv: FloatArray, marks: FloatArray
) -> tuple[FloatArray, IntArray, IntArray, FloatArray]:
    """Vertices (L, 3), faces, pieces (L,) and roots (L, 3) of what the lids carry."""
    points, faces, pieces, roots = [], [], [], []
    first = 0
    rng = np.random.default_rng(31)

    def add(vertices: FloatArray, triangles: IntArray, piece: int, root: FloatArray) -> None:
        nonlocal first
        points.append(vertices)
        faces.append(triangles + first)
        pieces.append(np.full(len(vertices), piece))
        roots.append(root)
        first += len(vertices)

    drawn: dict[int, tuple[FloatArray, IntArray, FloatArray]] = {}
    for k, (start, count) in enumerate(_LASHES):
        if k >= 2:  # the right side is the left one, mirrored
            vertices, triangles, root = drawn[k - 2]
            flip = np.array([-1.0, 1.0, 1.0])
            add(vertices * flip, triangles[:, [0, 2, 1]], LASHES, root * flip)
            continue
        sheets = [_grid(source, uv, start + s * _SHEET) for s in range(3)]
        drawn[k] = _lashes(sheets, count, rng)
        add(*drawn[k][:2], LASHES, drawn[k][2])
    for block in _TEARS:
        rows = np.arange(block.start, block.stop)
        add(source[rows], _triangles(polygons, rows), TEAR_LINES, source[rows])
    vertices, triangles = _caruncle(marks[42])
    for flip, turned in ((np.array([1.0, 1.0, 1.0]), triangles), (np.array([-1.0, 1.0, 1.0]), triangles[:, [0, 2, 1]])):
        add(vertices * flip, turned, CARUNCLES, np.tile(marks[42] * flip, (len(vertices), 1)))
    return tuple(np.concatenate(values) for values in (points, faces, pieces, roots))  # type: ignore[return-value]


def _caruncle(corner: FloatArray) -> tuple[FloatArray, IntArray]:
    """A small knob (V, 3) in the inner corner of the left eye, and its faces. The source has none."""
    polar = np.pi * np.arange(1, _CARUNCLE_RINGS + 1) / (_CARUNCLE_RINGS + 1)
    turn = 2.0 * np.pi * np.arange(_CARUNCLE_SEGMENTS) / _CARUNCLE_SEGMENTS
    rings = np.stack(
        [
            np.outer(np.sin(polar), np.cos(turn)),
            np.outer(np.sin(polar), np.sin(turn)),
            np.outer(np.cos(polar), turn * 0 + 1),
        ],
        axis=-1,
    )
    unit = np.concatenate([[[0.0, 0.0, 1.0]], rings.reshape(-1, 3), [[0.0, 0.0, -1.0]]])
    k, n = np.arange(_CARUNCLE_SEGMENTS), _CARUNCLE_SEGMENTS
    after, last = (k + 1) % n, 1 + (_CARUNCLE_RINGS - 1) * n
    faces = [
        np.stack([0 * k, 1 + k, 1 + after], axis=1),
        np.stack([last + after, last + k, 0 * k + len(unit) - 1], axis=1),
    ]
    for ring in range(_CARUNCLE_RINGS - 1):
        a, b = 1 + ring * n, 1 + (ring + 1) * n
        faces += [np.stack([a + k, b + k, b + after], axis=1), np.stack([a + k, b + after, a + after], axis=1)]
    return corner + [2.1, 0.0, -1.6] + unit * _CARUNCLE_MM, np.concatenate(faces)


def _grid(source: FloatArray, uv: FloatArray, first: int) -> FloatArray:
    """A sheet of lashes as a grid (6, 19, 3) from root to tip, in the order of its UVs."""
    rows = np.arange(first, first + _SHEET)
    order = np.lexsort([uv[rows, 0].round(3), -uv[rows, 1].round(3)])
    return source[rows[order]].reshape(_ROWS, _COLUMNS, 3)


def _lashes(sheets: list[FloatArray], count: int, rng: np.random.Generator) -> tuple[FloatArray, IntArray, FloatArray]:
    """Single lashes on three sheets: thin strips that end in a point. Vertices, faces and roots."""
    points, faces, roots = [], [], []
    per = len(_KEPT_AT) * 2 - 1
    for k in range(count):
        sheet = sheets[k % 3]
        column = np.clip((k + 0.5 + rng.uniform(-0.4, 0.4)) / count, 0.02, 0.98) * (_COLUMNS - 1)
        ends = min(column, _COLUMNS - 1 - column) / (_COLUMNS - 1)
        length = rng.uniform(*_LASH_LENGTH) * min(1.0, 0.55 + 2.5 * ends) * (_ROWS - 1)
        lean = rng.normal(0.0, 0.35)
        middle = np.stack([_at(sheet, t * length, column + lean * t * t) for t in _KEPT_AT])
        side = _at(sheet, 0.5, min(column + 0.3, _COLUMNS - 1.0)) - _at(sheet, 0.5, max(column - 0.3, 0.0))
        side /= np.linalg.norm(side)
        width = 0.5 * _LASH_WIDTH_MM * np.array([1.0, 0.85, 0.5])[:, None]
        pairs = np.stack([middle[:-1] - width * side, middle[:-1] + width * side], axis=1).reshape(-1, 3)
        points.append(np.concatenate([pairs, middle[-1:]]))
        start = k * per
        faces += [
            (start + a, start + b, start + c) for a, b, c in ((0, 1, 3), (0, 3, 2), (2, 3, 5), (2, 5, 4), (4, 5, 6))
        ]
        roots.append(np.repeat(middle[:1], per, axis=0))
    return np.concatenate(points), np.array(faces), np.concatenate(roots)


def _at(sheet: FloatArray, row: float, column: float) -> FloatArray:
    column = float(np.clip(column, 0.0, _COLUMNS - 1.0))
    r, c = min(int(row), _ROWS - 2), min(int(column), _COLUMNS - 2)
    a, b = row - r, column - c
    upper = sheet[r, c] * (1 - b) + sheet[r, c + 1] * b
    below = sheet[r + 1, c] * (1 - b) + sheet[r + 1, c + 1] * b
    place: FloatArray = upper * (1 - a) + below * a
    return place


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    made = make_parts(Path(sys.argv[1]))
    origin = "ICT-FaceKit Light, USC Institute for Creative Technologies, MIT licence, github.com/ICT-VGL/ICT-FaceKit"
    save_parts(made, Path(sys.argv[2]), {"source": origin, "licence": "MIT, see NOTICE"})
    size = Path(sys.argv[2]).stat().st_size
    print(f"{len(made.mouth)} vertices in the mouth, {len(made.lids)} at the lids, {size} bytes")
