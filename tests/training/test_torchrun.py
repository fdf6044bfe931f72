"""Training on several machines: torchrun starts a process on each, and together they learn what one machine learns."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from imhead.errors import InputError
from imhead.model.config import to_dict
from imhead.training.config import PRESETS
from imhead.training.loop import train
from imhead.training.population import TrainingHeads
from imhead.training.team import launched, launched_device

CONFIG = replace(
    PRESETS["tiny"], steps=4, warp_steps=2, canonical_points=200, expression_points=100, batch_points=32, batch_heads=4,
    warmup_steps=2,
)  # fmt: skip

MACHINE = """
import json, sys
from pathlib import Path
import torch
from imhead.datasets.dataset import open_dataset
from imhead.datasets.heads import OpenSources
from imhead.sources.ict import read_ict
from imhead.training.config import train_config_from_dict
from imhead.training.loop import train
from imhead.training.population import TrainingHeads
from imhead.training.team import launched_team

torch.set_num_threads(1)
settings, ict, data, run = map(Path, sys.argv[1:])
heads = TrainingHeads(open_dataset(data), OpenSources(read_ict(ict)))
with launched_team() as team:
    train(train_config_from_dict(json.loads(settings.read_text())), heads, run, team=team)
    (run / f"process_{team.rank}_of_{team.size}").touch()
"""


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.mark.slow
def test_a_process_on_each_of_two_addresses_learns_to_the_bit_what_two_processes_of_one_machine_learn(
    training_heads: Callable[[int], TrainingHeads], ict_path: Path, tmp_path: Path
) -> None:
    heads, run = training_heads(4), tmp_path / "run"
    settings, program = tmp_path / "few.json", tmp_path / "machine.py"
    settings.write_text(json.dumps(to_dict(CONFIG)))
    program.write_text(MACHINE)
    port = free_port()
    machines = [
        subprocess.Popen(
            [
                sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1",
                "--rdzv-backend", "c10d", "--rdzv-endpoint", f"127.0.0.1:{port}", "--rdzv-id", "people",
                "--local-addr", f"127.0.0.{machine}", str(program), str(settings), str(ict_path),
                str(heads.data.folder), str(run),
            ]
        )
        for machine in (1, 2)
    ]  # fmt: skip
    assert [machine.wait(1200) for machine in machines] == [0, 0]
    assert {path.name for path in run.glob("process_*")} == {"process_0_of_2", "process_1_of_2"}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        train(CONFIG, heads, tmp_path / "here", progress=lambda line: None, processes=2)
    finally:
        torch.set_num_threads(threads)
    ours, theirs = (
        load_file(folder / json.loads((folder / "latest.json").read_text())["folder"] / "weights.safetensors")
        for folder in (tmp_path / "here", run)
    )
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())


def test_without_torchrun_a_process_trains_alone() -> None:
    assert not launched()


def test_each_process_needs_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    for place, wanted in (("0", torch.device("cuda", 0)), ("1", None)):
        monkeypatch.setenv("LOCAL_RANK", place)
        if wanted is None:
            with pytest.raises(InputError, match="nproc-per-node 1"):
                launched_device(torch.device("cuda"))
        else:
            assert launched_device(torch.device("cuda")) == wanted
    assert launched_device(torch.device("cpu")) == torch.device("cpu")
