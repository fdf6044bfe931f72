"""Colours of scans: kept where a file has them, and never a reason to lose the scan."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from trimesh.visual.material import PBRMaterial

from imhead.io.limited import read_scan_limited
from imhead.io.pictures import Undecodable, decoded
from imhead.io.scan_file import read_scan
from imhead.surfaces.textures import bilinear, halved, sampled
from imhead.types import Scan, ScanTexture

BALL = trimesh.creation.icosphere(3, 90.0)
POINTS, FACES = np.asarray(BALL.vertices), np.asarray(BALL.faces)
UV = np.column_stack([POINTS[:, 0], POINTS[:, 1]]) / 200.0 + 0.5
COLORS = np.clip(POINTS + 128.0, 0, 255).astype(np.uint8)


def picture(side: int = 64) -> NDArray[np.uint8]:
    """Red grows with u, green with v."""
    across, down = np.meshgrid(np.arange(side), np.arange(side))
    shown = np.stack([255.0 * across / side, 255.0 - 255.0 * down / side, np.full_like(across, 40.0)], axis=2)
    return shown.astype(np.uint8)


def encoded(kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture()).save(buffer, kind)
    return buffer.getvalue()


def obj_beside(folder: Path, image: bytes | None, *, mtl: str = "newmtl skin\nmap_Kd skin.png\n") -> Path:
    """An OBJ of the ball with UVs, its materials, and its picture."""
    lines = ["mtllib ball.mtl", *(f"v {x} {y} {z}" for x, y, z in POINTS), *(f"vt {u} {v}" for u, v in UV)]
    lines += ["usemtl skin", *(f"f {a}/{a} {b}/{b} {c}/{c}" for a, b, c in FACES + 1)]
    (folder / "ball.obj").write_text("\n".join(lines) + "\n")
    (folder / "ball.mtl").write_text(mtl)
    if image is not None:
        (folder / "skin.png").write_bytes(image)
    return folder / "ball.obj"


def assert_shows_the_picture(scan: Scan, tolerance: float = 9.0) -> None:
    assert scan.texture is not None and scan.faces is not None
    shares = np.full((len(scan.faces), 3), 1.0 / 3.0)
    found = sampled(scan.texture, np.arange(len(scan.faces)), shares)
    middle = scan.points[scan.faces].mean(axis=1)
    assert np.abs(found[:, 0] - 255.0 * (middle[:, 0] / 200.0 + 0.5)).max() < tolerance
    assert np.abs(found[:, 1] - 255.0 * (middle[:, 1] / 200.0 + 0.5)).max() < tolerance


@pytest.mark.parametrize("kind", ["uchar", "float", "ascii"])
def test_a_ply_keeps_the_colours_of_its_points(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "ball.ply"
    number, scale = ("float", 255.0) if kind == "float" else ("uchar", 1.0)
    layout = "ascii" if kind == "ascii" else "binary_little_endian"
    header = [f"format {layout} 1.0", f"element vertex {len(POINTS)}", *(f"property float {k}" for k in "xyz")]
    header += [f"property {number} {k}" for k in ("red", "green", "blue")]
    rows = np.empty(len(POINTS), dtype=[("p", "<f4", 3), ("c", "<f4" if kind == "float" else "u1", 3)])
    rows["p"], rows["c"] = POINTS, COLORS / scale
    body = rows.tobytes()
    if kind == "ascii":
        body = "\n".join(" ".join(map(str, [*p, *c])) for p, c in zip(POINTS, COLORS)).encode()
    path.write_bytes("\n".join(["ply", *header, "end_header\n"]).encode() + body)
    scan = read_scan(path)
    assert scan.colors is not None and np.array_equal(scan.colors, COLORS)


def test_colours_follow_their_points_where_equal_ones_are_merged(tmp_path: Path) -> None:
    points, colors = POINTS[FACES].reshape(-1, 3), COLORS[FACES].reshape(-1, 3)
    lines = [f"v {x:.17g} {y:.17g} {z:.17g} {r / 255} {g / 255} {b / 255}"
             for (x, y, z), (r, g, b) in zip(points, colors)]  # fmt: skip
    lines += [f"f {k} {k + 1} {k + 2}" for k in range(1, len(points), 3)]
    (tmp_path / "soup.obj").write_text("\n".join(lines))
    scan = read_scan(tmp_path / "soup.obj")
    assert len(scan.points) == len(POINTS) and scan.colors is not None
    assert np.array_equal(scan.colors, np.clip(scan.points + 128.0, 0, 255).astype(np.uint8))


def test_an_obj_keeps_the_picture_of_its_material(tmp_path: Path) -> None:
    scan = read_scan_limited(obj_beside(tmp_path, encoded()))
    assert scan.warnings == ()
    assert_shows_the_picture(scan)


def test_a_picture_is_found_beside_an_obj_that_names_the_path_of_another_machine(tmp_path: Path) -> None:
    mtl = "newmtl skin\nmap_Kd -s 1 1 1 C:\\Users\\me\\skin.png\n"
    assert_shows_the_picture(read_scan(obj_beside(tmp_path, encoded(), mtl=mtl)))


@pytest.mark.parametrize("kind", ["texture", "points"])
def test_a_glb_keeps_its_colours(tmp_path: Path, kind: str) -> None:
    mesh = trimesh.Trimesh(POINTS, FACES, process=False)
    if kind == "texture":
        material = PBRMaterial(baseColorTexture=Image.fromarray(picture()))
        mesh.visual = trimesh.visual.TextureVisuals(uv=UV, material=material)
    else:
        mesh.visual = trimesh.visual.ColorVisuals(mesh, vertex_colors=COLORS)
    mesh.export(tmp_path / "ball.glb")
    scan = read_scan(tmp_path / "ball.glb")
    assert scan.warnings == ()
    if kind == "texture":
        assert_shows_the_picture(scan)
    else:
        assert scan.colors is not None and len(scan.colors) == len(POINTS) and scan.colors.std() > 20.0


def bomb() -> bytes:
    """A PNG of 60 000 × 60 000 pixels in a few bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize(
    ("image", "said"),
    [(None, "put it beside it"), (b"no picture", "none of JPEG"), (encoded()[:60], "damaged"), (bomb(), "pixels")],
)
def test_a_picture_that_cannot_be_used_is_a_warning_and_no_lost_scan(
    tmp_path: Path, image: bytes | None, said: str
) -> None:
    scan = read_scan_limited(obj_beside(tmp_path, image))
    assert scan.texture is None and len(scan.points) == len(POINTS)
    assert len(scan.warnings) == 1 and said in scan.warnings[0] and scan.warnings[0].isprintable()


def test_no_picture_is_read_from_outside_the_folder(tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(encoded())
    inner = tmp_path / "scan"
    inner.mkdir()
    scan = read_scan(obj_beside(inner, None, mtl=f"newmtl skin\nmap_Kd ../secret.png\n# {tmp_path}\n"))
    assert scan.texture is None and scan.warnings


@pytest.mark.parametrize("wrong", ["vt 1\n", "vt nan 0\n"])
def test_texture_coordinates_that_make_no_sense_cost_the_colours_only(tmp_path: Path, wrong: str) -> None:
    path = obj_beside(tmp_path, encoded())
    path.write_text(path.read_text().replace(f"vt {UV[0, 0]} {UV[0, 1]}\n", wrong, 1))
    scan = read_scan(path)
    assert scan.texture is None and any("texture coordinates" in warning for warning in scan.warnings)


@settings(deadline=None, max_examples=30)
@given(st.binary(max_size=300))
def test_bytes_of_any_kind_are_a_picture_or_a_reason(data: bytes) -> None:
    for start in (b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0"):
        try:
            assert decoded(start + data).shape[2] == 3
        except Undecodable as error:
            assert str(error).isprintable()


@settings(deadline=None, max_examples=20)
@given(st.integers(-3, 3), st.integers(-3, 3))
def test_a_picture_repeats_beyond_its_border(across: int, up: int) -> None:
    uv = np.random.default_rng(0).uniform(size=(50, 2))
    assert np.allclose(bilinear(picture(), uv), bilinear(picture(), uv + [across, up]), atol=1e-2)


def test_halving_a_picture_keeps_its_mean() -> None:
    texture = ScanTexture(np.zeros((1, 3, 2)), np.zeros(1), (picture(),))
    small = halved(texture, 2).pictures[0]
    assert small.shape == (16, 16, 3) and abs(float(small.mean()) - float(picture().mean())) < 1.0
