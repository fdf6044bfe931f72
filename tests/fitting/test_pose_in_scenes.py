"""A head is found on a body and in a room, and a wrong place is doubted or refused rather than reported as right."""

from __future__ import annotations

import dataclasses
from functools import lru_cache

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fitting.test_pose import NOSE_TIP_MM, a_head, a_move, ict_template, miss

from imhead.errors import InputError
from imhead.fitting.pose import find_pose, finder, multistart
from imhead.fitting.pose.cloud import CleanScan, clean_scan
from imhead.fitting.pose.evidence import PoseEvidence, probability_of
from imhead.fitting.pose.finder import REFUSED_BELOW, SURE_ABOVE
from imhead.fitting.pose.template import PoseTemplate
from imhead.fitting.pose.windows import promising_windows
from imhead.surfaces.transforms import transform_points

GOOD = PoseEvidence(0.75, 0.75, 0.75, 0.75, 0.7, 0.95, 0.4, 0.02, 0.0)


def walls(size_mm: tuple[float, float, float], count: int) -> np.ndarray:
    return np.asarray(trimesh.creation.box(size_mm).sample(count, seed=1))


def limbs(count: int) -> np.ndarray:
    """A trunk and legs under a head, none of them like a face."""
    parts = [trimesh.creation.capsule(height=500, radius=130), *(trimesh.creation.capsule(500, 50) for _ in range(2))]
    feet = [(0, -750, -30), (-90, -1250, -30), (90, -1250, -30)]
    turned = [part.apply_transform(trimesh.transformations.rotation_matrix(-np.pi / 2, [1, 0, 0])) for part in parts]
    whole = trimesh.util.concatenate([part.apply_translation(at) for part, at in zip(turned, feet)])
    return np.asarray(whole.sample(count, seed=2))


@lru_cache(maxsize=1)
def room() -> np.ndarray:
    """A room of 5 m with a table and a box, and a head's points in it, mm."""
    table = walls((1200.0, 40.0, 700.0), 3000) + [900.0, -400.0, -900.0]
    box = walls((400.0, 500.0, 300.0), 3000) + [-1200.0, -900.0, 700.0]
    return np.concatenate([a_head(11, 4000), walls((5000.0, 2600.0, 5000.0), 12000), table, box])


def test_a_head_in_a_room_of_five_metres_is_found_in_metres() -> None:
    move = a_move(2, "m")
    result = find_pose(transform_points(move, room()), None, ict_template(), units="m")
    degrees, millimetres = miss(result, np.linalg.inv(move))
    assert degrees < 8 and millimetres < 10
    assert result.probability > SURE_ABOVE


def test_a_head_on_a_body_is_found_and_not_put_on_the_legs() -> None:
    move = a_move(7)
    body = np.concatenate([a_head(4, 4000), limbs(12000)])
    result = find_pose(transform_points(move, body), None, ict_template(), units="mm")
    degrees, millimetres = miss(result, np.linalg.inv(move))
    assert degrees < 8 and millimetres < 10


def test_a_body_without_a_head_is_refused_with_advice_that_does_not_lead_back() -> None:
    with pytest.raises(InputError) as caught:
        find_pose(limbs(12000), None, ict_template(), units="mm")
    message = str(caught.value)
    assert "\n" not in message
    assert "--landmarks" in message and "--units auto" not in message


def test_a_bare_room_is_refused() -> None:
    with pytest.raises(InputError):
        find_pose(walls((4.0, 2.5, 4.0), 20000), None, ict_template(), units="m")


def test_the_windows_of_a_room_are_few_and_the_first_holds_the_head() -> None:
    scan = clean_scan(room(), None)
    found = list(promising_windows(scan, ict_template(), 1.0, np.random.default_rng(0)))
    assert 1 <= len(found) <= 40
    middle = found[0].scan.points.mean(axis=0) + scan.center
    assert np.linalg.norm(middle - NOSE_TIP_MM) < 200
    assert found == sorted(found, key=lambda window: -window.promise)


def test_a_scan_much_larger_than_a_head_is_drawn_more_densely() -> None:
    body = np.concatenate([a_head(4, 40_000), limbs(150_000)])
    asked: list[int] = []

    def redraw(count: int) -> tuple[np.ndarray, None]:
        asked.append(count)
        return body[np.random.default_rng(3).permutation(len(body))[:count]], None

    sparse, _ = redraw(3000)
    result = find_pose(sparse, None, ict_template(), units="mm", redraw=redraw)
    _, millimetres = miss(result, np.eye(4))
    assert millimetres < 10 and max(asked) > 60_000


def test_advice_for_a_unit_given_wrongly_is_to_leave_it_out() -> None:
    with pytest.raises(InputError, match="leave the unit out"):
        find_pose(a_head(1), None, ict_template(), units="m")


def test_a_probability_is_one_of_a_good_pose_and_none_of_a_bad_one() -> None:
    assert probability_of(GOOD) > SURE_ABOVE
    bad = PoseEvidence(0.25, 0.2, 0.2, 0.2, 0.2, 0.4, 0.95, 0.15, 1.0)
    assert probability_of(bad) < REFUSED_BELOW


@settings(max_examples=60)
@given(
    st.sampled_from(["score", "face", "nose", "eyes", "mouth", "coverage"]),
    st.floats(0.0, 1.0),
    st.floats(0.0, 1.0),
    st.floats(0.2, 0.8),
)
def test_more_agreement_never_makes_a_pose_less_probable(name: str, a: float, b: float, rest: float) -> None:
    base = PoseEvidence(rest, rest, rest, rest, rest, rest, 0.5, 0.05, 0.0)
    low, high = (probability_of(dataclasses.replace(base, **{name: value})) for value in sorted((a, b)))
    assert 0.0 <= low <= high <= 1.0


def test_a_pose_in_between_is_given_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finder, "SURE_ABOVE", 1.0)
    result = find_pose(a_head(5), None, ict_template())
    doubt = next(warning for warning in result.warnings if "not sure" in warning)
    assert f"{result.probability:.2f}" in doubt
    assert all(advice in doubt for advice in ("overlay.ply", "crop", "--units", "--landmarks"))


def test_a_scan_that_promises_no_face_at_any_scale_gets_few_full_searches(monkeypatch: pytest.MonkeyPatch) -> None:
    searched: list[float] = []
    whole = multistart._search_whole

    def counted(
        scan: CleanScan, template: PoseTemplate, mm: float, rng: np.random.Generator, noses_only: bool
    ) -> object:
        searched.append(mm)
        return whole(scan, template, mm, rng, noses_only)

    monkeypatch.setattr(multistart, "_search_whole", counted)
    with pytest.raises(InputError, match="no face"):
        find_pose(limbs(8000), None, ict_template())
    # at most two faint windows of the unit, and of each of two free scales
    assert 1 <= len(searched) <= 6
