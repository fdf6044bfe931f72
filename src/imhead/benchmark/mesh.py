"""Row `mesh`: the mesh of a head from our narrow band, against the peer on a dense grid and on our band."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from skimage.measure import marching_cubes
from torch import Tensor

from imhead.benchmark.arithmetic import crossing_cells, field_flop, time_floor
from imhead.benchmark.equality import MeshDifference, mesh_difference
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

_COUNTED_POINTS = 20_000  # operations per point are a mean over this many of the points of a mesh


class RecordingField:
    """A head's field that records the points at which it is evaluated."""

    def __init__(self, field: HeadField) -> None:
        self.field = field
        self.points: list[FloatArray] = []

    def __call__(self, points_mm: FloatArray) -> FloatArray:
        """Signed distances (N,) at points (N, 3), as `HeadField.sdf`."""
        self.points.append(np.asarray(points_mm, dtype=np.float32))
        return self.field.sdf(points_mm)


def head_mesh(model: Model, head: Head, resolution: int) -> Mesh:
    """The mesh of a head from its codes: what is timed."""
    return extract_mesh(HeadField(model, head).sdf, resolution)


def peer_field(peer: PeerDecoder, points: Tensor, code: Tensor) -> Tensor:
    """The peer's distances (1, N) at points (1, N, 3), spread over threads like our own field."""
    parts = points.split(peer.points_at_once, dim=1)
    return torch.cat(list(side_by_side(lambda part: peer(part, code), parts, points.device)), dim=1)


def mesh_rows(model: Model, config: BenchConfig, progress: Callable[[str], None]) -> list[dict[str, Any]]:
    """The row `mesh`, with medians over heads and runs."""
    heads = bench_heads(model, config.heads, config.seed)
    peer = peer_decoder(config.seed, model.device).requires_grad_(False)
    batch = peer_batch(config.peer_points, config.seed, model.device)
    warm_up = tuple(part[:, : config.peer_points // 10 + 1] if part.ndim == 3 else part for part in batch)
    tasks = [
        *(Task(f"head {k}", partial(head_mesh, model, h, config.resolution)) for k, h in enumerate(heads)),
        Task("peer", partial(peer_field, peer, *batch), partial(peer_field, peer, *warm_up)),
    ]
    at_once = min(peer.points_at_once, config.peer_points)
    progress(f"mesh: {config.runs} runs of {len(heads)} heads and of {config.peer_points} points of the peer")
    with torch.no_grad():
        timings = interleaved(tasks, config.runs, model.device)
    peer_grid = config.resolution**3
    costs = [_cost(model, head, config) for head in heads]
    evaluations = int(np.median([cost["evaluations"] for cost in costs]))
    ours = pooled([timings[f"head {k}"] for k in range(len(heads))])
    per_point = timings["peer"].median / config.peer_points
    on_our_band = per_point * evaluations
    references = []
    for k, head in enumerate(heads[: config.reference_heads]):
        progress(f"mesh: head {k} compared with the dense grid")
        references.append(_reference_differences(model, head, config.resolution))
    progress("mesh: peak memory")
    row = result_row(
        "mesh",
        ours,
        timings["peer"],
        peer_description=f"decoder of NPHM's size, random weights, dense grid of {config.resolution}³ points in "
        f"batches of {config.peer_points}, {at_once} points at a time; field only, without marching cubes",
        peer_scale=peer_grid / config.peer_points,
        evaluations=evaluations,
        equal_to_reference=all(own.equal for own, _ in references) if references else None,
        extrapolated=True,
        peer_points=config.peer_points,
        peer_evaluations=peer_grid,
        dense_evaluations=costs[0]["dense_evaluations"],
        peer_on_our_band_seconds=on_our_band,
        gain_from_fewer_points=peer_grid / evaluations,
        gain_from_cheaper_points=on_our_band / ours.median,
        ours_flop_per_point=int(np.median([cost["flop_per_point"] for cost in costs])),
        peer_flop_per_point=peer.config.flop_per_point,
        resolution=config.resolution,
        heads=len(heads),
        ours_seconds_of_heads=[timings[f"head {k}"].median for k in range(len(heads))],
        vertices=[cost["vertices"] for cost in costs],
        reference=[_reference_row(*differences) for differences in references],
        memory=mesh_memory(model, heads[-1], config.resolution),
        floor=time_floor(
            float(np.median([cost["floor_flop"] for cost in costs])),
            model.device,
            of="the field at the corners of the cells that the surface crosses",
            cells=int(np.median([cost["cells"] for cost in costs])),
            evaluations=int(np.median([cost["corners"] for cost in costs])),
        ),
    )
    return [row]


def _cost(model: Model, head: Head, config: BenchConfig) -> dict[str, int]:
    """Evaluations and operations of one mesh, and the least that it needs."""
    field = RecordingField(HeadField(model, head))
    mesh = extract_mesh(field, config.resolution)
    points = np.concatenate(field.points)
    sampled = np.random.default_rng(config.seed).permutation(points)[:_COUNTED_POINTS]
    cells, corners = crossing_cells(mesh, config.resolution)
    return {
        "evaluations": len(points),
        "dense_evaluations": int(np.prod(grid_layout(config.resolution)[1])),
        "flop_per_point": field_flop(model, field.field, sampled) // len(sampled),
        "vertices": len(mesh.vertices),
        "cells": len(cells),
        "corners": len(corners),
        "floor_flop": field_flop(model, field.field, corners),
    }


def _reference_differences(model: Model, head: Head, resolution: int) -> tuple[MeshDifference, MeshDifference]:
    """Difference of the timed mesh from the dense grid's surface by our marching cubes, and by scikit-image's."""
    grid = dense_grid(HeadField(model, head).sdf, resolution)
    vertices, faces, _, _ = marching_cubes(grid.values, 0.0, gradient_direction="descent")
    library = Mesh(vertices * grid.spacing_mm + grid.origin_mm, faces)
    mesh = head_mesh(model, head, resolution)
    return (
        mesh_difference(mesh, largest_component(surface_of(grid))),
        mesh_difference(mesh, largest_component(library)),
    )


def _reference_row(own: MeshDifference, library: MeshDifference) -> dict[str, Any]:
    return {
        "vertices": list(own.vertices),
        "faces": list(own.faces),
        "largest_mm": own.largest_mm,
        "equal": own.equal,
        "equal_to_library": library.equal,
    }
