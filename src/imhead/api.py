"""The verbs of the command line, for Python: load, sample, fit, open; and on a head edit, mesh, save."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from imhead import checkpoint, editing
from imhead.checkpoint import Model
from imhead.curation.scanfile import read_scan
from imhead.errors import InputError
from imhead.fitting.fit import FitConfig, FitResult, fit_scan
from imhead.fitting.pose import Units
from imhead.geometry.field import Ball, HeadField, expression_code, expression_weights
from imhead.geometry.meshing import extract_mesh
from imhead.regions import resolve
from imhead.template.surface import TemplateSurface, arkit_weights, template_of
from imhead.types import Head, Mesh, MorphTargets, Scan, UvMap

SurfaceKind = Literal["volume", "template"]


@dataclass(frozen=True, eq=False)
class EditableHead:
    """A head together with the model that draws it. Immutable: an edit gives a new one."""

    codes: Head
    """The codes, as stored in a head file."""
    model: Model
    """The model that they belong to."""

    def mesh(
        self, expression: dict[str, float] | None = None, resolution: int = 256, surface: SurfaceKind = "volume"
    ) -> Mesh:
        """The surface, head frame, mm; with ARKit weights instead of the head's own expression if they are given.

        Args:
            resolution: cells along the longest side of the bounds, for `volume`.
            surface: `volume` is watertight and as fine as asked for; `template` has the same vertices on every head.

        Raises:
            InputError: an unknown expression or surface, or a model without a template.
        """
        if surface == "volume":
            return extract_mesh(self.field(expression).sdf, resolution)
        if surface != "template":
            raise InputError(f"surface {surface!r} is not known; use volume or template")
        weights = None if expression is None else expression_weights(expression)
        return template_of(self.model).mesh(self.model, self.codes, weights)

    def animated(self, expression: dict[str, float] | None = None) -> tuple[Mesh, UvMap, MorphTargets]:
        """The neutral template mesh, its UVs and the 52 ARKit shapes, shown first with ARKit weights or the head's own.

        Raises:
            InputError: an unknown expression, or a model without a template.
        """
        template = template_of(self.model)
        own = arkit_weights(self.model, self.codes.z_exp) if expression is None else expression_weights(expression)
        neutral = template.mesh(self.model, self.codes, expression_weights({}))
        return neutral, template.uv_map, template.morph_targets(own)

    def field(self, expression: dict[str, float] | None = None) -> HeadField:
        """The signed distance field, mm."""
        code = None if expression is None else expression_code(self.model, expression)
        return HeadField(self.model, self.codes, code)

    def edit(
        self,
        regions: str | list[str],
        *,
        sample: int | None = None,
        source: EditableHead | None = None,
        direction: int | None = None,
        strength: float = 1.0,
        mirror: bool = False,
    ) -> EditableHead:
        """Change one or more regions or groups, and nothing else.

        Args:
            sample: seed of a random draw.
            source: take the regions from this head.
            direction: step along this principal direction of the regions, `strength` standard deviations.
            mirror: do the same on the other side.

        Raises:
            InputError: an unknown region, or not exactly one of sample, source and direction.
        """
        chosen = resolve(regions)
        if sum(kind is not None for kind in (sample, source, direction)) != 1:
            raise InputError("an edit needs exactly one of: a sample seed, another head, a direction")
        if not np.isfinite(strength) or abs(strength) > 10.0:
            raise InputError(f"strength {strength:g} is outside -10 to 10; 1 is one standard deviation")
        if sample is not None:
            codes = editing.sample(self.model, self.codes, chosen, sample, strength, mirror)
        elif source is not None:
            codes = editing.from_other(self.model, self.codes, source.codes, chosen, strength, mirror)
        else:
            assert direction is not None
            codes = editing.along_direction(self.model, self.codes, chosen, direction, strength, mirror)
        return replace(self, codes=codes)

    def balls(self, regions: str | list[str]) -> list[Ball]:
        """The balls that bound the influence of the regions, canonical pose, mm."""
        field = self.field()
        return [field.ball(region.index) for region in resolve(regions)]

    def reach(self, regions: str | list[str]) -> list[Ball]:
        """The same balls in the head's own expression: wide enough for every point that the warp takes into them."""
        field = self.field()
        return [field.reach(region.index) for region in resolve(regions)]

    def save(self, path: str | Path) -> None:
        """Write a head file."""
        checkpoint.save_head(self.codes, Path(path))


@dataclass(frozen=True, eq=False)
class MorphableModel:
    """A trained model: where heads come from."""

    model: Model

    @property
    def template(self) -> TemplateSurface:
        """The template surface: one topology with UVs for every head.

        Raises:
            InputError: the model has none beside its file.
        """
        return template_of(self.model)

    def neutral(self) -> EditableHead:
        """The mean head."""
        return EditableHead(self.model.neutral(), self.model)

    def sample(self, count: int = 1, seed: int = 0, spread: float = 0.8) -> list[EditableHead]:
        """New heads, neutral, drawn from the identity codes' normal distribution; `spread` below 1 stays plausible."""
        size = self.model.net.config.identity_size
        drawn = np.random.default_rng(seed).normal(0.0, spread, (count, size))
        return [
            EditableHead(
                replace(self.model.neutral(), z_id=z, provenance=(f"sample {k} of seed {seed}, spread {spread:g}",)),
                self.model,
            )
            for k, z in enumerate(drawn)
        ]

    def open(self, path: str | Path) -> EditableHead:
        """A head from its file."""
        return EditableHead(checkpoint.load_head(Path(path), self.model), self.model)

    def fit(self, scan: Scan | str | Path, units: Units = "auto", config: FitConfig = FitConfig()) -> FitResult:
        """Find the head in a scan; `FitResult.head` holds its codes."""
        found = scan if isinstance(scan, Scan) else read_scan(Path(scan))
        return fit_scan(found, self.model, config, units=units)


def load(model: str | Path = "default", device: str = "auto") -> MorphableModel:
    """Open a model by name or path, on `auto`, `cpu` or `cuda`.

    Raises:
        InputError: no such model, a damaged file, or no such device.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise InputError(f"device {device!r} is not known; use auto, cpu or cuda")
    available = torch.cuda.is_available()
    if device == "cuda" and not available:
        raise InputError("no CUDA device was found; use --device cpu")
    chosen = "cuda" if device != "cpu" and available else "cpu"
    return MorphableModel(checkpoint.load_model(model, chosen))


def fit(scan: Scan | str | Path, units: Units = "auto", model: str | Path = "default") -> EditableHead:
    """Find the head in a scan with the default model. For the figures of the fit, use `load().fit(scan)`."""
    opened = load(model)
    return EditableHead(opened.fit(scan, units).head, opened.model)
