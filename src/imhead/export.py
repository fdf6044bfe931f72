"""Meshes to files: PLY, OBJ, STL and GLB, written whole or not at all."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imhead.atomic import write_atomically
from imhead.conventions import GLTF_UNIT_MM, UNIT_MM
from imhead.curation.scanfile import one_line, read_geometry
from imhead.curation.surface import vertex_normals
from imhead.errors import InputError
from imhead.types import Mesh

MESH_EXTENSIONS: tuple[str, ...] = (".ply", ".obj", ".stl", ".glb")
"""Extensions that can be written, lower case, with their dot."""

_STL_RECORD = np.dtype([("normal", "<f4", (3,)), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
_ARRAY_BUFFER, _ELEMENT_BUFFER = 34962, 34963
_FLOAT, _UINT32, _UINT16 = 5126, 5125, 5123


def write_mesh(
    mesh: Mesh,
    path: Path,
    *,
    unit: str = "mm",
    colors: NDArray[np.uint8] | None = None,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write a mesh to a .ply (binary), .obj, .stl (binary) or .glb file, replacing the file in one step.

    Numbers go out as they are; only a GLB, whose unit is fixed, is turned into metres, and carries normals.

    Args:
        mesh: the mesh, vertices in `unit`.
        path: the file; its extension chooses the format.
        unit: mm, cm or m: the unit of `mesh.vertices`, noted in the file beside the metadata.
        colors: (V, 3) uint8 sRGB; not for STL.
        metadata: short texts: comments in PLY and OBJ, the header of an STL (cut at 80 bytes), `asset.extras` of a GLB.

    Raises:
        InputError: an unknown extension or unit, colours of the wrong shape or for an STL, no faces, a folder that
            cannot be written; one line.
    """
    path = Path(path)
    label = one_line(path)
    extension = path.suffix.lower()
    if extension not in MESH_EXTENSIONS:
        shown = ascii(path.suffix)[1:-1] or "no extension"
        raise InputError(
            f"{label}: {shown} is not a format that can be written; use one of {', '.join(MESH_EXTENSIONS)}"
        )
    if unit not in UNIT_MM:
        raise InputError(f"{label}: unit {unit!r} is not known; use one of {', '.join(UNIT_MM)}")
    if len(mesh.faces) == 0:
        raise InputError(f"{label}: the mesh has no faces, there is nothing to write")
    if colors is not None:
        if np.shape(colors) != (len(mesh.vertices), 3) or np.asarray(colors).dtype != np.uint8:
            raise InputError(
                f"{label}: colors have shape {np.shape(colors)} and type {np.asarray(colors).dtype}; "
                f"expected {(len(mesh.vertices), 3)} uint8"
            )
        if extension == ".stl":
            raise InputError(f"{label}: an STL cannot hold colours; write .ply, .obj or .glb, or leave the colours out")
    # one line each: a line break would end a comment
    notes = {" ".join(str(k).split()): " ".join(str(v).split()) for k, v in (metadata or {}).items()}
    notes["unit"] = "m" if extension == ".glb" else unit
    if extension == ".ply":
        data = _ply(mesh, colors, notes)
    elif extension == ".obj":
        data = _obj(mesh, colors, notes)
    elif extension == ".stl":
        data = _stl(mesh, notes)
    else:
        data = _glb(mesh, UNIT_MM[unit] / GLTF_UNIT_MM, colors, notes)
    write_atomically(path, data)


def read_mesh(path: Path) -> Mesh:
    """A mesh file as it is: vertices in file order and in the file's own unit, nothing merged or left out.

    Raises:
        InputError: the file cannot be read as a mesh, or holds points without faces; one line.
    """
    raw = read_geometry(Path(path))
    if raw.faces is None or len(raw.faces) == 0:
        raise InputError(f"{one_line(Path(path))}: holds points but no faces; give a mesh")
    return Mesh(raw.points, raw.faces)


def _coordinate_type(vertices: NDArray[np.floating[Any]]) -> str:
    """f4, or f8 where a large offset would cost f4 a millionth of the extent."""
    rounding = np.abs(vertices).max() * np.finfo(np.float32).eps
    return "f8" if rounding > 1e-6 * np.ptp(vertices, axis=0).max() else "f4"


def _ply(mesh: Mesh, colors: NDArray[np.uint8] | None, notes: Mapping[str, str]) -> bytes:
    kind = _coordinate_type(mesh.vertices)
    columns = [(axis, f"<{kind}") for axis in "xyz"]
    header = ["ply", "format binary_little_endian 1.0"]
    header += [f"comment {key}: {text}" for key, text in notes.items()]
    header += [f"element vertex {len(mesh.vertices)}"]
    header += [f"property {'double' if kind == 'f8' else 'float'} {axis}" for axis in "xyz"]
    if colors is not None:
        columns += [(name, "u1") for name in ("red", "green", "blue")]
        header += [f"property uchar {name}" for name in ("red", "green", "blue")]
    header += [f"element face {len(mesh.faces)}", "property list uchar int vertex_indices", "end_header"]
    vertices = np.empty(len(mesh.vertices), dtype=columns)
    for k, axis in enumerate("xyz"):
        vertices[axis] = mesh.vertices[:, k]
    if colors is not None:
        for k, name in enumerate(("red", "green", "blue")):
            vertices[name] = colors[:, k]
    faces = np.empty(len(mesh.faces), dtype=[("n", "u1"), ("corners", "<i4", (3,))])
    faces["n"], faces["corners"] = 3, mesh.faces
    # PLY headers are ascii; other letters are written as escapes
    text = "\n".join(header).encode("ascii", errors="backslashreplace")
    return text + b"\n" + vertices.tobytes() + faces.tobytes()


def _obj(mesh: Mesh, colors: NDArray[np.uint8] | None, notes: Mapping[str, str]) -> bytes:
    lines = [f"# {key}: {text}" for key, text in notes.items()]
    digits = 15 if _coordinate_type(mesh.vertices) == "f8" else 9
    tails = [""] * len(mesh.vertices)
    if colors is not None:
        tails = [f" {r:.4f} {g:.4f} {b:.4f}" for r, g, b in (colors / 255.0).tolist()]
    rows = zip(mesh.vertices.tolist(), tails)
    lines += [f"v {x:.{digits}g} {y:.{digits}g} {z:.{digits}g}{tail}" for (x, y, z), tail in rows]
    lines += [f"f {a} {b} {c}" for a, b, c in (mesh.faces + 1).tolist()]
    return ("\n".join(lines) + "\n").encode("utf-8")


def _stl(mesh: Mesh, notes: Mapping[str, str]) -> bytes:
    corners = mesh.vertices[mesh.faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    records = np.zeros(len(corners), dtype=_STL_RECORD)
    records["normal"] = np.divide(normals, length, out=np.zeros_like(normals), where=length > 0)
    records["corners"] = corners
    # not 'solid' in front: readers take that for an ascii STL
    text = "; ".join(f"{key}: {value}" for key, value in notes.items()).encode("ascii", errors="backslashreplace")
    return (b"imhead " + text)[:80].ljust(80) + struct.pack("<I", len(records)) + records.tobytes()


def _linear_colors(colors: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """(V, 4) 16-bit linear light with full opacity: COLOR_0 of glTF is linear, and 8 bits of it would band."""
    srgb = colors / 255.0
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    return np.column_stack([np.round(linear * 65535), np.full(len(colors), 65535)]).astype("<u2")


def _glb(mesh: Mesh, scale: float, colors: NDArray[np.uint8] | None, notes: Mapping[str, str]) -> bytes:
    points = (mesh.vertices * scale).astype("<f4")
    normals, _ = vertex_normals(mesh.vertices, mesh.faces)
    arrays: list[tuple[NDArray[Any], int, str, int]] = [
        (mesh.faces.astype("<u4").reshape(-1), _UINT32, "SCALAR", _ELEMENT_BUFFER),
        (points, _FLOAT, "VEC3", _ARRAY_BUFFER),
        (normals.astype("<f4"), _FLOAT, "VEC3", _ARRAY_BUFFER),
    ]
    attributes = {"POSITION": 1, "NORMAL": 2}
    if colors is not None:
        attributes["COLOR_0"] = len(arrays)
        arrays.append((_linear_colors(colors), _UINT16, "VEC4", _ARRAY_BUFFER))
    views, accessors, chunks, offset = [], [], [], 0
    for k, (array, component, kind, target) in enumerate(arrays):
        block = array.tobytes()
        views.append({"buffer": 0, "byteOffset": offset, "byteLength": len(block), "target": target})
        accessor: dict[str, Any] = {"bufferView": k, "componentType": component, "count": len(array), "type": kind}
        if component == _UINT16:
            accessor["normalized"] = True
        accessors.append(accessor)
        chunks.append(block)  # every array is a multiple of four bytes, as glTF wants it
        offset += len(block)
    accessors[1].update(min=points.min(axis=0).tolist(), max=points.max(axis=0).tolist())
    tree = {
        "asset": {"version": "2.0", "generator": "imhead", "extras": dict(notes)},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0, "name": "head"}],
        "meshes": [{"primitives": [{"attributes": attributes, "indices": 0, "material": 0, "mode": 4}]}],
        "materials": [{"pbrMetallicRoughness": {"metallicFactor": 0.0, "roughnessFactor": 0.7}}],
        "buffers": [{"byteLength": offset}],
        "bufferViews": views,
        "accessors": accessors,
    }
    text = json.dumps(tree, separators=(",", ":"), allow_nan=False).encode()
    text = text.ljust(-(-len(text) // 4) * 4)
    total = 12 + 8 + len(text) + 8 + offset
    return b"".join(
        [struct.pack("<4sII", b"glTF", 2, total), struct.pack("<I4s", len(text), b"JSON"), text]
        + [struct.pack("<I4s", offset, b"BIN\0"), *chunks]
    )
