"""Before against after: what changed between two heads, as a report that can be read and printed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imhead.checkpoint import Model
from imhead.conventions import ASSUMED_SCALE
from imhead.errors import InputError, one_line
from imhead.io.atomic import check_folder, write_atomically
from imhead.io.picture_file import write_picture
from imhead.isosurface.creases import head_mesh
from imhead.isosurface.field import HeadField, expression_weights, field_change
from imhead.measure.carrier import landmark_points
from imhead.measure.table import MeasuredChange, measurement, values
from imhead.measure.volumes import volume_changes, volumes
from imhead.regions import Region
from imhead.rendering.figures import contact_sheet, heat_colors, legend, round_limit, stack
from imhead.rendering.raycast import Camera
from imhead.rendering.shading import HEAD_CENTER_MM, HEAD_HALF_MM, camera, shade
from imhead.reports.comparison_page import comparison_page
from imhead.reports.movement import MovementField, in_any_ball, movement_of, signed_movement
from imhead.surfaces.properties import is_closed, vertex_areas, volume_ml
from imhead.template.surface import has_template, template_of
from imhead.types import Ball, FloatArray, Head, Mesh

STATEMENT = (
    "This is a geometric comparison of two surfaces. It is not a surgical prediction: it knows nothing of tissue, "
    "healing or function, and must not be used to plan or promise a result."
)
_STILL_MM = 1e-6
_TURNS = (-90.0, -67.5, -45.0, -22.5, 0.0, 22.5, 45.0, 67.5, 90.0)  # azimuths of the synchronised views, degrees
_SIZE, _TURN_SIZE = 420, 300  # pixels of a picture
_BEHIND_MM, _ASIDE_MM = -45.0, -10.0  # where most of the movement lies behind the ears, or on the right
_LABEL = 100  # characters of what a head is called


def compare_heads(
    model: Model,
    before: Head,
    after: Head,
    out: Path,
    *,
    regions: tuple[Region, ...] = (),
    labels: tuple[str, str] = ("before", "after"),
    resolution: int = 256,
) -> dict[str, Any]:
    """Write `report.json`, `heatmap.png` and `report.html` of what changed between two heads of one model.

    Args:
        out: folder, made where missing; files of the same names are replaced.
        regions: the regions that were edited; none compares the whole surface only.
        labels: what to call the two.
        resolution: cells along the longest side of the bounds.

    Returns:
        As `compare_meshes`. A model without a template gives no measurements and no volumes of regions.
    """
    first, second = HeadField(model, before), HeadField(model, after)
    measurements: list[MeasuredChange] = []
    by_region = None
    if has_template(model):
        measurements, by_region = _neutral_changes(model, before, after)
    return compare_meshes(
        head_mesh(first, resolution),
        head_mesh(second, resolution),
        region_balls=[field.posed_ball(region.index) for field in (first, second) for region in regions],
        movement_field=partial(field_change, first, second),
        out=out,
        labels=labels,
        region_names=[region.name for region in regions],
        measurements=measurements,
        volume_by_region_ml=by_region,
        scale_assumed=(before.scale_assumed, after.scale_assumed),
    )


def _neutral_changes(model: Model, before: Head, after: Head) -> tuple[list[MeasuredChange], dict[str, float]]:
    """On the neutral faces: every measurement of both heads, and ml that each region gained."""
    template, points = template_of(model), landmark_points(model)
    first, second = (values(points.on_head(model, head)) | volumes(model, head) for head in (before, after))
    rows = [MeasuredChange(name, measurement(name).unit, first[name], second[name]) for name in first]
    neutral = expression_weights({})
    surfaces = [template.mesh(model, head, neutral).vertices for head in (before, after)]
    return rows, volume_changes(template, model, *surfaces)


def compare_meshes(
    before: Mesh,
    after: Mesh,
    *,
    region_balls: Sequence[Ball] = (),
    movement_field: MovementField | None = None,
    out: Path,
    labels: tuple[str, str] = ("before", "after"),
    region_names: Sequence[str] = (),
    measurements: Sequence[MeasuredChange] = (),
    volume_by_region_ml: Mapping[str, float] | None = None,
    scale_assumed: tuple[bool, bool] = (False, False),
) -> dict[str, Any]:
    """Write `report.json`, `heatmap.png` and `report.html` of what changed between two heads.

    Args:
        before: head frame, mm.
        after: the same head after an edit, same frame.
        region_balls: balls that bound the edited regions, of both heads; none if no region was named.
        movement_field: as in `signed_movement`.
        out: folder, made where missing; files of the same names are replaced.
        labels: what to call the two.
        region_names: names of the edited regions, for the text.
        measurements: measurements of both heads, for the table.
        volume_by_region_ml: region → ml that it gained; None where that is not known.
        scale_assumed: whether the heads come from scans of unknown unit.

    Returns:
        What `report.json` holds: `movement_mm` with `inside`, `outside` and `all` (each a `Movement`, null where it has
        no surface), `movement_inside_fraction`, `volume_ml` (nulls where a mesh is not watertight),
        `volume_by_region_ml` (null where it is not known), `measurements`, `scale_assumed` (true if that of either head
        is), `warnings`.

    Raises:
        InputError: a mesh without faces, a bad ball, or `out` is a file.
    """
    for mesh, label in ((before, labels[0]), (after, labels[1])):
        if not len(mesh.faces):
            raise InputError(f"{label}: the mesh has no faces to compare; give a surface")
    check_folder(out)
    labels = (one_line(labels[0], _LABEL), one_line(labels[1], _LABEL))
    moved = signed_movement(before, after, movement_field)
    area = vertex_areas(after)
    inside = in_any_ball(after.vertices, region_balls)
    result = _figures(before, after, moved, area, inside, labels=labels, region_names=region_names)
    result["scale_assumed"] = any(scale_assumed)
    result["warnings"][:0] = _doubt_of_scale(labels, scale_assumed)
    result["has_region"] = bool(region_balls)
    result["measurements"] = [asdict(row) | {"change": row.after - row.before} for row in measurements]
    result["volume_by_region_ml"] = None if volume_by_region_ml is None else dict(volume_by_region_ml)
    if region_balls and not inside.any():
        result["warnings"].append("no part of the surface lies in the region; check that both heads are in mm")
    # most of a head stands still under a local edit: the scale is for what moved
    limit_mm = round_limit(moved[(area > 0) & (np.abs(moved) >= 0.05 * np.abs(moved).max())])
    result["heat_limit_mm"] = limit_mm
    rows = _comparison_rows(before, after, moved, area, limit_mm, region_balls)
    turning = _turning(before, after, moved, area, limit_mm, region_balls)
    _write(result, labels, rows, turning, out)
    return result


def _write(
    result: dict[str, Any], labels: tuple[str, str], rows: list[list[NDArray[np.uint8]]], turning: list[Image.Image],
    out: Path,
) -> None:  # fmt: skip
    """Write the three files of a report."""
    bar = legend(result["heat_limit_mm"], title="moved inwards | outwards")
    names = [name for name in (*labels, "movement") for _ in rows[0]]
    sheet = contact_sheet([cell for row in rows for cell in row], names, columns=len(rows[0]))
    write_picture(stack([sheet, bar]), out / "heatmap.png")
    write_atomically(out / "report.html", comparison_page(result, rows, bar, turning).encode())
    write_atomically(out / "report.json", (json.dumps(result, indent=2, allow_nan=False) + "\n").encode())


def _doubt_of_scale(labels: tuple[str, str], assumed: tuple[bool, bool]) -> list[str]:
    """The warning of a report about heads of assumed scale, if there are some."""
    if not any(assumed):
        return []
    if all(assumed):
        return [f"{labels[0]} and {labels[1]}: {ASSUMED_SCALE}"]
    return [f"{labels[assumed.index(True)]}: {ASSUMED_SCALE}; the two may differ by this alone"]


def _figures(
    before: Mesh,
    after: Mesh,
    moved: FloatArray,
    area: FloatArray,
    inside: NDArray[np.bool_],
    *,
    labels: tuple[str, str],
    region_names: Sequence[str],
) -> dict[str, Any]:
    warnings: list[str] = []
    volume: dict[str, float | None] = {"before": None, "after": None, "change": None}
    not_closed = [label for mesh, label in ((before, labels[0]), (after, labels[1])) if not is_closed(mesh)]
    for label in not_closed:
        warnings.append(f"{label} is not watertight, so no volume is given; close its holes to get one")
    if not not_closed:
        first, second = volume_ml(before), volume_ml(after)
        volume = {"before": first, "after": second, "change": second - first}
    effort = np.abs(moved) * area
    return {
        "before": labels[0],
        "after": labels[1],
        "regions": list(region_names),
        "movement_mm": {
            "inside": movement_of(moved, area, inside),
            "outside": movement_of(moved, area, ~inside),
            "all": movement_of(moved, area, np.ones(len(moved), dtype=bool)),
        },
        "movement_inside_fraction": float(effort[inside].sum() / effort.sum()) if effort.max() > _STILL_MM else None,
        "volume_ml": volume,
        "sign": "positive is outwards; figures are weighted by area",
        "statement": STATEMENT,
        "warnings": warnings,
    }


def _comparison_window(balls: Sequence[Ball]) -> tuple[tuple[float, float, float], float]:
    """Middle and half side of a window: close in where a region is given, else all of the head."""
    if not balls:
        return HEAD_CENTER_MM, HEAD_HALF_MM
    centers, radii = np.array([ball.center_mm for ball in balls]), np.array([ball.radius_mm for ball in balls])
    low, high = (centers - radii[:, None]).min(axis=0), (centers + radii[:, None]).max(axis=0)
    half_mm = float(np.clip(0.8 * (high - low).max(), 72.0, HEAD_HALF_MM))
    x, y, z = (float(k) for k in (low + high) / 2)
    return (HEAD_CENTER_MM if half_mm == HEAD_HALF_MM else (x, y, z)), half_mm


def _comparison_cameras(after: Mesh, effort: FloatArray, balls: Sequence[Ball]) -> list[Camera]:
    """Front, three-quarter and profile, from the side that moved, close in where a region is given."""
    center_mm, half_mm = _comparison_window(balls)
    middle = effort @ after.vertices / effort.sum() if effort.sum() > 0 else np.zeros(3)
    side = "_right" if middle[0] < _ASIDE_MM else ""
    first = "back" if middle[2] < _BEHIND_MM else "front"
    return [
        camera(view, center_mm=center_mm, half_mm=half_mm) for view in (first, f"three_quarter{side}", f"profile{side}")
    ]


def _comparison_rows(
    before: Mesh, after: Mesh, moved: FloatArray, area: FloatArray, limit_mm: float, balls: Sequence[Ball]
) -> list[list[NDArray[np.uint8]]]:
    """Rows before, after, movement; one picture for each camera."""
    looks = _comparison_cameras(after, np.abs(moved) * area, balls)
    heat = heat_colors(moved, limit_mm)
    return [
        [shade(before, look, _SIZE) for look in looks],
        [shade(after, look, _SIZE) for look in looks],
        [shade(after, look, _SIZE, colors=heat) for look in looks],
    ]


def _turning(
    before: Mesh, after: Mesh, moved: FloatArray, area: FloatArray, limit_mm: float, balls: Sequence[Ball]
) -> list[Image.Image]:
    """Strips of pictures before, after and of the movement, all from the same directions from right to left."""
    center_mm, half_mm = _comparison_window(balls)
    effort = np.abs(moved) * area
    behind = effort.sum() > 0 and effort @ after.vertices[:, 2] / effort.sum() < _BEHIND_MM
    heat = heat_colors(moved, limit_mm)
    strips: list[list[NDArray[np.uint8]]] = [[], [], []]
    for turn in _TURNS:
        angle = np.radians(turn + (180.0 if behind else 0.0))
        x, z = float(np.cos(angle)), float(np.sin(angle))
        look = Camera((x, 0.0, -z), (0.0, 1.0, 0.0), (z, 0.0, x), center_mm, half_mm)
        # what is seen of a mesh is kept until its next view
        for strip, mesh, colors in zip(strips, (before, after, after), (None, None, heat), strict=True):
            strip.append(shade(mesh, look, _TURN_SIZE, colors=colors))
    return [Image.fromarray(np.concatenate(strip, axis=1)) for strip in strips]
