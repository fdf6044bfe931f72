"""The picture of a fit."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh

from imhead.errors import InputError
from imhead.reports.fit_report import fit_picture
from imhead.types import Mesh


def ball(radius_mm: float = 80.0) -> Mesh:
    sphere = trimesh.creation.icosphere(subdivisions=4, radius=radius_mm)
    return Mesh(sphere.vertices, sphere.faces)


def test_a_fit_picture_shows_scan_fit_and_distance_for_meshes_and_points() -> None:
    fit, scan = ball(80.0), ball(81.0)
    distance = np.full(len(scan.vertices), 1.0)
    for faces in (scan.faces, None):
        picture = fit_picture(
            scan.vertices, fit, distance, faces=faces, views=("front",), size=64, figures={"scale": "as given"}
        )
        assert picture.width == 3 * (64 + 6) + 6 and picture.height > 64


def test_unexplained_points_are_grey_in_a_fit_picture() -> None:
    scan = ball(81.0)
    half = scan.vertices[:, 1] > 0
    distance = np.where(half, 60.0, 5.0)
    picture = fit_picture(
        scan.vertices, ball(80.0), distance, faces=scan.faces, explained=~half, views=("front",), size=96, limit_mm=5.0
    )
    last = np.asarray(picture).astype(int)[6:102, 2 * 102 + 6 : 2 * 102 + 102]
    spread = np.ptp(last, axis=2)
    # the picture is centred on the lower half, the explained one: its edge stands in row 28
    assert spread[:24, 48].max() < 25 and spread[32:60, 48].min() > 40


def test_a_fit_that_explains_nothing_is_refused_with_one_line() -> None:
    scan = ball()
    nothing = np.zeros(len(scan.vertices), dtype=bool)
    with pytest.raises(InputError, match="explains no point"):
        fit_picture(scan.vertices, ball(), np.zeros(len(nothing)), explained=nothing)
    with pytest.raises(InputError, match="distances"):
        fit_picture(scan.vertices, ball(), np.zeros(3))
