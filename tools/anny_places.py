"""Compute the correspondence from ICT-FaceKit to Anny, the asset of `imhead.sources.anny_to_ict`, and draw it.

    python tools/anny_places.py ICT_FACEKIT src/imhead/assets/anny_to_ict.safetensors picture.png

The two mean heads are registered: landmarks first, then non-rigidly, ICT's skin onto Anny's. The squared Laplacian of
the displacement is penalised with a weight that decreases from stage to stage.
"""

from __future__ import annotations

import sys
from pathlib import Path

import igl
import numpy as np
import scipy.sparse as sp
import scipy.sparse.linalg as sla
from PIL import Image
from safetensors.numpy import save
from scipy.interpolate import RBFInterpolator
from scipy.spatial import cKDTree

from imhead.conventions import ARKIT_NAMES
from imhead.io.atomic import write_atomically
from imhead.rendering.figures import contact_sheet
from imhead.rendering.shading import shade
from imhead.sources.anny import AnnyModel
from imhead.sources.anny_arrays import open_anny
from imhead.sources.anny_people import draw_person
from imhead.sources.anny_to_ict import AnnyToIct, read_anny_to_ict, topology_digest
from imhead.sources.ict import IctModel, boundary_loops, read_ict
from imhead.surfaces.normals import vertex_normals
from imhead.surfaces.properties import face_cross
from imhead.surfaces.sampling import draw_points
from imhead.types import FloatArray, IntArray, Mesh

# name, place on ICT's and on Anny's mean head: mm, head frame, picked in pictures of the left side and the midline
LANDMARKS = (
    ("helix top", (88.2, 28.8, -11.8), (86.1, 32.6, -10.6)),
    ("helix upper back", (90.9, 23.8, -21.2), (86.8, 26.4, -21.6)),
    ("helix back", (89.1, 15.0, -26.0), (88.3, 12.3, -25.5)),
    ("helix lower back", (88.5, 0.0, -23.2), (86.8, 0.2, -22.5)),
    ("lobe back", (84.5, -13.0, -17.2), (81.5, -13.4, -13.3)),
    ("lobe bottom", (74.6, -25.3, 1.2), (78.6, -22.2, -2.5)),
    ("lobe front", (70.9, -22.4, 7.6), (74.2, -19.5, 6.1)),
    ("helix front", (81.1, 25.2, -1.6), (78.6, 27.4, -1.1)),
    ("concha top", (74.8, 12.6, -8.1), (77.9, 10.7, -9.8)),
    ("concha back", (82.8, 3.8, -15.1), (81.2, 2.4, -15.6)),
    ("concha bottom", (70.7, -9.0, 0.3), (74.1, -7.4, -0.3)),
    ("tragus", (74.2, 0.0, 1.2), (75.3, 0.6, -1.0)),
    ("notch", (70.9, -7.6, 3.6), (75.5, -7.3, 1.9)),
    ("fossa top", (85.8, 25.2, -10.9), (83.9, 25.7, -11.3)),
    ("fossa front", (76.7, 17.8, -3.2), (81.0, 20.6, -2.4)),
    ("fossa back", (88.7, 15.9, -22.4), (85.4, 16.2, -19.3)),
    ("nostril wing", (18.4, -8.4, 101.0), (18.9, -11.1, 94.7)),
    ("nostril rim", (10.6, -8.8, 111.3), (11.2, -12.0, 108.7)),
    ("subnasale", (0.0, -16.7, 106.5), (0.0, -18.7, 106.5)),
    ("philtrum", (0.0, -29.2, 107.6), (0.0, -30.6, 110.4)),
    ("below the lower lip", (0.0, -52.3, 102.5), (0.0, -55.9, 101.8)),
    ("nose tip", (0.0, -5.0, 120.9), (0.0, -7.0, 116.8)),
    ("nasion", (0.0, 36.0, 96.4), (0.0, 31.7, 95.3)),
    ("glabella", (0.0, 51.0, 97.7), (0.0, 50.3, 97.6)),
    ("pogonion", (0.0, -67.0, 100.5), (0.0, -65.6, 100.4)),
    ("menton", (0.0, -81.5, 94.5), (0.0, -81.4, 94.5)),
)
JAW_OPEN = ARKIT_NAMES.index("jawOpen")
MIRROR = np.array([-1.0, 1.0, 1.0])
NORMAL_MM, JAW_MM = 12.0, 0.3  # distances equivalent to a unit of normal, and to 1 mm of movement with the jaw
SCHEDULE = ((3000.0, 8, 50.0, 0.3, 25.0), (600.0, 8, 40.0, 0.2, 15.0), (100.0, 8, 20.0, 0.1, 10.0),
            (20.0, 8, 10.0, 0.1, 8.0), (4.0, 6, 5.0, 0.1, 6.0))  # fmt: skip
"""Stiffness, iterations, weight of a landmark, share of the tangential residual, largest distance of a match in mm."""


class Surface:
    """A surface as a dense point cloud, for nearest-neighbour search by position and traits.

    A difference in `traits` (V, k), in mm, counts like a distance.
    """

    def __init__(self, vertices: FloatArray, faces: IntArray, traits: FloatArray, count: int = 400_000) -> None:
        self.vertices, self.faces = vertices, faces
        rng = np.random.default_rng(0)
        corner = vertices[faces]
        area = np.linalg.norm(face_cross(vertices, faces), axis=1)
        # the square root favours small faces, which carry the detail
        self.face = rng.choice(len(faces), size=count, p=np.sqrt(area) / np.sqrt(area).sum())
        share = rng.dirichlet([1.0, 1.0, 1.0], size=count)
        self.points = np.einsum("nk,nkc->nc", share, corner[self.face])
        self.traits = np.einsum("nk,nkc->nc", share, traits[faces[self.face]])
        self._tree = cKDTree(np.c_[self.points, self.traits])

    def nearest(self, points: FloatArray, traits: FloatArray, count: int = 1) -> IntArray:
        """Indices (N,) or (N, count) of the nearest points of the cloud."""
        return self._tree.query(np.c_[points, traits], k=count)[1]

    def places(self, points: FloatArray, traits: FloatArray) -> tuple[IntArray, FloatArray]:
        """Corners (N, 3) and barycentric coordinates (N, 3) of the nearest place to each point."""
        best = np.full(len(points), np.inf)
        corners, shares = np.zeros((len(points), 3), np.int64), np.zeros((len(points), 3))
        for row in self.nearest(points, traits, 12).T:
            face = self.faces[self.face[row]]
            share = _closest_in_triangle(points, self.vertices[face])
            away = np.linalg.norm(np.einsum("nk,nkc->nc", share, self.vertices[face]) - points, axis=1)
            away = np.hypot(away, np.linalg.norm(self.traits[row] - traits, axis=1))
            better = away < best
            best[better], corners[better], shares[better] = away[better], face[better], share[better]
        return corners, shares


def traits(vertices: FloatArray, faces: IntArray, jaw: FloatArray) -> FloatArray:
    """(V, 4) scaled normals, and the movement with the jaw, which distinguishes the lips."""
    return np.c_[NORMAL_MM * vertex_normals(vertices, faces)[0], JAW_MM * np.linalg.norm(jaw, axis=1)]


def _closest_in_triangle(points: FloatArray, corner: FloatArray) -> FloatArray:
    share = np.zeros((len(points), 3))
    for k, (point, triangle) in enumerate(zip(points, corner)):
        _, _, closest = igl.point_mesh_squared_distance(point[None], triangle, np.array([[0, 1, 2]]))
        share[k] = igl.barycentric_coordinates(closest, *(np.ascontiguousarray(triangle[i : i + 1]) for i in range(3)))
    share = np.clip(share, 0.0, 1.0)
    return share / share.sum(axis=1, keepdims=True)


def outline(vertices: FloatArray, loop: IntArray, count: int = 13) -> FloatArray:
    """(2 · count - 2, 3) evenly spaced points along the upper and the lower edge of an opening."""
    ring = np.roll(loop, -int(vertices[loop, 0].argmin()))
    turn = int(vertices[ring, 0].argmax())
    edges = [vertices[ring[: turn + 1]], vertices[np.r_[ring[turn:], ring[:1]]][::-1]]
    edges.sort(key=lambda edge: -edge[:, 1].mean())
    rows = []
    for edge in edges:
        arc = np.r_[0.0, np.cumsum(np.linalg.norm(np.diff(edge, axis=0), axis=1))]
        rows.append(np.stack([np.interp(np.linspace(0, arc[-1], count), arc, edge[:, k]) for k in range(3)], axis=1))
    return np.concatenate([rows[0], rows[1][1:-1]])


def landmarks(ict: IctModel, anny: AnnyModel) -> tuple[FloatArray, FloatArray]:
    """Landmarks of both mean heads: the picked ones, and the outlines of eyes and mouth."""
    pairs = []
    for vertices, faces, column in ((ict.mean, ict.skin_open_faces, 1), (anny.mean, anny.skin_open_faces, 2)):
        vertices = vertices.astype(np.float64)
        loops = sorted(boundary_loops(faces), key=lambda loop: vertices[loop, 1].mean())[1:]  # without the bust
        middle = {round(float(vertices[loop, 0].mean()) / 20.0): loop for loop in loops}
        picked = np.array([row[column] for row in LANDMARKS])
        eye = outline(vertices, middle[2], 9)
        both = np.concatenate([picked[np.abs(picked[:, 0]) > 1.0], eye])
        points = [picked, both * MIRROR, eye, outline(vertices, middle[0], 13)]
        pairs.append(np.concatenate(points))
    return pairs[0], pairs[1]


def register(ict: IctModel, anny: AnnyModel) -> FloatArray:
    """ICT's vertices (V, 3), registered to Anny's mean head; the mouth socket follows the lips, eyeballs stay."""
    start = ict.mean.astype(np.float64)
    used = np.unique(ict.skin_open_faces)
    row = np.full(len(start), -1)
    row[used] = np.arange(len(used))
    faces, base, mirror = row[ict.skin_open_faces], start[used], row[ict.mirror[used]]
    surface = Surface(anny.mean.astype(np.float64), anny.skin_open_faces, _anny_traits(anny))
    here, there = landmarks(ict, anny)
    _, face, closest = igl.point_mesh_squared_distance(here, base, faces)
    share = igl.barycentric_coordinates(closest, *(np.ascontiguousarray(base[faces[face, k]]) for k in range(3)))
    pick = sp.csr_matrix(
        (share.ravel(), (np.repeat(np.arange(len(here)), 3), faces[face].ravel())), (len(here), len(base))
    )
    smooth, area = _stiffness(base, faces)
    jaw = ict.expressions[JAW_OPEN][used]
    rim = np.zeros(len(base), dtype=bool)
    rim[np.concatenate(boundary_loops(faces))] = True
    rim |= np.isin(used, nostrils(ict))
    laid = base + RBFInterpolator(here, there - here, kernel="thin_plate_spline", smoothing=1e-3)(base)
    for stiff, rounds, landmark, sideways, reach in SCHEDULE:
        for _ in range(rounds):
            own = traits(laid, faces, jaw)
            match = surface.nearest(laid, own)
            gap, facing = surface.points[match] - laid, surface.traits[match, :3] / NORMAL_MM
            facing /= np.linalg.norm(facing, axis=1, keepdims=True)
            kept = ((own[:, :3] * facing).sum(axis=1) > 0.5 * NORMAL_MM) & (np.linalg.norm(gap, axis=1) < reach) & ~rim
            straight = facing * (gap * facing).sum(axis=1, keepdims=True)
            wanted = laid + straight + sideways * (gap - straight) - base
            matrix = stiff * smooth + sp.diags(area * kept) + landmark * (pick.T @ pick)
            right = (area * kept)[:, None] * wanted + landmark * (pick.T @ (there - pick @ base))
            moved = sla.splu(matrix.tocsc()).solve(right)
            laid = base + 0.5 * (moved + moved[mirror] * MIRROR)
    result = start.copy()
    result[used] = laid
    return _across_nostrils(ict, _socket_follows(ict, start, result, used))


def _anny_traits(anny: AnnyModel) -> FloatArray:
    jaw = anny.posed(anny.mean, np.eye(len(ARKIT_NAMES))[JAW_OPEN]) - anny.mean
    return traits(anny.mean, anny.skin_faces, jaw)


def _stiffness(vertices: FloatArray, faces: IntArray) -> tuple[sp.csc_matrix, FloatArray]:
    area = igl.massmatrix(vertices, faces, igl.MASSMATRIX_TYPE_VORONOI).diagonal()
    laplace = igl.cotmatrix(vertices, faces)
    return (laplace.T @ sp.diags(1.0 / area) @ laplace).tocsc(), area


def _socket_follows(ict: IctModel, start: FloatArray, laid: FloatArray, fixed: IntArray) -> FloatArray:
    # the displacement of the skin is extended smoothly into the mouth
    faces = ict.skin_faces[(ict.skin_faces < len(ict.mean) - 3).all(axis=1)]
    smooth, _ = _stiffness(start[: faces.max() + 1], faces)
    free = np.setdiff1d(np.unique(faces), fixed)
    moved = laid - start
    right = -(smooth[free][:, fixed] @ moved[fixed])
    laid[free] += sla.splu(smooth[free][:, free].tocsc()).solve(right)
    return laid


def nostrils(ict: IctModel) -> IntArray:
    """ICT's vertices inside the nostrils: near the nose, with an ambient occlusion above 0.6."""
    mean = ict.mean.astype(np.float64)
    skin = np.unique(ict.skin_open_faces)
    x, y, z = mean[skin].T
    near = skin[(np.abs(x) < 20.0) & (y > -22.0) & (y < 8.0) & (z > 80.0)]
    outward = vertex_normals(mean, ict.skin_faces)[0][near]
    return near[igl.ambient_occlusion(mean, ict.skin_faces, mean[near] + 0.05 * outward, outward, 500) > 0.6]


def _across_nostrils(ict: IctModel, laid: FloatArray) -> FloatArray:
    # Anny's nostrils are shallow pits, ICT's are tunnels: their vertices are spread across the openings
    inside = nostrils(ict)
    ends = ict.skin_faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    links = sp.csr_matrix((np.ones(len(ends)), ends.T), shape=(len(laid), len(laid)))
    links = ((links + links.T) > 0).astype(float)
    laplace = (sp.diags(np.asarray(links.sum(axis=1)).ravel()) - links).tocsr()[inside]
    outside = np.setdiff1d(np.arange(len(laid)), inside)
    laid[inside] = sla.splu(laplace[:, inside].tocsc()).solve(-(laplace[:, outside] @ laid[outside]))
    return laid


def find_places(ict: IctModel, anny: AnnyModel) -> AnnyToIct:
    """The point on Anny for each vertex of ICT: skin to skin, mouth socket to mouth cavity, eyeball to eyeball."""
    laid, mean = register(ict, anny), anny.mean.astype(np.float64)
    corners, shares = np.zeros((len(laid), 3), np.int64), np.zeros((len(laid), 3))
    skin, solid = np.unique(ict.skin_open_faces), np.unique(ict.skin_faces)
    caps = solid[solid >= len(laid) - 3]
    socket = np.setdiff1d(solid, np.r_[skin, caps])
    opened = {tuple(face) for face in anny.skin_open_faces.tolist()}
    anny_caps = _cap_middles(anny)
    inside = np.array([tuple(f) not in opened and not set(f) & set(anny_caps) for f in anny.skin_faces.tolist()])
    own, theirs = traits(laid, ict.skin_faces, ict.expressions[JAW_OPEN]), _anny_traits(anny)
    for rows, faces in ((skin, anny.skin_open_faces), (socket, anny.skin_faces[inside])):
        corners[rows], shares[rows] = Surface(mean, faces, theirs).places(laid[rows], own[rows])
    for side in (1, -1):
        mine = _ball(ict.mean, ict.eye_faces, side)
        ball = anny.eye_faces[side * anny.mean[anny.eye_faces[:, 0], 0] > 0]
        center, other = ict.mean[mine].mean(axis=0), mean[np.unique(ball)].mean(axis=0)
        spokes = ict.mean[mine] - center
        grow = np.linalg.norm(mean[np.unique(ball)] - other, axis=1).mean() / np.linalg.norm(spokes, axis=1).mean()
        surface = Surface(mean, ball, np.zeros((len(mean), 0)), 100_000)
        corners[mine], shares[mine] = surface.places(other + grow * spokes, np.zeros((len(mine), 0)))
    for cap in caps:
        near = anny_caps[int(np.linalg.norm(mean[anny_caps] - ict.mean[cap], axis=1).argmin())]
        corners[cap], shares[cap] = anny.skin_faces[(anny.skin_faces == near).any(axis=1)][0], 0.0
        shares[cap, corners[cap] == near] = 1.0
    return AnnyToIct(corners, shares.astype(np.float32))


def _cap_middles(anny: AnnyModel) -> list[int]:
    # the centres of the caps that close the three openings belong to no face of the open skin or the mouth
    loops = [loop for loop in boundary_loops(anny.skin_open_faces) if np.abs(anny.mean[loop, 0].mean()) > 15.0]
    loops.append(min(boundary_loops(anny.skin_open_faces), key=lambda loop: anny.mean[loop, 1].mean()))
    middles = []
    for loop in loops:
        around = set(loop.tolist())
        faces = [f for f in anny.skin_faces.tolist() if len(around & set(f)) == 2]
        apart = [next(v for v in f if v not in around) for f in faces]
        middles.append(max(set(apart), key=apart.count))
    return middles


def _ball(vertices: FloatArray, faces: IntArray, side: int) -> IntArray:
    used = np.unique(faces)
    return used[side * vertices[used, 0] > 0]


def measure(ict: IctModel, anny: AnnyModel, places: AnnyToIct, count: int = 40) -> None:
    """Print the distances from ICT's faces on heads of Anny to Anny's surface."""
    rng = np.random.default_rng(0)
    away = []
    for seed in range(count):
        head = anny.neutral(draw_person(anny, seed)).astype(np.float64)
        carried = places.carried(head).astype(np.float64)
        points, _, _ = draw_points(carried, ict.skin_open_faces, 4000, rng)
        away.append(np.sqrt(igl.point_mesh_squared_distance(points, head, anny.skin_faces)[0]))
    values = np.concatenate(away)
    print(
        f"ICT's faces to Anny's surface, {count} people: mean {values.mean():.3f} mm, median "
        f"{np.median(values):.3f}, 99 % {np.quantile(values, 0.99):.3f}, largest {values.max():.2f}"
    )


def picture(ict: IctModel, anny: AnnyModel, places: AnnyToIct) -> Image.Image:
    """Four people of Anny, and below them the same people on ICT's topology."""
    ours = np.concatenate([ict.skin_faces, ict.eye_faces])
    theirs = np.concatenate([anny.skin_faces, anny.eye_faces])
    cells = []
    for seed in (1, 5, 8, 12):
        head = anny.neutral(draw_person(anny, seed))
        for mesh in (Mesh(head, theirs), Mesh(places.carried(head), ours)):
            eyes = head[np.unique(anny.eye_faces)].mean(axis=0)
            ear = head[np.abs(head[:, 1] - eyes[1] + 20.0) < 10.0]
            ear = ear[ear[:, 0].argmax()]
            cells.append([
                shade(mesh, "three_quarter", 330, center_mm=(0.0, -30.0, 0.0), half_mm=175.0),
                shade(mesh, "front", 330, center_mm=(0.0, eyes[1] - 30.0, 60.0), half_mm=65.0),
                shade(mesh, "profile", 330, center_mm=(75.0, ear[1] + 8.0, ear[2]), half_mm=45.0),
            ])  # fmt: skip
    rows = [[view for cell in cells[side::2] for view in cell] for side in (0, 1)]
    return contact_sheet(rows[0][:6] + rows[1][:6] + rows[0][6:] + rows[1][6:], columns=6)


def main() -> None:
    """Read the two sources, write the asset and the picture."""
    ict = read_ict(Path(sys.argv[1]))
    anny = open_anny(print)
    places = find_places(ict, anny)
    tensors = {
        "corners": places.corners.astype(np.int32),
        "shares": np.ascontiguousarray(places.shares[:, :2]),
        "digest": np.frombuffer(topology_digest(anny).encode(), dtype=np.uint8),
    }
    write_atomically(Path(sys.argv[2]), save(tensors))
    places = read_anny_to_ict(anny)
    measure(ict, anny, places)
    picture(ict, anny, places).save(sys.argv[3])


if __name__ == "__main__":
    main()
