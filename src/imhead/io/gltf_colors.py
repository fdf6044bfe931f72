"""The colours of a glTF: base colour pictures and colours of points. What is wrong in them never costs the mesh.

Shape legend: N points, F faces.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from imhead.conventions import srgb_bytes
from imhead.errors import InputError
from imhead.io.gltf_data import Damaged, GltfData, item
from imhead.io.pictures import Pictures
from imhead.types import FloatArray, IntArray

_MALFORMED = (Damaged, InputError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError)
_OLD_GLOSS, _WEBP, _TRANSFORM = (
    "KHR_materials_pbrSpecularGlossiness", "EXT_texture_webp", "KHR_texture_transform",
)  # fmt: skip


class Source(Protocol):
    """The attributes of a primitive."""

    def has(self, name: str) -> bool:
        """Whether it has an attribute."""
        ...

    def floats(self, name: str, width: int) -> FloatArray:
        """(N, width) an attribute."""
        ...

    def width(self, name: str) -> int:
        """Columns of an attribute."""
        ...


class SceneColors:
    """Collects the pictures of a scene; warnings say what could not be read."""

    def __init__(self, data: GltfData) -> None:
        self._data = data
        self.pictures = Pictures()
        self._unreadable = 0

    def warnings(self) -> tuple[str, ...]:
        """What was left out."""
        lost = (f"The colours of {self._unreadable} meshes cannot be read and were left out.",)
        return (*self.pictures.warnings, *(lost if self._unreadable else ()))

    def of_points(self, source: Source, count: int) -> NDArray[np.uint8] | None:
        """(count, 3) sRGB of the points of a primitive; None without colours."""
        if not source.has("COLOR_0"):
            return None
        try:
            width = source.width("COLOR_0")
            values = source.floats("COLOR_0", width)
            if width < 3 or len(values) != count:
                raise Damaged("colours of another number")
            return srgb_bytes(np.nan_to_num(values[:, :3]))  # the file's are linear
        except _MALFORMED:
            self._unreadable += 1
            return None

    def of_faces(self, source: Source, material: Any, faces: IntArray) -> tuple[FloatArray, int] | None:
        """UVs (F, 3, 2) float32 of the corners of faces (F, 3), v upwards, and the row of their picture."""
        if material is None:
            return None
        try:
            found = self._texture(item(self._data.tree, "materials", material))
            if found is None:
                return None
            name, transform, row = found
            if row < 0 or not source.has(name):
                return None
            uv = source.floats(name, 2)
            if not np.isfinite(uv).all():
                raise Damaged("a texture coordinate is not finite")
            uv = _transformed(uv, transform) if transform else uv
            corners = (uv[faces] * [1.0, -1.0] + [0.0, 1.0]).astype(np.float32)
            return corners, row
        except _MALFORMED:
            self._unreadable += 1
            return None

    def _texture(self, material: Mapping[str, Any]) -> tuple[str, Mapping[str, Any] | None, int] | None:
        """Attribute with the UVs, their transform, and the row of the base colour picture of a material."""
        surface = material.get("pbrMetallicRoughness") or {}
        use, factor = surface.get("baseColorTexture"), surface.get("baseColorFactor")
        old = (material.get("extensions") or {}).get(_OLD_GLOSS)
        if use is None and old is not None:
            use, factor = old.get("diffuseTexture"), old.get("diffuseFactor")
        if use is None:
            return None
        texture = item(self._data.tree, "textures", use["index"])
        packed = (texture.get("extensions") or {}).get(_WEBP) or {}
        source = packed.get("source", texture.get("source"))
        if source is None:
            self.pictures.leave_out(f"texture {use['index']}", "it is of an unknown kind; save it as PNG or JPEG")
            return None
        transform = (use.get("extensions") or {}).get(_TRANSFORM)
        channel = int((transform or {}).get("texCoord", use.get("texCoord", 0)))
        image = item(self._data.tree, "images", source)
        name = str(image.get("name") or image.get("uri") or f"image {source}")
        shown = "embedded" if name.startswith("data:") else name
        row = self.pictures.row(source, shown, lambda: self._bytes(image), _factor(factor))
        return f"TEXCOORD_{channel}", transform, row

    def _bytes(self, image: Mapping[str, Any]) -> bytes:
        try:
            if image.get("bufferView") is not None:
                return bytes(self._data.view(image["bufferView"])[0])
            uri = image["uri"]
            if uri.startswith("data:"):
                return base64.b64decode(uri.partition(",")[2], validate=False)
        except (*_MALFORMED, binascii.Error) as error:
            raise InputError(f"it cannot be found in the file: {type(error).__name__}") from None
        return self._data.beside(uri)


def _factor(values: Any) -> Sequence[float]:
    if not isinstance(values, list) or len(values) < 3:
        return (1.0, 1.0, 1.0)
    numbers = np.nan_to_num(np.array(values[:3], dtype=np.float64))
    return tuple(float(k) for k in np.clip(numbers, 0.0, 1.0))


def _transformed(uv: FloatArray, transform: Mapping[str, Any]) -> FloatArray:
    shift = np.array(transform.get("offset", (0.0, 0.0)), dtype=np.float64)
    scale = np.array(transform.get("scale", (1.0, 1.0)), dtype=np.float64)
    c, s = np.cos(float(transform.get("rotation", 0.0))), np.sin(float(transform.get("rotation", 0.0)))
    turned: FloatArray = (uv * scale) @ np.array([[c, -s], [s, c]]) + shift
    if turned.shape != uv.shape or not np.isfinite(turned).all():
        raise Damaged("a texture is not placed by numbers")
    return turned
