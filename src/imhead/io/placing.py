"""Objects that a file places again and again: joined into one mesh, as long as they stay in proportion to the file.

Shape legend: N points, F faces.
"""

from __future__ import annotations

import numpy as np

from imhead.errors import InputError
from imhead.io.raw_geometry import RawGeometry, checked_geometry
from imhead.surfaces.transforms import transform_points
from imhead.types import FloatArray, IntArray

_FREE_NUMBERS = 600_000


class PlacedMeshes:
    """Meshes in one frame, joined at the end."""

    def __init__(self, size: int, label: str) -> None:
        """Begin with nothing.

        Args:
            size: bytes of the file.
            label: the file, for messages.
        """
        self._size, self._label = size, label
        self._points: list[FloatArray] = []
        self._faces: list[IntArray] = []
        self._count = self._spent = 0
        self.warnings: tuple[str, ...] = ()
        """What was left out, one sentence each."""

    def add(self, points: FloatArray, faces: IntArray | None, matrix: FloatArray | None = None) -> None:
        """Place points (N, 3) and faces (F, 3) by a matrix (4, 4); faces turn over where it mirrors.

        Raises:
            InputError: far more is placed than the file holds, or by numbers that are not finite.
        """
        self._spent += points.size + (0 if faces is None else faces.size)
        if self._spent > self._size // 3 + _FREE_NUMBERS:
            raise InputError(f"{self._label}: places its meshes again and again; export it as one plain mesh")
        if matrix is not None:
            if not np.isfinite(matrix).all():
                raise InputError(f"{self._label}: a mesh is placed by NaN or infinite numbers; export it again")
            with np.errstate(invalid="ignore", over="ignore"):
                points = transform_points(matrix, points)
            if faces is not None and np.linalg.det(matrix[:3, :3]) < 0:
                faces = faces[:, ::-1]
        self._points.append(points)
        if faces is not None and len(faces):
            self._faces.append(faces + self._count)
        self._count += len(points)

    @property
    def is_empty(self) -> bool:
        """Whether no point was placed."""
        return not self._count

    def joined(self, what: str) -> RawGeometry:
        """All meshes as one.

        Args:
            what: what the file should have held, for the message.

        Raises:
            InputError: nothing was placed, or a face uses a point that is not finite.
        """
        if not self._count:
            raise InputError(f"{self._label}: holds no {what}; export the scan again")
        faces = np.concatenate(self._faces) if self._faces else None
        return checked_geometry(np.concatenate(self._points), self._label, faces=faces, warnings=self.warnings)
