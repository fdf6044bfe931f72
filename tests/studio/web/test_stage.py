"""The meshes and colours that are sent to a page."""

from __future__ import annotations

import json

import numpy as np
import pytest
import trimesh

pytest.importorskip("viser")

from imhead.regions import resolve
from imhead.studio.session.surface import RegionMap
from imhead.studio.web.stage import head_colors, reach_colors, still_glb
from imhead.surfaces.normals import vertex_normals
from imhead.types import Mesh


def sphere() -> Mesh:
    ball = trimesh.creation.icosphere(2, radius=80.0)
    return Mesh(ball.vertices, ball.faces)


def test_a_still_mesh_is_drawn_with_the_normals_of_the_field() -> None:
    mesh = sphere()
    wanted = mesh.vertices + np.random.default_rng(0).normal(size=mesh.vertices.shape)
    wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
    data = still_glb(mesh, wanted, np.full(mesh.vertices.shape, 200.0))
    size = int.from_bytes(data[12:16], "little")
    tree, body = json.loads(data[20 : 20 + size]), data[28 + size :]
    primitive = tree["meshes"][0]["primitives"][0]
    assert tree["meshes"][0]["weights"] == [1.0]
    assert "bufferView" not in tree["accessors"][primitive["targets"][0]["POSITION"]], "no vertex moves"
    assert "NORMAL" in primitive["attributes"], "without it a page draws flat triangles"
    accessor = tree["accessors"][primitive["targets"][0]["NORMAL"]]
    start = tree["bufferViews"][accessor["bufferView"]]["byteOffset"] + accessor.get("byteOffset", 0)
    turn = np.frombuffer(body, "<f4", 3 * accessor["count"], start).reshape(-1, 3)
    flat = vertex_normals(mesh.vertices, mesh.faces)[0]
    np.testing.assert_allclose(flat + turn, wanted, atol=1e-6)


def test_the_tint_of_the_selection_fades_towards_the_edge() -> None:
    mesh = sphere()
    influence = np.zeros((len(mesh.vertices), 39), dtype=np.float32)
    chin = resolve("chin")
    influence[:, chin[0].index] = np.linspace(0.0, 1.0, len(mesh.vertices))
    plain = head_colors(np.zeros(len(mesh.vertices), dtype=bool))
    colors = reach_colors(RegionMap(mesh, influence), chin, plain)
    assert reach_colors(RegionMap(mesh, influence), (), plain) is plain
    assert (np.diff(colors[:, 0]) <= 0.0).all(), "the deeper, the less red"
    assert np.abs(colors[1] - colors[0]).max() < 10.0
