"""A head as a mesh file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from imhead.checkpoint import Model
from imhead.conventions import UNIT_MM
from imhead.errors import InputError
from imhead.io.mesh_file import head_notes, in_units, write_mesh
from imhead.template.surface import template_of
from imhead.types import FloatArray, Head, Mesh, MorphTargets, UvMap

SurfaceKind = Literal["volume", "template"]
Expression = Mapping[str, float] | Literal["own"]
"""ARKit name → weight, or the head's own expression."""


class Drawn(Protocol):
    """What a head must be able to do."""

    @property
    def codes(self) -> Head:
        """The codes."""
        ...

    @property
    def model(self) -> Model:
        """The model that they belong to."""
        ...

    def mesh(self, expression: Mapping[str, float] | None, resolution: int, surface: SurfaceKind) -> Mesh:
        """The surface, head frame, mm."""
        ...

    def animated(self, expression: Mapping[str, float] | None) -> tuple[Mesh, UvMap, MorphTargets]:
        """The template with the 52 shapes."""
        ...

    def sigma_at(self, points_mm: FloatArray, expression: Mapping[str, float] | None) -> FloatArray | None:
        """How sure the surface is."""
        ...


@dataclass(frozen=True)
class ExportConfig:
    """How a head becomes a mesh file.

    >>> head.export(out / "printed.stl", imhead.ExportConfig({"jawOpen": 0.3}, resolution=64, units="cm", up="z"))
    Mesh(... vertices, ... faces, extent ...)
    """

    expression: Expression | None = None
    """None: neutral in a GLB, which programs animate from there; the head's own expression in the other files."""
    surface: SurfaceKind = "volume"
    """`volume` is watertight; `template` has the same vertices on every head, UVs, and in a GLB the 52 ARKit shapes."""
    resolution: int = 256
    """Cells of the volume along the longest side of the bounds, 16 to 1024."""
    units: str | None = None
    """Of a PLY, OBJ or STL: mm, cm, m or in; None for mm. A GLB is in metres."""
    up: str | None = None
    """Axis that points up in a PLY, OBJ or STL: `y`, or `z`, where the face looks along -y; None for y."""
    quantized: bool = False
    """16-bit places: half the size; GLB only."""

    def check(self, path: Path) -> None:
        """Refuse what cannot be written to a file of this name.

        Raises:
            InputError: the message names what does not go together.
        """
        extension = path.suffix.lower()
        if isinstance(self.expression, str) and self.expression != "own":
            raise InputError(f"expression {self.expression!r} is not known; give weights by name, or own")
        if self.surface not in ("volume", "template"):
            raise InputError(f"surface {self.surface!r} is not known; use volume or template")
        if self.surface == "template" and extension == ".stl":
            raise InputError(
                f"{path}: the template is open behind the lids and below the shoulders, so it cannot be printed; "
                "write an STL with surface volume"
            )
        if extension == ".glb" and not (self.units is None and self.up is None):
            raise InputError(f"{path}: a GLB is in metres with y up, as glTF says; leave units and up out")
        if self.units is not None and self.units not in UNIT_MM:
            raise InputError(f"units {self.units!r} are not known; use one of {', '.join(UNIT_MM)}")
        if self.up not in (None, "y", "z"):
            raise InputError(f"up {self.up!r} is no axis that can point up; use y or z")
        if self.quantized and extension != ".glb":
            raise InputError(f"{path}: only a .glb can be quantized; write one, or leave quantized out")


def export_head(head: Drawn, path: Path, config: ExportConfig, normal_map: bytes | None = None) -> Mesh:
    """Write a head's mesh file; the mesh, as written.

    Args:
        head: the head.
        path: .ply, .obj, .stl or .glb.
        config: how.
        normal_map: a PNG, for a registered head's template as a GLB.

    Raises:
        InputError: settings that do not go together, an unknown expression, or a folder that cannot be written to.
    """
    config.check(path)
    is_glb = path.suffix.lower() == ".glb"
    weights: Mapping[str, float] | None = {} if is_glb and config.expression is None else None
    if config.expression is not None and not isinstance(config.expression, str):
        weights = config.expression
    uv = morphs = None
    if config.surface == "volume":
        drawn = head.mesh(weights, config.resolution, "volume")
        sigma = head.sigma_at(drawn.vertices, weights)
    else:
        if is_glb:
            drawn, uv, morphs = head.animated(weights)
        else:
            drawn, uv = head.mesh(weights, config.resolution, "template"), template_of(head.model).uv_map
        sigma = None if head.codes.certainty is None else head.codes.certainty.sigma_mm
    units = config.units or "mm"
    write_mesh(
        drawn if is_glb else in_units(drawn, units, config.up or "y"), path, unit=units,
        metadata=head_notes(head.codes) | {"surface": config.surface}, uv=uv, morphs=morphs,
        quantized=config.quantized, sigma_mm=sigma,
        normal_map=normal_map if morphs is not None and head.codes.registration is not None else None,
    )  # fmt: skip
    return drawn
