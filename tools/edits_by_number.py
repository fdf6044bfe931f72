"""Edits by number on sampled heads: is the target reached, do other lengths stay, does anything outside move?

python tools/edits_by_number.py [--heads 20] [--out FILE.json]
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from imhead import InputError, load
from imhead.api import EditableHead
from imhead.conventions import BOUNDS_MAX_MM, BOUNDS_MIN_MM
from imhead.measure.table import values
from imhead.types import FloatArray

TARGETS = (
    ("nose", "tip_projection"), ("nose", "alar_width"), ("mouth", "mouth_width"), ("chin", "chin_projection"),
    ("left_ear", "left_ear_length"),
)  # fmt: skip
CHANGES_MM = (-2.0, -1.0, 1.0, 2.0)
POINTS = 3000


@dataclass(frozen=True, eq=False)
class Before:
    """A head before its edits."""

    head: EditableHead
    """The head."""
    measured: dict[str, float]
    """Measurement → its value."""
    canonical: FloatArray
    """(N, 3) canonical positions of the test points; edits do not change them."""
    sdf: FloatArray
    """(N,) signed distances at the test points, mm."""


def one_edit(before: Before, group: str, name: str, change_mm: float, points: FloatArray) -> dict[str, Any]:
    """Figures of one edit, measured on the edited head."""
    row: dict[str, Any] = {"group": group, "target": name, "change_mm": change_mm, "refused": None}
    try:
        after, reached = before.head.by_number(group, {name: change_mm})
    except InputError as error:
        return row | {"refused": str(error)}
    outside = np.ones(len(points), dtype=bool)
    for ball in (*before.head.balls(group), *after.balls(group)):
        distance = np.linalg.norm(before.canonical - ball.center_mm, axis=1)
        outside &= distance > ball.radius_mm * (1.0 + 1e-5)
    before_mm, after_mm = before.sdf[outside], after.field().sdf(points)[outside]
    measured = (before.measured, values(np.stack(list(after.landmarks().values()))))
    return row | {
        "off_mm": abs(measured[1][name] - measured[0][name] - change_mm),
        "held": len(reached.held),
        "held_mm": max((abs(measured[1][k] - measured[0][k]) for k in reached.held), default=0.0),
        "step_sigma": reached.step_sigma,
        "points_outside": int(outside.sum()),
        "changed_outside": int((before_mm != after_mm).sum()),
    }


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Counts, and the largest of each figure."""
    made = [row for row in rows if row["refused"] is None]
    return {
        "edits": len(rows),
        "refused": len(rows) - len(made),
        "largest_off_mm": max(row["off_mm"] for row in made),
        "largest_held_mm": max(row["held_mm"] for row in made),
        "median_step_sigma": float(np.median([row["step_sigma"] for row in made])),
        "largest_step_sigma": max(row["step_sigma"] for row in made),
        "points_outside": sum(row["points_outside"] for row in made),
        "changed_outside": sum(row["changed_outside"] for row in made),
    }


def main() -> None:
    """Sample heads, edit them, and print the summary as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--heads", type=int, default=20)
    parser.add_argument("--seed", type=int, default=100)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    points = np.random.default_rng(0).uniform(BOUNDS_MIN_MM, BOUNDS_MAX_MM, (POINTS, 3))
    rows: list[dict[str, Any]] = []
    for k, head in enumerate(load(device="cpu").sample(options.heads, seed=options.seed)):
        field, measured = head.field(), values(np.stack(list(head.landmarks().values())))
        before = Before(head, measured, field.canonical(points), field.sdf(points))
        for group, name in TARGETS:
            for change_mm in CHANGES_MM:
                rows.append({"head": k} | one_edit(before, group, name, change_mm, points))
        if options.out is not None:
            options.out.write_text(json.dumps({"summary": summary(rows), "rows": rows}, indent=1))
    print(json.dumps(summary(rows)))


if __name__ == "__main__":
    main()
