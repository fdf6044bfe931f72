"""A data set: the same from the same seed, honest about its splits, whole on disk, and refused when it is not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from imhead.datasets.dataset import EXPRESSIONS_FILE, IDENTITIES_FILE, DataSet, build_dataset, open_dataset
from imhead.datasets.heads import OpenSources
from imhead.datasets.manifest import MANIFEST, SPLITS, read_manifest
from imhead.datasets.recipe import (
    HELD_OUT_SEED,
    SHARES,
    Recipe,
    draw_identities,
    identity_seed,
    shuffled_sources,
    spread_rows,
)
from imhead.errors import InputError
from imhead.sources.anny import AnnyModel, Person
from imhead.sources.compose import Composition
from imhead.sources.deformations import DeformationConfig
from imhead.sources.ict import IctModel

RECIPE = Recipe(identities=40, expressions=4, validation=0.1, heldout=0.2)


@pytest.fixture(scope="module")
def sources(small_ict: IctModel, small_anny: AnnyModel) -> OpenSources:
    return OpenSources(small_ict, small_anny)


@pytest.fixture
def folder(sources: OpenSources, tmp_path: Path) -> Path:
    build_dataset(RECIPE, sources, tmp_path / "set")
    return tmp_path / "set"


@pytest.fixture
def opened(folder: Path) -> DataSet:
    return open_dataset(folder)


def assert_refused(folder: Path, *words: str) -> None:
    with pytest.raises(InputError) as caught:
        open_dataset(folder)
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value), caught.value


def rewritten(folder: Path, name: str, **changed: np.ndarray) -> None:
    """Change tensors of a file, and the manifest's hash of it."""
    import hashlib

    path = folder / name
    save_file(load_file(path) | changed, path)
    value = json.loads((folder / MANIFEST).read_text())
    value["files"][name] = hashlib.sha256(path.read_bytes()).hexdigest()
    (folder / MANIFEST).write_text(json.dumps(value))


def test_what_was_drawn_is_what_is_read(opened: DataSet, sources: OpenSources) -> None:
    drawn = draw_identities(RECIPE, sources.anny)
    assert len(opened.identities) == len(drawn) == 40
    for here, there in zip(opened.identities, drawn):
        assert (here.index, here.source, here.seed, here.split) == (there.index, there.source, there.seed, there.split)
        assert type(here.shape) is type(there.shape)
        for name, value in vars(there.shape).items():
            np.testing.assert_array_equal(getattr(here.shape, name), value)
    assert opened.expressions.shape == (40, 4, 52) and not opened.expressions.flags.writeable


def test_the_same_seed_is_the_same_set_to_the_byte_and_another_is_another(
    folder: Path, sources: OpenSources, tmp_path: Path
) -> None:
    build_dataset(RECIPE, sources, tmp_path / "again")
    build_dataset(replace(RECIPE, seed=1), sources, tmp_path / "other")
    for name in (MANIFEST, IDENTITIES_FILE, EXPRESSIONS_FILE):
        assert (folder / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
        assert (folder / name).read_bytes() != (tmp_path / "other" / name).read_bytes()


def test_every_source_comes_as_often_as_its_share_says_in_every_split(opened: DataSet) -> None:
    for split in SPLITS:
        names = [identity.source for identity in opened.split(split)]
        for source in SHARES:
            assert abs(names.count(source) - SHARES[source] * len(names)) < 1.0
    assert sum(len(opened.split(split)) for split in SPLITS) == 40
    kinds = {identity.source: type(identity.shape) for identity in opened.identities}
    assert kinds == {"ict": Composition, "compose": Composition, "anny": Person}
    parents = {s: {len(k.shape.mirrored) for k in opened.identities if k.source == s} for s in ("ict", "compose")}
    assert parents["ict"] == {1} and min(parents["compose"]) >= 2


def test_held_out_identities_have_seeds_of_their_own_and_share_no_parent(opened: DataSet) -> None:
    for identity in opened.identities:
        assert (identity.seed % (2 * HELD_OUT_SEED) >= HELD_OUT_SEED) == (identity.split == "heldout")
    rows = {
        split: {
            row.tobytes()
            for identity in opened.split(split)
            if isinstance(identity.shape, Composition)
            for row in identity.shape.coefficients
        }
        for split in SPLITS
    }
    assert rows["train"] and rows["heldout"]
    assert not rows["train"] & rows["heldout"] and not rows["train"] & rows["validation"]


PLACES = st.tuples(st.integers(0, 999), st.sampled_from(SPLITS), st.integers(0, 499_999))


@settings(deadline=None, max_examples=100)
@given(st.lists(PLACES, min_size=2, max_size=20, unique=True))
def test_no_seed_is_used_twice(places: list[tuple[int, str, int]]) -> None:
    assert len({identity_seed(*place) for place in places}) == len(places)


@settings(deadline=None, max_examples=100)
@given(
    st.dictionaries(st.sampled_from(sorted(SHARES)), st.floats(0.01, 10.0), min_size=1),
    st.integers(0, 300),
    st.integers(0, 99),
)
def test_shares_are_kept_to_within_one(shares: dict[str, float], count: int, seed: int) -> None:
    names = shuffled_sources(shares, count, np.random.default_rng(seed))
    assert len(names) == count
    for name, share in shares.items():
        assert abs(names.count(name) - share / sum(shares.values()) * count) < 1.0 + 1e-9


def test_the_manifest_says_where_everything_comes_from(folder: Path, sources: OpenSources) -> None:
    manifest = read_manifest(folder)
    assert [record.name for record in manifest.sources] == list(SHARES)
    for record in manifest.sources:
        assert record.digest == sources.digest(record.name)
        assert ("CC0" if record.name == "anny" else "MIT") in record.licence
    people = manifest.source("anny")
    assert people.demographics is not None and manifest.source("ict").demographics is None
    assert sum(people.demographics["years"].values()) == people.identities
    assert sum(people.demographics["gender"].values()) == people.identities
    assert manifest.recipe["shares"] == SHARES
    assert manifest.deformation == RECIPE.deformation
    assert sum(manifest.splits.values()) == sum(record.identities for record in manifest.sources) == 40


def test_every_head_has_a_deformation_of_its_own_unless_the_recipe_has_none(
    opened: DataSet, sources: OpenSources, tmp_path: Path
) -> None:
    drawn = [opened.deformation(identity) for identity in opened.identities]
    assert len({one.seed for one in drawn if one is not None}) == len(opened.identities)
    assert {one.config for one in drawn if one is not None} == {DeformationConfig()}
    narrow = DeformationConfig(lengths_mm=(20.0,), spreads_mm=(0.5,), strength=(0.0, 0.5))
    for number, config in enumerate((narrow, None)):
        build_dataset(replace(RECIPE, deformation=config), sources, tmp_path / str(number))
        other = open_dataset(tmp_path / str(number))
        found = other.deformation(other.identities[0])
        assert (found.config if found else None) == config


def test_a_set_of_an_earlier_version_is_refused_with_what_to_do(folder: Path) -> None:
    value = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps(value | {"format": "imhead-data-1"}))
    assert_refused(folder, "imhead-data-1", "imhead-data-2", "build the data set with this version")


@pytest.mark.parametrize(
    "wrong",
    [{"lengths_mm": []}, {"lengths_mm": "abcd"}, {"spreads_mm": [1.0]}, {"strength": [float("nan"), 1.0]},
     {"strength": None}, {"features": 10**9}, {"free_share": 2.0}, {"surprise": 1}],
)  # fmt: skip
def test_a_damaged_deformation_is_refused(folder: Path, wrong: dict[str, object]) -> None:
    value = json.loads((folder / MANIFEST).read_text())
    value["recipe"]["deformation"] |= wrong
    (folder / MANIFEST).write_text(json.dumps(value))
    assert_refused(folder, MANIFEST)


def test_a_folder_that_holds_a_set_is_not_written_over(folder: Path, sources: OpenSources) -> None:
    before = (folder / MANIFEST).read_bytes()
    with pytest.raises(InputError, match="already holds a data set"):
        build_dataset(replace(RECIPE, seed=5), sources, folder)
    assert (folder / MANIFEST).read_bytes() == before


def test_a_source_that_is_not_open_is_refused_before_anything_is_written(small_ict: IctModel, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="anny"):
        build_dataset(RECIPE, OpenSources(ict=small_ict), tmp_path / "set")
    with pytest.raises(InputError, match="--ict"):
        build_dataset(RECIPE, OpenSources(), tmp_path / "set")
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize(
    "wrong",
    [{"shares": {}}, {"shares": {"shoes": 1.0}}, {"shares": {"ict": 0.0}}, {"shares": {"ict": float("nan")}},
     {"identities": 0}, {"expressions": 0}, {"seed": -1}, {"heldout": 0.9, "validation": 0.2}, {"heldout": -0.1}],
)  # fmt: skip
def test_a_recipe_that_cannot_be_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError):
        Recipe(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", [IDENTITIES_FILE, EXPRESSIONS_FILE])
def test_a_file_cut_short_changed_or_missing_is_refused_by_name(folder: Path, name: str) -> None:
    content = (folder / name).read_bytes()
    for other in (content[:-1], content[:20], b"", content[:-1] + bytes([content[-1] ^ 1])):
        (folder / name).write_bytes(other)
        assert_refused(folder, name)
    (folder / name).unlink()
    assert_refused(folder, name, "missing")


def test_a_folder_without_a_manifest_or_with_another_s_is_refused(folder: Path, tmp_path: Path) -> None:
    assert_refused(tmp_path / "nowhere", "no data set")
    value = json.loads((folder / MANIFEST).read_text())
    for text in ("", "[]", "{", json.dumps(value | {"format": "imhead-data-99"}), '{"format": "imhead-data-2"}'):
        (folder / MANIFEST).write_text(text)
        assert_refused(folder, MANIFEST)


@pytest.mark.parametrize(
    "change",
    [{"identities": 41}, {"identities": -40}, {"identities": "40"}, {"expressions": 0}, {"seed": 1.5}, {"sources": []},
     {"splits": {"train": 40}}, {"files": {}}, {"files": {"/etc/passwd": ""}}, {"recipe": None}, {"surprise": 1}],
)  # fmt: skip
def test_a_manifest_that_contradicts_itself_is_refused(folder: Path, change: dict[str, object]) -> None:
    value = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps(value | change))
    assert_refused(folder, MANIFEST)


def test_numbers_that_cannot_be_are_refused_even_with_the_right_hash(folder: Path) -> None:
    ids, weights = load_file(folder / IDENTITIES_FILE), load_file(folder / EXPRESSIONS_FILE)["weights"]
    wrong = weights.copy()
    wrong[3, 2, 5] = np.nan
    not_neutral = weights.copy()
    not_neutral[0, 0, 17] = 0.5
    cases = [
        (EXPRESSIONS_FILE, {"weights": wrong}),
        (EXPRESSIONS_FILE, {"weights": weights + np.float32(1.0)}),
        (EXPRESSIONS_FILE, {"weights": weights[:, :3].copy()}),
        (EXPRESSIONS_FILE, {"weights": weights.astype(np.float64)}),
        (EXPRESSIONS_FILE, {"weights": not_neutral}),
        (IDENTITIES_FILE, {"source": ids["source"] + np.uint8(1)}),
        (IDENTITIES_FILE, {"source": np.zeros_like(ids["source"])}),
        (IDENTITIES_FILE, {"split": np.zeros_like(ids["split"])}),
        (IDENTITIES_FILE, {"seed": np.zeros_like(ids["seed"])}),
        (IDENTITIES_FILE, {"choice": ids["choice"] + np.uint8(9)}),
        (IDENTITIES_FILE, {"parents": ids["parents"] * np.uint8(0)}),
        (IDENTITIES_FILE, {"coefficients": ids["coefficients"] * np.float32(np.inf)}),
        (IDENTITIES_FILE, {"phenotype": ids["phenotype"][:, :4].copy()}),
        (IDENTITIES_FILE, {"local": ids["local"][:-1].copy()}),
    ]
    for name, changed in cases:
        before = (folder / name).read_bytes(), (folder / MANIFEST).read_bytes()
        rewritten(folder, name, **changed)
        assert_refused(folder, str(folder))
        (folder / name).write_bytes(before[0])
        (folder / MANIFEST).write_bytes(before[1])
    open_dataset(folder)


def test_a_picture_shows_every_source_and_every_expression(opened: DataSet) -> None:
    pairs = spread_rows(opened.identities, 4, 24)
    assert len(pairs) == 24
    for source in SHARES:
        mine = [(identity.index, expression) for identity, expression in pairs if identity.source == source]
        assert len(mine) == 8 and {expression for _, expression in mine} == {0, 1, 2, 3}
