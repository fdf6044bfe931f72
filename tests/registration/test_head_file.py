"""Head files keep a registration, and edits carry it along."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image
from safetensors.torch import load_file, save_file

from imhead.checkpoint import HEAD_FORMAT, Model, load_head, save_head
from imhead.errors import InputError
from imhead.io.mesh_file import write_mesh
from imhead.registration.maps import NORMAL_FILE, normal_map_beside
from imhead.types import Head, Mesh, UvMap

OFFSETS = np.random.default_rng(0).normal(0.0, 0.5, (40, 3))


def registered(model: Model) -> Head:
    return replace(model.neutral(), registration=OFFSETS)


def test_a_head_file_keeps_the_registration(model: Model, tmp_path: Path) -> None:
    save_head(registered(model), tmp_path / "head.safetensors")
    opened = load_head(tmp_path / "head.safetensors", model)
    assert opened.registration is not None
    np.testing.assert_array_equal(opened.registration, OFFSETS.astype(np.float32))


def test_a_head_without_one_stays_without_one(model: Model, tmp_path: Path) -> None:
    save_head(model.neutral(), tmp_path / "head.safetensors")
    assert load_head(tmp_path / "head.safetensors", model).registration is None


@pytest.mark.parametrize("shape", [(120,), (40, 2), (), (4, 3, 10)])
def test_a_registration_of_another_shape_is_refused(model: Model, tmp_path: Path, shape: tuple[int, ...]) -> None:
    path = tmp_path / "head.safetensors"
    save_head(registered(model), path)
    tensors = load_file(path) | {"registration": torch.zeros(shape)}
    save_file(tensors, path, {"format": HEAD_FORMAT, "model_hash": model.hash})
    with pytest.raises(InputError, match="registration"):
        load_head(path, model)


def test_a_registration_that_is_not_finite_is_refused(model: Model, tmp_path: Path) -> None:
    path = tmp_path / "head.safetensors"
    save_head(registered(model), path)
    tensors = load_file(path) | {"registration": torch.full((40, 3), float("nan"))}
    save_file(tensors, path, {"format": HEAD_FORMAT, "model_hash": model.hash})
    with pytest.raises(InputError, match="NaN"):
        load_head(path, model)


def test_the_normal_map_beside_a_head_goes_into_its_glb(tmp_path: Path) -> None:
    flat = Image.new("RGB", (4, 4), (128, 128, 255))
    flat.save(tmp_path / NORMAL_FILE)
    found = normal_map_beside(tmp_path / "head.safetensors")
    assert found is not None
    square = Mesh(np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0]]), np.array([[0, 1, 2]]))
    uv = UvMap(np.array([[0.0, 0], [1, 0], [1, 1]]), square.faces)
    write_mesh(square, tmp_path / "out.glb", uv=uv, normal_map=found)
    material = trimesh.load(tmp_path / "out.glb", force="mesh").visual.material
    assert material.normalTexture.size == (4, 4)


def test_a_file_beside_a_head_that_is_no_picture_is_refused(tmp_path: Path) -> None:
    assert normal_map_beside(tmp_path / "head.safetensors") is None
    (tmp_path / NORMAL_FILE).write_bytes(b"no picture")
    with pytest.raises(InputError, match="no normal map"):
        normal_map_beside(tmp_path / "head.safetensors")
