"""Draw the pictures of the three quick starts and of the notebooks' page from the scan that ships.

    python tools/quickstart_pictures.py docs/images [artists researchers surgeons]

Every picture is drawn from what the steps of its page write.
"""

from __future__ import annotations

import sys
import tempfile
from importlib import resources
from pathlib import Path

import imhead
from imhead.io.scan_file import read_scan
from imhead.rendering.figures import SCAN_BLUE, contact_sheet, heat_colors, legend, round_limit, stack
from imhead.rendering.shading import ByteImage, as_surface, flat_color, shade
from imhead.surfaces.normals import vertex_normals
from imhead.surfaces.transforms import transform_points
from imhead.types import Mesh, ScanTexture

SIZE = 300
CENTER, HALF = (0.0, -20.0, 0.0), 165.0
LESS_MM = 2.0
FACE_CENTER, FACE_HALF = (0.0, -5.0, 50.0), 105.0


def _scan(fitted: imhead.FittedHead) -> ByteImage:
    placed = transform_points(fitted.result.scan_to_head, fitted.scan.points)
    surface, normals, _ = as_surface(placed if fitted.scan.faces is None else Mesh(placed, fitted.scan.faces))
    return _shaded(surface, colors=flat_color(SCAN_BLUE, surface), normals=normals)


def _shaded(mesh: Mesh, view: str = "three_quarter", face: bool = False, **options: object) -> ByteImage:
    center, half = (FACE_CENTER, FACE_HALF) if face else (CENTER, HALF)
    return shade(mesh, view, SIZE, center_mm=center, half_mm=half, **options)  # type: ignore[arg-type]


def artists(fitted: imhead.FittedHead, out: Path) -> None:
    """From a scan to an avatar that speaks."""
    wider = fitted.along("nose", "wider", 2.5).along("chin", "longer", 2.0)
    smile = {"jawOpen": 0.4, "mouthSmileLeft": 0.6, "mouthSmileRight": 0.6, "browInnerUp": 0.7}
    heads = [(fitted, {}), (wider, {}), (wider, smile)]
    cells = [_scan(fitted), *(_shaded(head.mesh(weights, surface="template")) for head, weights in heads)]
    cells.append(_avatar(wider))
    contact_sheet(cells, ["the scan", "fitted", "edited", "with an expression", "avatar"], columns=5).save(
        out / "quickstart_artists.png"
    )


def _avatar(head: imhead.EditableHead) -> ByteImage:
    """The exported file, as it is read again, without what is clear: our rays stop at a cornea."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "me.glb"
        head.avatar(path, imhead.Look(skin="tan", eyes="green", texture=1024))
        drawn = read_scan(path)
    assert drawn.faces is not None and drawn.texture is not None
    painted = drawn.texture.picture >= 0
    texture = ScanTexture(drawn.texture.uv[painted], drawn.texture.picture[painted], drawn.texture.pictures)
    return _shaded(Mesh(drawn.points * 1000.0, drawn.faces[painted]), texture=texture)


def researchers(fitted: imhead.FittedHead, out: Path) -> None:
    """A scan, one topology on it, and how sure each place is."""
    mesh = fitted.mesh(surface="template")
    sigma = fitted.sigma_at(mesh.vertices)
    assert sigma is not None
    limit = round_limit(sigma, share=0.98)
    heat = heat_colors(sigma, limit, signed=False)
    cells = [_scan(fitted), _shaded(mesh), _shaded(mesh, colors=heat), _shaded(mesh, "profile", colors=heat)]
    sheet = contact_sheet(cells, ["the scan", "14 351 vertices", "how sure", "from the side"], columns=4)
    stack([sheet, legend(limit, signed=False, title="the person lies within, in 68 of 100 cases")]).save(
        out / "quickstart_researchers.png"
    )


def surgeons(fitted: imhead.FittedHead, out: Path) -> None:
    """A nose that projects 2 mm less, and what that moves."""
    after = fitted.reach_target("nose", {"tip_projection": -LESS_MM})
    before_mesh, after_mesh = (head.mesh({}, surface="template") for head in (fitted, after))
    normals = vertex_normals(before_mesh.vertices, before_mesh.faces)[0]
    moved = ((after_mesh.vertices - before_mesh.vertices) * normals).sum(axis=1)
    heat = heat_colors(moved, LESS_MM)
    cells = [
        _shaded(before_mesh, "profile", face=True), _shaded(after_mesh, "profile", face=True),
        _shaded(before_mesh, "profile", face=True, colors=heat), _shaded(before_mesh, face=True, colors=heat),
    ]  # fmt: skip
    sheet = contact_sheet(cells, ["before", "2 mm less projection", "movement", "movement"], columns=4)
    stack([sheet, legend(LESS_MM, title="along the normal; outwards is red")]).save(out / "quickstart_surgeons.png")


def main(out: Path, pages: list[str]) -> None:
    """Fit the scan once and draw the pictures of the pages, or of all."""
    scan = Path(str(resources.files("imhead") / "assets" / "demo_scan.ply"))
    fitted = imhead.fit(scan)
    for draw in (artists, researchers, surgeons):
        if not pages or draw.__name__ in pages:
            draw(fitted, out)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
