"""The shipped topology: a clean sheet with three openings, two charts of skin, and a mirror image of itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from embreex.mesh_construction import TriangleMesh
from embreex.rtcore_scene import EmbreeScene
from safetensors.numpy import save_file

from imhead.errors import InputError
from imhead.sources.ict import IctModel, boundary_loops
from imhead.template.topology import LEFT_EYE, MOUTH, RIGHT_EYE, SKIN, Topology, load_topology, save_topology
from imhead.types import FloatArray, IntArray


@pytest.fixture(scope="module")
def topology() -> Topology:
    return load_topology()


def edges_of(faces: IntArray) -> IntArray:
    """(3F, 2) directed edges."""
    return faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)


def signed_areas(uv: FloatArray, faces: IntArray) -> FloatArray:
    a, b, c = (uv[faces[:, k]] for k in range(3))
    return 0.5 * ((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0])


def test_the_template_has_between_ten_and_twenty_thousand_vertices_and_uses_each(topology: Topology) -> None:
    assert 10_000 <= len(topology.part) <= 20_000
    assert np.array_equal(np.unique(topology.faces), np.arange(len(topology.part)))


def test_the_surface_is_manifold_and_its_faces_agree_on_the_outside(topology: Topology) -> None:
    edges = edges_of(topology.faces)
    assert len(np.unique(edges, axis=0)) == len(edges)


def test_the_only_openings_are_the_rims_of_the_lids_and_the_cut_below_the_shoulders(topology: Topology) -> None:
    loops = boundary_loops(topology.faces)
    assert len(loops) == 3
    assert all((topology.part[loop] == SKIN).all() for loop in loops)


def test_the_eyeballs_are_closed(topology: Topology) -> None:
    for eye in (LEFT_EYE, RIGHT_EYE):
        faces = topology.faces[(topology.part[topology.faces] == eye).all(axis=1)]
        assert not boundary_loops(faces)


def test_the_mouth_socket_closes_behind_the_lips(topology: Topology) -> None:
    inside = (topology.part[topology.faces] == MOUTH).any(axis=1)
    assert inside.sum() > 500
    assert len(boundary_loops(topology.faces[inside])) == 1


def test_no_face_is_turned_over_in_the_uv_map(topology: Topology) -> None:
    assert (signed_areas(topology.uv, topology.uv_faces) > 0).all()
    assert topology.uv.min() >= 0.0 and topology.uv.max() <= 1.0


def test_no_place_of_the_picture_belongs_to_two_faces(topology: Topology) -> None:
    # each face lies flat at a height of its own: seen from above and from below, the same one must come first
    count = len(topology.faces)
    height = np.repeat(np.arange(count), 3)[:, None]
    flat = np.concatenate([1e4 * topology.uv[topology.uv_faces].reshape(-1, 2), height], axis=1)
    scene = EmbreeScene()
    TriangleMesh(scene, flat.astype(np.float32), np.arange(3 * count, dtype=np.int32).reshape(-1, 3))
    places = np.random.default_rng(0).uniform(0.0, 1e4, (50_000, 2))
    seen = []
    for start, way in ((count + 10.0, -1.0), (-10.0, 1.0)):
        origin = np.column_stack([places, np.full(len(places), start)]).astype(np.float32)
        seen.append(scene.run(origin, np.tile(np.float32([0.0, 0.0, way]), (len(places), 1))))
    assert (seen[0] >= 0).mean() > 0.5
    assert (seen[0] != seen[1]).mean() < 1e-4


def test_the_left_and_the_right_half_are_mirror_images(topology: Topology) -> None:
    twin = topology.twin
    assert np.array_equal(twin[twin], np.arange(len(twin)))
    turned = np.sort(twin[topology.faces], axis=1)
    assert {tuple(f) for f in turned.tolist()} == {tuple(f) for f in np.sort(topology.faces, axis=1).tolist()}
    assert (twin[topology.half :] < topology.half).all()


def test_no_vertex_of_the_source_is_a_vertex_of_the_template(topology: Topology, ict: IctModel) -> None:
    corner = topology.source_weights.max(axis=1)
    # a few lie on a corner, such as the ends of the loops; a copied mesh would have all of them there
    assert (corner > 0.999).mean() < 0.05
    mean = topology.place(ict.mean.astype(np.float64))
    np.testing.assert_allclose(mean[topology.twin] * [-1.0, 1.0, 1.0], mean, atol=0.7)


def test_faces_are_finer_at_the_lids_than_on_the_scalp(topology: Topology, ict: IctModel) -> None:
    mean = topology.place(ict.mean.astype(np.float64))
    edges = edges_of(topology.faces)
    length = np.linalg.norm(mean[edges[:, 0]] - mean[edges[:, 1]], axis=1)
    middle = 0.5 * (mean[edges[:, 0]] + mean[edges[:, 1]])
    lids = np.linalg.norm(middle - [31.0, 29.0, 83.0], axis=1) < 16.0
    scalp = middle[:, 1] > 100.0
    assert np.median(length[lids]) < 2.0 < 6.0 < np.median(length[scalp])


def test_a_topology_comes_back_from_its_file(topology: Topology, tmp_path: Path) -> None:
    save_topology(topology, tmp_path / "t.safetensors")
    again = load_topology(tmp_path / "t.safetensors")
    assert np.array_equal(again.faces, topology.faces) and np.array_equal(again.uv, topology.uv)


def test_a_file_that_is_no_topology_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.safetensors").write_bytes(b"not one")
    with pytest.raises(InputError, match="damaged"):
        load_topology(tmp_path / "t.safetensors")
    with pytest.raises(InputError, match="no such topology"):
        load_topology(tmp_path / "other.safetensors")
    save_file({"faces": np.zeros((1, 3), dtype=np.int32)}, tmp_path / "u.safetensors", {"format": "imhead-model-1"})
    with pytest.raises(InputError, match="holds 'imhead-model-1', not a topology"):
        load_topology(tmp_path / "u.safetensors")
