"""Two groups of people: where their shapes differ, by permutation tests with a false-discovery rate.

Every region of the face is tested twice: its own *shape*, laid on itself so that the rest of the head has no say, and
its *place* in the aligned head. The statistic is Hotelling's T² of all principal components, regularised by a floor of
noise (Chen et al. 2011); how large it is without a difference is found by exchanging the people of the groups (Pesarin
and Salmaso 2010). Benjamini and Hochberg's procedure (1995) holds the rate of false findings among the regions.
Vertices are tested only inside regions that were found, at the level that this choice leaves (Benjamini and Bogomolov
2014).

Shape legend: N people, V vertices, K components, B permutations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.stats import false_discovery_control

from imhead.cohort.alignment import superimposed
from imhead.cohort.components import principal_components
from imhead.surfaces.normals import vertex_normals
from imhead.types import BoolArray, FloatArray, IntArray

Kind = Literal["shape", "place"]
_LEAST_MEASURED = 0.5  # share of a region's vertices, below which a person does not enter its test
LEAST_PEOPLE = 4
"""Of each group, that a region's scans must show."""
_LEAST_VERTICES = 12
_ROWS_AT_ONCE = 4096  # vertices


@dataclass(frozen=True)
class GroupConfig:
    """Settings of the tests."""

    q: float = 0.05
    """Largest expected share of false findings."""
    permutations: int = 9999
    """Exchanges of people between the groups, beside the true one."""
    seed: int = 0
    """The same seed gives the same p-values."""
    floor_mm: float = 0.05
    """Variation of this size along a component, root mean square over its vertices, counts half: less is noise."""


@dataclass(frozen=True)
class RegionTest:
    """One test of one region."""

    region: str
    """Its name."""
    kind: Kind
    """`shape`: laid on itself; `place`: its middle in the aligned head."""
    people: tuple[int, int]
    """People of the first and the second group whose scans show it."""
    difference_mm: float
    """Of `shape` the largest difference of the means along the normal, of `place` the distance of the middles."""
    p: float
    """Of the permutation test."""
    q: float
    """Adjusted by Benjamini and Hochberg: the region is a finding where this is at most the level."""


@dataclass(frozen=True, eq=False)
class GroupTest:
    """What differs between two groups."""

    tests: tuple[RegionTest, ...]
    """Every test that was made."""
    untested: tuple[str, ...]
    """Regions that too few scans show."""
    vertex_q: FloatArray
    """(V,) adjusted p of each vertex inside the found shapes; NaN where no vertex was tested."""
    vertex_level: float
    """The level that `vertex_q` is held to."""
    own_mm: FloatArray
    """(V,) second group minus first along the normal, each region laid on itself, mm; NaN outside of all regions."""

    def findings(self, level: float) -> list[RegionTest]:
        """The tests whose q is at most the level."""
        return [test for test in self.tests if test.q <= level]

    def found_vertices(self) -> BoolArray:
        """(V,) bool."""
        found: BoolArray = np.nan_to_num(self.vertex_q, nan=2.0) <= self.vertex_level
        return found


def compare_groups(
    shapes: FloatArray, measured: BoolArray, second: BoolArray, region: IntArray, names: Sequence[str],
    faces: IntArray, config: GroupConfig = GroupConfig(),
) -> GroupTest:  # fmt: skip
    """Test two groups of aligned shapes.

    Args:
        shapes: (N, V, 3) aligned, one a person, mm.
        measured: (N, V) what the scans show.
        second: (N,) whether a person is of the second group.
        region: (V,) row of `names`, or -1 for vertices that belong to none.
        names: of the regions.
        faces: (F, 3) of the surface.
    """
    normals, _ = vertex_normals(shapes.mean(axis=0), faces)
    own = np.full(len(region), np.nan)
    p_values: list[float] = []
    rows: list[tuple[str, Kind, tuple[int, int], float]] = []
    by_vertex: dict[int, tuple[IntArray, FloatArray]] = {}
    untested: list[str] = []
    for k, name in enumerate(names):
        held: IntArray = np.flatnonzero(region == k)
        if len(held) < _LEAST_VERTICES:
            continue
        kept = measured[:, held].mean(axis=1) >= _LEAST_MEASURED
        groups = second[kept]
        count = (int((~groups).sum()), int(groups.sum()))
        if min(count) < LEAST_PEOPLE:
            untested.append(name)
            continue
        rng = np.random.default_rng([config.seed, k])
        exchanged = _exchanges(groups, config.permutations, rng)
        here = shapes[kept][:, held]
        laid = superimposed(here, np.ones(len(held), dtype=bool))
        heights = np.einsum("nvc,vc->nv", laid - laid.mean(axis=0), normals[held])
        own[held] = heights[groups].mean(axis=0) - heights[~groups].mean(axis=0)
        shape = _above_noise(laid, config.floor_mm)
        place = _above_noise(here.mean(axis=1, keepdims=True), config.floor_mm)
        middle = here.mean(axis=1)
        apart = float(np.linalg.norm(middle[groups].mean(axis=0) - middle[~groups].mean(axis=0)))
        tested: tuple[tuple[Kind, FloatArray, float], ...] = (
            ("shape", shape, float(np.abs(own[held]).max())), ("place", place, apart),
        )  # fmt: skip
        for kind, scores, size in tested:
            rows.append((name, kind, count, size))
            p_values.append(permutation_p(scores, groups, exchanged))
        by_vertex[len(rows) - 2] = (held, _vertex_p(heights, groups, exchanged))
    adjusted = false_discovery_control(p_values) if p_values else np.zeros(0)
    tests = tuple(RegionTest(*row, p, float(q)) for row, p, q in zip(rows, p_values, adjusted))
    found = int((adjusted <= config.q).sum())
    vertex_q = np.full(len(region), np.nan)
    for row, (held, values) in by_vertex.items():
        if adjusted[row] <= config.q:
            vertex_q[held] = false_discovery_control(values)
    return GroupTest(tests, tuple(untested), vertex_q, config.q * found / max(len(tests), 1), own)


def permutation_p(scores: FloatArray, second: BoolArray, exchanged: FloatArray) -> float:
    """p of a difference between the groups in uncorrelated scores (N, K), by exchanges (B, N).

    The distance between the groups' means grows with Hotelling's T² when the scores are those of a principal component
    analysis of both groups together, each of unit variance, so it ranks the exchanges as T² does.
    """
    centred = scores - scores.mean(axis=0)
    true = float((centred[second].sum(axis=0) ** 2).sum())
    others = ((exchanged @ centred.astype(np.float32)) ** 2).sum(axis=1)
    return float((1 + (others >= true * (1.0 - 1e-5)).sum()) / (1 + len(others)))


def _above_noise(shapes: FloatArray, floor_mm: float) -> FloatArray:
    """(N, K) scores of the components of shapes (N, V, 3), less than 1 where a component hardly exceeds the noise."""
    found = principal_components(shapes)
    variance = (found.directions**2).sum(axis=2).mean(axis=1)
    scores: FloatArray = found.scores * np.sqrt(variance / (variance + floor_mm**2))
    return scores


def _exchanges(second: BoolArray, count: int, rng: np.random.Generator) -> FloatArray:
    """(B, N) 1 where an exchange puts a person into the second group."""
    order = rng.random((count, len(second))).argsort(axis=1)
    return np.asarray(second, dtype=np.float32)[order]


def _vertex_p(heights: FloatArray, second: BoolArray, exchanged: FloatArray) -> FloatArray:
    """(V,) two-sided p of a difference of means in heights (N, V), by the same exchanges.

    Sum and spread of a vertex's heights are the same for every exchange, so its t-statistic grows with the size of the
    second group's sum.
    """
    p = np.empty(heights.shape[1])
    for first in range(0, heights.shape[1], _ROWS_AT_ONCE):
        some = (heights - heights.mean(axis=0))[:, first : first + _ROWS_AT_ONCE].astype(np.float32)
        true = np.abs(some[second].sum(axis=0))
        as_large = (np.abs(exchanged @ some) >= true * np.float32(1.0 - 1e-5)).sum(axis=0)
        p[first : first + _ROWS_AT_ONCE] = (1 + as_large) / (1 + len(exchanged))
    return p
