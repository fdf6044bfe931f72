"""Frozen values that flow from a scan to a head to a mesh. Their arrays are read-only copies of those given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from imhead.errors import InputError

if TYPE_CHECKING:
    import trimesh

FloatArray = NDArray[np.floating[Any]]
IntArray = NDArray[np.integer[Any]]
BoolArray = NDArray[np.bool_]
DistanceField = Callable[[FloatArray], FloatArray]
"""Points (N, 3) in mm → signed distances (N,) in mm, negative inside."""


_MOST_LATTICES = 6
_FARTHEST_NODE_MM = 500.0
_LARGEST_VALUE_MM = 50.0


def _frozen(array: Any, dtype: Any, shape: tuple[int | None, ...], name: str) -> NDArray[Any]:
    value = np.array(array, dtype=dtype)
    if value.ndim != len(shape) or any(want is not None and got != want for got, want in zip(value.shape, shape)):
        want = "(" + ", ".join("n" if k is None else str(k) for k in shape) + ")"
        raise InputError(f"{name} has shape {value.shape}; expected {want}")
    if np.issubdtype(value.dtype, np.floating) and not np.isfinite(value).all():
        raise InputError(f"{name} holds NaN or infinite numbers")
    value.setflags(write=False)
    return value


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}".replace(",", " ")


def _extent(points: FloatArray) -> str:
    """The sides of the bounding box, as printed in a repr."""
    return "extent " + " × ".join(f"{side:.4g}" for side in np.ptp(points, axis=0)) if len(points) else "empty"


@dataclass(frozen=True, eq=False)
class Mesh:
    """A triangle mesh, head frame and mm unless the owner says otherwise.

    >>> imhead.Mesh([[0, 0, 0], [1, 0, 0], [0, 1, 0]], [[0, 1, 2]])
    Mesh(3 vertices, 1 faces, extent 1 × 1 × 0)
    """

    vertices: FloatArray
    """(V, 3) float64."""
    faces: IntArray
    """(F, 3) int64, counter-clockwise seen from outside."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "vertices", _frozen(self.vertices, np.float64, (None, 3), "Mesh.vertices"))
        object.__setattr__(self, "faces", _frozen(self.faces, np.int64, (None, 3), "Mesh.faces"))
        if len(self.faces) and (self.faces.min() < 0 or self.faces.max() >= len(self.vertices)):
            raise InputError("Mesh.faces holds an index outside Mesh.vertices")

    def __repr__(self) -> str:
        vertices, faces = _counted(len(self.vertices), "vertices"), _counted(len(self.faces), "faces")
        return f"Mesh({vertices}, {faces}, {_extent(self.vertices)})"

    def to_trimesh(self) -> trimesh.Trimesh:
        """A trimesh.Trimesh with copies of the same vertices and faces, in the same order."""
        import trimesh

        return trimesh.Trimesh(self.vertices.copy(), self.faces.copy(), process=False)


@dataclass(frozen=True, eq=False)
class UvMap:
    """UV coordinates of a mesh's face corners."""

    uv: FloatArray
    """(T, 2) float64 in [0, 1], v upwards."""
    faces: IntArray
    """(F, 3) int64 rows of `uv`, one per corner of each face. A vertex on a seam has more than one."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "uv", _frozen(self.uv, np.float64, (None, 2), "UvMap.uv"))
        object.__setattr__(self, "faces", _frozen(self.faces, np.int64, (None, 3), "UvMap.faces"))


@dataclass(frozen=True, eq=False)
class MorphTargets:
    """Named shapes that are added to a mesh, each times its weight."""

    names: tuple[str, ...]
    """K names."""
    offsets: FloatArray
    """(K, V, 3) float32 at weight 1, in the mesh's unit."""
    weights: FloatArray
    """(K,) float64 initial weights."""

    def __post_init__(self) -> None:
        count = len(self.names)
        object.__setattr__(self, "offsets", _frozen(self.offsets, np.float32, (count, None, 3), "MorphTargets.offsets"))
        object.__setattr__(self, "weights", _frozen(self.weights, np.float64, (count,), "MorphTargets.weights"))


@dataclass(frozen=True, eq=False)
class Animation:
    """Weights of a mesh's morph targets over time, and the motion of the mesh."""

    seconds: FloatArray
    """(T,) float64, from 0 and increasing."""
    weights: FloatArray
    """(T, K) float64 of the K morph targets."""
    rotations: FloatArray
    """(T, 3, 3) float64, about the mesh's origin."""
    shifts: FloatArray
    """(T, 3) float64 of its origin, in the mesh's unit."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "seconds", _frozen(self.seconds, np.float64, (None,), "Animation.seconds"))
        count = len(self.seconds)
        object.__setattr__(self, "weights", _frozen(self.weights, np.float64, (count, None), "Animation.weights"))
        object.__setattr__(self, "rotations", _frozen(self.rotations, np.float64, (count, 3, 3), "Animation.rotations"))
        object.__setattr__(self, "shifts", _frozen(self.shifts, np.float64, (count, 3), "Animation.shifts"))


@dataclass(frozen=True, eq=False)
class ScanTexture:
    """Pictures on the faces of a scan."""

    uv: FloatArray
    """(F, 3, 2) float32, one for each corner of each face, v upwards; beyond 0 to 1 the picture repeats."""
    picture: IntArray
    """(F,) int64 row of `pictures`; -1 for a face without one."""
    pictures: tuple[NDArray[np.uint8], ...]
    """(H, W, 3) sRGB each, row 0 at v = 1."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "uv", _frozen(self.uv, np.float32, (None, 3, 2), "ScanTexture.uv"))
        picture = _frozen(self.picture, np.int64, (len(self.uv),), "ScanTexture.picture")
        object.__setattr__(self, "picture", picture)
        # a picture that is read-only already is large, and shared
        pictures = tuple(
            picture if not picture.flags.writeable and picture.dtype == np.uint8 and picture.shape[2:] == (3,)
            else _frozen(picture, np.uint8, (None, None, 3), "ScanTexture.pictures")
            for picture in self.pictures
        )  # fmt: skip
        object.__setattr__(self, "pictures", pictures)
        if len(picture) and not -1 <= picture.min() <= picture.max() < len(pictures):
            raise InputError("ScanTexture.picture holds a row outside ScanTexture.pictures")
        if any(not p.size for p in pictures):
            raise InputError("ScanTexture.pictures holds an empty picture")


@dataclass(frozen=True, eq=False)
class Scan:
    """A raw scan in its own frame and units: points, with faces where the file had a mesh.

    >>> imhead.Scan("cloud", np.random.default_rng(0).normal(size=(1000, 3)))
    Scan('cloud', 1 000 points, no normals, extent ...)
    """

    name: str
    """File stem; names the output folder."""
    points: FloatArray
    """(N, 3) float64, in the scan's own units."""
    normals: FloatArray | None = None
    """(N, 3) unit vectors, or None where the file had neither normals nor faces."""
    faces: IntArray | None = None
    """(F, 3) int64 for a mesh, None for a point cloud."""
    warnings: tuple[str, ...] = ()
    """What the reader mended or left out, one sentence each."""
    colors: NDArray[np.uint8] | None = None
    """(N, 3) sRGB of the points, or None."""
    texture: ScanTexture | None = None
    """Pictures on the faces; they go before the colours of the points."""

    def __post_init__(self) -> None:
        points = _frozen(self.points, np.float64, (None, 3), "Scan.points")
        object.__setattr__(self, "points", points)
        if self.normals is not None:
            normals = _frozen(self.normals, np.float64, (len(points), 3), "Scan.normals")
            object.__setattr__(self, "normals", normals)
        if self.faces is not None:
            faces = _frozen(self.faces, np.int64, (None, 3), "Scan.faces")
            object.__setattr__(self, "faces", faces)
            if len(faces) and (faces.min() < 0 or faces.max() >= len(points)):
                raise InputError("Scan.faces holds an index outside Scan.points")
        if self.colors is not None:
            object.__setattr__(self, "colors", _frozen(self.colors, np.uint8, (len(points), 3), "Scan.colors"))
        if self.texture is not None and len(self.texture.uv) != (0 if self.faces is None else len(self.faces)):
            raise InputError("Scan.texture has another number of faces than Scan.faces")

    @property
    def colored(self) -> bool:
        """Whether the file had colours."""
        return self.colors is not None or self.texture is not None

    def __repr__(self) -> str:
        parts = [repr(self.name), _counted(len(self.points), "points")]
        parts += [] if self.faces is None else [_counted(len(self.faces), "faces")]
        parts += ["colours"] if self.colored else []
        parts += ["no normals"] if self.normals is None else []
        return f"Scan({', '.join([*parts, _extent(self.points)])})"

    def to_trimesh(self) -> trimesh.Trimesh | trimesh.PointCloud:
        """A trimesh.Trimesh, or a trimesh.PointCloud where the scan has no faces; copies, in the same order."""
        import trimesh

        if self.faces is None:
            return trimesh.PointCloud(self.points.copy())
        return trimesh.Trimesh(self.points.copy(), self.faces.copy(), process=False)


@dataclass(frozen=True, eq=False)
class Certainty:
    """How far the person may lie from a fitted head: at V vertices of the template, and at L landmarks."""

    sigma_mm: FloatArray
    """(V,) float32: the person's surface lies within this distance along the normal, with 68 % probability."""
    measured: BoolArray
    """(V,) vertices with scan points near them; the others are inferred from the rest of the head."""
    landmarks: FloatArray
    """(3 L, K) float32, mm: its product with its transpose is the covariance of the neutral face's landmarks."""
    landmark_mm: FloatArray
    """(L,) float32, standard deviation of each landmark along each axis beside that, independent of the others'."""
    size_share: float
    """Standard deviation of the head's size, as a share: 0 where the scan's scale was known."""
    factor_95: float
    """95 % intervals over those of 68 %."""
    calibrated: bool
    """Whether the constants behind it were learnt with the head's own model."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "sigma_mm", _frozen(self.sigma_mm, np.float32, (None,), "Certainty.sigma_mm"))
        count = len(self.sigma_mm)
        object.__setattr__(self, "measured", _frozen(self.measured, np.bool_, (count,), "Certainty.measured"))
        object.__setattr__(self, "landmarks", _frozen(self.landmarks, np.float32, (None, None), "Certainty.landmarks"))
        own = _frozen(self.landmark_mm, np.float32, (len(self.landmarks) // 3,), "Certainty.landmark_mm")
        object.__setattr__(self, "landmark_mm", own)
        if (self.sigma_mm < 0).any() or not 1.0 <= self.factor_95 < 100.0 or not 0.0 <= self.size_share < 1.0:
            raise InputError("Certainty: sigma_mm must be 0 or more, factor_95 from 1 to 100, size_share from 0 to 1")


@dataclass(frozen=True, eq=False)
class SkinImage:
    """The colours of a head's skin on the template's UVs, as encoded files."""

    picture: bytes
    """JPEG, square, sRGB, row 0 at v = 1."""
    mask: bytes
    """PNG, grey, of the same size: 255 where a scan showed the skin, less where the picture is a guess."""
    tone: str
    """The nearest of the named skins."""
    eyes: str = ""
    """The nearest of the named colours of eyes, empty where the scan does not show them; behind it the light on them,
    as a share of daylight, where it is less (`blue 0.42`)."""

    @cached_property
    def digest(self) -> str:
        """SHA-256 of both files, hexadecimal."""
        return sha256(len(self.picture).to_bytes(8, "little") + self.picture + self.mask).hexdigest()


@dataclass(frozen=True, eq=False)
class Residual:
    """What the codes of a fit leave over of its scan: a smooth displacement of canonical space.

    A sum of quadratic B-splines on cubic lattices, each of which has a node at the origin. M nodes.
    """

    spacings_mm: tuple[float, ...]
    """Of each lattice."""
    nodes: IntArray
    """(M, 4) int16: lattice, then the node's place in spacings along each axis; sorted, each once."""
    values: FloatArray
    """(M, 3) float32, mm: coefficient of each node, a number of half precision, as files keep it."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "nodes", _frozen(self.nodes, np.int16, (None, 4), "Residual.nodes"))
        half = _frozen(self.values, np.float16, (len(self.nodes), 3), "Residual.values")
        object.__setattr__(self, "values", _frozen(half, np.float32, (len(self.nodes), 3), "Residual.values"))
        spacings = np.array(self.spacings_mm, dtype=np.float64)
        if not 1 <= len(spacings) <= _MOST_LATTICES or not ((spacings >= 4.0) & (spacings <= 400.0)).all():
            raise InputError(f"Residual.spacings_mm: give 1 to {_MOST_LATTICES} spacings from 4 to 400 mm")
        lattice = self.nodes[:, 0]
        if len(self.nodes) and not 0 <= lattice.min() <= lattice.max() < len(spacings):
            raise InputError("Residual.nodes names a lattice that has no spacing")
        if (np.abs(self.nodes[:, 1:]) * spacings[lattice, None] > _FARTHEST_NODE_MM).any():
            raise InputError(f"Residual.nodes holds a node farther than {_FARTHEST_NODE_MM:g} mm from the origin")
        if (np.abs(self.values) > _LARGEST_VALUE_MM).any():
            raise InputError(f"Residual.values holds a number above {_LARGEST_VALUE_MM:g} mm")
        place = self.nodes.astype(np.int64) @ (1 << np.array([30, 20, 10, 0]))  # each of at most ±125 spacings
        if (np.diff(place) <= 0).any():
            raise InputError("Residual.nodes are not sorted, or hold a node twice")


@dataclass(frozen=True, eq=False)
class Head:
    """One head: the codes from which its model draws it. Immutable; an edit makes a new one.

    >>> isinstance(head.codes, imhead.Head), head.codes.z_id.shape
    (True, (256,))
    """

    model_id: str
    """Name of the model that the codes belong to."""
    model_hash: str
    """Hash of that model's weights; a head opens only with the same model."""
    z_id: FloatArray
    """(256,) float32 identity code."""
    z_exp: FloatArray
    """(64,) float32 expression code; 0 is neutral."""
    offsets: FloatArray
    """(39, 64) float32 region offsets, added to the region codes decoded from z_id."""
    provenance: tuple[str, ...] = field(default=())
    """History of the head: one line for its origin, one for each edit."""
    eyes: FloatArray = field(default_factory=lambda: np.zeros((2, 5), dtype=np.float32))
    """(2, 5) float32 offsets, mm, added to the eyeballs decoded from z_id (surfaces/eyeballs.py)."""
    scale_assumed: bool = False
    """Whether the head was fitted to a scan of unknown unit: then its millimetres are those of a head of mean size."""
    certainty: Certainty | None = None
    """How sure the fit was; None for a head that was not fitted. An edit keeps it: it says how sure the rest is."""
    registration: FloatArray | None = None
    """(V, 3) float32 offsets of the template's V vertices from the head's own surface, mm, each in a frame that moves
    with its vertex (registration/frames.py); None for a head that was not registered. Edits and expressions keep it."""
    skin: SkinImage | None = None
    """The colours of its scan; None for a head without. Edits and expressions keep them."""
    lost_skin: str = ""
    """Hash of the colours that its file names and that were not beside it; empty if there are none."""
    residual: Residual | None = None
    """What the codes leave over of its scan; None for a head that was not fitted. Edits and expressions keep it."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "z_id", _frozen(self.z_id, np.float32, (None,), "Head.z_id"))
        object.__setattr__(self, "z_exp", _frozen(self.z_exp, np.float32, (None,), "Head.z_exp"))
        object.__setattr__(self, "offsets", _frozen(self.offsets, np.float32, (None, None), "Head.offsets"))
        object.__setattr__(self, "eyes", _frozen(self.eyes, np.float32, (2, 5), "Head.eyes"))
        if self.registration is not None:
            offsets = _frozen(self.registration, np.float32, (None, 3), "Head.registration")
            object.__setattr__(self, "registration", offsets)

    def __repr__(self) -> str:
        edited = int(self.offsets.any(axis=1).sum())
        norms = f"|z_id| = {np.linalg.norm(self.z_id):.3g}, |z_exp| = {np.linalg.norm(self.z_exp):.3g}"
        origin = "".join(f", {line!r}" for line in self.provenance[-1:])
        return f"Head(model {self.model_id!r}, {norms}, {edited} of {len(self.offsets)} regions offset{origin})"


@dataclass(frozen=True, eq=False)
class Ball:
    """A ball in the head frame. A region has exactly no influence outside its ball."""

    center_mm: FloatArray
    """(3,)."""
    radius_mm: float
    """Above 0."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "center_mm", _frozen(self.center_mm, None, (3,), "Ball.center_mm"))
        if not self.radius_mm > 0:
            raise InputError(f"Ball.radius_mm is {self.radius_mm}; give a radius above 0")
