"""Heads of a data set: vertices of each source, in every pose, and on ICT's topology."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from imhead.conventions import ARKIT_NAMES
from imhead.datasets.dataset import build_dataset, open_dataset
from imhead.datasets.heads import HeadSource, OpenSources, SourceHead, check_sources, open_sources, posed_mesh
from imhead.datasets.recipe import Recipe
from imhead.errors import InputError
from imhead.sources.anny import AnnyModel
from imhead.sources.anny_people import draw_person
from imhead.sources.compose import ComposeConfig, draw_composition, draw_identity, group_masks
from imhead.sources.deformations import Deformation, DeformationConfig, displacements
from imhead.sources.ict import IctModel
from imhead.surfaces.eyeballs import eye_centers, eyes_distance, fitted_eyes

JAW_OPEN = np.eye(len(ARKIT_NAMES))[ARKIT_NAMES.index("jawOpen")]
BLINK = np.isin(ARKIT_NAMES, ["eyeBlinkLeft", "eyeBlinkRight"]).astype(np.float64)
NEUTRAL = np.zeros(len(ARKIT_NAMES))
RECIPE = Recipe(identities=12, expressions=2)


@pytest.fixture(scope="module")
def sources(small_ict: IctModel, small_anny: AnnyModel) -> OpenSources:
    return OpenSources(small_ict, small_anny)


@pytest.fixture(scope="module")
def heads(sources: OpenSources, tmp_path_factory: pytest.TempPathFactory) -> dict[str, SourceHead]:
    folder = tmp_path_factory.mktemp("set") / "set"
    build_dataset(RECIPE, sources, folder)
    return {identity.source: sources.head(identity.shape) for identity in open_dataset(folder).identities}


def test_a_head_without_expression_is_its_neutral_one(heads: dict[str, SourceHead]) -> None:
    assert set(heads) == {"ict", "compose", "anny"}
    for head in heads.values():
        assert head.neutral.shape == head.source.mean.shape and head.neutral.dtype == np.float32
        np.testing.assert_allclose(head.posed(NEUTRAL), head.neutral, atol=1e-4)


def test_the_canonical_pose_is_a_little_of_the_open_jaw(heads: dict[str, SourceHead]) -> None:
    for head in heads.values():
        canonical, opened = head.canonical - head.neutral, head.posed(JAW_OPEN) - head.neutral
        np.testing.assert_allclose(canonical, 0.08 * opened, atol=1e-3)
        assert np.abs(canonical).max() > 0.5


def test_a_composed_head_is_the_identity_that_its_seed_names_with_its_lids_on_its_eyes(
    small_ict: IctModel, sources: OpenSources, tmp_path: Path
) -> None:
    build_dataset(replace(RECIPE, shares={"compose": 1.0}), sources, tmp_path / "set")
    masks, config = group_masks(small_ict.mean), ComposeConfig(composed_fraction=1.0)
    for identity in open_dataset(tmp_path / "set").identities:
        drawn = small_ict.mean + draw_identity(small_ict, masks, identity.seed, config)
        head = sources.head(identity.shape)
        lids, _ = lids_of_mean(small_ict, mean_eyes(small_ict))
        np.testing.assert_array_equal(np.delete(head.neutral, lids, axis=0), np.delete(drawn, lids, axis=0))
        ball = np.unique(small_ict.eye_faces)
        np.testing.assert_array_equal(head.neutral[ball], drawn[ball])


def test_no_expression_moves_an_eyeball(heads: dict[str, SourceHead]) -> None:
    weights = np.random.default_rng(0).random(len(ARKIT_NAMES))
    for head in heads.values():
        ball = np.unique(head.source.eye_faces)
        for vertices in (head.canonical, head.posed(weights), head.posed(BLINK)):
            np.testing.assert_array_equal(vertices[ball], head.neutral[ball])


def test_the_eyes_of_a_head_are_its_eyeballs(heads: dict[str, SourceHead], ict: IctModel) -> None:
    composed = OpenSources(ict).head(draw_composition(2, ComposeConfig(composed_fraction=1.0)))
    for head in (heads["ict"], heads["anny"], composed):
        vertices = head.neutral[np.unique(head.source.eye_faces)].astype(np.float64)
        assert head.eyes.shape == (2, 5)
        assert np.abs(eyes_distance(vertices, head.eyes)).mean() < 0.15
        centers = eye_centers(head.eyes)
        assert centers[0, 0] > 10.0 and centers[1, 0] < -10.0


def test_eyes_are_known_without_the_rest_of_a_head(sources: OpenSources, small_anny: AnnyModel, ict: IctModel) -> None:
    cases = ((OpenSources(ict), draw_composition(2, ComposeConfig())), (sources, draw_person(small_anny, 2)))
    for opened, shape in cases:
        for deformation in DEFORMED:
            wanted = opened.head(shape, deformation).eyes
            np.testing.assert_allclose(opened.eyes(shape, deformation), wanted, atol=0.02)


def lids_of_mean(source: HeadSource, eyes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vertices of the skin near the eyeballs of a mean head, and their distances (n,) there."""
    skin = np.unique(source.skin_faces)
    distance = eyes_distance(source.mean[skin].astype(np.float64), eyes)
    near = (distance > -1.0) & (distance < 5.0)
    return skin[near], distance[near]


def mean_eyes(source: HeadSource) -> np.ndarray:
    ball = np.unique(source.eye_faces)
    left = source.mean[ball, 0] > 0.0
    return fitted_eyes(source.mean[ball[left]], source.mean[ball[~left]])


def assert_lids_lie_on_eyes(head: SourceHead) -> None:
    rows, at_rest = lids_of_mean(head.source, mean_eyes(head.source))
    assert len(rows) > 50
    for weight in (0.0, 0.25, 0.5, 1.0):
        distance = eyes_distance(head.posed(weight * BLINK)[rows].astype(np.float64), head.eyes)
        # as far from the eyeball as on the mean head, or 0.7 mm; a margin's inner side ends in it, by at most 0.5 mm
        inner = at_rest < 0.0
        least = np.where(inner, np.minimum(at_rest, -0.15), at_rest)
        least[~inner] = np.minimum(least, -0.15 + 3.0 * at_rest)[~inner]
        assert (distance > np.clip(least, -0.5, 0.7) - 0.02).all(), weight
        assert (distance[inner] < -0.13).all(), weight
        assert (distance[(at_rest < 0.15) & ~inner] < 0.32).all(), weight


DEFORMED = [None, Deformation(5, DeformationConfig(strength=(1.0, 1.0)))]


@pytest.mark.parametrize("deformation", DEFORMED)
def test_in_every_stage_of_a_blink_the_lids_of_ict_lie_on_its_eyes(
    ict: IctModel, deformation: Deformation | None
) -> None:
    sources = OpenSources(ict)
    for seed in (0, 1):
        head = sources.head(draw_composition(seed, ComposeConfig(composed_fraction=1.0)), deformation)
        assert_lids_lie_on_eyes(head)


@pytest.mark.parametrize("deformation", DEFORMED)
def test_in_every_stage_of_a_blink_the_lids_of_the_stand_in_lie_on_its_eyes(
    small_anny: AnnyModel, deformation: Deformation | None
) -> None:
    sources = OpenSources(anny=small_anny)
    for seed in (0, 1):
        assert_lids_lie_on_eyes(sources.head(draw_person(small_anny, seed), deformation))


def test_in_every_stage_of_a_blink_the_lids_of_people_of_all_ages_lie_on_their_eyes(anny: AnnyModel) -> None:
    sources = OpenSources(anny=anny)
    for seed in range(3):
        assert_lids_lie_on_eyes(sources.head(draw_person(anny, seed), DEFORMED[1]))


def test_no_eyeball_shows_through_a_lid(ict: IctModel) -> None:
    eyes = mean_eyes(ict)
    faces = ict.skin_open_faces
    distance = eyes_distance(ict.mean.astype(np.float64), eyes)
    lids = faces[((distance[faces] > 0.16) & (distance[faces] < 5.0)).all(axis=1)]
    assert len(lids) > 500
    head = OpenSources(ict).head(draw_composition(3, ComposeConfig(composed_fraction=1.0)), DEFORMED[1])
    inside = np.random.default_rng(0).dirichlet(np.ones(3), 10)
    for weight in (0.0, 0.25, 0.5, 1.0):
        corners = head.posed(weight * BLINK)[lids].astype(np.float64)
        places = np.einsum("kb,fbc->fkc", inside, corners).reshape(-1, 3)
        assert eyes_distance(places, head.eyes).min() > 0.0, weight


def test_a_deformation_is_added_to_the_neutral_head_and_moves_eyes_and_lids_together(
    sources: OpenSources, small_ict: IctModel, small_anny: AnnyModel
) -> None:
    deformation = DEFORMED[1]
    assert deformation is not None
    shapes = draw_composition(4, ComposeConfig()), draw_person(small_anny, 4)
    for source, shape in zip((small_ict, small_anny), shapes):
        plain, deformed = sources.head(shape), sources.head(shape, deformation)
        moved = displacements(source.mean, mean_eyes(source), deformation)
        far = eyes_distance(source.mean.astype(np.float64), mean_eyes(source)) > 8.0
        np.testing.assert_allclose((deformed.neutral - plain.neutral)[far], moved[far], atol=1e-4)
        shift = displacements(eye_centers(mean_eyes(source)), mean_eyes(source), deformation)
        np.testing.assert_allclose(eye_centers(deformed.eyes) - eye_centers(plain.eyes), shift, atol=0.02)
        np.testing.assert_allclose(deformed.eyes[:, 3:], plain.eyes[:, 3:], atol=0.02)


def test_the_mean_eyes_are_those_of_ict(sources: OpenSources, small_ict: IctModel, small_anny: AnnyModel) -> None:
    np.testing.assert_allclose(sources.mean_eyes, mean_eyes(small_ict))
    with pytest.raises(InputError, match="--ict"):
        _ = OpenSources(anny=small_anny).mean_eyes


def test_a_head_of_ict_is_already_on_ict_s_topology(heads: dict[str, SourceHead]) -> None:
    for name in ("ict", "compose"):
        np.testing.assert_array_equal(heads[name].registered(heads[name].canonical), heads[name].canonical)


def test_a_mesh_of_a_head_holds_skin_and_eyeballs(heads: dict[str, SourceHead]) -> None:
    head = heads["anny"]
    mesh = posed_mesh(head, JAW_OPEN)
    assert len(mesh.faces) == len(head.source.skin_faces) + len(head.source.eye_faces)
    np.testing.assert_allclose(mesh.vertices, head.posed(JAW_OPEN), atol=1e-5)


def test_other_data_than_the_set_was_drawn_from_is_refused(
    small_ict: IctModel, sources: OpenSources, tmp_path: Path
) -> None:
    manifest = build_dataset(RECIPE, sources, tmp_path / "set")
    check_sources(manifest, sources)
    other = replace(small_ict, mean=small_ict.mean + np.float32(0.5))
    with pytest.raises(InputError, match=r"source ict.*hash"):
        check_sources(manifest, OpenSources(other, sources.anny))
    with pytest.raises(InputError, match="anny"):
        check_sources(manifest, OpenSources(ict=small_ict))


def test_ict_without_its_data_is_refused_with_the_option_that_names_it() -> None:
    with pytest.raises(InputError, match="--ict"):
        open_sources(("compose",), None, None, lambda _: None)


def test_heads_of_the_real_sources_lie_on_one_topology(anny: AnnyModel, ict: IctModel, tmp_path: Path) -> None:
    sources = OpenSources(ict, anny)
    build_dataset(RECIPE, sources, tmp_path / "set")
    opened = open_dataset(tmp_path / "set")
    for identity in opened.identities:
        head = sources.head(identity.shape)
        registered = head.registered(head.canonical)
        assert registered.shape == ict.mean.shape
        away = np.linalg.norm(registered - ict.mean - ict.canonical_offset, axis=1)
        assert np.median(away) < (35.0 if identity.source == "anny" else 15.0)
        posed = head.posed(opened.expressions[identity.index, 1])
        assert np.isfinite(posed).all() and posed.shape == head.neutral.shape
