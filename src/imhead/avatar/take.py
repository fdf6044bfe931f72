"""A recorded take as the animation of an avatar."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from imhead.avatar import rig as bones
from imhead.avatar.eyes import look_turn, looks
from imhead.avatar.names import Names, joint_name, shape_name
from imhead.conventions import ARKIT_NAMES
from imhead.io.glb_scene_writer import Clip
from imhead.io.live_link import Take
from imhead.types import FloatArray


def clip_of(take: Take, rig: bones.Rig, names: Names, *, joints: bool) -> Clip:
    """The take's weights, and the turn of the head; its times are the take's own, also where frames were dropped.

    Args:
        joints: whether joints open the jaw and turn the eyes; they then follow the weights of `jawOpen` and `eyeLook…`.
    """
    weights = {shape_name(name, names): take.weights[:, k] for k, name in enumerate(ARKIT_NAMES)}
    turns = {"head": Rotation.from_euler("YXZ", take.angles[:, :3])}
    if joints:
        opened = take.weights[:, ARKIT_NAMES.index("jawOpen")]
        turns["jaw"] = Rotation.from_rotvec(opened[:, None] * rig.jaw_turn)
        for side, name in enumerate(("left_eye", "right_eye")):
            vectors = [take.weights[:, [ARKIT_NAMES.index(look)]] * look_turn(look, side) for look in looks(side)]
            turns[name] = Rotation.from_rotvec(np.sum(vectors, axis=0))
    return Clip("take", take.seconds, weights, {joint_name(k, names): _quaternions(v) for k, v in turns.items()})


def _quaternions(turns: Rotation) -> FloatArray:
    """(T, 4), each on the side of the one before, so that no player goes the long way round."""
    found = turns.as_quat()
    flips = np.where((found[1:] * found[:-1]).sum(axis=1) < 0.0, -1.0, 1.0)
    found[1:] *= np.cumprod(flips)[:, None]
    return found
