"""How sure a fit is: less where the scan shows nothing, no more than the model's people vary, and the same on disk."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from imhead.checkpoint import Model, load_head, load_model, save_head
from imhead.errors import InputError
from imhead.fitting.certainty import (
    Calibration,
    Evidence,
    _moved_by_identity,
    calibration_for,
    calibration_json,
    certainty_at,
    certainty_of,
    certainty_summary,
    evidence_of,
    surface_sigma_mm,
)
from imhead.fitting.config import FitConfig
from imhead.fitting.gauss_newton import FitState
from imhead.fitting.objective import Codes
from imhead.fitting.points import nearest_neighbours
from imhead.template.surface import template_of
from imhead.types import FloatArray, Head

CONSTANTS = Calibration(
    floor_mm=0.1, noise_share=0.3, misfit_share=0.7, codes_share=1.0, left_share=0.05, reach_mm=7.0,
    unusual_power=0.5, landmark_mm=0.6, factor_95=2.2,
)  # fmt: skip
STILL = np.zeros(52)


@pytest.fixture(scope="module")
def shipped() -> Model:
    return load_model()


@pytest.fixture(scope="module")
def vertices(shipped: Model) -> FloatArray:
    """The mean head's template."""
    return template_of(shipped).posed(shipped, shipped.neutral())


@pytest.fixture(scope="module")
def left_half(shipped: Model, vertices: FloatArray) -> Evidence:
    """Of the mean head, of which a scan shows the left half alone."""
    template = template_of(shipped)
    shown = np.flatnonzero((template.on_surface > 0.5) & (vertices[:, 0] > 5.0) & (vertices[:, 2] > -40.0))
    found = evidence_of(shipped, state_of(shipped, vertices[shown][::3]), vertices[shown], FitConfig())
    assert found is not None
    return found


def state_of(model: Model, points: FloatArray) -> FitState:
    """A fit that ended on the mean head."""
    neutral, count = model.neutral(), len(points)
    codes = Codes(torch.tensor(neutral.z_id), torch.zeros(52), torch.tensor(neutral.offsets))
    return FitState(
        points=torch.tensor(points, dtype=torch.float32), normals=None, face=torch.ones(count, dtype=torch.bool),
        neighbour=torch.from_numpy(nearest_neighbours(points)), motion=np.eye(4), scale_free=False, codes=codes,
        initial_z_id=codes.z_id, offset_prior=torch.ones(39),
    )  # fmt: skip


@settings(deadline=None)
@given(st.floats(0.0, 300.0), st.floats(0.0, 300.0), st.floats(0.0, 10.0), st.floats(0.0, 2.0))
def test_a_place_farther_from_the_scan_is_never_more_certain(a: float, b: float, codes: float, noise: float) -> None:
    near, far = surface_sigma_mm(np.array(sorted((a, b))), np.full(2, codes), noise, 0.1, CONSTANTS)
    assert CONSTANTS.floor_mm <= near <= far + 1e-12
    assert far <= np.hypot(codes, np.hypot(0.3 * noise, 0.13)) + 1e-9


def test_the_half_that_a_scan_shows_is_measured_and_the_other_is_less_certain(
    shipped: Model, left_half: Evidence
) -> None:
    sure, template = certainty_of(left_half, CONSTANTS), template_of(shipped)
    face = left_half.skin & (template.mean[:, 2] > 40.0)
    left, right = face & (template.mean[:, 0] > 10.0), face & (template.mean[:, 0] < -10.0)
    assert sure.measured[left].mean() > 0.95 and not sure.measured[right].any()
    assert np.median(sure.sigma_mm[right]) > 2.0 * np.median(sure.sigma_mm[left])
    figures = certainty_summary(sure, left_half)
    assert figures is not None and figures["inferred"]["median"] > figures["measured"]["p90"]


def test_what_no_scan_shows_varies_no_more_than_people_do(shipped: Model, left_half: Evidence) -> None:
    template = template_of(shipped)
    left = np.flatnonzero(left_half.skin[: template.half])[::50]
    spread = np.sqrt((_moved_by_identity(template, shipped, left)[0].astype(float) ** 2).sum(axis=(1, 2)))
    # along the normal, so at most the whole displacement; the pose adds to it a little
    assert (left_half.codes_mm[left] < 1.5 * spread + 0.5).all()


def test_probes_move_as_the_template_does(shipped: Model) -> None:
    template, rng = template_of(shipped), np.random.default_rng(0)
    left = np.flatnonzero(template.twin[: template.half] != np.arange(template.half))[::400]
    z_id = rng.normal(size=shipped.net.config.identity_size).astype(np.float32)
    with torch.no_grad():
        z = shipped.net.decnet(torch.from_numpy(z_id)[None])[0].numpy()
        mean = shipped.net.decnet(torch.zeros_like(torch.from_numpy(z_id))[None])[0].numpy()
    moved = template.blend(shipped, z) - template.blend(shipped, mean)
    own, twins = _moved_by_identity(template, shipped, left)
    assert np.abs(own @ z_id - moved[left]).max() < 1e-3
    assert np.abs(twins @ z_id - moved[template.twin[left]]).max() < 1e-3


def test_certainty_at_the_templates_own_vertices_is_its_own(
    shipped: Model, left_half: Evidence, vertices: FloatArray
) -> None:
    sure = certainty_of(left_half, CONSTANTS)
    rows = np.flatnonzero(left_half.skin)[::100]
    found = certainty_at(sure, shipped, shipped.neutral(), vertices[rows], STILL)
    # the linear template lies near the surface, not on it
    assert np.median(np.abs(found.sigma_mm - sure.sigma_mm[rows])) < 0.1
    assert (found.measured == sure.measured[rows]).mean() > 0.95


def test_a_head_file_keeps_the_certainty_in_less_than_a_tenth_of_a_megabyte(
    shipped: Model, left_half: Evidence, tmp_path: Path
) -> None:
    sure = certainty_of(left_half, CONSTANTS)
    path = tmp_path / "head.safetensors"
    save_head(replace(shipped.neutral(), certainty=sure), path)
    assert path.stat().st_size < 100_000
    again = load_head(path, shipped).certainty
    assert again is not None and (again.measured == sure.measured).all()
    assert np.allclose(again.sigma_mm, sure.sigma_mm, rtol=1e-3)
    assert (again.factor_95, again.size_share, again.calibrated) == (2.2, 0.0, False)


def test_a_head_that_was_not_fitted_has_none(shipped: Model, tmp_path: Path) -> None:
    save_head(shipped.neutral(), tmp_path / "head.safetensors")
    assert load_head(tmp_path / "head.safetensors", shipped).certainty is None


def test_certainty_of_another_template_is_refused_in_one_line(shipped: Model, left_half: Evidence) -> None:
    sure = certainty_of(left_half, CONSTANTS)
    short = replace(sure, sigma_mm=sure.sigma_mm[:10], measured=sure.measured[:10])
    head: Head = shipped.neutral()
    with pytest.raises(InputError, match="another template"):
        certainty_at(short, shipped, head, np.zeros((1, 3)), STILL)
    with pytest.raises(InputError, match=r"expected \(N, 3\)"):
        certainty_at(sure, shipped, head, np.zeros(3), STILL)


def test_a_model_without_a_template_says_nothing_of_its_certainty(model: Model) -> None:
    state = state_of(model, np.random.default_rng(0).normal(size=(50, 3)))
    assert evidence_of(model, state, np.zeros((5, 3)), FitConfig()) is None


def test_constants_of_another_model_are_marked_as_such(model: Model) -> None:
    assert not calibration_for(model).calibrated
    assert f'"{model.hash}"' in calibration_json(CONSTANTS, model)
