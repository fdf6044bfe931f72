"""The folder that a fit leaves behind: head, mesh, overlay, report and picture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from imhead.atomic import write_atomically
from imhead.checkpoint import save_head
from imhead.export import write_mesh
from imhead.fitting.fit import FitResult
from imhead.report import fit_picture
from imhead.types import Mesh, Scan


def write_fit(result: FitResult, scan: Scan, folder: Path) -> dict[str, Any]:
    """Write `head.safetensors`, `head.ply`, `overlay.ply`, `report.json` and `report.png`; what the report says."""
    report: dict[str, Any] = dict(result.report())
    save_head(result.head, folder / "head.safetensors")
    write_mesh(result.mesh, folder / "head.ply")
    back = np.linalg.inv(result.scan_to_head)
    overlay = Mesh(result.mesh.vertices @ back[:3, :3].T + back[:3, 3], result.mesh.faces)
    unit = result.pose.units
    write_mesh(overlay, folder / "overlay.ply", unit=unit if unit != "unknown" else "mm")
    if result.explained.any():
        picture = fit_picture(
            result.points_mm, result.mesh, result.distance_mm, faces=scan.faces, explained=result.explained,
            name=scan.name,
        )  # fmt: skip
        picture.save(folder / "report.png", compress_level=4)  # a third faster than the usual 6, 2 % larger
    write_atomically(folder / "report.json", (json.dumps(report, indent=2, allow_nan=False) + "\n").encode())
    return report
