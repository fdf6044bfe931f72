"""COLLADA (.dae): the meshes that its scene places. A skinned mesh is read in the pose of its bind shape."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from imhead.errors import InputError
from imhead.io.placing import PlacedMeshes
from imhead.io.raw_geometry import RawGeometry, whole_numbers
from imhead.io.siblings import shown_name
from imhead.io.text_numbers import bad_word, leading_numbers
from imhead.io.triangles import fan_triangles, strip_triangles
from imhead.io.xml_stream import read_xml
from imhead.types import FloatArray, IntArray

_PRIMITIVES = frozenset({"triangles", "polylist", "polygons", "tristrips", "trifans"})
_MOVES = frozenset({"matrix", "translate", "rotate", "scale"})
_WITH_TEXT = frozenset({"float_array", "p", "vcount", "bind_shape_matrix", *_MOVES})


@dataclass
class _Primitive:
    """One block of faces."""

    kind: str
    vertex_source: str = ""
    vertex_offset: int = 0
    width: int = 1
    vcount: IntArray | None = None
    rows: list[IntArray] = field(default_factory=list)


@dataclass
class _Node:
    """One node of the scene."""

    matrix: FloatArray = field(default_factory=lambda: np.eye(4))
    uses: list[str] = field(default_factory=list)
    inside: list[_Node] = field(default_factory=list)


class _Dae:
    """What the elements of a file say."""

    def __init__(self, label: str) -> None:
        self.label = label
        self.sources: dict[str, tuple[FloatArray, int]] = {}
        self.vertices: dict[str, str] = {}
        self.meshes: dict[str, list[_Primitive]] = {}
        self.skins: dict[str, tuple[str, FloatArray]] = {}
        self.nodes: dict[str, _Node] = {}
        self.scene: list[_Node] = []
        self._open: list[_Node] = []
        self._id = {"source": "", "vertices": "", "geometry": "", "controller": ""}
        self._stride = 3
        self._primitive: _Primitive | None = None

    def begin(self, name: str, attributes: dict[str, str]) -> None:
        if name in self._id:
            self._id[name] = attributes.get("id", "")
        if name == "geometry":
            self.meshes[self._id["geometry"]] = []
        elif name == "accessor":
            self._stride = _natural(attributes.get("stride", "1"), self.label)
            source = self.sources.get(self._id["source"])
            if source is not None:
                self.sources[self._id["source"]] = (source[0], self._stride)
        elif name in _PRIMITIVES:
            self._primitive = _Primitive(name)
            self.meshes.setdefault(self._id["geometry"], []).append(self._primitive)
        elif name == "input":
            self._input(attributes)
        elif name == "skin":
            self.skins[self._id["controller"]] = (_target(attributes, "source"), np.eye(4))
        elif name == "node":
            node = _Node()
            self.nodes[attributes.get("id", "")] = node
            (self._open[-1].inside if self._open else self.scene).append(node)
            self._open.append(node)
        elif name in ("instance_geometry", "instance_controller") and self._open:
            self._open[-1].uses.append(_target(attributes, "url"))

    def _input(self, attributes: dict[str, str]) -> None:
        semantic, target = attributes.get("semantic"), _target(attributes, "source")
        if self._primitive is None:
            if semantic == "POSITION":
                self.vertices[self._id["vertices"]] = target
            return
        offset = _natural(attributes.get("offset", "0"), self.label)
        self._primitive.width = max(self._primitive.width, offset + 1)
        if semantic == "VERTEX":
            self._primitive.vertex_source, self._primitive.vertex_offset = target, offset

    def end(self, name: str, text: bytes) -> None:
        if name == "node":
            self._open.pop()
        elif name in _PRIMITIVES:
            self._primitive = None
        elif name == "float_array":
            values, odd = leading_numbers(text)
            # only the places are needed; damage in other arrays is found when they are
            self.sources[self._id["source"]] = (values if odd is None else np.zeros(0), 3)
            if odd is not None and b"," in odd:
                raise bad_word(self.label, odd)
        elif name in ("p", "vcount") and self._primitive is not None:
            indices = whole_numbers(self._numbers(text), "a face index of", self.label)
            if name == "p":
                self._primitive.rows.append(indices)
            else:
                self._primitive.vcount = indices
        elif name == "bind_shape_matrix" and self._id["controller"] in self.skins:
            target, _ = self.skins[self._id["controller"]]
            self.skins[self._id["controller"]] = (target, self._sized(text, 16).reshape(4, 4))
        elif name in _MOVES and self._open:
            self._open[-1].matrix = self._open[-1].matrix @ self._move(name, text)

    def _numbers(self, text: bytes) -> FloatArray:
        values, odd = leading_numbers(text)
        if odd is not None:
            raise bad_word(self.label, odd)
        return values

    def _sized(self, text: bytes, size: int) -> FloatArray:
        values = self._numbers(text)
        if len(values) != size:
            raise InputError(f"{self.label}: a transform has {len(values)} numbers, not {size}; export it again")
        return values

    def _move(self, name: str, text: bytes) -> FloatArray:
        matrix = np.eye(4)
        if name == "matrix":
            return self._sized(text, 16).reshape(4, 4)
        if name == "translate":
            matrix[:3, 3] = self._sized(text, 3)
        elif name == "scale":
            matrix[:3, :3] = np.diag(self._sized(text, 3))
        else:
            *axis, degrees = self._sized(text, 4)
            length = float(np.linalg.norm(axis))
            if length:
                x, y, z = np.array(axis) / length
                cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
                angle = np.radians(degrees)
                matrix[:3, :3] += np.sin(angle) * cross + (1.0 - np.cos(angle)) * cross @ cross
        return matrix


def _target(attributes: dict[str, str], name: str) -> str:
    return attributes.get(name, "").rpartition("#")[2]


def _natural(text: str, label: str) -> int:
    if not text.isdigit() or not 0 <= int(text[:9]) < 1024:
        raise InputError(f"{label}: {shown_name(text)} is no offset; the file is damaged, export it again")
    return int(text)


def read_dae(data: bytes, label: str) -> RawGeometry:
    """The meshes of a COLLADA scene where its nodes put them, in the unit and axes of the file.

    Raises:
        InputError: not COLLADA, damaged, no mesh, or an index out of range; one line.
    """
    if b"<COLLADA" not in data[:4096]:
        raise InputError(f"{label}: is not a COLLADA file (it has no COLLADA); is it another format, renamed?")
    dae = _Dae(label)
    read_xml(data, label, dae.begin, dae.end, _WITH_TEXT)
    placed = PlacedMeshes(len(data), label)
    pending = [(node, np.eye(4)) for node in reversed(dae.scene)]
    used = False
    while pending:
        node, outer = pending.pop()
        matrix = outer @ node.matrix
        for use in node.uses:
            target, bind = dae.skins.get(use, (use, np.eye(4)))
            used = True
            # as in the bind pose, a skinned mesh is not moved by the node that names it
            _add_mesh(dae, target, bind if use in dae.skins else matrix, placed)
        pending += [(child, matrix) for child in reversed(node.inside)]
    if not used:
        for name in dae.meshes:
            _add_mesh(dae, name, np.eye(4), placed)
    return placed.joined("mesh")


def _add_mesh(dae: _Dae, name: str, matrix: FloatArray, placed: PlacedMeshes) -> None:
    for primitive in dae.meshes.get(name, ()):
        source = dae.sources.get(dae.vertices.get(primitive.vertex_source, ""))
        if source is None:
            raise InputError(f"{dae.label}: faces of {shown_name(name)} have no places; it is damaged, export it again")
        values, stride = source
        if stride < 3 or len(values) < 3:
            raise InputError(f"{dae.label}: the places of {shown_name(name)} cannot be read; export it again")
        points = values[: len(values) // stride * stride].reshape(-1, stride)[:, :3]
        faces = [_faces(primitive, row, len(points), dae.label) for row in primitive.rows]
        placed.add(points, np.concatenate(faces) if faces else None, matrix)


def _faces(primitive: _Primitive, row: IntArray, count: int, label: str) -> IntArray:
    if len(row) % primitive.width:
        raise InputError(f"{label}: a list of faces ends within a corner; it is truncated, export it again")
    corners = row.reshape(-1, primitive.width)[:, primitive.vertex_offset]
    if primitive.kind == "triangles":
        sizes = np.full(len(corners) // 3, 3)
    elif primitive.kind == "polylist" and primitive.vcount is not None:
        sizes = primitive.vcount
    else:
        sizes = np.array([len(corners)])
    if len(sizes) and (sizes.min() < 0 or sizes.sum() > len(corners)):
        raise InputError(f"{label}: faces have fewer corners than promised; the file is damaged, export it again")
    corners = np.ascontiguousarray(corners[: int(sizes.sum())])
    if primitive.kind == "tristrips":
        return strip_triangles(sizes, corners, count, label)
    return fan_triangles(sizes, corners, count, label)[0]
