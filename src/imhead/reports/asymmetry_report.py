"""The mirror analysis of a head, as files: `report.json`, `heatmap.png` and a coloured mesh."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from imhead.change.asymmetry import Asymmetry
from imhead.change.visits import Visit
from imhead.checkpoint import Model
from imhead.conventions import ASSUMED_SCALE
from imhead.io.atomic import check_folder, write_atomically
from imhead.io.mesh_file import write_mesh
from imhead.io.picture_file import write_picture
from imhead.rendering.figures import contact_sheet, heat_colors, legend, round_limit, stack
from imhead.rendering.shading import shade
from imhead.reports.standard_views import STANDARD_VIEWS, with_scale_bar
from imhead.template.surface import template_of
from imhead.types import Mesh
from imhead.version import __version__

_SIZE = 420  # pixels of a picture


def asymmetry_report(found: Asymmetry, visit: Visit, warnings: Sequence[str] = ()) -> dict[str, Any]:
    """What `report.json` holds.

    Args:
        found: the mirror analysis.
        visit: of which it is.
        warnings: of the fit to a scan.
    """
    doubts = [*([ASSUMED_SCALE] if visit.head.scale_assumed else []), *warnings]
    told = list(dict.fromkeys(doubts))
    return {"name": visit.name, **found.report(), "version": __version__, "warnings": told}


def write_asymmetry(
    found: Asymmetry, visit: Visit, model: Model, out: Path, warnings: Sequence[str] = ()
) -> dict[str, Any]:
    """Write the mirror analysis to a folder, made where missing; returns the report, as `asymmetry_report` gives it."""
    check_folder(out)
    report = asymmetry_report(found, visit, warnings)
    limit = round_limit(found.height_mm[found.compared], share=0.9, floor_mm=1.0)
    mesh = Mesh(found.vertices, template_of(model).faces)
    colors = heat_colors(found.height_mm, limit)
    cells = [with_scale_bar(shade(mesh, look, _SIZE, colors=colors), look) for look in STANDARD_VIEWS.values()]
    bar = legend(limit, title="farther in than the other side | farther out (grey: not compared)")
    write_picture(stack([contact_sheet(cells, list(STANDARD_VIEWS), columns=3), bar]), out / "heatmap.png")
    write_mesh(mesh, out / "asymmetry.ply", colors=colors)
    write_atomically(out / "report.json", (json.dumps(report, indent=2, allow_nan=False) + "\n").encode())
    return report
