"""Who is tracked: the identity of a few frames that show much of the face, and not the same of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from imhead.checkpoint import Model
from imhead.conventions import UNIT_MM
from imhead.errors import InputError
from imhead.fitting.person import PersonFit, fit_person
from imhead.fitting.points import scan_samples
from imhead.fitting.pose import PoseResult, Units, find_pose
from imhead.fitting.start import pose_template
from imhead.io.limited import read_scan_limited
from imhead.surfaces.transforms import matrix_of, rotation_of
from imhead.tracking.config import TrackConfig
from imhead.tracking.frame import Place, frame_figures
from imhead.types import FloatArray, Head, Scan

_TURN_DEG, _FAR_APART = 25.0, 0.25  # of head and of the sequence: two frames that differ by this much are different
_FACE_MM = np.array([0.0, 0.0, 60.0])  # of the head frame: stays in place where a scale is changed


@dataclass(frozen=True, eq=False)
class Candidate:
    """A frame in which a search found the head."""

    index: int
    """Among the frames."""
    pose: PoseResult
    """What the search found."""


@dataclass(frozen=True, eq=False)
class Identity:
    """The tracked head, and the frames that it was fitted to."""

    head: Head
    """Neutral."""
    kept: dict[str, Any]
    """All else, ready for JSON: `keyframes`, `mm_per_unit`, `units`, `scale_assumed`, `usual_mm`, `warnings`."""

    @property
    def anchor(self) -> int:
        """Frame from which the others are tracked: the keyframe that shows most of the face."""
        shown = [key["face_samples"] * key["face_explained"] for key in self._own()]
        return int(self._own()[int(np.argmax(shown))]["index"])

    def places(self) -> dict[int, Place]:
        """Index → place of the keyframes that show the person, all at the common scale."""
        scale = self.kept["mm_per_unit"]
        return {
            key["index"]: Place(_at_scale(np.array(key["scan_to_head"]), scale), np.array(key["weights"]))
            for key in self._own()
        }

    def _own(self) -> list[dict[str, Any]]:
        return [key for key in self.kept["keyframes"] if key["same_person"]]


def fit_identity(
    paths: Sequence[Path], model: Model, config: TrackConfig, units: Units, progress: Callable[[str, float], None]
) -> Identity:
    """The person's head from the keyframes of a sequence.

    Args:
        paths: of the frames in order.
        model: to fit.
        config: settings.
        units: of the frames, if known.
        progress: is called with the stage and the part done, 0 to 1.

    Raises:
        InputError: no frame shows a face; the message says what the first one was refused for.
    """
    found, refusals = _searched(paths, model, config, units, progress)
    if not found:
        raise InputError(f"no face was found in {len(refusals)} of {len(paths)} frames: {refusals[0]}")
    chosen = keyframes(found, len(paths), config.keyframes)
    unit = _common_unit(found)
    scans = [_named(read_scan_limited(paths[candidate.index]), paths[candidate.index]) for candidate in chosen]
    fit = fit_person(
        scans, model, config.fit, units=units, mm_per_unit=None if unit is None else UNIT_MM[unit],
        progress=lambda stage, part: progress(f"identity: {stage}", 0.3 + 0.7 * part),
    )  # fmt: skip
    return Identity(fit.head, _kept([chosen[row].index for row in fit.rows], fit, unit))


def keyframes(found: Sequence[Candidate], count: int, wanted: int) -> list[Candidate]:
    """At most `wanted` candidates, in order of time: the one that shows most of the face, then those that show much of
    it and differ from the ones before, in pose or in time.

    Args:
        found: candidates, at least one.
        count: frames of the whole sequence.
        wanted: number of keyframes.
    """
    shown = np.array([candidate.pose.face_coverage * max(candidate.pose.score, 0.0) for candidate in found])
    turns = np.stack([rotation_of(candidate.pose.scan_to_head) for candidate in found])
    times = np.array([candidate.index for candidate in found]) / max(count, 1)
    nearest = np.ones(len(found))
    chosen: list[int] = []
    while len(chosen) < min(wanted, len(found)):
        worth = np.where(np.isin(np.arange(len(found)), chosen), -1.0, shown * (0.1 + nearest))
        best = int(worth.argmax())
        chosen.append(best)
        angles = np.degrees(Rotation.from_matrix(turns @ turns[best].T).magnitude())
        different = angles / _TURN_DEG + np.abs(times - times[best]) / _FAR_APART
        nearest = np.minimum(nearest, different)
    return [found[k] for k in sorted(chosen)]


def _searched(
    paths: Sequence[Path], model: Model, config: TrackConfig, units: Units, progress: Callable[[str, float], None]
) -> tuple[list[Candidate], list[str]]:
    """The candidates of a sequence, and why the other frames that were tried are none."""
    indices = np.unique(np.round(np.linspace(0, len(paths) - 1, config.candidates)).astype(int)).tolist()
    found: list[Candidate] = []
    refusals: list[str] = []
    for done, index in enumerate(indices):
        progress("search", 0.3 * done / len(indices))
        try:
            samples, normals = scan_samples(read_scan_limited(paths[index]), config.fit)
            # once a unit is known it is that of all frames
            known = _common_unit(found)
            pose = find_pose(
                samples, normals, pose_template(model), units=units,
                mm_per_unit=None if known is None else UNIT_MM[known], seed=config.fit.seed,
            )  # fmt: skip
        except InputError as error:
            refusals.append(str(error))
            continue
        found.append(Candidate(index, pose))
    return found, refusals


def _common_unit(found: Sequence[Candidate]) -> str | None:
    """The unit on which most candidates agree; None where it is unknown."""
    units = [candidate.pose.units for candidate in found]
    most = max(units, key=units.count, default="unknown")
    return most if most in UNIT_MM else None


def _named(scan: Scan, path: Path) -> Scan:
    """A scan that is called by its file, so that messages name it."""
    return Scan(path.name, scan.points, scan.normals, scan.faces, scan.warnings)


def _kept(indices: Sequence[int], fit: PersonFit, unit: str | None) -> dict[str, Any]:
    own = [scan for scan in fit.scans if scan.same_person]
    scale = float(np.median([np.cbrt(np.linalg.det(scan.scan_to_head[:3, :3])) for scan in own]))
    medians = [frame_figures(scan.figures)["face_median_mm"] for scan in own]
    known = [float(median) for median in medians if median is not None]
    return {
        "keyframes": [
            {
                "index": index,
                "name": scan.name,
                "same_person": scan.same_person,
                "scan_to_head": scan.scan_to_head.tolist(),
                "weights": scan.weights.tolist(),
                "noise_mm": round(float(scan.noise_mm), 4),
                **frame_figures(scan.figures),
            }
            for index, scan in zip(indices, fit.scans)
        ],
        "mm_per_unit": scale if unit is None else UNIT_MM[unit],
        "units": unit or "unknown",
        "scale_assumed": unit is None,
        "usual_mm": float(np.median(known)) if known else 0.0,
        "warnings": list(fit.warnings),
    }


def _at_scale(scan_to_head: FloatArray, scale: float) -> FloatArray:
    """A similarity (4, 4) with another scale, under which the face stays where it is."""
    linear = scale * rotation_of(scan_to_head)
    return matrix_of(linear, _FACE_MM - linear @ (np.linalg.inv(scan_to_head) @ [*_FACE_MM, 1.0])[:3])
