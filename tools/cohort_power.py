"""How often a 1 mm difference between two groups of drawn heads is found, by region and by statistic.

python tools/cohort_power.py
"""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

import imhead
from imhead.cohort.alignment import superimposed
from imhead.cohort.components import principal_components
from imhead.cohort.groups import permutation_p
from imhead.cohort.observation import template_regions
from imhead.regions import REGIONS
from imhead.surfaces.normals import vertex_normals

NAMES = (
    "chin", "nose_tip", "upper_lip", "left_cheek", "right_upper_lid", "left_jaw", "forehead", "left_temple",
    "nose_bridge", "left_brow",
)  # fmt: skip
PEOPLE, GROUPINGS, EXCHANGES, LEVEL = 60, 8, 1999, 0.05 / 78


def main() -> None:
    model = imhead.load(device="cpu")
    template, rng = model.template, np.random.default_rng(0)
    codes = [head.field().regional.z[0].cpu().numpy() for head in model.sample(PEOPLE, seed=5, spread=1.0)]
    heads = np.stack([template.blend(model.model, z) for z in codes]).astype(np.float64)
    region, (normals, _) = template_regions(template), vertex_normals(template.mean, template.faces)
    total: dict[str, int] = {}
    for name in NAMES:
        row = next(k.index for k in REGIONS if k.name == name)
        held, others = np.flatnonzero(region == row), np.flatnonzero(region != row)
        inside = cKDTree(template.mean[others]).query(template.mean[held])[0]
        share = np.clip(inside / (0.6 * inside.max()), 0.0, 1.0)
        bump = (share**2 * (3.0 - 2.0 * share))[:, None] * normals[held]
        found: dict[str, int] = {}
        for _ in range(GROUPINGS):
            second = rng.permutation(PEOPLE) < PEOPLE // 2
            shapes = heads[:, held].copy()
            shapes[second] += bump
            laid = principal_components(superimposed(shapes, np.ones(len(held), dtype=bool)))
            variance = (laid.directions**2).sum(axis=2).mean(axis=1)
            exchanged = np.asarray(second, dtype=np.float32)[rng.random((EXCHANGES, PEOPLE)).argsort(axis=1)]
            scores = {
                f"floor {mm} mm": laid.scores * np.sqrt(variance / (variance + mm**2)) for mm in (0.02, 0.05, 0.1)
            }
            for part, most in ((0.95, 15), (0.98, 20), (0.99, 30)):
                count = min(int(np.searchsorted(np.cumsum(laid.explained), part)) + 1, most)
                scores[f"{part:.0%} of the variance"] = laid.scores[:, :count]
            for kind, values in scores.items():
                found[kind] = found.get(kind, 0) + (permutation_p(values, second, exchanged) <= LEVEL)
        for kind, count in found.items():
            total[kind] = total.get(kind, 0) + count
        print(name, found, flush=True)
    print(f"of {GROUPINGS * len(NAMES)}:", total)


if __name__ == "__main__":
    main()
