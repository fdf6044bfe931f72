"""Measure with `imhead bench`, and write `docs/performance.md` from the figures, so that they cannot disagree.

    python tools/performance.py docs --threads 2              (all benchmarks; options go to `imhead bench`)
    python tools/performance.py docs mesh --threads 2         (only this one)
    python tools/performance.py docs --page-only              (from figures that are there already)

Figures of a CPU go to `docs/results/bench_mesh.json` and so on, those of a GPU (`--device cuda`) to
`bench_mesh_cuda.json`. The page says of a benchmark without figures that it was not measured.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

Row = dict[str, Any]

NAMES = ("mesh", "remesh", "fit", "train")
_ROWS = {
    "mesh": {"mesh": "Whole mesh"},
    "remesh": {
        "remesh_median": "After an edit, median region",
        "remesh_largest": "After an edit, slowest region",
    },
    "fit": {"fit": "Fit of a scan"},
    "train": {"train": "Training step"},
}
_SECTIONS = {"mesh": "Whole mesh", "remesh": "After an edit", "fit": "Fit", "train": "Training step"}
_NOT_MEASURED = "Not measured."


def measure(results: Path, name: str, options: list[str]) -> None:
    """Run one benchmark and keep its figures."""
    command = [sys.executable, "-m", "imhead", "bench", name, "--json", *options]
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    rows = json.loads(said)["rows"]
    if any(row["quick"] for row in rows):
        raise SystemExit("figures of --quick mean nothing; measure without it")
    results.mkdir(parents=True, exist_ok=True)
    path = figures(results, name, rows[0]["device"])
    path.write_text(json.dumps({"rows": rows}, indent=1) + "\n", encoding="utf-8")


def figures(results: Path, name: str, device: str) -> Path:
    """Where the figures of a benchmark on a device are."""
    return results / (f"bench_{name}.json" if device == "cpu" else f"bench_{name}_{device}.json")


def measured(results: Path, device: str) -> dict[str, list[Row]]:
    """The rows of all benchmarks that were run on a device."""
    paths = {name: figures(results, name, device) for name in NAMES}
    return {name: json.loads(p.read_text(encoding="utf-8"))["rows"] for name, p in paths.items() if p.is_file()}


def duration(seconds: float) -> str:
    """A time as a person reads it."""
    if seconds < 1.0:
        return f"{1000.0 * seconds:.3g} ms"
    return f"{seconds:.3g} s" if seconds < 120.0 else f"{seconds / 60.0:.3g} min"


def checked(row: Row) -> str:
    """Whether what was timed is right."""
    words = {True: "yes", False: "**no**", None: "not checked"}
    return words[row["equal_to_reference"]]


def summary(found: dict[str, list[Row]]) -> list[str]:
    """One line for each row, also for those that are missing."""
    lines = [
        "| | ours | processor time | peer | ratio | evaluations | floor | equal |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in NAMES:
        by_name = {row["name"]: row for row in found.get(name, [])}
        for key, title in _ROWS[name].items():
            lines.append(_line(title, by_name[key]) if key in by_name else f"| {title} | not measured | | | | | | |")
    return lines


def _line(title: str, row: Row) -> str:
    return (
        f"| {title} | {duration(row['ours_seconds'])} | {duration(row['ours_cpu_seconds'])} "
        f"| {duration(row['peer_seconds'])} | {row['ratio']:,.1f} | {row['evaluations']:,} "
        f"| {duration(row['floor']['seconds'])} | {checked(row)} |"
    )


def conditions(row: Row) -> str:
    """Where a row was measured, and what else ran there."""
    return (
        f"Model `{row['model']}` ({row['model_hash']}), torch {row['torch']}, {row['device']} ({row['chip']}), "
        f"{row['threads']} threads on {row['cores']} cores, {row['runs']} runs. "
        f"Processes that wanted a core just before: {row['load']:.1f} (load average of a minute)."
    )


def mesh_notes(row: Row) -> list[str]:
    """The mesh, and where its ratio comes from."""
    floor, memory = row["floor"], row["memory"]
    compared = len(row["reference"])
    library = sum(c["equal_to_library"] for c in row["reference"])
    farthest = max((c["largest_mm"] for c in row["reference"]), default=float("nan"))
    equal = f"{compared} of them compared with our own marching cubes on the dense grid of {row['dense_evaluations']:,}"
    return [
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
        f"{row['points']:,} points of {row['heads']} heads.",
        "",
        f"- Points a second: ours {row['ours_points_per_second']:,.0f}, peer {row['peer_points_per_second']:,.0f}.",
        f"- Peer: {row['peer']}; heads at a time: {row['peer_heads_at_once']}.",
        f"- Parameters: ours {row['ours_parameters']:,}, peer {row['peer_parameters']:,}.",
        "- Equal: our gradients are those of the slow, obvious forward pass.",
    ]


def section(found: dict[str, list[Row]]) -> list[str]:
    """All that was measured on one device."""
    if not found:
        return [_NOT_MEASURED]
    write: dict[str, Callable[..., list[str]]] = {
        "mesh": mesh_notes, "remesh": remesh_notes, "fit": fit_notes, "train": train_notes,
    }  # fmt: skip
    lines = summary(found)
    for name in NAMES:
        lines += ["", f"## {_SECTIONS[name]}"]
        if name in found:
            lines += [conditions(found[name][0]), "", *write[name](*found[name])]
        else:
            lines.append(_NOT_MEASURED)
    return lines


def page(results: Path) -> str:
    """The page, from whatever was measured."""
    lines = [
        "# Speed",
        "",
        "Written by `tools/performance.py` from `imhead bench --json`. Ours and a peer take turns in one process,",
        "so that a busy machine slows both: read the ratios, not the seconds. Times are medians. The floor is what the",
        "matrix products alone would take at the pace of one large product on this machine, in the same run.",
        "",
        "# On a CPU",
        "",
        *section(measured(results, "cpu")),
        "",
        "# On a GPU",
        "",
        *section(measured(results, "cuda")),
    ]
    return "\n".join(lines) + "\n"


def main(docs: Path, words: list[str]) -> None:
    """Measure, unless `--page-only` is among the words, and write the page."""
    if "--page-only" not in words:
        chosen = [word for word in words if word in NAMES]
        for name in chosen or NAMES:
            measure(docs / "results", name, [word for word in words if word not in NAMES])
    (docs / "performance.md").write_text(page(docs / "results"), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
