"""The start of training: codes from a PCA that mirror by sign and know where keypoints lie."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from imhead.conventions import MODEL_UNIT_MM
from imhead.model.head import HeadModel
from imhead.regions import CENTERS_MM, MIRROR, SIDE
from imhead.sources.ict import IctModel
from imhead.surfaces.properties import vertex_areas
from imhead.training.codes import (
    CodeStart,
    apply_start,
    identity_codes,
    keypoint_weights,
    mirror_offsets,
    seen_faces,
    start_codes,
    surface_metric,
)
from imhead.training.config import PRESETS
from imhead.training.population import TrainingHeads
from imhead.types import Mesh

CONFIG = PRESETS["tiny"].model
HEADS = 12


@pytest.fixture(scope="module")
def mean(ict: IctModel) -> np.ndarray:
    return (ict.mean + ict.canonical_offset).astype(np.float64)


@pytest.fixture(scope="module")
def offsets(training_heads: Callable[[int], TrainingHeads]) -> Tensor:
    return training_heads(HEADS).offsets()


@pytest.fixture(scope="module")
def twice(ict: IctModel, offsets: Tensor) -> CodeStart:
    """Codes of six heads and of the same six mirrored."""
    half = offsets[: HEADS // 2]
    return start_codes(ict, torch.cat([half, mirror_offsets(half, torch.from_numpy(ict.mirror))]), CONFIG)


@pytest.fixture(scope="module")
def start(ict: IctModel, offsets: Tensor) -> CodeStart:
    return start_codes(ict, offsets, CONFIG)


@pytest.fixture(scope="module")
def net(start: CodeStart) -> HeadModel:
    torch.manual_seed(0)
    net = HeadModel(CONFIG)
    apply_start(net, start)
    return net.requires_grad_(False)


def test_a_mirrored_head_has_the_codes_times_their_parity(twice: CodeStart) -> None:
    drawn, mirrored = twice.z_id[: HEADS // 2], twice.z_id[HEADS // 2 :]
    # six heads and their mirror images span six symmetric and six antisymmetric directions, the strongest
    assert sorted(twice.parity[:HEADS].tolist()) == [-1.0] * 6 + [1.0] * 6
    torch.testing.assert_close(mirrored[:, :HEADS], (drawn * twice.parity)[:, :HEADS], rtol=0, atol=2e-2)


def test_heads_that_repeat_each_other_have_codes_of_ordinary_size(twice: CodeStart) -> None:
    # beyond the directions that the heads span there is nothing but rounding, and whitening must not blow it up
    assert twice.z_id.abs().max() < 6.0


def test_codes_are_of_unit_size_and_zero_beyond_what_the_heads_can_tell(start: CodeStart) -> None:
    assert start.z_id.shape == (HEADS, CONFIG.identity_size) and torch.isfinite(start.z_id).all()
    used = start.z_id.square().mean(dim=0).sqrt()
    assert not used[2 * HEADS :].any()
    assert used.max() < 1.5 and (used[:HEADS] > 0.3).all()
    assert start.explained > 0.99


def test_where_a_registration_slid_along_the_surface_is_no_part_of_who_it_is(ict: IctModel, offsets: Tensor) -> None:
    metric = torch.from_numpy(surface_metric(ict)).float()
    normal = torch.nn.functional.normalize(metric, dim=1)
    slide = torch.randn(offsets.shape, generator=torch.Generator().manual_seed(0))
    slide = slide - (slide * normal).sum(dim=2, keepdim=True) * normal
    plain, slid = (identity_codes(ict, moved, CONFIG.identity_size)[0] for moved in (offsets, offsets + 3.0 * slide))
    # directions are found up to their sign
    torch.testing.assert_close(torch.cdist(slid, slid), torch.cdist(plain, plain), rtol=1e-3, atol=1e-3)


def test_what_nobody_sees_counts_nothing_and_the_face_counts_most(ict: IctModel, mean: np.ndarray) -> None:
    counts = np.square(surface_metric(ict)).sum(axis=1)
    assert np.isfinite(counts).all() and (counts == 0.0).any()
    np.testing.assert_allclose(counts, counts[ict.mirror], rtol=1e-6)
    tip = mean[mean[:, 2].argmax()]
    face = np.linalg.norm(mean - tip, axis=1) < 60.0
    per_mm2 = counts / vertex_areas(Mesh(ict.mean, seen_faces(ict))).clip(1e-9)
    assert np.median(per_mm2[face & (counts > 0.0)]) > 5.0 * np.median(per_mm2[~face & (counts > 0.0)])


def test_different_heads_have_different_codes(start: CodeStart) -> None:
    apart = torch.cdist(start.z_id, start.z_id) + 9.0 * torch.eye(HEADS)
    assert apart.min() > 1.0


def test_the_started_model_puts_keypoints_where_the_heads_have_them(
    net: HeadModel, start: CodeStart, mean: np.ndarray, offsets: Tensor
) -> None:
    shift = torch.from_numpy(keypoint_weights(mean)).float()
    wanted = torch.from_numpy(CENTERS_MM).float() + torch.einsum("rv,mvc->mrc", shift, offsets)
    error = (net.regional(start.z_id).keypoints * MODEL_UNIT_MM - wanted).norm(dim=-1)
    assert (wanted - torch.from_numpy(CENTERS_MM).float()).norm(dim=-1).max() > 3.0
    assert error.max() < 1.0


def test_mirrored_codes_give_the_mirrored_head_s_keypoints(net: HeadModel, start: CodeStart) -> None:
    here = net.regional(start.z_id).keypoints
    there = net.regional(start.z_id * start.parity).keypoints
    turned = here[:, torch.from_numpy(MIRROR)] * torch.tensor([-1.0, 1.0, 1.0])
    assert (there - turned).norm(dim=-1).max() * MODEL_UNIT_MM < 1.0


def test_mirrored_codes_unfold_into_swapped_region_codes(net: HeadModel, start: CodeStart) -> None:
    mirror = torch.from_numpy(MIRROR)
    here, there = net.decnet(start.z_id), net.decnet(start.z_id * start.parity)
    wanted = here[:, mirror] * start.region_parity
    assert (there - wanted).norm() < 0.01 * wanted.norm()
    pairs = torch.from_numpy(SIDE != 0)
    assert (start.region_parity[pairs] == 1.0).all()
    assert set(start.region_parity[~pairs].unique().tolist()) == {-1.0, 1.0}


def test_the_zero_code_is_the_mean_head(net: HeadModel) -> None:
    regional = net.regional(torch.zeros(1, CONFIG.identity_size))
    torch.testing.assert_close(regional.keypoints[0], torch.from_numpy(CENTERS_MM / MODEL_UNIT_MM).float())


def test_keypoints_follow_the_vertices_around_them(mean: np.ndarray) -> None:
    weights = keypoint_weights(mean)
    assert weights.shape == (39, len(mean)) and (weights >= 0).all()
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, atol=1e-6)
    assert ((weights > 0).sum(axis=1) >= 12).all()


def test_code_scales_lead_with_one_and_never_rise(start: CodeStart) -> None:
    assert torch.equal(start.code_scale[:, 0], torch.ones(23))
    assert (start.code_scale.diff(dim=1) <= 1e-4).all() and (start.code_scale >= 0).all()


def test_the_same_heads_give_the_same_start(ict: IctModel, offsets: Tensor, start: CodeStart) -> None:
    again = start_codes(ict, offsets, CONFIG)
    for name in ("z_id", "parity", "decnet", "region_parity", "keypoints", "code_scale"):
        assert torch.equal(getattr(again, name), getattr(start, name)), name
