"""A point of the skin that is dragged follows a direction of the selection, on the shipped model."""

from __future__ import annotations

import numpy as np
import pytest

from imhead.errors import InputError
from imhead.regions import resolve
from imhead.studio.session.handle import handle_ways
from imhead.studio.session.surface import map_regions, quick_mesh
from imhead.studio.state.commands.edits import MoveByWord
from imhead.studio.state.studio import Studio


def test_a_handle_on_the_nose_goes_where_its_words_say(opened: Studio) -> None:
    mesh = quick_mesh(opened.model, opened.head)
    tip = resolve("nose_tip")[0].index
    vertex = int(map_regions(opened.model, opened.head, mesh).influence[:, tip].argmax())
    ways = {way.key: way for way in handle_ways(opened.model, opened.head, opened.scope, vertex)}
    way = ways["projecting"]
    assert way.step_mm[2] > 0.3 and abs(way.step_mm[0]) < 0.3 * way.step_mm[2], "forwards"
    opened.do(MoveByWord(opened.scope, "projecting", way.value + (-0.8 if way.value > 0 else 0.8)))
    moved = quick_mesh(opened.model, opened.head).vertices[vertex] - mesh.vertices[vertex]
    wanted = way.step_mm * (-0.8 if way.value > 0 else 0.8)
    assert np.linalg.norm(moved - wanted) < 0.35 * np.linalg.norm(wanted)


def test_a_handle_that_is_none_is_refused(opened: Studio) -> None:
    for vertex in (-1, 10**9):
        with pytest.raises(InputError, match="has no vertex"):
            handle_ways(opened.model, opened.head, opened.scope, vertex)
    opened.set_locked(opened.settings.selection, True)
    with pytest.raises(InputError, match="locked"):
        handle_ways(opened.model, opened.head, opened.scope, 0)
