"""A scan's colours on the template's UVs."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from imhead.avatar.bake import GUESSED, MIRRORED, SEEN, Baked, Surface, bake
from imhead.avatar.look import Look
from imhead.avatar.palette import EYES, eyes_text
from imhead.avatar.parts import Parts
from imhead.avatar.scan_colors import ColoredScan
from imhead.avatar.scan_eyes import eye_color_of, eye_light_of
from imhead.avatar.skin_image import skin_jpeg
from imhead.errors import InputError
from imhead.io.skin_files import load_skin, save_skin, skin_names
from imhead.surfaces.eyeballs import on_eyeball
from imhead.template.texels import texels_of
from imhead.template.topology import SKIN, Topology
from imhead.types import FloatArray, Scan, SkinImage, UvMap

SIZE = 256


def tint(points: FloatArray) -> NDArray[np.uint8]:
    """A colour for each place: skin that gets redder to the left, darker downwards."""
    base = np.array([196.0, 146.0, 118.0]) + points @ np.array([[0.25, 0.1, 0.0], [0.2, 0.2, 0.2], [0.0, 0.0, 0.0]])
    return np.clip(base, 0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def surface(topology: Topology, parts: Parts) -> Surface:
    shown = (topology.part[topology.faces] == SKIN).all(axis=1)
    return Surface(parts.skin, parts.eyes, shown, np.zeros(len(parts.skin), dtype=bool))


@pytest.fixture(scope="session")
def left_face(topology: Topology, parts: Parts) -> Scan:
    """A scan of the face's left side and a little more, in cm, moved."""
    skin = topology.faces[(topology.part[topology.faces] == SKIN).all(axis=1)]
    middle = parts.skin[skin].mean(axis=1)
    faces = skin[(middle[:, 2] > 20.0) & (middle[:, 0] > -15.0)]
    used, inverse = np.unique(faces, return_inverse=True)
    points = parts.skin[used]
    return Scan("face", points / 10.0 + 3.0, None, inverse.reshape(-1, 3), (), tint(points))


TO_HEAD = np.array([[10.0, 0, 0, -30.0], [0, 10.0, 0, -30.0], [0, 0, 10.0, -30.0], [0, 0, 0, 1.0]])


@pytest.fixture(scope="session")
def baked(left_face: Scan, surface: Surface, topology: Topology, parts: Parts) -> Baked:
    return bake(left_face, TO_HEAD, surface, topology, parts, SIZE)


@pytest.fixture(scope="session")
def places(topology: Topology, parts: Parts) -> FloatArray:
    """(SIZE, SIZE, 3) the place under each texel; NaN beside the charts."""
    texels = texels_of(UvMap(topology.uv, topology.uv_faces), SIZE)
    found = np.full((SIZE * SIZE, 3), np.nan)
    found[texels.texel] = texels.between(topology.faces, parts.skin)
    return found.reshape(SIZE, SIZE, 3)


def test_what_was_seen_has_the_scans_colours(baked: Baked, places: FloatArray) -> None:
    seen = baked.mask == SEEN
    assert 0.02 < seen.mean() < 0.5
    off = np.abs(baked.picture[seen].astype(float) - tint(places[seen]))
    assert np.median(off) < 2.0 and np.quantile(off, 0.98) < 8.0


def test_what_was_not_seen_is_marked_and_meets_what_was_in_tone(baked: Baked, places: FloatArray) -> None:
    behind = np.nan_to_num(places[..., 2], nan=99.0) < -20.0
    assert (baked.mask[behind] == GUESSED).all()
    other = (baked.mask == MIRRORED) & (places[..., 2] > 40.0)
    assert other.mean() > 0.01 and np.nanmax(places[other][:, 0]) < 0.0
    seen = baked.mask == SEEN
    assert np.abs(baked.picture[other].mean(axis=0) - baked.picture[seen].mean(axis=0)).max() < 30.0
    # across the border between seen and guessed no step of colour is seen
    step = np.abs(np.diff(baked.picture.astype(int), axis=1)).max(axis=2)
    border = (seen[:, 1:] != seen[:, :-1]) & np.isfinite(places[:, 1:, 0]) & np.isfinite(places[:, :-1, 0])
    assert np.quantile(step[border], 0.9) < 25


def test_an_eyeball_is_not_painted_on_lids(
    left_face: Scan, surface: Surface, topology: Topology, parts: Parts, places: FloatArray
) -> None:
    ball = np.array(left_face.colors)
    mm = (left_face.points - 3.0) * 10.0
    near = np.linalg.norm(mm - parts.eyes[0, :3], axis=1) < parts.eyes[0, 3] + 0.5
    ball[near] = (20, 220, 20)
    found = bake(replace(left_face, colors=ball), TO_HEAD, surface, topology, parts, SIZE)
    green = found.picture.astype(int)[..., 1] - found.picture[..., 0] > 60
    assert not green.any()


def test_a_scan_without_colours_is_refused(left_face: Scan, surface: Surface, topology: Topology, parts: Parts) -> None:
    with pytest.raises(InputError, match="no colours"):
        bake(replace(left_face, colors=None), TO_HEAD, surface, topology, parts, SIZE)


def test_a_cloud_of_points_gives_the_same_colours_as_a_mesh(left_face: Scan, parts: Parts) -> None:
    cloud = ColoredScan(replace(left_face, faces=None), TO_HEAD)
    mesh = ColoredScan(left_face, TO_HEAD)
    rng = np.random.default_rng(0)
    chosen = rng.permutation(np.flatnonzero((parts.skin[:, 2] > 60.0) & (np.abs(parts.skin[:, 0] - 45.0) < 10.0)))[:50]
    normals = np.tile([0.3, 0.0, 0.954], (len(chosen), 1))
    one, other = (kind.at(parts.skin[chosen], normals, (1.5, 3.0), 3.0, 0.5) for kind in (cloud, mesh))
    both = (one.weight > 0.5) & (other.weight > 0.5)
    assert both.sum() > 10 and np.abs(one.color[both] - other.color[both]).max() < 6.0


@pytest.mark.parametrize("name", ["blue", "brown", ""])
def test_the_colour_of_the_eyes_is_read_from_the_irises_unless_lids_cover_them(parts: Parts, name: str) -> None:
    color = np.mean([EYES[name].outer, EYES[name].inner], axis=0) if name else np.array([210.0, 170.0, 140.0])
    rng = np.random.default_rng(1)
    directions = rng.normal(size=(40_000, 3))
    directions = directions[directions[:, 2] > 0.0]
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)

    left = on_eyeball(directions, parts.eyes[0])
    right = on_eyeball(directions, parts.eyes[1]) * [-1.0, 1.0, 1.0]
    points = np.concatenate([left, right])
    scan = Scan("eyes", points, None, None, (), np.tile(color.astype(np.uint8), (len(points), 1)))
    assert eye_color_of(ColoredScan(scan, np.eye(4)), parts.eyes, np.array([200.0, 150.0, 120.0])) == name


def test_a_skin_lies_beside_its_head_and_is_trusted_by_its_hash_alone(baked: Baked, tmp_path: Path) -> None:
    skin = baked.image()
    save_skin(skin, tmp_path)
    found = load_skin(tmp_path, skin.digest, skin.tone)
    assert found is not None and found.picture == skin.picture and found.mask == skin.mask
    picture, _ = skin_names(skin.digest)
    (tmp_path / picture).write_bytes(skin.picture + b"more")
    assert load_skin(tmp_path, skin.digest, skin.tone) is None
    assert load_skin(tmp_path, "../" + skin.digest[3:], skin.tone) is None


def test_an_avatar_wears_the_scans_picture_byte_for_byte_unless_another_size_or_skin_is_asked_for(
    baked: Baked, topology: Topology, parts: Parts
) -> None:
    skin = baked.image()

    def worn(look: Look) -> bytes:
        return skin_jpeg(topology, parts, look, skin)

    assert worn(Look()) == skin.picture
    assert Image.open(io.BytesIO(worn(Look(texture=512)))).size == (512, 512)
    assert worn(Look(skin="deep", texture=512)) != skin.picture
    with pytest.raises(InputError, match="cannot be used"):
        skin_jpeg(topology, parts, Look(), SkinImage(skin.picture[:500], b"", ""))


@pytest.mark.parametrize(("white", "light"), [(228, 1.0), (190, 0.65), (90, 0.4)])
def test_eyes_are_as_dark_as_their_whites_in_the_scan(parts: Parts, white: int, light: float) -> None:
    rng = np.random.default_rng(1)
    directions = rng.normal(size=(40_000, 3))
    directions = directions[directions[:, 2] > 0.0]
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    points = on_eyeball(directions, parts.eyes[0])
    points = np.concatenate([points, on_eyeball(directions, parts.eyes[1]) * [-1.0, 1.0, 1.0]])
    scan = Scan("eyes", points, None, None, (), np.full((len(points), 3), white, dtype=np.uint8))
    found = eye_light_of(ColoredScan(scan, np.eye(4)), parts.eyes, np.array([120.0, 80.0, 60.0]))
    assert found == pytest.approx(light, abs=0.08)
    skin = SkinImage(b"", b"", "light", eyes_text("blue", found))
    assert Look().eye_color(skin) == EYES["blue"] and Look().eye_light(skin) == pytest.approx(found, abs=0.01)


@pytest.mark.parametrize("text", ["", "blue", "blue ", "blue x", "blue nan", "blue -1", "blue 7", "1 2 3", " 0.5"])
def test_whatever_a_head_file_says_of_its_eyes_they_have_a_colour_and_a_light(text: str) -> None:
    look = Look()
    skin = SkinImage(b"", b"", "light", text)
    assert look.eye_color(skin) in EYES.values() and 0.0 < look.eye_light(skin) <= 1.0
