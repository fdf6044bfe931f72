"""Any user's topology: learn it once from a neutral mesh, then have every head and expression in it.

from imhead.api.topologies import learn_topology, topology_mesh
mine = learn_topology(imhead.load(), "mine.obj", "mine")
vertices = topology_mesh(head, mine, {"jawOpen": 0.4}).vertices
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from imhead.api.export import Expression
from imhead.api.heads import EditableHead
from imhead.api.models import MorphableModel
from imhead.fitting.config import FitConfig
from imhead.fitting.pose import Units
from imhead.io.atomic import write_atomically
from imhead.io.mesh_file import head_notes, in_units, write_mesh
from imhead.io.obj_polygons import read_polygons
from imhead.reports.topology_change import TemplateState, write_topology_change
from imhead.surfaces.normals import vertex_normals
from imhead.surfaces.transforms import transform_points
from imhead.template.surface import template_of
from imhead.topology.binding import FAR_MM, NEAR_MM, bind
from imhead.topology.store import UserTopology, digest_of
from imhead.types import FloatArray, Mesh, MorphTargets

Progress = Callable[[str, float], None]
_FITTING = 0.7  # of the time


@dataclass(frozen=True, eq=False)
class LearntTopology:
    """A topology, and how well its mesh was met."""

    topology: UserTopology
    """To be saved or used."""
    report: dict[str, Any]
    """`vertices`, `polygons`, `uv`, `mesh_to_template_mm` of the vertices on the skin, `away` and `far` (vertices more
    than 8 and 30 mm from the template), `eyes` (vertices of eyeballs), `warnings`."""


def learn_topology(
    model: MorphableModel, mesh: str | Path, name: str, units: Units = "auto", config: FitConfig = FitConfig(), *,
    landmarks: str | Path | None = None, mirrored: bool = False,
    progress: Progress = lambda stage, part: None,
) -> LearntTopology:  # fmt: skip
    """Fit and register the head to a user's neutral mesh, and bind each of its vertices to the template.

    Args:
        model: with a template.
        mesh: neutral face, lips shut; .obj keeps polygons and UVs.
        name: what the topology is called.
        units: what the numbers of the mesh mean, if you know it.
        config: settings of the fit.
        landmarks: as for `MorphableModel.fit`.
        mirrored: the mesh has left and right swapped.
        progress: called with the stage and the part done.

    Raises:
        InputError: the mesh cannot be read, has no faces, or shows no face.
    """
    path = Path(mesh)
    points, polygons = read_polygons(path)
    fitted = model.fit(
        path, units, config, landmarks=landmarks, mirrored=mirrored,
        progress=lambda stage, part: progress(stage, _FITTING * part),
    )  # fmt: skip
    progress("registration", _FITTING)
    registered = fitted.register().registration
    assert registered is not None
    progress("binding", 0.95)
    template = model.template
    rest = transform_points(fitted.result.scan_to_head, points)
    binding = bind(rest, polygons, template, registered.mesh.vertices)
    topology = UserTopology(name, binding, polygons, digest_of(template.faces))
    near = binding.distance_mm[(binding.distance_mm < NEAR_MM) & (binding.eye == 0)]
    far = int((binding.distance_mm > FAR_MM).sum())
    warnings = list(fitted.result.report()["warnings"])
    if far:
        warnings.append(f"{far} vertices lie more than {FAR_MM:g} mm from the head; they follow it only roughly")
    report = {
        "vertices": len(points),
        "polygons": len(polygons.counts),
        "uv": polygons.uv is not None,
        "mesh_to_template_mm": {
            "median": float(np.median(near)) if len(near) else None,
            "p90": float(np.quantile(near, 0.9)) if len(near) else None,
        },
        "away": int((binding.distance_mm > NEAR_MM).sum()),
        "far": far,
        "eyes": int((binding.eye > 0).sum()),
        "warnings": warnings,
    }
    progress("done", 1.0)
    return LearntTopology(topology, report)


def topology_mesh(
    head: EditableHead, topology: UserTopology, expression: Mapping[str, float] | None = None
) -> Mesh:  # fmt: skip
    """A head in a user's topology, its polygons cut into triangles; head frame, mm.

    Args:
        head: any head of the model.
        topology: learnt with a model of the same template.
        expression: ARKit name → weight; None for the head's own, `{}` for the neutral face.

    Raises:
        InputError: an unknown expression, or a topology of another template.
    """
    template = head.mesh(expression, surface="template")
    at_rest = expression is not None and not any(expression.values())
    neutral = None if at_rest or not topology.binding.has_mouth else head.mesh({}, surface="template").vertices
    return Mesh(topology.placed(template_of(head.model), template.vertices, neutral), topology.triangles())


def topology_shapes(
    head: EditableHead, topology: UserTopology, expression: Expression | None = None
) -> tuple[Mesh, MorphTargets]:
    """The neutral head and the 52 ARKit shapes in a user's topology, shown first with `expression`, or neutral; `own`
    shows the head's.

    Raises:
        InputError: an unknown expression, or a topology of another template.
    """
    neutral, _, morphs = head.animated(None if isinstance(expression, str) else expression or {})
    template = template_of(head.model)
    rest = topology.placed(template, neutral.vertices)
    offsets: FloatArray = np.zeros((len(morphs.names), *rest.shape), dtype=np.float32)
    for k, shape in enumerate(morphs.offsets):
        if shape.any():
            posed = neutral.vertices + shape
            offsets[k] = topology.placed(template, posed, neutral.vertices) - rest
    return Mesh(rest, topology.triangles()), MorphTargets(morphs.names, offsets, morphs.weights)


def write_topology_mesh(
    head: EditableHead, topology: UserTopology, path: Path, expression: Expression | None = None,
    units: str = "mm", up: str = "y", quantized: bool = False,
) -> Mesh:  # fmt: skip
    """Write a head in a user's topology; the mesh in mm. An OBJ has its polygons and UVs, a GLB the 52 ARKit shapes.

    Args:
        head: any head of the model.
        topology: learnt with a model of the same template.
        path: .ply, .obj, .stl or .glb.
        expression: ARKit name → weight, or `own`; None for the head's own, of a GLB for the neutral face.
        units: of the file, as `ExportConfig.units`.
        up: axis that points up, as `ExportConfig.up`.
        quantized: 16-bit places, for a GLB.

    Raises:
        InputError: an unknown expression, a topology of another template, or a file that cannot be written.
    """
    notes = head_notes(head.codes) | {"topology": topology.name}
    uv = topology.polygons.uv_map()
    if path.suffix.lower() == ".glb":
        mesh, morphs = topology_shapes(head, topology, expression)
        write_mesh(mesh, path, metadata=notes, uv=uv, morphs=morphs, quantized=quantized)
        return mesh
    mesh = topology_mesh(head, topology, None if isinstance(expression, str) else expression)
    written = in_units(mesh, units, up)
    if path.suffix.lower() == ".obj":
        write_atomically(path, topology.obj(written.vertices, notes | {"unit": units}))
    else:
        write_mesh(written, path, unit=units, metadata=notes, uv=uv)
    return mesh


def write_topology_comparison(
    before: EditableHead, after: EditableHead, topology: UserTopology, out: Path, limit_mm: float
) -> None:
    """Write `before.obj`, `after.obj` and `change.ply` of two heads in a user's topology, each in its own expression.

    Args:
        before: any head of the model.
        after: another of it.
        topology: learnt with a model of the same template.
        out: folder.
        limit_mm: of the colours of the change.

    Raises:
        InputError: a topology of another template, or a folder that cannot be written.
    """
    template = template_of(before.model)
    states = [
        TemplateState(head.mesh(surface="template").vertices, head.mesh({}, surface="template").vertices)
        for head in (before, after)
    ]
    normals, _ = vertex_normals(states[0].vertices, template.faces)
    moved = np.einsum("vc,vc->v", states[1].vertices - states[0].vertices, normals)
    write_topology_change(topology, template, states[0], states[1], moved, limit_mm, out)
