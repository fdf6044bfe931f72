"""From a head's template to a scene: skin, eyes, mouth, lashes and skeleton, ready for a GLB.

Shape legend: V template vertices, T frames of a take.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from imhead.avatar import eyes as eye_sheets
from imhead.avatar import rig as bones
from imhead.avatar.clearance import clear_of_teeth
from imhead.avatar.eye_paint import eye_jpeg
from imhead.avatar.kept import Kept
from imhead.avatar.levels import simplified
from imhead.avatar.lid_shapes import lid_shapes
from imhead.avatar.lips import lips_shut
from imhead.avatar.look import Look
from imhead.avatar.names import joint_name, shape_name
from imhead.avatar.parts import (
    CARUNCLES,
    LASHES,
    LOWER_TEETH,
    TEAR_LINES,
    TONGUE,
    UPPER_TEETH,
    Parts,
    in_lower_jaw,
    load_parts,
)
from imhead.avatar.placing import lids_of, mouth_on, mouth_shapes, with_lids
from imhead.avatar.skin_image import skin_jpeg
from imhead.avatar.take import clip_of
from imhead.conventions import ARKIT_NAMES
from imhead.io.glb_scene_writer import Image, Joint, Material, Part, Scene
from imhead.io.live_link import Take
from imhead.surfaces.eyeballs import eye_centers, fitted_eyes
from imhead.template.topology import LEFT_EYE, RIGHT_EYE, Topology
from imhead.types import FloatArray, IntArray, MorphTargets, SkinImage, UvMap

_EYE_PICTURE = 1024  # pixels
_STILL_MM = 0.04  # a shape that moves a part by less is left out of it
_CARUNCLE_BACK_MM = 1.1
_MOUTH_MARK = 62  # of the usual 68: the middle of the upper lip's lower edge
_TEETH, _GUM, _TONGUE_COLOR = (240.0, 232.0, 216.0), (196.0, 112.0, 108.0), (196.0, 104.0, 104.0)
_DARK_MM = (98.0, 40.0)  # from front to throat the mouth gets darker


@dataclass(frozen=True, eq=False)
class PosedTemplate:
    """The template of one head: what an avatar is made of."""

    skin: FloatArray
    """(V, 3) vertices of the neutral face, eyes included, mm."""
    shapes: FloatArray
    """(52, V, 3) movements by the ARKit shapes, mm."""
    eyes: FloatArray
    """(2, 5) eyeballs (surfaces/eyeballs.py)."""
    weights: FloatArray
    """(52,) the expression that it shows first."""

    @classmethod
    def of_vertices(cls, topology: Topology, vertices: FloatArray, shapes: FloatArray) -> PosedTemplate:
        """From vertices (V, 3) of the neutral face; the eyeballs are fitted to theirs, and the lips are shut."""
        eyes = fitted_eyes(vertices[topology.part == LEFT_EYE], vertices[topology.part == RIGHT_EYE])
        shut = lips_shut(load_parts(), topology.faces, vertices, shapes)
        return cls(shut, shapes, eyes, np.zeros(len(ARKIT_NAMES)))


def avatar_scene(
    template: PosedTemplate,
    topology: Topology,
    parts: Parts,
    look: Look,
    *,
    skin: SkinImage | None = None,
    kept: Sequence[Kept] = (),
    take: Take | None = None,
    notes: Mapping[str, str] | None = None,
) -> Scene:
    """The whole avatar.

    Args:
        template: of the head.
        topology: of the template.
        parts: what the skin does not have.
        look: what a person chose.
        skin: the head's own colours; None for painted ones. A look that names a skin is painted.
        kept: pieces of a scan that go with the head.
        take: a recorded take, played by the scene.
        notes: short texts for the file.
    """
    own = None if look.skin is not None else skin
    images = [
        Image("skin", skin_jpeg(topology, parts, look, own), "image/jpeg"),
        Image("eye", eye_jpeg(look.eye_color(own), look.seed, _EYE_PICTURE, look.eye_light(own)), "image/jpeg"),
    ]
    materials = _materials(look, own)
    mouth = mouth_on(parts, template.skin)
    mouth_moves = mouth_shapes(parts, mouth)
    shapes = lid_shapes(parts, topology, template.skin, template.shapes, template.eyes)
    clear, shapes = clear_of_teeth(parts, template.skin, shapes, mouth, mouth_moves, topology.part)
    template = replace(template, skin=clear, shapes=shapes)
    rig = bones.rig_of(parts, template.skin, template.eyes, template.shapes[ARKIT_NAMES.index("jawOpen")])
    whole = [
        *_skin(template, topology, parts, rig, look),
        *_eyes(template, parts, look),
        *_mouth(template, parts, mouth, mouth_moves, rig, look),
        *_lids(template, topology, parts, look),
    ]
    fine = np.concatenate([eye_centers(parts.eyes), parts.marks[[_MOUTH_MARK]]])
    built = [simplified(part, rest, look.lod, fine if part.name == "skin" else None) for part, rest in whole]
    for number, piece in enumerate(kept):
        name = f"kept_{number}" if number else "kept"
        image = None if piece.picture is None else len(images)
        if piece.picture is not None:
            images.append(Image(name, piece.picture, "image/jpeg"))
        carried = bones.whole_weights(len(piece.vertices), bones.HEAD)
        built.append(Part(name, piece.vertices, piece.faces, len(materials), piece.uv, piece.colors, None, *carried))
        materials.append(Material(name, (1.0, 1.0, 1.0, 1.0), 0.8, image=image, two_sided=True))
    joints = tuple(
        Joint(joint_name(name, look.names), place, parent)
        for name, place, parent in zip(bones.JOINTS, rig.places, bones.PARENTS)
    )
    clip = None if take is None else clip_of(take, rig, look.names, joints=look.drive == "joints")
    return Scene(tuple(built), tuple(materials), tuple(images), joints, clip, dict(notes or {}))


def _materials(look: Look, own: SkinImage | None) -> list[Material]:
    """The materials of the parts below, in the order of their numbers."""
    lit = look.eye_light(own) ** (1.0 / 2.2)  # as sRGB
    red, green, blue = (0.6 * value / 255.0 for value in look.tone(own).brows)
    return [
        Material("skin", (1.0, 1.0, 1.0, 1.0), 0.62, image=0),
        Material("eye", (1.0, 1.0, 1.0, 1.0), 0.28, image=1),
        Material("cornea", (0.04, 0.04, 0.05, 0.16), 0.04, see_through=True),
        Material("teeth", (lit, lit, lit, 1.0), 0.30),
        Material("gums", (lit, lit, lit, 1.0), 0.40),
        Material("lashes", (red, green, blue, 1.0), 0.75, two_sided=True),
        Material("tears", (0.95 * lit, 0.86 * lit, 0.83 * lit, 0.22), 0.08, two_sided=True, see_through=True),
        Material("caruncles", (0.80 * lit, 0.50 * lit, 0.46 * lit, 1.0), 0.30),
    ]


def _part(
    name: str, vertices: FloatArray, faces: IntArray, material: int, shapes: FloatArray, template: PosedTemplate,
    look: Look, weights: tuple[IntArray, FloatArray], *, uv: UvMap | None = None,
    colors: NDArray[np.uint8] | None = None, every: bool = False,
) -> Part:  # fmt: skip
    """A mesh with the shapes that move it; the skin carries all 52 names."""
    acts = [k for k in range(len(ARKIT_NAMES)) if every or np.abs(shapes[k]).max() > _STILL_MM]
    morphs = None
    if acts:
        names = tuple(shape_name(ARKIT_NAMES[k], look.names) for k in acts)
        morphs = MorphTargets(names, shapes[acts], template.weights[acts])
    return Part(name, vertices, faces, material, uv, colors, morphs, *weights)


def _skin(
    template: PosedTemplate, topology: Topology, parts: Parts, rig: bones.Rig, look: Look
) -> list[tuple[Part, FloatArray]]:
    """The skin, and its vertices at rest, as of the other parts below."""
    kept = np.flatnonzero(topology.part < LEFT_EYE)
    number = np.full(len(topology.part), -1)
    number[kept] = np.arange(len(kept))
    of_skin = (topology.part[topology.faces] < LEFT_EYE).all(axis=1)
    faces, uv = number[topology.faces[of_skin]], UvMap(topology.uv, topology.uv_faces[of_skin])
    joints, weights = bones.skin_weights(rig, jaw=look.drive == "joints")
    shapes = template.shapes.copy()
    if look.drive == "joints":
        row = ARKIT_NAMES.index("jawOpen")
        shapes[row] = bones.residual_open(rig, template.skin, shapes[row], weights[:, bones.JAW])
    moved = shapes[:, kept]
    carried = (joints[kept], weights[kept])
    skin = _part("skin", template.skin[kept], faces, 0, moved, template, look, carried, uv=uv, every=True)
    return [(skin, parts.skin[kept])]


def _eyes(template: PosedTemplate, parts: Parts, look: Look) -> list[tuple[Part, FloatArray]]:
    found = []
    for kind, material in (("ball", 1), ("cornea", 2)):
        for side, word in enumerate(("left", "right")):
            vertices = eye_sheets.eye_vertices(kind, template.eyes, side)
            turning = look.drive == "morphs"
            shapes = eye_sheets.eye_shapes(vertices, template.eyes, side, turning=turning)
            joint = bones.HEAD if turning else (bones.LEFT_EYE, bones.RIGHT_EYE)[side]
            name = f"{'eye' if kind == 'ball' else 'cornea'}_{word}"
            uv = eye_sheets.eye_uv(kind, side) if kind == "ball" else None
            carried = bones.whole_weights(len(vertices), joint)
            faces = eye_sheets.eye_faces(kind, side)
            part = _part(name, vertices, faces, material, shapes, template, look, carried, uv=uv)
            found.append((part, eye_sheets.eye_vertices(kind, parts.eyes, side)))
    return found


def _mouth(
    template: PosedTemplate, parts: Parts, mouth: FloatArray, shapes: FloatArray, rig: bones.Rig, look: Look
) -> list[tuple[Part, FloatArray]]:
    lower = in_lower_jaw(parts.mouth_piece)
    joint = np.full(len(mouth), bones.HEAD)
    if look.drive == "joints":
        shapes = shapes.copy()
        joint[lower == 1] = bones.JAW
        row = ARKIT_NAMES.index("jawOpen")
        shapes[row] = bones.residual_open(rig, mouth, shapes[row], lower.astype(float))
    colors = _mouth_colors(parts)
    found = []
    for name, material, rows in (
        ("teeth", 3, np.flatnonzero(parts.mouth_piece >= UPPER_TEETH)),
        ("gums", 4, np.flatnonzero(parts.mouth_piece < TONGUE)),
        ("tongue", 4, np.flatnonzero(parts.mouth_piece == TONGUE)),
    ):
        if name == "tongue":  # its rim is shared with the gums: faces that touch both belong to it
            touched = (parts.mouth_piece[parts.mouth_faces] == TONGUE).any(axis=1)
        else:
            touched = np.isin(parts.mouth_faces, rows).all(axis=1)
        rows, faces = np.unique(parts.mouth_faces[touched], return_inverse=True)
        weights = np.tile([1.0, 0.0, 0.0, 0.0], (len(rows), 1))
        joints = np.column_stack([joint[rows], np.zeros((len(rows), 3), dtype=np.int64)])
        faces = faces.reshape(-1, 3)
        part = _part(
            name, mouth[rows], faces, material, shapes[:, rows], template, look, (joints, weights), colors=colors[rows]
        )
        found.append((part, parts.mouth[rows]))
    return found


def _mouth_colors(parts: Parts) -> NDArray[np.uint8]:
    """(M, 3) sRGB of teeth, gums and tongue, darker towards the throat."""
    piece, place = parts.mouth_piece, parts.mouth
    color = np.tile(_GUM, (len(piece), 1))
    color[piece == TONGUE] = _TONGUE_COLOR
    teeth = piece >= UPPER_TEETH
    color[teeth] = _TEETH
    # a tooth is yellower at its neck and greyer at its edge
    for first, sign in ((UPPER_TEETH, 1.0), (LOWER_TEETH, -1.0)):
        for tooth in range(first, first + 16):
            rows = piece == tooth
            height = sign * place[rows, 1]
            neck = ((height - height.min()) / max(np.ptp(height), 1e-6))[:, None]
            color[rows] *= 1.0 - neck**1.5 * [0.04, 0.10, 0.22] - (1.0 - neck) ** 3 * [0.08, 0.05, 0.03]
    light = np.clip((place[:, 2] - _DARK_MM[1]) / (_DARK_MM[0] - _DARK_MM[1]), 0.0, 1.0)
    light = (0.22 + 0.78 * light**1.3)[:, None] ** [0.85, 1.2, 1.35]  # light that flesh has coloured
    return np.clip(np.round(color * light), 0, 255).astype(np.uint8)


def _lids(template: PosedTemplate, topology: Topology, parts: Parts, look: Look) -> list[tuple[Part, FloatArray]]:
    shapes = template.shapes
    carried = with_lids(parts, template.skin, topology.part, parts.lids)
    # lids that are drawn to a scan may leave the corner of the eye behind: its flesh lies a little deeper
    unmoved = carried.copy()
    carried[parts.lid_piece == CARUNCLES] -= [0.0, 0.0, _CARUNCLE_BACK_MM]
    moved = np.zeros((len(ARKIT_NAMES), len(carried), 3))
    lids = lids_of(parts).vertices
    for k in range(len(ARKIT_NAMES)):
        if np.abs(shapes[k, lids]).max() > _STILL_MM:
            moved[k] = with_lids(parts, template.skin + shapes[k], topology.part, parts.lids) - unmoved
    found = []
    for name, material, rows in (
        ("lashes", 5, np.flatnonzero(parts.lid_piece == LASHES)),
        ("tear_lines", 6, np.flatnonzero(parts.lid_piece == TEAR_LINES)),
        ("caruncles", 7, np.flatnonzero(parts.lid_piece == CARUNCLES)),
    ):
        number = np.full(len(parts.lid_piece), -1)
        number[rows] = np.arange(len(rows))
        faces = number[parts.lid_faces]
        faces = faces[(faces >= 0).all(axis=1)]
        held = bones.whole_weights(len(rows), bones.HEAD)
        part = _part(name, carried[rows], faces, material, moved[:, rows], template, look, held)
        found.append((part, parts.lids[rows]))
    return found
