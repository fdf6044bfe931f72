"""The template's lids: smooth margins, shut by a blink, the same on both sides, and nothing else is moved."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import imhead
from imhead.checkpoint import Model
from imhead.conventions import ARKIT_NAMES, CANONICAL_JAW_OPEN
from imhead.surfaces.eyeballs import eye_centers, eyes_distance
from imhead.surfaces.lids import Lids
from imhead.template.lid_margins import SHUT, Blink, LidMargins
from imhead.template.surface import BLINKS, TemplateSurface, lid_margins, template_of
from imhead.template.topology import LEFT_EYE

SEEDS = st.integers(0, 1000)
OPEN = np.zeros(2)


@pytest.fixture(scope="module")
def model() -> Model:
    return imhead.load(device="cpu").model


@pytest.fixture(scope="module")
def template(model: Model) -> TemplateSurface:
    return template_of(model)


@pytest.fixture(scope="module")
def eyes(model: Model) -> np.ndarray:
    return np.tile(model.net.eye_net.mean.cpu().numpy().astype(np.float64), (2, 1))


@pytest.fixture(scope="module")
def margins(template: TemplateSurface, eyes: np.ndarray) -> LidMargins:
    return lid_margins(template, eyes)


@pytest.fixture(scope="module")
def lids(template: TemplateSurface, eyes: np.ndarray) -> Lids:
    return Lids.of(template.mean, np.flatnonzero(template.part < LEFT_EYE), eyes)


@pytest.fixture(scope="module")
def neutral(template: TemplateSurface) -> np.ndarray:
    shut = CANONICAL_JAW_OPEN * template.shapes[ARKIT_NAMES.index("jawOpen")]
    return (template.mean - shut).astype(np.float64)


def gaps(blink: Blink, vertices: np.ndarray, center: np.ndarray) -> np.ndarray:
    """Angles between the lids, radians, in the middle of the eye: of upper and lower margin in ten columns."""
    found = []
    away = vertices - center
    azimuth, height = np.arctan2(away[:, 0], away[:, 2]), np.arctan2(away[:, 1], away[:, 2])
    for column in np.linspace(-0.3, 0.5, 10):
        edges = []
        for lid in (blink.upper, blink.lower):
            one, other = azimuth[lid].T
            crossed = (np.minimum(one, other) <= column) & (np.maximum(one, other) >= column) & (one != other)
            along = (column - one[crossed]) / (other - one)[crossed]
            ends = height[lid[crossed]]
            edges.append(ends[:, 0] + along * (ends[:, 1] - ends[:, 0]))
        found.append(edges[0].min() - edges[1].max())
    return np.array(found)


@settings(max_examples=5, deadline=None)
@given(seed=SEEDS)
def test_a_ragged_margin_becomes_smooth(
    margins: LidMargins, lids: Lids, neutral: np.ndarray, eyes: np.ndarray, seed: int
) -> None:
    rough = neutral.copy()
    rough[margins.near] += np.random.default_rng(seed).normal(0.0, 0.3, (len(margins.near), 3))
    smooth = margins.faired(rough, neutral, OPEN, eye_centers(eyes), lambda placed: placed)
    whole = margins.near[margins.share[:, 0] == 1.0]
    off = [np.linalg.norm((found - neutral)[whole], axis=1).mean() for found in (rough, smooth)]
    assert off[1] < 0.3 * off[0]


@settings(max_examples=5, deadline=None)
@given(seed=SEEDS)
def test_lids_end_at_their_clearance_and_nothing_far_from_the_eyes_moves(
    margins: LidMargins, lids: Lids, neutral: np.ndarray, eyes: np.ndarray, seed: int
) -> None:
    moved = neutral + np.random.default_rng(seed).normal(0.0, 0.5, neutral.shape)
    placed = margins.faired(moved, neutral, OPEN, eye_centers(eyes), lambda found: lids.on_eyes(found, eyes))
    assert (eyes_distance(placed[lids.vertices], eyes) > lids.least_mm - 0.05).all()
    far = np.setdiff1d(np.arange(len(neutral)), margins.rows)
    assert np.array_equal(placed[far], moved[far])


def test_the_lids_of_the_mean_head_stay(margins: LidMargins, neutral: np.ndarray, eyes: np.ndarray) -> None:
    placed = margins.faired(neutral, neutral, OPEN, eye_centers(eyes), lambda found: found)
    np.testing.assert_allclose(placed, neutral, atol=1e-9)


@pytest.mark.parametrize("weight, left", [(1.0, 0.0), (SHUT, 0.0), (0.45, 0.5)])
def test_a_blink_leaves_its_share_of_the_gap_of_wider_eyes(
    template: TemplateSurface, margins: LidMargins, neutral: np.ndarray, eyes: np.ndarray, weight: float, left: float
) -> None:
    wide = neutral + template.shapes[ARKIT_NAMES.index("eyeWideLeft")]
    blink, center = margins.blinks[0], eye_centers(eyes)[0]
    whole = gaps(blink, wide, center)
    assert (whole > 0.4).all()
    closed = blink.closed(wide + weight * template.shapes[BLINKS[0]], weight, center)
    assert np.abs(gaps(blink, closed, center) - left * whole).max() < 0.05


@settings(max_examples=5, deadline=None)
@given(seed=SEEDS)
def test_a_mirrored_head_has_mirrored_lids(
    template: TemplateSurface, margins: LidMargins, neutral: np.ndarray, eyes: np.ndarray, seed: int
) -> None:
    moved = neutral + np.random.default_rng(seed).normal(0.0, 0.3, neutral.shape)
    flip = np.array([-1.0, 1.0, 1.0])
    centers = eye_centers(eyes)

    def placed(vertices: np.ndarray, weights: np.ndarray) -> np.ndarray:
        return margins.faired(vertices, neutral, weights, centers, lambda found: found)

    mirrored = placed(moved[template.twin] * flip, OPEN)
    wanted = placed(moved, OPEN)[template.twin] * flip
    np.testing.assert_allclose(mirrored[template.part < LEFT_EYE], wanted[template.part < LEFT_EYE], atol=1e-3)
