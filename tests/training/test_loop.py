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

from imhead.config import PRESETS, TrainConfig
from imhead.errors import InputError
from imhead.sources.ict import IctModel
from imhead.training.loop import Learner, train
from imhead.training.population import expression_weights

CONFIG = replace(
    PRESETS["tiny"], identities=4, steps=12, warp_steps=3, checkpoint_steps=3, progress_steps=1, canonical_points=200,
    expression_points=100, batch_points=32, batch_heads=2, warmup_steps=3,
)  # fmt: skip

KILLED = """
import sys, time
from pathlib import Path
from imhead.config import train_config_from_dict
from imhead.sources.ict import read_ict
from imhead.training.loop import train
import json

def slowly(line):
    # the killer is given time after the first checkpoint, however fast the machine
    if line.startswith("step 5/"):
        time.sleep(60)

config = train_config_from_dict(json.loads(sys.argv[1]))
train(config, read_ict(Path(sys.argv[2])), Path(sys.argv[3]), progress=slowly)
"""


def silent(_: str) -> None:
    pass


def weights(learner: Learner) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in learner.state_dict().items()}


@pytest.fixture(scope="module")
def lines() -> list[str]:
    return []


@pytest.fixture(scope="module")
def whole(ict: IctModel, lines: list[str], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Learner]:
    """A run that nothing interrupted."""
    run = tmp_path_factory.mktemp("runs") / "whole"
    return run, train(CONFIG, ict, run, progress=lines.append)


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
    ict: IctModel, ict_path: Path, whole: tuple[Path, Learner], tmp_path: Path
) -> None:
    run = tmp_path / "killed"
    settings = (whole[0] / "config.json").read_text()
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, settings, str(ict_path), str(run)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:
        while not (run / "latest.json").exists():
            assert child.poll() is None, "the run ended before its first checkpoint"
            time.sleep(0.02)
    finally:
        child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    assert json.loads((run / "latest.json").read_text())["step"] == 3
    said: list[str] = []
    resumed = train(CONFIG, ict, run, resume=True, progress=said.append)
    assert "resumed at step 3" in said
    assert_same(resumed, whole[1])


def test_a_run_that_stops_between_checkpoints_resumes_bit_for_bit(
    ict: IctModel, whole: tuple[Path, Learner], tmp_path: Path
) -> None:
    run = tmp_path / "stopped"
    train(CONFIG, ict, run, progress=silent, stop_after=7)
    # what a kill while writing leaves behind
    (run / "checkpoint.tmp").mkdir()
    (run / "checkpoint.tmp" / "weights.safetensors").write_bytes(b"half")
    assert_same(train(CONFIG, ict, run, resume=True, progress=silent), whole[1])


def test_resuming_a_finished_run_changes_nothing(ict: IctModel, whole: tuple[Path, Learner]) -> None:
    before = {p: p.stat().st_mtime_ns for p in whole[0].glob("checkpoint_*/*")}
    assert_same(train(CONFIG, ict, whole[0], resume=True, progress=silent), whole[1])
    assert {p: p.stat().st_mtime_ns for p in whole[0].glob("checkpoint_*/*")} == before


def refused(action: Callable[[], object], run: Path) -> str:
    kept = {p: p.read_bytes() for p in run.glob("*.json")}
    with pytest.raises(InputError) as caught:
        action()
    assert {p: p.read_bytes() for p in run.glob("*.json")} == kept
    message = str(caught.value)
    assert str(run) in message and "\n" not in message
    return message


def test_a_folder_that_holds_a_run_is_refused_without_resume(ict: IctModel, whole: tuple[Path, Learner]) -> None:
    assert "--resume" in refused(lambda: train(CONFIG, ict, whole[0], progress=silent), whole[0])


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
    ict: IctModel, whole: tuple[Path, Learner], other: TrainConfig
) -> None:
    message = refused(lambda: train(other, ict, whole[0], resume=True, progress=silent), whole[0])
    assert "other settings" in message


def test_another_seed_trains_another_model(ict: IctModel, whole: tuple[Path, Learner], tmp_path: Path) -> None:
    other = train(replace(CONFIG, seed=1, steps=2, warp_steps=1), ict, tmp_path / "seed", progress=silent)
    assert not torch.equal(other.model.fusion_net.layers[0].weight, whole[1].model.fusion_net.layers[0].weight)


def test_codes_rest_until_the_run_frees_them(ict: IctModel, whole: tuple[Path, Learner], tmp_path: Path) -> None:
    resting = train(CONFIG, ict, tmp_path / "resting", progress=silent, stop_after=1)
    later = train(CONFIG, ict, tmp_path / "resting", resume=True, progress=silent, stop_after=3)
    assert CONFIG.code_start * CONFIG.steps > 3
    assert torch.equal(resting.z_id, later.z_id)
    assert not torch.equal(resting.model.fusion_net.layers[0].weight, later.model.fusion_net.layers[0].weight)
    assert not torch.equal(whole[1].z_id, resting.z_id)


def test_some_identities_are_seen_neutral_and_the_rest_in_expressions() -> None:
    drawn = np.stack([expression_weights(k, PRESETS["default"]) for k in range(400)])
    neutral = ~drawn.any(axis=1)
    assert 0.28 < neutral.mean() < 0.45
    assert drawn.min() >= 0.0 and drawn.max() <= 1.0
