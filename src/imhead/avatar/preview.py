"""An animated picture of an avatar, so that a person sees it without another program."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from imhead.avatar.names import Names, shape_name
from imhead.avatar.posing import Pose, pose_at, posed
from imhead.errors import InputError, one_line
from imhead.io.atomic import write_atomically
from imhead.io.glb_scene_writer import Scene
from imhead.io.pictures import decoded
from imhead.rendering.raycast import Camera
from imhead.rendering.shading import ByteImage, shade
from imhead.surfaces.textures import halved
from imhead.types import IntArray, Mesh, ScanTexture

_FRAMES_PER_SECOND = 12.5  # a whole number of milliseconds each
_CENTER_MM, _HALF_MM = (0.0, -12.0, 0.0), 158.0
_MOST_PIXELS = 1024  # of a texture, for pictures of a few hundred
_SHOWN_S = 4.8  # of an avatar without a take
_TURN = np.radians(40.0)
_SHOW: dict[str, tuple[float, float, float]] = {
    "eyeBlinkLeft": (0.5, 0.2, 1.0), "eyeBlinkRight": (0.5, 0.2, 1.0), "mouthSmileLeft": (1.6, 0.6, 0.9),
    "mouthSmileRight": (1.6, 0.6, 0.9), "jawOpen": (3.2, 0.6, 0.55), "browInnerUp": (3.2, 0.6, 0.8),
    "eyeLookOutLeft": (4.2, 0.4, 0.6), "eyeLookInRight": (4.2, 0.4, 0.6),
}  # fmt: skip
"""Shape → when it is strongest, how long it comes and goes, s, and how strong it is."""


@dataclass(frozen=True)
class PreviewConfig:
    """Settings of a preview."""

    size: int = 320
    """Side of the picture, pixels."""
    most_seconds: float = 8.0
    """A longer take is shown so far."""

    def __post_init__(self) -> None:
        if not 64 <= self.size <= 1024:
            raise InputError(f"a preview of {self.size} pixels is out of range; choose 64 to 1024")
        if not 0.1 <= self.most_seconds <= 60.0:
            raise InputError(f"a preview of {self.most_seconds} s is out of range; choose 0.1 to 60")


def write_preview(path: Path, scene: Scene, names: Names, config: PreviewConfig = PreviewConfig()) -> int:
    """Write an animated WebP that goes round: the take, or the head that turns, blinks, smiles and opens its mouth.

    Args:
        path: a .webp file, replaced in one step.
        scene: of `avatar_scene`.
        names: how its shapes are called.

    Returns:
        Frames.

    Raises:
        InputError: another extension, or the file cannot be written.
    """
    check_preview_path(path)
    frames = [Image.fromarray(frame) for frame in preview_frames(scene, names, config)]
    buffer = io.BytesIO()
    milliseconds = round(1000.0 / _FRAMES_PER_SECOND)
    frames[0].save(
        buffer, "WEBP", save_all=True, append_images=frames[1:], duration=milliseconds, loop=0, quality=82, method=4
    )
    write_atomically(path, buffer.getvalue())
    return len(frames)


def check_preview_path(path: Path) -> None:
    """Refuse a file of another kind.

    Raises:
        InputError: its extension is not .webp.
    """
    if path.suffix.lower() != ".webp":
        raise InputError(f"{one_line(path)}: a preview is written as .webp; rename it")


def preview_frames(scene: Scene, names: Names, config: PreviewConfig = PreviewConfig()) -> list[ByteImage]:
    """The pictures (size, size, 3) of a preview."""
    clip = scene.animation
    lasts = _SHOWN_S if clip is None else min(float(clip.times[-1]), config.most_seconds)
    times = np.arange(max(round(lasts * _FRAMES_PER_SECOND), 1)) / _FRAMES_PER_SECOND
    drawing = Drawing.of(scene)
    frames = []
    for second in times:
        pose = shown_pose(float(second), names) if clip is None else pose_at(clip, float(second))
        around = _TURN * np.sin(2.0 * np.pi * second / _SHOWN_S) if clip is None else 0.0
        frames.append(drawing.picture(pose, float(around), config.size))
    return frames


def shown_pose(second: float, names: Names) -> Pose:
    """What an avatar without a take does at a time."""
    weights = {}
    for name, (when, lasts, most) in _SHOW.items():
        away = min(abs(second - when) / lasts, 1.0)
        weights[shape_name(name, names)] = most * 0.5 * (1.0 + float(np.cos(np.pi * away)))
    return Pose(weights)


@dataclass(frozen=True, eq=False)
class Drawing:
    """The solid parts of a scene as one mesh with its colours."""

    scene: Scene
    """The whole scene."""
    rows: tuple[int, ...]
    """The parts that are drawn: clear ones are not."""
    faces: IntArray
    """(F, 3) of all parts together."""
    colors: ByteImage
    """(V, 3) sRGB."""
    texture: ScanTexture
    """Pictures on the faces."""

    @classmethod
    def of(cls, scene: Scene) -> Drawing:
        """From a scene."""
        rows = tuple(k for k, part in enumerate(scene.parts) if not scene.materials[part.material].see_through)
        pictures = tuple(decoded(image.data) for image in scene.images)
        faces, colors, uv, picture, first = [], [], [], [], 0
        for part in (scene.parts[k] for k in rows):
            material = scene.materials[part.material]
            base = 255.0 * np.array(material.color[:3])
            own = np.full(part.vertices.shape, 255.0) if part.colors is None else part.colors.astype(float)
            colors.append(np.round(own * base / 255.0).astype(np.uint8))
            faces.append(part.faces + first)
            shown = material.image is not None and part.uv is not None
            flat = part.uv.uv[part.uv.faces] if shown and part.uv is not None else np.zeros((len(part.faces), 3, 2))
            uv.append(flat)
            picture.append(np.full(len(part.faces), material.image if shown and material.image is not None else -1))
            first += len(part.vertices)
        texture = ScanTexture(np.concatenate(uv), np.concatenate(picture), pictures)
        longest = max((max(each.shape[:2]) for each in pictures), default=1)
        texture = halved(texture, max(int(np.ceil(np.log2(longest / _MOST_PIXELS))), 0))
        return cls(scene, rows, np.concatenate(faces), np.concatenate(colors), texture)

    def picture(
        self,
        pose: Pose,
        around: float,
        size: int,
        center: tuple[float, float, float] = _CENTER_MM,
        half: float = _HALF_MM,
    ) -> ByteImage:
        """A picture (size, size, 3) in a pose.

        Args:
            pose: shapes and joints.
            around: turn of the camera to the subject's left, radians.
            size: pixels.
            center: place in the middle, mm.
            half: half of the side, mm.
        """
        vertices = np.concatenate([posed(self.scene, self.scene.parts[k], pose) for k in self.rows])
        cosine, sine = float(np.cos(around)), float(np.sin(around))
        camera = Camera((cosine, 0.0, -sine), (0.0, 1.0, 0.0), (sine, 0.0, cosine), center, half)
        mesh = Mesh(vertices, self.faces)
        return shade(mesh, camera, size, colors=self.colors, texture=self.texture)
