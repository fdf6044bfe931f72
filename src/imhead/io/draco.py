"""Meshes compressed by Draco, unpacked by DracoPy, which the extra `draco` installs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imhead.errors import InputError
from imhead.types import IntArray

_MAGIC = b"DRACO"
_HEADER_BYTES = 11
_METADATA = 0x8000
_SLACK = 1 << 12
_MOST_PER_BYTE = 64


@dataclass(frozen=True, eq=False)
class DracoMesh:
    """An unpacked mesh."""

    attributes: dict[int, NDArray[Any]]
    """Columns (N, C) by their number."""
    faces: IntArray
    """(F, 3)."""


def decode_draco(span: memoryview, points: int, label: str) -> DracoMesh:
    """Unpack a mesh.

    Args:
        span: the stream.
        points: number of points that the file announces.
        label: the file, for messages.

    Raises:
        InputError: DracoPy is not installed, or the stream is damaged or announces more than its bytes can hold.
    """
    try:
        import DracoPy
    except ImportError:
        raise InputError(
            f"{label}: is compressed with Draco; run pip install 'imhead[draco]', or export it without compression"
        ) from None
    _check_counts(bytes(span[:64]), len(span), label)
    try:
        mesh = DracoPy.decode(bytes(span))
        faces = np.asarray(mesh.faces, dtype=np.int64).reshape(-1, 3)
        columns = {int(a["unique_id"]): np.asarray(a["data"]) for a in mesh.attributes}
    # the wrapper raises plain exceptions of many kinds on a damaged stream
    except Exception as error:
        reason = ascii(" ".join(str(error).split())[:60])[1:-1] or type(error).__name__
        raise InputError(f"{label}: its Draco data is damaged ({reason}); export it again") from None
    if any(len(column) > points for column in columns.values()):
        raise InputError(f"{label}: its Draco data holds more points than announced; export it again")
    return DracoMesh(columns, faces)


def _check_counts(head: bytes, size: int, label: str) -> None:
    """Refuse numbers of faces and points that so few bytes cannot hold: the decoder would allocate for them at once."""
    if len(head) < _HEADER_BYTES or head[:5] != _MAGIC:
        raise InputError(f"{label}: its Draco data is damaged (no header); export it again")
    version, kind, method = (head[5], head[6]), head[7], head[8]
    if kind != 1:
        raise InputError(f"{label}: its Draco data holds no mesh; export it without compression")
    if int.from_bytes(head[9:11], "little") & _METADATA or version < (2, 2):
        return  # numbers stand elsewhere; the decoder compares them itself
    at = _HEADER_BYTES + (1 if method == 1 else 0)
    for _ in range(2):
        value = shift = 0
        while at < len(head):
            byte = head[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
        if value > _MOST_PER_BYTE * size + _SLACK:
            raise InputError(
                f"{label}: its Draco data promises {value} points or faces, more than {size} bytes can hold; "
                "it is damaged, export it again"
            )
