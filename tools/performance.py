"""Measure speed with `imhead bench`, and write `docs/performance.md` from the figures.

All benchmarks anew, with the weights that ship; other options go to `imhead bench`:

    python tools/performance.py docs --device cpu --threads 2 --heads 20 --reference-heads 20

One benchmark, or the page alone from the figures at hand:

    python tools/performance.py docs mesh --device cpu --threads 2
    python tools/performance.py docs --page-only

Figures of a CPU are kept in `docs/results/bench_NAME.json`, those of a GPU (`--device cuda`) in
`docs/results/bench_NAME_cuda.json`. The page marks figures of other weights than those that ship.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imhead

Row = dict[str, Any]

NAMES = ("mesh", "remesh", "fit", "train")
_ROWS = {
    "mesh": {"mesh": "Whole mesh"},
    "remesh": {"remesh_median": "Update after an edit, median region", "remesh_largest": "Update, slowest region"},
    "fit": {"fit": "Fit of a scan"},
    "train": {"train": "Training step"},
}
_SECTIONS = {"mesh": "Whole mesh", "remesh": "Update after an edit", "fit": "Fit of a scan", "train": "Training step"}
_NOT_MEASURED = "Not measured."


def measure(results: Path, name: str, options: list[str]) -> None:
    """Run one benchmark and write its figures to the folder of results."""
    command = [sys.executable, "-m", "imhead", "bench", name, "--json", *options]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    rows = json.loads(output)["rows"]
    if any(row["quick"] for row in rows):
        raise SystemExit("performance.py: the figures of --quick mean nothing; measure without it")
    results.mkdir(parents=True, exist_ok=True)
    path = figures_path(results, name, rows[0]["device"])
    path.write_text(json.dumps({"rows": rows}, indent=1) + "\n", encoding="utf-8")


def figures_path(results: Path, name: str, device: str) -> Path:
    """File of the figures of a benchmark on a device."""
    return results / (f"bench_{name}.json" if device == "cpu" else f"bench_{name}_{device}.json")


def measured(results: Path, device: str) -> dict[str, list[Row]]:
    """Benchmark → rows, of all that were run on a device."""
    paths = {name: figures_path(results, name, device) for name in NAMES}
    return {name: json.loads(p.read_text(encoding="utf-8"))["rows"] for name, p in paths.items() if p.is_file()}


def duration(seconds: float) -> str:
    """A time in ms, s or min."""
    if seconds < 1.0:
        return f"{1000.0 * seconds:.3g} ms"
    return f"{seconds:.3g} s" if seconds < 120.0 else f"{seconds / 60.0:.3g} min"


def equality(row: Row) -> str:
    """Whether the timed result equals the reference."""
    words = {True: "yes", False: "**no**", None: "not checked"}
    return words[row["equal_to_reference"]]


def summary(measurements: dict[str, list[Row]], weights: str) -> list[str]:
    """The table of all rows, including missing ones."""
    lines = [
        "| | ours | processor time | peer | ratio | evaluations | floor | equal |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in NAMES:
        by_name = {row["name"]: row for row in measurements.get(name, [])}
        for key, title in _ROWS[name].items():
            lines.append(
                _line(title + ("" if by_name[key]["model_hash"] == weights else " (other weights)"), by_name[key])
                if key in by_name
                else f"| {title} | not measured | | | | | | |"
            )
    return lines


def _line(title: str, row: Row) -> str:
    return (
        f"| {title} | {duration(row['ours_seconds'])} | {duration(row['ours_cpu_seconds'])} "
        f"| {duration(row['peer_seconds'])} | {row['ratio']:,.1f} | {row['evaluations']:,} "
        f"| {duration(row['floor']['seconds'])} | {equality(row)} |"
    )


def conditions(row: Row, weights: str) -> str:
    """Weights, machine and load of a measurement."""
    other = "" if row["model_hash"] == weights else "**Not the weights that ship: to be measured anew.** "
    return other + (
        f"Model `{row['model']}` ({row['model_hash']}), torch {row['torch']}, {row['device']} ({row['chip']}), "
        f"{row['threads']} threads on {row['cores']} cores, {row['runs']} runs. "
        f"Load of the machine before: {row['load']:.1f} (average of one minute)."
    )


def mesh_notes(row: Row) -> list[str]:
    """Meshing, and where its ratio comes from."""
    floor, memory = row["floor"], row["memory"]
    compared = len(row["reference"])
    library = sum(c["equal_to_library"] for c in row["reference"])
    farthest = max((c["largest_mm"] for c in row["reference"]), default=float("nan"))
    return [
        f"{row['heads']} heads at {row['resolution']} cells: the mean head, and sampled ones with an edit and an",
        f"expression. {compared} of them are compared with our own marching cubes on the dense grid of",
        f"{row['dense_evaluations']:,} points. Equal: {equality(row)}; largest difference {farthest:.2g} mm.",
        f"scikit-image's marching cubes of the same grid give the same mesh for {library} of {compared}.",
        "",
        f"- Peer: {row['peer']}.",
        f"- The peer is timed on {row['peer_points']:,} points and extrapolated to {row['peer_evaluations']:,}.",
        f"- Operations per point: ours {row['ours_flop_per_point']:,}, peer {row['peer_flop_per_point']:,}.",
        f"- Gain from fewer points: {row['gain_from_fewer_points']:.1f}. On the points of our narrow band, the peer "
        f"takes {duration(row['peer_on_our_band_seconds'])}.",
        f"- Gain from cheaper points: {row['gain_from_cheaper_points']:.1f}, with our marching cubes included.",
        f"- Floor: {floor['of']}: {floor['cells']:,} cells, {floor['evaluations']:,} corners, "
        f"{floor['flop'] / 1e9:.0f} GFLOP at {floor['flop_per_second'] / 1e9:.0f} GFLOP/s, "
        "the rate of one large product.",
        f"- Peak memory {memory['peak_bytes'] / 1e9:.2f} GB, of which libraries and model take "
        f"{memory['before_bytes'] / 1e9:.2f} GB.",
        f"- The first mesh of a process takes {duration(row['warm_up_seconds'])}.",
    ]


def remesh_notes(median: Row, slowest: Row) -> list[str]:
    """Updates after an edit of each region."""
    lines = [
        f"Each region is sampled anew at strength {median['edit_strength']:g}, and the edit undone, in turns; timed up "
        f"to the new mesh. The peer is {median['peer']}, in the same run.",
        f"Slowest region: `{slowest['region']}`. Regions that led to a whole new mesh: {median['rebuilt']}.",
        "",
        "| region | ball radius, mm | ours | evaluations | equal | largest difference, mm |",
        "|---|---|---|---|---|---|",
    ]
    for r in median["regions"]:
        lines.append(
            f"| {r['region']} | {r['radius_mm']:g} | {duration(r['ours_seconds'])} | {r['evaluations']:,} "
            f"| {'yes' if r['equal'] else '**no**'} | {r['largest_mm']:.1g} |"
        )
    return lines


def fit_notes(row: Row) -> list[str]:
    """The fit and its error."""
    ours, peer = row["ours_error_mm"], row["peer_error_mm"]
    return [
        f"{row['scan_points']:,} points without normals, sampled from `{row['scan']}`. Error: distance to the fitted",
        "surface from all points of the scan on the face that are nearer than 3 mm.",
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
        f"- `imhead fit` in a fresh process, with imports: {duration(row['fresh_process_seconds'])}.",
    ]


def train_notes(row: Row) -> list[str]:
    """The training step."""
    return [
        f"{row['points']:,} points of {row['heads']} heads.",
        "",
        f"- Points per second: ours {row['ours_points_per_second']:,.0f}, peer {row['peer_points_per_second']:,.0f}.",
        f"- Peer: {row['peer']}; heads at a time: {row['peer_heads_at_once']}.",
        f"- Parameters: ours {row['ours_parameters']:,}, peer {row['peer_parameters']:,}.",
        "- Equal: our gradients are those of a slow reference of the forward pass.",
    ]


def section(measurements: dict[str, list[Row]], weights: str) -> list[str]:
    """All measurements on one device."""
    if not measurements:
        return [_NOT_MEASURED]
    write: dict[str, Callable[..., list[str]]] = {
        "mesh": mesh_notes, "remesh": remesh_notes, "fit": fit_notes, "train": train_notes,
    }  # fmt: skip
    lines = summary(measurements, weights)
    for name in NAMES:
        lines += ["", f"## {_SECTIONS[name]}"]
        if name in measurements:
            rows = measurements[name]
            lines += [conditions(rows[0], weights), "", *write[name](*rows)]
        else:
            lines.append(_NOT_MEASURED)
    return lines


def page(results: Path, weights: str) -> str:
    """The page, from the figures in a folder of results.

    Args:
        weights: hash of the weights that ship.
    """
    lines = [
        "# Speed",
        "",
        f"Of the weights that ship (`{weights}`). `tools/performance.py` writes this page from `imhead bench --json`.",
        "Ours and a peer take turns in one process, so that a busy machine slows both: read the ratios rather than the",
        "seconds. Times are medians. The floor is the time of the matrix products alone, at the rate of one large",
        "product on this machine in the same run.",
        "",
        "# On a CPU",
        "",
        *section(measured(results, "cpu"), weights),
        "",
        "# On a GPU",
        "",
        *section(measured(results, "cuda"), weights),
    ]
    return "\n".join(lines) + "\n"


def main(docs: Path, options: list[str]) -> None:
    """Measure, unless `--page-only` is given, and write the page."""
    if "--page-only" not in options:
        chosen = [name for name in options if name in NAMES]
        for name in chosen or NAMES:
            measure(docs / "results", name, [option for option in options if option not in NAMES])
    (docs / "performance.md").write_text(page(docs / "results", imhead.load().model.hash), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
