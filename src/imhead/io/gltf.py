"""glTF, as one .glb file or as .gltf with files beside it: the meshes of its scene, each where its node puts it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imhead.errors import InputError
from imhead.io.gltf_data import Damaged, GltfData
from imhead.io.gltf_scene import Part, scene_parts
from imhead.io.pictures import Pictures
from imhead.io.raw_geometry import RawGeometry, checked_geometry
from imhead.io.siblings import Beside
from imhead.io.triangles import check_indices
from imhead.types import ScanTexture

_HEADER_BYTES = 12
_JSON, _BIN = b"JSON", b"BIN\0"
_FREE_OBJECTS = 50_000
_BYTES_PER_OBJECT = 10
# raised by this package on a malformed description; anything else is a failure of its own
_MALFORMED = (Damaged, ValueError, LookupError, TypeError, AttributeError, ArithmeticError)


def read_glb(data: bytes, label: str, beside: Beside) -> RawGeometry:
    """Points and faces of all meshes of a GLB's scene; points alone if none has faces.

    Skins are applied in the pose of the file, morph targets with the weights of the file. Quantized, Draco- and
    meshopt-compressed meshes are unpacked. Colours of points and base colour pictures come along.

    Raises:
        InputError: not a GLB, truncated, larger than its bytes, NaN in a face, or an index out of range; one line.
    """
    text, chunk = _chunks(data, label)
    return _geometry(_description(text, label), chunk, len(data), label, beside)


def read_gltf(data: bytes, label: str, beside: Beside) -> RawGeometry:
    """Points and faces of all meshes of a glTF scene, with the files beside it; otherwise as `read_glb`.

    Raises:
        InputError: not a glTF, a file missing or outside the folder, or damaged as in `read_glb`; one line.
    """
    if not data[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
        raise InputError(f"{label}: is not a glTF file (it does not begin with '{{'); is it another format, renamed?")
    return _geometry(_description(data, label), None, len(data), label, beside)


def _chunks(data: bytes, label: str) -> tuple[bytes, bytes | None]:
    """The description and the binary part, whatever stands between or after them."""
    if data[:4] != b"glTF" or len(data) < 20:
        raise InputError(f"{label}: is not a GLB file (it does not begin with 'glTF'); is it another format, renamed?")
    version, total = int.from_bytes(data[4:8], "little"), int.from_bytes(data[8:12], "little")
    if version != 2:
        raise InputError(f"{label}: is glTF version {version}, only version 2 is read; export it again")
    text: bytes | None = None
    binary: bytes | None = None
    at = _HEADER_BYTES
    while at + 8 <= len(data) and binary is None:
        length, kind = int.from_bytes(data[at : at + 4], "little"), data[at + 4 : at + 8]
        if text is None and kind != _JSON:
            raise InputError(f"{label}: its GLB does not begin with a description, it is damaged; export it again")
        end = at + 8 + length
        if text is None:
            if end > len(data):
                raise InputError(
                    f"{label}: holds {len(data)} of the {total} bytes it promises; it is truncated, copy it again"
                )
            text = data[at + 8 : end]
        elif kind == _BIN:
            binary = data[at + 8 : end]  # where it is cut, the accessors say whether what is there is enough
        # some programs leave the padding out of the length of a chunk
        aligned = end + -end % 4
        at = end if data[end + 4 : end + 8] in (_JSON, _BIN) else aligned
    if text is None:
        raise InputError(f"{label}: its GLB ends before its description, it is truncated; copy it again")
    return text, binary


def _description(text: bytes, label: str) -> Mapping[str, Any]:
    """The JSON of a file; its depth and its number of objects are bounded."""
    if text.count(b"{") + text.count(b"[") > len(text) // _BYTES_PER_OBJECT + _FREE_OBJECTS:
        raise InputError(f"{label}: its glTF description holds too many empty objects; export it again")
    try:
        # a name in another encoding, or padding with zeros, is no reason to refuse a file
        tree = json.loads(text.rstrip(b"\0 \t\r\n").decode("utf-8-sig", errors="replace"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{label}: its glTF description is damaged ({_brief(error)}); export it again") from None
    if not isinstance(tree, dict):
        raise InputError(f"{label}: its glTF description is damaged (no object); export it again")
    return tree


def _brief(error: BaseException) -> str:
    text = " ".join(str(error).split())[:80]
    return ascii(text)[1:-1] or type(error).__name__


def _geometry(tree: Mapping[str, Any], chunk: bytes | None, size: int, label: str, beside: Beside) -> RawGeometry:
    data = GltfData(tree, chunk, label, beside, size)
    try:
        parts, looks, warnings = scene_parts(data)
    except InputError:
        raise
    except _MALFORMED as error:
        raise InputError(f"{label}: its glTF description is damaged ({_brief(error)}); export it again") from None
    meshes = [part for part in parts if part.faces is not None]
    clouds = sum(len(part.points) for part in parts if part.faces is None)
    if meshes and clouds:
        warnings += (f"{clouds} loose points beside the mesh were left out.",)
    used = meshes or parts
    if not used:
        raise InputError(f"{label}: holds no mesh and no points in its scene; export the scan again")
    triangles, first = [], 0
    for part in meshes:
        assert part.faces is not None
        # checked per mesh: an index past its end must not fall into the next mesh
        check_indices(part.faces, len(part.points), label)
        triangles.append(part.faces + first if first else part.faces)
        first += len(part.points)
    points = _joined([part.points for part in used])
    faces = _joined(triangles) if meshes else None
    colors = [part.colors for part in used if part.colors is not None]
    lit = _joined(colors) if len(colors) == len(used) else None
    texture = _texture(meshes, looks.pictures)
    return checked_geometry(points, label, faces=faces, warnings=warnings, colors=lit, texture=texture)


def _texture(meshes: list[Part], pictures: Pictures) -> ScanTexture | None:
    if all(part.uv is None for part in meshes):
        return None
    uv, rows = [], []
    for part in meshes:
        count = 0 if part.faces is None else len(part.faces)
        uv.append(np.zeros((count, 3, 2), dtype=np.float32) if part.uv is None else part.uv)
        rows.append(np.full(count, -1) if part.picture is None else part.picture)
    return ScanTexture(_joined(uv), _joined(rows), tuple(pictures.found))


def _joined(parts: list[NDArray[Any]]) -> NDArray[Any]:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)  # not copied where there is one
