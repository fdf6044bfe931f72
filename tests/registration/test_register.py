"""The template of the shipped model on made-up scans of a head, whose truth is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from imhead import load
from imhead.api import EditableHead, MorphableModel
from imhead.checkpoint import load_model
from imhead.fitting.scan_points import ScanPoints
from imhead.registration.frames import registered_vertices
from imhead.registration.maps import Relief, relief_of
from imhead.registration.matching import shown_faces
from imhead.registration.register import Registration, register_points
from imhead.surfaces.crossings import crossing_edges
from imhead.surfaces.distances import point_to_surface
from imhead.surfaces.eyeballs import eyes_distance
from imhead.surfaces.normals import vertex_normals
from imhead.surfaces.sampling import draw_points
from imhead.template.surface import template_path
from imhead.template.topology import LEFT_EYE, SKIN
from imhead.types import FloatArray, Mesh, Scan

CHEEK_MM = np.array([45.0, -25.0, 60.0])


@pytest.fixture(scope="module")
def shipped() -> MorphableModel:
    model = load_model("default")
    assert model.path is not None
    if not template_path(model.path).is_file():
        pytest.skip("the shipped model has no template yet: imhead train writes it, copy it beside the model")
    return load(device="cpu")


@pytest.fixture(scope="module")
def head(shipped: MorphableModel) -> EditableHead:
    return shipped.sample(1, seed=5)[0]


def from_cheek(mesh: Mesh) -> FloatArray:
    """Distances of the vertices from a place on the left cheek."""
    place = mesh.vertices[np.linalg.norm(mesh.vertices - CHEEK_MM, axis=1).argmin()]
    return np.asarray(np.linalg.norm(mesh.vertices - place, axis=1))


def bumped(mesh: Mesh) -> Mesh:
    """A head with a lump of 1.5 mm on the left cheek, which no code knows."""
    normals, _ = vertex_normals(mesh.vertices, mesh.faces)
    height = 1.5 * np.exp(-((from_cheek(mesh) / 12.0) ** 2))
    return Mesh(mesh.vertices + height[:, None] * normals, mesh.faces)


def points_on(shipped: MorphableModel, mesh: Mesh, noise_mm: float, left_only: bool) -> ScanPoints:
    faces = mesh.faces[shown_faces(shipped.template)]
    rng = np.random.default_rng(0)
    points, normals, _ = draw_points(mesh.vertices, faces, 25_000, rng)
    kept = points[:, 0] > 0.0 if left_only else np.ones(len(points), dtype=bool)
    points = points[kept] + rng.normal(0.0, noise_mm, (kept.sum(), 1)) * normals[kept]
    return ScanPoints(points, normals[kept], True, 1.0, noise_mm, 1.5)


@pytest.fixture(scope="module")
def half(shipped: MorphableModel, head: EditableHead) -> Registration:
    """Registered on exact points of the left half of the head with the lump."""
    truth = bumped(head.mesh(surface="template"))
    return register_points(head.codes, shipped.model, points_on(shipped, truth, 0.0, True))


def off(vertices: FloatArray, surface: Mesh) -> FloatArray:
    return point_to_surface(vertices, surface)[0]


def test_the_template_lies_on_what_codes_cannot_say(half: Registration) -> None:
    lump = from_cheek(half.start) < 12.0
    truth = bumped(half.start)
    assert off(half.start.vertices[lump], truth).mean() > 0.5
    assert off(half.mesh.vertices[lump], truth).mean() < 0.1
    median = half.scan_to_surface_mm["median"]
    assert median is not None and median < 0.05


def test_the_side_that_is_not_seen_keeps_the_heads_own_surface(half: Registration) -> None:
    right = (half.start.vertices[:, 0] < -25.0) & (half.template.part == SKIN) & (half.template.on_surface > 0.5)
    assert not half.measured[right].any() and 0.35 < half.measured_fraction < 0.65
    assert off(half.mesh.vertices[right], half.start).mean() < 0.1


def test_no_faces_cross_and_lids_lie_on_their_eyeballs(half: Registration, head: EditableHead) -> None:
    skin = half.template.faces[(half.template.part[half.template.faces] < LEFT_EYE).all(axis=1)]
    assert half.crossed == 0
    assert len(crossing_edges(half.mesh.vertices, skin)) <= len(crossing_edges(half.start.vertices, skin))
    shown = (half.template.part == SKIN) & (half.template.on_surface > 0.5)
    assert eyes_distance(half.mesh.vertices[shown], head.field().eyes).min() > -0.6


def test_the_head_gives_its_registration_back_and_other_expressions_carry_it(
    shipped: MorphableModel, half: Registration
) -> None:
    again = registered_vertices(shipped.template, shipped.model, half.head)
    assert np.abs(again - half.mesh.vertices).max() < 1e-3
    plain = replace(half.head, registration=None)
    lump = from_cheek(half.start) < 6.0
    weights = {"jawOpen": 0.6}
    carried = EditableHead(half.head, shipped.model).mesh(weights, surface="template")
    without = EditableHead(plain, shipped.model).mesh(weights, surface="template")
    assert 0.8 < np.linalg.norm(carried.vertices - without.vertices, axis=1)[lump].mean() < 2.0


def test_noise_is_not_followed(shipped: MorphableModel, head: EditableHead) -> None:
    truth = head.mesh(surface="template")
    found = register_points(head.codes, shipped.model, points_on(shipped, truth, 1.0, False))
    shown = (found.template.part == SKIN) & (found.template.on_surface > 0.5)
    assert off(found.mesh.vertices[shown], truth).mean() < 0.2


def test_the_maps_hold_relief_finer_than_the_template(half: Registration) -> None:
    """A scan that stands 0.2 mm off the registered template."""
    normals, _ = vertex_normals(half.mesh.vertices, half.mesh.faces)
    faces = half.mesh.faces[shown_faces(half.template)]
    scan = Scan("shell", half.mesh.vertices + 0.2 * normals, None, faces)
    relief = relief_of(half, scan, np.eye(4), size=256)
    assert isinstance(relief, Relief)
    assert abs(float(np.median(relief.height_mm[relief.shown])) - 0.2) < 0.02
    assert np.median(relief.normal[relief.shown][:, 2]) > 0.99
    assert relief_of(half, Scan("cloud", scan.points), np.eye(4), size=64) is None
    noisy = replace(half, points=replace(half.points, noise_mm=1.0))
    assert relief_of(noisy, scan, np.eye(4), size=64) is None
