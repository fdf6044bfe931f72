"""Takes as programs around MediaPipe write them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from imhead.conventions import ARKIT_NAMES
from imhead.errors import InputError
from imhead.io.live_link import Take
from imhead.io.mediapipe import read_any_take

JAW, BLINK = ARKIT_NAMES.index("jawOpen"), ARKIT_NAMES.index("eyeBlinkLeft")
SCORES = [0.0, 0.25, 0.5, 0.75]


def categories(jaw: float) -> list[dict[str, Any]]:
    return [{"categoryName": "_neutral", "score": 0.1}, {"categoryName": "jawOpen", "score": jaw},
            {"categoryName": "eyeBlinkLeft", "score": 1.0 - jaw}]  # fmt: skip


def numbers(jaw: float) -> list[float]:
    """52 scores in MediaPipe's order: `_neutral`, then the names by letter, without tongueOut."""
    names = ["_neutral", *sorted(name for name in ARKIT_NAMES if name != "tongueOut")]
    return [{"jawOpen": jaw, "eyeBlinkLeft": 1.0 - jaw}.get(name, 0.0) for name in names]


FORMS: dict[str, Any] = {
    "browser": [{"timestamp": 33.0 * k, "faceBlendshapes": [{"categories": categories(s)}]}
                for k, s in enumerate(SCORES)],
    "python": {"frames": [{"timestamp_ms": 33 * k, "face_blendshapes": [[
        {"category_name": c["categoryName"], "score": c["score"]} for c in categories(s)]]}
        for k, s in enumerate(SCORES)]},
    "names": [{"time": 0.033 * k, "jawOpen": s, "eyeBlinkLeft": 1.0 - s} for k, s in enumerate(SCORES)],
    "numbers": [{"seconds": 0.033 * k, "blendshapes": numbers(s)} for k, s in enumerate(SCORES)],
}  # fmt: skip


def read(folder: Path, text: str, name: str = "take.json") -> Take:
    (folder / name).write_text(text)
    return read_any_take(folder / name)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("lines", [False, True])
def test_a_take_is_read_however_it_is_written(tmp_path: Path, form: str, lines: bool) -> None:
    tree = FORMS[form]
    if lines:
        text = "\n".join(json.dumps(frame) for frame in (tree["frames"] if isinstance(tree, dict) else tree))
        take = read(tmp_path, text, "take.jsonl")
    else:
        take = read(tmp_path, json.dumps(tree))
    assert np.allclose(take.weights[:, JAW], SCORES) and np.allclose(take.weights[:, BLINK], 1.0 - np.array(SCORES))
    assert np.allclose(take.seconds, 0.033 * np.arange(4)) and take.warnings == ()


@pytest.mark.parametrize("packed", [False, True])
def test_the_heads_matrix_turns_the_head(tmp_path: Path, packed: bool) -> None:
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("YXZ", [0.3, -0.2, 0.1]).as_matrix()
    matrix[:3, 3] = (1.0, 2.0, -40.0)
    written: Any = {"rows": 4, "columns": 4, "data": matrix.T.ravel().tolist()} if packed else matrix.tolist()
    frames = [
        {"t": k / 30.0, "categories": categories(0.5), "facialTransformationMatrixes": [written]} for k in range(2)
    ]
    take = read(tmp_path, json.dumps(frames))
    assert np.allclose(take.angles[:, :3], [0.3, -0.2, 0.1])


def test_frames_without_a_face_are_left_out_and_keep_their_time(tmp_path: Path) -> None:
    frames = [{"timestamp_ms": 33 * k, "faceBlendshapes": [{"categories": categories(0.5)}] if k != 1 else []}
              for k in range(4)]  # fmt: skip
    frames.append(
        {"timestamp_ms": 200, "faceBlendshapes": [{"categories": [{"categoryName": "jawOpen", "score": "x"}]}]}
    )
    take = read(tmp_path, json.dumps(frames))
    assert np.allclose(take.seconds, [0.0, 0.066, 0.099])
    assert take.warnings[0].startswith("2 frames hold no face")


def test_a_csv_with_a_clock_keeps_its_time(tmp_path: Path) -> None:
    rows = "\n".join(f"{40 * k},{score}" for k, score in enumerate(SCORES))
    take = read(tmp_path, f"timestamp_ms,jawOpen\n{rows}\n", "take.csv")
    assert np.allclose(take.seconds, 0.04 * np.arange(4)) and np.allclose(take.weights[:, JAW], SCORES)


@pytest.mark.parametrize("text", ["", "{", "[]", "[1, 2]", '[{"jawOpen": NaN}]', "[" * 100_000, '{"frames": 3}'])
def test_what_is_no_take_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError) as refused:
        read(tmp_path, text)
    assert str(refused.value).isprintable() and "take.json" in str(refused.value)
