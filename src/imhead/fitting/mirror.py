"""Mirrored scans: signs of a left-handed export, and scans turned back before a fit.

A file holds points, and a mirrored face is a face. The model takes a head and its mirror image for equally likely,
so the shape gives nothing away. Two things can. An export that negates an axis and keeps the corners of its faces
in order turns the surface inside-out. One that negates the points of a cloud and not its normals leaves normals
that fit the surface only after the same reflection. Faces that were merely turned over look like the first; a
mirrored scan whose faces were turned over too shows nothing.

Shape legend: N scan points.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from imhead.conventions import FACE_RADIUS_MM
from imhead.isosurface.field import HeadField
from imhead.surfaces.transforms import transform_directions, transform_points
from imhead.types import FloatArray, Mesh, Scan

REFLECTION: FloatArray = np.diag([-1.0, 1.0, 1.0, 1.0])
"""(4, 4) mirrors a scan in its own frame; which plane does not matter, since the pose is free."""
Sure = Literal["named", "likely", "possible", "no sign", "unknown"]
"""`named`: the caller said so. `likely`: points and normals are mirrored against each other. `possible`: the surface is
inside-out, which turned faces explain as well. `no sign`: nothing speaks for it. `unknown`: nothing to tell from."""

_NEAR_MM = 3.0
_SAMPLES = 2000
_LEAST = 50  # points on the face, for a verdict
_CLEAR_SHARE = 0.8
_SLANT = 0.3  # normals nearer to the tangent plane than this cosine have no side
_FITS = 0.9  # mean cosine of normals with the surface that they belong to
_GAIN = 0.05


@dataclass(frozen=True)
class MirrorSigns:
    """What says that a scan is mirrored, or not."""

    inside_out: bool | None = None
    """Whether the faces of the mesh are turned inwards; None of a cloud, or where they are of both kinds."""
    crossed: bool | None = None
    """Whether a cloud's normals fit its points only when they are mirrored; None without normals, or of a mesh."""
    sides_differ_mm: float | None = None
    """Median distance between the fitted face and its mirror image: what a wrong guess costs."""
    put_right: bool = False
    """The caller said that the scan is mirrored, and the head was fitted to its reflection."""

    @property
    def sure(self) -> Sure:
        """How sure the verdict is."""
        if self.put_right:
            return "named"
        if self.crossed or self.inside_out:
            return "likely" if self.crossed else "possible"
        return "unknown" if self.inside_out is None and self.crossed is None else "no sign"

    @property
    def mirrored(self) -> bool | None:
        """True if the caller said so or there is a sign of it; None where there is nothing to tell from."""
        return {"unknown": None, "no sign": False}.get(self.sure, True)

    def report(self) -> dict[str, Any]:
        """The fields of report.json."""
        signs = {"sure": self.sure, "inside_out": self.inside_out, "normals_crossed": self.crossed}
        return {"mirrored": self.mirrored, "mirror_signs": signs | {"sides_differ_mm": self.sides_differ_mm}}

    def warnings(self) -> tuple[str, ...]:
        """The sign, in a sentence with what to do."""
        if self.put_right or not self.mirrored:
            return ()
        what = (
            "the normals fit the points only when they are mirrored: one of the two was mirrored alone"
            if self.crossed
            else "the surface is inside-out: the scan is mirrored, as left-handed programs write it, or its faces are "
            "turned over, and the shape cannot tell which"
        )
        cost = (
            "" if self.sides_differ_mm is None else f" (the sides of this face differ by {self.sides_differ_mm:.1f} mm)"
        )
        return (f"{what}; if left and right are swapped, fit it again with --mirrored{cost}",)


def reflected(scan: Scan) -> Scan:
    """The mirror image of a scan. Its faces keep the order of their corners, so their other side faces outwards."""
    normals = None if scan.normals is None else transform_directions(REFLECTION, scan.normals)
    if normals is not None and scan.faces is not None:
        normals = -normals
    return replace(scan, points=transform_points(REFLECTION, scan.points), normals=normals)


def reflected_landmarks(
    pairs: Mapping[str, tuple[FloatArray, FloatArray]],
) -> dict[str, tuple[FloatArray, FloatArray]]:
    """Landmarks (scan place, head place) for the mirror image of their scan.

    A person names the sides as the scan shows them, so what was called the left lies on the right of the image.
    """
    sign = np.array([-1.0, 1.0, 1.0])
    return {name: (sign * np.asarray(place), sign * np.asarray(on_head)) for name, (place, on_head) in pairs.items()}


def mirror_signs(
    scan: Scan, scan_to_head: FloatArray, distance_mm: FloatArray, field: HeadField, mesh: Mesh, nose_tip_mm: FloatArray
) -> MirrorSigns:
    """Look for signs that a scan is mirrored.

    Args:
        scan: the scan, with normals if there are some.
        scan_to_head: (4, 4) scan frame and units → head frame, mm.
        distance_mm: (N,) unsigned, of the scan's points to the fitted surface.
        field: of the fitted head.
        mesh: its surface.
        nose_tip_mm: (3,) on it.
    """
    differ = _sides_differ_mm(field, mesh, nose_tip_mm)
    if scan.normals is None:
        return MirrorSigns(sides_differ_mm=differ)
    points = transform_points(scan_to_head, scan.points)
    face = np.flatnonzero((distance_mm < _NEAR_MM) & (np.linalg.norm(points - nose_tip_mm, axis=1) < FACE_RADIUS_MM))
    if len(face) < _LEAST:
        return MirrorSigns(sides_differ_mm=differ)
    face = face[:: max(1, len(face) // _SAMPLES)]
    outwards = _unit(field.gradient(points[face]))
    if scan.faces is None:
        return MirrorSigns(crossed=_crossed(scan.normals[face], outwards, scan_to_head), sides_differ_mm=differ)
    cosine = np.einsum("nc,nc->n", outwards, _unit(transform_directions(scan_to_head, scan.normals[face])))
    sided = cosine[np.abs(cosine) > _SLANT]
    inwards = float((sided < 0).mean()) if len(sided) else 0.5
    clear = max(inwards, 1.0 - inwards) > _CLEAR_SHARE
    return MirrorSigns(inside_out=inwards > 0.5 if clear else None, sides_differ_mm=differ)


def _crossed(normals: FloatArray, outwards: FloatArray, scan_to_head: FloatArray) -> bool:
    """Whether normals (N, 3) of a cloud agree with the surface only when mirrored in one of the cloud's own axes."""
    surface = _unit(transform_directions(scan_to_head.T, outwards))  # in the scan's frame: the inverse of a rotation
    own = float(np.abs(np.einsum("nc,nc->n", surface, normals)).mean())
    images = [float(np.abs(np.einsum("nc,nc->n", surface, normals * sign)).mean()) for sign in 1.0 - 2.0 * np.eye(3)]
    return max(images) > max(_FITS, own + _GAIN)


def _sides_differ_mm(field: HeadField, mesh: Mesh, nose_tip_mm: FloatArray) -> float | None:
    face = mesh.vertices[np.linalg.norm(mesh.vertices - nose_tip_mm, axis=1) < FACE_RADIUS_MM]
    if not len(face):
        return None
    image = face[:: max(1, len(face) // _SAMPLES)] * [-1.0, 1.0, 1.0]
    return round(float(np.median(np.abs(field.sdf(image)))), 3)


def _unit(directions: FloatArray) -> FloatArray:
    return np.asarray(directions / np.maximum(np.linalg.norm(directions, axis=1, keepdims=True), 1e-30))
