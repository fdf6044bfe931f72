"""Real scans, scored on points that no fit saw: half of each is fitted, the other half measured.

Beside the model stands the linear one of the source itself, with its own modes and expressions, from the same pose. All
are scored on the same points: those on the face that can be seen and that the linear one explains. What nobody can see,
the walls inside eye sockets, nose or mouth, is given apart. Each scan is halved several times, since a median of a few
hundred points moves by a tenth with the draw.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from imhead.checkpoint import Model
from imhead.conventions import FACE_RADIUS_MM
from imhead.errors import InputError
from imhead.evaluation.linear import LinearHeads, fit_linear
from imhead.evaluation.real import read_scans
from imhead.evaluation.suites import Competitor, ours
from imhead.fitting.config import FitConfig
from imhead.fitting.fit import pose_template
from imhead.fitting.pose.template import PoseTemplate
from imhead.parallel import in_processes
from imhead.sources.ict import IctModel
from imhead.surfaces.distances import point_to_surface
from imhead.surfaces.transforms import transform_points
from imhead.surfaces.visibility import visible_faces
from imhead.types import BoolArray, IntArray, Mesh, Scan

EXPLAINED_MM = 3.0
"""Points farther from the linear fit are hair, clothes or noise."""
YARDSTICK = "ict_linear"
"""Name of the source's own linear model."""


def halves(scan: Scan, seed: int, draw: int = 0) -> tuple[Scan, IntArray]:
    """A random half of a scan's points as a cloud, and the rows (N,) of the other half; `draw` gives another half."""
    order = np.random.default_rng([0x5917, seed, *[draw] * (draw > 0)]).permutation(len(scan.points))
    seen, unseen = np.sort(order[: len(order) // 2]), np.sort(order[len(order) // 2 :])
    normals = None if scan.normals is None else scan.normals[seen]
    return replace(scan, points=scan.points[seen], normals=normals, faces=None), unseen


def in_sight(scan: Scan) -> BoolArray:
    """(P,) which points of a scan can be seen from somewhere outside: no face at them is hidden; of a cloud, all."""
    hidden = np.zeros(len(scan.points), dtype=bool)
    if scan.faces is not None:
        # a mesh that is turned inside out shows its faces to those who look from behind
        turns = (Mesh(scan.points, faces) for faces in (scan.faces, scan.faces[:, ::-1]))
        seen = max((visible_faces(mesh) for mesh in turns), key=np.count_nonzero)
        hidden[scan.faces[~seen]] = True
    return ~hidden


def source_heads(ict: IctModel, seen_faces: IntArray) -> LinearHeads:
    """The source's own linear model: a yardstick, not a PCA of our training heads."""
    faces = np.concatenate([ict.skin_faces, ict.eye_faces])
    return LinearHeads(ict.mean.astype(np.float64), faces, seen_faces, ict.identity, ict.expressions)


def unseen_suite(
    model: Model,
    yardstick: LinearHeads,
    folder: Path,
    draws: int,
    config: FitConfig,
    progress: Callable[[str], None],
    processes: int = 2,
) -> list[dict[str, Any]]:
    """Three rows for each scan of a folder: the model's 256 numbers alone, with region offsets, and the linear model.

    Figures are means over `draws` random halves, whose own are in the row's `cases`.

    Raises:
        InputError: the folder holds no scans.
    """
    scans = read_scans(folder)
    template = pose_template(model)
    peers = [
        ours(model, replace(config, detail=False)),
        ours(model, config),
        Competitor(YARDSTICK, len(yardstick.identity), lambda scan: fit_linear(scan, yardstick, template, config)),
    ]
    work = partial(_half, peers, template, scans, [in_sight(scan) for scan in scans], draws)
    rows: list[dict[str, Any]] = []
    drawn: list[dict[str, Any]] = []
    for half in in_processes(work, len(scans) * draws, processes):
        progress(json.dumps(half))
        drawn.append(half)
        if len(drawn) == draws:
            rows += [_row(peer, drawn) for peer in peers]
            drawn = []
    return rows


def _half(
    peers: list[Competitor],
    template: PoseTemplate,
    scans: list[Scan],
    in_sights: list[BoolArray],
    draws: int,
    index: int,
) -> dict[str, Any]:
    """What all fits of one half leave of the other, by their names."""
    which, draw = divmod(index, draws)
    scan, unseen = halves(scans[which], which, draw)
    about = {"scan": scan.name, "half": draw}
    try:
        fits = {peer.name: peer.fit(scan) for peer in peers}
    except InputError as error:
        return about | {"refused": str(error)}
    linear = fits[YARDSTICK]
    points = scans[which].points[unseen]
    placed = transform_points(linear.scan_to_head, points)
    near = np.linalg.norm(placed - template.nose_tip_mm, axis=1) < FACE_RADIUS_MM
    near[near] = point_to_surface(placed[near], linear.mesh)[0] < EXPLAINED_MM
    seen = in_sights[which][unseen][near]
    figures: dict[str, Any] = {}
    for name, fit in fits.items():
        away = point_to_surface(transform_points(fit.scan_to_head, points[near]), fit.mesh)[0]
        figures[name] = {
            "face_median_mm": float(np.median(away[seen])),
            "face_mean_mm": float(away[seen].mean()),
            "all_median_mm": float(np.median(away)),
            "all_mean_mm": float(away.mean()),
        }
    return about | {"points": int(seen.sum()), "hidden_points": int((~seen).sum()), "figures": figures}


def _row(peer: Competitor, drawn: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over the halves of a scan that were fitted, and the figures of each."""
    cases = [half | half.get("figures", {}).get(peer.name, {}) for half in drawn]
    cases = [{key: value for key, value in case.items() if key not in ("scan", "figures")} for case in cases]
    row = {"suite": "real_unseen", "scan": drawn[0]["scan"], "model": peer.name, "code_size": peer.code_size}
    row |= {"halves": len(cases), "cases": cases}
    done = [case for case in cases if "refused" not in case]
    if not done:
        return row | {"refused": cases[0]["refused"]}
    return row | {key: float(np.mean([case[key] for case in done])) for key in done[0] if key != "half"}
