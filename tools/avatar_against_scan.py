"""An avatar beside the coloured scan that it was made of, from the scan's own views, and how alike they are.

    python tools/avatar_against_scan.py OUT SCAN...

Fits and registers each scan, writes OUT/NAME.glb and OUT/NAME.png (scan, avatar, and the avatar with what was not seen
in blue, from five sides), and prints a line of JSON for each: SSIM over the skin that the scan shows, by view.
"""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree
from skimage.metrics import structural_similarity

import imhead
from imhead.avatar.avatar import PosedTemplate, avatar_scene
from imhead.avatar.bake import SEEN
from imhead.avatar.look import Look
from imhead.avatar.parts import load_parts
from imhead.io.glb_scene_writer import Scene
from imhead.rendering.figures import contact_sheet
from imhead.rendering.shading import as_surface, camera, depth_map, shade
from imhead.surfaces.transforms import transform_points
from imhead.template.topology import load_topology
from imhead.types import FloatArray, Mesh, ScanTexture

VIEWS = ("front", "three_quarter", "three_quarter_right", "profile", "profile_right")
_SIZE, _HALF_MM, _NEAR_MM = 480, 135.0, 3.0


def solid(scene: Scene, weights: dict[str, float] | None = None, mask: bytes | None = None) -> tuple[Mesh, ScanTexture]:
    """The parts of a scene as one mesh, with the pictures of its materials, see-through parts left out.

    Args:
        weights: name of a shape → weight.
        mask: another picture for the skin.
    """
    pictures = [np.asarray(Image.open(io.BytesIO(image.data)).convert("RGB")) for image in scene.images]
    if mask is not None:
        pictures[0] = np.asarray(Image.open(io.BytesIO(mask)).convert("RGB"))
    vertices, faces, uv, rows = [], [], [], []
    first = 0
    for part in scene.parts:
        material = scene.materials[part.material]
        if material.see_through:
            continue
        moved = part.vertices.copy()
        if part.shapes is not None and weights:
            for name, offsets in zip(part.shapes.names, part.shapes.offsets):
                moved += weights.get(name, 0.0) * offsets
        if material.image is not None and part.uv is not None:
            uv.append(part.uv.uv[part.uv.faces])
            rows.append(np.full(len(part.faces), material.image))
        else:  # a strip of the faces' colours
            base = 255.0 * np.array(material.color[:3])
            own = np.tile(base, (len(part.faces), 1))
            if part.colors is not None:
                own = part.colors[part.faces].mean(axis=1) * material.color[:3]
            count = len(own)
            wide = 256
            strip = np.zeros((-(-count // wide), wide, 3), dtype=np.uint8)
            strip.reshape(-1, 3)[:count] = np.clip(own, 0, 255).astype(np.uint8)
            row, column = np.divmod(np.arange(count), wide)
            middle = np.stack([(column + 0.5) / wide, 1.0 - (row + 0.5) / len(strip)], axis=1)
            uv.append(np.repeat(middle[:, None], 3, axis=1))
            rows.append(np.full(count, len(pictures)))
            pictures.append(strip)
        vertices.append(moved)
        faces.append(part.faces + first)
        first += len(moved)
    texture = ScanTexture(np.concatenate(uv), np.concatenate(rows), tuple(pictures))
    return Mesh(np.concatenate(vertices), np.concatenate(faces)), texture


def ssim(one: NDArray[np.uint8], other: NDArray[np.uint8], where: NDArray[np.bool_]) -> float:
    """Mean structural similarity of two pictures over some pixels."""
    _, full = structural_similarity(one, other, channel_axis=2, gaussian_weights=True, sigma=1.5, full=True)
    return float(full.mean(axis=2)[where].mean())


def blurred(picture: NDArray[np.uint8], sigma: float) -> NDArray[np.uint8]:
    """A picture, blurred by some pixels."""
    return gaussian_filter(picture, (sigma, sigma, 0.0)) if sigma > 0.0 else picture


def compared(scan: imhead.Scan, scan_to_head: FloatArray, scene: Scene, mask: bytes, out: Path) -> dict[str, float]:
    """Pictures of a scan and an avatar in its pose, and their SSIM by view."""
    points = transform_points(scan_to_head, scan.points)
    surface, normals, source = as_surface(points if scan.faces is None else Mesh(points, scan.faces))
    colors = None if scan.colors is None else scan.colors[source]
    mesh, texture = solid(scene)
    _, seen = solid(scene, mask=mask)
    # between the points of a cloud nobody saw a colour: both pictures are blurred by their spacing
    spacing = 0.0 if scan.faces is not None else float(np.median(cKDTree(points).query(points, k=2)[0][:, 1]))
    blur = spacing / (2.0 * _HALF_MM / _SIZE)
    cells, found = [], {}
    for view in VIEWS:
        look = camera(view, center_mm=(0.0, 5.0, 20.0), half_mm=_HALF_MM)
        first = shade(surface, look, _SIZE, colors=colors, normals=normals, occlusion=scan.faces is not None,
                      texture=scan.texture)  # fmt: skip
        second = shade(mesh, look, _SIZE, texture=texture)
        known = shade(mesh, look, _SIZE, texture=seen).astype(int)
        flat = shade(mesh, look, _SIZE, texture=seen, occlusion=False)
        where = flat.min(axis=2) > 0.55 * SEEN * 0.6
        ahead, behind = depth_map(surface, look, _SIZE), depth_map(mesh, look, _SIZE)
        both = np.isfinite(ahead) & np.isfinite(behind)
        where &= both & (np.abs(np.where(both, ahead, 0.0) - np.where(both, behind, 0.0)) < _NEAR_MM)
        found[view] = round(ssim(blurred(first, blur), blurred(second, blur), where), 4)
        blue = second.copy()
        blue[known.max(axis=2) < 60] = (60, 90, 200)
        blue[~where] = (0.5 * blue[~where] + [30, 45, 100]).astype(np.uint8)
        cells += [first, second, blue]
    labels = [word for view in VIEWS for word in (view, f"avatar, SSIM {found[view]}", "compared where not blue")]
    contact_sheet(cells, labels, columns=3).save(out)
    return found


def main(out: Path, scans: list[Path]) -> None:
    """Fit, bake, compare."""
    out.mkdir(parents=True, exist_ok=True)
    topology, parts = load_topology(), load_parts()
    model = imhead.load(device="cpu")
    for path in scans:
        fitted = model.fit(path).register()
        head = fitted.with_skin()
        head.avatar(out / f"{path.stem}.glb")
        skin = head.codes.skin
        assert skin is not None
        _, _, morphs = head.animated()
        posed = head.mesh(surface="template")  # as the scan shows it
        template = PosedTemplate.of_vertices(topology, posed.vertices, morphs.offsets)
        scene = avatar_scene(template, topology, parts, Look(), skin=skin)
        sheet = out / f"{path.stem}.png"
        found = compared(fitted.scan, fitted.result.scan_to_head, scene, skin.mask, sheet)
        print(json.dumps({"scan": path.name, "ssim": found}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]])
