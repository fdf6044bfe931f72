"""Smooth movement of a mesh along its normals that explains heights of scan points: one sparse solve.

The prior is a Gaussian process on the surface, a Matérn field: heights have a standard deviation, and a length over
which they change. So the result is a posterior mean: it follows many exact points, and little of a few noisy ones.
Movement along the surface is left out: closest points say nothing of it.

Shape legend: V vertices of the whole mesh, n of them free, F faces, M matched points.
"""

from __future__ import annotations

import igl
import numpy as np
from scipy.sparse import csc_matrix, csr_matrix, diags_array
from scipy.sparse.linalg import splu

from imhead.types import FloatArray, IntArray

_LEAST_AREA_MM2 = 1e-2


class HeightField:
    """Heights of a mesh's free vertices over where they rest.

    Args:
        vertices: (V, 3) the mesh at rest, mm.
        normals: (V, 3) unit vectors along which the vertices move.
        faces: (F, 3) whose corners are the free vertices.
        length_mm: over which heights change.
        sigma_mm: their standard deviation.
    """

    def __init__(
        self, vertices: FloatArray, normals: FloatArray, faces: IntArray, length_mm: float, sigma_mm: float
    ) -> None:
        free, local = np.unique(faces, return_inverse=True)
        self._free, self._normals = free, normals
        self._precision = matern_precision(vertices[free], local.reshape(-1, 3), length_mm, sigma_mm)

    def explaining(self, rows: csr_matrix, height_mm: FloatArray, weight: FloatArray) -> FloatArray:
        """The most probable displacement (V, 3), mm; 0 for vertices that are not free.

        Args:
            rows: (M, 3V) change of the heights for a displacement.
            height_mm: (M,) heights to explain.
            weight: (M,) inverse variance of each, 1/mm².
        """
        count = len(self._normals)
        along = csr_matrix(
            (self._normals[self._free].ravel(), (3 * self._free[:, None] + np.arange(3)).ravel(),
             3 * np.arange(len(self._free) + 1)), shape=(len(self._free), 3 * count),
        )  # fmt: skip
        own = csr_matrix(rows @ along.T)
        system = csc_matrix(self._precision + own.T @ own.multiply(weight[:, None]))
        solver = splu(system, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
        moved = np.zeros((count, 3))
        moved[self._free] = solver.solve(own.T @ (weight * height_mm))[:, None] * self._normals[self._free]
        return moved


def matern_precision(vertices: FloatArray, faces: IntArray, length_mm: float, sigma_mm: float) -> csc_matrix:
    """Precision (n, n) of a Matérn field of smoothness 1 on a mesh, by finite elements (Lindgren et al. 2011).

    Args:
        vertices: (n, 3), mm.
        faces: (F, 3).
        length_mm: distance at which two values are correlated by about 0.14.
        sigma_mm: standard deviation away from borders.
    """
    # intrinsic Delaunay: no negative weight where triangles are long and thin
    stiffness = -csc_matrix(igl.intrinsic_delaunay_cotmatrix(vertices, faces)[0])
    area = igl.massmatrix(vertices, faces, igl.MASSMATRIX_TYPE_BARYCENTRIC).diagonal().clip(_LEAST_AREA_MM2)
    kappa = np.sqrt(8.0) / length_mm
    operator = kappa**2 * diags_array(area) + stiffness
    scale = 1.0 / (4.0 * np.pi * kappa**2 * sigma_mm**2)
    return csc_matrix(scale * (operator.T @ diags_array(1.0 / area) @ operator))
