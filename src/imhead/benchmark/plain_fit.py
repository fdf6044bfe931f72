"""The slow reference of a fit: plain Adam on the same unknowns, loss and priors, from the same search for the pose.

Its residuals are the field's values, not divided by their gradient, which would cost Adam a second backward pass.
"""

from __future__ import annotations

import time

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from imhead.checkpoint import Model
from imhead.conventions import ARKIT_NAMES, FACE_RADIUS_MM, MODEL_UNIT_MM
from imhead.fitting.config import FitConfig
from imhead.fitting.figures import ScanFigures
from imhead.fitting.points import offset_priors, point_weights, scan_samples, within_bounds
from imhead.fitting.pose import find_pose
from imhead.fitting.pose_file import nose_tip_mm
from imhead.fitting.result import FitResult
from imhead.fitting.start import pose_template
from imhead.isosurface.creases import head_mesh
from imhead.isosurface.field import HeadField
from imhead.regions import REGION_COUNT
from imhead.surfaces.distances import point_to_surface
from imhead.surfaces.transforms import matrix_of, transform_points
from imhead.types import FloatArray, Head, Scan

_RATES = {
    "twist": 4e-3,
    "weights": 2e-2,
    "z_id": 6e-2,
    "offsets": 2e-2,
}  # the best of three sets, each twice the one before
_LEAST_RATE = 0.05  # share of the learning rate that is left at the end of the cosine decay


def plain_fit(scan: Scan, model: Model, steps: int, config: FitConfig) -> FitResult:
    """Fit a scan of known unit without normals, as `fit_scan` does, by `steps` steps of Adam.

    The scale of the robust loss shrinks on the same schedule, stretched over the steps; in its last part the region
    offsets are optimised instead of z_id and expression.

    Raises:
        InputError: no face was found in the scan.
    """
    began = time.perf_counter()
    source, normals = scan_samples(scan, config)
    template = pose_template(model)
    pose = find_pose(source, normals, template, seed=config.seed)
    matrix = pose.scan_to_head
    rows, face = within_bounds(source, matrix, template.nose_tip_mm, config)
    placed = transform_points(matrix, source[rows])
    points = torch.from_numpy(placed).float().to(model.device)
    # noise 0: the scan is sampled from a surface
    priors = torch.from_numpy(offset_priors(template, placed, 0.0, config)).to(points)
    unknown = _descend(model, points, torch.from_numpy(face).to(model.device), priors, steps, config)
    head = _head(model, unknown, scan.name)
    twist = unknown["twist"].double().cpu().numpy()
    motion = matrix_of(Rotation.from_rotvec(twist[:3]).as_matrix(), twist[3:] * MODEL_UNIT_MM)
    scan_to_head: FloatArray = motion @ matrix
    field = HeadField(model, head)
    mesh = head_mesh(field, config.resolution)
    placed = transform_points(scan_to_head, scan.points)
    distance = point_to_surface(placed, mesh)[0]
    face = np.linalg.norm(placed - nose_tip_mm(mesh, field), axis=1) < FACE_RADIUS_MM
    named = {n: round(float(w), 4) for n, w in zip(ARKIT_NAMES, unknown["weights"].tolist()) if w > 0.005}
    return FitResult(
        head, mesh, pose, scan_to_head, placed, distance, distance < 3.0, face,
        ScanFigures(distance, distance < 3.0, face), named, "mean head", None, 0, steps,
        time.perf_counter() - began, (*scan.warnings, *pose.warnings),
    )  # fmt: skip


def _descend(
    model: Model, points: Tensor, face: Tensor, priors: Tensor, steps: int, config: FitConfig
) -> dict[str, Tensor]:
    net = model.net
    shapes = {
        "twist": (6,),
        "weights": (len(ARKIT_NAMES),),
        "z_id": (net.config.identity_size,),
        "offsets": (REGION_COUNT, net.config.region_code_size),
    }
    unknown = {name: torch.zeros(shape, device=points.device, requires_grad=True) for name, shape in shapes.items()}
    optimizer = torch.optim.Adam([{"params": [value], "lr": _RATES[name]} for name, value in unknown.items()])
    decay = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda k: _LEAST_RATE + (1.0 - _LEAST_RATE) * 0.5 * (1.0 + np.cos(np.pi * k / steps))
    )
    gaze = torch.tensor([name.startswith("eyeLook") for name in ARKIT_NAMES], device=points.device)
    schedule = [(scale, False) for scale in config.robust_mm] + [(scale, True) for scale in config.detail_robust_mm]
    for step in range(steps):
        robust_mm, with_offsets = schedule[step * len(schedule) // steps]
        unknown["offsets"].requires_grad_(with_offsets)
        for name in ("z_id", "weights"):
            unknown[name].requires_grad_(not with_offsets)
        distance = _distance_mm(model, unknown, points)
        weight = point_weights(distance.detach(), face, robust_mm, config, with_offsets)
        prior = 0.5 * config.identity_prior * unknown["z_id"].square().sum()
        prior = prior + config.expression_prior * unknown["weights"].abs().sum()
        prior = prior + (priors[:, None] * unknown["offsets"].abs()).sum()
        loss = 0.5 * (weight * distance.square()).sum() + prior
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        decay.step()
        with torch.no_grad():
            unknown["weights"].clamp_(0.0, 1.0).masked_fill_(gaze, 0.0)
    return {name: value.detach() for name, value in unknown.items()}


def _distance_mm(model: Model, unknown: dict[str, Tensor], points: Tensor) -> Tensor:
    net, twist = model.net, unknown["twist"]
    x = points / MODEL_UNIT_MM @ _rotation(twist[:3]).T + twist[3:]
    z_exp = net.warp.code(unknown["weights"][None])
    distance: Tensor = net(x[None], unknown["z_id"][None], z_exp, unknown["offsets"][None])[0] * MODEL_UNIT_MM
    return distance


def _rotation(vector: Tensor) -> Tensor:
    x, y, z = vector
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero]).view(3, 3)
    return torch.linalg.matrix_exp(cross)


def _head(model: Model, unknown: dict[str, Tensor], name: str) -> Head:
    with torch.no_grad():
        z_exp = model.net.warp.code(unknown["weights"][None])[0]
    z_id, code, offsets = (value.cpu().numpy() for value in (unknown["z_id"], z_exp, unknown["offsets"]))
    return Head(model.name, model.hash, z_id, code, offsets, (f"plainly fitted to {name}",))
