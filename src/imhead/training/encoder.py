"""Training of the encoder on synthetic partial scans of the training heads, whose codes and pose are known.

A scan takes a few milliseconds: two registered heads and their codes are mixed alike, an expression is added, points
are drawn from the surface that some cameras face, then holes, a cut neck, noise and outliers are added.
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
from imhead.types import BoolArray, FloatArray, IntArray, Mesh

_NOSE_TIP_MM = CENTERS_MM[next(r.index for r in REGIONS if r.name == "nose_tip")]
_WEIGHT_SCALE = 0.2  # this error of an ARKit weight costs as much as one standard deviation of z_id
_PROCESSES = 2  # that draw the scans


@dataclass(frozen=True, eq=False)
class RegisteredHeads:
    """Heads on ICT's topology with V vertices, of which training scans are drawn."""

    ict: IctModel
    """The topology, its mean head and its expressions."""
    offsets: FloatArray
    """(M, V, 3) float32 offsets of each head from the mean head, mm."""
    z_id: FloatArray
    """(M, 256) their codes."""
    weights: FloatArray
    """(E, 52) expressions to draw from."""
    faces: IntArray
    """(F, 3) faces that a scanner can see."""


def basis_of(mean: FloatArray, faces: IntArray, config: EncoderConfig) -> FloatArray:
    """Basis points (M, 3) on the mean head, mm: evenly spaced, more closely on the face.

    The second half mirrors the first, so that mirroring a scan permutes its features.
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
    """Draw one training scan.

    Returns:
        Points (N, 3) near the head frame, z_id (256,), ARKit weights (52,), twist (6,) from the points to the head
        frame.
    """
    first, second = rng.integers(len(heads.offsets), size=2)
    share = rng.uniform(0.0, 1.0) if rng.random() < 0.7 else 0.0
    # so scaled, a mixture of two independent heads is as far from the mean as one head
    mix = np.array([1.0 - share, share]) / np.hypot(1.0 - share, share) * rng.uniform(0.8, 1.2)
    z_id = mix[0] * heads.z_id[first] + mix[1] * heads.z_id[second]
    weights = np.zeros(heads.weights.shape[1])
    if rng.random() >= config.neutral_share:
        weights = heads.weights[rng.integers(len(heads.weights))] * rng.uniform(0.3, 1.0)
    posed = heads.ict.mean + mix[0] * heads.offsets[first] + mix[1] * heads.offsets[second]
    posed = posed + heads.ict.expression_offsets(weights)
    count = int(np.exp(rng.uniform(np.log(1500), np.log(6000))))
    every = np.ones(len(heads.faces), dtype=bool)
    points, normals = sample_visible(Mesh(posed, heads.faces), 2 * count, rng, visible=every)
    points = points[_facing_cameras(normals, rng)]
    points = points[points[:, 1] > rng.uniform(-260.0, -70.0)]
    for _ in range(rng.integers(0, 4)):  # holes, as where hair was cut out
        center, radius = points[rng.integers(len(points))], rng.uniform(5.0, 35.0)
        kept = np.linalg.norm(points - center, axis=1) > radius
        points = points[kept] if kept.sum() > 300 else points
    points = rng.permutation(points)[:count]
    points = points + rng.normal(0.0, rng.choice([0.0, 0.2, 0.6, 1.5]), points.shape)
    outlier = rng.random(len(points)) < rng.choice([0.0, 0.02, 0.1])
    points[outlier] += rng.normal(0.0, 15.0, (int(outlier.sum()), 3))
    twist = rng.normal(0.0, 1.0, 6) * rng.choice([0.3, 1.0])
    motion = motion_of(twist)
    points = (points - motion[:3, 3]) @ motion[:3, :3]  # the inverse motion
    return points, z_id, weights, twist


def train_encoder(
    model: Model,
    heads: RegisteredHeads,
    config: EncoderConfig,
    progress: Callable[[str], None],
) -> ScanEncoder:
    """Train an encoder for the codes of `model`; the last 2 % of the scans are held out to measure its error."""
    torch.manual_seed(config.seed)
    basis = basis_of(heads.ict.mean, heads.faces, config)
    features, truth = _training_scans(heads, basis, config, progress)
    net = ScanEncoder(torch.from_numpy(basis), heads.z_id.shape[1], config.width, config.depth)
    count = len(features) - max(1, len(features) // 50)
    steps = config.epochs * -(-count // config.batch)
    optimizer = torch.optim.AdamW(net.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.learning_rate, total_steps=steps, pct_start=0.1)
    unfold = model.net.decnet.weight.detach().cpu().flatten(1)
    mirror = _Mirror(net, model)
    for epoch in range(config.epochs):
        order = torch.randperm(count)
        for rows in order.split(config.batch):
            x, y = features[rows].float(), truth[rows]
            x, y = mirror(x, y) if torch.rand(()) < 0.5 else (x, y)
            loss = _loss(net, x, y, unfold)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        with torch.no_grad():
            z, _, twist = net(features[count:].float())
            z_true, twist_true = truth[count:, : z.shape[1]], truth[count:, -6:]
            unexplained = float(((z - z_true) @ unfold).square().mean() / (z_true @ unfold).square().mean())
            pose_error = float((twist - twist_true)[:, 3:].norm(dim=1).mean()) * TWIST_SCALE[1]
        report = f"{unexplained:.3f} of the region codes' variance unexplained, pose error {pose_error:.1f} mm"
        progress(f"encoder: epoch {epoch + 1} / {config.epochs}, {report}")
    return net.eval().requires_grad_(False)


def write_encoder(
    model_path: Path,
    z_id: Tensor,
    ict: IctModel,
    offsets: Tensor,
    weights: FloatArray,
    config: EncoderConfig,
    progress: Callable[[str], None],
) -> Path:
    """Train the encoder of a model file and write it beside the file; its path. The written file is opened as a check.

    Args:
        z_id: (M, 256) code table of the model's run.
        offsets: (M, V, 3) offsets of its training heads, on the common topology, mm.
        weights: (E, 52) expressions to draw from.

    Raises:
        InputError: there is no such model, or the numbers of codes and heads differ.
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
    # the error of the region codes counts as well as that of z_id
    regions = ((z - z_true) @ unfold).square().mean() / (z_true @ unfold).square().mean()
    loss: Tensor = (z - z_true).square().mean() + regions
    return loss + ((weights - weights_true) / _WEIGHT_SCALE).square().mean() + (twist - twist_true).square().mean()


class _Mirror:
    """Maps features and truth of scans to those of the mirrored scans."""

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


def _training_scans(
    heads: RegisteredHeads, basis: FloatArray, config: EncoderConfig, progress: Callable[[str], None]
) -> tuple[Tensor, Tensor]:
    """Features (N, M, 4) float16, and code, weights and twist (N, 314), of all training scans."""
    features = torch.empty(config.scans, len(basis), 4, dtype=torch.float16)
    truth = torch.empty(config.scans, heads.z_id.shape[1] + heads.weights.shape[1] + 6)
    draw = partial(_training_scan, heads, basis, config)
    for index, feature, target in in_processes(draw, config.scans, _PROCESSES, ordered=False, chunk=64):
        features[index], truth[index] = torch.from_numpy(feature), torch.from_numpy(target)
        if (index + 1) % 10_000 == 0:
            progress(f"encoder: {index + 1} / {config.scans} training scans")
    return features, truth


def _training_scan(
    heads: RegisteredHeads, basis: FloatArray, config: EncoderConfig, index: int
) -> tuple[int, np.ndarray, np.ndarray]:
    points, *truth = draw_scan(heads, np.random.default_rng([config.seed, 0xEC, index]), config)
    return index, basis_features(points, basis).astype(np.float16), np.concatenate(truth).astype(np.float32)


def _facing_cameras(normals: FloatArray, rng: np.random.Generator) -> BoolArray:
    """(N,) bool: the surface faces one of 1 to 3 cameras before the face; all true for a third of the scans."""
    kind = rng.random()
    if kind < 0.35:
        return np.ones(len(normals), dtype=bool)
    seen = np.zeros(len(normals), dtype=bool)
    for _ in range(1 if kind < 0.6 else 3):
        view = Rotation.from_euler("yx", rng.normal(0.0, [40.0, 15.0]), degrees=True).apply([0.0, 0.0, 1.0])
        seen |= normals @ view > rng.uniform(0.1, 0.35)
    return seen if seen.sum() > 300 else ~seen


def _farthest(points: FloatArray, count: int) -> FloatArray:
    """Farthest-point sampling: `count` of the points (N, 3)."""
    chosen = [0]
    distance = np.linalg.norm(points - points[0], axis=1)
    while len(chosen) < min(count, len(points)):
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, np.linalg.norm(points - points[chosen[-1]], axis=1))
    return points[chosen]
