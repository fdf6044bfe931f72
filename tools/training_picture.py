"""Draws docs/images/training.png: a composed head with its parents, and training samples with true distances.

python tools/training_picture.py ICT_FACEKIT docs/images/training.png
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from imhead.conventions import ARKIT_NAMES
from imhead.rendering.figures import contact_sheet, heat_colors
from imhead.rendering.shading import camera, shade
from imhead.sources.compose import ComposeConfig, composed_offsets, draw_composition, group_masks
from imhead.sources.ict import IctModel, read_ict
from imhead.training.samples import Samples, face_density, head_samples
from imhead.types import FloatArray, Mesh

SEED = 7
SIZE = 360
CENTER_MM, HALF_MM = (0.0, -40.0, 0.0), 185.0
SAMPLES, SLAB_MM, LIMIT_MM = 120_000, 5.0, 20.0


def slice_of(samples: Samples) -> Image.Image:
    """Samples near the midsagittal plane by signed distance: blue inside, red outside, black on the surface."""
    picture = Image.new("RGB", (2 * SIZE, 2 * SIZE), "white")
    draw = ImageDraw.Draw(picture)
    near = np.abs(samples.points[:, 0]) < SLAB_MM
    # the surface last, on top
    order = np.flatnonzero(near)[np.argsort(samples.distance[near] == 0.0, kind="stable")]
    points, distance = samples.points[order], samples.distance[order]
    colors = heat_colors(distance, LIMIT_MM)
    colors[distance == 0.0] = 30
    # seen from the subject's left: the face looks to the left
    plane = np.stack([CENTER_MM[2] - points[:, 2], CENTER_MM[1] - points[:, 1]], axis=1)
    pixels = SIZE * (1.0 + plane / HALF_MM)
    for (x, y), color in zip(pixels, colors.tolist()):
        draw.ellipse((x - 2.5, y - 2.5, x + 2.5, y + 2.5), fill=tuple(color))
    return picture.resize((SIZE, SIZE), Image.Resampling.LANCZOS)


def sheet(ict: IctModel) -> Image.Image:
    """Two parents, the head composed of them, the same with an expression, and samples of that."""
    masks = group_masks(ict.mean)
    composition = draw_composition(SEED, ComposeConfig(composed_fraction=1.0, max_parents=2))
    every = np.zeros_like(composition.choice)
    shapes = [replace(composition, choice=every + parent) for parent in (0, 1)]
    neutral = [ict.mean + composed_offsets(ict, masks, shape) for shape in (*shapes, composition)]
    weights = np.zeros(len(ARKIT_NAMES))
    weights[[ARKIT_NAMES.index(name) for name in ("jawOpen", "browInnerUp")]] = 0.6, 0.8
    posed = neutral[2] + ict.expression_offsets(weights)
    faces = np.concatenate([ict.skin_faces, ict.eye_faces])
    view = camera("three_quarter", center_mm=CENTER_MM, half_mm=HALF_MM)

    def drawn(vertices: FloatArray) -> Image.Image:
        return Image.fromarray(shade(Mesh(vertices, faces), view, SIZE))

    canonical = neutral[2] + ict.canonical_offset
    samples = head_samples(ict, face_density(ict), posed, canonical, SAMPLES, np.random.default_rng(0))
    labels = ["one parent", "the other parent", "composed head", "with an expression", "samples near its midline"]
    return contact_sheet([*map(drawn, [*neutral, posed]), slice_of(samples)], labels, columns=5)


if __name__ == "__main__":
    sheet(read_ict(Path(sys.argv[1]))).save(sys.argv[2], optimize=True)
