"""Relief finer than the registered template, as maps on its UVs: rays from the texels along the normals to the scan.

A displacement map holds the height of the scan over the template, a normal map the slope of these heights in the
template's tangent space (x along u, y along v, z outwards). Where the scan shows nothing both say "flat".

Shape legend: S texels along a side, T texels, V vertices, F faces.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from scipy.ndimage import distance_transform_edt

from imhead.errors import InputError, system_refusal
from imhead.registration.matching import shown_faces
from imhead.registration.register import Registration
from imhead.surfaces.normals import vertex_normals
from imhead.surfaces.rays import first_hit, ray_caster
from imhead.surfaces.transforms import transform_points
from imhead.template.surface import TemplateSurface
from imhead.template.texels import flat_barycentric, texel_faces
from imhead.types import BoolArray, FloatArray, IntArray, Mesh, Scan

DISPLACEMENT_FILE, NORMAL_FILE = "displacement.png", "normal_map.png"
SIZE = 2048
_REACH_MM = 2.0
_MOST_BYTES, _PNG = 64 << 20, b"\x89PNG\r\n\x1a\n"
_ZERO = 32768  # of the 16-bit displacement
_STEP_MM = _REACH_MM / 32767.0
_FADE = 8  # texels over which the relief fades to what the scan does not show
_LEAST_COSINE = 0.5  # between the template's and the scan's normals
_LEAST_SHARE = 0.5  # of the relief's variance that is no noise; below it a map would show noise


@dataclass(frozen=True, eq=False)
class Relief:
    """Relief of a scan over a registered template."""

    height_mm: FloatArray
    """(S, S) float32, row 0 at v = 1."""
    normal: FloatArray
    """(S, S, 3) float32 unit vectors in tangent space."""
    shown: BoolArray
    """(S, S) texels that the scan shows."""

    def report(self) -> dict[str, object]:
        """The figures of report.json."""
        size = np.abs(self.height_mm[self.shown])
        return {
            "displacement_zero": _ZERO,
            "displacement_step_mm": _STEP_MM,
            "mean_mm": round(float(size.mean()), 4),
            "p99_mm": round(float(np.quantile(size, 0.99)), 4),
        }

    def displacement_png(self) -> bytes:
        """16 bit grey: height in mm = (value − 32768) · 2 / 32767, also written into the file as text."""
        values = np.clip(np.round(self.height_mm / _STEP_MM) + _ZERO, 0, 65535).astype(np.uint16)
        notes = PngInfo()
        notes.add_text("displacement", f"height in mm = (value - {_ZERO}) * {_STEP_MM:.9g}")
        return _png(Image.fromarray(values), notes)

    def normal_png(self) -> bytes:
        """8 bit RGB: (n + 1) / 2, green along v upwards, as glTF has it."""
        return _png(Image.fromarray(np.round((self.normal + 1.0) * 127.5).astype(np.uint8)), PngInfo())


def normal_map_beside(head: Path) -> bytes | None:
    """The normal map in the folder of a head file; None where there is none.

    Raises:
        InputError: the file there cannot be read, or is no PNG.
    """
    path = head.parent / NORMAL_FILE
    if not path.is_file():
        return None
    try:
        with path.open("rb") as opened:
            data = opened.read(_MOST_BYTES + 1)
    except OSError as error:
        raise InputError(f"{path}: cannot be opened {system_refusal(error)}") from error
    if not data.startswith(_PNG) or len(data) > _MOST_BYTES:
        raise InputError(f"{path}: is no normal map of a registration; take it away, or register the scan again")
    return data


def relief_of(registration: Registration, scan: Scan, scan_to_head: FloatArray, size: int = SIZE) -> Relief | None:
    """The relief of a scanned mesh over its registration; None for a cloud, and where noise would hide it.

    Args:
        registration: of the scan.
        scan: the scan.
        scan_to_head: (4, 4) its frame and units → head frame, mm.
        size: texels along a side.
    """
    if scan.faces is None or not len(scan.faces):
        return None
    mesh, template = registration.mesh, registration.template
    face = texel_faces(template.uv_map, size)
    wanted = shown_faces(template) & registration.measured[template.faces].all(axis=1)
    asked = np.flatnonzero((face >= 0) & wanted[face])
    height = np.zeros(size * size, dtype=np.float32)
    shown = np.zeros(size * size, dtype=bool)
    points = transform_points(scan_to_head, scan.points)
    shown[asked], height[asked] = _heights(mesh, template, face[asked], asked, size, points, scan.faces)
    if not shown.any():
        return None
    height[~shown] = 0.0
    share = 1.0 - registration.points.noise_mm**2 / max(float(height[shown].var()), 1e-12)
    if share < _LEAST_SHARE:
        return None
    inside, seen = (face >= 0).reshape(size, size), shown.reshape(size, size)
    # fade towards what the scan does not show, then carry the rims of the charts outwards, so that no seam shows
    fade = np.clip(distance_transform_edt(seen | ~inside) / _FADE, 0.0, 1.0).astype(np.float32)
    nearest = distance_transform_edt(~inside, return_distances=False, return_indices=True)
    smooth = (share * height.reshape(size, size) * fade)[tuple(nearest)]
    normal = _slopes(mesh, template, face.reshape(size, size), smooth)
    return Relief(np.where(inside, smooth, 0.0), normal, seen)


def _heights(
    mesh: Mesh, template: TemplateSurface, face: IntArray, texel: IntArray, size: int, points: FloatArray,
    scan_faces: IntArray,
) -> tuple[BoolArray, NDArray[np.float32]]:  # fmt: skip
    """Whether a ray from each texel (T,) meets the scan, and its height there (T,), mm."""
    row, column = np.divmod(texel, size)
    middle = np.column_stack([(column + 0.5) / size, 1.0 - (row + 0.5) / size])
    shares = flat_barycentric(middle, template.uv[template.uv_faces[face]])
    corners = template.faces[face]
    normals, _ = vertex_normals(mesh.vertices, mesh.faces)
    place = np.einsum("tk,tkc->tc", shares, mesh.vertices[corners])
    normal = np.einsum("tk,tkc->tc", shares, normals[corners])
    normal /= np.linalg.norm(normal, axis=1, keepdims=True).clip(1e-30)
    caster = ray_caster(Mesh(points, scan_faces))
    start = place + _REACH_MM * normal
    hit = first_hit(caster, start, -normal)
    met = np.maximum(hit, 0)
    across = caster.normals[met]
    across = across / np.linalg.norm(across, axis=1, keepdims=True).clip(1e-30)
    facing = np.einsum("tc,tc->t", across, normal)
    away = np.einsum("tc,tc->t", start - caster.corners[met, 0], across)
    # an inside-out scan has its normals the other way, and the distance to its plane has the same sign as they
    height = _REACH_MM - away / np.where(np.abs(facing) > 1e-6, facing, 1.0)
    found = (hit >= 0) & (np.abs(facing) > _LEAST_COSINE) & (np.abs(height) < _REACH_MM)
    return found, np.where(found, height, 0.0).astype(np.float32)


def _slopes(mesh: Mesh, template: TemplateSurface, face: IntArray, height: FloatArray) -> FloatArray:
    """(S, S, 3) normals in tangent space of heights (S, S), mm, at texels of faces (S, S)."""
    size = len(face)
    flat, solid = template.uv[template.uv_faces], mesh.vertices[template.faces]
    one, other = flat[:, 1] - flat[:, 0], flat[:, 2] - flat[:, 0]
    along, across = solid[:, 1] - solid[:, 0], solid[:, 2] - solid[:, 0]
    turn = one[:, 0] * other[:, 1] - one[:, 1] * other[:, 0]
    turn = np.where(np.abs(turn) > 1e-30, turn, 1.0)[:, None]
    by_u = (other[:, 1:] * along - one[:, 1:] * across) / turn  # mm for one unit of u
    by_v = (one[:, :1] * across - other[:, :1] * along) / turn
    tangent = np.linalg.norm(by_u, axis=1).clip(1e-12)
    skew = np.einsum("fc,fc->f", by_u, by_v) / tangent
    upright = np.linalg.norm(by_v - (skew / tangent)[:, None] * by_u, axis=1).clip(1e-12)
    held = np.maximum(face, 0)
    by_column, by_row = np.gradient(height, axis=1) * size, -np.gradient(height, axis=0) * size
    x = by_column / tangent[held]
    y = (by_row - skew[held] * x) / upright[held]
    normal = np.stack([-x, -y, np.ones_like(x)], axis=2)
    normal[face < 0] = (0.0, 0.0, 1.0)
    return (normal / np.linalg.norm(normal, axis=2, keepdims=True)).astype(np.float32)


def _png(picture: Image.Image, notes: PngInfo) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", pnginfo=notes, compress_level=4)
    return buffer.getvalue()
