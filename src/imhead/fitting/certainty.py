"""How far the person may lie from a fitted head, in mm.

Three things are added up. The codes: their Laplace posterior, from the normal matrix of the last steps and the prior of
z_id, says how far each place of the head may move. The scan: where it shows the surface, the region offsets have taken
that error away, and it comes back over a few millimetres beside the last seen point. The rest: noise and misfit of the
scan, and an error that no scan takes away. How much of each is learnt from fits whose truth is known
(`evaluation/calibration.py`).

Shape legend: V vertices of the template, M probes, L landmarks, U unknowns, S scan points.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib import resources
from typing import Any

import numpy as np
import torch
from scipy.spatial import cKDTree

from imhead.checkpoint import Model
from imhead.conventions import ARKIT_NAMES
from imhead.errors import InputError
from imhead.fitting.config import FitConfig
from imhead.fitting.gauss_newton import FitState, expression_prior, linearized
from imhead.fitting.objective import normal_equations
from imhead.fitting.points import independent_noise_mm
from imhead.measure.carrier import landmark_points
from imhead.measure.landmarks import landmark_places
from imhead.regions import REGION_COUNT
from imhead.surfaces.normals import vertex_normals
from imhead.surfaces.sampling import even_subset
from imhead.template.surface import TemplateSurface, has_template, posed_blend, template_of
from imhead.template.topology import MOUTH, SKIN
from imhead.types import BoolArray, Certainty, FloatArray, Head, IntArray

CALIBRATION_FILE = "certainty.json"
SEEN_MM = 3.5
"""A vertex is measured where a scan point is nearer than this, or than three spacings of the scan."""
_PROBE_SPACING_MM = 8.0  # the codes move a head smoothly
_SIZE_SIGMA = 0.05  # spread of the sizes of heads, as a share
_LANDMARK_RANK = 48
_MEDIAN_OF_NORMAL = 0.6745  # median size of a normal distribution, in standard deviations


@dataclass(frozen=True)
class Calibration:
    """Constants of the certainty, learnt from fits of held-out heads. Lengths in mm."""

    floor_mm: float
    """Error that is left where the scan shows the surface."""
    noise_share: float
    """Share of the scan's independent noise that is left there."""
    misfit_share: float
    """Share of what the fit leaves of the scan beside its noise, that is left there."""
    codes_share: float
    """Factor on the codes' own posterior."""
    left_share: float
    """Share of the codes' variance that is left where the scan shows the surface; farther off all of it is."""
    reach_mm: float
    """Distance from the scan over which a place of the head forgets what the scan shows."""
    unusual_power: float
    """Power of `Evidence.unusual` by which all of that grows."""
    landmark_mm: float
    """Error of a landmark's place along each axis, of what this says of the surface."""
    factor_95: float
    """95 % intervals over those of 68 %."""
    calibrated: bool = False
    """Whether the constants were learnt with the model at hand; else they are those of another one."""


@dataclass(frozen=True, eq=False)
class Evidence:
    """What a fit says of its own certainty, before the constants that are learnt."""

    distance_mm: FloatArray
    """(V,) from each vertex to the nearest scan point on the head."""
    codes_mm: FloatArray
    """(V,) standard deviation of the vertex along its normal, by the codes' posterior."""
    skin: BoolArray
    """(V,) vertices on the skin's surface."""
    measured: BoolArray
    """(V,) vertices with scan points near them."""
    noise_mm: float
    """Standard deviation of the scan's independent noise."""
    misfit_mm: float
    """Standard deviation of what the fit leaves of the face beside that noise."""
    unusual: float
    """Root mean square of z_id where it is above 1: the model knows an unusual head less well than it believes."""
    landmark_distance_mm: FloatArray
    """(L,) from each landmark to the nearest scan point on the head."""
    landmarks: FloatArray
    """(3 L, K) mm: its product with its transpose is the codes' covariance of the landmarks."""
    size_share: float
    """Spread of the head's size where the scan's scale was assumed, else 0."""


@dataclass(frozen=True, eq=False)
class SurfaceCertainty:
    """The certainty at N points on a head's surface."""

    sigma_mm: FloatArray
    """(N,) half of the 68 % interval along the normal."""
    measured: BoolArray
    """(N,) points near which the scan shows the surface."""


@dataclass(frozen=True, eq=False)
class _Probes:
    """Vertices at which the codes' posterior is read, and how the others are interpolated between them."""

    vertices: IntArray
    """(M,)."""
    by_identity: FloatArray
    """(M, 3, 256) mm that one unit of z_id moves each, canonical pose."""
    near: IntArray
    """(V, 3) probes near each vertex."""
    share: FloatArray
    """(V, 3) their shares, of sum 1."""


def evidence_of(model: Model, state: FitState, scan_points_mm: FloatArray, config: FitConfig) -> Evidence | None:
    """What a fit says of its own certainty; None for a model without a template, and for a fit without steps.

    Args:
        model: that was fitted.
        state: of the fit, after its last step.
        scan_points_mm: (S, 3) points of the scan on the skin, head frame; as dense as the scan, where there are more
            than the fit drew.
        config: settings of the fit.
    """
    if not has_template(model) or not config.robust_mm or not len(scan_points_mm):
        return None
    template, probes = template_of(model), _probes(model)
    posterior = _codes_posterior(model, state, config)
    with torch.no_grad():
        z = (model.net.decnet(state.codes.z_id[None])[0] + state.codes.offsets).cpu().numpy()
    vertices = posed_blend(template, model, z, state.codes.weights.double().cpu().numpy())
    rows = _by_unknowns(template, probes, vertices, posterior.pose_size)
    variance = np.einsum("mu,mu->m", rows @ posterior.covariance, rows)
    codes = np.sqrt(np.einsum("vk,vk->v", probes.share, np.maximum(variance, 0.0)[probes.near]))
    tree = cKDTree(scan_points_mm)
    distance = tree.query(vertices)[0]
    thinned = scan_points_mm[:: max(1, len(scan_points_mm) // 2000)]
    spacing = float(np.median(tree.query(thinned, k=2)[0][:, 1])) if len(scan_points_mm) > 1 else 0.0
    measured = (distance < max(SEEN_MM, 3.0 * spacing)) & (template.part != MOUTH)
    skin = (template.part == SKIN) & (template.on_surface > 0.5)
    identity = slice(posterior.pose_size + len(ARKIT_NAMES), None)
    unusual = math.sqrt(max(1.0, float(state.codes.z_id.square().mean())))
    factor = _landmark_factor(model, posterior.covariance[identity, identity])
    size_share = _SIZE_SIGMA if state.scale_free else 0.0
    return Evidence(
        distance, codes, skin, measured, posterior.noise_mm, posterior.misfit_mm, unusual,
        landmark_places().of(distance), factor, size_share,
    )  # fmt: skip


def certainty_of(evidence: Evidence, calibration: Calibration) -> Certainty:
    """The certainty of a fit, under learnt constants."""
    growth = evidence.unusual**calibration.unusual_power
    sigma = growth * surface_sigma_mm(
        evidence.distance_mm, evidence.codes_mm, evidence.noise_mm, evidence.misfit_mm, calibration
    )
    left = np.repeat(np.sqrt(left_of_codes(evidence.landmark_distance_mm, calibration)), 3)
    factor = growth * calibration.codes_share * left[:, None] * evidence.landmarks
    own = np.full(len(evidence.landmark_distance_mm), growth * calibration.landmark_mm)
    return Certainty(
        sigma, evidence.measured, factor, own, evidence.size_share, calibration.factor_95, calibration.calibrated
    )


def surface_sigma_mm(
    distance_mm: FloatArray, codes_mm: FloatArray, noise_mm: float, misfit_mm: float, calibration: Calibration
) -> FloatArray:
    """(N,) half of the 68 % interval of the surface at places (N,) of a usual head.

    Args:
        distance_mm: (N,) to the nearest scan point.
        codes_mm: (N,) by the codes' posterior.
        noise_mm: independent noise of the scan.
        misfit_mm: what the fit leaves of the scan beside it.
        calibration: learnt constants.
    """
    shown = (calibration.noise_share * noise_mm) ** 2 + (calibration.misfit_share * misfit_mm) ** 2
    hidden = left_of_codes(distance_mm, calibration) * (calibration.codes_share * codes_mm) ** 2
    sigma: FloatArray = np.sqrt(calibration.floor_mm**2 + shown + hidden)
    return sigma


def left_of_codes(distance_mm: FloatArray, calibration: Calibration) -> FloatArray:
    """(N,) share of the codes' variance that the scan leaves at distances (N,) from its points."""
    shown = np.exp(-((distance_mm / calibration.reach_mm) ** 2))
    left: FloatArray = 1.0 - (1.0 - calibration.left_share) * shown
    return left


def calibration_for(model: Model) -> Calibration:
    """The learnt constants of a model; those of another one, marked as not calibrated, where there are none."""
    known: dict[str, Any] = json.loads((resources.files("imhead.fitting") / CALIBRATION_FILE).read_text())
    own = known.get(model.hash)
    return Calibration(**(own or next(iter(known.values()))), calibrated=own is not None)


def calibration_json(calibration: Calibration, model: Model) -> str:
    """The text of `CALIBRATION_FILE` for a model."""
    constants = {name: round(value, 4) for name, value in asdict(calibration).items() if name != "calibrated"}
    return json.dumps({model.hash: constants}, indent=2) + "\n"


def certainty_at(
    certainty: Certainty, model: Model, head: Head, points_mm: FloatArray, weights: FloatArray
) -> SurfaceCertainty:
    """The certainty at points (N, 3) on a head's surface with ARKit weights (52,), head frame, mm: that of its template
    nearby.

    Raises:
        InputError: the certainty is of another template, or points of another shape.
    """
    if len(certainty.sigma_mm) != len(template_of(model).part):
        raise InputError("the head's certainty is of another template; fit the scan again")
    near, share = vertices_near(model, head, points_mm, weights)
    sigma, measured = certainty.sigma_mm[near].astype(np.float64), certainty.measured[near].astype(np.float64)
    return SurfaceCertainty((share * sigma).sum(axis=1), (share * measured).sum(axis=1) > 0.5)


def vertices_near(model: Model, head: Head, points_mm: FloatArray, weights: FloatArray) -> tuple[IntArray, FloatArray]:
    """Vertices (N, 3) of a head's template, with ARKit weights (52,), near points (N, 3); and their shares (N, 3), of
    sum 1.

    Raises:
        InputError: points of another shape, or a model without a template.
    """
    if points_mm.ndim != 2 or points_mm.shape[1] != 3:
        raise InputError(f"points have shape {points_mm.shape}; expected (N, 3)")
    template = template_of(model)
    with torch.no_grad():
        z_id = torch.from_numpy(np.array(head.z_id)).to(model.device)
        z = model.net.decnet(z_id[None])[0].cpu().numpy() + head.offsets
    outside = np.flatnonzero(template.part != MOUTH)
    near, share = _interpolation(posed_blend(template, model, z, weights)[outside], points_mm)
    return outside[near], share


def certainty_summary(certainty: Certainty | None, evidence: Evidence | None) -> dict[str, Any] | None:
    """The figures of report.json: median and 90th percentile over the skin, apart for measured and inferred; None for a
    head without certainty."""
    if certainty is None or evidence is None:
        return None
    skin = evidence.skin
    return {
        "measured": _spread(certainty.sigma_mm[skin & certainty.measured]),
        "inferred": _spread(certainty.sigma_mm[skin & ~certainty.measured]),
        "measured_share": round(float(certainty.measured[skin].mean()), 3),
        "factor_95": certainty.factor_95,
        "calibrated": certainty.calibrated,
    }


def _spread(sigma: FloatArray) -> dict[str, float | None]:
    if not len(sigma):
        return {"median": None, "p90": None}
    return {"median": round(float(np.median(sigma)), 3), "p90": round(float(np.percentile(sigma, 90)), 3)}


@dataclass(frozen=True, eq=False)
class _Posterior:
    """Of the codes of a fit."""

    covariance: FloatArray
    """(U, U) of pose, ARKit weights and z_id."""
    pose_size: int
    """Unknowns of the pose: 6, or 7 where the size was fitted too."""
    noise_mm: float
    """Independent noise of the scan on the face."""
    misfit_mm: float
    """What the fit leaves of the face beside it."""


def _codes_posterior(model: Model, state: FitState, config: FitConfig) -> _Posterior:
    """The Laplace posterior, from the normal matrix of the points and the priors.

    The prior of z_id is its own, N(0, 1), stricter than that of the steps: where the scan says nothing, heads vary as
    people do.
    """
    jacobian, by_pose, weight = linearized(model.net, state, config.robust_mm[-1], False, config)
    hessian, _ = normal_equations(model.net, jacobian, by_pose, weight, False)
    pose_size = by_pose.shape[1]
    prior = torch.ones_like(hessian.diagonal())
    prior[:pose_size] = 1e-6
    if pose_size == 7:
        prior[6] = _SIZE_SIGMA**-2.0
    weights = slice(pose_size, pose_size + len(ARKIT_NAMES))
    prior[weights] = expression_prior(state.codes.weights, config)[0].double()
    hessian.diagonal().add_(prior)
    covariance = torch.cholesky_inverse(torch.linalg.cholesky(hessian)).cpu().numpy()
    face = jacobian.sdf_mm[: len(state.neighbour)]
    noise = independent_noise_mm(face, state.neighbour)
    own = face[weight[: len(face)] > 0.0]
    scatter = float(own.abs().median()) / _MEDIAN_OF_NORMAL if len(own) else 0.0
    return _Posterior(covariance, pose_size, noise, math.sqrt(max(0.0, scatter**2 - noise**2)))


def _by_unknowns(template: TemplateSurface, probes: _Probes, vertices: FloatArray, pose_size: int) -> FloatArray:
    """(M, U) change of the signed distance at each probe by pose, ARKit weights and z_id, mm per unit.

    As a scan point sees it: a motion of the scan and a change of the head that go together cancel.

    Args:
        template: of the model.
        probes: of the template.
        vertices: (V, 3) of the fitted head.
        pose_size: 6, or 7 where the size was fitted too.
    """
    normal = vertex_normals(vertices, template.faces)[0][probes.vertices]
    place = vertices[probes.vertices]
    by_pose = np.concatenate([np.cross(place, normal), normal, (place * normal).sum(axis=1, keepdims=True)], axis=1)
    by_weights = -np.einsum("wmc,mc->mw", template.shapes[:, probes.vertices], normal)
    by_identity = -np.einsum("mci,mc->mi", probes.by_identity, normal)
    return np.concatenate([by_pose[:, :pose_size], by_weights, by_identity], axis=1)


@lru_cache(maxsize=4)
def _probes(model: Model) -> _Probes:
    """Probes about 8 mm apart on the skin, mirrored from the left side."""
    template = template_of(model)
    skin = (template.part == SKIN) & (template.on_surface > 0.5)
    left = np.flatnonzero(skin[: template.half])
    left = left[even_subset(template.mean[left], _PROBE_SPACING_MM)]
    own, twins = _moved_by_identity(template, model, left)
    middle = template.twin[left] == left
    own[middle] = 0.5 * (own[middle] + twins[middle])
    vertices = np.concatenate([left, template.twin[left[~middle]]])
    near, share = _interpolation(template.mean[vertices], template.mean)
    return _Probes(vertices, np.concatenate([own, twins[~middle]]), near, share)


def _moved_by_identity(template: TemplateSurface, model: Model, left: IntArray) -> tuple[FloatArray, FloatArray]:
    """(n, 3, 256) mm that one unit of z_id moves vertices (n,) of the left half, and the same of their twins."""
    net = model.net
    decoder = net.decnet.weight.detach().cpu().numpy()
    mirrored = decoder[:, net.mirror.cpu().numpy()] * net.region_parity.cpu().numpy()
    row_of = np.full(template.half, -1)
    row_of[left] = np.arange(len(left))
    moved = np.zeros((2, len(left), 3, len(decoder)), dtype=np.float32)
    bounds = np.searchsorted(template.pair_region, np.arange(REGION_COUNT + 1))
    for region in range(REGION_COUNT):
        rows = row_of[template.pair_vertex[bounds[region] : bounds[region + 1]]]
        basis = template.basis[bounds[region] : bounds[region + 1]][rows >= 0].astype(np.float32)
        by_code = basis.transpose(0, 2, 1).reshape(-1, basis.shape[1])
        for side, codes in enumerate((decoder, mirrored)):
            # a vertex occurs at most once per region, so += loses nothing
            moved[side, rows[rows >= 0]] += (by_code @ codes[:, region].T).reshape(-1, 3, len(decoder))
    moved[1, :, 0] *= -1.0
    return moved[0], moved[1]


@lru_cache(maxsize=4)
def _landmarks_by_identity(model: Model) -> FloatArray:
    """(3 L, 256) mm that one unit of z_id moves each landmark."""
    points, decoder = landmark_points(model), model.net.decnet.weight.detach().cpu().numpy()
    basis = points.basis.reshape(decoder.shape[1] * decoder.shape[2], -1)
    moved: FloatArray = (decoder.reshape(len(decoder), -1) @ basis).T
    return moved


def _landmark_factor(model: Model, identity: FloatArray) -> FloatArray:
    """(3 L, K) of the landmarks' covariance, from that of z_id (256, 256); the parts beyond K are small."""
    lower = np.linalg.cholesky(identity)
    left, size, _ = np.linalg.svd(_landmarks_by_identity(model) @ lower, full_matrices=False)
    factor: FloatArray = left[:, :_LANDMARK_RANK] * size[:_LANDMARK_RANK]
    return factor


def _interpolation(places: FloatArray, wanted: FloatArray) -> tuple[IntArray, FloatArray]:
    """Rows (N, 3) of the places (M, 3) nearest to wanted ones (N, 3), and their shares (N, 3) by inverse distance."""
    distance, near = cKDTree(places).query(wanted, k=3)
    weight = 1.0 / (distance + 1e-6)
    return near, weight / weight.sum(axis=1, keepdims=True)
