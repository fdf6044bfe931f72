"""What one browser tab works on: its state, its mesh and the thread that changes them. It outlives a reload."""

from __future__ import annotations

import gc
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from imhead.checkpoint import Model
from imhead.errors import InputError
from imhead.fitting.fit import fit_scan
from imhead.regions import Region
from imhead.rendering.figures import heat_colors, round_limit
from imhead.studio.session import exports, uploads
from imhead.studio.session.memory import hand_back_memory
from imhead.studio.session.surface import Picker, RegionMap, StillSurface, map_regions, quick_mesh
from imhead.studio.session.worker import Worker
from imhead.studio.state.commands import AddHead, Command, Draft
from imhead.studio.state.project import PROJECT_SUFFIX, open_project, project_bytes
from imhead.studio.state.studio import Studio
from imhead.surfaces.distances import signed_distance
from imhead.types import BoolArray, FloatArray, Head, IntArray, Mesh

log = logging.getLogger("imhead.studio")

Comparison = Literal["after", "before", "movement"]
SORRY = "Something went wrong inside the studio. Your heads and steps are kept; undo the last step or try again."


@dataclass(frozen=True, eq=False)
class FittedScan:
    """A scan that was uploaded, and how its head explains it."""

    name: str
    """Name of its head in the library."""
    points_mm: FloatArray
    """(N, 3) in the head's frame."""
    faces: IntArray | None
    """(F, 3), None for points."""
    median_mm: float
    """Median distance of the points that the head explains."""
    explained: float
    """Share of the points that it explains, 0 to 1."""
    warnings: tuple[str, ...]
    """In words."""


@dataclass(frozen=True, eq=False)
class Shown:
    """What the view shows."""

    mesh: Mesh
    regions: RegionMap
    normals: FloatArray
    """(V, 3)."""
    picker: Picker


class Page(Protocol):
    """What a session needs of the page that shows it."""

    def show(self, mesh: Mesh) -> None:
        """Show a mesh that will change again in a moment."""

    def show_whole(self, shown: Shown, colors: FloatArray | None, limit_mm: float) -> None:
        """Show a mesh with its regions, or in colours."""

    def sync(self) -> None:
        """Make the widgets say what the state says."""

    def progress(self, stage: str, part: float | None) -> None:
        """Tell how far a fit is; None when it is over."""

    def download(self, name: str, content: bytes) -> None:
        """Hand a file to the browser."""

    def tell(self, sentence: str, *, error: bool = False) -> None:
        """Say something to the person."""


class TabSession:
    """One tab's work. Its methods may be called from any thread; all changes happen on its own.

    Args:
        fit_turn: held while a scan is fitted, so that one fit at a time runs in the whole studio.
    """

    def __init__(self, model: Model, fit_turn: threading.Lock) -> None:
        self.model = model
        self.studio = Studio(model)
        self.comparison: Comparison = "after"
        self.fitted: dict[str, FittedScan] = {}
        self.overlay = False
        self.page: Page | None = None
        self.shown: Shown | None = None
        self._surface = StillSurface(model)
        self._fit_turn = fit_turn
        self._worker = Worker(self._failed, self._rested)

    # what a page asks for

    def attach(self, make: Callable[[], Page]) -> None:
        """Show the session on a page from now on."""

        def action() -> None:
            self.page = make()
            self._refresh()

        self._worker.do(action)

    def detach(self) -> None:
        """The page is gone: keep the state, let the mesh go."""
        self.page = None  # at once, so that what is still queued draws nothing for nobody

        def action() -> None:
            self.page = self.shown = None  # a page that went before it was made came after the line above
            self._surface.free()
            gc.collect()  # widgets and their callbacks go in circles
            hand_back_memory()

        self._worker.do(action)

    def close(self) -> None:
        """End the session's thread."""
        self._worker.close()

    def join(self) -> None:
        """Wait for the end of the session's thread."""
        self._worker.join()

    def wait(self, timeout_s: float = 60.0) -> bool:
        """Wait until nothing is left to do; whether that came to be in time."""
        return self._worker.wait(timeout_s)

    def change(self, action: Callable[[Studio], None]) -> None:
        """Change the state, then show it."""

        def whole() -> None:
            try:
                action(self.studio)
            finally:  # a refused change leaves widgets that must be put back
                self._refresh()

        self._worker.do(whole, shows=True)

    def do(self, command: Command) -> None:
        """Carry out a command."""
        self.change(lambda studio: studio.do(command))

    def draft(self, make: Callable[[Studio], Draft]) -> None:
        """Show the command of a control that moves; only the newest place counts."""

        command = make(self.studio)

        def action() -> None:
            self.studio.draft(command)
            self.comparison = "after"
            page = self.page
            if page is not None:
                page.show(quick_mesh(self.model, self.studio.head))

        self._worker.draft(command.control, action)

    def compare(self, comparison: Comparison) -> None:
        """Show the head, the one before, or how far it moved."""

        def action(_: Studio) -> None:
            self.comparison = comparison

        self.change(action)

    def show_overlay(self, on: bool) -> None:
        """Lay the scan over its head, or take it away."""

        def action(_: Studio) -> None:
            self.overlay = on

        self.change(action)

    def preview(self, head: Head) -> None:
        """Show a head for a moment, in place of nothing: an expression that plays."""

        def action() -> None:
            page = self.page
            if page is not None:
                page.show(quick_mesh(self.model, head))

        self._worker.draft("preview", action)

    def pick(self, origin_mm: FloatArray, direction: FloatArray) -> Region | None:
        """The region that a ray meets first on what is shown."""
        shown = self.shown
        return None if shown is None else shown.picker.region(origin_mm, direction)

    def upload(self, name: str, content: bytes) -> None:
        """Take in a scan, a head file or a project, on a thread of its own."""
        threading.Thread(target=self._guarded, args=(lambda: self._take_in(name, content),), daemon=True).start()

    def export(self, kind: str) -> None:
        """Hand out the head that is shown as a file, made on a thread of its own."""

        def begin() -> None:
            self.studio.settle()
            model, document, selection = self.model, self.studio.document, self.studio.settings.selection

            def make() -> None:
                self._hand_out(exports.make(kind, model, document, selection))

            threading.Thread(target=self._guarded, args=(make,), daemon=True).start()

        self._worker.do(begin)

    def save_project(self) -> None:
        """Hand out the whole session as a file."""

        def action() -> None:
            content = project_bytes(self.studio)
            self._hand_out(exports.ExportedFile(exports.file_name(self.studio.document, PROJECT_SUFFIX), content))

        self._worker.do(action)

    # how it is done

    def _hand_out(self, file: exports.ExportedFile) -> None:
        page = self.page
        if page is not None:
            page.download(file.name, file.content)

    def _rested(self) -> None:
        self.studio.settle()
        self._refresh()

    def _refresh(self) -> None:
        page = self.page
        if page is None:
            return
        page.sync()
        head, before = self.studio.head, self._before()
        wanted = before if self.comparison == "before" else head
        if not self._surface.knows(wanted):
            page.show(quick_mesh(self.model, wanted))
        if self._worker.overtaken:
            return
        fine = self._surface.of(wanted)
        colors, limit_mm = None, 0.0
        if self.comparison == "movement":
            colors, limit_mm = self._heat(self._surface.of(before).mesh, fine.mesh)
        if self._worker.overtaken:
            return
        if self.shown is None or self.shown.mesh is not fine.mesh:
            regions = map_regions(self.model, wanted, fine.mesh)
            self.shown = Shown(fine.mesh, regions, fine.normals, Picker(regions))
        if not self._worker.overtaken:
            page.show_whole(self.shown, colors, limit_mm)

    def _heat(self, before: Mesh, now: Mesh) -> tuple[FloatArray, float]:
        moved = signed_distance(now.vertices, before)
        # the scale is for what moved; most of a head has not
        limit_mm = round_limit(moved[np.abs(moved) >= 0.05 * np.quantile(np.abs(moved), 0.999)])
        return heat_colors(moved, limit_mm).astype(np.float64), limit_mm

    def _before(self) -> Head:
        # with the expression of now: what is compared is the person, not the face that is made
        return replace(self.studio.before, z_exp=self.studio.head.z_exp)

    def _take_in(self, name: str, content: bytes) -> None:
        label = uploads.plain_name(name)
        self._tell_progress(f"{label}: reading", 0.0)
        try:
            with uploads.stored(name, content) as path:
                kind = uploads.vet(path, label, self.model)
                if kind == "project":
                    opened = open_project(path, self.model)
                    self.change(lambda _: self._replace(opened))
                elif kind == "head":
                    self.do(AddHead(Path(label).stem, uploads.read_head(path, label, self.model)))
                else:
                    self._fit(path, label)
        finally:
            self._tell_progress("", None)

    def _replace(self, opened: Studio) -> None:
        self.studio, self.fitted, self.comparison = opened, {}, "after"

    def _fit(self, path: Path, label: str) -> None:
        scan = uploads.vetted_scan(path, label)
        self._tell_progress(f"{label}: waiting for another fit", 0.0)
        with self._fit_turn:
            result = fit_scan(
                scan, self.model, progress=lambda stage, part: self._tell_progress(f"{label}: {stage}", part)
            )
        trusted: BoolArray = result.explained
        name = Path(label).stem

        def action(studio: Studio) -> None:
            studio.do(AddHead(name, result.head))
            named = studio.document.current.name
            median = float(np.median(result.distance_mm[trusted])) if trusted.any() else float("nan")
            self.fitted[named] = FittedScan(
                named, result.points_mm, scan.faces, median, float(trusted.mean()), result.warnings
            )
            self.overlay = True

        self.change(action)

    def _tell_progress(self, stage: str, part: float | None) -> None:
        page = self.page
        if page is not None:
            page.progress(stage, part)

    def _guarded(self, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception as error:  # on a thread of its own nobody else would tell the person
            self._failed(error)

    def _failed(self, error: Exception) -> None:
        if not isinstance(error, InputError):
            log.exception("a session's command failed", exc_info=error)
        page = self.page
        if page is not None:
            page.tell(str(error) if isinstance(error, InputError) else SORRY, error=True)
