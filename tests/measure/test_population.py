"""Where a face stands among the heads that the model draws: z, alone and among faces of its size."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imhead.checkpoint import Model
from imhead.measure import population
from imhead.measure.population import SIZE_LENGTHS, face_size, population_over, shipped_population
from imhead.measure.table import MEASUREMENTS, VOLUMES, measurement

NAMES = [kind.name for kind in (*MEASUREMENTS, *VOLUMES)]


def heads(seed: int, count: int = 60) -> list[dict[str, float]]:
    """Faces of several sizes, whose measurements grow with the size, each with a variation of its own."""
    rng = np.random.default_rng(seed)
    rows = []
    for size in rng.normal(1.0, 0.08, count):
        row = {name: size * (20.0 + k) + rng.normal(0.0, 1.0) for k, name in enumerate(NAMES)}
        rows.append(row)
    return rows


@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 999))
def test_the_population_itself_has_mean_0_and_spread_1_in_z(seed: int) -> None:
    rows = heads(seed)
    found = population_over(rows, "hash", seed)
    for scores, degrees in ((found.z_scores, 1), (found.z_at_size, 2)):
        table = np.array([[scores(row)[name] for name in NAMES] for row in rows])
        np.testing.assert_allclose(table.mean(axis=0), 0.0, atol=1e-9)
        np.testing.assert_allclose((table**2).sum(axis=0), len(rows) - degrees, rtol=1e-9)


@settings(deadline=None, max_examples=10)
@given(growth=st.floats(0.8, 0.95) | st.floats(1.05, 1.2))
def test_a_larger_face_of_the_same_shape_stands_alike_among_faces_of_its_size(growth: float) -> None:
    found = population_over(heads(0, 2000), "hash", 0)
    usual = {name: found.measurements[name].mean for name in NAMES}
    large = {name: growth * value for name, value in usual.items()}
    away = {name: abs(z) for name, z in found.z_at_size(large).items() if name in SIZE_LENGTHS}
    assert max(away.values()) < 0.25
    plain, size = found.z_scores(large), found.z_of_size(large)
    assert size is not None and (size > 0.0) == (growth > 1.0)
    assert all(abs(plain[name]) > away[name] for name in away)


def test_of_a_head_of_assumed_scale_only_angles_have_a_z() -> None:
    found = population_over(heads(1), "hash", 1)
    told = found.z_scores(heads(2)[0], scale_assumed=True)
    assert told and {measurement(name).unit for name in told} == {"degrees"}


def test_without_a_length_of_its_size_a_face_has_none() -> None:
    row = heads(3)[0]
    part = {name: value for name, value in row.items() if name != SIZE_LENGTHS[0]}
    found = population_over(heads(4), "hash", 4)
    assert face_size(part) is None and found.z_at_size(part) == {} and found.z_of_size(part) is None
    assert set(found.z_scores(part)) == set(part)


def test_the_population_that_ships_holds_every_measurement_and_is_of_one_model(
    monkeypatch: pytest.MonkeyPatch, random_model: Callable[..., Model]
) -> None:
    shipped = population._shipped()
    assert set(shipped.measurements) == set(NAMES) and shipped.heads >= 200
    assert all(0.0 < row.sd_at_size <= 1.01 * row.sd for row in shipped.measurements.values())
    assert 60.0 < shipped.size.mean < 160.0 and 0.02 < shipped.size.sd / shipped.size.mean < 0.2
    assert json.loads(shipped.json()) == asdict(shipped)
    model = random_model(seed=5)
    assert shipped_population(model) is None
    monkeypatch.setattr(population, "_shipped", lambda: population_over(heads(0), model.hash, 0))
    assert shipped_population(model) is not None
