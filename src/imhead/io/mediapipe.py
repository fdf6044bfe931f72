"""Takes of facial animation as JSON, as programs around MediaPipe's face landmarker write them.

A list of frames, or one frame a line. Each holds its blend shapes as categories with a score, as name and weight, or as
52 numbers in MediaPipe's order; a time, if it has one; and the head's matrix, if it has one. MediaPipe's face looks
along +z with its own left at +x, as a head does here, so its matrix turns the head as it is.

Shape legend: T frames.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from imhead.conventions import ARKIT_NAMES
from imhead.errors import InputError, system_refusal
from imhead.io.live_link import ANGLE_NAMES, Take, assembled, clock_seconds, read_take
from imhead.io.scan_file import one_line
from imhead.types import FloatArray

_MOST_BYTES, _MOST_FRAMES = 64 << 20, 100_000
_ORDER = ("_neutral", *sorted(name for name in ARKIT_NAMES if name != "tongueOut"))
_SHAPES = ("blendshapes", "faceBlendshapes", "face_blendshapes", "blendShapes", "categories", "weights")
_LISTS = ("frames", "results", "data", "takes")
_NAMES, _SCORES = ("categoryName", "category_name", "name", "displayName"), ("score", "value", "weight")
_TIMES: dict[str, float | None] = {
    "timestamp_ms": 1e-3, "timestampMs": 1e-3, "time_ms": 1e-3, "seconds": 1.0, "timestamp": None, "time": None,
    "t": None,
}  # fmt: skip
_MATRICES = (
    "facialTransformationMatrixes", "facial_transformation_matrixes", "facialTransformationMatrix", "matrix",
    "transform",
)  # fmt: skip
_DEEPEST = 6


def read_any_take(path: Path) -> Take:
    """A take in a file: .json and .jsonl as MediaPipe's, anything else as Live Link Face's CSV.

    Raises:
        InputError: as `read_take` and `read_mediapipe`.
    """
    return read_mediapipe(path) if path.suffix.lower() in (".json", ".jsonl") else read_take(path)


def read_mediapipe(path: Path) -> Take:
    """Read a take of MediaPipe's blend shapes. Frames without a face, or with numbers that are none, are left out.

    Raises:
        InputError: the file cannot be opened, is too large, is no JSON, or holds no frame that can be read.
    """
    label = one_line(path)
    rows, stamps, units, broken = [], [], set(), 0
    for count, frame in enumerate(_frames(_text(path, label), label)):
        if count >= _MOST_FRAMES:
            raise InputError(f"{label}: holds more than {_MOST_FRAMES} frames; cut the take")
        weights = _weights(frame)
        if weights is None:
            broken += 1
            continue
        key = next((key for key in _TIMES if key in frame), None)
        stamps.append(None if key is None else frame[key])
        units.add(None if key is None else _TIMES[key])
        rows.append(np.concatenate([weights, _angles(frame)]))
    if not rows:
        raise InputError(f"{label}: holds no frame with blend shapes such as jawOpen; export the take again")
    warnings = [f"{broken} frames hold no face that can be read and were left out."] if broken else []
    seconds, rate = clock_seconds(stamps, units.pop() if len(units) == 1 else None)
    return assembled(np.array(rows), seconds, rate, "00:00:00:00", warnings)


def _text(path: Path, label: str) -> str:
    try:
        if not path.is_file():
            raise InputError(f"{label}: no such file; give the path of a take")
        size = path.stat().st_size
        if size > _MOST_BYTES:
            raise InputError(f"{label}: has {size} bytes, more than the {_MOST_BYTES} allowed; cut the take")
        return path.read_bytes().decode("utf-8-sig", errors="replace")
    except OSError as error:
        raise InputError(f"{label}: cannot be opened {system_refusal(error)}") from None


def _frames(text: str, label: str) -> Iterator[Mapping[str, Any]]:
    try:
        try:
            tree = json.loads(text)
        except ValueError:
            lines = [line for line in text.splitlines() if line.strip()]
            if len(lines) < 2:
                raise
            tree = [json.loads(line) for line in lines]
    except (ValueError, RecursionError):
        raise InputError(f"{label}: is no JSON; export the take again") from None
    if isinstance(tree, dict):
        tree = next((tree[key] for key in _LISTS if isinstance(tree.get(key), list)), [tree])
    for frame in tree if isinstance(tree, list) else []:
        yield frame if isinstance(frame, dict) else {"blendshapes": frame}


def _weights(frame: Mapping[str, Any]) -> FloatArray | None:
    """(52,) the weights of a frame; None where it has none."""
    found: Any = frame
    for _ in range(_DEEPEST):
        if isinstance(found, dict):
            key = next((key for key in _SHAPES if key in found), None)
            if key is None:
                return _named(found.items())
            found = found[key]
        elif isinstance(found, list) and len(found) == 1 and isinstance(found[0], dict | list):
            found = found[0]  # of the faces in the picture the first
        else:
            break
    if not isinstance(found, list):
        return None
    if all(isinstance(entry, dict) for entry in found):
        return _named((_first(entry, _NAMES), _first(entry, _SCORES)) for entry in found)
    if len(found) in (len(_ORDER), len(_ORDER) - 1):
        return _named(zip(_ORDER[len(_ORDER) - len(found) :], found))
    return None


def _first(entry: Mapping[str, Any], keys: tuple[str, ...]) -> Any:
    return next((entry[key] for key in keys if entry.get(key) not in (None, "")), None)


def _named(pairs: Any) -> FloatArray | None:
    """(52,) weights by name, case and underscores aside; None without any, or with one that is no number."""
    rows = {name.lower(): k for k, name in enumerate(ARKIT_NAMES)}
    weights, known = np.zeros(len(ARKIT_NAMES)), False
    for name, value in pairs:
        row = rows.get(str(name).replace("_", "").lower())
        if row is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
            return None
        weights[row], known = value, True
    return weights if known else None


def _angles(frame: Mapping[str, Any]) -> FloatArray:
    """(9,) yaw, pitch and roll of the head, from its matrix; the eyes' are 0."""
    angles = np.zeros(len(ANGLE_NAMES))
    found: Any = _first(frame, _MATRICES)
    if isinstance(found, list) and len(found) == 1:
        found = found[0]
    by_columns = isinstance(found, dict)  # as the library for the browser packs it
    try:
        numbers = np.array(found["data"] if by_columns else found, dtype=np.float64).reshape(4, 4)
        matrix = (numbers.T if by_columns else numbers)[:3, :3]
        if np.isfinite(matrix).all() and abs(np.linalg.det(matrix)) > 1e-9:
            angles[:3] = Rotation.from_matrix(matrix / np.cbrt(np.linalg.det(matrix))).as_euler("YXZ")
    except (ValueError, TypeError, LookupError):
        pass
    return angles
