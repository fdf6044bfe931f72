"""The pose template that ships is that of the model beside it, and a damaged or foreign one is refused in a line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load, save

from imhead.checkpoint import load_model
from imhead.errors import InputError
from imhead.fitting.pose_file import POSE_FORMAT, made_pose_template, pose_path, read_pose_template
from imhead.fitting.start import pose_template

SAME = ("points", "normals", "face", "smooth_normals", "relief", "nose_tip_mm", "nose_axis")


def test_the_file_that_ships_holds_what_the_mean_head_gives() -> None:
    model = load_model()
    assert model.path is not None and pose_path(model.path).is_file()
    made, read = made_pose_template(model), pose_template(model)
    for name in SAME:
        np.testing.assert_allclose(getattr(read, name), getattr(made, name), atol=1e-3)


def written(path: Path, **changed: np.ndarray) -> Path:
    model = load_model()
    assert model.path is not None
    arrays = load(pose_path(model.path).read_bytes()) | changed
    path.write_bytes(save(arrays, {"format": POSE_FORMAT, "model_hash": model.hash}))
    return path


def test_a_file_of_another_model_is_refused(tmp_path: Path) -> None:
    other = replace(load_model(), hash="0" * 16)
    with pytest.raises(InputError, match="not of"):
        read_pose_template(written(tmp_path / "a.safetensors"), other)


@pytest.mark.parametrize(
    "changed",
    [
        {"points": np.zeros((0, 3))},
        {"points": np.full((4, 3), np.nan)},
        {"normals": np.zeros((4, 2))},
        {"nose_tip": np.zeros(3, dtype=np.float32)},
        {"points": np.zeros((1 << 17, 3))},
    ],
    ids=["empty", "nan", "shape", "type", "many"],
)
def test_a_damaged_file_is_refused_in_one_line(tmp_path: Path, changed: dict[str, np.ndarray]) -> None:
    with pytest.raises(InputError) as told:
        read_pose_template(written(tmp_path / "a.safetensors", **changed), load_model())
    assert "\n" not in str(told.value)
