"""Draw close-ups of eyes, nose from below, lips and ears: of fits, held-out heads, edits at their ends, expressions.

python tools/close_ups.py docs/images --scans FOLDER --frames FOLDER --ict FILE [--sections scans frames …]

Each section is one picture: a row for each head, volume and template side by side, and held-out originals.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from trimesh.remesh import subdivide

import imhead
from imhead.api.heads import EditableHead
from imhead.api.models import MorphableModel
from imhead.evaluation.cases import CaseKind, HeldOutSource, held_out
from imhead.fitting.config import FitConfig
from imhead.fitting.fit import fit_scan
from imhead.rendering.figures import contact_sheet
from imhead.rendering.raycast import Camera
from imhead.rendering.shading import shade
from imhead.sources.ict import read_ict
from imhead.surfaces.transforms import transform_points
from imhead.template.surface import template_of
from imhead.template.topology import LEFT_EYE
from imhead.types import IntArray, Mesh

Row = list[tuple[str, Mesh]]
SECTIONS = ("scans", "frames", "heldout", "edits", "expressions")
FRAMES = ("frame_020", "frame_044", "frame_056")
HELD_OUT_HEADS = 8
EDITS = (
    ("nose", "sample", 3), ("nose", "direction", 3.0), ("nose", "direction", -3.0), ("mouth", "direction", 3.0),
    ("left_eye", "direction", 3.0), ("left_eye", "direction", -3.0), ("left_ear", "direction", 3.0),
    ("mouth", "sample", 5),
)  # fmt: skip
EXPRESSIONS: dict[str, dict[str, float]] = {
    "lids half shut": {"eyeBlinkLeft": 0.5, "eyeBlinkRight": 0.5},
    "lids shut": {"eyeBlinkLeft": 1.0, "eyeBlinkRight": 1.0},
    "jaw open": {"jawOpen": 1.0},
    "pucker": {"mouthPucker": 1.0},
    "smile": {"mouthSmileLeft": 0.9, "mouthSmileRight": 0.7, "cheekSquintLeft": 0.6, "cheekSquintRight": 0.6},
    "eyes wide, looking down": {"eyeWideLeft": 1.0, "eyeLookDownLeft": 0.8, "eyeLookDownRight": 0.8},
}


def window(azimuth_deg: float, elevation_deg: float, center_mm: tuple[float, float, float], half_mm: float) -> Camera:
    """A camera that looks at a place from a direction."""
    a, e = np.radians([azimuth_deg, elevation_deg])
    right = np.array([np.cos(a), 0.0, -np.sin(a)])
    toward = np.array([np.sin(a) * np.cos(e), np.sin(e), np.cos(a) * np.cos(e)])
    up = np.cross(toward, right)
    x, y, z = (tuple(float(v) for v in axis) for axis in (right, up, toward))
    return Camera((x[0], x[1], x[2]), (y[0], y[1], y[2]), (z[0], z[1], z[2]), center_mm, half_mm)


WINDOWS = (
    ("eye", window(15.0, 0.0, (32.0, 28.0, 80.0), 24.0)),
    ("nose from below", window(0.0, -40.0, (0.0, -12.0, 100.0), 28.0)),
    ("lips", window(0.0, 0.0, (0.0, -42.0, 95.0), 32.0)),
    ("ear", window(90.0, 0.0, (84.0, 5.0, -8.0), 42.0)),
)


def both_surfaces(name: str, head: EditableHead, expression: dict[str, float] | None = None) -> Row:
    """The volume's mesh and the template's of one head."""
    template = with_fine_eyes(head.mesh(expression, surface="template"), template_of(head.model).part)
    return [(f"{name}, volume", head.mesh(expression, resolution=320)), (f"{name}, template", template)]


def with_fine_eyes(mesh: Mesh, part: IntArray) -> Mesh:
    """The template with the faces of its eyeballs divided twice: shade is worked out at vertices, theirs are few."""
    vertices, faces = mesh.vertices, mesh.faces
    eyes = part >= LEFT_EYE
    for _ in range(2):
        count = len(vertices)
        vertices, faces = subdivide(vertices, faces, face_index=np.flatnonzero(eyes[faces].all(axis=1)))
        eyes = np.concatenate([eyes, np.ones(len(vertices) - count, dtype=bool)])
    return Mesh(vertices, faces)


def fits(model: MorphableModel, files: list[Path]) -> Iterator[Row]:
    """Fits of scan files."""
    for file in files:
        yield both_surfaces(file.stem, model.fit(file))


def held_out_heads(model: MorphableModel, ict: Path) -> Iterator[Row]:
    """Held-out heads, each beside the fit of a scan of it."""
    source = HeldOutSource.composed(read_ict(ict))
    for index in range(HELD_OUT_HEADS):
        case = held_out(source, index, CaseKind())
        result = fit_scan(case.scan, model.model, FitConfig())
        to_head = result.scan_to_head @ case.head_to_scan
        truth = Mesh(transform_points(to_head, case.truth.vertices), case.truth.faces)
        yield [(f"held-out {index}", truth), *both_surfaces(f"fit {index}", EditableHead(result.head, model.model))]


def edits(model: MorphableModel) -> Iterator[Row]:
    """A head with regions far from their mean."""
    for index, (group, kind, amount) in enumerate(EDITS):
        head = model.sample(1, seed=index)[0]
        edited = head.sample(group, seed=int(amount)) if kind == "sample" else head.along(group, 0, float(amount))
        yield both_surfaces(f"{group}, {kind} {amount:g}", edited)


def expressions(model: MorphableModel) -> Iterator[Row]:
    """A drawn head with expressions."""
    head = model.sample(1, seed=4)[0]
    for name, weights in EXPRESSIONS.items():
        yield both_surfaces(name, head, weights)


def sheet(rows: Iterator[Row], size: int) -> Image.Image:
    """One picture of rows of meshes, each from all windows."""
    cells, labels, columns = [], [], 0
    for row in rows:
        for window_name, look in WINDOWS:
            for name, mesh in row:
                cells.append(shade(mesh, look, size))
                labels.append(f"{name}: {window_name}")
        columns = len(WINDOWS) * len(row)
        print(labels[-1], flush=True)
    return contact_sheet(cells, labels, columns=columns)


def main() -> None:
    """Draw the sections that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--sections", nargs="+", default=list(SECTIONS), choices=SECTIONS)
    parser.add_argument("--scans", type=Path)
    parser.add_argument("--frames", type=Path)
    parser.add_argument("--ict", type=Path)
    parser.add_argument("--model", default="default")
    parser.add_argument("--size", type=int, default=240)
    given = parser.parse_args()
    model = imhead.load(given.model, device="cpu")
    makers = {
        "scans": lambda: fits(model, sorted(given.scans.glob("*.ply"))),
        "frames": lambda: fits(model, [given.frames / f"{name}.ply" for name in FRAMES]),
        "heldout": lambda: held_out_heads(model, given.ict),
        "edits": lambda: edits(model),
        "expressions": lambda: expressions(model),
    }
    for name in given.sections:
        sheet(makers[name](), given.size).convert("RGB").save(given.out / f"close_ups_{name}.jpg", quality=88)


if __name__ == "__main__":
    main()
