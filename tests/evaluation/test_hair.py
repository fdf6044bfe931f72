"""Hair on virtual heads: where it grows, and how thick and rough it is."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import trimesh

from imhead.errors import InputError
from imhead.evaluation.hair import HairStyle, grow_hair
from imhead.types import FloatArray, Mesh


@pytest.fixture(scope="module")
def ball() -> Mesh:
    """A round head of 95 mm, which stands for the mean head too."""
    mesh = trimesh.creation.icosphere(4, radius=95.0)
    return Mesh(np.asarray(mesh.vertices), np.asarray(mesh.faces, dtype=np.int64))


def grown(ball: Mesh, style: HairStyle, seed: int = 0, rough_mm: float = 0.6) -> FloatArray:
    mesh = grow_hair(ball, ball.vertices, style, 6.0, rough_mm, np.random.default_rng(seed))
    assert mesh.faces.max() < len(mesh.vertices)
    return mesh.vertices


def test_a_beard_is_as_thick_and_rough_as_asked_and_the_rest_stays_bare(ball: Mesh) -> None:
    vertices = grown(ball, "beard")
    thickness = np.linalg.norm(vertices, axis=1) - 95.0
    bearded = thickness > 2.0
    assert np.median(thickness[bearded]) == pytest.approx(6.0, abs=1.0)
    assert vertices[bearded, 1].max() < 25.0 and vertices[bearded, 2].min() > 0.0
    smooth = np.linalg.norm(grown(ball, "beard", rough_mm=1e-6), axis=1) - 95.0
    assert (thickness - smooth)[smooth > 4.0].std() == pytest.approx(0.6, rel=0.25)


def test_a_moustache_is_smaller_than_a_beard(ball: Mesh) -> None:
    span = [
        np.ptp(v[np.linalg.norm(v, axis=1) > 97.5], axis=0) for v in (grown(ball, s) for s in ("moustache", "beard"))
    ]
    assert 0.0 < span[0][0] < 70.0 < span[1][0]


def test_hair_over_the_ears_hangs_on_both_sides_and_leaves_the_head_as_it_is(ball: Mesh) -> None:
    vertices = grown(ball, "over_ears")
    np.testing.assert_array_equal(vertices[: len(ball.vertices)], ball.vertices)
    hanging = vertices[len(ball.vertices) :]
    assert np.median(hanging[hanging[:, 0] > 0, 0]) == pytest.approx(
        -np.median(hanging[hanging[:, 0] < 0, 0]), rel=0.02
    )


def test_the_same_seed_grows_the_same_hair(ball: Mesh) -> None:
    for style in get_args(HairStyle):
        np.testing.assert_array_equal(grown(ball, style, 3), grown(ball, style, 3))
        assert not np.array_equal(grown(ball, style, 3), grown(ball, style, 4))


def test_an_unknown_style_and_no_length_are_refused(ball: Mesh) -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(InputError, match="beard, moustache, over_ears"):
        grow_hair(ball, ball.vertices, "mohawk", 6.0, 0.6, rng)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="above 0"):
        grow_hair(ball, ball.vertices, "beard", 0.0, 0.6, rng)
