"""The picture of the README: a scan, its head with the scan's colours, the same head edited, and four frames of a take.

    python tools/avatar_picture.py [OUT] [TAKE]

The scan is a drawn head with painted skin, noisy and cut: no person's. OUT is docs/images/avatar.jpg
unless given; TAKE is a CSV of Live Link Face, without which the frames are those of a preview.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

import imhead
from imhead.api import EditableHead
from imhead.avatar.avatar import PosedTemplate, avatar_scene
from imhead.avatar.look import Look
from imhead.avatar.parts import load_parts
from imhead.avatar.posing import pose_at
from imhead.avatar.preview import Drawing, shown_pose
from imhead.io.glb_scene_writer import Scene
from imhead.io.live_link import Take
from imhead.io.mediapipe import read_any_take
from imhead.io.pictures import decoded
from imhead.rendering.figures import contact_sheet, stack
from imhead.rendering.raycast import Camera
from imhead.rendering.shading import ByteImage, shade
from imhead.surfaces.normals import vertex_normals
from imhead.template.topology import load_topology
from imhead.types import Mesh, Scan, ScanTexture

PERSON, LOOK = 5, Look(skin="tan", eyes="green", seed=3)
EDITS = (("nose", "wider", 2.5), ("nose", "upturned", 1.5), ("chin", "projecting", 2.0), ("ears", "projecting", 2.0))
NOISE_MM, CROP_Y_MM, CROP_Z_MM = 0.25, -105.0, -35.0
SIDE, SMALL = 420, 314
VIEW_AROUND = 0.35
FRAMES_S = (0.5, 1.6, 3.2, 4.2)


def scene_of(head: EditableHead, look: Look, take: Take | None = None) -> Scene:
    """The avatar of a head."""
    neutral, _, shapes = head.animated({})
    template = PosedTemplate.of_vertices(load_topology(), neutral.vertices, shapes.offsets)
    return avatar_scene(template, load_topology(), load_parts(), look, skin=head.codes.skin, take=take)


def scanned(scene: Scene) -> Scan:
    """What a scanner in front of an avatar sees: skin and eyes, with noise, cut behind the ears and at the neck."""
    rng = np.random.default_rng(0)
    points, faces, uv, picture, first = [], [], [], [], 0
    for part in scene.parts:
        image = scene.materials[part.material].image
        if image is None or part.uv is None:
            continue
        normals, _ = vertex_normals(part.vertices, part.faces)
        seen = (normals[:, 2] > -0.15) & (part.vertices[:, 1] > CROP_Y_MM) & (part.vertices[:, 2] > CROP_Z_MM)
        kept = seen[part.faces].all(axis=1)
        points.append(part.vertices + rng.normal(0.0, NOISE_MM, part.vertices.shape))
        faces.append(part.faces[kept] + first)
        uv.append(part.uv.uv[part.uv.faces[kept]])
        picture.append(np.full(int(kept.sum()), image))
        first += len(part.vertices)
    used, corner = np.unique(np.concatenate(faces), return_inverse=True)
    pictures = tuple(decoded(image.data) for image in scene.images)
    texture = ScanTexture(np.concatenate(uv), np.concatenate(picture), pictures)
    return Scan("scan", np.concatenate(points)[used], None, corner.reshape(-1, 3), (), None, texture)


def of_scan(scan: Scan, around: float, size: int) -> ByteImage:
    """A picture of a scan in the head frame."""
    assert scan.faces is not None
    camera = Camera(
        (float(np.cos(around)), 0.0, -float(np.sin(around))), (0.0, 1.0, 0.0),
        (float(np.sin(around)), 0.0, float(np.cos(around))), (0.0, -12.0, 0.0), 158.0,
    )  # fmt: skip
    return shade(Mesh(scan.points, scan.faces), camera, size, texture=scan.texture)


def main(out: Path, take: Path | None) -> None:
    """Draw it."""
    model = imhead.load(device="cpu")
    scan = scanned(scene_of(model.sample(1, seed=PERSON)[0], LOOK))
    head = model.fit(scan, units="mm").register().with_skin()
    edited: EditableHead = head
    for region, word, strength in EDITS:
        edited = edited.along(region, word, strength)
    played = None if take is None else read_any_take(take)
    fitted, other = (Drawing.of(scene_of(each, Look(eyes=LOOK.eyes), played)) for each in (head, edited))
    still = shown_pose(0.0, "arkit")
    first = [
        of_scan(scan, VIEW_AROUND, SIDE),
        fitted.picture(still, VIEW_AROUND, SIDE),
        other.picture(still, VIEW_AROUND, SIDE),
    ]
    clip = other.scene.animation
    ends = 1.0 if clip is None else float(clip.times[-1])
    poses = [
        shown_pose(second, "arkit") if clip is None else pose_at(clip, ends * (k + 0.5) / len(FRAMES_S))
        for k, second in enumerate(FRAMES_S)
    ]
    frames = [other.picture(pose, 0.0, SMALL) for pose in poses]
    sheet = stack(
        [
            contact_sheet(first, ["a scan", "its head, in its colours", "another nose, chin and ears"], 3),
            contact_sheet(frames, ["", "", "", ""], 4),
        ]
    )
    sheet.save(out, quality=88, optimize=True)
    print(f"{out}: {sheet.size}, {out.stat().st_size} bytes")


if __name__ == "__main__":
    main(
        Path(sys.argv[1]) if len(sys.argv) > 1 else Path("docs/images/avatar.jpg"),
        Path(sys.argv[2]) if len(sys.argv) > 2 else None,
    )
