"""The UVs, materials and pictures of a Wavefront OBJ. What is wrong in them costs the colours, never the scan.

Shape legend: T texture vertices, P polygons, C corners, F triangles.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np

from imhead.errors import InputError
from imhead.io.mtl import rows_of_materials
from imhead.io.pictures import Pictures
from imhead.io.siblings import Beside
from imhead.io.text_numbers import first_columns, numbers, pieces, word_counts
from imhead.io.triangles import fan_triangles
from imhead.types import FloatArray, IntArray, ScanTexture

_LIBRARY = re.compile(rb"^[ \t]*mtllib[ \t]+([^\n]*)", re.M)
_USED = re.compile(rb"^[ \t]*usemtl(?:[ \t]+([^\n]*))?$", re.M)
_FLAT = re.compile(rb"^[ \t]*vt(?![^\s#])([^\n#]*)", re.M)
_FACE = re.compile(rb"^[ \t]*f(?![^\s#])([^\n#]*)", re.M)
_MOST_NAMES = 10_000
_UNREADABLE = "Its texture coordinates cannot be read, so its colours were left out."


def read_texture(text: bytes, label: str, beside: Beside) -> tuple[ScanTexture | None, tuple[str, ...]]:
    """The pictures on the faces of an OBJ whose faces have been read, and warnings.

    Args:
        text: the OBJ, its lines whole and ended by LF.
        label: the file, for messages.
        beside: the files in its folder.

    Returns:
        The texture of the triangles, in the order in which `read_obj` cuts them, or None.
    """
    if b"vt" not in text or b"usemtl" not in text:
        return None, ()
    libraries = list(dict.fromkeys(_name(match.group(1)) for match in _LIBRARY.finditer(text)))[:_MOST_NAMES]
    if not libraries:
        return None, ()
    try:
        uv, counts, corners, material, names = _rows(text)
    except (ValueError, InputError):
        return None, (_UNREADABLE,)
    pictures = Pictures()
    rows, warnings = rows_of_materials(libraries, names, beside, pictures)
    if not any(picture.shape[0] * picture.shape[1] > 1 for picture in pictures.found):
        return None, warnings
    # the corners of each triangle, cut as the faces are
    fans, _ = fan_triangles(counts, np.arange(len(corners)), len(corners), label)
    flat = corners[fans]
    polygon = np.repeat(np.arange(len(counts)), counts)[fans[:, 0]]
    picture = np.array([*rows, -1], dtype=np.int64)[material[polygon]]
    picture[(flat < 0).any(axis=1)] = -1
    return ScanTexture(uv[np.maximum(flat, 0)], picture, tuple(pictures.found)), warnings


def _name(written: bytes | None) -> str:
    return (written or b"").decode("utf-8", errors="replace").strip()


def _rows(text: bytes) -> tuple[FloatArray, IntArray, IntArray, IntArray, list[str]]:
    """Texture vertices (T, 2), corners of each polygon (P,), their texture vertices (C,), -1 for none, the material of
    each polygon (P,), -1 for none, and the names of the materials.

    Raises:
        ValueError: a row that is not as it should be.
    """
    uv, counts, corners, material = [], [], [], []
    names: dict[str, int] = {}
    current, known = -1, 0
    for _, piece in pieces(text):
        flat = _FLAT.findall(piece)
        if flat:
            uv.append(_two_columns(flat))
        faces = _FACE.findall(piece)
        switches = list(_USED.finditer(piece))
        if faces:
            sizes, own = _flat_corners(faces)
            before: IntArray = np.full(len(own), known + len(flat))
            if own.min(initial=0) < 0:
                before = np.repeat(known + _count_before(piece, _FLAT), sizes)
            counts.append(sizes)
            corners.append(np.where(own < 0, before + own, own - 1))
            where = np.full(len(faces), current)
            if switches:
                starts = _starts(piece, _FACE)
                for match in switches:
                    current = _number(names, match)
                    where[np.searchsorted(starts, match.start()) :] = current
            material.append(where)
        elif switches:
            current = _number(names, switches[-1])
        known += len(flat)
    table = np.concatenate(uv)
    joined = np.concatenate(corners)
    if joined.max(initial=-1) >= len(table) or joined.min(initial=0) < -1 or not np.isfinite(table).all():
        raise ValueError("a corner names no texture vertex")
    return table, np.concatenate(counts), joined, np.concatenate(material), list(names)


def _number(names: dict[str, int], match: re.Match[bytes]) -> int:
    if len(names) >= _MOST_NAMES:
        raise ValueError("too many materials")
    return names.setdefault(_name(match.group(1)), len(names))


def _two_columns(rows: Iterable[bytes]) -> FloatArray:
    joined = b"\n".join(rows) + b"\n"
    counts, values = word_counts(joined), numbers(joined)
    if counts.min() < 2 or len(values) != counts.sum():
        raise ValueError("a texture vertex has fewer than two numbers")
    return first_columns(values, counts, 2)


def _flat_corners(rows: Iterable[bytes]) -> tuple[IntArray, IntArray]:
    """Corners of each face, and the texture vertex of each corner as written; 0 where it has none."""
    joined = b"\n".join(rows) + b"\n"
    sizes = word_counts(joined)
    values = numbers(joined.replace(b"//", b"/0/").replace(b"/", b" "))
    for width in (2, 3):
        if len(values) == width * sizes.sum():
            return sizes, values.reshape(-1, width)[:, 1].astype(np.int64)
    if len(values) == sizes.sum():
        return sizes, np.zeros(len(values), dtype=np.int64)
    raise ValueError("corners of one face are written in different ways")


def _starts(piece: bytes, kind: re.Pattern[bytes]) -> IntArray:
    return np.array([row.start() for row in kind.finditer(piece)], dtype=np.int64)


def _count_before(piece: bytes, kind: re.Pattern[bytes]) -> IntArray:
    """How many rows of a kind stand before each face."""
    return np.searchsorted(_starts(piece, kind), _starts(piece, _FACE))
