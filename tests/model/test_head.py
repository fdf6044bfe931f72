"""The network: the fast forward pass equals the slow one, and an edit of a region changes values in its ball only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from imhead.conventions import BOUNDS_MAX_MM, BOUNDS_MIN_MM, MODEL_UNIT_MM
from imhead.errors import InputError
from imhead.model.config import Blend, ModelConfig
from imhead.model.fusion import wendland
from imhead.model.head import HeadModel
from imhead.model.local_nets import encode
from imhead.regions import CENTERS_MM, MIRROR, REGION_COUNT, REGIONS, SIDE

BLENDS: tuple[Blend, ...] = ("local", "paper")


MakeNet = Callable[..., HeadModel]


@pytest.fixture
def a_net(random_net: MakeNet, small_config: Callable[[Blend], ModelConfig]) -> MakeNet:
    """(blend="local") → a small network with random weights."""
    return lambda blend="local": random_net(small_config(blend))


def codes(net: HeadModel, batch: int = 2, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    config = net.config
    return (
        torch.randn(batch, config.identity_size, generator=generator),
        torch.randn(batch, config.expression_size, generator=generator),
        0.1 * torch.randn(batch, REGION_COUNT, config.region_code_size, generator=generator),
    )


def points(count: int, batch: int = 1, seed: int = 0) -> Tensor:
    """Model units; half anywhere in the bounds, half close to the keypoints of the mean head."""
    generator = torch.Generator().manual_seed(seed)
    low, high = (torch.from_numpy(bound / MODEL_UNIT_MM).float() for bound in (BOUNDS_MIN_MM, BOUNDS_MAX_MM))
    x = low + (high - low) * torch.rand(batch, count, 3, generator=generator)
    near = torch.from_numpy(CENTERS_MM / MODEL_UNIT_MM).float()
    rows = torch.randint(REGION_COUNT, (batch, count // 2), generator=generator)
    x[:, ::2][:, : count // 2] = near[rows] + 0.15 * torch.randn(batch, count // 2, 3, generator=generator)
    return x


@pytest.mark.parametrize("blend", BLENDS)
def test_the_fast_forward_is_the_slow_one(a_net: MakeNet, blend: Blend) -> None:
    net = a_net(blend).double()
    z_id, _, offsets = (c.double() for c in codes(net))
    x = points(400, batch=2).double()
    regional = net.regional(z_id, offsets)
    fast, slow = net.canonical_sdf(x, regional), net.canonical_sdf_reference(x, regional)
    assert fast.shape == (2, 400) and slow.std() > 1e-3
    # the encoding's doubled angles are the same in both, so nothing but rounding may differ
    torch.testing.assert_close(fast, slow, rtol=0, atol=1e-11)


@pytest.mark.parametrize("blend", BLENDS)
def test_the_fast_forward_is_the_slow_one_in_single_precision(a_net: MakeNet, blend: Blend) -> None:
    net = a_net(blend)
    z_id, _, offsets = codes(net)
    regional = net.regional(z_id, offsets)
    x = points(400, batch=2)
    torch.testing.assert_close(
        net.canonical_sdf(x, regional), net.canonical_sdf_reference(x, regional), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("blend", BLENDS)
def test_the_fast_gradients_are_the_slow_ones(a_net: MakeNet, blend: Blend) -> None:
    net = a_net(blend).double()
    z_id, _, offsets = (c.double().requires_grad_(True) for c in codes(net))
    arkit = torch.rand(2, 52, dtype=torch.float64, generator=torch.Generator().manual_seed(2)).requires_grad_(True)
    x = points(200, batch=2).double().requires_grad_(True)
    upstream = torch.randn(2, 200, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    named = [("x", x), ("z_id", z_id), ("arkit", arkit), ("offsets", offsets), *net.named_parameters()]

    def gradients(forward: object) -> list[Tensor]:
        canonical, seal = net.canonical(x, z_id, net.warp.code(arkit))
        sdf = forward(canonical, net.regional(z_id, offsets)) - seal  # type: ignore[operator]
        return list(torch.autograd.grad((sdf * upstream).sum(), [tensor for _, tensor in named]))

    fast, slow = gradients(net.canonical_sdf), gradients(net.canonical_sdf_reference)
    for (name, _), a, b in zip(named, fast, slow):
        assert b.abs().max() > 0, name
        torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-9, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("blend", BLENDS)
def test_the_second_derivatives_of_the_normal_term_are_the_slow_ones(a_net: MakeNet, blend: Blend) -> None:
    net = a_net(blend).double()
    z_id, _, offsets = (c.double() for c in codes(net))

    def of(forward: object) -> list[Tensor]:
        x = points(60, batch=2).double().requires_grad_(True)
        sdf = forward(x, net.regional(z_id, offsets))  # type: ignore[operator]
        (slope,) = torch.autograd.grad(sdf.sum(), x, create_graph=True)
        parts = [p for n, p in net.named_parameters() if not n.startswith("warp")]
        return list(torch.autograd.grad(slope.square().sum(), parts, allow_unused=True))

    for a, b in zip(of(net.canonical_sdf), of(net.canonical_sdf_reference)):
        if a is None or b is None:  # the last layer's bias moves no gradient
            assert a is None or not a.any()
            assert b is None or not b.any()
            continue
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-9)


def test_the_whole_forward_is_warp_then_canonical_field_less_the_seal(a_net: MakeNet) -> None:
    net = a_net()
    z_id, z_exp, offsets = codes(net)
    x = points(50, batch=2)
    canonical, seal = net.canonical(x, z_id, z_exp)
    by_parts = net.canonical_sdf(canonical, net.regional(z_id, offsets)) - seal
    assert torch.equal(net(x, z_id, z_exp, offsets), by_parts)


def test_the_warp_fused_for_one_head_is_the_warp(random_net: MakeNet) -> None:
    net = random_net(ModelConfig())
    torch.nn.init.normal_(net.warp.out.weight, std=0.1)
    generator = torch.Generator().manual_seed(3)
    z_id, z_exp = (torch.randn(1, size, generator=generator) for size in (256, 64))
    x = 2.0 * torch.rand(500, 3, generator=generator) - 1.0
    place, seal = net.canonical(x[None], z_id, z_exp)
    fused = net.warp.of_one_head(x, net.warp.fuse(z_id, z_exp))
    torch.testing.assert_close(fused, (place[0], seal[0]), rtol=1e-4, atol=1e-5)


def test_heads_of_a_batch_are_independent(a_net: MakeNet) -> None:
    net = a_net().double()
    z_id, z_exp, offsets = (c.double() for c in codes(net, batch=3))
    x = points(100, batch=3).double()
    together = net(x, z_id, z_exp, offsets)
    for k in range(3):
        alone = net(x[k : k + 1], z_id[k : k + 1], z_exp[k : k + 1], offsets[k : k + 1])
        torch.testing.assert_close(together[k], alone[0], rtol=0, atol=1e-12)


def test_zero_code_has_the_keypoints_of_the_mean_head(a_net: MakeNet) -> None:
    net = a_net()
    config = net.config
    regional = net.regional(torch.zeros(1, config.identity_size))
    mean = torch.from_numpy(CENTERS_MM / MODEL_UNIT_MM).float()
    assert torch.equal(regional.keypoints[0], mean)
    assert not regional.z.any()


@pytest.mark.parametrize("region", REGIONS, ids=lambda r: r.name)
def test_the_offset_of_a_region_moves_only_its_own_keypoint(a_net: MakeNet, region: object) -> None:
    net = a_net()
    z_id, _, offsets = codes(net, batch=1)
    index = region.index  # type: ignore[attr-defined]
    edited = offsets.clone()
    edited[:, index] += 1.0
    moved = (net.regional(z_id, edited).keypoints != net.regional(z_id, offsets).keypoints).any(dim=-1)[0]
    assert moved.nonzero().flatten().tolist() == [index]


def locality(net: HeadModel, index: int, x: Tensor, step: float = 0.5) -> tuple[int, int, int]:
    """(points outside both balls, those whose distance changed at all, points inside whose distance changed)."""
    z_id, _, offsets = codes(net, batch=1)
    edited = offsets.clone()
    edited[:, index] += step * torch.randn(net.config.region_code_size, generator=torch.Generator().manual_seed(index))
    with torch.no_grad():
        old, new = net.regional(z_id, offsets), net.regional(z_id, edited)
        near = torch.randn(1, 2000, 3, generator=torch.Generator().manual_seed(index))
        x = torch.cat([x, old.keypoints[:, index, None] + net.radius[index] * near], dim=1)
        before, after = net.canonical_sdf(x, old), net.canonical_sdf(x, new)
        inside = torch.zeros(x.shape[:2], dtype=torch.bool)
        for regional in (old, new):
            inside |= (x - regional.keypoints[:, None, index]).norm(dim=-1) < net.radius[index]
    changed = before != after
    return int((~inside).sum()), int((changed & ~inside).sum()), int((changed & inside).sum())


@pytest.mark.parametrize(
    "name", ["left_upper_lid", "right_ear_helix", "left_jaw", "nose_tip", "occiput", "left_shoulder"]
)
def test_unedited_regions_stay_put_bit_for_bit(a_net: MakeNet, name: str) -> None:
    net = a_net()
    index = next(r.index for r in REGIONS if r.name == name)
    outside, changed_outside, changed_inside = locality(net, index, points(100_000))
    assert outside > 10_000 and changed_inside > 100
    assert changed_outside == 0


@pytest.mark.parametrize("name", ["right_nostril", "left_ear_lobe", "chin"])
def test_unedited_regions_stay_put_bit_for_bit_at_full_size(random_net: MakeNet, name: str) -> None:
    net = random_net(ModelConfig())
    index = next(r.index for r in REGIONS if r.name == name)
    outside, changed_outside, changed_inside = locality(net, index, points(100_000))
    assert outside > 50_000 and changed_inside > 100
    assert changed_outside == 0


@pytest.mark.parametrize("name", ["left_eye_inner", "left_nostril", "left_mouth_corner"])
def test_unedited_regions_stay_put_bit_for_bit_however_few_points_are_asked_for(a_net: MakeNet, name: str) -> None:
    # a matrix product of one row takes another path than one of many, and that must not show in the region's twin
    net = a_net()
    index = next(r.index for r in REGIONS if r.name == name)
    pair = net.regional(codes(net, batch=1)[0], codes(net, batch=1)[2]).keypoints[0, [index, MIRROR[index]]]
    total = changed = 0
    for seed in range(60):
        x = pair.mean(dim=0) + 0.2 * torch.randn(1, 6, 3, generator=torch.Generator().manual_seed(seed))
        outside, changed_outside, _ = locality(net, index, x, step=1.0)
        total += outside
        changed += changed_outside
    assert total > 100
    assert changed == 0


def test_a_change_of_identity_leaves_the_far_field_alone(a_net: MakeNet) -> None:
    net = a_net()
    x = torch.tensor([[[9.0, 9.0, 9.0], [-8.0, 4.0, 0.0]]])
    fields = [net.canonical_sdf(x, net.regional(codes(net, batch=1, seed=seed)[0])) for seed in (0, 1)]
    assert torch.equal(*fields)


def test_points_outside_every_ball_may_be_all_there_are(a_net: MakeNet) -> None:
    net = a_net()
    x = torch.full((1, 3, 3), 50.0)
    sdf = net.canonical_sdf(x, net.regional(codes(net, batch=1)[0]))
    assert sdf.shape == (1, 3) and torch.isfinite(sdf).all()


@pytest.mark.parametrize("blend", BLENDS)
def test_the_blend_weights_of_a_point_sum_to_at_most_one(a_net: MakeNet, blend: Blend) -> None:
    net = a_net(blend)
    z_id, _, offsets = codes(net, batch=2)
    x = points(2000, batch=2)
    regional = net.regional(z_id, offsets)
    pairs = net.find_pairs(x, regional.keypoints)
    offset = x.reshape(-1, 3)[pairs.point] - regional.keypoints.reshape(-1, 3)[pairs.row]
    weight = net.pair_weights(offset, pairs, 4000)
    summed = torch.zeros(4000).index_add(0, pairs.point, weight)
    assert (weight >= 0).all() and (summed <= 1.0 + 1e-5).all()
    assert summed.max() > 0.99
    if blend == "paper":
        torch.testing.assert_close(summed, torch.ones(4000), rtol=0, atol=1e-5)


@pytest.mark.parametrize("blend", BLENDS)
def test_pairs_are_sorted_by_network_and_name_their_regions(a_net: MakeNet, blend: Blend) -> None:
    net = a_net(blend)
    z_id, _, offsets = codes(net, batch=2)
    x = points(300, batch=2)
    keypoints = net.regional(z_id, offsets).keypoints
    pairs = net.find_pairs(x, keypoints)
    assert sum(pairs.counts) == len(pairs.point) and (net.net[pairs.region].diff() >= 0).all()
    assert torch.equal(pairs.row % REGION_COUNT, pairs.region)
    assert torch.equal(pairs.row // REGION_COUNT, pairs.point // 300)
    if blend == "paper":
        assert len(pairs.point) == 600 * REGION_COUNT
    else:
        hits = torch.stack([(x - keypoints[:, None, j]).norm(dim=-1) < net.radius[j] for j in range(REGION_COUNT)])
        assert len(pairs.point) == int(hits.sum())


def test_mirroring_codes_twice_is_the_identity(a_net: MakeNet) -> None:
    net = a_net()
    z_id, _, offsets = codes(net)
    once = net.mirror_codes(z_id, offsets)
    assert not torch.equal(once[0], z_id) and not torch.equal(once[1], offsets)
    twice = net.mirror_codes(*once)
    assert torch.equal(twice[0], z_id) and torch.equal(twice[1], offsets)


def test_mirrored_codes_mirror_the_regions_and_keypoints_of_every_pair(a_net: MakeNet) -> None:
    net = a_net()
    z_id, _, offsets = codes(net)
    here, there = net.regional(z_id, offsets), net.regional(*net.mirror_codes(z_id, offsets))
    pairs, mirror = torch.from_numpy(SIDE != 0), torch.from_numpy(MIRROR)
    torch.testing.assert_close(there.z[:, pairs], here.z[:, mirror][:, pairs])
    turned = here.keypoints[:, mirror] * torch.tensor([-1.0, 1.0, 1.0])
    torch.testing.assert_close(there.keypoints[:, pairs], turned[:, pairs])


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(*[st.floats(-1.5, 1.5, width=32)] * 3), min_size=1, max_size=30), st.integers(1, 6))
def test_doubled_angles_are_the_direct_ones(rows: list[tuple[float, float, float]], frequencies: int) -> None:
    x = torch.tensor(rows)
    encoded = encode(x, frequencies)
    direct = [x.double()]
    for k in range(frequencies):
        angle = 2.0**k * torch.pi * x.double()
        direct += [torch.sin(angle), torch.cos(angle)]
    assert encoded.shape == (len(rows), 3 + 6 * frequencies)
    torch.testing.assert_close(encoded.double(), torch.cat(direct, dim=-1), rtol=0, atol=1e-4)


def test_the_compact_weight_is_one_at_its_centre_falls_and_is_exactly_zero_from_the_rim_on() -> None:
    r = torch.linspace(0.0, 1.0, 101)
    weight = wendland(r)
    assert weight[0] == 1.0 and weight[-1] == 0.0
    assert (weight.diff() < 0).all()
    assert not wendland(torch.tensor([1.0, 1.0001, 2.0, 1e6])).any()


@pytest.mark.parametrize(
    "values",
    [{"local_width": 0}, {"blend": "soft"}, {"identity_size": True}, {"feature_size": 10**9}, {"local_hidden": 1}],
)
def test_sizes_that_make_no_network_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(InputError, match=next(iter(values))):
        replace(ModelConfig(), **values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "setting", [{"local_hidden": 2}, {"fusion_hidden": 1}, {"warp_hidden": 1}, {"local_frequencies": 1}]
)
def test_the_smallest_sizes_that_are_accepted_run(
    random_net: MakeNet, small_config: Callable[[Blend], ModelConfig], setting: dict[str, int]
) -> None:
    net = random_net(replace(small_config("local"), **setting))
    z_id, z_exp, offsets = codes(net)
    assert torch.isfinite(net(points(20, batch=2), z_id, z_exp, offsets)).all()
