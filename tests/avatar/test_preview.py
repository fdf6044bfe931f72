"""The animated picture of an avatar."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imhead.avatar.parts import Parts
from imhead.avatar.posing import Pose
from imhead.avatar.preview import Drawing, PreviewConfig, check_preview_path, shown_pose, write_preview
from imhead.conventions import ARKIT_NAMES
from imhead.errors import InputError
from imhead.io.glb_scene_writer import Clip, Scene
from imhead.io.live_link import Take
from imhead.types import FloatArray


@pytest.fixture(scope="module")
def scene(mean_scene: Scene, clip: Callable[[Take], Clip]) -> Scene:
    seconds = np.arange(31) / 30.0
    weights, angles = np.zeros((31, 52)), np.zeros((31, 9))
    weights[:, ARKIT_NAMES.index("jawOpen")] = np.linspace(0.0, 0.8, 31)
    angles[:, 0] = np.linspace(0.0, 0.6, 31)
    return replace(mean_scene, animation=clip(Take(seconds, weights, angles)))


def test_a_preview_shows_the_take_from_its_start_to_its_end(scene: Scene, tmp_path: Path) -> None:
    frames = write_preview(tmp_path / "me.webp", scene, "arkit", PreviewConfig(size=64))
    with Image.open(tmp_path / "me.webp") as picture:
        assert picture.format == "WEBP" and picture.n_frames == frames == 12 and picture.size == (64, 64)  # type: ignore[attr-defined]
        first = np.asarray(picture.convert("RGB"), dtype=float)
        picture.seek(frames - 1)
        last = np.asarray(picture.convert("RGB"), dtype=float)
    assert (np.abs(first - last).max(axis=2) > 20.0).mean() > 0.05


def close_up(scene: Scene, pose: Pose, middle: FloatArray) -> FloatArray:
    place = (float(middle[0]), float(middle[1]), 60.0)
    return Drawing.of(scene).picture(pose, 0.0, 96, place, 22.0).astype(float)


def pale(picture: FloatArray) -> float:
    """Share of pixels that are light and have hardly a colour, on a grey skin."""
    return float((picture.min(axis=2) > 125.0).mean())


def test_eyes_and_teeth_are_drawn_and_a_blink_hides_the_eye(scene: Scene, parts: Parts) -> None:
    eye, mouth = parts.marks[42:48].mean(axis=0), parts.marks[[62, 66]].mean(axis=0)
    open_eye, shut = (close_up(scene, Pose({"eyeBlinkLeft": weight}), eye) for weight in (0.0, 1.0))
    assert open_eye.min() < 40.0 < pale(open_eye) * 1e4 and pale(shut) == 0.0
    lips, teeth = (close_up(scene, Pose({"jawOpen": w, "mouthUpperUpLeft": w, "mouthUpperUpRight": w}), mouth)
                   for w in (0.0, 0.6))  # fmt: skip
    assert pale(teeth) > pale(lips) + 0.01


def test_without_a_take_the_face_moves_and_comes_back() -> None:
    assert shown_pose(0.5, "arkit").weights["eyeBlinkLeft"] == 1.0
    assert shown_pose(0.5, "unreal").weights["EyeBlinkLeft"] == 1.0
    assert max(shown_pose(0.0, "arkit").weights.values()) == 0.0


@pytest.mark.parametrize("wrong", [{"size": 8}, {"most_seconds": 0.0}])
def test_a_preview_has_a_sensible_size(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match="out of range"):
        PreviewConfig(**wrong)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"\.webp"):
        check_preview_path(Path("me.gif"))
