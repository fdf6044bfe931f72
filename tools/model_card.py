"""Write `docs/model_card.md` from the card of the shipped model and the figures of `imhead eval`.

imhead eval --suite heldout --json > docs/results/heldout.json        (also real, locality)
imhead eval --suite heldout --no-refine --json > docs/results/heldout_start.json
python tools/model_card.py docs/results docs/model_card.md
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import imhead

_AREAS = ("face", "head", "lids", "lips", "ears")


def _rows(folder: Path, suite: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads((folder / f"{suite}.json").read_text())["rows"]
    return rows


def _taken_with(folder: Path, suite: str, model_hash: str) -> list[str]:
    """A line for figures of other weights than those that ship."""
    found = json.loads((folder / f"{suite}.json").read_text()).get("model")
    return [] if found == model_hash else [f"*Taken with {found or 'the weights before'}.*", ""]


def _reproduction(card: dict[str, Any]) -> str:
    if "started_from" not in card:
        return "`make train-default`"
    return (
        f"`imhead train SETTINGS.json --start MODEL`: from model {card['started_from']}, with the settings of "
        "this one. `make train-default` trains a similar model from scratch"
    )


def heldout_table(row: dict[str, Any], start: dict[str, Any]) -> list[str]:
    """Held-out heads, one line for each area."""
    lines = [
        f"{row['heads']} composed heads that training never saw: neutral, 5 000 points without normals, random pose",
        f"and unit. Refused or in a wrong pose: {row['pose_failures']}. Distances are from what a scanner sees of one",
        "surface to the other; Chamfer distances are means of both directions, not squared.",
        "",
        "| area | Chamfer, mm | normal consistency | F-score at 1 mm |",
        "|---|---|---|---|",
    ]
    for area in _AREAS:
        lines.append(
            f"| {area} | {row[f'{area}_chamfer_mm']:.3f} | {row[f'{area}_normal_consistency']:.3f} "
            f"| {row[f'{area}_fscore_1mm']:.3f} |"
        )
    return [
        *lines,
        "",
        f"Nine heads in ten have a face Chamfer distance below {row['face_chamfer_p90_mm']:.3f} mm. The encoder's",
        f"initial guess, before refinement, on {start['heads']} of these heads: face {start['face_chamfer_mm']:.3f}",
        f"and head {start['head_chamfer_mm']:.3f} mm.",
    ]


def real_table(rows: list[dict[str, Any]]) -> list[str]:
    """Real scans, as they are and in random pose and unit."""
    lines = [
        "Distance from scan points on the face to the fit, over the points that it explains (nearer than 3 mm). Each",
        "scan is fitted as it is and in random poses and units.",
        "",
        "| scan | median, mm | mean, mm | explained | fitted | largest median over the poses, mm |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        total = row["turns"] + 1
        largest = row["face_median_worst_mm"]
        if "scan_to_head_face_mm" in row:
            face = row["scan_to_head_face_mm"]
            figures = f"{face['median']:.3f} | {face['mean']:.3f} | {100 * row['explained_fraction']:.0f} %"
        else:
            figures = "refused | | "
        lines.append(
            f"| {row['scan']} | {figures} | {row['found']} of {total} | {'' if largest is None else f'{largest:.3f}'} |"
        )
    return lines


def locality_table(rows: list[dict[str, Any]]) -> list[str]:
    """Edits: how far the movement of each region reaches."""
    changed, checked = sum(r["changed_outside"] for r in rows), sum(r["points_outside"] for r in rows)
    lines = [
        "Each region of the mean head is sampled anew at strength 2. Outside its old and new ball, "
        f"{changed} of {checked:,} signed distances differ in any bit.",
        "",
        "| region | 95 % of the movement within, mm | ball radius, mm | largest movement, mm |",
        "|---|---|---|---|",
    ]
    for r in rows:
        lines.append(
            f"| {r['region']} | {r['radius_95_mm']:.1f} | {r['ball_radius_mm']:.0f} | {r['largest_movement_mm']:.2f} |"
        )
    return lines


def main(folder: Path, out: Path) -> None:
    """Write the card."""
    model = imhead.load().model
    card = model.card
    lines = [
        "# Model card: `default`",
        "",
        f"Weights `{model.hash}`, {sum(p.numel() for p in model.net.parameters()):,} parameters in half precision,"
        f" {card['licence']}.",
        "",
        f"- **Data:** {'; '.join(card['data'])}.",
        f"- **Training:** {card['training']}; seed {card['seed']}, code at {card['commit']}, {card['date']}.",
        "- **Encoder:** the settings of `imhead train default`, on the same identities.",
        f"- **Limits:** {card['limits']}.",
        f"- **To reproduce it:** {_reproduction(card)}.",
        "",
        "## Held-out heads",
        *_taken_with(folder, "heldout", model.hash),
        *heldout_table(_rows(folder, "heldout")[0], _rows(folder, "heldout_start")[0]),
        "",
        "## Real scans",
        *_taken_with(folder, "real", model.hash),
        *real_table(_rows(folder, "real")),
        "",
        "## Edits",
        *_taken_with(folder, "locality", model.hash),
        *locality_table(_rows(folder, "locality")),
    ]
    out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
