"""Reports a person can read: what an edit moved, before against after, and how well a fit explains its scan."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from imhead.errors import InputError
from imhead.geometry.metrics import is_closed, signed_distance, vertex_areas, volume_ml
from imhead.render import (
    BACKGROUND,
    FIT_WARM,
    HEAD_CENTER_MM,
    HEAD_HALF_MM,
    INK,
    SCAN_BLUE,
    Camera,
    as_surface,
    camera,
    contact_sheet,
    depth_map,
    flat_color,
    heat_colors,
    legend,
    round_limit,
    shade,
    stack,
    text_font,
)
from imhead.report_page import comparison_page
from imhead.types import FloatArray, IntArray, Mesh

Ball = tuple[Sequence[float], float]
"""Centre (x, y, z) in mm and radius in mm."""

STATEMENT = (
    "This is a geometric comparison of two surfaces. It is not a surgical prediction: it knows nothing of tissue, "
    "healing or function, and must not be used to plan or promise a result."
)
_STILL_MM = 1e-6
_TURNS = (-90.0, -67.5, -45.0, -22.5, 0.0, 22.5, 45.0, 67.5, 90.0)  # azimuths of the synchronised views, degrees
_TURN_SIZE = 300
# a scan this far behind the fit is its far side, seen through a hole
_BEHIND_MM = 15.0


Change = Callable[[FloatArray], FloatArray]
"""Points (N, 3) in mm → how far the surface moved there (N,), mm, outwards positive."""
_DOUBT = 0.25  # where the fields tell of less than this share of the movement, they are right


@dataclass(frozen=True)
class MeasuredChange:
    """One anthropometric measurement of two heads."""

    name: str
    """What it is called."""
    unit: str
    """`mm`, `degrees` or `ml`."""
    before: float
    """Its value on the first head."""
    after: float
    """Its value on the second."""


@dataclass(frozen=True)
class Movement:
    """How far a part of the surface moved, weighted by area; positive is outwards."""

    median: float
    """Median signed movement, mm."""
    mean: float
    """Mean signed movement, mm."""
    mean_abs: float
    """Mean size of the movement, mm."""
    p95: float
    """95th percentile of the size of the movement, mm."""
    max: float
    """Largest size of the movement, mm."""
    outwards: float
    """Largest movement outwards, mm; 0 where nothing moved outwards."""
    inwards: float
    """Largest movement inwards, as a positive number of mm."""
    area_cm2: float
    """Area that these figures are over, square centimetres."""


def signed_movement(before: Mesh, after: Mesh, change: Change | None = None) -> FloatArray:
    """(V,) signed distance in mm from each vertex of `after` to the surface of `before`; positive is outwards.

    Args:
        change: what the heads' own fields say of the movement at some points. A mesh shows the mouth behind the lips
            only where its cells are fine or coarse enough to let it out; where such a part came to light, and the
            fields say that nothing moved so far, they are right.
    """
    moved = signed_distance(after.vertices, before)
    rows = np.flatnonzero(moved)
    if change is not None and len(rows):
        told = change(after.vertices[rows])
        moved[rows] = np.where(np.abs(told) < _DOUBT * np.abs(moved[rows]), told, moved[rows])
    return moved


def in_balls(points: FloatArray, balls: Sequence[Ball]) -> NDArray[np.bool_]:
    """(N,) whether each point (N, 3) lies in any of the balls."""
    inside = np.zeros(len(points), dtype=bool)
    for center_mm, radius_mm in balls:
        if np.shape(center_mm) != (3,) or not np.isfinite(center_mm).all() or not radius_mm > 0:
            raise InputError(f"region {center_mm}, {radius_mm} mm is no ball; give 3 numbers and a radius above 0")
        inside |= ((points - np.asarray(center_mm, dtype=np.float64)) ** 2).sum(axis=1) <= radius_mm**2
    return inside


def compare_meshes(
    before: Mesh,
    after: Mesh,
    *,
    region_ball: Sequence[Ball] | None = None,
    change: Change | None = None,
    out: Path,
    labels: tuple[str, str] = ("before", "after"),
    region_names: Sequence[str] = (),
    measurements: Sequence[MeasuredChange] = (),
    volume_by_region_ml: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """Write `report.json`, `heatmap.png` and `report.html` of what changed between two heads.

    Args:
        before: head frame, mm.
        after: the same head after an edit, same frame.
        region_ball: balls that bound the edited regions; give those of both heads where keypoints moved. None: no
            inside and outside.
        change: as in `signed_movement`.
        out: folder, made where missing; files of the same names are replaced.
        labels: what to call the two.
        region_names: names of the edited regions, for the text.
        measurements: measurements of both heads, for the table.
        volume_by_region_ml: region → ml that it gained; None where that is not known.

    Returns:
        What `report.json` holds: `movement_mm` with `inside`, `outside` and `all` (each a `Movement`, null where it has
        no surface), `movement_inside_fraction`, `volume_ml` (nulls where a mesh is not watertight),
        `volume_by_region_ml` (null where it is not known), `measurements`, `warnings`.

    Raises:
        InputError: a mesh without faces, a bad ball, or `out` is a file.
    """
    for mesh, label in ((before, labels[0]), (after, labels[1])):
        if not len(mesh.faces):
            raise InputError(f"{label}: the mesh has no faces to compare; give a surface")
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: is a file, not a folder; choose another --out")
    moved = signed_movement(before, after, change)
    area = vertex_areas(after)
    # no ball given means no region was named, so nothing is inside one
    inside = in_balls(after.vertices, region_ball) if region_ball else np.zeros(len(moved), dtype=bool)
    result = _figures(before, after, moved, area, inside, labels=labels, region_names=region_names)
    result["has_region"] = bool(region_ball)
    result["measurements"] = [asdict(row) | {"change": row.after - row.before} for row in measurements]
    result["volume_by_region_ml"] = None if volume_by_region_ml is None else dict(volume_by_region_ml)
    if region_ball and not inside.any():
        result["warnings"].append("no part of the surface lies in the region; check that both heads are in mm")
    # most of a head stands still under a local edit: the scale is for what moved
    limit_mm = round_limit(moved[(area > 0) & (np.abs(moved) >= 0.05 * np.abs(moved).max())])
    result["heat_limit_mm"] = limit_mm
    rows = _comparison_rows(before, after, moved, area, limit_mm, region_ball)
    bar = legend(limit_mm, title="moved inwards | outwards")
    out.mkdir(parents=True, exist_ok=True)
    names = [name for name in (*labels, "movement") for _ in rows[0]]
    sheet = contact_sheet([cell for row in rows for cell in row], names, columns=len(rows[0]))
    stack([sheet, bar]).save(out / "heatmap.png")
    turning = _turning(before, after, moved, area, limit_mm, region_ball)
    (out / "report.html").write_text(comparison_page(result, rows, bar, turning), encoding="utf-8")
    (out / "report.json").write_text(json.dumps(result, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    return result


def fit_picture(
    points_mm: FloatArray,
    fit: Mesh,
    distance_mm: FloatArray,
    *,
    faces: IntArray | None = None,
    explained: NDArray[np.bool_] | None = None,
    name: str = "scan",
    figures: Mapping[str, str] | None = None,
    limit_mm: float | None = None,
    views: Sequence[str] = ("front", "three_quarter", "profile"),
    size: int = 360,
) -> Image.Image:
    """The `report.png` of a fit: scan, fit, and the scan over the fit coloured by distance; one row for each view.

    Args:
        points_mm: (N, 3) scan points brought into the head frame.
        fit: fitted surface, head frame, mm.
        distance_mm: (N,) distance of each scan point to the fit; its size is drawn.
        faces: (F, 3) of a scanned mesh; None draws the points as surfels.
        explained: (N,) bool, the points that the fit claims to explain; the others (hair, clothes) are drawn grey and
            left out of the caption. None for all.
        name: what to call the scan.
        figures: more words for the caption, name → text (Latin letters: the built-in font has few others).
        limit_mm: end of the heat scale; None chooses a round one, at least 1 mm.
        views: names of views.
        size: pixels of one picture.

    Raises:
        InputError: arrays of other lengths, or no explained point.
    """
    points = np.asarray(points_mm, dtype=np.float64)
    distance = np.abs(np.asarray(distance_mm, dtype=np.float64))
    trusted = np.ones(len(points), dtype=bool) if explained is None else np.asarray(explained, dtype=bool)
    if distance.shape != (len(points),) or trusted.shape != (len(points),):
        raise InputError(f"{name}: {len(points)} points, but distances {distance.shape} and explained {trusted.shape}")
    if not trusted.any():
        raise InputError(f"{name}: the fit explains no point of the scan; there is nothing to draw")
    limit = round_limit(distance[trusted], share=0.95, floor_mm=1.0) if limit_mm is None else limit_mm
    heat = heat_colors(np.where(trusted, distance, np.nan), limit, signed=False)
    surface, normals, source = as_surface(points if faces is None else Mesh(points, faces))
    solid = faces is not None and len(faces) > 0
    _, smooth, _ = as_surface(fit)
    center_mm, half_mm = _window(points[trusted])
    looks = [camera(view, center_mm=center_mm, half_mm=half_mm) for view in views]
    plain = flat_color(SCAN_BLUE, surface)

    def drawn(mesh: Mesh, colors: NDArray[np.uint8], normal: FloatArray, occlusion: bool) -> list[NDArray[np.uint8]]:
        return [shade(mesh, look, size, colors=colors, normals=normal, occlusion=occlusion) for look in looks]

    # each surface has its own scene, so the two can be drawn at once
    with ThreadPoolExecutor(1) as pool:
        later = pool.submit(drawn, fit, flat_color(FIT_WARM, fit), smooth, True)
        scans, hots = (drawn(surface, colors, normals, solid) for colors in (plain, heat[source]))
        fits = later.result()
    cells: list[NDArray[np.uint8]] = []
    for look, scan, fitted, hot in zip(looks, scans, fits, hots):
        near = depth_map(surface, look, 2 * size) > depth_map(fit, look, 2 * size) - _BEHIND_MM
        cells += [scan, fitted, _over(hot, fitted, near)]
    sheet = contact_sheet(cells, [name, "fit", "distance to the fit"] * len(views), columns=3)
    used = distance[trusted]
    words = {
        "median": f"{np.median(used):.2f} mm",
        "mean": f"{used.mean():.2f} mm",
        "p90": f"{np.quantile(used, 0.9):.2f} mm",
        "explained": f"{100.0 * trusted.mean():.0f} % of {len(points):,} points",
        **(figures or {}),
    }
    bar = legend(limit, width=min(420, sheet.width), signed=False, title="distance to the fit")
    return stack([sheet, bar, _caption([f"{k} {v}" for k, v in words.items()], sheet.width)])


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
            "inside": _movement(moved, area, inside),
            "outside": _movement(moved, area, ~inside),
            "all": _movement(moved, area, np.ones(len(moved), dtype=bool)),
        },
        "movement_inside_fraction": float(effort[inside].sum() / effort.sum()) if effort.max() > _STILL_MM else None,
        "volume_ml": volume,
        "sign": "positive is outwards; figures are weighted by area",
        "statement": STATEMENT,
        "warnings": warnings,
    }


def _movement(moved: FloatArray, area: FloatArray, chosen: NDArray[np.bool_]) -> dict[str, float] | None:
    value, weight = moved[chosen & (area > 0)], area[chosen & (area > 0)]
    if not len(value):
        return None
    size = np.abs(value)
    return asdict(
        Movement(
            median=_quantile(value, weight, 0.5),
            mean=float(np.average(value, weights=weight)),
            mean_abs=float(np.average(size, weights=weight)),
            p95=_quantile(size, weight, 0.95),
            max=float(size.max()),
            outwards=float(max(value.max(), 0.0)),
            inwards=float(max(-value.min(), 0.0) + 0.0),
            area_cm2=float(weight.sum() / 100.0),
        )
    )


def _quantile(value: FloatArray, weight: FloatArray, share: float) -> float:
    order = np.argsort(value, kind="stable")
    total = np.cumsum(weight[order])
    return float(value[order][min(np.searchsorted(total, share * total[-1]), len(value) - 1)])


def _window(points: FloatArray) -> tuple[tuple[float, float, float], float]:
    """A square window around most of some points, no closer than a face."""
    low, high = np.quantile(points, [0.01, 0.99], axis=0)
    x, y, z = (float(k) for k in (low + high) / 2)
    return (x, y, z), float(np.clip(0.58 * (high - low).max(), 95.0, 230.0))


def _comparison_window(balls: Sequence[Ball] | None) -> tuple[tuple[float, float, float], float]:
    """Middle and half side of a window: close in where a region is given, else all of the head."""
    if not balls:
        return HEAD_CENTER_MM, HEAD_HALF_MM
    centers, radii = np.array([c for c, _ in balls], dtype=np.float64), np.array([r for _, r in balls])
    low, high = (centers - radii[:, None]).min(axis=0), (centers + radii[:, None]).max(axis=0)
    half_mm = float(np.clip(0.8 * (high - low).max(), 72.0, HEAD_HALF_MM))
    x, y, z = (float(k) for k in (low + high) / 2)
    return (HEAD_CENTER_MM if half_mm == HEAD_HALF_MM else (x, y, z)), half_mm


def _comparison_cameras(after: Mesh, effort: FloatArray, balls: Sequence[Ball] | None) -> list[Camera]:
    """Front, three-quarter and profile, from the side that moved, close in where a region is given."""
    center_mm, half_mm = _comparison_window(balls)
    middle = effort @ after.vertices / effort.sum() if effort.sum() > 0 else np.zeros(3)
    side = "_right" if middle[0] < -10.0 else ""
    first = "back" if middle[2] < -45.0 else "front"
    return [
        camera(view, center_mm=center_mm, half_mm=half_mm) for view in (first, f"three_quarter{side}", f"profile{side}")
    ]


def _comparison_rows(
    before: Mesh, after: Mesh, moved: FloatArray, area: FloatArray, limit_mm: float, balls: Sequence[Ball] | None
) -> list[list[NDArray[np.uint8]]]:
    """Rows before, after, movement; one picture for each camera."""
    looks = _comparison_cameras(after, np.abs(moved) * area, balls)
    heat = heat_colors(moved, limit_mm)
    return [
        [shade(before, look, 420) for look in looks],
        [shade(after, look, 420) for look in looks],
        [shade(after, look, 420, colors=heat) for look in looks],
    ]


def _turning(
    before: Mesh, after: Mesh, moved: FloatArray, area: FloatArray, limit_mm: float, balls: Sequence[Ball] | None
) -> list[Image.Image]:
    """Strips of pictures before, after and of the movement, all from the same directions from right to left."""
    center_mm, half_mm = _comparison_window(balls)
    effort = np.abs(moved) * area
    behind = effort.sum() > 0 and effort @ after.vertices[:, 2] / effort.sum() < -45.0
    heat = heat_colors(moved, limit_mm)
    strips = []
    for mesh, colors in ((before, None), (after, None), (after, heat)):
        pictures = []
        for turn in _TURNS:
            angle = np.radians(turn + (180.0 if behind else 0.0))
            x, z = float(np.cos(angle)), float(np.sin(angle))
            look = Camera((x, 0.0, -z), (0.0, 1.0, 0.0), (z, 0.0, x), center_mm, half_mm)
            pictures.append(shade(mesh, look, _TURN_SIZE, colors=colors))
        strips.append(Image.fromarray(np.concatenate(pictures, axis=1)))
    return strips


def _over(scan: NDArray[np.uint8], fit: NDArray[np.uint8], shown: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """The scan's picture over a grey one of the fit where `shown` (2H, 2W) says so, blended at its edges."""
    high, wide = fit.shape[:2]
    share = shown.reshape(high, 2, wide, 2).mean(axis=(1, 3))[..., None]
    grey = fit.astype(np.float64).mean(axis=2, keepdims=True)
    mixed: NDArray[np.uint8] = np.round(share * scan + (1.0 - share) * grey).astype(np.uint8)
    return mixed


def _caption(words: Sequence[str], width: int) -> Image.Image:
    """Words set in lines that fit the width."""
    font = text_font(17)
    lines = [""]
    for word in words:
        longer = f"{lines[-1]}   {word}" if lines[-1] else word
        if lines[-1] and font.getlength(longer) > width - 24:
            lines.append(word)
        else:
            lines[-1] = longer
    picture = Image.new("RGB", (width, 26 * len(lines) + 12), BACKGROUND)
    draw = ImageDraw.Draw(picture)
    for k, line in enumerate(lines):
        draw.text((width // 2, 4 + 26 * k), line, fill=INK, font=font, anchor="ma")
    return picture
