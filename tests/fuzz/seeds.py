"""Whole files of every kind that is opened, small, made here: what the mutations begin from."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache

import DracoPy
import numpy as np
import torch
import trimesh
from safetensors.torch import save
from tests.conftest import _random_model
from tests.io import writers
from tests.io.files import INDICES, XYZ, Gltf, ball, face_rows, ply_header, text_rows
from tests.io.test_gltf_reader import meshopt_ball

from imhead.checkpoint import (
    HEAD_FORMAT,
    MODEL_FORMAT,
    Model,
    certainty_figures,
    certainty_tensors,
    regions_digest,
)
from imhead.io.tensor_file import with_metadata
from imhead.model.config import to_dict
from imhead.studio.state.commands.library import RandomHead
from imhead.studio.state.project import project_bytes
from imhead.studio.state.studio import Studio
from imhead.types import Certainty

BESIDE = "part.bin"
"""Name of the one file beside a scan."""


@dataclass(frozen=True)
class Seed:
    """A file that opens."""

    name: str
    """Its name, with the extension that chooses the reader."""
    data: bytes
    """Its bytes."""
    beside: bytes = field(default=b"", repr=False)
    """Bytes of the file beside it, if it refers to one."""


KINDS: dict[str, Callable[[], list[Seed]]] = {}
"""Kind of file → its seeds."""


def _kind(make: Callable[[], list[Seed]]) -> Callable[[], list[Seed]]:
    KINDS[make.__name__] = cache(make)
    return KINDS[make.__name__]


@cache
def model() -> Model:
    """A small model with random weights, the one that heads and projects belong to."""
    return _random_model()


@_kind
def scan() -> list[Seed]:
    """Scans of every format: one large enough for a face, one of a few points, in which a change hits more."""
    whole = trimesh.creation.uv_sphere(radius=90.0, count=[15, 16])
    whole = trimesh.Trimesh(np.round(whole.vertices, 2), whole.faces, process=False)
    return [seed for mesh in (whole, ball(0)) for seed in _of_mesh(mesh)] + _packed_gltf()


def _of_mesh(mesh: trimesh.Trimesh) -> list[Seed]:
    of = {"mesh": mesh}
    vertices, faces = mesh.vertices.astype("<f4"), np.asarray(mesh.faces)
    elements = [("vertex", len(vertices), XYZ), ("face", len(faces), INDICES)]
    rows = text_rows(mesh.vertices), text_rows(faces, "3 ")
    strips = ply_header([("vertex", len(vertices), XYZ), ("tristrips", 1, ("list int int vertex_indices",))], "ascii")
    colours = (*XYZ, "float nx", "float ny", "float nz", "uchar red")
    lit = np.zeros(len(vertices), dtype=[("p", "<f4", 6), ("c", "u1")])
    lit["p"] = np.hstack([vertices, mesh.vertex_normals])
    plain = ply_header(elements).encode() + vertices.tobytes() + face_rows(faces)
    corners = " ".join(map(str, np.hstack([faces, np.full((len(faces), 1), -1)]).reshape(-1).tolist()))
    obj = text_rows(mesh.vertices, "v ") + text_rows(mesh.vertex_normals.round(4), "vn ")
    obj += "".join(f"f {a}//{a} {b}//{b} {c}//{c}\n" for a, b, c in (faces + 1).tolist())
    facets = "".join(
        "facet normal 0 0 1\nouter loop\n" + text_rows(corner, "vertex ") + "endloop\nendfacet\n"
        for corner in mesh.vertices[faces]
    )
    moved = 'float xformOp:rotateX = 30\nuniform token[] xformOpOrder = ["xformOp:rotateX"]'
    text = writers.usda(outer=moved, mesh=mesh)
    binary = writers.usdc(text)
    seeds = [
        Seed("a.ply", plain),
        Seed("a.ply", ply_header(elements, "binary_big_endian").encode() + vertices.astype(">f4").tobytes()
             + face_rows(faces, ">i4")),
        Seed("a.ply", (ply_header(elements, "ascii") + rows[0] + rows[1]).encode()),
        Seed("a.ply", (strips + rows[0] + f"{4 * len(faces)} {corners}\n").encode()),
        Seed("a.ply", ply_header([("vertex", len(vertices), colours)]).encode() + lit.tobytes()),
        Seed("a.obj", ("mtllib a.mtl\no head\n" + obj).encode()),
        Seed("a.stl", mesh.export(file_type="stl")),
        Seed("a.stl", ("solid head\n" + facets + "endsolid head\n").encode()),
        Seed("a.off", f"OFF\n{len(vertices)} {len(faces)} 0\n{rows[0]}{rows[1]}".encode()),
        Seed("a.3mf", writers.file_3mf(surface=mesh)),
        Seed("a.vtk", writers.vtk_ascii(mesh)), Seed("a.vtk", writers.vtk_binary(mesh)),
        Seed("a.vtk", writers.vtk_five(mesh)), Seed("a.vtk", writers.vtk_grid(mesh)),
        *(Seed("a.vtp", writers.vtp(how, mesh)) for how in ("ascii", "binary", "zlib", "raw", "rawzlib")),
        Seed("a.wrl", writers.wrl(1, mesh)), Seed("a.wrl", writers.wrl(2, mesh)),
        Seed("a.dae", writers.dae(**of)), Seed("a.dae", writers.dae("polylist", scene=False, **of)),
        Seed("a.xyz", writers.points_text(**of)), Seed("a.xyz", writers.points_text(", ", first="x,y,z\n", **of)),
        Seed("a.asc", writers.points_text("; ", "; 0.5", **of)),
        Seed("a.vtp", writers.vtp("ascii", mesh, blank=True)),
        Seed("a.off", f"NCOFF\n{len(vertices)} {len(faces)} 0\n{rows[0]}{rows[1]}".encode()),
        Seed("a.pts", writers.points_text(first=f"{len(vertices)}\n", columns=" 7 80 81 82", **of)),
        *(Seed("a.pcd", writers.pcd(how, mesh)) for how in ("ascii", "binary", "binary_compressed")),
        Seed("a.zip", writers.zipped({"scan/head.ply": plain})),
        *(Seed(name, data) for name, data in (("a.usda", text), ("a.usdc", binary))),
        Seed("a.usdz", writers.zipped({"a.usda": b"#usda 1.0\n", "b.usdc": binary})),
        *(Seed("a.usdz", writers.usdz(*layer)) for layer in (("a.usda", text), ("a.usdc", binary))),
    ]  # fmt: skip
    return seeds + _gltf(mesh)


def _gltf(mesh: trimesh.Trimesh) -> list[Seed]:
    """A skinned, moved and morphed mesh, alone and with its data beside it or inside, and a mesh packed by Draco."""
    model = Gltf()
    points, count = mesh.vertices.astype("<f4"), len(mesh.vertices)
    which = np.zeros((count, 4), dtype="u1")
    shares = np.tile([1.0, 0, 0, 0], (count, 1)).astype("<f4")
    model.primitive["attributes"] |= {
        "POSITION": model.accessor(points), "JOINTS_0": model.accessor(which), "WEIGHTS_0": model.accessor(shares),
    }  # fmt: skip
    model.primitive["indices"] = model.accessor(mesh.faces.reshape(-1).astype("<u2"))
    model.primitive["targets"] = [{"POSITION": model.accessor(0.1 * points)}]
    inverse = model.accessor(np.eye(4, dtype="<f4").reshape(1, 16))
    model.tree["meshes"][0]["weights"] = [0.5]
    model.tree |= {
        "nodes": [{"children": [1, 2], "scale": [2, 2, 2]}, {"mesh": 0, "skin": 0}, {"translation": [1, 2, 3]}],
        "skins": [{"joints": [2], "inverseBindMatrices": inverse}],
    }
    seeds = [Seed("a.glb", model.glb())]
    model.tree["buffers"] = [{"byteLength": len(model.blob), "uri": BESIDE}]
    seeds.append(Seed("a.gltf", model.text(), model.blob))
    inside = "data:application/octet-stream;base64," + base64.b64encode(model.blob).decode()
    seeds.append(Seed("a.gltf", json.dumps(model.tree | {"buffers": [{"uri": inside}]}).encode()))
    packed = Gltf()
    stream = DracoPy.encode(mesh.vertices, mesh.faces, quantization_bits=12)
    packed.tree["accessors"] = [
        {"componentType": 5126, "count": count, "type": "VEC3"},
        {"componentType": 5123, "count": mesh.faces.size, "type": "SCALAR"},
    ]
    extension = {"bufferView": packed.view(stream), "attributes": {"POSITION": 0}}
    packed.primitive["attributes"]["POSITION"], packed.primitive["indices"] = 0, 1
    packed.primitive["extensions"] = {"KHR_draco_mesh_compression": extension}
    return [*seeds, Seed("a.glb", packed.glb())]


def _packed_gltf() -> list[Seed]:
    copies = meshopt_ball()
    copies.tree["nodes"] = [{"mesh": 0, "translation": [0, 0, 300 * k]} for k in range(5)]
    copies.tree["scenes"] = [{"nodes": list(range(5))}]
    return [Seed("a.glb", meshopt_ball().glb()), Seed("a.glb", copies.glb())]


@_kind
def landmarks() -> list[Seed]:
    """Landmarks of every program."""
    points = "".join(f'<point name="{n}" active="1" x="1.5" y="-2" z="3e1"/>' for n in ("nose_tip", "chin"))
    slicer = (
        "# Markups fiducial file version = 4.11\n# CoordinateSystem = RAS\n"
        "# columns = id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc\n"
        "0,1.5,-2,30,0,0,0,1,1,1,0,nose_tip,\n1,4,5,6,0,0,0,1,1,1,0,chin,\n"
    )
    controls = [{"label": "nose_tip", "position": [1, 2, 3], "positionStatus": "defined"}]
    markups = {"markups": [{"type": "Fiducial", "coordinateSystem": "LPS", "controlPoints": controls}]}
    named = {"points": [[1, 2, 3], [4, 5, 6]]}
    labels = [{"label": "nose_tip", "mask": [True, False]}, {"label": "chin", "mask": [False, True]}]
    menpo = {"version": 2, "labels": labels, "landmarks": named}
    ibug = {"groups": {"LJSON": {"landmarks": {"points": [[k, k + 1, 2.5] for k in range(68)]}, "labels": []}}}
    return [
        Seed("a.json", b'{"nose_tip": [1, 2, 3], "chin": [4.5, -6e1, 7], "left_ear_lobe": [0, 0, 1]}'),
        Seed("a.pp", f"<!DOCTYPE PickedPoints>\n<PickedPoints>{points}</PickedPoints>".encode()),
        Seed("a.fcsv", slicer.encode()),
        Seed("a.mrk.json", json.dumps(markups).encode()),
        Seed("a.ljson", json.dumps(menpo).encode()),
        Seed("a.ljson", json.dumps(ibug).encode()),
    ]


@_kind
def take() -> list[Seed]:
    """A take of two frames in the layout of Live Link Face."""
    from imhead.io.live_link import Take, take_bytes

    rng = np.random.default_rng(0)
    seconds = np.arange(3) / 60.0
    made = Take(seconds, rng.random((3, 52)).round(2), rng.normal(0.0, 0.2, (3, 9)).round(3))
    return [Seed("a.csv", take_bytes(made, 60.0))]


def _carried() -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Tensors and metadata of what a fitted head carries beside its codes."""
    certainty = Certainty(
        sigma_mm=np.linspace(0.1, 2.0, 30), measured=np.arange(30) % 2 == 0, landmarks=np.full((6, 4), 0.25),
        landmark_mm=np.full(2, 0.5), size_share=0.05, factor_95=2.1, calibrated=True,
    )  # fmt: skip
    tensors = certainty_tensors(certainty) | {"registration": torch.full((20, 3), 0.125)}
    return tensors, {"certainty": certainty_figures(certainty), "skin": "ab" * 32, "skin_tone": "olive"}


@_kind
def head() -> list[Seed]:
    """Head files with a history: one that was drawn, and one that was fitted."""
    config = model().net.config
    tensors = {
        "z_id": torch.linspace(-1, 1, config.identity_size), "z_exp": torch.zeros(config.expression_size),
        "offsets": torch.zeros(39, config.region_code_size), "eyes": torch.zeros(2, 5),
    }  # fmt: skip
    metadata = {
        "format": HEAD_FORMAT, "model": model().name, "model_hash": model().hash, "scale": "known",
        "provenance": json.dumps(["sample 1", "nose: drawn with seed 7"]),
    }  # fmt: skip
    more, figures = _carried()
    return [
        Seed("a.safetensors", with_metadata(save(tensors), metadata)),
        Seed("a.safetensors", with_metadata(save(tensors | more), metadata | figures)),
    ]


@_kind
def model_file() -> list[Seed]:
    """A model with small networks."""
    net = model().net
    learned = {name for name, _ in net.named_parameters()}
    tensors = {k: (v.half() if k in learned else v.float()).contiguous() for k, v in net.state_dict().items()}
    metadata = {
        "format": MODEL_FORMAT, "name": "small", "config": json.dumps(to_dict(net.config)),
        "regions": regions_digest(), "card": "{}",
    }  # fmt: skip
    return [Seed("a.safetensors", with_metadata(save(tensors), metadata))]


@_kind
def project() -> list[Seed]:
    """A session of two steps and two heads."""
    studio = Studio(model())
    studio.do(RandomHead(4))
    studio.do(RandomHead(5))
    return [Seed("a.imhead", project_bytes(studio))]
