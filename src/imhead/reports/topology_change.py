"""Two states of a person in a user's topology: both meshes with its polygons and UVs, and their change in colours.

Shape legend: V vertices of the template.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from imhead.io.atomic import write_atomically
from imhead.io.mesh_file import write_mesh
from imhead.rendering.figures import heat_colors
from imhead.template.surface import TemplateSurface
from imhead.topology.store import UserTopology
from imhead.types import FloatArray, Mesh


@dataclass(frozen=True, eq=False)
class TemplateState:
    """The template on a person."""

    vertices: FloatArray
    """(V, 3) in some expression, mm."""
    neutral: FloatArray | None = None
    """(V, 3) the same without it, in the same frame, for the teeth of a topology; None where `vertices` is neutral."""


def write_topology_change(
    topology: UserTopology,
    template: TemplateSurface,
    before: TemplateState,
    after: TemplateState,
    moved_mm: FloatArray,
    limit_mm: float,
    out: Path,
    *,
    sigma_mm: FloatArray | None = None,
    number: str = "",
) -> None:
    """Write `before.obj`, `after.obj` and `change.ply` in a user's topology.

    Args:
        topology: of the meshes.
        template: on which it hangs.
        before: the first state.
        after: the later one, in the frame of the first.
        moved_mm: (V,) how far the template moved outwards; NaN where that is not known.
        limit_mm: of the colours.
        out: folder.
        sigma_mm: (V,) standard deviation of `moved_mm`.
        number: stands behind the names of `after` and `change` where there are several.

    Raises:
        InputError: a topology of another template, or a folder that cannot be written.
    """
    notes = {"topology": topology.name, "unit": "mm"}
    first, second = (topology.placed(template, state.vertices, state.neutral) for state in (before, after))
    write_atomically(out / "before.obj", topology.obj(first, notes))
    write_atomically(out / f"after{number}.obj", topology.obj(second, notes))
    moved = np.where(topology.on_skin, topology.at_vertices(moved_mm), np.nan)
    sigma = None if sigma_mm is None else topology.at_vertices(sigma_mm)
    mesh = Mesh(first, topology.triangles())
    write_mesh(mesh, out / f"change{number}.ply", colors=heat_colors(moved, limit_mm), sigma_mm=sigma, metadata=notes)
