"""One training run: killed and resumed it ends where an uninterrupted one ends, bit for bit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from imhead.errors import InputError
from imhead.training.batch import Batch, arkit_swap, draw_batch, draw_shares
from imhead.training.config import PRESETS, TrainConfig
from imhead.training.learner import Learner
from imhead.training.loop import train
from imhead.training.objective import loss_terms, predict, predict_warp, step_gradients, warp_loss_terms, weighted_sum
from imhead.training.population import TrainingHeads, build_population, open_population
from imhead.training.team import Team

CPU = torch.device("cpu")
CONFIG = replace(
    PRESETS["tiny"], steps=12, warp_steps=3, checkpoint_steps=3, progress_steps=1, canonical_points=200,
    expression_points=100, batch_points=32, batch_heads=2, warmup_steps=3,
)  # fmt: skip

KILLED = """
import sys, time
from pathlib import Path
from imhead.training.config import train_config_from_dict
from imhead.sources.ict import read_ict
from imhead.datasets.dataset import open_dataset
from imhead.datasets.heads import OpenSources
from imhead.training.loop import train
from imhead.training.population import TrainingHeads
import json

def slowly(line):
    # the killer is given time after the first checkpoint, however fast the machine
    if line.startswith("step 5/"):
        time.sleep(60)

config = train_config_from_dict(json.loads(sys.argv[1]))
heads = TrainingHeads(open_dataset(Path(sys.argv[3])), OpenSources(read_ict(Path(sys.argv[2]))))
train(config, heads, Path(sys.argv[4]), progress=slowly)
"""


def silent(_: str) -> None:
    pass


def weights(learner: Learner) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in learner.state_dict().items()}


def reached(run: Path) -> int:
    return int(json.loads((run / "latest.json").read_text())["step"])


@pytest.fixture(scope="module")
def lines() -> list[str]:
    return []


@pytest.fixture(scope="module")
def heads(training_heads: Callable[[int], TrainingHeads]) -> TrainingHeads:
    return training_heads(4)


@pytest.fixture(scope="module")
def whole(heads: TrainingHeads, lines: list[str], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Learner]:
    """A run that nothing interrupted."""
    run = tmp_path_factory.mktemp("runs") / "whole"
    return run, train(CONFIG, heads, run, progress=lines.append)


def assert_same(one: Learner, other: Learner) -> None:
    a, b = weights(one), weights(other)
    assert set(a) == set(b)
    for name in a:
        assert torch.equal(a[name], b[name]), name


def test_a_run_learns_something_and_says_so(whole: tuple[Path, Learner], lines: list[str]) -> None:
    steps = [line for line in lines if line.startswith("step ")]
    assert len(steps) == 15 and steps[-1].startswith("step 15/15  loss ")
    assert all("distance" in line and "s/step" in line for line in steps)
    assert all(torch.isfinite(value).all() for value in whole[1].state_dict().values())


def test_a_run_leaves_its_settings_and_its_last_two_checkpoints(whole: tuple[Path, Learner]) -> None:
    run = whole[0]
    assert json.loads((run / "config.json").read_text())["steps"] == 12
    assert json.loads((run / "latest.json").read_text()) == {"step": 15, "folder": "checkpoint_0000015"}
    assert sorted(p.name for p in run.glob("checkpoint*")) == ["checkpoint_0000012", "checkpoint_0000015"]
    assert not list(run.glob("*.tmp"))


@pytest.mark.timeout(100)
def test_a_run_that_is_killed_and_resumed_ends_with_the_same_weights_bit_for_bit(
    heads: TrainingHeads, ict_path: Path, whole: tuple[Path, Learner], tmp_path: Path
) -> None:
    run = tmp_path / "killed"
    settings = (whole[0] / "config.json").read_text()
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, settings, str(ict_path), str(heads.data.folder), str(run)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:
        while not (run / "checkpoint_0000003").exists() or reached(run) < 3:
            assert child.poll() is None, "the run ended before its first checkpoint"
            time.sleep(0.02)
    finally:
        child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    assert reached(run) == 3
    said: list[str] = []
    resumed = train(CONFIG, heads, run, resume=True, progress=said.append)
    assert "resumed at step 3" in said
    assert_same(resumed, whole[1])


def test_a_run_that_stops_between_checkpoints_resumes_bit_for_bit(
    heads: TrainingHeads, whole: tuple[Path, Learner], tmp_path: Path
) -> None:
    run = tmp_path / "stopped"
    train(CONFIG, heads, run, progress=silent, stop_after=7)
    # what a kill while writing leaves behind
    (run / "checkpoint.tmp").mkdir()
    (run / "checkpoint.tmp" / "weights.safetensors").write_bytes(b"half")
    assert_same(train(CONFIG, heads, run, resume=True, progress=silent), whole[1])


def test_resuming_a_finished_run_changes_nothing(heads: TrainingHeads, whole: tuple[Path, Learner]) -> None:
    before = {p: p.stat().st_mtime_ns for p in whole[0].glob("checkpoint_*/*")}
    assert_same(train(CONFIG, heads, whole[0], resume=True, progress=silent), whole[1])
    assert {p: p.stat().st_mtime_ns for p in whole[0].glob("checkpoint_*/*")} == before


def refused(action: Callable[[], object], run: Path) -> str:
    kept = {p: p.read_bytes() for p in run.glob("*.json")}
    with pytest.raises(InputError) as caught:
        action()
    assert {p: p.read_bytes() for p in run.glob("*.json")} == kept
    message = str(caught.value)
    assert str(run) in message and "\n" not in message
    return message


def test_a_folder_that_holds_a_run_is_refused_without_resume(heads: TrainingHeads, whole: tuple[Path, Learner]) -> None:
    assert "--resume" in refused(lambda: train(CONFIG, heads, whole[0], progress=silent), whole[0])


@pytest.mark.parametrize(
    "other",
    [
        replace(CONFIG, steps=13),
        replace(CONFIG, model=replace(CONFIG.model, blend="paper")),
        replace(CONFIG, loss=replace(CONFIG.loss, eikonal=0.5)),
    ],
    ids=["steps", "blend", "loss"],
)
def test_a_run_is_not_resumed_with_other_settings(
    heads: TrainingHeads, whole: tuple[Path, Learner], other: TrainConfig
) -> None:
    message = refused(lambda: train(other, heads, whole[0], resume=True, progress=silent), whole[0])
    assert "other settings" in message


def test_another_seed_trains_another_model(heads: TrainingHeads, whole: tuple[Path, Learner], tmp_path: Path) -> None:
    other = train(replace(CONFIG, seed=1, steps=2, warp_steps=1), heads, tmp_path / "seed", progress=silent)
    assert not torch.equal(other.model.fusion_net.layers[0].weight, whole[1].model.fusion_net.layers[0].weight)


def test_codes_rest_until_the_run_frees_them(heads: TrainingHeads, whole: tuple[Path, Learner], tmp_path: Path) -> None:
    resting = train(CONFIG, heads, tmp_path / "resting", progress=silent, stop_after=1)
    later = train(CONFIG, heads, tmp_path / "resting", resume=True, progress=silent, stop_after=3)
    assert CONFIG.code_start * CONFIG.steps > 3
    assert torch.equal(resting.z_id, later.z_id)
    assert not torch.equal(resting.model.fusion_net.layers[0].weight, later.model.fusion_net.layers[0].weight)
    assert not torch.equal(whole[1].z_id, resting.z_id)


def test_a_head_s_expressions_begin_with_neutral_and_go_round_the_others(
    training_heads: Callable[[int], TrainingHeads],
) -> None:
    heads = training_heads(6)
    drawn = np.stack([heads.expressions(k, 3) for k in range(6)])
    assert drawn.shape == (6, 3, 52) and not drawn[:, 0].any()
    for k, identity in enumerate(heads.identities):
        own = heads.data.expressions[identity.index]
        rows = [next(row for row in range(4) if np.array_equal(own[row], weights)) for weights in drawn[k, 1:]]
        assert rows == [1 + (2 * k) % 3, 1 + (2 * k + 1) % 3]


def test_two_processes_learn_what_one_learns(heads: TrainingHeads, whole: tuple[Path, Learner], tmp_path: Path) -> None:
    config = replace(CONFIG, batch_heads=4)
    both = train(config, heads, tmp_path / "two", progress=silent, stop_after=8, processes=2)
    alone = train(config, heads, tmp_path / "one", progress=silent, stop_after=8)
    # each process takes its own weighted means, and Adam makes much of little: digits differ, the loss does not
    population = open_population(tmp_path / "one" / "population")
    batch = draw_batch(population, config, alone.model.mirror, arkit_swap(), 0)
    values = [float(step_gradients(learner, [batch], config, of_warp=False)[0]) for learner in (alone, both)]
    assert values[1] == pytest.approx(values[0], rel=0.02)
    assert (weights(both)["z_id"] - weights(alone)["z_id"]).abs().max() < 0.01


@pytest.mark.parametrize("of_warp", [False, True], ids=["whole model", "warp"])
def test_the_gradients_of_a_step_are_the_same_however_many_threads_share_it(
    heads: TrainingHeads, whole: tuple[Path, Learner], of_warp: bool
) -> None:
    config = replace(CONFIG, batch_heads=4)
    population, learner = open_population(whole[0] / "population"), whole[1]
    step = config.steps if of_warp else 0
    parameters = list((learner.model.warp if of_warp else learner).parameters())
    for parameter in learner.parameters():
        parameter.requires_grad_(any(parameter is p for p in parameters))
    # the plain way: one graph of all heads
    batch = draw_batch(population, config, learner.model.mirror, arkit_swap(), step)
    if of_warp:
        plain = weighted_sum(warp_loss_terms(learner.model, predict_warp(learner, batch, config), batch), config)
    else:
        plain = weighted_sum(loss_terms(learner.model, predict(learner, batch, config), batch), config)
    expected, loss_value = torch.autograd.grad(plain, parameters, allow_unused=True), plain.item()
    before = torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            shares = draw_shares(population, config, learner.model.mirror, arkit_swap(), step, CPU)
            assert len(shares) == threads
            assert sorted(Batch.joined(shares).heads.tolist()) == sorted(batch.heads.tolist())
            learner.zero_grad()
            loss, _ = step_gradients(learner, shares, config, of_warp=of_warp)
            assert float(loss) == pytest.approx(loss_value, rel=1e-5)
            for parameter, gradient in zip(parameters, expected):
                if gradient is None:
                    assert parameter.grad is None or not parameter.grad.any()
                else:
                    assert parameter.grad is not None
                    assert (parameter.grad - gradient).norm() <= 1e-3 * gradient.norm() + 1e-7
    finally:
        torch.set_num_threads(before)
        learner.zero_grad()
        learner.requires_grad_(True)


def test_the_points_of_the_surface_come_first_so_that_their_gradient_is_taken(whole: tuple[Path, Learner]) -> None:
    population = open_population(whole[0] / "population")
    mirror, swap = whole[1].model.mirror, arkit_swap()
    batches = [draw_batch(population, CONFIG, mirror, swap, step) for step in range(4)]
    off = torch.cat([batch.canonical[..., 3] != 0.0 for batch in batches])
    assert off.any() and not off.all()
    assert (off.int().diff(dim=1) >= 0).all()


def test_more_processes_than_a_step_has_heads_for_are_refused(heads: TrainingHeads, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot share"):
        train(CONFIG, heads, tmp_path / "many", progress=silent, processes=2)
    with pytest.raises(InputError, match="one GPU"):
        train(CONFIG, heads, tmp_path / "many", progress=silent, processes=2, device=torch.device("cuda"))
    assert not (tmp_path / "many").exists()


def test_the_processes_of_a_team_share_a_batch_without_overlap(
    heads: TrainingHeads, whole: tuple[Path, Learner]
) -> None:
    population = open_population(whole[0] / "population")
    for step in (0, CONFIG.steps):
        parts = [
            draw_batch(population, CONFIG, whole[1].model.mirror, arkit_swap(), step, team)
            for team in (Team(), Team(0, 2), Team(1, 2))
        ]
        order = [torch.cat([p.heads for p in parts[1:]]).argsort(), parts[0].heads.argsort()]
        together = torch.cat([p.canonical if step == 0 else p.posed for p in parts[1:]])
        whole_batch = parts[0].canonical if step == 0 else parts[0].posed
        assert torch.equal(together[order[0]], whole_batch[order[1]])


def test_part_of_a_batch_is_neutral_and_mirrored_heads_have_mirrored_expressions(
    heads: TrainingHeads, whole: tuple[Path, Learner]
) -> None:
    offsets = heads.offsets()
    population = build_population(heads, offsets, CONFIG, whole[0] / "population", silent)
    neutral, count = 0, 0
    for step in range(60):
        batch = draw_batch(population, CONFIG, whole[1].model.mirror, arkit_swap(), step)
        neutral += int((~batch.expressions.any(dim=1)).sum())
        count += len(batch.expressions)
        for row, head in enumerate(batch.heads[: len(batch.expressions)]):
            known = population.expressions[head]
            known = known[:, arkit_swap()] if batch.flipped[row] else known
            assert (known == batch.expressions[row]).all(dim=1).any()
    assert 0.2 < neutral / count < 0.5
