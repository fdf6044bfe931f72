"""The training loop. Every draw is a function of (seed, step), so a resumed run equals an uninterrupted one."""

from __future__ import annotations

import json
import math
import multiprocessing
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from imhead.checkpoint import Model
from imhead.errors import InputError
from imhead.io.atomic import write_atomically
from imhead.model.config import to_dict
from imhead.model.head import HeadModel
from imhead.sources.ict import IctModel
from imhead.template.surface import template_of
from imhead.training.batch import Batch, arkit_swap, draw_shares
from imhead.training.codes import apply_start, start_codes
from imhead.training.config import TrainConfig
from imhead.training.learner import Learner, load_state, save_state
from imhead.training.objective import step_gradients
from imhead.training.population import Population, TrainingHeads, build_population, open_population
from imhead.training.team import ALONE, Team, await_first, join, leave
from imhead.training.warm_start import continued, warm_start

_PCA_STARTED = ("z_id", "model.decnet.weight", "model.keypoint_net.weight")
Progress = Callable[[str], None]
Picture = Callable[[Learner, Path], None]
_CPU = torch.device("cpu")


def rates(step: int, config: TrainConfig) -> tuple[float, float, float]:
    """Learning rates of (networks, warp, codes): linear warm-up, cosine decay to 1 %, codes from `code_start` on.

    From step `config.steps` on only the warp learns, with a schedule of its own.
    """
    of_warp = step >= config.steps
    done = (step - config.steps) / max(config.warp_steps, 1) if of_warp else step / config.steps
    shape = min(1.0, ((step - config.steps if of_warp else step) + 1) / config.warmup_steps)
    shape *= 0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * done))
    if of_warp:
        return 0.0, config.warp_learning_rate * shape, 0.0
    code = config.code_learning_rate if step >= config.code_start * config.steps else 0.0
    return config.learning_rate * shape, config.learning_rate * shape, code * shape


def train(
    config: TrainConfig,
    heads: TrainingHeads,
    run: Path,
    *,
    resume: bool = False,
    progress: Progress = print,
    picture: Picture | None = None,
    stop_after: int | None = None,
    processes: int = 1,
    device: torch.device = _CPU,
    start: Model | None = None,
    start_run: Path | None = None,
    team: Team | None = None,
) -> Learner:
    """Train, or resume training, in the folder `run`; the result is on the CPU.

    Args:
        heads: the training heads.
        stop_after: stop after this step, as if killed; the schedule is that of the whole run.
        processes: processes that share each step's heads.
        device: where the networks learn; on a GPU with matrix products in TF32 (docs/decisions/0024).
        start: a trained model to begin from, with its template beside it; codes then start as in `warm_start`.
        start_run: the folder of the run that wrote `start`, on the same data set, if its codes are to be kept too.
        team: of processes that torchrun started, as `launched_team` gives it, instead of `processes`; all see `run`.

    Raises:
        InputError: `run` holds another run and `resume` is not set, or it was made with other settings; or there are
            more processes than half the heads of a step, or several on a GPU; or `start` has other sizes, or no
            template; or `run` is not seen by each process of a team.
    """
    _check_processes(processes, config, device)
    if team is not None:
        _check_shares(team.size, config)
        if team.rank:
            return _follow(team, config, run, stop_after, device)
    _open_run(run, to_dict(config) | ({"start": start.hash} if start else {}), resume)
    torch.manual_seed(config.seed)
    offsets = heads.offsets()
    population = build_population(heads, offsets, config, run / "population", progress, max(processes, 2))
    learner = Learner(HeadModel(config.model), torch.zeros(len(offsets), config.model.identity_size))
    if not (run / "latest.json").exists():
        if start is None:
            learner = _pca_start(config, heads.ict, offsets, progress)
        elif start_run is not None:
            learner = continued(start_run, start, heads, config.model)
        else:
            learner = warm_start(start, template_of(start), heads.ict, offsets, config.model)
        save_state(learner, _optimizer(learner), run, 0)
    del offsets
    end = _end(config, stop_after)
    if team is not None:
        await_first(run)
        _run_steps(learner.to(device), population, config, run, end, team, progress, picture)
        return learner.cpu()
    if processes == 1:
        _run_steps(learner.to(device), population, config, run, end, ALONE, progress, picture)
        return learner.cpu()
    meeting = run / "meeting.tmp"
    meeting.unlink(missing_ok=True)
    # spawned, not forked: torch's threads do not survive a fork
    context = multiprocessing.get_context("spawn")
    shared = (processes, config, run, end, meeting, torch.get_num_threads())
    others = [context.Process(target=_join_run, args=(rank, *shared), daemon=True) for rank in range(1, processes)]
    for other in others:
        other.start()
    team = join(0, processes, meeting)
    try:
        _run_steps(learner, population, config, run, end, team, progress, picture)
    finally:
        leave(team)
        meeting.unlink(missing_ok=True)
    for other in others:
        other.join()
    return learner


def _check_processes(processes: int, config: TrainConfig, device: torch.device) -> None:
    if processes > 1 and device.type != "cpu":
        raise InputError(f"{processes} processes would share one GPU; use one process, or --device cpu")
    _check_shares(processes, config)


def _check_shares(processes: int, config: TrainConfig) -> None:
    if 2 * processes > config.batch_heads and processes > 1:
        raise InputError(
            f"{processes} processes cannot share {config.batch_heads} heads; use {config.batch_heads // 2}"
        )


def _end(config: TrainConfig, stop_after: int | None) -> int:
    return min(config.steps + config.warp_steps, stop_after or config.steps + config.warp_steps)


def _open_run(run: Path, settings: dict[str, Any], resume: bool) -> None:
    """Create the folder of a run with its settings, or check that an earlier run there has the same."""
    path = run / "config.json"
    if path.exists():
        if not resume:
            raise InputError(f"{run}: already holds a run; add --resume to continue it, or name another folder")
        if json.loads(path.read_text()) != settings:
            raise InputError(f"{run}: its run has other settings; name another folder")
    run.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(settings, indent=1).encode())


def _join_run(rank: int, size: int, config: TrainConfig, run: Path, end: int, meeting: Path, threads: int) -> None:
    """What every process but the first executes, of those that it started."""
    # no torch.manual_seed: no draw in the loop uses torch's generator
    torch.set_num_threads(threads)
    learner, population = _opened(config, run)
    team = join(rank, size, meeting)
    _run_steps(learner, population, config, run, end, team, lambda text: None, None)
    leave(team)


def _follow(team: Team, config: TrainConfig, run: Path, stop_after: int | None, device: torch.device) -> Learner:
    """What every process but the first executes, of those that torchrun started."""
    await_first(run)
    learner, population = _opened(config, run)
    _run_steps(learner.to(device), population, config, run, _end(config, stop_after), team, lambda text: None, None)
    return learner.cpu()


def _opened(config: TrainConfig, run: Path) -> tuple[Learner, Population]:
    population = open_population(run / "population")
    codes = torch.zeros(len(population.canonical), config.model.identity_size)
    return Learner(HeadModel(config.model), codes), population


def _optimizer(learner: Learner) -> torch.optim.Adam:
    """Adam over (networks, warp, PCA-started parameters), in the order of `rates`."""
    codes = [p for n, p in learner.named_parameters() if n in _PCA_STARTED]
    warp = list(learner.model.warp.parameters())
    others = {id(p) for p in (*codes, *warp)}
    networks = [p for p in learner.parameters() if id(p) not in others]
    return torch.optim.Adam([{"params": networks}, {"params": warp}, {"params": codes}], betas=(0.9, 0.99))


def _run_steps(
    learner: Learner,
    population: Population,
    config: TrainConfig,
    run: Path,
    end: int,
    team: Team,
    progress: Progress,
    picture: Picture | None,
) -> None:
    """Train from the last checkpoint to step `end`."""
    device = learner.z_id.device
    optimizer = _optimizer(learner)
    networks, warp, codes = (group["params"] for group in optimizer.param_groups)
    step = load_state(learner, optimizer, run)
    if step:
        progress(f"resumed at step {step}")
    swap, mirror = arkit_swap(), learner.model.mirror.cpu()

    def draw(step: int) -> list[Batch]:
        return draw_shares(population, config, mirror, swap, step, device, team)

    began, since = time.perf_counter(), step
    total = config.steps + config.warp_steps
    # the samples of the next step are drawn while this one learns
    with _tf32(device), ThreadPoolExecutor(1) as sampler:
        next_shares = sampler.submit(draw, step)
        while step < end:
            for group, rate in zip(optimizer.param_groups, rates(step, config)):
                group["lr"] = rate
            of_warp = step >= config.steps
            for parameter in (*networks, *codes):
                parameter.requires_grad_(not of_warp)
            optimizer.zero_grad(set_to_none=True)
            shares = next_shares.result()
            if step + 1 < end:
                next_shares = sampler.submit(draw, step + 1)
            loss, terms = step_gradients(learner, shares, config, of_warp=of_warp)
            if not torch.isfinite(loss):
                raise RuntimeError(f"the loss is not finite at step {step}; train again with a lower learning rate")
            team.average(learner.parameters())
            nn.utils.clip_grad_norm_([*networks, *warp], 1.0)
            optimizer.step()
            step += 1
            if step % config.progress_steps == 0:
                pace = (time.perf_counter() - began) / (step - since)
                shown = "  ".join(f"{name} {value.item():.5f}" for name, value in terms.items())
                progress(f"step {step}/{total}  loss {loss.item():.5f}  {shown}  {pace:.3f} s/step")
            if team.rank == 0 and (step % config.checkpoint_steps == 0 or step == end):
                save_state(learner, optimizer, run, step)
            if picture is not None and step % config.picture_steps == 0:
                picture(learner, run / f"heads_{step:06d}.png")


@contextmanager
def _tf32(device: torch.device) -> Iterator[None]:
    """Compute a GPU's matrix products in TF32 within the block."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = device.type == "cuda"
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


def _pca_start(config: TrainConfig, ict: IctModel, offsets: Tensor, progress: Progress) -> Learner:
    model = HeadModel(config.model)
    start = start_codes(ict, offsets, config.model)
    progress(f"PCA start: z_id explains {start.explained:.4f} of the region codes' variance")
    apply_start(model, start)
    return Learner(model, start.z_id)
