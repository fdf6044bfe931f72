"""Wavefront OBJ: read with every row checked, because trimesh cuts short rows and wraps index 0 silently; written."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from imhead.errors import InputError
from imhead.io.obj_texture import read_texture
from imhead.io.pictures import color_bytes
from imhead.io.raw_geometry import RawGeometry, checked_geometry, whole_numbers
from imhead.io.siblings import Beside
from imhead.io.text_numbers import bad_row, first_columns, numbers, pieces, unix_text, word_counts
from imhead.io.triangles import fan_triangles
from imhead.types import FloatArray, IntArray, Mesh, UvMap

# rows from the word to the end of the line or its comment
_POINT, _NORMAL, _FACE = (
    re.compile(rb"^[ \t]*" + word + rb"(?![^\s#])([^\n#]*)", re.M) for word in (b"v", b"vn", b"f")
)
_BESIDE_POINT = re.compile(rb"/\S*")


def read_obj(data: bytes, label: str, beside: Beside) -> RawGeometry:
    """Points, faces and colours of a Wavefront OBJ; lines and groups are ignored.

    The normals of the file are kept only if it has no faces and one normal per point. Colours are those behind the
    coordinates of the points, and the pictures of its materials.

    Raises:
        InputError: no points, a row that cannot be read, a face with a NaN point or an index out of range; one line.
    """
    text = unix_text(data)
    if b"\\\n" in text:
        text = text.replace(b"\\\n", b" ")
    points: list[FloatArray] = []
    colors: list[FloatArray | None] = []
    counts: list[IntArray] = []
    corners: list[IntArray] = []
    known = 0
    for start, piece in pieces(text):
        rows = _POINT.findall(piece)
        if rows:
            places, own = _point_rows(text, start, piece, rows, label)
            points.append(places)
            colors.append(own)
        faces = _FACE.findall(piece)
        if faces:
            sizes, indices = _face_rows(text, start, piece, faces, label)
            counts.append(sizes)
            corners.append(_from_zero(indices, sizes, piece, known))
        known += len(rows)
    if not points:
        raise InputError(
            f"{label}: is not an OBJ with points (no line begins with 'v'); is it another format, renamed?"
        )
    array = np.concatenate(points)
    known_colors = [own for own in colors if own is not None]
    lit = color_bytes(np.concatenate(known_colors), whole=False) if len(known_colors) == len(points) else None
    if not counts:
        normals, warnings = _normals(text, len(array))
        return checked_geometry(array, label, normals=normals, warnings=warnings, colors=lit)
    triangles, warnings = fan_triangles(np.concatenate(counts), np.concatenate(corners), len(array), label)
    del counts, corners
    texture, more = read_texture(text, label, beside)
    return checked_geometry(array, label, faces=triangles, warnings=(*warnings, *more), colors=lit, texture=texture)


def _point_rows(
    text: bytes, start: int, piece: bytes, rows: list[bytes], label: str
) -> tuple[FloatArray, FloatArray | None]:
    """Coordinates (R, 3), and the colours (R, 3) behind them; None where not every row has six numbers."""
    joined = b"\n".join(rows)
    counts = word_counts(joined)[: len(rows)]
    try:
        values = numbers(joined)
        if len(counts) < len(rows) or counts.min() < 3 or len(values) != counts.sum():
            raise ValueError
    except ValueError:
        raise _first_bad_row(text, start, piece, _POINT, 3, label) from None
    colors = values.reshape(-1, 6)[:, 3:].copy() if (counts == 6).all() else None
    return first_columns(values, counts, 3), colors


def _face_rows(text: bytes, start: int, piece: bytes, rows: list[bytes], label: str) -> tuple[IntArray, IntArray]:
    joined = b"\n".join(rows) + b"\n"
    if b"/" in joined:
        joined = _BESIDE_POINT.sub(b"", joined)
    counts = word_counts(joined)
    try:
        values = whole_numbers(numbers(joined), "a face index of", label)
        if len(values) != counts.sum():
            raise ValueError
    except ValueError:
        raise _first_bad_row(text, start, piece, _FACE, 0, label) from None
    return counts, values


def _first_bad_row(
    text: bytes, start: int, piece: bytes, kind: re.Pattern[bytes], least: int, label: str
) -> InputError:
    """The error that names the first row of its kind that is not made of numbers."""
    for row in kind.finditer(piece):
        written = _BESIDE_POINT.sub(b"", row.group(1)) if kind is _FACE else row.group(1)
        words = written.split()
        try:
            values = numbers(written)
            wrong = len(values) != len(words) or len(words) < least
            wrong = wrong or (kind is _FACE and not (values == np.floor(values)).all())
        except ValueError:
            wrong = True
        if wrong:
            whole_row = row.group().lstrip()
            return bad_row(label, text.count(b"\n", 0, start + row.start()) + 1, whole_row)
    return InputError(f"{label}: a row cannot be read; the file is damaged, export it again")


def _from_zero(indices: IntArray, counts: IntArray, piece: bytes, known: int) -> IntArray:
    """Indices that count from 0; OBJ counts from 1, and a negative number counts back from the newest point."""
    if not len(indices) or indices.min() > 0:
        return indices - 1
    places = np.array([row.start() for row in _POINT.finditer(piece)], dtype=np.int64)
    rows = np.array([row.start() for row in _FACE.finditer(piece)], dtype=np.int64)
    before = np.repeat(known + np.searchsorted(places, rows), counts)
    return np.where(indices < 0, np.where(before + indices >= 0, before + indices, indices), indices - 1)


def _normals(text: bytes, count: int) -> tuple[FloatArray | None, tuple[str, ...]]:
    """The normals of a cloud if there is one for each point; damaged ones are left out with a warning."""
    rows = _NORMAL.findall(text)
    if len(rows) != count:
        return None, ()
    joined = b"\n".join(rows) + b"\n"
    try:
        values = numbers(joined)
    except ValueError:
        values = np.zeros(0)
    if len(values) != 3 * count:
        return None, (f"The {count} normals of the file cannot be read and were left out.",)
    return values.reshape(-1, 3), ()


def obj_bytes(
    mesh: Mesh, notes: Mapping[str, str], colors: NDArray[np.uint8] | None, uv: UvMap | None, *, doubles: bool
) -> bytes:
    """A mesh as a Wavefront OBJ, its notes as comments.

    Args:
        colors: (V, 3) sRGB, written behind the coordinates of each vertex.
        doubles: write 15 significant digits, not 9.
    """
    lines = [f"# {key}: {text}" for key, text in notes.items()]
    digits = 15 if doubles else 9
    tails = [""] * len(mesh.vertices)
    if colors is not None:
        tails = [f" {r:.4f} {g:.4f} {b:.4f}" for r, g, b in (colors / 255.0).tolist()]
    rows = zip(mesh.vertices.tolist(), tails)
    lines += [f"v {x:.{digits}g} {y:.{digits}g} {z:.{digits}g}{tail}" for (x, y, z), tail in rows]
    if uv is None:
        lines += [f"f {a} {b} {c}" for a, b, c in (mesh.faces + 1).tolist()]
    else:
        lines += [f"vt {u:.6f} {v:.6f}" for u, v in uv.uv.tolist()]
        corners = np.stack([mesh.faces, uv.faces], axis=2).reshape(-1, 6) + 1
        lines += [f"f {a}/{i} {b}/{j} {c}/{k}" for a, i, b, j, c, k in corners.tolist()]
    return ("\n".join(lines) + "\n").encode("utf-8")
