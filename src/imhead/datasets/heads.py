"""Heads of a data set: vertices from the parameters of an identity and the data of its source."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Protocol

import igl
import numpy as np

from imhead.datasets.identities import Shape
from imhead.datasets.manifest import Manifest
from imhead.errors import InputError
from imhead.sources.anny import AnnyModel, Person, array_digest
from imhead.sources.anny_arrays import open_anny
from imhead.sources.anny_to_ict import AnnyToIct, read_anny_to_ict
from imhead.sources.compose import composed_offsets, group_masks
from imhead.sources.deformations import Deformation, displacements
from imhead.sources.ict import IctModel, read_ict
from imhead.sources.scans import Measured, ScannedPerson, ScanSource, scan_source
from imhead.surfaces.eyeballs import eye_centers, fitted_eyes
from imhead.surfaces.lids import Lids
from imhead.surfaces.transforms import carried_with_faces
from imhead.types import FloatArray, IntArray, Mesh


class HeadSource(Protocol):
    """Closed surfaces with a mean head, from which samples are drawn; `IctModel` and `AnnyModel` are such sources."""

    @property
    def mean(self) -> FloatArray:
        """(V, 3) the neutral mean head, head frame, mm."""

    @property
    def canonical_offset(self) -> FloatArray:
        """(V, 3) from neutral to the canonical pose of the mean head."""

    @property
    def skin_faces(self) -> IntArray:
        """(F, 3) skin and inside of the mouth, a closed surface."""

    @property
    def skin_open_faces(self) -> IntArray:
        """(F, 3) `skin_faces` without the inside of the mouth and without caps."""

    @property
    def eye_faces(self) -> IntArray:
        """(F, 3) both eyeballs, closed surfaces."""


@dataclass(frozen=True, eq=False)
class SourceHead:
    """One identity as vertices on its source's own topology, head frame, mm."""

    source: HeadSource
    """The closed surfaces; the head is their union."""
    neutral: FloatArray
    """(V, 3) float32: lips shut, eyes open."""
    eyes: FloatArray
    """(2, 5) left and right eyeball (surfaces/eyeballs.py); no expression moves them."""
    canonical: FloatArray
    """(V, 3) float32 in the canonical pose: lips apart. Vertices correspond to those of `neutral` and `posed`."""
    posed: Callable[[FloatArray], FloatArray]
    """(52,) ARKit weights → (V, 3) float32."""
    registered: Callable[[FloatArray], FloatArray]
    """Vertices (V, 3) of this head, in any pose → the same head on ICT's topology, (W, 3) float32."""
    measured: Callable[[FloatArray | None], Measured | None] = lambda weights: None
    """(52,) ARKit weights, or None for the canonical pose → what a scanner saw of it there; None of a drawn head."""


@dataclass(frozen=True, eq=False)
class _Anatomy:
    """Eyeballs and lids of a source's topology."""

    balls: tuple[IntArray, IntArray]
    """Vertices of the left and of the right eyeball."""
    mean_eyes: FloatArray
    """(2, 5) eyeballs of the neutral mean head."""
    lids: Lids
    """Its lids."""

    @classmethod
    def of(cls, source: HeadSource) -> _Anatomy:
        ball = np.unique(source.eye_faces)
        balls = ball[source.mean[ball, 0] > 0.0], ball[source.mean[ball, 0] <= 0.0]
        eyes = fitted_eyes(source.mean[balls[0]], source.mean[balls[1]])
        return cls(balls, eyes, Lids.of(source.mean, np.unique(source.skin_faces), eyes))

    def eyes(self, vertices: FloatArray) -> FloatArray:
        """(2, 5) eyeballs of a head (V, 3)."""
        return fitted_eyes(vertices[self.balls[0]], vertices[self.balls[1]])


@dataclass(frozen=True, eq=False)
class OpenSources:
    """The data of the sources of a data set."""

    ict: IctModel | None = None
    """For `ict` and `compose`."""
    anny: AnnyModel | None = None
    """For `anny`."""

    @cached_property
    def _masks(self) -> FloatArray:
        return group_masks(self._require_ict().mean)

    @cached_property
    def _places(self) -> AnnyToIct:
        return read_anny_to_ict(self._require_anny())

    @cached_property
    def _anatomy(self) -> dict[str, _Anatomy]:
        opened = {"ict": self.ict, "anny": self.anny}
        return {name: _Anatomy.of(source) for name, source in opened.items() if source is not None}

    @cached_property
    def _ict_digest(self) -> str:
        ict = self._require_ict()
        return array_digest({"mean": ict.mean, "identity": ict.identity, "expressions": ict.expressions})

    def _require_ict(self) -> IctModel:
        if self.ict is None:
            raise InputError("sources ict and compose need ICT-FaceKit; name a clone or its packed .npz with --ict")
        return self.ict

    def _require_anny(self) -> AnnyModel:
        if self.anny is None:
            raise InputError("source anny belongs to the data set but is not open; name its file with --anny")
        return self.anny

    def digest(self, name: str) -> str:
        """Hash of a source's data.

        Raises:
            InputError: the source is not open.
        """
        return self._require_anny().digest if name == "anny" else self._ict_digest

    def source_of(self, shape: Shape) -> HeadSource:
        """The closed surfaces of which a head is one.

        Raises:
            InputError: its source is not open.
        """
        if isinstance(shape, ScannedPerson):
            return scan_source(self._require_ict(), shape.topology)
        return self._require_anny() if isinstance(shape, Person) else self._require_ict()

    @property
    def mean_eyes(self) -> FloatArray:
        """(2, 5) the eyeballs of ICT's mean head, mm."""
        self._require_ict()
        return self._anatomy["ict"].mean_eyes

    def head(self, shape: Shape, deformation: Deformation | None = None) -> SourceHead:
        """The head of one identity, from its `shape`, and with the deformation, if one is given.

        Raises:
            InputError: its source is not open.
        """
        base, anatomy = self._base(shape, deformation)
        if isinstance(shape, Person):
            anny = self._require_anny()
            # the correspondence is opened when first asked for: most callers need no other topology
            return _with_lids(anny, base, anatomy, anny.canonical, anny.posed, lambda v: self._places.carried(v))
        if isinstance(shape, ScannedPerson):
            return _scanned_head(scan_source(self._require_ict(), shape.topology), shape, base, anatomy)
        ict = self._require_ict()
        return _with_lids(
            ict,
            base,
            anatomy,
            lambda neutral: neutral + ict.canonical_offset,
            lambda neutral, weights: neutral + ict.expression_offsets(weights),
            np.asarray,
        )

    def eyes(self, shape: Shape, deformation: Deformation | None = None) -> FloatArray:
        """(2, 5) the eyeballs of `head`, without the rest of it.

        Raises:
            InputError: its source is not open.
        """
        base, anatomy = self._base(shape, None)
        eyes = anatomy.eyes(base)
        if deformation is not None:
            moved = displacements(eye_centers(anatomy.mean_eyes), anatomy.mean_eyes, deformation)
            eyes[:, :3] += moved * [[1.0, 1.0, 1.0], [-1.0, 1.0, 1.0]]
        return eyes

    def _base(self, shape: Shape, deformation: Deformation | None) -> tuple[FloatArray, _Anatomy]:
        """The neutral head (V, 3) before its lids lie on its eyeballs, and the anatomy of its source."""
        source: HeadSource
        if isinstance(shape, Person):
            source, anatomy = self._require_anny(), self._anatomy["anny"]
            base = self._require_anny().neutral(shape)
        elif isinstance(shape, ScannedPerson):  # a person who was scanned is not deformed
            scans = scan_source(self._require_ict(), shape.topology)
            return scans.closed(shape.neutral), _scan_anatomy(scans)
        else:
            source, anatomy = self._require_ict(), self._anatomy["ict"]
            base = source.mean + composed_offsets(self._require_ict(), self._masks, shape)
        if deformation is not None:
            base = base + displacements(source.mean, anatomy.mean_eyes, deformation)
        return base, anatomy


def _with_lids(
    source: HeadSource,
    base: FloatArray,
    anatomy: _Anatomy,
    canonical: Callable[[FloatArray], FloatArray],
    posed: Callable[[FloatArray, FloatArray], FloatArray],
    registered: Callable[[FloatArray], FloatArray],
) -> SourceHead:
    """The head with neutral vertices `base` (V, 3): in every pose its lids lie on its eyeballs, which do not move."""
    eyes = anatomy.eyes(base)
    ball = np.concatenate(anatomy.balls)

    def on_eyes(vertices: FloatArray) -> FloatArray:
        placed = anatomy.lids.on_eyes(vertices, eyes)
        placed[ball] = base[ball]
        return placed.astype(np.float32)

    return SourceHead(
        source, on_eyes(base), eyes, on_eyes(canonical(base)), lambda w: on_eyes(posed(base, w)), registered
    )


@lru_cache(maxsize=2)
def _scan_anatomy(source: ScanSource) -> _Anatomy:
    return _Anatomy.of(source)


def _scanned_head(source: ScanSource, person: ScannedPerson, base: FloatArray, anatomy: _Anatomy) -> SourceHead:
    """The head of a scanned person with neutral vertices `base` (V, 3): in the expression of a scan it is that scan."""

    def posed(neutral: FloatArray, weights: FloatArray) -> FloatArray:
        scan = person.scan_with(weights)
        return source.posed(neutral, weights) if scan is None else source.closed(person.vertices(scan))

    def measured(weights: FloatArray | None) -> Measured | None:
        scan = person.calmest if weights is None else person.scan_with(weights)
        if scan is None:
            return None
        seen = person.measured(scan)
        # no scanner sees the middles of the caps
        seen = replace(seen, seen=np.concatenate([seen.seen, np.zeros(len(source.loops), dtype=bool)]))
        if weights is not None:
            return seen
        return _carried(seen, head.posed(person.weights[scan]), head.canonical, source.skin_faces)

    head = _with_lids(
        source, base, anatomy, lambda neutral: neutral + source.canonical_offset, posed, source.on_ict
    )  # fmt: skip
    return replace(head, measured=measured)


def _carried(seen: Measured, source: FloatArray, target: FloatArray, faces: IntArray) -> Measured:
    """What was measured on a surface with vertices `source` (V, 3), moved with its faces to those of `target`."""
    source, target, points = (array.astype(np.float64) for array in (source, target, seen.points))
    _, face, nearest = igl.point_mesh_squared_distance(points, source, faces)
    moved = carried_with_faces(source, target, faces[face], nearest, points)
    ahead = carried_with_faces(source, target, faces[face], nearest, points + seen.normals)
    away = ahead - moved
    return replace(seen, points=moved, normals=away / np.linalg.norm(away, axis=1, keepdims=True).clip(1e-12))


def posed_mesh(head: SourceHead, weights: FloatArray) -> Mesh:
    """A head with an expression, (52,) ARKit weights, as one mesh: skin and eyeballs."""
    return Mesh(head.posed(weights), np.concatenate([head.source.skin_faces, head.source.eye_faces]))


def open_sources(
    names: tuple[str, ...], ict: Path | None, anny: Path | None, progress: Callable[[str], None]
) -> OpenSources:
    """Read the data of the named sources.

    Args:
        ict: ICT-FaceKit, a clone or its packed file.
        anny: the file of Anny's arrays, which is built if it is missing; None for the one in the cache.

    Raises:
        InputError: a source's data is missing or damaged.
    """
    wants_ict = any(name in names for name in ("ict", "compose", "scans"))
    if wants_ict and ict is None:
        raise InputError("sources ict and compose need ICT-FaceKit; name a clone or its packed .npz with --ict")
    return OpenSources(
        ict=read_ict(ict) if wants_ict and ict is not None else None,
        anny=open_anny(progress, anny) if "anny" in names else None,
    )


def check_sources(manifest: Manifest, sources: OpenSources) -> None:
    """Check that sources are the data that a data set was drawn from.

    Raises:
        InputError: a source is not open, or has another hash.
    """
    for record in manifest.sources:
        if record.name == "scans":  # they lie in the data set itself
            continue
        if sources.digest(record.name) != record.digest:
            raise InputError(
                f"source {record.name}: its data has hash {sources.digest(record.name)}, the data set was drawn "
                f"from {record.digest}; name the same data, or build the data set again"
            )
