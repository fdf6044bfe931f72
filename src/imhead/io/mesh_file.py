"""Meshes to files: PLY, OBJ, STL and GLB, written whole or not at all."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imhead.conventions import GLTF_UNIT_MM, UNIT_MM
from imhead.errors import InputError
from imhead.io.atomic import write_atomically
from imhead.io.glb_writer import glb_bytes
from imhead.io.scan_file import one_line, read_geometry
from imhead.surfaces.properties import face_normals
from imhead.types import Head, Mesh, MorphTargets, UvMap

MESH_EXTENSIONS: tuple[str, ...] = (".ply", ".obj", ".stl", ".glb")
"""Extensions that can be written, lower case, with their dot."""

_STL_RECORD = np.dtype([("normal", "<f4", (3,)), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])


def head_notes(head: Head) -> dict[str, str]:
    """What a mesh file says of the head in it: model, origin, licence."""
    return {
        "model": head.model_id,
        "model_hash": head.model_hash,
        "head": "; ".join(head.provenance),
        "licence": "weights: Apache-2.0; trained on heads drawn from ICT-FaceKit (MIT) and Anny (CC0)",
    }


def write_mesh(
    mesh: Mesh,
    path: Path,
    *,
    unit: str = "mm",
    colors: NDArray[np.uint8] | None = None,
    metadata: Mapping[str, str] | None = None,
    uv: UvMap | None = None,
    morphs: MorphTargets | None = None,
    quantized: bool = False,
) -> None:
    """Write a mesh to a .ply (binary), .obj, .stl (binary) or .glb file, replacing the file in one step.

    Numbers go out as they are; only a GLB, whose unit is fixed, is turned into metres, and carries normals.

    Args:
        mesh: the mesh, vertices in `unit`.
        path: the file; its extension chooses the format.
        unit: mm, cm or m: the unit of `mesh.vertices`, noted in the file beside the metadata.
        colors: (V, 3) uint8 sRGB; not for STL.
        metadata: short texts: comments in PLY and OBJ, the header of an STL (cut at 80 bytes), `asset.extras` of a GLB.
        uv: goes into OBJ and GLB; PLY and STL have no place for it, and go without.
        morphs: go into a GLB, as morph targets under their names; the other formats go without.
        quantized: a GLB with 16-bit places, for the web; the other formats know no such thing and refuse it.

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
    if uv is not None and uv.faces.shape != mesh.faces.shape:
        raise InputError(f"{label}: the UVs are for {len(uv.faces)} faces, the mesh has {len(mesh.faces)}")
    if quantized and extension != ".glb":
        raise InputError(f"{label}: only a .glb can be quantized; write one, or leave it as it is")
    # one line each: a line break would end a comment
    notes = {" ".join(str(k).split()): " ".join(str(v).split()) for k, v in (metadata or {}).items()}
    notes["unit"] = "m" if extension == ".glb" else unit
    if extension == ".ply":
        data = _ply(mesh, colors, notes)
    elif extension == ".obj":
        data = _obj(mesh, colors, notes, uv)
    elif extension == ".stl":
        data = _stl(mesh, notes)
    else:
        metres = UNIT_MM[unit] / GLTF_UNIT_MM
        data = glb_bytes(mesh, metres, notes, colors=colors, uv=uv, morphs=morphs, quantized=quantized)
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


def _obj(mesh: Mesh, colors: NDArray[np.uint8] | None, notes: Mapping[str, str], uv: UvMap | None) -> bytes:
    lines = [f"# {key}: {text}" for key, text in notes.items()]
    digits = 15 if _coordinate_type(mesh.vertices) == "f8" else 9
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


def _stl(mesh: Mesh, notes: Mapping[str, str]) -> bytes:
    corners = mesh.vertices[mesh.faces]
    records = np.zeros(len(corners), dtype=_STL_RECORD)
    records["normal"] = face_normals(mesh)
    records["corners"] = corners
    # not 'solid' in front: readers take that for an ascii STL
    text = "; ".join(f"{key}: {value}" for key, value in notes.items()).encode("ascii", errors="backslashreplace")
    return (b"imhead " + text)[:80].ljust(80) + struct.pack("<I", len(records)) + records.tobytes()
