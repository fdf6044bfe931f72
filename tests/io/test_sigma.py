"""How sure each vertex is goes into the file: as `quality` in a PLY, as `_SIGMA_MM` in a GLB."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
import trimesh

from imhead.errors import InputError
from imhead.io.mesh_file import read_mesh, write_mesh
from imhead.types import Mesh

BOX = trimesh.creation.box()
MESH = Mesh(BOX.vertices * 10.0, BOX.faces)
SIGMA = np.linspace(0.1, 2.5, len(MESH.vertices))


def test_a_ply_holds_it_as_quality(tmp_path: Path) -> None:
    write_mesh(MESH, tmp_path / "head.ply", sigma_mm=SIGMA)
    raw = trimesh.load(tmp_path / "head.ply", process=False).metadata["_ply_raw"]["vertex"]["data"]
    assert np.allclose(raw["quality"].ravel(), SIGMA, atol=1e-6)
    assert np.allclose(read_mesh(tmp_path / "head.ply").vertices, MESH.vertices)


def test_a_glb_holds_it_as_a_custom_attribute(tmp_path: Path) -> None:
    write_mesh(MESH, tmp_path / "head.glb", sigma_mm=SIGMA)
    data = (tmp_path / "head.glb").read_bytes()
    (length,) = struct.unpack_from("<I", data, 12)
    tree, body = json.loads(data[20 : 20 + length]), data[28 + length :]
    accessor = tree["accessors"][tree["meshes"][0]["primitives"][0]["attributes"]["_SIGMA_MM"]]
    view = tree["bufferViews"][accessor["bufferView"]]
    stored = np.frombuffer(body, "<f4", accessor["count"], view["byteOffset"])
    assert accessor["type"] == "SCALAR" and np.allclose(stored, SIGMA, atol=1e-6)


def test_one_value_for_each_vertex_is_needed(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="sigma_mm"):
        write_mesh(MESH, tmp_path / "head.ply", sigma_mm=SIGMA[:-1])
