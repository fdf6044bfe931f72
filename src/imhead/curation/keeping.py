"""What a fit found, as arrays and figures of a record, and back again, exactly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from imhead.fitting.hair import Hair
from imhead.fitting.pose import PoseResult
from imhead.fitting.pose.evidence import PoseEvidence

_POSE_FIGURES = (
    "units", "unit_source", "scale_assumed", "score", "runner_up", "face_coverage", "head_scale", "probability",
)  # fmt: skip


def pose_figures(pose: PoseResult) -> dict[str, Any]:
    """All of a pose but its matrix, ready for JSON."""
    known = {name: getattr(pose, name) for name in _POSE_FIGURES}
    return known | {"warnings": list(pose.warnings), "evidence": asdict(pose.evidence)}


def pose_arrays(pose: PoseResult) -> dict[str, np.ndarray]:
    """The matrix of a pose."""
    return {"scan_to_head": np.asarray(pose.scan_to_head, dtype=np.float64)}


def opened_pose(arrays: Mapping[str, np.ndarray], figures: Mapping[str, Any]) -> PoseResult:
    """The pose of `pose_arrays` and `pose_figures`."""
    return PoseResult(
        scan_to_head=arrays["scan_to_head"], **{name: figures[name] for name in _POSE_FIGURES},
        warnings=tuple(figures["warnings"]), evidence=PoseEvidence(**figures["evidence"]),
    )  # fmt: skip


def hair_arrays(hair: Hair) -> dict[str, np.ndarray]:
    """Hair as arrays."""
    return {
        "hair_samples": np.asarray(hair.samples, dtype=np.float64),
        "hair_patch": np.asarray(hair.patch, dtype=np.int64),
        "hair_region": np.asarray(hair.region, dtype=np.int64),
        "hair_area": np.asarray(hair.area_cm2, dtype=np.float64),
    }


def opened_hair(arrays: Mapping[str, np.ndarray]) -> Hair:
    """The hair of `hair_arrays`."""
    return Hair(arrays["hair_samples"], arrays["hair_patch"], arrays["hair_region"], arrays["hair_area"])
