"""USD (.usda, .usdc, .usdz), opened by usd-core, which the extra `usd` installs.

Only what a file itself writes is read, prim after prim: nothing is composed, so no reference leads to another file, and
time stays in proportion to the file. Shape legend: N points, P polygons.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from imhead.errors import InputError
from imhead.io.archive import Archive
from imhead.io.placing import PlacedMeshes
from imhead.io.raw_geometry import RawGeometry
from imhead.io.siblings import shown_name
from imhead.io.triangles import fan_triangles
from imhead.types import FloatArray, IntArray

_BINARY = b"PXR-USDC"
_ENDINGS = (".usda", ".usdc", ".usd")
_DEEPEST = 400  # of braces: the parser goes as deep as the file does
_NOT_BRACKETS = bytes(set(range(256)) - set(b"{}[]()"))
_OF_NUMBERS = b"0123456789+-.eEinfa(), \t\r\n"
_ODD_TUPLES = 1000  # looked at; a file with text in brackets has some
_UNSEEN = ("guide", "proxy")
_AXES = {"X": 0, "Y": 1, "Z": 2}


def read_usd(data: bytes, label: str) -> RawGeometry:
    """Points and faces of all meshes of a USD layer, each where its xforms put it; points alone if there are no meshes.

    Variants are read as the file selects them. What refers to other prims or files is left out, with a warning.

    Raises:
        InputError: usd-core is not installed, or the file is damaged or holds no mesh; one line.
    """
    found = _geometry(data, label)
    if found is None:
        raise InputError(f"{label}: holds no mesh; export the scan again")
    return found


def _geometry(data: bytes, label: str) -> RawGeometry | None:
    """What `read_usd` gives; None where there are neither meshes nor points."""
    with _layer(data, label) as layer:
        meshes, clouds = PlacedMeshes(len(data), label), PlacedMeshes(len(data), label)
        try:
            referring = _place(layer, meshes, clouds, label)
            used = clouds if meshes.is_empty else meshes
            if used.is_empty:
                return None
            if referring:
                used.warnings += (f"{referring} prims that refer to others or to other files were not followed.",)
            return used.joined("mesh")
        except InputError:
            raise
        except Exception as error:  # values of another type than their names say
            raise _damaged(error, label) from None


def read_usdz(data: bytes, label: str) -> RawGeometry:
    """The geometry of the first layer of a USDZ package that holds some; otherwise as `read_usd`.

    The first layer may do no more than refer to the others, which are then read as they are, with a warning.

    Raises:
        InputError: as `read_usd`, or no package.
    """
    archive = Archive(data, label)
    layers = [name for name in archive.names() if name.lower().endswith(_ENDINGS)]
    if not layers:
        raise InputError(f"{label}: is a ZIP archive without a USD layer in it; is it another format, renamed?")
    for name in layers:
        found = _geometry(archive.read(name), label)
        if found is not None:
            other = f"The first layer holds no mesh; that of {shown_name(name)} was read as it is."
            return found if name == layers[0] else replace(found, warnings=(*found.warnings, other))
    raise InputError(f"{label}: holds no mesh; export the scan again")


@contextmanager
def _layer(data: bytes, label: str) -> Iterator[Any]:
    """The layer of a file. One in binary is read from a copy, piece by piece, until the end of the context."""
    try:
        from pxr import Sdf, Tf
    except ImportError:
        raise InputError(f"{label}: is USD; run pip install 'imhead[usd]', or convert it to .glb") from None
    with tempfile.TemporaryDirectory(prefix="imhead-usd-") as folder:
        try:
            if data.startswith(_BINARY):
                path = Path(folder) / "layer.usdc"
                path.write_bytes(data)
                layer = Sdf.Layer.OpenAsAnonymous(str(path))
            else:
                _check_text(data, label)
                layer = Sdf.Layer.CreateAnonymous(".usda")
                layer.ImportFromString(data.decode("utf-8-sig", errors="replace"))
        except Tf.ErrorException as error:
            raise _damaged(error, label) from None
        yield layer


def _damaged(error: Exception, label: str) -> InputError:
    first = str(error)[:2000].strip().partition("\n")[0]  # a file full of faults has a line for each
    reason = ascii(" ".join(first.rpartition(" : ")[2].split())[:80])[1:-1].strip("'\"")
    return InputError(f"{label}: its USD cannot be read ({reason}); export it again")


def _check_text(data: bytes, label: str) -> None:
    """Refuse what the parser goes on with: it goes as deep as the file does, and keeps a line for every bad tuple."""
    depth = 0
    for byte in data.translate(None, _NOT_BRACKETS):
        depth += 1 if byte in b"{[(" else -1
        if depth > _DEEPEST:
            raise InputError(f"{label}: its USD is nested too deep; export it again")
    marks = np.frombuffer(data, dtype=np.uint8)
    brackets = np.flatnonzero((marks == ord("(")) | (marks == ord(")")))
    opening = marks[brackets] == ord("(")
    innermost = opening[:-1] & ~opening[1:]
    commas = np.flatnonzero(marks == ord(","))
    begin, end = brackets[:-1][innermost], brackets[1:][innermost]
    lengths = np.searchsorted(commas, end) - np.searchsorted(commas, begin)
    lists = np.flatnonzero(marks == ord("["))
    own = np.searchsorted(lists, begin)
    odd = np.flatnonzero((lengths[1:] != lengths[:-1]) & (own[1:] == own[:-1]) & (own[1:] > 0))
    for k in odd[:_ODD_TUPLES]:
        between = data[int(begin[k]) : int(end[k + 1]) + 1]
        if not between.translate(None, _OF_NUMBERS):  # no text, and no end of a list
            raise InputError(f"{label}: a list of its USD has entries of different lengths; export it again")


def _place(layer: Any, meshes: PlacedMeshes, clouds: PlacedMeshes, label: str) -> int:
    """Place the meshes and clouds of a layer; returns how many prims refer to others."""
    from pxr import Sdf

    referring = len(layer.subLayerPaths)
    pending: list[tuple[Any, FloatArray]] = [(prim, np.eye(4)) for prim in reversed(list(layer.rootPrims))]
    while pending:
        prim, above = pending.pop()
        if prim.specifier != Sdf.SpecifierDef or not prim.active:
            continue
        value = _values(layer, prim)
        if value("visibility") == "invisible" or value("purpose") in _UNSEEN:
            continue
        referring += any((prim.hasReferences, prim.hasPayloads, prim.hasInheritPaths, prim.hasSpecializes))
        matrix, reset = _local(value)
        matrix = matrix if reset else above @ matrix
        if prim.typeName == "Mesh":
            points = _rows(value("points"), 3, np.float64, label)
            corners = _rows(value("faceVertexIndices"), 1, np.int64, label)[:, 0]
            meshes.add(points, _faces(value, corners, len(points), label), matrix)
        elif prim.typeName == "Points":
            clouds.add(_rows(value("points"), 3, np.float64, label), None, matrix)
        inner = list(prim.nameChildren)
        for name, variants in prim.variantSets.items():
            chosen = variants.variants.get(prim.variantSelections.get(name, ""))
            inner += [] if chosen is None else list(chosen.primSpec.nameChildren)
        pending += [(child, matrix) for child in reversed(inner)]
    return referring


def _values(layer: Any, prim: Any) -> Callable[[str], Any]:
    """Name → value of an attribute of a prim, at the first time where it has several; None if it is not written."""

    def value(name: str) -> Any:
        """Of the attribute of this name."""
        attribute = prim.attributes.get(name)
        if attribute is None:
            return None
        times = layer.ListTimeSamplesForPath(attribute.path) if attribute.default is None else ()
        return layer.QueryTimeSample(attribute.path, times[0]) if times else attribute.default

    return value


def _rows(values: Any, width: int, kind: type, label: str) -> Any:
    """(N, width) numbers of an array attribute; none where it is not written."""
    if values is None:
        return np.zeros((0, width), dtype=kind)
    array = np.asarray(values)
    if array.dtype.kind not in "iuf" or array.size % width or (array.ndim == 2 and array.shape[1] != width):
        raise InputError(f"{label}: an array of its USD has another shape than it should; export it again")
    return array.reshape(-1, width).astype(kind)


def _faces(value: Callable[[str], Any], corners: IntArray, count: int, label: str) -> IntArray:
    sizes = _rows(value("faceVertexCounts"), 1, np.int64, label)[:, 0]
    if (len(sizes) and (sizes.min() < 0 or sizes.max() > len(corners))) or sizes.sum() != len(corners):
        raise InputError(f"{label}: the corners of its USD faces do not agree with their number; export it again")
    faces, _ = fan_triangles(sizes, corners, count, label)
    return faces[:, ::-1] if value("orientation") == "leftHanded" else faces


def _local(value: Callable[[str], Any]) -> tuple[FloatArray, bool]:
    """The matrix (4, 4) of a prim's xform ops, and whether it starts anew from the stage."""
    matrix, reset = np.eye(4), False
    for token in value("xformOpOrder") or ():
        if token == "!resetXformStack!":
            matrix, reset = np.eye(4), True
            continue
        inverted = token.startswith("!invert!")
        name = token.removeprefix("!invert!")
        own = _operation(name.split(":")[1], value(name))
        matrix = matrix @ (np.linalg.inv(own) if inverted else own)
    return matrix, reset


def _operation(kind: str, value: Any) -> FloatArray:
    """The matrix (4, 4) of one op, for columns."""
    matrix = np.eye(4)
    if kind == "transform":
        return np.array(value, dtype=np.float64).T
    if kind == "orient":
        from pxr import Gf

        matrix[:3, :3] = np.array(Gf.Matrix3d(Gf.Quatd(value.GetNormalized())), dtype=np.float64).T
        return matrix
    numbers = np.atleast_1d(np.array(value, dtype=np.float64))
    if kind == "translate":
        matrix[:3, 3] = numbers
    elif kind == "scale":
        matrix[:3, :3] = np.diag(np.broadcast_to(numbers, 3))
    elif kind.startswith("rotate"):
        axes = kind.removeprefix("rotate")
        for axis in axes:  # the first is applied first
            angle = numbers[_AXES[axis]] if len(axes) == 3 else numbers[0]
            matrix = _turn(_AXES[axis], float(np.radians(angle))) @ matrix
    else:
        raise ValueError(f"an xform op of kind {kind[:20]!a}")
    return matrix


def _turn(axis: int, angle: float) -> FloatArray:
    matrix, (i, j) = np.eye(4), ((axis + 1) % 3, (axis + 2) % 3)
    matrix[i, i] = matrix[j, j] = np.cos(angle)
    matrix[j, i], matrix[i, j] = np.sin(angle), -np.sin(angle)
    return matrix
