"""A track beside a fused scan of the same still head: how far each frame lies from it, and its pose from its best one.

    python tools/track_reference.py TRACK FRAMES FUSED

TRACK is the folder that `imhead track FRAMES --out TRACK` wrote, FUSED a scan with normals that the track never saw, of
which every frame shows a part. The track as a whole is laid on it once, rigidly. Then each frame has its median
distance to it on the face, and is laid on it alone: how far that moves and turns the face is the frame's error of pose.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from imhead import load
from imhead.fitting.config import FitConfig
from imhead.fitting.points import scan_samples
from imhead.fitting.pose import find_pose
from imhead.fitting.start import pose_template
from imhead.io.scan_file import read_scan
from imhead.surfaces.transforms import matrix_of, transform_directions, transform_points
from imhead.types import FloatArray

FACE_MM, FACE_RADIUS_MM = np.array([0.0, -5.0, 75.0]), 95.0
ROBUST_MM, NEAR_MM = 0.7, 3.0


def laid_on(points: FloatArray, target: FloatArray, normals: FloatArray, steps: int) -> tuple[FloatArray, FloatArray]:
    """The rigid motion (4, 4) that lays points (N, 3) on a target (M, 3), and their distances (N,) to it then."""
    tree, motion = cKDTree(target), np.eye(4)
    for step in range(steps + 1):
        placed = transform_points(motion, points)
        away, nearest = tree.query(placed)
        off = ((placed - target[nearest]) * normals[nearest]).sum(axis=1)
        if step == steps:
            break
        near = away < (3.0 * NEAR_MM if step < 5 else NEAR_MM)
        weight = 1.0 / (1.0 + (off[near] / ROBUST_MM) ** 2)
        arm, normal = placed[near] - FACE_MM, normals[nearest[near]]
        jacobian = np.hstack([np.cross(arm, normal), normal])
        weighted = jacobian * weight[:, None]
        twist = np.linalg.solve(weighted.T @ jacobian + 1e-6 * np.eye(6), -weighted.T @ off[near])
        turn = Rotation.from_rotvec(twist[:3]).as_matrix()
        motion = matrix_of(turn, twist[3:] + FACE_MM - turn @ FACE_MM) @ motion
    return motion, np.abs(off)


def main() -> None:
    """Print a line for each frame."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("track", type=Path)
    parser.add_argument("frames", type=Path)
    parser.add_argument("fused", type=Path)
    words = parser.parse_args()
    report = json.loads((words.track / "report.json").read_text())
    samples, normals = scan_samples(read_scan(words.fused), FitConfig())
    assert normals is not None, "the fused scan needs normals"
    pose = find_pose(samples, normals, pose_template(load(device="cpu").model)).scan_to_head
    target, normals = transform_points(pose, samples), transform_directions(pose, normals)
    normals = normals / np.linalg.norm(normals, axis=1, keepdims=True)
    shown: dict[str, FloatArray] = {}
    for frame in report["frames"]:
        placed = transform_points(np.array(frame["pose"]), read_scan(words.frames / frame["name"]).points)
        shown[frame["name"]] = placed[np.linalg.norm(placed - FACE_MM, axis=1) < FACE_RADIUS_MM][::4]
    whole, _ = laid_on(np.concatenate([points[::3] for points in shown.values()]), target, normals, 25)
    for frame in report["frames"]:
        points = transform_points(whole, shown[frame["name"]])
        _, off = laid_on(points, target, normals, 0)
        own, least = laid_on(points, target, normals, 10)
        moved = float(np.linalg.norm(transform_points(own, FACE_MM[None])[0] - FACE_MM))
        turned = float(np.degrees(Rotation.from_matrix(own[:3, :3]).magnitude()))
        print(
            f"{frame['name']} {frame['status']}: {np.median(off):.2f} mm median to the fused scan, "
            f"{np.median(least):.2f} laid on it alone, which moves the face by {moved:.2f} mm, {turned:.2f} degrees"
        )


if __name__ == "__main__":
    main()
