"""An avatar at a time: its shapes and joints as a player applies them.

Shape legend: V vertices of a part.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from scipy.spatial.transform import Rotation

from imhead.io.glb_scene_writer import Clip, Part, Scene
from imhead.types import FloatArray


@dataclass(frozen=True, eq=False)
class Pose:
    """What an avatar does at one time."""

    weights: Mapping[str, float] = field(default_factory=dict)
    """Name of a shape → weight; 0 for the others."""
    turns: Mapping[str, FloatArray] = field(default_factory=dict)
    """Name of a joint → unit quaternion (4,), x, y, z, w; others are at rest."""


def pose_at(clip: Clip, seconds: float) -> Pose:
    """The pose of a clip at a time: between two frames, values lie on a straight line."""
    after = int(np.clip(np.searchsorted(clip.times, seconds), 1, max(len(clip.times) - 1, 1)))
    if len(clip.times) == 1:
        rows, shares = [0], [1.0]
    else:
        span = clip.times[after] - clip.times[after - 1]
        share = float(np.clip((seconds - clip.times[after - 1]) / span, 0.0, 1.0))
        rows, shares = [after - 1, after], [1.0 - share, share]
    mixed = {name: float(shares @ values[rows]) for name, values in clip.weights.items()}
    turns = {name: shares @ values[rows] for name, values in clip.turns.items()}
    return Pose(mixed, {name: turn / np.linalg.norm(turn) for name, turn in turns.items()})


def posed(scene: Scene, part: Part, pose: Pose) -> FloatArray:
    """Vertices (V, 3) of a part of a scene in a pose, mm."""
    vertices = part.vertices.astype(np.float64)
    if part.shapes is not None:
        for name, offsets in zip(part.shapes.names, part.shapes.offsets):
            if pose.weights.get(name):
                vertices = vertices + pose.weights[name] * offsets
    if part.joints is None or part.weights is None or not pose.turns:
        return vertices
    turns, places = _joints(scene, pose)
    found = np.zeros_like(vertices)
    for column in range(part.joints.shape[1]):
        joint, weight = part.joints[:, column], part.weights[:, column, None]
        rest = np.stack([each.place for each in scene.joints])[joint]
        found += weight * (np.einsum("vij,vj->vi", turns[joint], vertices - rest) + places[joint])
    return found


def _joints(scene: Scene, pose: Pose) -> tuple[FloatArray, FloatArray]:
    """Turns (J, 3, 3) and places (J, 3) of the joints, each carried by its parents."""
    turns, places = np.empty((len(scene.joints), 3, 3)), np.empty((len(scene.joints), 3))
    for row, joint in enumerate(scene.joints):
        own = Rotation.from_quat(pose.turns[joint.name]).as_matrix() if joint.name in pose.turns else np.eye(3)
        if joint.parent is None:
            turns[row], places[row] = own, joint.place
        else:
            above = scene.joints[joint.parent]
            turns[row] = turns[joint.parent] @ own
            places[row] = places[joint.parent] + turns[joint.parent] @ (joint.place - above.place)
    return turns, places
