"""The skin of a fitted head: its registered template, and where the scan shows hair, for a bake."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from imhead.avatar.bake import Surface, bake
from imhead.avatar.parts import load_parts
from imhead.checkpoint import Model
from imhead.fitting.result import FitResult
from imhead.isosurface.field import eyes_of
from imhead.regions import CENTERS_MM, REGIONS
from imhead.registration.matching import shown_faces
from imhead.registration.register import Registration
from imhead.surfaces.transforms import transform_points
from imhead.template.topology import SKIN, load_topology
from imhead.types import BoolArray, Scan, SkinImage

_HAIR_MM = 45.0  # from the scalp to hair over it
_HAIR_GROUPS = ("scalp", "occiput", "temple", "forehead")


def skin_of(result: FitResult, registration: Registration, scan: Scan, model: Model, size: int = 2048) -> SkinImage:
    """The colours of a fitted and registered scan, as its head carries them.

    Raises:
        InputError: the scan has no colours, or hardly any on the skin.
    """
    surface = surface_of(result, registration, scan, model)
    return bake(scan, result.scan_to_head, surface, load_topology(), load_parts(), size).image()


def surface_of(result: FitResult, registration: Registration, scan: Scan, model: Model) -> Surface:
    """The registered template, as `bake` needs it."""
    head, template = registration.head, registration.template
    places = transform_points(result.scan_to_head, scan.points)
    over = result.hair.covers(transform_points(result.pose.scan_to_head, scan.points)) | ~result.explained
    hairy = _can_bear_hair() & (template.part == SKIN)
    if over.any():
        away = cKDTree(places[over]).query(registration.mesh.vertices[hairy], distance_upper_bound=_HAIR_MM)[0]
        hairy[np.flatnonzero(hairy)[~np.isfinite(away)]] = False
    else:
        hairy[:] = False
    return Surface(registration.mesh.vertices, eyes_of(model, head, head.z_exp), shown_faces(template), hairy)


def _can_bear_hair() -> BoolArray:
    """(V,) vertices of the template nearest to the middle of a region that bears hair."""
    nearest = cKDTree(CENTERS_MM).query(load_parts().skin)[1]
    bearing = np.array([region.group in _HAIR_GROUPS for region in REGIONS])
    return np.asarray(bearing[nearest])
