"""Find the head in a scan: any rotation, any place, mm, cm, m or an unknown scale, whole or partial.

`find_pose` either returns a pose that two-way evidence supports, or says in one line why there is none.

Shape legend: N scan points.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from imhead.conventions import UNIT_MM
from imhead.errors import InputError
from imhead.fitting.pose import search
from imhead.fitting.pose.search import Cloud, Poses
from imhead.fitting.pose.template import PoseTemplate
from imhead.surfaces.normals import plane_normals
from imhead.surfaces.transforms import aligned, matrix_of
from imhead.types import FloatArray

__all__ = ["PoseResult", "PoseTemplate", "find_pose"]

Units = Literal["auto", "mm", "cm", "m"]

MIN_POINTS = 200
ACCEPT_SCORE = 0.345
"""Below this there is no face."""
SURE_SCORE = 0.40
"""Below this every other way of looking is tried first."""
DOUBT_SCORE = 0.45
"""Below this the result carries a warning."""
FREE_SCORE = 0.50
"""A free scale fits more by chance, so it needs more evidence than a named unit."""
_TYPICAL_EXTENT_MM = 330.0
_EXTENT_MM = (90.0, 3000.0)
_FREE_EXTENTS_MM = tuple(150.0 * 1.19**k for k in range(11))
_NAMED_SCALE_LIMIT = 1.22
"""A head larger or smaller than the mean head by more than this is not of the unit that was supposed."""
_STEADYING_POINTS = 2500
_APART_MM = 45.0
_APART_DEG = 35.0


@dataclass(frozen=True, eq=False)
class PoseResult:
    """Where the head is, and how sure that is."""

    scan_to_head: FloatArray
    """(4, 4) float64 similarity: scan coordinates → head frame, mm. Its scale is the unit's where the unit is named."""
    units: str
    """'mm', 'cm', 'm', or 'unknown'."""
    scale_assumed: bool
    """True where no named unit gave a head, so that the scale was fitted to the mean head."""
    score: float
    """0..1, agreement of the mean head's face with the scan; about 0.7 for a clean scan."""
    runner_up: float
    """Score of the best clearly different pose; near `score` means ambiguous."""
    face_coverage: float
    """0..1, part of the mean face that has a scan point near with an agreeing normal."""
    head_scale: float
    """Size of this head over the mean head's, as the search saw it; 1 where the scale was assumed."""
    warnings: tuple[str, ...]
    """Doubts, in sentences."""


@dataclass(frozen=True, eq=False)
class _Guess:
    """The best pose under one unit hypothesis, scan mm about `center`."""

    mm_per_unit: float
    pose: Poses
    score: float
    contrast: float
    coverage: float
    others: tuple[tuple[float, float, float], ...]
    """(score, distance in mm, turn in degrees) of clearly different poses, best first."""


def find_pose(
    points: NDArray[np.floating],
    normals: NDArray[np.floating] | None,
    template: PoseTemplate,
    *,
    units: Units = "auto",
    seed: int = 0,
    face_landmarks: Mapping[str, tuple[ArrayLike, ArrayLike]] | None = None,
) -> PoseResult:
    """The similarity that carries a scan into the head frame.

    Args:
        points: (N, 3), the scan's own frame and units. Sample a mesh of few large triangles first.
        normals: (N, 3) or None; signs do not matter.
        template: of the mean head.
        units: what the numbers of the scan mean, if known.
        seed: draws the template points; the same seed gives the same pose to the last bit.
        face_landmarks: name → (scan xyz, head-frame xyz in mm), at least three; they replace the global search.

    Raises:
        InputError: no face, two heads, too few points, or a scale that no head has.
    """
    cloud, directions, center = _clean(points, normals)
    rng = np.random.default_rng(seed)
    if face_landmarks is not None:
        guess, named = _from_landmarks(cloud, directions, center, template, units, face_landmarks, rng)
    else:
        guess, named = _search_units(cloud, directions, template, units, rng)
        _refuse_hopeless(guess, units, FREE_SCORE if named == "unknown" else ACCEPT_SCORE)
    return _result(cloud, directions, center, template, guess, named, rng)


def _clean(
    points: NDArray[np.floating], normals: NDArray[np.floating] | None
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Finite points about their middle without far strays, unit normals, and that middle."""
    cloud = np.asarray(points, dtype=np.float64)
    if cloud.ndim != 2 or cloud.shape[1] != 3:
        raise InputError(f"scan points have shape {cloud.shape}; expected (N, 3)")
    if not np.isfinite(cloud).all():
        raise InputError("scan points hold NaN or infinite numbers; remove them first")
    if len(cloud) < MIN_POINTS:
        raise InputError(f"the scan has {len(cloud)} points; a face needs at least {MIN_POINTS}, better 5000")
    center = np.median(cloud, axis=0)
    cloud = cloud - center
    reach = np.linalg.norm(cloud, axis=1)
    keep = reach <= 3.0 * np.quantile(reach, 0.95)
    gap = cKDTree(cloud).query(cloud, k=6)[0][:, 5]
    keep &= gap <= 10.0 * np.median(gap) + 1e-12
    if reach.max() == 0 or keep.sum() < MIN_POINTS:
        raise InputError("the scan's points lie in a heap or far apart; there is no surface to fit")
    cloud = cloud[keep]
    if normals is None:
        return cloud, plane_normals(cloud, 10), center
    directions = np.asarray(normals, dtype=np.float64)
    if directions.shape != (len(keep), 3):
        raise InputError(f"scan normals have shape {directions.shape}; expected {(len(keep), 3)}")
    directions = directions[keep]
    length = np.linalg.norm(directions, axis=1)
    bad = ~(length > 1e-12) | ~np.isfinite(length)
    if bad.any():
        directions = np.where(bad[:, None], plane_normals(cloud, 10), directions)
        length = np.linalg.norm(directions, axis=1)
    return cloud, directions / length[:, None], center


def _extent(cloud: FloatArray) -> float:
    """Longest side that holds all but a few strays."""
    return float(np.max(np.quantile(cloud, 0.995, axis=0) - np.quantile(cloud, 0.005, axis=0)))


def _search_units(
    cloud: FloatArray, directions: FloatArray, template: PoseTemplate, units: Units, rng: np.random.Generator
) -> tuple[_Guess, str]:
    """The best guess over all units that the size of the scan allows, then over free scales."""
    extent = _extent(cloud)
    if units != "auto":
        size = extent * UNIT_MM[units]
        if not _EXTENT_MM[0] <= size <= _EXTENT_MM[1]:
            raise InputError(f"the scan would be {size:.3g} mm across in {units}; no head is, try --units auto")
        return _search(cloud, directions, template, UNIT_MM[units], rng), units
    plausible = [name for name, mm in UNIT_MM.items() if _EXTENT_MM[0] <= extent * mm <= _EXTENT_MM[1]]
    plausible.sort(key=lambda name: abs(np.log(extent * UNIT_MM[name] / _TYPICAL_EXTENT_MM)))
    best: tuple[_Guess, str] | None = None
    for name in plausible:
        guess = _search(cloud, directions, template, UNIT_MM[name], rng)
        if best is None or guess.score > best[0].score:
            best = guess, name
        if guess.score > SURE_SCORE and _plausible_size(guess):
            return guess, name
    free = _search_free(cloud, directions, template, extent, rng)
    # a named unit is the simpler story: it wins unless the free scale is clearly better
    if (
        best is not None and _plausible_size(best[0]) and best[0].score > ACCEPT_SCORE
        and free.score < max(FREE_SCORE, 1.2 * best[0].score)
    ):  # fmt: skip
        return best
    effective = free.mm_per_unit / float(free.pose.scale[0])
    for name in plausible:
        if max(effective / UNIT_MM[name], UNIT_MM[name] / effective) < 1.15:
            guess = _search(cloud, directions, template, UNIT_MM[name], rng)
            return guess, name
    return free, "unknown"


def _plausible_size(guess: _Guess) -> bool:
    scale = float(guess.pose.scale[0])
    return max(scale, 1 / scale) < _NAMED_SCALE_LIMIT


def _search_free(
    cloud: FloatArray, directions: FloatArray, template: PoseTemplate, extent: float, rng: np.random.Generator
) -> _Guess:
    """A quick look at a ladder of scales, then a full search on the two most promising rungs."""
    rungs: list[tuple[float, float]] = []
    for wanted in _FREE_EXTENTS_MM:
        mm = wanted / extent
        scaled = search.make_cloud(cloud * mm, directions)
        face = search.face_points(template, 200, rng)
        positions, outward, _ = search.nose_candidates(scaled, 20)
        if not len(positions):
            continue
        nearest = search.grid_nearest(scaled)
        poses = search.starts(template, positions, outward, 1.0, 12, 1)
        poses = search.refine(nearest, face, poses, (40.0, 32.0, 26.0, 20.0, 20.0), 1.0)
        rungs.append((float(search.mark(nearest, scaled.spacing_mm, face, poses).score.max()), mm))
    rungs.sort(reverse=True)
    if not rungs:
        raise InputError("no face was found at any scale; check that the file holds a head")
    guesses = [_search(cloud, directions, template, mm, rng, second_chance=False) for _, mm in rungs[:2]]
    best = max(guesses, key=lambda g: g.score)
    if best.score > SURE_SCORE:
        return best
    return max(best, _search(cloud, directions, template, best.mm_per_unit, rng), key=lambda g: g.score)


def _search(
    cloud: FloatArray,
    directions: FloatArray,
    template: PoseTemplate,
    mm_per_unit: float,
    rng: np.random.Generator,
    second_chance: bool = True,
) -> _Guess:
    """The best pose if one scan unit is `mm_per_unit`, within the spread of human sizes."""
    scaled = search.make_cloud(cloud * mm_per_unit, directions)
    positions, outward, _ = search.nose_candidates(scaled, 48)
    guess = _multi_start(scaled, template, positions, outward, 3, mm_per_unit, rng)
    if guess is not None and (guess.score > SURE_SCORE or not second_chance):
        return guess
    positions, outward = search.everywhere_candidates(scaled, 100)
    second = _multi_start(scaled, template, positions, outward, 1, mm_per_unit, rng)
    found = [g for g in (guess, second) if g is not None]
    if not found:
        raise InputError("the scan has no surface to look at; check that the file holds a head")
    return max(found, key=lambda g: g.score)


def _multi_start(
    scaled: Cloud,
    template: PoseTemplate,
    positions: FloatArray,
    outward: FloatArray,
    tilts: int,
    mm_per_unit: float,
    rng: np.random.Generator,
) -> _Guess | None:
    """Coarse on all starts, medium on the best of each place, fine on a dozen."""
    if not len(positions):
        return None
    nearest = search.grid_nearest(scaled)
    spacing = scaled.spacing_mm
    coarse, medium = search.face_points(template, 250, rng), search.face_points(template, 700, rng)
    full = search.face_points(template, 4000, rng)
    batches = [
        search.refine(
            nearest, coarse, search.starts(template, positions[k : k + 8], outward[k : k + 8], 1.0, 12, tilts),
            (40.0, 35.0, 30.0, 25.0), 1.0,
        )
        for k in range(0, len(positions), 8)
    ]  # fmt: skip
    poses = search.join(batches)
    poses = poses.take(_distinct(template, poses, search.mark(nearest, spacing, coarse, poses).score, 12.0, 15.0, 96))
    poses = search.refine(nearest, medium, poses, (25.0, 20.0, 20.0, 16.0, 16.0, 12.0, 12.0, 12.0), 1.0)
    poses = poses.take(_distinct(template, poses, search.mark(nearest, spacing, medium, poses).score, 8.0, 8.0, 12))
    poses = search.refine(nearest, full, poses, (12.0,) * 6, 1.0)
    marks = search.mark(nearest, spacing, full, poses)
    score = marks.score.double().numpy() / (1.0 + 0.5 * search.clutter(scaled, template, poses))
    order = np.argsort(-score)
    poses, score = poses.take(order), score[order]
    tips, turns = _tips(template, poses), poses.rotation.double().numpy()
    distance = np.linalg.norm(tips - tips[0], axis=1)
    turned = np.degrees(Rotation.from_matrix(turns[0].T @ turns).magnitude())
    apart = (distance > _APART_MM) | (turned > _APART_DEG)
    others = tuple((float(score[k]), float(distance[k]), float(turned[k])) for k in np.flatnonzero(apart))
    first = int(order[0])
    return _Guess(
        mm_per_unit, poses.take(np.array([0])), float(score[0]), float(marks.contrast[first]),
        float(marks.covered[first]), others,
    )  # fmt: skip


def _tips(template: PoseTemplate, poses: Poses) -> FloatArray:
    """(B, 3) where each pose puts the nose tip."""
    tip = torch.from_numpy(template.nose_tip_mm.astype(np.float32))[None]
    result: FloatArray = poses.apply(tip)[..., 0].T.double().numpy()
    return result


def _distinct(
    template: PoseTemplate, poses: Poses, score: torch.Tensor, apart_mm: float, apart_deg: float, limit: int
) -> NDArray[np.int64]:
    """Rows of the best poses, no two of them nearly the same."""
    order = np.argsort(-score.numpy(), kind="stable")[: 12 * limit]
    tips, turns = _tips(template, poses)[order], poses.rotation.double().numpy()[order]
    free = np.ones(len(order), dtype=bool)
    chosen: list[int] = []
    for k in range(len(order)):
        if not free[k]:
            continue
        chosen.append(k)
        if len(chosen) == limit:
            break
        cosine = (np.einsum("bij,ij->b", turns, turns[k]) - 1) / 2
        free &= (np.linalg.norm(tips - tips[k], axis=1) > apart_mm) | (cosine < np.cos(np.radians(apart_deg)))
    return order[chosen]


def _refuse_hopeless(guess: _Guess, units: Units, needed: float) -> None:
    if guess.score < needed:
        told = " in mm, cm, m or at a free scale" if units == "auto" else f" at --units {units}"
        raise InputError(
            f"no face was found in the scan{told} (best agreement {guess.score:.2f}, needed {needed:.2f}); "
            "check the file, crop it to one head, name its units, or give landmarks"
        )
    for score, distance, _ in guess.others:
        if distance > 100.0 and score > max(SURE_SCORE, 0.65 * guess.score):
            raise InputError(f"two heads were found in the scan, {distance:.0f} mm apart; crop the file to one of them")


def _from_landmarks(
    cloud: FloatArray,
    directions: FloatArray,
    center: FloatArray,
    template: PoseTemplate,
    units: Units,
    landmarks: Mapping[str, tuple[ArrayLike, ArrayLike]],
    rng: np.random.Generator,
) -> tuple[_Guess, str]:
    """The pose of at least three landmarks, sharpened on the surface around them."""
    names = list(landmarks)
    if len(names) < 3:
        raise InputError(f"{len(names)} landmarks do not fix a pose; give at least three")
    there = np.array([np.asarray(landmarks[n][0], dtype=np.float64).reshape(3) for n in names]) - center
    here = np.array([np.asarray(landmarks[n][1], dtype=np.float64).reshape(3) for n in names])
    if np.linalg.svd(here - here.mean(0))[1][1] < 5.0 or np.linalg.svd(there - there.mean(0))[1][0] == 0:
        raise InputError("the landmarks lie on one line; add one to the side of it")
    scale, turn = aligned(here, there)
    shift = there.mean(0) - scale * turn @ here.mean(0)
    mm = 1.0 / scale
    name: str = units
    if units == "auto":
        nearest_unit = min(UNIT_MM, key=lambda u: abs(np.log(UNIT_MM[u] / mm)))
        name = nearest_unit if abs(np.log(UNIT_MM[nearest_unit] / mm)) < np.log(1.3) else "unknown"
    elif abs(np.log(UNIT_MM[units] / mm)) > np.log(1.5):
        raise InputError(f"the landmarks say that one unit is {mm:.3g} mm, which is not {units}; check --units")
    mm_per_unit = mm if name == "unknown" else UNIT_MM[name]
    misses = np.linalg.norm(there - (scale * here @ turn.T + shift), axis=1) * mm
    worst = int(misses.argmax())
    if misses[worst] > 25.0:
        raise InputError(f"landmark {names[worst]!r} misses its place by {misses[worst]:.0f} mm; check its coordinates")
    pose = Poses(
        torch.tensor([scale * mm_per_unit], dtype=torch.float32), torch.from_numpy(turn[None].astype(np.float32)),
        torch.from_numpy((shift * mm_per_unit)[None].astype(np.float32)),
    )  # fmt: skip
    scaled = search.make_cloud(cloud * mm_per_unit, directions)
    face = search.face_points(template, 4000, rng)
    nearest = search.grid_nearest(scaled)
    pose = search.refine(nearest, face, pose, (14.0,) * 8, 1.0)
    marks = search.mark(nearest, scaled.spacing_mm, face, pose)
    return _Guess(mm_per_unit, pose, float(marks.score[0]), float(marks.contrast[0]), float(marks.covered[0]), ()), name


def _at_unit_scale(pose: Poses, template: PoseTemplate) -> Poses:
    """The same pose for a head of the mean size; the middle of the face stays in its place."""
    middle = torch.from_numpy(template.points[template.face].mean(0).astype(np.float32))
    shift = (pose.scale - 1.0)[:, None] * torch.einsum("bij,j->bi", pose.rotation, middle)
    return Poses(torch.ones_like(pose.scale), pose.rotation, pose.translation + shift)


def _result(
    cloud: FloatArray,
    directions: FloatArray,
    center: FloatArray,
    template: PoseTemplate,
    guess: _Guess,
    name: str,
    rng: np.random.Generator,
) -> PoseResult:
    """The last refinement against every scan point, at the exact scale, and the doubts."""
    warnings: list[str] = []
    mm = guess.mm_per_unit
    face = search.head_points(template, _STEADYING_POINTS, rng)
    nearest = search.exact_nearest(cloud * mm, directions)
    pose = search.refine(nearest, face, guess.pose, (12.0,) * 12 + (10.0,) * 6, 1.0)
    head_scale = float(pose.scale[0])
    if name == "unknown":
        # the scale joins the unit: after it, the head has exactly the mean head's size
        mm = mm / head_scale
        pose = Poses(torch.ones(1), pose.rotation, pose.translation / head_scale)
        head_scale = 1.0
        warnings.append(f"the unit of the scan is unknown; one unit was taken as {mm:.4g} mm, a mean-sized head")
    else:
        pose = _at_unit_scale(pose, template)
    rotation = pose.rotation[0].double().numpy()
    u, _, vt = np.linalg.svd(rotation)
    rotation = u @ vt
    matrix = matrix_of(mm * rotation.T, -rotation.T @ (pose.translation[0].double().numpy() + mm * center))
    coverage = guess.coverage
    runner_up = guess.others[0][0] if guess.others else 0.0
    if guess.score < DOUBT_SCORE:
        warnings.append(f"the pose is uncertain: agreement {guess.score:.2f}, usual is over 0.5; look at the overlay")
    if runner_up > 0.88 * guess.score:
        warnings.append("another, clearly different pose explains the scan almost as well; look at the overlay")
    if coverage < 0.6:
        warnings.append(f"only {100 * coverage:.0f} % of the face was seen; the rest of the head is a guess")
    return PoseResult(matrix, name, name == "unknown", guess.score, runner_up, coverage, head_scale, tuple(warnings))
