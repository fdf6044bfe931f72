"""The polygons of a mesh as its file has them: order, corners and UVs, for a mesh that must come back unchanged.

Shape legend: V vertices, P polygons, C corners, T texture vertices.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from imhead.errors import InputError, one_line
from imhead.io.scan_file import read_geometry
from imhead.io.text_numbers import numbers, unix_text, word_counts
from imhead.io.triangles import fan_triangles
from imhead.types import FloatArray, IntArray, UvMap

_POINT, _FLAT, _FACE = (re.compile(rb"^[ \t]*" + word + rb"(?![^\s#])([^\n#]*)", re.M) for word in (b"v", b"vt", b"f"))
_MAX_BYTES = 200 << 20
_FIELDS = (b"//", b"/0/")  # a corner without UV, as one with UV 0


@dataclass(frozen=True, eq=False)
class Polygons:
    """A mesh of polygons with any number of corners."""

    counts: IntArray
    """(P,) corners of each polygon."""
    corners: IntArray
    """(C,) vertices, polygon after polygon."""
    uv: FloatArray | None = None
    """(T, 2); None where the file has none."""
    uv_corners: IntArray | None = None
    """(C,) rows of `uv`; None where not every corner has one."""

    def triangles(self, vertices: int) -> IntArray:
        """(F, 3) the polygons cut into fans."""
        return fan_triangles(self.counts, self.corners, vertices, "the mesh")[0]

    def uv_map(self) -> UvMap | None:
        """UVs of the triangles."""
        if self.uv is None or self.uv_corners is None:
            return None
        return UvMap(self.uv, fan_triangles(self.counts, self.uv_corners, len(self.uv), "the mesh")[0])


def read_polygons(path: Path) -> tuple[FloatArray, Polygons]:
    """Vertices (V, 3) in file order, and polygons, of a mesh; formats other than .obj give triangles without UVs.

    Raises:
        InputError: as `read_geometry`, no faces, vertices that are not finite, or corners that cannot be read.
    """
    label = one_line(path)
    raw = read_geometry(path, max_bytes=_MAX_BYTES)
    if raw.faces is None or not len(raw.faces):
        raise InputError(f"{label}: holds points but no faces; give a mesh")
    if any("finite" in warning for warning in raw.warnings):
        raise InputError(f"{label}: some vertices are not finite, so their order would change; mend the mesh first")
    if path.suffix.lower() != ".obj":
        return raw.points, Polygons(np.full(len(raw.faces), 3), raw.faces.ravel())
    text = unix_text(path.read_bytes()).replace(b"\\\n", b" ")
    try:
        return raw.points, _polygons(text, len(raw.points))
    except ValueError as error:
        raise InputError(f"{label}: its faces cannot be read ({one_line(error, 80)}); export it again") from error


def _polygons(text: bytes, points: int) -> Polygons:
    rows = _FACE.findall(text)
    joined = b"\n".join(rows) + b"\n"
    counts = word_counts(joined)[: len(rows)]
    values = numbers(joined.replace(*_FIELDS).replace(b"/", b" "))
    width, odd = divmod(len(values), int(counts.sum()))
    if odd or not 1 <= width <= 3 or not (values == np.floor(values)).all():
        raise ValueError("corners are written in different ways")
    written = values.reshape(-1, width).astype(np.int64)
    corners = _from_zero(text, _POINT, written[:, 0], counts)
    if counts.min() < 3 or corners.min() < 0 or corners.max() >= points:
        raise ValueError("a face has too few corners, or one that there is not")
    flat = _FLAT.findall(text)
    if width == 1 or not flat or not written[:, 1].all():
        return Polygons(counts, corners)
    joined = b"\n".join(flat) + b"\n"
    columns = word_counts(joined)[: len(flat)]
    if not (columns == columns[0]).all() or columns[0] < 2:
        raise ValueError("texture vertices have different numbers of columns")
    uv = numbers(joined).reshape(len(flat), -1)[:, :2]
    uv_corners = _from_zero(text, _FLAT, written[:, 1], counts)
    if uv_corners.min() < 0 or uv_corners.max() >= len(uv) or not np.isfinite(uv).all():
        raise ValueError("a corner names a texture vertex that there is not")
    return Polygons(counts, corners, uv, uv_corners)


def _from_zero(text: bytes, kind: re.Pattern[bytes], indices: IntArray, counts: IntArray) -> IntArray:
    """Indices from 0; a negative one counts back from the newest row of its kind."""
    if indices.min() > 0:
        return indices - 1
    places = np.array([row.start() for row in kind.finditer(text)], dtype=np.int64)
    faces = np.array([row.start() for row in _FACE.finditer(text)], dtype=np.int64)
    before = np.repeat(np.searchsorted(places, faces), counts)
    return np.where(indices < 0, before + indices, indices - 1)


def polygon_obj(vertices: FloatArray, polygons: Polygons, notes: Mapping[str, str]) -> bytes:
    """A Wavefront OBJ with polygons and UVs as they are, its notes as comments."""
    lines = [f"# {' '.join(key.split())}: {' '.join(value.split())}" for key, value in notes.items()]
    lines += [f"v {x:.9g} {y:.9g} {z:.9g}" for x, y, z in vertices.tolist()]
    words = [str(k) for k in (polygons.corners + 1).tolist()]
    if polygons.uv is not None and polygons.uv_corners is not None:
        lines += [f"vt {u:.9g} {v:.9g}" for u, v in polygons.uv.tolist()]
        words = [f"{word}/{k}" for word, k in zip(words, (polygons.uv_corners + 1).tolist())]
    start = 0
    for count in polygons.counts.tolist():
        lines.append("f " + " ".join(words[start : start + count]))
        start += count
    return ("\n".join(lines) + "\n").encode()
