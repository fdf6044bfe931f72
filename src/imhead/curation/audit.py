"""The audit: from the figures of a scan, the limits and a person's decisions to what is refused, and why.

Nothing here computes on a scan: the verdicts can be drawn again with other limits at no cost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from imhead.curation.config import AuditLimits
from imhead.curation.decisions import Decision
from imhead.curation.inputs import RawScan
from imhead.curation.problems import Problem

Figures = Mapping[str, Any]


@dataclass(frozen=True)
class Verdict:
    """What becomes of a scan."""

    problems: tuple[Problem, ...]
    """What speaks against it, the weightiest first."""
    accepted: bool
    """Whether it is learnt from."""
    rank: float
    """How bad its worst figure is, in limits: 1 is at the limit."""
    note: str = ""
    """Of the person who decided."""

    @property
    def reason(self) -> str:
        """One line for the table; empty of an accepted scan."""
        return "" if self.accepted or not self.problems else str(self.problems[0])


def problems_alone(raw: RawScan, figures: Figures, siblings: Sequence[Figures], limits: AuditLimits) -> list[Problem]:
    """What speaks against a scan before it is joined to its person's others.

    Args:
        figures: of its own fit.
        siblings: those of the same person's other scans.
    """
    known = figures.get("problem")
    if known is not None:
        return [Problem(**known)]
    found = []
    if raw.mirrored is None and (figures["inside_out"] or figures["normals_crossed"]):
        what = "its normals fit its points only when they are mirrored" if figures["normals_crossed"] else (
            "its surface is inside-out, as that of a mirrored scan or of turned faces"
        )  # fmt: skip
        found.append(Problem("mirrored", f"{what}; say in the table whether it is mirrored, yes or no"))
    found += _size_problems(figures, siblings, limits)
    turns = figures["agreement_mm"]
    if turns and all(away is None or away > limits.agreement_mm for away in turns):
        told = "nowhere" if None in turns else f"{min(away for away in turns if away is not None):.1f} mm away"
        found.append(Problem("pose", f"from other random poses and starts the head is found {told}"))
    if figures["noise_mm"] > limits.noise_mm:
        found.append(Problem("surface", f"its points scatter by {figures['noise_mm']:.2f} mm"))
    if figures["face_mm"] > limits.face_mm:
        found.append(Problem("surface", f"its face lies {figures['face_mm']:.2f} mm (median) from any head's"))
    return found


def _size_problems(figures: Figures, siblings: Sequence[Figures], limits: AuditLimits) -> list[Problem]:
    advice = "name its unit or its scale in the table"
    if figures["scale_assumed"]:
        said = "in no unit is it of a head's size; name its scale in the table, or accept it at the mean head's size"
        return [Problem("unit", said)]
    if figures["unit_source"] == "named":
        return []
    size = figures["head_scale"]
    if not limits.size[0] <= size <= limits.size[1]:
        return [Problem("unit", f"in {figures['units']} its head has {size:.2f} of the mean size; {advice}")]
    others = [k["head_scale"] for k in siblings if k.get("problem") is None and not k["scale_assumed"]]
    if len(others) >= 2:
        ratio = size / float(np.median(others))
        if not 1.0 / (1.0 + limits.size_differs) <= ratio <= 1.0 + limits.size_differs:
            return [Problem("unit", f"its head has {ratio:.2f} of the size in the person's other scans; {advice}")]
    return []


def problems_of_person(figures: Figures, limits: AuditLimits) -> list[Problem]:
    """What speaks against a scan on its person's head, by the figures of the joint fit and of the registration."""
    if not figures["found"]:
        return _mirror_problems(figures, limits) or [
            Problem("no_head", "no head was found in it, nor was its person's")
        ]
    found = _mirror_problems(figures, limits)
    if not figures["same_person"]:
        seen = figures["evidence"]
        return found or [
            Problem(
                "stranger",
                f"its face lies {seen['others_mm']:.2f} mm (median) from the head of the person's other scans, "
                f"{seen['own_mm']:.2f} mm from its own",
            )
        ]
    registered = figures["registered"]
    if registered is None:
        return [*found, Problem("partial", figures["unregistered"])]
    unexplained = figures["face_unexplained"]
    bearded = figures["beard_cm2"] >= limits.beard_cm2
    if unexplained > (limits.bearded_share if bearded else limits.unexplained_share):
        found.append(Problem("surface", f"{100 * unexplained:.0f} % of its points on the face are no head's"))
    elif figures["face_p90_mm"] is not None and figures["face_p90_mm"] > limits.face_p90_mm and not bearded:
        found.append(
            Problem("surface", f"a tenth of its face lies {figures['face_p90_mm']:.1f} mm from the person's head")
        )
    share = registered["face_measured"]
    halves = min(registered["left_measured"], registered["right_measured"])
    if share < limits.measured_share or halves < limits.side_share:
        side = f"and {100 * halves:.0f} % of one side" if halves < limits.side_share else ""
        found.append(Problem("partial", f"it shows {100 * share:.0f} % of the face {side}".rstrip()))
    if registered["crossed_vertices"] > limits.crossed_vertices:
        found.append(
            Problem("implausible", f"the registered head crosses itself at {registered['crossed_vertices']} vertices")
        )
    return found


def _mirror_problems(figures: Figures, limits: AuditLimits) -> list[Problem]:
    sides = figures.get("mirror_mm")
    if sides is None or sides["as_it_is"] - sides["mirrored"] < limits.mirror_excess_mm:
        return []
    return [
        Problem(
            "mirrored",
            f"its face lies {sides['as_it_is']:.2f} mm (median) from its person's, but {sides['mirrored']:.2f} mm from "
            "its person's mirror image; if it is mirrored, say so in the table",
        )
    ]


def rank_of(alone: Figures, placed: Figures | None, limits: AuditLimits) -> float:
    """How bad the worst figure of a scan is, in limits; 10 where no head was found."""
    if alone.get("problem") is not None and (placed is None or not placed.get("found")):
        return 10.0
    parts = [0.0]
    if alone.get("problem") is None:
        turns = [10.0 * limits.agreement_mm if away is None else away for away in alone["agreement_mm"]]
        # on its person's head its place is sure
        most = 1.0 if placed is not None and placed.get("found") else 10.0
        parts += [min(away / limits.agreement_mm / 2.0, most) for away in turns]
        parts += [alone["face_mm"] / limits.face_mm, alone["code_sigma"] / limits.code_sigma / 2.0]
        parts += [alone["noise_mm"] / limits.noise_mm]
    if placed is not None and placed.get("registered"):
        registered = placed["registered"]
        parts += [placed["face_unexplained"] / limits.unexplained_share]
        parts += [limits.measured_share / max(registered["face_measured"], 0.05)]
        parts += [registered["crossed_vertices"] / limits.crossed_vertices]
        if placed["evidence"] is not None:
            parts.append(placed["evidence"]["excess_mm"] / 0.5)
    return round(float(min(max(parts), 10.0)), 4)


def verdict(problems: Sequence[Problem], usable: bool, rank: float, decision: Decision | None) -> Verdict:
    """What becomes of a scan.

    Args:
        usable: whether there is something to learn from it: a registered head.
        decision: of a person, who may accept what is usable and reject anything.
    """
    note = "" if decision is None else decision.note
    if decision is not None and not decision.accept:
        why = f"by a person: {note}" if note else "by a person"
        return Verdict((Problem("rejected", why), *problems), False, rank, note)
    accepted = usable and (not problems or decision is not None)
    return Verdict(tuple(problems), accepted, rank, note)
