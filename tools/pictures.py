"""Render the pictures of `docs/images`: the demo, sheets of heads, and held-out heads with their reconstructions.

    python tools/pictures.py ICT_FACEKIT DEMO_FOLDER docs/images

DEMO_FOLDER is the folder that `make demo` writes, for example out/demo/demo_scan.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import imhead
from imhead.evaluation.cases import HeldOut, HeldOutSource, held_out
from imhead.fitting.fit import fit_scan
from imhead.io.mesh_file import read_mesh
from imhead.io.scan_file import read_scan
from imhead.rendering.figures import contact_sheet, heat_colors, legend, round_limit, stack
from imhead.rendering.shading import camera, shade
from imhead.reports.movement import signed_movement
from imhead.sources.ict import read_ict
from imhead.surfaces.normals import vertex_normals
from imhead.surfaces.transforms import transform_points
from imhead.template.surface import template_of
from imhead.template.topology import LEFT_EYE
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
FACES: dict[str, dict[str, float]] = {
    "neutral": {},
    "jaw open": {"jawOpen": 0.7},
    "smile": {"mouthSmileLeft": 0.9, "mouthSmileRight": 0.9, "cheekSquintLeft": 0.5, "cheekSquintRight": 0.5},
    "eyes shut": {"eyeBlinkLeft": 1.0, "eyeBlinkRight": 1.0},
    "frown": {"browDownLeft": 1.0, "browDownRight": 1.0, "mouthFrownLeft": 0.8, "mouthFrownRight": 0.8},
    "surprise": {"browInnerUp": 1.0, "eyeWideLeft": 0.8, "eyeWideRight": 0.8, "jawOpen": 0.4},
    "pucker": {"mouthPucker": 0.9},
    "wink": {"eyeBlinkLeft": 1.0, "mouthSmileLeft": 0.7},
}
"""Name of an expression of the sheet → ARKit weights."""
SKIN, EYE = (224, 190, 170), (240, 239, 236)


def rendered(head: imhead.EditableHead, weights: dict[str, float], size: int = 240, view: str = "three_quarter") -> Any:
    """A picture of a head's template surface, the eyeballs in another colour."""
    template = template_of(head.model)
    colors = np.where((template.part >= LEFT_EYE)[:, None], EYE, SKIN).astype(np.uint8)
    center, half = HEAD
    return shade(
        head.mesh(weights, surface="template"), camera(view, center_mm=center, half_mm=half), size, colors=colors
    )


def samples(model: imhead.MorphableModel, out: Path) -> None:
    """24 samples of the model."""
    heads = model.sample(24, seed=0)
    cells = [rendered(head, {}) for head in heads]
    contact_sheet(cells, [str(k) for k in range(24)], columns=8).save(out / "samples.png")


def expressions(model: imhead.MorphableModel, out: Path) -> None:
    """Five heads in eight expressions."""
    heads = model.sample(5, seed=1)
    cells = [rendered(head, weights, view="front") for head in heads for weights in FACES.values()]
    contact_sheet(cells, list(FACES) * len(heads), columns=len(FACES)).save(out / "expressions.png")


def interpolation(model: imhead.MorphableModel, out: Path) -> None:
    """Linear interpolation between the identity codes of two pairs of heads."""
    cells, labels = [], []
    for first, last in zip(*[iter(model.sample(4, seed=2))] * 2):
        for part in np.linspace(0.0, 1.0, 7):
            z_id = (1.0 - part) * first.codes.z_id + part * last.codes.z_id
            cells.append(rendered(replace(first, codes=replace(first.codes, z_id=z_id)), {}))
            labels.append(f"{part:.2f}")
    contact_sheet(cells, labels, columns=7).save(out / "interpolation.png")


def swaps(model: imhead.MorphableModel, out: Path) -> None:
    """Three heads that take a region from another head, and the movement."""
    cells: list[Any] = []
    labels: list[str] = []
    heads = model.sample(6, seed=3)
    for (own, other), regions in zip(zip(heads[::2], heads[1::2]), ("nose", "ears", "mouth")):
        edited = own.edit(regions, source=other)
        before, after = (head.mesh({}, surface="template") for head in (own, edited))
        moved = np.einsum(
            "vc,vc->v", after.vertices - before.vertices, vertex_normals(before.vertices, before.faces)[0]
        )
        limit = round_limit(moved[np.abs(moved) > 0.0])
        center, half = HEAD
        look = camera("three_quarter", center_mm=center, half_mm=half)
        cells += [rendered(head, {}) for head in (own, other, edited)]
        cells.append(shade(after, look, 240, colors=heat_colors(moved, limit)))
        labels += ["a head", "another", f"the first with the other's {regions}", f"movement, full colour {limit:g} mm"]
    contact_sheet(cells, labels, columns=4).save(out / "swaps.png")


def in_frame_of_truth(case: HeldOut, mesh: Mesh, scan_to_head: np.ndarray) -> Mesh:
    """A fitted mesh in the frame of the truth."""
    matrix = np.linalg.inv(case.head_to_scan) @ np.linalg.inv(scan_to_head)
    return Mesh(transform_points(matrix, mesh.vertices), mesh.faces)


def reconstructions(model: imhead.MorphableModel, source: Path, out: Path) -> None:
    """Four held-out heads, each above its reconstruction from 5 000 points as isosurface and as template.

    The isosurface has twice the resolution of a fit, so that it shows the field rather than the grid.
    """
    ict = read_ict(source)
    heads = HeldOutSource.composed(ict)
    cells, labels = [], []
    for index in range(4):
        case = held_out(heads, index)
        result = fit_scan(case.scan, model.model)
        head = imhead.EditableHead(result.head, model.model)
        surfaces = {"reconstruction": head.mesh(resolution=512), "its template": head.mesh(surface="template")}
        fitted = {name: in_frame_of_truth(case, mesh, result.scan_to_head) for name, mesh in surfaces.items()}
        for name, mesh in {"original": case.truth, **fitted}.items():
            for view, center, half in WINDOWS:
                cells.append(shade(mesh, camera(view, center_mm=center, half_mm=half), 300))
                labels.append(f"head {index}, {name}")
    contact_sheet(cells, labels, columns=len(WINDOWS)).save(out / "heldout.png")


def demo(folder: Path, scan_path: Path, out: Path) -> None:
    """The README's picture: a raw scan, its fitted head, the edited head, and the movement."""
    scan = read_scan(scan_path)
    before, after = read_mesh(folder / "before.ply"), read_mesh(folder / "after.ply")
    overlay, head = read_mesh(folder / "overlay.ply"), read_mesh(folder / "head.ply")
    assert scan.faces is not None
    # overlay and head are one mesh in two frames, so their vertices give the pose
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
    """Render all pictures."""
    out.mkdir(parents=True, exist_ok=True)
    model = imhead.load()
    demo(demo_folder, Path(imhead.__file__).parent / "assets" / "demo_scan.ply", out)
    for sheet in (samples, expressions, interpolation, swaps):
        sheet(model, out)
    reconstructions(model, source, out)


if __name__ == "__main__":
    main(*(Path(word) for word in sys.argv[1:4]))
