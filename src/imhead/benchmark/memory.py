"""Peak memory of one mesh in a fresh process.

python -m imhead.benchmark.memory MODEL HEAD RESOLUTION THREADS DEVICE
"""

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
    """Peak memory of a fresh process in bytes: `before_bytes` with the model loaded, `peak_bytes` after one mesh."""
    with tempfile.TemporaryDirectory() as folder:
        paths = (Path(folder) / "model.safetensors", Path(folder) / "head.safetensors")
        save_model(model.net, paths[0], model.name, model.card)
        save_head(head, paths[1])
        arguments = [str(resolution), str(torch.get_num_threads()), model.device.type]
        command = [sys.executable, "-m", "imhead.benchmark.memory", *map(str, paths), *arguments]
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    measured: dict[str, int] = json.loads(output)
    return measured


def _peak_bytes() -> int:
    # not ru_maxrss, which a child inherits from its parent
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("/proc/self/status has no VmHWM; peak memory can be measured on Linux only")


def _measure(model_path: str, head_path: str, resolution: str, threads: str, device: str) -> None:
    torch.set_num_threads(int(threads))
    model = load_model(model_path, device)
    head = load_head(Path(head_path), model)
    before = _peak_bytes()
    extract_mesh(HeadField(model, head).sdf, int(resolution))
    print(json.dumps({"before_bytes": before, "peak_bytes": _peak_bytes()}))


if __name__ == "__main__":
    _measure(*sys.argv[1:])
