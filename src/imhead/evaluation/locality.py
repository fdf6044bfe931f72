"""Locality of edits: what changes outside a region, to the bit, and how far the movement reaches inside."""

from __future__ import annotations

import numpy as np

from imhead.checkpoint import Model
from imhead.conventions import BOUNDS_MAX_MM, BOUNDS_MIN_MM
from imhead.editing import sample
from imhead.evaluation.runner import Row
from imhead.isosurface.field import HeadField
from imhead.isosurface.meshing import extract_mesh
from imhead.regions import REGIONS
from imhead.surfaces.properties import vertex_areas

_SEED = 0
_STRENGTH = 2.0


def locality_suite(model: Model) -> list[Row]:
    """One row for each region of the mean head, sampled anew at strength 2.

    `changed_outside` counts the distances that differ in any bit, among 100 000 points outside the region's old and new
    ball. `radius_95_mm` is the distance from the keypoint within which 95 % of the surface's movement lies.
    """
    head = model.neutral()
    field = HeadField(model, head)
    mesh = extract_mesh(field.sdf, 160)
    area = vertex_areas(mesh)
    canonical = field.canonical(mesh.vertices)
    surface = field.sdf(mesh.vertices)
    rng = np.random.default_rng(_SEED)
    near = mesh.vertices[rng.integers(len(mesh.vertices), size=130_000)] + rng.normal(0.0, 6.0, (130_000, 3))
    points = np.concatenate([near, rng.uniform(BOUNDS_MIN_MM, BOUNDS_MAX_MM, (130_000, 3))])
    places, before = field.canonical(points), field.sdf(points)
    rows: list[Row] = []
    for region in REGIONS:
        edited = HeadField(model, sample(model, head, (region,), _SEED, _STRENGTH, False))
        after = edited.sdf(points)
        balls = (field.ball(region.index), edited.ball(region.index))
        outside = np.ones(len(points), dtype=bool)
        for ball in balls:
            # slightly wider than the ball, since canonical points are rounded to single precision
            outside &= np.linalg.norm(places - ball.center_mm, axis=1) > ball.radius_mm * (1.0 + 1e-5)
        checked = np.flatnonzero(outside)[:: max(1, int(outside.sum()) // 100_000)][:100_000]
        moved = np.abs(edited.sdf(mesh.vertices) - surface) * area
        distance = np.linalg.norm(canonical - balls[0].center_mm, axis=1)
        order = np.argsort(distance)
        share = np.cumsum(moved[order]) / moved.sum()
        rows.append(
            {
                "suite": "locality",
                "model": model.name,
                "region": region.name,
                "radius_95_mm": float(distance[order][np.searchsorted(share, 0.95)]),
                "ball_radius_mm": balls[0].radius_mm,
                "largest_movement_mm": float(np.abs(edited.sdf(mesh.vertices) - surface).max()),
                "points_outside": len(checked),
                "changed_outside": int((after[checked] != before[checked]).sum()),
            }
        )
    return rows
