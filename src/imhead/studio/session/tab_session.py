"""The session of one browser tab: its state, its surface and the thread that changes them. A reload keeps it."""

from __future__ import annotations

import gc
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from imhead.checkpoint import Model
from imhead.editing import OutOfReach
from imhead.errors import InputError
from imhead.io.memory import trim_heap
from imhead.rendering.figures import heat_colors, round_limit
from imhead.studio.session import exports, uploads
from imhead.studio.session.handle import handle_ways
from imhead.studio.session.jobs import Job, Jobs, JobState
from imhead.studio.session.page_protocol import DisplayMode, FittedScan, Overlay, Page, ShownSurface
from imhead.studio.session.scans import ScanChange, change_of, fitted_to
from imhead.studio.session.surface import SurfaceCache, map_regions, quick_mesh, same_surface
from imhead.studio.session.takes import NamedTake
from imhead.studio.session.worker import Worker
from imhead.studio.session.writing import written_apart
from imhead.studio.state.commands.command import Command, Draft, Scope
from imhead.studio.state.commands.edits import reachable_range
from imhead.studio.state.commands.library import AddHead
from imhead.studio.state.document import NamedHead
from imhead.studio.state.project import PROJECT_SUFFIX, project_bytes
from imhead.studio.state.studio import Studio
from imhead.surfaces.distances import signed_distance
from imhead.types import FloatArray, Head, Mesh, Scan

_FRAME_S, _PAUSE_S = 0.05, 0.06

log = logging.getLogger("imhead.studio")

INTERNAL_ERROR = "Something went wrong in the studio. Your heads and steps are kept; undo the last step or try again."


class TabSession:
    """The session of one tab. Its methods may be called from any thread; its own thread makes all changes.

    Args:
        model: the model of its heads.
        fit_lock: held while a scan is fitted, so that the whole studio runs one fit at a time.
    """

    def __init__(self, model: Model, fit_lock: threading.Lock) -> None:
        self.model = model
        self.studio = Studio(model)
        self.display: DisplayMode = "now"
        self.fitted: dict[Head, FittedScan] = {}
        """Scans by the head that was fitted to them, as it was added: it keeps its scan when edited or renamed."""
        self.overlay = False
        self.take: NamedTake | None = None
        """The take that was opened last."""
        self.scan_change: ScanChange | None = None
        """What two scans differ by, as they were compared last."""
        self.beyond = True
        """Whether the map of that change leaves out what is within the noise."""
        self._other: Head | None = None  # as it was added, so that it may be edited and renamed
        self.page: Page | None = None
        self.shown: ShownSurface | None = None
        self._surfaces = SurfaceCache(model)
        self._slow = True
        self._moving: Head | None = None
        self._fit_lock = fit_lock
        self._reader = uploads.Reader()
        self._jobs = Jobs(self._show_jobs)
        self._held = False
        self._closed = False
        self._missed: str | None = None
        self._worker = Worker(self._report_error, self._settle)

    def attach(self, make: Callable[[], Page]) -> None:
        """Show the session on a page, which the session's thread makes."""

        def action() -> None:
            self.page = page = make()
            if self._missed is not None:
                page.show_error(self._missed, {})
                self._missed = None
            if self.take is not None:
                page.show_take(self.take)
            self._jobs.tell()
            self._refresh()

        self._worker.do(action)

    def detach(self) -> None:
        """Forget the page: keep the state, free the surfaces, stop reading its upload."""
        self.page = None  # at once, so that queued actions draw nothing
        self._held = False
        self._reader.end()

        def action() -> None:
            self.page = self.shown = None  # again: a queued `attach` may have set the page meanwhile
            self._surfaces.clear()
            gc.collect()  # a page and its commands refer to each other
            trim_heap()

        self._worker.do(action)

    def close(self) -> None:
        """End the session's thread, and what runs for its upload."""
        self._closed = True
        self._reader.end()
        self._jobs.cancel_all()
        self._worker.close()

    def join(self) -> None:
        """Wait for the end of the session's thread."""
        self._worker.join()

    def wait(self, timeout_s: float = 60.0) -> bool:
        """Wait until nothing is left to do; returns whether that was in time."""
        return self._worker.wait(timeout_s)

    def change(self, action: Callable[[Studio], None]) -> None:
        """Change the state, then show it."""

        def change_and_refresh() -> None:
            shown = self.studio.head
            try:
                action(self.studio)
            finally:  # after a refused change the widgets must be reset
                if self.display == "change" and self.studio.head is not shown:
                    self.display = "now"
                self._refresh()

        self._worker.do(change_and_refresh, refreshes=True)

    def do(self, command: Command) -> None:
        """Apply a command and show the result."""
        self.change(lambda studio: studio.do(command))

    def draft(self, make: Callable[[Studio], Draft]) -> None:
        """Preview the command of a moving control; only its latest value is computed."""
        command = make(self.studio)

        def action() -> None:
            self.studio.draft(command)
            self.display = "now"
            self._show_moving(self.studio.head)

        self._worker.draft(command.control, action)

    def hold(self) -> None:
        """A control is held: whatever it passes, and however long it rests, becomes no step before `release`."""
        self._held = True

    def release(self) -> None:
        """The control is let go: its last value becomes one step."""
        self._held = False

        def action(studio: Studio) -> None:
            studio.settle()

        self.change(action)

    def set_display(self, mode: DisplayMode) -> None:
        """Choose what the view shows."""

        def action(_: Studio) -> None:
            self.display = mode

        self.change(action)

    def set_other(self, name: str) -> None:
        """Choose the head that the shown one is compared with; an empty name for itself as it was added."""

        def action(studio: Studio) -> None:
            self._other = studio.document.named(name).origin if name else None
            if self.display not in ("beside", "split", "movement"):
                self.display = "beside"

        self.change(action)

    @property
    def other(self) -> NamedHead | None:
        """The head that the shown one is compared with; None for itself as it was added."""
        document = self.studio.document
        found = next((named for named in document.heads if named.origin is self._other), None)
        return None if found is document.current else found

    def set_beyond(self, on: bool) -> None:
        """Choose whether the change between two scans is shown only where it is beyond the noise."""

        def action(_: Studio) -> None:
            self.beyond = on

        self.change(action)

    def set_overlay(self, on: bool) -> None:
        """Show or hide the scan over its head."""

        def action(_: Studio) -> None:
            self.overlay = on

        self.change(action)

    def find_range(self, name: str) -> None:
        """Tell the page which values of a measurement the selection can reach."""

        def find(head: Head, scope: Scope) -> None:
            low, high = reachable_range(self.model, head, scope, name)
            if self.page is not None:
                self.page.show_range(name, low, high)

        self._ask(find)

    def find_handle(self, vertex: int) -> None:
        """Tell the page where the directions of the selection move a vertex."""

        def find(head: Head, scope: Scope) -> None:
            ways = handle_ways(self.model, head, scope, vertex)
            if self.page is not None:
                self.page.show_handle(vertex, ways)

        self._ask(find)

    def find_face(self) -> None:
        """Send the page what plays a take on the shown head."""

        def find(head: Head, _: Scope) -> None:
            page = self.page
            if page is not None:
                with self._jobs.running("Take", "face", "the head is being made ready to play") as job:
                    job.tell("making the head ready to play")
                    page.show_face(head)

        self._ask(find)

    def _ask(self, find: Callable[[Head, Scope], None]) -> None:
        """Find something out about the head as it is after all earlier actions, without delaying later ones."""

        def action() -> None:
            head, scope = self.studio.head, self.studio.scope
            self._start_thread(lambda: find(head, scope))

        self._worker.do(action)

    @property
    def scan(self) -> FittedScan | None:
        """The scan of the shown head, if it has one."""
        return self.fitted.get(self.studio.before)

    def cancel(self, number: int) -> None:
        """Cancel a job."""
        self._jobs.cancel(number)

    def upload(self, name: str, content: bytes) -> None:
        """Read a scan, a head file or a project on a thread of its own, one at a time."""
        self._start_thread(lambda: self._read_upload(name, content))

    def export(self, kind: str, take: bool = False) -> None:
        """Send the shown head as a file, written on a thread of its own; an avatar plays the take, if asked to."""

        def start() -> None:
            self.studio.settle()
            model, document, selection = self.model, self.studio.document, self.studio.settings.selection
            played = self.take.take if take and self.take is not None else None

            def write() -> None:
                title = f"{document.current.name}: {kind}"
                refusal = f"the {kind} is being written; wait for it, or cancel it"
                with self._jobs.running(title, kind, refusal) as job:
                    if kind in exports.SLOW_KINDS:
                        job.tell("writing")
                        file = written_apart(kind, model, document, selection, played, job)
                    else:
                        file = exports.export_head(kind, model, document, selection)
                    job.check()
                    self._send(file)

            self._start_thread(write)

        self._worker.do(start)

    def save_project(self) -> None:
        """Send the whole session as a project file."""

        def action() -> None:
            content = project_bytes(self.studio)
            self._send(exports.ExportedFile(exports.file_name(self.studio.document, PROJECT_SUFFIX), content))

        self._worker.do(action)

    def _send(self, file: exports.ExportedFile) -> None:
        page = self.page
        if page is not None:
            page.download(file.name, file.content)

    def _settle(self) -> None:
        if not self._held:
            self.studio.settle()
        self._refresh()

    def _refresh(self) -> None:
        page = self.page
        if page is None:
            return
        page.sync()
        if self.display == "change" and self.scan_change is not None:
            self._show_change(page, self.scan_change)
            return
        before = self._before()
        wanted = before if self.display == "before" else self.studio.head
        if not self._surfaces.holds(wanted) and (self._moving is None or not same_surface(self._moving, wanted)):
            preview = self._surfaces.preview(wanted)
            quick = quick_mesh(self.model, wanted) if preview is None else preview.change(wanted).quick
            page.show_moving(wanted, quick)
        self._moving = None
        if self._worker.overtaken:
            return
        exact = self._surfaces.of(wanted)
        overlay = Overlay()
        if self.display == "movement":
            overlay = Overlay(*self._movement_colors(self._surfaces.of(self._compared(True)).mesh, exact.mesh))
        elif self.display in ("beside", "split"):
            other = self._compared(False)
            overlay = Overlay(beside=(other, self._surfaces.of(other).mesh))
        if self.overlay:
            overlay = replace(overlay, scans=self._shown_scans())
        if self._worker.overtaken:
            return
        if self.shown is None or self.shown.mesh is not exact.mesh:
            regions = map_regions(self.model, wanted, exact.mesh)
            self.shown = ShownSurface(wanted, exact.mesh, regions, exact.normals)
        if not self._worker.overtaken:
            page.show_still(self.shown, overlay)

    def _show_change(self, page: Page, change: ScanChange) -> None:
        self.shown = change.shown
        page.show_still(change.shown, Overlay(change.colors(self.beyond), change.limit_mm))

    def _compared(self, same_expression: bool) -> Head:
        """The head that the shown one is compared with."""
        if self.other is None:
            return self._before()
        codes = self.other.codes
        return replace(codes, z_exp=self.studio.head.z_exp) if same_expression else codes

    def _shown_scans(self) -> tuple[FittedScan | None, FittedScan | None]:
        if self.display == "now":
            return self.scan, None
        if self.display not in ("beside", "split"):
            return None, None  # it would hide what has moved
        return self.scan, None if self.other is None else self.fitted.get(self.other.origin)

    def _show_moving(self, head: Head) -> None:
        """Show a head that may change again.

        Where the exact surface takes longer than a frame, the quick one is shown first, and the exact one when the
        slider pauses.
        """
        page = self.page
        if page is None:
            return
        preview = self._surfaces.preview(head)
        if preview is None:
            page.show_moving(head, quick_mesh(self.model, head))
            return
        change = preview.change(head)
        overtaken = self._worker.overtaken
        if self._slow or overtaken:
            page.show_moving(head, change.quick)
            overtaken = overtaken or self._worker.overtaken_within(_PAUSE_S)
        if overtaken:
            return
        began = time.perf_counter()
        page.show_moving(head, preview.exact(change))
        self._slow, self._moving = time.perf_counter() - began > _FRAME_S, head

    def _movement_colors(self, before: Mesh, now: Mesh) -> tuple[FloatArray, float]:
        moved = signed_distance(now.vertices, before)
        # scale to the vertices that moved; most have not
        limit_mm = round_limit(moved[np.abs(moved) >= 0.05 * np.quantile(np.abs(moved), 0.999)])
        return heat_colors(moved, limit_mm).astype(np.float64), limit_mm

    def _before(self) -> Head:
        # with the current expression, so that only the identity is compared
        return replace(self.studio.before, z_exp=self.studio.head.z_exp)

    def _read_upload(self, name: str, content: bytes) -> None:
        label = uploads.display_name(name)
        refusal = f"{label}: another file is still being read; open this one when that is done"
        with self._jobs.running(label, "upload", refusal) as job, uploads.stored(name, content) as path:
            if self._closed:
                return
            self._reader.begin()
            job.when_cancelled(self._reader.end)
            job.tell("reading", 0.0)
            try:
                kind = self._reader.vet(path, label, self.model)
            except InputError:
                job.check()
                raise
            if kind == "project":
                opened = uploads.vetted_project(path, self.model)
                self.change(lambda _: self._open(opened))
            elif kind == "head":
                self.do(AddHead(Path(label).stem, uploads.vetted_head(path, self.model)))
            elif kind == "take":
                self._play(NamedTake(Path(label).stem, uploads.vetted_take(path)))
            else:
                self._fit(uploads.vetted_scan(path, label), job)

    def _open(self, opened: Studio) -> None:
        self.studio, self.fitted, self.display = opened, {}, "now"
        self._other = self.scan_change = None

    def _play(self, take: NamedTake) -> None:
        def action(_: Studio) -> None:
            self.take = take
            if self.page is not None:
                self.page.show_take(take)

        self.change(action)

    def _fit(self, scan: Scan, job: Job) -> None:
        with self._alone(job):
            head, known = fitted_to(scan, self.model, job)

        def action(studio: Studio) -> None:
            studio.do(AddHead(scan.name, head))
            self.fitted[studio.before] = known
            self.overlay = True

        self.change(action)

    def compare_scans(self, name: str, on_selection: bool) -> None:
        """Find what changed from the scan of another head to that of the shown one, on a thread of its own.

        Args:
            name: of the other head.
            on_selection: whether the selected regions did not change, so that the scans are aligned on them.
        """

        def start() -> None:
            document, stable = self.studio.document, self.studio.settings.selection if on_selection else ()
            before, after = self.fitted.get(document.named(name).origin), self.scan
            if before is None or after is None or before is after:
                raise InputError("a comparison needs two heads that were fitted to scans; open both scans first")
            first, second = (
                replace(known.scan, name=called)
                for known, called in ((before, name), (after, document.current.name))
            )  # fmt: skip

            def compare() -> None:
                refusal = "two scans are being compared; wait for the end, or cancel it"
                with self._jobs.running("Change between two scans", "change", refusal) as job, self._alone(job):
                    found = change_of(first, second, self.model, stable, job)

                    def show(_: Studio) -> None:
                        self.scan_change, self.display = found, "change"

                    self.change(show)

            self._start_thread(compare)

        self._worker.do(start)

    def save_change_report(self) -> None:
        """Send the report of the scans that were compared last."""

        def action() -> None:
            if self.scan_change is None:
                raise InputError("no scans were compared; compare two under Heads first")
            self._send(exports.ExportedFile("change_report.html", self.scan_change.report))

        self._worker.do(action)

    @contextmanager
    def _alone(self, job: Job) -> Iterator[None]:
        """Hold the lock of fits; a job that waits for it can be cancelled."""
        job.tell("waiting for another fit to end")
        while not self._fit_lock.acquire(timeout=0.2):
            job.check()
        try:
            yield
        finally:
            self._fit_lock.release()

    def _show_jobs(self, jobs: tuple[JobState, ...]) -> None:
        page = self.page
        if page is not None:
            page.show_jobs(jobs)

    def _start_thread(self, action: Callable[[], None]) -> None:
        threading.Thread(target=self.reporting(action), daemon=True).start()

    def reporting(self, action: Callable[[], None]) -> Callable[[], None]:
        """An action for a thread of its own, which shows its errors: nothing else would."""

        def run() -> None:
            try:
                action()
            except Exception as error:
                self._report_error(error)

        return run

    def _report_error(self, error: Exception) -> None:
        if not isinstance(error, InputError):
            log.exception("a session's command failed", exc_info=error)
        sentence = str(error) if isinstance(error, InputError) else INTERNAL_ERROR
        page = self.page
        if page is None:
            self._missed = sentence
        else:
            page.show_error(sentence, error.nearest if isinstance(error, OutOfReach) else {})
