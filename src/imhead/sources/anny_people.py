"""Random people of Anny: ages from 1 to 85 years, nearly symmetric faces, and no extreme parameters."""

from __future__ import annotations

import numpy as np

from imhead.sources.anny import PHENOTYPES, AnnyModel, Person

YEARS = (1.0, 85.0)
"""Ages are uniform between these."""
_SPREAD = {"ear": 0.25, "eye": 0.12, "mouth": 0.15, "neck": 0.1, "head": 0.08, "forehead": 0.1}
_SPREAD_ELSEWHERE = 0.18
_ASYMMETRY = 0.04
_FARTHEST = 2.5  # standard deviations


def draw_person(anny: AnnyModel, seed: int) -> Person:
    """The person of a seed."""
    rng = np.random.default_rng([0xA22, seed])
    gender = float(rng.integers(2))
    value = {
        "age": anny.age(rng.uniform(*YEARS)),
        # most people lie near one end of the gender axis, few exactly at it
        "gender": abs(gender - rng.beta(1.0, 4.0)),
        "muscle": _middling(rng, 0.15),
        "weight": _middling(rng, 0.18),
        "height": _middling(rng, 0.07),
        "proportions": _middling(rng, 0.1),
    }
    value |= dict(zip(PHENOTYPES[:3], rng.dirichlet([0.7, 0.7, 0.7])))
    # one draw for each pair of sides
    stems = [name.removeprefix("l-").removeprefix("r-") for name in anny.local_names]
    spread = {stem: _SPREAD.get(stem.split("-")[0], _SPREAD_ELSEWHERE) for stem in stems}
    drawn = {stem: spread[stem] * np.clip(rng.normal(), -_FARTHEST, _FARTHEST) for stem in dict.fromkeys(stems)}
    local = np.array([drawn[stem] for stem in stems])
    sided = np.array([name != stem for name, stem in zip(anny.local_names, stems)])
    local += sided * _ASYMMETRY * rng.normal(size=len(stems)).clip(-_FARTHEST, _FARTHEST)
    phenotype = np.array([value[name] for name in PHENOTYPES])
    return Person(phenotype.astype(np.float32), local.clip(-1.0, 1.0).astype(np.float32))


def _middling(rng: np.random.Generator, spread: float) -> float:
    return float(np.clip(rng.normal(0.5, spread), 0.1, 0.9))
