"""3MF: the objects that its build places, read from the XML inside its ZIP archive."""

from __future__ import annotations

import posixpath
from array import array
from dataclasses import dataclass, field

import numpy as np

from imhead.errors import InputError
from imhead.io.archive import Archive
from imhead.io.placing import PlacedMeshes
from imhead.io.raw_geometry import RawGeometry
from imhead.io.siblings import shown_name
from imhead.io.triangles import fan_triangles
from imhead.io.xml_stream import number_attribute, read_xml
from imhead.types import FloatArray

_DEEPEST = 16

_Item = tuple[str, str, FloatArray]
"""Part of the archive, number of the object in it, and where it is placed."""


@dataclass
class _Object:
    """One object of a model: a mesh, or others that it places."""

    coordinates: array[float] = field(default_factory=lambda: array("d"))
    corners: array[int] = field(default_factory=lambda: array("q"))
    items: list[_Item] = field(default_factory=list)


@dataclass
class _Model:
    """One part of the archive."""

    objects: dict[str, _Object] = field(default_factory=dict)
    build: list[_Item] = field(default_factory=list)


def read_3mf(data: bytes, label: str) -> RawGeometry:
    """The meshes of a 3MF as its build places them, in the unit of the file; supports and modifiers count as meshes.

    Raises:
        InputError: not a 3MF, damaged, no mesh, or an index out of range; one line.
    """
    archive = Archive(data, label)
    parts = [name for name in archive.names() if name.lower().endswith(".model")]
    if not parts:
        raise InputError(f"{label}: is a ZIP archive without a 3D model in it; is it another format, renamed?")
    models = {"/" + name: _read_model(archive.read(name), "/" + name, label) for name in sorted(parts)}
    root = next((n for n in models if posixpath.basename(n).lower() == "3dmodel.model"), next(iter(models)))
    placed = PlacedMeshes(sum(_held(model) for model in models.values()), label)
    build = models[root].build or [(root, number, np.eye(4)) for number in models[root].objects]
    pending = [(*item, 0) for item in reversed(build)]
    while pending:
        part, number, matrix, depth = pending.pop()
        found = models.get(part, _Model()).objects.get(number)
        if found is None or depth > _DEEPEST:
            raise InputError(f"{label}: places object {shown_name(number)}, which is not in it; export it again")
        if found.coordinates:
            points = np.frombuffer(found.coordinates, dtype=np.float64).reshape(-1, 3)
            corners = np.frombuffer(found.corners, dtype=np.int64) if found.corners else np.zeros(0, dtype=np.int64)
            faces, _ = fan_triangles(np.full(len(corners) // 3, 3), corners, len(points), label)
            placed.add(points, faces, matrix)
        pending += [(inner, other, matrix @ own, depth + 1) for inner, other, own in reversed(found.items)]
        if len(pending) > len(data) + 1000:
            raise InputError(f"{label}: places its objects again and again; export it as one plain mesh")
    return placed.joined("mesh")


def _held(model: _Model) -> int:
    """Bytes that the meshes of a model take as text, at least."""
    return sum(20 * len(o.coordinates) // 3 + 20 * len(o.corners) // 3 for o in model.objects.values())


def _read_model(data: bytes, part: str, label: str) -> _Model:
    model = _Model()
    current = _Object()

    def begin(name: str, attributes: dict[str, str]) -> None:
        nonlocal current
        if name == "vertex":
            current.coordinates.extend([number_attribute(attributes, axis, label) for axis in "xyz"])
        elif name == "triangle":
            current.corners.extend([_index(attributes, key, label) for key in ("v1", "v2", "v3")])
        elif name == "object":
            current = model.objects[attributes.get("id", "")] = _Object()
        elif name in ("component", "item"):
            inner = next((value for key, value in attributes.items() if key.rpartition(":")[2] == "path"), part)
            item = (inner, attributes.get("objectid", ""), _matrix(attributes.get("transform"), label))
            (current.items if name == "component" else model.build).append(item)

    read_xml(data, label, begin, lambda name, text: None)
    return model


def _index(attributes: dict[str, str], name: str, label: str) -> int:
    value = number_attribute(attributes, name, label)
    return int(value) if 0 <= value < 2**53 else -1


def _matrix(text: str | None, label: str) -> FloatArray:
    """(4, 4) from the twelve numbers of a transform, which stand for the rows that multiply from the left."""
    matrix = np.eye(4)
    if text is not None:
        try:
            matrix[:3] = np.array(text.split(), dtype=np.float64).reshape(4, 3).T
        except ValueError:
            raise InputError(f"{label}: a transform is not twelve numbers; export it again") from None
    return matrix
