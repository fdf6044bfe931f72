"""Training of the encoder: quick partial scans of the training heads, whose codes and pose are known.

A training scan is drawn in a few milliseconds: two registered heads are mixed as their codes are, an expression is
added, points are drawn from what some cameras face, then noise, holes, a cut neck and outliers follow.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from imhead.checkpoint import Model, load_model
from imhead.conventions import FACE_RADIUS_MM
from imhead.encoding.config import EncoderConfig
from imhead.encoding.encoder import TWIST_SCALE, ScanEncoder, encoder_path, load_encoder, motion_of, save_encoder
from imhead.encoding.features import basis_features
from imhead.errors import InputError
from imhead.parallel import in_processes
from imhead.regions import CENTERS_MM, REGIONS
from imhead.sources.ict import IctModel
from imhead.surfaces.visibility import sample_visible
from imhead.training.batch import arkit_swap
from imhead.training.codes import seen_faces
from imhead.types import FloatArray, IntArray, Mesh

_NOSE_TIP_MM = CENTERS_MM[next(r.index for r in REGIONS if r.name == "nose_tip")]
_WEIGHT_SCALE = 0.2  # an ARKit weight's error against a standard deviation of z_id


@dataclass(frozen=True, eq=False)
class RegisteredHeads:
    """What training scans are drawn of. V vertices of ICT's topology; F faces that a scanner can see."""

    ict: IctModel
    """The topology and its expressions."""
    offsets: FloatArray
    """(M, V, 3) float32 of each head from the mean, mm."""
    z_id: FloatArray
    """(M, 256) their codes."""
    weights: FloatArray
    """(E, 52) expressions to draw from."""
    faces: IntArray
    """(F, 3)."""


def basis_of(mean: FloatArray, faces: IntArray, config: EncoderConfig) -> FloatArray:
    """Basis points (M, 3) on the mean head, mm: evenly over its face and, more coarsely, over the rest.

    The second half of them mirrors the first, so that a mirrored scan has the same features in another order.
    """
    rng = np.random.default_rng([config.seed, 0xE0])
    points, _ = sample_visible(Mesh(mean, faces), 30_000, rng, visible=np.ones(len(faces), dtype=bool))
    points = points[points[:, 0] > 0.0]
    face = np.linalg.norm(points - _NOSE_TIP_MM, axis=1) < FACE_RADIUS_MM
    parts = ((points[face], config.face_places // 2), (points[~face], config.other_places // 2))
    half = np.concatenate([_farthest(part, count) for part, count in parts])
    return np.concatenate([half, half * [-1.0, 1.0, 1.0]])


def draw_scan(
    heads: RegisteredHeads, rng: np.random.Generator, config: EncoderConfig
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Points (N, 3) near the head frame, z_id (256,), ARKit weights (52,), and the twist (6,) that brings them home."""
    one, other = rng.integers(len(heads.offsets), size=2)
    share = rng.uniform(0.0, 1.0) if rng.random() < 0.7 else 0.0
    # a mixture of two independent heads is as far from the mean as one
    mix = np.array([1.0 - share, share]) / np.hypot(1.0 - share, share) * rng.uniform(0.8, 1.2)
    z_id = mix[0] * heads.z_id[one] + mix[1] * heads.z_id[other]
    weights = np.zeros(heads.weights.shape[1])
    if rng.random() >= config.neutral_share:
        weights = heads.weights[rng.integers(len(heads.weights))] * rng.uniform(0.3, 1.0)
    posed = heads.ict.mean + mix[0] * heads.offsets[one] + mix[1] * heads.offsets[other]
    posed = posed + heads.ict.expression_offsets(weights)
    count = int(np.exp(rng.uniform(np.log(1500), np.log(6000))))
    whole = np.ones(len(heads.faces), dtype=bool)
    points, normals = sample_visible(Mesh(posed, heads.faces), 2 * count, rng, visible=whole)
    points = points[_faced(normals, rng)]
    points = points[points[:, 1] > rng.uniform(-260.0, -70.0)]
    for _ in range(rng.integers(0, 4)):  # holes, hair that was cut off
        at, radius = points[rng.integers(len(points))], rng.uniform(5.0, 35.0)
        kept = np.linalg.norm(points - at, axis=1) > radius
        points = points[kept] if kept.sum() > 300 else points
    points = rng.permutation(points)[:count]
    points = points + rng.normal(0.0, rng.choice([0.0, 0.2, 0.6, 1.5]), points.shape)
    stray = rng.random(len(points)) < rng.choice([0.0, 0.02, 0.1])
    points[stray] += rng.normal(0.0, 15.0, (int(stray.sum()), 3))
    twist = rng.normal(0.0, 1.0, 6) * rng.choice([0.3, 1.0])
    home = motion_of(twist)
    points = (points - home[:3, 3]) @ home[:3, :3]  # the inverse motion
    return points, z_id, weights, twist


def train_encoder(
    model: Model,
    heads: RegisteredHeads,
    config: EncoderConfig = EncoderConfig(),
    progress: Callable[[str], None] = print,
    processes: int = 2,
) -> ScanEncoder:
    """An encoder for the codes of `model`. The last 2 % of the scans are kept apart and tell how good it is."""
    torch.manual_seed(config.seed)
    basis = basis_of(heads.ict.mean, heads.faces, config)
    features, truth = _draw_all(heads, basis, config, progress, processes)
    net = ScanEncoder(torch.from_numpy(basis), heads.z_id.shape[1], config.width, config.depth)
    kept = max(1, len(features) // 50)
    seen = len(features) - kept
    steps = config.epochs * -(-seen // config.batch)
    optimizer = torch.optim.AdamW(net.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.learning_rate, total_steps=steps, pct_start=0.1)
    unfold = model.net.decnet.weight.detach().cpu().flatten(1)
    mirror = _Mirror(net, model)
    for epoch in range(config.epochs):
        order = torch.randperm(seen)
        for rows in order.split(config.batch):
            x, y = features[rows].float(), truth[rows]
            x, y = mirror(x, y) if torch.rand(()) < 0.5 else (x, y)
            loss = _loss(net, x, y, unfold)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        with torch.no_grad():
            z, _, twist = net(features[seen:].float())
            z_true, twist_true = truth[seen:, : z.shape[1]], truth[seen:, -6:]
            left = float(((z - z_true) @ unfold).square().mean() / (z_true @ unfold).square().mean())
            turned = float((twist - twist_true)[:, 3:].norm(dim=1).mean()) * TWIST_SCALE[1]
        report = f"{left:.3f} of the region codes' variance and {turned:.1f} mm of the pose left"
        progress(f"encoder: epoch {epoch + 1} / {config.epochs}, {report}")
    return net.eval().requires_grad_(False)


def write_encoder(
    model_path: Path,
    z_id: Tensor,
    ict: IctModel,
    offsets: Tensor,
    weights: FloatArray,
    config: EncoderConfig = EncoderConfig(),
    progress: Callable[[str], None] = print,
) -> Path:
    """Train the encoder of a model file, write it beside the file and open it once to check it; its path.

    Args:
        z_id: (M, 256) code table of the run that the model came from.
        offsets: (M, V, 3) of the same training heads, on the common topology, mm.
        weights: (E, 52) expressions to draw from.

    Raises:
        InputError: no such model, or another number of codes than of heads.
    """
    if len(z_id) != len(offsets):
        raise InputError(f"{model_path}: {len(z_id)} codes for {len(offsets)} heads; use the heads of its own run")
    model = load_model(model_path)
    heads = RegisteredHeads(ict, offsets.numpy(), z_id.detach().cpu().numpy(), weights, seen_faces(ict))
    path = encoder_path(model_path)
    save_encoder(train_encoder(model, heads, config, progress), model.hash, path)
    load_encoder(path, model)
    return path


def _loss(net: ScanEncoder, features: Tensor, truth: Tensor, unfold: Tensor) -> Tensor:
    z, weights, twist = net(features)
    z_true, weights_true, twist_true = truth.split(net.sizes, dim=1)
    # what a code does to the regions counts as well as the code
    regions = ((z - z_true) @ unfold).square().mean() / (z_true @ unfold).square().mean()
    loss: Tensor = (z - z_true).square().mean() + regions
    return loss + ((weights - weights_true) / _WEIGHT_SCALE).square().mean() + (twist - twist_true).square().mean()


class _Mirror:
    """Features and truth of the mirrored scan."""

    def __init__(self, net: ScanEncoder, model: Model) -> None:
        half = len(net.basis) // 2
        self.twin = torch.arange(2 * half).roll(half)
        self.step = torch.tensor([-1.0, 1.0, 1.0, 1.0])
        parity = model.net.identity_parity.cpu()
        self.sign = torch.cat([parity, torch.ones(net.sizes[1]), torch.tensor([1.0, -1.0, -1.0, -1.0, 1.0, 1.0])])
        first, last = net.sizes[0], net.sizes[0] + net.sizes[1]
        rows = torch.arange(sum(net.sizes))
        rows[first:last] = first + arkit_swap()
        self.rows = rows

    def __call__(self, features: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
        return features[:, self.twin] * self.step, truth[:, self.rows] * self.sign


def _draw_all(
    heads: RegisteredHeads, basis: FloatArray, config: EncoderConfig, progress: Callable[[str], None], processes: int
) -> tuple[Tensor, Tensor]:
    """Features (N, M, 4) in half precision, and codes, weights and twist (N, 314) of all training scans."""
    features = torch.empty(config.scans, len(basis), 4, dtype=torch.float16)
    truth = torch.empty(config.scans, heads.z_id.shape[1] + heads.weights.shape[1] + 6)
    draw = partial(_draw_one, heads, basis, config)
    for index, seen, true in in_processes(draw, config.scans, processes, ordered=False, chunk=64):
        features[index], truth[index] = torch.from_numpy(seen), torch.from_numpy(true)
        if (index + 1) % 10_000 == 0:
            progress(f"encoder: {index + 1} / {config.scans} training scans")
    return features, truth


def _draw_one(
    heads: RegisteredHeads, basis: FloatArray, config: EncoderConfig, index: int
) -> tuple[int, np.ndarray, np.ndarray]:
    points, *truth = draw_scan(heads, np.random.default_rng([config.seed, 0xEC, index]), config)
    return index, basis_features(points, basis).astype(np.float16), np.concatenate(truth).astype(np.float32)


def _faced(normals: FloatArray, rng: np.random.Generator) -> FloatArray:
    """(N,) bool: what one to three cameras before the face look at; all around for a third of the scans."""
    kind = rng.random()
    if kind < 0.35:
        return np.ones(len(normals), dtype=bool)
    seen = np.zeros(len(normals), dtype=bool)
    for _ in range(1 if kind < 0.6 else 3):
        view = Rotation.from_euler("yx", rng.normal(0.0, [40.0, 15.0]), degrees=True).apply([0.0, 0.0, 1.0])
        seen |= normals @ view > rng.uniform(0.1, 0.35)
    return seen if seen.sum() > 300 else ~seen


def _farthest(points: FloatArray, count: int) -> FloatArray:
    """`count` of the points (N, 3), each the farthest from those before it."""
    chosen = [0]
    distance = np.linalg.norm(points - points[0], axis=1)
    while len(chosen) < min(count, len(points)):
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, np.linalg.norm(points - points[chosen[-1]], axis=1))
    return points[chosen]
