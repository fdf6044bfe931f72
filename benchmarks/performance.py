"""Measure with `imhead bench`, and write `docs/performance.md` from the figures, so that they cannot disagree.

    python benchmarks/performance.py docs --threads 2         (more options go to `imhead bench`)
    python benchmarks/performance.py docs --page-only         (from figures that are there already)

Figures of a CPU go to `docs/results/performance.json`, those of a GPU (`--device cuda`) to `performance_cuda.json`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

Row = dict[str, Any]

_TITLES = {
    "mesh": "Whole mesh",
    "remesh_median": "After an edit, median region",
    "remesh_largest": "After an edit, slowest region",
    "fit": "Fit of a scan",
    "train": "Training step",
}


def measure(results: Path, options: list[str]) -> None:
    """Run all benchmarks and keep their figures."""
    command = [sys.executable, "-m", "imhead", "bench", "--json", *options]
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    rows = json.loads(said)["rows"]
    if any(row["quick"] for row in rows):
        raise SystemExit("figures of --quick mean nothing; measure without it")
    name = "performance.json" if rows[0]["device"] == "cpu" else f"performance_{rows[0]['device']}.json"
    results.mkdir(parents=True, exist_ok=True)
    (results / name).write_text(json.dumps({"rows": rows}, indent=1) + "\n", encoding="utf-8")


def duration(seconds: float) -> str:
    """A time as a person reads it."""
    if seconds < 1.0:
        return f"{1000.0 * seconds:.3g} ms"
    return f"{seconds:.3g} s" if seconds < 120.0 else f"{seconds / 60.0:.3g} min"


def checked(row: Row) -> str:
    """Whether what was timed is right."""
    words = {True: "yes", False: "**no**", None: "not checked"}
    return words[row["equal_to_reference"]]


def summary(rows: list[Row]) -> list[str]:
    """One line for each row."""
    lines = [
        "| | ours | processor time | peer | ratio | evaluations | floor | equal |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        lines.append(
            f"| {_TITLES[row['name']]} | {duration(row['ours_seconds'])} | {duration(row['ours_cpu_seconds'])} "
            f"| {duration(row['peer_seconds'])} | {row['ratio']:,.1f} | {row['evaluations']:,} "
            f"| {duration(row['floor']['seconds'])} | {checked(row)} |"
        )
    return lines


def mesh_notes(row: Row) -> list[str]:
    """The mesh, and where its ratio comes from."""
    floor, memory = row["floor"], row["memory"]
    compared = len(row["reference"])
    library = sum(c["equal_to_library"] for c in row["reference"])
    farthest = max((c["largest_mm"] for c in row["reference"]), default=float("nan"))
    equal = f"{compared} of them compared with our own marching cubes on the dense grid of {row['dense_evaluations']:,}"
    return [
        "## Whole mesh",
        f"{row['heads']} heads at {row['resolution']} cells: the mean head, and drawn ones with an edit and an",
        f"expression; {equal} points. Equal: {checked(row)}; farthest vertex {farthest:.2g} mm.",
        f"scikit-image's marching cubes of the same grid, as a control: equal for {library} of {compared}.",
        "",
        f"- Peer: {row['peer']}.",
        f"- It was timed on {row['peer_points']:,} points and extrapolated to {row['peer_evaluations']:,}.",
        f"- Operations a point: ours {row['ours_flop_per_point']:,}, peer {row['peer_flop_per_point']:,}.",
        f"- Fewer points: the peer on our band would take {duration(row['peer_on_our_band_seconds'])}, "
        f"{row['gain_from_fewer_points']:.1f} times less than on its grid.",
        f"- Cheaper points: ours takes {row['gain_from_cheaper_points']:.1f} times less than that, meshing included.",
        f"- Floor: {floor['of']}: {floor['cells']:,} cells, {floor['evaluations']:,} corners, "
        f"{floor['flop'] / 1e9:.0f} GFLOP at the {floor['flop_per_second'] / 1e9:.0f} GFLOP/s of one large product.",
        f"- Peak memory {memory['peak_bytes'] / 1e9:.2f} GB, of which {memory['before_bytes'] / 1e9:.2f} GB before "
        "the mesh: the libraries and the model.",
        f"- The first mesh of a process takes {duration(row['warm_up_seconds'])}.",
    ]


def remesh_notes(median: Row, slowest: Row) -> list[str]:
    """Edits: each region."""
    lines = [
        "## After an edit",
        f"Each region drawn anew at strength {median['edit_strength']:g} and taken back, by turns, up to the new mesh. "
        f"The peer is {median['peer']}, in the same run.",
        f"Slowest: `{slowest['region']}`. Regions for which everything was made anew: {median['rebuilt']}.",
        "",
        "| region | ball, mm | ours | evaluations | equal | farthest vertex, mm |",
        "|---|---|---|---|---|---|",
    ]
    for r in median["regions"]:
        lines.append(
            f"| {r['region']} | {r['radius_mm']:g} | {duration(r['ours_seconds'])} | {r['evaluations']:,} "
            f"| {'yes' if r['equal'] else '**no**'} | {r['largest_mm']:.1g} |"
        )
    return lines


def fit_notes(row: Row) -> list[str]:
    """The fit, with the error that it reached."""
    ours, peer = row["ours_error_mm"], row["peer_error_mm"]
    return [
        "## Fit",
        f"{row['scan_points']:,} points without normals, drawn from `{row['scan']}`. Error: distance of all points of",
        "the whole scan on the face to the fitted surface, over those nearer than 3 mm.",
        "",
        "| | time | evaluations | median, mm | mean, mm | p90, mm | explained |",
        "|---|---|---|---|---|---|---|",
        *(
            f"| {name} | {duration(row[f'{side}_seconds'])} | {evaluations:,} | {e['median']:.3f} | {e['mean']:.3f} "
            f"| {e['p90']:.3f} | {100 * e['explained']:.1f} % |"
            for name, side, evaluations, e in (
                (f"ours, {row['iterations']} steps", "ours", row["evaluations"], ours),
                ("plain Adam", "peer", row["peer_evaluations"], peer),
            )
        ),
        "",
        f"- Peer: {row['peer']}.",
        f"- `imhead fit` in a fresh process, imports and all: {duration(row['fresh_process_seconds'])}.",
    ]


def train_notes(row: Row) -> list[str]:
    """The training step."""
    return [
        "## Training step",
        f"{row['points']:,} points of {row['heads']} heads.",
        "",
        f"- Points a second: ours {row['ours_points_per_second']:,.0f}, peer {row['peer_points_per_second']:,.0f}.",
        f"- Peer: {row['peer']}; heads at a time: {row['peer_heads_at_once']}.",
        f"- Parameters: ours {row['ours_parameters']:,}, peer {row['peer_parameters']:,}.",
        "- Equal: our gradients are those of the slow, obvious forward pass.",
    ]


def section(rows: list[Row]) -> list[str]:
    """All that was measured on one device."""
    first, by_name = rows[0], {row["name"]: row for row in rows}
    notes = {
        "mesh": lambda: mesh_notes(by_name["mesh"]),
        "remesh_median": lambda: remesh_notes(by_name["remesh_median"], by_name["remesh_largest"]),
        "fit": lambda: fit_notes(by_name["fit"]),
        "train": lambda: train_notes(by_name["train"]),
    }
    lines = [
        f"Model `{first['model']}` ({first['model_hash']}), torch {first['torch']}, {first['device']} "
        f"({first['chip']}), {first['threads']} threads, {first['runs']} runs.",
        "",
        *summary(rows),
    ]
    for name, write in notes.items():
        if name in by_name:
            lines += ["", *write()]
    return lines


def page(results: Path) -> str:
    """The page, from whatever was measured."""
    lines = [
        "# Speed",
        "",
        "Written by `benchmarks/performance.py` from `imhead bench --json`. Ours and a peer take turns in one process,",
        "so that a busy machine slows both: read the ratios, not the seconds. Times are medians. The floor is what the",
        "matrix products alone would take at the pace of one large product on this machine, in the same run.",
        "",
        "# On a CPU",
        "",
        *section(json.loads((results / "performance.json").read_text(encoding="utf-8"))["rows"]),
        "",
        "# On a GPU",
        "",
    ]
    gpu = results / "performance_cuda.json"
    measured = section(json.loads(gpu.read_text(encoding="utf-8"))["rows"]) if gpu.is_file() else ["Not measured."]
    return "\n".join([*lines, *measured]) + "\n"


def main(docs: Path, options: list[str]) -> None:
    """Measure, unless `--page-only` is among the options, and write the page."""
    if "--page-only" not in options:
        measure(docs / "results", options)
    (docs / "performance.md").write_text(page(docs / "results"), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
