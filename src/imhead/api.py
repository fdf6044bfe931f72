"""The verbs of the command line, for Python: load, sample, fit, open; and on a head edit, mesh, save."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from imhead import checkpoint, editing
from imhead.checkpoint import Model
from imhead.editing import Reached, Side
from imhead.errors import InputError
from imhead.fitting.config import FitConfig
from imhead.fitting.fit import FitResult, fit_scan
from imhead.fitting.pose.finder import Units
from imhead.io.scan_file import read_scan
from imhead.isosurface.creases import detailed_mesh
from imhead.isosurface.field import HeadField, expression_code, expression_weights
from imhead.measure.carrier import landmark_points
from imhead.measure.landmarks import landmark_names
from imhead.measure.table import values
from imhead.measure.volumes import volumes
from imhead.regions import resolve
from imhead.template.surface import TemplateSurface, arkit_weights, template_of, template_path
from imhead.types import Ball, FloatArray, Head, Mesh, MorphTargets, Scan, UvMap

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
            return detailed_mesh(self.field(expression).sdf, resolution)
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
        blend: list[tuple[EditableHead, float]] | None = None,
        direction: int | str | None = None,
        target: dict[str, float] | None = None,
        symmetry: Side | None = None,
        plausible: float | None = None,
        strength: float = 1.0,
        mirror: bool = False,
    ) -> EditableHead:
        """Change one or more regions or groups, and nothing else.

        Args:
            sample: seed of a random draw.
            source: take the regions from this head.
            blend: mix the regions with those of other heads, by weights that add up to 1 at most.
            direction: step along this principal direction of the regions, or along a word such as `wider`, `strength`
                standard deviations.
            target: measurement → change in mm or degrees; `by_number` also says what was reached.
            symmetry: make both sides like the `left`, the `right` or their `average`.
            plausible: bring regions that lie farther from the mean than so many standard deviations back to there.
            mirror: do the same on the other side.

        Raises:
            InputError: an unknown region, not exactly one kind of edit, or one that cannot be made.
        """
        chosen = resolve(regions)
        kinds = (sample, source, blend, direction, target, symmetry, plausible)
        if sum(kind is not None for kind in kinds) != 1:
            raise InputError(
                "an edit needs exactly one of: a sample seed, another head, heads to blend, a direction, targets, "
                "a side for symmetry, a limit of plausibility"
            )
        if not np.isfinite(strength) or abs(strength) > 10.0:
            raise InputError(f"strength {strength:g} is outside -10 to 10; 1 is one standard deviation")
        model, head = self.model, self.codes
        if sample is not None:
            codes = editing.sample(model, head, chosen, sample, strength, mirror)
        elif source is not None:
            codes = editing.from_other(model, head, source.codes, chosen, strength, mirror)
        elif blend is not None:
            codes = editing.blend(model, head, [(other.codes, weight) for other, weight in blend], chosen, mirror)
        elif isinstance(direction, str):
            codes = editing.along_word(model, head, chosen, direction, strength, mirror)
        elif direction is not None:
            codes = editing.along_direction(model, head, chosen, direction, strength, mirror)
        elif target is not None:
            codes = editing.reach_targets(model, head, chosen, target, mirror).head
        elif symmetry is not None:
            codes = editing.symmetrised(model, head, chosen, symmetry)
        else:
            assert plausible is not None
            codes = editing.nearest_plausible(model, head, chosen, plausible)
        return replace(self, codes=codes)

    def by_number(self, regions: str | list[str], target: dict[str, float], mirror: bool = False) -> Reached:
        """Change measurements by so many mm or degrees, and say what was reached, held and moved.

        Raises:
            InputError: as `edit`; a change out of reach is refused with the nearest value that is reached.
        """
        return editing.reach_targets(self.model, self.codes, resolve(regions), target, mirror)

    def landmarks(self) -> dict[str, FloatArray]:
        """Anthropometric landmarks of the neutral face: name → place (3,), head frame, mm.

        Raises:
            InputError: a model without a template.
        """
        points = landmark_points(self.model).on_head(self.model, self.codes)
        return dict(zip(landmark_names(), points))

    def measure(self) -> dict[str, float]:
        """Every measurement of the neutral face by name, in the unit that `imhead.measure.table` says.

        Raises:
            InputError: a model without a template.
        """
        landmarks = landmark_points(self.model).on_head(self.model, self.codes)
        return values(landmarks) | volumes(self.model, self.codes)

    def balls(self, regions: str | list[str]) -> list[Ball]:
        """The balls that bound the influence of the regions, canonical pose, mm."""
        field = self.field()
        return [field.ball(region.index) for region in resolve(regions)]

    def posed_balls(self, regions: str | list[str]) -> list[Ball]:
        """The same balls in the head's own expression: wide enough for every point that the warp takes into them."""
        field = self.field()
        return [field.posed_ball(region.index) for region in resolve(regions)]

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

    @property
    def has_template(self) -> bool:
        """Whether a template lies beside the model's file; without one there are no measurements."""
        return self.model.path is not None and template_path(self.model.path).is_file()

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
    return MorphableModel(checkpoint.load_model(model, checkpoint.device_named(device)))


def fit(scan: Scan | str | Path, units: Units = "auto", model: str | Path = "default") -> EditableHead:
    """Find the head in a scan with the default model. For the figures of the fit, use `load().fit(scan)`."""
    opened = load(model)
    return EditableHead(opened.fit(scan, units).head, opened.model)
