"""One page in a browser: it sends what a session shows. What the person does comes back through `commands`."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imhead.errors import InputError
from imhead.studio.session.handle import Way
from imhead.studio.session.jobs import JobState
from imhead.studio.session.page_protocol import FittedScan, Overlay, ShownSurface
from imhead.studio.session.tab_session import TabSession
from imhead.studio.session.takes import NamedTake
from imhead.studio.session.uploads import MAX_UPLOAD_BYTES, UPLOAD_EXTENSIONS
from imhead.studio.state.labels import readable_name
from imhead.studio.web import drawn
from imhead.studio.web.commands import Commands
from imhead.studio.web.played import face_key, played_parts
from imhead.studio.web.view_state import page_constants, skin_key, view_state
from imhead.studio.web.wire import Outbox, packed
from imhead.types import Head, Mesh

log = logging.getLogger("imhead.studio.web")

NEWER_FRAME = "frame"
"""Frames of this kind replace one another while they wait to be sent."""


class StudioPage:
    """The page of one connection.

    Args:
        outbox: takes what is sent.
        session: what it shows.
    """

    def __init__(self, outbox: Outbox, session: TabSession) -> None:
        self._outbox, self._session = outbox, session
        self._commands = Commands(session, self)
        self._scans: tuple[FittedScan | None, FittedScan | None] = (None, None)
        self._skinned = drawn.has_shipped_topology(session.model)

    def greet(self) -> None:
        """Send what the page needs once, before anything else."""
        session, kinds = self._session, list(UPLOAD_EXTENSIONS)
        hello = {"kind": "hello", "uploads": kinds, "most_bytes": MAX_UPLOAD_BYTES, "skinned": self._skinned}
        arrays: dict[str, NDArray[Any] | bytes] = {**drawn.topology_arrays(session.model)}
        arrays["eye"] = drawn.eye_picture(None)
        self._outbox.put(packed({**hello, **page_constants()}, arrays))

    def receive(self, message: str | bytes) -> None:
        """Do what the page asks; what cannot be understood is logged in one line, without what was sent."""
        self._commands.receive(message)

    def close(self) -> None:
        """Stop everything that runs for this page."""
        self._commands.close()

    def show_moving(self, head: Head, mesh: Mesh) -> None:
        """Show a head by a mesh that is about to change again."""
        self._outbox.put(packed({"kind": "moving"}, drawn.placed(self._session.model, head, mesh)), NEWER_FRAME)

    def show_still(self, shown: ShownSurface, overlay: Overlay) -> None:
        """Show the exact surface, with the selection on it or in the colours of a heat map."""
        session, studio = self._session, self._session.studio
        arrays: dict[str, Any] = drawn.still(session.model, shown, studio.settings, overlay)
        if overlay.beside is not None:
            before = drawn.placed(session.model, *overlay.beside)
            arrays |= {f"beside_{name}": value for name, value in before.items()}
        message = {
            "kind": "still", "limit_mm": overlay.limit_mm, "display": session.display, "at": studio.history.at,
            "draft": studio.drafting,
            "head": f"{id(studio.before):x}",
        }  # fmt: skip
        self._outbox.put(packed(message, arrays), NEWER_FRAME)
        if overlay.scans != self._scans:
            self._scans = overlay.scans
            limit = max([0.0, *(drawn.scan_limit(scan) for scan in overlay.scans if scan is not None)])
            sent: dict[str, Any] = {}
            for side, scan in zip(("", "beside_"), overlay.scans):
                if scan is not None:
                    sent |= {side + name: value for name, value in drawn.scan_arrays(scan, limit).items()}
            self._outbox.put(packed({"kind": "scan", "limit_mm": limit}, sent))

    def show_take(self, take: NamedTake) -> None:
        """A take can be played."""
        played = take.take
        arrays = {name: getattr(played, name).astype(np.float32) for name in ("seconds", "weights", "angles")}
        self._outbox.put(packed({"kind": "take", "name": take.name}, arrays))

    def show_face(self, head: Head) -> None:
        """Send all that plays a take on a head.

        Raises:
            InputError: the model's template is not the one that ships.
        """
        if not self._skinned:
            raise InputError("this model's template is not the one that ships, so it plays no take; use another model")
        parts, pivot, arrays = played_parts(self._session.model, head)
        self._outbox.put(packed({"kind": "face", "key": face_key(head), "parts": parts, "pivot": pivot}, arrays))

    def sync(self) -> None:
        """Update the panels from the state."""
        self._send({"kind": "state", **view_state(self._session)}, "state")

    def show_jobs(self, jobs: tuple[JobState, ...]) -> None:
        """Show what runs, and how far it is."""
        self._send({"kind": "jobs", "jobs": [asdict(job) for job in jobs]}, "jobs")

    def show_range(self, name: str, low: float, high: float) -> None:
        """Show the values of a measurement that the selection can reach."""
        self._send({"kind": "range", "name": name, "low": round(low, 1), "high": round(high, 1)})

    def show_handle(self, vertex: int, ways: Sequence[Way]) -> None:
        """A vertex can be dragged: where each direction of the selection moves it."""
        listed = [
            {"kind": way.kind, "key": way.key, "value": round(way.value, 2), "step": np.round(way.step_mm, 3).tolist()}
            for way in ways
        ]
        self._send({"kind": "handle", "vertex": vertex, "ways": listed})

    def show_skin(self) -> None:
        """Send the pictures of the shown head's skin and eyes.

        Raises:
            InputError: they cannot be drawn.
        """
        if not self._skinned:
            raise InputError("this model's template has no picture of a skin; choose another material")
        head = self._session.studio.head
        self._outbox.put(packed({"kind": "skin", "key": skin_key(head)}, drawn.skin_pictures(head.skin)))

    def show_meshes(self, kind: str, found: Mapping[str, tuple[Head, Mesh]]) -> None:
        """Send meshes by name, for thumbnails."""
        for name, (head, mesh) in found.items():
            self._outbox.put(packed({"kind": kind, "name": name}, drawn.placed(self._session.model, head, mesh)))

    def download(self, name: str, content: bytes) -> None:
        """Send a file to the browser."""
        self._outbox.put(packed({"kind": "file", "name": name}, {"content": content}))

    def show_error(self, sentence: str, nearest: Mapping[str, float]) -> None:
        """Show an error message, and the values of measurements that can be reached instead."""
        offers = [
            {"name": name, "label": readable_name(name), "value": round(value, 1)} for name, value in nearest.items()
        ]
        self._send({"kind": "error", "text": sentence, "offers": offers})

    def _send(self, message: Mapping[str, Any], replaces: str = "") -> None:
        self._outbox.put(json.dumps(message), replaces)
