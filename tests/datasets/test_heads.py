"""Heads of a data set: vertices of each source, in every pose, and on ICT's topology."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from imhead.conventions import ARKIT_NAMES
from imhead.datasets.dataset import build_dataset, open_dataset
from imhead.datasets.heads import OpenSources, SourceHead, check_sources, open_sources, posed_mesh
from imhead.datasets.recipe import Recipe
from imhead.errors import InputError
from imhead.sources.anny import AnnyModel
from imhead.sources.compose import ComposeConfig, draw_identity, group_masks
from imhead.sources.ict import IctModel

JAW_OPEN = np.eye(len(ARKIT_NAMES))[ARKIT_NAMES.index("jawOpen")]
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


def test_a_composed_head_is_the_identity_that_its_seed_names(
    small_ict: IctModel, sources: OpenSources, tmp_path: Path
) -> None:
    build_dataset(replace(RECIPE, shares={"compose": 1.0}), sources, tmp_path / "set")
    masks, config = group_masks(small_ict.mean), ComposeConfig(composed_fraction=1.0)
    for identity in open_dataset(tmp_path / "set").identities:
        drawn = small_ict.mean + draw_identity(small_ict, masks, identity.seed, config)
        np.testing.assert_array_equal(sources.head(identity.shape).neutral, drawn)


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
