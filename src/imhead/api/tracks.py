"""A tracked sequence, for Python."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imhead.api.checks import checked_fit, checked_number, checked_whole
from imhead.api.heads import EditableHead
from imhead.errors import InputError
from imhead.tracking.config import TrackConfig
from imhead.tracking.track import Track
from imhead.types import FloatArray


@dataclass(frozen=True, eq=False, repr=False)
class TrackedHead(EditableHead):
    """The neutral head of a sequence of scans, with its pose and expression in each. Edits return a plain
    `EditableHead`."""

    track: Track
    """Frames, keyframes and figures."""
    folder: Path
    """Where its files were written: `take.csv`, `animated.glb`, `strip.png`, `report.json`, `head.safetensors`."""
    figures: dict[str, Any]
    """What `report.json` holds."""

    def __repr__(self) -> str:
        found, total = self.figures["found"], self.figures["frames_total"]
        return f"TrackedHead({self.model.name}, found in {found} of {total} frames, the others bridged; {self.folder})"

    def _told(self) -> list[tuple[str, object]]:
        found, total = self.figures["found"], self.figures["frames_total"]
        return [*super()._told(), ("frames", f"found in {found} of {total}"), ("folder", self.folder)]

    def report(self) -> dict[str, Any]:
        """The figures of the track, as `report.json` holds them."""
        return self.figures

    def weights(self) -> FloatArray:
        """(T, 52) ARKit weights of the frames."""
        return self.track.weights()

    def poses(self) -> FloatArray:
        """(T, 4, 4) scan frame and unit → head frame, mm, of the frames."""
        return self.track.poses()


def checked_track(config: TrackConfig) -> TrackConfig:
    """Settings of a track.

    Raises:
        InputError: something else, or a setting that is out of its range.
    """
    if not isinstance(config, TrackConfig):
        raise InputError(f"the settings of the track are {config!r}; give a TrackConfig")
    checked_fit(config.fit)
    checked_number("frames_per_second", config.frames_per_second, 1.0, 1000.0)
    checked_whole("candidates", config.candidates, 1, 1000)
    checked_whole("keyframes", config.keyframes, 1, 100)
    checked_whole("points", config.points, 100, 1_000_000)
    checked_whole("overlap", config.overlap, 0, 10_000)
    checked_whole("window", config.window, 2 * config.overlap + 1, 100_000)
    return config
