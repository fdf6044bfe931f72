"""Held-out heads, which training never saw, their scans, and the score of a fit."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Protocol

import numpy as np
from scipy.spatial.transform import Rotation

from imhead.conventions import FACE_RADIUS_MM, UNIT_MM
from imhead.datasets.dataset import DataSet
from imhead.datasets.heads import HeadSource, OpenSources, SourceHead, check_sources
from imhead.datasets.identities import Shape
from imhead.datasets.recipe import HELD_OUT_SEED
from imhead.errors import InputError
from imhead.evaluation.virtual_scanner import FRONTAL_PHONE, virtual_scan
from imhead.regions import CENTERS_MM, RADII_MM, REGIONS
from imhead.sources.compose import ComposeConfig, draw_composition
from imhead.sources.deformations import Deformation
from imhead.sources.expressions import draw_expressions
from imhead.sources.ict import IctModel
from imhead.surfaces.metrics import SurfaceMetrics, surface_metrics
from imhead.surfaces.transforms import matrix_of, transform_points
from imhead.surfaces.visibility import sample_visible, visible_faces
from imhead.training.codes import keypoint_weights
from imhead.types import BoolArray, FloatArray, IntArray, Mesh, Scan

_BEHIND_LIPS_MM = 110.0
POINTS = 5000
"""Scan points of a held-out head."""
# one frontal depth image with its noise, as points with normals
_SINGLE_VIEW = replace(FRONTAL_PHONE, cameras=1, arc_deg=0.0, as_points=True, target_points=2500, holes=0)
_EXPRESSIONS = 12  # drawn for each identity; held-out head k shows the k-th of them, cyclically
_AREAS: dict[str, tuple[tuple[str, ...], float]] = {
    "lids": (("eye_inner", "eye_outer", "upper_lid", "lower_lid"), 0.55),
    "lips": (("upper_lip", "lower_lip", "mouth_corner"), 0.6),
    "ears": (("ear_helix", "ear_canal", "ear_lobe"), 0.8),
}
"""Area → region names without their side, and the share of the ball radius that bounds the area."""


@dataclass(frozen=True)
class CaseKind:
    """Expression and scanner of a held-out head."""

    expression: bool = False
    """A drawn expression instead of neutral."""
    single_view: bool = False
    """One noisy frontal view instead of points all over the head."""
    noise_mm: float = 0.0
    """Standard deviation of Gaussian noise added to every coordinate."""
    points: int = POINTS
    """Scan points, unless it is a single view."""


@dataclass(frozen=True, eq=False)
class HeldOut:
    """A head that training never saw, and its scan."""

    truth: Mesh
    """Head frame, mm: skin with mouth socket, and eyeballs."""
    visible: BoolArray
    """(F,) bool: faces that a scanner can see."""
    registered: FloatArray
    """(V, 3) the head on ICT's topology, mm."""
    keypoints_mm: FloatArray
    """(39, 3) keypoints of the regions, head frame."""
    nose_tip_mm: FloatArray
    """(3,) head frame."""
    scan: Scan
    """What is fitted, in its own frame and unit."""
    head_to_scan: FloatArray
    """(4, 4) head frame in mm → frame and unit of the scan."""
    source: str
    """`ict` for plain and composed heads, else `anny`, also for scanned people."""


class Fitted(Protocol):
    """The parts of a fit that are scored."""

    @property
    def mesh(self) -> Mesh:
        """Head frame, mm."""

    @property
    def scan_to_head(self) -> FloatArray:
        """(4, 4) frame and unit of the scan → head frame in mm."""


@dataclass(frozen=True, eq=False)
class HeldOutSource:
    """Draws the held-out heads."""

    sources: OpenSources
    """The open sources; ICT is among them, since all heads are carried to its topology."""
    identity: Callable[[int], tuple[Shape, Deformation | None]]
    """Parameters of held-out identity `index`, and its smooth deformation, if it has one."""
    visible: dict[int, BoolArray]
    """`id` of a source → (F,) bool: faces of its neutral mean head that a scanner can see."""
    count: int | None = None
    """Number of heads; None for no limit."""

    @classmethod
    def composed(cls, ict: IctModel) -> HeldOutSource:
        """Any number of composed heads, one for each held-out seed."""
        sources = OpenSources(ict)
        composed = ComposeConfig(composed_fraction=1.0)
        return cls(sources, lambda index: (draw_composition(HELD_OUT_SEED + index, composed), None), _visible([ict]))

    @classmethod
    def of_dataset(cls, data: DataSet, sources: OpenSources) -> HeldOutSource:
        """The held-out identities of a data set, in order.

        Raises:
            InputError: ICT is not open, or the sources are not those of the data set.
        """
        check_sources(data.manifest, sources)
        if sources.ict is None:
            raise InputError("evaluation carries all heads to the topology of ICT-FaceKit; name its path with --ict")
        identities = data.split("heldout")

        def identity(index: int) -> tuple[Shape, Deformation | None]:
            return identities[index].shape, data.deformation(identities[index])

        opened = {id(source): source for source in (sources.source_of(k.shape) for k in identities)}
        opened[id(sources.ict)] = sources.ict
        return cls(sources, identity, _visible(opened.values()), len(identities))

    @property
    def ict(self) -> IctModel:
        """The source whose topology all heads are carried to."""
        assert self.sources.ict is not None
        return self.sources.ict

    def head(self, index: int) -> SourceHead:
        """Held-out identity `index`."""
        return self.sources.head(*self.identity(index))

    def seen_faces(self) -> IntArray:
        """(G, 3) faces of ICT that a scanner can see."""
        faces = np.concatenate([self.ict.skin_faces, self.ict.eye_faces])
        return faces[self.visible[id(self.ict)]]


def _visible(sources: Iterable[HeadSource]) -> dict[int, BoolArray]:
    visible = {}
    for source in sources:
        faces = np.concatenate([source.skin_faces, source.eye_faces])
        seen = visible_faces(Mesh(source.mean, faces))
        # rays pass between shut lips, where a scanner sees nothing
        seen[: len(source.skin_faces)] &= ~_inside_mouth(source)
        visible[id(source)] = seen
    return visible


def _inside_mouth(source: HeadSource) -> BoolArray:
    """(F,) bool: faces of the skin that lie behind the lips."""
    outside = set(map(tuple, np.sort(source.skin_open_faces, axis=1).tolist()))
    within = np.array([tuple(face) not in outside for face in np.sort(source.skin_faces, axis=1).tolist()])
    lips = CENTERS_MM[[region.index for region in REGIONS if region.group == "mouth"]]
    away = np.linalg.norm(source.mean[source.skin_faces].mean(axis=1)[:, None] - lips, axis=2).min(axis=1)
    # the other faces inside close the cut below the shoulders and the openings of the eyes
    behind: BoolArray = within & (away < _BEHIND_LIPS_MM)
    return behind


def held_out(source: HeldOutSource, index: int, kind: CaseKind = CaseKind()) -> HeldOut:
    """Held-out head `index` and its scan: points without normals, or a single view, in random pose and unit."""
    head = source.head(index)
    vertices = head.neutral
    if kind.expression:
        vertices = head.posed(draw_expressions(HELD_OUT_SEED + index, _EXPRESSIONS)[1 + index % (_EXPRESSIONS - 1)])
    truth = known_truth(source, head, vertices, posed=kind.expression)
    rng = np.random.default_rng([0xE7A1, index])
    name = f"heldout_{index:03d}"
    if kind.single_view:
        view = virtual_scan(truth.mesh, _SINGLE_VIEW, rng, name)
        return scanned(truth, view.scan, view.head_to_scan)
    points, _ = sample_visible(truth.mesh, kind.points, rng, visible=truth.visible)
    matrix, placed = random_similarity(points + kind.noise_mm * rng.normal(size=points.shape), rng)
    return scanned(truth, Scan(name, placed), matrix)


@dataclass(frozen=True, eq=False)
class Truth:
    """A head without a scan; the fields are those of `HeldOut`."""

    mesh: Mesh
    """Head frame, mm."""
    visible: BoolArray
    """(F,) bool."""
    registered: FloatArray
    """(V, 3) mm."""
    keypoints_mm: FloatArray
    """(39, 3)."""
    nose_tip_mm: FloatArray
    """(3,)."""
    source: str
    """`anny` or `ict`."""


def known_truth(source: HeldOutSource, head: SourceHead, vertices: FloatArray, *, posed: bool) -> Truth:
    """What is known of a head whose vertices (V, 3) are those of its source, mm; `posed` with an expression."""
    ict = source.ict
    mesh = Mesh(vertices, np.concatenate([head.source.skin_faces, head.source.eye_faces]))
    visible = visible_faces(mesh) if posed else source.visible[id(head.source)]
    shift = keypoint_weights((ict.mean + ict.canonical_offset).astype(np.float64))
    registered = head.registered(vertices)
    keypoints = CENTERS_MM + np.einsum("rv,vc->rc", shift, registered - ict.mean - ict.canonical_offset)
    tip = registered[int(np.argmax(ict.mean[:, 2]))].astype(np.float64)
    return Truth(mesh, visible, registered, keypoints, tip, "ict" if head.source is ict else "anny")


def scanned(truth: Truth, scan: Scan, head_to_scan: FloatArray) -> HeldOut:
    """A head with its scan, and the (4, 4) matrix from the head frame into the scan's frame and unit."""
    return HeldOut(
        truth.mesh, truth.visible, truth.registered, truth.keypoints_mm, truth.nose_tip_mm, scan, head_to_scan,
        truth.source,
    )  # fmt: skip


def random_similarity(points: FloatArray, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """A random rotation, translation and unit: the (4, 4) matrix, and points (N, 3) moved by it."""
    unit = UNIT_MM[str(rng.choice(list(UNIT_MM)))]
    rotation = Rotation.random(random_state=int(rng.integers(1 << 31))).as_matrix()
    matrix = matrix_of(rotation / unit, rng.normal(0.0, 300.0, 3) / unit)
    return matrix, transform_points(matrix, points)


def _near(points: FloatArray, centers: FloatArray, radius: FloatArray) -> BoolArray:
    near: BoolArray = (np.linalg.norm(points[:, None] - centers, axis=2) < radius).any(axis=1)
    return near


def score(result: Fitted, case: HeldOut) -> dict[str, float]:
    """Errors of a fit against the truth: surface metrics of head, face and fine areas, and the error of the pose."""
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
            fitted, case.truth, seed=0, predicted_mask=seen, truth_mask=case.visible, region=test
        )
        figures |= {f"{area}_{name}": value for name, value in asdict(found).items()}
    angle = np.degrees(Rotation.from_matrix(to_truth[:3, :3]).magnitude())
    figures["pose_error_deg"] = float(angle)
    figures["pose_error_mm"] = float(np.linalg.norm(to_truth[:3, 3]))
    return figures
