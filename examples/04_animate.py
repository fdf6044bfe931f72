"""An animated head: a GLB with UVs and the 52 ARKit shapes, and three expressions as printable meshes.

python examples/04_animate.py HEAD.safetensors OUT_FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

import imhead
from imhead.io.mesh_file import write_mesh

EXPRESSIONS: dict[str, dict[str, float]] = {
    "smile": {"mouthSmileLeft": 0.7, "mouthSmileRight": 0.7, "cheekSquintLeft": 0.3, "cheekSquintRight": 0.3},
    "wink": {"eyeBlinkLeft": 1.0, "mouthSmileLeft": 0.4},
    "open": {"jawOpen": 0.6},
}


def main(path: Path, out: Path, resolution: int = 256) -> None:
    """Write animated.glb, and one STL for each expression."""
    head = imhead.load().open(path)
    mesh, uv, morphs = head.animated()
    write_mesh(mesh, out / "animated.glb", uv=uv, morphs=morphs)
    for name, weights in EXPRESSIONS.items():
        write_mesh(head.mesh(weights, resolution), out / f"{name}.stl")
    print(f"{len(morphs.names)} shapes on {len(mesh.vertices)} vertices, in {out}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
