"""Two groups of virtual people: a known difference is found where it is, and where there is none, none is found."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
from scipy.spatial import cKDTree

import imhead
from imhead.cohort.groups import GroupConfig, GroupTest, compare_groups, permutation_p
from imhead.cohort.observation import template_regions
from imhead.regions import REGIONS
from imhead.surfaces.normals import vertex_normals
from imhead.template.surface import TemplateSurface

NAMES = [region.name for region in REGIONS]
SECOND = np.arange(60) >= 30


@lru_cache(maxsize=1)
def people() -> tuple[TemplateSurface, np.ndarray, np.ndarray]:
    """The template, 60 drawn heads (60, V, 3), and the region (V,) of each vertex."""
    model = imhead.load(device="cpu")
    template = model.template
    codes = [head.field().regional.z[0].cpu().numpy() for head in model.sample(60, seed=5, spread=1.0)]
    heads = np.stack([template.blend(model.model, z) for z in codes]).astype(np.float64)
    return template, heads, template_regions(template)


def with_difference(name: str, mm: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """The heads, those of the second group with a smooth bump of up to 1 mm in one region; the bump (V,), mm."""
    template, heads, region = people()
    held, others = np.flatnonzero(region == NAMES.index(name)), np.flatnonzero(region != NAMES.index(name))
    inside = cKDTree(template.mean[others]).query(template.mean[held])[0]
    share = np.clip(inside / (0.6 * inside.max()), 0.0, 1.0)
    bump = np.zeros(len(region))
    bump[held] = mm * share**2 * (3.0 - 2.0 * share)
    normals, _ = vertex_normals(template.mean, template.faces)
    changed = heads.copy()
    changed[SECOND] += bump[:, None] * normals
    return changed, bump


def compared(shapes: np.ndarray, second: np.ndarray, seed: int = 0, permutations: int = 999) -> GroupTest:
    template, _, region = people()
    measured = np.ones(shapes.shape[:2], dtype=bool)
    config = GroupConfig(seed=seed, permutations=permutations)
    return compare_groups(shapes, measured, second, region, NAMES, template.faces, config)


def test_a_difference_of_1_mm_is_found_in_its_region_and_nowhere_else() -> None:
    shapes, bump = with_difference("chin")
    found = compared(shapes, SECOND, permutations=4999)
    assert {(k.region, k.kind) for k in found.findings(0.05)} == {("chin", "shape")}
    assert found.own_mm[bump > 0.9].mean() > 0.0  # outwards


def test_vertices_are_tested_only_inside_a_region_that_was_found() -> None:
    shapes, bump = with_difference("chin", 4.0)
    found = compared(shapes, SECOND, permutations=4999)
    vertices = found.found_vertices()
    assert vertices.any() and (bump[vertices] > 0.0).all()
    assert np.isnan(found.vertex_q[bump == 0.0]).all()
    assert found.vertex_level == pytest.approx(0.05 * len(found.findings(0.05)) / len(found.tests))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["nose_tip", "upper_lip", "right_upper_lid", "left_brow"])
def test_it_is_found_in_other_regions_too(name: str) -> None:
    found = compared(with_difference(name)[0], SECOND, permutations=9999)
    assert {k.region for k in found.findings(0.05)} == {name}


@pytest.mark.slow
def test_of_ten_cohorts_without_a_difference_nine_have_no_finding() -> None:
    _, heads, _ = people()
    quiet = 0
    for seed in range(10):
        order = np.random.default_rng(seed).permutation(60)
        quiet += not compared(heads, SECOND[order], seed).findings(0.05)
    assert quiet >= 9


def test_the_same_seed_gives_the_same_figures_and_a_region_that_few_scans_show_is_not_tested() -> None:
    template, heads, region = people()
    some = np.where(np.isin(region, [NAMES.index(k) for k in ("chin", "nose_tip", "occiput")]), region, -1)
    measured = np.ones((60, len(region)), dtype=bool)
    measured[3:, region == NAMES.index("occiput")] = False
    runs = [
        compare_groups(heads, measured, SECOND, some, NAMES, template.faces, GroupConfig(seed=4, permutations=199))
        for _ in range(2)
    ]
    assert runs[0].tests == runs[1].tests
    assert runs[0].untested == ("occiput",) and {k.region for k in runs[0].tests} == {"chin", "nose_tip"}


def test_p_is_uniform_where_groups_do_not_differ() -> None:
    rng = np.random.default_rng(0)
    second = np.arange(20) >= 10
    exchanged = np.asarray(second, dtype=np.float32)[rng.random((499, 20)).argsort(axis=1)]
    p = np.array([permutation_p(rng.normal(size=(20, 3)), second, exchanged) for _ in range(600)])
    for level in (0.05, 0.2, 0.5):
        assert (p <= level).mean() == pytest.approx(level, abs=0.06)
    apart = rng.normal(size=(20, 3)) + 3.0 * second[:, None]
    assert permutation_p(apart, second, exchanged) <= 0.01
