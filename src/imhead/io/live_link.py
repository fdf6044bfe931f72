"""Takes of facial animation in the CSV layout of the Live Link Face app.

Columns: `Timecode,BlendShapeCount`, 52 ARKit weights in PascalCase, then yaw, pitch and roll of head, left and right
eye in radians. In a right-handed frame with x to the subject's left, y up and z out of the face, yaw turns about y,
pitch about x and roll about z.

Shape legend: T frames.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from imhead.conventions import ARKIT_NAMES
from imhead.errors import InputError, system_refusal
from imhead.io.atomic import write_atomically
from imhead.io.scan_file import one_line
from imhead.types import FloatArray

ANGLE_NAMES: tuple[str, ...] = tuple(
    f"{part}{turn}" for part in ("Head", "LeftEye", "RightEye") for turn in ("Yaw", "Pitch", "Roll")
)
"""The nine angles, in the file's order."""

# the app's own order, which differs from Apple's in the two sideways shifts of the jaw and of the mouth
_SWAPPED = {"jawLeft": "jawRight", "jawRight": "jawLeft", "mouthLeft": "mouthRight", "mouthRight": "mouthLeft"}
_FILE_NAMES = tuple(_SWAPPED.get(name, name) for name in ARKIT_NAMES)
_RATES = (24.0, 25.0, 30.0, 50.0, 60.0, 120.0, 240.0)
_MAX_BYTES = 128 << 20
_MAX_FRAMES = 200_000
_MAX_LINE = 1 << 16
_MAX_COLUMNS = 1000
_CLOCKS: dict[str, float | None] = {
    "timestampms": 1e-3, "timems": 1e-3, "ms": 1e-3, "seconds": 1.0, "times": 1.0, "timestamp": None, "time": None,
}  # fmt: skip
"""Columns with the time where there is no timecode → seconds of one step, None where the numbers tell."""
_LARGEST_ANGLE = 4.0 * math.pi
_TIMECODE = re.compile(r"\s*(\d{1,3})[:;](\d{1,2})[:;](\d{1,2})[:;.](\d{1,3})(?:\.(\d{1,6}))?\s*")


@dataclass(frozen=True, eq=False)
class Take:
    """Facial animation: a row for each frame."""

    seconds: FloatArray
    """(T,) time of each frame since the first; increasing."""
    weights: FloatArray
    """(T, 52) ARKit weights in Apple's order, 0 to 1."""
    angles: FloatArray
    """(T, 9) radians, in the order of `ANGLE_NAMES`."""
    start: str = "00:00:00:00"
    """Timecode of the first frame."""
    warnings: tuple[str, ...] = ()
    """What the reader mended or left out, one sentence each."""

    def __post_init__(self) -> None:
        for name, columns in (("seconds", ()), ("weights", (len(ARKIT_NAMES),)), ("angles", (len(ANGLE_NAMES),))):
            value = np.array(getattr(self, name), dtype=np.float64)
            if value.shape != (len(self.seconds), *columns) or not np.isfinite(value).all():
                raise InputError(f"Take.{name} has shape {value.shape}, or holds NaN; expected a finite row a frame")
            value.setflags(write=False)
            object.__setattr__(self, name, value)


def take_bytes(take: Take, frames_per_second: float) -> bytes:
    """The CSV of a take, whose timecode starts at 00:00:00:00.000."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(("Timecode", "BlendShapeCount", *map(_pascal, _FILE_NAMES), *ANGLE_NAMES))
    columns = [ARKIT_NAMES.index(name) for name in _FILE_NAMES]
    for second, weights, angles in zip(take.seconds, take.weights, take.angles):
        values = [f"{value:.10f}" for value in (*weights[columns], *angles)]
        table.writerow((_timecode(float(second), frames_per_second), len(values), *values))
    return text.getvalue().encode()


def write_take(take: Take, path: Path, frames_per_second: float) -> None:
    """Write a take as CSV, whole or not at all.

    Raises:
        InputError: the file cannot be written; one line.
    """
    write_atomically(path, take_bytes(take, frames_per_second))


def read_take(path: Path, *, frames_per_second: float | None = None) -> Take:
    """Read a take. Columns are found by their names, in any order and case; one that is missing is 0, with a warning.

    Rows that are cut short or hold text instead of numbers are left out, and so are those whose time does not go on;
    weights are clipped to [0, 1].

    Args:
        path: a .csv file.
        frames_per_second: of the timecode; None takes the least usual rate that its frame numbers allow.

    Raises:
        InputError: the file cannot be opened, is too large, has none of the columns, or no row that can be read.
    """
    label = one_line(Path(path))
    rows = csv.reader(_lines(_text(Path(path), label), label))
    try:
        header = next(rows, [])
        places = _places(header, label)
        numbers, stamps, broken = _numbers(rows, places, label)
    except csv.Error as error:
        raise InputError(f"{label}: is no CSV file ({error}); export the take again") from None
    if not len(numbers):
        raise InputError(f"{label}: holds no frame that can be read; export the take again")
    warnings = [f"{broken} rows cannot be read and were left out."] if broken else []
    missing = [_pascal(name) for name in ARKIT_NAMES if name.lower() not in places]
    if missing:
        warnings.append(f"{len(missing)} weights are not in the file and were taken as 0: {', '.join(missing)}.")
    if "timecode" in places or not places.keys() & _CLOCKS.keys():
        seconds, start, rate = _seconds(stamps, frames_per_second)
    else:  # a plain clock, as programs around MediaPipe write it
        seconds, rate = clock_seconds(stamps, next(_CLOCKS[name] for name in _CLOCKS if name in places))
        start = "00:00:00:00"
    return assembled(numbers, seconds, rate, start, warnings)


def assembled(numbers: FloatArray, seconds: FloatArray, rate: float, start: str, warnings: list[str]) -> Take:
    """A take of rows as a file has them: those that go back in time are left out, and weights are clipped.

    Args:
        numbers: (T, 61) weights and angles.
        seconds: (T,).
        rate: frames a second.
        start: timecode of the first.
        warnings: what the reader has left out so far.
    """
    onward = np.concatenate([[True], seconds[1:] > np.maximum.accumulate(seconds)[:-1]])
    if not onward.all():
        warnings.append(f"{int((~onward).sum())} rows go back in time and were left out.")
    seconds, numbers = seconds[onward], numbers[onward]
    gaps = np.diff(seconds) * rate
    dropped = int(np.round(gaps - np.median(gaps)).clip(0.0).sum()) if len(gaps) else 0
    if dropped:
        warnings.append(f"About {dropped} frames are missing between others.")
    weights, angles = numbers[:, : len(ARKIT_NAMES)], numbers[:, len(ARKIT_NAMES) :]
    outside = int(((weights < 0.0) | (weights > 1.0)).any(axis=1).sum())
    if outside:
        warnings.append(f"{outside} frames have weights outside 0 to 1, which were clipped.")
    if np.abs(angles).max(initial=0.0) > _LARGEST_ANGLE:
        warnings.append("Some angles are larger than two turns; they should be radians.")
    return Take(seconds - seconds[0], weights.clip(0.0, 1.0), angles, start, tuple(warnings))


def _text(path: Path, label: str) -> str:
    try:
        if not path.is_file():
            raise InputError(f"{label}: no such file; give the path of a take's .csv")
        size = path.stat().st_size
        if size > _MAX_BYTES:
            raise InputError(f"{label}: has {size} bytes, more than any take; give the .csv of one take")
        data = path.read_bytes()
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        reason = system_refusal(error) if isinstance(error, OSError) else f"({error}); check the path"
        raise InputError(f"{label}: cannot be opened {reason}") from None
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    return data.decode(encoding, errors="replace").replace("\0", "")


def _lines(text: str, label: str) -> Iterator[str]:
    for line in io.StringIO(text, newline=""):
        if len(line) > _MAX_LINE:
            raise InputError(f"{label}: has a line of {len(line)} characters; give a take of Live Link Face")
        yield line


def _places(header: list[str], label: str) -> dict[str, int]:
    """Column of each name, lower case: weights, angles and `timecode`."""
    if len(header) > _MAX_COLUMNS:
        raise InputError(f"{label}: has {len(header)} columns; give a take of Live Link Face, which has 63")
    known = {name.lower() for name in (*ARKIT_NAMES, *ANGLE_NAMES, "timecode", *_CLOCKS)}
    places: dict[str, int] = {}
    for column, cell in enumerate(header):
        name = re.sub("[ _()]", "", re.sub("_r$", "right", re.sub("_l$", "left", cell.strip().lower())))
        if name in known and name not in places:
            places[name] = column
    if not any(name.lower() in places for name in ARKIT_NAMES):
        raise InputError(
            f"{label}: its first line names no ARKit weight such as JawOpen; give a take of Live Link Face"
        )
    return places


def _numbers(rows: Iterator[list[str]], places: dict[str, int], label: str) -> tuple[FloatArray, list[str], int]:
    """Weights and angles (T, 61) of the rows that can be read, their timecodes, and how many cannot be."""
    columns = [places.get(name.lower()) for name in (*ARKIT_NAMES, *ANGLE_NAMES)]
    stamp = next((places[name] for name in ("timecode", *_CLOCKS) if name in places), None)
    last = max(places.values())
    blocks: list[FloatArray] = []
    stamps: list[str] = []
    broken = 0
    for row in rows:
        if not any(cell.strip() for cell in row):
            continue
        if len(stamps) + broken >= _MAX_FRAMES:
            raise InputError(f"{label}: holds more than {_MAX_FRAMES} frames; cut the take")
        try:
            if len(row) <= last:
                raise ValueError("cut short")
            values = np.array([0.0 if column is None else float(row[column]) for column in columns])
        except ValueError:
            broken += 1
            continue
        if not np.isfinite(values).all():
            broken += 1
            continue
        blocks.append(values)
        stamps.append(row[stamp] if stamp is not None else "")
    return np.array(blocks).reshape(-1, len(columns)), stamps, broken


def _seconds(stamps: list[str], rate: float | None) -> tuple[FloatArray, str, float]:
    """Times (T,) in seconds, the first timecode, and the rate; frames count themselves where a timecode is none."""
    found = [_TIMECODE.fullmatch(stamp[:40]) for stamp in stamps]
    matches = [match for match in found if match is not None]
    if len(matches) < len(found):
        rate = rate or 60.0
        return np.arange(len(stamps)) / rate, "00:00:00:00", rate
    numbers = [int(match[4]) for match in matches]
    if rate is None:
        # a take shorter than a second need not show its rate; the app's is 30 or 60
        least = max(max(numbers) + 1, 30 if len(stamps) < 30 else 0)
        rate = next((usual for usual in _RATES if usual >= least), float(least))
    times = [
        3600.0 * int(m[1]) + 60.0 * int(m[2]) + int(m[3]) + (int(m[4]) + float(f"0.{m[5] or 0}")) / rate
        for m in matches
    ]
    day = 24.0 * 3600.0
    seconds = np.array(times)
    # midnight: the clock begins again
    seconds = seconds + day * np.concatenate([[0.0], np.cumsum(np.diff(seconds) < -0.5 * day)])
    return seconds, stamps[0].strip(), rate


def clock_seconds(stamps: Sequence[Any], unit: float | None) -> tuple[FloatArray, float]:
    """Times (T,) in seconds of a clock, and frames a second; 30 frames a second where a stamp is no number.

    Args:
        stamps: numbers, or text with numbers.
        unit: seconds of one step; None tells seconds, milliseconds and microseconds apart by the usual step.
    """
    try:
        times = np.array([float(stamp) for stamp in stamps])
    except (ValueError, TypeError):
        times = np.array([np.nan])
    steps = np.diff(times)
    usual = float(np.median(steps[steps > 0.0])) if (steps > 0.0).any() else 0.0
    if not np.isfinite(times).all() or usual <= 0.0:
        return np.arange(len(stamps)) / 30.0, 30.0
    if unit is None:
        unit = 1.0 if usual < 1.5 else 1e-3 if usual < 1500.0 else 1e-6
    return times * unit, 1.0 / (usual * unit)


def _timecode(second: float, rate: float) -> str:
    """HH:MM:SS:FF.fff, frames and thousandths of a frame."""
    whole = math.ceil(rate - 1e-9)
    # the thousandths are rounded first, so that they carry
    thousandths = round(second * rate * 1000.0)
    frames, part = divmod(thousandths, 1000)
    seconds, frame = divmod(frames, whole)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}:{frame:02d}.{part:03d}"


def _pascal(name: str) -> str:
    return name[0].upper() + name[1:]
