"""Axes, units, sign and bounds, defined once for every other module.

The head frame is right-handed: +X is the subject's left, +Y is up, +Z points forward out of the face. Its origin
lies on the mid-sagittal plane, midway between the ears of the mean head. Lengths are millimetres unless a name or
docstring says otherwise. A signed distance is negative inside the head.

Shape legend of the package: B heads in a batch, N points, R regions, V vertices, F faces, P point-region pairs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

MODEL_UNIT_MM = 100.0
"""Millimetres per model unit, the unit of the network's coordinates."""

BOUNDS_MIN_MM = np.array([-175.0, -245.0, -150.0])
BOUNDS_MAX_MM = np.array([175.0, 175.0, 160.0])
"""Axis-aligned box, head frame, that holds every head of the model. Meshing, sampling and training share it."""

FACE_RADIUS_MM = 95.0
"""The face, wherever figures are given for it: the surface within this distance of the nose tip."""

GLTF_UNIT_MM = 1000.0
"""Millimetres per glTF unit: glTF lengths are metres."""

UNIT_MM: dict[str, float] = {"mm": 1.0, "cm": 10.0, "m": 1000.0, "in": 25.4}
"""Millimetres per unit, for the units of scans and mesh files."""

ASSUMED_SCALE = "the scale was assumed: sizes may be off by 10 %, a child's by more"
"""What is said wherever lengths of a head are given that was fitted to a scan of unknown unit."""

ARKIT_NAMES: tuple[str, ...] = (
    "eyeBlinkLeft", "eyeLookDownLeft", "eyeLookInLeft", "eyeLookOutLeft", "eyeLookUpLeft", "eyeSquintLeft",
    "eyeWideLeft", "eyeBlinkRight", "eyeLookDownRight", "eyeLookInRight", "eyeLookOutRight", "eyeLookUpRight",
    "eyeSquintRight", "eyeWideRight", "jawForward", "jawLeft", "jawRight", "jawOpen", "mouthClose", "mouthFunnel",
    "mouthPucker", "mouthLeft", "mouthRight", "mouthSmileLeft", "mouthSmileRight", "mouthFrownLeft",
    "mouthFrownRight", "mouthDimpleLeft", "mouthDimpleRight", "mouthStretchLeft", "mouthStretchRight",
    "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper", "mouthPressLeft", "mouthPressRight",
    "mouthLowerDownLeft", "mouthLowerDownRight", "mouthUpperUpLeft", "mouthUpperUpRight", "browDownLeft",
    "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight", "cheekPuff", "cheekSquintLeft",
    "cheekSquintRight", "noseSneerLeft", "noseSneerRight", "tongueOut",
)  # fmt: skip
"""The 52 ARKit blend-shape names in Apple's order, which every vector of expression weights has."""

CANONICAL_JAW_OPEN = 0.08
"""jawOpen weight of the canonical pose: lips apart, because a backward warp can close lips but not open them."""


def srgb_to_linear(srgb: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """Linear light of sRGB values, both from 0 to 1 (IEC 61966-2-1)."""
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def srgb_bytes(linear: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    """sRGB values, 0 to 255, of linear light from 0 to 1; what lies outside is clipped."""
    value = np.clip(linear, 0.0, 1.0)
    value = np.where(value <= 0.0031308, value * 12.92, 1.055 * value ** (1.0 / 2.4) - 0.055)
    return np.round(255.0 * value).astype(np.uint8)
