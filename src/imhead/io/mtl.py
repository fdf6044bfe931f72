"""Materials of a Wavefront OBJ: colour and picture by name."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass

from imhead.errors import InputError
from imhead.io.pictures import Pictures
from imhead.io.siblings import Beside, shown_name
from imhead.io.text_numbers import unix_text

_MOST_BYTES, _MOST_MATERIALS = 1 << 20, 10_000
# options of a map → how many words follow at most; those with numbers stop at the first word that is none
_OPTIONS = {
    "-blendu": 1, "-blendv": 1, "-cc": 1, "-clamp": 1, "-imfchan": 1, "-texres": 1, "-bm": 1, "-boost": 1, "-type": 1,
    "-mm": 2, "-o": 3, "-s": 3, "-t": 3,
}  # fmt: skip


@dataclass
class Material:
    """What a surface of an OBJ looks like."""

    color: tuple[float, float, float] = (0.8, 0.8, 0.8)
    """sRGB, 0 to 1."""
    picture: str = ""
    """Name of its picture as written; empty for none."""


def read_mtl(data: bytes) -> dict[str, Material]:
    """Name → material. Rows that make no sense are passed over."""
    found: dict[str, Material] = {}
    current: Material | None = None
    for line in unix_text(data[:_MOST_BYTES]).decode("utf-8", errors="replace").split("\n"):
        words = line.split(None, 1)
        if len(words) < 2:
            continue
        key, rest = words[0].lower(), words[1].strip()
        if key == "newmtl":
            if len(found) >= _MOST_MATERIALS:
                break
            current = found.setdefault(rest, Material())
        elif current is not None and key == "kd":
            current.color = _color(rest) or current.color
        elif current is not None and key == "map_kd":
            current.picture = _picture_name(rest)
    return found


def _color(text: str) -> tuple[float, float, float] | None:
    try:
        r, g, b = (min(max(float(word), 0.0), 1.0) for word in text.split()[:3])
    except ValueError:
        return None
    return (r, g, b) if r == r and g == g and b == b else None


def _picture_name(text: str) -> str:
    """The file name behind the options of a map; it may hold spaces."""
    words = text.split(" ")
    k = 0
    while k < len(words) and words[k].lower() in _OPTIONS:
        most, k = _OPTIONS[words[k].lower()], k + 1
        taken = 0
        while k < len(words) - 1 and taken < most and (most == 1 or _is_number(words[k])):
            k, taken = k + 1, taken + 1
    return " ".join(words[k:]).strip().strip('"')


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def rows_of_materials(
    libraries: list[str], names: list[str], beside: Beside, pictures: Pictures
) -> tuple[list[int], tuple[str, ...]]:
    """The picture of each material that faces use, -1 for none, and warnings.

    Args:
        libraries: files that the OBJ names.
        names: materials, as the OBJ names them.
        beside: the files in the folder of the OBJ.
        pictures: takes the pictures.
    """
    known: dict[str, Material] = {}
    warnings: list[str] = []
    for library in libraries:
        try:
            known |= read_mtl(_beside(beside, library))
        except InputError as error:
            warnings.append(f"The materials {shown_name(library)} were left out ({error}).")
    rows = []
    for name in names:
        material = known.get(name)
        if material is None:
            rows.append(-1)
        elif material.picture:
            file = material.picture
            rows.append(pictures.row(file, file, lambda file=file: _beside(beside, file)))  # type: ignore[misc]
        else:
            rows.append(pictures.plain([round(255.0 * value) for value in material.color]))
    return rows, (*warnings, *pictures.warnings)


def _beside(beside: Beside, name: str) -> bytes:
    """A file by name; one with a path of the machine that wrote it is looked for beside the OBJ."""
    plain = name.replace("\\", "/")
    try:
        return beside(plain)
    except InputError:
        if posixpath.basename(plain) in ("", plain):
            raise
        return beside(posixpath.basename(plain))
