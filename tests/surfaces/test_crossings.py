"""Sheets that intersect come apart, and nothing else moves."""

from __future__ import annotations

import numpy as np
import trimesh

from imhead.surfaces.crossings import crossing_edges, untangled
from imhead.types import FloatArray, IntArray


def two_sheets(overlap_mm: float) -> tuple[FloatArray, IntArray]:
    """A wavy sheet over its mirror image, joined to nothing; where `overlap_mm` is positive they lie in one another."""
    x, y = np.meshgrid(np.arange(30.0), np.arange(30.0), indexing="ij")
    bump = np.exp(-((x - 14.5) ** 2 + (y - 14.5) ** 2) / 12.0)
    height = 1.0 - (1.0 + 0.5 * overlap_mm) * bump
    number = np.arange(900).reshape(30, 30)
    a, b, c, d = number[:-1, :-1], number[1:, :-1], number[1:, 1:], number[:-1, 1:]
    faces = np.concatenate([np.stack(corner, axis=-1).reshape(-1, 3) for corner in ((a, b, c), (a, c, d))])
    upper = np.stack([x, y, height], axis=-1).reshape(-1, 3)
    lower = upper * [1.0, 1.0, -1.0] + [0.21, 0.37, 0.0]  # beside one another, as no two lips are drawn alike
    return np.concatenate([upper, lower]), np.concatenate([faces, faces[:, ::-1] + 900])


def test_sheets_that_intersect_come_apart() -> None:
    vertices, faces = two_sheets(0.4)
    assert len(crossing_edges(vertices, faces)) > 10
    apart = untangled(vertices, faces)
    assert len(crossing_edges(apart, faces)) == 0
    moved = np.linalg.norm(apart - vertices, axis=1)
    assert 0.0 < moved.max() < 1.0
    far = np.linalg.norm(vertices[:, :2] - 14.5, axis=1) > 9.0
    assert (moved[far] == 0.0).all()


def test_a_surface_that_does_not_cross_itself_is_left_alone() -> None:
    vertices, faces = two_sheets(-0.4)
    assert untangled(vertices, faces) is vertices
    ball = trimesh.creation.icosphere(3)
    assert len(crossing_edges(np.asarray(ball.vertices), np.asarray(ball.faces))) == 0
