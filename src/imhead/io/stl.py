"""STL: read from its raw bytes, binary or ascii; written binary."""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping

import numpy as np

from imhead.errors import InputError
from imhead.io.raw_geometry import RawGeometry, checked_points
from imhead.surfaces.properties import face_normals
from imhead.types import Mesh

_RECORD = np.dtype([("normal", "<f4", (3,)), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
_HEADER_BYTES = 84  # 80 of text, 4 of the number of facets
_CORNER = re.compile(rb"\bvertex\s+(\S+)\s+(\S+)\s+(\S+)")


def read_stl(data: bytes, label: str) -> RawGeometry:
    """Corners of an STL, binary or ascii, three points per face; facet normals are ignored.

    Raises:
        InputError: not an STL, truncated, no facets, or NaN; one line.
    """
    if len(data) >= _HEADER_BYTES:
        promised = int.from_bytes(data[80:84], "little")
        held = (len(data) - _HEADER_BYTES) // _RECORD.itemsize
        # many binary files begin with 'solid' too, so the size decides
        exact = len(data) == _HEADER_BYTES + promised * _RECORD.itemsize
    else:
        promised, held, exact = 0, 0, False
    text = data[:5].lower() == b"solid" or data[:_HEADER_BYTES].lstrip()[:5].lower() == b"solid"
    if not exact and text:
        return _read_ascii_stl(data, label)
    looks_like_text = not any(b < 9 or 13 < b < 32 or b > 126 for b in data[:512])
    if not exact and (len(data) < _HEADER_BYTES or looks_like_text):
        raise InputError(f"{label}: is not an STL file, or it is cut within its header; is it another format, renamed?")
    if promised > held:
        raise InputError(
            f"{label}: its header promises {promised} facets, but the file holds {held}; it is truncated, copy it again"
        )
    if promised == 0:
        raise InputError(f"{label}: holds no facets; export the scan again")
    corners = np.frombuffer(data, _RECORD, promised, _HEADER_BYTES)["corners"]
    points = checked_points(corners.reshape(-1, 3), label)
    return RawGeometry(points, None, np.arange(len(points)).reshape(-1, 3))


def _read_ascii_stl(data: bytes, label: str) -> RawGeometry:
    lowered = data.lower()
    facets, closed = len(re.findall(rb"\bfacet\s+normal\b", lowered)), lowered.count(b"endfacet")
    if facets != closed or b"endsolid" not in lowered:
        raise InputError(f"{label}: its last facet or solid is not closed, the STL is truncated; copy it again")
    if facets == 0:
        raise InputError(f"{label}: holds no facets; export the scan again")
    found = _CORNER.findall(lowered)
    if len(found) != 3 * facets:
        raise InputError(f"{label}: {facets} STL facets have {len(found)} corners, not {3 * facets}; export it again")
    try:
        corners = np.array(found).astype(np.float64)
    except ValueError:
        raise InputError(f"{label}: an STL corner is not three numbers; export it again") from None
    points = checked_points(corners, label)
    return RawGeometry(points, None, np.arange(len(points)).reshape(-1, 3))


def stl_bytes(mesh: Mesh, notes: Mapping[str, str]) -> bytes:
    """A mesh as a binary STL; the notes go into its header, cut at 80 bytes."""
    corners = mesh.vertices[mesh.faces]
    records = np.zeros(len(corners), dtype=_RECORD)
    records["normal"] = face_normals(mesh)
    records["corners"] = corners
    # not 'solid' in front: readers take that for an ascii STL
    text = "; ".join(f"{key}: {value}" for key, value in notes.items()).encode("ascii", errors="backslashreplace")
    return (b"imhead " + text)[:80].ljust(80) + struct.pack("<I", len(records)) + records.tobytes()
