"""Shut eyes of a scan come out shut, open ones open."""

from __future__ import annotations

import numpy as np
import pytest

import imhead
from imhead.fitting.config import FitConfig
from imhead.fitting.fit import fit_scan
from imhead.types import Scan

BLINKS = ("eyeBlinkLeft", "eyeBlinkRight")


@pytest.mark.slow
@pytest.mark.parametrize("shut", [(1.0, 1.0), (0.0, 0.0)])
def test_eyes_are_shut_where_the_scan_shows_them_shut_and_nowhere_else(shut: tuple[float, float]) -> None:
    model = imhead.load()
    mesh = model.sample(seed=2)[0].mesh(dict(zip(BLINKS, shut)), resolution=160)
    noise = 0.1 * np.random.default_rng(2).normal(size=mesh.vertices.shape)
    fit = fit_scan(
        Scan(points=mesh.vertices + noise, faces=mesh.faces, name="scan"), model.model, FitConfig(detail=False)
    )
    found = [fit.expression.get(name, 0.0) for name in BLINKS]
    assert all(weight >= 0.9 if wanted else weight < 0.1 for weight, wanted in zip(found, shut))
