"""Refinement: after a change, a search of the cells that changed finds what a search everywhere would."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from imhead.isosurface.cells import Lattice, cell_cases
from imhead.isosurface.refinement import LEVELS, GridSamples, Surface, coarsest_cells, refine, touching_cells
from imhead.types import FloatArray

LATTICE = Lattice(np.zeros(3), 3.0, (25, 17, 33))
STEP = 2**LEVELS
PLACE = st.tuples(*(st.integers(0, n - 1) for n in LATTICE.shape))


def wavy(seed: int) -> FloatArray:
    """A smooth field with many components."""
    rng = np.random.default_rng(seed)
    places = LATTICE.positions_mm(np.arange(LATTICE.count))
    waves = rng.normal(size=(6, 3)) * 0.12
    summed: FloatArray = (8.0 * np.sin(places @ waves.T + rng.uniform(0, 6, 6)).sum(axis=1)).astype(np.float32)
    return summed


@given(st.lists(st.integers(0, LATTICE.count - 1), max_size=6))
def test_the_touching_cells_are_those_that_hold_a_point_on_their_faces_too(points: list[int]) -> None:
    chosen = np.array(points, dtype=np.int64)
    places = LATTICE.coordinates(chosen)
    wanted = [
        cell
        for cell in coarsest_cells(LATTICE)
        for low in LATTICE.coordinates(np.array([cell]))
        if ((places >= low) & (places <= low + STEP)).all(axis=1).any()
    ]
    np.testing.assert_array_equal(np.sort(touching_cells(chosen, LATTICE)), wanted)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 99), center=PLACE, size=st.integers(1, 9))
def test_a_search_where_values_changed_finds_what_a_search_everywhere_would(
    seed: int, center: tuple[int, int, int], size: int
) -> None:
    values = wavy(seed)
    samples = GridSamples(LATTICE, lambda points: values[points])
    surface = Surface(samples)
    surface.follow(refine(samples, coarsest_cells(LATTICE)))
    everywhere = LATTICE.coordinates(np.arange(LATTICE.count))
    changed = np.flatnonzero(np.linalg.norm(everywhere - center, axis=1) < size)
    values[changed] = wavy(seed + 100)[changed]
    stale = changed[samples.known[changed]]
    samples.forget(stale)
    left = surface.forget_cells_at(stale)
    surface.follow(np.concatenate([surface.surely_passed(left), refine(samples, touching_cells(stale, LATTICE))]))
    fresh = Surface(GridSamples(LATTICE, lambda points: values[points]))
    wanted = fresh.follow(refine(fresh.samples, coarsest_cells(LATTICE)))
    np.testing.assert_array_equal(surface.case[wanted], fresh.case[wanted])
    found = np.flatnonzero(surface.case)
    np.testing.assert_array_equal(surface.case[found], cell_cases(values, found, LATTICE))


def test_a_cell_has_eight_corners_that_touch_it() -> None:
    cell = coarsest_cells(LATTICE)[0]
    for corner in LATTICE.corners(STEP):
        assert cell in touching_cells(np.array([cell + corner]), LATTICE)
