"""A take as the file plays it, read by a program that is not the one that wrote it."""

from __future__ import annotations

import importlib.util
import json
import struct
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from scipy.spatial import cKDTree

from imhead.avatar.avatar import PosedTemplate
from imhead.avatar.posing import Pose, pose_at, posed
from imhead.conventions import ARKIT_NAMES
from imhead.io.glb_scene_writer import Clip, Scene, scene_bytes
from imhead.io.live_link import Take, read_take, write_take
from imhead.template.topology import LEFT_EYE, Topology
from imhead.types import FloatArray


@pytest.fixture(scope="module")
def glb() -> ModuleType:
    """The reader of the Blender extension, which shares no code with the writer."""
    path = Path(__file__).resolve().parents[2] / "integrations" / "blender" / "glb.py"
    spec = importlib.util.spec_from_file_location("blender_glb", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["blender_glb"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def take() -> Take:
    """Five seconds in which every shape comes and goes, a third of them at a time, with a gap of half a second."""
    seconds = np.arange(300) / 60.0
    seconds[150:] += 0.5
    rng = np.random.default_rng(2)
    phase, rate = rng.uniform(0, 6.3, 52), rng.uniform(0.5, 6.0, 52)
    weights = np.clip(np.sin(seconds[:, None] * rate + phase) - 0.4, 0.0, 1.0)
    return Take(seconds, weights, np.zeros((300, 9)))


@pytest.fixture(scope="module")
def scene(mean_scene: Scene, clip: Callable[[Take], Clip], take: Take) -> Scene:
    return replace(mean_scene, animation=clip(take))


def played(glb: ModuleType, data: bytes, mesh: str) -> tuple[FloatArray, FloatArray]:
    """Times and weights (T, K) of the keys of a mesh in a file."""
    (length,) = struct.unpack_from("<I", data, 12)
    tree: dict[str, Any] = json.loads(data[20 : 20 + length])
    body = data[28 + length :]
    (animation,) = tree["animations"]
    node = next(k for k, node in enumerate(tree["nodes"]) if node["name"] == mesh)
    row = next(c["sampler"] for c in animation["channels"] if c["target"] == {"node": node, "path": "weights"})
    sampler = animation["samplers"][row]
    times = glb._accessor(tree, body, sampler["input"])[:, 0]
    return times, glb._accessor(tree, body, sampler["output"]).reshape(len(times), -1)


def test_at_any_time_the_skin_of_the_file_is_the_template_with_the_weights_of_the_take(
    glb: ModuleType, scene: Scene, take: Take, mean_template: PosedTemplate, topology: Topology
) -> None:
    data = scene_bytes(scene)
    shapes, _ = glb.read_avatar(data)
    skin = shapes["skin"]
    times, keys = played(glb, data, "skin")
    assert len(times) <= len(take.seconds)
    kept = np.flatnonzero(topology.part < LEFT_EYE)
    row = kept[cKDTree(glb.turned(scene.parts[0].vertices.astype(np.float32)) / 1000.0).query(skin.rest)[1]]
    moves = np.stack([skin.moves[name] for name in ARKIT_NAMES])
    off = []
    for second in np.random.default_rng(0).uniform(0.0, take.seconds[-1], 50):
        weights = [np.interp(second, times, column) for column in keys.T]
        shown = 1000.0 * (skin.rest + np.tensordot(weights, moves, axes=1))
        wanted = [np.interp(second, take.seconds, column) for column in take.weights.T]
        template = mean_template.skin + np.tensordot(wanted, mean_template.shapes, axes=1)
        off.append(np.linalg.norm(shown - glb.turned(template[row]), axis=1).mean())
    assert max(off) < 0.3


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_a_take_of_a_few_frames_plays(scene: Scene, frames: int, tmp_path: Path) -> None:
    weights = np.linspace(0.0, 1.0, frames)[:, None] * np.ones(52)
    write_take(Take(np.arange(frames) / 30.0, weights, np.zeros((frames, 9))), tmp_path / "take.csv", 30.0)
    read = read_take(tmp_path / "take.csv")
    assert len(read.seconds) == frames
    short = Clip("take", read.seconds, {"jawOpen": read.weights[:, ARKIT_NAMES.index("jawOpen")]})
    assert pose_at(short, read.seconds[-1]).weights["jawOpen"] == pytest.approx(weights[-1, 0])
    assert scene_bytes(Scene(scene.parts[-1:], scene.materials, scene.images, scene.joints, short))[:4] == b"glTF"


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_take_of_100_000_frames_is_read_and_reduced_in_bounded_time(scene: Scene, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    weights = np.clip(np.cumsum(rng.normal(0.0, 0.05, (100_000, 52)), axis=0) % 2.0 - 0.5, 0.0, 1.0)
    write_take(Take(np.arange(100_000) / 60.0, weights, np.zeros((100_000, 9))), tmp_path / "long.csv", 60.0)
    read = read_take(tmp_path / "long.csv")
    assert len(read.seconds) == 100_000
    named = {name: read.weights[:, k] for k, name in enumerate(ARKIT_NAMES)}
    long = Clip("take", read.seconds, named)
    tongue = next(part for part in scene.parts if part.name == "tongue")
    data = scene_bytes(Scene((tongue,), scene.materials, scene.images, scene.joints, long))
    assert len(data) < 40_000_000


def test_a_turn_of_the_head_carries_eyes_and_teeth_along_rigidly(scene: Scene) -> None:
    turn = np.array([0.0, np.sin(0.2), 0.0, np.cos(0.2)])
    for name in ("teeth", "eye_left", "lashes"):
        part = next(part for part in scene.parts if part.name == name)
        turned = posed(scene, part, Pose({}, {"head": turn}))
        assert np.linalg.norm(turned - part.vertices, axis=1).max() > 5.0
        lengths = [np.linalg.norm(np.diff(points, axis=0), axis=1) for points in (part.vertices, turned)]
        assert np.abs(lengths[0] - lengths[1]).max() < 1e-6
