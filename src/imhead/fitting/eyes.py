"""The eyeballs of a fit: behind the lids, and on what the scan shows of the eyes, as far as that looks like an eyeball.

A scanned eye is often a dent or a bulge of noise. So the skin is fitted without it, and afterwards each eyeball settles
from where z_id expects it: its surface on the scanned points between the lids, under a robust loss; no lid inside it;
the margins of the lids on it.

Shape legend: N scan points, n vertices of the lids.
"""

from __future__ import annotations

import numpy as np

from imhead.checkpoint import Model
from imhead.isosurface.field import HeadField, eyes_of
from imhead.surfaces.eyeballs import EYEBALL_NUMBERS, eyeball_distance
from imhead.template.surface import has_template, template_of
from imhead.types import FloatArray, Head

_FREE = 4  # centre and radius; the bulge of the cornea stays as z_id has it
_SIGMA_MM = np.array([0.5, 0.5, 0.6, 0.25])  # of centre and radius around what z_id expects
_SCAN_SIGMA_MM, _ROBUST_MM = 0.3, 0.6
_MOST_POINTS = 60.0  # scan points of an eye, or vertices of its lids, count as this many independent ones, at most
_LID_SIGMA_MM, _MARGIN_SIGMA_MM = 0.3, 1.0
_COVERING_MM = 0.3  # lids at least this far out on the mean head cover the eyeball; nearer ones are the margin
_MOST_MM = 1.5  # of any offset
_OPEN_MM = 0.4  # scan points at least this far outside the skin lie on the eye
_REACH_MM = 2.5  # from the eyeball that z_id expects
_STEPS = 12
_DELTA_MM = 1e-3
_MIRROR = np.array([-1.0, 1.0, 1.0])


def settled_eyes(model: Model, head: Head, points_mm: FloatArray) -> FloatArray:
    """Offsets (2, 5) of the head's eyeballs, mm, for scan points (N, 3) in the head frame; zeros without a template."""
    offsets = np.zeros((2, EYEBALL_NUMBERS))
    if not has_template(model):
        return offsets
    expected = eyes_of(model, head, head.z_exp)
    lids, least = template_of(model).lid_vertices(model, head)
    shown = _on_open_eyes(HeadField(model, head), points_mm, expected)
    for side, flip in enumerate((np.ones(3), _MIRROR)):
        own = lids[:, 0] * flip[0] > 0.0
        near = shown[:, 0] * flip[0] > 0.0
        offsets[side] = _settled(expected[side], lids[own] * flip, least[own], shown[near] * flip)
    return offsets


def _on_open_eyes(field: HeadField, points_mm: FloatArray, eyes: FloatArray) -> FloatArray:
    """Those of the scan points (N, 3) that lie between the lids, near an eyeball (2, 5)."""
    distance = np.minimum(
        np.abs(eyeball_distance(points_mm, eyes[0])), np.abs(eyeball_distance(points_mm * _MIRROR, eyes[1]))
    )
    near = points_mm[distance < _REACH_MM]
    return near[field.skin_sdf(near) > _OPEN_MM] if len(near) else near


def _settled(expected: FloatArray, lids: FloatArray, least: FloatArray, shown: FloatArray) -> FloatArray:
    """Offsets (5,) of one left eyeball: Gauss-Newton with reweighting.

    Args:
        expected: (5,) the eyeball that z_id expects.
        lids: (n, 3) vertices of the lids.
        least: (n,) distance that each keeps from the eyeball; up to 0 for the margins, which lie on it.
        shown: (N, 3) scan points between the lids.
    """
    margin, covering = least <= 0.0, least > _COVERING_MM
    count = max(len(lids), 1)
    share = min(1.0, _MOST_POINTS / max(len(shown), 1))
    offsets = np.zeros(EYEBALL_NUMBERS)

    def residuals(change: FloatArray) -> tuple[FloatArray, FloatArray]:
        eyeball = expected + change
        on_lids = eyeball_distance(lids, eyeball)
        return on_lids, eyeball_distance(shown, eyeball)

    for _ in range(_STEPS):
        on_lids, on_scan = residuals(offsets)
        columns = [residuals(offsets + step) for step in _DELTA_MM * np.eye(EYEBALL_NUMBERS)[:_FREE]]
        by_lids = np.stack([(lid - on_lids) / _DELTA_MM for lid, _ in columns], axis=1)
        by_scan = np.stack([(scan - on_scan) / _DELTA_MM for _, scan in columns], axis=1)
        lacking = on_lids - least  # negative where a lid is too near
        weight_lids = np.where(covering & (lacking < 0.0), _LID_SIGMA_MM**-2.0, 0.0) * min(1.0, _MOST_POINTS / count)
        weight_margin = np.where(margin & (on_lids > 0.0), _MARGIN_SIGMA_MM**-2.0, 0.0) * min(1.0, _MOST_POINTS / count)
        weight_scan = share * (_ROBUST_MM**2 / (_ROBUST_MM**2 + on_scan**2)) ** 2 * _SCAN_SIGMA_MM**-2.0
        hessian = np.diag(_SIGMA_MM**-2.0)
        gradient = offsets[:_FREE] * _SIGMA_MM**-2.0
        for jacobian, residual, weight in (
            (by_lids, lacking, weight_lids),
            (by_lids, on_lids, weight_margin),
            (by_scan, on_scan, weight_scan),
        ):
            hessian += jacobian.T @ (jacobian * weight[:, None])
            gradient += jacobian.T @ (weight * residual)
        offsets[:_FREE] -= np.clip(np.linalg.solve(hessian, gradient), -1.0, 1.0)
    return np.clip(offsets, -_MOST_MM, _MOST_MM)
