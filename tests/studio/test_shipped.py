"""What needs the model that ships, with its template: measurements, and the quick surface of a moving slider."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import cKDTree

from imhead.api import EditableHead
from imhead.checkpoint import Model, load_model
from imhead.errors import InputError
from imhead.regions import resolve
from imhead.studio.commands import RandomHead, SetExpression, SetMeasurement, measured
from imhead.studio.studio import Studio
from imhead.studio.surface import has_template, map_regions, quick_mesh


@pytest.fixture(scope="module")
def shipped() -> Model:
    return load_model()


@pytest.fixture
def studio(shipped: Model) -> Studio:
    made = Studio(shipped)
    made.do(RandomHead(3))
    made.select("nose")
    return made


def test_a_measurement_is_brought_to_the_number_that_was_given(studio: Studio) -> None:
    before = studio.head
    wanted = measured(studio.model, before)["nasal_length"] + 2.0
    studio.do(SetMeasurement(studio.scope, "nasal_length", wanted))
    assert measured(studio.model, studio.head)["nasal_length"] == pytest.approx(wanted, abs=0.1)
    moved = np.flatnonzero((before.offsets != studio.head.offsets).any(axis=1))
    assert set(moved.tolist()) <= {region.index for region in resolve("nose")}
    assert studio.history.steps[-1].label == f"nose: nasal length to {wanted:.1f}"


def test_a_measurement_that_no_person_has_is_refused(studio: Studio) -> None:
    before = studio.head
    with pytest.raises(InputError):
        studio.do(SetMeasurement(studio.scope, "nasal_length", 400.0))
    assert studio.head is before


def test_the_quick_surface_lies_near_the_exact_one(studio: Studio) -> None:
    studio.do(SetExpression((("mouthSmileLeft", 0.6), ("mouthSmileRight", 0.6))))
    assert has_template(studio.model)
    quick = quick_mesh(studio.model, studio.head)
    assert quick is not None
    exact = EditableHead(studio.head, studio.model).mesh(resolution=96)
    near = cKDTree(exact.vertices).query(quick.vertices)[0]
    assert np.median(near) < 2.0


def test_the_tip_of_the_nose_belongs_to_the_nose(studio: Studio) -> None:
    mesh = EditableHead(studio.head, studio.model).mesh(resolution=64)
    regions = map_regions(studio.model, studio.head, mesh)
    near = np.abs(mesh.vertices[:, 0]) < 15.0
    tip = np.flatnonzero(near)[mesh.vertices[near, 2].argmax()]
    assert resolve("nose_tip")[0].index == regions.owner[tip]
