"""Wavefront OBJ: read with every row checked, because trimesh cuts short rows and wraps index 0 silently; written."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from imhead.errors import InputError
from imhead.io.raw_geometry import RawGeometry, bad_row, checked_points, fan_triangles, index_array
from imhead.types import Mesh, UvMap


def read_obj(data: bytes, label: str) -> RawGeometry:
    """Points and faces of a Wavefront OBJ; materials, texture coordinates, lines and groups are ignored.

    The normals of the file are kept only if it has no faces and one normal per point.

    Raises:
        InputError: no points, a row that cannot be read, NaN, or an index out of range; one line.
    """
    points: list[list[float]] = []
    normals: list[list[float]] = []
    counts: list[int] = []
    corners: list[int] = []
    for number, line in enumerate(data.replace(b"\\\r\n", b" ").replace(b"\\\n", b" ").splitlines(), start=1):
        words = line.split()
        if not words or words[0] not in (b"v", b"vn", b"f"):
            continue
        try:
            if words[0] == b"f":
                numbers = [int(word.split(b"/", 1)[0]) for word in words[1:]]
                # OBJ counts from 1; a negative number counts back from the newest point
                corners.extend(n - 1 if n >= 0 else (len(points) + n if len(points) + n >= 0 else n) for n in numbers)
                counts.append(len(numbers))
            else:
                x, y, z = words[1:4]
                (points if words[0] == b"v" else normals).append([float(x), float(y), float(z)])
        except ValueError:
            raise bad_row(label, number, line) from None
    if not points:
        raise InputError(
            f"{label}: is not an OBJ with points (no line begins with 'v'); is it another format, renamed?"
        )
    array = checked_points(np.array(points), label)
    if not counts:
        return RawGeometry(array, np.array(normals) if len(normals) == len(points) else None, None)
    indices = index_array(corners, len(points))
    faces, warnings = fan_triangles(np.array(counts, dtype=np.int64), indices, len(points), label)
    return RawGeometry(array, None, faces, warnings)


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
