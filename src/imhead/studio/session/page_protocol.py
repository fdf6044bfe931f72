"""What a session shows, and the interface of the page that shows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from imhead.studio.session.surface import RegionMap, RegionPicker
from imhead.types import FloatArray, IntArray, Mesh

DisplayMode = Literal["now", "before", "movement"]
DISPLAY_MODES: tuple[DisplayMode, ...] = ("now", "before", "movement")
"""The head as it is, as it was when it was added to the session, or coloured by how far it moved since."""


@dataclass(frozen=True, eq=False)
class FittedScan:
    """An uploaded scan and how well its head fits it."""

    points_mm: FloatArray
    """(N, 3) scan points in the head's frame, mm."""
    faces: IntArray | None
    """(F, 3) triangles of the scan; None for a point cloud."""
    median_mm: float
    """Median distance of the explained points to the head, mm."""
    explained: float
    """Share of the scan's points that the head explains, 0 to 1."""
    warnings: tuple[str, ...]
    """What is doubtful about the fit, one sentence each."""


@dataclass(frozen=True, eq=False)
class ShownSurface:
    """The exact surface in the view."""

    mesh: Mesh
    """The mesh, head frame, mm."""
    regions: RegionMap
    """Where the regions lie on it."""
    normals: FloatArray
    """(V, 3) unit normals."""
    picker: RegionPicker
    """Finds the region that a ray hits."""


class Page(Protocol):
    """What a session needs of the page that shows it."""

    def show_moving(self, mesh: Mesh) -> None:
        """Show a mesh that is about to change again."""

    def show_still(self, shown: ShownSurface, colors: FloatArray | None, limit_mm: float) -> None:
        """Show the exact surface.

        Args:
            colors: (V, 3) sRGB of a heat map; None for the plain head.
            limit_mm: largest movement on the heat map's scale; 0 without one.
        """

    def sync(self) -> None:
        """Update the widgets from the state."""

    def show_progress(self, stage: str, part: float | None) -> None:
        """Show how far an upload is, 0 to 1; None when it is over."""

    def download(self, name: str, content: bytes) -> None:
        """Send a file to the browser."""

    def show_error(self, sentence: str) -> None:
        """Show an error message."""
