"""Small scans as bytes, made here, for the tests of the readers."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from numpy.typing import NDArray

from imhead.errors import InputError
from imhead.io.scan_file import read_scan
from imhead.types import Scan


def ball(subdivisions: int = 3) -> trimesh.Trimesh:
    """A closed, outward mesh of the size of a head in mm; 642 points, whose places are exact in four bytes."""
    mesh = trimesh.creation.icosphere(subdivisions=subdivisions, radius=1.0)
    mesh.apply_scale([75.0, 110.0, 90.0])
    return trimesh.Trimesh(np.round(mesh.vertices * 64) / 64, mesh.faces, process=False)


def saved(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def refusal(path: Path) -> str:
    """The message of a refusal: one printable line that names the file and says what to do."""
    with pytest.raises(InputError) as caught:
        read_scan(path)
    message = str(caught.value)
    assert message.isprintable() and path.name in message and len(message) < 400
    assert ";" in message, "a refusal says what to do"
    return message


def assert_is_ball(scan: Scan, *, warnings: Sequence[str] = (), atol: float = 1e-4, center: float = 0.0) -> None:
    """The scan is the closed ball, outward, with exactly these sentences about what was left out."""
    mesh = ball()
    assert scan.warnings == tuple(warnings)
    assert scan.faces is not None and scan.points.shape == mesh.vertices.shape and scan.faces.shape == mesh.faces.shape
    read = trimesh.Trimesh(scan.points - [center, 0, 0], scan.faces, process=False)
    assert read.is_watertight
    assert read.volume == pytest.approx(mesh.volume, rel=1e-4)
    np.testing.assert_allclose(read.bounds, mesh.bounds, atol=atol)


def text_rows(values: NDArray[Any], start: str = "", end: str = "") -> str:
    return "".join(start + " ".join(str(x) for x in row) + end + "\n" for row in values.tolist())


def ply_header(elements: Sequence[tuple[str, int, Sequence[str]]], encoding: str = "binary_little_endian") -> str:
    lines = ["ply", f"format {encoding} 1.0"]
    for name, count, properties in elements:
        lines += [f"element {name} {count}", *(f"property {p}" for p in properties)]
    return "\n".join([*lines, "end_header"]) + "\n"


XYZ = ("float x", "float y", "float z")
INDICES = ("list uchar int vertex_indices",)


def face_rows(faces: NDArray[np.integer], kind: str = "<i4") -> bytes:
    rows = np.empty(len(faces), dtype=[("n", "u1"), ("i", kind, (faces.shape[1],))])
    rows["n"], rows["i"] = faces.shape[1], faces
    return rows.tobytes()


def ball_ply() -> bytes:
    mesh = ball()
    header = ply_header([("vertex", len(mesh.vertices), XYZ), ("face", len(mesh.faces), INDICES)])
    return header.encode() + mesh.vertices.astype("<f4").tobytes() + face_rows(mesh.faces)


def ball_stl(header: bytes = b"", *, count: int | None = None, tail: bytes = b"") -> bytes:
    mesh = ball()
    record = np.zeros(len(mesh.faces), dtype=[("n", "<f4", 3), ("c", "<f4", (3, 3)), ("a", "<u2")])
    record["c"] = mesh.vertices[mesh.faces]
    promised = len(mesh.faces) if count is None else count
    return header.ljust(80, b"\0") + struct.pack("<I", promised) + record.tobytes() + tail


class Gltf:
    """A glTF file that is put together view by view."""

    def __init__(self) -> None:
        self.blob = b""
        self.tree: dict[str, Any] = {
            "asset": {"version": "2.0"}, "scene": 0, "scenes": [{"nodes": [0]}], "nodes": [{"mesh": 0}],
            "meshes": [{"primitives": [{"attributes": {}}]}], "bufferViews": [], "accessors": [], "buffers": [],
        }  # fmt: skip

    @property
    def primitive(self) -> dict[str, Any]:
        found: dict[str, Any] = self.tree["meshes"][0]["primitives"][0]
        return found

    def view(self, data: bytes, **more: Any) -> int:
        self.tree["bufferViews"].append({"buffer": 0, "byteOffset": len(self.blob), "byteLength": len(data), **more})
        self.blob += data + bytes(-len(data) % 4)
        return len(self.tree["bufferViews"]) - 1

    def accessor(self, values: NDArray[Any], view: int | None = None, **more: Any) -> int:
        component = {"f4": 5126, "u4": 5125, "u2": 5123, "i2": 5122, "u1": 5121, "i1": 5120}[values.dtype.str[1:]]
        kind = {1: "SCALAR", 3: "VEC3", 4: "VEC4", 16: "MAT4"}[1 if values.ndim == 1 else values.shape[1]]
        short = values.ndim == 2 and values.itemsize < 4
        rows = np.pad(values, ((0, 0), (0, -values.shape[1] % 4))) if short else values
        if view is None:
            stride = {} if rows is values else {"byteStride": rows.shape[1] * rows.itemsize}
            view = self.view(rows.tobytes(), **stride)
        entry = {"bufferView": view, "componentType": component, "count": len(values), "type": kind, **more}
        self.tree["accessors"].append(entry)
        return len(self.tree["accessors"]) - 1

    def with_ball(self) -> Gltf:
        mesh = ball()
        self.primitive["attributes"]["POSITION"] = self.accessor(mesh.vertices.astype("<f4"))
        self.primitive["indices"] = self.accessor(mesh.faces.reshape(-1).astype("<u2"))
        return self

    def chunk(self, kind: bytes, data: bytes, pad: bytes, *, count_padding: bool = True) -> bytes:
        padded = data + pad * (-len(data) % 4)
        return struct.pack("<I4s", len(padded) if count_padding else len(data), kind) + padded

    def text(self) -> bytes:
        if not self.tree["buffers"]:
            self.tree["buffers"] = [{"byteLength": len(self.blob)}]
        return json.dumps(self.tree).encode()

    def glb(self, *, pad: bytes = b" ", count_padding: bool = True, extra: bytes = b"", tail: bytes = b"") -> bytes:
        text = self.text()
        body = self.chunk(b"JSON", text, pad, count_padding=count_padding) + extra
        body += self.chunk(b"BIN\0", self.blob, b"\0") + tail
        return struct.pack("<4sII", b"glTF", 2, 12 + len(body) - len(tail)) + body
