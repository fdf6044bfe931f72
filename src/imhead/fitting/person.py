"""One person from several scans: the identity is fitted to all of them at once, pose and expression to each.

Each scan is first fitted alone, which finds its pose, its hair and a first z_id. Then the joint steps
(`person_step.py`) begin from what all of them say together. A scan that shows somebody else is named and left out. In
the last steps z_id is held, and the region offsets, shared too, take its place, as in a fit of one scan.

Shape legend: S scans.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from imhead.checkpoint import Model
from imhead.conventions import ARKIT_NAMES
from imhead.errors import InputError
from imhead.fitting.config import FitConfig
from imhead.fitting.eyes import settled_eyes
from imhead.fitting.fit import head_of
from imhead.fitting.gauss_newton import FitState, newton_step
from imhead.fitting.objective import Codes
from imhead.fitting.person_detail import with_offsets
from imhead.fitting.person_residual import with_residual
from imhead.fitting.person_scans import OwnFit, own_fit, regained, samples_on_head
from imhead.fitting.person_step import Said, identity_step, scan_block
from imhead.fitting.pose import Units
from imhead.fitting.pose_scan import POSE_ROBUST_MM, LeaveOneOut, ScanOfPerson, posed, scan_of_person
from imhead.fitting.same_person import EXCESS_MM, judged
from imhead.fitting.scan_points import ScanPoints, shown_points
from imhead.surfaces.transforms import transform_points
from imhead.types import FloatArray, Head, Scan

Progress = Callable[[str, float], None]
FitAlone = Callable[[Scan, int, Model, FitConfig, Units, float | None], OwnFit]
_JOINT_ROBUST_MM = (5.0, 4.0, 3.0, 2.5, 2.0)  # before the last, narrow steps
_AGAIN_MM = 3.0  # the first of these scales once a stranger has left
_LIDS = [k for k, name in enumerate(ARKIT_NAMES) if name.startswith(("eyeBlink", "eyeSquint", "eyeWide"))]
_STILL = 0.3  # sum of the lids' weights below which a scan shows eyes as the neutral face has them
_ALONE_SHARE, _IDENTITY_SHARE = 0.6, 0.75  # of the progress


@dataclass(frozen=True, eq=False)
class PersonFit:
    """A person's head, and the place, expression and figures of each scan on it."""

    head: Head
    """The neutral head."""
    scans: tuple[ScanOfPerson, ...]
    """In the order given, without those in which no face was found; strangers too, on this person's head."""
    rows: tuple[int, ...]
    """Of each of `scans`, its place among those given."""
    lost: tuple[tuple[int, str], ...]
    """Place of each scan in which no face was found, and why."""
    iterations: int
    """Gauss-Newton steps of all scans together."""
    seconds: float
    """Wall time."""
    warnings: tuple[str, ...]
    """Of all scans, each with the name of its scan, and of the joint fit."""


def fit_person(
    scans: Sequence[Scan],
    model: Model,
    config: FitConfig = FitConfig(),
    *,
    units: Units = "auto",
    mm_per_unit: float | None = None,
    progress: Progress = lambda stage, part: None,
    own: FitAlone = own_fit,
) -> PersonFit:
    """Fit one head to several scans of a person, in any poses and expressions; views need not overlap.

    The cost is linear in the number of scans. The scans that show somebody else are named in the result and do not
    enter the head; the most of them that agree are the person, of two that differ the first one.

    Args:
        scans: at least one, each in its own frame and unit.
        model: to fit.
        config: settings.
        units: unit of all scans, if known.
        mm_per_unit: scale of all scans, if known; goes before `units`.
        progress: is called with the stage and the part done, 0 to 1.
        own: fits a scan alone, as `own_fit`; it may open a fit that was made before.

    Raises:
        InputError: no scans, or a face in none of them.
    """
    began = time.perf_counter()
    if not scans:
        raise InputError("there is no scan to fit; give at least one")
    if not config.robust_mm:
        raise InputError("the settings have no step on the identity; give FitConfig.robust_mm at least one scale")
    torch.manual_seed(config.seed)
    alone: list[OwnFit] = []
    lost: list[tuple[int, str]] = []
    for row, scan in enumerate(scans):
        progress(scan.name, _ALONE_SHARE * row / len(scans))
        try:
            alone.append(own(scan, row, model, config, units, mm_per_unit))
        except InputError as error:
            lost.append((row, str(error)))
    if not alone:
        names = ", ".join(scan.name for scan in scans[:3])
        raise InputError(f"no face was found in any of {len(scans)} scans ({names}): {lost[0][1]}")
    progress("same person", _ALONE_SHARE)
    found = joined(model, alone, config)
    again = [
        fit for row, _ in lost
        if (fit := regained(scans[row], row, model, found.codes, found.fits(alone), config, units, mm_per_unit))
    ]  # fmt: skip
    if again:
        alone += again
        lost = [(row, reason) for row, reason in lost if row not in {fit.row for fit in again}]
        found = found.then(joined(model, [fit for fit in alone if fit.row not in found.strangers], config))
    if config.detail:
        progress("detail", _IDENTITY_SHARE)
        states, steps = with_offsets(model, list(found.states.values()), config)
        found = replace(found, states=dict(zip(found.states, states)), steps=found.steps + steps)
    progress("heads", 0.95)
    head = _neutral(model, found, scans, alone)
    if config.detail and config.residual:
        own_rows = [fit.row for fit in found.fits(alone)]
        skin = _skin(found, scans, alone, config)
        residual, states = with_residual(model, head, [found.states[row] for row in own_rows], skin, config)
        head, found = replace(head, residual=residual), replace(found, states=dict(zip(own_rows, states)))
    placed = {fit.row: _placed(model, head, scans[fit.row], fit, found, config) for fit in alone}
    rows = tuple(sorted(placed))
    steps = found.steps + sum(fit.iterations for fit in alone)
    warnings = _warnings(scans, placed, lost, found.strangers)
    seconds = time.perf_counter() - began
    return PersonFit(head, tuple(placed[row] for row in rows), rows, tuple(lost), steps, seconds, warnings)


@dataclass(frozen=True, eq=False)
class Joined:
    """A joint fit between its stages."""

    states: dict[int, FitState]
    """Of the scans that show the person, by row."""
    strangers: list[int]
    """Rows of the scans that show somebody else."""
    evidence: dict[int, LeaveOneOut]
    """By row; empty of a single scan."""
    steps: int
    """Gauss-Newton steps of all scans."""

    @property
    def codes(self) -> Codes:
        """The person's codes, with the weights of one of the scans."""
        return next(iter(self.states.values())).codes

    def fits(self, alone: Sequence[OwnFit]) -> list[OwnFit]:
        """Those of the scans that show the person."""
        return [fit for fit in alone if fit.row in self.states]

    def then(self, later: Joined) -> Joined:
        """A later fit, with what was found before."""
        evidence = self.evidence | later.evidence
        return Joined(later.states, self.strangers + later.strangers, evidence, self.steps + later.steps)


def joined(model: Model, alone: Sequence[OwnFit], config: FitConfig) -> Joined:
    """The joint fit of z_id to the scans that show one person, and the scans that do not."""
    by_row = {fit.row: fit for fit in alone}
    start = fused_identity(model, [fit.state for fit in alone], config)
    person = {fit.row: _with_identity(fit.state, start) for fit in alone}
    scales = (*_JOINT_ROBUST_MM, *(s for s in config.robust_mm if s == config.robust_mm[-1]))
    strangers: list[int] = []
    evidence: dict[int, LeaveOneOut] = {}
    steps = 0
    while True:
        states, said, taken = _identity_steps(model, list(person.values()), scales, config)
        person, steps = dict(zip(person, states)), steps + taken * len(person)
        if len(person) == 1:
            return Joined(person, strangers, evidence, steps)
        found = dict(zip(person, judged(model, states, [by_row[row].distance_mm for row in person], said, config)))
        # of two that differ, the first one is the person
        asked = list(person)[1:] if len(person) == 2 else list(person)
        worst = max(asked, key=lambda row: found[row][0].excess_mm)
        evidence |= {row: part for row, (part, _) in found.items()}
        if found[worst][0].excess_mm <= EXCESS_MM:
            return Joined(person, strangers, evidence, steps)
        strangers.append(worst)
        del person[worst]
        others = found[worst][1]
        person = {row: _with_identity(state, others) for row, state in person.items()}
        scales = scales[_JOINT_ROBUST_MM.index(_AGAIN_MM) :]


def fused_identity(model: Model, states: Sequence[FitState], config: FitConfig) -> Tensor:
    """z_id (256,) on which scans that were fitted alone agree best, by the quadratic model of each."""
    hessian = config.identity_prior * torch.eye(len(states[0].codes.z_id), dtype=torch.float64)
    goal = torch.zeros(len(hessian), dtype=torch.float64)
    for state in states:
        part, slope = scan_block(model.net, state, config.robust_mm[-1], False, config).eliminated()
        hessian += part.cpu()
        goal += (part @ state.codes.z_id.double() - slope).cpu()
    fused = newton_step(hessian, -goal)
    size = float(fused.square().mean().sqrt())
    return (fused * min(1.0, config.identity_limit / max(size, 1e-12))).to(states[0].codes.z_id)


def _identity_steps(
    model: Model, states: list[FitState], scales: Sequence[float], config: FitConfig
) -> tuple[list[FitState], list[Said], int]:
    """The states after joint steps on z_id, what each scan says of it at the last one, and the number of steps."""
    said: list[Said] = []
    count = 0
    for scale in scales:
        states, said = identity_step(model.net, states, scale, config)
        count += 1
        if scale == scales[-1] and states[0].predicted_decrease < config.settled:
            break
    return states, said, count


def _with_identity(state: FitState, z_id: Tensor) -> FitState:
    return replace(state, codes=replace(state.codes, z_id=z_id), initial_z_id=z_id)


def _on_head(model: Model, state: FitState, person: Codes, config: FitConfig) -> FitState:
    """A stranger's scan in its best pose and expression on the person's head."""
    codes = replace(person, weights=state.codes.weights)
    return posed(model, replace(state, codes=codes), POSE_ROBUST_MM, config)


def _placed(model: Model, head: Head, scan: Scan, fit: OwnFit, found: Joined, config: FitConfig) -> ScanOfPerson:
    """A scan on the person's head; a stranger's too, in its best pose and expression there."""
    samples, normals = samples_on_head(scan, fit.pose, config)
    same = fit.row in found.states
    state = found.states[fit.row] if same else _on_head(model, fit.state, found.codes, config)
    placed = scan_of_person(model, head, scan.name, samples, normals, state, fit.pose.scan_to_head)
    evidence = found.evidence.get(fit.row)
    return replace(placed, same_person=same, evidence=evidence, pose=fit.pose, hair=fit.hair, steps=fit.iterations)


def _neutral(model: Model, found: Joined, scans: Sequence[Scan], alone: Sequence[OwnFit]) -> Head:
    """The person's head without expression; its eyeballs settle on the scans whose eyes are about neutral."""
    neutral = replace(found.codes, weights=torch.zeros_like(found.codes.weights))
    names = [scans[row].name for row in found.states]
    head = head_of(model, neutral, " and ".join([", ".join(names[:-1]), names[-1]] if names[1:] else names))
    shown: list[FloatArray] = []
    for fit in found.fits(alone):
        state = found.states[fit.row]
        if float(state.codes.weights[_LIDS].sum()) < _STILL:
            shown.append(transform_points(state.motion @ fit.pose.scan_to_head, scans[fit.row].points))
    if shown:
        head = replace(head, eyes=settled_eyes(model, head, np.concatenate(shown)))
    return replace(head, scale_assumed=all(fit.pose.scale_assumed for fit in found.fits(alone)))


def _skin(found: Joined, scans: Sequence[Scan], alone: Sequence[OwnFit], config: FitConfig) -> list[ScanPoints | None]:
    """Of each state, the points of its scan that show skin, in the frame of its points."""
    shown = []
    for fit in found.fits(alone):
        scan, scan_to_head = scans[fit.row], fit.pose.scan_to_head
        samples, normals = samples_on_head(scan, fit.pose, config)
        covered = fit.hair.covers(transform_points(scan_to_head, samples))
        shown.append(shown_points(scan, samples, normals, covered, scan_to_head))
    return shown


def _warnings(
    scans: Sequence[Scan],
    placed: dict[int, ScanOfPerson],
    lost: Sequence[tuple[int, str]],
    strangers: Sequence[int],
) -> tuple[str, ...]:
    said: list[str] = []
    for row in strangers:
        found = placed[row].evidence
        assert found is not None
        said.append(
            f"{scans[row].name}: shows somebody else and is left out: its face lies {found.others_mm:.2f} mm (median) "
            f"from the head of the others, {found.own_mm:.2f} mm from its own"
        )
    said += [f"{scans[row].name}: {reason}; it is left out" for row, reason in lost]
    for row, scan in placed.items():
        of_scan = (*scans[row].warnings, *(scan.pose.warnings if scan.pose else ()), *scan.hair.warnings())
        said += [f"{scan.name}: {warning}" for warning in of_scan]
    return tuple(said)
