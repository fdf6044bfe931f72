"""Visits of one person compared, as files: `report.json`, `heatmap.png`, `change.ply` and a page to print.

Shape legend: V vertices of the template.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from imhead.change.amounts import Amount, Place
from imhead.change.comparison import ComparedVisit, Comparison
from imhead.change.measured import MeasuredDifference
from imhead.change.visits import Visit
from imhead.checkpoint import Model
from imhead.errors import one_line
from imhead.io.atomic import check_folder, write_atomically
from imhead.io.mesh_file import write_mesh
from imhead.io.picture_file import write_picture
from imhead.measure.population import STATEMENT as CONTEXT
from imhead.measure.population import Population, shipped_population
from imhead.registration.measured import neutral_vertices
from imhead.rendering.figures import contact_sheet, heat_colors, legend, round_limit, stack
from imhead.rendering.shading import ByteImage, shade
from imhead.reports.scan_comparison_page import comparison_page
from imhead.reports.standard_views import STANDARD_VIEWS, with_scale_bar
from imhead.reports.topology_change import TemplateState, write_topology_change
from imhead.surfaces.transforms import transform_points
from imhead.template.surface import template_of
from imhead.topology.store import UserTopology
from imhead.types import FloatArray, Mesh
from imhead.version import __version__

STATEMENT = (
    "A geometric comparison of surfaces, for research. It is not a medical device: it makes no diagnosis, and knows "
    "nothing of tissue, healing or function."
)
_SIZE = 360  # pixels of a picture
_LABEL = 100  # characters of a patient's label


def write_scan_comparison(
    comparison: Comparison,
    model: Model,
    out: Path,
    *,
    files: Sequence[Path | None] = (),
    scanner: str | None = None,
    patient: str | None = None,
    topology: UserTopology | None = None,
) -> dict[str, Any]:
    """Write `report.json`, `heatmap.png`, `report.html` and `change.ply` of visits that were compared.

    Args:
        comparison: the visits.
        model: of the heads.
        out: folder, made where missing; files of the same names are replaced.
        files: of the visits, for their hashes; empty or None for scans that are no files.
        scanner: name of the scanner whose repeatability was taken, if one was named.
        patient: a label for the printed page alone; it is in no file's name and not in report.json.
        topology: of the user, for `change.ply`; then `before.obj` and `after.obj` are written too.

    Returns:
        What `report.json` holds.
    """
    check_folder(out)
    report = scan_comparison_report(comparison, model, files, scanner)
    compared = [other.change.moved_mm[other.change.compared] for other in comparison.later]
    limit = round_limit(np.concatenate(compared), floor_mm=1.0)
    bar = legend(limit, title="moved inwards | outwards (grey: not compared)")
    pages = [_pictures(comparison.first, other, model, limit) for other in comparison.later]
    sheets = []
    for rows, other in zip(pages, comparison.later):
        labels = [f"{row}, {view}" for row in row_names(comparison.first, other) for view in STANDARD_VIEWS]
        sheets.append(contact_sheet([cell for row in rows for cell in row], labels, columns=len(STANDARD_VIEWS)))
    write_picture(stack([*sheets, bar]), out / "heatmap.png")
    for place, other in enumerate(comparison.later, 1):
        number = "" if len(pages) == 1 else f"_{place}"
        _write_change(comparison.first, other, model, limit, out, number, topology)
    label = None if patient is None else one_line(patient, _LABEL)
    names = [row_names(comparison.first, other) for other in comparison.later]
    page = comparison_page(report, pages, names, list(STANDARD_VIEWS), bar, label)
    write_atomically(out / "report.html", page.encode())
    write_atomically(out / "report.json", (json.dumps(report, indent=2, allow_nan=False) + "\n").encode())
    return report


def _write_change(
    first: Visit, other: ComparedVisit, model: Model, limit_mm: float, out: Path, number: str,
    topology: UserTopology | None,
) -> None:  # fmt: skip
    """The surface before, coloured by the change: on the template, or in a user's topology with both surfaces."""
    change, template = other.change, template_of(model)
    if topology is None:
        colors = heat_colors(change.moved_mm, limit_mm)
        write_mesh(
            Mesh(change.before, template.faces), out / f"change{number}.ply", colors=colors, sigma_mm=change.sigma_mm
        )
        return
    later = other.visit.head_to_frame
    neutral = [neutral_vertices(model, visit.head) for visit in (first, other.visit)]
    before = TemplateState(change.before, transform_points(first.head_to_frame, neutral[0]))
    after = TemplateState(change.after, change.alignment.moved(transform_points(later, neutral[1])))
    write_topology_change(
        topology, template, before, after, change.moved_mm, limit_mm, out, sigma_mm=change.sigma_mm, number=number
    )


def scan_comparison_report(
    comparison: Comparison, model: Model, files: Sequence[Path | None] = (), scanner: str | None = None
) -> dict[str, Any]:
    """What `report.json` holds. `noise_mm`, `aligned_on`, `change` and the other figures at the top are those of the
    last visit; `later` has them for each."""
    first, last = comparison.first, comparison.later[-1]
    among = shipped_population(model)
    later = [_figures(other, among, first.scale_assumed) for other in comparison.later]
    hashes = [None if path is None else _digest(path) for path in files]
    visits = [first, *(other.visit for other in comparison.later)]
    hashes += [None] * (len(visits) - len(hashes))
    return {
        "before": first.name,
        "after": last.visit.name,
        "visits": [_visit_figures(visit, digest) for visit, digest in zip(visits, hashes)],
        "scanner": scanner,
        **later[-1],
        "later": later,
        "sign": "positive is outwards; ± are halves of 68 % intervals",
        "version": __version__,
        "model": {"name": model.name, "hash": model.hash},
        "population": None if among is None else {"heads": among.heads, "statement": CONTEXT},
        "statement": STATEMENT,
        "warnings": list(comparison.warnings),
    }


def row_names(first: Visit, other: ComparedVisit) -> tuple[str, str, str, str]:
    """Names of the rows of pictures."""
    return first.name, other.visit.name, "change", "change beyond the noise"


def _figures(other: ComparedVisit, among: Population | None, scale_assumed: bool) -> dict[str, Any]:
    change, rows = other.change, other.measurements
    states = [{row.name: row.before for row in rows}, {row.name: row.after for row in rows}]
    z = [{} if among is None else among.z_scores(state, scale_assumed=scale_assumed) for state in states]
    shown = change.compared
    sigma = change.sigma_mm[shown]
    return {
        "name": other.visit.name,
        "noise_mm": {
            "total": round(change.noise.total_mm, 4),
            "common": round(change.noise.common_mm, 4),
            "source": change.noise.source,
            "median_error_mm": round(float(np.median(sigma)), 4) if len(sigma) else None,
            "factor_95": change.noise.factor_95,
        },
        "aligned_on": change.alignment.report(),
        "expression": asdict(other.expression),
        "movement": None if other.whole is None else _amount(other.whole),
        "change": {name: _amount(part) for name, part in other.regions.items()},
        "places": [_place(place) for place in other.places],
        "measurements": [_measured(row) | {"z_before": _z(row, z[0]), "z_after": _z(row, z[1])} for row in rows],
    }


def _visit_figures(visit: Visit, digest: str | None) -> dict[str, Any]:
    return {
        "name": visit.name,
        "sha256": digest,
        "scanned": visit.scanned,
        "same_person": visit.same_person,
        "excess_mm": None if visit.evidence is None else round(visit.evidence.excess_mm, 3),
        "scan_noise_mm": round(visit.noise_mm, 4),
        "scale_assumed": visit.scale_assumed,
        "pose": visit.scan_to_head.tolist(),
    }


def _amount(part: Amount) -> dict[str, Any]:
    return {key: value if isinstance(value, bool) else round(value, 4) for key, value in asdict(part).items()}


def _place(place: Place) -> dict[str, Any]:
    return {"region": place.region, "middle_mm": list(place.middle_mm)} | _amount(place.amount)


def _measured(row: MeasuredDifference) -> dict[str, Any]:
    error = None if row.error is None else round(row.error, 3)
    return {
        "name": row.name, "unit": row.unit, "before": round(row.before, 3), "after": round(row.after, 3),
        "change": round(row.change, 3), "error": error, "shown": row.shown, "beyond_noise": row.beyond_noise,
    }  # fmt: skip


def _z(row: MeasuredDifference, scores: dict[str, float]) -> float | None:
    """z among the model's heads; None where a scan does not show the measurement, or it is not known."""
    return round(scores[row.name], 2) if row.shown and row.name in scores else None


def _digest(path: Path) -> str:
    found = hashlib.sha256()
    with path.open("rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            found.update(block)
    return found.hexdigest()


def _pictures(first: Visit, other: ComparedVisit, model: Model, limit_mm: float) -> list[list[ByteImage]]:
    """Rows before, after, change, and change beyond the noise; one picture for each standard view."""
    change = other.change
    faces = template_of(model).faces
    before, after = Mesh(change.before, faces), Mesh(change.after, faces)
    beyond: FloatArray = np.where(change.beyond, change.moved_mm, np.nan)
    rows = [(before, None), (after, None), (before, change.moved_mm), (before, beyond)]
    return [
        [
            with_scale_bar(
                shade(mesh, look, _SIZE, colors=None if values is None else heat_colors(values, limit_mm)), look
            )
            for look in STANDARD_VIEWS.values()
        ]
        for mesh, values in rows
    ]
