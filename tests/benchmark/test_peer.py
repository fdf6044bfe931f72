"""The peer has the published sizes and costs of NPHM's decoder."""

from __future__ import annotations

import pytest
import torch

from imhead.benchmark.arithmetic import count_operations
from imhead.benchmark.peer import PeerConfig, PeerDecoder, peer_batch

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def peer() -> PeerDecoder:
    return PeerDecoder(seed=0).requires_grad_(False)


def test_the_peer_has_the_published_sizes(peer: PeerDecoder) -> None:
    config = peer.config
    assert config.code_size == 64 + 40 * 32 == 1344
    hidden = [given for given, _ in config.layers[1:]]
    assert config.nets == 40 and len(hidden) == 4 and set(hidden) == {200}
    assert config.softplus_beta == 100.0
    # 40 networks, of which 16 pairs share their weights
    each = sum(a * b + b for a, b in config.layers)
    assert sum(p.numel() for p in peer.parameters()) == 24 * each


def test_a_point_costs_the_known_ten_million_operations(peer: PeerDecoder) -> None:
    assert PeerConfig().flop_per_point == pytest.approx(9.6e6, rel=0.01)
    batch = peer_batch(50, 0, CPU)
    assert count_operations(lambda: peer(*batch), peer).flop == 50 * PeerConfig().flop_per_point


def test_every_network_contributes_at_every_point(peer: PeerDecoder) -> None:
    x, code = peer_batch(60, 0, CPU)
    # each anchor once, and points far from all of them, where the network without an anchor dominates
    x = torch.cat([x, peer.anchors[None, :-1]], dim=1)
    before = peer(x, code)
    for net in (0, 17, 38, 39):
        changed = code.clone()
        first = 64 + 32 * net
        changed[:, first : first + 32] += 1.0
        assert not torch.equal(peer(x, changed), before)


def test_the_split_into_networks_and_points_changes_no_distance(peer: PeerDecoder) -> None:
    x, _ = peer_batch(60, 1, CPU)
    x, code = x.view(3, 20, 3), torch.randn(3, 1344, generator=torch.Generator().manual_seed(0))
    together = PeerDecoder(seed=0, nets_at_once=40, points_at_once=7)
    torch.testing.assert_close(peer(x, code), together(x, code))


def test_the_peer_can_be_trained_with_an_eikonal_term() -> None:
    peer = PeerDecoder(seed=0)
    x, code = peer_batch(8, 0, CPU)
    x.requires_grad_(True)
    (gradient,) = torch.autograd.grad(peer(x, code).sum(), x, create_graph=True)
    (gradient.norm(dim=-1) - 1.0).square().mean().backward()
    # the gradient does not depend on the biases of the last layer
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in [*peer.weights, *list(peer.biases)[:-1]])
