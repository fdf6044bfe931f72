"""The template's fixed topology: faces, UVs and parts, and where each vertex lies on the registered source.

One file for all models, made once by `python tools/template_topology.py`, so that a vertex keeps its number from one
training to the next. It holds no vertex and no polygon of the source: each of ours is a place inside one of its faces.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from imhead.errors import InputError
from imhead.io.atomic import write_atomically
from imhead.types import FloatArray, IntArray

TOPOLOGY_FORMAT = "imhead-topology-1"
SKIN, MOUTH, LEFT_EYE, RIGHT_EYE = range(4)
PART_NAMES = ("skin", "mouth", "left_eye", "right_eye")
"""Names of the parts, in the order of their numbers."""
OPENINGS = ("left_eye", "right_eye", "neck")
"""The open borders of the surface: two lid rims that go in behind the eyeballs, and the cut below the shoulders."""


@dataclass(frozen=True, eq=False)
class Topology:
    """Faces, UVs and parts. V vertices, of which the first `half` lie on the left or the midline; T UV vertices."""

    faces: IntArray
    """(F, 3) counter-clockwise seen from outside."""
    uv: FloatArray
    """(T, 2) in [0, 1], v upwards."""
    uv_faces: IntArray
    """(F, 3) into `uv`: a face's corners in the order of `faces`."""
    part: IntArray
    """(V,) SKIN, MOUTH (the socket behind the lips), LEFT_EYE or RIGHT_EYE."""
    twin: IntArray
    """(V,) the mirrored vertex; itself on the midline."""
    source_corners: IntArray
    """(V, 3) vertices of the registered source whose face holds the vertex."""
    source_weights: FloatArray
    """(V, 3) barycentric weights of those."""

    @property
    def half(self) -> int:
        """Vertices of the left side and the midline; they come first."""
        return int((self.twin >= np.arange(len(self.twin))).sum())

    def place(self, source: FloatArray) -> FloatArray:
        """Values (…, V, C) at the template's vertices, from values (…, S, C) at the source's."""
        placed: FloatArray = np.einsum("...vkc,vk->...vc", source[..., self.source_corners, :], self.source_weights)
        return placed


def save_topology(topology: Topology, path: Path) -> None:
    """Write the topology file."""
    tensors = {spec.name: np.ascontiguousarray(getattr(topology, spec.name)) for spec in fields(Topology)}
    for name, value in tensors.items():
        tensors[name] = value.astype(np.float32 if np.issubdtype(value.dtype, np.floating) else np.int32)
    write_atomically(path, save(tensors, {"format": TOPOLOGY_FORMAT}))


def load_topology(path: Path | None = None) -> Topology:
    """The topology that ships with the package, or one from a file.

    Raises:
        InputError: no such file, or not a topology.
    """
    path = path or Path(str(resources.files("imhead") / "assets" / "topology.safetensors"))
    if not path.is_file():
        raise InputError(f"{path}: no such topology; install imhead again")
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(f"{path}: damaged or not a safetensors file; get the file again") from error
    names = {spec.name for spec in fields(Topology)}
    if set(tensors) != names:
        raise InputError(f"{path}: holds no topology ({', '.join(sorted(names.symmetric_difference(tensors)))})")
    arrays: dict[str, NDArray[Any]] = {
        k: v if v.dtype == np.float32 else v.astype(np.int64) for k, v in tensors.items()
    }
    return Topology(**arrays)
