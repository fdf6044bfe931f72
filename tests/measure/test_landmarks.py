"""Landmarks on heads of the shipped model: on the surface, where their definitions say, and local."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from imhead import editing, load
from imhead.api import EditableHead, MorphableModel
from imhead.measure.carrier import landmark_points
from imhead.measure.landmarks import landmark_names, landmark_places


@pytest.fixture(scope="module")
def shipped() -> MorphableModel:
    opened = load(device="cpu")
    if not opened.has_template:
        pytest.skip("the shipped model has no template yet: imhead train writes it, copy it beside the model")
    return opened


@pytest.fixture(scope="module")
def heads(shipped: MorphableModel) -> list[EditableHead]:
    return [shipped.neutral(), *shipped.sample(2, seed=11)]


def test_every_landmark_that_belongs_to_the_surface_lies_on_it(
    shipped: MorphableModel, heads: list[EditableHead]
) -> None:
    on_surface = landmark_points(shipped.model).share > 0.999
    assert on_surface.sum() > 40
    for head in heads:
        places = np.stack(list(head.landmarks().values()))
        assert np.abs(head.field({}).sdf(places))[on_surface].max() < 0.1


def test_the_carried_points_are_those_of_the_template(shipped: MorphableModel, heads: list[EditableHead]) -> None:
    z = editing.region_codes(shipped.model, heads[1].codes)
    of_mesh = landmark_places().of(shipped.template.blend(shipped.model, z))
    np.testing.assert_allclose(landmark_points(shipped.model).blend(z), of_mesh, atol=1e-4)


def test_landmarks_lie_where_their_definitions_say(heads: list[EditableHead]) -> None:
    for head in heads:
        at = head.landmarks()
        midline = ["glabella", "nasion", "pronasale", "subnasale", "labiale_superius", "stomion_superius",
                   "labiale_inferius", "sublabiale", "pogonion", "gnathion"]  # fmt: skip
        heights = [at[name][1] for name in midline]
        assert heights == sorted(heights, reverse=True)
        assert at["pronasale"][2] == max(place[2] for place in at.values())
        assert at["left_alare"][0] > at["left_subalare"][0] and at["left_exocanthion"][0] > at["left_endocanthion"][0]
        assert at["left_superaurale"][1] > at["left_tragion"][1] > at["left_subaurale"][1]
        assert at["left_preaurale"][2] > at["left_postaurale"][2]
        for name in landmark_names():
            assert not name.startswith("left_") or at[name][0] > 0.0 > at[name.replace("left", "right", 1)][0]


def test_measurements_are_those_of_people(heads: list[EditableHead]) -> None:
    # far wider than anyone's, to catch a landmark on the wrong place or a wrong unit
    limits = {"nasal_length": (30, 65), "tip_projection": (12, 30), "alar_width": (25, 55), "mouth_width": (35, 70),
              "intercanthal_distance": (22, 50), "bizygomatic_width": (110, 180), "left_ear_length": (42, 80),
              "nasolabial_angle": (60, 150), "face_height": (90, 150), "nose_volume": (3, 40)}  # fmt: skip
    for head in heads:
        measured = head.measure()
        for name, (low, high) in limits.items():
            assert low < measured[name] < high, (name, measured[name])


def test_an_edit_moves_no_landmark_outside_its_balls(shipped: MorphableModel, heads: list[EditableHead]) -> None:
    head = heads[1]
    changed = head.edit("nose", sample=3, strength=1.0)
    balls = [ball for h in (head, changed) for ball in h.balls("nose")]
    z = editing.region_codes(shipped.model, head.codes)
    canonical = landmark_points(shipped.model).blend(z)
    outside = np.ones(len(canonical), dtype=bool)
    for ball in balls:
        outside &= np.linalg.norm(canonical - ball.center_mm, axis=1) > ball.radius_mm + 0.5
    before, after = (np.stack(list(h.landmarks().values())) for h in (head, changed))
    assert outside.sum() > 25
    np.testing.assert_array_equal(before[outside], after[outside])
    assert not np.array_equal(before, after)


def test_an_expression_changes_no_measurement(heads: list[EditableHead]) -> None:
    head = heads[1]
    smiling = EditableHead(replace(head.codes, z_exp=np.full(64, 0.3)), head.model)
    assert smiling.measure() == head.measure()


def test_some_landmarks_are_carried_alone_as_among_all(shipped: MorphableModel, heads: list[EditableHead]) -> None:
    points = landmark_points(shipped.model)
    rows = np.array([landmark_names().index(r) for r in ("pronasale", "left_alare", "right_tragion")])
    alone = points.chosen(rows).on_head(shipped.model, heads[1].codes)
    np.testing.assert_allclose(alone, points.on_head(shipped.model, heads[1].codes)[rows], atol=1e-9)
