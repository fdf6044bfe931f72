"""Levels of detail, and the files of other programs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from imhead.avatar.avatar import PosedTemplate, avatar_scene
from imhead.avatar.levels import SKIN_VERTICES
from imhead.avatar.look import Look
from imhead.avatar.parts import Parts
from imhead.avatar.skin_image import jpeg_bytes
from imhead.conventions import ARKIT_NAMES
from imhead.io.glb_scene_writer import Clip, Scene
from imhead.io.usd_scene_writer import UNIT_MM, write_usd_scene
from imhead.surfaces.distances import point_to_surface
from imhead.template.topology import Topology
from imhead.types import Mesh, SkinImage

BLANK = SkinImage(jpeg_bytes(np.full((64, 64, 3), 200, dtype=np.uint8)), b"", "light")


@pytest.fixture(scope="module")
def scenes(mean_template: PosedTemplate, topology: Topology, parts: Parts) -> list[Scene]:
    return [avatar_scene(mean_template, topology, parts, Look(lod=level), skin=BLANK) for level in range(3)]


@pytest.mark.parametrize("level", [1, 2])
def test_a_level_has_fewer_vertices_and_the_same_names(scenes: list[Scene], level: int) -> None:
    skin, whole = scenes[level].parts[0], scenes[0].parts[0]
    wanted = SKIN_VERTICES[level]
    assert wanted is not None and abs(len(skin.vertices) - wanted) < 0.05 * wanted
    assert [part.name for part in scenes[level].parts] == [part.name for part in scenes[0].parts]
    for part, full in zip(scenes[level].parts, scenes[0].parts):
        assert len(part.vertices) < len(full.vertices)
        assert (part.shapes is None) == (full.shapes is None)
        assert part.shapes is None or full.shapes is None or part.shapes.names == full.shapes.names
    away, _, _ = point_to_surface(skin.vertices, Mesh(whole.vertices, whole.faces))
    assert away.max() < 1e-3  # its vertices are the skin's own
    off, _, _ = point_to_surface(whole.vertices, Mesh(skin.vertices, skin.faces))
    assert np.median(off) < (0.1, 0.4)[level - 1]


@pytest.mark.parametrize("level", [1, 2])
def test_the_corners_of_a_levels_faces_lie_side_by_side_in_the_picture(scenes: list[Scene], level: int) -> None:
    skin = scenes[level].parts[0]
    assert skin.uv is not None
    flat = skin.uv.uv[skin.uv.faces]
    assert np.linalg.norm(flat - flat.mean(axis=1, keepdims=True), axis=2).max() < 0.12  # no face spans a seam


def test_a_level_is_the_same_on_every_head(
    scenes: list[Scene], mean_template: PosedTemplate, topology: Topology, parts: Parts
) -> None:
    other = PosedTemplate(1.1 * mean_template.skin, mean_template.shapes, mean_template.eyes, np.zeros(52))
    found = avatar_scene(other, topology, parts, Look(lod=2), skin=BLANK)
    for one, two in zip(scenes[2].parts, found.parts):
        assert np.array_equal(one.faces, two.faces)


@pytest.mark.parametrize("ending", ["usda", "usdz"])
def test_usd_opens_with_the_same_points_shapes_weights_and_take(
    scenes: list[Scene], tmp_path: Path, ending: str
) -> None:
    usd = pytest.importorskip("pxr.Usd")
    from pxr import UsdGeom, UsdSkel, UsdValidation

    times = np.array([0.0, 0.5, 1.0])
    clip = Clip(
        "take", times, {"jawOpen": np.array([0.0, 0.8, 0.2])}, {"head": np.tile([0.0, 0.1, 0.0, 0.995], (3, 1))}
    )
    scene = Scene(scenes[2].parts, scenes[2].materials, scenes[2].images, scenes[2].joints, clip)
    path = tmp_path / f"me.{ending}"
    assert write_usd_scene(scene, path) >= path.stat().st_size
    stage = usd.Stage.Open(str(path))
    validators = UsdValidation.ValidationRegistry().GetOrLoadAllValidators()
    assert [fault.GetErrorAsString() for fault in UsdValidation.ValidationContext(validators).Validate(stage)] == []
    for part in scene.parts:
        mesh = UsdGeom.Mesh(stage.GetPrimAtPath(f"/avatar/{part.name}"))
        assert np.allclose(np.array(mesh.GetPointsAttr().Get()) * UNIT_MM, part.vertices, atol=1e-3)
        binding = UsdSkel.BindingAPI(mesh.GetPrim())
        assert np.allclose(np.array(binding.GetJointWeightsPrimvar().Get()).reshape(-1, 4), part.weights, atol=1e-6)
    skin = scene.parts[0]
    assert skin.shapes is not None and tuple(skin.shapes.names) == ARKIT_NAMES
    shape = UsdSkel.BlendShape(stage.GetPrimAtPath("/avatar/skin/jawOpen"))
    moved = np.zeros_like(skin.vertices)
    moved[np.array(shape.GetPointIndicesAttr().Get())] = np.array(shape.GetOffsetsAttr().Get()) * UNIT_MM
    assert np.abs(moved - skin.shapes.offsets[ARKIT_NAMES.index("jawOpen")]).max() < 0.01
    take = UsdSkel.Animation(stage.GetPrimAtPath("/avatar/take"))
    row = list(take.GetBlendShapesAttr().Get()).index("jawOpen")
    rate = stage.GetTimeCodesPerSecond()
    assert take.GetBlendShapeWeightsAttr().Get(0.5 * rate)[row] == pytest.approx(0.8, abs=0.003)
