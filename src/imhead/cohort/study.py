"""A study: its people, their aligned shapes, components, groups and repeats, from observations alone.

Shape legend: S sittings, N people, V vertices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from imhead.cohort.alignment import centroid_sizes, laid_on, superimposed
from imhead.cohort.components import Components, principal_components
from imhead.cohort.groups import GroupConfig, GroupTest, compare_groups
from imhead.cohort.observation import Observation, Surface
from imhead.cohort.people import Sitting
from imhead.cohort.repeats import Repeatability, repeatability, vertex_errors
from imhead.errors import InputError
from imhead.regions import REGIONS
from imhead.surfaces.normals import vertex_normals
from imhead.types import BoolArray, FloatArray

_BODY = ("neck", "shoulder")  # groups of regions that move with the pose of the body, so that no head is laid on them
_COMMON = 0.5  # share of people whose scans show a vertex, from which on shapes are laid on it
_LEAST_VERTICES = 100


@dataclass(frozen=True, eq=False)
class Study:
    """What the report of a cohort shows."""

    sittings: tuple[Sitting, ...]
    """S files."""
    observations: tuple[Observation, ...]
    """S heads."""
    surface: Surface
    """Their topology."""
    person: tuple[str, ...]
    """N names, in the order of the arrays below."""
    group: tuple[str, ...]
    """N groups."""
    common: BoolArray
    """(V,) vertices of the head that the scans of at least half of the people show: shapes are laid on them."""
    laid: FloatArray
    """(S, V, 3) sittings laid on their mean."""
    shapes: FloatArray
    """(N, V, 3) people: the means of their sittings."""
    measured: BoolArray
    """(N, V) whether any of a person's scans shows a vertex."""
    size_mm: FloatArray
    """(S,) centroid size over `common`."""
    components: Components
    """Of the vertices `common` of the people."""
    compared: tuple[str, str] | None
    """Two groups."""
    test: GroupTest | None
    """Of the two groups."""
    repeats: dict[str, Repeatability]
    """Measurement → agreement; empty where nobody was measured twice."""
    repeat_mm: FloatArray | None
    """(V,) standard deviation within a person along the normal; None where nobody was measured twice."""

    @property
    def mean(self) -> FloatArray:
        """(V, 3) mean person."""
        mean: FloatArray = self.shapes.mean(axis=0)
        return mean

    def rows_of(self, name: str) -> list[int]:
        """The sittings of a person."""
        return [k for k, sitting in enumerate(self.sittings) if sitting.person == name]

    def group_mean(self, name: str) -> FloatArray:
        """(V, 3) mean of a group's people."""
        mean: FloatArray = self.shapes[np.array(self.group) == name].mean(axis=0)
        return mean

    def difference_mm(self) -> FloatArray:
        """(V,) second group minus first along the normal of the mean; positive is outwards."""
        if self.compared is None:
            return np.zeros(len(self.common))
        first, second = (self.group_mean(name) for name in self.compared)
        normals, _ = vertex_normals(self.mean, self.surface.faces)
        return np.einsum("vc,vc->v", second - first, normals)


def study_of(
    sittings: Sequence[Sitting], observations: Sequence[Observation], surface: Surface, *,
    groups: tuple[str, str] | None = None, sizes: bool = True, config: GroupConfig = GroupConfig(),
) -> Study:  # fmt: skip
    """Align the sittings of a cohort and find its components, group differences and repeatability.

    Args:
        sittings: S files.
        observations: their heads.
        surface: the topology of the heads.
        groups: the two groups to compare; None for those that there are, if there are two, in their order.
        sizes: keep the size of each head; without, shapes are compared at one size.
        config: of the tests.

    Raises:
        InputError: fewer than two people, a group that nobody is in, or scans that have hardly a place in common.
    """
    person = tuple(dict.fromkeys(s.person for s in sittings))
    if len(person) < 2:
        raise InputError(f"a cohort needs two people at least; {len(person)} can be used")
    rows = [[k for k, s in enumerate(sittings) if s.person == name] for name in person]
    group = tuple(sittings[own[0]].group for own in rows)
    compared = _two_groups(group, groups)
    raw = np.stack([k.vertices for k in observations])
    measured = np.stack([np.any([observations[k].measured for k in own], axis=0) for own in rows])
    body = [k for k, region in enumerate(REGIONS) if region.group in _BODY]
    head = (surface.region >= 0) & ~np.isin(surface.region, body)
    common = head & (measured.mean(axis=0) >= _COMMON)
    if common.sum() < _LEAST_VERTICES:
        raise InputError("the scans have hardly a place in common; give scans that show the same part of the head")
    size = centroid_sizes(raw[:, common])
    laid = superimposed(raw, common, sizes=sizes)
    shapes = np.stack([laid[own].mean(axis=0) for own in rows])
    test = None
    if compared is not None:
        chosen = np.array([name in compared for name in group])
        second = np.array(group)[chosen] == compared[1]
        names = [region.name for region in REGIONS]
        test = compare_groups(shapes[chosen], measured[chosen], second, surface.region, names, surface.faces, config)
    repeats = _repeats(observations, rows)
    return Study(
        tuple(sittings), tuple(observations), surface, person, group, common, laid, shapes, measured, size,
        principal_components(shapes[:, common]), compared, test, repeats,
        _repeat_mm(laid, rows, surface, common) if any(len(own) > 1 for own in rows) else None,
    )  # fmt: skip


def _two_groups(group: Sequence[str], wanted: tuple[str, str] | None) -> tuple[str, str] | None:
    known = list(dict.fromkeys(name for name in group if name))
    if wanted is None:
        return (known[0], known[1]) if len(known) == 2 else None
    for name in wanted:
        if name not in known:
            raise InputError(f"nobody is in group {name!r}; the groups are {', '.join(known) or 'not named'}")
    if wanted[0] == wanted[1]:
        raise InputError(f"group {wanted[0]!r} cannot be compared with itself; name two")
    return wanted


def _repeats(observations: Sequence[Observation], rows: Sequence[Sequence[int]]) -> dict[str, Repeatability]:
    found = {}
    for name in observations[0].measurements:
        by_person = [
            np.array([observations[k].measurements[name] for k in own if observations[k].seen[name]]) for own in rows
        ]
        agreement = repeatability(by_person)
        if agreement is not None:
            found[name] = agreement
    return found


def _repeat_mm(
    laid: FloatArray, rows: Sequence[Sequence[int]], surface: Surface, common: BoolArray
) -> FloatArray:  # fmt: skip
    normals, _ = vertex_normals(laid.mean(axis=0), surface.faces)
    heights = []
    for own in (own for own in rows if len(own) > 1):
        mean = laid[own].mean(axis=0)
        again = laid_on(laid[own], mean, common)
        heights.append(np.einsum("nvc,vc->nv", again - mean, normals))
    return vertex_errors(heights)
