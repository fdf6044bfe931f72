"""The law of each term of the loss: nothing at the truth, more the farther from it."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from imhead.conventions import ARKIT_NAMES, MODEL_UNIT_MM
from imhead.regions import MIRROR
from imhead.training import losses
from imhead.training.batch import arkit_swap
from imhead.training.config import PRESETS
from imhead.training.loop import rates

SEED = st.integers(0, 2**31)


def rows(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def unit(values: Tensor) -> Tensor:
    return values / values.norm(dim=-1, keepdim=True)


def plain(predicted: torch.Tensor, distance: torch.Tensor) -> torch.Tensor:
    return losses.distance_term(predicted, distance, torch.zeros_like(distance, dtype=torch.bool))


def posed(predicted: torch.Tensor, distance: torch.Tensor) -> torch.Tensor:
    exact = torch.zeros_like(distance, dtype=torch.bool)
    return losses.posed_distance_term(predicted, distance, exact, torch.ones_like(distance))


def warped(canonical: torch.Tensor, target: torch.Tensor, distance: torch.Tensor) -> torch.Tensor:
    return losses.warp_term(canonical, target, distance, torch.ones_like(distance))


def test_every_term_is_zero_at_the_truth() -> None:
    distance = 0.03 * rows(0, 2, 50)
    normal = unit(rows(1, 2, 50, 3))
    keypoints = rows(2, 2, 39, 3)
    mirror = torch.from_numpy(MIRROR)
    half = rows(3, 2, 39, 8)
    symmetric = half + half[:, mirror]
    assert plain(distance, distance) == 0
    assert posed(distance, distance) == 0
    assert losses.normal_term(normal, normal, distance).item() == pytest.approx(0, abs=1e-6)
    assert losses.eikonal_term(normal).item() == pytest.approx(0, abs=1e-10)
    assert warped(keypoints, keypoints, torch.zeros(2, 39)).item() == pytest.approx(0, abs=2e-5)
    assert losses.keypoint_term(keypoints, keypoints) == 0
    assert losses.symmetry_term(symmetric, mirror, torch.ones(39, 8)) == 0
    assert losses.code_term(torch.zeros(2, 8)) == 0


@settings(deadline=None, max_examples=25)
@given(SEED, st.floats(0.2, 5.0))
def test_the_error_at_a_surface_point_is_its_distance_whatever_the_slope_of_the_field(seed: int, rise: float) -> None:
    away, normal = 0.03 * rows(seed, 2, 50), unit(rows(seed + 1, 2, 20, 3))
    on_surface = torch.zeros(2, 50)
    found = losses.first_order_distance(rise * away, on_surface, rise * normal)
    torch.testing.assert_close(found[:, :20], away[:, :20])
    torch.testing.assert_close(found[:, 20:], rise * away[:, 20:])  # their gradient is not known


def test_the_error_at_a_point_off_the_surface_is_the_value_of_the_field() -> None:
    predicted, distance = rows(0, 2, 50), rows(1, 2, 50)
    assert torch.equal(losses.first_order_distance(predicted, distance, 0.5 * unit(rows(2, 2, 20, 3))), predicted)


@settings(deadline=None, max_examples=25)
@given(SEED)
def test_every_term_is_positive_elsewhere(seed: int) -> None:
    distance = 0.03 * rows(seed, 2, 50)
    normal, keypoints = unit(rows(seed + 1, 2, 50, 3)), rows(seed + 2, 2, 39, 3)
    other = rows(seed + 3, 2, 50, 3)
    for value in (
        plain(distance + 0.01, distance),
        posed(distance + 0.01, distance),
        losses.normal_term(other, normal, distance),
        losses.eikonal_term(other),
        warped(other, normal, distance),
        losses.keypoint_term(keypoints + 0.01, keypoints),
        losses.symmetry_term(rows(seed, 2, 39, 8), torch.from_numpy(MIRROR), torch.ones(39, 8)),
        losses.code_term(rows(seed, 2, 8)),
    ):
        assert value.shape == () and value > 1e-6


@settings(deadline=None, max_examples=25)
@given(SEED, st.floats(0.1, 10.0))
def test_distance_errors_count_in_proportion_and_whichever_sign_they_have(seed: int, factor: float) -> None:
    distance, error = (0.05 * rows(seed, 40)).clamp(-0.04, 0.04), 0.02 * rows(seed + 1, 40)
    for term in (plain, posed):
        once = term(distance + error, distance)
        torch.testing.assert_close(term(distance + factor * error, distance), factor * once, rtol=1e-3, atol=1e-6)
        torch.testing.assert_close(term(distance - error, distance), once, rtol=1e-3, atol=1e-6)


def test_a_distance_error_counts_half_at_10_mm_and_less_beyond() -> None:
    places_mm = torch.tensor([0.0, 10.0, -10.0, 30.0, 100.0]) / MODEL_UNIT_MM
    cost = [plain(d[None] + 0.01, d[None]).item() for d in places_mm]
    assert cost == pytest.approx([0.01, 0.005, 0.005, 0.0025, 0.01 / 11], rel=1e-3)


def test_below_an_upper_bound_nothing_is_an_error() -> None:
    distance = torch.tensor([-0.002, -0.002, 0.01])
    predicted = torch.tensor([-0.012, 0.001, 0.01])
    bound = torch.ones(3, dtype=torch.bool)
    assert losses.distance_error(predicted, distance, bound).tolist() == pytest.approx([0.0, 0.003, 0.0])
    assert losses.distance_error(predicted, distance, ~bound).tolist() == pytest.approx([0.01, 0.003, 0.0])


def test_a_seal_costs_in_proportion_and_none_costs_nothing() -> None:
    assert losses.seal_term(torch.tensor([0.02, -0.01, 0.0])).item() == pytest.approx(0.01)
    assert losses.seal_term(torch.zeros(4)) == 0


def test_beyond_5_mm_a_posed_point_is_only_held_to_its_own_side() -> None:
    near, far = torch.tensor([0.049]), torch.tensor([0.051])
    assert posed(near + 0.01, near).item() == pytest.approx(0.01, rel=1e-3)
    assert posed(far + 0.01, far) == 0 and posed(-far - 0.01, -far) == 0
    mixed, wrong = torch.tensor([0.0, 0.1, -0.1]), torch.tensor([0.0, -0.005, 0.005])
    assert posed(wrong, mixed).item() == pytest.approx(2 * 0.03, rel=1e-3)


def test_a_normal_counts_by_its_direction_only_and_near_the_surface_only() -> None:
    normal, at = torch.tensor([[0.0, 0.0, 1.0]]), torch.zeros(1)
    assert losses.normal_term(5.0 * normal, normal, at).item() == pytest.approx(0.0, abs=1e-6)
    assert losses.normal_term(torch.tensor([[2.0, 0.0, 0.0]]), normal, at).item() == pytest.approx(1.0)
    assert losses.normal_term(-normal, normal, at).item() == pytest.approx(2.0)
    assert losses.normal_term(-normal, normal, at + 0.2) == 0


@settings(deadline=None, max_examples=25)
@given(SEED, st.floats(0.0, 4.0))
def test_the_eikonal_term_sees_only_how_long_gradients_are(seed: int, length: float) -> None:
    gradient = length * unit(rows(seed, 30, 3))
    assert losses.eikonal_term(gradient).item() == pytest.approx((length - 1.0) ** 2, abs=1e-4)


def test_a_warp_is_off_by_its_length_and_mostly_at_the_surface() -> None:
    target, distance = rows(0, 1, 2, 3), torch.tensor([[0.0, 0.03]])
    step = torch.tensor([0.0, 0.03, 0.04])
    assert warped(target + step, target, distance).item() == pytest.approx(0.05, rel=1e-3)
    at_surface, away = target.clone(), target.clone()
    at_surface[0, 0] += step
    away[0, 1] += step
    ratio = warped(at_surface, target, distance) / warped(away, target, distance)
    assert ratio.item() == pytest.approx(torch.e, rel=1e-2)


def test_the_warp_term_has_a_finite_gradient_at_the_truth() -> None:
    canonical = rows(0, 2, 5, 3).requires_grad_(True)
    warped(canonical, canonical.detach().clone(), torch.zeros(2, 5)).backward()
    assert canonical.grad is not None and torch.isfinite(canonical.grad).all()


@settings(deadline=None, max_examples=25)
@given(SEED)
def test_the_symmetry_term_is_blind_to_which_side_is_which(seed: int) -> None:
    z, mirror = rows(seed, 2, 39, 8), torch.from_numpy(MIRROR)
    parity = torch.where(rows(seed + 1, 39, 8) < 0, -1.0, 1.0)
    parity[:32] = 1.0
    swapped = z[:, mirror] * parity
    torch.testing.assert_close(losses.symmetry_term(z, mirror, parity), losses.symmetry_term(swapped, mirror, parity))


def test_an_antisymmetric_midline_code_is_what_the_symmetry_term_pays_for() -> None:
    z, mirror, parity = torch.zeros(1, 39, 8), torch.from_numpy(MIRROR), torch.ones(39, 8)
    parity[38, 0] = -1.0
    z[0, 38, 1] = 1.0
    assert losses.symmetry_term(z, mirror, parity) == 0
    z[0, 38, 0] = 1.0
    assert losses.symmetry_term(z, mirror, parity).item() == pytest.approx(4.0 / (39 * 8))


def test_rates_warm_up_fall_to_one_percent_and_free_the_codes_late() -> None:
    config = PRESETS["default"]
    networks, warp, code = zip(*(rates(step, config) for step in range(config.steps)))
    assert warp == networks
    assert networks[0] < networks[100] < networks[199] <= config.learning_rate
    assert networks[-1] == pytest.approx(0.01 * config.learning_rate, rel=1e-2)
    freed = int(config.code_start * config.steps)
    assert set(code[:freed]) == {0.0} and min(code[freed:]) > 0.0


def test_after_the_common_steps_only_the_warp_learns() -> None:
    config = PRESETS["default"]
    last = config.steps + config.warp_steps
    networks, warp, code = zip(*(rates(step, config) for step in range(config.steps, last)))
    assert set(networks) == set(code) == {0.0}
    assert warp[0] < warp[199] <= config.warp_learning_rate
    assert warp[-1] == pytest.approx(0.01 * config.warp_learning_rate, rel=2e-2)


def test_swapping_left_and_right_expressions_twice_is_the_identity() -> None:
    swap = arkit_swap()
    assert torch.equal(swap[swap], torch.arange(52))
    assert ARKIT_NAMES[swap[ARKIT_NAMES.index("eyeLookInLeft")]] == "eyeLookInRight"
    assert ARKIT_NAMES[swap[ARKIT_NAMES.index("mouthLeft")]] == "mouthRight"
    assert ARKIT_NAMES[swap[ARKIT_NAMES.index("jawOpen")]] == "jawOpen"


def test_points_where_lips_and_lids_meet_count_four_times() -> None:
    keypoints, radius = torch.tensor([[[0.0, 0.0, 1.0]]]), torch.tensor([0.2])
    places = torch.tensor([[[0.0, 0.0, 1.0], [0.0, 0.1, 1.0], [0.0, 0.13, 1.0], [1.0, 0.0, 0.0]]])
    assert losses.crease_weight(places, keypoints, radius).tolist() == [[4.0, 4.0, 1.0, 1.0]]


def test_a_point_that_no_ball_covers_is_taken_to_be_outside_and_others_keep_their_distance() -> None:
    keypoints, radius = torch.tensor([[[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]]]), torch.tensor([0.5, 0.6])
    x = torch.tensor([[[0.3, 0.0, 0.0], [0.499, 0.0, 0.0], [0.0, 0.499, 0.0], [0.0, 0.7, 0.0], [0.0, 5.0, 0.0]]])
    distance = torch.tensor([[-0.1, 0.0, 0.0, -0.01, 4.5]])
    found = losses.outside_where_uncovered(distance, x, keypoints, radius)
    # the second is at the rim of one ball, but well within the other
    assert torch.equal(found[0, :2], distance[0, :2])
    assert torch.equal(found[0, 2:], torch.tensor([0.12, 0.12, 4.5]))
