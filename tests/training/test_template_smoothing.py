"""The margins of lids and lips follow region offsets smoothly, and an edit reaches what it reached before."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import imhead
from imhead.checkpoint import Model
from imhead.conventions import ARKIT_NAMES
from imhead.surfaces.crossings import edges_of
from imhead.surfaces.eyeballs import eyes_distance
from imhead.template.surface import TemplateSurface, template_of
from imhead.template.topology import LEFT_EYE
from imhead.training.template_smoothing import with_smooth_margins


@pytest.fixture(scope="module")
def model() -> Model:
    return imhead.load(device="cpu").model


@pytest.fixture(scope="module")
def template(model: Model) -> TemplateSurface:
    return template_of(model)


@pytest.fixture(scope="module")
def eyes(model: Model) -> np.ndarray:
    return np.tile(model.net.eye_net.mean.cpu().numpy().astype(np.float64), (2, 1))


def roughness(template: TemplateSurface, basis: np.ndarray, loose: np.ndarray) -> float:
    """Mean difference of the bases of neighbours among the loose vertices, for the pairs that share a region."""
    edges = edges_of(template.faces)
    edges = edges[(edges < template.half).all(axis=1) & loose[edges].all(axis=1)]
    rows = np.full((template.half, 39), -1)
    rows[template.pair_vertex, template.pair_region] = np.arange(len(basis))
    one, other = rows[edges[:, 0]], rows[edges[:, 1]]
    both = (one >= 0) & (other >= 0)
    return float(np.abs(basis[one[both]] - basis[other[both]]).mean())


def test_neighbours_at_lids_and_lips_differ_less_and_the_skin_elsewhere_stays(
    template: TemplateSurface, eyes: np.ndarray
) -> None:
    rng = np.random.default_rng(0)
    rough = template.basis + rng.normal(0.0, np.abs(template.basis).mean(), template.basis.shape).astype(np.float32)
    smooth = with_smooth_margins(replace(template, basis=rough), eyes).basis
    loose = (template.posed_share < 0.01) & (template.part < LEFT_EYE)
    assert roughness(template, smooth, loose) < 0.3 * roughness(template, rough, loose)
    far = np.flatnonzero(template.posed_share == 1.0)
    near = np.isin(edges_of(template.faces), np.flatnonzero(template.posed_share < 1.0)).any(axis=1)
    touched = np.unique(edges_of(template.faces)[near])
    twice = np.unique(edges_of(template.faces)[np.isin(edges_of(template.faces), touched).any(axis=1)])
    still = np.isin(template.pair_vertex, np.setdiff1d(far, twice))
    assert still.any() and np.array_equal(smooth[still], rough[still])


def test_no_vertex_gets_a_region_that_it_did_not_have(template: TemplateSurface, eyes: np.ndarray) -> None:
    first = template.pair_region == template.pair_region[0]
    alone = np.where(first[:, None, None], template.basis, 0.0).astype(np.float32)
    assert not with_smooth_margins(replace(template, basis=alone), eyes).basis[~first].any()


def test_lids_are_moved_smoothly_by_every_shape_and_nothing_far_from_the_eyes_changes(
    template: TemplateSurface, eyes: np.ndarray
) -> None:
    noise = np.random.default_rng(0).normal(0.0, 0.2, template.shapes.shape).astype(np.float32)
    rough = template.shapes + noise
    smooth = with_smooth_margins(replace(template, shapes=rough), eyes).shapes
    away = eyes_distance(template.mean.astype(np.float64), eyes)
    wide = ARKIT_NAMES.index("eyeWideLeft")
    lids = (np.abs(away) < 1.0) & (template.part < LEFT_EYE)
    edges = edges_of(template.faces)
    edges = edges[lids[edges].all(axis=1)]
    steps = [np.linalg.norm(np.diff(shape[edges], axis=1), axis=2).mean() for shape in (rough[wide], smooth[wide])]
    assert steps[1] < 0.35 * steps[0]
    still = (away > 30.0) & (template.part < LEFT_EYE)
    assert np.array_equal(smooth[:, still], rough[:, still])
