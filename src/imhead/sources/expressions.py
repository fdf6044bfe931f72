"""Random expressions of a head, as ARKit weights in plausible combinations."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import numpy as np

from imhead.conventions import ARKIT_NAMES
from imhead.sources.compose import draw_expression
from imhead.types import FloatArray

# a stem stands for both sides; a number is the weight at full strength
EMOTIONS: Mapping[str, Mapping[str, float]] = {
    "joy": {"mouthSmile": 0.8, "cheekSquint": 0.6, "eyeSquint": 0.3, "mouthDimple": 0.2},
    "laughter": {"mouthSmile": 0.9, "jawOpen": 0.5, "cheekSquint": 0.7, "eyeSquint": 0.5, "mouthUpperUp": 0.3},
    "smile": {"mouthSmile": 0.75, "cheekSquint": 0.4, "mouthDimple": 0.25, "mouthUpperUp": 0.35, "mouthLowerDown": 0.2},
    "smirk": {"mouthSmile": 0.5, "mouthDimple": 0.4, "mouthPress": 0.3, "eyeSquint": 0.2},
    "surprise": {"browInnerUp": 0.8, "browOuterUp": 0.8, "eyeWide": 0.7, "jawOpen": 0.45},
    "anger": {"browDown": 0.9, "noseSneer": 0.4, "mouthPress": 0.5, "eyeSquint": 0.4},
    "sadness": {"browInnerUp": 0.8, "mouthFrown": 0.7, "mouthShrugLower": 0.4},
    "disgust": {"noseSneer": 0.8, "mouthUpperUp": 0.6, "browDown": 0.4, "cheekSquint": 0.4},
    "fear": {"browInnerUp": 0.8, "browOuterUp": 0.3, "eyeWide": 0.8, "mouthStretch": 0.6, "jawOpen": 0.2},
    "doubt": {"browDown": 0.5, "mouthFrown": 0.4, "mouthShrugLower": 0.6, "mouthShrugUpper": 0.4},
}
SPEECH: Mapping[str, Mapping[str, float]] = {
    "ah": {"jawOpen": 0.55, "mouthLowerDown": 0.25},
    "ee": {"mouthStretch": 0.4, "mouthSmile": 0.3, "mouthLowerDown": 0.3, "jawOpen": 0.15},
    "oh": {"mouthFunnel": 0.6, "jawOpen": 0.35},
    "oo": {"mouthPucker": 0.8, "jawOpen": 0.12},
    "sh": {"mouthFunnel": 0.7, "mouthUpperUp": 0.2, "jawOpen": 0.12},
    "mm": {"mouthPress": 0.4, "mouthRollLower": 0.35, "mouthRollUpper": 0.35},
    "ff": {"mouthRollLower": 0.6, "mouthUpperUp": 0.25, "jawOpen": 0.1},
    "puff": {"cheekPuff": 0.8, "mouthPress": 0.3},
}
_KINDS = ("emotion", "speech", "free")
_SHARES = (0.35, 0.3, 0.35)
# pairs of units that contradict each other: the weaker one is dropped
_OPPOSITES = (
    ("mouthSmile", "mouthFrown"), ("mouthSmile", "mouthPucker"), ("mouthStretch", "mouthPucker"),
    ("mouthDimple", "mouthPucker"), ("mouthPress", "mouthFunnel"), ("mouthPress", "jawOpen"), ("cheekPuff", "jawOpen"),
    ("mouthRollLower", "mouthLowerDown"), ("mouthRollUpper", "mouthUpperUp"), ("mouthLeft", "mouthRight"),
    ("jawLeft", "jawRight"), ("browDown", "browOuterUp"), ("eyeBlink", "eyeWide"), ("eyeSquint", "eyeWide"),
)  # fmt: skip


def draw_expressions(seed: int, count: int) -> FloatArray:
    """ARKit weights (count, 52) float32 of the expressions of the head with this seed.

    The first is neutral, the second has its eyes shut, the third its mouth wide open; the rest are emotions, speech and
    free combinations in random order, mostly close to symmetric.
    """
    rng = np.random.default_rng([0xE5, seed])
    rows: list[FloatArray] = [np.zeros(len(ARKIT_NAMES))]
    for k in range(1, count):
        weights = _draw_weights(str(rng.choice(_KINDS, p=_SHARES)), rng)
        required = {1: "eyeBlink", 2: "jawOpen"}.get(k)
        if required:
            _put(weights, required, 1.0 if k == 1 else rng.uniform(0.5, 1.0), 0.0)
        rows.append(without_opposites(weights, required))
    return np.stack(rows[:count]).astype(np.float32)


def _draw_weights(kind: str, rng: np.random.Generator) -> FloatArray:
    if kind == "free":
        return draw_expression(int(rng.integers(2**31)))
    table = EMOTIONS if kind == "emotion" else SPEECH
    weights = np.zeros(len(ARKIT_NAMES))
    strength = rng.uniform(0.4, 1.35)
    for stem, full in table[str(rng.choice(list(table)))].items():
        lean = rng.normal(0.0, 0.08 if rng.random() < 0.65 else 0.3)
        _put(weights, stem, strength * full * rng.uniform(0.7, 1.3), lean)
    if rng.random() < 0.2:
        _put(weights, "eyeBlink", rng.random(), 0.0)
    return weights


def without_opposites(weights: FloatArray, required: str | None = None) -> FloatArray:
    """Weights (52,), with the weaker unit of every pair of opposites set to zero; `required` is never dropped."""
    kept = weights.copy()
    for pair in _OPPOSITES:
        strength = [kept[_rows(stem)].max() + 2.0 * (stem == required) for stem in pair]
        if min(kept[_rows(stem)].max() for stem in pair) > 0:
            kept[_rows(pair[int(np.argmin(strength))])] = 0.0
    # mouthClose undoes jawOpen at the lips; more of it has no meaning
    close, jaw = ARKIT_NAMES.index("mouthClose"), ARKIT_NAMES.index("jawOpen")
    kept[close] = min(kept[close], kept[jaw])
    return kept


def _put(weights: FloatArray, stem: str, value: float, lean: float) -> None:
    for row in _rows(stem):
        sign = float(ARKIT_NAMES[row] == f"{stem}Left") - float(ARKIT_NAMES[row] == f"{stem}Right")
        weights[row] = np.clip(value + sign * lean, 0.0, 1.0)


@cache
def _rows(stem: str) -> list[int]:
    return [k for k, name in enumerate(ARKIT_NAMES) if name in (stem, f"{stem}Left", f"{stem}Right")]
