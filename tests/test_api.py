"""The Python verbs, on the model that ships."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import imhead
from imhead.checkpoint import Model
from imhead.regions import REGIONS
from imhead.surfaces.eyeballs import eyes_distance


@pytest.fixture(scope="module")
def model() -> imhead.MorphableModel:
    return imhead.load(device="cpu")


def test_the_model_that_ships_names_its_data_and_its_limits(model: imhead.MorphableModel) -> None:
    card = model.model.card
    sources = " ".join(card["data"])
    assert "ICT-FaceKit" in sources and "MIT" in sources
    assert "not a medical device" in card["limits"]


def test_the_mean_head_is_as_symmetric_as_its_data(model: imhead.MorphableModel) -> None:
    rng = np.random.default_rng(0)
    points = model.neutral().mesh(resolution=64).vertices
    points = points[rng.integers(len(points), size=2000)]
    field = model.neutral().field()
    assert np.abs(field.sdf(points) - field.sdf(points * [-1.0, 1.0, 1.0])).mean() < 0.3


def test_samples_of_a_seed_are_the_same_heads_and_differ_from_each_other(model: imhead.MorphableModel) -> None:
    first, second = model.sample(2, seed=5)
    again = model.sample(2, seed=5)[0]
    np.testing.assert_array_equal(first.codes.z_id, again.codes.z_id)
    assert not np.allclose(first.codes.z_id, second.codes.z_id)


def test_an_edit_of_the_nose_moves_nothing_outside_the_nose(model: imhead.MorphableModel) -> None:
    head = model.sample(1, seed=2)[0]
    edited = head.sample("nose", seed=4, strength=2.0)
    before, after = head.field(), edited.field()
    rng = np.random.default_rng(1)
    points = rng.uniform([-90.0, -110.0, 0.0], [90.0, 120.0, 140.0], (100_000, 3))
    places = before.canonical(points)
    outside = np.ones(len(points), dtype=bool)
    for ball in (*head.balls("nose"), *edited.balls("nose")):
        outside &= np.linalg.norm(places - ball.center_mm, axis=1) > ball.radius_mm * (1.0 + 1e-5)
    old, new = before.sdf(points), after.sdf(points)
    assert outside.sum() > 50_000
    np.testing.assert_array_equal(old[outside], new[outside])
    assert np.abs(old - new)[~outside].max() > 0.5


def test_a_reach_holds_its_ball_in_an_open_mouth_too(model: imhead.MorphableModel) -> None:
    field = model.neutral().field({"jawOpen": 0.8})
    lip = next(r.index for r in REGIONS if r.name == "lower_lip")
    reach, ball = field.posed_ball(lip), field.ball(lip)
    points = ball.center_mm + np.random.default_rng(0).normal(0.0, 25.0, (5000, 3))
    held = np.linalg.norm(field.canonical(points) - ball.center_mm, axis=1) < ball.radius_mm
    assert held.any()
    assert (np.linalg.norm(points[held] - reach.center_mm, axis=1) <= reach.radius_mm).all()


def test_a_saved_head_opens_as_it_was(model: imhead.MorphableModel, tmp_path: Path) -> None:
    head = model.sample(1, seed=9)[0].along("left_ear", 1, -1.0, mirror=True)
    head.save(tmp_path / "head.safetensors")
    opened = model.open(tmp_path / "head.safetensors")
    np.testing.assert_array_equal(opened.codes.offsets, head.codes.offsets)
    assert opened.codes.provenance == head.codes.provenance


def test_an_open_jaw_lowers_the_chin(model: imhead.MorphableModel) -> None:
    neutral, jaw = model.neutral().field({}), model.neutral().field({"jawOpen": 0.7})
    chin = np.array([[0.0, y, 80.0] for y in np.linspace(-140.0, -40.0, 200)])
    lowest = [chin[field.sdf(chin) < 0.0][:, 1].min() for field in (neutral, jaw)]
    assert lowest[1] < lowest[0] - 5.0


@pytest.mark.parametrize("seed", [None, 3])
def test_a_blink_shuts_the_eye(model: imhead.MorphableModel, seed: int | None) -> None:
    head = model.neutral() if seed is None else model.sample(1, seed=seed)[0]
    shut = head.field({"eyeBlinkLeft": 1.0})
    center, radius = shut.eyes[0, :3], shut.eyes[0, 3]
    ahead = np.linspace(0.0, radius + 15.0, 400)
    for x, y in itertools.product((-8.0, -4.0, 0.0, 4.0, 8.0), np.linspace(-10.0, 10.0, 21)):
        ray = center + np.stack([np.full(400, x), np.full(400, y), ahead], axis=1)
        front, ball = (ahead[distance < 0.0].max() for distance in (shut.sdf(ray), eyes_distance(ray, shut.eyes)))
        assert front > ball + 0.3, (x, y)  # the eyeball is covered everywhere between the lids


def test_a_mistake_in_python_is_an_input_error(model: imhead.MorphableModel) -> None:
    with pytest.raises(imhead.InputError, match="nose"):
        model.neutral().sample("noze", 1)
    with pytest.raises(imhead.InputError, match="exactly one"):
        model.neutral().edit("nose")
    with pytest.raises(imhead.InputError, match="device"):
        imhead.load(device="tpu")
    with pytest.raises(imhead.InputError, match="leave it out"):
        model.neutral().edit("nose", symmetry="left", strength=2.0)
    with pytest.raises(imhead.InputError, match="outside -10 to 10"):
        model.neutral().sample("nose", 1, strength=11.0)


def test_a_keyword_of_edit_is_the_method_of_its_kind(model: imhead.MorphableModel) -> None:
    head, other = model.sample(2, seed=3)
    pairs = [
        (head.edit("nose", sample=4, strength=0.5, mirror=True), head.sample("nose", 4, 0.5, mirror=True)),
        (head.edit("mouth", source=other, strength=0.5), head.take_from("mouth", other, 0.5)),
        (head.edit("ears", blend=[(other, 0.4)]), head.blend("ears", [(other, 0.4)])),
        (head.edit("chin", direction="longer", strength=-1.0), head.along("chin", "longer", -1.0)),
        (head.edit("ears", symmetry="right"), head.symmetrise("ears", "right")),
        (head.edit("chin", plausible=0.4), head.limit("chin", 0.4)),
    ]
    for by_keyword, by_method in pairs:
        np.testing.assert_array_equal(by_keyword.codes.offsets, by_method.codes.offsets)
        assert by_keyword.codes.provenance == by_method.codes.provenance


def test_heads_of_two_models_do_not_mix(model: imhead.MorphableModel, random_model: Callable[..., Model]) -> None:
    unknown = random_model()
    other = imhead.EditableHead(unknown.neutral(), unknown)
    with pytest.raises(imhead.InputError, match="two models"):
        model.neutral().take_from("nose", other)


def test_a_notebook_shows_a_head_as_a_picture_and_its_history(model: imhead.MorphableModel) -> None:
    shown = model.neutral()._repr_html_()
    assert "data:image/jpeg;base64," in shown and "mean head" in shown


def test_what_a_notebook_shows_is_escaped_and_bounded(model: imhead.MorphableModel) -> None:
    hostile = ("<script>alert(1)</script>" + "x" * 10_000, *["<b>edit</b>"] * 500)
    codes = replace(model.neutral().codes, provenance=hostile)
    shown = imhead.EditableHead(codes, model.model)._repr_html_()
    assert "<script" not in shown and "<b>edit" not in shown and len(shown) < 100_000
    card = {f"<i>{k}": "<i>" * 1000 for k in range(1000)}
    told = imhead.MorphableModel(replace(model.model, name="<u>", card=card))._repr_html_()
    assert "<i>" not in told and "<u>" not in told and len(told) < 20_000
