"""Speed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from imhead.cli.console import DeviceOption, JsonOption, ModelOption, print_json, print_line, say


def bench(
    name: Annotated[str | None, typer.Argument(help="mesh, remesh, fit or train; all of them if left out.")] = None,
    runs: Annotated[int | None, typer.Option(min=1, help="Timed runs of each side, in turns.")] = None,
    heads: Annotated[int | None, typer.Option(min=1, help="Heads that are meshed.")] = None,
    reference_heads: Annotated[
        int | None, typer.Option(min=0, help="Of these, heads compared with a dense grid; a minute or more each.")
    ] = None,
    scan: Annotated[Path | None, typer.Option(help="Scan to fit, instead of the one that ships.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads; all cores if left out.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Tiny sizes: shows that it runs, not how fast.")] = False,
    model: ModelOption = "default",
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Speed, as ratios inside one run: ours and a peer take turns."""
    import torch

    from imhead import load
    from imhead.benchmark.settings import QUICK, BenchConfig
    from imhead.benchmark.suite import NAMES, check_names, run_benchmarks

    if threads is not None:
        torch.set_num_threads(threads)
    given: dict[str, Any] = {"runs": runs, "heads": heads, "reference_heads": reference_heads, "scan": scan}
    config = replace(QUICK if quick else BenchConfig(), **{k: v for k, v in given.items() if v is not None})
    names = NAMES if name is None else check_names([name])
    rows = run_benchmarks(load(model, device).model, names, config, say.print)
    if as_json:
        print_json({"rows": rows})
        return
    for row in rows:
        print_line(_line(row))


def _line(row: dict[str, Any]) -> str:
    equal = {True: "equal to the reference", False: "NOT equal to the reference", None: "not compared"}
    return (
        f"{row['name']}: {row['ours_seconds']:.4g} s, peer {row['peer_seconds']:.4g} s, ratio {row['ratio']:.1f}; "
        f"{row['evaluations']} evaluations, {equal[row['equal_to_reference']]}, {row['threads']} threads"
    )
