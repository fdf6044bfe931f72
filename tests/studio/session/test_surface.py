"""The quick and the exact surface of a head, on the shipped model."""

from __future__ import annotations

import threading
from collections.abc import Mapping

import numpy as np
import pytest
from scipy.spatial import cKDTree

from imhead.api import EditableHead
from imhead.isosurface.field import HeadField
from imhead.regions import resolve
from imhead.studio.session.jobs import JobState
from imhead.studio.session.page_protocol import Overlay
from imhead.studio.session.surface import SurfaceCache, map_regions, quick_mesh
from imhead.studio.session.tab_session import ShownSurface, TabSession
from imhead.studio.state.commands.edits import MoveByWord
from imhead.studio.state.commands.expression import SetExpression
from imhead.studio.state.commands.library import RandomHead
from imhead.studio.state.studio import Studio
from imhead.template.surface import template_of
from imhead.types import Head, Mesh


class LimitPage:
    """A page that records the scale of the heat map and the moving meshes."""

    def __init__(self, limits: list[float]) -> None:
        self._limits = limits
        self.moving: list[Mesh] = []

    def show_moving(self, head: Head, mesh: Mesh) -> None:
        self.moving.append(mesh)

    def show_still(self, shown: ShownSurface, overlay: Overlay) -> None:
        self._limits.append(overlay.limit_mm)

    def sync(self) -> None:
        pass

    def show_jobs(self, jobs: tuple[JobState, ...]) -> None:
        pass

    def show_handle(self, vertex: int, ways: object) -> None:
        pass

    def show_range(self, name: str, low: float, high: float) -> None:
        pass

    def download(self, name: str, content: bytes) -> None:
        pass

    def show_error(self, sentence: str, nearest: Mapping[str, float]) -> None:
        raise AssertionError(sentence)


def test_the_exact_surface_lies_on_the_zero_set(opened: Studio) -> None:
    quick, fine = (
        quick_mesh(opened.model, opened.head),
        SurfaceCache(opened.model).of(opened.head),
    )
    skin = template_of(opened.model).on_surface == 1.0
    quick_off, fine_off = (
        np.abs(HeadField(opened.model, opened.head).sdf(mesh.vertices[skin])) for mesh in (quick, fine.mesh)
    )
    assert np.quantile(fine_off, 0.9) < 0.2 * np.quantile(quick_off, 0.9)
    np.testing.assert_array_equal(fine.mesh.faces, quick.faces)
    np.testing.assert_allclose(np.linalg.norm(fine.normals, axis=1), 1.0, atol=1e-9)


def test_the_cache_keeps_a_head_now_and_before(opened: Studio) -> None:
    surface, before = SurfaceCache(opened.model), opened.head
    first = surface.of(before)
    opened.do(MoveByWord(opened.scope, "wider", 2.0))
    assert not surface.holds(opened.head)
    assert surface.of(opened.head) is not first and surface.of(before) is first
    surface.clear()
    assert not surface.holds(before)


def test_an_edit_of_the_nose_moves_the_exact_surface_nowhere_else(opened: Studio) -> None:
    surface, before = SurfaceCache(opened.model), opened.head
    first = surface.of(before)
    opened.do(MoveByWord(opened.scope, "wider", 2.0))
    moved = np.linalg.norm(surface.of(opened.head).mesh.vertices - first.mesh.vertices, axis=1)
    nose = [region.index for region in resolve("nose")]
    reached = map_regions(opened.model, before, first.mesh).influence[:, nose].max(axis=1) > 0.0
    reached |= map_regions(opened.model, opened.head, first.mesh).influence[:, nose].max(axis=1) > 0.0
    assert moved[reached].max() > 1.0
    far = cKDTree(first.mesh.vertices[reached]).query(first.mesh.vertices)[0] > 8.0  # beyond the reach of a Newton step
    assert far.sum() > 1000 and not moved[far].any()


def test_the_movement_of_a_head_is_measured_from_when_it_was_added(opened: Studio) -> None:
    session = TabSession(opened.model, threading.Lock())
    limits: list[float] = []
    session.attach(lambda: LimitPage(limits))
    for seed in (3, 14):
        session.do(RandomHead(seed))
        session.set_display("movement")
    assert session.wait()
    assert limits[-1] == pytest.approx(0.1), "a head that has not moved has the smallest scale"
    session.close()
    session.join()


def test_the_quick_surface_lies_near_the_exact_one(opened: Studio) -> None:
    opened.do(SetExpression((("mouthSmileLeft", 0.6), ("mouthSmileRight", 0.6))))
    quick = quick_mesh(opened.model, opened.head)
    skin = template_of(opened.model).on_surface == 1.0
    away = np.abs(HeadField(opened.model, opened.head).sdf(quick.vertices[skin]))
    assert np.median(away) < 0.7 and np.quantile(away, 0.99) < 4.0


def test_the_tip_of_the_nose_belongs_to_the_nose(opened: Studio) -> None:
    mesh = EditableHead(opened.head, opened.model).mesh(resolution=64)
    regions = map_regions(opened.model, opened.head, mesh)
    near = np.abs(mesh.vertices[:, 0]) < 15.0
    tip = np.flatnonzero(near)[mesh.vertices[near, 2].argmax()]
    assert resolve("nose_tip")[0].index == regions.owner[tip]
