"""One person from several scans, on turned and cut copies of the scan that ships with the package."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from imhead.checkpoint import Model, load_model
from imhead.errors import InputError
from imhead.fitting.config import FitConfig
from imhead.fitting.person import PersonFit, fit_person
from imhead.fitting.pose_scan import pose_scan
from imhead.io.scan_file import read_scan
from imhead.isosurface.field import HeadField
from imhead.isosurface.meshing import extract_mesh
from imhead.surfaces.normals import vertex_normals
from imhead.surfaces.transforms import matrix_of, transform_directions, transform_points
from imhead.types import Scan

DEMO_SCAN = Path(__file__).resolve().parents[2] / "src" / "imhead" / "assets" / "demo_scan.ply"
QUICK = FitConfig(points=2000, early_points=700, detail=False)


@pytest.fixture(scope="module")
def shipped() -> Model:
    return load_model("default")


def cloud(name: str, points: np.ndarray, normals: np.ndarray, seed: int, count: int = 6000) -> Scan:
    rows = np.random.default_rng(seed).permutation(len(points))[:count]
    return Scan(name, points[rows], normals[rows])


@pytest.fixture(scope="module")
def scans(shipped: Model) -> list[Scan]:
    """Two clouds of one person in two places, of which one is in millimetres, one of a drawn head, and one of none."""
    demo = read_scan(DEMO_SCAN)
    assert demo.normals is not None
    turn = matrix_of(10.0 * Rotation.from_rotvec([0.3, -2.0, 0.9]).as_matrix(), np.array([40.0, -250.0, 700.0]))
    z_id = np.random.default_rng(5).normal(size=shipped.net.config.identity_size)
    drawn = extract_mesh(HeadField(shipped, replace(shipped.neutral(), z_id=z_id)).sdf, 96)
    noise = np.random.default_rng(3).normal(size=(4000, 3))
    flat = Scan("wall", 100.0 * np.column_stack([noise[:, :2], 0.001 * noise[:, 2]]))
    return [
        cloud("first", demo.points, demo.normals, 0),
        cloud("second", transform_points(turn, demo.points), transform_directions(turn, demo.normals) / 10.0, 1),
        cloud("stranger", drawn.vertices, vertex_normals(drawn.vertices, drawn.faces)[0], 2),
        flat,
    ]


@pytest.fixture(scope="module")
def person(scans: list[Scan], shipped: Model) -> PersonFit:
    return fit_person(scans, shipped, QUICK)


def test_the_scans_of_the_person_lie_on_one_neutral_head(person: PersonFit) -> None:
    assert not person.head.z_exp.any()
    assert [(scan.name, scan.same_person) for scan in person.scans[:2]] == [("first", True), ("second", True)]
    for scan in person.scans[:2]:
        distance = scan.figures.distance_mm[scan.figures.explained & scan.figures.face]
        assert float(np.median(distance)) < 0.6
        assert scan.figures.explained.mean() > 0.8


def test_somebody_else_among_them_is_named_with_the_figure(person: PersonFit) -> None:
    stranger = person.scans[2]
    assert stranger.name == "stranger" and not stranger.same_person
    assert stranger.evidence is not None and stranger.evidence.others_mm > stranger.evidence.own_mm + 0.3
    told = [warning for warning in person.warnings if warning.startswith("stranger: shows somebody else")]
    assert len(told) == 1 and f"{stranger.evidence.others_mm:.2f} mm" in told[0]


def test_a_scan_without_a_face_is_left_out_and_said(person: PersonFit) -> None:
    assert [row for row, _ in person.lost] == [3] and person.rows == (0, 1, 2)
    assert any(warning.startswith("wall: ") for warning in person.warnings)


def test_each_scan_keeps_its_own_unit_and_place(person: PersonFit, scans: list[Scan]) -> None:
    size = [np.cbrt(np.linalg.det(scan.scan_to_head[:3, :3])) for scan in person.scans[:2]]
    assert size == pytest.approx([10.0, 1.0])  # cm and mm
    demo = read_scan(DEMO_SCAN)
    turn = matrix_of(10.0 * Rotation.from_rotvec([0.3, -2.0, 0.9]).as_matrix(), np.array([40.0, -250.0, 700.0]))
    apart = transform_points(person.scans[0].scan_to_head, demo.points) - transform_points(
        person.scans[1].scan_to_head, transform_points(turn, demo.points)
    )
    assert float(np.median(np.linalg.norm(apart, axis=1))) < 0.7


def test_a_known_person_is_placed_again_from_a_start_nearby(
    person: PersonFit, scans: list[Scan], shipped: Model
) -> None:
    found = person.scans[0]
    nudge = matrix_of(Rotation.from_rotvec([0.02, -0.03, 0.01]).as_matrix(), np.array([2.0, -1.5, 1.0]))
    again = pose_scan(scans[0], shipped, person.head, nudge @ found.scan_to_head, found.weights, QUICK)
    moved = transform_points(again.scan_to_head, scans[0].points) - transform_points(
        found.scan_to_head, scans[0].points
    )
    assert float(np.median(np.linalg.norm(moved, axis=1))) < 0.5


def test_no_scans_and_no_faces_are_refused(scans: list[Scan], shipped: Model) -> None:
    with pytest.raises(InputError, match="no scan to fit"):
        fit_person([], shipped)
    with pytest.raises(InputError, match="no face was found in any of 1 scans"):
        fit_person([replace(scans[3])], shipped, QUICK)
