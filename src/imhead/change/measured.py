"""Measurements of registered heads: on what the scan shows, with ± of their changes.

Shape legend: V vertices of the template, L landmarks.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

import numpy as np
from scipy.spatial import cKDTree
from scipy.stats import t as student_t

from imhead.change.change import Change
from imhead.measure.landmarks import landmark_places, patch_faces
from imhead.measure.on_template import values_on
from imhead.measure.table import MEASUREMENTS, VOLUMES, landmark_rows, measurement
from imhead.types import BoolArray, FloatArray

REPEATS_FILE = "repeats.json"
_NEAR_MM = 5.0  # from a measured vertex: a landmark there is shown
_PATCH_SHARE = 0.9  # of a patch's vertices that must be shown


@dataclass(frozen=True)
class MeasuredDifference:
    """One measurement of two visits."""

    name: str
    """What it is called."""
    unit: str
    """`mm`, `degrees` or `ml`."""
    before: float
    """Its value on the first visit."""
    after: float
    """Its value on the later one."""
    error: float | None
    """± of the change, half of the 68 % interval: √2 times the technical error of measurement; None where it is not
    known, and where a scan does not show the landmarks."""
    shown: bool
    """Whether both visits show the landmarks."""

    @property
    def change(self) -> float:
        """How much it grew."""
        return self.after - self.before

    @property
    def within_95(self) -> float | None:
        """Half of the 95 % interval of the change; None where its error is not known."""
        return None if self.error is None else _factor_95() * self.error

    @property
    def beyond_noise(self) -> bool | None:
        """Whether the 95 % interval of the change does not hold 0; None where its error is not known."""
        return None if self.within_95 is None else abs(self.change) > self.within_95


def displacement(change: Change, same_expression: bool, slide_mm: float) -> FloatArray:
    """(V, 3) how far each vertex moved from the first visit to the later one in the expression of the first, mm.

    Along the normals it is the change itself, which is averaged over a window. Along the surface a registration knows
    little of a vertex, so a short slide counts as none.

    Args:
        change: between the visits.
        same_expression: whether the change is without the expression already.
        slide_mm: of a slide of this length half counts.
    """
    whole = change.alike - change.before
    along = np.einsum("vc,vc->v", whole, change.normals)
    slide = whole - along[:, None] * change.normals
    expression = 0.0 if same_expression else change.expression_mm
    along = np.where(change.compared, change.moved_mm - expression, along)
    squared = np.einsum("vc,vc->v", slide, slide)
    counted = squared / (squared + slide_mm**2)
    result: FloatArray = along[:, None] * change.normals + counted[:, None] * slide
    return result


def differences(before: FloatArray, after: FloatArray, measured: BoolArray, growth: float) -> list[MeasuredDifference]:
    """Every measurement of two neutral faces (V, 3) with its change.

    Args:
        before: template vertices, mm.
        after: of the later visit.
        measured: (V,) vertices that both visits show.
        growth: the comparison's noise over the usual one; above 1 the errors grow with it.
    """
    first, second, repeats = values_on(before), values_on(after), technical_errors()
    factor = float(np.sqrt(2.0) * max(1.0, growth))
    shown = _shown(before, measured)
    return [
        MeasuredDifference(
            name, measurement(name).unit, first[name], second[name],
            factor * repeats[name] if shown[name] and name in repeats else None, shown[name],
        )
        for name in first
    ]  # fmt: skip


def _shown(vertices: FloatArray, measured: BoolArray) -> dict[str, bool]:
    """Whether the scans show the places of each measurement; a landmark on a rim of a lid or lip counts with its
    surroundings."""
    if not measured.any():
        return dict.fromkeys((kind.name for kind in (*MEASUREMENTS, *VOLUMES)), False)
    tree = cKDTree(vertices[measured])
    near = tree.query(landmark_places().of(vertices))[0] < _NEAR_MM
    shown = {kind.name: bool(near[landmark_rows(kind)].all()) for kind in MEASUREMENTS}
    for kind in VOLUMES:
        rows = np.unique(patch_faces(kind.landmarks[0]))
        shown[kind.name] = bool((tree.query(vertices[rows])[0] < _NEAR_MM).mean() > _PATCH_SHARE)
    return shown


def technical_errors() -> dict[str, float]:
    """The technical error of each measurement by name, in its unit: the standard deviation of one value when a person
    is scanned again, learnt from virtual patients."""
    return dict(_table().errors)


def usual_noise_mm() -> float:
    """Noise of the comparisons from which the technical errors were learnt."""
    return _table().noise_mm


@lru_cache(maxsize=1)
def _factor_95() -> float:
    """95 % intervals over the ±, which are known from so many pairs of scans only."""
    return float(student_t.ppf(0.975, _table().pairs))


@dataclass(frozen=True)
class _Repeats:
    """The table that ships: technical errors by name, from so many pairs of scans, at this noise."""

    noise_mm: float
    pairs: int
    errors: dict[str, float]


@lru_cache(maxsize=1)
def _table() -> _Repeats:
    return _Repeats(**json.loads((resources.files("imhead.change") / REPEATS_FILE).read_text()))
