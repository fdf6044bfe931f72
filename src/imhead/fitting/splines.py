"""Sums of quadratic B-splines on lattices of several spacings, at given places, and the transposes of these sums.

Shape legend: N places, M nodes of all lattices.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor

from imhead.parallel import side_by_side, thread_count
from imhead.types import FloatArray, IntArray

_SIDE, _HALF_SIDE = 1 << 10, 1 << 9  # more nodes than along any side of the bounds
_OFFSETS = np.stack(np.meshgrid(*3 * ([-1, 0, 1],), indexing="ij"), axis=-1).reshape(-1, 3)

Product = Callable[[FloatArray], FloatArray]


@dataclass(frozen=True, eq=False)
class Splines:
    """The splines that reach some places."""

    nodes: IntArray
    """(M, 4) lattice and place in it of each node, sorted."""
    values: csr_array
    """(N, M) of each node's spline at each place, times the factor of its lattice."""
    summed: Product
    """Coefficients (M, 3) → sums (N, 3)."""
    gathered: Product
    """Its transpose: (N, 3) → (M, 3)."""
    squared: Product
    """The same with the squares of the values."""

    @staticmethod
    def at(places: FloatArray, spacings_mm: Sequence[float], factors: Sequence[float]) -> Splines:
        """Those at places (N, 3), mm, on lattices of some spacings, each with a factor."""
        parts = [_at_lattice(places, spacing) for spacing in spacings_mm]
        first = np.cumsum([0, *(len(nodes) for nodes, _, _ in parts)])
        nodes = [np.column_stack([np.full(len(own), k), own]) for k, (own, _, _) in enumerate(parts)]
        columns = np.concatenate([part[1] + start for part, start in zip(parts, first)], axis=1)
        data = np.concatenate([factor * part[2] for part, factor in zip(parts, factors, strict=True)], axis=1)
        ends = np.arange(len(places) + 1) * columns.shape[1]
        values = csr_array((data.ravel(), columns.ravel(), ends), shape=(len(places), int(first[-1])))
        back = values.T.tocsr()
        squares = csr_array((back.data**2, back.indices, back.indptr), shape=back.shape)
        return Splines(np.concatenate(nodes), values, product_of(values), product_of(back), product_of(squares))


def product_of(matrix: csr_array) -> Product:
    """The product of a sparse matrix (n, m) with matrices (m, k): by torch, where it has one, on some rows a thread.

    Torch's takes half as long as scipy's on the same thread. A row's result does not depend on the number of threads.
    """
    if not torch.backends.mkl.is_available():
        return lambda right: np.asarray(matrix @ right)
    cpu = torch.device("cpu")
    shares = np.linspace(0.0, 1.0, thread_count(cpu) + 1)[1:-1]
    ends = np.searchsorted(matrix.indptr, shares * matrix.nnz)
    parts = [_torch_matrix(matrix[first:end]) for first, end in pairwise([0, *ends.tolist(), matrix.shape[0]])]

    def product(right: FloatArray) -> FloatArray:
        tensor = torch.from_numpy(right)
        found: FloatArray = np.concatenate(list(side_by_side(lambda part: (part @ tensor).numpy(), parts, cpu)))
        return found

    return product


def _torch_matrix(matrix: csr_array) -> Tensor:
    """A sparse matrix for torch."""
    ends, columns = (torch.from_numpy(part.astype(np.int32)) for part in (matrix.indptr, matrix.indices))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support", UserWarning)
        values = torch.from_numpy(matrix.data)
        return torch.sparse_csr_tensor(ends, columns, values, matrix.shape, check_invariants=False)


def _at_lattice(places: FloatArray, spacing_mm: float) -> tuple[IntArray, IntArray, FloatArray]:
    """Nodes (M, 3) of a lattice whose splines reach a place, sorted; rows (N, 27) of those that reach each place, and
    the values (N, 27) of their splines there."""
    at = places / spacing_mm
    nearest = np.floor(at + 0.5)
    t = at - nearest
    weights = np.stack([0.5 * (0.5 - t) ** 2, 0.75 - t**2, 0.5 * (0.5 + t) ** 2], axis=1)  # (N, 3 nodes, 3 axes)
    i, j, k = (_OFFSETS + 1).T
    values = weights[:, i, 0] * weights[:, j, 1] * weights[:, k, 2]
    # one number for each node, in the order of the nodes: far faster to sort than rows
    asked = (nearest.astype(np.int64)[:, None] + _OFFSETS + _HALF_SIDE) @ (_SIDE ** np.array([2, 1, 0]))
    keys, rows = np.unique(asked, return_inverse=True)
    nodes = np.column_stack([keys // _SIDE**2, keys // _SIDE % _SIDE, keys % _SIDE]) - _HALF_SIDE
    return nodes, rows.reshape(asked.shape), values
