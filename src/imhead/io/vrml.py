"""VRML 1 and 2 (.wrl), as 3dMD and other scanners write it: indexed faces and points, placed by transforms."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np

from imhead.errors import InputError
from imhead.io.placing import PlacedMeshes
from imhead.io.raw_geometry import RawGeometry, whole_numbers
from imhead.io.text_numbers import bad_word, decimal_comma, has_decimal_comma, leading_numbers, unix_text
from imhead.io.triangles import fan_triangles
from imhead.types import FloatArray

_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[{}\[\]]|[^\s,{}\[\]"#]+|#[^\n]*')
_NUMBERS_END = re.compile(rb"[\]\[{}\"]")
_COMMENT = re.compile(rb"#[^\n]*")
_DEEPEST = 500
_LOOKED_AT = 2000  # bytes of a list, for how its numbers are written
_PLACES = ("point", "coordIndex")
_MOVES = {
    "translation": 3, "rotation": 4, "scale": 3, "scaleFactor": 3, "center": 3, "scaleOrientation": 4, "matrix": 16
}  # fmt: skip

_MOVERS = ("Transform", "MatrixTransform", "Translation", "Rotation", "Scale")


@dataclass
class _Node:
    """One node: its kind, its numbers and the nodes inside."""

    kind: str
    fields: dict[str, FloatArray] = field(default_factory=dict)
    inside: list[_Node] = field(default_factory=list)


def read_wrl(data: bytes, label: str) -> RawGeometry:
    """Points and faces of the indexed face sets and point sets of a VRML file, as its transforms place them.

    Prototypes, scripts, primitives such as spheres, and all looks are ignored.

    Raises:
        InputError: not VRML, truncated, nested too deep, no points, or an index out of range; one line.
    """
    if not re.match(rb"\s*#VRML V[12]\.0", data[:1024]):
        raise InputError(
            f"{label}: is not a VRML file (it does not begin with '#VRML'); is it another format, renamed?"
        )
    root = _parse(unix_text(data), label)
    placed = PlacedMeshes(len(data), label)
    _place(root, placed, b"#VRML V1" in data[:1024], len(data), label)
    return placed.joined("indexed face sets or points")


def _parse(text: bytes, label: str) -> _Node:
    """The nodes of the file. Every number is read once, and names that are used again share their node."""
    root = _Node("Group")
    stack, named = [root], dict[str, _Node]()
    before, name = b"", b""
    at = 0
    while (found := _TOKEN.search(text, at)) is not None:
        at, token = found.end(), found.group()
        if token[:1] == b"#":
            continue
        if token == b"{":
            node = _Node(before.decode("latin-1"))
            stack[-1].inside.append(node)
            stack.append(node)
            if name:
                named[name.decode("latin-1")] = node
                name = b""
            if len(stack) > _DEEPEST:
                raise InputError(f"{label}: its VRML nodes are nested too deep; export it again")
        elif token == b"}":
            if len(stack) == 1:
                raise InputError(f"{label}: its VRML closes a node that is not open; it is damaged, export it again")
            stack.pop()
        elif before == b"DEF":
            name, token = token, b""
        elif before == b"USE":
            if (used := named.get(token.decode("latin-1"))) is not None and used not in stack:
                stack[-1].inside.append(used)
        elif token == b"[":
            wanted = before.decode("latin-1") in _PLACES
            end = _NUMBERS_END.search(text, at)
            flat = end is not None and end.group() == b"]"
            if wanted and not flat:
                raise InputError(f"{label}: a list of numbers has no end, the VRML is truncated; copy it again")
            if end is not None and flat and (wanted or text.find(b"USE", at, end.start()) < 0):
                if wanted:
                    stack[-1].fields[before.decode("latin-1")] = _list(text[at : end.start()], label)
                at = end.end()
        elif token.decode("latin-1") in _MOVES:
            count = _MOVES[token.decode("latin-1")]
            words = _TOKEN.finditer(text, at)
            values = [next(words, None) for _ in range(count)]
            try:
                moved = np.array([float(word.group()) for word in values if word is not None])
            except ValueError:
                continue  # a field of another kind, such as a route between nodes
            if len(moved) == count and values[-1] is not None:
                stack[-1].fields[token.decode("latin-1")] = moved
                at = values[-1].end()
        before = token
    if len(stack) > 1:
        raise InputError(f"{label}: its last node is not closed, the VRML is truncated; copy it again")
    return root


def _list(text: bytes, label: str) -> FloatArray:
    if b"#" in text:
        text = _COMMENT.sub(b"", text)
    if decimal := _decimal_comma(text[:_LOOKED_AT]):
        raise decimal_comma(label, ascii(decimal[:40].decode("latin-1")))
    values, odd = leading_numbers(text.replace(b",", b" "))
    if odd is not None:
        raise bad_word(label, odd)
    return values


def _decimal_comma(text: bytes) -> bytes | None:
    """The first number with a decimal comma, where most are written so; commas also stand between numbers."""
    words = text.split()[:-1]  # the last one may be cut
    commas = [word for word in words if has_decimal_comma(word.rstrip(b","))]
    return commas[0] if b"." not in text and 2 * len(commas) > len(words) else None


def _place(root: _Node, placed: PlacedMeshes, first_version: bool, size: int, label: str) -> None:
    """Walk the nodes; a transform moves its inside, in VRML 1 what follows it."""
    pending: list[tuple[_Node, FloatArray, FloatArray | None]] = [(root, np.eye(4), None)]
    steps = 0
    while pending:
        node, matrix, points = pending.pop()
        steps += 1 + len(node.inside)
        if steps > size + 1000:
            raise InputError(f"{label}: places its nodes again and again; export it as one plain mesh")
        if node.kind == "Transform" and not first_version:
            matrix = matrix @ _matrix(node)
        inner: list[tuple[_Node, FloatArray, FloatArray | None]] = []
        for child in node.inside:
            if child.kind in ("Coordinate", "Coordinate3"):
                points = _points(child, label)
            elif first_version and child.kind in _MOVERS:
                matrix = matrix @ _matrix(child)
            elif child.kind == "IndexedFaceSet":
                own = next((_points(c, label) for c in child.inside if c.kind == "Coordinate"), points)
                if own is not None and "coordIndex" in child.fields:
                    _add_faces(own, child.fields["coordIndex"], matrix, placed, label)
            elif child.kind == "PointSet":
                own = next((_points(c, label) for c in child.inside if c.kind == "Coordinate"), points)
                if own is not None:
                    placed.add(own, None, matrix)
            elif child.inside:
                inner.append((child, matrix, points))
        pending += reversed(inner)


def _points(node: _Node, label: str) -> FloatArray:
    values = node.fields.get("point", np.zeros(0))
    if len(values) % 3:
        raise InputError(f"{label}: its points have no three coordinates each; the file is damaged, export it again")
    return values.reshape(-1, 3)


def _add_faces(points: FloatArray, index: FloatArray, matrix: FloatArray, placed: PlacedMeshes, label: str) -> None:
    """Add polygons that end with -1."""
    corners = whole_numbers(index, "a face index of", label)
    ends = np.flatnonzero(corners == -1)
    if len(corners) and (not len(ends) or ends[-1] != len(corners) - 1):
        ends = np.append(ends, len(corners))
    counts = np.diff(ends, prepend=-1) - 1
    faces, warnings = fan_triangles(counts, corners[corners != -1], len(points), label)
    placed.warnings += warnings[: 1 if len(placed.warnings) < 3 else 0]
    placed.add(points, faces, matrix)


def _matrix(node: _Node) -> FloatArray:
    """(4, 4) of a transform: about its center, scaled, then turned, then moved."""
    get = node.fields.get
    if (rows := get("matrix")) is not None:
        return rows.reshape(4, 4).T
    center = get("center", np.zeros(3))
    scale = get("scale", get("scaleFactor", np.ones(3)))
    turn, lean = _turned(get("rotation")), _turned(get("scaleOrientation"))
    matrix = np.eye(4)
    matrix[:3, :3] = turn @ lean @ np.diag(scale) @ lean.T
    matrix[:3, 3] = get("translation", np.zeros(3)) + center - matrix[:3, :3] @ center
    return matrix


def _turned(rotation: FloatArray | None) -> FloatArray:
    """(3, 3) about an axis by an angle in radians."""
    if rotation is None or not np.linalg.norm(rotation[:3]):
        return np.eye(3)
    x, y, z = rotation[:3] / np.linalg.norm(rotation[:3])
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.eye(3) + np.sin(rotation[3]) * cross + (1.0 - np.cos(rotation[3])) * cross @ cross
