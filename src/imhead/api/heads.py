"""What can be done with a head: edit, mesh, animate, measure, compare, save.

The examples run as they stand, after `import imhead`, `model = imhead.load()` and `head = model.sample(seed=7)[0]`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imhead import checkpoint, editing
from imhead.api.checks import (
    checked_changes,
    checked_labels,
    checked_number,
    checked_regions,
    checked_resolution,
    checked_seed,
    checked_strength,
    checked_weights,
    checked_whole,
)
from imhead.api.export import ExportConfig, SurfaceKind, export_head
from imhead.avatar.kept import Kept
from imhead.avatar.look import Look
from imhead.avatar.writing import write_avatar
from imhead.checkpoint import Model
from imhead.editing import Move, Reached, Side
from imhead.errors import InputError
from imhead.fitting.certainty import certainty_at
from imhead.io.live_link import Take
from imhead.io.mesh_file import MESH_EXTENSIONS, head_notes
from imhead.io.skin_files import lost_skin
from imhead.isosurface.creases import head_mesh
from imhead.isosurface.field import HeadField, expression_code, expression_weights
from imhead.measure.landmarks import landmark_names
from imhead.measure.table import errors
from imhead.registration.frames import registered_vertices
from imhead.registration.measured import head_landmarks, head_measurements
from imhead.reports.comparison import compare_heads
from imhead.reports.notebook import value_html
from imhead.reports.scene_page import ScenePage, ScenePart, scene_page
from imhead.template.surface import arkit_weights, has_template, template_of
from imhead.types import Ball, FloatArray, Head, Mesh, MorphTargets, UvMap

RegionNames = str | Sequence[str]
"""The name of a region or group, or several."""
_SHOWN_EDITS = 6  # in a notebook
_VIEW_CELLS = 128  # of a volume that a page draws


@dataclass(frozen=True, eq=False, repr=False)
class EditableHead:
    """A head together with the model that draws it. Immutable: an edit returns a new head.

    Every edit changes the codes of the regions that it names and no others, so nothing moves outside their balls.
    All edits raise `InputError` for an unknown region, and for an edit that cannot be made.
    """

    codes: Head
    """The codes, as stored in a head file."""
    model: Model
    """The model that they belong to."""

    def __repr__(self) -> str:
        """
        >>> head
        EditableHead(default, sample 0 of seed 7, spread 0.8; no edits)
        """
        first, *edits = self.codes.provenance or ("unknown origin",)
        told = "no edits" if not edits else f"{len(edits)} edit{'s' * (len(edits) > 1)}, last {edits[-1]}"
        return f"EditableHead({self.model.name}, {first}; {told})"

    def _repr_html_(self) -> str:
        """The head from the front and from three quarters with its history, as a notebook shows it."""
        return value_html(type(self).__name__, self._told(), self._quick_mesh(None, None))

    def _quick_mesh(self, expression: Mapping[str, float] | None, surface: SurfaceKind | None) -> Mesh:
        """The template, or a coarse volume where the model has none: what a page draws at once."""
        kind = surface or ("template" if has_template(self.model) else "volume")
        return self.mesh(expression, _VIEW_CELLS, kind)

    def _told(self) -> list[tuple[str, object]]:
        """Rows of what a notebook shows beside the picture."""
        origin, *edits = self.codes.provenance or ("unknown origin",)
        sigma = float(np.linalg.norm(self.codes.z_id) / np.sqrt(len(self.codes.z_id)))
        rows = [("model", f"{self.model.name} {self.model.hash}"), ("origin", origin), ("identity", f"{sigma:.2f} σ")]
        left_out = [("earlier edits", len(edits) - _SHOWN_EDITS)] if len(edits) > _SHOWN_EDITS else []
        return [*rows, *left_out, *(("edit", line) for line in edits[-_SHOWN_EDITS:])]

    def view(
        self,
        expression: Mapping[str, float] | None = None,
        surface: SurfaceKind | None = None,
        colors: NDArray[np.uint8] | None = None,
    ) -> ScenePage:
        """The head in 3D, to turn and zoom in a notebook or, once it is saved, in any browser; nothing serves it.

        Args:
            expression: ARKit name → weight; None for the head's own expression, `{}` for the neutral face.
            surface: as of `mesh`; None for the template, or the volume where the model has none.
            colors: (V, 3) sRGB of the vertices of that surface, such as those of a heat map; None for clay.

        Raises:
            InputError: an unknown expression or surface, or colours of another number of vertices.

        >>> head.view({"jawOpen": 0.4}).save(out / "head.html")
        """
        return scene_page([ScenePart("head", self._quick_mesh(expression, surface), colors=colors)])

    def sample(self, regions: RegionNames, seed: int, strength: float = 1.0, mirror: bool = False) -> EditableHead:
        """Draw the regions at random, as people vary while their other regions stay about the same.

        Args:
            regions: names of regions or groups.
            seed: the same seed draws the same regions.
            strength: 1 is the spread of the identities that the model knows.
            mirror: make the same change on the other side.

        >>> head.sample("nose", seed=7, strength=1.5)
        EditableHead(default, sample 0 of seed 7, spread 0.8; 1 edit, last left_nostril, ...)
        """
        chosen = checked_regions(regions)
        return self._with(
            editing.sample(self.model, self.codes, chosen, checked_seed(seed), checked_strength(strength), mirror)
        )

    def take_from(
        self, regions: RegionNames, other: EditableHead, strength: float = 1.0, mirror: bool = False
    ) -> EditableHead:
        """Take the regions from another head of the same model; `strength` 0.5 goes half way.

        >>> head.take_from("mouth", model.sample(seed=8)[0]).codes.provenance[-1]
        'left_mouth_corner, ...: taken from a head (sample 0 of seed 8, spread 0.8), strength 1'
        """
        chosen = checked_regions(regions)
        self._check_model(other)
        codes = editing.from_other(self.model, self.codes, other.codes, chosen, checked_strength(strength), mirror)
        return self._with(codes)

    def blend(
        self, regions: RegionNames, others: Sequence[tuple[EditableHead, float]], mirror: bool = False
    ) -> EditableHead:
        """Mix the regions with those of other heads.

        Args:
            regions: names of regions or groups.
            others: heads and their weights, each at least 0, together at most 1; the rest of 1 stays this head's own.
            mirror: make the same change on the other side.

        >>> first, second = model.sample(2, seed=8)
        >>> head.blend("ears", [(first, 0.3), (second, 0.3)]).codes.offsets.shape
        (39, 64)
        """
        given = list(others) if isinstance(others, Sequence) else []
        pairs = [pair for pair in given if isinstance(pair, tuple) and len(pair) == 2]
        if not pairs or len(pairs) < len(given):
            raise InputError("a blend needs at least one other head and its weight, as [(head, 0.5)]")
        for other, _ in pairs:
            self._check_model(other)
        mixed = [(other.codes, checked_number("a weight", weight, 0.0, 1.0)) for other, weight in pairs]
        return self._with(editing.blend(self.model, self.codes, mixed, checked_regions(regions), mirror))

    def along(
        self, regions: RegionNames, direction: str | int, strength: float = 1.0, mirror: bool = False
    ) -> EditableHead:
        """Step along a named direction of the regions, or along one of their principal directions.

        A word changes one reading, such as the width of the nose, and leaves those of the regions' other words. A
        number changes the shape and leaves them all. Either ends where the skin would tear, fold or be pierced.

        Args:
            regions: names of regions or groups.
            direction: a word such as `wider` (an unknown one is refused with the words that there are), or the number
                of a principal direction, from 0.
            strength: standard deviations of the identities that the model knows; negative goes the other way.
            mirror: make the same change on the other side.

        >>> wider = head.along("nose", "wider", 1.0)
        >>> wider.measure()["alar_width"] > head.measure()["alar_width"]
        True
        """
        return self.by_direction(regions, direction, strength, mirror)[0]

    def by_direction(
        self, regions: RegionNames, direction: str | int, strength: float = 1.0, mirror: bool = False
    ) -> tuple[EditableHead, Move]:
        """As `along`: the edited head, and how far it went; `stop` says what ended the move, if anything did.

        >>> wider, move = head.by_direction("nose", "wider", 1.0)
        >>> move.reached, move.stop
        (1.0, '')
        """
        chosen, strength = checked_regions(regions), checked_strength(strength)
        if isinstance(direction, str):
            move = editing.along_word(self.model, self.codes, chosen, direction, strength, mirror)
        else:
            number = checked_whole("the direction", direction, 0, self.model.net.config.identity_size - 1)
            move = editing.along_shape(self.model, self.codes, chosen, number, strength, mirror)
        return self._with(move.head), move

    def reach_target(self, regions: RegionNames, changes: Mapping[str, float], mirror: bool = False) -> EditableHead:
        """Change measurements by given amounts, and keep the regions' other lengths.

        Args:
            regions: names of regions or groups.
            changes: measurement → change in its own unit, mm or degrees. A change that is too large is refused, with
                the nearest one that can be reached.
            mirror: make the same change on the other side.

        >>> shorter = head.reach_target("nose", {"tip_projection": -1.0})
        >>> round(shorter.measure()["tip_projection"] - head.measure()["tip_projection"], 1)
        -1.0
        """
        return self.by_number(regions, changes, mirror)[0]

    def by_number(
        self, regions: RegionNames, changes: Mapping[str, float], mirror: bool = False
    ) -> tuple[EditableHead, Reached]:
        """As `reach_target`: the edited head, and what was reached, what was held, and what else moved.

        >>> shorter, reached = head.by_number("nose", {"tip_projection": -1.0})
        >>> sorted(reached.held)
        ['alar_base_width', 'alar_width', ...]
        """
        chosen, wanted = checked_regions(regions), checked_changes(changes)
        codes, reached = editing.reach_targets(self.model, self.codes, chosen, wanted, mirror)
        return self._with(codes), reached

    def symmetrise(self, regions: RegionNames, side: Side = "average") -> EditableHead:
        """Make both sides of the regions alike: like the `left`, like the `right`, or like their `average`.

        >>> head.symmetrise("ears", "left").codes.provenance[-1]
        'left_ear_helix, ...: both sides like the left'
        """
        return self._with(editing.symmetrised(self.model, self.codes, checked_regions(regions), side))

    def limit(self, regions: RegionNames, sigma: float = editing.USUAL_SIGMA) -> EditableHead:
        """Bring every region that lies beyond `sigma` standard deviations from the mean back to that distance.

        >>> wild = head.sample("chin", seed=3, strength=6.0)
        >>> wild.limit("chin").codes.provenance[-1]
        'chin: within 2 sigma'
        """
        chosen, most = checked_regions(regions), checked_number("the limit", sigma, 1e-3, 100.0, "2 is usual")
        return self._with(editing.nearest_plausible(self.model, self.codes, chosen, most))

    def edit(
        self, regions: RegionNames, *, strength: float | None = None, mirror: bool | None = None, **kind: Any
    ) -> EditableHead:
        """One edit, with the options of `imhead edit` as keywords, each of which is one of the methods above.

        Exactly one kind is needed: `sample` a seed, `source` another head to take from, `blend` heads and weights,
        `direction` a word or a number, `target` changes of measurements, `symmetry` a side, `plausible` a limit.

        >>> head.edit("nose", sample=7, strength=1.5)
        EditableHead(default, sample 0 of seed 7, spread 0.8; 1 edit, last left_nostril, ...)
        """
        given = {name: value for name, value in kind.items() if value is not None}
        if len(given) != 1 or not given.keys() <= _EDITS.keys():
            raise InputError(f"an edit needs exactly one of {', '.join(_EDITS)}; given: {', '.join(given) or 'none'}")
        ((name, value),) = given.items()
        method, takes = _EDITS[name]
        options = {key: option for key, option in (("strength", strength), ("mirror", mirror)) if option is not None}
        for option in sorted(options.keys() - takes):
            raise InputError(f"an edit by {name} has no {option}; leave it out")
        return method(self, regions, value, **options)

    def mesh(
        self, expression: Mapping[str, float] | None = None, resolution: int = 256, surface: SurfaceKind = "volume"
    ) -> Mesh:
        """The surface, head frame, mm.

        Args:
            expression: ARKit name → weight; None for the head's own expression, `{}` for the neutral face.
            resolution: cells along the longest side of the bounds, for `volume`.
            surface: `volume` is watertight and as fine as asked for; `template` has the same vertices on every head.

        Raises:
            InputError: an unknown expression or surface, or a model without a template.

        >>> head.mesh({"jawOpen": 0.4}, resolution=64)
        Mesh(... vertices, ... faces, extent ...)
        """
        expression = checked_weights(expression)
        if surface == "volume":
            return head_mesh(self.field(expression), checked_resolution(resolution))
        if surface != "template":
            raise InputError(f"surface {surface!r} is not known; use volume or template")
        weights = None if expression is None else expression_weights(expression)
        template = template_of(self.model)
        return Mesh(registered_vertices(template, self.model, self.codes, weights), template.faces)

    def animated(self, expression: Mapping[str, float] | None = None) -> tuple[Mesh, UvMap, MorphTargets]:
        """The neutral template mesh, its UVs and the 52 ARKit shapes, shown first with ARKit weights or the head's own.

        Raises:
            InputError: an unknown expression, or a model without a template.

        >>> mesh, uv, morphs = head.animated()
        >>> len(morphs.names)
        52
        """
        template, expression = template_of(self.model), checked_weights(expression)
        own = arkit_weights(self.model, self.codes.z_exp) if expression is None else expression_weights(expression)
        rest = registered_vertices(template, self.model, self.codes, expression_weights({}))
        neutral = Mesh(rest, template.faces)
        return neutral, template.uv_map, template.morph_targets(own)

    def avatar(
        self,
        out: str | Path,
        look: Look | None = None,
        take: Take | str | Path | None = None,
        kept: Sequence[Kept] = (),
        preview: str | Path | None = None,
    ) -> dict[str, Any]:
        """Write a GLB with skin, eyes, teeth, tongue, lashes, a skeleton and the 52 shapes.

        Args:
            out: the .glb to write.
            look: skin, eyes, names and more; None for the head's own colours, or a light skin and brown eyes.
            take: a recorded take that the file plays, or the path of its CSV or JSON.
            kept: pieces of a scan that go with the head, from `FittedHead.unexplained`.
            preview: an animated .webp, which shows the take, or the head as it turns and moves its face.

        Returns:
            `out`, `bytes`, `parts` (name → vertices), `joints`, `seconds` of the take or None, `warnings` about it,
            and the path of the `preview` or None.

        Raises:
            InputError: another extension, a take that cannot be read, or a model without the shipped template.

        >>> head.avatar(out / "me.glb", imhead.Look(skin="tan", eyes="green", texture=512))["joints"]
        ['neck', 'head', 'jaw', 'left_eye', 'right_eye']
        """
        neutral, _, shapes = self.animated({})
        played = Path(take) if isinstance(take, str | Path) else take
        codes = self.codes
        shown = None if preview is None else Path(preview)
        written = write_avatar(
            Path(out), neutral, shapes, look or Look(), played, head_notes(codes), codes.skin, kept, shown
        )
        written["warnings"] += [lost_skin(codes.lost_skin)] if codes.lost_skin else []
        return written

    def field(self, expression: Mapping[str, float] | None = None) -> HeadField:
        """The signed distance field: points in mm in, signed distances in mm out.

        >>> head.field().sdf(np.array([[0.0, 0.0, 300.0]])) > 100.0
        array([ True])
        """
        weights = checked_weights(expression)
        code = None if weights is None else expression_code(self.model, weights)
        return HeadField(self.model, self.codes, code)

    def landmarks(self) -> dict[str, FloatArray]:
        """Anthropometric landmarks of the neutral face: name → place (3,), head frame, mm; of a registered head on its
        scan.

        Raises:
            InputError: a model without a template.

        >>> head.landmarks()["pronasale"].shape
        (3,)
        """
        return dict(zip(landmark_names(), head_landmarks(self.model, self.codes)))

    def measure(self) -> dict[str, float]:
        """Every measurement of the neutral face by name, in the unit that `imhead.measure.table` names; of a registered
        head that of its scan.

        Where `codes.scale_assumed` is true, the head was fitted to a scan of unknown unit: its lengths may be off by
        10 %, a child's by more, its volumes by three times as much; its angles hold.

        Raises:
            InputError: a model without a template.

        >>> 25.0 < head.measure()["alar_width"] < 50.0
        True
        """
        return head_measurements(self.model, self.codes)

    def measure_errors(self) -> dict[str, float]:
        """± of the distances and angles of a fitted head by name, in their units: half of the interval that holds the
        person's with 68 % probability. Empty for a head that was not fitted.

        Raises:
            InputError: a model without a template.

        >>> head.measure_errors(), fitted.measure_errors()["alar_width"] > 0.0
        ({}, True)
        """
        if self.codes.certainty is None:
            return {}
        return errors(head_landmarks(self.model, self.codes), self.codes.certainty)

    def sigma_at(self, points_mm: FloatArray, expression: Mapping[str, float] | None = None) -> FloatArray | None:
        """How sure a fitted head's surface is (N,) at points (N, 3) on it, mm: the person's lies within this distance
        with 68 % probability. None for a head that was not fitted.

        Args:
            points_mm: (N, 3).
            expression: of the surface, ARKit name → weight; None for the head's own expression.

        Raises:
            InputError: points of another shape, an unknown expression, or a model without a template.

        >>> float(fitted.sigma_at(fitted.mesh(resolution=64).vertices).min()) > 0.0
        True
        """
        certainty = self.codes.certainty
        if certainty is None:
            return None
        given = checked_weights(expression)
        weights = arkit_weights(self.model, self.codes.z_exp) if given is None else expression_weights(given)
        points = np.asarray(points_mm, dtype=np.float64)
        return certainty_at(certainty, self.model, self.codes, points, weights).sigma_mm

    def compare(
        self,
        other: EditableHead,
        out: str | Path,
        regions: RegionNames = (),
        labels: tuple[str, str] = ("before", "after"),
        resolution: int = 256,
    ) -> dict[str, Any]:
        """What changed from this head to another: `report.json`, `heatmap.png` and `report.html` in the folder `out`.

        Args:
            other: the head after; of the same model.
            out: folder, made where missing.
            regions: the regions that were edited, for figures inside and outside of them.
            labels: what the report calls the two heads.
            resolution: cells along the longest side of the bounds.

        Returns:
            What `report.json` holds: movement in mm, volumes in ml, measurements.

        >>> report = head.compare(head.along("nose", "wider"), out, "nose", resolution=64)
        >>> report["movement_mm"]["outside"]["max"]
        0.0
        """
        self._check_model(other)
        return compare_heads(
            self.model, self.codes, other.codes, Path(out),
            regions=checked_regions(regions) if len(regions) else (), labels=checked_labels(labels),
            resolution=checked_resolution(resolution),
        )  # fmt: skip

    def balls(self, regions: RegionNames) -> list[Ball]:
        """The balls that bound the influence of the regions, canonical pose, mm.

        >>> [round(ball.radius_mm) for ball in head.balls("nose_tip")]
        [28]
        """
        field = self.field()
        return [field.ball(region.index) for region in checked_regions(regions)]

    def posed_balls(self, regions: RegionNames) -> list[Ball]:
        """Balls that bound the influence of the regions in the head's own expression, mm.

        >>> len(head.posed_balls("nose"))
        4
        """
        field = self.field()
        return [field.posed_ball(region.index) for region in checked_regions(regions)]

    def save(self, path: str | Path) -> None:
        """Write a head file, which `MorphableModel.open` reads.

        Raises:
            InputError: a name that does not end in .safetensors, or a folder that cannot be written to.

        >>> head.save(out / "head.safetensors")
        """
        path = Path(path)
        if path.suffix != ".safetensors":
            remedy = "use export for a mesh" if path.suffix.lower() in MESH_EXTENSIONS else "rename it"
            raise InputError(f"{path}: a head file ends in .safetensors; {remedy}")
        checkpoint.save_head(self.codes, path)

    def export(self, path: str | Path, config: ExportConfig = ExportConfig()) -> Mesh:
        """Write a mesh file: .ply, .obj, .stl or .glb; the mesh, head frame, mm.

        Args:
            path: the file; its extension chooses the format.
            config: expression, surface, resolution, units and the axis that points up.

        Raises:
            InputError: settings that do not go together, an unknown expression, or a folder that cannot be written to.

        >>> head.export(out / "head.stl", imhead.ExportConfig(resolution=64, units="in", up="z"))
        Mesh(... vertices, ... faces, extent ...)
        """
        return export_head(self, Path(path), config)

    def _with(self, codes: Head) -> EditableHead:
        return EditableHead(codes, self.model)

    def _check_model(self, other: EditableHead) -> None:
        if not isinstance(other, EditableHead):
            raise InputError(f"the other head is {other!r}; open one from its file, or draw one")
        if other.model.hash != self.model.hash:
            raise InputError(
                f"the other head belongs to model {other.model.name!r} ({other.model.hash}), this one to "
                f"{self.model.name!r} ({self.model.hash}); codes of two models do not mix"
            )


_EDITS: dict[str, tuple[Callable[..., EditableHead], frozenset[str]]] = {
    "sample": (EditableHead.sample, frozenset({"strength", "mirror"})),
    "source": (EditableHead.take_from, frozenset({"strength", "mirror"})),
    "blend": (EditableHead.blend, frozenset({"mirror"})),
    "direction": (EditableHead.along, frozenset({"strength", "mirror"})),
    "target": (EditableHead.reach_target, frozenset({"mirror"})),
    "symmetry": (EditableHead.symmetrise, frozenset()),
    "plausible": (EditableHead.limit, frozenset()),
}
"""Keyword of `edit` → the method that it stands for, and the options that go with it."""
