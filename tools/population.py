"""Learns how every measurement varies among the heads that the default model draws.

    python tools/population.py [--heads 300]
    python tools/population.py --check path/to/ict_facekit_light.npz

The first writes `src/imhead/measure/population.json`, with the model's hash; it takes some minutes, again after each
training. The second prints the z-scores of 60 held-out heads, whose true measurements are known: a population that is
theirs gives them mean 0 and spread 1.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from imhead import load
from imhead.evaluation.cases import HeldOutSource
from imhead.measure.on_template import values_on
from imhead.measure.population import POPULATION_FILE, Population, Spread, drawn_population, population_of
from imhead.sources.ict import read_ict
from imhead.template.topology import load_topology

TARGET = Path(__file__).resolve().parents[1] / "src" / "imhead" / "measure" / POPULATION_FILE
_CHECKED = 60


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--heads", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--check", type=Path, metavar="ICT")
    given = parser.parse_args()
    model = load(device="cpu").model
    if given.check is not None:
        check(population_of(model), given.check)
        return
    TARGET.write_text(_rounded(drawn_population(model, given.heads, given.seed)).json())


def check(among: Population, ict: Path) -> None:
    """Print how held-out heads lie in a population."""
    source, topology = HeldOutSource.composed(read_ict(ict)), load_topology()
    rows = []
    for k in range(_CHECKED):
        head = source.head(k)
        rows.append(values_on(topology.place(head.registered(head.neutral).astype(np.float64))))
    for label, scores in (("z", among.z_scores), ("z at size", among.z_at_size)):
        table = np.array([list(scores(row).values()) for row in rows])
        means, spreads = table.mean(axis=0), table.std(axis=0)
        print(
            f"{label}: means of the measurements {np.abs(means).mean():.2f} off 0 on average, median spread "
            f"{np.median(spreads):.2f}, {100 * (np.abs(table) > 2.0).mean():.1f} % beyond 2"
        )


def _rounded(found: Population) -> Population:
    rows = {name: _short(spread) for name, spread in found.measurements.items()}
    return replace(found, size=_short(found.size), measurements=rows)


def _short(spread: Spread) -> Spread:
    return Spread(**{name: round(value, 4) for name, value in asdict(spread).items()})


if __name__ == "__main__":
    main()
