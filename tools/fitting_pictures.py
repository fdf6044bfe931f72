"""Draw the pictures of `docs/fitting.md`: the pose search, and the head after each stage of a fit.

python tools/fitting_pictures.py docs/images
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from scipy.spatial.transform import Rotation

import imhead
from imhead.checkpoint import Model, load_model
from imhead.fitting.config import FitConfig
from imhead.fitting.fit import fit_scan
from imhead.fitting.points import scan_samples
from imhead.fitting.pose import PoseTemplate
from imhead.fitting.pose.candidates import initial_poses, nose_candidates
from imhead.fitting.pose.cloud import clean_scan, grid_nearest
from imhead.fitting.pose.icp import refine_poses
from imhead.fitting.pose.poses import Poses
from imhead.fitting.pose.score import score_poses
from imhead.fitting.pose.template import face_points
from imhead.fitting.result import FitResult
from imhead.fitting.start import pose_template
from imhead.io.scan_file import read_scan
from imhead.isosurface.field import HeadField
from imhead.isosurface.meshing import extract_mesh
from imhead.rendering.figures import FIT_WARM, SCAN_BLUE, contact_sheet, heat_colors, legend, stack
from imhead.rendering.raycast import Camera
from imhead.rendering.shading import ByteImage, camera, flat_color, shade
from imhead.surfaces.transforms import transform_points
from imhead.types import FloatArray, Mesh, Scan

DEMO_SCAN = Path(imhead.__file__).parent / "assets" / "demo_scan.ply"
WINDOW = camera("three_quarter", center_mm=(0.0, -15.0, 10.0), half_mm=150.0)
FACE = camera("front", center_mm=(0.0, -5.0, 60.0), half_mm=85.0)
CELL = 252
MARKER = (255, 190, 0)


def merged(meshes: Sequence[Mesh]) -> Mesh:
    """One mesh of several."""
    first = np.cumsum([0, *(len(mesh.vertices) for mesh in meshes)])
    faces = [mesh.faces + start for mesh, start in zip(meshes, first)]
    return Mesh(np.concatenate([mesh.vertices for mesh in meshes]), np.concatenate(faces))


def marker(center: FloatArray, radius_mm: float) -> Mesh:
    """A small sphere."""
    rings, sectors = 8, 12
    polar, azimuth = np.meshgrid(
        np.linspace(0.0, np.pi, rings), np.arange(sectors) * 2 * np.pi / sectors, indexing="ij"
    )
    corners = np.stack([np.sin(polar) * np.cos(azimuth), np.sin(polar) * np.sin(azimuth), np.cos(polar)], axis=-1)
    row, column = np.meshgrid(np.arange(rings - 1), np.arange(sectors), indexing="ij")
    a, b = row * sectors + column, row * sectors + (column + 1) % sectors
    faces = np.stack([a, a + sectors, b, b, a + sectors, b + sectors], axis=-1).reshape(-1, 3)
    return Mesh(center + radius_mm * corners.reshape(-1, 3), faces)


def drawn(parts: Sequence[tuple[Mesh, tuple[int, int, int]]], look: Camera = WINDOW, size: int = 300) -> ByteImage:
    """Meshes, each in its colour."""
    colors = np.concatenate([flat_color(color, mesh) for mesh, color in parts])
    return shade(merged([mesh for mesh, _ in parts]), look, size, colors=colors)


def placed(mesh: Mesh, pose: Poses, row: int) -> Mesh:
    """A mesh of the head frame under one pose of a batch."""
    rotation, shift = pose.rotation[row].double().numpy(), pose.translation[row].double().numpy()
    return Mesh(float(pose.scale[row]) * mesh.vertices @ rotation.T + shift, mesh.faces)


def nose_tips(template: PoseTemplate, poses: Poses) -> FloatArray:
    """(B, 3) where each pose puts the nose tip."""
    tips: FloatArray = (
        poses.scale[:, None] * (poses.rotation @ torch.from_numpy(template.nose_tip_mm).float()) + poses.translation
    ).numpy()
    return tips


def pose_picture(scan: Scan, model: Model, fitted: FitResult) -> Image.Image:
    """The scan, its nose candidates, and the mean head in the best pose and in a clearly different one, with ICP."""
    template: PoseTemplate = pose_template(model)
    mean_head = extract_mesh(HeadField(model, model.neutral()).sdf, 128)
    assert scan.faces is not None
    mm = float(np.cbrt(np.linalg.det(fitted.pose.scan_to_head[:3, :3])))
    clean = clean_scan(*scan_samples(scan, FitConfig()))
    cloud = clean.cloud(mm)
    positions, directions = nose_candidates(cloud, 48)
    face, nearest = face_points(template, 700, np.random.default_rng(0)), grid_nearest(cloud)
    start = initial_poses(template, positions, directions, 3)
    end = refine_poses(nearest, face, start, (40.0, 35.0, 30.0, 25.0, 20.0, 16.0, 12.0))
    score = score_poses(nearest, cloud.spacing_mm, face, end).score.numpy()
    # of the initial poses that lead to the best one, show the nearest
    turn = np.degrees(Rotation.from_matrix((end.rotation.mT @ start.rotation).double().numpy()).magnitude())
    best = int(np.where(score > score.max() - 0.01, turn, np.inf).argmin())
    rotation, tip = end.rotation.double().numpy(), nose_tips(template, end)
    apart = np.degrees(Rotation.from_matrix(rotation[best].T @ rotation).magnitude())
    different = (np.linalg.norm(tip - tip[best], axis=1) > 45.0) | (apart > 35.0)
    other = int(np.where(different, score, -np.inf).argmax())

    # from scan mm, about the scan's median, to the head frame, where everything is drawn
    to_head = fitted.pose.scan_to_head.copy()
    to_head[:3, 3] += to_head[:3, :3] @ clean.center
    to_head[:3, :3] /= mm

    def in_head_frame(mesh: Mesh) -> Mesh:
        return Mesh(transform_points(to_head, mesh.vertices), mesh.faces)

    raw = Mesh(mm * (scan.points - clean.center), scan.faces)
    surface = in_head_frame(raw)
    markers = [in_head_frame(marker(place, 5.0)) for place in positions]
    cells = [
        drawn([(raw, SCAN_BLUE)], camera("front", center_mm=(0.0, 0.0, 0.0), half_mm=190.0)),
        drawn([(surface, SCAN_BLUE), (merged(markers), MARKER)]),
    ]
    labels = ["a scan in its own frame", f"{len(positions)} nose candidates"]
    for row, rank in ((best, "best pose"), (other, "another pose")):
        for poses, name in ((start, "start"), (end, "after ICP")):
            cells.append(drawn([(surface, SCAN_BLUE), (in_head_frame(placed(mean_head, poses, row)), FIT_WARM)]))
            labels.append(f"{rank}: {name}" if poses is start else f"{rank}: {name}, score {score[row]:.2f}")
    return contact_sheet(cells, labels, columns=3)


def stages_picture(scan: Scan, model: Model, fitted: FitResult) -> Image.Image:
    """The scan, the head after each stage of the fit, and the distances of the scan points to it."""
    assert scan.faces is not None
    config = FitConfig()
    unfitted = replace(config, robust_mm=(), detail=False)
    stages = {
        "pose: the mean head": fit_scan(scan, model, replace(unfitted, encoder=False)),
        "encoder's first guess": fit_scan(scan, model, unfitted),
        "pose, expression, z_id": fit_scan(scan, model, replace(config, detail=False)),
        "region offsets": fitted,
    }
    surface = Mesh(fitted.points_mm, scan.faces)
    limit = 3.0
    cells: list[ByteImage | Image.Image] = []
    labels: list[str] = []
    for look in (WINDOW, FACE):
        cells += [drawn([(surface, SCAN_BLUE)], look, CELL), *(shade(fit.mesh, look, CELL) for fit in stages.values())]
    labels += ["the scan", *stages, *5 * [""]]
    cells.append(drawn([(surface, SCAN_BLUE), (fitted.mesh, FIT_WARM)], WINDOW, CELL))
    labels.append("the scan and the fitted head")
    for fit in stages.values():
        colors = heat_colors(fit.distance_mm, limit, signed=False)
        cells.append(shade(Mesh(fit.points_mm, scan.faces), WINDOW, CELL, colors=colors))
        labels.append(f"median {np.median(fit.distance_mm[fit.face]):.2f} mm on the face")
    bar = legend(limit, signed=False, title="distance of a scan point to the head")
    return stack([contact_sheet(cells, labels, columns=5), bar])


def main(out: Path) -> None:
    """Draw both pictures."""
    out.mkdir(parents=True, exist_ok=True)
    scan, model = read_scan(DEMO_SCAN), load_model()
    fitted = fit_scan(scan, model)
    for name, picture in {
        "pose": pose_picture(scan, model, fitted),
        "stages": stages_picture(scan, model, fitted),
    }.items():
        picture.quantize(256).save(out / f"fitting_{name}.png", optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
