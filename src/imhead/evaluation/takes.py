"""A recorded take, played on held-out heads, scanned frame by frame and tracked: what comes back of it."""

from __future__ import annotations

import math
import tempfile
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import igl
import numpy as np
from scipy.spatial.transform import Rotation

from imhead.checkpoint import Model
from imhead.conventions import ARKIT_NAMES, FACE_RADIUS_MM
from imhead.datasets.heads import SourceHead
from imhead.errors import InputError
from imhead.evaluation.cases import HeldOutSource
from imhead.evaluation.runner import CaseRunner, Row, rounded
from imhead.evaluation.virtual_scanner import FRONTAL_PHONE, virtual_scan
from imhead.fitting.config import FitConfig
from imhead.fitting.start import pose_template
from imhead.io.live_link import Take
from imhead.io.mesh_file import write_mesh
from imhead.isosurface.field import HeadField, code_of_weights
from imhead.isosurface.meshing import extract_mesh
from imhead.surfaces.transforms import matrix_of, transform_points
from imhead.template.surface import has_template, template_of
from imhead.template.topology import load_topology
from imhead.tracking.config import TrackConfig
from imhead.tracking.track import Track, track_folder
from imhead.types import FloatArray, IntArray, Mesh

# one camera in front of the head, as a phone on a stand; what it sees is a mesh
_CAMERA = replace(
    FRONTAL_PHONE,
    cameras=1,
    arc_deg=0.0,
    elevation_deg=0.0,
    target_points=12_000,
    holes=0,
    random_pose=False,
    unit="mm",
)
_STRIDE = 4  # of a take of 60 frames a second
_GAZE = np.array([name.startswith("eyeLook") for name in ARKIT_NAMES])
_UNSEEN = _GAZE | (np.array(ARKIT_NAMES) == "tongueOut")
"""Weights that move no surface of these scans."""
_TURN_DEG, _SHIFT_MM = np.array([8.0, 18.0, 5.0]), np.array([12.0, 8.0, 15.0])
_PERIOD_FRAMES = np.array([37.0, 53.0, 71.0])
_SURFACE_FRAMES = 12  # frames whose surfaces are compared
_VISIBLE = 0.5


@dataclass(frozen=True, eq=False)
class PlayedTake:
    """A take on a held-out head that moves. T frames."""

    head: SourceHead
    """Who plays it."""
    weights: FloatArray
    """(T, 52) ARKit weights."""
    head_to_scan: FloatArray
    """(T, 4, 4) head frame → frame of the scans, mm."""
    seen: IntArray
    """Vertices of the skin that a scanner can see on a neutral face."""

    def vertices(self, frame: int) -> FloatArray:
        """(V, 3) vertices of a frame, head frame, mm."""
        return self.head.posed(self.weights[frame])


def played(source: HeldOutSource, take: Take, index: int, frames: int) -> PlayedTake:
    """The take on held-out head `index`, at a quarter of its rate, while the head turns and sways smoothly.

    Raises:
        InputError: the take is too short.
    """
    rows = np.arange(0, len(take.weights), _STRIDE)[:frames]
    if len(rows) < 3:
        raise InputError(f"the take has {len(take.weights)} frames; give one of at least {3 * _STRIDE}")
    phase = 2.0 * math.pi * (rows[:, None] / _STRIDE / _PERIOD_FRAMES + np.array([0.1, 0.3, 0.7]) * (index + 1))
    turns = Rotation.from_euler("xyz", np.sin(phase) * _TURN_DEG, degrees=True).as_matrix()
    shifts = np.cos(phase) * _SHIFT_MM
    head = source.head(index)
    skin = head.source.skin_faces
    seen = np.unique(skin[source.visible[id(head.source)][: len(skin)]])
    return PlayedTake(head, take.weights[rows], np.stack([matrix_of(*pair) for pair in zip(turns, shifts)]), seen)


def write_scans(take: PlayedTake, folder: Path, seed: int) -> None:
    """Write what the camera sees of each frame, as `frame_000.ply`, …, in mm."""
    faces = np.concatenate([take.head.source.skin_faces, take.head.source.eye_faces])
    for frame, matrix in enumerate(take.head_to_scan):
        mesh = Mesh(transform_points(matrix, take.vertices(frame)), faces)
        scan = virtual_scan(mesh, _CAMERA, np.random.default_rng([0x7AC3, seed, frame]), f"frame_{frame:03d}").scan
        assert scan.faces is not None
        write_mesh(Mesh(scan.points, scan.faces), folder / f"{scan.name}.ply")


def track_suite(
    model: Model, source: HeldOutSource, take: Take, heads: int, frames: int, config: FitConfig, runner: CaseRunner
) -> list[Row]:
    """One row over held-out heads on which a take is played; see `track_figures` for what is compared.

    Args:
        model: to track with.
        source: of the heads.
        take: what is played.
        heads: number of heads.
        frames: of the take, at a quarter of its rate.
        config: settings of the identity's fit.
        runner: runs the heads.
    """
    pose_template(model)  # made once, before the workers are forked
    cases = runner.run(partial(_case, model, source, take, frames, config), heads, rounded)
    row: Row = {"suite": "track", "model": model.name, "heads": len(cases), "frames": frames}
    numbers = [key for key, value in cases[0].items() if isinstance(value, float)]
    return [row | {key: float(np.mean([case[key] for case in cases])) for key in numbers} | {"cases": cases}]


def _case(model: Model, source: HeldOutSource, take: Take, frames: int, config: FitConfig, index: int) -> Row:
    truth = played(source, take, index, frames)
    with tempfile.TemporaryDirectory(prefix="imhead-take-") as name:
        folder, out = Path(name) / "scans", Path(name) / "track"
        folder.mkdir()
        write_scans(truth, folder, index)
        began, worked = time.perf_counter(), time.process_time()
        track = track_folder(folder, out, model, TrackConfig(fit=config), units="mm")
        seconds, work = time.perf_counter() - began, time.process_time() - worked
    return {
        "name": f"heldout_{index:03d}", "found": sum(frame.lost is None for frame in track.frames),
        **track_figures(model, truth, track),
        "frames_per_second": len(track.frames) / seconds, "processor_seconds": work,
    }  # fmt: skip


def track_figures(model: Model, truth: PlayedTake, track: Track) -> Row:
    """How far a track is from the truth.

    - `weights_rms`: of all 52 weights; `weights_seen_rms`: of those that move a surface.
    - `weights_jitter`, `weights_jitter_truth`: root mean square of their second difference in time.
    - `surface_mm`: mean distance of the truth's visible face to the tracked surface; `pose_mm`: of the face by the pose
      alone.
    - `vertex_mm`: mean distance of the template's vertices on the face to their own places on the truth;
      `motion_mm`: the same without each vertex's mean error over the take, which is the identity's.
    """
    found = track.weights()
    off = found - truth.weights
    row: Row = {
        "weights_rms": _rms(off),
        "weights_seen_rms": _rms(off[:, ~_UNSEEN]),
        "weights_jitter": _rms(np.diff(found[:, ~_UNSEEN], n=2, axis=0)),
        "weights_jitter_truth": _rms(np.diff(truth.weights[:, ~_UNSEEN], n=2, axis=0)),
    }
    to_truth = np.linalg.inv(truth.head_to_scan) @ np.linalg.inv(track.poses())
    shown = np.unique(np.round(np.linspace(0, len(found) - 1, _SURFACE_FRAMES)).astype(int))
    surface = [_surface_mm(model, truth, track, int(frame), to_truth[frame]) for frame in shown]
    row |= {"surface_mm": float(np.mean(surface)), **_pose_figures(to_truth)}
    if has_template(model):
        row |= _vertex_figures(model, truth, track, shown.tolist(), to_truth)
    return row


def _surface_mm(model: Model, truth: PlayedTake, track: Track, frame: int, to_truth: FloatArray) -> float:
    """Mean distance of the front of the truth's face to the tracked surface."""
    field = HeadField(model, track.head, code_of_weights(model, track.frames[frame].place.weights))
    mesh = extract_mesh(field.sdf, 192)
    vertices = truth.vertices(frame)
    registered = truth.head.registered(vertices)
    tip = registered[int(np.argmax(registered[:, 2]))]
    face = truth.seen[np.linalg.norm(vertices[truth.seen] - tip, axis=1) < FACE_RADIUS_MM]
    placed = transform_points(to_truth, mesh.vertices)
    squared, _, _ = igl.point_mesh_squared_distance(vertices[face].astype(np.float64), placed, mesh.faces)
    return float(np.sqrt(np.maximum(squared, 0.0)).mean())


def _pose_figures(to_truth: FloatArray) -> Row:
    """Jitter of the pose, mm at a point on the face: root mean square second difference of its error in time."""
    face = np.array([0.0, 0.0, 90.0])
    placed = np.stack([transform_points(matrix, face[None])[0] for matrix in to_truth])
    return {"pose_jitter_mm": _rms(np.diff(placed, n=2, axis=0)), "pose_spread_mm": _rms(placed - placed.mean(axis=0))}


def _vertex_figures(model: Model, truth: PlayedTake, track: Track, shown: list[int], to_truth: FloatArray) -> Row:
    template, topology = template_of(model), load_topology()
    errors = []
    face = np.zeros(0, dtype=bool)
    for frame in shown:
        weights = track.frames[frame].place.weights.astype(np.float32)
        found = transform_points(to_truth[frame], template.posed(model, track.head, weights))
        registered = truth.head.registered(truth.vertices(frame))
        own = topology.place(registered)
        if not len(face):
            tip = registered[int(np.argmax(registered[:, 2]))]
            face = (template.on_surface > _VISIBLE) & (np.linalg.norm(own - tip, axis=1) < FACE_RADIUS_MM)
        errors.append((found - own)[face])
    off = np.stack(errors)
    return {
        "vertex_mm": float(np.linalg.norm(off, axis=2).mean()),
        "motion_mm": float(np.linalg.norm(off - off.mean(axis=0), axis=2).mean()),
    }


def _rms(values: FloatArray) -> float:
    return float(np.sqrt(np.mean(np.square(values)))) if values.size else 0.0
