"""A guess of the skin that a scan does not show, which meets in tone what it shows.

The tone of a guess is that of what was seen, over the painting; on the rest of the mesh it is as smooth as can be.
Where the other side was seen, the guess is that side's, in this side's tone.

Shape legend: T texels on skin, V vertices of the template, C channels.
"""

from __future__ import annotations

import igl
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_matrix, diags_array
from scipy.sparse.linalg import splu

from imhead.avatar.parts import Parts, groups_of_skin
from imhead.template.texels import Texels
from imhead.template.topology import LEFT_EYE, SKIN, Topology
from imhead.types import BoolArray, FloatArray

SEEN, HAIR, MIRRORED, GUESSED = 255, 170, 85, 0
"""Values of the mask: seen on the skin; hair seen over it; from the other side; painted in the tone around it."""
BARE_GROUPS = ("nose", "cheek", "chin", "forehead", "mouth", "jaw")
"""Groups of regions on which skin is bare, as a rule."""
_DARK = 6.0  # added to both before a ratio of colours is taken
_MOST_RATIO = 2.2  # largest size of its logarithm
_LOW_MM, _PULL_MM = -45.0, 30.0  # below this height, over this distance, a guess comes to have the tone of the skin


def filled(
    color: FloatArray, weight: FloatArray, hair: BoolArray, painted: FloatArray, vertices: FloatArray,
    topology: Topology, parts: Parts, texels: Texels,
) -> tuple[FloatArray, NDArray[np.uint8]]:  # fmt: skip
    """Colours (T, 3) everywhere, and where they come from (T,).

    Args:
        color: (T, 3) sRGB that was seen.
        weight: (T,) how much it is trusted.
        hair: (T,) whether it is hair.
        painted: (T, 3) sRGB of the painted skin.
        vertices: (V, 3) the template on the scan, mm.
        topology: of the template.
        parts: of an avatar.
        texels: T of them.
    """
    system, size = _laplacian(vertices, topology), texels.size
    ratio = np.clip(np.log((color + _DARK) / (painted + _DARK)), -_MOST_RATIO, _MOST_RATIO)
    total, known = at_vertices(ratio, weight, texels, topology)
    twin = topology.twin
    # the mirrored side differs by light: the difference of both sides where both are known, smooth elsewhere
    mirrored = known[twin] & ~known & (topology.part == SKIN)
    shift = _harmonic(system, np.where((known & known[twin])[:, None], total - total[twin], 0.0), known & known[twin])
    total[mirrored] = (total[twin] + shift)[mirrored]
    # far down, what nobody saw is skin, whatever hair hangs above it
    groups = groups_of_skin(parts)
    bare = known & np.isin(groups, (*BARE_GROUPS, "neck"))
    skin = np.median(total[bare if bare.any() else known], axis=0) if known.any() else np.zeros(3)
    low = np.isin(groups, ("neck", "shoulder")) & (parts.skin[:, 1] < _LOW_MM)
    total = _harmonic(system, total, known | mirrored, pull=np.where(low, 4.0 / _PULL_MM**2, 0.0), towards=skin)
    guess = (painted + _DARK) * np.exp(texels.between(topology.faces, total)) - _DARK
    kind = np.where(weight > 0.5, np.where(hair, HAIR, SEEN), GUESSED).astype(np.uint8)
    other = _flipped(texels, size, color), _flipped(texels, size, weight[:, None])[:, 0]
    moved = (other[0] + _DARK) * np.exp(texels.between(topology.faces, shift)) - _DARK
    share = other[1][:, None]
    guess = guess * (1.0 - share) + moved * share
    kind[(weight <= 0.5) & (other[1] > 0.5)] = MIRRORED
    mixed = color * weight[:, None] + guess * (1.0 - weight[:, None])
    return np.clip(mixed, 0.0, 255.0), kind


def at_vertices(
    values: FloatArray, weight: FloatArray, texels: Texels, topology: Topology
) -> tuple[FloatArray, BoolArray]:
    """Means (V, 3) of values (T, 3) around the vertices, and which vertices have any."""
    count = len(topology.part)
    corners = topology.faces[texels.face]
    shares = texels.shares * weight[:, None]
    total = np.bincount(corners.ravel(), shares.ravel(), count)
    full = np.bincount(corners.ravel(), texels.shares.ravel(), count)
    mean = np.stack(
        [np.bincount(corners.ravel(), (shares * values[:, k, None]).ravel(), count) for k in range(3)], axis=1
    )
    known = (total > 0.35 * full) & (full > 0)
    return np.where(known[:, None], mean / np.maximum(total, 1e-9)[:, None], 0.0), known


def _laplacian(vertices: FloatArray, topology: Topology) -> csc_matrix:
    skin = topology.faces[(topology.part[topology.faces] < LEFT_EYE).all(axis=1)]
    stiffness = -csc_matrix(igl.intrinsic_delaunay_cotmatrix(np.ascontiguousarray(vertices), skin)[0])
    stiffness.resize((len(vertices), len(vertices)))
    return csc_matrix(stiffness + diags_array(np.full(len(vertices), 1e-7)))


def _harmonic(
    system: csc_matrix, values: FloatArray, known: BoolArray, *, pull: FloatArray | None = None,
    towards: FloatArray | None = None,
) -> FloatArray:  # fmt: skip
    """Values (V, C) that stay where they are known (V,) and are as smooth as can be elsewhere.

    Args:
        system: (V, V) stiffness of the mesh.
        values: to keep.
        known: where.
        pull: (V,) how strongly each is drawn to `towards` (C,), for each 4 mm² around it.
        towards: (C,).
    """
    out = np.array(values)
    free, held = np.flatnonzero(~known), np.flatnonzero(known)
    if not len(held) or not len(free):
        return out
    rows = system[free]
    given = -(rows[:, held] @ values[held])
    inner = csc_matrix(rows[:, free])
    if pull is not None and towards is not None:
        inner = csc_matrix(inner + diags_array(pull[free]))
        given = given + pull[free, None] * towards
    out[free] = splu(inner).solve(given)
    return out


def _flipped(texels: Texels, size: int, values: FloatArray) -> FloatArray:
    """Values (T, C) of the mirrored texels: the UVs are symmetrical."""
    sheet = np.zeros((size * size, values.shape[1]), dtype=np.float32)
    sheet[texels.texel] = values
    found: FloatArray = sheet.reshape(size, size, -1)[:, ::-1].reshape(size * size, -1)[texels.texel]
    return found
