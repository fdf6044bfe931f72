"""PLY: read from its raw bytes, every count, number and index checked before it is used; written binary."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imhead.errors import InputError
from imhead.io.pictures import color_bytes
from imhead.io.ply_header import Element, parse_header
from imhead.io.ply_rows import Table, read_rows
from imhead.io.raw_geometry import RawGeometry, checked_geometry, whole_numbers
from imhead.io.text_numbers import bad_word, leading_numbers, unix_text
from imhead.io.triangles import fan_triangles, strip_triangles
from imhead.types import FloatArray, IntArray, Mesh

_PLACE = ("x", "y", "z")
_NORMAL = ("nx", "ny", "nz")
_COLOR_NAMES = (("red", "green", "blue"), ("diffuse_red", "diffuse_green", "diffuse_blue"), ("r", "g", "b"))
_INDEX_NAMES = ("vertex_indices", "vertex_index")
_FACES, _STRIPS = "face", "tristrips"


def read_ply(data: bytes, label: str) -> RawGeometry:
    """Points, normals, colours and faces of a PLY: ascii or binary, either byte order, polygons of any size, strips.

    Elements and properties that say nothing about the surface are skipped; damage in them is left out with a warning.

    Raises:
        InputError: not a PLY, truncated, counts larger than the file, a face with a NaN point or an index out of
            range; one line.
    """
    header = parse_header(data, label)
    warnings = header.warnings
    body, start, odd = data, header.size, None
    elements = header.elements
    if header.is_ascii:
        values, odd = leading_numbers(_without_comments(data[header.size :]))
        body, start = values.tobytes(), 0
        elements = tuple(element.as_doubles() for element in elements)
    wanted = {element.name: _wanted(element) for element in elements}
    needed = max((k for k, element in enumerate(elements) if wanted[element.name]), default=-1)
    tables: dict[str, Table] = {}
    for element in elements[: needed + 1]:
        try:
            table, start = read_rows(body, start, element, wanted[element.name], label)
        except InputError:
            if odd is not None:
                raise bad_word(label, odd) from None
            raise
        tables.setdefault(element.name, table)
    if odd is not None:
        warnings += (f"Text after the numbers of the file, from {odd.decode('latin-1')[:20]!a} on, was left out.",)
    return _geometry(tables, elements, label, warnings)


def _without_comments(body: bytes) -> bytes:
    text = unix_text(body)
    if b"#" not in text:
        return text
    return b"\n".join(line.partition(b"#")[0] for line in text.split(b"\n"))


def _wanted(element: Element) -> frozenset[str]:
    """The columns of an element that say something about the surface."""
    names = {prop.name for prop in element.properties if prop.count_dtype is None}
    if element.name == "vertex":
        return frozenset(names & {*_PLACE, *_NORMAL}) | frozenset(_color_names(element))
    if element.name not in (_FACES, _STRIPS):
        return frozenset()
    lists = [prop.name for prop in element.properties if prop.count_dtype]
    known = [name for name in _INDEX_NAMES if name in lists]
    whole = [p.name for p in element.properties if p.count_dtype and p.whole]
    # any name will do where only one list can hold indices
    return frozenset(known[:1] or (whole if len(whole) == 1 else ()))


def _color_names(element: Element) -> tuple[str, ...]:
    """The columns of the colours of points; none where they are not there, each once."""
    names = [prop.name for prop in element.properties if prop.count_dtype is None]
    return next((found for found in _COLOR_NAMES if all(names.count(name) == 1 for name in found)), ())


def _colors(element: Element, values: Mapping[str, NDArray[Any]]) -> NDArray[np.uint8] | None:
    names = _color_names(element)
    if not names:
        return None
    whole = all(prop.whole for prop in element.properties if prop.name in names)
    return color_bytes(np.stack([values[name] for name in names], axis=1), whole=whole)


def _geometry(
    tables: dict[str, Table], elements: tuple[Element, ...], label: str, warnings: tuple[str, ...]
) -> RawGeometry:
    vertex = tables.get("vertex", Table({}, {})).values
    if not vertex.keys() >= set(_PLACE):
        promised = next((e.count for e in elements if e.name == "vertex"), 0)
        raise InputError(
            f"{label}: its PLY header has no vertex element with x, y and z, among {promised} rows; export it again"
        )
    points = np.stack([vertex[k] for k in _PLACE], axis=1)
    normals = None
    if vertex.keys() >= set(_NORMAL):
        with np.errstate(invalid="ignore"):  # NaN is allowed here: the caller then does without normals
            normals = np.stack([vertex[k] for k in _NORMAL], axis=1).astype(np.float64)
    parts: list[IntArray] = []
    for name in (_FACES, _STRIPS):
        if not any(element.name == name and element.count for element in elements):
            continue
        lists = tables[name].lists if name in tables else {}
        if not lists:
            raise InputError(f"{label}: its PLY faces have no list 'vertex_indices'; export it as plain triangles")
        counts, corners = (whole_numbers(a, "a face index of", label) for a in next(iter(lists.values())))
        if name == _STRIPS:
            parts.append(strip_triangles(counts, corners, len(points), label))
        else:
            fans, more = fan_triangles(counts, corners, len(points), label)
            parts.append(fans)
            warnings += more
    faces = parts[0] if len(parts) == 1 else np.concatenate(parts) if parts else None
    colors = _colors(next(e for e in elements if e.name == "vertex"), vertex)
    return checked_geometry(points, label, normals=normals, faces=faces, warnings=warnings, colors=colors)


def ply_bytes(
    mesh: Mesh,
    notes: Mapping[str, str],
    colors: NDArray[np.uint8] | None,
    *,
    doubles: bool,
    sigma_mm: FloatArray | None = None,
) -> bytes:
    """A mesh as a binary PLY, its notes as comments.

    Args:
        colors: (V, 3) sRGB.
        doubles: write the coordinates in double precision, not single.
        sigma_mm: (V,) how sure each vertex is; the property `quality`, which viewers can show.
    """
    columns = [(axis, "<f8" if doubles else "<f4") for axis in "xyz"]
    header = ["ply", "format binary_little_endian 1.0"]
    header += [f"comment {key}: {text}" for key, text in notes.items()]
    header += [f"element vertex {len(mesh.vertices)}"]
    header += [f"property {'double' if doubles else 'float'} {axis}" for axis in "xyz"]
    if colors is not None:
        columns += [(name, "u1") for name in ("red", "green", "blue")]
        header += [f"property uchar {name}" for name in ("red", "green", "blue")]
    if sigma_mm is not None:
        columns += [("quality", "<f4")]
        header += ["property float quality"]
    header += [f"element face {len(mesh.faces)}", "property list uchar int vertex_indices", "end_header"]
    vertices = np.empty(len(mesh.vertices), dtype=columns)
    for k, axis in enumerate("xyz"):
        vertices[axis] = mesh.vertices[:, k]
    if colors is not None:
        for k, name in enumerate(("red", "green", "blue")):
            vertices[name] = colors[:, k]
    if sigma_mm is not None:
        vertices["quality"] = sigma_mm
    faces = np.empty(len(mesh.faces), dtype=[("n", "u1"), ("corners", "<i4", (3,))])
    faces["n"], faces["corners"] = 3, mesh.faces
    # PLY headers are ascii; other letters are written as escapes
    text = "\n".join(header).encode("ascii", errors="backslashreplace")
    return text + b"\n" + vertices.tobytes() + faces.tobytes()
