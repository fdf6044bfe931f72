"""Composed heads, whose regions come from different identities: a non-linear population from a linear source."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from imhead.conventions import ARKIT_NAMES
from imhead.regions import CENTERS_MM, RADII_MM, REGIONS
from imhead.sources.ict import IDENTITY_MODES, IctModel
from imhead.types import BoolArray, FloatArray, IntArray

_MASK_SHARPNESS = 3.5
_SAME_PARENT_BOTH_SIDES = 0.85  # probability that both eyes, or both ears, come from one parent
_GROUP_SETS: tuple[tuple[str, ...], ...] = (
    ("left_eye",), ("right_eye",), ("nose",), ("mouth",), ("chin", "jaw"), ("cheek",),
    ("forehead", "brow", "temple", "scalp", "occiput"), ("left_ear",), ("right_ear",), ("neck", "shoulder"),
)  # fmt: skip


@dataclass(frozen=True)
class ComposeConfig:
    """How composed heads are drawn."""

    composed_fraction: float = 0.6
    """Fraction of the heads that are composed; the others are plain draws of the linear model."""
    max_parents: int = 4
    """Largest number of parents of a head."""
    spread: float = 1.0
    """Standard deviation of the identity coefficients."""


def group_masks(vertices: FloatArray) -> FloatArray:
    """Smooth masks (groups, V) that sum to one at each vertex, from vertices (V, 3) of the mean head, mm."""
    distance = np.linalg.norm(vertices[:, None] - CENTERS_MM, axis=2) / RADII_MM
    logits = -_MASK_SHARPNESS * distance**2
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    weights /= weights.sum(axis=1, keepdims=True)
    members = [[r.index for r in REGIONS if r.group in names] for names in _GROUP_SETS]
    return np.stack([weights[:, rows].sum(axis=1) for rows in members]).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Composition:
    """The parameters of a composed head; with one parent it is a plain draw of the linear model."""

    coefficients: FloatArray
    """(P, 100) float32 identity coefficients of each parent, in standard deviations."""
    mirrored: BoolArray
    """(P,) bool: the parent is mirrored."""
    choice: IntArray
    """(10,) index of the parent of each group of regions."""


def draw_composition(seed: int, config: ComposeConfig) -> Composition:
    """The composition of a seed; its parents are its own, so no two heads share one."""
    rng = np.random.default_rng([0x1C7, seed])
    count = 1 if rng.random() >= config.composed_fraction else int(rng.integers(2, config.max_parents + 1))
    coefficients, mirrored = np.zeros((count, IDENTITY_MODES), dtype=np.float32), np.zeros(count, dtype=bool)
    for k in range(count):
        coefficients[k] = np.clip(rng.normal(0.0, config.spread, IDENTITY_MODES), -3.0, 3.0)
        mirrored[k] = rng.random() < 0.5
    choice = np.zeros(len(_GROUP_SETS), dtype=np.int64)
    if count > 1:
        choice = rng.integers(count, size=len(_GROUP_SETS))
        for left, right in ((0, 1), (7, 8)):
            if rng.random() < _SAME_PARENT_BOTH_SIDES:
                choice[right] = choice[left]
    return Composition(coefficients, mirrored, choice)


def composed_offsets(ict: IctModel, masks: FloatArray, composition: Composition) -> FloatArray:
    """Offsets (V, 3) from the mean head, mm, of a composition; `masks` are `group_masks(ict.mean)`."""
    parents = [ict.identity_offsets(row) for row in composition.coefficients]
    parents = [ict.mirrored(row) if turned else row for row, turned in zip(parents, composition.mirrored)]
    if len(parents) == 1:
        return parents[0]
    per_parent = np.stack([masks[composition.choice == k].sum(axis=0) for k in range(len(parents))])
    return np.einsum("pv,pvc->vc", per_parent, np.stack(parents)).astype(np.float32)


def draw_identity(ict: IctModel, masks: FloatArray, seed: int, config: ComposeConfig) -> FloatArray:
    """Offsets (V, 3) from the mean head, mm, of the identity of a seed."""
    return composed_offsets(ict, masks, draw_composition(seed, config))


def draw_expression(seed: int) -> FloatArray:
    """ARKit weights (52,) of a plausible expression: a few related units, mostly symmetric."""
    rng = np.random.default_rng([0xE4, seed])
    weights = np.zeros(len(ARKIT_NAMES))

    def put(stem: str, value: float) -> None:
        lean = rng.normal(0.0, 0.08) if rng.random() < 0.7 else rng.normal(0.0, 0.35)
        for side, sign in (("Left", 1), ("Right", -1), ("", 0)):
            if stem + side in ARKIT_NAMES:
                weights[ARKIT_NAMES.index(stem + side)] = np.clip(value + sign * lean, 0.0, 1.0)

    eyes = rng.random()
    if eyes < 0.3:
        put("eyeBlink", float(rng.choice([1.0, rng.random()])))
    elif eyes < 0.6:
        put(str(rng.choice(["eyeSquint", "eyeWide"])), rng.random())
    if rng.random() < 0.4:
        look = str(rng.choice(["Left", "Right"]))
        away = rng.random() * 0.8
        weights[ARKIT_NAMES.index(f"eyeLookOut{look}")] = away
        weights[ARKIT_NAMES.index(f"eyeLookIn{'Right' if look == 'Left' else 'Left'}")] = away
        put(str(rng.choice(["eyeLookUp", "eyeLookDown"])), rng.random() * 0.7)
    if rng.random() < 0.5:
        put(str(rng.choice(["browDown", "browInnerUp", "browOuterUp"])), rng.random())
    if rng.random() < 0.45:
        put("jawOpen", float(rng.beta(1.2, 1.8)))
    elif rng.random() < 0.15:
        put(str(rng.choice(["jawForward", "jawLeft", "jawRight"])), rng.random())
    mouth = (
        "mouthSmile", "mouthFrown", "mouthDimple", "mouthStretch", "mouthPucker", "mouthFunnel", "mouthRollLower",
        "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper", "mouthPress", "mouthLowerDown", "mouthUpperUp",
        "mouthLeft", "mouthRight",
    )  # fmt: skip
    for stem in rng.choice(mouth, size=rng.integers(0, 3), replace=False):
        put(str(stem), float(rng.beta(1.2, 1.4)))
    for stem in ("cheekPuff", "cheekSquint", "noseSneer"):
        if rng.random() < 0.12:
            put(stem, rng.random())
    # mouthClose undoes jawOpen at the lips; more of it has no meaning
    if weights[ARKIT_NAMES.index("jawOpen")] > 0 and rng.random() < 0.2:
        weights[ARKIT_NAMES.index("mouthClose")] = rng.random() * weights[ARKIT_NAMES.index("jawOpen")]
    return weights
