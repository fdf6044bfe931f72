"""The template's fixed topology: faces, UVs and parts, and the position of each vertex on the registered source.

One file serves all models, so that a vertex keeps its number from one training to the next. It was made by
`python tools/template_topology.py` and holds no vertex or polygon of the source: each vertex lies inside one of the
source's faces.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from importlib import resources
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from imhead.checkpoint import read_tensors
from imhead.errors import InputError
from imhead.io.atomic import write_atomically
from imhead.types import FloatArray, IntArray

TOPOLOGY_FORMAT = "imhead-topology-1"
SKIN, MOUTH, LEFT_EYE, RIGHT_EYE = range(4)


@dataclass(frozen=True, eq=False)
class Topology:
    """Faces, UVs and parts. V vertices, of which the first `half` lie on the left or the midline; T UV vertices."""

    faces: IntArray
    """(F, 3) counter-clockwise seen from outside."""
    uv: FloatArray
    """(T, 2) in [0, 1], v upwards."""
    uv_faces: IntArray
    """(F, 3) rows of `uv`, corner by corner as in `faces`."""
    part: IntArray
    """(V,) SKIN, MOUTH (the cavity behind the lips), LEFT_EYE or RIGHT_EYE."""
    twin: IntArray
    """(V,) the mirrored vertex; itself on the midline."""
    source_corners: IntArray
    """(V, 3) corners of the source face that holds the vertex."""
    source_weights: FloatArray
    """(V, 3) barycentric weights of those corners."""

    @property
    def half(self) -> int:
        """Vertices of the left side and the midline; they come first."""
        return int((self.twin >= np.arange(len(self.twin))).sum())

    def place(self, source: FloatArray) -> FloatArray:
        """Values (…, V, C) at the template's vertices, interpolated from values (…, S, C) at the source's."""
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
        InputError: no such file, damaged, or not a topology.
    """
    path = path or Path(str(resources.files("imhead") / "assets" / "topology.safetensors"))
    tensors, _ = read_tensors(path, "topology", TOPOLOGY_FORMAT)
    names = {spec.name for spec in fields(Topology)}
    if set(tensors) != names:
        raise InputError(f"{path}: holds no topology ({', '.join(sorted(names.symmetric_difference(tensors)))})")
    arrays = {name: value if value.is_floating_point() else value.long() for name, value in tensors.items()}
    return Topology(**{name: value.numpy() for name, value in arrays.items()})
