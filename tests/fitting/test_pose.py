"""The head is found in any frame, unit or crop, and what is not a head is refused in one line."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import trimesh
from scipy.spatial.transform import Rotation

from imhead.conventions import FACE_RADIUS_MM, UNIT_MM
from imhead.errors import InputError
from imhead.fitting.pose import PoseResult, PoseTemplate, find_pose
from imhead.surfaces.transforms import transform_points
from imhead.types import Mesh

SHARED = Path(__file__).resolve().parents[2].parent / "shared"
ICT = Path(__file__).resolve().parents[1] / "data" / "ict_subset.npz"
NOSE_TIP_MM = np.array([0.0, -1.9, 120.7])
needs_scans = pytest.mark.skipif(not (SHARED / "scans").is_dir(), reason="needs the scans in ../shared/scans")


@lru_cache(maxsize=1)
def ict() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    with np.load(ICT) as data:
        vertices = data["vertices"].astype(np.float64) * 10 - [0, 6, 10]
        polygons = np.concatenate([data["polygons"][:11144], data["polygons"][21496:24692]]).astype(np.int64)
        modes = data["identity"][:30].astype(np.float64) * 10
    quads = polygons[polygons[:, 3] >= 0]
    return vertices, np.concatenate([polygons[:, :3], quads[:, [0, 2, 3]]]), modes


@lru_cache(maxsize=1)
def ict_template() -> PoseTemplate:
    vertices, faces, _ = ict()
    return PoseTemplate.from_mesh(Mesh(vertices, faces), NOSE_TIP_MM)


def sample(vertices: np.ndarray, faces: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    a, b, c = np.moveaxis(vertices[faces], 1, 0)
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    rows = rng.choice(len(faces), count, p=area / area.sum())
    u = rng.random((count, 2))
    u = np.where(u.sum(1, keepdims=True) > 1, 1 - u, u)
    return a[rows] + u[:, :1] * (b - a)[rows] + u[:, 1:] * (c - a)[rows]


def a_head(seed: int, count: int = 5000) -> np.ndarray:
    """Points of a head that is not the mean head, head frame, mm."""
    vertices, faces, modes = ict()
    rng = np.random.default_rng(seed)
    return sample(vertices + np.tensordot(rng.normal(size=30) * 0.8, modes, 1), faces, count, rng)


def a_move(seed: int, unit: str = "mm") -> np.ndarray:
    """A random turn, a shift of metres and a unit: head frame → scan, (4, 4)."""
    move = np.eye(4)
    move[:3, :3] = Rotation.random(random_state=seed).as_matrix() / UNIT_MM[unit]
    move[:3, 3] = np.random.default_rng(seed).normal(size=3) * 700 / UNIT_MM[unit]
    return move


def apply(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    return transform_points(matrix, points)


def miss(result: PoseResult, truth: np.ndarray, at_mm: np.ndarray = NOSE_TIP_MM) -> tuple[float, float]:
    """Degrees and millimetres between a found and a true scan → head pose, at a point of the head."""
    both = result.scan_to_head @ np.linalg.inv(truth)
    turn = both[:3, :3] / np.cbrt(np.linalg.det(both[:3, :3]))
    return float(np.degrees(Rotation.from_matrix(turn).magnitude())), float(np.linalg.norm(apply(both, at_mm) - at_mm))


def refusal(points: np.ndarray, template: PoseTemplate, **options: object) -> str:
    with pytest.raises(InputError) as caught:
        find_pose(points, None, template, **options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    return str(caught.value)


def doll_mesh() -> Mesh:
    """An egg with a nose, a brow, two eye sockets and a mouth: enough of a head for the geometry, no data needed."""
    egg = trimesh.creation.icosphere(subdivisions=5)
    direction = np.asarray(egg.vertices)

    def bump(x: float, y: float, wide: float, tall: float) -> np.ndarray:
        inside = (direction[:, 0] - x) ** 2 / wide**2 + (direction[:, 1] - y) ** 2 / tall**2
        return np.exp(-inside) * (direction[:, 2] > 0)

    relief = 26 * bump(0, 0, 0.11, 0.2) - 10 * bump(0.33, 0.2, 0.15, 0.1) - 10 * bump(-0.33, 0.2, 0.15, 0.1)
    relief += 7 * bump(0, 0.38, 0.45, 0.07) + 6 * bump(0, -0.38, 0.2, 0.05) + 9 * bump(0, -0.65, 0.15, 0.09)
    radius = np.linalg.norm(direction * [75.0, 115.0, 95.0], axis=1) + relief
    return Mesh(direction * radius[:, None], np.asarray(egg.faces))


@lru_cache(maxsize=1)
def doll() -> tuple[PoseTemplate, np.ndarray]:
    mesh = doll_mesh()
    tip = mesh.vertices[np.argmax(mesh.vertices[:, 2])]
    return PoseTemplate.from_mesh(mesh, tip), sample(mesh.vertices, mesh.faces, 6000, np.random.default_rng(0))


def test_a_template_has_its_face_near_the_nose_and_signed_distances() -> None:
    template, points = doll()
    assert np.linalg.norm(template.points[template.face] - template.nose_tip_mm, axis=1).max() < FACE_RADIUS_MM
    distance, _ = template.lookup(points)
    assert np.median(np.abs(distance)) < 4.0
    outside, _ = template.lookup(template.points + 15 * template.normals)
    inside, _ = template.lookup(template.points - 15 * template.normals)
    assert (outside > 0).mean() > 0.97 and (inside < 0).mean() > 0.97


def test_a_look_up_gives_the_distance_to_the_nearest_sample_with_its_side() -> None:
    template, points = doll()
    asked = points[:300] + np.random.default_rng(1).normal(0.0, 20.0, (300, 3))
    gaps = np.linalg.norm(asked[:, None] - template.points, axis=2)
    distance, nearest = template.lookup(asked)
    near = gaps.min(axis=1) < 40.0
    assert 0 < near.sum() < len(near)
    np.testing.assert_array_equal(nearest[near], gaps.argmin(axis=1)[near])
    np.testing.assert_allclose(np.abs(distance), np.minimum(gaps.min(axis=1), 40.0))
    behind = ((asked - template.points[nearest]) * template.normals[nearest]).sum(axis=1) < 0
    np.testing.assert_array_equal(distance[near] < 0, behind[near])


def test_the_hidden_inside_of_a_head_is_left_out_of_the_template() -> None:
    mesh = doll_mesh()
    nested = Mesh(
        np.concatenate([mesh.vertices, 0.5 * mesh.vertices]),
        np.concatenate([mesh.faces, mesh.faces + len(mesh.vertices)]),
    )
    template = PoseTemplate.from_mesh(nested, mesh.vertices[np.argmax(mesh.vertices[:, 2])])
    assert np.linalg.norm(template.points / [75.0, 115.0, 95.0], axis=1).min() > 0.8


@pytest.mark.parametrize("unit", ["mm", "cm", "m"])
def test_the_pose_and_the_unit_are_found(unit: str) -> None:
    template, points = doll()
    move = a_move(3, unit)
    result = find_pose(apply(move, points), None, template)
    degrees, millimetres = miss(result, np.linalg.inv(move), template.nose_tip_mm)
    assert degrees < 2 and millimetres < 2 and result.units == unit and not result.scale_assumed
    assert np.isclose(np.cbrt(np.linalg.det(result.scan_to_head[:3, :3])), UNIT_MM[unit], rtol=1e-6)


def test_a_seed_gives_the_same_pose_to_the_last_bit() -> None:
    template, points = doll()
    first, second = (find_pose(points, None, template, seed=5).scan_to_head for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_an_unknown_unit_is_fitted_with_a_warning() -> None:
    template, points = doll()
    result = find_pose(points / 60.0, None, template)
    assert result.scale_assumed and result.units == "unknown" and "unit" in result.warnings[0]
    assert abs(np.cbrt(np.linalg.det(result.scan_to_head[:3, :3])) / 60.0 - 1) < 0.08


def test_the_signs_of_the_normals_do_not_matter() -> None:
    template, _ = doll()
    poses = [find_pose(template.points, s * template.normals, template).scan_to_head for s in (1, -1)]
    np.testing.assert_array_equal(poses[0], poses[1])


def test_far_strays_do_not_move_the_head() -> None:
    template, points = doll()
    strays = np.random.default_rng(0).normal(size=(60, 3)) * 20000
    degrees, millimetres = miss(find_pose(np.concatenate([points, strays]), None, template), np.eye(4))
    assert degrees < 2 and millimetres < 2


def test_landmarks_replace_the_search() -> None:
    template, points = doll()
    move = a_move(8, "cm")
    places = {"tip": template.nose_tip_mm, "chin": np.array([0.0, -80, 70]), "left": np.array([30.0, 20, 80])}
    pairs = {name: (apply(move, at), at) for name, at in places.items()}
    result = find_pose(apply(move, points), None, template, face_landmarks=pairs)
    degrees, millimetres = miss(result, np.linalg.inv(move), template.nose_tip_mm)
    assert result.units == "cm" and degrees < 2 and millimetres < 2


def test_a_misplaced_landmark_is_named() -> None:
    template, points = doll()
    right = {"a": np.array([0.0, 0, 120]), "b": np.array([60.0, 0, 60]), "c": np.array([-60.0, 0, 60])}
    pairs = {name: (at, at) for name, at in right.items()}
    pairs["d"] = (np.array([0.0, 90, 60]), np.array([0.0, -90, 60]))
    assert "landmark" in refusal(points, template, face_landmarks=pairs)


def test_a_unit_that_no_head_has_is_refused() -> None:
    template, points = doll()
    assert "mm across" in refusal(points, template, units="m")


def test_a_handful_of_points_is_refused() -> None:
    assert "points" in refusal(np.random.default_rng(0).normal(size=(50, 3)), doll()[0])


@pytest.mark.parametrize("shape", ["box", "fog"])
def test_a_scan_of_anything_else_is_refused(shape: str) -> None:
    rng = np.random.default_rng(0)
    fog = rng.normal(size=(4000, 3))
    box = np.asarray(trimesh.creation.box((200, 220, 240)).sample(4000, seed=0))
    points = {"box": box, "fog": fog * 60}[shape]
    # one unit: the other scales are as hopeless, only slower
    assert "no face" in refusal(points, ict_template(), units="mm")


def test_a_cranium_without_a_face_is_refused() -> None:
    points = a_head(3, 20000)
    assert "no face" in refusal(points[points[:, 1] > 62], ict_template(), units="mm")


def test_two_heads_in_a_file_are_refused() -> None:
    assert "two heads" in refusal(np.concatenate([a_head(1), a_head(2) + [270.0, 4, 9]]), ict_template())


@pytest.mark.parametrize("seed", range(4))
def test_another_person_in_any_pose_and_unit_is_found(seed: int) -> None:
    move = a_move(seed, list(UNIT_MM)[seed % 3])
    degrees, millimetres = miss(find_pose(apply(move, a_head(seed)), None, ict_template()), np.linalg.inv(move))
    assert degrees < 8 and millimetres < 10


def test_a_face_alone_is_found_and_half_a_face_is_doubted() -> None:
    points = a_head(5, 14000)
    face = points[points[:, 2] > 40]
    degrees, millimetres = miss(find_pose(face, None, ict_template()), np.eye(4))
    assert degrees < 8 and millimetres < 10
    half = find_pose(face[face[:, 0] > 0], None, ict_template(), units="mm")
    degrees, millimetres = miss(half, np.eye(4))
    assert degrees < 10 and millimetres < 12 and half.warnings


@needs_scans
@pytest.mark.parametrize(
    ("name", "units", "turn"),
    [
        ("menpo_james", "mm", np.eye(3)),
        ("meshmonk_demoface", "mm", np.eye(3)),
        ("truedepth_mannequin", "m", np.array([[0, 0, 1], [0, 1, 0], [-1, 0, 0]])),
        ("ct_headsq", "mm", np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]])),
    ],
)  # fmt: skip
def test_a_real_scan_is_found_and_a_moved_one_at_the_same_place(name: str, units: str, turn: np.ndarray) -> None:
    points = np.asarray(trimesh.load(SHARED / "scans" / f"{name}.ply", process=False).vertices)
    result = find_pose(points, None, ict_template())
    assert result.units == units
    rotation = result.scan_to_head[:3, :3] / UNIT_MM[units]
    # the given turns are by eye, and these heads nod
    assert np.degrees(Rotation.from_matrix(rotation @ turn.T).magnitude()) < 30
    move = a_move(4)
    again = find_pose(apply(move, points), None, ict_template(), units=units)  # type: ignore[arg-type]
    degrees, millimetres = miss(again, result.scan_to_head @ np.linalg.inv(move))
    assert degrees < 2 and millimetres < 2
