"""The ICT source: two ways in, one head, closed and symmetric."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import trimesh

from imhead.conventions import ARKIT_NAMES, CANONICAL_JAW_OPEN
from imhead.errors import InputError
from imhead.sources.ict import IDENTITY_MODES, IctModel, boundary_loops, read_ict

SHAPES = ("jawOpen", "browInnerUp_L")
HALF = 2.0**-11
"""Relative error of a number rounded to half precision."""


@pytest.fixture(scope="module")
def clone(shared: Path) -> IctModel:
    folder = shared / "ict"
    if not (folder / "FaceXModel").is_dir():
        pytest.skip("no part of an ICT-FaceKit clone is in the folder of shared data")
    return read_ict(folder, modes=2, expressions=SHAPES)


def assert_half(packed: np.ndarray, exact: np.ndarray) -> None:
    # offsets of less than 6e-5 cm are subnormal in half precision, and steps of 6e-8 cm
    np.testing.assert_allclose(packed, exact, rtol=2 * HALF, atol=2e-5)


def test_the_clone_and_the_packed_file_hold_the_same_head(clone: IctModel, ict: IctModel) -> None:
    np.testing.assert_allclose(clone.mean, ict.mean, atol=1e-3)
    for name in ("skin_faces", "skin_open_faces", "eye_faces", "mirror"):
        np.testing.assert_array_equal(getattr(clone, name), getattr(ict, name))


def test_the_clone_and_the_packed_file_hold_the_same_identities(clone: IctModel, full_ict: IctModel) -> None:
    assert len(clone.identity) == len(full_ict.identity) == IDENTITY_MODES
    assert np.abs(clone.identity[:2]).max() > 1.0
    assert_half(full_ict.identity[:2], clone.identity[:2])
    assert not clone.identity[2:].any()


def test_the_clone_and_the_packed_file_hold_the_same_expressions(
    clone: IctModel, full_ict: IctModel, full_ict_path: Path
) -> None:
    jaw = ARKIT_NAMES.index("jawOpen")
    assert_half(full_ict.expressions[jaw], clone.expressions[jaw])
    # ICT has an inner brow on each side where ARKit has one; the clone was asked for the left one only
    with np.load(full_ict_path) as data:
        right = data["expressions"][[str(n) for n in data["expression_names"]].index("browInnerUp_R")]
    brow = ARKIT_NAMES.index("browInnerUp")
    kept = np.r_[0:13294, 21451:22221, 23021:23791]
    both = clone.expressions[brow][: len(kept)] + 10.0 * right[kept].astype(np.float32)
    np.testing.assert_allclose(full_ict.expressions[brow][: len(kept)], both, rtol=2 * HALF, atol=1e-3)
    untouched = [k for k, name in enumerate(ARKIT_NAMES) if name not in ("jawOpen", "browInnerUp")]
    assert not clone.expressions[untouched].any()


def test_the_subset_of_the_tests_is_the_packed_file_to_a_step_of_its_rounding(
    ict: IctModel, full_ict: IctModel
) -> None:
    np.testing.assert_array_equal(ict.mean, full_ict.mean)
    np.testing.assert_array_equal(ict.skin_faces, full_ict.skin_faces)
    read = int(ict.identity.any(axis=(1, 2)).sum())
    assert read == 40
    np.testing.assert_allclose(ict.identity[:read], full_ict.identity[:read], atol=0.02)
    np.testing.assert_allclose(ict.expressions, full_ict.expressions, atol=0.04)  # an ARKit shape may be a sum of two


def test_every_arkit_shape_but_the_tongue_is_there(ict: IctModel) -> None:
    empty = [name for name, shape in zip(ARKIT_NAMES, ict.expressions) if not shape.any()]
    assert empty == ["tongueOut"]


def test_the_capped_skin_and_both_eyes_are_watertight_and_face_outwards(ict: IctModel) -> None:
    for vertices in (ict.mean, ict.mean + ict.canonical_offset):
        for faces in (ict.skin_faces, ict.eye_faces):
            solid = trimesh.Trimesh(vertices, faces, process=False)
            assert solid.is_watertight and solid.is_winding_consistent
            assert solid.volume > 0


def test_the_eyes_are_two_balls_with_no_surface_inside_them(ict: IctModel) -> None:
    # a surface within a solid is no part of the head's outside, and must not be sampled as such
    parts = trimesh.Trimesh(ict.mean, ict.eye_faces, process=False).split()
    assert len(parts) == 2
    assert sorted(np.sign(part.centroid[0]) for part in parts) == [-1.0, 1.0]


def test_the_skin_without_its_caps_has_the_openings_that_a_person_sees(ict: IctModel) -> None:
    assert len(ict.skin_open_faces) < len(ict.skin_faces)
    assert {len(loop) for loop in boundary_loops(ict.skin_open_faces)} >= {54, 42}
    assert boundary_loops(ict.skin_faces) == []


def test_the_head_stands_upright_in_the_head_frame_in_mm(ict: IctModel) -> None:
    skin = ict.mean[np.unique(ict.skin_open_faces)]
    nose = skin[skin[:, 2].argmax()]
    assert abs(nose[0]) < 1.0 and nose[2] > 90.0
    head_height = skin[:, 1].max() - nose[1]
    assert 80.0 < head_height < 200.0


def test_mirroring_vertices_twice_is_the_identity(ict: IctModel) -> None:
    np.testing.assert_array_equal(ict.mirror[ict.mirror], np.arange(len(ict.mean)))
    # the generic head is symmetric, so its mirror image is itself
    np.testing.assert_allclose(ict.mirrored(ict.mean), ict.mean, atol=0.1)


def test_mirroring_offsets_twice_is_the_identity(ict: IctModel) -> None:
    offsets = ict.identity_offsets(np.eye(IDENTITY_MODES)[3])
    np.testing.assert_array_equal(ict.mirrored(ict.mirrored(offsets)), offsets)


def test_offsets_are_linear_in_their_weights(ict: IctModel) -> None:
    a, b = np.random.default_rng(0).normal(size=(2, IDENTITY_MODES))
    both = ict.identity_offsets(a) + ict.identity_offsets(b)
    np.testing.assert_allclose(ict.identity_offsets(a + b), both, atol=2e-3)
    weights = np.zeros(52)
    assert not ict.expression_offsets(weights).any()
    weights[ARKIT_NAMES.index("jawOpen")] = CANONICAL_JAW_OPEN
    np.testing.assert_allclose(ict.expression_offsets(weights), ict.canonical_offset, atol=1e-5)


def test_a_path_that_is_no_source_is_refused_with_one_line(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    for path in (tmp_path / "nowhere", tmp_path, tmp_path / "notes.txt", tmp_path / "nowhere.npz"):
        with pytest.raises(InputError, match="not an ICT-FaceKit source") as caught:
            read_ict(path)
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_clone_that_lacks_a_file_is_refused_with_that_file_s_name(clone: IctModel, shared: Path) -> None:
    for modes, shapes, missing in ((3, (), "identity002.obj"), (1, ("jawLeft",), "jawLeft.obj")):
        with pytest.raises(InputError, match=missing) as caught:
            read_ict(shared / "ict", modes=modes, expressions=shapes)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut", b"no archive at all"])
def test_a_damaged_packed_file_is_refused_with_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "ict.npz"
    path.write_bytes(content)
    with pytest.raises(InputError, match="packed ICT-FaceKit file") as caught:
        read_ict(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_packed_file_that_was_cut_short_is_refused_with_one_line(tmp_path: Path, ict_path: Path) -> None:
    path = tmp_path / "ict.npz"
    path.write_bytes(ict_path.read_bytes()[:100_000])
    with pytest.raises(InputError, match="packed ICT-FaceKit file") as caught:
        read_ict(path)
    assert "\n" not in str(caught.value)


def test_an_archive_of_something_else_is_refused_with_its_name(tmp_path: Path) -> None:
    path = tmp_path / "other.npz"
    np.savez(path, a=np.zeros(3))
    with pytest.raises(InputError, match="packed ICT-FaceKit file"):
        read_ict(path)
    np.savez(
        path, expression_names=np.array(["jawOpen"]), expressions=np.zeros((1, 9, 3)), vertices=np.zeros((9, 3)),
        identity=np.zeros((2, 9, 3)), polygons=np.zeros((4, 4), dtype=int),
    )  # fmt: skip
    with pytest.raises(InputError, match="not ICT-FaceKit Light") as caught:
        read_ict(path)
    assert str(path) in str(caught.value)


def test_the_open_edges_of_a_square_are_one_loop_in_its_own_direction() -> None:
    (loop,) = boundary_loops(np.array([[0, 1, 2], [0, 2, 3]]))
    start = loop.tolist().index(0)
    assert np.roll(loop, -start).tolist() == [0, 1, 2, 3]
