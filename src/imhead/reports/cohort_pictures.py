"""The pictures of a study: mean heads, components, differences of groups, what the scans show, errors of repeats."""

from __future__ import annotations

import numpy as np
from PIL import Image

from imhead.cohort.study import Study
from imhead.regions import REGIONS
from imhead.rendering.figures import contact_sheet, heat_colors, legend, round_limit, stack
from imhead.rendering.shading import camera, shade
from imhead.types import FloatArray, Mesh

_SIZE = 300
_SIGMA = 2.0
COMPONENTS = 3
"""Principal components that are drawn."""
_VIEWS = ("front", "three_quarter", "profile")


def component_picture(study: Study) -> Image.Image:
    """The mean head at ∓2 standard deviations of the first components, from the front and from the side."""
    kept = study.components
    # the movement of every vertex that goes with a component, also of those that no scan shows
    moved = np.einsum("nk,nvc->kvc", kept.scores, study.shapes - study.mean) / max(len(study.shapes) - 1, 1)
    pictures, labels = [], []
    for k in range(min(COMPONENTS, len(moved))):
        for view in ("front", "profile"):
            for sigma in (-_SIGMA, _SIGMA):
                pictures.append(shade(_mesh(study, study.mean + sigma * moved[k]), camera(view), _SIZE))
                labels.append(f"component {k + 1}, {sigma:+g} sd")  # the font has no sigma
    return contact_sheet(pictures, labels, columns=4)


def mean_picture(study: Study) -> Image.Image:
    """The mean head, or those of both groups."""
    shapes = {"mean": study.mean}
    if study.compared is not None:
        shapes = {f"mean of {name}": study.group_mean(name) for name in study.compared}
    pictures = [shade(_mesh(study, shape), camera(view), _SIZE) for shape in shapes.values() for view in _VIEWS]
    return contact_sheet(pictures, [name for name in shapes for _ in _VIEWS], columns=3)


def difference_picture(study: Study, level: float) -> Image.Image:
    """The difference of two groups along the normal; below it the regions whose shape was found, the rest
    grey."""
    first, second = study.compared or ("", "")
    difference = study.difference_mm()
    limit = round_limit(difference[study.common])
    sheets = [_heat(study, np.where(study.surface.region >= 0, difference, np.nan), limit)]
    sheets.append(legend(limit, title=f"{second} minus {first}, inwards | outwards"))
    shown = [] if study.test is None else [k.region for k in study.test.findings(level) if k.kind == "shape"]
    if study.test is not None and shown:
        found = np.isin(study.surface.region, [k for k, region in enumerate(REGIONS) if region.name in shown])
        limit = round_limit(study.test.own_mm[found])
        sheets.append(_heat(study, np.where(found, study.test.own_mm, np.nan), limit))
        sheets.append(legend(limit, title="shapes that were found, each region laid on itself"))
    return stack(sheets)


def shown_picture(study: Study) -> Image.Image:
    """Where scans do not show the face: from light, all show it, to dark, none does."""
    missing = 1.0 - study.measured.mean(axis=0)
    return _heat(study, np.where(study.surface.region >= 0, missing, np.nan), 1.0, signed=False)


def repeat_picture(study: Study) -> Image.Image:
    """Standard deviation of repeats of the same person along the normal, mm."""
    errors = np.zeros(len(study.common)) if study.repeat_mm is None else study.repeat_mm
    limit = round_limit(errors[study.common], share=0.98, floor_mm=0.5)
    heat = _heat(study, np.where(study.surface.region >= 0, errors, np.nan), limit, signed=False)
    return stack([heat, legend(limit, signed=False, title="technical error of the surface")])


def _heat(study: Study, values: FloatArray, limit: float, *, signed: bool = True) -> Image.Image:
    colors = heat_colors(values, limit, signed=signed)
    mesh = _mesh(study, study.mean)
    return contact_sheet([shade(mesh, camera(view), _SIZE, colors=colors) for view in _VIEWS], columns=3)


def _mesh(study: Study, vertices: FloatArray) -> Mesh:
    return Mesh(vertices, study.surface.faces)
