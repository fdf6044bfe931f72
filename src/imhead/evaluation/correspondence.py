"""Correspondence of the template: does a vertex mark the same anatomical point on every head, and lie on its skin."""

from __future__ import annotations

from functools import partial

import numpy as np

from imhead.checkpoint import Model
from imhead.conventions import ARKIT_NAMES, FACE_RADIUS_MM
from imhead.evaluation.cases import HeldOutSource, held_out
from imhead.evaluation.runner import CaseRunner, Row, rounded
from imhead.fitting.config import FitConfig
from imhead.fitting.fit import fit_scan
from imhead.fitting.start import pose_template
from imhead.isosurface.field import HeadField, code_of_weights
from imhead.surfaces.transforms import transform_points
from imhead.template.surface import TemplateSurface, template_of
from imhead.template.topology import LEFT_EYE, Topology, load_topology
from imhead.types import BoolArray, FloatArray, Head

_VISIBLE = 0.5
_MOVED_MM = 0.5


def correspondence_suite(
    model: Model, source: HeldOutSource, heads: int, config: FitConfig, runner: CaseRunner
) -> list[Row]:
    """One row over held-out heads, each fitted to 5 000 points of a neutral scan in any pose and unit.

    All figures are means over the visible vertices of the template, mm:

    - `face_correspondence_mm`, `head_correspondence_mm`: distance to the corresponding point of the registered truth.
    - `zero_set_mm`: distance to the head's zero set.
    - `morph_mm`: distance of the neutral template plus one ARKit shape to the model's own surface with that expression;
      `morph_moved_mm` only over the vertices that the shape moves by more than half a millimetre.
    """
    template, topology = template_of(model), load_topology()
    pose_template(model)  # made once, before the workers are forked
    work = partial(_case, model, template, topology, source, config)
    cases = runner.run(work, heads, rounded)
    keys = [key for key in cases[0] if key.endswith("_mm")]
    row: Row = {"suite": "correspondence", "model": model.name, "heads": len(cases)}
    row |= {key: float(np.mean([case[key] for case in cases])) for key in keys}
    of_cases = [case["face_correspondence_mm"] for case in cases]
    return [row | {"face_correspondence_p90_mm": float(np.percentile(of_cases, 90)), "cases": cases}]


def _case(
    model: Model,
    template: TemplateSurface,
    topology: Topology,
    source: HeldOutSource,
    config: FitConfig,
    index: int,
) -> Row:
    case = held_out(source, index)
    result = fit_scan(case.scan, model, config)
    to_truth = np.linalg.inv(case.head_to_scan) @ np.linalg.inv(result.scan_to_head)
    found = transform_points(to_truth, template.posed(model, result.head))
    truth = topology.place(case.registered)
    visible = template.on_surface > _VISIBLE
    face = visible & (np.linalg.norm(truth - case.nose_tip_mm, axis=1) < FACE_RADIUS_MM)
    error = np.linalg.norm(found - truth, axis=1)
    return {
        "name": case.scan.name,
        "face_correspondence_mm": float(error[face].mean()),
        "head_correspondence_mm": float(error[visible].mean()),
        **surface_figures(model, template, result.head, [index % len(ARKIT_NAMES), (index * 7 + 3) % len(ARKIT_NAMES)]),
    }


def surface_figures(model: Model, template: TemplateSurface, head: Head, shapes: list[int]) -> dict[str, float]:
    """Mean distances in mm of the template from the model's surface: neutral, and with each of `shapes` added.

    Args:
        shapes: indices of ARKit shapes.

    Returns:
        `zero_set_mm`, `morph_mm` and `morph_moved_mm`, as in `correspondence_suite`.
    """
    visible = template.on_surface > _VISIBLE
    rest = np.zeros(len(ARKIT_NAMES), dtype=np.float32)
    neutral = template.posed(model, head, rest)
    distance = np.abs(HeadField(model, head, code_of_weights(model, rest)).sdf(neutral[visible]))
    morphs = [morph_distance(model, template, head, neutral, shape) for shape in shapes]
    every, moved = [e for e, _ in morphs], [m for _, m in morphs if m is not None]
    figures = {"zero_set_mm": float(distance.mean()), "morph_mm": float(np.mean(every))}
    return figures | {"morph_moved_mm": float(np.mean(moved or [0.0]))}


def morph_distance(
    model: Model, template: TemplateSurface, head: Head, neutral: FloatArray, shape: int
) -> tuple[float, float | None]:
    """Mean distance in mm of the neutral vertices (V, 3) plus one ARKit shape to the model's own surface with it.

    Returns:
        The mean over all visible vertices, and over those that the shape moves by more than half a millimetre; None
        if it moves none that far.
    """
    weights = np.zeros(len(ARKIT_NAMES), dtype=np.float32)
    weights[shape] = 1.0
    field = HeadField(model, head, code_of_weights(model, weights))
    vertices = neutral + template.shapes[shape]
    shown = (template.on_surface > _VISIBLE) & ~_covered_eyes(template, vertices, field)
    off = np.abs(field.sdf(vertices[shown]))
    far = np.linalg.norm(template.shapes[shape][shown], axis=1) > _MOVED_MM
    return float(off.mean()), float(off[far].mean()) if far.any() else None


def _covered_eyes(template: TemplateSurface, vertices: FloatArray, field: HeadField) -> BoolArray:
    """(V,) bool: vertices of the eyeballs that a lid covers, which lie on no surface of the model."""
    covered = np.zeros(len(vertices), dtype=bool)
    eyes = np.flatnonzero(template.part >= LEFT_EYE)
    covered[eyes] = field.sdf(vertices[eyes]) < -0.5
    return covered
