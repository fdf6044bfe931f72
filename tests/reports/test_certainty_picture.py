"""The picture of the certainty: redder where less is known, with a line where the scan ends."""

from __future__ import annotations

import numpy as np
import trimesh

from imhead.reports.certainty_picture import certainty_picture
from imhead.types import BoolArray, FloatArray, Mesh

BALL = trimesh.creation.icosphere(4, 120.0)
HEAD = Mesh(BALL.vertices, BALL.faces)
VIEW = 200


def drawn(sigma: FloatArray, measured: BoolArray) -> FloatArray:
    picture = certainty_picture(HEAD, sigma, measured, views=("front",), size=VIEW)
    return np.asarray(picture).astype(float)


def test_the_uncertain_side_is_darker_than_the_certain_one() -> None:
    right = HEAD.vertices[:, 0] < 0.0  # of the subject, so on the left of the picture
    picture = drawn(np.where(right, 3.0, 0.1), np.ones(len(right), dtype=bool))
    middle = picture[VIEW // 2 - 10 : VIEW // 2 + 10].mean(axis=(0, 2))
    centre = picture.shape[1] // 2
    assert middle[centre - 40 : centre - 20].mean() < 0.7 * middle[centre + 20 : centre + 40].mean()


def test_a_dark_line_bounds_what_the_scan_shows() -> None:
    right, sigma = HEAD.vertices[:, 0] < 0.0, np.full(len(HEAD.vertices), 0.1)
    rows = slice(VIEW // 2 - 10, VIEW // 2 + 10)
    whole, half = drawn(sigma, np.ones_like(right))[rows], drawn(sigma, ~right)[rows]
    difference = (whole - half).mean(axis=(0, 2))
    assert difference.max() > 60.0 and abs(int(difference.argmax()) - len(difference) // 2) < 8
    assert difference[: len(difference) // 2 - 20].max() < 5.0
