"""The border of a mesh is what one face alone has; pieces are what edges join."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from imhead.surfaces.pieces import border_edges, piece_of_vertices

TETRAHEDRON = np.array([[0, 1, 2], [0, 3, 1], [1, 3, 2], [0, 2, 3]])


def test_a_closed_surface_has_no_border() -> None:
    assert len(border_edges(TETRAHEDRON)) == 0


@given(st.integers(0, 3), st.permutations(range(3)))
def test_the_border_of_a_hole_is_the_missing_face(missing: int, order: list[int]) -> None:
    """However the corners of the other faces are turned."""
    others = np.delete(TETRAHEDRON, missing, axis=0)[:, order]
    expected = {tuple(sorted(edge)) for edge in zip(TETRAHEDRON[missing], np.roll(TETRAHEDRON[missing], 1))}
    assert {tuple(edge) for edge in border_edges(others)} == expected


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=20))
def test_vertices_share_a_piece_where_a_path_of_edges_joins_them(edges: list[tuple[int, int]]) -> None:
    joined = np.eye(10, dtype=bool)
    for a, b in edges:
        joined[a, b] = joined[b, a] = True
    for _ in range(10):
        joined |= (joined.astype(int) @ joined.astype(int)) > 0
    piece = piece_of_vertices(np.array(edges, dtype=np.int64).reshape(-1, 2), 10)
    assert ((piece[:, None] == piece) == joined).all()
