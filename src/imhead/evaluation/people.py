"""Several scans of a held-out person: one head from partial views, the neutral face from expressions, strangers found.

Each figure of a joint fit stands beside that of a fit to one of the scans.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from scipy.spatial.transform import Rotation

from imhead.checkpoint import Model
from imhead.datasets.recipe import HELD_OUT_SEED
from imhead.errors import InputError
from imhead.evaluation.cases import HeldOut, HeldOutSource, known_truth, random_similarity, scanned, score
from imhead.evaluation.runner import CaseRunner, Row, rounded
from imhead.evaluation.virtual_scanner import FRONTAL_PHONE, virtual_scan
from imhead.fitting.config import FitConfig
from imhead.fitting.person import PersonFit, fit_person, joined
from imhead.fitting.person_scans import own_fit
from imhead.isosurface.creases import head_mesh
from imhead.isosurface.field import HeadField
from imhead.sources.expressions import draw_expressions
from imhead.surfaces.transforms import matrix_of, transform_points
from imhead.surfaces.visibility import sample_visible
from imhead.types import FloatArray, Mesh, Scan

_VIEW = replace(FRONTAL_PHONE, cameras=1, arc_deg=0.0, as_points=True, target_points=1500, holes=0)
_VIEWS_DEG = (0.0, 60.0, -60.0)
_EXPRESSIONS = 12
_FOUR = (1, 4, 7, 10)  # of a person's drawn expressions; 0 is neutral
_POINTS = 5000
_NOISE_MM = 0.3


@dataclass(frozen=True, eq=False)
class _Placed:
    """A surface and its pose, as `score` takes them."""

    mesh: Mesh
    """Head frame, mm."""
    scan_to_head: FloatArray
    """(4, 4)."""


def people_suite(model: Model, source: HeldOutSource, heads: int, config: FitConfig, runner: CaseRunner) -> list[Row]:
    """Rows `views`, `expressions` and `strangers`, each with its `cases`.

    Args:
        model: to fit.
        source: of the people.
        heads: held-out people of each row.
        config: settings of the fits.
        runner: runs the cases.
    """
    cases: dict[str, Callable[[int], Row]] = {
        "views": partial(_views_case, model, source, config),
        "expressions": partial(_expressions_case, model, source, config),
        "strangers": partial(_strangers_case, model, source, config),
    }
    return [_row(name, model, runner.run(case, heads, rounded)) for name, case in cases.items()]


def partial_view(source: HeldOutSource, index: int, turn_deg: float, weights: FloatArray | None = None) -> HeldOut:
    """One noisy depth view of held-out head `index` from an azimuth, 1 500 points, in a random pose and unit."""
    head = source.head(index)
    vertices = head.neutral if weights is None else head.posed(weights)
    truth = known_truth(source, head, vertices, posed=weights is not None)
    turn = matrix_of(Rotation.from_euler("y", -turn_deg, degrees=True).as_matrix(), np.zeros(3))
    rng = np.random.default_rng([0x9E0B, index, int(turn_deg) % 360, 0 if weights is None else 1])
    turned = Mesh(transform_points(turn, truth.mesh.vertices), truth.mesh.faces)
    view = virtual_scan(turned, _VIEW, rng, f"heldout_{index:03d}_{turn_deg:+.0f}")
    return scanned(truth, view.scan, view.head_to_scan @ turn)


def all_over(source: HeldOutSource, index: int, number: int, expression: int) -> HeldOut:
    """A noisy scan all over held-out head `index`, with one of its drawn expressions, in a random pose and unit."""
    head = source.head(index)
    drawn = draw_expressions(HELD_OUT_SEED + index, _EXPRESSIONS)[expression]
    truth = known_truth(source, head, head.posed(drawn) if expression else head.neutral, posed=expression > 0)
    rng = np.random.default_rng([0x9E0C, index, number])
    points, _ = sample_visible(truth.mesh, _POINTS, rng, visible=truth.visible)
    matrix, placed = random_similarity(points + _NOISE_MM * rng.normal(size=points.shape), rng)
    return scanned(truth, Scan(f"heldout_{index:03d}_{number}", placed), matrix)


def _views_case(model: Model, source: HeldOutSource, config: FitConfig, index: int) -> Row:
    views = [partial_view(source, index, turn) for turn in _VIEWS_DEG]
    joint = _fitted(model, views, config)
    one = _fitted(model, views[:1], config)
    return _beside(model, config, joint, one, views[0]) | {"lost": len(joint.lost)}


def _expressions_case(model: Model, source: HeldOutSource, config: FitConfig, index: int) -> Row:
    """The neutral head, which no scan shows, from four expressions and from one of them."""
    shown = [all_over(source, index, k, k) for k in _FOUR]
    head = source.head(index)
    neutral = known_truth(source, head, head.neutral, posed=False)
    first = scanned(neutral, shown[0].scan, shown[0].head_to_scan)
    joint, one = _fitted(model, shown, config), _fitted(model, shown[:1], config)
    return _beside(model, config, joint, one, first)


def _strangers_case(model: Model, source: HeldOutSource, config: FitConfig, index: int) -> Row:
    """Four scans of a person, and three of them with one of somebody else."""
    other = (index + 1) % source.count if source.count else index + 1
    weights = draw_expressions(HELD_OUT_SEED + index, _EXPRESSIONS)[2]
    shown = [
        partial_view(source, index, 0.0),
        all_over(source, index, 1, 0),
        all_over(source, index, 2, 5),
        partial_view(source, index, 30.0, weights),
        all_over(source, other, 3, index % 3),
    ]
    config = replace(config, detail=False)
    alone = [own_fit(case.scan, row, model, config, "auto", None) for row, case in enumerate(shown)]
    same = joined(model, alone[:4], config)
    mixed = joined(model, [*alone[:3], alone[4]], config)
    return {
        "name": f"heldout_{index:03d}",
        "found": float(4 in mixed.strangers),
        "false_alarms": float(len(same.strangers) + len(set(mixed.strangers) - {4})),
        "asked": 7.0,
        "same_excess_mm": [round(part.excess_mm, 3) for part in same.evidence.values()],
        "mixed_excess_mm": [round(part.excess_mm, 3) for part in mixed.evidence.values()],
        "same_likelihood": [round(part.likelihood_ratio, 1) for part in same.evidence.values()],
        "mixed_likelihood": [round(part.likelihood_ratio, 1) for part in mixed.evidence.values()],
    }


def _fitted(model: Model, cases: Sequence[HeldOut], config: FitConfig) -> PersonFit:
    return fit_person([case.scan for case in cases], model, config)


def _beside(model: Model, config: FitConfig, joint: PersonFit, one: PersonFit, case: HeldOut) -> Row:
    """Errors of the neutral head of a joint fit, and of one of its first scan, in the pose of that scan."""
    row: Row = {"name": case.scan.name, "seconds": joint.seconds}
    for name, fit in (("", joint), ("one_", one)):
        if 0 not in fit.rows:
            return row | {"refused": "no face was found in the first scan"}
        mesh = head_mesh(HeadField(model, fit.head), config.resolution)
        figures = score(_Placed(mesh, fit.scans[fit.rows.index(0)].scan_to_head), case)
        row |= {f"{name}{key}": figures[key] for key in ("head_chamfer_mm", "face_chamfer_mm")}
    return row


def _row(name: str, model: Model, cases: list[Row]) -> Row:
    done = [case for case in cases if "refused" not in case]
    if not done:
        raise InputError(f"every case of {name} was refused; the model cannot be evaluated on people")
    row: Row = {
        "suite": "people", "kind": name, "model": model.name, "code_size": int(model.net.config.identity_size),
        "heads": len(cases), "scored": len(done),
    }  # fmt: skip
    row |= {k: float(np.mean([case[k] for case in done])) for k, v in done[0].items() if isinstance(v, float)}
    if name == "strangers":
        row["false_alarms"] = sum(case["false_alarms"] for case in done) / sum(case["asked"] for case in done)
        del row["asked"]
    else:
        row["ratio_to_one"] = row["head_chamfer_mm"] / row["one_head_chamfer_mm"]
        row["face_ratio_to_one"] = row["face_chamfer_mm"] / row["one_face_chamfer_mm"]
    return row | {"cases": cases}
