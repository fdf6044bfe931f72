"""What is optimised, and its checkpoints."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from imhead.model.head import HeadModel

_LEAST_SPREAD = 0.35  # a dimension that those heads have nothing of is not blown up for it
_SHARDS = ("weights", "first_moment", "second_moment")


class Learner(nn.Module):
    """What is optimised: the model and the table of identity codes."""

    def __init__(self, model: HeadModel, z_id: Tensor) -> None:
        super().__init__()
        self.model = model
        self.z_id = nn.Parameter(z_id.clone())


@torch.no_grad()
def count_in_spreads_of(learner: Learner, rows: Tensor) -> None:
    """Stretch the dimensions of the identity code in which some heads, `rows` (M,) bool, vary less than the others.

    No head changes. But whoever draws a code of standard deviation 1 then draws heads like those, and not their
    differences from another source, doubled.
    """
    spread = learner.z_id[rows].square().mean(dim=0).sqrt().clamp(_LEAST_SPREAD, 1.0)
    learner.z_id.div_(spread)
    learner.model.decnet.weight.mul_(spread[:, None, None])
    learner.model.warp.identity.weight.mul_(spread)


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
                "exp_avg": first[name].to(parameter.device),
                "exp_avg_sq": second[name].to(parameter.device),
            }
    return int(latest["step"])
