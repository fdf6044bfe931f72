"""STL, binary or ascii, read from its raw bytes."""

from __future__ import annotations

import re

import numpy as np

from imhead.errors import InputError
from imhead.io.raw_geometry import RawGeometry, checked_points

_STL_RECORD = np.dtype([("normal", "<f4", (3,)), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])


_STL_HEADER = 84


_STL_CORNER = re.compile(rb"\bvertex\s+(\S+)\s+(\S+)\s+(\S+)")


def read_stl(data: bytes, label: str) -> RawGeometry:
    """Corners of an STL, binary or ascii, three points to a face; facet normals are passed over.

    Raises:
        InputError: not an STL, truncated, no facets, or NaN; one line.
    """
    if len(data) >= _STL_HEADER:
        promised = int.from_bytes(data[80:84], "little")
        held = (len(data) - _STL_HEADER) // _STL_RECORD.itemsize
        # many binary files begin with 'solid' too, so the size decides
        exact = len(data) == _STL_HEADER + promised * _STL_RECORD.itemsize
    else:
        promised, held, exact = 0, 0, False
    text = data[:5].lower() == b"solid" or data[:_STL_HEADER].lstrip()[:5].lower() == b"solid"
    if not exact and text:
        return _read_ascii_stl(data, label)
    looks_like_text = not any(b < 9 or 13 < b < 32 or b > 126 for b in data[:512])
    if not exact and (len(data) < _STL_HEADER or looks_like_text):
        raise InputError(f"{label}: is not an STL file, or it is cut within its header; is it another format, renamed?")
    if promised > held:
        raise InputError(
            f"{label}: its header promises {promised} facets, but the file holds {held}; it is truncated, copy it again"
        )
    if promised == 0:
        raise InputError(f"{label}: holds no facets; export the scan again")
    corners = np.frombuffer(data, _STL_RECORD, promised, _STL_HEADER)["corners"]
    points = checked_points(corners.reshape(-1, 3), label)
    return RawGeometry(points, None, np.arange(len(points)).reshape(-1, 3))


def _read_ascii_stl(data: bytes, label: str) -> RawGeometry:
    lowered = data.lower()
    facets, closed = len(re.findall(rb"\bfacet\s+normal\b", lowered)), lowered.count(b"endfacet")
    if facets != closed or b"endsolid" not in lowered:
        raise InputError(f"{label}: its last facet or solid is not closed, the STL is truncated; copy it again")
    if facets == 0:
        raise InputError(f"{label}: holds no facets; export the scan again")
    found = _STL_CORNER.findall(lowered)
    if len(found) != 3 * facets:
        raise InputError(f"{label}: {facets} STL facets have {len(found)} corners, not {3 * facets}; export it again")
    try:
        corners = np.array(found).astype(np.float64)
    except ValueError:
        raise InputError(f"{label}: an STL corner is not three numbers; export it again") from None
    points = checked_points(corners, label)
    return RawGeometry(points, None, np.arange(len(points)).reshape(-1, 3))
