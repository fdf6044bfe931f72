"""The template surface: one fixed topology fitted to any head and any expression.

    region codes z_j ──Σ_j w_ij B_ij z_j──► canonical vertices of the skin ──Newton──► on the canonical zero set
    + ARKit weights · shapes ──► posed vertices ──Newton──► on the head's own zero set ──► lids on the eyeballs
    z_id and the head's own offsets ──► eyeballs, whose vertices lie in fixed directions from their centres

The weights w_ij are compact, like the model's own: vertex i has a basis B_ij only for regions j whose ball holds it.
Bases are stored for the left half and the midline; the right half is the left half of the mirrored codes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save
from scipy.spatial import cKDTree

from imhead.checkpoint import Model, check_tensors, read_companion
from imhead.conventions import ARKIT_NAMES, CANONICAL_JAW_OPEN
from imhead.errors import InputError
from imhead.io.atomic import write_atomically
from imhead.isosurface.field import HeadField, code_of_weights, eyes_of
from imhead.regions import CENTERS_MM, RADII_MM, REGION_COUNT, REGIONS
from imhead.surfaces.crossings import untangled
from imhead.surfaces.eyeballs import eye_centers, on_eyeball
from imhead.surfaces.lids import Lids
from imhead.surfaces.normals import vertex_normals
from imhead.template.lid_margins import LidMargins
from imhead.template.projection import ProjectionConfig, onto_zero_set, smoothstep
from imhead.template.topology import LEFT_EYE, RIGHT_EYE, SKIN
from imhead.types import BoolArray, FloatArray, Head, IntArray, Mesh, MorphTargets, UvMap

TEMPLATE_FORMAT = "imhead-template-1"
POSED_PROJECTION = ProjectionConfig(least_cosine=0.4, sure_cosine=0.7)
_NEAR_EYE_MM = 8.0
_LID_RIM_MM = (1.0, 3.0)  # distance from the part of a lid behind the eye, over which projection fades in
_TOUCHING = ("mouth", "nose", "left_eye", "right_eye", "left_ear", "right_ear")  # groups of regions
BLINKS = [ARKIT_NAMES.index(f"eyeBlink{side}") for side in ("Left", "Right")]
_INTEGERS = ("faces", "uv_faces", "part", "twin", "pair_vertex", "pair_region")


@dataclass(frozen=True, eq=False)
class TemplateSurface:
    """A fixed-topology surface for one model.

    V vertices, of which the first H lie on the left or the midline; F faces; T UV vertices; P vertex-region pairs.
    """

    model_hash: str
    """Hash of the model whose codes it reads."""
    faces: IntArray
    """(F, 3) counter-clockwise seen from outside."""
    uv: FloatArray
    """(T, 2) in [0, 1], v upwards."""
    uv_faces: IntArray
    """(F, 3) into `uv`."""
    part: IntArray
    """(V,) `topology.SKIN`, `MOUTH`, `LEFT_EYE` or `RIGHT_EYE`."""
    twin: IntArray
    """(V,) the mirrored vertex; itself on the midline."""
    mean: FloatArray
    """(V, 3) the mean head in the canonical pose, mm."""
    on_surface: FloatArray
    """(V,) share of the projection onto the zero set: 1 on the skin, 0 behind the lids and where the lips touch."""
    pair_vertex: IntArray
    """(P,) vertex of each pair, below H. Pairs are sorted by region."""
    pair_region: IntArray
    """(P,) region of each pair."""
    basis: FloatArray
    """(P, 64, 3) w_ij B_ij: displacement of the vertex per unit of the region's code, mm."""
    shapes: FloatArray
    """(52, V, 3) offsets from neutral at weight 1, in ARKit order, mm."""

    def blend(self, model: Model, z: FloatArray) -> FloatArray:
        """Canonical vertices (V, 3) of region codes z (39, 64): linear, no field is evaluated; a few milliseconds.

        Eyeballs depend on no region code: their vertices stay those of the mean head until `with_eyes` places them.
        """
        net = model.net
        mirrored = z[net.mirror.cpu().numpy()] * net.region_parity.cpu().numpy()
        codes = np.stack([z, mirrored]).astype(np.float32)
        moved = np.zeros((2, self.half, 3), dtype=np.float32)
        for region, (vertices, matrix) in enumerate(self._by_region):
            # a vertex occurs at most once per region, so += loses nothing
            moved[:, vertices] += (codes[:, region] @ matrix).reshape(2, -1, 3)
        left, right = moved[0], moved[1] * np.array([-1.0, 1.0, 1.0], dtype=np.float32)
        middle = self.twin[: self.half] < self.half
        offsets = np.concatenate([left, right[self.twin[self.half :]]])
        offsets[: self.half][middle] = 0.5 * (left[middle] + right[middle])
        return self.mean + offsets

    @property
    def half(self) -> int:
        """Vertices of the left side and the midline; they come first."""
        return int((self.twin >= np.arange(len(self.twin))).sum())

    @cached_property
    def _by_region(self) -> list[tuple[IntArray, FloatArray]]:
        """For each region its n vertices (n,), and w B as one matrix (64, n · 3)."""
        bounds = np.searchsorted(self.pair_region, np.arange(REGION_COUNT + 1))
        rows = [slice(bounds[k], bounds[k + 1]) for k in range(REGION_COUNT)]
        size = self.basis.shape[1]
        blocks = [self.basis[r].astype(np.float32).transpose(1, 0, 2).reshape(size, -1) for r in rows]
        return [(self.pair_vertex[r], np.ascontiguousarray(block)) for r, block in zip(rows, blocks)]

    @cached_property
    def posed_share(self) -> FloatArray:
        """(V,) `on_surface`, faded out at the rims of the lids: where they meet, the field shows only one of them."""
        skin = self.part == SKIN
        from_eye = cKDTree(self.mean[self.part >= LEFT_EYE]).query(self.mean)[0]
        behind = skin & (self.on_surface < 0.5) & (from_eye < _NEAR_EYE_MM)
        distance = cKDTree(self.mean[behind]).query(self.mean)[0]
        return np.where(skin, smoothstep(*_LID_RIM_MM, distance), 1.0) * self.on_surface * (self.part < LEFT_EYE)

    @cached_property
    def touching_faces(self) -> IntArray:
        """(G, 3) faces of skin and mouth that may intersect one another: lips, lids, nostrils and ears."""
        rows = [region.index for region in REGIONS if region.group in _TOUCHING]
        held = (np.linalg.norm(self.mean[:, None] - CENTERS_MM[rows], axis=2) < RADII_MM[rows]).any(axis=1)
        held &= self.part < LEFT_EYE
        return self.faces[held[self.faces].all(axis=1)]

    def with_eyes(self, model: Model, vertices: FloatArray, eyes: FloatArray) -> FloatArray:
        """Vertices (V, 3) of the skin, with the eyeballs (2, 5) in place and the lids on them, mm."""
        lids, _, directions = _eye_anatomy(self, model)
        placed = lids.on_eyes(vertices.astype(np.float64), eyes)
        placed[self.part == LEFT_EYE] = on_eyeball(directions[0], eyes[0])
        placed[self.part == RIGHT_EYE] = on_eyeball(directions[1], eyes[1]) * [-1.0, 1.0, 1.0]
        return placed

    def canonical(self, field: HeadField, chosen: BoolArray | None = None) -> FloatArray:
        """Vertices (V, 3) of the skin in the canonical pose, mm; those `chosen` (V,), or all, lie on the zero set."""
        start = field.before_residual(self.blend(field.model, field.regional.z[0].cpu().numpy()))
        share = self.on_surface if chosen is None else self.on_surface * chosen
        return onto_zero_set(field.canonical_sdf, start, vertex_normals(self.mean, self.faces)[0], share)

    def neutral(self, field: HeadField, chosen: BoolArray | None = None) -> FloatArray:
        """Vertices (V, 3) of the neutral face, not yet projected onto its zero set, mm; `chosen` as in `canonical`."""
        return self.canonical(field, chosen) - CANONICAL_JAW_OPEN * self.shapes[ARKIT_NAMES.index("jawOpen")]

    def posed(self, model: Model, head: Head, weights: FloatArray | None = None) -> FloatArray:
        """Vertices (V, 3) projected onto the zero set of the head with ARKit weights (52,), or its own expression, mm.

        Raises:
            InputError: the head or the template belongs to another model.
        """
        code = head.z_exp if weights is None else code_of_weights(model, weights)
        own = arkit_weights(model, head.z_exp) if weights is None else weights
        return self.settled(model, self._posed_skin(model, head, weights), eyes_of(model, head, code), own)

    def settled(self, model: Model, skin: FloatArray, eyes: FloatArray, weights: FloatArray) -> FloatArray:
        """Vertices (V, 3) of a projected skin with ARKit weights (52,), mm: self-intersections are taken apart,
        eyeballs (2, 5) in place, and the lids smooth and on them."""
        apart = untangled(skin, self.touching_faces)
        placed = self.with_eyes(model, self.with_smooth_lids(model, apart, eyes, weights), eyes)
        return untangled(placed, self.touching_faces)

    def with_smooth_lids(self, model: Model, vertices: FloatArray, eyes: FloatArray, weights: FloatArray) -> FloatArray:
        """Vertices (V, 3) of the skin with ARKit weights (52,), its lids smooth, on the eyeballs (2, 5) and as shut as
        they blink, mm."""
        lids, margins, _ = _eye_anatomy(self, model)
        moved = weights.astype(np.float64)
        moved[ARKIT_NAMES.index("jawOpen")] -= CANONICAL_JAW_OPEN
        reference = self.mean + np.tensordot(moved, self.shapes, axes=(0, 0))
        return margins.faired(
            vertices, reference, weights[BLINKS], eye_centers(eyes), lambda placed: lids.on_eyes(placed, eyes)
        )

    def lid_vertices(self, model: Model, head: Head) -> tuple[FloatArray, FloatArray]:
        """Vertices (n, 3) of the lids of the head with its expression, before they are moved out of its eyeballs, and
        the distance (n,) to an eyeball that each keeps, mm."""
        lids, _, _ = _eye_anatomy(self, model)
        chosen = np.zeros(len(self.mean), dtype=bool)
        chosen[lids.vertices] = True
        return self._posed_skin(model, head, None, chosen)[lids.vertices], lids.least_mm

    def _posed_skin(
        self, model: Model, head: Head, weights: FloatArray | None, chosen: BoolArray | None = None
    ) -> FloatArray:
        """`posed` before the eyeballs are in place and lips and lids apart; `chosen` as in `canonical`."""
        self.check(model, head)
        wanted = arkit_weights(model, head.z_exp) if weights is None else weights
        code = head.z_exp if weights is None else code_of_weights(model, weights)
        field = HeadField(model, head, code)
        moved = np.tensordot(wanted, self.shapes, axes=(0, 0))
        start = self.neutral(field, chosen) + moved
        rest = self.mean - CANONICAL_JAW_OPEN * self.shapes[ARKIT_NAMES.index("jawOpen")] + moved
        normals = vertex_normals(rest, self.faces)[0]
        share = self.posed_share if chosen is None else self.posed_share * chosen
        return onto_zero_set(field.skin_sdf, start, normals, share, POSED_PROJECTION)

    def mesh(self, model: Model, head: Head, weights: FloatArray | None = None) -> Mesh:
        """`posed` as a mesh; open at the rims of the lids, which lie behind the eyeballs, and below the shoulders."""
        return Mesh(self.posed(model, head, weights), self.faces)

    @property
    def uv_map(self) -> UvMap:
        """UV coordinates of the faces."""
        return UvMap(self.uv, self.uv_faces)

    def morph_targets(self, weights: FloatArray) -> MorphTargets:
        """The 52 ARKit shapes, offsets from the neutral face, with initial `weights` (52,)."""
        return MorphTargets(ARKIT_NAMES, self.shapes, weights)

    def check(self, model: Model, head: Head) -> None:
        """Check that the model and the head belong to this template.

        Raises:
            InputError: one of them does not.
        """
        for name, other in (("model", model.hash), ("head", head.model_hash)):
            if other != self.model_hash:
                raise InputError(
                    f"this template belongs to model {self.model_hash}, the {name} to {other}; build a template of it"
                )


def posed_blend(template: TemplateSurface, model: Model, z: FloatArray, weights: FloatArray) -> FloatArray:
    """Vertices (V, 3) of region codes z (39, 64) with ARKit weights (52,): linear, near the zero set but not on it."""
    moved = weights.copy()
    moved[ARKIT_NAMES.index("jawOpen")] -= CANONICAL_JAW_OPEN
    posed: FloatArray = template.blend(model, z) + np.tensordot(moved, template.shapes, axes=(0, 0))
    return posed


@lru_cache(maxsize=4)
def _eye_anatomy(template: TemplateSurface, model: Model) -> tuple[Lids, LidMargins, tuple[FloatArray, FloatArray]]:
    """The lids' clearance, their margins, and unit directions (n, 3) from a left eyeball's centre to each eyeball's
    vertices; those of the right one are mirrored."""
    eyes = np.tile(model.net.eye_net.mean.cpu().numpy().astype(np.float64), (2, 1))
    lids = Lids.of(template.mean, np.flatnonzero(template.part < LEFT_EYE), eyes)
    balls = template.mean[template.part == LEFT_EYE], template.mean[template.part == RIGHT_EYE] * [-1.0, 1.0, 1.0]
    away = [ball - eyeball[:3] for ball, eyeball in zip(balls, eyes)]
    left, right = (offsets / np.linalg.norm(offsets, axis=1, keepdims=True) for offsets in away)
    return lids, lid_margins(template, eyes), (left, right)


def lid_margins(template: TemplateSurface, eyes: FloatArray) -> LidMargins:
    """The lids of a template whose mean head has eyeballs (2, 5)."""
    faces = template.faces[(template.part[template.faces] == SKIN).all(axis=1)]
    return LidMargins.of(template.mean, faces, template.posed_share, template.shapes[BLINKS], eyes)


def arkit_weights(model: Model, z_exp: FloatArray) -> FloatArray:
    """Least-squares ARKit weights (52,) of an expression code (64,); exact if the code was made from weights."""
    arkit = model.net.warp.arkit.detach().cpu().numpy().astype(np.float64)
    weights: FloatArray = np.linalg.lstsq(arkit.T, z_exp.astype(np.float64), rcond=None)[0]
    return weights


def template_path(model_path: Path) -> Path:
    """Path of a model's template: `default.safetensors` → `default.template.safetensors`."""
    return model_path.with_suffix(".template.safetensors")


def has_template(model: Model) -> bool:
    """Whether a template lies beside the model's file; without one there are no measurements and no morph targets."""
    return model.path is not None and template_path(model.path).is_file()


def save_template(template: TemplateSurface, path: Path) -> None:
    """Write a template, bases and shapes in half precision."""
    tensors: dict[str, NDArray[Any]] = {name: getattr(template, name).astype(np.int32) for name in _INTEGERS}
    tensors |= {name: getattr(template, name).astype(np.float32) for name in ("uv", "mean", "on_surface")}
    tensors |= {name: getattr(template, name).astype(np.float16) for name in ("basis", "shapes")}
    sizes = {"V": len(template.part), "F": len(template.faces), "T": len(template.uv), "P": len(template.pair_vertex)}
    metadata = {"format": TEMPLATE_FORMAT, "model_hash": template.model_hash, "sizes": json.dumps(sizes)}
    write_atomically(path, save({k: np.ascontiguousarray(v) for k, v in tensors.items()}, metadata))


def load_template(path: Path, model: Model) -> TemplateSurface:
    """Open the template of `model`.

    Raises:
        InputError: no such file, not a template, damaged, or the template of another model.
    """
    tensors, metadata = read_companion(path, "template", TEMPLATE_FORMAT, model)
    try:
        sizes = json.loads(metadata["sizes"])
        v, f, t, p = (int(sizes[key]) for key in "VFTP")
    except (KeyError, ValueError, TypeError) as error:
        raise InputError(f"{path}: its sizes cannot be read ({error}); get the file again") from error
    code = model.net.config.region_code_size
    integers = {
        "faces": (f, 3),
        "uv_faces": (f, 3),
        "part": (v,),
        "twin": (v,),
        "pair_vertex": (p,),
        "pair_region": (p,),
    }
    floats = {
        "uv": (t, 2), "mean": (v, 3), "on_surface": (v,), "basis": (p, code, 3), "shapes": (len(ARKIT_NAMES), v, 3),
    }  # fmt: skip
    check_tensors(path, {k: w for k, w in tensors.items() if k in integers}, integers, (torch.int32,))
    check_tensors(path, {k: w for k, w in tensors.items() if k not in integers}, floats)
    limits = {"faces": v, "uv_faces": t, "part": 4, "twin": v, "pair_vertex": v, "pair_region": REGION_COUNT}
    for name, limit in limits.items():
        if len(tensors[name]) and not 0 <= int(tensors[name].min()) <= int(tensors[name].max()) < limit:
            raise InputError(f"{path}: tensor {name} holds an index out of range; get the file again")
    if not bool((tensors["pair_region"].diff() >= 0).all()):
        raise InputError(f"{path}: its pairs are not sorted by region; get the file again")
    arrays = {name: value.float() if value.is_floating_point() else value.long() for name, value in tensors.items()}
    return TemplateSurface(metadata["model_hash"], **{name: value.numpy() for name, value in arrays.items()})


@lru_cache(maxsize=4)
def template_of(model: Model) -> TemplateSurface:
    """The template beside a model's file.

    Raises:
        InputError: there is none, or it belongs to another model.
    """
    if model.path is None:
        raise InputError(f"model {model.name!r} was not opened from a file, so no template lies beside it")
    path = template_path(model.path)
    if not path.is_file():
        raise InputError(f"{path}: no such template, so this model has only --surface volume; imhead train writes both")
    return load_template(path, model)
