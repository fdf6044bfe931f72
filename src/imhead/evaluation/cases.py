"""Heads that training never saw, and the scans of them that a fit is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Protocol

import numpy as np
from scipy.spatial.transform import Rotation

from imhead.conventions import FACE_RADIUS_MM, UNIT_MM
from imhead.datasets.dataset import DataSet
from imhead.datasets.heads import HeadSource, OpenSources, SourceHead, check_sources
from imhead.datasets.recipe import HELD_OUT_SEED
from imhead.errors import InputError
from imhead.evaluation.virtual_scanner import FRONTAL_PHONE, virtual_scan
from imhead.regions import CENTERS_MM, RADII_MM, REGIONS
from imhead.sources.anny import Person
from imhead.sources.compose import ComposeConfig, Composition, draw_composition
from imhead.sources.expressions import draw_expressions
from imhead.sources.ict import IctModel
from imhead.surfaces.metrics import SurfaceMetrics, surface_metrics
from imhead.surfaces.transforms import matrix_of, transform_points
from imhead.surfaces.visibility import sample_visible, visible_faces
from imhead.training.codes import keypoint_weights
from imhead.types import BoolArray, FloatArray, IntArray, Mesh, Scan

_BEHIND_LIPS_MM = 110.0
POINTS = 5000
"""Points of a held-out head that a fit is given."""
SINGLE_VIEW_POINTS = 2500
"""Points of one frontal view."""
ONE_VIEW = replace(FRONTAL_PHONE, cameras=1, arc_deg=0.0, as_points=True, target_points=SINGLE_VIEW_POINTS, holes=0)
"""One frontal depth image with its noise, as points with normals."""
_EXPRESSIONS = 12  # of an identity; a held-out head shows one of them, in turn
_AREAS: dict[str, tuple[tuple[str, ...], float]] = {
    "lids": (("eye_inner", "eye_outer", "upper_lid", "lower_lid"), 0.55),
    "lips": (("upper_lip", "lower_lip", "mouth_corner"), 0.6),
    "ears": (("ear_helix", "ear_canal", "ear_lobe"), 0.8),
}
"""Area → region names without their side, and the share of the ball that counts."""


@dataclass(frozen=True)
class CaseKind:
    """What is scanned of a held-out identity, and how."""

    expression: bool = False
    """A drawn expression instead of neutral."""
    single_view: bool = False
    """One noisy frontal view instead of points all over."""
    noise_mm: float = 0.0
    """Standard deviation of Gaussian noise added to every coordinate."""


@dataclass(frozen=True, eq=False)
class HeldOut:
    """A head that training never saw, and the scan that a fit gets of it."""

    truth: Mesh
    """Head frame, mm: skin with mouth socket, and eyeballs."""
    visible: BoolArray
    """(F,) bool: faces that a scanner can see."""
    registered: FloatArray
    """(V, 3) the head on ICT's topology, mm."""
    keypoints_mm: FloatArray
    """(39, 3)."""
    nose_tip_mm: FloatArray
    """(3,)."""
    scan: Scan
    head_to_scan: FloatArray
    """(4, 4)."""
    source: str
    """`anny`, or `ict` for plain and composed heads."""


class Fitted(Protocol):
    """What is scored of a fit."""

    @property
    def mesh(self) -> Mesh:
        """Head frame, mm."""

    @property
    def scan_to_head(self) -> FloatArray:
        """(4, 4)."""


@dataclass(frozen=True, eq=False)
class HeldOutSource:
    """What every held-out head is drawn from; made once."""

    sources: OpenSources
    """What the heads are made of; ICT is among them, whose topology all are carried to."""
    shape: Callable[[int], Composition | Person]
    """Parameters of held-out identity `index`."""
    visible: dict[int, BoolArray]
    """By the id of a source, (F,) bool: faces of its neutral mean head that a scanner can see."""
    count: int | None = None
    """How many there are; None for no end."""

    @classmethod
    def of(cls, ict: IctModel) -> HeldOutSource:
        """Composed heads, as many as are asked for; a held-out seed each."""
        sources = OpenSources(ict)
        composed = ComposeConfig(composed_fraction=1.0)
        return cls(sources, lambda index: draw_composition(HELD_OUT_SEED + index, composed), _visible(sources))

    @classmethod
    def of_data(cls, data: DataSet, sources: OpenSources) -> HeldOutSource:
        """The held-out identities of a data set, one after the other.

        Raises:
            InputError: ICT is not open, or the sources are not the data set's.
        """
        check_sources(data.manifest, sources)
        if sources.ict is None:
            raise InputError(
                "evaluation needs ICT-FaceKit, whose topology all heads are carried to; name it with --ict"
            )
        identities = data.split("heldout")
        return cls(sources, lambda index: identities[index].shape, _visible(sources), len(identities))

    @property
    def ict(self) -> IctModel:
        """The source whose topology the heads are carried to."""
        assert self.sources.ict is not None
        return self.sources.ict

    def head(self, index: int) -> SourceHead:
        """Vertices of held-out identity `index`."""
        return self.sources.head(self.shape(index))

    def seen_faces(self) -> IntArray:
        """(G, 3) faces of ICT that a scanner can see."""
        faces = np.concatenate([self.ict.skin_faces, self.ict.eye_faces])
        return faces[self.visible[id(self.ict)]]


def _visible(sources: OpenSources) -> dict[int, BoolArray]:
    visible = {}
    for source in (sources.ict, sources.anny):
        if source is not None:
            faces = np.concatenate([source.skin_faces, source.eye_faces])
            seen = visible_faces(Mesh(source.mean, faces))
            # rays find a way between shut lips that no scanner does
            seen[: len(source.skin_faces)] &= ~_inside_mouth(source)
            visible[id(source)] = seen
    return visible


def _inside_mouth(source: HeadSource) -> BoolArray:
    """(F,) bool: faces of the skin that lie behind the lips."""
    outside = set(map(tuple, np.sort(source.skin_open_faces, axis=1).tolist()))
    within = np.array([tuple(face) not in outside for face in np.sort(source.skin_faces, axis=1).tolist()])
    lips = CENTERS_MM[[region.index for region in REGIONS if region.group == "mouth"]]
    away = np.linalg.norm(source.mean[source.skin_faces].mean(axis=1)[:, None] - lips, axis=2).min(axis=1)
    behind: BoolArray = within & (away < _BEHIND_LIPS_MM)  # the rest closes the cut and the eyes' openings
    return behind


def held_out(source: HeldOutSource, index: int, kind: CaseKind = CaseKind()) -> HeldOut:
    """Held-out identity `index`: 5 000 points without normals (or one view), random pose and unit."""
    ict, head = source.ict, source.head(index)
    origin = "ict" if head.source is ict else "anny"
    vertices = head.neutral
    if kind.expression:
        vertices = head.posed(draw_expressions(HELD_OUT_SEED + index, _EXPRESSIONS)[1 + index % (_EXPRESSIONS - 1)])
    truth = Mesh(vertices, np.concatenate([head.source.skin_faces, head.source.eye_faces]))
    visible = visible_faces(truth) if kind.expression else source.visible[id(head.source)]
    shift = keypoint_weights((ict.mean + ict.canonical_offset).astype(np.float64))
    registered = head.registered(vertices)
    keypoints = CENTERS_MM + np.einsum("rv,vc->rc", shift, registered - ict.mean - ict.canonical_offset)
    tip = registered[int(np.argmax(ict.mean[:, 2]))].astype(np.float64)
    rng = np.random.default_rng([0xE7A1, index])
    name = f"heldout_{index:03d}"
    if kind.single_view:
        seen = virtual_scan(truth, ONE_VIEW, rng, name)
        return HeldOut(truth, visible, registered, keypoints, tip, seen.scan, seen.head_to_scan, origin)
    points, _ = sample_visible(truth, POINTS, rng, visible=visible)
    matrix, turned = random_turn(points + kind.noise_mm * rng.normal(size=points.shape), rng)
    return HeldOut(truth, visible, registered, keypoints, tip, Scan(name, turned), matrix, origin)


def random_turn(points: FloatArray, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """A random rotation, shift and unit: (4, 4) matrix and the moved points (N, 3)."""
    unit = UNIT_MM[str(rng.choice(list(UNIT_MM)))]
    rotation = Rotation.random(random_state=int(rng.integers(1 << 31))).as_matrix()
    matrix = matrix_of(rotation / unit, rng.normal(0.0, 300.0, 3) / unit)
    return matrix, transform_points(matrix, points)


def _near(points: FloatArray, centers: FloatArray, radius: FloatArray) -> BoolArray:
    near: BoolArray = (np.linalg.norm(points[:, None] - centers, axis=2) < radius).any(axis=1)
    return near


def score(result: Fitted, case: HeldOut, seed: int = 0) -> dict[str, float]:
    """Figures of one fit against the truth: face, head and the fine areas; and the error of the pose."""
    to_truth = np.linalg.inv(case.head_to_scan) @ np.linalg.inv(result.scan_to_head)
    fitted = Mesh(transform_points(to_truth, result.mesh.vertices), result.mesh.faces)
    seen = visible_faces(fitted)
    tip = case.nose_tip_mm
    tests: dict[str, Callable[[FloatArray], BoolArray] | None] = {
        "head": None,
        "face": lambda p: np.linalg.norm(p - tip, axis=1) < FACE_RADIUS_MM,
    }
    for area, (stems, share) in _AREAS.items():
        rows = [r.index for r in REGIONS if r.name.removeprefix("left_").removeprefix("right_") in stems]
        centers, radius = case.keypoints_mm[rows], share * RADII_MM[rows]
        tests[area] = partial(_near, centers=centers, radius=radius)
    figures: dict[str, float] = {}
    for area, test in tests.items():
        found: SurfaceMetrics = surface_metrics(
            fitted, case.truth, seed=seed, predicted_mask=seen, truth_mask=case.visible, region=test
        )
        figures |= {f"{area}_{name}": value for name, value in asdict(found).items()}
    angle = np.degrees(Rotation.from_matrix(to_truth[:3, :3]).magnitude())
    figures["pose_error_deg"] = float(angle)
    figures["pose_error_mm"] = float(np.linalg.norm(to_truth[:3, 3]))
    return figures
