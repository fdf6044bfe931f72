"""One training loop. Every draw is a function of (seed, step), so a killed run resumes with nothing lost."""

from __future__ import annotations

import json
import math
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from imhead.atomic import write_atomically
from imhead.config import TrainConfig, to_dict
from imhead.conventions import ARKIT_NAMES
from imhead.errors import InputError
from imhead.model.head import HeadModel
from imhead.sources.ict import IctModel
from imhead.training import losses
from imhead.training.codes import apply_start, start_codes
from imhead.training.population import CREASED, Population, TrainingHeads, build_population

_CREASED = list(CREASED)
_CANONICAL_CREASE_SHARE, _WARP_CREASE_SHARE = 0.25, 0.5
_PCA_STARTED = ("z_id", "model.decnet.weight", "model.keypoint_net.weight")
_SHARDS = ("weights", "first_moment", "second_moment")


@dataclass(frozen=True, eq=False)
class Batch:
    """One step's data, model units. The first half of the heads also have posed samples."""

    heads: Tensor
    """(B,) rows of the code table."""
    flipped: Tensor
    """(B,) bool: the head is seen mirrored."""
    canonical: Tensor
    """(B, n, 11) columns as in Population."""
    posed: Tensor
    """(B/2, n, 11)."""
    expressions: Tensor
    """(B/2, 52)."""
    keypoints: Tensor
    """(B, 39, 3)."""


class Learner(nn.Module):
    """What is optimised: the model and the table of identity codes."""

    def __init__(self, model: HeadModel, z_id: Tensor) -> None:
        super().__init__()
        self.model = model
        self.z_id = nn.Parameter(z_id.clone())


def draw_batch(population: Population, config: TrainConfig, mirror: Tensor, swap: Tensor, step: int) -> Batch:
    """The batch of one step; `swap` (52,) exchanges left and right ARKit weights.

    A quarter of the canonical samples lie where lids and lips meet: little surface, much looked at. In the steps of the
    warp, every head has posed samples, half of them there, and canonical ones are left out.
    """
    rng = np.random.default_rng([config.seed, 0xBA, step])
    size, count = config.batch_heads, config.batch_points
    heads = rng.choice(len(population.canonical), size=min(size, len(population.canonical)), replace=False)
    flipped = torch.from_numpy(rng.random(len(heads)) < 0.5)
    of_warp = step >= config.steps
    half = len(heads) if of_warp else len(heads) // 2

    posed = heads[:half]
    others = (
        rng.integers(1, population.posed.shape[1], size=half) if population.posed.shape[1] > 1 else np.zeros(half, int)
    )
    expression = np.where(rng.random(half) < config.neutral_fraction, 0, others)

    def take(rows: list[tuple[np.ndarray, np.ndarray]], creased_share: float) -> Tensor:
        picked = []
        for samples, creases in rows:
            chosen = rng.integers(len(samples), size=count)
            creased = np.flatnonzero(creases)
            few = int(creased_share * count) if len(creased) else 0
            chosen[:few] = rng.choice(creased, size=few) if few else chosen[:few]
            picked.append(samples[rng.permutation(chosen)])
        sign = torch.ones(len(rows), 1, 11)
        flip = flipped[: len(rows)]
        sign[flip, :, 0] = sign[flip, :, 4] = sign[flip, :, 7] = -1.0
        values = np.stack(picked) if picked else np.zeros((0, count, 11), dtype=np.float32)
        return torch.from_numpy(values) * sign

    expressions = population.expressions[posed, expression]
    expressions = torch.where(flipped[:half, None], expressions[:, swap], expressions)
    keypoints = population.keypoints[heads]
    turned = keypoints[:, mirror] * torch.tensor([-1.0, 1.0, 1.0])
    return Batch(
        heads=torch.from_numpy(heads),
        flipped=flipped,
        canonical=take(
            [] if of_warp else [(population.canonical[k], population.canonical_creases[k]) for k in heads],
            _CANONICAL_CREASE_SHARE,
        ),
        posed=take(
            [(population.posed[k, e], population.posed_creases[k, e]) for k, e in zip(posed, expression)],
            _WARP_CREASE_SHARE if of_warp else 0.0,
        ),
        expressions=expressions,
        keypoints=torch.where(flipped[:, None, None], turned, keypoints),
    )


def _columns(samples: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    # point, distance, normal, canonical target, bound
    return samples[..., :3], samples[..., 3], samples[..., 4:7], samples[..., 7:10], samples[..., 10] > 0.5


def batch_loss(learner: Learner, batch: Batch, config: TrainConfig) -> dict[str, Tensor]:
    """Every term of the loss, unweighted, by its name in LossWeights; `warp` and `posed` come from the posed half."""
    model = learner.model
    z_id = learner.z_id[batch.heads]
    z_id = torch.where(batch.flipped[:, None], z_id * model.identity_parity, z_id)
    regional = model.regional(z_id)
    x, distance, normal, _, bound = _columns(batch.canonical)
    with_gradient = max(1, int(x.shape[1] * config.gradient_fraction))
    probe = x[:, :with_gradient].clone().requires_grad_(True)
    sdf_probe = model.canonical_sdf(probe, regional)
    (gradient,) = torch.autograd.grad(sdf_probe.sum(), probe, create_graph=True)
    sdf = torch.cat([sdf_probe, model.canonical_sdf(x[:, with_gradient:], regional)], dim=1)

    half = len(batch.posed)
    observed, posed_distance, _, target, posed_bound = _columns(batch.posed)
    z_exp = model.warp.code(batch.expressions)
    canonical, seal = model.canonical(observed, z_id[:half], z_exp)
    front = type(regional)(regional.z[:half], regional.keypoints[:half], [f[:half] for f in regional.folded])
    posed_sdf = model.canonical_sdf(canonical, front) - seal
    crease = losses.crease_weight(target, regional.keypoints.detach()[:half, _CREASED], model.radius[_CREASED])
    return {
        "distance": losses.distance_term(sdf, distance, bound)
        + losses.posed_distance_term(posed_sdf, posed_distance, posed_bound, crease),
        "normal": losses.normal_term(gradient, normal[:, :with_gradient], distance[:, :with_gradient]),
        "eikonal": losses.eikonal_term(gradient),
        "warp": losses.warp_term(canonical, target, posed_distance, crease),
        "seal": losses.seal_term(seal),
        "keypoint": losses.keypoint_term(regional.keypoints, batch.keypoints),
        "symmetry": losses.symmetry_term(regional.z, model.mirror, model.region_parity),
        "code": losses.code_term(z_id),
    }


def warp_loss(learner: Learner, batch: Batch, config: TrainConfig) -> dict[str, Tensor]:
    """The terms of the steps in which only the warp learns: place, distance and normal of posed samples."""
    model = learner.model
    with torch.no_grad():
        z_id = learner.z_id[batch.heads]
        z_id = torch.where(batch.flipped[:, None], z_id * model.identity_parity, z_id)
        regional = model.regional(z_id)
    x, distance, normal, target, bound = _columns(batch.posed)
    with_gradient = max(1, int(x.shape[1] * config.gradient_fraction))
    probe = x[:, :with_gradient].clone().requires_grad_(True)
    z_exp = model.warp.code(batch.expressions)
    places = [model.canonical(part, z_id, z_exp) for part in (probe, x[:, with_gradient:])]
    sdf = [model.canonical_sdf(place, regional) - seal for place, seal in places]
    (gradient,) = torch.autograd.grad(sdf[0].sum(), probe, create_graph=True)
    even = torch.ones_like(distance)
    return {
        "distance": losses.posed_distance_term(torch.cat(sdf, dim=1), distance, bound, even),
        "normal": losses.normal_term(gradient, normal[:, :with_gradient], distance[:, :with_gradient]),
        "warp": losses.warp_term(torch.cat([place for place, _ in places], dim=1), target, distance, even),
        "seal": losses.seal_term(torch.cat([seal for _, seal in places], dim=1)),
    }


def rates(step: int, config: TrainConfig) -> tuple[float, float, float]:
    """Learning rates of (networks, warp, codes): linear warm-up, cosine to 1 %, codes from `code_start` on.

    After `steps` only the warp learns, on a schedule of its own.
    """
    of_warp = step >= config.steps
    done = (step - config.steps) / max(config.warp_steps, 1) if of_warp else step / config.steps
    shape = min(1.0, ((step - config.steps if of_warp else step) + 1) / config.warmup_steps)
    shape *= 0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * done))
    if of_warp:
        return 0.0, config.warp_learning_rate * shape, 0.0
    code = config.code_learning_rate if step >= config.code_start * config.steps else 0.0
    return config.learning_rate * shape, config.learning_rate * shape, code * shape


def arkit_swap() -> Tensor:
    """(52,) index that exchanges left and right ARKit weights. A mirrored head looks left where it looked right."""

    def other(name: str) -> str:
        if name.endswith("Left"):
            return name[:-4] + "Right"
        return name[:-5] + "Left" if name.endswith("Right") else name

    return torch.tensor([ARKIT_NAMES.index(other(name)) for name in ARKIT_NAMES])


def train(
    config: TrainConfig,
    heads: TrainingHeads,
    run: Path,
    *,
    resume: bool = False,
    progress: Callable[[str], None] = print,
    picture: Callable[[Learner, Path], None] | None = None,
    stop_after: int | None = None,
) -> Learner:
    """Train, or go on training, in the folder `run`.

    Args:
        heads: what is learned.
        stop_after: leave after this many steps in all, as if killed; the schedule is that of the whole run.

    Raises:
        InputError: `run` holds another run and `resume` is not set, or it was made with other settings.
    """
    settings = run / "config.json"
    if settings.exists():
        if not resume:
            raise InputError(f"{run}: holds a run already; add --resume to go on with it, or name another folder")
        if json.loads(settings.read_text()) != to_dict(config):
            raise InputError(f"{run}: was made with other settings than asked for; name another folder")
    run.mkdir(parents=True, exist_ok=True)
    write_atomically(settings, json.dumps(to_dict(config), indent=1).encode())
    torch.manual_seed(config.seed)
    offsets = heads.offsets()
    population = build_population(heads, offsets, config, run / "population", progress)
    learner = _fresh(config, heads.ict, offsets, run, progress)
    del offsets
    started = [p for n, p in learner.named_parameters() if n in _PCA_STARTED]
    warp = list(learner.model.warp.parameters())
    known = {id(p) for p in (*started, *warp)}
    networks = [p for p in learner.parameters() if id(p) not in known]
    optimizer = torch.optim.Adam([{"params": networks}, {"params": warp}, {"params": started}], betas=(0.9, 0.99))
    step = load_state(learner, optimizer, run)
    if step:
        progress(f"resumed at step {step}")
    swap, mirror = arkit_swap(), learner.model.mirror
    began, since = time.perf_counter(), step
    total = config.steps + config.warp_steps
    end = min(total, stop_after or total)
    while step < end:
        for group, rate in zip(optimizer.param_groups, rates(step, config)):
            group["lr"] = rate
        of_warp = step >= config.steps
        for parameter in (*networks, *started):
            parameter.requires_grad_(not of_warp)
        batch = draw_batch(population, config, mirror, swap, step)
        terms = (warp_loss if of_warp else batch_loss)(learner, batch, config)
        loss = sum((getattr(config.loss, name) * value for name, value in terms.items()), torch.zeros(()))
        if not torch.isfinite(loss):
            raise RuntimeError(f"the loss is not finite at step {step}; resume with a lower learning rate")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_([*networks, *warp], 1.0)
        optimizer.step()
        step += 1
        if step % config.progress_steps == 0:
            pace = (time.perf_counter() - began) / (step - since)
            shown = "  ".join(f"{name} {value.item():.5f}" for name, value in terms.items())
            progress(f"step {step}/{total}  loss {loss.item():.5f}  {shown}  {pace:.3f} s/step")
        if step % config.checkpoint_steps == 0 or step == end:
            save_state(learner, optimizer, run, step)
        if picture is not None and step % config.picture_steps == 0:
            picture(learner, run / f"heads_{step:06d}.png")
    return learner


def _fresh(config: TrainConfig, ict: IctModel, offsets: Tensor, run: Path, progress: Callable[[str], None]) -> Learner:
    model = HeadModel(config.model)
    if (run / "latest.json").exists():  # everything that the start would set is in the checkpoint
        return Learner(model, torch.zeros(len(offsets), config.model.identity_size))
    mean = (ict.mean + ict.canonical_offset).astype(np.float64)
    start = start_codes(mean, offsets, ict.mirror, config.model)
    progress(f"codes started: z_id explains {start.explained:.4f} of the region codes' variance")
    apply_start(model, start)
    return Learner(model, start.z_id)


def save_state(learner: Learner, optimizer: torch.optim.Adam, run: Path, step: int) -> None:
    """Write a checkpoint: shards to a temporary folder, renamed whole, the marker last."""
    names = [name for name, _ in learner.named_parameters()]
    moments = [optimizer.state.get(p, {}) for _, p in learner.named_parameters()]
    shards = {
        "weights": {name: value.contiguous() for name, value in learner.state_dict().items()},
        "first_moment": {n: m["exp_avg"] for n, m in zip(names, moments) if m},
        "second_moment": {n: m["exp_avg_sq"] for n, m in zip(names, moments) if m},
    }
    partial, final = run / "checkpoint.tmp", run / f"checkpoint_{step:07d}"
    shutil.rmtree(partial, ignore_errors=True)
    shutil.rmtree(final, ignore_errors=True)
    partial.mkdir()
    for name in _SHARDS:
        save_file(shards[name], partial / f"{name}.safetensors")
        with (partial / f"{name}.safetensors").open("rb") as written:
            os.fsync(written.fileno())
    os.replace(partial, final)
    marker = run / "latest.json.tmp"
    with marker.open("w") as out:
        json.dump({"step": step, "folder": final.name}, out)
        out.flush()
        os.fsync(out.fileno())
    os.replace(marker, run / "latest.json")
    for old in sorted(run.glob("checkpoint_*"))[:-2]:
        shutil.rmtree(old)


def load_state(learner: Learner, optimizer: torch.optim.Adam, run: Path) -> int:
    """Restore the last complete checkpoint; the step it was written at, 0 where there is none."""
    marker = run / "latest.json"
    if not marker.exists():
        return 0
    latest = json.loads(marker.read_text())
    folder = run / latest["folder"]
    learner.load_state_dict(load_file(folder / "weights.safetensors"))
    first, second = (load_file(folder / f"{name}.safetensors") for name in _SHARDS[1:])
    for name, parameter in learner.named_parameters():
        if name in first:
            optimizer.state[parameter] = {
                "step": torch.tensor(float(latest["step"])),
                "exp_avg": first[name],
                "exp_avg_sq": second[name],
            }
    return int(latest["step"])
