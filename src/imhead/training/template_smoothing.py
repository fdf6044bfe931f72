"""Neighbours of the template's lids and lips move alike.

Each vertex has a regression of its own, and region offsets reach directions in which few training heads tell neighbours
apart. On most of the skin the projection onto the zero set takes that away; near the margins of lids and lips, where
vertices stay as the regression places them, it would show as a ragged line.

Shape legend: V vertices, H of them on the left or the midline, P vertex-region pairs, E edges.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
from scipy.sparse import coo_array, diags_array

from imhead.conventions import ARKIT_NAMES, CANONICAL_JAW_OPEN
from imhead.regions import REGION_COUNT
from imhead.surfaces.crossings import edges_of
from imhead.surfaces.eyeballs import eye_centers
from imhead.template.surface import BLINKS, TemplateSurface, lid_margins
from imhead.template.topology import LEFT_EYE
from imhead.types import FloatArray, IntArray

_ROUNDS = 8
_RATE = 0.5
_SHAPE_ROUNDS = 3
_FADED = 0.7  # share of the smoothing of a vertex that its neighbours get at least, over two rings


def with_smooth_margins(template: TemplateSurface, eyes: FloatArray) -> TemplateSurface:
    """The template with smooth margins: its bases near lids and lips, and its shapes near the eyes, eyeballs (2, 5).

    Bases are averaged with the neighbours' of the same region. A vertex gets no region that it did not have, so an edit
    of a region reaches what it reached before.
    """
    return _with_smooth_shapes(_with_smooth_bases(template), eyes)


def _with_smooth_shapes(template: TemplateSurface, eyes: FloatArray) -> TemplateSurface:
    """The template with shapes that move the lids smoothly, and blinks that shut them."""
    margins = lid_margins(template, eyes)
    still = np.zeros_like(template.mean, dtype=np.float64)
    shapes = template.shapes.astype(np.float64)
    for shape in shapes:
        for _ in range(_SHAPE_ROUNDS):
            shape[:] = margins.smoothed(shape, still, margins.evenly)
    neutral = template.mean - CANONICAL_JAW_OPEN * shapes[ARKIT_NAMES.index("jawOpen")]
    margins = lid_margins(replace(template, shapes=shapes), eyes)
    for row, blink, center in zip(BLINKS, margins.blinks, eye_centers(eyes)):
        shapes[row] = blink.closed(neutral + shapes[row], 1.0, center) - neutral
    return replace(template, shapes=shapes.astype(template.shapes.dtype))


def _with_smooth_bases(template: TemplateSurface) -> TemplateSurface:
    share = _loose_share(template)
    edges = edges_of(template.faces)
    edges = edges[(edges < template.half).all(axis=1)]
    basis = template.basis.astype(np.float32)
    bounds = np.searchsorted(template.pair_region, np.arange(REGION_COUNT + 1))
    for first, last in pairwise(bounds.tolist()):
        if first < last:
            vertices = template.pair_vertex[first:last]
            rows = np.full(template.half, -1)
            rows[vertices] = np.arange(len(vertices))
            near = rows[edges]
            basis[first:last] = _averaged(basis[first:last], near[(near >= 0).all(axis=1)], share[vertices])
    return replace(template, basis=basis)


def _loose_share(template: TemplateSurface) -> FloatArray:
    """(V,) 1 for skin and mouth that no projection places, fading out over two rings of vertices."""
    share = np.where(template.part < LEFT_EYE, 1.0 - template.posed_share, 0.0)
    edges = edges_of(template.faces)
    for _ in range(2):
        wider = share.copy()
        for one, other in ((0, 1), (1, 0)):
            np.maximum.at(wider, edges[:, one], _FADED * share[edges[:, other]])
        share = wider
    return np.where(template.part < LEFT_EYE, share, 0.0)


def _averaged(basis: FloatArray, edges: IntArray, share: FloatArray) -> FloatArray:
    """Bases (n, 64, 3) after rounds of averaging over edges (E, 2), by the share (n,) of each."""
    count = len(basis)
    both = np.concatenate([edges, edges[:, ::-1]])
    graph = coo_array((np.ones(len(both)), (both[:, 0], both[:, 1])), shape=(count, count)).tocsr()
    neighbours = np.asarray(graph.sum(axis=1)).ravel()
    average = diags_array(1.0 / np.maximum(neighbours, 1.0)) @ graph
    rate = (_RATE * share * (neighbours > 0.0))[:, None]
    flat = basis.reshape(count, -1)
    for _ in range(_ROUNDS):
        flat = flat + rate * (average @ flat - flat)
    smooth: FloatArray = flat.reshape(basis.shape)
    return smooth
