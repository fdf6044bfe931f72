"""One state of a person, in the frame of the person's head: a scan with the template registered on it, or a head.

Shape legend: V vertices of the template, M matched points.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import torch
from scipy.spatial import cKDTree

from imhead.change.config import ChangeConfig
from imhead.change.surface import shown_vertices
from imhead.checkpoint import Model
from imhead.errors import InputError
from imhead.fitting.pose_scan import LeaveOneOut, ScanOfPerson
from imhead.fitting.scan_points import noise_over, skin_points
from imhead.measure.volumes import region_shares
from imhead.regions import Region, resolve
from imhead.registration.frames import registered_vertices
from imhead.registration.matching import match, shown_faces
from imhead.registration.register import Registration, register_points
from imhead.surfaces.distances import point_to_surface
from imhead.surfaces.mending import without_unused_points
from imhead.surfaces.normals import vertex_normals
from imhead.surfaces.transforms import aligned, matrix_of, transform_points
from imhead.template.surface import TemplateSurface, arkit_weights, template_of
from imhead.types import BoolArray, FloatArray, Head, Mesh, Scan

_NEIGHBOURS = 24  # matched points that are averaged at a vertex
_LEAST_NOISE_MM = 0.02
_LEAST_STABLE = 60  # vertices
_NEAR_MM = 3.0  # points farther from the head's surface say nothing of the noise


@dataclass(frozen=True, eq=False)
class Visit:
    """One state of a person."""

    name: str
    """What a report calls it."""
    head: Head
    """In its own expression, with its registration if it was scanned."""
    weights: FloatArray
    """(52,) ARKit weights of its expression."""
    vertices: FloatArray
    """(V, 3) the template on it, mm."""
    measured: BoolArray
    """(V,) vertices that the scan shows; of a head without a scan all that a scanner could see."""
    left_mm: FloatArray
    """(V,) mean height of the scan's points over the template around each vertex: what the registration left."""
    sigma_mm: FloatArray
    """(V,) standard deviation of that mean, by the scatter of the points."""
    noise_mm: float
    """Standard deviation of the scan's independent noise; 0 of a head."""
    scan_to_head: FloatArray
    """(4, 4) scan frame and unit → head frame, mm; the identity for a head."""
    scale_assumed: bool
    """Whether the unit of the scan was unknown."""
    same_person: bool | None
    """Whether it shows the person whom the others show; None where that was not asked."""
    evidence: LeaveOneOut | None
    """What that rests on; None where it was not asked."""
    scanned: bool
    """Whether it is a scan."""
    head_to_frame: FloatArray = field(default_factory=lambda: np.eye(4))
    """(4, 4) frame of the head → frame of the visits, mm."""


def scanned_visit(
    model: Model, person: Head, scan: Scan, placed: ScanOfPerson, name: str, config: ChangeConfig
) -> Visit:
    """The visit of a scan that lies on the person's head.

    Raises:
        InputError: hardly a point of the scan shows skin.
    """
    assert placed.pose is not None  # a joint fit has searched for it
    with torch.no_grad():
        weights = torch.from_numpy(placed.weights).float().to(model.device)
        z_exp = model.net.warp.code(weights[None])[0].cpu().numpy()
    head = replace(person, z_exp=z_exp)
    noise = _noise_mm(Mesh(template_of(model).posed(model, head), template_of(model).faces), scan, placed)
    points = skin_points(scan, placed.pose, placed.hair, placed.scan_to_head, noise)
    found = register_points(head, model, points, config.registration)
    left, sigma = _left(found, config)
    return Visit(
        name, found.head, placed.weights, found.mesh.vertices, found.measured, left, sigma, points.noise_mm,
        placed.scan_to_head, placed.pose.scale_assumed, None if placed.evidence is None else placed.same_person,
        placed.evidence, True,
    )  # fmt: skip


def _noise_mm(surface: Mesh, scan: Scan, placed: ScanOfPerson) -> float:
    """Independent noise of the scan's own points near a head's surface."""
    points = transform_points(placed.scan_to_head, scan.points)
    distance, _, _ = point_to_surface(points, surface)
    return noise_over(points[distance < _NEAR_MM], surface)


def head_visit(model: Model, head: Head, name: str) -> Visit:
    """The visit of a head file, in its own expression; its registration counts, if it has one."""
    template = template_of(model)
    shown = shown_vertices(template)
    measured = shown if head.certainty is None else shown & head.certainty.measured
    nothing = np.zeros(len(shown))
    return Visit(
        name, head, arkit_weights(model, head.z_exp).clip(0.0, 1.0), registered_vertices(template, model, head),
        measured, nothing, nothing, 0.0, np.eye(4), head.scale_assumed, None, None, False,
    )  # fmt: skip


def scan_of_head(model: Model, head: Head, name: str) -> Scan:
    """The surface of a head file as a scan in mm, in its own expression: of a fitted head what its scan showed.

    Beside scans a head is compared as one, so that the same head is fitted to all of them.
    """
    template = template_of(model)
    visit = head_visit(model, head, name)
    faces = template.faces[shown_faces(template) & visit.measured[template.faces].all(axis=1)]
    if not len(faces):
        raise InputError(f"{name}: its scan showed no skin of the head; give the scan, or another head")
    points, faces = without_unused_points(visit.vertices, faces)
    return Scan(name, points, vertex_normals(points, faces)[0], faces)


def _left(found: Registration, config: ChangeConfig) -> tuple[FloatArray, FloatArray]:
    """(V,) mean height of the scan's points around each vertex, and (V,) its standard deviation."""
    vertices, points = found.mesh.vertices, found.points
    matches = match(found.template, vertices, points, config.registration.robust_mm, config.registration)
    count = min(_NEIGHBOURS, len(matches.height_mm))
    noise = max(points.noise_mm, _LEAST_NOISE_MM)
    if not count:
        return np.zeros(len(vertices)), np.full(len(vertices), noise)
    places = np.einsum("nk,nkc->nc", matches.shares, vertices[matches.corners])
    away, near = cKDTree(places).query(vertices, k=count)
    away, near = away.reshape(len(vertices), -1), near.reshape(len(vertices), -1)
    precision = matches.weight * noise**2 / points.share  # robust weight, about 1 for an inlier
    weight = np.exp(-0.5 * (away / config.local_mm) ** 2) * precision[near]
    total = weight.sum(axis=1)
    height = matches.height_mm[near]
    shrunk = total + 1.0  # a point more, on the template: with few points the mean is near it
    mean = (weight * height).sum(axis=1) / shrunk
    spread = (weight * (height - mean[:, None]) ** 2).sum(axis=1) + noise**2
    independent = points.share * total**2 / np.maximum((weight**2).sum(axis=1), 1e-12) + 1.0
    return mean, np.sqrt(spread / shrunk / independent)


def on_stable(model: Model, first: Visit, visit: Visit, config: ChangeConfig) -> Visit:
    """A visit of another head, about in the frame of the first: its stable vertices laid on those of the first."""
    rows = np.flatnonzero(
        first.measured & visit.measured & in_regions(template_of(model), model, resolve(config.stable))
    )
    if len(rows) < _LEAST_STABLE:
        raise InputError(
            f"{first.name} and {visit.name}: only {len(rows)} places of the stable regions "
            f"({', '.join(config.stable)}) are shown in both; name others with --stable"
        )
    source, goal = visit.vertices[rows], first.vertices[rows]
    _, rotation = aligned(source, goal)
    motion = matrix_of(rotation, goal.mean(axis=0) - rotation @ source.mean(axis=0))
    return replace(
        visit, vertices=transform_points(motion, visit.vertices), head_to_frame=motion @ visit.head_to_frame,
        scan_to_head=motion @ visit.scan_to_head,
    )  # fmt: skip


def in_regions(template: TemplateSurface, model: Model, regions: tuple[Region, ...]) -> BoolArray:
    """(V,) vertices that belong more to these regions than to the others."""
    shares = region_shares(template, model)
    inside: BoolArray = shares[:, [region.index for region in regions]].sum(axis=1) > 0.5
    return inside
