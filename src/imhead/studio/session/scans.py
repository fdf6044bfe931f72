"""Scans of a session: one becomes a head, two of one person are compared."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from imhead.api import FittedHead, MorphableModel
from imhead.api.comparing import ComparedVisits, compare_scans
from imhead.checkpoint import Model
from imhead.fitting.fit import fit_scan
from imhead.rendering.figures import heat_colors, round_limit
from imhead.studio.session.jobs import Job
from imhead.studio.session.page_protocol import FittedScan, ShownSurface
from imhead.studio.session.surface import map_regions
from imhead.surfaces.normals import vertex_normals
from imhead.template.surface import template_of
from imhead.types import FloatArray, Head, Mesh, Scan

_FIT_SHARE = 0.7  # of the work on a scan with colours
_REPORT_SHARE = 0.85  # of the work on a comparison before its page is drawn
_COMPARED = {
    "same person": "asking whether both show one person", "detail": "fitting both together",
    "heads": "fitting both together", "change": "measuring the change",
}  # fmt: skip
_STAGES = {"pose": "looking for the face", "codes": "fitting", "detail": "fitting the detail", "mesh": "drawing it"}


@dataclass(frozen=True, eq=False)
class ScanChange:
    """What changed between two scans of one person. V vertices of the template."""

    names: tuple[str, str]
    """Of the scan before and the one after."""
    shown: ShownSurface
    """The surface before."""
    moved_mm: FloatArray
    """(V,) signed distance to the surface after, outwards positive; NaN where it was not compared."""
    beyond_mm: FloatArray
    """(V,) the same, 0 where it is within the noise."""
    limit_mm: float
    """Largest movement on the scale of the colours."""
    noise_mm: float
    """95 % of the stable places differ by less."""
    beyond_share: float
    """Share of the compared area that moved by more than the noise."""
    places: tuple[tuple[str, float, float, float], ...]
    """Connected places that moved: region, mean and its ± in mm, volume in ml; the largest first."""
    warnings: tuple[str, ...]
    """What is doubtful, one sentence each."""
    report: bytes
    """The page to print."""

    def colors(self, beyond: bool) -> FloatArray:
        """(V, 3) sRGB of the change, or of what is beyond the noise; grey where it was not compared."""
        return heat_colors(self.beyond_mm if beyond else self.moved_mm, self.limit_mm).astype(np.float64)


def for_a_page(warning: str) -> str:
    """A warning without what it says of a command's options: a page has none."""
    return "; ".join(part for part in warning.split("; ") if "--" not in part)


def fitted_to(scan: Scan, model: Model, job: Job) -> tuple[Head, FittedScan]:
    """The head fitted to a scan, with its colours, and how well it fits.

    Raises:
        InputError: the scan shows no face.
        Cancelled: the job was.
    """
    share = _FIT_SHARE if scan.colored else 1.0
    job.tell("looking for the face", 0.0)
    result = fit_scan(scan, model, progress=lambda stage, part: job.tell(_STAGES[stage], share * part))
    fitted = FittedHead(result.head, model, scan, result)
    if scan.colored:
        job.tell("keeping its colours", share)
        fitted = fitted.keeping_colors()
    job.check()
    result, explained = fitted.result, fitted.result.explained
    median = float(np.median(result.distance_mm[explained])) if explained.any() else float("nan")
    known = FittedScan(
        replace(scan, texture=None, colors=None), result.points_mm, result.distance_mm, median,
        float(explained.mean()), tuple(filter(None, map(for_a_page, result.warnings))),
    )  # fmt: skip
    return fitted.codes, known


def change_of(before: Scan, after: Scan, model: Model, stable: Sequence[str], job: Job) -> ScanChange:
    """What changed from one scan to another, as `imhead compare` finds it.

    Args:
        before: the first.
        after: the later one.
        model: to fit.
        stable: names of regions that did not change; none for the usual ones.
        job: is told how far it is.

    Raises:
        InputError: hardly a stable place is shown in both.
        Cancelled: the job was.
    """

    def told(stage: str, part: float) -> None:
        named = f"fitting {stage}" if stage in (before.name, after.name) else _COMPARED.get(stage, stage)
        job.tell(named, _REPORT_SHARE * part)

    compared = compare_scans([before, after], MorphableModel(model), stable=tuple(stable), progress=told)
    job.tell("drawing the report", _REPORT_SHARE)
    with tempfile.TemporaryDirectory(prefix="imhead-change-") as folder:
        compared.write(folder)
        page = (Path(folder) / "report.html").read_bytes()
    job.check()
    return _change(compared, model, page)


def _change(compared: ComparedVisits, model: Model, page: bytes) -> ScanChange:
    first, later = compared.comparison.first, compared.comparison.later[0]
    change, faces = later.change, template_of(model).faces
    mesh = Mesh(change.before, faces)
    normals, _ = vertex_normals(mesh.vertices, faces)
    shown = ShownSurface(first.head, mesh, map_regions(model, first.head, mesh), normals)
    moved = np.where(change.compared, change.moved_mm, np.nan)
    beyond = np.where(change.compared & ~change.beyond, 0.0, moved)
    places = tuple(
        (place.region, place.amount.mean_mm, place.amount.error_mm, place.amount.volume_ml) for place in later.places
    )
    return ScanChange(
        (first.name, later.visit.name), shown, moved, beyond, round_limit(moved[change.compared], floor_mm=1.0),
        change.noise.factor_95 * change.noise.total_mm, later.whole.beyond_share if later.whole else 0.0, places,
        tuple(filter(None, map(for_a_page, compared.comparison.warnings))), page,
    )  # fmt: skip
