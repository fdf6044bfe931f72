"""Rows `remesh_median` and `remesh_largest`: the update of a mesh after an edit, against a whole new mesh."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from imhead.benchmark.arithmetic import crossing_cells, fusion_flop, local_flop, time_floor
from imhead.benchmark.equality import MeshDifference, mesh_difference
from imhead.benchmark.heads import bench_heads
from imhead.benchmark.mesh import head_mesh
from imhead.benchmark.settings import BenchConfig
from imhead.benchmark.timing import Task, Timing, interleaved, medians, result_row
from imhead.checkpoint import Model
from imhead.editing import sample
from imhead.isosurface.field import HeadField
from imhead.isosurface.session import HeadSession, MeshChange
from imhead.regions import REGIONS, Region
from imhead.types import Head, Mesh


class Toggle:
    """Applies an edit to a session's head and undoes it, in turns: every call re-meshes the same region."""

    def __init__(self, session: HeadSession, before: Head, after: Head) -> None:
        self.session, self.heads = session, (after, before)
        self.calls = 0

    def __call__(self) -> MeshChange:
        """Update the session and its mesh."""
        change = self.session.update(self.heads[self.calls % 2])
        self.calls += 1
        assert len(self.session.mesh.vertices) == change.vertex_count
        return change


class WholeMesh:
    """Meshes a whole head; keeps the last mesh."""

    def __init__(self, model: Model, head: Head, resolution: int) -> None:
        self.model, self.head, self.resolution = model, head, resolution
        self.meshes: list[Mesh] = []

    def __call__(self) -> None:
        """Mesh the head."""
        self.meshes = [head_mesh(self.model, self.head, self.resolution)]


@dataclass(frozen=True, eq=False)
class RegionResult:
    """The edit of one region."""

    region: Region
    """The edited region."""
    ours: Timing
    """Time of an update."""
    whole: Timing
    """Time of the whole mesh."""
    evaluations: int
    """Points at which an update evaluates the field."""
    rebuilt: bool
    """Whether the session meshed the whole head anew."""
    difference: MeshDifference
    """Difference of the updated mesh from the whole mesh."""
    floor_evaluations: int
    """Corners of crossing cells in the region's old and new ball."""


def remesh_rows(model: Model, config: BenchConfig, progress: Callable[[str], None]) -> list[dict[str, Any]]:
    """Two rows: the median over regions, and the slowest region."""
    head = bench_heads(model, 2, config.seed)[1]
    session = HeadSession(model, head, resolution=config.resolution)
    chosen = np.unique(np.linspace(0, len(REGIONS) - 1, config.regions).round().astype(int))
    progress(f"remesh: {config.runs} runs of {len(chosen)} regions, and of the whole mesh")
    results = [_region(model, session, head, REGIONS[index], config) for index in chosen]
    undone = mesh_difference(session.mesh, head_mesh(model, head, config.resolution))
    equal = undone.equal and all(result.difference.equal for result in results)
    slowest = max(results, key=lambda result: result.ours.median)
    peer = "our own whole mesh of the edited head"
    each = local_flop(model.net.config) + fusion_flop(model.net.config)
    of = "one local network and FusionNet at the corners of crossing cells in the region's old and new ball"
    shared = {"resolution": config.resolution, "edit_strength": config.edit_strength}
    corners = int(np.median([result.floor_evaluations for result in results]))
    return [
        result_row(
            "remesh_median",
            medians([result.ours for result in results]),
            medians([result.whole for result in results]),
            peer_description=peer,
            evaluations=int(np.median([result.evaluations for result in results])),
            equal_to_reference=equal,
            regions=[_region_row(result) for result in results],
            rebuilt=sum(result.rebuilt for result in results),
            undone_largest_mm=undone.largest_mm,
            floor=time_floor(corners * each, model.device, of=of, evaluations=corners),
            **shared,
        ),
        result_row(
            "remesh_largest",
            slowest.ours,
            slowest.whole,
            peer_description=peer,
            evaluations=slowest.evaluations,
            equal_to_reference=slowest.difference.equal,
            region=slowest.region.name,
            floor=time_floor(
                slowest.floor_evaluations * each, model.device, of=of, evaluations=slowest.floor_evaluations
            ),
            **shared,
        ),
    ]


def _region(model: Model, session: HeadSession, head: Head, region: Region, config: BenchConfig) -> RegionResult:
    edited = sample(model, head, (region,), config.seed, config.edit_strength, False)
    toggle, whole = Toggle(session, head, edited), WholeMesh(model, edited, config.resolution)
    timings = interleaved([Task("ours", toggle), Task("whole", whole)], config.runs, model.device)
    session.update(head)
    change = session.update(edited)
    difference = mesh_difference(session.mesh, whole.meshes[0])
    session.update(head)
    _, corners = crossing_cells(whole.meshes[0], config.resolution)
    fields = [HeadField(model, each) for each in (head, edited)]
    places = fields[0].canonical(corners)
    balls = [field.ball(region.index) for field in fields]
    inside = np.any([np.linalg.norm(places - ball.center_mm, axis=1) < ball.radius_mm for ball in balls], axis=0)
    return RegionResult(
        region, timings["ours"], timings["whole"], change.evaluations, change.rebuilt, difference, int(inside.sum())
    )


def _region_row(result: RegionResult) -> dict[str, Any]:
    return {
        "region": result.region.name,
        "radius_mm": result.region.radius_mm,
        "ours_seconds": result.ours.median,
        "whole_seconds": result.whole.median,
        "evaluations": result.evaluations,
        "equal": result.difference.equal,
        "largest_mm": result.difference.largest_mm,
    }
