# SPDX-License-Identifier: GPL-3.0-or-later
"""Operators whose work runs on a thread, while Blender goes on; Esc cancels. Without a window they wait."""

import threading

import bpy

from .client import CancelledError, RefusedError

_REFUSALS = (RefusedError, ValueError, OSError)
"""What ends a job with one line to the person: the server refuses, or a file or a scan cannot be used."""
_busy = False


class Job:
    """Work that runs: what it does, how far it is, and whether a person ended it."""

    def __init__(self, work) -> None:
        self.stage, self.part = "starting", 0.0
        self.stop = threading.Event()
        self.result, self.error = None, None
        self._work = work

    def show(self, stage: str, part: float) -> None:
        """Told by the work."""
        self.stage, self.part = stage, part

    def run(self) -> None:
        """Do the work; what it gives or what ended it is kept."""
        try:
            self.result = self._work(self)
        except Exception as error:  # told to the person by the operator, on Blender's own thread
            self.error = error


class Asking:
    """An operator in two halves: `work` looks at the scene and gives what runs on a thread, which must not touch the
    scene; `done` puts its result there."""

    def work(self, context):
        """A function of the job."""
        raise NotImplementedError

    def done(self, context, result) -> None:
        """Put the result into the scene."""
        raise NotImplementedError

    def execute(self, context):
        """Wait for the result."""
        try:
            job = Job(self.work(context))
            job.run()
        except _REFUSALS as error:
            return self._refused(error)
        return self._ended(context, job)

    def invoke(self, context, _event):
        """Do not wait."""
        global _busy
        if _busy:
            return self._refused("another job is running; wait, or end it with Esc")
        try:
            self._job = Job(self.work(context))
        except _REFUSALS as error:
            return self._refused(error)
        _busy = True
        self._thread = threading.Thread(target=self._job.run, daemon=True)
        self._thread.start()
        manager = context.window_manager
        self._timer = manager.event_timer_add(0.1, window=context.window)
        manager.progress_begin(0, 100)
        manager.modal_handler_add(self)
        return {"RUNNING_MODAL"}

    def modal(self, context, event):
        """Show how far it is."""
        global _busy
        if event.type == "ESC" and event.value == "PRESS":
            self._job.stop.set()
        if event.type != "TIMER":
            return {"PASS_THROUGH"}
        if self._thread.is_alive():
            ending = "ending" if self._job.stop.is_set() else self._job.stage
            context.workspace.status_text_set(f"imhead: {ending} {100 * self._job.part:.0f} %   Esc ends it")
            context.window_manager.progress_update(round(100 * self._job.part))
            return {"PASS_THROUGH"}
        _busy = False
        context.window_manager.event_timer_remove(self._timer)
        context.window_manager.progress_end()
        context.workspace.status_text_set(None)
        return self._ended(context, self._job)

    def _ended(self, context, job: Job):
        if isinstance(job.error, CancelledError):
            self.report({"INFO"}, "cancelled")
            return {"CANCELLED"}
        if isinstance(job.error, _REFUSALS):
            return self._refused(job.error)
        if job.error is not None:
            raise job.error
        try:
            self.done(context, job.result)
        except _REFUSALS as error:
            return self._refused(error)
        return {"FINISHED"}

    def _refused(self, error):
        self.report({"WARNING" if bpy.app.background else "ERROR"}, str(error))
        return {"CANCELLED"}
