"""The skin of a fitted head: its registered template, and where the scan shows hair, for a bake."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from imhead.avatar.bake import HAIR_MM, Surface, bake
from imhead.avatar.parts import groups_of_skin, load_parts
from imhead.checkpoint import Model
from imhead.fitting.result import FitResult
from imhead.isosurface.field import eyes_of
from imhead.registration.matching import shown_faces
from imhead.registration.register import Registration
from imhead.surfaces.transforms import transform_points
from imhead.template.topology import SKIN, load_topology
from imhead.types import Scan, SkinImage

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
    hairy = np.isin(groups_of_skin(load_parts()), _HAIR_GROUPS) & (template.part == SKIN)
    if over.any():
        away = cKDTree(places[over]).query(registration.mesh.vertices[hairy], distance_upper_bound=HAIR_MM)[0]
        hairy[np.flatnonzero(hairy)[~np.isfinite(away)]] = False
    else:
        hairy[:] = False
    return Surface(registration.mesh.vertices, eyes_of(model, head, head.z_exp), shown_faces(template), hairy)
