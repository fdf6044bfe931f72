"""Counts of floating-point operations, and the lower bound on the time that follows from them.

An operation is a multiplication or an addition inside a matrix product; sines, activations and sums are not counted.
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
_PRODUCT_SIZE, _PRODUCT_RUNS = 1024, 6


def _layers_flop(sizes: list[int]) -> int:
    """Operations of fully connected layers with these sizes, at one point."""
    return sum(2 * a * b for a, b in itertools.pairwise(sizes))


def warp_flop(config: ModelConfig) -> int:
    """Operations of the expression warp at one point."""
    return _layers_flop([3 + 6 * config.warp_frequencies, *[config.warp_width] * config.warp_hidden, 4])


def local_flop(config: ModelConfig) -> int:
    """Operations of one local network at one point of its ball."""
    sizes = [3 + 6 * config.local_frequencies, *[config.local_width] * config.local_hidden, config.feature_size]
    return _layers_flop(sizes)


def fusion_flop(config: ModelConfig) -> int:
    """Operations of FusionNet at one point."""
    return _layers_flop([3 + config.feature_size, *[config.fusion_width] * config.fusion_hidden, 1])


def field_flop(model: Model, field: HeadField, points_mm: FloatArray) -> int:
    """Operations of a head's field at points (N, 3), without those that are done once per head."""
    config, pairs = model.net.config, 0
    with torch.no_grad():
        for first in range(0, len(points_mm), _CHUNK):
            places = field.canonical(points_mm[first : first + _CHUNK]) / MODEL_UNIT_MM
            x = torch.from_numpy(places.astype(np.float32))[None].to(model.device)
            pairs += sum(model.net.find_pairs(x, field.regional.keypoints).counts)
    return len(points_mm) * (warp_flop(config) + fusion_flop(config)) + pairs * local_flop(config)


@dataclass(frozen=True)
class OperationCount:
    """Cost of one call."""

    evaluations: int
    """Points at which the field was evaluated."""
    flop: int
    """Operations of all matrix products, those of backward passes included."""


class _ProductCounter(TorchDispatchMode):
    # not torch's FlopCounterMode: its hooks on modules fail with torch.autograd.grad of a leaf
    flop = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        named = kwargs or {}
        result = func(*args, **named)
        if func._overloadpacket in flop_registry:
            self.flop += flop_registry[func._overloadpacket](*args, **named, out_val=result)
        return result


def count_operations(work: Callable[[], object], net: nn.Module) -> OperationCount:
    """Run `work` once and count its operations.

    Args:
        net: module with one output per point, whose outputs are counted as evaluations; FusionNet for our field.

    Raises:
        RuntimeError: `work` never called `net`.
    """
    evaluations = 0

    def add(_module: nn.Module, _given: object, distance: Tensor) -> None:
        nonlocal evaluations
        evaluations += distance.numel()

    hook, threads = net.register_forward_hook(add), torch.get_num_threads()
    torch.set_num_threads(1)  # a dispatch mode sees the operations of its own thread only
    try:
        with _ProductCounter() as products:  # type: ignore[no-untyped-call]
            work()
    finally:
        hook.remove()
        torch.set_num_threads(threads)
    if evaluations == 0:
        raise RuntimeError("the benchmark counts calls of a module that was never called")
    return OperationCount(evaluations, products.flop)


def crossing_cells(mesh: Mesh, resolution: int) -> tuple[IntArray, FloatArray]:
    """Indices (C, 3) of the grid cells that the surface crosses, and their distinct corners (K, 3) in mm.

    Marching cubes needs the field at these corners at least.
    """
    spacing, _ = grid_layout(resolution)
    middle = mesh.vertices[mesh.faces].mean(axis=1)
    cells = np.unique(np.floor((middle - BOUNDS_MIN_MM) / spacing).astype(np.int64), axis=0)
    corners = (cells[:, None] + np.indices((2, 2, 2)).reshape(3, -1).T).reshape(-1, 3)
    return cells, np.unique(corners, axis=0) * spacing + BOUNDS_MIN_MM


def flop_per_second(device: torch.device) -> float:
    """Operations per second of a large single-precision matrix product, the highest rate of this machine."""
    a, b = torch.randn(2, _PRODUCT_SIZE, _PRODUCT_SIZE, device=device)
    best = float("inf")
    for _ in range(_PRODUCT_RUNS):
        began = time.perf_counter()
        # reading one number waits for the device to finish
        (a @ b)[0, 0].item()
        best = min(best, time.perf_counter() - began)
    return 2.0 * _PRODUCT_SIZE**3 / best


def time_floor(flop: float, device: torch.device, **more: Any) -> dict[str, Any]:
    """The floor of a row: its operations, and their seconds at the rate of one large product.

    Args:
        flop: number of operations.
        more: further entries, such as what was counted.
    """
    rate = flop_per_second(device)
    return {**more, "flop": int(flop), "flop_per_second": rate, "seconds": flop / rate}
