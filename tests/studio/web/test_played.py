"""What the page adds up while a take plays is the avatar that is saved."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

pytest.importorskip("websockets")
from imhead.avatar.eyes import eye_shapes, eye_vertices
from imhead.avatar.posing import Pose, posed
from imhead.checkpoint import Model
from imhead.conventions import ARKIT_NAMES
from imhead.isosurface.field import code_of_weights, expression_weights, eyes_of
from imhead.studio.session.surface import quick_mesh
from imhead.studio.state.commands.library import RandomHead
from imhead.studio.state.studio import Studio
from imhead.studio.web import drawn, played
from imhead.template.surface import arkit_weights
from imhead.template.topology import LEFT_EYE, load_topology
from imhead.types import FloatArray


def added(part: dict[str, Any], arrays: dict[str, Any], weights: dict[str, float]) -> FloatArray:
    """Vertices of a part as client/player.js finds them."""
    of = {name: arrays[f"{part['name']}.{name}"] for name in ("vertices", "rows", "moves")}
    vertices, first = of["vertices"].astype(np.float64), 0
    for name, count in part["counts"].items():
        rows = slice(first, first := first + count)
        np.add.at(vertices, of["rows"][rows], weights.get(name, 0.0) * of["moves"][rows])
    assert first == len(of["rows"]) == len(of["moves"])
    return vertices


def test_the_page_poses_every_part_as_the_saved_avatar_does(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    studio = Studio(model)
    studio.do(RandomHead(3))
    scene = played._scene(model, studio.head)
    monkeypatch.setattr(played, "_scene", lambda *_: scene)
    parts, pivot, arrays = played.played_parts(model, studio.head)
    assert {part["name"] for part in parts} >= {"skin", "teeth", "tongue", "lashes", *played.EYES}
    rng = np.random.default_rng(0)
    names = rng.choice(ARKIT_NAMES, 12, replace=False)
    weights = {str(name): float(rng.random()) for name in names}
    turn = Rotation.from_euler("YXZ", [0.3, -0.2, 0.1])
    kept = np.flatnonzero(load_topology().part < LEFT_EYE)
    for part, described in zip(scene.parts, parts):
        exact = posed(scene, part, Pose(weights, {"head": turn.as_quat()}))
        found = added(described, arrays, weights)
        share = arrays["skin.share"][:, None] if part.name == "skin" else 1.0
        found += share * (turn.apply(found - pivot) + pivot - found)
        found = found[kept] if part.name == "skin" else found
        assert np.abs(found - exact).max() < 12 * played._STILL_MM, part.name


def test_an_expression_does_not_change_what_plays_and_any_edit_does(model: Model) -> None:
    head = model.neutral()
    smiling = replace(head, z_exp=head.z_exp + 1.0)
    edited = replace(head, offsets=head.offsets + np.eye(*head.offsets.shape))
    assert played.face_key(head) == played.face_key(smiling) != played.face_key(edited)


@pytest.mark.parametrize("weights", [{}, {"eyeLookUpLeft": 0.8}, {"eyeBlinkRight": 1.0}, {"jawOpen": 0.5}])
def test_eyes_are_placed_as_all_their_shapes_say(shipped: Model, weights: dict[str, float]) -> None:
    head = replace(shipped.neutral(), z_exp=code_of_weights(shipped, expression_weights(weights)))
    placed = drawn.placed(shipped, head, quick_mesh(shipped, head))
    eyes, of_shapes = eyes_of(shipped, head, head.z_exp), arkit_weights(shipped, head.z_exp)
    for kind in ("ball", "cornea"):
        sides = []
        for side in (0, 1):
            still = eye_vertices(kind, eyes, side)
            sides.append(still + np.tensordot(of_shapes, eye_shapes(still, eyes, side), axes=(0, 0)))
        np.testing.assert_allclose(placed[kind], np.concatenate(sides), atol=0.01)
