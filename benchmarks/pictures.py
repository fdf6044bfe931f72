"""Draw the pictures of `docs/images`: the demo, samples, held-out reconstructions beside their originals.

    python benchmarks/pictures.py ICT_FACEKIT DEMO_FOLDER docs/images

DEMO_FOLDER is what `make demo` left, for example out/demo/demo_scan.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image

import imhead
from imhead.curation.scanfile import read_scan
from imhead.evaluation.cases import HeldOut, HeldOutSource, held_out
from imhead.export import read_mesh
from imhead.fitting.fit import fit_scan
from imhead.render import camera, contact_sheet, heat_colors, legend, shade, stack
from imhead.report import signed_movement
from imhead.sources.ict import read_ict
from imhead.types import Mesh

HEAD = ((0.0, -25.0, 0.0), 165.0)
WINDOWS = (
    ("front", *HEAD),
    ("three_quarter", *HEAD),
    ("front", (0.0, 28.0, 85.0), 55.0),
    ("front", (0.0, -35.0, 95.0), 45.0),
    ("profile", (84.0, 4.0, -6.0), 45.0),
)
"""View, centre and half side in mm: the head twice, the eyes, nose and mouth, an ear."""


def samples(model: imhead.MorphableModel, out: Path) -> None:
    """Eight heads drawn from the model, front and three-quarter."""
    cells = []
    for head in model.sample(8, seed=0):
        mesh = head.mesh(resolution=256)
        views = [shade(mesh, camera(view, center_mm=center, half_mm=half), 300) for view, center, half in WINDOWS[:2]]
        cells.append(np.concatenate(views, axis=1))
    contact_sheet(cells, [f"sample {k}" for k in range(8)], columns=2).save(out / "samples.png")


def placed(case: HeldOut, mesh: Mesh, scan_to_head: np.ndarray) -> Mesh:
    """A fitted mesh brought into the frame of the truth."""
    matrix = np.linalg.inv(case.head_to_scan) @ np.linalg.inv(scan_to_head)
    return Mesh(mesh.vertices @ matrix[:3, :3].T + matrix[:3, 3], mesh.faces)


def reconstructions(model: imhead.MorphableModel, source: Path, out: Path) -> None:
    """Four held-out heads, each above its reconstruction from 5 000 points, as volume and as template.

    The volume's cells are half as long as a fit's own, so that it is the field that is seen.
    """
    ict = read_ict(source)
    heads = HeldOutSource.of(ict)
    cells, labels = [], []
    for index in range(4):
        case = held_out(heads, index)
        result = fit_scan(case.scan, model.model)
        head = imhead.EditableHead(result.head, model.model)
        surfaces = {"reconstruction": head.mesh(resolution=512), "its template": head.mesh(surface="template")}
        fitted = {name: placed(case, mesh, result.scan_to_head) for name, mesh in surfaces.items()}
        for name, mesh in {"original": case.truth, **fitted}.items():
            for view, center, half in WINDOWS:
                cells.append(shade(mesh, camera(view, center_mm=center, half_mm=half), 300))
                labels.append(f"head {index}, {name}")
    contact_sheet(cells, labels, columns=len(WINDOWS)).save(out / "heldout.png")


def demo(folder: Path, scan_path: Path, out: Path) -> None:
    """The README's picture: a raw scan, the head found in it, the edited head, and what moved."""
    scan = read_scan(scan_path)
    before, after = read_mesh(folder / "before.ply"), read_mesh(folder / "after.ply")
    overlay, head = read_mesh(folder / "overlay.ply"), read_mesh(folder / "head.ply")
    assert scan.faces is not None
    # overlay and head are one mesh in two frames: their corners give the pose
    source = np.c_[overlay.vertices, np.ones(len(overlay.vertices))]
    pose = np.linalg.lstsq(source, head.vertices, rcond=None)[0]
    found = Mesh(np.c_[scan.points, np.ones(len(scan.points))] @ pose, scan.faces)
    moved = signed_movement(before, after)
    limit = float(np.ceil(np.percentile(np.abs(moved), 99.9)))
    look = camera("three_quarter", center_mm=(0.0, -15.0, 10.0), half_mm=145.0)
    grey = np.full((len(found.vertices), 3), (150, 180, 210), dtype=np.uint8)
    cells: list[np.ndarray | Image.Image] = [
        shade(found, look, 380, colors=grey),
        shade(before, look, 380),
        shade(after, look, 380),
        shade(after, look, 380, colors=heat_colors(moved, limit)),
    ]
    labels = ["a scan, any pose and unit", "its head", "only the nose edited", "movement"]
    stack([contact_sheet(cells, labels, columns=4), legend(limit)]).save(out / "demo.png")


def main(source: Path, demo_folder: Path, out: Path) -> None:
    """Draw all pictures."""
    out.mkdir(parents=True, exist_ok=True)
    model = imhead.load()
    demo(demo_folder, Path(imhead.__file__).parent / "assets" / "demo_scan.ply", out)
    samples(model, out)
    reconstructions(model, source, out)


if __name__ == "__main__":
    main(*(Path(word) for word in sys.argv[1:4]))
