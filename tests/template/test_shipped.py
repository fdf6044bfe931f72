"""The shipped template on the shipped model: how well it lies, and that its edits stay local."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from imhead import load
from imhead.api import EditableHead, MorphableModel
from imhead.checkpoint import load_model
from imhead.cli import main
from imhead.curation.scanfile import read_geometry
from imhead.evaluation.correspondence import crossing_edges
from imhead.geometry.field import HeadField
from imhead.regions import REGIONS
from imhead.template.surface import template_path
from imhead.template.topology import MOUTH, SKIN


@pytest.fixture(scope="module")
def shipped() -> MorphableModel:
    model = load_model("default")
    assert model.path is not None
    if not template_path(model.path).is_file():
        pytest.skip("the shipped model has no template yet: imhead train writes it, copy it beside the model")
    return load(device="cpu")


@pytest.fixture(scope="module")
def head(shipped: MorphableModel) -> EditableHead:
    return shipped.sample(1, seed=11)[0]


def test_the_template_lies_on_the_zero_set(shipped: MorphableModel, head: EditableHead) -> None:
    visible = shipped.template.on_surface > 0.5
    mesh = head.mesh(surface="template")
    assert np.abs(head.field().sdf(mesh.vertices[visible])).mean() < 0.02


@pytest.mark.parametrize("name", ["nose_tip", "left_upper_lid", "chin"])
def test_an_edit_moves_no_vertex_whose_steps_stay_outside_its_ball(
    shipped: MorphableModel, head: EditableHead, name: str
) -> None:
    region = next(r.index for r in REGIONS if r.name == name)
    changed = head.edit(name, sample=5, strength=1.5)
    fields = [HeadField(h.model, h.codes) for h in (head, changed)]
    before, after = (shipped.template.canonical(field) for field in fields)
    outside = np.ones(len(before), dtype=bool)
    for field in fields:
        ball = field.ball(region)
        # the field is asked within the reach of a step around a vertex
        outside &= np.linalg.norm(before - ball.center_mm, axis=1) > ball.radius_mm + 7.0
    assert np.array_equal(before[outside], after[outside])
    assert not np.array_equal(before, after)


@pytest.mark.parametrize("weights", [{}, {"jawOpen": 0.4}, {"mouthSmileLeft": 1.0, "mouthSmileRight": 1.0}])
def test_the_skin_does_not_pass_through_itself(
    shipped: MorphableModel, head: EditableHead, weights: dict[str, float]
) -> None:
    template, mesh = shipped.template, head.mesh(weights, surface="template")
    skin = template.faces[np.isin(template.part[template.faces], (SKIN, MOUTH)).all(axis=1)]
    crossing = crossing_edges(mesh.vertices, skin)
    # where lips touch, a few edges of one may lie within the other
    assert len(crossing) < 40


def test_a_smiling_template_lies_on_the_zero_set_of_the_smiling_head(
    shipped: MorphableModel, head: EditableHead
) -> None:
    weights = {"mouthSmileLeft": 1.0, "mouthSmileRight": 1.0}
    skin = (shipped.template.part == SKIN) & (shipped.template.on_surface > 0.5)
    mesh = head.mesh(weights, surface="template")
    assert np.abs(head.field(weights).sdf(mesh.vertices[skin])).mean() < 0.02


def test_every_head_has_the_same_faces(shipped: MorphableModel, head: EditableHead) -> None:
    other = shipped.neutral().mesh(surface="template")
    mine = head.mesh(surface="template")
    assert np.array_equal(mine.faces, other.faces) and len(mine.vertices) == len(other.vertices)


def test_the_command_writes_a_glb_with_the_template_and_refuses_an_stl(
    head: EditableHead, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head.save(tmp_path / "h.safetensors")
    for kind, code in (("glb", 0), ("stl", 2)):
        words = ["imhead", "mesh", str(tmp_path / "h.safetensors"), "--surface", "template", "--device", "cpu"]
        monkeypatch.setattr("sys.argv", [*words, "--out", str(tmp_path / f"h.{kind}")])
        try:
            main()
            ended = 0
        except SystemExit as stopped:
            ended = int(stopped.code or 0)
        assert ended == code
    assert b'"targetNames":["eyeBlinkLeft"' in (tmp_path / "h.glb").read_bytes()
    assert len(read_geometry(tmp_path / "h.glb").points) > 14_000
