"""The Anny source: heads that are closed, placed and alike on both sides, lids that shut, and its places on ICT."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import igl
import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from imhead.conventions import ARKIT_NAMES, BOUNDS_MAX_MM, BOUNDS_MIN_MM
from imhead.errors import InputError
from imhead.sources.anny import ADULT, BLINKS, PHENOTYPES, AnnyModel, Person, array_digest, read_anny, step_weights
from imhead.sources.anny_arrays import build_anny, open_anny
from imhead.sources.anny_people import YEARS, draw_person
from imhead.sources.anny_to_ict import read_anny_to_ict
from imhead.sources.ict import IctModel, boundary_loops

SHUT = np.array([float(name in BLINKS) for name in ARKIT_NAMES])
SHARES = st.floats(0.0, 1.0)


def adult(anny: AnnyModel, **values: float) -> Person:
    phenotype = np.array([(ADULT | values).get(name, 1.0) for name in PHENOTYPES], dtype=np.float32)
    return Person(phenotype, np.zeros(len(anny.local_names), dtype=np.float32))


def lid_gap(anny: AnnyModel, vertices: np.ndarray, side: int) -> float:
    """Widest way from a vertex of the upper margin to the line of the lower one."""
    loop = vertices[anny.lid_loops[side]].astype(np.float64)
    outer = int(np.linalg.norm(anny.mean[anny.lid_loops[side]] - anny.mean[anny.lid_loops[side][0]], axis=1).argmax())
    lower = np.concatenate([loop[outer:], loop[:1]])
    along = np.concatenate([lower[:-1] + t * np.diff(lower, axis=0) for t in np.linspace(0.0, 1.0, 50)])
    return float(np.linalg.norm(loop[: outer + 1, None] - along, axis=2).min(axis=1).max())


@settings(deadline=None, max_examples=50)
@given(st.lists(SHARES, min_size=9, max_size=9))
def test_the_steps_of_each_phenotype_share_one_weight(values: list[float]) -> None:
    phenotype = np.array(values) + np.eye(9)[0] * 1e-3
    weights = step_weights(phenotype)
    assert (weights >= 0.0).all()
    ends = np.cumsum([3, 2, 5, 3, 3, 2, 2])
    np.testing.assert_allclose([part.sum() for part in np.split(weights, ends[:-1])], 1.0, atol=1e-6)


def test_a_person_drawn_twice_is_the_same_and_another_seed_is_another(small_anny: AnnyModel) -> None:
    first, again, other = (draw_person(small_anny, seed) for seed in (5, 5, 6))
    np.testing.assert_array_equal(first.phenotype, again.phenotype)
    np.testing.assert_array_equal(first.local, again.local)
    assert not np.array_equal(first.phenotype, other.phenotype)


def test_people_are_of_all_ages_and_both_genders_and_their_sides_go_together(small_anny: AnnyModel) -> None:
    people = [draw_person(small_anny, seed) for seed in range(300)]
    years = np.array([small_anny.years(float(p.phenotype[PHENOTYPES.index("age")])) for p in people])
    assert YEARS[0] - 0.1 < years.min() < 4.0 and 75.0 < years.max() < YEARS[1] + 0.1
    gender = np.array([p.phenotype[PHENOTYPES.index("gender")] for p in people])
    assert 0.3 < (gender > 0.5).mean() < 0.7
    left, right = np.array([p.local for p in people]).T
    assert np.corrcoef(left, right)[0, 1] > 0.9 and np.abs(left - right).max() > 0.0


@settings(deadline=None, max_examples=6)
@given(st.floats(-50.0, 50.0), st.floats(-0.5, 0.5))
def test_where_a_source_puts_its_head_does_not_matter(small_anny: AnnyModel, shift: float, angle: float) -> None:
    turn = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    template = (small_anny.template @ turn.T + [0.0, shift, 2.0 * shift]).astype(np.float32)
    moved = replace(small_anny, template=template)
    np.testing.assert_allclose(moved.neutral(adult(moved)), small_anny.mean, atol=1e-3)


def test_a_small_head_stays_small_and_its_expressions_are_as_small(small_anny: AnnyModel) -> None:
    young, old = (small_anny.neutral(adult(small_anny, age=age)) for age in (-1 / 3, 2 / 3))
    ratio = np.ptp(young, axis=0) / np.ptp(old, axis=0)
    np.testing.assert_allclose(ratio, 0.6, atol=1e-3)
    jaw = np.eye(52)[ARKIT_NAMES.index("jawOpen")]
    moved = [np.abs(small_anny.posed(head, jaw) - head).max() for head in (young, old)]
    assert moved[1] > 10.0 and moved[0] / moved[1] == pytest.approx(0.6, abs=0.01)


def test_shut_lids_meet_and_half_shut_ones_keep_off_the_eyeball(small_anny: AnnyModel) -> None:
    for side in (0, 1):
        assert lid_gap(small_anny, small_anny.mean, side) > 5.0
        assert lid_gap(small_anny, small_anny.posed(small_anny.mean, SHUT), side) < 0.5
        ball = np.unique(small_anny.eye_faces)
        ball = ball[(small_anny.mean[ball, 0] > 0) == (side == 0)]
        center = small_anny.mean[ball].mean(axis=0)
        open_, half = (
            np.linalg.norm(v[small_anny.lid_loops[side]] - center, axis=1)
            for v in (small_anny.mean, small_anny.posed(small_anny.mean, 0.5 * SHUT))
        )
        assert half.min() > open_.min() - 0.1


def test_a_wink_moves_one_eye_only(small_anny: AnnyModel) -> None:
    left = np.eye(52)[ARKIT_NAMES.index("eyeBlinkLeft")]
    moved = np.linalg.norm(small_anny.posed(small_anny.mean, left) - small_anny.mean, axis=1) > 0
    assert moved.any() and (small_anny.mean[moved, 0] > 0).all()


def test_arrays_that_are_missing_cut_short_or_foreign_are_refused_with_one_line(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    path = tmp_path / "anny.safetensors"
    with pytest.raises(InputError, match=r"install imhead\[anny\]"):
        read_anny(path)
    save_file({"mean": np.zeros((4, 3), np.float32)}, path)
    for content in (path.read_bytes()[:50], b"", path.read_bytes()):
        path.write_bytes(content)
        with pytest.raises(InputError, match="delete it") as caught:
            read_anny(path)
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_without_the_package_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "anny", None)
    with pytest.raises(InputError, match=r"install imhead\[anny\]"):
        open_anny(lambda _: None, tmp_path / "anny.safetensors")
    assert not list(tmp_path.iterdir())


def test_the_digest_forgives_the_last_bits_and_nothing_else() -> None:
    values = np.linspace(0.0, 50.0, 99, dtype=np.float32)
    assert array_digest({"a": values}) == array_digest({"a": np.nextafter(values, np.float32(100.0))})
    assert array_digest({"a": values}) != array_digest({"a": values + np.float32(0.01)})
    assert array_digest({"a": values}) != array_digest({"b": values})


def test_places_for_other_faces_are_refused(small_anny: AnnyModel) -> None:
    with pytest.raises(InputError, match="other faces"):
        read_anny_to_ict(small_anny)


@pytest.fixture(scope="module")
def people(anny: AnnyModel) -> list[np.ndarray]:
    """Neutral heads of an infant, a child, two adults and an old one."""
    seeds = {k: small for small in range(400) if (k := _band(anny, draw_person(anny, small))) is not None}
    return [anny.neutral(draw_person(anny, seeds[k])) for k in sorted(seeds)]


def _band(anny: AnnyModel, person: Person) -> int | None:
    years = anny.years(float(person.phenotype[PHENOTYPES.index("age")]))
    return next((k for k, (low, high) in enumerate(((1, 4), (5, 10), (20, 35), (75, 85))) if low < years < high), None)


def test_skin_and_eyeballs_are_watertight_and_face_outwards(anny: AnnyModel, people: list[np.ndarray]) -> None:
    jaw = np.eye(52)[ARKIT_NAMES.index("jawOpen")]
    for head in people:
        for vertices in (head, anny.posed(head, jaw), anny.posed(head, SHUT)):
            for faces in (anny.skin_faces, anny.eye_faces):
                solid = trimesh.Trimesh(vertices, faces, process=False)
                assert solid.is_watertight and solid.is_winding_consistent
                assert solid.volume > 0


def test_the_winding_number_tells_inside_from_outside(anny: AnnyModel, people: list[np.ndarray]) -> None:
    for head in people:
        vertices = head.astype(np.float64)
        middle = anny.head_weights @ vertices
        number = igl.fast_winding_number(vertices, anny.skin_faces, np.stack([middle, middle + [0.0, 0.0, 400.0]]))
        np.testing.assert_allclose(number, [1.0, 0.0], atol=0.02)


def test_the_mean_head_stands_in_the_head_frame_in_mm(anny: AnnyModel) -> None:
    nose = anny.mean[anny.mean[:, 2].argmax()]
    assert abs(nose[0]) < 1.0 and nose[2] > 90.0
    ear = anny.mean[np.where(np.abs(anny.mean[:, 1]) < 40.0, anny.mean[:, 0], 0.0).argmax()]
    assert abs(ear[1]) < 40.0 and abs(ear[2]) < 40.0
    assert 100.0 < anny.mean[:, 1].max() < 180.0


def test_people_keep_within_the_bounds_and_infants_are_smaller(anny: AnnyModel, people: list[np.ndarray]) -> None:
    for head in people:
        assert (head > BOUNDS_MIN_MM).all() and (head < BOUNDS_MAX_MM).all()
    skull = [np.ptp(head[anny.head_weights > 0], axis=0)[0] for head in people]
    assert skull[0] < 0.9 * skull[2]


def test_the_lips_of_every_age_part_in_the_canonical_pose(
    anny: AnnyModel, ict: IctModel, people: list[np.ndarray]
) -> None:
    carried = read_anny_to_ict(anny).carried
    lips = next(loop for loop in boundary_loops(ict.skin_open_faces) if len(loop) == 74)
    middle = lips[np.abs(ict.mean[lips, 0]) < 2.0]
    for head in people:
        gap = [np.ptp(carried(v)[middle, 1]) for v in (head, anny.canonical(head))]
        assert gap[1] - gap[0] > 1.0


def test_the_eyes_of_every_age_shut(anny: AnnyModel, people: list[np.ndarray]) -> None:
    for head in people:
        for side in (0, 1):
            assert lid_gap(anny, head, side) > 2.0
            assert lid_gap(anny, anny.posed(head, SHUT), side) < 0.3


def test_ict_s_topology_carried_to_anny_lies_on_it_with_no_face_turned_over(
    anny: AnnyModel, ict: IctModel, people: list[np.ndarray]
) -> None:
    places = read_anny_to_ict(anny)
    assert len(places.corners) == len(ict.mean)
    np.testing.assert_allclose(places.shares.sum(axis=1), 1.0, atol=1e-5)
    assert places.shares.min() > -1e-5
    for head in people:
        carried = places.carried(head)
        corner = carried[ict.skin_open_faces]
        centers = corner.mean(axis=1).astype(np.float64)
        squared, face, _ = igl.point_mesh_squared_distance(centers, head.astype(np.float64), anny.skin_faces)
        assert np.sqrt(squared).mean() < 0.2
        theirs = head[anny.skin_faces[face]]
        facing = [np.cross(c[:, 1] - c[:, 0], c[:, 2] - c[:, 0]) for c in (corner, theirs)]
        assert ((facing[0] * facing[1]).sum(axis=1) > 0).mean() > 0.95


def test_the_mean_heads_agree_in_place(anny: AnnyModel, ict: IctModel) -> None:
    skin = np.unique(ict.skin_open_faces)
    away = np.linalg.norm(read_anny_to_ict(anny).carried(anny.mean) - ict.mean, axis=1)[skin]
    assert np.median(away) < 8.0


def test_one_arkit_unit_means_the_same_motion_on_both_sources(anny: AnnyModel, ict: IctModel) -> None:
    carried, skin = read_anny_to_ict(anny).carried, np.unique(ict.skin_open_faces)
    rest, agreement = carried(anny.mean), {}
    for name, unit, row in zip(ARKIT_NAMES, ict.expressions, np.eye(52)):
        if name != "tongueOut":
            here, there = (carried(anny.posed(anny.mean, row)) - rest)[skin], unit[skin]
            agreement[name] = float((here * there).sum() / np.linalg.norm(here) / np.linalg.norm(there))
    assert np.median(list(agreement.values())) > 0.75 and min(agreement.values()) > 0.3
    assert agreement["jawOpen"] > 0.9


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_arrays_built_anew_are_those_in_the_cache(anny: AnnyModel, tmp_path: Path) -> None:
    pytest.importorskip("anny")
    build_anny(tmp_path / "anny.safetensors")
    assert read_anny(tmp_path / "anny.safetensors").digest == anny.digest
