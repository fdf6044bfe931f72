"""`imhead fit --register`, from a scan to the files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imhead.cli import main
from imhead.io.mesh_file import read_mesh
from imhead.io.scan_file import read_scan
from imhead.surfaces.distances import point_to_surface

DEMO_SCAN = Path(__file__).resolve().parents[2] / "src" / "imhead" / "assets" / "demo_scan.ply"


@pytest.mark.slow
def test_a_registered_fit_lies_on_the_scan_in_its_own_frame_and_units(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["fit", str(DEMO_SCAN), "--register", "--resolution", "64", "--no-detail", "--out", str(tmp_path)]
    monkeypatch.setattr("sys.argv", ["imhead", *words])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code in (0, None)
    folder = tmp_path / "demo_scan"
    report = json.loads((folder / "report.json").read_text())
    registered = report["registered"]
    assert registered["scan_to_surface_mm"]["median"] < report["scan_to_head_mm"]["median"]
    assert 0.1 < registered["measured_fraction"] <= 1.0 and registered["crossed_vertices"] == 0
    mesh, scan = read_mesh(folder / "registered.ply"), read_scan(DEMO_SCAN)
    assert len(mesh.vertices) == 14_351
    size = np.cbrt(abs(np.linalg.det(np.array(report["pose"])[:3, :3])))  # mm in one unit of the scan
    away = point_to_surface(scan.points, mesh)[0] * size
    assert np.median(away) < 0.3
    if registered["relief"] is not None:
        displacement = Image.open(folder / "displacement.png")
        assert displacement.size == (2048, 2048) and displacement.mode == "I;16"
        assert "height in mm" in displacement.text["displacement"]
        assert Image.open(folder / "normal_map.png").size == (2048, 2048)
