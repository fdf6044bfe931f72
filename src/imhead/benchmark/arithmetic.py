"""Operations that a result needs, and how fast this machine multiplies: the floor beside a time.

An operation is a multiplication or an addition inside a matrix product; sines, activations and sums are left out.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from imhead.checkpoint import Model
from imhead.conventions import BOUNDS_MIN_MM, MODEL_UNIT_MM
from imhead.isosurface.field import HeadField
from imhead.isosurface.meshing import grid_layout
from imhead.model.config import ModelConfig
from imhead.types import FloatArray, IntArray, Mesh

_CHUNK = 32768


def _chain(sizes: list[int]) -> int:
    return sum(2 * a * b for a, b in itertools.pairwise(sizes))


def warp_flop(config: ModelConfig) -> int:
    """Operations of the expression warp at a point."""
    return _chain([3 + 6 * config.warp_frequencies, *[config.warp_width] * config.warp_hidden, 4])


def local_flop(config: ModelConfig) -> int:
    """Operations of one local network at a point of its ball."""
    sizes = [3 + 6 * config.local_frequencies, *[config.local_width] * config.local_hidden, config.feature_size]
    return _chain(sizes)


def fusion_flop(config: ModelConfig) -> int:
    """Operations of FusionNet at a point."""
    return _chain([3 + config.feature_size, *[config.fusion_width] * config.fusion_hidden, 1])


def field_flop(model: Model, field: HeadField, points_mm: FloatArray) -> int:
    """Operations of a head's field at points (N, 3); those that are done once for a head are left out."""
    config, pairs = model.net.config, 0
    with torch.no_grad():
        for first in range(0, len(points_mm), _CHUNK):
            places = field.canonical(points_mm[first : first + _CHUNK]) / MODEL_UNIT_MM
            x = torch.from_numpy(places.astype(np.float32))[None].to(model.device)
            pairs += sum(model.net.find_pairs(x, field.regional.keypoints).counts)
    return len(points_mm) * (warp_flop(config) + fusion_flop(config)) + pairs * local_flop(config)


@dataclass(frozen=True)
class Work:
    """What one call did."""

    evaluations: int
    """Points at which the field was asked."""
    flop: int
    """Operations of all matrix products that torch ran, backward passes included."""


class _Products(TorchDispatchMode):
    # FlopCounterMode itself also follows modules, which torch.autograd.grad of a leaf does not allow
    flop = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        named = kwargs or {}
        result = func(*args, **named)
        if func._overloadpacket in flop_registry:
            self.flop += flop_registry[func._overloadpacket](*args, **named, out_val=result)
        return result


def counted(work: Callable[[], object], net: nn.Module) -> Work:
    """Run `work` once and count. `net` is the module that gives one number for each point: FusionNet, say."""
    asked = 0

    def add(_module: nn.Module, _given: object, distance: Tensor) -> None:
        nonlocal asked
        asked += distance.numel()

    hook, several = net.register_forward_hook(add), torch.get_num_threads()
    torch.set_num_threads(1)  # products are seen only in the thread that counts
    try:
        with _Products() as products:  # type: ignore[no-untyped-call]
            work()
    finally:
        hook.remove()
        torch.set_num_threads(several)
    if asked == 0:
        raise RuntimeError("the field was asked at no point; the benchmark counts at the wrong module")
    return Work(asked, products.flop)


def crossing_cells(mesh: Mesh, resolution: int) -> tuple[IntArray, FloatArray]:
    """Cells (C, 3) of the grid that the surface crosses, and their corners (K, 3) in mm, each once.

    No way of marching cubes can ask the field at fewer points than these corners.
    """
    spacing, _ = grid_layout(resolution)
    middle = mesh.vertices[mesh.faces].mean(axis=1)
    cells = np.unique(np.floor((middle - BOUNDS_MIN_MM) / spacing).astype(np.int64), axis=0)
    corners = (cells[:, None] + np.indices((2, 2, 2)).reshape(3, -1).T).reshape(-1, 3)
    return cells, np.unique(corners, axis=0) * spacing + BOUNDS_MIN_MM


def products_per_second(device: torch.device, size: int = 1024, tries: int = 5) -> float:
    """Operations a second of a large single-precision matrix product: the most that this machine gives."""
    a, b = torch.randn(2, size, size, device=device)
    best = float("inf")
    for _ in range(tries + 1):
        began = time.perf_counter()
        # reading one number waits for the device
        (a @ b)[0, 0].item()
        best = min(best, time.perf_counter() - began)
    return 2.0 * size**3 / best


def floor(flop: float, device: torch.device, **more: Any) -> dict[str, Any]:
    """The floor of a row: its operations, and their seconds at the pace of one large product.

    Args:
        more: what the operations are counted over.
    """
    pace = products_per_second(device)
    return {**more, "flop": int(flop), "flop_per_second": pace, "seconds": flop / pace}
