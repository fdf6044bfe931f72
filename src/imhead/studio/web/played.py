"""What plays a take in the page: the avatar's parts of one head, with every movement by the ARKit shapes.

The page adds shapes by itself, so that playing asks nothing of the server, and what plays is what an avatar saves.
Shape legend: V vertices of the template, N of a part, P pairs of a shape and a vertex that it moves.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imhead.api import EditableHead
from imhead.avatar.avatar import PosedTemplate, avatar_scene
from imhead.avatar.look import Look
from imhead.avatar.parts import load_parts
from imhead.avatar.rig import HEAD
from imhead.checkpoint import Model
from imhead.conventions import ARKIT_NAMES
from imhead.io.glb_scene_writer import Part, Scene
from imhead.template.topology import LEFT_EYE, load_topology
from imhead.types import FloatArray, Head, IntArray

SKIN = "skin"
EYES = ("eye_left", "eye_right", "cornea_left", "cornea_right")
"""Parts that the page draws with the head: their vertices only move."""
_STILL_MM = 0.01  # a shape that moves a vertex by less leaves it where it is
_PICTURE = 512  # no picture of the scene is sent, so the smallest will do
Arrays = dict[str, NDArray[Any]]


def face_key(head: Head) -> str:
    """Tells what plays on one head from what plays on another: all but its expression."""
    digest = hashlib.blake2b(digest_size=8)
    for value in (head.z_id, head.offsets, head.eyes, head.registration):
        digest.update(b"" if value is None else np.ascontiguousarray(value).tobytes())
    return digest.hexdigest()


def played_parts(model: Model, head: Head) -> tuple[list[dict[str, Any]], list[float], Arrays]:
    """The parts of a head's avatar: how each is drawn, the place about which the head turns, mm, and arrays.

    For each part: `vertices` (N, 3), its neutral face, mm; `rows` (P,) and `moves` (P, 3), of all its shapes one after
    another; the description says how many pairs each has. The skin has the template's numbering, so N = V, and `share`
    (V,), how much a turn of the head carries each vertex. Parts that are new to the page have `faces` and `colors`.

    Raises:
        InputError: the model's template is not the one that ships.
    """
    scene = _scene(model, head)
    listed: list[dict[str, Any]] = []
    arrays: Arrays = {}
    for part in scene.parts:
        vertices: FloatArray = part.vertices
        number: IntArray = np.arange(len(vertices))
        if part.name == SKIN:
            vertices, number = _in_template(part)
            arrays["skin.share"] = _head_share(part, number, len(vertices))
        arrays[f"{part.name}.vertices"] = vertices.astype(np.float32)
        counts, rows, moves = _moved(part, number)
        arrays[f"{part.name}.rows"], arrays[f"{part.name}.moves"] = rows, moves
        described: dict[str, Any] = {"name": part.name, "counts": counts}
        if part.name not in (SKIN, *EYES):
            material = scene.materials[part.material]
            described |= {
                "color": list(material.color), "roughness": material.roughness, "two_sided": material.two_sided,
                "clear": material.see_through,
            }  # fmt: skip
            arrays[f"{part.name}.faces"] = part.faces.astype(np.uint32)
            if part.colors is not None:
                arrays[f"{part.name}.colors"] = part.colors.astype(np.uint8)
        listed.append(described)
    return listed, [float(value) for value in scene.joints[HEAD].place], arrays


def _scene(model: Model, head: Head) -> Scene:
    neutral, _, shapes = EditableHead(head, model).animated({})
    topology = load_topology()
    template = PosedTemplate.of_vertices(topology, neutral.vertices, shapes.offsets)
    return avatar_scene(template, topology, load_parts(), Look(texture=_PICTURE), skin=head.skin)


def _in_template(part: Part) -> tuple[FloatArray, IntArray]:
    """The skin's vertices (V, 3) in the template's numbering, eyeballs at 0, and the number (N,) of each."""
    topology = load_topology()
    number = np.flatnonzero(topology.part < LEFT_EYE)
    vertices = np.zeros((len(topology.part), 3))
    vertices[number] = part.vertices
    return vertices, number


def _head_share(part: Part, number: IntArray, count: int) -> NDArray[np.float32]:
    """(V,) how much the head's joint carries each vertex of the skin."""
    assert part.joints is not None and part.weights is not None
    share = np.ones(count, dtype=np.float32)
    share[number] = np.where(part.joints == HEAD, part.weights, 0.0).sum(axis=1)
    return share


def _moved(part: Part, number: IntArray) -> tuple[dict[str, int], NDArray[np.uint32], NDArray[np.float32]]:
    """Pairs of each shape by its name, and of all of them the vertices (P,) and movements (P, 3), mm."""
    counts: dict[str, int] = {}
    rows: list[IntArray] = []
    moves: list[FloatArray] = []
    if part.shapes is not None:
        for name, offsets in zip(part.shapes.names, part.shapes.offsets):
            moved = np.flatnonzero(np.abs(offsets).max(axis=1) > _STILL_MM)
            counts[name] = len(moved)
            rows.append(number[moved])
            moves.append(offsets[moved])
    assert set(counts) <= set(ARKIT_NAMES)
    return (
        counts, np.concatenate([*rows, np.zeros(0, dtype=np.int64)]).astype(np.uint32),
        np.concatenate([*moves, np.zeros((0, 3))]).astype(np.float32),
    )  # fmt: skip
