"""The parameters of a run, and its checkpoints."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from imhead.errors import InputError
from imhead.model.head import HeadModel

_LEAST_DEVIATION = 0.35  # a dimension in which those heads hardly vary is stretched no further
_SHARDS = ("weights", "first_moment", "second_moment")


class Learner(nn.Module):
    """The model and the table of identity codes, which are optimised together."""

    def __init__(self, model: HeadModel, z_id: Tensor) -> None:
        super().__init__()
        self.model = model
        self.z_id = nn.Parameter(z_id.clone())


@torch.no_grad()
def rescale_codes(learner: Learner, rows: Tensor) -> None:
    """Scale the identity code so that the heads `rows` (M,) bool have standard deviation 1 in each dimension.

    The weights change with it, so that no head changes. Codes drawn from N(0, 1) then give heads like those of `rows`;
    otherwise they would exaggerate the difference between two sources. No dimension shrinks.
    """
    deviation = learner.z_id[rows].square().mean(dim=0).sqrt().clamp(_LEAST_DEVIATION, 1.0)
    learner.z_id.div_(deviation)
    learner.model.decnet.weight.mul_(deviation[:, None, None])
    learner.model.warp.identity.weight.mul_(deviation)


def save_state(learner: Learner, optimizer: torch.optim.Adam, run: Path, step: int) -> None:
    """Write a checkpoint atomically: all shards to a temporary folder, which is then renamed; the marker last."""
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


def code_rows(run: Path) -> int:
    """Number of heads in the code table of a run's last checkpoint.

    Raises:
        InputError: the folder holds no checkpoint.
    """
    try:
        latest = json.loads((run / "latest.json").read_text())
        with safe_open(run / latest["folder"] / "weights.safetensors", "pt") as opened:
            return int(opened.get_slice("z_id").get_shape()[0])
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise InputError(f"{run}: holds no checkpoint of a run; name a model's file instead") from error


def load_state(learner: Learner, optimizer: torch.optim.Adam, run: Path) -> int:
    """Restore the last complete checkpoint; its step, or 0 if there is none."""
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
