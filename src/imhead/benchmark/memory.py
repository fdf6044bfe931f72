"""Peak memory of one mesh, in a process of its own: `python -m imhead.benchmark.memory MODEL HEAD RESOLUTION …`."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from imhead.checkpoint import Model, load_head, load_model, save_head, save_model
from imhead.isosurface.field import HeadField
from imhead.isosurface.meshing import extract_mesh
from imhead.types import Head


def mesh_memory(model: Model, head: Head, resolution: int) -> dict[str, int]:
    """Bytes that a fresh process has held at most: `before_bytes` with the model open, `peak_bytes` after one mesh."""
    with tempfile.TemporaryDirectory() as folder:
        paths = (Path(folder) / "model.safetensors", Path(folder) / "head.safetensors")
        save_model(model.net, paths[0], model.name, model.card)
        save_head(head, paths[1])
        words = [str(resolution), str(torch.get_num_threads()), model.device.type]
        command = [sys.executable, "-m", "imhead.benchmark.memory", *map(str, paths), *words]
        said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    measured: dict[str, int] = json.loads(said)
    return measured


def _most_held() -> int:
    # not ru_maxrss: a child starts with the peak of the process that started it, VmHWM with its own
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("this system does not say how much memory a process has held")


def _measure(model_path: str, head_path: str, resolution: str, threads: str, device: str) -> None:
    torch.set_num_threads(int(threads))
    model = load_model(model_path, device)
    head = load_head(Path(head_path), model)
    before = _most_held()
    extract_mesh(HeadField(model, head).sdf, int(resolution))
    print(json.dumps({"before_bytes": before, "peak_bytes": _most_held()}))


if __name__ == "__main__":
    _measure(*sys.argv[1:])
