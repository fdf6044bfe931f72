"""The eyeballs of a fit settle on what a scan shows between the lids, and never in front of a lid."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imhead.checkpoint import Model
from imhead.fitting import eyes as fitting_eyes
from imhead.fitting.eyes import settled_eyes
from imhead.fitting.gauss_newton import _on_skin
from imhead.fitting.objective import Codes
from imhead.regions import REGION_COUNT
from imhead.surfaces.eyeballs import eye_centers, eyeball_distance, eyes_distance, on_eyeball
from imhead.types import FloatArray

MIRROR = np.array([-1.0, 1.0, 1.0])
EXPECTED = np.array([[31.1, 30.0, 69.0, 15.4, 2.1]] * 2)
OPENING = 0.6
"""Angle between the gaze and the margins of the lids, radians."""
SHIFTS = st.tuples(*(st.floats(-0.6, 0.6) for _ in range(3)), st.floats(-0.2, 0.2))


def ring(angle: float, count: int) -> FloatArray:
    """(count, 3) unit directions at an angle from straight ahead."""
    turn = np.linspace(0.0, 2.0 * np.pi, count, endpoint=False)
    return np.stack([np.sin(angle) * np.cos(turn), np.sin(angle) * np.sin(turn), np.cos(angle) + 0.0 * turn], axis=1)


def shown(eyeball: FloatArray, count: int = 400, seed: int = 0) -> FloatArray:
    """(count, 3) scan points of a left eyeball, between the lids."""
    rng = np.random.default_rng(seed)
    ways = np.concatenate([ring(angle, 40) for angle in rng.uniform(0.05, OPENING - 0.05, count // 40)])
    return on_eyeball(ways, eyeball)


def lids(eyeball: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Vertices (60, 3) of the lids on a left eyeball, and the distances (60,) that they keep: margins, then skin."""
    margin, skin = ring(OPENING, 30), ring(OPENING + 0.15, 30)
    places = np.concatenate([on_eyeball(margin, eyeball), on_eyeball(skin, eyeball) + 0.7 * skin])
    return places, np.repeat([-0.1, 0.7], 30)


@pytest.fixture
def settle(model: Model, monkeypatch: pytest.MonkeyPatch) -> Callable[..., FloatArray]:
    """(eyes, points) → offsets of the eyeballs of a head whose lids lie on `eyes` (2, 5), from `EXPECTED`.

    The skin is a plane through the margins, so that what lies before it is open.
    """

    def run(eyes: FloatArray, points: FloatArray) -> FloatArray:
        left, right = lids(eyes[0]), lids(eyes[1])
        vertices = np.concatenate([left[0], right[0] * MIRROR]), np.concatenate([left[1], right[1]])
        depth = left[0][:30, 2].min() - 3.0
        monkeypatch.setattr(fitting_eyes, "eyes_of", lambda model, head, z_exp: EXPECTED)
        monkeypatch.setattr(fitting_eyes, "has_template", lambda model: True)
        template = SimpleNamespace(lid_vertices=lambda model, head: vertices)
        monkeypatch.setattr(fitting_eyes, "template_of", lambda model: template)
        skin = SimpleNamespace(skin_sdf=lambda points: points[:, 2] - depth)
        monkeypatch.setattr(fitting_eyes, "HeadField", lambda model, head: skin)
        return settled_eyes(model, model.neutral(), points)

    return run


def both(eyes: FloatArray, seed: int = 0) -> FloatArray:
    """Scan points of both eyes."""
    return np.concatenate([shown(eyes[0], seed=seed), shown(eyes[1], seed=seed + 1) * MIRROR])


@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(left=SHIFTS, right=SHIFTS)
def test_each_eyeball_settles_where_scan_and_lids_show_it(
    settle: Callable[..., FloatArray], left: tuple[float, ...], right: tuple[float, ...]
) -> None:
    true = EXPECTED + np.array([[*left, 0.0], [*right, 0.0]])
    offsets = settle(true, both(true))
    front = both(true, seed=7)
    assert np.abs(eyes_distance(front, EXPECTED + offsets)).max() < 0.12
    assert not offsets[:, 4].any()


def test_an_eyeball_that_is_where_it_is_expected_stays(settle: Callable[..., FloatArray]) -> None:
    assert np.abs(settle(EXPECTED, both(EXPECTED))).max() < 0.05


def test_without_scan_points_the_lids_alone_decide(settle: Callable[..., FloatArray]) -> None:
    assert np.abs(settle(EXPECTED, np.zeros((0, 3)))).max() < 0.05
    deep = EXPECTED - [0.0, 0.0, 0.8, 0.0, 0.0]
    offsets = settle(deep, np.zeros((0, 3)))
    assert (offsets[:, 2] < -0.3).all()


def test_a_dent_of_noise_hardly_moves_an_eyeball(settle: Callable[..., FloatArray]) -> None:
    points = both(EXPECTED)
    dented = np.arange(len(points)) % 5 == 0
    points[dented] -= [0.0, 0.0, 2.0]
    assert np.abs(settle(EXPECTED, points)).max() < 0.15


def test_a_scan_in_front_of_the_lids_brings_no_eyeball_through_them(settle: Callable[..., FloatArray]) -> None:
    # a scanner's glare: the whole eye bulges by a millimetre
    bulging = EXPECTED + [0.0, 0.0, 1.2, 0.0, 0.0]
    offsets = settle(EXPECTED, both(bulging))
    places, least = lids(EXPECTED[0])
    for side in range(2):
        assert (eyeball_distance(places, EXPECTED[side] + offsets[side]) - least).min() > -0.1


def test_a_mirrored_scan_gives_the_mirrored_eyeballs(settle: Callable[..., FloatArray]) -> None:
    true = EXPECTED + [[0.4, 0.2, -0.3, 0.1, 0.0], [-0.2, 0.3, 0.4, 0.0, 0.0]]
    points = both(true)
    offsets = settle(true, points)
    mirrored = settle(true[::-1], points * MIRROR)
    np.testing.assert_allclose(mirrored, offsets[::-1], atol=1e-6)
    assert np.abs(offsets[0] - offsets[1]).max() > 0.1


def test_points_far_from_the_eyes_or_under_a_lid_say_nothing(settle: Callable[..., FloatArray]) -> None:
    true = EXPECTED + [0.3, -0.2, 0.4, 0.0, 0.0]
    points = both(true)
    rng = np.random.default_rng(0)
    elsewhere = rng.uniform([-80.0, -100.0, -80.0], [80.0, 0.0, 90.0], (500, 3))
    behind = eye_centers(true)[rng.integers(2, size=200)] - [0.0, 0.0, 15.0] + rng.normal(0.0, 1.0, (200, 3))
    np.testing.assert_allclose(settle(true, np.concatenate([points, elsewhere, behind])), settle(true, points))


def test_a_model_without_a_template_keeps_the_eyeballs_of_the_identity(model: Model) -> None:
    assert not settled_eyes(model, model.neutral(), both(EXPECTED)).any()


def test_scan_points_on_an_eyeball_say_nothing_of_the_skin(model: Model) -> None:
    z_id = torch.randn(model.net.config.identity_size, generator=torch.Generator().manual_seed(0))
    codes = Codes(z_id, torch.zeros(52), torch.zeros(REGION_COUNT, model.net.config.region_code_size))
    eyes = model.net.eye_net(z_id[None], model.net.identity_parity)[0].double().numpy()
    points = both(eyes)
    far = points * [1.0, -1.0, -1.0]
    places = torch.from_numpy(np.concatenate([points, far])).float()
    skin = torch.full((len(places),), 1.0)
    skin[: len(points) : 2] = -0.5  # inside the skin, nearer to it than to the eyeball
    wanted = torch.ones(len(places), dtype=torch.bool)
    wanted[1 : len(points) : 2] = False
    assert torch.equal(_on_skin(model.net, codes, places, skin), wanted)
