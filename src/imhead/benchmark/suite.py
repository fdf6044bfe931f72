"""All benchmarks by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from imhead.benchmark.fit import fit_rows
from imhead.benchmark.mesh import mesh_rows
from imhead.benchmark.remesh import remesh_rows
from imhead.benchmark.settings import BenchConfig
from imhead.benchmark.timing import conditions
from imhead.benchmark.train import train_rows
from imhead.checkpoint import Model
from imhead.errors import InputError

Benchmark = Callable[[Model, BenchConfig, Callable[[str], None]], list[dict[str, Any]]]

_BENCHMARKS: dict[str, Benchmark] = {
    "mesh": mesh_rows,
    "remesh": remesh_rows,
    "fit": fit_rows,
    "train": train_rows,
}
NAMES: tuple[str, ...] = tuple(_BENCHMARKS)
"""All benchmarks, in the order in which they run."""


def check_names(names: Sequence[str]) -> Sequence[str]:
    """The same names, checked.

    Raises:
        InputError: a name is not that of a benchmark.
    """
    unknown = [name for name in names if name not in _BENCHMARKS]
    if unknown:
        raise InputError(f"no benchmark is named {unknown[0]!r}; use {', '.join(NAMES)}")
    return names


def run_benchmarks(
    model: Model, names: Sequence[str], config: BenchConfig, progress: Callable[[str], None]
) -> list[dict[str, Any]]:
    """Rows of the named benchmarks, each with the conditions of the run.

    Raises:
        InputError: a name is not that of a benchmark.
    """
    shared = {"runs": config.runs, "quick": config.quick, **conditions(model.device)}
    shared |= {"model": model.name, "model_hash": model.hash}
    return [{**row, **shared} for name in check_names(names) for row in _BENCHMARKS[name](model, config, progress)]
