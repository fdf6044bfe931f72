"""What a track leaves: `take.csv`, `animated.glb`, `strip.png` and `report.json`."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.spatial.transform import Rotation

from imhead.checkpoint import Model
from imhead.conventions import ARKIT_NAMES, BOUNDS_MAX_MM, BOUNDS_MIN_MM
from imhead.errors import InputError
from imhead.fitting.figures import EXPLAINED_MM
from imhead.io.atomic import remove, write_atomically
from imhead.io.limited import read_scan_limited
from imhead.io.live_link import Take, write_take
from imhead.io.mesh_file import head_notes, write_mesh
from imhead.io.picture_file import write_picture
from imhead.isosurface.field import HeadField, code_of_weights
from imhead.isosurface.meshing import extract_mesh
from imhead.rendering.figures import FIT_WARM, SCAN_BLUE, contact_sheet, heat_colors, legend, stack
from imhead.rendering.shading import as_surface, camera, flat_color, shade
from imhead.surfaces.transforms import rotation_of, transform_points
from imhead.template.surface import has_template, template_of
from imhead.tracking.config import TrackConfig
from imhead.tracking.track import Track, TrackedFrame
from imhead.types import Animation, BoolArray, FloatArray, Mesh

_UPRIGHT_DEG = 60.0  # a head turned less than this out of the scans' axes gives its angles to them
_PICTURES = 12
_PICTURE_POINTS = 25_000
_LEAST_POINTS = 50  # fewer are no picture
_SIZE = 260  # pixels of one picture
_HALF_MM, _CENTER_MM = 150.0, (0.0, -10.0, 20.0)
_HEAT_MM = 2.0
_CELLS = 128  # of the pictured surface
_KEYFRAME = ("name", "same_person", "noise_mm", "face_median_mm", "face_explained")


def write_track(track: Track, model: Model, out: Path, config: TrackConfig) -> dict[str, Any]:
    """Write the files of a track to a folder; what `report.json` holds. It goes first and comes last.

    Without a template beside the model there is no `animated.glb`.

    Raises:
        InputError: the folder cannot be written to; one line.
    """
    remove(out / "report.json")
    axes, named = _axes(track)
    turns, shifts = motion(track, axes)
    seconds = np.arange(len(track.frames)) / config.frames_per_second
    weights = track.weights()
    angles = np.zeros((len(track.frames), 9))
    angles[:, :3] = Rotation.from_matrix(turns).as_euler("YXZ")
    write_take(Take(seconds, weights, angles), out / "take.csv", config.frames_per_second)
    if has_template(model):
        template = template_of(model)
        mesh = template.mesh(model, track.head, np.zeros(len(ARKIT_NAMES)))
        write_mesh(
            mesh, out / "animated.glb", metadata=head_notes(track.head), uv=template.uv_map,
            morphs=template.morph_targets(weights[0]), animation=Animation(seconds, weights, turns, shifts),
        )  # fmt: skip
    write_picture(strip(track, model), out / "strip.png", compress_level=4)
    report = _report(track, config, named)
    write_atomically(out / "report.json", (json.dumps(report, indent=1, allow_nan=False) + "\n").encode())
    return report


def motion(track: Track, axes: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Rotations (T, 3, 3) of the head, and shifts (T, 3) of its origin since the anchor, mm, both along `axes` (3, 3),
    whose columns are directions of the scans' frame."""
    turns = np.stack([rotation_of(frame.place.scan_to_head).T for frame in track.frames])
    origins = np.stack([-turn @ f.place.scan_to_head[:3, 3] for turn, f in zip(turns, track.frames)])
    return axes.T @ turns, (origins - origins[track.anchor]) @ axes


def _axes(track: Track) -> tuple[FloatArray, str]:
    """The axes (3, 3) that angles are given to, as columns, and their name: those of the scans, if the head is upright
    in them and looks along z, as in a camera's frame; else those of the head in the anchor frame."""
    turn = rotation_of(track.frames[track.anchor].place.scan_to_head).T
    if np.degrees(Rotation.from_matrix(turn).magnitude()) < _UPRIGHT_DEG:
        return np.eye(3), "scans"
    return turn, track.frames[track.anchor].name


def _report(track: Track, config: TrackConfig, axes: str) -> dict[str, Any]:
    lost = [frame.name for frame in track.frames if frame.lost is not None]
    found = [frame.figures for frame in track.frames if frame.lost is None]
    medians = [figures["face_median_mm"] for figures in found if figures["face_median_mm"] is not None]
    identity = track.identity
    return {
        "frames_total": len(track.frames),
        "found": len(found),
        "bridged": lost,
        "face_median_mm": float(np.median(medians)) if medians else None,
        "frames_per_second": config.frames_per_second,
        "anchor": track.frames[track.anchor].name,
        "angles_from": axes,
        "units": identity["units"],
        "mm_per_unit": identity["mm_per_unit"],
        "scale_assumed": identity["scale_assumed"],
        "keyframes": [{k: key[k] for k in _KEYFRAME} for key in identity["keyframes"]],
        "warnings": [*identity["warnings"], *_warnings(track.frames)],
        "frames": [_frame_report(frame) for frame in track.frames],
    }


def _frame_report(frame: TrackedFrame) -> dict[str, Any]:
    weights = frame.place.weights
    return {
        "name": frame.name,
        "status": "found" if frame.lost is None else "bridged",
        **({} if frame.lost is None else {"lost": frame.lost}),
        **frame.figures,
        "pose": np.round(frame.place.scan_to_head, 9).tolist(),
        "expression": {name: round(float(w), 4) for name, w in zip(ARKIT_NAMES, weights) if w > 0.005},
    }


def _warnings(frames: Sequence[TrackedFrame]) -> list[str]:
    """A sentence for each run of bridged frames."""
    said: list[str] = []
    run: list[TrackedFrame] = []
    for frame in [*frames, None]:
        if frame is not None and frame.lost is not None:
            run.append(frame)
        elif run:
            which = run[0].name if len(run) == 1 else f"{run[0].name} to {run[-1].name}"
            said.append(f"{which}: the head was lost ({run[0].lost}); pose and expression are bridged, not measured")
            run = []
    return said


def strip(track: Track, model: Model) -> Image.Image:
    """Up to twelve frames in order: the scan, the head in its expression, and the scan coloured by its distance to it,
    all from the front of the head; lost frames are among them."""
    rows: list[list[NDArray[np.uint8]]] = [[], [], []]
    labels: list[str] = []
    surface_of = _surfaces(track, model)
    look = camera("front", center_mm=_CENTER_MM, half_mm=_HALF_MM)
    shown = shown_frames(np.array([frame.lost is not None for frame in track.frames]), _PICTURES)
    blank = np.full((_SIZE, _SIZE, 3), 245, dtype=np.uint8)
    for index in shown:
        frame = track.frames[index]
        surface = surface_of(frame)
        rows[1].append(shade(surface, look, _SIZE, colors=flat_color(FIT_WARM, surface), occlusion=False))
        labels.append(frame.name if frame.lost is None else f"{frame.name} (bridged)")
        points = _shown_points(track.paths[index], frame)
        if len(points) < _LEAST_POINTS:
            rows[0].append(blank)
            rows[2].append(blank)
            continue
        mesh, normals, source = as_surface(points)
        distance = _distance(track, model, frame, points)
        plain = flat_color(SCAN_BLUE, mesh)
        heat = heat_colors(np.where(distance < 2.0 * EXPLAINED_MM, distance, np.nan), _HEAT_MM, signed=False)[source]
        for row, colors in ((0, plain), (2, heat)):
            rows[row].append(shade(mesh, look, _SIZE, colors=colors, normals=normals, occlusion=False))
    count = len(shown)
    half = -(-count // 2) if count > 6 else count
    sheets = []
    for begin in range(0, count, half):
        part = slice(begin, begin + half)
        cells = [picture for row in rows for picture in row[part]]
        names = ["" for _ in labels[part]]
        sheets.append(contact_sheet(cells, [*labels[part], *names, *names], columns=len(labels[part])))
    bar = legend(_HEAT_MM, width=min(420, sheets[0].width), signed=False, title="distance to the head")
    return stack([*sheets, bar])


def shown_frames(lost: BoolArray, count: int) -> list[int]:
    """At most `count` frames, even over the sequence; where none of them is lost though some are, one of those too."""
    total = len(lost)
    even = np.unique(np.round(np.linspace(0, total - 1, min(count, total))).astype(int))
    if lost.any() and not lost[even].any():
        missed = int(np.flatnonzero(lost)[0])
        even[np.abs(even - missed).argmin()] = missed
    return sorted(set(even.tolist()))


def _surfaces(track: Track, model: Model) -> Callable[[TrackedFrame], Mesh]:
    """The head in the expression of a frame: as `animated.glb` shows it, or without a template as the field has it."""
    if not has_template(model):
        return lambda frame: extract_mesh(_field(track, model, frame).sdf, _CELLS)
    template = template_of(model)
    neutral = template.mesh(model, track.head, np.zeros(len(ARKIT_NAMES)))
    return partial(_posed, neutral, template.shapes)


def _posed(neutral: Mesh, shapes: FloatArray, frame: TrackedFrame) -> Mesh:
    """A neutral mesh in the expression of a frame, by the movements (52, V, 3) of its vertices."""
    return Mesh(neutral.vertices + np.tensordot(frame.place.weights, shapes, axes=1), neutral.faces)


def _shown_points(path: Path, frame: TrackedFrame) -> FloatArray:
    """Points (N, 3) of a frame's scan within the bounds, head frame, thinned; none of one that cannot be read."""
    try:
        points = read_scan_limited(path).points
    except InputError:
        return np.zeros((0, 3))
    placed = transform_points(frame.place.scan_to_head, points)
    placed = placed[((placed > BOUNDS_MIN_MM) & (placed < BOUNDS_MAX_MM)).all(axis=1)]
    order = np.random.default_rng(0).permutation(len(placed))[:_PICTURE_POINTS]
    kept: FloatArray = placed[np.sort(order)]
    return kept


def _distance(track: Track, model: Model, frame: TrackedFrame, points: FloatArray) -> FloatArray:
    return np.abs(_field(track, model, frame).sdf(points).astype(np.float64))


def _field(track: Track, model: Model, frame: TrackedFrame) -> HeadField:
    return HeadField(model, track.head, code_of_weights(model, frame.place.weights))
