"""The folder that a fit leaves behind: head, mesh, overlay, report and picture."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from imhead.checkpoint import save_head
from imhead.errors import InputError
from imhead.fitting.result import FitResult
from imhead.io.atomic import remove, write_atomically
from imhead.io.mesh_file import head_notes, write_mesh
from imhead.io.picture_file import write_picture
from imhead.registration.maps import DISPLACEMENT_FILE, NORMAL_FILE, relief_of
from imhead.registration.register import Registration
from imhead.rendering.figures import (
    FIT_WARM,
    INK,
    SCAN_BLUE,
    contact_sheet,
    heat_colors,
    legend,
    round_limit,
    stack,
    text_font,
)
from imhead.rendering.raycast import Camera
from imhead.rendering.shading import BACKGROUND, as_surface, camera, depth_map, flat_color, shade
from imhead.reports.certainty_picture import certainty_picture
from imhead.surfaces.transforms import transform_points
from imhead.types import FloatArray, IntArray, Mesh, Scan, ScanTexture

REGISTERED_FILE = "registered.ply"
_BEHIND_MM = 15.0  # a scan this far behind the fit is its far side, seen through a hole


def write_fit(result: FitResult, scan: Scan, folder: Path, registration: Registration | None = None) -> dict[str, Any]:
    """Write `head.safetensors`, `head.ply`, `overlay.ply`, `report.json`, `report.png` and `sigma.png`; what the report
    says. With a registration also `registered.ply`, and the maps of a scanned mesh's relief.

    The report goes first and comes last: a folder that holds one is whole.
    """
    report = result.report()
    remove(folder / "report.json")
    for name in (REGISTERED_FILE, DISPLACEMENT_FILE, NORMAL_FILE):  # of an earlier fit
        remove(folder / name)
    if registration is not None:
        report["registered"] = registration.report() | _write_registration(registration, result, scan, folder)
    save_head(result.head, folder / "head.safetensors")
    sure = result.mesh_certainty
    sigma = None if sure is None else sure.sigma_mm
    with ThreadPoolExecutor(1) as pool:  # the picture is drawn while the meshes are written
        later = pool.submit(_write_certainty, result, folder)
        write_mesh(result.mesh, folder / "head.ply", metadata=head_notes(result.head), sigma_mm=sigma)
        back = np.linalg.inv(result.scan_to_head)
        # on a mirrored scan the head is mirrored, and its faces look outwards in the reverse order
        faces = result.mesh.faces if np.linalg.det(back) > 0 else result.mesh.faces[:, ::-1]
        overlay = Mesh(transform_points(back, result.mesh.vertices), faces)
        write_mesh(overlay, folder / "overlay.ply", unit=result.scan_unit)
        later.result()
    if result.explained.any():
        picture = fit_picture(
            result.points_mm, result.mesh, result.distance_mm, faces=scan.faces, explained=result.explained,
            name=scan.name, colors=scan.colors, texture=scan.texture,
        )  # fmt: skip
        write_picture(picture, folder / "report.png", compress_level=4)  # a third faster than 6, 2 % larger
    write_atomically(folder / "report.json", (json.dumps(report, indent=2, allow_nan=False) + "\n").encode())
    return report


def _write_certainty(result: FitResult, folder: Path) -> None:
    """Write `sigma.png`, of a fit whose certainty is known."""
    sure = result.mesh_certainty
    if sure is not None:
        picture = certainty_picture(result.mesh, sure.sigma_mm, sure.measured)
        write_picture(picture, folder / "sigma.png", compress_level=4)


def _write_registration(registration: Registration, result: FitResult, scan: Scan, folder: Path) -> dict[str, Any]:
    """Write `registered.ply`, in the scan's frame and units, and maps of the relief; what the report says of them."""
    back = np.linalg.inv(result.scan_to_head)
    mesh = registration.mesh
    faces = mesh.faces if np.linalg.det(back) > 0 else mesh.faces[:, ::-1]
    write_mesh(Mesh(transform_points(back, mesh.vertices), faces), folder / REGISTERED_FILE, unit=result.scan_unit)
    relief = relief_of(registration, scan, result.scan_to_head)
    if relief is None:
        return {"relief": None}
    write_atomically(folder / DISPLACEMENT_FILE, relief.displacement_png())
    write_atomically(folder / NORMAL_FILE, relief.normal_png())
    return {"relief": relief.report()}


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
    colors: NDArray[np.uint8] | None = None,
    texture: ScanTexture | None = None,
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
        colors: (N, 3) sRGB of the scan's points; None draws it blue.
        texture: pictures on the scan's faces.

    Raises:
        InputError: arrays of other lengths, or no explained point.
    """
    points = np.asarray(points_mm, dtype=np.float64)
    distance = np.abs(np.asarray(distance_mm, dtype=np.float64))
    trusted = np.ones(len(points), dtype=bool) if explained is None else np.asarray(explained, dtype=bool)
    _check(name, points, distance, trusted)
    limit = round_limit(distance[trusted], share=0.95, floor_mm=1.0) if limit_mm is None else limit_mm
    heat = heat_colors(np.where(trusted, distance, np.nan), limit, signed=False)
    surface, normals, source = as_surface(points if faces is None else Mesh(points, faces))
    solid = faces is not None and len(faces) > 0
    center_mm, half_mm = _window(points[trusted])
    looks = [camera(view, center_mm=center_mm, half_mm=half_mm) for view in views]
    plain = flat_color(SCAN_BLUE, surface) if colors is None else colors[source]
    # each surface has its own scene, so the two can be drawn at once
    with ThreadPoolExecutor(1) as pool:
        later = pool.submit(_drawn, fit, looks, size, flat_color(FIT_WARM, fit), None, True)
        scans = _drawn(surface, looks, size, plain, normals, solid, texture if solid else None)
        hots = _drawn(surface, looks, size, heat[source], normals, solid)
        fits = later.result()
    cells: list[NDArray[np.uint8]] = []
    for look, scan, fitted, hot in zip(looks, scans, fits, hots):
        near = depth_map(surface, look, 2 * size) > depth_map(fit, look, 2 * size) - _BEHIND_MM
        cells += [scan, fitted, _over(hot, fitted, near)]
    sheet = contact_sheet(cells, [name, "fit", "distance to the fit"] * len(views), columns=3)
    words = [f"{key} {value}" for key, value in (_words(distance, trusted) | dict(figures or {})).items()]
    bar = legend(limit, width=min(420, sheet.width), signed=False, title="distance to the fit")
    return stack([sheet, bar, _caption(words, sheet.width)])


def _check(name: str, points: FloatArray, distance: FloatArray, trusted: NDArray[np.bool_]) -> None:
    if distance.shape != (len(points),) or trusted.shape != (len(points),):
        raise InputError(f"{name}: {len(points)} points, but distances {distance.shape} and explained {trusted.shape}")
    if not trusted.any():
        raise InputError(f"{name}: the fit explains no point of the scan; there is nothing to draw")


def _words(distance: FloatArray, trusted: NDArray[np.bool_]) -> dict[str, str]:
    """What the caption says of the trusted distances (N,)."""
    used = distance[trusted]
    return {
        "median": f"{np.median(used):.2f} mm",
        "mean": f"{used.mean():.2f} mm",
        "p90": f"{np.quantile(used, 0.9):.2f} mm",
        "explained": f"{100.0 * trusted.mean():.0f} % of {len(distance):,} points",
    }


def _drawn(
    mesh: Mesh, looks: Sequence[Camera], size: int, colors: NDArray[np.uint8], normals: FloatArray | None,
    occlusion: bool, texture: ScanTexture | None = None,
) -> list[NDArray[np.uint8]]:  # fmt: skip
    """A picture (size, size, 3) of a mesh for each camera."""
    return [
        shade(mesh, look, size, colors=colors, normals=normals, occlusion=occlusion, texture=texture) for look in looks
    ]


def _window(points: FloatArray) -> tuple[tuple[float, float, float], float]:
    """A square window around most of some points, no closer than a face."""
    low, high = np.quantile(points, [0.01, 0.99], axis=0)
    x, y, z = (float(k) for k in (low + high) / 2)
    return (x, y, z), float(np.clip(0.58 * (high - low).max(), 95.0, 230.0))


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
