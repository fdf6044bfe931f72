"""Write `docs/results.md` and its plots from the JSON of `imhead eval` and of the ablation.

    imhead eval --suite heldout --json > docs/results/heldout.json
    imhead eval --suite heldout --data DATA_SET --baselines --json > docs/results/set_heldout.json
    imhead eval --suite hidden --data SCANS --rim-residuals --json > docs/results/hidden.json
    imhead eval --suite hidden --data DATA_SET --heads 10 --rim-residuals --json > docs/results/hidden_heldout.json
    python tools/results.py docs/results docs/results.md docs/images

The other files are named after their suites: expressions, single_view and noise (with `--data DATA_SET --baselines`),
real_unseen, correspondence, specificity and identity (with `--data DATA_SET`), and ablation (`tools/ablation`).
Sections without a file are left out.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

import imhead

Row = dict[str, Any]
_FIGURES = (
    ("face, mm", "face_chamfer_mm", 3),
    ("head, mm", "head_chamfer_mm", 3),
    ("face NC", "face_normal_consistency", 3),
    ("face F@1", "face_fscore_1mm", 3),
    ("face F@5", "face_fscore_5mm", 3),
    ("head F@1", "head_fscore_1mm", 3),
)


def table(header: Iterable[str], lines: Iterable[Iterable[str]]) -> list[str]:
    """A Markdown table."""
    names = list(header)
    return ["| " + " | ".join(row) + " |" for row in (names, ["---"] * len(names), *map(list, lines))]


def figures(row: Row) -> list[str]:
    """Cells of the table for the figures of a row or a case."""
    return [f"{row[key]:.{digits}f}" for _, key, digits in _FIGURES]


def by_source(row: Row) -> dict[str, Row]:
    """Source of heads → mean figures of the cases of a row that were scored."""
    groups: dict[str, list[Row]] = {}
    for case in row["cases"]:
        if "refused" not in case:
            groups.setdefault(case["source"], []).append(case)
    return {
        source: {key: float(np.mean([case[key] for case in cases])) for _, key, _ in _FIGURES} | {"heads": len(cases)}
        for source, cases in sorted(groups.items())
    }


def numbers(row: Row) -> str:
    """Size of the identity code that is fitted; our own fit adds region offsets, unless its name says otherwise."""
    code_alone = row["model"].startswith("pca_") or row["model"].endswith("z_id alone")
    return str(row["code_size"]) if code_alone else f"{row['code_size']} + offsets"


def models_table(rows: list[Row]) -> list[str]:
    """A table with one line for each model."""
    lines = [[row["model"], numbers(row), *figures(row), f"{row['pose_failures']} of {row['heads']}"] for row in rows]
    return table(["model", "code size", *(name for name, _, _ in _FIGURES), "wrong pose"], lines)


def heldout(rows: list[Row]) -> list[str]:
    """Neutral composed heads."""
    return [
        "Composed heads that training never saw: neutral, 5 000 points, random pose and unit.",
        "",
        *models_table(rows),
    ]


def set_heldout(rows: list[Row]) -> list[str]:
    """Held-out heads of the data set with linear baselines, by source."""
    lines = [
        [source, str(mean["heads"]), row["model"], numbers(row), *figures(mean)]
        for source in by_source(rows[0])
        for row, mean in ((row, by_source(row)[source]) for row in rows)
    ]
    return [
        "Held-out identities of the data set: plain and composed ICT-FaceKit heads (`ict`) and heads of Anny. The PCAs",
        "are learned from the same training heads.",
        "",
        *table(["source", "heads", "model", "code size", *(name for name, _, _ in _FIGURES)], lines),
        "",
        "![By source](images/results_sources.png)",
    ]


def expressions(rows: list[Row]) -> list[str]:
    """Heads with a random expression."""
    return ["The same heads, each with a random expression.", "", *models_table(rows)]


def single_view(rows: list[Row]) -> list[str]:
    """A single view."""
    return ["2 500 noisy points of one frontal view; the score covers the whole head.", "", *models_table(rows)]


def noise(rows: list[Row]) -> list[str]:
    """Increasing noise."""
    lines = [[f"{row['noise_mm']:g}", row["model"], numbers(row), *figures(row)] for row in rows]
    return [
        "Gaussian noise of this standard deviation on all coordinates of the 5 000 points.",
        "",
        *table(["noise, mm", "model", "code size", *(name for name, _, _ in _FIGURES)], lines),
        "",
        "![Noise](images/results_noise.png)",
    ]


def real_unseen(rows: list[Row]) -> list[str]:
    """Real scans, scored on the half that was not fitted."""
    linear = {row["scan"]: row for row in rows if row["model"] == "ict_linear"}
    lines = []
    for row in rows:
        if "refused" in row:
            lines.append([row["scan"], row["model"], "", "refused", "", "", "", "", ""])
            continue
        baseline = linear[row["scan"]]
        ratios = [f"{row[key] / baseline[key]:.2f}" for key in ("face_median_mm", "face_mean_mm")]
        of_splits = [
            case["face_median_mm"] / reference["face_median_mm"]
            for case, reference in zip(row["cases"], baseline["cases"])
            if "refused" not in case
        ]
        lines.append(
            [row["scan"], row["model"], f"{row['points']:.0f}", f"{row['face_median_mm']:.3f}"]
            + [f"{row['face_mean_mm']:.3f}", *ratios, f"{min(of_splits):.2f} to {max(of_splits):.2f}"]
            + [f"{row['all_median_mm']:.3f} / {row['all_mean_mm']:.3f} ({row['hidden_points']:.0f})"]
        )
    names = [
        "scan",
        "model",
        "points",
        "median, mm",
        "mean, mm",
        "ratio of medians",
        "ratio of means",
        "ratio of each split",
    ]
    return [
        "A random half of the points of each scan is fitted. The other half is scored: the visible points on the face",
        "that are nearer than 3 mm to the fit of `ict_linear`, ICT-FaceKit's own linear model with 100 modes and 52",
        "expressions, from the same pose and with as many steps. Figures are means over",
        f"{rows[0]['halves']} random splits. Ratios are to `ict_linear`; the ratio of medians is also given as its",
        "range over the splits. The last column gives median and mean with the hidden points of eye sockets, nose and",
        "mouth included, and the number of these points.",
        "",
        *table([*names, "with hidden points"], lines),
    ]


_CUTS = {"disc_10": "discs of 10 mm radius", "disc_20": "discs of 20 mm radius", "half": "one half of the face"}


def hidden(rows: list[Row]) -> list[str]:
    """Parts cut from real scans."""
    return [
        "Parts are cut from a scan, the rest is fitted, and what was cut is scored: the distance of its visible points",
        "to the fitted surface, if they lie within 3 mm of the fit of `ict_linear` to the whole scan. The centres of",
        "discs are drawn evenly over the surface within 95 mm of the nose tip. Up to ten discs of 10 mm radius, or",
        "five of 20 mm, are cut at once, at least a radius apart from rim to rim. `thin_plate` is a thin-plate spline",
        "of the points within 25 mm beyond the rim, as heights over the rim's tangent plane; it has never seen a face.",
        "*With rim residuals* carries what the fit leaves over at those points into the hole by the same spline. Each",
        "cell: median in mm, in which all discs weigh the same, and its ratio to the better one's of `ict_linear` and",
        "`thin_plate` on that scan.",
        "",
        *_hidden_table(rows, by_scan=True),
    ]


def hidden_heldout(rows: list[Row]) -> list[str]:
    """Parts cut from virtual scans."""
    return [
        "The same parts cut from virtual scans of held-out heads: neutral, 30 000 points all over the visible head.",
        "",
        *_hidden_table(rows, by_scan=False),
    ]


def _hidden_table(rows: list[Row], by_scan: bool) -> list[str]:
    """A line for the median over the scans, one for the mean, and before them one for each scan, if asked for."""
    models = list(dict.fromkeys(row["model"] for row in rows))
    lines: list[list[str]] = []
    for kind, cut in _CUTS.items():
        of_kind = {row["model"]: row for row in rows if row["kind"] == kind}
        for k, case in enumerate(of_kind[models[0]]["cases"] if by_scan else []):
            cases = [of_kind[model]["cases"][k] for model in models]
            cells = ["refused" if "refused" in c else f"{c['median_mm']:.3f} ({c['ratio']:.2f})" for c in cases]
            lines.append([cut, case["scan"], str(case.get("points", "")), *cells])
        scored = [row for row in of_kind.values() if row["scored"]]
        if scored:
            medians = [f"{row['median_mm']:.3f} ({row['ratio']:.2f})" for row in scored]
            means = [f"{row['mean_of_medians_mm']:.3f} (at worst {row['ratio_worst']:.2f})" for row in scored]
            count = f"{scored[0]['scored']} of {scored[0]['scans']} scans"
            lines += [[cut, f"**median** of {count}", "", *medians], [cut, f"**mean** of {count}", "", *means]]
    return table(["cut", "scan", "points", *models], lines)


def correspondence(rows: list[Row]) -> list[str]:
    """Template vertices against the registered truth."""
    (row,) = rows
    lines = [
        ["template vertex to its true place, face", f"{row['face_correspondence_mm']:.3f}"],
        ["the same, 90th percentile over heads", f"{row['face_correspondence_p90_mm']:.3f}"],
        ["template vertex to its true place, head", f"{row['head_correspondence_mm']:.3f}"],
        ["template to the zero set", f"{row['zero_set_mm']:.4f}"],
        ["neutral template plus an ARKit shape, to the model's surface with that expression", f"{row['morph_mm']:.3f}"],
        ["the same, over vertices that the shape moves", f"{row['morph_moved_mm']:.3f}"],
    ]
    return [f"{row['heads']} held-out heads, fitted; means in mm.", "", *table(["distance", "mm"], lines)]


def specificity(rows: list[Row]) -> list[str]:
    """Samples and their nearest training heads."""
    lines = [[r["model"], str(r["heads"]), f"{r['nearest_mean_mm']:.3f}", f"{r['nearest_p90_mm']:.3f}"] for r in rows]
    return [
        "Mean vertex distance from a sample to the nearest training head; small if samples look like people.",
        "",
        *table(["samples of", "heads", "mean, mm", "90th percentile, mm"], lines),
    ]


def identity(rows: list[Row]) -> list[str]:
    """Identity codes of the same person and of others."""
    (row,) = rows
    return [
        f"{row['heads']} people, each fitted neutral and with an expression. Mean distance of identity codes: "
        f"{row['same_person']:.2f} between the two codes of a person, {row['different_people']:.2f} between people. "
        f"The code with an expression is nearest to the person's own neutral code for {100 * row['recognised']:.0f} %.",
    ]


def ablation(rows: list[Row]) -> list[str]:
    """Variants of the model, one table for each number of steps."""
    names = ["variant", "code size", "face, mm", "head, mm", "face NC", "face, ratio to full", "seconds per step"]
    tables: list[str] = []
    for steps in sorted({row["steps"] for row in rows if "steps" in row}):
        own = [row for row in rows if row.get("steps", steps) == steps]
        full = own[0]
        lines = [
            [
                row["model"], str(row["code_size"]), f"{row['face_chamfer_mm']:.3f}", f"{row['head_chamfer_mm']:.3f}",
                f"{row['face_normal_consistency']:.3f}", f"{row['face_chamfer_mm'] / full['face_chamfer_mm']:.2f}",
                f"{row['train_seconds'] / steps:.2f}" if "train_seconds" in row else "",
            ]
            for row in own
        ]  # fmt: skip
        tables += ["", f"### {steps} training steps, {full['fit_steps']} steps to fit a code", "", *table(names, lines)]
    return [
        f"All variants are trained alike on a CPU, far from convergence, and tested on the same {rows[0]['heads']}",
        "heads in known canonical pose, with codes fitted from zero by Adam. The numbers compare variants, not the",
        "model that ships: here a region code has 32 numbers, and the loss is older than",
        "[0029](decisions/0029-wide-codes.md). The variant with one network cannot start from the PCA of regions and",
        "is the farthest from convergence. The `paper` blend evaluates every network at every point. Seconds per step",
        "were measured on a busy machine.",
        *tables,
        "",
        "![Ablation](images/results_ablation.png)",
    ]


SECTIONS: tuple[tuple[str, str, Callable[[list[Row]], list[str]]], ...] = (
    ("heldout", "Held-out heads", heldout),
    ("set_heldout", "Held-out heads of the data set, by source", set_heldout),
    ("expressions", "Expressions", expressions),
    ("single_view", "Single view", single_view),
    ("noise", "Noise", noise),
    ("real_unseen", "Real scans, held-out points", real_unseen),
    ("hidden", "Hidden parts of real scans", hidden),
    ("hidden_heldout", "Hidden parts of held-out heads", hidden_heldout),
    ("correspondence", "Correspondence", correspondence),
    ("specificity", "Specificity", specificity),
    ("identity", "The same person with an expression", identity),
    ("ablation", "Ablation", ablation),
)


def plot_sources(rows: list[Row], path: Path) -> None:
    """Bars of the Chamfer distances of face and head by source and model."""
    figure, both = plt.subplots(1, 2, figsize=(9.0, 3.4), sharey=True, layout="constrained")
    sources = list(by_source(rows[0]))
    width = 0.8 / len(rows)
    for axes, area in zip(both, ("face", "head")):
        for k, row in enumerate(rows):
            heights = [by_source(row)[source][f"{area}_chamfer_mm"] for source in sources]
            bars = axes.bar(np.arange(len(sources)) + k * width, heights, width, label=row["model"])
            axes.bar_label(bars, fmt="%.2f", fontsize=7)
        axes.set_xticks(np.arange(len(sources)) + width * (len(rows) - 1) / 2, sources)
        axes.set_title(area, fontsize=10)
    both[0].set_ylabel("Chamfer, mm")
    both[0].legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=140)
    plt.close(figure)


def plot_noise(rows: list[Row], path: Path) -> None:
    """Lines of the face Chamfer distance over the noise, one for each model."""
    figure, axes = plt.subplots(figsize=(6.0, 3.2), layout="constrained")
    for model in dict.fromkeys(row["model"] for row in rows):
        own = [row for row in rows if row["model"] == model]
        axes.plot([r["noise_mm"] for r in own], [r["face_chamfer_mm"] for r in own], marker="o", label=model)
    axes.set_xlabel("noise of every coordinate, mm")
    axes.set_ylabel("face Chamfer, mm")
    axes.set_ylim(bottom=0.0)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=140)
    plt.close(figure)


def plot_ablation(rows: list[Row], path: Path) -> None:
    """Bars of the face Chamfer distance of each variant, after the largest number of steps."""
    steps = max(row["steps"] for row in rows if "steps" in row)
    rows = [row for row in rows if row.get("steps", steps) == steps]
    figure, axes = plt.subplots(figsize=(6.0, 0.34 * len(rows) + 0.8), layout="constrained")
    bars = axes.barh(
        [f"{r['model']} ({r['code_size']})" for r in rows][::-1], [r["face_chamfer_mm"] for r in rows][::-1]
    )
    axes.bar_label(bars, fmt="%.3f", fontsize=8, padding=2)
    axes.set_xlabel("face Chamfer, mm")
    axes.margins(x=0.12)
    figure.savefig(path, dpi=140)
    plt.close(figure)


PLOTS = {
    "set_heldout": ("sources", plot_sources),
    "noise": ("noise", plot_noise),
    "ablation": ("ablation", plot_ablation),
}


def main(folder: Path, out: Path, images: Path) -> None:
    """Write the page and its plots."""
    model = imhead.load().model
    lines = [
        "# Results",
        "",
        f"Of the weights that ship (`{model.hash}`), unless a section says otherwise. Chamfer distances are means of",
        "both directions, not squared, over what a scanner sees. NC is normal consistency, F@1 the F-score at 1 mm,",
        "code size the numbers of an identity code. `tools/results.py` writes this page from [results/](results).",
        "[model_card.md](model_card.md) has areas of the face, real scans in random pose and unit, and edits.",
    ]
    for name, title, write in SECTIONS:
        path = folder / f"{name}.json"
        if not path.is_file():
            continue
        content = json.loads(path.read_text())
        rows = content["rows"]
        lines += ["", f"## {title}"]
        if content.get("model") != model.hash:
            taken_with = f"weights `{content['model']}`" if "model" in content else "an earlier version's weights"
            lines += [f"*Taken with {taken_with}.*", ""]
        lines += write(rows)
        if name in PLOTS:
            suffix, plot = PLOTS[name]
            plot(rows, images / f"results_{suffix}.png")
    out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
