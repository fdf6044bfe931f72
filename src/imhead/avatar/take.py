"""A recorded take as the animation of an avatar."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from imhead.avatar import rig as bones
from imhead.avatar.eyes import look_turn, looks
from imhead.avatar.names import Names, joint_name, shape_name
from imhead.conventions import ARKIT_NAMES
from imhead.io.glb_container import same_sided
from imhead.io.glb_scene_writer import Clip
from imhead.io.live_link import Take


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
    quaternions = {joint_name(name, names): same_sided(turn.as_quat()) for name, turn in turns.items()}
    return Clip("take", take.seconds, weights, quaternions)
