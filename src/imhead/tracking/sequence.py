"""The frames of a track: scans in a folder, in the natural order of their names."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict
from pathlib import Path

from imhead.errors import InputError, system_refusal
from imhead.io.scan_file import SCAN_EXTENSIONS
from imhead.tracking.config import TrackConfig

_MOST_FRAMES = 100_000


def frame_paths(folder: Path) -> list[Path]:
    """The scans of a folder in the natural order of their names: `frame_2` comes before `frame_10`.

    Raises:
        InputError: no such folder, no scan in it, or more than 100 000 of them; one line.
    """
    try:
        if not folder.is_dir():
            raise InputError(f"{folder}: is no folder; name the folder that holds the frames, one scan each")
        found = [path for path in folder.iterdir() if path.suffix.lower() in SCAN_EXTENSIONS and path.is_file()]
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        reason = system_refusal(error) if isinstance(error, OSError) else f"({error}); check the path"
        raise InputError(f"{folder}: cannot be read {reason}") from error
    if not found:
        raise InputError(f"{folder}: holds no scan; frames are scans, such as frame_000.ply, frame_001.ply")
    if len(found) > _MOST_FRAMES:
        raise InputError(f"{folder}: holds {len(found)} scans, more than {_MOST_FRAMES}; track it in parts")
    return sorted(found, key=_natural)


def _natural(path: Path) -> tuple[list[tuple[int, int, str]], str]:
    """Digits compare as numbers, the rest as text."""
    parts = re.findall(r"\d+|\D+", path.name.lower())
    # a run of more digits than any frame number is text
    return [(0, int(k), "") if k.isdecimal() and len(k) < 19 else (1, 0, k) for k in parts], path.name


def fingerprint(paths: list[Path], model_hash: str, config: TrackConfig, units: str) -> str:
    """SHA-256 of everything that the results of a track's frames depend on: files, model, settings."""
    files = [(path.name, stat.st_size, stat.st_mtime_ns) for path in paths if (stat := path.stat())]
    settings = asdict(config)
    for later in ("frames_per_second", "window", "overlap", "least_change"):  # these only concern what is written last
        del settings[later]
    return hashlib.sha256(json.dumps([files, model_hash, settings, units], sort_keys=True).encode()).hexdigest()
