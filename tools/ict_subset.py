"""Makes tests/data/ict_subset.npz from the packed ICT-FaceKit file: all expressions, the first 40 identity modes.

    python tools/ict_subset.py ict_facekit_light.npz tests/data/ict_subset.npz

The arrays are those of the packed file, so `read_ict` reads both. Offsets are rounded to 0.02 mm, and those of vertices
that `read_ict` drops (teeth, tongue, lashes) are zero: that and LZMA make 1.7 MB of 16.8 MB.
"""

from __future__ import annotations

import io
import sys
import zipfile
from pathlib import Path

import numpy as np

from imhead.io.atomic import write_atomically
from imhead.sources.ict import KEPT_VERTICES
from imhead.types import FloatArray

MODES = 40
STEP_CM = 2.0**-9


def subset(packed: Path) -> bytes:
    """The content of the subset file."""
    with np.load(packed, allow_pickle=False) as data:
        arrays = {
            "vertices": data["vertices"],
            "identity": rounded(data["identity"][:MODES]),
            "expressions": rounded(data["expressions"]),
            "expression_names": data["expression_names"],
            "polygons": data["polygons"],
        }
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_LZMA) as archive:
        for name, array in arrays.items():
            entry = io.BytesIO()
            np.save(entry, array)
            # a ZipInfo carries no clock: the same input makes the same bytes
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), entry.getvalue(), zipfile.ZIP_LZMA)
    return content.getvalue()


def rounded(offsets: FloatArray) -> FloatArray:
    """Offsets (K, V, 3) in steps of `STEP_CM`, float16, zero at vertices that are not kept."""
    kept = np.zeros_like(offsets, dtype=np.float16)
    kept[:, KEPT_VERTICES] = np.round(offsets[:, KEPT_VERTICES].astype(np.float32) / STEP_CM) * STEP_CM
    return kept


if __name__ == "__main__":
    write_atomically(Path(sys.argv[2]), subset(Path(sys.argv[1])))
