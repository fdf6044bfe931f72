"""Which pieces of a user's mesh are eyeballs, and which lie in the mouth: teeth, gums, tongue.

Shape legend: U vertices of the user's mesh, V of the template.
"""

from __future__ import annotations

import numpy as np

from imhead.measure.landmarks import landmark_names, landmark_places
from imhead.template.projection import smoothstep
from imhead.template.surface import TemplateSurface
from imhead.template.topology import LEFT_EYE, MOUTH, RIGHT_EYE
from imhead.types import BoolArray, FloatArray, IntArray

_EYE_SHARE = 0.8  # of a piece's vertices inside of an eyeball's ball
_EYE_SLACK = 1.12  # of its radius: a user's eyeballs may be a little larger
_BEHIND = 0.3  # of its radius behind the centre, where an eyeball has vertices too
_MOUTH_MM, _MOUTH_HIGH_MM = 65.0, 40.0  # from the middle of the mouth, and upwards
_TOOTH_MM = 35.0  # a piece that is no longer is a tooth, and moves as one
_LIPS = ("stomion_superius", "stomion_inferius")
_OCCLUSAL_SLOPE = 0.07  # of the plane between the teeth: about 4 degrees
_OCCLUSAL_MM, _OVERBITE_MM = 2.5, 1.0  # half of the height in which the share grows; how far it is below the lips


def eyeballs(rest: FloatArray, piece: IntArray, template: TemplateSurface, registered: FloatArray) -> IntArray:
    """(U,) `LEFT_EYE` or `RIGHT_EYE` for vertices of pieces that are eyeballs, or lie in them; 0 for the others.

    Args:
        rest: (U, 3).
        piece: (U,) connected pieces.
        template: the topology.
        registered: (V, 3) the template on the mesh.
    """
    count = int(piece.max()) + 1
    eye = np.zeros(len(rest), dtype=np.int64)
    size = np.bincount(piece, minlength=count)
    for side in (LEFT_EYE, RIGHT_EYE):
        ball = registered[template.part == side]
        center = ball.mean(axis=0)
        radius = np.linalg.norm(ball - center, axis=1).max()
        inside = np.linalg.norm(rest - center, axis=1) < _EYE_SLACK * radius
        share = np.bincount(piece, inside, minlength=count) / size
        # lashes and tear lines lie in front of it, and follow the lids
        behind = np.bincount(piece, rest[:, 2] < center[2] - _BEHIND * radius, minlength=count) > 0
        eye[((share > _EYE_SHARE) & behind)[piece]] = side
    return eye


def jaw_shares(
    rest: FloatArray, piece: IntArray, elsewhere: BoolArray, template: TemplateSurface, registered: FloatArray
) -> FloatArray:
    """(U,) how much of the jaw's motion each vertex takes; -1 for those that are not in the mouth.

    Args:
        rest: (U, 3).
        piece: (U,) connected pieces.
        elsewhere: (U,) vertices of the skin and of eyeballs: a piece of which they are the most is not in the mouth.
        template: the topology.
        registered: (V, 3) the template on the mesh.
    """
    count = int(piece.max()) + 1
    size = np.bincount(piece, minlength=count)
    middle = registered[template.part == MOUTH].mean(axis=0)
    outside = np.linalg.norm(rest - middle, axis=1) > _MOUTH_MM
    inner = (np.bincount(piece, elsewhere, minlength=count) < 0.5 * size) & (
        np.bincount(piece, outside, minlength=count) == 0
    )
    lips = landmark_places().of(registered)[[landmark_names().index(name) for name in _LIPS]].mean(axis=0)
    # between upper and lower teeth: through the line of the lips, rising backwards
    below = lips[1] - _OVERBITE_MM + _OCCLUSAL_SLOPE * (lips[2] - rest[:, 2]) - rest[:, 1]
    inner &= np.bincount(piece, rest[:, 1] > middle[1] + _MOUTH_HIGH_MM, minlength=count) == 0
    share = smoothstep(-_OCCLUSAL_MM, _OCCLUSAL_MM, below)
    small = np.zeros(count, dtype=bool)
    for k in np.flatnonzero(inner):
        small[k] = np.ptp(rest[piece == k], axis=0).max() < _TOOTH_MM
    whole = np.bincount(piece, below, minlength=count) / size > 0.0  # a tooth moves as one
    share = np.where(small[piece], whole[piece].astype(np.float64), share)
    return np.where(inner[piece], share, -1.0)
