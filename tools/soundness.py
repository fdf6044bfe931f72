"""Count what a close look must not find: handles, and eyeballs through skin.

python tools/soundness.py docs/results/soundness.json --ict FILE [--fits 200 --drawn 200 --edits 500 --shape-heads 24]

Of fits of held-out heads, of drawn heads, of random edits within the sliders, and of the 52 ARKit shapes at weight 1 on
drawn heads: how many surfaces have a handle, in which regions, and how many show an eyeball through a lid.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.spatial import cKDTree

import imhead
from imhead.api.heads import EditableHead
from imhead.api.models import MorphableModel
from imhead.checkpoint import Model
from imhead.conventions import ARKIT_NAMES
from imhead.evaluation.cases import CaseKind, HeldOutSource, held_out
from imhead.fitting.fit import fit_scan
from imhead.isosurface.creases import mended_head
from imhead.isosurface.field import HeadField, code_of_weights, eyes_of
from imhead.isosurface.places import nearest_regions
from imhead.parallel import in_processes
from imhead.sources.ict import read_ict
from imhead.surfaces.eyeballs import on_eyeball
from imhead.surfaces.handles import handle_places
from imhead.surfaces.rays import first_hit, ray_caster
from imhead.surfaces.sampling import fibonacci_sphere
from imhead.template.surface import template_of
from imhead.template.topology import LEFT_EYE
from imhead.types import Head, Mesh

_GROUPS = (
    "nose", "mouth", "left_eye", "right_eye", "left_ear", "right_ear", "chin", "cheek", "jaw", "brow", "forehead",
)  # fmt: skip
_BUST = ("neck", "shoulder")  # ends of the names of regions at whose edge the bust is cut
_EYE_SAMPLES = 4000
_AHEAD_MM = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0)  # in front of an eyeball, where no skin lies if it is seen
_MARGIN_MM = 2.0  # from the opening of the lids
_SEEN_MM2 = 2.0


def of_surface(model: Model, head: Head) -> dict[str, Any]:
    """Handles of a head's mesh, those that were mended, and lid vertices that its eyeballs come through."""
    surface = mended_head(HeadField(model, head))
    regions = nearest_regions(handle_places(surface.mesh)) if surface.left else ()
    mended = [name for name in nearest_regions(surface.places) if not name.endswith(_BUST)]
    through = eye_through_skin_mm2(model, head)
    handles, seen = -1 if surface.left is None else surface.left, int(through > _SEEN_MM2)
    return {"handles": handles, "regions": list(regions), "mended_on_face": mended, "eye_through_skin": seen}


def eye_through_skin_mm2(model: Model, head: Head) -> float:
    """Area of the eyeballs that is seen from the front, in the volume, outside the opening of the template's lids."""
    field, template = HeadField(model, head), template_of(model)
    skin = template.faces[(template.part[template.faces] < LEFT_EYE).all(axis=1)]
    caster = ray_caster(Mesh(template.posed(model, head), skin))
    area = 0.0
    for side, eye in enumerate(eyes_of(model, head, head.z_exp)):
        ways = fibonacci_sphere(_EYE_SAMPLES)
        places = on_eyeball(ways[ways[:, 2] > 0.2], eye) * ([1.0, 1.0, 1.0] if side == 0 else [-1.0, 1.0, 1.0])
        ahead = np.broadcast_to([0.0, 0.0, 1.0], places.shape)
        opened = first_hit(caster, places, ahead) < 0
        seen = np.ones(len(places), dtype=bool)
        for step in _AHEAD_MM:
            seen &= field.skin_sdf(places + step * ahead) > 0.0
        beyond = cKDTree(places[opened]).query(places)[0] > _MARGIN_MM if opened.any() else np.ones_like(seen)
        area += float((seen & beyond).sum()) * 4.0 * np.pi * eye[3] ** 2 / _EYE_SAMPLES
    return area


def fitted(model: MorphableModel, ict: Path, index: int) -> Head:
    """The fit of a scan of a held-out head."""
    source = HeldOutSource.composed(read_ict(ict))
    return fit_scan(held_out(source, index, CaseKind()).scan, model.model).head


def edited(model: MorphableModel, index: int) -> Head:
    """A drawn head with one to three regions at random places within the sliders."""
    rng = np.random.default_rng([0x50, index])
    head = model.sample(1, seed=10_000 + index)[0]
    for name in rng.choice(_GROUPS, size=int(rng.integers(1, 4)), replace=False):
        if rng.random() < 0.5:
            head = head.sample(str(name), seed=int(rng.integers(10_000)), strength=float(rng.uniform(0.5, 1.5)))
        else:
            head = head.along(str(name), int(rng.integers(8)), float(rng.uniform(-3.0, 3.0)))
    return head.codes


def posed(model: MorphableModel, index: int) -> Head:
    """A drawn head with one ARKit shape at weight 1."""
    row, shape = divmod(index, len(ARKIT_NAMES))
    head: EditableHead = model.sample(1, seed=20_000 + row)[0]
    code = code_of_weights(model.model, np.eye(len(ARKIT_NAMES))[shape])
    codes = head.codes
    return Head(codes.model_id, codes.model_hash, codes.z_id, code, codes.offsets, codes.provenance, codes.eyes)


def counted(rows: Iterator[dict[str, Any]]) -> dict[str, Any]:
    """One row of the result."""
    found = list(rows)
    regions = Counter(region for row in found for region in row["regions"])
    mended = Counter(region for row in found for region in row["mended_on_face"])
    return {
        "surfaces": len(found),
        "with_handles": sum(row["handles"] != 0 for row in found),
        "handles": sum(max(row["handles"], 0) for row in found),
        "regions": dict(regions.most_common()),
        "with_mended_on_face": sum(bool(row["mended_on_face"]) for row in found),
        "mended_on_face": dict(mended.most_common()),
        "with_eye_through_skin": sum(row["eye_through_skin"] > 0 for row in found),
    }


def main() -> None:
    """Count, and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--ict", type=Path, required=True)
    parser.add_argument("--model", default="default")
    parser.add_argument("--fits", type=int, default=200)
    parser.add_argument("--drawn", type=int, default=200)
    parser.add_argument("--edits", type=int, default=500)
    parser.add_argument("--shape-heads", type=int, default=24)
    given = parser.parse_args()
    torch.set_num_threads(1)
    model = imhead.load(given.model, device="cpu")
    kinds: dict[str, tuple[int, Callable[[int], Head]]] = {
        "drawn heads": (given.drawn, lambda index: model.sample(1, seed=index)[0].codes),
        "random edits": (given.edits, lambda index: edited(model, index)),
        "ARKit shapes": (given.shape_heads * len(ARKIT_NAMES), lambda index: posed(model, index)),
        "held-out fits": (given.fits, lambda index: fitted(model, given.ict, index)),
    }
    rows: dict[str, Any] = {}
    for name, (count, head_of) in kinds.items():
        if count:
            work = partial(_counted_head, model.model, head_of)
            rows[name] = counted(in_processes(work, count, 2, ordered=False, chunk=2))
            print(name, json.dumps(rows[name]), flush=True)
    given.out.write_text(json.dumps({"model": model.model.hash, "rows": rows}, indent=1) + "\n")


def _counted_head(model: Model, head_of: Callable[[int], Head], index: int) -> dict[str, Any]:
    return of_surface(model, head_of(index))


if __name__ == "__main__":
    main()
