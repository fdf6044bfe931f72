"""The model's own population: how every measurement varies among the heads that the model draws, and z-scores in it.

That is what the model learnt from, ages and sexes mixed. It is no norm of people, and knows nobody's age or sex. What
can be told apart is size: `z_at_size` counts from the mean of the model's heads of the same size.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib import resources

import numpy as np

from imhead.checkpoint import Model
from imhead.measure.carrier import landmark_points
from imhead.measure.table import measurement, values
from imhead.measure.volumes import volumes
from imhead.types import Head

POPULATION_FILE = "population.json"
SIZE_LENGTHS = ("face_height", "bizygomatic_width", "bigonial_width", "forehead_width", "biocular_width")
"""Lengths whose geometric mean is the size of a face."""
STATEMENT = (
    "z is the number of standard deviations from the mean of the heads that the model itself draws. That population is "
    "what the model learnt from, ages and sexes mixed; it is no norm of people, of any age, sex or ancestry, and z is "
    "no judgement."
)
"""What stands beside every z."""
_DRAWN = 200  # heads of a model whose population does not ship


@dataclass(frozen=True)
class Spread:
    """How one measurement varies among the model's heads, in its unit."""

    mean: float
    """Its mean."""
    sd: float
    """Its standard deviation."""
    by_size: float
    """How much it grows with each mm of the face's size."""
    sd_at_size: float
    """Its standard deviation among faces of one size."""


@dataclass(frozen=True)
class Population:
    """How every measurement varies among the heads that a model draws from its prior."""

    model_hash: str
    """Hash of the model's weights."""
    heads: int
    """How many were drawn."""
    seed: int
    """Of the draw."""
    size: Spread
    """Of the size of the face, mm."""
    measurements: dict[str, Spread]
    """By name."""

    def z_scores(self, measured: Mapping[str, float], *, scale_assumed: bool = False) -> dict[str, float]:
        """Name → standard deviations above the population's mean.

        Args:
            measured: name → value.
            scale_assumed: the head's scale was assumed; then only angles have one.
        """
        return {
            name: (value - self.measurements[name].mean) / self.measurements[name].sd
            for name, value in measured.items()
            if name in self.measurements and not (scale_assumed and measurement(name).unit != "degrees")
        }

    def z_at_size(self, measured: Mapping[str, float]) -> dict[str, float]:
        """Name → standard deviations above the mean of the population's faces of the same size; empty where a length
        that makes the size is missing."""
        size = face_size(measured)
        if size is None:
            return {}
        away = size - self.size.mean
        return {
            name: (value - spread.mean - spread.by_size * away) / spread.sd_at_size
            for name, value in measured.items()
            if (spread := self.measurements.get(name)) is not None
        }

    def z_of_size(self, measured: Mapping[str, float]) -> float | None:
        """Standard deviations of the face's size above the population's mean; None where a length of it is missing."""
        size = face_size(measured)
        return None if size is None else (size - self.size.mean) / self.size.sd

    def json(self) -> str:
        """The text that ships with the package."""
        return json.dumps(asdict(self), indent=1) + "\n"


def face_size(measured: Mapping[str, float]) -> float | None:
    """The size of a face: the geometric mean of `SIZE_LENGTHS`, mm; None where one is missing."""
    if not all(measured.get(name, 0.0) > 0.0 for name in SIZE_LENGTHS):
        return None
    return float(np.exp(np.mean([np.log(measured[name]) for name in SIZE_LENGTHS])))


def shipped_population(model: Model) -> Population | None:
    """The population that ships with the package; None if it is that of another model."""
    shipped = _shipped()
    return shipped if shipped.model_hash == model.hash else None


@lru_cache(maxsize=4)
def population_of(model: Model) -> Population:
    """The population of a model: that which ships, if it is the model's own; else 200 heads are drawn, in minutes.

    Raises:
        InputError: the model has no template.
    """
    return shipped_population(model) or drawn_population(model, _DRAWN, 0)


def drawn_population(model: Model, heads: int, seed: int) -> Population:
    """The population over some heads whose codes are drawn from the model's prior.

    Raises:
        InputError: the model has no template.
    """
    mean = model.neutral()
    drawn = np.random.default_rng(seed).normal(size=(heads, model.net.config.identity_size))
    rows = []
    for code in drawn:
        head = Head(mean.model_id, mean.model_hash, code, mean.z_exp, mean.offsets)
        rows.append(values(landmark_points(model).on_head(model, head)) | volumes(model, head))
    return population_over(rows, model.hash, seed)


def population_over(rows: list[dict[str, float]], model_hash: str, seed: int) -> Population:
    """The population of heads whose measurements are known.

    Args:
        rows: of each head, name → value.
        model_hash: of the model that drew them.
        seed: of the draw.
    """
    sizes = np.array([face_size(row) for row in rows], dtype=np.float64)
    away = sizes - sizes.mean()
    found = {}
    for name in rows[0]:
        column = np.array([row[name] for row in rows])
        slope = float(away @ column / (away @ away))
        rest = column - column.mean() - slope * away
        # one degree of freedom is the mean's, one the slope's
        found[name] = Spread(
            float(column.mean()), float(column.std(ddof=1)), slope, float(np.sqrt(rest @ rest / (len(rows) - 2)))
        )
    size = Spread(float(sizes.mean()), float(sizes.std(ddof=1)), 1.0, 0.0)
    return Population(model_hash, len(rows), seed, size, found)


@lru_cache(maxsize=1)
def _shipped() -> Population:
    table = json.loads((resources.files("imhead.measure") / POPULATION_FILE).read_text())
    spreads = {name: Spread(**row) for name, row in table.pop("measurements").items()}
    return Population(size=Spread(**table.pop("size")), measurements=spreads, **table)
