"""Write `docs/results.md` and its plots from the JSON of `imhead eval` and the ablation; what has not run is left out.

    imhead eval --suite heldout --json > docs/results/heldout.json
    imhead eval --suite heldout --data DATA_SET --baselines --json > docs/results/set_heldout.json
    python tools/results.py docs/results docs/results.md docs/images

The other files are named as their suites: expressions, single_view and noise (all with `--data DATA_SET --baselines`),
real, real_unseen, correspondence, specificity and identity (`--data DATA_SET`), and ablation.
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
    """The figures of a row or a case, as written."""
    return [f"{row[key]:.{digits}f}" for _, key, digits in _FIGURES]


def by_source(row: Row) -> dict[str, Row]:
    """Mean figures of a row's cases for each source of their heads, those that were scored."""
    groups: dict[str, list[Row]] = {}
    for case in row["cases"]:
        if "refused" not in case:
            groups.setdefault(case["source"], []).append(case)
    return {
        source: {key: float(np.mean([case[key] for case in cases])) for _, key, _ in _FIGURES} | {"heads": len(cases)}
        for source, cases in sorted(groups.items())
    }


def numbers(row: Row) -> str:
    """How many numbers a fit had for an identity; ours also moves the region codes, unless its name says not."""
    alone = row["model"].startswith("pca_") or row["model"].endswith("z_id alone")
    return str(row["code_size"]) if alone else f"{row['code_size']} + offsets"


def of_models(rows: list[Row]) -> list[str]:
    """A line for each model."""
    lines = [[row["model"], numbers(row), *figures(row), f"{row['pose_failures']} of {row['heads']}"] for row in rows]
    return table(["model", "numbers", *(name for name, _, _ in _FIGURES), "wrong pose"], lines)


def heldout(rows: list[Row]) -> list[str]:
    """Composed heads, neutral."""
    return ["Composed heads that training never saw, neutral, 5 000 points, any pose and unit.", "", *of_models(rows)]


def set_heldout(rows: list[Row]) -> list[str]:
    """The data set's own held-out heads, with the linear models, by source."""
    lines = [
        [source, str(mean["heads"]), row["model"], numbers(row), *figures(mean)]
        for source in by_source(rows[0])
        for row, mean in ((row, by_source(row)[source]) for row in rows)
    ]
    return [
        "Held-out identities of the data set: plain and composed heads (`ict`) and Anny's. A PCA learned the same.",
        "",
        *table(["source", "heads", "model", "numbers", *(name for name, _, _ in _FIGURES)], lines),
        "",
        "![By source](images/results_sources.png)",
    ]


def expressions(rows: list[Row]) -> list[str]:
    """Heads with a drawn expression."""
    return ["The same heads, each with a drawn expression.", "", *of_models(rows)]


def single_view(rows: list[Row]) -> list[str]:
    """One view, whole head scored."""
    return ["2 500 noisy points of one frontal view; the whole head is scored.", "", *of_models(rows)]


def noise(rows: list[Row]) -> list[str]:
    """More and more noise."""
    lines = [[f"{row['noise_mm']:g}", row["model"], numbers(row), *figures(row)] for row in rows]
    return [
        "Gaussian noise on every coordinate of the 5 000 points.",
        "",
        *table(["noise, mm", "model", "numbers", *(name for name, _, _ in _FIGURES)], lines),
        "",
        "![Noise](images/results_noise.png)",
    ]


def real_unseen(rows: list[Row]) -> list[str]:
    """Real scans, scored on the half that no fit saw."""
    linear = {row["scan"]: row for row in rows if row["model"] == "ict_linear"}
    lines = []
    for row in rows:
        if "refused" in row:
            lines.append([row["scan"], row["model"], "", "refused", "", "", "", "", ""])
            continue
        yardstick = linear[row["scan"]]
        parts = [f"{row[key] / yardstick[key]:.2f}" for key in ("face_median_mm", "face_mean_mm")]
        of_halves = [
            case["face_median_mm"] / peer["face_median_mm"]
            for case, peer in zip(row["cases"], yardstick["cases"])
            if "refused" not in case
        ]
        lines.append(
            [row["scan"], row["model"], f"{row['points']:.0f}", f"{row['face_median_mm']:.3f}"]
            + [f"{row['face_mean_mm']:.3f}", *parts, f"{min(of_halves):.2f} to {max(of_halves):.2f}"]
            + [f"{row['all_median_mm']:.3f} / {row['all_mean_mm']:.3f} ({row['hidden_points']:.0f})"]
        )
    names = ["scan", "model", "points", "median, mm", "mean, mm", "of linear: median", "mean", "median of each half"]
    return [
        "Half of each scan's points, drawn at random, is fitted; scored are the others on the face, those that",
        "ICT-FaceKit's own linear model (100 modes and 52 expressions, same pose and steps) explains to 3 mm.",
        f"Means over {rows[0]['halves']} such halves; the ratio of the medians of a single one moves with the draw,",
        "by as much as its column shows. What nobody can see of a scanned mesh is left out of the score: the walls",
        "of eye sockets, noses and mouths. The last column has median and mean with them, and how many they are.",
        "",
        *table([*names, "with hidden points"], lines),
    ]


def correspondence(rows: list[Row]) -> list[str]:
    """Template vertices against the known ones."""
    (row,) = rows
    lines = [
        ["template vertex to its own place, face", f"{row['face_correspondence_mm']:.3f}"],
        ["nine heads in ten, face, below", f"{row['face_correspondence_p90_mm']:.3f}"],
        ["template vertex to its own place, head", f"{row['head_correspondence_mm']:.3f}"],
        ["template to the zero set", f"{row['zero_set_mm']:.4f}"],
        ["ARKit shape added to the neutral face, to the model's own expression", f"{row['morph_mm']:.3f}"],
        ["the same where the shape moves it", f"{row['morph_moved_mm']:.3f}"],
    ]
    return [f"{row['heads']} held-out heads, fitted; means in mm.", "", *table(["distance", "mm"], lines)]


def specificity(rows: list[Row]) -> list[str]:
    """Drawn heads and their nearest training head."""
    lines = [[r["model"], str(r["heads"]), f"{r['nearest_mean_mm']:.3f}", f"{r['nearest_p90_mm']:.3f}"] for r in rows]
    return [
        "Mean vertex distance of a drawn head to the nearest training head: does what is drawn look like somebody.",
        "",
        *table(["drawn from", "heads", "mean, mm", "nine in ten below"], lines),
    ]


def identity(rows: list[Row]) -> list[str]:
    """Codes of the same person and of others."""
    (row,) = rows
    return [
        f"{row['heads']} people, each fitted neutral and with an expression. Distance of the two identity codes: "
        f"{row['same_person']:.2f} for the same person, {row['different_people']:.2f} between people. The nearest "
        f"neutral code is the person's own for {100 * row['recognised']:.0f} %.",
    ]


def ablation(rows: list[Row]) -> list[str]:
    """Variants of the model, a table for each number of steps."""
    names = ["variant", "numbers", "face, mm", "head, mm", "face NC", "face, of full", "s a step"]
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
        tables += ["", f"### {steps} steps of training, {full['fit_steps']} to find a code", "", *table(names, lines)]
    return [
        f"Trained alike on a CPU, far from converged, and tested on the same {rows[0]['heads']} heads: canonical pose",
        "known, the code found from zero by Adam. It compares parts; it is not what ships: a region's code has 32",
        "numbers, and the loss is that of before [0029](decisions/0029-wide-codes.md). One network, with no start from",
        "the PCA of regions, has come least far; the `paper` blend asks every network at every point.",
        "Seconds were taken beside other work.",
        *tables,
        "",
        "![Ablation](images/results_ablation.png)",
    ]


SECTIONS: tuple[tuple[str, str, Callable[[list[Row]], list[str]]], ...] = (
    ("heldout", "Held-out heads", heldout),
    ("set_heldout", "Held-out heads of the data set, by source", set_heldout),
    ("expressions", "Expressions", expressions),
    ("single_view", "One view", single_view),
    ("noise", "Noise", noise),
    ("real_unseen", "Real scans, unseen points", real_unseen),
    ("correspondence", "Correspondence", correspondence),
    ("specificity", "Specificity", specificity),
    ("identity", "A person with another face on", identity),
    ("ablation", "Ablation", ablation),
)


def plot_sources(rows: list[Row], path: Path) -> None:
    """Bars of the Chamfer distances of face and head, by source and model."""
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
    """Face Chamfer distance over the noise, a line for each model."""
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
    """Bars of the face's Chamfer distance, a variant each, after the most steps."""
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
        f"Of the weights that ship (`{model.hash}`). Chamfer is the mean of both ways, not squared, over what a",
        "scanner sees; NC is normal consistency, F@1 the F-score at 1 mm. Made by `tools/results.py` from",
        "[results/](results); [model_card.md](model_card.md) has areas of the face, real scans in turns, and edits.",
    ]
    for name, title, write in SECTIONS:
        path = folder / f"{name}.json"
        if not path.is_file():
            continue
        rows = json.loads(path.read_text())["rows"]
        lines += ["", f"## {title}", *write(rows)]
        if name in PLOTS:
            suffix, plot = PLOTS[name]
            plot(rows, images / f"results_{suffix}.png")
    out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
