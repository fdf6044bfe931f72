"""Real scans, split in two halves of their points: one is fitted, the other is scored.

The baseline is ICT-FaceKit's own linear model with its modes and expressions, fitted from the same pose. All fits are
scored on the same points: visible points of the face that the baseline explains. Figures that include hidden points,
inside eye sockets, nose and mouth, are given separately. Each scan is split several times, since the median over a few
hundred points varies by a tenth between splits.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from imhead.checkpoint import Model
from imhead.conventions import FACE_RADIUS_MM
from imhead.errors import InputError
from imhead.evaluation.accuracy import Competitor, own_competitor
from imhead.evaluation.linear import LinearHeads, fit_linear
from imhead.evaluation.real import read_scans
from imhead.evaluation.runner import CaseRunner, Row
from imhead.fitting.config import FitConfig
from imhead.fitting.pose import PoseTemplate
from imhead.fitting.start import pose_template
from imhead.sources.ict import IctModel
from imhead.surfaces.distances import point_to_surface
from imhead.surfaces.transforms import transform_points
from imhead.surfaces.visibility import visible_faces
from imhead.types import BoolArray, IntArray, Mesh, Scan

EXPLAINED_MM = 3.0
"""Points farther from the linear fit are hair, clothes or noise."""
ICT_LINEAR = "ict_linear"
"""Name of ICT-FaceKit's own linear model in the rows."""


def split_points(scan: Scan, seed: int, draw: int = 0) -> tuple[Scan, IntArray]:
    """A random half of a scan's points as a cloud, and the rows (N,) of the other half; each `draw` splits anew."""
    order = np.random.default_rng([0x5917, seed, *[draw] * (draw > 0)]).permutation(len(scan.points))
    seen, unseen = np.sort(order[: len(order) // 2]), np.sort(order[len(order) // 2 :])
    normals = None if scan.normals is None else scan.normals[seen]
    return replace(scan, points=scan.points[seen], normals=normals, faces=None), unseen


def visible_points(scan: Scan) -> BoolArray:
    """(P,) bool: points of a scan that can be seen from outside, with all their faces; of a cloud, all points."""
    hidden = np.zeros(len(scan.points), dtype=bool)
    if scan.faces is not None:
        # the faces of a mesh that is inside out are visible from their other side
        windings = (Mesh(scan.points, faces) for faces in (scan.faces, scan.faces[:, ::-1]))
        seen = max((visible_faces(mesh) for mesh in windings), key=np.count_nonzero)
        hidden[scan.faces[~seen]] = True
    return ~hidden


def ict_heads(ict: IctModel, seen_faces: IntArray) -> LinearHeads:
    """ICT-FaceKit's own linear model, the baseline; not a PCA of our training heads."""
    faces = np.concatenate([ict.skin_faces, ict.eye_faces])
    return LinearHeads(ict.mean.astype(np.float64), faces, seen_faces, ict.identity, ict.expressions)


def linear_competitor(baseline: LinearHeads, template: PoseTemplate, config: FitConfig) -> Competitor:
    """ICT-FaceKit's own linear model, fitted from the same pose with the same priors."""
    return Competitor(ICT_LINEAR, len(baseline.identity), lambda scan: fit_linear(scan, baseline, template, config))


def unseen_suite(
    model: Model, baseline: LinearHeads, folder: Path, draws: int, config: FitConfig, runner: CaseRunner
) -> list[Row]:
    """Three rows for each scan of a folder: the model's identity code alone, with region offsets, and the baseline.

    Figures are means over `draws` random splits; the figures of each split are in the row's `cases`.

    Raises:
        InputError: the folder holds no scans.
    """
    scans = read_scans(folder)
    template = pose_template(model)
    competitors = [
        own_competitor(model, replace(config, detail=False)),
        own_competitor(model, config),
        linear_competitor(baseline, template, config),
    ]
    work = partial(_case, competitors, template, scans, [visible_points(scan) for scan in scans], draws)
    cases = runner.run(work, len(scans) * draws)
    by_scan = (cases[first : first + draws] for first in range(0, len(cases), draws))
    return [_row(competitor, of_scan) for of_scan in by_scan for competitor in competitors]


def _case(
    competitors: list[Competitor],
    template: PoseTemplate,
    scans: list[Scan],
    visible: list[BoolArray],
    draws: int,
    index: int,
) -> Row:
    """One split of one scan: distances of the half that was not fitted to each competitor's fit."""
    which, draw = divmod(index, draws)
    scan, unseen = split_points(scans[which], which, draw)
    about = {"scan": scan.name, "half": draw}
    try:
        fits = {competitor.name: competitor.fit(scan) for competitor in competitors}
    except InputError as error:
        return about | {"refused": str(error)}
    linear = fits[ICT_LINEAR]
    points = scans[which].points[unseen]
    placed = transform_points(linear.scan_to_head, points)
    near = np.linalg.norm(placed - template.nose_tip_mm, axis=1) < FACE_RADIUS_MM
    near[near] = point_to_surface(placed[near], linear.mesh)[0] < EXPLAINED_MM
    seen = visible[which][unseen][near]
    figures: Row = {}
    for name, fit in fits.items():
        distance = point_to_surface(transform_points(fit.scan_to_head, points[near]), fit.mesh)[0]
        figures[name] = {
            "face_median_mm": float(np.median(distance[seen])),
            "face_mean_mm": float(distance[seen].mean()),
            "all_median_mm": float(np.median(distance)),
            "all_mean_mm": float(distance.mean()),
        }
    return about | {"points": int(seen.sum()), "hidden_points": int((~seen).sum()), "figures": figures}


def _row(competitor: Competitor, splits: list[Row]) -> Row:
    """Mean figures of a competitor over the splits of a scan that were fitted, and the figures of each split."""
    cases = [split | split.get("figures", {}).get(competitor.name, {}) for split in splits]
    cases = [{key: value for key, value in case.items() if key not in ("scan", "figures")} for case in cases]
    row = {"suite": "real_unseen", "scan": splits[0]["scan"], "model": competitor.name}
    row |= {"code_size": competitor.code_size}
    row |= {"halves": len(cases), "cases": cases}
    done = [case for case in cases if "refused" not in case]
    if not done:
        return row | {"refused": cases[0]["refused"]}
    return row | {key: float(np.mean([case[key] for case in done])) for key in done[0] if key != "half"}
