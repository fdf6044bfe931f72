"""People who were scanned, as registered heads: a source whose heads are kept, not drawn.

A person is a file of `imhead curate`: a neutral head on the template's topology, and registered scans with the points
that were measured. The template's vertices lie on ICT's faces, whose mean head and expressions thus are theirs too.

Shape legend: V vertices of the template, W vertices of ICT, K scans of a person, P points of a scan.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import igl
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from imhead.conventions import ARKIT_NAMES, CANONICAL_JAW_OPEN
from imhead.errors import InputError
from imhead.sources.ict import IctModel, boundary_loops
from imhead.types import BoolArray, FloatArray, IntArray

TOPOLOGY = "topology.safetensors"
"""Name of the topology's file, beside the folder of the people."""
_SKIN, _EYES = 0, 2  # of the template's parts: skin, mouth, left and right eye
_SAME_WEIGHTS = 1e-4  # an expression this near to that of a scan is the scan's


@dataclass(frozen=True, eq=False)
class Measured:
    """What a scanner saw of a head, head frame, mm."""

    points: FloatArray
    """(P, 3) float32."""
    normals: FloatArray
    """(P, 3) float32, outward."""
    seen: BoolArray
    """(V,) bool: vertices near which there are points."""


@dataclass(frozen=True, eq=False)
class ScannedPerson:
    """The file of one person; it is read when first asked for."""

    path: Path
    """`people/KEY.safetensors`."""

    @property
    def topology(self) -> Path:
        """The file of the topology of its vertices."""
        return self.path.parent.parent / TOPOLOGY

    @property
    def key(self) -> str:
        """The file's name, which stands for the person."""
        return self.path.stem

    @cached_property
    def _arrays(self) -> Mapping[str, np.ndarray]:
        try:
            arrays = load_file(self.path)
            _check(arrays)
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            raise InputError(f"{self.path}: is no file of a person ({error}); build the data set again") from error
        return arrays

    @property
    def neutral(self) -> FloatArray:
        """(V, 3) the neutral head."""
        return self._arrays["neutral"]

    @property
    def weights(self) -> FloatArray:
        """(K, 52) ARKit weights of the scans, 0 to 1."""
        return np.clip(self._arrays["weights"], 0.0, 1.0).astype(np.float32)

    def vertices(self, scan: int) -> FloatArray:
        """(V, 3) the template on one of the scans."""
        return np.asarray(self._arrays["vertices"][scan])

    def measured(self, scan: int) -> Measured:
        """What one of the scans shows."""
        ends = np.cumsum(self._arrays["counts"])
        rows = slice(int(ends[scan] - self._arrays["counts"][scan]), int(ends[scan]))
        return Measured(
            self._arrays["points"][rows], self._arrays["normals"][rows], self._arrays["measured"][scan].astype(bool)
        )

    def scan_with(self, weights: FloatArray) -> int | None:
        """The scan that shows an expression (52,); None where none does."""
        away = np.abs(self.weights - weights).max(axis=1)
        nearest = int(away.argmin())
        return nearest if away[nearest] < _SAME_WEIGHTS else None

    @property
    def calmest(self) -> int:
        """The scan whose expression is nearest to none."""
        return int(self.weights.sum(axis=1).argmin())


def _check(arrays: Mapping[str, np.ndarray]) -> None:
    count, vertices = len(arrays["weights"]), len(arrays["neutral"])
    total = int(arrays["counts"].sum())
    shapes = {
        "neutral": (vertices, 3), "weights": (count, len(ARKIT_NAMES)), "vertices": (count, vertices, 3),
        "measured": (count, vertices), "counts": (count,), "points": (total, 3), "normals": (total, 3),
    }  # fmt: skip
    for name, shape in shapes.items():
        if arrays[name].shape != shape or not np.isfinite(arrays[name]).all():
            raise ValueError(f"{name} is {arrays[name].shape}, not {shape}, or not finite")
    if not count or (arrays["counts"] < 0).any():
        raise ValueError("it holds no scan")


@dataclass(frozen=True, eq=False)
class ScanSource:
    """The template's topology as a source of closed heads. Vertices are the template's, then its caps' middles."""

    mean: FloatArray
    """(V', 3) float32 ICT's neutral mean head."""
    expressions: FloatArray
    """(52, V', 3) float32 offsets at weight 1."""
    skin_faces: IntArray
    """(F, 3) skin and inside of the mouth, closed by fans."""
    skin_open_faces: IntArray
    """(F, 3) skin without caps and mouth."""
    eye_faces: IntArray
    """(F, 3) both eyeballs, closed surfaces."""
    loops: tuple[IntArray, ...]
    """The rims that the fans close."""
    corners: IntArray
    """(W, 3) vertices around the place of each of ICT's vertices."""
    shares: FloatArray
    """(W, 3) float32 their barycentric weights."""
    ict_mean: FloatArray
    """(W, 3) float32 ICT's neutral mean head on its own topology."""

    @property
    def canonical_offset(self) -> FloatArray:
        """(V', 3) from neutral to the canonical pose: lips apart."""
        offset: FloatArray = CANONICAL_JAW_OPEN * self.expressions[ARKIT_NAMES.index("jawOpen")]
        return offset

    def closed(self, vertices: FloatArray) -> FloatArray:
        """Vertices (V, 3) of the template with the middles of its caps: (V', 3) float32."""
        middles = [vertices[loop].mean(axis=0, keepdims=True) for loop in self.loops]
        return np.concatenate([vertices, *middles]).astype(np.float32)

    def on_ict(self, vertices: FloatArray) -> FloatArray:
        """Vertices (V', 3) in any pose on ICT's topology: (W, 3) float32.

        Movements from the mean head are interpolated, so that the mean head itself is ICT's to the last bit.
        """
        moved = (vertices - self.mean)[self.corners]
        return self.ict_mean + np.einsum("wk,wkc->wc", self.shares, moved.astype(np.float32))

    def posed(self, neutral: FloatArray, weights: FloatArray) -> FloatArray:
        """A neutral head (V', 3) with ARKit weights (52,): (V', 3)."""
        active = np.flatnonzero(weights)
        moved = np.einsum("k,kvc->vc", weights[active].astype(np.float32), self.expressions[active])
        return neutral + moved


@lru_cache(maxsize=2)
def scan_source(ict: IctModel, topology: Path) -> ScanSource:
    """The source of scanned people, on a topology file that `imhead curate` wrote.

    Raises:
        InputError: the file cannot be read, or is no topology.
    """
    try:
        arrays = load_file(topology)
        faces, part = arrays["faces"].astype(np.int64), arrays["part"]
        inner, share = arrays["source_corners"].astype(np.int64), arrays["source_weights"].astype(np.float32)
    except (OSError, SafetensorError, KeyError) as error:
        raise InputError(f"{topology}: is no topology ({error}); curate the scans again") from error
    mean = np.einsum("vkc,vk->vc", ict.mean[inner], share)
    shapes = np.einsum("evkc,vk->evc", ict.expressions[:, inner], share)
    of_faces = part[faces]
    skin, eyes = faces[(of_faces < _EYES).all(axis=1)], faces[(of_faces >= _EYES).all(axis=1)]
    loops = tuple(boundary_loops(skin))
    # a cap faces the other way than the faces along whose edges its rim runs
    caps = [
        np.stack([np.roll(loop, -1), loop, np.full(len(loop), len(mean) + k)], axis=1) for k, loop in enumerate(loops)
    ]
    extended = np.concatenate([mean, *(mean[loop].mean(axis=0, keepdims=True) for loop in loops)])
    moved = np.concatenate([shapes, *(shapes[:, loop].mean(axis=1, keepdims=True) for loop in loops)], axis=1)
    closed = np.concatenate([skin, *caps])
    corners, shares = _places_of(ict, extended, closed, eyes)
    return ScanSource(
        extended.astype(np.float32), moved.astype(np.float32), closed, faces[(of_faces == _SKIN).all(axis=1)], eyes,
        loops, corners, shares, ict.mean.astype(np.float32),
    )  # fmt: skip


def _places_of(ict: IctModel, mean: FloatArray, skin: IntArray, eyes: IntArray) -> tuple[IntArray, FloatArray]:
    """Nearest place on the template's mean head (V', 3) of each vertex of ICT: corners (W, 3) and weights (W, 3)."""
    corners = np.zeros((len(ict.mean), 3), dtype=np.int64)
    shares = np.zeros((len(ict.mean), 3), dtype=np.float32)
    ball = np.zeros(len(ict.mean), dtype=bool)
    ball[np.unique(ict.eye_faces)] = True
    points, places = ict.mean.astype(np.float64), mean.astype(np.float64)
    for rows, faces in ((np.flatnonzero(~ball), skin), (np.flatnonzero(ball), eyes)):
        _, face, closest = igl.point_mesh_squared_distance(points[rows], places, faces)
        own = faces[face]
        corners[rows] = own
        weights = igl.barycentric_coordinates(closest, *(np.ascontiguousarray(places[own[:, k]]) for k in range(3)))
        shares[rows] = np.clip(weights, 0.0, 1.0)
    return corners, shares / shares.sum(axis=1, keepdims=True)
