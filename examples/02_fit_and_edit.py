"""Fit a scan, give the head another nose, and write both meshes: the whole of imhead in ten lines.

python examples/02_fit_and_edit.py SCAN OUT_FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

import imhead
from imhead.io.mesh_file import write_mesh


def main(scan: Path, out: Path, resolution: int = 256) -> None:
    """Write before.ply, after.ply and after.safetensors into `out`."""
    head = imhead.fit(scan)
    edited = head.edit("nose", sample=7, strength=1.5)
    write_mesh(head.mesh(resolution=resolution), out / "before.ply")
    write_mesh(edited.mesh(resolution=resolution), out / "after.ply")
    edited.save(out / "after.safetensors")
    print("\n".join(edited.codes.provenance))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
