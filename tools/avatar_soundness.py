"""Where parts of an avatar pierce its lips and lids: counted over drawn heads and the 52 shapes.

    python tools/avatar_soundness.py [HEADS]

Counts edges of teeth, gums and tongue that pass through the skin outside the mouth, and edges of the eyeballs that pass
through the outer side of a lid, each shape at weight 1 and blinks at a half as well. Prints JSON.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np
from embreex.mesh_construction import TriangleMesh
from embreex.rtcore_scene import EmbreeScene

import imhead
from imhead.avatar.avatar import PosedTemplate, avatar_scene
from imhead.avatar.look import Look
from imhead.avatar.parts import load_parts
from imhead.avatar.skin_image import jpeg_bytes
from imhead.conventions import ARKIT_NAMES
from imhead.io.glb_scene_writer import Part
from imhead.surfaces.crossings import edges_of
from imhead.surfaces.eyeballs import eye_centers
from imhead.surfaces.normals import vertex_normals
from imhead.template.topology import MOUTH, load_topology
from imhead.types import FloatArray, IntArray, SkinImage

_OUTER_COSINE = 0.5
_LEAST_REACH = 1e-3


def moved(part: Part, weights: dict[str, float]) -> FloatArray:
    """Vertices (V, 3) of a part with some weights."""
    vertices = part.vertices.copy()
    if part.shapes is not None:
        for name, offsets in zip(part.shapes.names, part.shapes.offsets):
            vertices += weights.get(name, 0.0) * offsets
    return vertices


def piercing(vertices: FloatArray, faces: IntArray, skin: FloatArray, skin_faces: IntArray) -> IntArray:
    """The skin's faces (n,) that edges of a mesh pass through."""
    scene = EmbreeScene()
    TriangleMesh(scene, skin.astype(np.float32), skin_faces.astype(np.int32))
    edges = edges_of(faces)
    start, along = vertices[edges[:, 0]], vertices[edges[:, 1]] - vertices[edges[:, 0]]
    length = np.maximum(np.linalg.norm(along, axis=1), _LEAST_REACH)
    rays = (along / length[:, None]).astype(np.float32)
    hit = scene.run(start.astype(np.float32), rays, dists=length.astype(np.float32), output=1)
    return hit["primID"][(hit["primID"] >= 0) & (hit["tfar"] <= length)].astype(np.int64)


def counted(parts: dict[str, Part], eyes: FloatArray, outside: IntArray, weights: dict[str, float]) -> dict[str, int]:
    """Piercing edges at one pose, by part."""
    skin = moved(parts["skin"], weights)
    found = {
        name: len(piercing(moved(parts[name], weights), parts[name].faces, skin, outside))
        for name in ("teeth", "gums", "tongue")
    }
    normals = vertex_normals(skin, parts["skin"].faces)[0][outside].mean(axis=1)
    middles = skin[outside].mean(axis=1)
    for side, word in enumerate(("left", "right")):
        part = parts[f"eye_{word}"]
        faces = piercing(moved(part, weights), part.faces, skin, outside)
        away = middles[faces] - eye_centers(eyes)[side]
        away /= np.linalg.norm(away, axis=1, keepdims=True)
        found[f"eye_{word}"] = int(((normals[faces] * away).sum(axis=1) > _OUTER_COSINE).sum())
    return found


def main(heads: int) -> None:
    """Print the figures of `heads` drawn heads."""
    topology, shapes_of = load_topology(), load_parts()
    poses: dict[str, dict[str, float]] = {"neutral": {}} | {name: {name: 1.0} for name in ARKIT_NAMES}
    poses |= {f"{name} 0.5": {name: 0.5} for name in ("eyeBlinkLeft", "eyeBlinkRight")}
    poses["tongueOut"] = {"tongueOut": 1.0, "jawOpen": 0.5}
    of_skin = (topology.part[topology.faces] < 2).all(axis=1)
    total: dict[str, dict[str, int]] = {}
    clean = 0
    blank = SkinImage(jpeg_bytes(np.zeros((64, 64, 3), dtype=np.uint8)), b"", "light")
    for head in imhead.load(device="cpu").sample(heads, seed=31):
        neutral, _, morphs = head.animated({})
        template = PosedTemplate.of_vertices(topology, neutral.vertices, morphs.offsets)
        scene = avatar_scene(template, topology, shapes_of, Look(), skin=blank)
        parts = {part.name: part for part in scene.parts}
        inner = (topology.part[topology.faces[of_skin]] == MOUTH).any(axis=1)
        outside = parts["skin"].faces[~inner]
        for pose, weights in poses.items():
            found = {name: count for name, count in counted(parts, template.eyes, outside, weights).items() if count}
            clean += not found
            for name, count in found.items():
                row = total.setdefault(pose, {})
                row[name] = row.get(name, 0) + count
    result: dict[str, Any] = {"heads": heads, "poses": heads * len(poses), "clean": clean, "edges": total}
    print(json.dumps(result))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 4)
