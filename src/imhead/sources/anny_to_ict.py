"""The fixed correspondence from Anny to ICT-FaceKit: for each vertex of ICT's topology its place on Anny's surface.

It ships with the package; tools/anny_places.py found it once by registering the two mean heads.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib import resources

import numpy as np
from safetensors.numpy import load

from imhead.errors import InputError
from imhead.sources.anny import AnnyModel
from imhead.types import FloatArray, IntArray

ASSET = "anny_to_ict.safetensors"


@dataclass(frozen=True, eq=False)
class AnnyToIct:
    """Places of ICT's vertices on Anny's faces."""

    corners: IntArray
    """(V, 3) vertices of Anny around the place of each vertex of ICT."""
    shares: FloatArray
    """(V, 3) float32 barycentric, summing to one."""

    def carried(self, vertices: FloatArray) -> FloatArray:
        """ICT's topology (V, 3) float32 on a head of Anny, given its vertices (W, 3), posed or not."""
        return np.einsum("vk,vkc->vc", self.shares, vertices[self.corners].astype(np.float32))


def topology_digest(anny: AnnyModel) -> str:
    """Hash of the faces that the places refer to."""
    faces = np.concatenate([anny.skin_faces, anny.eye_faces]).astype(np.int64)
    return hashlib.sha256(np.ascontiguousarray(faces).tobytes()).hexdigest()[:16]


def read_anny_to_ict(anny: AnnyModel) -> AnnyToIct:
    """The correspondence for the heads of `anny`.

    Raises:
        InputError: it was found for other faces of Anny.
    """
    digest, corners, shares = _shipped()
    if digest != topology_digest(anny):
        raise InputError("Anny's arrays have other faces than the correspondence to ICT; delete them from the cache")
    return AnnyToIct(corners, shares)


@cache
def _shipped() -> tuple[str, IntArray, FloatArray]:
    tensors = load((resources.files("imhead") / "assets" / ASSET).read_bytes())
    shares = tensors["shares"]
    whole = np.stack([shares[:, 0], shares[:, 1], 1.0 - shares[:, 0] - shares[:, 1]], axis=1)
    return bytes(tensors["digest"]).decode(), tensors["corners"].astype(np.int64), whole
