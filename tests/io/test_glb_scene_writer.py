"""Scenes as GLB files: keys that are enough, and a file that other readers open."""

from __future__ import annotations

import io

import numpy as np
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from imhead.io.glb_scene_writer import Joint, Material, Part, Scene, keys_within, scene_bytes
from imhead.types import MorphTargets


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 1000), error=st.floats(0.001, 0.3), count=st.integers(2, 120))
def test_straight_lines_between_the_kept_keys_pass_within_the_error(seed: int, error: float, count: int) -> None:
    rng = np.random.default_rng(seed)
    times = np.cumsum(rng.uniform(0.005, 0.05, count))
    values = np.cumsum(rng.normal(0.0, 0.1, (count, 3)), axis=0)
    keys = keys_within(times, values, error)
    again = np.stack([np.interp(times, times[keys], values[keys, k]) for k in range(3)], axis=1)
    assert np.abs(again - values).max() <= error + 1e-12
    assert keys[0] == 0 and keys[-1] == count - 1


def test_a_still_take_needs_two_keys() -> None:
    assert keys_within(np.arange(100.0), np.zeros((100, 4)), 0.001).tolist() == [0, 99]


def test_trimesh_reads_the_places_in_metres() -> None:
    vertices = np.array([[0.0, 0, 0], [100, 0, 0], [0, 200, 0], [0, 0, 300]])
    faces = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])
    shapes = MorphTargets(("jawOpen",), np.ones((1, 4, 3)), np.zeros(1))
    whole = np.tile([1.0, 0, 0, 0], (4, 1))
    part = Part("solid", vertices, faces, 0, shapes=shapes, joints=np.zeros((4, 4), dtype=int), weights=whole)
    joints = (Joint("root", np.zeros(3), None), Joint("tip", np.array([0.0, 50.0, 0.0]), 0))
    data = scene_bytes(Scene((part,), (Material("plain", (1.0, 1.0, 1.0, 1.0), 0.5),), joints=joints))
    read = trimesh.load(io.BytesIO(data), file_type="glb", process=False)
    (mesh,) = read.geometry.values()
    assert np.allclose(mesh.vertices, vertices / 1000.0, atol=1e-7)
    assert np.array_equal(mesh.faces, faces)
