"""A head beside its mirror image."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from tests.change.conftest import CHEEK_MM, bumped

from imhead.api import MorphableModel
from imhead.change.asymmetry import asymmetry_of, mirror_plane
from imhead.change.config import ChangeConfig
from imhead.change.picked import compared_landmarks, landmark_named
from imhead.change.visits import Visit
from imhead.errors import InputError
from imhead.measure.landmarks import landmark_names, landmark_places
from imhead.surfaces.transforms import matrix_of

angle, shift = st.floats(-0.3, 0.3), st.floats(-50.0, 50.0)


def test_the_mean_head_is_symmetric(shipped: MorphableModel, visit: Visit) -> None:
    found = asymmetry_of(shipped.model, visit, ChangeConfig())
    assert found.index_mm < 0.05 and abs(found.plane_normal[0]) > 0.9999
    assert np.abs(found.plane_point_mm).max() < 0.05


def test_a_swollen_cheek_is_found_on_its_side_in_any_pose(shipped: MorphableModel, visit: Visit) -> None:
    turn = Rotation.from_rotvec([0.02, 0.05, -0.03]).as_matrix()
    vertices = bumped(visit, shipped, CHEEK_MM, 2.0) @ turn.T + [3.0, 1.0, -2.0]
    found = asymmetry_of(shipped.model, replace(visit, vertices=vertices), ChangeConfig())
    assert found.by_region["left_cheek"]["mean_mm"] > 0.15 and found.by_region["right_cheek"]["mean_mm"] < -0.15
    assert 1.6 < np.nanmax(found.height_mm) < 2.2
    assert found.plane_normal @ turn[:, 0] > 0.9999


@given(st.tuples(angle, angle, angle), st.tuples(shift, shift, shift))
def test_the_plane_of_a_reflection_is_found(rotation: tuple[float, ...], place: tuple[float, ...]) -> None:
    normal = Rotation.from_rotvec(rotation).as_matrix()[:, 0]
    reflection = np.eye(3) - 2.0 * np.outer(normal, normal)
    point = np.array(place)
    motion = matrix_of(reflection @ np.diag([-1.0, 1.0, 1.0]), point - reflection @ point)
    at, found = mirror_plane(motion)
    assert abs(found @ normal) == pytest.approx(1.0, abs=1e-9)
    assert (point - at) @ found == pytest.approx(0.0, abs=1e-6)


def test_names_of_other_programs_mean_landmarks() -> None:
    named = {text: landmark_named(text) for text in ("Pronasale", "en_l", "Left Exocanthion", "r-al", "hair", "al")}
    assert list(named.values()) == ["pronasale", "left_endocanthion", "left_exocanthion", "right_alare", None, None]


def test_picked_landmarks_are_compared_in_mm(visit: Visit) -> None:
    ours = dict(zip(landmark_names(), landmark_places().of(visit.vertices)))
    to_head = np.diag([1000.0, 1000.0, 1000.0, 1.0])  # a scan in metres
    picked = {"prn": (ours["pronasale"] + [0.0, 3.0, 4.0]) / 1000.0, "mole": np.zeros(3)}
    (row,) = compared_landmarks(picked, visit.vertices, to_head, "picked.fcsv")
    assert row.name == "pronasale" and row.distance_mm == pytest.approx(5.0)
    with pytest.raises(InputError, match="picked\\.fcsv: none of its names"):
        compared_landmarks({"mole": np.zeros(3)}, visit.vertices, to_head, "picked.fcsv")
