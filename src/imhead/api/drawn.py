"""A head as surfaces and files: its field, meshes, 3D view, avatar, head file.

The examples run as they stand, after `import imhead`, `model = imhead.load()` and `head = model.sample(seed=7)[0]`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imhead import checkpoint
from imhead.api.checks import checked_regions, checked_resolution, checked_weights
from imhead.api.export import ExportConfig, SurfaceKind, export_head
from imhead.api.measured import MeasuredHead
from imhead.avatar.kept import Kept
from imhead.avatar.look import Look
from imhead.avatar.writing import write_avatar
from imhead.errors import InputError
from imhead.io.live_link import Take
from imhead.io.mesh_file import MESH_EXTENSIONS, head_notes
from imhead.io.skin_files import lost_skin
from imhead.isosurface.creases import head_mesh
from imhead.isosurface.field import HeadField, expression_code, expression_weights
from imhead.registration.frames import registered_vertices
from imhead.reports.notebook import value_html
from imhead.reports.scene_page import ScenePage, ScenePart, scene_page
from imhead.template.surface import arkit_weights, has_template, template_of
from imhead.types import Ball, Mesh, MorphTargets, UvMap

RegionNames = str | Sequence[str]
"""The name of a region or group, or several."""
_SHOWN_EDITS = 6  # in a notebook
_VIEW_CELLS = 128  # of a volume that a page draws


@dataclass(frozen=True, eq=False, repr=False)
class DrawnHead(MeasuredHead):
    """A head as surfaces and files."""

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
        """Write an avatar with skin, eyes, teeth, tongue, lashes, a skeleton and the 52 shapes.

        Args:
            out: the .glb, .usda or .usdz to write.
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
