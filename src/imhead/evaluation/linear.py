"""The linear baseline: a PCA of the registered training heads with the source's expression shapes, fitted to a scan.

It has more than it would have in practice: a registration of every head, and our search for the pose.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import igl
import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from imhead.fitting.config import FitConfig
from imhead.fitting.gauss_newton import expression_prior, held_at_bounds
from imhead.fitting.points import point_weights, scan_samples, within_bounds
from imhead.fitting.pose import PoseTemplate, find_pose
from imhead.sources.ict import IctModel
from imhead.surfaces.properties import face_cross
from imhead.surfaces.transforms import matrix_of, transform_points
from imhead.types import BoolArray, FloatArray, IntArray, Mesh, Scan


@dataclass(frozen=True, eq=False)
class LinearHeads:
    """A linear model of registered heads: mean + identity · codes + expressions · weights, head frame, mm."""

    mean: FloatArray
    """(V, 3)."""
    faces: IntArray
    """(F, 3) skin and eyes, closed."""
    seen_faces: IntArray
    """(G, 3) faces that a scanner can see; scan points are matched with these alone."""
    identity: FloatArray
    """(K, V, 3) offsets for one standard deviation of each principal direction."""
    expressions: FloatArray
    """(52, V, 3) offsets at weight 1."""


@dataclass(frozen=True, eq=False)
class LinearFit:
    """A linear model's fit."""

    mesh: Mesh
    """Head frame, mm."""
    scan_to_head: FloatArray
    """(4, 4)."""
    seconds: float
    """Wall time."""


def linear_heads(ict: IctModel, seen_faces: IntArray, sizes: tuple[int, ...], offsets: Tensor) -> list[LinearHeads]:
    """PCAs of registered heads, one for each of `sizes`, its number of directions.

    Args:
        offsets: (M, V, 3) of the identities that the model learns from, `TrainingHeads.offsets()`, mm.
    """
    flat = offsets.flatten(1)
    center = flat.mean(dim=0)
    _, sigma, basis = torch.svd_lowrank(flat - center, q=min(max(sizes) + 16, *flat.shape), niter=3)
    scaled = (basis * (sigma / np.sqrt(len(flat)))).T.reshape(-1, *offsets.shape[1:]).numpy()
    mean = ict.mean + center.reshape(-1, 3).numpy()
    faces = np.concatenate([ict.skin_faces, ict.eye_faces])
    return [LinearHeads(mean, faces, seen_faces, scaled[:size], ict.expressions) for size in sizes]


def fit_linear(scan: Scan, heads: LinearHeads, template: PoseTemplate, config: FitConfig) -> LinearFit:
    """Fit pose, identity and expression of a linear model by point-to-plane Gauss-Newton, with the priors of our fit.

    Raises:
        InputError: no face was found in the scan.
    """
    began = time.perf_counter()
    source, directions = scan_samples(scan, config)
    pose = find_pose(source, directions, template, seed=config.seed)
    rows, face = within_bounds(source, pose.scan_to_head, template.nose_tip_mm, config)
    matrix = pose.scan_to_head
    points = transform_points(matrix, source[rows])
    vertices, motion = match_linear(points, face, heads, config)
    return LinearFit(Mesh(vertices, heads.faces), motion @ matrix, time.perf_counter() - began)


def match_linear(
    points: FloatArray, on_face: BoolArray, heads: LinearHeads, config: FitConfig
) -> tuple[FloatArray, FloatArray]:
    """Vertices (V, 3) of the linear head that fits points (N, 3), and the rigid motion (4, 4) of the points onto it.

    Args:
        points: mm, in the head frame up to a small rigid motion.
        on_face: (N,) bool: points on the face.
    """
    basis = np.concatenate([heads.identity, heads.expressions])
    size, motion = len(heads.identity), np.eye(4)
    codes = np.zeros(len(basis))
    flat = basis.reshape(len(basis), -1)
    for scale in config.robust_mm:
        vertices = heads.mean + (codes @ flat).reshape(-1, 3)
        moved = transform_points(motion, points)
        _, face, closest = igl.point_mesh_squared_distance(moved, vertices, heads.seen_faces)
        corner = heads.seen_faces[face]
        a, b, c = (vertices[corner[:, k]] for k in range(3))
        normal = face_cross(vertices, corner)
        normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)
        bary = igl.barycentric_coordinates(closest, a, b, c)
        residual = ((moved - closest) * normal).sum(axis=1)
        along = np.zeros((len(moved), len(basis)))
        for k in range(3):
            along -= np.einsum("jnc,nc->nj", basis[:, corner[:, k]], normal) * bary[:, k : k + 1]
        jacobian = np.concatenate([np.cross(moved, normal), normal, along], axis=1)
        far = torch.from_numpy(np.linalg.norm(moved - closest, axis=1))
        weight = point_weights(far, torch.from_numpy(on_face), scale, config).numpy()
        weights = torch.from_numpy(codes[size:])
        curvature, slope = (part.numpy() for part in expression_prior(weights, config))
        hessian = jacobian.T @ (jacobian * weight[:, None])
        hessian += np.diag(np.concatenate([np.full(6, 1e-6), np.ones(size), curvature]))
        gradient = jacobian.T @ (weight * residual) + np.concatenate([np.zeros(6), codes[:size], slope])
        system = held_at_bounds(torch.from_numpy(hessian), torch.from_numpy(gradient), weights, 6 + size)
        step = -np.linalg.solve(*(part.numpy() for part in system))
        motion = matrix_of(Rotation.from_rotvec(step[:3]).as_matrix(), step[3:6]) @ motion
        codes = codes + step[6:]
        codes[size:] = np.clip(codes[size:], 0.0, 1.0)
    return heads.mean + (codes @ flat).reshape(-1, 3), motion
