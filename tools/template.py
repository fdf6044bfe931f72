"""The template surface on sampled heads: its figures as JSON, and the pictures of `docs/images`.

    python tools/template.py docs/images [HEADS]
    python tools/template.py - [HEADS]              (figures only)

Figures: time of the preview of an edit, distance to the zero set, ARKit shapes against the model's own expressions,
and edges of the skin that intersect other faces of it.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import imhead
from imhead.conventions import ARKIT_NAMES
from imhead.evaluation.correspondence import morph_distance, surface_figures
from imhead.isosurface.field import expression_weights
from imhead.rendering.figures import contact_sheet
from imhead.rendering.shading import ByteImage, camera, shade
from imhead.surfaces.crossings import crossing_edges
from imhead.template.surface import TemplateSurface
from imhead.template.topology import MOUTH, SKIN
from imhead.types import FloatArray, Mesh

SQUARES = 64
SPLIT = 5
LIGHT, DARK = np.array([236, 228, 218]), np.array([70, 104, 140])
EXPRESSIONS: dict[str, dict[str, float]] = {
    "neutral": {},
    "jawOpen 0.4": {"jawOpen": 0.4},
    "eyeBlink": {"eyeBlinkLeft": 1.0, "eyeBlinkRight": 1.0},
    "mouthSmile": {"mouthSmileLeft": 1.0, "mouthSmileRight": 1.0},
}
NAMED = ("jawOpen", "eyeBlinkLeft", "mouthSmileRight")
"""Shapes with figures of their own."""
WINDOWS = (
    ("three_quarter", (0.0, -10.0, 0.0), 150.0),
    ("front", (0.0, 28.0, 85.0), 50.0),
    ("front", (0.0, -35.0, 95.0), 45.0),
)
"""View, centre and half side in mm."""


def checkered(template: TemplateSurface, vertices: FloatArray) -> tuple[Mesh, ByteImage]:
    """The template with every face split into SPLIT² faces, and vertex colours of a checkerboard in UV space."""
    steps = [(i, j) for i in range(SPLIT + 1) for j in range(SPLIT + 1 - i)]
    row = {step: k for k, step in enumerate(steps)}
    weights = np.array([(SPLIT - i - j, i, j) for i, j in steps]) / SPLIT
    small = [(row[i, j], row[i + 1, j], row[i, j + 1]) for i, j in steps if i + j < SPLIT]
    small += [(row[i + 1, j], row[i + 1, j + 1], row[i, j + 1]) for i, j in steps if i + j < SPLIT - 1]
    points = np.einsum("kc,fcd->fkd", weights, vertices[template.faces]).reshape(-1, 3)
    uv = np.einsum("kc,fcd->fkd", weights, template.uv[template.uv_faces]).reshape(-1, 2)
    faces = (np.arange(len(template.faces))[:, None, None] * len(steps) + np.array(small)).reshape(-1, 3)
    dark = np.floor(uv * SQUARES).astype(int).sum(axis=1) % 2 == 1
    return Mesh(points, faces), np.where(dark[:, None], DARK, LIGHT).astype(np.uint8)


def checkerboard(model: imhead.MorphableModel, out: Path) -> None:
    """Six sampled heads with a checkerboard, front and three-quarter."""
    cells = []
    for head in model.sample(6, seed=4):
        mesh, colors = checkered(model.template, head.mesh(surface="template").vertices)
        views = [camera(view, center_mm=(0.0, -10.0, 0.0), half_mm=165.0) for view in ("front", "three_quarter")]
        cells.append(np.concatenate([shade(mesh, v, 360, colors=colors, occlusion=False) for v in views], axis=1))
    contact_sheet(cells, [f"sample {k}" for k in range(6)], columns=2).save(out / "checkerboard.png", optimize=True)


def expressions(model: imhead.MorphableModel, out: Path) -> None:
    """Three sampled heads with four expressions: head, eyes, mouth."""
    cells, labels = [], []
    for head in model.sample(3, seed=11):
        for name, weights in EXPRESSIONS.items():
            mesh = head.mesh(weights, surface="template")
            shots = [shade(mesh, camera(v, center_mm=c, half_mm=h), 220) for v, c, h in WINDOWS]
            cells.append(np.concatenate(shots, axis=1))
            labels.append(name)
    contact_sheet([Image.fromarray(cell) for cell in cells], labels, columns=2).save(out / "template_expressions.png")


def figures(model: imhead.MorphableModel, heads: int) -> dict[str, Any]:
    """Means over sampled heads, lengths in mm."""
    template = model.template
    skin = template.faces[np.isin(template.part[template.faces], (SKIN, MOUTH)).all(axis=1)]
    shapes = [k for k, name in enumerate(ARKIT_NAMES) if name != "tongueOut"]
    rows, seconds = [], []
    crossings: dict[str, list[int]] = {name: [] for name in EXPRESSIONS}
    named: dict[str, list[tuple[float, float]]] = {name: [] for name in NAMED}
    for head in model.sample(heads, seed=11):
        z = head.field().regional.z[0].cpu().numpy()
        for _ in range(20):
            start = time.perf_counter()
            template.blend(model.model, z)
            seconds.append(time.perf_counter() - start)
        rows.append(surface_figures(model.model, template, head.codes, shapes))
        neutral = template.posed(model.model, head.codes, expression_weights({}))
        for name in NAMED:
            every, moved = morph_distance(model.model, template, head.codes, neutral, ARKIT_NAMES.index(name))
            assert moved is not None
            named[name].append((every, moved))
        for name, weights in EXPRESSIONS.items():
            posed = template.posed(model.model, head.codes, expression_weights(weights))
            crossings[name].append(len(crossing_edges(posed, skin)))
    result: dict[str, Any] = {key: round(float(np.mean([row[key] for row in rows])), 4) for key in rows[0]}
    result |= {"heads": heads, "vertices": len(template.part), "preview_ms": round(1e3 * float(np.median(seconds)), 2)}
    result["preview_best_ms"] = round(1e3 * min(seconds), 2)
    for name, pairs in named.items():
        result[name] = dict(zip(("morph_mm", "morph_moved_mm"), np.mean(pairs, axis=0).round(4).tolist()))
    return result | {"crossing_edges": {name: float(np.mean(counts)) for name, counts in crossings.items()}}


if __name__ == "__main__":
    shipped = imhead.load(device="cpu")
    if sys.argv[1] != "-":
        checkerboard(shipped, Path(sys.argv[1]))
        expressions(shipped, Path(sys.argv[1]))
    print(json.dumps(figures(shipped, int(sys.argv[2]) if len(sys.argv) > 2 else 3)))
