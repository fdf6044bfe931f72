"""Thin walls stay whole: they are found on the template, checked after a fit, and held where offsets pierced them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from imhead.checkpoint import Model, load_model
from imhead.fitting.config import FitConfig
from imhead.fitting.objective import Codes
from imhead.fitting.result import _handle_warnings
from imhead.fitting.walls import thin_places
from imhead.isosurface.field import HeadField
from imhead.regions import resolve
from imhead.surfaces.handle_mending import mended
from imhead.template.sheets import opposite_sheets
from imhead.template.surface import template_of
from imhead.types import Mesh


@pytest.fixture(scope="module")
def shipped() -> Model:
    return load_model()


def mean_codes(model: Model) -> Codes:
    neutral = model.neutral()
    return Codes(torch.tensor(neutral.z_id), torch.zeros(52), torch.tensor(neutral.offsets))


def pierced(model: Model) -> Codes:
    """The mean head with its upper lip flattened until the mouth comes through."""
    codes = mean_codes(model)
    places = thin_places(model, codes)
    row = resolve("upper_lip")[0].index
    for seed in range(40):
        step = 2.5 * torch.from_numpy(np.random.default_rng(seed).normal(size=codes.offsets.shape[1])).float()
        offsets = codes.offsets.clone()
        offsets[row] += step
        if places.with_torn(model, replace(codes, offsets=offsets)) is not None:
            return replace(codes, offsets=offsets)
    raise AssertionError("no draw pierced a wall")


def test_the_middles_of_the_walls_lie_inside_the_mean_head(shipped: Model) -> None:
    sheets = opposite_sheets(shipped)
    assert sheets is not None and sheets.wall.sum() > 1000
    mean = template_of(shipped).mean
    middles = 0.5 * (mean[sheets.near] + mean[sheets.far])[sheets.wall]
    field = HeadField(shipped, shipped.neutral())
    assert (field.canonical_sdf(middles) < 0.0).mean() > 0.99


def test_lips_nose_wings_and_ears_have_walls_on_both_sides(shipped: Model) -> None:
    sheets = opposite_sheets(shipped)
    assert sheets is not None
    near = template_of(shipped).mean[sheets.near[sheets.wall]]
    for region in resolve(["upper_lip", "lower_lip", "left_nostril", "right_nostril", "left_ear_helix"]):
        assert (np.linalg.norm(near - region.center_mm, axis=1) < region.radius_mm).sum() > 20, region.name


def test_a_head_that_pierces_nothing_holds_nothing(shipped: Model) -> None:
    codes = mean_codes(shipped)
    places = thin_places(shipped, codes)
    assert places.to_hold(shipped, codes, FitConfig()) is None
    assert places.with_torn(shipped, codes) is None


def test_a_pierced_wall_is_held_with_those_near_it(shipped: Model) -> None:
    places = thin_places(shipped, mean_codes(shipped))
    torn = places.with_torn(shipped, pierced(shipped))
    assert torn is not None
    held = torn.to_hold(shipped, mean_codes(shipped), FitConfig())
    assert held is not None and 0 < len(held.points) < len(places.held)
    assert (held.depth_mm > 0.0).all() and held.deeper.all()


def test_a_model_without_a_template_has_no_walls(model: Model) -> None:
    assert opposite_sheets(model) is None
    assert not len(thin_places(model, mean_codes(model)).checked)


def test_a_fit_says_how_many_handles_its_mesh_has(tmp_path: Path) -> None:
    import imhead

    scan = Path(imhead.__file__).parent / "assets" / "demo_scan.ply"
    fitted = imhead.load(device="cpu").fit(scan, config=FitConfig(resolution=96))
    report = fitted.report()
    assert report["handles"] == fitted.result.handles
    assert (report["handles"] > 0) == any("through" in warning for warning in report["warnings"])
    assert report["mended_handles"]["count"] == len(fitted.result.mended)


def test_a_mesh_that_touches_itself_is_reported_and_not_refused() -> None:
    one = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]])
    other = np.where(one == 0, 0, one + 3)
    places = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [-1, 0, 0], [0, -1, 0], [0, 0, -1]], dtype=float)
    found = mended(Mesh(places, np.concatenate([one, other])))
    warnings = _handle_warnings(found)
    assert found.left is None and len(warnings) == 1 and "could not be counted" in warnings[0]
