"""ICT-FaceKit Light as a source of registered heads, read from a clone or from a packed file.

ICT-FaceKit (USC Institute for Creative Technologies, MIT licence) is a linear model of light-stage scans: a generic
head, 100 identity modes and ARKit-style expression shapes, in centimetres. Only the parts that a scanner sees are kept:
the skin with its mouth socket, and the two eyeballs. Each is made a closed surface; the head is their union.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from scipy.spatial import cKDTree

from imhead.conventions import ARKIT_NAMES, CANONICAL_JAW_OPEN
from imhead.errors import InputError
from imhead.types import FloatArray, IntArray

IDENTITY_MODES = 100
_CM = 10.0
_ORIGIN_MM = np.array([0.0, 6.0, 10.0])  # midway between the ears, in ICT's frame
KEPT_VERTICES = np.r_[0:13294, 21451:22221, 23021:23791]
"""Skin, and the outer body of each eyeball; its inner body, the iris, is hidden from a scanner."""
_SKIN_POLYGONS = slice(0, 13226)
_FACE_POLYGONS = slice(0, 11144)
_EYE_POLYGONS = slice(21496, 24692)
_CLONE_FILE = "generic_neutral_mesh.obj"


@dataclass(frozen=True, eq=False)
class IctModel:
    """The linear model, cut to skin, mouth socket and eyeballs. Vertices are in the head frame, mm."""

    mean: FloatArray
    """(V, 3) float32 generic head: lips closed, eyes open."""
    identity: FloatArray
    """(100, V, 3) float32 offsets for one standard deviation of each mode; zero for modes that were not read."""
    expressions: FloatArray
    """(52, V, 3) float32 offsets at weight 1, in ARKit order; zero where ICT has no such shape (tongueOut)."""
    skin_faces: IntArray
    """(F, 3) skin and mouth socket, closed by fans at the bust's cut and the lid openings."""
    skin_open_faces: IntArray
    """(F, 3) `skin_faces` without the caps and the mouth socket."""
    eye_faces: IntArray
    """(F, 3) the outer bodies of both eyeballs, closed surfaces."""
    mirror: IntArray
    """(V,) index of each vertex's mirror vertex."""

    @property
    def canonical_offset(self) -> FloatArray:
        """(V, 3) from neutral to the canonical pose: lips apart."""
        return CANONICAL_JAW_OPEN * self.expressions[ARKIT_NAMES.index("jawOpen")]

    def identity_offsets(self, coefficients: FloatArray) -> FloatArray:
        """Offsets (V, 3) from the mean head, mm, for coefficients (100,) in standard deviations."""
        flat = self.identity.reshape(len(self.identity), -1)
        return (coefficients.astype(np.float32) @ flat).reshape(-1, 3)

    def expression_offsets(self, weights: FloatArray) -> FloatArray:
        """Offsets (V, 3) from the neutral head, mm, for ARKit weights (52,)."""
        active = np.flatnonzero(weights)
        return np.einsum("k,kvc->vc", weights[active].astype(np.float32), self.expressions[active])

    def mirrored(self, offsets: FloatArray) -> FloatArray:
        """The offsets (V, 3) of the mirrored head."""
        return offsets[self.mirror] * np.array([-1.0, 1.0, 1.0], dtype=np.float32)


def read_ict(path: Path, *, modes: int = IDENTITY_MODES, expressions: Sequence[str] | None = None) -> IctModel:
    """Read the packed `.npz`, or a clone of ICT-FaceKit (its root or its `FaceXModel` folder).

    Args:
        modes: number of identity modes to read; the others stay zero.
        expressions: names of ICT's shapes to read from a clone; by default all that map to ARKit.

    Raises:
        InputError: the path is neither, or a file is missing.
    """
    if path.is_file() and path.suffix == ".npz":
        return _read_packed(path, modes)
    for folder in (path, path / "FaceXModel"):
        if (folder / _CLONE_FILE).is_file():
            return _read_clone(folder, modes, expressions)
    raise InputError(
        f"{path}: not an ICT-FaceKit source; give its packed .npz, or the folder of a clone that holds FaceXModel"
    )


def _arkit_index(ict_name: str) -> int | None:
    stem, _, side = ict_name.partition("_")
    name = stem + {"L": "Left", "R": "Right", "": ""}.get(side, side)
    if name in ARKIT_NAMES:
        return ARKIT_NAMES.index(name)
    return ARKIT_NAMES.index(stem) if stem in ("browInnerUp", "cheekPuff") else None


def _read_packed(path: Path, modes: int) -> IctModel:
    try:
        with np.load(path, allow_pickle=False) as data:
            names = [str(n) for n in data["expression_names"]]
            shapes = data["expressions"].astype(np.float32)
            return _assemble(
                data["vertices"].astype(np.float32),
                data["identity"][:modes].astype(np.float32),
                {n: shapes[k] for k, n in enumerate(names)},
                data["polygons"],
            )
    except (ValueError, KeyError, OSError, EOFError, BadZipFile, zlib.error) as error:
        raise InputError(f"{path}: not a packed ICT-FaceKit file ({error}); fetch or pack it again") from error


def _read_clone(folder: Path, modes: int, expressions: Sequence[str] | None) -> IctModel:
    vertices, polygons = _read_obj(folder / _CLONE_FILE, with_polygons=True)
    identity = np.stack([_read_obj(folder / f"identity{k:03d}.obj")[0] - vertices for k in range(modes)])
    if expressions is None:
        skip = ("identity", "generic_neutral")
        expressions = sorted(p.stem for p in folder.glob("*.obj") if not p.stem.startswith(skip))
    wanted = [name for name in expressions if _arkit_index(name) is not None]
    return _assemble(vertices, identity, {n: _read_obj(folder / f"{n}.obj")[0] - vertices for n in wanted}, polygons)


def _read_obj(path: Path, with_polygons: bool = False) -> tuple[FloatArray, IntArray]:
    # no mesh library: it would merge or reorder vertices, whose order is the registration
    if not path.is_file():
        raise InputError(f"{path}: is missing from the clone of ICT-FaceKit; clone it again")
    vertices: list[list[float]] = []
    polygons: list[list[int]] = []
    with path.open(encoding="ascii") as lines:
        for line in lines:
            if line.startswith("v "):
                vertices.append([float(t) for t in line.split()[1:4]])
            elif with_polygons and line.startswith("f "):
                corner = [int(t.split("/")[0]) - 1 for t in line.split()[1:]]
                polygons.append(corner if len(corner) == 4 else [*corner, -1])
    return np.array(vertices, dtype=np.float32), np.array(polygons, dtype=np.int64).reshape(-1, 4)


def _triangles(polygons: IntArray) -> IntArray:
    quads = polygons[polygons[:, 3] >= 0]
    return np.concatenate([polygons[:, :3], quads[:, [0, 2, 3]]]).astype(np.int64)


def _assemble(
    vertices: FloatArray, identity: FloatArray, shapes: dict[str, FloatArray], polygons: IntArray
) -> IctModel:
    keep = KEPT_VERTICES
    if len(vertices) <= keep.max() or len(polygons) <= _EYE_POLYGONS.stop - 1:
        raise InputError(f"not ICT-FaceKit Light: {len(vertices)} vertices where 26719 are expected")
    renumber = np.full(len(vertices), -1, dtype=np.int64)
    renumber[keep] = np.arange(len(keep))
    mean = vertices[keep] * np.float32(_CM) - _ORIGIN_MM.astype(np.float32)
    modes = np.zeros((IDENTITY_MODES, len(keep), 3), dtype=np.float32)
    modes[: len(identity)] = identity[:, keep] * np.float32(_CM)
    expressions = np.zeros((len(ARKIT_NAMES), len(keep), 3), dtype=np.float32)
    for name, shape in shapes.items():
        index = _arkit_index(name)
        if index is not None:
            expressions[index] += shape[keep] * np.float32(_CM)

    skin = renumber[_triangles(polygons[_SKIN_POLYGONS])]
    eyes = renumber[_triangles(polygons[_EYE_POLYGONS])]
    eyes = eyes[(eyes >= 0).all(axis=1)]
    loops = boundary_loops(skin)
    # a fan closes each loop; its centre is a new vertex, the mean of the loop
    centers = [loop.mean(axis=0) for loop in (mean[loop] for loop in loops)]
    caps = [_fan(loop, len(mean) + k) for k, loop in enumerate(loops)]
    extended = np.concatenate([mean, np.stack(centers).astype(np.float32)])

    def extend(fields: FloatArray) -> FloatArray:
        extra = np.stack([fields[:, loop].mean(axis=1) for loop in loops], axis=1)
        return np.concatenate([fields, extra], axis=1)

    _, mirror = cKDTree(extended).query(extended * [-1.0, 1.0, 1.0])
    return IctModel(
        mean=extended,
        identity=extend(modes),
        expressions=extend(expressions),
        skin_faces=np.concatenate([skin, *caps]),
        skin_open_faces=renumber[_triangles(polygons[_FACE_POLYGONS])],
        eye_faces=eyes,
        mirror=mirror.astype(np.int64),
    )


def boundary_loops(faces: IntArray) -> list[IntArray]:
    """The boundary loops of a mesh, as vertex indices in the direction of its faces (F, 3)."""
    edges = faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    twins = set(map(tuple, edges[:, ::-1].tolist()))
    following = {a: b for a, b in edges.tolist() if (a, b) not in twins}
    loops: list[IntArray] = []
    while following:
        start = next(iter(following))
        chain = [start]
        step = following.pop(start)
        while step != start:
            chain.append(step)
            step = following.pop(step)
        loops.append(np.array(chain, dtype=np.int64))
    return loops


def _fan(loop: IntArray, center: int) -> IntArray:
    # the loop follows the direction of its faces, so the cap has the opposite direction
    return np.stack([np.roll(loop, -1), loop, np.full(len(loop), center)], axis=1)
