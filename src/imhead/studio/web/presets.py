"""Expressions with a name."""

from __future__ import annotations

EXPRESSION_PRESETS: dict[str, dict[str, float]] = {
    "neutral": {},
    "smile": {
        "mouthSmileLeft": 0.75, "mouthSmileRight": 0.75, "cheekSquintLeft": 0.4, "cheekSquintRight": 0.4,
        "eyeSquintLeft": 0.25, "eyeSquintRight": 0.25,
    },
    "surprise": {
        "browInnerUp": 0.8, "browOuterUpLeft": 0.7, "browOuterUpRight": 0.7, "eyeWideLeft": 0.7, "eyeWideRight": 0.7,
        "jawOpen": 0.35,
    },
    "angry": {
        "browDownLeft": 0.9, "browDownRight": 0.9, "noseSneerLeft": 0.5, "noseSneerRight": 0.5,
        "mouthPressLeft": 0.4, "mouthPressRight": 0.4,
    },
    "sad": {"browInnerUp": 0.8, "mouthFrownLeft": 0.7, "mouthFrownRight": 0.7, "mouthShrugLower": 0.3},
    "eyes closed": {"eyeBlinkLeft": 1.0, "eyeBlinkRight": 1.0},
    "kiss": {"mouthPucker": 0.9, "mouthFunnel": 0.2},
    "mouth open": {"jawOpen": 0.7},
}  # fmt: skip
