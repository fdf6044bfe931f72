# SPDX-License-Identifier: GPL-3.0-or-later
"""`imhead serve` as a program of its own, started and ended from here."""

from __future__ import annotations

import atexit
import json
import os
import queue
import shutil
import subprocess
import threading

from .client import Client, RefusedError

_START_S = 120.0


class Program:
    """A running `imhead serve`.

    Args:
        path: of the program `imhead`; empty for the one on the search path.

    Raises:
        RefusedError: there is no such program, or it does not start.
    """

    def __init__(self, path: str) -> None:
        found = path or shutil.which("imhead")
        if not found:
            raise RefusedError("imhead is not on the search path; name it in the preferences of this extension")
        # Blender's own Python must not be imhead's
        own = {name: value for name, value in os.environ.items() if name not in ("PYTHONHOME", "PYTHONPATH")}
        words = [found, "serve", "--port", "0", "--json"]
        try:
            self._process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=own
            )
        except OSError as error:
            raise RefusedError(f"{found}: cannot be started ({error.strerror}); check the preferences") from None
        atexit.register(self.stop)
        lines: queue.Queue[bytes] = queue.Queue()
        threading.Thread(target=self._read, args=(lines,), daemon=True).start()
        try:
            said = json.loads(lines.get(timeout=_START_S))
            self.client = Client(said["address"], said["key"])
        except (queue.Empty, ValueError, KeyError, TypeError):
            self.stop()
            raise RefusedError(f"{found} does not start; try `imhead doctor` in a terminal") from None

    def _read(self, lines: queue.Queue[bytes]) -> None:
        for line in self._process.stdout or ():
            lines.put(line)
        lines.put(b"")

    def stop(self) -> None:
        """End it."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(10.0)
            except subprocess.TimeoutExpired:
                self._process.kill()
        atexit.unregister(self.stop)
