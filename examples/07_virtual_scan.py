"""Scan a head that training never saw with the virtual scanner: how the scan that ships with imhead was made.

    python examples/07_virtual_scan.py ICT_FACEKIT OUT.ply

The head is composed from several identities of ICT-FaceKit; the scan has three phone-like depth images with noise,
grazing drop-out and holes, in a random pose and written in centimetres.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from imhead.datasets.recipe import HELD_OUT_SEED
from imhead.evaluation.virtual_scanner import FRONTAL_PHONE, virtual_scan
from imhead.io.mesh_file import write_mesh
from imhead.sources.compose import ComposeConfig, draw_identity, group_masks
from imhead.sources.ict import read_ict
from imhead.types import Mesh

IDENTITY = HELD_OUT_SEED + 7_001


def main(source: Path, out: Path) -> None:
    """Write the scan of held-out identity 7001 to `out`."""
    ict = read_ict(source)
    offsets = draw_identity(ict, group_masks(ict.mean), IDENTITY, ComposeConfig(composed_fraction=1.0))
    head = Mesh(ict.mean + offsets, np.concatenate([ict.skin_faces, ict.eye_faces]))
    scanner = replace(FRONTAL_PHONE, unit="cm", target_points=16_000)
    scan = virtual_scan(head, scanner, np.random.default_rng(7_001), out.stem).scan
    assert scan.faces is not None
    write_mesh(Mesh(scan.points, scan.faces), out, unit="cm")
    print(f"{len(scan.points)} points, {len(scan.faces)} faces, in {out}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
