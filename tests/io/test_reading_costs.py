"""Small files cost little: time and memory of a read stay in proportion to the file, whatever is in it."""

from __future__ import annotations

import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import DracoPy
import numpy as np
import pytest
from numpy.typing import NDArray
from tests.io.files import INDICES, XYZ, Gltf, ball, ply_header, saved
from tests.io.writers import zipped

_SIZE = 2_000_000
_SPARE_BYTES = 50e6
_TIMES = 20
_SECONDS_PER_10_MB = 5.0
_SPARE_SECONDS = 1.0  # of a machine that does other things as well

# reads each file in a limited fork of itself: processor time, growth of the peak of memory, and what came of it; a
# small file comes first, so that the pages of libraries do not count
_READER = """
import os, sys, time
from pathlib import Path
from imhead.errors import InputError
from imhead.io.limits import limit_this_process, limits_for
from imhead.io.scan_file import read_scan

def status(name):
    return int(next(line for line in open("/proc/self/status") if line.startswith(name)).split()[1]) * 1024

def attempt(path):
    limit_this_process(limits_for(0))
    read_scan(Path(sys.argv[1]))
    before, start = status("VmRSS"), time.process_time()
    try:
        outcome = f"read {len(read_scan(path).points)}"
    except InputError as error:
        outcome = "refused " + str(error)
    except BaseException as error:
        outcome = f"failed {error!r}"
    print(time.process_time() - start, status("VmHWM") - before, outcome, flush=True)

for line in sys.stdin:
    child = os.fork()
    if not child:
        attempt(Path(line.strip()))
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        print(0, 0, "failed: the process was ended", flush=True)
"""

Cost = Callable[[Path], tuple[float, float, str]]


@pytest.fixture(scope="module")
def cost(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cost]:
    """Seconds of processor time, bytes of memory and the outcome of reading a file in a process of its own."""
    small = saved(tmp_path_factory.mktemp("cost"), "small.glb", draco_mesh(ball().vertices, ball().faces))
    with subprocess.Popen(
        [sys.executable, "-c", _READER, str(small)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as reader:
        assert reader.stdin is not None and reader.stdout is not None

        def read(path: Path) -> tuple[float, float, str]:
            assert reader.stdin is not None and reader.stdout is not None
            print(path, file=reader.stdin, flush=True)
            seconds, grown, outcome = reader.stdout.readline().strip().split(" ", 2)
            return float(seconds), float(grown), outcome

        yield read
        reader.stdin.close()


def filled(unit: bytes, head: bytes = b"", tail: bytes = b"") -> bytes:
    return head + unit * ((_SIZE - len(head) - len(tail)) // len(unit)) + tail


def obj_points(count: int) -> bytes:
    return b"".join(b"v %d %d %d\n" % (k % 97, k % 89, k % 83) for k in range(count))


def ply_of(points: int, faces: int, kind: str, body: bytes) -> bytes:
    elements = [("vertex", points, XYZ), ("face", faces, (f"list uchar {kind} vertex_indices",))]
    places = np.random.default_rng(0).normal(size=(points, 3)).astype("<f4")
    return ply_header(elements).encode() + places.tobytes() + body


def repeated(copies: int) -> bytes:
    model = Gltf().with_ball()
    model.tree["nodes"] = [{"children": list(range(1, copies + 1))}] + [{"mesh": 0, "name": "n"}] * copies
    return model.glb()


def chained(count: int) -> bytes:
    model = Gltf().with_ball()
    steps = [{"children": [k + 1], "translation": [0, 0, 0.001]} for k in range(count)]
    model.tree["nodes"] = [*steps, {"mesh": 0}]
    return model.glb()


def shared_accessors() -> bytes:
    model = Gltf().with_ball()
    primitive = model.primitive
    model.tree["meshes"] = [{"primitives": [primitive]}] * 5000
    model.tree["nodes"] = [{"mesh": k} for k in range(5000)]
    model.tree["scenes"] = [{"nodes": list(range(5000))}]
    return model.glb()


def overlapping_views() -> bytes:
    """Many views over the same bytes, each with a mesh of its own."""
    model = Gltf()
    points = np.random.default_rng(0).normal(size=(100_000, 3)).astype("<f4")
    model.blob = points.tobytes()
    view = {"buffer": 0, "byteLength": len(model.blob)}
    accessor = {"componentType": 5126, "count": 100_000, "type": "VEC3"}
    model.tree["bufferViews"] = [view] * 2000
    model.tree["accessors"] = [accessor | {"bufferView": k} for k in range(2000)]
    model.tree["meshes"] = [{"primitives": [{"attributes": {"POSITION": k}, "mode": 0}]} for k in range(2000)]
    model.tree["nodes"] = [{"mesh": k} for k in range(2000)]
    model.tree["scenes"] = [{"nodes": list(range(2000))}]
    return model.glb()


def glb_text(text: bytes) -> bytes:
    return struct.pack("<4sIII4s", b"glTF", 2, 20 + len(text), len(text), b"JSON") + text


def ascii_stl(last: bytes) -> bytes:
    facet = b"facet normal 0 0 1\nouter loop\nvertex %d 0 0\nvertex 0 1 %d\nvertex 0 0 1\nendloop\nendfacet\n"
    body = b"".join(facet % (k, k) for k in range(7000))
    return b"solid a\n" + body + facet.replace(b"%d", last) + b"endsolid a\n"


def packed_triangles(count: int) -> bytes:
    """A mesh whose triangles take one byte each, packed by meshopt, and name a point that is not there."""
    model = Gltf()
    points = np.random.default_rng(0).normal(size=(1000, 3)).astype("<f4")
    model.primitive["attributes"]["POSITION"] = model.accessor(points)
    stream = b"\xe1" + b"\xf0" * count + bytes(16)
    packed = {"buffer": 0, "byteOffset": len(model.blob), "byteLength": len(stream), "byteStride": 4}
    extension = packed | {"mode": "TRIANGLES", "count": 3 * count}
    plain = {"buffer": 1, "byteLength": 12 * count, "extensions": {"EXT_meshopt_compression": extension}}
    model.tree["bufferViews"].append(plain)
    model.tree["accessors"].append({"bufferView": 1, "componentType": 5125, "count": 3 * count, "type": "SCALAR"})
    model.primitive["indices"] = 1
    model.blob += stream + bytes(-len(stream) % 4)
    model.tree["buffers"] = [{"byteLength": len(model.blob)}, {"byteLength": 0}]
    return model.glb()


def draco_sheet(side: int) -> bytes:
    """A plane of side² points, which Draco packs into a byte each."""
    x, y = np.meshgrid(np.arange(side), np.arange(side))
    corner = (np.arange(side - 1)[:, None] * side + np.arange(side - 1)).reshape(-1)
    quads = np.stack([corner, corner + 1, corner + side + 1, corner + side], axis=1)
    faces = quads[:, [0, 1, 2, 0, 2, 3]].reshape(-1, 3)
    points = np.stack([x, y, 0 * x], axis=2).reshape(-1, 3).astype(float)
    return draco_mesh(points, faces)


def draco_mesh(points: NDArray[np.float64], faces: NDArray[np.int64]) -> bytes:
    stream = DracoPy.encode(points, faces, quantization_bits=10)
    model = Gltf()
    model.tree["accessors"] = [
        {"componentType": 5126, "count": len(points), "type": "VEC3"},
        {"componentType": 5125, "count": faces.size, "type": "SCALAR"},
    ]
    model.primitive["attributes"]["POSITION"], model.primitive["indices"] = 0, 1
    extension = {"bufferView": model.view(stream), "attributes": {"POSITION": 0}}
    model.primitive["extensions"] = {"KHR_draco_mesh_compression": extension}
    return model.glb()


HOSTILE: dict[str, Callable[[], tuple[str, bytes]]] = {
    "one long word among the corners of an STL": lambda: ("a.stl", ascii_stl(b"1" * 500_000)),
    "an STL of the shortest corners": lambda: (
        "a.stl",
        filled(b"facet normal 0 0 0\nvertex 0 0 0\nvertex 0 1 0\nvertex 0 0 1\nendfacet\n", b"solid\n", b"endsolid\n"),
    ),
    "one mesh placed 20 000 times": lambda: ("a.glb", repeated(20_000)),
    "a chain of 5 000 nodes": lambda: ("a.glb", chained(5_000)),
    "5 000 meshes on the same accessors": lambda: ("a.glb", shared_accessors()),
    "2 000 views over the same bytes": lambda: ("a.glb", overlapping_views()),
    "triangles of one byte each": lambda: ("a.glb", packed_triangles(800_000)),
    "a sheet that Draco packs into next to nothing": lambda: ("a.glb", draco_sheet(500)),
    "JSON a million deep": lambda: ("a.glb", glb_text(b'{"a":' + b"[" * _SIZE)),
    "JSON of nothing but empty objects": lambda: ("a.gltf", filled(b"{},", b'{"nodes":[', b"{}]}")),
    "65 000 properties": lambda: (
        "a.ply",
        ply_header([("vertex", 30, (*["char a"] * 65_000, *XYZ))]).encode() + bytes(65_012 * 30),
    ),
    "40 000 lists in a row": lambda: (
        "a.ply",
        ply_header([("vertex", 20, (*["list uchar char a"] * 36_000, *XYZ))]).encode()
        + bytes(36_012 * 19) + b"\1" + bytes(36_012),
    ),
    "lists of no number, and one of one": lambda: ("a.ply", ply_of(9, 1_900_000, "uchar", bytes(1_899_999) + b"\1\0")),
    "lists of none and one in turn": lambda: ("a.ply", ply_of(1000, 1_200_000, "uchar", b"\0\1\0" * 600_000)),
    "faces of four bytes": lambda: ("a.ply", ply_of(1000, 480_000, "uchar", b"\3\0\1\2" * 480_000)),
    "a PLY of one-digit numbers": lambda: (
        "a.ply", filled(b"0 ", ply_header([("vertex", 300_000, XYZ)], "ascii").encode())
    ),
    "an OBJ of the shortest points": lambda: ("a.obj", filled(b"v 0 0 0\n")),
    "an OBJ of the shortest faces": lambda: ("a.obj", filled(b"f 1 2 3\n", obj_points(20_000))),
    "an OBJ of one face with a million corners": lambda: ("a.obj", filled(b" 1", obj_points(20_000) + b"f")),
    "an OBJ of one long word": lambda: ("a.obj", b"v " + filled(b"0")),
    "an OBJ of empty lines": lambda: ("a.obj", filled(b"\n", obj_points(1000))),
    "an OFF of the shortest points": lambda: ("a.off", filled(b"0 0 0\n", b"OFF\n333330 0 0\n")),
    "a cloud of the shortest points": lambda: ("a.xyz", filled(b"0 0 0\n")),
    "XML of the shortest elements": lambda: ("a.dae", filled(b"<a/>", b"<COLLADA>", b"</COLLADA>")),
    "VRML of the shortest words": lambda: ("a.wrl", filled(b"a ", b"#VRML V2.0 utf8\n")),
    "VRML that places its points again and again": lambda: (
        "a.wrl",
        filled(
            b"USE A ",
            b"#VRML V2.0 utf8\nDEF A Shape { geometry PointSet { coord Coordinate { point [ "
            + b"1 2 3 " * 50_000 + b"] } } }\n",
        ),
    ),
    "a ZIP of a hundred times its size": lambda: ("a.zip", zipped({"a.ply": ply_of(1000, 0, "int", bytes(1 << 27))})),
}  # fmt: skip


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_file_of_two_megabytes_costs_no_more_than_an_honest_one(
    tmp_path: Path, cost: Cost, kind: str
) -> None:
    name, data = HOSTILE[kind]()
    seconds, grown, outcome = cost(saved(tmp_path, name, data))
    assert outcome.startswith(("read", "refused")) and outcome.isprintable()
    assert grown <= _TIMES * len(data) + _SPARE_BYTES, f"{grown / 1e6:.0f} MB for {len(data) / 1e6:.2f} MB: {outcome}"
    limit = _SECONDS_PER_10_MB * max(len(data) / 1e7, 0.2) + _SPARE_SECONDS
    assert seconds <= limit, f"{seconds:.1f} s for {len(data) / 1e6:.2f} MB: {outcome}"


def test_an_honest_scan_of_ten_megabytes_keeps_to_the_same_bounds(tmp_path: Path, cost: Cost) -> None:
    # a square grid on a wavy sheet
    side = 500
    x, y = np.meshgrid(np.arange(side, dtype="<f4"), np.arange(side, dtype="<f4"))
    points = np.stack([x, y, 20 * np.sin(x / 50) * np.cos(y / 40)], axis=2).reshape(-1, 3)
    corner = (np.arange(side - 1)[:, None] * side + np.arange(side - 1)).reshape(-1)
    quads = np.stack([corner, corner + 1, corner + side + 1, corner + side], axis=1)
    faces = quads[:, [0, 1, 2, 0, 2, 3]].reshape(-1, 3)
    rows = np.empty(len(faces), dtype=[("n", "u1"), ("i", "<i4", 3)])
    rows["n"], rows["i"] = 3, faces
    header = ply_header([("vertex", len(points), XYZ), ("face", len(faces), INDICES)]).encode()
    data = header + points.astype("<f4").tobytes() + rows.tobytes()
    seconds, grown, outcome = cost(saved(tmp_path, "a.ply", data))
    assert outcome == f"read {side * side}"
    assert grown <= _TIMES * len(data) + _SPARE_BYTES
    assert seconds <= _SECONDS_PER_10_MB * len(data) / 1e7 + _SPARE_SECONDS


@pytest.mark.parametrize("kind", ["chain", "properties", "lists"])
def test_four_times_the_file_takes_about_four_times_the_time(tmp_path: Path, cost: Cost, kind: str) -> None:
    make: Callable[[int], tuple[str, bytes]] = {
        "chain": lambda n: ("a.glb", chained(10_000 * n)),
        "properties": lambda n: (
            "a.ply", ply_header([("vertex", 1, (*["char a"] * (16_000 * n), *XYZ))]).encode() + bytes(16_000 * n + 12)
        ),
        "lists": lambda n: ("a.ply", ply_of(1000, 400_000 * n, "uchar", b"\0\1\0" * (200_000 * n))),
    }[kind]  # fmt: skip
    once = min(cost(saved(tmp_path, *make(1)))[0] for _ in range(2))
    fourfold = min(cost(saved(tmp_path, *make(4)))[0] for _ in range(2))
    assert fourfold <= 8 * once + 0.2
