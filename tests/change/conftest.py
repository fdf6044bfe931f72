"""Visits of one made-up person: the shipped template, changed along its normals, without a fit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from imhead import load
from imhead.api import MorphableModel
from imhead.change.comparison import ComparedVisit, compared_visit
from imhead.change.config import ChangeConfig
from imhead.change.visits import Visit, head_visit
from imhead.conventions import ARKIT_NAMES
from imhead.surfaces.normals import vertex_normals
from imhead.surfaces.transforms import matrix_of, transform_points
from imhead.types import FloatArray

CHIN_MM = (0.0, -74.0, 98.0)
CHEEK_MM = (46.0, -12.0, 78.0)


@pytest.fixture(scope="session")
def shipped() -> MorphableModel:
    """The model that ships with the package."""
    found = load(device="cpu")
    if not found.has_template:
        pytest.skip("the shipped model has no template yet: imhead train writes it, copy it beside the model")
    return found


@pytest.fixture(scope="session")
def visit(shipped: MorphableModel) -> Visit:
    """The first visit: the mean head as if scanned without noise."""
    return replace(head_visit(shipped.model, shipped.neutral().codes, "before"), scanned=True)


def bumped(visit: Visit, shipped: MorphableModel, place_mm: tuple[float, float, float], height_mm: float) -> FloatArray:
    """(V, 3) vertices of a visit with a smooth lump of radius 25 mm on the skin."""
    normals, _ = vertex_normals(visit.vertices, shipped.template.faces)
    away = np.linalg.norm(visit.vertices - place_mm, axis=1) / 25.0
    return visit.vertices + (height_mm * np.maximum(1.0 - away**2, 0.0) ** 3)[:, None] * normals


def scanned_again(visit: Visit, shipped: MorphableModel, vertices: FloatArray, noise_mm: float = 0.1) -> Visit:
    """A later visit with these vertices, with noise, a little off in its pose."""
    normals, _ = vertex_normals(vertices, shipped.template.faces)
    rng = np.random.default_rng(0)
    noisy = vertices + rng.normal(0.0, noise_mm, (len(vertices), 1)) * normals
    turn = 0.004
    motion = matrix_of(np.array([[1.0, -turn, 0.0], [turn, 1.0, 0.0], [0.0, 0.0, 1.0]]), np.array([0.6, -0.4, 0.5]))
    sigma = np.full(len(vertices), noise_mm)
    return replace(visit, name="after", vertices=transform_points(motion, noisy), sigma_mm=sigma, noise_mm=noise_mm)


def smiling(shipped: MorphableModel, vertices: FloatArray) -> FloatArray:
    """(V, 3) vertices with a smile of 0.4."""
    moved = vertices.copy()
    for name in ("mouthSmileLeft", "mouthSmileRight"):
        moved += 0.4 * shipped.template.shapes[ARKIT_NAMES.index(name)]
    return moved


@pytest.fixture(scope="session")
def still(shipped: MorphableModel, visit: Visit) -> ComparedVisit:
    """Nothing changed."""
    later = scanned_again(visit, shipped, visit.vertices)
    return compared_visit(shipped.model, visit, later, ChangeConfig(), None, False)


@pytest.fixture(scope="session")
def chin(shipped: MorphableModel, visit: Visit) -> ComparedVisit:
    """A lump of 2.5 mm on the chin, and a smile that is taken out."""
    later = scanned_again(visit, shipped, smiling(shipped, bumped(visit, shipped, CHIN_MM, 2.5)))
    return compared_visit(shipped.model, visit, later, ChangeConfig(), None, True)
