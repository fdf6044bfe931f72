"""A bound mesh follows the template: exactly where the template only moves, turns and grows, smoothly elsewhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

import imhead
from imhead.errors import InputError
from imhead.io.obj_polygons import Polygons
from imhead.sources.ict import read_ict
from imhead.surfaces.properties import face_cross
from imhead.template.topology import load_topology
from imhead.topology.binding import bind
from imhead.topology.store import UserTopology, digest_of, open_topology, save_topology

TEMPLATE = imhead.load(device="cpu").template
ICT = read_ict(Path(__file__).resolve().parents[1] / "data" / "ict_subset.npz", modes=4)
FACES = np.concatenate([ICT.skin_open_faces, ICT.eye_faces])
REGISTERED = load_topology().place(ICT.mean.astype(np.float64))
# a tooth hangs in the mouth, a horn stands away from the head
TOOTH = np.array([[3.0, -47.0, 88.0], [5.0, -47.0, 88.0], [4.0, -51.0, 88.0], [4.0, -49.0, 86.0]])
HORN = np.array([[0.0, 170.0, 60.0], [2.0, 170.0, 60.0], [1.0, 175.0, 60.0], [1.0, 172.0, 63.0]])
SOLID = np.array([[0, 1, 2], [0, 3, 1], [1, 3, 2], [2, 3, 0]])
COUNT = len(ICT.mean)
REST = np.concatenate([ICT.mean.astype(np.float64), TOOTH, HORN])
TRIANGLES = np.concatenate([FACES, SOLID + COUNT, SOLID + COUNT + 4])
POLYGONS = Polygons(np.full(len(TRIANGLES), 3), TRIANGLES.ravel())
BINDING = bind(REST, POLYGONS, TEMPLATE, REGISTERED)
USED = np.unique(TRIANGLES)
TOPOLOGY = UserTopology("mine", BINDING, POLYGONS, digest_of(TEMPLATE.faces))


def test_on_the_template_that_it_was_bound_to_the_mesh_is_as_it_was() -> None:
    np.testing.assert_allclose(BINDING.placed(REGISTERED), REST, atol=1e-6)


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 2**31), st.floats(0.7, 1.4))
def test_a_template_that_moves_turns_and_grows_takes_every_vertex_along(seed: int, size: float) -> None:
    rng = np.random.default_rng(seed)
    turn, shift = Rotation.random(rng=rng).as_matrix(), rng.normal(0.0, 100.0, 3)
    moved = BINDING.placed(size * REGISTERED @ turn.T + shift)
    wanted = size * REST @ turn.T + shift
    away = np.linalg.norm(moved - wanted, axis=1)
    # an offset over the skin keeps its length, which is a small part of a millimetre here
    assert away[USED].max() < 2.5 and np.median(away[USED]) < 0.15
    far = np.flatnonzero((BINDING.eye > 0) | (BINDING.distance_mm > 8.0))
    np.testing.assert_allclose(moved[far], wanted[far], atol=1e-3)


def test_eyeballs_and_teeth_are_recognised() -> None:
    eyes = np.unique(ICT.eye_faces)
    assert (BINDING.eye[eyes] > 0).all() and not BINDING.eye[np.unique(ICT.skin_open_faces)].any()
    assert (BINDING.jaw[COUNT : COUNT + 4] == 1.0).all() and (BINDING.jaw[COUNT + 4 :] < 0.0).all()
    assert (BINDING.jaw[USED[USED < COUNT]] < 0.0).all()


def test_a_lower_tooth_opens_with_the_jaw_as_one_piece_and_a_smile_hardly_moves_it() -> None:
    names = list(imhead.conventions.ARKIT_NAMES)
    opened = BINDING.placed(REGISTERED + TEMPLATE.shapes[names.index("jawOpen")], REGISTERED)[COUNT : COUNT + 4]
    down = opened - TOOTH
    assert down[:, 1].max() < -8.0
    edges = [np.linalg.norm(k[:, None] - k[None], axis=2) for k in (TOOTH, opened)]
    np.testing.assert_allclose(edges[0], edges[1], atol=1e-6)
    smile = TEMPLATE.shapes[names.index("mouthSmileLeft")]
    still = BINDING.placed(REGISTERED + smile, REGISTERED)[COUNT : COUNT + 4]
    assert np.abs(still - TOOTH).max() < 2.5  # skin slides over the chin


def test_heads_in_the_topology_lie_where_their_own_vertices_are_and_nothing_is_turned_over() -> None:
    for mode in range(3):
        truth = ICT.mean.astype(np.float64) + 1.5 * ICT.identity[mode]
        placed = BINDING.placed(load_topology().place(truth))[:COUNT]
        skin = np.unique(ICT.skin_open_faces)
        assert np.linalg.norm(placed - truth, axis=1)[skin].mean() < 0.15
        over = np.einsum(
            "fc,fc->f", face_cross(placed, ICT.skin_open_faces), face_cross(truth, ICT.skin_open_faces)
        )  # fmt: skip
        assert (over < 0.0).mean() < 5e-4


def test_a_topology_comes_back_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    save_topology(TOPOLOGY, path)
    again = open_topology(str(path), TEMPLATE)
    np.testing.assert_allclose(again.binding.placed(REGISTERED), REST, atol=1e-4)
    np.testing.assert_array_equal(again.triangles(), TRIANGLES)
    save_topology(again, tmp_path / "again.safetensors")
    assert path.read_bytes() == (tmp_path / "again.safetensors").read_bytes()


def test_names_lead_to_the_users_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setattr("sys.platform", "linux")
    from imhead.topology.store import known_topologies, topology_path

    assert topology_path("mine") == tmp_path / "imhead" / "topologies" / "mine.safetensors"
    save_topology(TOPOLOGY, topology_path("mine"))
    assert known_topologies() == ["mine"]
    assert open_topology("mine", TEMPLATE).name == "mine"
    with pytest.raises(InputError, match="known: mine"):
        open_topology("other", TEMPLATE)
    for name in ("", "../x", "a/b", ".hidden", "x" * 100, "a\nb"):
        with pytest.raises(InputError, match="give a name"):
            topology_path(name)


def test_a_damaged_topology_and_one_of_another_template_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    save_topology(TOPOLOGY, path)
    data = bytearray(path.read_bytes())
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match="damaged"):
        open_topology(str(path), TEMPLATE)
    save_topology(UserTopology("mine", BINDING, POLYGONS, "0" * 16), path)
    with pytest.raises(InputError, match="another template"):
        open_topology(str(path), TEMPLATE)
    wrong = Polygons(POLYGONS.counts, np.where(POLYGONS.corners == 0, 10**6, POLYGONS.corners))
    save_topology(UserTopology("mine", BINDING, wrong, digest_of(TEMPLATE.faces)), path)
    with pytest.raises(InputError, match="out of range"):
        open_topology(str(path), TEMPLATE)
