"""What a session shows, and the interface of the page that shows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from imhead.studio.session.handle import Way
from imhead.studio.session.jobs import JobState
from imhead.studio.session.surface import RegionMap
from imhead.studio.session.takes import NamedTake
from imhead.types import FloatArray, Head, Mesh, Scan

DisplayMode = Literal["now", "before", "beside", "split", "movement", "change"]
DISPLAY_MODES: tuple[DisplayMode, ...] = ("now", "before", "beside", "split", "movement", "change")
"""The head as it is; as it was when it was added; beside another head, in two halves or in one view that is parted;
coloured by how far it moved from there; or the change between two scans."""


@dataclass(frozen=True, eq=False)
class FittedScan:
    """An uploaded scan and how well its head fits it."""

    scan: Scan
    """The scan, without its colours."""
    points_mm: FloatArray
    """(N, 3) its points in the head's frame, mm."""
    distance_mm: FloatArray
    """(N,) distance of each point to the head, mm, 0 or more."""
    median_mm: float
    """Median distance of the explained points to the head, mm."""
    explained: float
    """Share of the scan's points that the head explains, 0 to 1."""
    warnings: tuple[str, ...]
    """What is doubtful about the fit, one sentence each."""


@dataclass(frozen=True, eq=False)
class ShownSurface:
    """The exact surface in the view."""

    head: Head
    """Whose surface it is."""
    mesh: Mesh
    """The mesh, head frame, mm."""
    regions: RegionMap
    """Where the regions lie on it."""
    normals: FloatArray
    """(V, 3) unit normals."""


@dataclass(frozen=True, eq=False)
class Overlay:
    """What is drawn over or beside the exact surface."""

    colors: FloatArray | None = None
    """(V, 3) sRGB of a heat map; None for the plain head."""
    limit_mm: float = 0.0
    """Largest movement on the heat map's scale; 0 without one."""
    beside: tuple[Head, Mesh] | None = None
    """Another head and its surface, shown on the left."""
    scans: tuple[FittedScan | None, FittedScan | None] = (None, None)
    """The scans over the shown head and over the other one."""


class Page(Protocol):
    """What a session needs of the page that shows it."""

    def show_moving(self, head: Head, mesh: Mesh) -> None:
        """Show a head by a mesh that is about to change again."""

    def show_still(self, shown: ShownSurface, overlay: Overlay) -> None:
        """Show the exact surface."""

    def sync(self) -> None:
        """Update the widgets from the state."""

    def show_jobs(self, jobs: tuple[JobState, ...]) -> None:
        """Show what runs, and how far it is."""

    def show_range(self, name: str, low: float, high: float) -> None:
        """Show the values of a measurement that the selection can reach."""

    def show_handle(self, vertex: int, ways: Sequence[Way]) -> None:
        """A vertex can be dragged: where each direction of the selection moves it."""

    def show_take(self, take: NamedTake) -> None:
        """A take can be played."""

    def show_face(self, head: Head) -> None:
        """Send all that plays a take on a head."""

    def download(self, name: str, content: bytes) -> None:
        """Send a file to the browser."""

    def show_error(self, sentence: str, nearest: Mapping[str, float]) -> None:
        """Show an error message, and the values of measurements that can be reached instead."""
