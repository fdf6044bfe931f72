"""The whole avatar as a scene and as a file."""

from __future__ import annotations

import ast
import json
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imhead.avatar import rig as bones
from imhead.avatar.avatar import PosedTemplate, avatar_scene
from imhead.avatar.eyes import rotation
from imhead.avatar.look import Look
from imhead.avatar.palette import EYES, SKINS, skin_named
from imhead.avatar.parts import Parts
from imhead.avatar.skin_image import jpeg_bytes
from imhead.avatar.skin_paint import skin_picture
from imhead.avatar.writing import write_avatar
from imhead.cli.commands import command
from imhead.conventions import ARKIT_NAMES
from imhead.errors import InputError
from imhead.io.glb_scene_writer import Scene, scene_bytes
from imhead.io.live_link import Take
from imhead.template.topology import Topology
from imhead.types import Mesh, MorphTargets, SkinImage

BLANK = SkinImage(jpeg_bytes(np.full((64, 64, 3), 200, dtype=np.uint8)), b"", "light")


def take(frames: int = 40) -> Take:
    seconds = np.arange(frames) / 60.0
    seconds[20:] += 0.5  # half a second is missing
    weights = np.zeros((frames, 52))
    weights[:, ARKIT_NAMES.index("jawOpen")] = 0.5 + 0.5 * np.sin(seconds * 7.0)
    angles = np.zeros((frames, 9))
    angles[:, 0] = 0.3 * np.sin(seconds * 3.0)
    return Take(seconds, weights, angles)


@pytest.fixture(scope="module", params=["morphs", "joints"])
def scene(request: pytest.FixtureRequest, mean_template: PosedTemplate, topology: Topology, parts: Parts) -> Scene:
    return avatar_scene(mean_template, topology, parts, Look(drive=request.param), skin=BLANK, take=take())


def tree_of(data: bytes) -> dict[str, Any]:
    (length,) = struct.unpack_from("<I", data, 12)
    found: dict[str, Any] = json.loads(data[20 : 20 + length])
    return found


def test_weights_of_joints_add_up_to_one(scene: Scene) -> None:
    for part in scene.parts:
        assert part.weights is not None and part.joints is not None
        assert np.abs(part.weights.sum(axis=1) - 1.0).max() < 1e-6
        assert part.weights.min() >= 0.0 and part.joints.max() < len(scene.joints)


def test_joints_lie_where_a_body_has_them(scene: Scene) -> None:
    places = {joint.name: joint.place for joint in scene.joints}
    assert places["neck"][1] < places["head"][1] < places["left_eye"][1]
    assert places["left_eye"][0] > 20.0 > 0.0 > -20.0 > places["right_eye"][0]
    assert abs(places["jaw"][0]) < 1.0 and -35.0 < places["jaw"][1] < 25.0 and -30.0 < places["jaw"][2] < 35.0


def posed(scene: Scene, name: str, weight: float, turns: dict[int, np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
    part = next(part for part in scene.parts if part.name == name)
    assert part.weights is not None and part.joints is not None
    vertices = part.vertices.copy()
    if part.shapes is not None and "jawOpen" in part.shapes.names:
        vertices += weight * part.shapes.offsets[part.shapes.names.index("jawOpen")]
    out = np.zeros_like(vertices)
    for column in range(4):
        for joint in range(len(scene.joints)):
            rows = part.joints[:, column] == joint
            pivot = scene.joints[joint].place
            turned = (vertices[rows] - pivot) @ turns.get(joint, np.eye(3)).T + pivot
            out[rows] += part.weights[rows, column : column + 1] * turned
    return out


@pytest.mark.parametrize("name", ["skin", "teeth", "tongue"])
def test_joints_open_the_jaw_to_the_same_place_as_the_shape(
    mean_template: PosedTemplate, topology: Topology, parts: Parts, name: str
) -> None:
    by = {
        drive: avatar_scene(mean_template, topology, parts, Look(drive=drive), skin=BLANK)
        for drive in ("morphs", "joints")
    }
    shape = mean_template.shapes[ARKIT_NAMES.index("jawOpen")]
    rig = bones.rig_of(parts, mean_template.skin, mean_template.eyes, shape)
    wanted = posed(by["morphs"], name, 1.0, {})
    found = posed(by["joints"], name, 1.0, {bones.JAW: rotation(rig.jaw_turn)})
    assert np.abs(found - wanted).max() < 0.01
    # the joint alone does most of it
    still = posed(by["joints"], "teeth", 0.0, {})
    alone = posed(by["joints"], "teeth", 0.0, {bones.JAW: rotation(rig.jaw_turn)})
    assert np.linalg.norm(alone - still, axis=1).max() > 30.0


def test_the_file_keeps_every_name_of_the_52_on_the_skin(scene: Scene) -> None:
    tree = tree_of(scene_bytes(scene))
    skin = next(mesh for mesh in tree["meshes"] if mesh["name"] == "skin")
    assert skin["extras"]["targetNames"] == list(ARKIT_NAMES)
    assert len(skin["primitives"][0]["targets"]) == 52
    assert {image["mimeType"] for image in tree["images"]} == {"image/jpeg"}


def test_a_take_keeps_its_length_where_frames_are_missing(scene: Scene) -> None:
    tree = tree_of(scene_bytes(scene))
    ends = {tree["accessors"][sampler["input"]]["max"][0] for sampler in tree["animations"][0]["samplers"]}
    assert len(ends) == 1 and abs(ends.pop() - take().seconds[-1]) < 1e-6


@pytest.mark.parametrize(("names", "shape", "joint"), [("arkit", "jawOpen", "jaw"), ("livelink", "JawOpen", "jaw"),
                                                      ("unreal", "JawOpen", "FACIAL_C_Jaw")])  # fmt: skip
def test_names_are_those_that_the_other_program_knows(
    mean_template: PosedTemplate, topology: Topology, parts: Parts, names: Any, shape: str, joint: str
) -> None:
    scene = avatar_scene(mean_template, topology, parts, Look(names=names), skin=BLANK, take=take())
    skin = scene.parts[0].shapes
    assert skin is not None and shape in skin.names
    assert joint in [found.name for found in scene.joints]
    assert scene.animation is not None and shape in scene.animation.weights


def test_the_same_seed_paints_the_same_skin_and_another_seed_another(topology: Topology, parts: Parts) -> None:
    first, again, other = (skin_picture(topology, parts, skin_named("light"), seed, 512) for seed in (1, 1, 2))
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_tones_go_from_light_to_dark_and_lips_are_redder_than_cheeks(topology: Topology, parts: Parts) -> None:
    light = [skin_picture(topology, parts, skin_named(name), 0, 512).mean() for name in SKINS]
    assert light == sorted(light, reverse=True)
    for tone in SKINS.values():
        assert tone.lips[0] / tone.lips[1] > tone.skin[0] / tone.skin[1]


@pytest.mark.parametrize(
    "wrong",
    [{"skin": "purple"}, {"eyes": "red"}, {"texture": 1000}, {"names": "maya"}, {"drive": "wires"}, {"seed": -1}],
)
def test_a_wish_that_cannot_be_met_is_refused_in_one_line(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError) as refused:
        Look(**wrong)
    assert str(refused.value).isprintable()


def test_the_help_and_the_blender_extension_offer_the_names_that_there_are() -> None:
    offered = {option.name: re.findall(r"\w+", option.help or "") for option in command.commands["avatar"].params}
    source = (Path(__file__).resolve().parents[2] / "integrations" / "blender" / "settings.py").read_text()
    for option, variable, known in (("skin", "_SKINS", SKINS), ("eyes", "_EYES", EYES)):
        assert set(known) <= set(offered[option])
        (listed,) = re.findall(rf"^{variable} = (\(.*\))$", source, re.MULTILINE)
        assert ast.literal_eval(listed) == tuple(known)


def test_an_avatar_is_written_whole_and_small(mean_template: PosedTemplate, topology: Topology, tmp_path: Path) -> None:
    mesh = Mesh(mean_template.skin, topology.faces)
    shapes = MorphTargets(ARKIT_NAMES, mean_template.shapes, np.zeros(52))
    written = write_avatar(tmp_path / "me.glb", mesh, shapes, Look(texture=512), take(), {"head": "mean"})
    assert (tmp_path / "me.glb").stat().st_size == written["bytes"] < 12_000_000
    assert {"skin", "teeth", "gums", "tongue", "lashes", "eye_left", "cornea_right"} <= set(written["parts"])
    with pytest.raises(InputError, match="rename it"):
        write_avatar(tmp_path / "me.fbx", mesh, shapes, Look())
