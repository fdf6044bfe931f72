"""Normals of a bare point cloud: local planes, then one consistent side.

Shape legend: N points, k neighbours.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix, csr_matrix
from scipy.sparse.csgraph import breadth_first_order, connected_components, minimum_spanning_tree
from scipy.spatial import cKDTree

from imhead.errors import InputError

Float = NDArray[np.float64]
Int = NDArray[np.int64]

_EXTREME_DIRECTIONS = 128
_EXTREME_SHARE = 0.01


def plane_normals(points: NDArray[np.floating], k: int = 16) -> Float:
    """Unit normals of the plane through the `k` nearest neighbours of each point; each sign is arbitrary.

    Args:
        points: (N, 3), any units.
        k: neighbours per plane, the point itself included.

    Returns:
        (N, 3) float64.

    Raises:
        InputError: fewer than three points, or a NaN.
    """
    cloud, neighbours = _neighbourhoods(points, k)
    return _planes(cloud, neighbours)


def estimate_normals(points: NDArray[np.floating], k: int = 16) -> Float:
    """Unit normals with one consistent side: outward for a closed shape, towards the bulge for an open one.

    Signs spread along a minimum spanning tree that prefers neighbours with parallel planes, so that they cross
    neither a gap nor the edge of a double wall when there is another way round. Pieces that are not connected are
    each turned outward on their own.

    Args:
        points: (N, 3), any units.
        k: neighbours per plane, the point itself included.

    Returns:
        (N, 3) float64.

    Raises:
        InputError: fewer than three points, or a NaN.
    """
    cloud, neighbours = _neighbourhoods(points, k)
    normals = _planes(cloud, neighbours)
    graph = _riemannian_graph(cloud, normals, neighbours)
    signs, pieces = _spread_signs(normals, graph)
    return orient_outward(cloud, normals * signs[:, None], pieces)


def orient_outward(
    points: NDArray[np.floating], normals: NDArray[np.floating], pieces: NDArray[np.integer] | None = None
) -> Float:
    """Flip the normals of whole pieces, never of single points, so that each piece faces outward.

    The vote is held among the outermost points in many directions: there, outward is known without doubt.

    Args:
        points: (N, 3), any units.
        normals: (N, 3), of consistent side within a piece.
        pieces: (N,) label of each point's piece; None for a single piece.

    Returns:
        (N, 3) float64, a copy.
    """
    cloud = np.asarray(points, dtype=np.float64)
    result = np.array(normals, dtype=np.float64)
    labels = np.zeros(len(cloud), dtype=np.int64) if pieces is None else np.asarray(pieces, dtype=np.int64)
    order = np.argsort(labels, kind="stable")
    cuts = np.flatnonzero(np.diff(labels[order])) + 1
    directions = _sphere_directions(_EXTREME_DIRECTIONS)
    for members in np.split(order, cuts):
        if _outward_vote(cloud[members], result[members], directions) < 0:
            result[members] *= -1.0
    return result


def _neighbourhoods(points: NDArray[np.floating], k: int) -> tuple[Float, Int]:
    cloud = np.asarray(points, dtype=np.float64)
    if cloud.ndim != 2 or cloud.shape[1] != 3:
        raise InputError(f"points have shape {cloud.shape}; expected (N, 3)")
    if len(cloud) < 3:
        raise InputError(f"{len(cloud)} points have no surface; give at least three, and better thousands")
    if not np.isfinite(cloud).all():
        raise InputError("points hold NaN or infinite numbers; remove them first")
    _, neighbours = cKDTree(cloud).query(cloud, k=min(max(k, 3), len(cloud)))
    return cloud, np.asarray(neighbours, dtype=np.int64)


def _planes(cloud: Float, neighbours: Int) -> Float:
    local = cloud[neighbours]
    local = local - local.mean(1, keepdims=True)
    covariance = np.einsum("nki,nkj->nij", local, local)
    _, axes = np.linalg.eigh(covariance)
    return np.ascontiguousarray(axes[:, :, 0])


def _riemannian_graph(cloud: Float, normals: Float, neighbours: Int) -> csr_matrix:
    """Edges between neighbours; cheap where the planes are parallel and the step lies in them."""
    count, width = neighbours.shape
    tail = np.repeat(np.arange(count), width - 1)
    head = neighbours[:, 1:].ravel()
    step = cloud[head] - cloud[tail]
    length = np.linalg.norm(step, axis=1)
    unit = step / np.maximum(length, 1e-300)[:, None]
    parallel = np.abs(np.einsum("ni,ni->n", normals[tail], normals[head]))
    climb = np.abs(np.einsum("ni,ni->n", normals[tail] + normals[head], unit)) / 2
    climb = np.maximum(climb, np.abs(np.einsum("ni,ni->n", normals[tail] - normals[head], unit)) / 2)
    # a step along the normal leads to the other wall: the dearest edge of all
    weight = 1e-6 + (1.0 - parallel) + climb**2
    rows, columns = np.minimum(tail, head), np.maximum(tail, head)
    keep = rows != columns
    # coo sums repeated pairs; both directions carry the same weight, so the order of edges hardly changes
    return coo_matrix((weight[keep], (rows[keep], columns[keep])), shape=(count, count)).tocsr()


def _spread_signs(normals: Float, graph: csr_matrix) -> tuple[Float, Int]:
    """A sign for each normal, and the label of its connected piece, by pointer doubling along the spanning tree."""
    count = len(normals)
    tree = minimum_spanning_tree(graph)
    pieces, labels = connected_components(tree, directed=False)
    _, first = np.unique(labels, return_index=True)
    # one extra node joins the roots of all pieces, so that one sweep covers them
    roots = coo_matrix((np.ones(pieces), (np.full(pieces, count), first)), shape=(count + 1, count + 1))
    edges = tree.tocoo()
    joined = coo_matrix((edges.data, (edges.row, edges.col)), shape=(count + 1, count + 1)) + roots
    _, parent = breadth_first_order(joined.tocsr(), count, directed=False, return_predecessors=True)
    parent = parent.astype(np.int64)
    parent[count] = count
    parent[first] = count
    sign = np.ones(count + 1)
    inner = np.flatnonzero(parent[:count] != count)
    agreement = np.einsum("ni,ni->n", normals[inner], normals[parent[inner]])
    sign[inner] = np.where(agreement < 0, -1.0, 1.0)
    while (parent != count).any():
        sign = sign * sign[parent]
        parent = parent[parent]
    return sign[:count], labels.astype(np.int64)


def _outward_vote(cloud: Float, normals: Float, directions: Float) -> float:
    """Positive when the outermost points' normals point away from the piece."""
    heights = cloud @ directions.T
    share = max(1, int(len(cloud) * _EXTREME_SHARE))
    outermost = np.argpartition(-heights, share - 1, axis=0)[:share]
    cosines = np.einsum("kdi,di->kd", normals[outermost], directions)
    # cubed: an edge seen sideways tells little, a bulge seen from above tells much
    return float((cosines**3).sum())


def _sphere_directions(count: int) -> Float:
    """Evenly spread unit vectors on a Fibonacci spiral."""
    turn = np.arange(count) * np.pi * (3.0 - np.sqrt(5.0))
    height = 1.0 - 2.0 * (np.arange(count) + 0.5) / count
    ring = np.sqrt(1.0 - height**2)
    return np.stack([ring * np.cos(turn), ring * np.sin(turn), height], axis=1)
