"""What codes leave over of a person's scans, with each scan placed anew; expressions that all of them share."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import imhead
from imhead.checkpoint import Model
from imhead.conventions import ARKIT_NAMES
from imhead.fitting.config import FitConfig
from imhead.fitting.gauss_newton import FitState
from imhead.fitting.objective import pair_jacobian
from imhead.fitting.person_residual import show_no_expression, with_residual
from imhead.fitting.pose_scan import person_codes
from imhead.fitting.residual import residual_of
from imhead.fitting.scan_points import ScanPoints
from imhead.fitting.start import state_at
from imhead.isosurface.field import HeadField, code_of_weights
from imhead.surfaces.normals import vertex_normals
from imhead.surfaces.transforms import matrix_of, transform_points
from imhead.types import FloatArray, Head

CONFIG = FitConfig(points=2500)


@pytest.fixture(scope="module")
def person() -> tuple[Model, Head, ScanPoints]:
    """A head of codes, and the front of a face that has waves of 0.8 mm over it."""
    opened = imhead.load(device="cpu")
    head = opened.sample(seed=7)[0]
    mesh = head.mesh(resolution=96)
    normals = vertex_normals(mesh.vertices, mesh.faces)[0]
    front = np.flatnonzero((mesh.vertices[:, 2] > 30.0) & (normals[:, 2] > 0.1))
    rows = np.random.default_rng(3).permutation(front)[:6000]
    places, normals = mesh.vertices[rows].astype(np.float64), normals[rows]
    lifted = places + 0.8 * np.sin(places[:, [1]] * (2.0 * np.pi / 40.0)) * normals
    return opened.model, head.codes, ScanPoints(lifted, normals, True, 1.0, 0.0, 2.0)


def state_of(model: Model, head: Head, points: ScanPoints, motion: FloatArray, weights: FloatArray) -> FitState:
    codes = person_codes(model, head, weights)
    return state_at(model, points.points, points.normals, np.eye(4), False, codes, motion, CONFIG)


def test_a_step_sees_the_residual_as_the_field_does(person: tuple[Model, Head, ScanPoints]) -> None:
    model, head, points = person
    lifted = replace(head, residual=residual_of(model, [(head, points)]))
    weights = np.zeros(len(ARKIT_NAMES), dtype=np.float32)
    weights[ARKIT_NAMES.index("jawOpen")] = 0.3
    places = points.points[:300]
    seen = pair_jacobian(model.net, person_codes(model, lifted, weights), torch.from_numpy(places).float())
    field = HeadField(model, lifted, code_of_weights(model, weights)).linearized(places)
    # the field has a septum between the nostrils, which a step leaves out
    same = np.abs(seen.sdf_mm.numpy() - field.distance) < 1e-3
    assert same.mean() > 0.98
    np.testing.assert_allclose(seen.point.numpy()[same], field.by_point[same], atol=2e-3)
    codes = pair_jacobian(model.net, person_codes(model, head, weights), torch.from_numpy(places).float())
    assert float((codes.sdf_mm - seen.sdf_mm).abs().median()) > 0.1


def test_scans_that_were_placed_a_little_off_come_together_on_what_they_share(
    person: tuple[Model, Head, ScanPoints],
) -> None:
    model, head, points = person
    rest = np.zeros(len(ARKIT_NAMES))
    off = matrix_of(np.eye(3), np.array([0.0, 0.0, 0.8]))
    states = [state_of(model, head, points, motion, rest) for motion in (np.eye(4), off)]
    residual, placed = with_residual(model, head, states, [points, points], CONFIG)
    assert residual is not None
    first, second = (transform_points(state.motion, points.points) for state in placed)
    assert float(np.linalg.norm(second - first, axis=1).mean()) < 0.3
    field = HeadField(model, replace(head, residual=residual))
    assert float(np.median(np.abs(field.skin_sdf(first)))) < 0.15


@given(st.lists(st.floats(0.0, 0.2), min_size=2, max_size=4), st.floats(0.0, 0.29))
def test_what_every_scan_shows_a_little_is_no_expression(own: list[float], common: float) -> None:
    weights = [torch.full((len(ARKIT_NAMES),), common) for _ in own]
    for row, size in zip(weights, own):
        row[3] += size
    assert show_no_expression(weights)


@given(st.floats(0.55, 1.0), st.integers(0, 51))
def test_eyes_shut_or_a_broad_smile_in_every_scan_are_an_expression(size: float, name: int) -> None:
    shown = torch.zeros(len(ARKIT_NAMES))
    shown[name] = size
    assert not show_no_expression([shown, shown, shown])


@given(st.floats(0.55, 1.0), st.integers(0, 51))
def test_what_one_scan_alone_shows_is_an_expression(size: float, name: int) -> None:
    rest = torch.full((len(ARKIT_NAMES),), 0.1)
    moved = rest.clone()
    moved[name] += size
    assert not show_no_expression([rest, rest, moved])
    assert not show_no_expression([moved])


def test_small_weights_in_every_scan_are_expressions_too() -> None:
    rows = torch.eye(len(ARKIT_NAMES))[:4] * 0.4
    assert not show_no_expression(list(rows))
