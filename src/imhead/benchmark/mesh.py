"""Row `mesh`: a head's mesh from the narrow band, against the peer on a dense grid and on our band."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from skimage.measure import marching_cubes
from torch import Tensor

from imhead.benchmark.arithmetic import crossing_cells, field_flop, floor
from imhead.benchmark.equality import Comparison, compare
from imhead.benchmark.heads import bench_heads
from imhead.benchmark.memory import mesh_memory
from imhead.benchmark.peer import PeerDecoder, peer_batch, peer_decoder
from imhead.benchmark.settings import BenchConfig
from imhead.benchmark.timing import Task, interleaved, pooled, result_row
from imhead.checkpoint import Model
from imhead.isosurface.field import HeadField
from imhead.isosurface.meshing import dense_grid, extract_mesh, grid_layout, largest_component, surface_of
from imhead.parallel import side_by_side
from imhead.types import FloatArray, Head, Mesh

_COUNTED_POINTS = 20_000  # of the points that the field was asked at, as many are looked at for their operations


class AskedField:
    """A head's field that remembers where it was asked."""

    def __init__(self, field: HeadField) -> None:
        self.field = field
        self.points: list[FloatArray] = []

    def __call__(self, points_mm: FloatArray) -> FloatArray:
        """The signed distance, as `HeadField.sdf`."""
        self.points.append(np.asarray(points_mm, dtype=np.float32))
        return self.field.sdf(points_mm)


def head_mesh(model: Model, head: Head, resolution: int) -> Mesh:
    """What is timed: from the codes to the mesh."""
    return extract_mesh(HeadField(model, head).sdf, resolution)


def peer_field(peer: PeerDecoder, points: Tensor, code: Tensor) -> Tensor:
    """The peer's distances (1, N) at points (1, N, 3), shared out to threads as our own field is."""
    parts = points.split(peer.points_at_once, dim=1)
    return torch.cat(list(side_by_side(lambda part: peer(part, code), parts, points.device)), dim=1)


def mesh_rows(model: Model, config: BenchConfig, progress: Callable[[str], None]) -> list[dict[str, Any]]:
    """The row: the median over heads and runs."""
    heads = bench_heads(model, config.heads, config.seed)
    peer = peer_decoder(config.seed, model.device).requires_grad_(False)
    batch = peer_batch(config.peer_points, config.seed, model.device)
    few = tuple(part[:, : config.peer_points // 10 + 1] if part.ndim == 3 else part for part in batch)
    tasks = [
        *(Task(f"head {k}", partial(head_mesh, model, h, config.resolution)) for k, h in enumerate(heads)),
        Task("peer", partial(peer_field, peer, *batch), partial(peer_field, peer, *few)),
    ]
    at_once = min(peer.points_at_once, config.peer_points)
    progress(f"mesh: {config.runs} runs of {len(heads)} heads and of {config.peer_points} points of the peer")
    with torch.no_grad():
        timings = interleaved(tasks, config.runs, model.device)
    peer_grid = config.resolution**3
    work = [_work(model, head, config) for head in heads]
    evaluations = int(np.median([w["evaluations"] for w in work]))
    ours = pooled([timings[f"head {k}"] for k in range(len(heads))])
    per_point = timings["peer"].median / config.peer_points
    sparse = per_point * evaluations
    checked = []
    for k, head in enumerate(heads[: config.reference_heads]):
        progress(f"mesh: head {k} on the dense grid")
        checked.append(_against_dense(model, head, config.resolution))
    progress("mesh: peak memory")
    row = result_row(
        "mesh",
        ours,
        timings["peer"],
        peer_words=f"decoder of NPHM's size, random weights, dense grid of {config.resolution}³ points in batches of "
        f"{config.peer_points}, worked through {at_once} points at a time; field only, without marching cubes",
        peer_scale=peer_grid / config.peer_points,
        evaluations=evaluations,
        equal_to_reference=all(ours.equal for ours, _ in checked) if checked else None,
        extrapolated=True,
        peer_points=config.peer_points,
        peer_evaluations=peer_grid,
        dense_evaluations=work[0]["dense_evaluations"],
        peer_on_our_band_seconds=sparse,
        gain_from_fewer_points=peer_grid / evaluations,
        gain_from_cheaper_points=sparse / ours.median,
        ours_flop_per_point=int(np.median([w["flop_per_point"] for w in work])),
        peer_flop_per_point=peer.config.flop_per_point,
        resolution=config.resolution,
        heads=len(heads),
        ours_seconds_of_heads=[timings[f"head {k}"].median for k in range(len(heads))],
        vertices=[w["vertices"] for w in work],
        reference=[_said(*both) for both in checked],
        memory=mesh_memory(model, heads[-1], config.resolution),
        floor=floor(
            float(np.median([w["floor_flop"] for w in work])),
            model.device,
            of="the field at the corners of the cells that the surface crosses",
            cells=int(np.median([w["cells"] for w in work])),
            evaluations=int(np.median([w["corners"] for w in work])),
        ),
    )
    return [row]


def _work(model: Model, head: Head, config: BenchConfig) -> dict[str, int]:
    """What one mesh asks of the field, and the least that it could ask."""
    asked = AskedField(HeadField(model, head))
    mesh = extract_mesh(asked, config.resolution)
    points = np.concatenate(asked.points)
    some = np.random.default_rng(config.seed).permutation(points)[:_COUNTED_POINTS]
    cells, corners = crossing_cells(mesh, config.resolution)
    return {
        "evaluations": len(points),
        "dense_evaluations": int(np.prod(grid_layout(config.resolution)[1])),
        "flop_per_point": field_flop(model, asked.field, some) // len(some),
        "vertices": len(mesh.vertices),
        "cells": len(cells),
        "corners": len(corners),
        "floor_flop": field_flop(model, asked.field, corners),
    }


def _against_dense(model: Model, head: Head, resolution: int) -> tuple[Comparison, Comparison]:
    """What was timed, compared with the dense grid's surface: by our marching cubes, and by scikit-image's."""
    grid = dense_grid(HeadField(model, head).sdf, resolution)
    vertices, faces, _, _ = marching_cubes(grid.values, 0.0, gradient_direction="descent")
    library = Mesh(vertices * grid.spacing_mm + grid.origin_mm, faces)
    mesh = head_mesh(model, head, resolution)
    return compare(mesh, largest_component(surface_of(grid))), compare(mesh, largest_component(library))


def _said(comparison: Comparison, library: Comparison) -> dict[str, Any]:
    return {
        "vertices": list(comparison.vertices),
        "faces": list(comparison.faces),
        "largest_mm": comparison.largest_mm,
        "equal": comparison.equal,
        "equal_to_library": library.equal,
    }
